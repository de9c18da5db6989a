//! The store with what is in quarantine: what a marker has to see.
//!
//! A manifest that was quarantined may be needed again by now, and what it names with it. So blobs in quarantine are listed with the
//! store's, and manifests are read from there if the store has them no more. Links are only the store's: what went with them is not
//! served, and keeps nothing alive. Where a blob is in both, the store's counts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use foldhash::{HashMap, HashSet};

use super::Purpose;
use super::{Quarantine, Run};
use crate::error::Error;
use crate::layout::{LinkDirectory, Shard, Target};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Held, Leftover, Listing, ManifestContent, ManifestStart, Partition, Repository,
    RepositoryEntry, Shape, Stat, Store, Stray, Unlisted,
};

/// A store and the blobs that collections have moved out of it.
pub struct Overlay<'a> {
    store: &'a dyn Store,
    quarantine: &'a Quarantine<'a>,
    /// The shards in which these runs hold blobs. Which ones is in their own lists.
    shards: BTreeSet<Shard>,
    /// What `verify` has quarantined.
    corrupt: HashSet<Digest>,
    /// Other names of blobs (H3) whose layer links are in quarantine, each with what it names.
    aliases: HashMap<RepositoryName, Vec<(Digest, Digest)>>,
}

impl<'a> Overlay<'a> {
    /// About how much memory the quarantine takes.
    pub fn memory_bytes(&self) -> u64 {
        self.quarantine.memory_bytes()
    }

    /// The blobs that are in quarantine, whether or not the store has them too.
    pub fn quarantined(&self) -> impl Iterator<Item = &Digest> {
        self.quarantine.collected().flat_map(Run::blobs).filter_map(|held| held.target.digest())
    }

    /// Lays a quarantine over its store. Corrupt blobs that `verify` has quarantined are left out: nobody is to read them.
    pub fn new(store: &'a dyn Store, quarantine: &'a Quarantine<'a>) -> Overlay<'a> {
        let blobs = quarantine.collected().flat_map(Run::blobs).filter_map(|held| held.target.digest());
        let shards = blobs.map(Shard::of).collect();
        let verified = quarantine.runs.iter().filter(|run| run.stamp().purpose == Purpose::Verify);
        let corrupt = verified.flat_map(Run::held).filter_map(|held| held.target.digest().copied()).collect();
        Overlay { store, quarantine, shards, corrupt, aliases: aliases(quarantine) }
    }

    /// What repositories know blobs by whose layer links are in quarantine, each with what it names.
    pub fn moved_aliases(&self, repository: &RepositoryName) -> Vec<(Digest, Digest)> {
        self.aliases.get(repository).cloned().unwrap_or_default()
    }
}

fn aliases(quarantine: &Quarantine<'_>) -> HashMap<RepositoryName, Vec<(Digest, Digest)>> {
    let mut aliases: HashMap<RepositoryName, Vec<(Digest, Digest)>> = HashMap::default();
    for (run, held) in quarantine.collected().flat_map(|run| run.held().iter().map(move |held| (run, held))) {
        if let Target::Link(LinkDirectory::Layers(repository), alias) = &held.target
            && alias.algorithm() != Algorithm::Sha256
            && let Some(canonical) = run.read_link(&held.target)
        {
            aliases.entry(repository.clone()).or_default().push((*alias, canonical));
        }
    }
    aliases
}

/// The blobs of one shard that a run holds.
fn in_shard<'r>(run: &'r Run<'_>, shard: Shard) -> impl Iterator<Item = &'r Digest> {
    let digests = |held: &'r Held| held.target.digest();
    let blobs = run.blobs();
    let first = blobs.partition_point(|held| digests_shard(held) < Some(shard));
    blobs[first..].iter().take_while(move |held| digests_shard(held) == Some(shard)).filter_map(digests)
}

fn digests_shard(held: &Held) -> Option<Shard> {
    held.target.digest().map(Shard::of)
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
        let more: Vec<Partition> = self.shards.iter().filter(is_new).map(|shard| Partition::from(*shard)).collect();
        partitions.entries.extend(more);
        partitions.entries.sort_unstable();
        Ok(partitions)
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let more: Vec<Shard> = self.shards.iter().copied().filter(|shard| partition.holds(*shard)).collect();
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
        let more = more.into_iter().flat_map(|shard| self.quarantine.collected().flat_map(move |run| in_shard(run, shard)));
        // Several runs may hold the same.
        more.filter(|digest| seen.insert(**digest)).for_each(|digest| each(digest, absent));
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
            ManifestContent::Absent => match self.quarantine.collected().filter(|run| run.has_blob(digest)).last() {
                Some(run) => run.manifest(digest, read),
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
