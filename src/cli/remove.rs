//! Arguments of `remove`.

use clap::Args;

use super::common::OutputArguments;
use super::garbage_collect::CollectArguments;
use super::several::SeveralArguments;

/// Arguments of `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    /// Which store, and what goes of it.
    #[command(flatten)]
    pub several: SeveralArguments,

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
