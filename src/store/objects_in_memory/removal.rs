//! Removing keys: each is looked at once more, and those that are as planned go in one request.

use super::bucket::ObjectStore;
use crate::error::Error;
use crate::oci::RepositoryName;
use crate::store::object::Requests as _;
use crate::store::{KeepsNow, Planned, Removal, Vacuum};

/// As many keys as one request removes.
const BATCH: usize = 1000;

impl ObjectStore {
    /// Whether a target is as planned; says what to answer if it is not.
    fn is_as_planned(&self, planned: &Planned<'_>) -> Result<Option<Removal>, Error> {
        if planned.target.is_directory() {
            return Ok(Some(Removal::AlreadyGone));
        }
        Ok(match self.bucket.head(&planned.target.path())? {
            None => Some(Removal::AlreadyGone),
            Some(there) if there.size_bytes != planned.stat.size_bytes => Some(Removal::Changed("its size has changed")),
            Some(there) if there.modified != planned.stat.modified => Some(Removal::Changed("it was written to in the meantime")),
            Some(_) => None,
        })
    }
}

impl Vacuum for ObjectStore {
    fn batch(&self) -> usize {
        BATCH
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        let looked: Vec<Result<Option<Removal>, Error>> = batch.iter().map(|planned| self.is_as_planned(planned)).collect();
        let going: Vec<_> = batch.iter().zip(&looked).filter(|(_, looked)| matches!(looked, Ok(None))).collect();
        let keys: Vec<_> = going.iter().map(|(planned, _)| planned.target.path()).collect();
        let deleted = if keys.is_empty() { Ok(()) } else { self.bucket.delete(&keys) };
        let answer = |(planned, looked): (&Planned<'_>, Result<Option<Removal>, Error>)| match (looked?, &deleted) {
            (Some(removal), _) => Ok(removal),
            (None, Ok(())) => Ok(Removal::Removed),
            (None, Err(error)) => Err(Error::Io {
                operation: "remove",
                path: planned.target.path(),
                source: std::io::Error::other(error.to_string()),
            }),
        };
        batch.iter().zip(looked).map(answer).collect()
    }

    fn takes_room(&self) -> bool {
        false
    }

    fn keeps_now(&self, _: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error> {
        Ok(if is_changed { KeepsNow::Anything } else { KeepsNow::AsPlanned })
    }

    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}
