//! Reading a bucket.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use rayon::prelude::*;

use super::keys::Keys;
use super::lease::Lease;
use super::lock::lock;
use super::multiparts::Multiparts;
use super::repository::ObjectRepository;
use super::requests::{Distinct, Level, Object, Requests, is_path, listed};
use crate::error::Error;
use crate::layout::{self, MARKERS, Shard, Target};
use crate::oci::digest::{Hasher, hex_byte};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::store::manifest_cache::{Kept, ManifestCache, Witness};
use crate::store::values::begins_as_object;
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, Listing, LockGuard, MAX_MANIFEST_BYTES, ManifestContent,
    ManifestStart, Partition, Repository, RepositoryEntry, SMALL_MANIFEST_BYTES, Shape, Stat, Store, Stray, StrayKind, Unlisted,
};
use crate::system_files::{is_of_a_fork, is_system_file};

/// What of a blob tells whether it begins as a JSON object does: white space may come first.
const START_BYTES: u64 = 4096;

/// A store in a bucket.
#[derive(Debug)]
pub(crate) struct ObjectStore<R> {
    /// Asks the bucket.
    pub(in crate::store) bucket: Arc<R>,
    /// For how long it may be changed.
    pub(super) lease: Arc<Lease>,
    /// What of uploads no listing of keys has.
    pub(super) multiparts: Multiparts,
    /// Manifests that were read before.
    pub(in crate::store) cache: Option<ManifestCache>,
}

impl<R: Requests> ObjectStore<R> {
    /// The store in a bucket that is not locked.
    pub(in crate::store) fn of(bucket: R) -> ObjectStore<R> {
        ObjectStore { bucket: Arc::new(bucket), lease: Arc::default(), multiparts: Multiparts::default(), cache: None }
    }
}

impl<R: Requests + 'static> ObjectStore<R> {
    /// Ends the lease of the lock that is held, as sleep does.
    #[cfg(test)]
    pub(in crate::store) fn overslept(&self) {
        self.lease.begin(Duration::from_millis(1));
    }

    /// Takes the lock for changing the bucket.
    pub(in crate::store) fn take_lock(
        &self,
        wait: Duration,
        now: Timestamp,
        stop: &AtomicBool,
    ) -> Result<Box<dyn LockGuard>, Error> {
        lock(&self.bucket, &self.lease, wait, now, stop)
    }
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

fn unrecognised(path: PathBuf) -> Stray {
    Stray { path, kind: StrayKind::Unrecognised }
}

/// The blob whose `data` has that key.
fn blob_of(key: &Path) -> Option<Digest> {
    match Target::of_path(key) {
        Some(Target::Blob(digest)) if is_path(key) => Some(digest),
        _ => None,
    }
}

impl<R: Requests> Store for ObjectStore<R> {
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
                    let Some(name) = path.file_name().filter(|_| is_path(&path)) else {
                        found.strays.push(unrecognised(path));
                        continue;
                    };
                    let is_marker = is_directory && MARKERS.iter().any(|marker| name == OsStr::new(marker));
                    match () {
                        () if is_system_file(name.as_encoded_bytes(), is_directory) => {
                            found.strays.push(Stray { path, kind: StrayKind::SystemFile });
                        }
                        () if is_marker && directory != base => is_repository = true,
                        () if is_directory && !is_marker && !is_of_a_fork(name.as_encoded_bytes()) => below.push(path),
                        () => found.strays.push(unrecognised(path)),
                    }
                }
                if is_repository {
                    let name = RepositoryName::new(directory.strip_prefix(base).expect("the walk began there"));
                    found.entries.push(RepositoryEntry { name, foreign: None });
                }
            }
            level = below;
        }
        match self.multiparts.list(&*self.bucket, &found.entries) {
            Ok((more, stray)) => {
                found.entries.extend(more);
                found.strays.extend(stray);
            }
            Err(error) => unlisted(error)?,
        }
        Ok(found.sorted())
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        Ok(Box::new(ObjectRepository::open(&*self.bucket, &self.multiparts, &repository.name)?))
    }

    /// Sixteen shards each.
    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let Level { keys, prefixes } = self.bucket.list_level(&format!("{}/", layout::BLOBS))?;
        let mut all = Listing { entries: Vec::new(), strays: keys.into_iter().map(unrecognised).collect() };
        for path in prefixes {
            let name = path.file_name().filter(|_| is_path(&path));
            let Some(algorithm) = name.and_then(|name| Algorithm::from_name(name.as_encoded_bytes())) else {
                all.strays.push(unrecognised(path));
                continue;
            };
            let Level { keys, prefixes } = self.bucket.list_level(&format!("{}/", path.display()))?;
            all.strays.extend(keys.into_iter().map(unrecognised));
            for path in prefixes {
                let name = path.file_name().filter(|_| is_path(&path));
                match name.and_then(|name| hex_byte(name.as_encoded_bytes())) {
                    Some(byte) => all.entries.push(Partition::new(algorithm, byte / 16 * 16..=byte / 16 * 16 + 15)),
                    None => all.strays.push(unrecognised(path)),
                }
            }
        }
        let mut all = all.sorted();
        all.entries.dedup();
        Ok(all)
    }

    /// What is the `data` of a blob is handed over as it comes; all else is looked at when everything has come.
    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let (mut others, mut strays) = (Vec::new(), Vec::new());
        let mut distinct = Distinct::default();
        if let Some(cache) = &self.cache {
            cache.begin(partition);
        }
        for prefix in prefixes(partition) {
            self.bucket.list(&prefix, &mut |listed| {
                distinct.insert(&listed.key);
                match blob_of(&listed.key) {
                    Some(digest) => {
                        if let Some(cache) = &self.cache {
                            let (size_bytes, modified) = (listed.size_bytes, listed.modified);
                            cache.seen(&digest, || Witness::of_object(&digest, size_bytes, modified, &listed.etag));
                        }
                        each(&digest, Some(&FileState::File(listed.stat())));
                    }
                    None => others.push(listed),
                }
            })?;
        }
        let keys = Keys::new(others);
        strays.extend(keys.odd());
        for byte in partition.bytes() {
            let shard = Shard { algorithm: partition.algorithm(), byte };
            let listing = keys.list(&shard.path(), |hex| {
                Digest::from_hex(shard.algorithm, hex.as_encoded_bytes()).filter(|digest| digest.shard() == byte)
            });
            let without_data = |digest: &&Digest| !distinct.contains(&layout::blob_data(digest));
            listing.entries.iter().filter(without_data).for_each(|digest| each(digest, Some(&FileState::Absent)));
            strays.extend(listing.strays);
        }
        distinct.ensure(&*self.bucket, &prefixes(partition)[0])?;
        if let Some(cache) = &self.cache {
            cache.end(partition);
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
        let keys = Keys::new(listed(&*self.bucket, &format!("{}/", prefix.display()))?);
        Ok(digests.iter().flat_map(|digest| keys.beside(&directory(digest), &layout::IN_BLOB_DIRECTORY)).collect())
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        let condition = |stat: Stat| Condition { id: None, stat, changed: stat.modified };
        Ok(self.bucket.head(&layout::blob_data(digest))?.map(|listed| condition(listed.stat())))
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        if let Some(Kept::Content(content)) = self.kept(digest) {
            read(&content);
            return Ok(ManifestContent::Verified);
        }
        let key = layout::blob_data(digest);
        let mut size_bytes = 0;
        // What came to harm on the way is no damage to the blob: it comes whole the second time, or is not as long as it should be.
        for _ in 0..2 {
            let Some(object) = self.bucket.get(&key, MAX_MANIFEST_BYTES)? else { return Ok(ManifestContent::Absent) };
            if object.size_bytes > MAX_MANIFEST_BYTES {
                return Ok(ManifestContent::TooLarge);
            }
            if Digest::of(digest.algorithm(), &object.content) == *digest {
                if let Some(cache) = &self.cache {
                    cache.keep(digest, witness(digest, &object), &object.content);
                }
                read(&object.content);
                return Ok(ManifestContent::Verified);
            }
            size_bytes = object.size_bytes;
        }
        self.ensure_length(&key, size_bytes)?;
        Ok(ManifestContent::Corrupt)
    }

    /// One GET that is broken off, whose answer tells the size as well.
    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        if let Some(kept) = self.kept(digest) {
            return Ok(kept.start());
        }
        let object = self.bucket.get(&layout::blob_data(digest), START_BYTES)?;
        Ok(match object {
            Some(object) if object.size_bytes > MAX_MANIFEST_BYTES => ManifestStart::TooLarge,
            Some(object) if object.size_bytes > SMALL_MANIFEST_BYTES && !begins_as_object(&object.content) => {
                if let Some(cache) = &self.cache {
                    cache.keep_no_object(digest, witness(digest, &object));
                }
                ManifestStart::NotAnObject
            }
            _ => ManifestStart::Possible,
        })
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        self.bucket.read(&layout::blob_data(digest), each)
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        let key = layout::blob_data(digest);
        let mut hasher = Hasher::new(digest.algorithm());
        let mut size_bytes = 0;
        let content = self.bucket.read(&key, &mut |bytes| {
            size_bytes += bytes.len() as u64;
            hasher.update(bytes);
            ControlFlow::Continue(())
        });
        match content {
            BlobContent::Absent => Ok(None),
            BlobContent::Failed { source, .. } => Err(Error::Io { operation: "read", path: self.bucket.place_of(&key), source }),
            _ if hasher.finish() == *digest => Ok(Some(true)),
            _ => self.ensure_length(&key, size_bytes).map(|()| Some(false)),
        }
    }

    fn symlink_target(&self, _: &Path) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    /// There is none.
    fn empty_directory(&self, _: &Target) -> Result<Option<Stat>, Error> {
        Ok(None)
    }
}

/// What an answer says of a blob, as a listing does.
fn witness(digest: &Digest, object: &Object) -> Option<Witness> {
    Witness::of_object(digest, object.size_bytes, object.modified, &object.etag)
}

impl<R: Requests> ObjectStore<R> {
    /// What is kept of a blob that is still as it was.
    fn kept(&self, digest: &Digest) -> Option<Kept> {
        self.cache.as_ref()?.find(digest)
    }

    /// Makes sure that as many bytes came as there are.
    fn ensure_length(&self, key: &Path, size_bytes: u64) -> Result<(), Error> {
        let Some(there) = self.bucket.head(key)?.filter(|there| there.size_bytes != size_bytes) else { return Ok(()) };
        let why = format!(
            "{size_bytes} bytes came, and the server says that there are {}; run again, and if that stays so ask past any proxy",
            there.size_bytes
        );
        Err(Error::Io { operation: "read", path: self.bucket.place_of(key), source: io::Error::other(why) })
    }
}
