//! Which store a state belongs to. A copy of a store is another one: nobody has read the copy.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::store::FilesystemStore;

/// Which store a state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The root directory, symbolic links resolved.
    pub(super) root: PathBuf,
    /// What the system calls the filesystem that the blobs are on, and the directory of the blobs on it.
    pub(super) filesystem: u64,
    pub(super) directory: u64,
}

impl Identity {
    /// The identity of a store.
    ///
    /// # Errors
    ///
    /// When its directory of blobs cannot be looked at.
    pub fn of(store: &FilesystemStore) -> Result<Identity, Error> {
        let directory =
            [layout::BLOBS, layout::V2].map(|directory| store.at(directory)).into_iter().find(|directory| directory.exists());
        let directory = directory.unwrap_or_else(|| store.root().path().to_owned());
        let metadata = std::fs::metadata(&directory).context("look at", &directory)?;
        let filesystem = rustix::fs::statvfs(&directory).context("look at", &directory)?.f_fsid;
        Ok(Identity { root: store.root().path().to_owned(), filesystem, directory: metadata.ino() })
    }

    /// Makes sure that a state belongs to this store.
    pub(super) fn check(&self, store: &Identity, path: &Path) -> Result<(), Error> {
        if self == store {
            return Ok(());
        }
        let difference = match self.root == store.root {
            true => {
                "of the same path, but on another filesystem or in another directory: a copy that was not read yet".to_owned()
            }
            false => format!("in {}", escaped(&self.root)),
        };
        Err(Error::Usage(format!(
            "the state file {} belongs to another store, {difference}; give a file of its own to each store, or remove this one to begin \
             anew",
            escaped(path)
        )))
    }

    #[cfg(test)]
    pub(super) fn new(root: &str, filesystem: u64) -> Identity {
        Identity { root: root.into(), filesystem, directory: 7 }
    }
}
