//! Arguments of `report`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::common::{KEEP, OUTPUT, OutputArguments, StoreArguments};
use super::reading::{AgeArguments, ReadingArguments};
use super::values::duration;

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Write the page to this file
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub html: PathBuf,

    /// Where the summary goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// What is too young.
    #[command(flatten)]
    pub ages: AgeArguments,

    /// When an upload is stale [default: 7d]
    ///
    /// Report uploads that were not continued within this period; the registry purges them after 168h.
    #[arg(help_heading = KEEP, long, value_name = "DURATION", value_parser = duration)]
    pub upload_age: Option<Duration>,

    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArguments,
}
