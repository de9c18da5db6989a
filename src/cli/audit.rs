//! Arguments of `audit`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{duration, size};
use super::{OutputArguments, StoreArguments};

/// Arguments of `audit`.
#[derive(Args, Debug)]
pub struct Audit {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Exit with 1 from this severity on
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,

    /// Take what is younger for work under way, as garbage-collect does [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<Duration>,

    /// Take a file for as old as its modification time says even if it was made here less than an hour (or --min-age) ago: the store was
    /// copied or unpacked as a whole, and nobody is copying any more
    #[arg(long)]
    pub ignore_birth_time: bool,

    /// Report uploads that nobody has continued for so long [default: 168h, after which the registry purges them]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub upload_age: Option<Duration>,

    /// How many threads read [default: 8 for each processor, 16 to 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Stay within about so much memory: what the table of blobs (47 bytes each) takes beyond it goes to a file in $TMPDIR or /var/tmp
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Wait so long for a collection on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}

/// Which findings make the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    Warning,
    /// None
    Never,
}
