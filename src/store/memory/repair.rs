//! Making links in memory.

use std::path::Path;

use super::store::{MemoryStore, Node, now};
use crate::error::{Context as _, Error};
use crate::layout::Target;
use crate::oci::Digest;
use crate::store::repairing::{NO_LINK, OTHER_BYTES};
use crate::store::{FileState, Made, Repair, Stat, WriteBlob};

impl Repair for MemoryStore {
    fn ensure_possible(&self) -> Result<(), Error> {
        Ok(())
    }

    fn ensure_writable(&self, _: &Target) -> Result<(), Error> {
        Ok(())
    }

    fn make_link(&self, target: &Target, replaced: Option<&Stat>) -> Result<Made, Error> {
        let path = target.path();
        let Some(digest) = target.digest() else { return Ok(Made::Changed(NO_LINK)) };
        Ok(match (self.state(&path), replaced) {
            (FileState::Absent, None) => self.made(&path, digest),
            (FileState::File(there), Some(planned)) if there == *planned => self.made(&path, digest),
            (FileState::Absent, Some(_)) => Made::Changed("it is not there any more"),
            (_, Some(_)) => Made::Changed("it was written to in the meantime"),
            (_, None) => Made::Exists,
        })
    }

    fn make_blob(&self, digest: &Digest, replaced: Option<&Stat>, write: WriteBlob<'_>) -> Result<Made, Error> {
        let path = Target::Blob(*digest).path();
        match (self.state(&path), replaced) {
            (FileState::Absent, None) => {}
            (FileState::File(there), Some(planned)) if there == *planned => {}
            (_, Some(_)) => return Ok(Made::Changed("it was written to in the meantime")),
            (_, None) => return Ok(Made::Exists),
        }
        let mut content = Vec::new();
        write(&mut content).context("make", &path)?;
        if Digest::of(digest.algorithm(), &content) != *digest {
            return Ok(Made::Changed(OTHER_BYTES));
        }
        self.put(&path, Node::file(content, now()));
        Ok(Made::Made)
    }
}

impl MemoryStore {
    fn made(&self, path: &Path, digest: &Digest) -> Made {
        self.put(path, Node::file(digest.to_string().into_bytes(), now()));
        Made::Made
    }
}
