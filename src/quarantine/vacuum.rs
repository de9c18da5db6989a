//! A vacuum that moves aside what another would remove.

use super::Run;
use crate::error::Error;
use crate::layout::Target;
use crate::store::filesystem::removal::Folders;
use crate::store::{FilesystemStore, Removal, Stat, Vacuum};

/// Moves files into a run. Folders that were empty before are removed: there is nothing in them to bring back.
#[derive(Debug)]
pub struct Quarantining<'a> {
    store: &'a FilesystemStore,
    run: &'a Run,
    folders: Folders,
}

impl<'a> Quarantining<'a> {
    /// Moves what goes from `store` to `run`.
    pub fn new(store: &'a FilesystemStore, run: &'a Run, folders: Folders) -> Quarantining<'a> {
        Quarantining { store, run, folders }
    }
}

impl Vacuum for Quarantining<'_> {
    fn remove(&self, target: &Target, planned: &Stat) -> Result<Removal, Error> {
        match target.is_folder() {
            true => self.store.remove(target, planned),
            false => self.store.move_aside(target, planned, self.run.mirror(), self.folders),
        }
    }

    fn leaves_links(&self) -> bool {
        self.folders == Folders::Keep
    }

    fn barrier(&self) -> Result<(), Error> {
        self.store.barrier()
    }
}
