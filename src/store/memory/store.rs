//! Reading and removing in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::backend::Locks;
use super::listing::{list, list_digests};
use super::repository::MemoryRepository;
use super::shelf::Lying;
use crate::error::Error;
use crate::layout::{self, MARKERS, Shard, Target};
use crate::oci::digest::hex_byte;
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::store::{
    BlobContent, Condition, Directories, EachBlob, FileState, KeepsNow, Leftover, LinkContent, Listing, MAX_MANIFEST_BYTES,
    ManifestContent, ManifestStart, Partition, Planned, Removal, Repository, RepositoryEntry, Shape, Stat, Store, Stray,
    StrayKind, Unlisted, Vacuum,
};
use crate::system_files::is_system_file;

/// Files and directories by their paths relative to the root. Knows no symbolic links and no special files.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tree: Mutex<BTreeMap<PathBuf, Node>>,
    pub(super) locks: Arc<Mutex<Locks>>,
    pub(super) notes: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(super) shelves: Mutex<BTreeMap<String, Lying>>,
}

#[derive(Clone, Debug)]
pub(in crate::store) struct Node {
    /// Nothing for a directory.
    pub(in crate::store) content: Option<Vec<u8>>,
    pub(in crate::store) modified: SystemTime,
    /// When it came to be where it is.
    pub(super) changed: SystemTime,
}

impl Node {
    pub(super) fn file(content: Vec<u8>, modified: SystemTime) -> Node {
        Node { content: Some(content), modified, changed: modified }
    }

    pub(super) fn stat(&self) -> Stat {
        Stat::new(self.content.as_ref().map_or(0, |content| content.len() as u64), self.modified)
    }

    pub(super) fn condition(&self) -> Condition {
        Condition { id: None, stat: self.stat(), changed: self.changed }
    }

    pub(in crate::store) fn manifest(node: Option<&Node>, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> ManifestContent {
        match node {
            None => ManifestContent::Absent,
            Some(Node { content: None, .. }) => ManifestContent::Irregular,
            Some(Node { content: Some(content), .. }) if content.len() as u64 > MAX_MANIFEST_BYTES => ManifestContent::TooLarge,
            Some(Node { content: Some(content), .. }) => match Digest::of(digest.algorithm(), content) == *digest {
                true => {
                    read(content);
                    ManifestContent::Verified
                }
                false => ManifestContent::Corrupt,
            },
        }
    }
}

/// All that lies in a directory, and the directory.
fn within(tree: &BTreeMap<PathBuf, Node>, directory: &Path) -> Vec<PathBuf> {
    let from = tree.range(directory.to_owned()..).map(|(path, _)| path);
    from.take_while(|path| path.starts_with(directory)).cloned().collect()
}

/// The clock that files get their times from, which for others is the kernel's.
#[expect(clippy::disallowed_methods, reason = "the store's own clock, not a pass's")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Adds a file, and the directories above it with the same age.
    pub fn add_file(&self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>, modified: SystemTime) {
        self.put(path.as_ref(), Node::file(content.into(), modified));
    }

    /// Puts a file somewhere, and the directories above it.
    pub(super) fn put(&self, path: &Path, node: Node) {
        self.add_directory(path.parent().unwrap_or(Path::new("")), node.modified);
        self.tree().insert(path.to_owned(), node);
    }

    /// A file or a directory; nothing if there is none.
    #[cfg(test)]
    pub(in crate::store) fn node(&self, path: &Path) -> Option<Node> {
        self.tree().get(path).cloned()
    }

    /// All files, sorted.
    #[cfg(test)]
    pub(in crate::store) fn nodes(&self) -> Vec<(PathBuf, Node)> {
        let tree = self.tree();
        let files = tree.iter().filter(|(_, node)| node.content.is_some());
        files.map(|(path, node)| (path.clone(), node.clone())).collect()
    }

    /// Lets a file be gone, and nothing else.
    #[cfg(test)]
    pub(crate) fn forget(&self, path: &Path) {
        self.tree().remove(path);
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.tree().contains_key(path)
    }

    /// What a file holds; nothing if there is none.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.tree().get(path)?.content.clone()
    }

    /// Adds a directory, and those above it with the same age.
    pub fn add_directory(&self, path: impl AsRef<Path>, modified: SystemTime) {
        let mut tree = self.tree();
        for directory in path.as_ref().ancestors().filter(|path| *path != Path::new("")) {
            tree.entry(directory.to_owned()).or_insert(Node { content: None, modified, changed: modified });
        }
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let tree = self.tree();
        let files = tree.iter().filter(|(_, node)| node.content.is_some());
        files.map(|(path, _)| path.clone()).collect()
    }

    pub(super) fn tree(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        self.tree.lock().expect("no test panics while it holds the tree")
    }

    /// Names of the entries of a directory, and whether each is a directory.
    pub(super) fn children(&self, directory: &Path) -> Vec<(PathBuf, bool)> {
        let tree = self.tree();
        tree.range(directory.to_owned()..)
            .skip(1)
            .take_while(|(path, _)| path.starts_with(directory))
            .filter(|(path, _)| path.parent() == Some(directory))
            .map(|(path, node)| (path.clone(), node.content.is_none()))
            .collect()
    }

    pub(super) fn list<T: Ord>(&self, directory: &Path, accept: impl Fn(&OsStr) -> Option<T>) -> Listing<T> {
        list(self.children(directory), accept)
    }

    pub(super) fn list_digests(&self, directory: &Path) -> Listing<Digest> {
        list_digests(directory, &|directory| self.children(directory))
    }

    pub(super) fn read_link(&self, path: &Path) -> LinkContent {
        match self.tree().get(path) {
            None => LinkContent::Absent,
            Some(Node { content: None, .. }) => LinkContent::Irregular,
            Some(Node { content: Some(content), .. }) if content.is_empty() => LinkContent::Empty,
            Some(Node { content: Some(content), .. }) => Digest::parse(content).map_or(LinkContent::Garbled, LinkContent::Digest),
        }
    }

    pub(super) fn state(&self, path: &Path) -> FileState {
        match self.tree().get(path) {
            None => FileState::Absent,
            Some(Node { content: None, .. }) => FileState::Irregular,
            Some(Node { content: Some(content), modified, .. }) => FileState::File(Stat::new(content.len() as u64, *modified)),
        }
    }
}

impl Store for MemoryStore {
    fn shape(&self) -> Shape {
        Shape::Tree
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        let base = Path::new(layout::REPOSITORIES);
        let mut found = BTreeSet::new();
        let mut strays = Vec::new();
        let mut directories = vec![base.to_owned()];
        while let Some(directory) = directories.pop() {
            for (path, is_directory) in self.children(&directory) {
                let is_marker = MARKERS.iter().any(|marker| path.file_name() == Some(OsStr::new(marker)));
                if is_system_file(path.file_name().expect("children have names").as_encoded_bytes(), is_directory) {
                    strays.push(Stray { path, kind: StrayKind::SystemFile });
                    continue;
                }
                match (is_directory, is_marker) {
                    (true, false) => directories.push(path),
                    (true, true) if directory != base => {
                        found.insert(directory.strip_prefix(base).expect("the walk began there").to_owned());
                    }
                    _ => strays.push(Stray { path, kind: StrayKind::Unrecognised }),
                }
            }
        }
        let entries = found.into_iter().map(|path| RepositoryEntry { name: RepositoryName::new(path), foreign: None });
        Ok(Listing { entries: entries.collect(), strays }.sorted())
    }

    fn listable_repositories(&self, _: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.repositories()
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        Ok(Box::new(MemoryRepository::new(self, &repository.name)))
    }

    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let base = Path::new(layout::BLOBS);
        let algorithms = self.list(base, |name| Algorithm::from_name(name.as_encoded_bytes()));
        let mut all = Listing { entries: Vec::new(), strays: algorithms.strays };
        for algorithm in algorithms.entries {
            let shards = self.list(&base.join(algorithm.name()), |name| {
                hex_byte(name.as_encoded_bytes()).map(|byte| Partition::from(Shard { algorithm, byte }))
            });
            all.entries.extend(shards.entries);
            all.strays.extend(shards.strays);
        }
        Ok(all.sorted())
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let mut strays = Vec::new();
        for byte in partition.bytes() {
            let shard = Shard { algorithm: partition.algorithm(), byte };
            let listing = self.list(&shard.path(), |hex| {
                Digest::from_hex(shard.algorithm, hex.as_encoded_bytes()).filter(|digest| digest.shard() == shard.byte)
            });
            listing.entries.iter().for_each(|digest| each(digest, None));
            strays.extend(listing.strays);
        }
        Ok(strays)
    }

    fn stat_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(digests.iter().map(|digest| self.state(&layout::blob_data(digest))).collect())
    }

    fn beside_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        let directory = |digest: &Digest| Target::EmptyBlobDirectory(*digest).path();
        Ok(digests.iter().flat_map(|digest| self.beside(&directory(digest), &layout::IN_BLOB_DIRECTORY)).collect())
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        Ok(Node::manifest(self.tree().get(&layout::blob_data(digest)), digest, read))
    }

    fn manifest_start(&self, _: &Digest) -> Result<ManifestStart, Error> {
        Ok(ManifestStart::Possible)
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        let tree = self.tree();
        Ok(tree.get(&layout::blob_data(digest)).filter(|node| node.content.is_some()).map(Node::condition))
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        let content = self.content(&layout::blob_data(digest));
        Ok(content.map(|content| Digest::of(digest.algorithm(), &content) == *digest))
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        let node = self.tree().get(&layout::blob_data(digest)).cloned();
        match node {
            None => BlobContent::Absent,
            Some(Node { content: None, .. }) => BlobContent::Irregular,
            Some(Node { content: Some(bytes), modified, .. }) => match each(&bytes) {
                ControlFlow::Continue(()) => BlobContent::Whole(Stat::new(bytes.len() as u64, modified)),
                ControlFlow::Break(()) => BlobContent::Abandoned,
            },
        }
    }

    fn symlink_target(&self, _: &Path) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        let path = directory.path();
        if let Target::EmptyTag(..) = directory {
            let tree = self.tree();
            let within = within(&tree, &path);
            let is_empty = within.iter().all(|path| tree[path].content.is_none());
            let youngest = within.iter().map(|path| tree[path].stat()).max_by_key(|stat| stat.modified);
            return Ok(youngest.filter(|_| is_empty));
        }
        if let Target::EmptyRepository(_) = directory {
            let tree = self.tree();
            let directories = [path.clone()].into_iter().chain(MARKERS.map(|marker| path.join(marker)));
            let found = directories.filter_map(|path| tree.get(&path).filter(|node| node.content.is_none()).map(Node::stat));
            return Ok(found.max_by_key(|stat| stat.modified));
        }
        let modified = match self.tree().get(&path) {
            Some(Node { content: None, modified, .. }) => *modified,
            _ => return Ok(None),
        };
        Ok(self.children(&path).is_empty().then_some(Stat::new(0, modified)))
    }
}

impl MemoryStore {
    /// Looks at a file once more, gives it to `dispose` if it is as planned, and then sees to its directory.
    pub(super) fn dispose_of(
        &self,
        planned: &Planned<'_>,
        directories: Directories,
        dispose: impl FnOnce(&Node) -> Result<(), Error>,
    ) -> Result<Removal, Error> {
        let path = planned.target.path();
        let removal = match self.state(&path) {
            FileState::Absent => Removal::AlreadyGone,
            FileState::Irregular => return Ok(Removal::Changed("it is of another type now")),
            FileState::File(stat) if stat.size_bytes != planned.stat.size_bytes => {
                return Ok(Removal::Changed("its size has changed"));
            }
            FileState::File(stat) if stat.modified != planned.stat.modified => {
                return Ok(Removal::Changed("it was written to in the meantime"));
            }
            FileState::File(_) => {
                dispose(&self.tree()[&path])?;
                self.tree().remove(&path);
                Removal::Removed
            }
        };
        let directory = path.parent().expect("targets lie in directories");
        if directories == Directories::Prune {
            if self.children(directory).is_empty() {
                self.tree().remove(directory);
            }
            self.prune_tag(planned.target);
            self.prune_upload(planned.target);
        }
        Ok(removal)
    }

    /// Forgets the directories of an upload if there is no file in them. Says whether there is none any more.
    fn prune_upload(&self, target: &Target) -> bool {
        let Some((repository, id)) = target.upload() else { return true };
        let mut tree = self.tree();
        let within = within(&tree, &layout::upload_directory(repository, id));
        let is_empty = within.iter().all(|path| tree[path].content.is_none());
        if is_empty {
            within.iter().for_each(|path| drop(tree.remove(path)));
        }
        is_empty
    }

    /// Forgets the directories of a tag in which nothing is left.
    fn prune_tag(&self, target: &Target) {
        let (Some(repository), Some(tag)) = (target.repository(), target.tag()) else { return };
        let directory = layout::tag_directory(repository, tag);
        let mut tree = self.tree();
        let within = within(&tree, &directory);
        // What lies deepest shows whether the rest is only around it.
        let deepest = if matches!(target, Target::EmptyTag(..)) { 3 } else { 2 };
        let is_ours = |path: &PathBuf| {
            tree[path].content.is_none() && path.components().count() <= directory.components().count() + deepest
        };
        if within.iter().all(is_ours) {
            within.iter().for_each(|path| drop(tree.remove(path)));
        }
    }

    /// Forgets the directories that make a repository one, and those around it, if there is no file in them.
    fn prune_repository(&self, path: &Path) -> Removal {
        let mut tree = self.tree();
        if !tree.contains_key(path) {
            return Removal::AlreadyGone;
        }
        let markers: Vec<PathBuf> = MARKERS.iter().flat_map(|marker| within(&tree, &path.join(marker))).collect();
        if markers.iter().any(|path| tree[path].content.is_some()) {
            return Removal::Changed("something is in it by now, or lies in it that no registry puts there");
        }
        markers.iter().for_each(|path| drop(tree.remove(path)));
        let base = Path::new(layout::REPOSITORIES);
        for directory in path.ancestors().take_while(|directory| *directory != base) {
            if within(&tree, directory).len() > 1 {
                break;
            }
            tree.remove(directory);
        }
        Removal::Removed
    }

    fn remove_directory(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        let path = planned.target.path();
        if let Target::EmptyRepository(_) = planned.target {
            return Ok(self.prune_repository(&path));
        }
        if let Target::EmptyTag(..) = planned.target {
            let is_there = self.contains(&path);
            self.prune_tag(planned.target);
            return Ok(match (is_there, self.contains(&path)) {
                (false, _) => Removal::AlreadyGone,
                (true, false) => Removal::Removed,
                (true, true) => Removal::Changed("it is not empty any more"),
            });
        }
        if planned.target.upload().is_some() {
            return Ok(match self.tree().get(&path).map(Node::stat) {
                None => Removal::AlreadyGone,
                Some(stat) if stat != *planned.stat => Removal::Changed("it was written to in the meantime"),
                Some(_) if self.prune_upload(planned.target) => Removal::Removed,
                Some(_) => Removal::Changed("it is not empty any more"),
            });
        }
        Ok(match self.empty_directory(planned.target)? {
            Some(stat) if stat == *planned.stat => {
                self.tree().remove(&path);
                self.prune_tag(planned.target);
                Removal::Removed
            }
            Some(_) => Removal::Changed("it was written to in the meantime"),
            None if self.contains(&path) => Removal::Changed("it is not empty any more"),
            None => Removal::AlreadyGone,
        })
    }
}

impl Vacuum for MemoryStore {
    fn batch(&self) -> usize {
        1
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        let remove = |planned: &Planned<'_>| match planned.target.is_directory() {
            true => self.remove_directory(planned),
            false => self.dispose_of(planned, Directories::Prune, |_| Ok(())),
        };
        batch.iter().map(remove).collect()
    }

    fn takes_room(&self) -> bool {
        false
    }

    fn keeps_now(&self, _: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error> {
        Ok(KeepsNow::without_undo(is_changed))
    }

    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}
