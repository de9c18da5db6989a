//! What a command needs of a place, in a bucket. What is ours lies under keys of our own.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::bucket::{ObjectStore, counted};
use crate::error::Error;
use crate::store::filesystem::Root;
use crate::store::object::{NoLock, Request, Requests};
use crate::store::{
    Access, Backend, Identity, Inside, LockGuard, Notes, Part, Parts, Repair, RequestCounts, Shelves, Store, Vacuum, Versions,
};

impl Backend for ObjectStore {
    fn place(&self) -> &Path {
        Path::new("bucket")
    }

    fn root(&self) -> Option<&Root> {
        None
    }

    fn store(&self) -> &dyn Store {
        self
    }

    fn vacuum(&self) -> &dyn Vacuum {
        self
    }

    fn repair(&self) -> Option<&dyn Repair> {
        None
    }

    fn shelves(&self) -> &dyn Shelves {
        self
    }

    fn notes(&self) -> &dyn Notes {
        self
    }

    fn parts(&self) -> &dyn Parts {
        self
    }

    fn lock(&self, access: Access, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<Box<dyn LockGuard>, Error> {
        match access {
            // As for a real one, nobody is kept out.
            Access::Look => Ok(Box::new(NoLock)),
            Access::Remove | Access::Change => self.take_lock(wait, now, stop),
        }
    }

    fn has(&self, relative: &str) -> Result<bool, Error> {
        Ok(self.bucket.head(Path::new(relative))?.is_some())
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
        let counts = counted(&self.log());
        let count = |kind| counts.get(&kind).map_or(0, |count| *count as u64);
        Some(RequestCounts {
            list: count(Request::List),
            get: count(Request::Get),
            head: count(Request::Head),
            other: count(Request::Put) + count(Request::Delete),
        })
    }

    fn versions(&self) -> Option<Versions> {
        Some(Requests::versions(&*self.bucket))
    }

    fn identity(&self) -> Result<Identity, Error> {
        self.memory().identity()
    }
}

/// Nothing is ever mounted here.
impl Parts for ObjectStore {
    fn present(&self, _: &mut dyn Iterator<Item = &Path>) -> Vec<Part> {
        Vec::new()
    }

    fn hold(&self, _: &[Part]) {}

    fn is_held(&self, _: &str) -> bool {
        false
    }
}
