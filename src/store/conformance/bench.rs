//! A store under test, and the access that fills it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;
use crate::layout::Target;
use crate::oci::RepositoryName;
use crate::store::{Planned, Removal, Repository, RepositoryEntry, Shape, Stat, Store, Vacuum};

/// A store that a test can fill with files.
pub(crate) trait Fill {
    /// Creates a file and its parent directories.
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime);
    /// Creates a directory and its parents.
    fn put_directory(&self, path: &Path, modified: SystemTime);
    /// The paths of all files that are visible to the registry.
    fn paths(&self) -> Vec<PathBuf>;
}

/// A store under test, and the access that fills it.
pub(crate) struct Bench<'a> {
    pub(crate) fill: &'a dyn Fill,
    pub(crate) store: &'a dyn Store,
    pub(crate) vacuum: &'a dyn Vacuum,
}

impl<'a> Bench<'a> {
    /// A store tested directly.
    pub(crate) fn of<S: Fill + Store + Vacuum>(store: &'a S) -> Bench<'a> {
        Bench { fill: store, store, vacuum: store }
    }

    /// Opens a repository in its current state.
    pub(super) fn open(&self, name: &RepositoryName) -> Box<dyn Repository + '_> {
        self.store.open(&RepositoryEntry { name: name.clone(), foreign: None }).expect("opened")
    }

    /// Whether directories exist independently of files, as the store reports.
    pub(super) fn has_directories(&self) -> bool {
        self.store.shape() == Shape::Tree
    }

    pub(super) fn put(&self, path: &Path, content: &[u8], modified: SystemTime) {
        self.fill.put(path, content, modified);
    }

    /// Creates a directory, with a file in it where directories cannot be empty.
    pub(super) fn put_directory(&self, path: &Path, modified: SystemTime) {
        match self.has_directories() {
            true => self.fill.put_directory(path, modified),
            false => self.fill.put(&path.join("inside"), b"x", modified),
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.fill.paths()
    }

    pub(super) fn remove(&self, target: &Target, stat: &Stat) -> Result<Removal, Error> {
        self.vacuum.remove(&[Planned { target, stat }]).remove(0)
    }
}
