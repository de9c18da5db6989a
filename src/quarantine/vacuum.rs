//! A vacuum that quarantines what another would remove.

use super::Run;
use crate::error::Error;
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::store::{Directories, KeepsNow, Planned, Removal, Vacuum};

/// Surveys a repository again, and says all that it names by now.
pub(super) type Survey<'a> = &'a (dyn Fn(&RepositoryName) -> Result<Vec<Digest>, Error> + Sync);

/// Moves files into a run. Directories that were empty before, and links of tags that name nothing, are removed: there is nothing in them to
/// restore.
pub struct Quarantining<'a> {
    store: &'a dyn Vacuum,
    run: &'a Run<'a>,
    directories: Directories,
    survey: Survey<'a>,
}

impl<'a> Quarantining<'a> {
    /// Moves what goes from `store` to `run`.
    pub fn new(store: &'a dyn Vacuum, run: &'a Run<'a>, directories: Directories, survey: Survey<'a>) -> Quarantining<'a> {
        Quarantining { store, run, directories, survey }
    }
}

impl Vacuum for Quarantining<'_> {
    fn batch(&self) -> usize {
        1
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        let remove = |planned: &Planned<'_>| match planned.target {
            Target::BrokenTag(..) => self.store.remove(std::slice::from_ref(planned)).remove(0),
            target if target.is_directory() => self.store.remove(std::slice::from_ref(planned)).remove(0),
            _ => self.run.take(planned, self.directories),
        };
        batch.iter().map(remove).collect()
    }

    /// Where it goes a file takes an entry, and mostly a directory.
    fn takes_room(&self) -> bool {
        true
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
