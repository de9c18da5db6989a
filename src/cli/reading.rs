//! What commands have that read a store and change nothing.

use std::time::Duration;

use clap::Args;

use super::common::{CacheArguments, KEEP, PERFORMANCE, SAFETY};
use super::values::{duration, size};

/// What is too young to be judged.
#[derive(Args, Debug)]
pub struct AgeArguments {
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
}

/// How the store is read.
#[derive(Args, Debug)]
pub struct ReadingArguments {
    /// Number of threads [default: 16 to 64]
    ///
    /// The default is 8 for each processor, 16 at least and 64 at most: reading directories waits for the disk more
    /// than it computes. With --max-memory it is one for each 28 MiB at most, and 4 at least.
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit
    ///
    /// Memory limit; the tables of blobs (39 bytes a blob, 55 for usage) spill to files in $TMPDIR or /var/tmp beyond it.
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
