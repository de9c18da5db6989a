//! Shelves in a bucket with versions: what is taken gets a delete marker and stays as it was, and is given back by taking the marker away.
//! What lies where is the memory's affair; here are the requests.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::bucket::{Bucket, ObjectStore};
use crate::error::Error;
use crate::layout::{OWN_DIRECTORY, Target};
use crate::oci::Digest;
use crate::store::object::{Request, Requests as _};
use crate::store::{Condition, Contents, Directories, ManifestContent, Planned, Removal, Return, Shelf, Shelves};

#[derive(Debug)]
struct ObjectShelf<'s> {
    bucket: &'s Bucket,
    inner: Box<dyn Shelf + 's>,
}

impl ObjectStore {
    fn shelf<'s>(&'s self, inner: Box<dyn Shelf + 's>) -> Box<dyn Shelf + 's> {
        Box::new(ObjectShelf { bucket: &self.bucket, inner })
    }
}

impl Shelves for ObjectStore {
    fn place(&self) -> PathBuf {
        Path::new(OWN_DIRECTORY).join("quarantine")
    }

    fn list<'s>(&'s self, is_run: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Shelf + 's>>, Error> {
        let list = || Shelves::list(self.memory(), is_run);
        let shelves = self.bucket.request(Request::List, &Shelves::place(self), list)??;
        Ok(shelves.into_iter().map(|shelf| self.shelf(shelf)).collect())
    }

    fn make<'s>(&'s self, name: &str) -> Result<Option<Box<dyn Shelf + 's>>, Error> {
        let make = || Shelves::make(self.memory(), name);
        let made = self.bucket.request(Request::Put, &Shelves::place(self).join(name), make)??;
        Ok(made.map(|shelf| self.shelf(shelf)))
    }

    fn ensure_possible(&self, instead: &str) -> Result<(), Error> {
        self.memory().ensure_possible(instead)
    }

    fn ensure_returnable(&self, targets: &mut dyn Iterator<Item = &Target>, instead: &str) -> Result<(), Error> {
        self.memory().ensure_returnable(targets, instead)
    }

    fn ensure_room(&self, files: u64, directories: u64) -> Result<(), Error> {
        self.memory().ensure_room(files, directories)
    }
}

impl ObjectShelf<'_> {
    /// What is ours is asked for below its own place, and the rest by its own key.
    fn ours<T>(&self, kind: Request, act: impl FnOnce(&dyn Shelf) -> Result<T, Error>) -> Result<T, Error> {
        self.bucket.request(kind, self.inner.place(), || act(&*self.inner))?
    }

    fn of<T>(&self, kind: Request, target: &Target, act: impl FnOnce(&dyn Shelf) -> Result<T, Error>) -> Result<T, Error> {
        self.bucket.request(kind, &target.path(), || act(&*self.inner))?
    }
}

impl Shelf for ObjectShelf<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn place(&self) -> &Path {
        self.inner.place()
    }

    fn read_stamp(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.ours(Request::Get, |shelf| shelf.read_stamp(name))
    }

    fn write_stamp(&self, name: &str, text: &[u8]) -> Result<(), Error> {
        self.ours(Request::Put, |shelf| shelf.write_stamp(name, text))
    }

    fn rename_stamp(&self, from: &str, to: &str) -> Result<(), Error> {
        self.ours(Request::Put, |shelf| shelf.rename_stamp(from, to))
    }

    fn stamp_written(&self, name: &str) -> Result<SystemTime, Error> {
        self.ours(Request::Head, |shelf| shelf.stamp_written(name))
    }

    fn contents(&self, stamps: &[&str], room: u64) -> Result<Contents, Error> {
        self.ours(Request::List, |shelf| shelf.contents(stamps, room))
    }

    fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error> {
        if self.bucket.head(&planned.target.path())?.is_none() {
            return Ok(Removal::AlreadyGone);
        }
        self.of(Request::Delete, planned.target, |shelf| shelf.take(planned, directories))
    }

    fn keep(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        self.of(Request::Put, planned.target, |shelf| shelf.keep(planned))
    }

    fn give_back_over(&self, target: &Target, until: Option<SystemTime>) -> Result<Return, Error> {
        self.of(Request::Put, target, |shelf| shelf.give_back_over(target, until))
    }

    fn give_back(&self, target: &Target) -> Result<Return, Error> {
        self.of(Request::Delete, target, |shelf| shelf.give_back(target))
    }

    fn drop_copy(&self, target: &Target) -> Result<bool, Error> {
        self.of(Request::Get, target, |_| Ok(()))?;
        self.of(Request::Delete, target, |shelf| shelf.drop_copy(target))
    }

    fn drop_for_good(&self, target: &Target) -> Result<bool, Error> {
        self.of(Request::Delete, target, |shelf| shelf.drop_for_good(target))
    }

    fn condition(&self, target: &Target) -> Result<Option<Condition>, Error> {
        self.of(Request::Head, target, |shelf| shelf.condition(target))
    }

    fn is_whole(&self, target: &Target) -> Result<bool, Error> {
        self.of(Request::Get, target, |shelf| shelf.is_whole(target))
    }

    fn read_link(&self, target: &Target) -> Option<Digest> {
        self.of(Request::Get, target, |shelf| Ok(shelf.read_link(target))).ok()?
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        self.of(Request::Get, &Target::Blob(*digest), |shelf| shelf.manifest(digest, read))
    }

    fn remove_if_empty(&self, stamps: &[&str]) -> Result<bool, Error> {
        self.ours(Request::Delete, |shelf| shelf.remove_if_empty(stamps))
    }
}
