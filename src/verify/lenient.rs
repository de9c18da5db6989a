//! A store in which one bad sector under a manifest, or one directory that cannot be listed, does not end everything.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, Shard, Target};
use crate::oci::Digest;
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, Listing, ManifestContent, ManifestStart, Partition, Repository,
    RepositoryEntry, Shape, Stat, Store, Stray, Unlisted,
};

/// Another store, but a manifest that cannot be read is a corrupt one, and directories of blobs and of repositories that cannot be listed
/// are remembered and passed over. A collection must stop there; what only looks goes on, and will meet the blob again and say what is wrong
/// with it.
pub struct Lenient<'a> {
    store: &'a dyn Store,
    root: PathBuf,
    /// Whether directories are passed over: not by what moves anything.
    passes_over: bool,
    /// By path relative to the root: why it cannot be listed.
    unlisted: Mutex<BTreeMap<PathBuf, String>>,
}

impl<'a> Lenient<'a> {
    /// A store whose paths begin with `root`.
    pub fn new(store: &'a dyn Store, root: &Path, passes_over: bool) -> Lenient<'a> {
        Lenient { store, root: root.to_owned(), passes_over, unlisted: Mutex::default() }
    }

    /// Remembers that a directory cannot be listed.
    fn pass_over(&self, error: Error) -> Result<(), Error> {
        match &error {
            Error::Io { path, .. } if self.passes_over && !error.is_vanished() => {
                let place = path.strip_prefix(&self.root).unwrap_or(path).to_owned();
                self.unlisted().insert(place, error.to_string());
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn unlisted(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a directory was passed over.
    pub fn has_passed_over(&self) -> bool {
        !self.unlisted().is_empty()
    }

    /// Whether a blob may be there and was not listed.
    pub fn may_hide(&self, digest: &Digest) -> bool {
        let place = layout::blob_data(digest);
        self.unlisted().keys().any(|directory| place.starts_with(directory))
    }

    /// What was passed over.
    pub fn findings(&self) -> Vec<Finding> {
        let found = |(path, why): (&PathBuf, &String)| Finding::new(Code::UnreadableEntry).path(path).detail(format!("{why}."));
        self.unlisted().iter().map(found).collect()
    }
}

impl Store for Lenient<'_> {
    fn shape(&self) -> Shape {
        self.store.shape()
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        self.store.manifest(digest, read).or_else(|error| {
            tracing::debug!("{error}");
            Ok(ManifestContent::Corrupt)
        })
    }

    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        // Whatever is wrong, reading it will tell.
        self.store.manifest_start(digest).or(Ok(ManifestStart::Possible))
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(&mut |error| self.pass_over(error))
    }

    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(unlisted)
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        self.store.open(repository)
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        self.store.blob_condition(digest)
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        self.store.is_whole_on_disk(digest)
    }

    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        self.store.partitions()
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        self.store.blobs(partition, each).or_else(|error| self.pass_over(error).map(|()| Vec::new()))
    }

    fn beside_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        self.store.beside_blobs(shard, digests)
    }

    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.store.stat_blobs(shard, digests)
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        self.store.read_blob(digest, each)
    }

    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error> {
        self.store.symlink_target(link)
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        self.store.empty_directory(directory)
    }
}
