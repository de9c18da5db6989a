//! A vacuum that acknowledges and removes nothing.

use super::{KeepsNow, Planned, Removal, Vacuum};
use crate::error::Error;
use crate::oci::RepositoryName;

/// Says of every target that it was removed. The passes before and after are the same as in a real run, so a dry run cannot
/// drift from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRun;

impl Vacuum for DryRun {
    fn batch(&self) -> usize {
        1024
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        batch.iter().map(|_| Ok(Removal::Removed)).collect()
    }

    fn takes_room(&self) -> bool {
        false
    }

    fn keeps_now(&self, _: &RepositoryName, _: bool) -> Result<KeepsNow, Error> {
        Ok(KeepsNow::AsPlanned)
    }

    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}
