//! What a command needs of a place, in a bucket. What is ours lies under keys of our own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::bucket::{ObjectStore, counted};
use crate::error::Error;
use crate::layout::OWN_DIRECTORY;
use crate::store::filesystem::Root;
use crate::store::object::{Request, Requests as _};
use crate::store::{
    Access, Backend, Identity, Inside, LockGuard, Notes, Part, Parts, Repair, RequestCounts, Shelves, Store, Vacuum,
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
        self.memory().lock(access, wait, now, stop)
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

    fn identity(&self) -> Result<Identity, Error> {
        self.memory().identity()
    }
}

impl Notes for ObjectStore {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.bucket.request(Request::Get, &self.at(name), || Notes::read(self.memory(), name))?
    }

    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        self.bucket.request(Request::Put, &self.at(name), || Notes::replace(self.memory(), name, write))?
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.bucket.request(Request::Delete, &self.at(name), || Notes::remove(self.memory(), name))?
    }

    fn at(&self, name: &str) -> PathBuf {
        Path::new(OWN_DIRECTORY).join(name)
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
