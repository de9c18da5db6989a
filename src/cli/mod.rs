//! What was typed: arguments and help text. What they mean is decided in [`config`](crate::config).

mod audit;
mod booleans;
mod hints;
mod quarantine;
mod values;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::audit::{Audit, FailOn};
pub use self::booleans::plain;
pub use self::hints::{Hints, without_dry_run};
pub use self::quarantine::{Quarantine, QuarantineList, QuarantinePurge, Restore};
pub use self::values::{Limit, Slice};
use self::values::{duration, limit, percentage, size};
pub use self::verify::Verify;

/// Garbage collection and maintenance for container-registry storage
///
/// Works on the files that a Docker or OCI registry (registry:2, registry:3, and what builds on them) keeps under
/// docker/registry/v2.
#[derive(Debug, Parser)]
#[command(name = "regsweep", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove blobs that no image needs, and links that lead nowhere
    ///
    /// Run it while the registry is stopped or read-only, first with --dry-run. Restart a registry that has
    /// storage.cache.blobdescriptor set afterwards: its cache remembers what is gone.
    ///
    /// Exit codes: 0 done and nothing wrong found; 1 done, with findings about the store; 2 stopped before anything was
    /// removed; 3 a sweep began and did not finish cleanly, run it again; 130 interrupted.
    GarbageCollect(GarbageCollect),

    /// Put back what a run moved aside: short for `quarantine restore`
    ///
    /// Replaces nothing: where the store has something again, that stays, and what was moved aside stays in quarantine.
    ///
    /// Exit codes: 0 everything is back; 1 something was left in quarantine; 2 stopped before anything was moved.
    Restore(Restore),

    /// Say what --quarantine and --online moved aside, put it back, or purge it
    #[command(subcommand)]
    Quarantine(Quarantine),

    /// Read every blob and compare it with its digest
    ///
    /// Changes nothing without --quarantine, and may run while the registry serves. Blobs that are missing, corrupt, cut short or unreadable are reported
    /// with what needs them.
    ///
    /// Exit codes: 0 nothing wrong found; 1 findings; 2 could not run; 130 interrupted, with a report of what was found so far.
    Verify(Verify),

    /// Report everything that is wrong or wasteful, and what a collection would free; changes nothing
    ///
    /// Opens every link and every manifest and looks at every blob, but reads no layer: `verify` does. Fit for cron; two reports
    /// of the same store are the same.
    ///
    /// Exit codes: 0 nothing found that --fail-on counts; 1 findings; 2 could not run; 130 interrupted.
    Audit(Audit),
}

impl Command {
    /// The name, as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Command::GarbageCollect(_) => "garbage-collect",
            Command::Restore(_) | Command::Quarantine(Quarantine::Restore(_)) => "restore",
            Command::Quarantine(Quarantine::List(_)) => "quarantine list",
            Command::Quarantine(Quarantine::Purge(_)) => "quarantine purge",
            Command::Verify(_) => "verify",
            Command::Audit(_) => "audit",
        }
    }

    /// Which store it is for.
    pub fn store(&self) -> &StoreArguments {
        match self {
            Command::GarbageCollect(arguments) => &arguments.store,
            Command::Restore(arguments) | Command::Quarantine(Quarantine::Restore(arguments)) => &arguments.store,
            Command::Quarantine(Quarantine::List(arguments)) => &arguments.store,
            Command::Quarantine(Quarantine::Purge(arguments)) => &arguments.store,
            Command::Verify(arguments) => &arguments.store,
            Command::Audit(arguments) => &arguments.store,
        }
    }

    /// Where its report goes.
    pub fn output(&self) -> &OutputArguments {
        match self {
            Command::GarbageCollect(arguments) => &arguments.output,
            Command::Restore(arguments) | Command::Quarantine(Quarantine::Restore(arguments)) => &arguments.output,
            Command::Quarantine(Quarantine::List(arguments)) => &arguments.output,
            Command::Quarantine(Quarantine::Purge(arguments)) => &arguments.output,
            Command::Verify(arguments) => &arguments.output,
            Command::Audit(arguments) => &arguments.output,
        }
    }
}

/// Which store.
#[derive(Args, Debug)]
pub struct StoreArguments {
    /// The registry's config.yml [default: $REGISTRY_CONFIGURATION_PATH]
    pub config: Option<PathBuf>,

    /// The registry's root directory (the one that holds docker/registry/v2), in place of CONFIG
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub root: Option<PathBuf>,
}

/// Where the report goes.
#[derive(Args, Debug)]
pub struct OutputArguments {
    /// Print no progress and no text report
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log what is being done; garbage-collect also prints a line for each target
    #[arg(short, long)]
    pub verbose: bool,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Write figures for Prometheus to this file, such as one in the node exporter's textfile folder
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

/// Arguments of `garbage-collect`.
#[derive(Args, Debug)]
pub struct GarbageCollect {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Also drop revisions that no tag names; children of multi-arch images and referrers of kept ones stay
    #[arg(short = 'm', long)]
    pub delete_untagged: bool,

    /// Report what would go and touch nothing
    #[arg(short, long)]
    pub dry_run: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Keep what is younger, such as 30m, 24h or 7d [default: 1h; 0s when the registry answers that it is read-only, or is down and its
    /// configuration says so]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<Duration>,

    /// Take a file for as old as its modification time says even if it was made here less than an hour (or --min-age) ago: the store was
    /// copied or unpacked as a whole, and nobody is copying any more
    #[arg(long)]
    pub ignore_birth_time: bool,

    /// Stop before anything is removed if more than this would go, such as 50GiB or 30% of what is stored
    #[arg(long, value_name = "SIZE|PERCENT", value_parser = limit)]
    pub max_reclaim: Option<Limit>,

    /// Go on although the store has blobs and nothing that needs any, or images and no blobs
    #[arg(long)]
    pub allow_empty: bool,

    /// Go on although less than half is left of what the last run saw, or something is not mounted that was
    #[arg(long)]
    pub allow_shrunk: bool,

    /// Go on although up to this share of the blobs is linked by no repository, such as 62%
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    pub allow_unlinked: Option<f64>,

    /// With --delete-untagged, go on although most repositories have no tag at all
    #[arg(long)]
    pub allow_untagged_repositories: bool,

    /// Go on although another program's database (GitLab's, Harbor's, OpenShift's) says what is needed
    #[arg(long)]
    pub allow_foreign_owner: bool,

    /// Go on although the directory of blobs is a symbolic link or a mount that another store may have too
    #[arg(long)]
    pub allow_shared_blobs: bool,

    /// How many threads read and remove [default: 8 for each processor, 16 to 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Stay within about so much memory: what the table of blobs (39 bytes each) takes beyond it goes to a file in $TMPDIR or /var/tmp
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Write each target as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    pub plan_out: Option<PathBuf>,

    /// Move what goes to .regsweep/quarantine in the root directory, from where `regsweep restore` brings it back
    #[arg(long)]
    pub quarantine: bool,

    /// Collect while the registry takes pushes: quarantine, put back what turns out to be needed, purge in a later run
    #[arg(long, conflicts_with = "assume_offline")]
    pub online: bool,

    /// With --quarantine or --online, purge what earlier runs moved aside so long ago and nothing needs [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub quarantine_for: Option<Duration>,

    /// With --online, look out for so long for pushes that need what has just been moved aside [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "online")]
    pub rescue_for: Option<Duration>,

    /// Ask this registry as well whether it takes pushes, such as http://127.0.0.1:5000; may be repeated
    #[arg(long, value_name = "URL")]
    pub registry: Vec<String>,

    /// Who asks, for registries that want to know: USER:PASSWORD, or @FILE for a file that holds it [default: $REGSWEEP_REGISTRY_AUTH]
    #[arg(long, value_name = "USER:PASSWORD")]
    pub registry_auth: Option<String>,

    /// Go on although somebody seems to write to the store
    #[arg(long)]
    pub assume_offline: bool,

    /// Wait so long for another regsweep on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one document
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory as _;

        Cli::command().debug_assert();
    }
}
