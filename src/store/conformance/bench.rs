//! What is asked, and what fills it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;
use crate::layout::Target;
use crate::oci::RepositoryName;
use crate::store::{Planned, Removal, Repository, RepositoryEntry, Shape, Stat, Store, Vacuum};

/// Something that can be filled with files.
pub(crate) trait Fill {
    /// Makes a file, and the directories above it.
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime);
    /// Makes a directory, and those above it.
    fn put_directory(&self, path: &Path, modified: SystemTime);
    /// The paths of all files that the registry would see.
    fn paths(&self) -> Vec<PathBuf>;
}

/// What is asked, and what fills it.
pub(crate) struct Bench<'a> {
    pub(crate) fill: &'a dyn Fill,
    pub(crate) store: &'a dyn Store,
    pub(crate) vacuum: &'a dyn Vacuum,
}

impl<'a> Bench<'a> {
    /// A store that is asked itself.
    pub(crate) fn of<S: Fill + Store + Vacuum>(store: &'a S) -> Bench<'a> {
        Bench { fill: store, store, vacuum: store }
    }

    /// Opens a repository as it is now.
    pub(super) fn open(&self, name: &RepositoryName) -> Box<dyn Repository + '_> {
        self.store.open(&RepositoryEntry { name: name.clone(), set_apart: None }).expect("opened")
    }

    /// Whether directories are there by themselves, as the store says of itself.
    pub(super) fn has_directories(&self) -> bool {
        self.store.shape() == Shape::Tree
    }

    pub(super) fn put(&self, path: &Path, content: &[u8], modified: SystemTime) {
        self.fill.put(path, content, modified);
    }

    /// Makes a directory; with something in it where none is there by itself.
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
