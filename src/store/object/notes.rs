//! Small objects of our own, under a prefix of our own: no key of ours may extend one of the registry's, which takes a key for a
//! directory if another one begins with it.

use std::io;
use std::path::{Path, PathBuf};

use super::requests::{If, Put, Refusal, Requests, delete_one, put};
use super::store::ObjectStore;
use crate::error::Error;
use crate::layout::OWN_DIRECTORY;
use crate::store::Notes;

/// A note is a few kilobytes.
const MAX_NOTE_BYTES: u64 = 64 << 20;

fn key(name: &str) -> PathBuf {
    Path::new(OWN_DIRECTORY).join(name)
}

impl<R: Requests> Notes for ObjectStore<R> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.bucket.get(&key(name), MAX_NOTE_BYTES)?.map(|object| object.content))
    }

    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Io { operation: "write", path: self.at(name), source };
        let mut text = Vec::new();
        write(&mut text).map_err(failed)?;
        self.lease.ensure_holds("write", &self.at(name))?;
        match put(&*self.bucket, &key(name), &text, If::Always) {
            Ok(Put::Done(_)) => Ok(()),
            Ok(Put::Refused) => Err(failed(io::Error::other("the server refuses it for a condition that it does not have"))),
            Err(refusal) => Err(failed(refusal.source)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let failed = |refusal: Refusal| Error::Io { operation: "remove", path: self.at(name), source: refusal.source };
        self.lease.ensure_holds("remove", &self.at(name))?;
        delete_one(&*self.bucket, &key(name)).map_err(failed)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.bucket.place_of(&key(name))
    }
}
