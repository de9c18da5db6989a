//! Arguments of `quarantine` and its subcommands.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::common::{OutputArguments, PERFORMANCE, SAFETY, StoreArguments};
use super::values::{Since, duration, since, size};
use crate::oci::Digest;

pub(super) const RESTORE_EXAMPLES: &str = "Examples:
  regsweep restore /etc/docker/registry/config.yml
  regsweep restore --digest sha256:... --root /srv/registry";

/// What to do with what was quarantined.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List what is in quarantine
    #[command(after_help = "Examples:
  regsweep quarantine list /etc/docker/registry/config.yml
  regsweep quarantine list --format json --root /srv/registry")]
    List(QuarantineList),

    /// Restore what a run quarantined
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(Restore),

    /// Purge what is in quarantine and not needed
    ///
    /// Marks the store first, whatever runs before have said, and restores what is needed by now. A push that is under
    /// way may need what has just been quarantined and not have said so yet: beside a registry that takes pushes give
    /// --older-than 1h or more.
    #[command(after_help = "Examples:
  regsweep quarantine purge --older-than 24h /etc/docker/registry/config.yml
  regsweep quarantine purge --run 20261124T230022Z-verify --root /srv/registry")]
    Purge(QuarantinePurge),

    /// Say that the registry was restarted
    ///
    /// A registry with storage.cache.blobdescriptor: inmemory remembers what was quarantined beside it until it is
    /// restarted, and only then is that purged. Where this machine shows all of its processes, a collection sees the
    /// restart by itself. Elsewhere (in containers, with several registries, on network filesystems) say it, when every
    /// registry that is in service has been started again and the last old one has ended.
    #[command(after_help = "Examples:
  regsweep quarantine restarted /etc/docker/registry/config.yml
  regsweep quarantine restarted --since 2026-11-24T02:30:00Z config.yml")]
    Restarted(QuarantineRestarted),
}

/// Arguments of `quarantine restarted`.
#[derive(Args, Debug)]
pub struct QuarantineRestarted {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// When the restart began
    ///
    /// A time before the first of the registries that are in service now was started, such as 2026-11-24T02:30:00Z: note it
    /// before the restart (`date -u +%FT%TZ`). How long ago, such as 10m, is taken too. What was quarantined later than that
    /// stays [default: as this machine shows it].
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}

/// Arguments of `quarantine list`.
#[derive(Args, Debug)]
pub struct QuarantineList {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Memory limit
    ///
    /// Memory limit; a longer list of what is in quarantine is refused.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

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

    /// Only this run [default: the newest]
    #[arg(long, value_name = "RUN", conflicts_with = "all")]
    pub run: Option<String>,

    /// All runs
    #[arg(long)]
    pub all: bool,

    /// Only this digest
    ///
    /// Only this digest: its blob and the links that name it, from any run unless --run names one.
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,

    /// Memory limit
    ///
    /// Memory limit; a longer list of what is in quarantine is refused before anything is restored, and the blob table spills to a file in
    /// $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}

/// Arguments of `quarantine purge`.
#[derive(Args, Debug)]
pub struct QuarantinePurge {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Only this run [default: all collections]
    ///
    /// Only this run, also one of `verify`, whose corrupt blobs nothing else purges.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,

    /// Purge after this wait [default: 0s]
    ///
    /// Purge only what has been in quarantine for this long. Beside a registry that takes pushes give 1h or more.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,

    /// Do not look for writers
    ///
    /// Purge what has just been quarantined although a registry may take pushes.
    #[arg(help_heading = SAFETY, long)]
    pub assume_offline: bool,

    /// Go on: the store looks empty
    ///
    /// Go on although nothing in the store needs anything.
    #[arg(help_heading = SAFETY, long)]
    pub allow_empty: bool,

    /// Go on: the store has shrunk
    ///
    /// Go on although less than half is left of what the last collection saw, or something is not mounted that was.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shrunk: bool,

    /// Go on: a database owns the store
    ///
    /// Go on although GitLab's metadata database says what is needed.
    #[arg(help_heading = SAFETY, long)]
    pub allow_foreign_owner: bool,

    /// Go on: blobs may be shared
    ///
    /// Go on although the directory of blobs, that of repositories, or one above them, is a symbolic link or a mount that another store may have
    /// too.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shared_blobs: bool,

    /// Memory limit
    ///
    /// Memory limit; the blob table spills to a file in $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
