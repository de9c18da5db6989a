//! The store with what is in quarantine: what a marker has to see.
//!
//! A manifest that was quarantined may be needed again by now, and what it names with it. So blobs in quarantine are listed with the
//! store's, and manifests are read from there if the store has them no more. Links are only the store's: what went with them is not
//! served, and keeps nothing alive. Where a blob is in both, the store's counts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use foldhash::HashSet;

use super::Purpose;
use super::{Quarantine, Run};
use crate::error::Error;
use crate::layout::{Shard, Target};
use crate::oci::Digest;
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, Listing, ManifestContent, ManifestStart, Partition, Repository,
    RepositoryEntry, Shape, Stat, Store, Stray, Unlisted,
};

/// A store and the blobs that collections have moved out of it.
pub struct Overlay<'a> {
    store: &'a dyn Store,
    quarantine: &'a Quarantine<'a>,
    /// The runs that hold each blob.
    blobs: BTreeMap<Shard, BTreeMap<Digest, usize>>,
    /// What `verify` has quarantined.
    corrupt: HashSet<Digest>,
}

impl<'a> Overlay<'a> {
    /// About how much memory the quarantine takes.
    pub fn memory_bytes(&self) -> u64 {
        self.quarantine.memory_bytes()
    }

    /// The blobs that are in quarantine, whether or not the store has them too.
    pub fn quarantined(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.values().flat_map(BTreeMap::keys)
    }

    /// Lays a quarantine over its store. Corrupt blobs that `verify` has quarantined are left out: nobody is to read them.
    pub fn new(store: &'a dyn Store, quarantine: &'a Quarantine<'a>) -> Overlay<'a> {
        let mut blobs: BTreeMap<Shard, BTreeMap<Digest, usize>> = BTreeMap::new();
        for (place, run) in quarantine.runs.iter().enumerate().filter(|(_, run)| run.stamp().purpose.is_of_collection()) {
            for held in run.held() {
                if let Target::Blob(digest) = held.target {
                    blobs.entry(Shard::of(&digest)).or_default().insert(digest, place);
                }
            }
        }
        let verified = quarantine.runs.iter().filter(|run| run.stamp().purpose == Purpose::Verify);
        let corrupt = verified.flat_map(Run::held).filter_map(|held| held.target.digest().copied()).collect();
        Overlay { store, quarantine, blobs, corrupt }
    }
}

impl Store for Overlay<'_> {
    fn shape(&self) -> Shape {
        self.store.shape()
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.repositories()
    }

    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.store.listable_repositories(unlisted)
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        self.store.open(repository)
    }

    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let mut partitions = self.store.partitions()?;
        let is_new = |shard: &&Shard| !partitions.entries.iter().any(|partition| partition.holds(**shard));
        let more: Vec<Partition> = self.blobs.keys().filter(is_new).map(|shard| Partition::from(*shard)).collect();
        partitions.entries.extend(more);
        partitions.entries.sort_unstable();
        Ok(partitions)
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let more: Vec<_> = self.blobs.iter().filter(|(shard, _)| partition.holds(**shard)).collect();
        if more.is_empty() {
            return self.store.blobs(partition, each);
        }
        let mut seen: HashSet<Digest> = HashSet::default();
        let strays = self.store.blobs(partition, &mut |digest, state| {
            seen.insert(*digest);
            each(digest, state);
        })?;
        // A listing of keys has told that these are not there.
        let absent = (self.store.shape() == Shape::Keys).then_some(&FileState::Absent);
        let more = more.into_iter().flat_map(|(_, digests)| digests.keys());
        more.filter(|digest| !seen.contains(digest)).for_each(|digest| each(digest, absent));
        Ok(strays)
    }

    /// Of the store alone: what is in quarantine is not there to go a second time.
    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.store.stat_blobs(shard, digests)
    }

    fn beside_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        self.store.beside_blobs(shard, digests)
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        match self.store.manifest(digest, read)? {
            ManifestContent::Absent => match self.blobs.get(&Shard::of(digest)).and_then(|blobs| blobs.get(digest)) {
                Some(&place) => self.quarantine.runs[place].manifest(digest, read),
                // It waits to be pushed again, and what it names waits with it.
                None if self.corrupt.contains(digest) => Ok(ManifestContent::Corrupt),
                None => Ok(ManifestContent::Absent),
            },
            content => Ok(content),
        }
    }

    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        self.store.manifest_start(digest)
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        self.store.read_blob(digest, each)
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        self.store.blob_condition(digest)
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        self.store.is_whole_on_disk(digest)
    }

    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error> {
        self.store.symlink_target(link)
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        self.store.empty_directory(directory)
    }
}
