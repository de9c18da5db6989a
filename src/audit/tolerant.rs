//! Wraps a store so that a file that cannot be read does not end the run. A collection must stop there; an audit continues
//! and reports what it could not read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::oci::{Algorithm, Digest, TagName};
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, LinkContent, Listing, ManifestContent, ManifestStart, Partition,
    Repository, RepositoryEntry, Shape, Stat, Store, Stray, TagContent, Unlisted, Upload, UploadContents,
};

/// Wraps a store. Records entries that cannot be read, and answers as if they could not be understood.
pub(crate) struct Tolerant<'a> {
    store: &'a dyn Store,
    root: PathBuf,
    /// By path relative to the root: whether a listing failed, and the error.
    failed: Mutex<BTreeMap<PathBuf, (bool, String)>>,
}

impl<'a> Tolerant<'a> {
    /// Wraps a store whose paths begin with `root`.
    pub(crate) fn new(store: &'a dyn Store, root: &Path) -> Tolerant<'a> {
        Tolerant { store, root: root.to_owned(), failed: Mutex::default() }
    }

    /// Records an I/O error and returns `instead`. An entry that a concurrent writer removed remains an error.
    fn or<T>(&self, result: Result<T, Error>, instead: impl FnOnce() -> T) -> Result<T, Error> {
        match result {
            Err(error) if !error.is_vanished() => match &error {
                Error::Io { path, operation, .. } => {
                    let place = path.strip_prefix(&self.root).unwrap_or(path).to_owned();
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.insert(place, (*operation == "list", error.to_string()));
                    Ok(instead())
                }
                _ => Err(error),
            },
            other => other,
        }
    }

    /// Asks about all digests at once or, if that fails, one by one.
    fn each<T>(
        &self,
        digests: &[Digest],
        ask: impl Fn(&[Digest]) -> Result<Vec<T>, Error>,
        instead: impl Fn() -> T,
    ) -> Result<Vec<T>, Error> {
        match ask(digests) {
            Err(Error::Io { .. }) => {
                let mut all = Vec::with_capacity(digests.len());
                for digest in digests {
                    all.extend(self.or(ask(&[*digest]), || vec![instead()])?);
                }
                Ok(all)
            }
            other => other,
        }
    }

    /// Entries beside each digest, without those that cannot be listed.
    fn beside(
        &self,
        digests: &[Digest],
        ask: impl Fn(&[Digest]) -> Result<Vec<Leftover>, Error>,
    ) -> Result<Vec<Leftover>, Error> {
        match ask(digests) {
            Err(Error::Io { .. }) => {
                let mut all = Vec::new();
                for digest in digests {
                    all.extend(self.or(ask(&[*digest]), Vec::new)?);
                }
                Ok(all)
            }
            other => other,
        }
    }

    /// Adds a finding for each unreadable entry, and drops findings that only follow from it. Returns whether there was any.
    pub(crate) fn judge(self, findings: &mut Vec<Finding>) -> bool {
        let failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let listings: BTreeSet<&PathBuf> = failed.iter().filter(|(_, (listing, _))| *listing).map(|(path, _)| path).collect();
        let any_blobs = listings.iter().any(|path| path.starts_with(layout::BLOBS));
        findings.retain(|finding| {
            let in_unseen = finding.repository.as_ref().is_some_and(|repository| {
                let directory = layout::repository_directory(repository);
                listings.iter().any(|path| path.starts_with(&directory))
            });
            let is_failed = finding.path.as_ref().is_some_and(|path| failed.contains_key(path));
            let is_missing = any_blobs && (finding.code.is_absence() || finding.code == Code::BrokenLayerLink);
            // An entry that could not be read may need what looks like waste.
            let is_waste = !failed.is_empty() && finding.code.is_waste();
            !(in_unseen || is_failed || is_missing || is_waste)
        });
        findings.extend(
            failed.iter().map(|(path, (_, why))| Finding::new(Code::UnreadableEntry).path(path).detail(format!("{why}."))),
        );
        !failed.is_empty()
    }
}

impl Store for Tolerant<'_> {
    fn shape(&self) -> Shape {
        self.store.shape()
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(&mut |error| self.or(Err(error), || ()))
    }

    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(unlisted)
    }

    fn open<'s>(&'s self, entry: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        let repository = self.or(self.store.open(entry).map(Some), || None)?;
        Ok(Box::new(TolerantRepository { tolerant: self, repository }))
    }

    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        self.or(self.store.partitions(), Listing::default)
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        self.or(self.store.blobs(partition, each), Vec::new)
    }

    fn beside_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        self.beside(digests, |some| self.store.beside_blobs(shard, some))
    }

    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.each(digests, |some| self.store.stat_blobs(shard, some), || FileState::Irregular)
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        self.or(self.store.blob_condition(digest), || None)
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        self.or(self.store.is_whole_on_disk(digest), || None)
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        self.or(self.store.manifest(digest, read), || ManifestContent::Corrupt)
    }

    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        self.or(self.store.manifest_start(digest), || ManifestStart::Possible)
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        self.store.read_blob(digest, each)
    }

    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error> {
        self.or(self.store.symlink_target(link), || None)
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        self.or(self.store.empty_directory(directory), || None)
    }
}

/// A repository of a tolerant store. A repository that cannot be opened looks empty.
struct TolerantRepository<'s> {
    tolerant: &'s Tolerant<'s>,
    repository: Option<Box<dyn Repository + 's>>,
}

impl TolerantRepository<'_> {
    fn ask<T>(&self, ask: impl FnOnce(&dyn Repository) -> Result<T, Error>, instead: impl FnOnce() -> T) -> Result<T, Error> {
        match &self.repository {
            Some(repository) => self.tolerant.or(ask(&**repository), instead),
            None => Ok(instead()),
        }
    }

    fn each<T: Clone>(
        &self,
        digests: &[Digest],
        ask: impl Fn(&dyn Repository, &[Digest]) -> Result<Vec<T>, Error>,
        instead: T,
    ) -> Result<Vec<T>, Error> {
        match &self.repository {
            Some(repository) => self.tolerant.each(digests, |some| ask(&**repository, some), || instead.clone()),
            None => Ok(vec![instead; digests.len()]),
        }
    }
}

impl Repository for TolerantRepository<'_> {
    fn has_directory(&self, marker: &str) -> Result<bool, Error> {
        self.ask(|repository| repository.has_directory(marker), || false)
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        self.ask(|repository| repository.links(directory), Listing::default)
    }

    fn manifest_strays(&self) -> Result<Vec<Stray>, Error> {
        self.ask(|repository| repository.manifest_strays(), Vec::new)
    }

    fn tags(&self) -> Result<Listing<TagName>, Error> {
        self.ask(|repository| repository.tags(), Listing::default)
    }

    fn tag(&self, tag: &TagName) -> Result<TagContent, Error> {
        let unknown = || TagContent { current: LinkContent::Irregular, history: Listing::default() };
        self.ask(|repository| repository.tag(tag), unknown)
    }

    fn stat_tag(&self, tag: &TagName) -> Result<FileState, Error> {
        self.ask(|repository| repository.stat_tag(tag), || FileState::Absent)
    }

    fn tag_changed(&self, tag: &TagName) -> Result<Option<SystemTime>, Error> {
        self.ask(|repository| repository.tag_changed(tag), || None)
    }

    fn stat_list(&self, directory: &LinkDirectory, algorithm: Algorithm) -> Result<Option<Stat>, Error> {
        self.ask(|repository| repository.stat_list(directory, algorithm), || None)
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        self.each(digests, |repository, some| repository.read_links(directory, some), LinkContent::Irregular)
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        let unknown = (LinkContent::Irregular, FileState::Irregular);
        self.each(digests, |repository, some| repository.inspect_links(directory, some), unknown)
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.each(digests, |repository, some| repository.stat_links(directory, some), FileState::Irregular)
    }

    fn beside_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        match &self.repository {
            Some(repository) => self.tolerant.beside(digests, |some| repository.beside_links(directory, some)),
            None => Ok(Vec::new()),
        }
    }

    fn beside_tag(&self, tag: &TagName) -> Result<Vec<Leftover>, Error> {
        self.ask(|repository| repository.beside_tag(tag), Vec::new)
    }

    fn uploads(&self) -> Result<Listing<Upload>, Error> {
        self.ask(|repository| repository.uploads(), Listing::default)
    }

    fn upload_contents(&self, id: &OsStr) -> Result<Option<UploadContents>, Error> {
        self.ask(|repository| repository.upload_contents(id), || None)
    }

    fn beside_upload(&self, id: &OsStr) -> Result<Vec<Leftover>, Error> {
        self.ask(|repository| repository.beside_upload(id), Vec::new)
    }
}
