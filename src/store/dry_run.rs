//! A vacuum that acknowledges and removes nothing.

use super::{KeepsNow, Removal, Stat, Vacuum};
use crate::error::Error;
use crate::layout::Target;
use crate::oci::RepositoryName;

/// Says of every target that it was removed. The passes before and after are the same as in a real run, so a dry run cannot
/// drift from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRun;

impl Vacuum for DryRun {
    fn remove(&self, _: &Target, _: &Stat) -> Result<Removal, Error> {
        Ok(Removal::Removed)
    }

    fn keeps_now(&self, _: &RepositoryName, _: bool) -> Result<KeepsNow, Error> {
        Ok(KeepsNow::AsPlanned)
    }

    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}
