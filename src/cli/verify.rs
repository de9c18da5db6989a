//! Arguments of `verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use globset::Glob;

use super::common::{OutputArguments, PERFORMANCE, SAFETY, SELECTION, StoreArguments};
use super::values::{duration, glob, percentage, rate, size, slice};
use crate::options::Slice;

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Only what these repositories reach
    ///
    /// Only what the repositories reach whose names match, such as 'team/*' or 'team/**'. May be repeated.
    #[arg(help_heading = SELECTION, long, value_name = "GLOB", value_parser = glob)]
    pub repository: Vec<Glob>,

    /// Only a random share, such as 5%
    #[arg(help_heading = SELECTION, long, value_name = "PERCENT", value_parser = percentage, conflicts_with = "slice")]
    pub sample: Option<f64>,

    /// Only one part of N, the same each time
    ///
    /// Only one part of N, the same each time: 1/30 to 30/30 in thirty nights are all blobs.
    #[arg(help_heading = SELECTION, long, value_name = "K/N", value_parser = slice)]
    pub slice: Option<Slice>,

    /// Stop after this time
    ///
    /// Stop after this time and leave the rest.
    #[arg(help_heading = PERFORMANCE, long, value_name = "DURATION", value_parser = duration)]
    pub max_duration: Option<Duration>,

    /// Read no faster, such as 100MiB/s
    #[arg(help_heading = PERFORMANCE, long, value_name = "RATE", value_parser = rate)]
    pub max_rate: Option<u64>,

    /// Remember results in this file
    ///
    /// Remember in this file when each blob was last found good, and read first what was not for the longest time.
    #[arg(help_heading = SELECTION, long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Skip what was verified recently
    ///
    /// Skip blobs verified within this period by --state, such as 30d.
    #[arg(help_heading = SELECTION, long, value_name = "DURATION", value_parser = duration, requires = "state")]
    pub max_age: Option<Duration>,

    /// Quarantine corrupt blobs
    ///
    /// Quarantine corrupt blobs, so that the next push of the same content heals the image; `regsweep restore` restores
    /// them. A registry does not write a blob again that it has: without this, what is corrupt stays so.
    #[arg(help_heading = SAFETY, long)]
    pub quarantine: bool,

    /// Leave what is younger [default: 1h]
    ///
    /// With --quarantine, leave what was written, moved or copied more recently: it may not be finished.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration, requires = "quarantine")]
    pub min_age: Option<Duration>,

    /// Go on: much is damaged
    ///
    /// With --quarantine, go on although so much is damaged that it looks like the disk or the memory.
    #[arg(help_heading = SAFETY, long, requires = "quarantine")]
    pub allow_many_damaged: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Number of threads [default: 16 to 64]
    ///
    /// The default is 8 for each processor, 16 at least and 64 at most: reading directories waits for the disk more
    /// than it computes. With --max-memory it is one for each 28 MiB at most, and 4 at least.
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit
    ///
    /// Memory limit; the tables of blobs (55 bytes a blob) spill to files in $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
