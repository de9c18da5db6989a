//! Arguments of `list`.

use clap::Args;

use super::common::{OutputArguments, SHOWN};
use super::named::{NamedArguments, REFERENCE, WITHOUT_DIGESTS};
use super::reading::ReadingArguments;

/// Arguments of `list`.
#[derive(Args, Debug)]
#[command(mut_arg(REFERENCE, |argument| argument.help(WITHOUT_DIGESTS)))]
pub struct List {
    /// Which store, and what in it.
    #[command(flatten)]
    pub named: NamedArguments,

    /// List revisions that no tag leads to
    ///
    /// List revisions that no tag leads to, which the registry's API cannot list: of one repository, or of all.
    #[arg(help_heading = SHOWN, long)]
    pub untagged: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArguments,
}
