//! Making links in memory.

use super::store::{MemoryStore, Node, now};
use crate::error::Error;
use crate::layout::Target;
use crate::store::{FileState, Made, Repair, Stat};

impl Repair for MemoryStore {
    fn ensure_possible(&self) -> Result<(), Error> {
        Ok(())
    }

    fn ensure_writable(&self, _: &Target) -> Result<(), Error> {
        Ok(())
    }

    fn make_link(&self, target: &Target, replaced: Option<&Stat>) -> Result<Made, Error> {
        let path = target.path();
        Ok(match (self.leaf(&path), replaced) {
            (FileState::Absent, None) => self.made(target),
            (FileState::File(there), Some(planned)) if there == *planned => self.made(target),
            (FileState::Absent, Some(_)) => Made::Changed("it is not there any more"),
            (_, Some(_)) => Made::Changed("it was written to in the meantime"),
            (_, None) => Made::Exists,
        })
    }
}

impl MemoryStore {
    fn made(&self, target: &Target) -> Made {
        self.put(&target.path(), Node::file(target.digest().to_string().into_bytes(), now()));
        Made::Made
    }
}
