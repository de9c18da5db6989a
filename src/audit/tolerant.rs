//! A store in which one file that cannot be read does not end everything. A collection has to stop there; an audit goes on, and says what
//! it could not see.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::{
    BlobContent, Condition, FileState, Leftover, LinkContent, Listing, ManifestContent, ManifestStart, RepositoryEntry, Stat,
    Store, Stray, TagContent, Unlisted, Upload,
};

/// Another store. What cannot be read there is remembered, and answered as something that cannot be understood.
pub(crate) struct Tolerant<'a> {
    store: &'a dyn Store,
    root: PathBuf,
    /// By path relative to the root: whether it is a listing that failed, and why.
    failed: Mutex<BTreeMap<PathBuf, (bool, String)>>,
}

impl<'a> Tolerant<'a> {
    /// A store whose paths begin with `root`.
    pub(crate) fn new(store: &'a dyn Store, root: &Path) -> Tolerant<'a> {
        Tolerant { store, root: root.to_owned(), failed: Mutex::default() }
    }

    /// Remembers an I/O error and goes on with something else. That somebody takes things away meanwhile is told as ever.
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

    /// The same for each of many, one by one, if they cannot be had together.
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

    /// Tells what could not be read, in the place of all that was only found for that. Whether there was anything.
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
            // What nothing needs, and what a collection would do, is not known.
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
    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(&mut |error| self.or(Err(error), || ()))
    }

    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(unlisted)
    }

    fn manifest_strays(&self, repository: &RepositoryName) -> Result<Vec<Stray>, Error> {
        self.or(self.store.manifest_strays(repository), Vec::new)
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Listing<TagName>, Error> {
        self.or(self.store.tags(repository), Listing::default)
    }

    fn tag(&self, repository: &RepositoryName, tag: &TagName) -> Result<TagContent, Error> {
        let unknown = || TagContent { current: LinkContent::Irregular, history: Listing::default() };
        self.or(self.store.tag(repository, tag), unknown)
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        self.or(self.store.links(directory), Listing::default)
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        self.each(digests, |some| self.store.read_links(directory, some), || LinkContent::Irregular)
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        self.each(digests, |some| self.store.inspect_links(directory, some), || (LinkContent::Irregular, FileState::Irregular))
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.each(digests, |some| self.store.stat_links(directory, some), || FileState::Irregular)
    }

    fn uploads(&self, repository: &RepositoryName) -> Result<Listing<Upload>, Error> {
        self.or(self.store.uploads(repository), Listing::default)
    }

    fn leftovers(&self, directory: &Path, known: &[&str]) -> Result<Vec<Leftover>, Error> {
        self.or(self.store.leftovers(directory, known), Vec::new)
    }

    fn shards(&self) -> Result<Listing<Shard>, Error> {
        self.or(self.store.shards(), Listing::default)
    }

    fn blobs(&self, shard: Shard, each: &mut dyn FnMut(&Digest)) -> Result<Vec<Stray>, Error> {
        self.or(self.store.blobs(shard, each), Vec::new)
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
