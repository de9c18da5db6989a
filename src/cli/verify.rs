//! Arguments of `verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use globset::Glob;

use super::values::{Slice, duration, glob, percentage, rate, size, slice};
use super::{OutputArguments, StoreArguments};

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Only what the repositories reach whose names match, such as 'team/*' or 'team/**'; may be repeated
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub repository: Vec<Glob>,

    /// Only so many of the blobs, others each time, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = percentage, conflicts_with = "slice")]
    pub sample: Option<f64>,

    /// Only one part of so many, the same each time: 1/30 to 30/30 in thirty nights are all blobs
    #[arg(long, value_name = "K/N", value_parser = slice)]
    pub slice: Option<Slice>,

    /// End after so long, and leave the rest
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub max_duration: Option<Duration>,

    /// Read no faster, such as 100MiB/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_rate: Option<u64>,

    /// Remember in this file when each blob was last found good, and read those first that have waited longest
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Leave out what --state says was found good so recently, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "state")]
    pub max_age: Option<Duration>,

    /// Move corrupt blobs aside, so that the next push of the same content heals the image; `regsweep restore` puts them back
    ///
    /// A registry does not write a blob again that it has. Without this, what is corrupt stays so for good.
    #[arg(long)]
    pub quarantine: bool,

    /// With --quarantine, leave what was written, moved or copied more recently: it may not be finished [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "quarantine")]
    pub min_age: Option<Duration>,

    /// With --quarantine, go on although so much is damaged that it looks like the disk or the memory
    #[arg(long, requires = "quarantine")]
    pub allow_many_damaged: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// How many threads read [default: 8 for each processor, 16 to 64; no more than processors read blobs above 1 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit: beyond it the tables of blobs (55 bytes each) go to files in $TMPDIR or /var/tmp
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Wait so long for another regsweep on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
