//! Arguments of `remove`.

use clap::Args;

use super::common::{OutputArguments, SAFETY};
use super::garbage_collect::CollectArguments;
use super::several::SeveralArguments;

/// Arguments of `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    /// Which store, and what goes of it.
    #[command(flatten)]
    pub several: SeveralArguments,

    /// Leave blobs to a later run
    ///
    /// Remove names and links only. The next collection removes the blobs that this frees.
    #[arg(help_heading = SAFETY, long)]
    pub no_collect: bool,

    /// What it has in common with others.
    #[command(flatten)]
    pub collect: CollectArguments,
}

impl Remove {
    /// Where the report goes.
    pub fn output(&self) -> &OutputArguments {
        &self.collect.output
    }
}
