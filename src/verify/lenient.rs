//! Wraps a store so that a bad sector under a manifest, or a directory that cannot be listed, does not end the run.

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

/// Wraps a store. Treats a manifest that cannot be read as corrupt, and records and skips directories of blobs and of
/// repositories that cannot be listed. A collection must stop there. A command that only reads continues, and reports the
/// damage when it meets the blob again.
pub struct Lenient<'a> {
    store: &'a dyn Store,
    root: PathBuf,
    /// Whether to skip directories. A command that moves files does not.
    skips_directories: bool,
    /// Directories that cannot be listed, by path relative to the root, with the error.
    unlisted: Mutex<BTreeMap<PathBuf, String>>,
}

impl<'a> Lenient<'a> {
    /// Wraps a store whose paths begin with `root`.
    pub fn new(store: &'a dyn Store, root: &Path, skips_directories: bool) -> Lenient<'a> {
        Lenient { store, root: root.to_owned(), skips_directories, unlisted: Mutex::default() }
    }

    /// Records a directory that cannot be listed.
    fn skip(&self, error: Error) -> Result<(), Error> {
        match &error {
            Error::Io { path, .. } if self.skips_directories && !error.is_vanished() => {
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

    /// Whether a directory was skipped.
    pub fn has_passed_over(&self) -> bool {
        !self.unlisted().is_empty()
    }

    /// Whether a blob may be in a skipped directory.
    pub fn may_hide(&self, digest: &Digest) -> bool {
        let place = layout::blob_data(digest);
        self.unlisted().keys().any(|directory| place.starts_with(directory))
    }

    /// Findings about skipped directories.
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
        // Reading the manifest reports the error.
        self.store.manifest_start(digest).or(Ok(ManifestStart::Possible))
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(&mut |error| self.skip(error))
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
        self.store.blobs(partition, each).or_else(|error| self.skip(error).map(|()| Vec::new()))
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
