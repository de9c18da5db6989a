//! Reading a bucket.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::bucket::{Bucket, Etags, Fails, Level, Request};
use super::keys::Keys;
use super::repository::ObjectRepository;
use crate::error::Error;
use crate::layout::{self, MARKERS, Shard, Target};
use crate::oci::digest::hex_byte;
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::store::memory::Node;
use crate::store::values::begins_as_object;
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, Listing, MAX_MANIFEST_BYTES, ManifestContent, ManifestStart,
    MemoryStore, Partition, Repository, RepositoryEntry, SMALL_MANIFEST_BYTES, Shape, Stat, Store, Stray, StrayKind, Unlisted,
};
use crate::system_files::{is_of_a_fork, is_system_file};

/// A store in a bucket.
#[derive(Debug)]
pub(crate) struct ObjectStore {
    pub(super) bucket: Bucket,
}

impl ObjectStore {
    /// A bucket that holds all files of a tree. Its listings come in another order for each seed.
    pub(crate) fn new(memory: MemoryStore, etags: Etags, seed: u64) -> ObjectStore {
        ObjectStore { bucket: Bucket::new(memory, etags, seed) }
    }

    /// The keys, and what they hold.
    pub(crate) fn memory(&self) -> &MemoryStore {
        &self.bucket.memory
    }

    /// Counts requests from now on, and lets the one of that number fail, counted from 1.
    pub(crate) fn begin(&self, fault: Option<(usize, Fails)>) {
        self.bucket.begin(fault);
    }

    /// What was asked since then, in order, and about which key or prefix.
    pub(crate) fn log(&self) -> Vec<(Request, PathBuf)> {
        self.bucket.log()
    }

    /// Where the blobs of one partition are listed: a prefix may end in the middle of a name.
    fn prefixes(partition: &Partition) -> Vec<String> {
        let base = format!("{}/{}", layout::BLOBS, partition.algorithm().name());
        let (first, last) = (*partition.bytes().start(), *partition.bytes().end());
        match first % 16 == 0 && last == first + 15 {
            true => vec![format!("{base}/{:x}", first / 16)],
            false => partition.bytes().map(|byte| format!("{base}/{byte:02x}/")).collect(),
        }
    }
}

impl Store for ObjectStore {
    fn shape(&self) -> Shape {
        Shape::Keys
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.listable_repositories(&mut Err)
    }

    /// Level by level, up to what makes a repository.
    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        let base = Path::new(layout::REPOSITORIES);
        let mut found = Listing { entries: Vec::new(), strays: Vec::new() };
        let mut level = vec![base.to_owned()];
        while !level.is_empty() {
            let list = |directory: &PathBuf| self.bucket.list_level(&format!("{}/", directory.display()));
            let listed: Vec<Result<Level, Error>> = level.par_iter().map(list).collect();
            let mut below = Vec::new();
            for (directory, listed) in level.iter().zip(listed) {
                let Level { keys, prefixes } = match listed {
                    Ok(listed) => listed,
                    Err(error) => {
                        unlisted(error)?;
                        continue;
                    }
                };
                let mut is_repository = false;
                let entries = prefixes.into_iter().map(|path| (path, true)).chain(keys.into_iter().map(|path| (path, false)));
                for (path, is_directory) in entries {
                    let name = path.file_name().expect("entries have names");
                    let is_marker = is_directory && MARKERS.iter().any(|marker| name == OsStr::new(marker));
                    match () {
                        () if is_system_file(name.as_encoded_bytes(), is_directory) => {
                            found.strays.push(Stray { path, kind: StrayKind::SystemFile });
                        }
                        () if is_marker && directory != base => is_repository = true,
                        () if is_directory && !is_marker && !is_of_a_fork(name.as_encoded_bytes()) => below.push(path),
                        () => found.strays.push(Stray { path, kind: StrayKind::Unrecognised }),
                    }
                }
                if is_repository {
                    let name = RepositoryName::new(directory.strip_prefix(base).expect("the walk began there"));
                    found.entries.push(RepositoryEntry { name, set_apart: None });
                }
            }
            level = below;
        }
        Ok(found.sorted())
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        Ok(Box::new(ObjectRepository::open(&self.bucket, &repository.name)?))
    }

    /// Sixteen shards each.
    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let unrecognised = |path| Stray { path, kind: StrayKind::Unrecognised };
        let Level { keys, prefixes } = self.bucket.list_level(&format!("{}/", layout::BLOBS))?;
        let mut all = Listing { entries: Vec::new(), strays: keys.into_iter().map(unrecognised).collect() };
        for path in prefixes {
            let name = path.file_name().expect("entries have names");
            let Some(algorithm) = Algorithm::from_name(name.as_encoded_bytes()) else {
                all.strays.push(unrecognised(path));
                continue;
            };
            let Level { keys, prefixes } = self.bucket.list_level(&format!("{}/", path.display()))?;
            all.strays.extend(keys.into_iter().map(unrecognised));
            for path in prefixes {
                match hex_byte(path.file_name().expect("entries have names").as_encoded_bytes()) {
                    Some(byte) => all.entries.push(Partition::new(algorithm, byte / 16 * 16..=byte / 16 * 16 + 15)),
                    None => all.strays.push(unrecognised(path)),
                }
            }
        }
        let mut all = all.sorted();
        all.entries.dedup();
        Ok(all)
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let mut listed = Vec::new();
        for prefix in ObjectStore::prefixes(partition) {
            listed.extend(self.bucket.list(&prefix)?);
        }
        let keys = Keys::new(listed);
        let mut strays = Vec::new();
        for byte in partition.bytes() {
            let shard = Shard { algorithm: partition.algorithm(), byte };
            let mut listing = keys.list(&shard.path(), |hex| {
                Digest::from_hex(shard.algorithm, hex.as_encoded_bytes()).filter(|digest| digest.shard() == byte)
            });
            self.bucket.shuffle(&shard.relative(), &mut listing.entries);
            listing.entries.iter().for_each(|digest| each(digest, Some(&keys.state(&layout::blob_data(digest)))));
            strays.extend(listing.strays);
        }
        Ok(strays)
    }

    fn stat_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        let look = |digest: &Digest| {
            Ok(self.bucket.head(&layout::blob_data(digest))?.map_or(FileState::Absent, |listed| FileState::File(listed.stat())))
        };
        digests.iter().map(look).collect()
    }

    /// One listing of the shard, or of the one blob.
    fn beside_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        let directory = |digest: &Digest| Target::EmptyBlobDirectory(*digest).path();
        let prefix = match digests {
            [] => return Ok(Vec::new()),
            [one] => directory(one),
            _ => shard.path(),
        };
        let keys = Keys::new(self.bucket.list(&format!("{}/", prefix.display()))?);
        Ok(digests.iter().flat_map(|digest| keys.beside(&directory(digest), &layout::IN_BLOB_DIRECTORY)).collect())
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        let condition = |stat: Stat| Condition { id: None, stat, changed: stat.modified };
        Ok(self.bucket.head(&layout::blob_data(digest))?.map(|listed| condition(listed.stat())))
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        Ok(Node::manifest(self.bucket.get(&layout::blob_data(digest))?.as_ref(), digest, read))
    }

    /// One GET of a range, whose answer tells the size as well.
    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        let node = self.bucket.get(&layout::blob_data(digest))?;
        Ok(match node.and_then(|node| node.content) {
            Some(content) if content.len() as u64 > MAX_MANIFEST_BYTES => ManifestStart::TooLarge,
            Some(content) if content.len() as u64 > SMALL_MANIFEST_BYTES && !begins_as_object(&content) => {
                ManifestStart::NotAnObject
            }
            _ => ManifestStart::Possible,
        })
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        match self.bucket.get(&layout::blob_data(digest)) {
            Ok(Some(Node { content: Some(bytes), modified, .. })) => match each(&bytes) {
                ControlFlow::Continue(()) => BlobContent::Whole(Stat::new(bytes.len() as u64, modified)),
                ControlFlow::Break(()) => BlobContent::Abandoned,
            },
            Ok(_) => BlobContent::Absent,
            Err(error) => BlobContent::Failed { offset: 0, source: std::io::Error::other(error.to_string()) },
        }
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        let content = self.bucket.get(&layout::blob_data(digest))?.and_then(|node| node.content);
        Ok(content.map(|content| Digest::of(digest.algorithm(), &content) == *digest))
    }

    fn symlink_target(&self, _: &Path) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    /// There is none.
    fn empty_directory(&self, _: &Target) -> Result<Option<Stat>, Error> {
        Ok(None)
    }
}

/// How many requests of each kind there are in a log.
pub(crate) fn counted<'l>(log: impl IntoIterator<Item = &'l (Request, PathBuf)>) -> BTreeMap<Request, usize> {
    let mut counts = BTreeMap::new();
    log.into_iter().for_each(|(kind, _)| *counts.entry(*kind).or_default() += 1);
    counts
}
