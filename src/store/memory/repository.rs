//! Reading one repository in memory.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::store::MemoryStore;
use crate::error::Error;
use crate::layout::{self, LinkDirectory, UploadPart};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::values::started;
use crate::store::{FileState, Leftover, LinkContent, Listing, Repository, Stat, Stray, TagContent, Upload, UploadContents};

/// A repository by its name.
pub(super) struct MemoryRepository<'s> {
    store: &'s MemoryStore,
    name: RepositoryName,
}

impl<'s> MemoryRepository<'s> {
    pub(super) fn new(store: &'s MemoryStore, name: &RepositoryName) -> MemoryRepository<'s> {
        MemoryRepository { store, name: name.clone() }
    }
}

impl MemoryStore {
    /// What lies in a directory beside the names given.
    pub(super) fn beside(&self, directory: &Path, known: &[&str]) -> Vec<Leftover> {
        let children = self.children(directory).into_iter().map(|(path, _)| path);
        let unknown = children.filter(|path| !known.iter().any(|name| path.file_name() == Some(OsStr::new(name))));
        unknown.map(|path| Leftover { state: self.state(&path), path }).collect()
    }
}

impl Repository for MemoryRepository<'_> {
    fn has_directory(&self, marker: &str) -> Result<bool, Error> {
        let directory = layout::repository_directory(&self.name).join(marker);
        Ok(self.store.children(&layout::repository_directory(&self.name)).iter().any(|(path, _)| *path == directory))
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        Ok(self.store.list_digests(&directory.path()))
    }

    fn manifest_strays(&self) -> Result<Vec<Stray>, Error> {
        let directory = layout::repository_directory(&self.name).join("_manifests");
        Ok(self.store.list(&directory, |name| (name == "revisions" || name == "tags").then_some(())).strays)
    }

    fn tags(&self) -> Result<Listing<TagName>, Error> {
        Ok(self.store.list(&layout::tags_directory(&self.name), |name| Some(TagName::new(name))))
    }

    fn tag(&self, tag: &TagName) -> Result<TagContent, Error> {
        let directory = layout::tag_directory(&self.name, tag);
        let parts = self.store.list(&directory, |name| (name == "current" || name == "index").then_some(()));
        let mut history = self.store.list_digests(&directory.join("index"));
        history.strays.extend(parts.strays);
        let current = self.store.read_link(&layout::current_link(&self.name, tag));
        Ok(TagContent { current, history: history.sorted() })
    }

    fn stat_tag(&self, tag: &TagName) -> Result<FileState, Error> {
        Ok(self.store.state(&layout::current_link(&self.name, tag)))
    }

    fn tag_changed(&self, tag: &TagName) -> Result<Option<SystemTime>, Error> {
        let (directory, tree) = (layout::tag_directory(&self.name, tag), self.store.tree());
        let directories = [directory.clone(), directory.join("current")];
        Ok(directories.iter().filter_map(|path| tree.get(path)).map(|node| node.modified).max())
    }

    fn stat_list(&self, directory: &LinkDirectory, algorithm: Algorithm) -> Result<Option<Stat>, Error> {
        let list = self.store.children(&directory.path().join(algorithm.name()));
        let tree = self.store.tree();
        Ok(list.iter().map(|(path, _)| tree[path].modified).max().map(|modified| Stat::new(0, modified)))
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        Ok(digests.iter().map(|digest| self.store.read_link(&directory.link(digest))).collect())
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        let inspect = |path: PathBuf| (self.store.read_link(&path), self.store.state(&path));
        Ok(digests.iter().map(|digest| inspect(directory.link(digest))).collect())
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(digests.iter().map(|digest| self.store.state(&directory.link(digest))).collect())
    }

    fn beside_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        let of = |digest: &Digest| directory.path().join(layout::digest_path(digest));
        Ok(digests.iter().flat_map(|digest| self.store.beside(&of(digest), &layout::IN_LINK_DIRECTORY)).collect())
    }

    fn beside_tag(&self, tag: &TagName) -> Result<Vec<Leftover>, Error> {
        Ok(self.store.beside(&layout::tag_directory(&self.name, tag).join("current"), &layout::IN_LINK_DIRECTORY))
    }

    fn uploads(&self) -> Result<Listing<Upload>, Error> {
        let directory = layout::uploads_directory(&self.name);
        let listed = self.store.list(&directory, |name| Some(name.to_owned()));
        let upload = |id: OsString| {
            let directory = directory.join(&id);
            let start = directory.join("startedat");
            let modified = self.store.tree()[&directory].modified;
            Upload {
                modified,
                started_file: self.store.state(&start),
                started: self.store.content(&start).and_then(|text| started(&text)),
                data: self.store.state(&directory.join("data")),
                id,
            }
        };
        Ok(Listing { entries: listed.entries.into_iter().map(upload).collect(), strays: listed.strays })
    }

    fn upload_contents(&self, id: &OsStr) -> Result<Option<UploadContents>, Error> {
        let directory = layout::uploads_directory(&self.name).join(id);
        let tree = self.store.tree();
        let Some(own) = tree.get(&directory).filter(|node| node.content.is_none()) else { return Ok(None) };
        let mut contents = UploadContents::of(own.stat());
        let below = tree.range(directory.clone()..).skip(1).take_while(|(path, _)| path.starts_with(&directory));
        for (path, node) in below {
            let is_ours = path.strip_prefix(&directory).is_ok_and(UploadPart::is_directory);
            match node.content {
                None if is_ours => contents.modified = contents.modified.max(node.modified),
                None => contents.add(path, &directory, FileState::Irregular),
                Some(_) => contents.add(path, &directory, FileState::File(node.stat())),
            }
        }
        Ok(Some(contents.sorted()))
    }

    fn beside_upload(&self, id: &OsStr) -> Result<Vec<Leftover>, Error> {
        Ok(self.store.beside(&layout::uploads_directory(&self.name).join(id), &layout::IN_UPLOAD_DIRECTORY))
    }
}
