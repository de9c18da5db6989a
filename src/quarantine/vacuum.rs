//! A vacuum that quarantines what another would remove.

use super::Run;
use crate::error::Error;
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::store::filesystem::removal::Directories;
use crate::store::{FilesystemStore, KeepsNow, Removal, Stat, Vacuum};

/// Surveys a repository again, and says all that it names by now.
pub(super) type Survey<'a> = &'a (dyn Fn(&RepositoryName) -> Result<Vec<Digest>, Error> + Sync);

/// Moves files into a run. Directories that were empty before are removed: there is nothing in them to restore.
pub struct Quarantining<'a> {
    store: &'a FilesystemStore,
    run: &'a Run,
    directories: Directories,
    survey: Survey<'a>,
}

impl<'a> Quarantining<'a> {
    /// Moves what goes from `store` to `run`.
    pub fn new(store: &'a FilesystemStore, run: &'a Run, directories: Directories, survey: Survey<'a>) -> Quarantining<'a> {
        Quarantining { store, run, directories, survey }
    }
}

impl Vacuum for Quarantining<'_> {
    fn remove(&self, target: &Target, planned: &Stat) -> Result<Removal, Error> {
        match target.is_directory() {
            true => self.store.remove(target, planned),
            false => self.store.move_to_quarantine(target, planned, self.run.mirror(), self.directories),
        }
    }

    /// A registry at work may write anywhere at any time, and what goes by mistake comes back. But of a repository that was seen to change
    /// everything that it names now is left, and of the others the rest goes: else one busy repository would keep a store from ever being
    /// collected.
    fn keeps_now(&self, repository: &RepositoryName, _: bool) -> Result<KeepsNow, Error> {
        (self.survey)(repository).map(KeepsNow::Digests)
    }

    fn barrier(&self) -> Result<(), Error> {
        self.store.barrier()
    }
}
