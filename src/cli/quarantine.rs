//! Arguments of `quarantine` and its subcommands.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::values::{duration, size};
use super::{OutputArguments, StoreArguments};
use crate::oci::Digest;

/// What to do with what was moved aside.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// Say what is in quarantine, since when, and how much that is
    List(QuarantineList),

    /// Put back what a run moved aside, or one blob or manifest of it
    Restore(Restore),

    /// Remove for good what is in quarantine and still not needed
    ///
    /// Marks the store first, whatever runs before have said, and restores what is needed by now. A push that is under way may need
    /// what has just been quarantined and not have said so yet: beside a registry that takes pushes give --older-than 1h or more.
    Purge(QuarantinePurge),
}

/// Arguments of `quarantine list`.
#[derive(Args, Debug)]
pub struct QuarantineList {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,
}

/// Arguments of `restore` and `quarantine restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Put back what this run moved aside [default: the newest]
    #[arg(long, value_name = "RUN", conflicts_with = "all")]
    pub run: Option<String>,

    /// Put back what all runs moved aside
    #[arg(long)]
    pub all: bool,

    /// Put back only this digest: its blob, and the links that name it; from any run, unless --run names one
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Wait so long for another regsweep on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}

/// Arguments of `quarantine purge`.
#[derive(Args, Debug)]
pub struct QuarantinePurge {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Purge this run alone, also one of `verify`, whose corrupt blobs nothing else purges [default: all of garbage-collect]
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,

    /// Purge only what has been in quarantine for this long [default: everything]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,

    /// Purge what has just been moved aside although a registry may be taking pushes
    #[arg(long)]
    pub assume_offline: bool,

    /// Go on although nothing in the store needs anything
    #[arg(long)]
    pub allow_empty: bool,

    /// Go on although less than half is left of what the last collection saw, or something is not mounted that was
    #[arg(long)]
    pub allow_shrunk: bool,

    /// Go on although GitLab's metadata database says what is needed
    #[arg(long)]
    pub allow_foreign_owner: bool,

    /// Go on although the directory of blobs is a symbolic link or a mount that another store may have too
    #[arg(long)]
    pub allow_shared_blobs: bool,

    /// Memory limit; the table of blobs spills to $TMPDIR or /var/tmp beyond it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Wait so long for another regsweep on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
