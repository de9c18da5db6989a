//! Arguments of `repair`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::common::{OutputArguments, PERFORMANCE, SAFETY};
use super::named::{NamedArguments, REFERENCE, WITHOUT_DIGESTS};
use super::values::{duration, size};

/// Arguments of `repair`.
#[derive(Args, Debug)]
#[command(mut_arg(REFERENCE, |argument| argument.help(WITHOUT_DIGESTS)))]
pub struct Repair {
    /// Which store, and what in it.
    #[command(flatten)]
    pub named: NamedArguments,

    /// Report what would be made, change nothing
    #[arg(help_heading = SAFETY, short, long)]
    pub dry_run: bool,

    /// Copy lost and damaged blobs from this store
    ///
    /// Copy blobs that a manifest here needs and this store has lost from another one: the root of a mirror or of an unpacked backup. Each is
    /// compared with its digest before it is visible. The other store is not changed.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,

    /// Ask this registry as well
    ///
    /// Ask this registry as well whether it takes pushes, such as http://127.0.0.1:5000. May be repeated;
    /// $REGSWEEP_REGISTRY adds more.
    #[arg(help_heading = SAFETY, long, value_name = "URL")]
    pub registry: Vec<String>,

    /// Credentials to ask with
    ///
    /// Credentials for registries that require them: USER:PASSWORD, or @FILE for a file that holds it [default:
    /// $REGSWEEP_REGISTRY_AUTH].
    #[arg(help_heading = SAFETY, long, value_name = "USER:PASSWORD")]
    pub registry_auth: Option<String>,

    /// Do not look for writers
    ///
    /// Go on although a registry or another program seems to write to the store, or none could be asked.
    #[arg(help_heading = SAFETY, long)]
    pub assume_offline: bool,

    /// Go on: a database owns the store
    ///
    /// Go on although GitLab's metadata database says what is needed.
    #[arg(help_heading = SAFETY, long)]
    pub allow_foreign_owner: bool,

    /// Number of threads [default: 16 to 64]
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

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
