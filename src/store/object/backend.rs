//! What a command needs of a real bucket. What needs a quarantine is refused before anything is changed.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::lock::NoLock;
use super::requests::{RequestCounts, Requests};
use super::s3::S3;
use super::settings::BucketSettings;
use super::store::ObjectStore;
use crate::error::Error;
use crate::escape::escaped;
use crate::layout::Target;
use crate::layout::{self, OWN_DIRECTORY};
use crate::oci::{Algorithm, Digest};
use crate::store::filesystem::Root;
use crate::store::manifest_cache::ManifestCache;
use crate::store::{
    Access, Backend, Identity, Inside, LockGuard, Notes, Part, Parts, Repair, Shelf, Shelves, Store, Vacuum, Versions,
};

/// A store in a bucket on a server that speaks S3.
#[derive(Debug)]
pub struct BucketStore(ObjectStore<S3>);

impl BucketStore {
    /// Opens a bucket, for up to `jobs` requests at once, with the manifests that are kept of it in a directory. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// When the settings are none that a bucket can be asked with.
    pub fn open(settings: &BucketSettings, jobs: usize, cache: Option<&Path>) -> Result<BucketStore, Error> {
        let bucket = S3::new(settings, jobs)?;
        let name = format!("{}\n{}", bucket.endpoint(), bucket.place().display());
        let cache = cache.and_then(|directory| ManifestCache::open(directory, &name));
        Ok(BucketStore(ObjectStore { cache, ..ObjectStore::of(bucket) }))
    }

    /// Whether nothing is stored in it, by the registry or anybody else.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, or there is something and no registry wrote it.
    pub fn is_unused(&self) -> Result<bool, Error> {
        let bucket = &self.0.bucket;
        let is_empty = |level: super::requests::Level| level.keys.is_empty() && level.prefixes.is_empty();
        if !is_empty(bucket.list_level(&format!("{}/", layout::V2))?) {
            return Ok(false);
        }
        let level = bucket.list_level("")?;
        // A run has seen it: what is missing since then is for the next one to judge.
        if level.prefixes.iter().any(|path| path.as_os_str() == OWN_DIRECTORY) {
            return Ok(false);
        }
        let names: Vec<String> = level.prefixes.iter().chain(&level.keys).take(5).map(|path| escaped(path).to_string()).collect();
        match names.is_empty() {
            true => Ok(true),
            false => {
                let hint = format!(
                    "no key begins with {}/ there, but there is {}; give the root of the registry in the bucket: \
                     storage.s3.rootdirectory, or --root s3://BUCKET/PREFIX",
                    layout::V2,
                    names.join(", ")
                );
                Err(Error::NotAStore { root: bucket.place().to_owned(), hint })
            }
        }
    }

    /// Says that a bucket has no quarantine.
    fn refusal(&self) -> Error {
        Error::Usage(format!(
            "{} is a bucket, and nothing is quarantined or restored in a bucket yet: garbage-collect, expire and remove without \
             --quarantine and --online remove from it for good",
            escaped(self.0.bucket.place())
        ))
    }
}

impl Backend for BucketStore {
    fn place(&self) -> &Path {
        self.0.bucket.place()
    }

    fn root(&self) -> Option<&Root> {
        None
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn vacuum(&self) -> &dyn Vacuum {
        &self.0
    }

    fn repair(&self) -> Option<&dyn Repair> {
        None
    }

    fn shelves(&self) -> &dyn Shelves {
        self
    }

    fn notes(&self) -> &dyn Notes {
        &self.0
    }

    fn parts(&self) -> &dyn Parts {
        self
    }

    fn lock(&self, access: Access, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<Box<dyn LockGuard>, Error> {
        match access {
            Access::Look => Ok(Box::new(NoLock)),
            Access::Remove => self.0.take_lock(wait, now, stop),
            Access::Change => Err(self.refusal()),
        }
    }

    fn has(&self, relative: &str) -> Result<bool, Error> {
        // By a listing, which says whose answer it is; anybody may answer to a HEAD that there is no such key.
        let mut has = false;
        self.0.bucket.list(relative, &mut |listed| has |= listed.key.as_os_str() == relative)?;
        Ok(has)
    }

    fn shared_blobs(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn holds(&self, _: &Path) -> Option<Inside> {
        None
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn requests(&self) -> Option<RequestCounts> {
        Some(self.0.bucket.counts())
    }

    fn versions(&self) -> Option<Versions> {
        Some(self.0.bucket.versions())
    }

    /// By its names: a bucket has no other.
    fn identity(&self) -> Result<Identity, Error> {
        let number = |text: &str| {
            let hex = Digest::of(Algorithm::Sha256, text.as_bytes()).to_string();
            u64::from_str_radix(&hex[hex.len() - 16..], 16).expect("sixteen digits")
        };
        let place = self.0.bucket.place().to_owned();
        let directory = number(&place.to_string_lossy());
        Ok(Identity { place, filesystem: number(self.0.bucket.endpoint()), directory })
    }
}

/// There is no quarantine: what a copy of a directory brought along of one is none here.
impl Shelves for BucketStore {
    fn place(&self) -> PathBuf {
        self.0.bucket.place().join(OWN_DIRECTORY).join("quarantine")
    }

    fn list<'s>(&'s self, _: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Shelf + 's>>, Error> {
        Ok(Vec::new())
    }

    fn make<'s>(&'s self, _: &str) -> Result<Option<Box<dyn Shelf + 's>>, Error> {
        Err(self.refusal())
    }

    fn ensure_possible(&self, _: &str) -> Result<(), Error> {
        Err(self.refusal())
    }

    fn ensure_returnable(&self, _: &mut dyn Iterator<Item = &Target>, _: &str) -> Result<(), Error> {
        Err(self.refusal())
    }

    fn ensure_room(&self, _: u64, _: u64) -> Result<(), Error> {
        Err(self.refusal())
    }
}

/// Nothing is ever mounted here.
impl Parts for BucketStore {
    fn present(&self, _: &mut dyn Iterator<Item = &Path>) -> Vec<Part> {
        Vec::new()
    }

    fn hold(&self, _: &[Part]) {}

    fn is_held(&self, _: &str) -> bool {
        false
    }
}
