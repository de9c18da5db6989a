//! From where a store is to a store.

use crate::config::{Location, Place};
use crate::error::Error;
use crate::store::{Backend, BucketStore, FilesystemStore};

/// Opens the store of a command.
///
/// # Errors
///
/// When it is not there, or cannot be asked with what is known of it.
pub(super) fn open(location: &Location, jobs: usize) -> Result<Box<dyn Backend>, Error> {
    Ok(match &location.place {
        Place::Directory(root) => {
            let store = FilesystemStore::open(root)?;
            Box::new(match &location.cache {
                Some(directory) => store.with_cache(directory),
                None => store,
            })
        }
        Place::Bucket(settings) => Box::new(BucketStore::open(settings, jobs, location.cache.as_deref())?),
    })
}

/// Whether no registry has written to a store yet.
///
/// # Errors
///
/// When that cannot be told.
pub fn is_unused(location: &Location) -> Result<bool, Error> {
    match &location.place {
        Place::Directory(root) => root.is_unused(),
        Place::Bucket(settings) => BucketStore::open(settings, 1, None)?.is_unused(),
    }
}
