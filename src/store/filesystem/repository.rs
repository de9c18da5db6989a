//! Reading one repository on a local filesystem. Each directory is listed on demand.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::FilesystemStore;
use super::directory;
use super::files::{Relative, inspect_link, read_link, stat_file};
use super::uploads;
use crate::error::{Context as _, Error};
use crate::layout::{self, LinkDirectory};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::{FileState, Leftover, LinkContent, Listing, Repository, Stat, Stray, TagContent, Upload, UploadContents};

/// How many directories one task lists.
const DIRECTORIES_AT_ONCE: usize = 64;

/// A repository by its name. Nothing is cached: every method reads the filesystem.
pub(super) struct FilesystemRepository<'s> {
    store: &'s FilesystemStore,
    name: RepositoryName,
}

impl<'s> FilesystemRepository<'s> {
    pub(super) fn new(store: &'s FilesystemStore, name: &RepositoryName) -> FilesystemRepository<'s> {
        FilesystemRepository { store, name: name.clone() }
    }

    /// Calls a function for each of some links, with their directory opened once; returns `absent` for each if the
    /// directory does not exist.
    fn each_link<T: Clone>(
        &self,
        directory: &LinkDirectory,
        digests: &[Digest],
        (operation, absent): (&'static str, T),
        ask: impl Fn(&OwnedFd, &str) -> std::io::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let Some(open) = self.store.directory(&directory.path())? else {
            return Ok(vec![absent; digests.len()]);
        };
        let mut relative = Relative::default();
        let ask =
            |digest: &Digest| ask(&open, relative.link(digest)).context_with(operation, || self.store.at(directory.link(digest)));
        digests.iter().map(ask).collect()
    }
}

impl Repository for FilesystemRepository<'_> {
    fn has_directory(&self, marker: &str) -> Result<bool, Error> {
        Ok(self.store.directory(&layout::repository_directory(&self.name).join(marker))?.is_some())
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        self.store.list_digests(&directory.path())
    }

    fn manifest_strays(&self) -> Result<Vec<Stray>, Error> {
        let path = layout::repository_directory(&self.name).join("_manifests");
        match self.store.directory(&path)? {
            Some(directory) => {
                let is_known = |name: &[u8]| matches!(name, b"revisions" | b"tags").then_some(());
                Ok(self.store.list(directory.as_fd(), &path, is_known)?.strays)
            }
            None => Ok(Vec::new()),
        }
    }

    fn tags(&self) -> Result<Listing<TagName>, Error> {
        let path = layout::tags_directory(&self.name);
        match self.store.directory(&path)? {
            Some(directory) => self.store.list(directory.as_fd(), &path, |name| Some(TagName::new(OsStr::from_bytes(name)))),
            None => Ok(Listing::default()),
        }
    }

    fn tag(&self, tag: &TagName) -> Result<TagContent, Error> {
        let path = layout::tag_directory(&self.name, tag);
        let Some(directory) = self.store.directory(&path)? else {
            return Ok(TagContent { current: LinkContent::Absent, history: Listing::default() });
        };
        let is_known = |name: &[u8]| matches!(name, b"current" | b"index").then(|| name == b"index");
        let parts = self.store.list(directory.as_fd(), &path, is_known)?;
        let current = match parts.entries.contains(&false) {
            true => read_link(&directory, "current/link").context_with("read", || self.store.at(path.join("current/link")))?,
            false => LinkContent::Absent,
        };
        let mut history = match parts.entries.contains(&true) {
            true => self.store.list_digests(&path.join("index"))?,
            false => Listing::default(),
        };
        history.strays.extend(parts.strays);
        Ok(TagContent { current, history: history.sorted() })
    }

    fn stat_tag(&self, tag: &TagName) -> Result<FileState, Error> {
        let path = layout::tag_directory(&self.name, tag).join("current");
        let Some(directory) = self.store.directory(&path)? else {
            return Ok(FileState::Absent);
        };
        stat_file(&directory, "link").context_with("look at", || self.store.at(path.join("link")))
    }

    fn tag_changed(&self, tag: &TagName) -> Result<Option<SystemTime>, Error> {
        let path = layout::tag_directory(&self.name, tag);
        let Some(directory) = self.store.directory(&path)? else { return Ok(None) };
        let modified = |name: &str| match directory::stat_at(&directory, name, AtFlags::empty()) {
            Ok((_, stat)) => Ok(Some(stat.modified)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(io::Error::from(error)).context_with("look at", || self.store.at(path.join(name))),
        };
        Ok(modified(".")?.max(modified("current")?))
    }

    fn stat_list(&self, directory: &LinkDirectory, algorithm: Algorithm) -> Result<Option<Stat>, Error> {
        let path = directory.path().join(algorithm.name());
        let Some((base, relative)) = self.store.locate(&path) else { return Ok(None) };
        match directory::stat_at(&base.directory, relative, AtFlags::SYMLINK_NOFOLLOW) {
            Ok((FileType::Directory, stat)) => Ok(Some(stat)),
            // What is behind a symbolic link has another time.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(io::Error::from(error)).context_with("look at", || self.store.at(path)),
        }
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        self.each_link(directory, digests, ("read", LinkContent::Absent), |open, path| read_link(open, path))
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        let absent = (LinkContent::Absent, FileState::Absent);
        self.each_link(directory, digests, ("read", absent), |open, path| inspect_link(open, path))
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.each_link(directory, digests, ("look at", FileState::Absent), |open, path| stat_file(open, path))
    }

    fn beside_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        let path = directory.path();
        self.store.beside_all(digests, |digest| path.join(layout::digest_path(digest)), &layout::IN_LINK_DIRECTORY)
    }

    fn beside_tag(&self, tag: &TagName) -> Result<Vec<Leftover>, Error> {
        self.store.beside(&layout::tag_directory(&self.name, tag).join("current"), &layout::IN_LINK_DIRECTORY)
    }

    fn uploads(&self) -> Result<Listing<Upload>, Error> {
        let path = layout::uploads_directory(&self.name);
        let Some(directory) = self.store.directory(&path)? else {
            return Ok(Listing::default());
        };
        let listed = self.store.list_unneeded(directory.as_fd(), &path, |name| Some(OsStr::from_bytes(name).to_owned()))?;
        let uploads = listed.entries.into_iter().filter_map(|id| {
            let path = path.join(&id);
            uploads::inspect(&directory, id).context_with("look at", || self.store.at(path)).transpose()
        });
        Ok(Listing { entries: uploads.collect::<Result<_, _>>()?, strays: listed.strays })
    }

    fn upload_contents(&self, id: &OsStr) -> Result<Option<UploadContents>, Error> {
        let path = layout::uploads_directory(&self.name);
        let Some(directory) = self.store.directory(&path)? else { return Ok(None) };
        let path = path.join(id);
        let mut contents = uploads::contents(&directory, id, &path).context_with("list", || self.store.at(&path))?;
        if let Some(contents) = &mut contents {
            contents.others.extend(self.store.mounts_in(&path));
            contents.others.sort_unstable();
        }
        Ok(contents)
    }

    fn beside_upload(&self, id: &OsStr) -> Result<Vec<Leftover>, Error> {
        self.store.beside(&layout::uploads_directory(&self.name).join(id), &layout::IN_UPLOAD_DIRECTORY)
    }
}

impl FilesystemStore {
    /// Lists the entries of a directory beside the known names.
    fn beside(&self, path: &Path, known: &[&str]) -> Result<Vec<Leftover>, Error> {
        let Some(directory) = self.directory(path)? else {
            return Ok(Vec::new());
        };
        uploads::leftovers(&directory, path, known).context_with("list", || self.at(path))
    }

    /// [`FilesystemStore::beside`] for many directories, in parallel and in order. Paths are built on demand: all at
    /// once take a hundred megabytes for a large repository.
    pub(super) fn beside_all(
        &self,
        digests: &[Digest],
        directory: impl Fn(&Digest) -> PathBuf + Sync,
        known: &[&str],
    ) -> Result<Vec<Leftover>, Error> {
        let list = |some: &[Digest]| {
            let mut found = Vec::new();
            for digest in some {
                found.extend(self.beside(&directory(digest), known)?);
            }
            Ok(found)
        };
        let parts: Vec<Vec<Leftover>> = digests.par_chunks(DIRECTORIES_AT_ONCE).map(list).collect::<Result<_, Error>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}
