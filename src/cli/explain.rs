//! Arguments of `explain`.

use clap::Args;

use super::common::OutputArguments;
use super::named::NamedArguments;
use super::reading::{AgeArguments, ReadingArguments};

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// Which store, and what in it.
    #[command(flatten)]
    pub named: NamedArguments,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// What is too young.
    #[command(flatten)]
    pub ages: AgeArguments,

    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArguments,
}
