//! Arguments of `audit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::common::{CacheArguments, KEEP, OUTPUT, OutputArguments, PERFORMANCE, SAFETY, StoreArguments};
use super::values::{duration, size};
use crate::options::FailOn;

/// Arguments of `audit`.
#[derive(Args, Debug)]
pub struct Audit {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Also write a page for a browser
    ///
    /// Also write the report as one page for a browser to this file. The page needs no network.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Exit 1 from: error, warning, never
    ///
    /// Exit with 1 from this severity on: error, warning (if nothing is given), or never.
    #[arg(help_heading = OUTPUT, long, value_enum, default_value_t = FailOn::Warning, hide_default_value = true, hide_possible_values = true)]
    pub fail_on: FailOn,

    /// What is younger is in use [default: 1h]
    ///
    /// Take what is younger for work in progress, as garbage-collect does.
    #[arg(help_heading = KEEP, long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<Duration>,

    /// Go by modification times alone
    ///
    /// Take a file for as old as its modification time says even if it was made here less than an hour (or --min-age)
    /// ago: the store was copied or unpacked as a whole, and nothing is being copied any more.
    #[arg(help_heading = KEEP, long)]
    pub ignore_birth_time: bool,

    /// When an upload is stale [default: 7d]
    ///
    /// Report uploads that were not continued within this period; the registry purges them after 168h.
    #[arg(help_heading = KEEP, long, value_name = "DURATION", value_parser = duration)]
    pub upload_age: Option<Duration>,

    /// Number of threads [default: 16 to 64]
    ///
    /// The default is 8 for each processor, 16 at least and 64 at most: reading directories waits for the disk more
    /// than it computes. With --max-memory it is one for each 28 MiB at most, and 4 at least.
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit
    ///
    /// Memory limit; the table of blobs (47 bytes a blob) spills to a file in $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// What is kept from run to run.
    #[command(flatten)]
    pub cache: CacheArguments,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
