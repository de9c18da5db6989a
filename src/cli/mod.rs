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
pub use self::booleans::{parse, plain};
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
#[command(name = "regsweep", version, max_term_width = 80)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const RESTORE_EXAMPLES: &str = "Examples:
  regsweep restore /etc/docker/registry/config.yml
  regsweep restore --digest sha256:... --root /srv/registry";

/// Groups of options in help texts.
const KEEP: &str = "What to keep";
const SELECTION: &str = "What to read";
const SAFETY: &str = "Safety";
const OUTPUT: &str = "Output";
const PERFORMANCE: &str = "Performance";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove what no image needs
    ///
    /// Removes blobs that no image needs, and links that lead nowhere.
    ///
    /// Run it while the registry is stopped or read-only, first with --dry-run. Restart a registry that has
    /// storage.cache.blobdescriptor set afterwards: its cache remembers what is gone.
    ///
    /// Exit codes: 0 done and nothing wrong found; 1 done, with findings about the store; 2 stopped before anything was
    /// removed; 3 a sweep began and did not finish cleanly, run it again; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep garbage-collect --dry-run -m /etc/docker/registry/config.yml
  regsweep garbage-collect --online -m /etc/docker/registry/config.yml")]
    GarbageCollect(GarbageCollect),

    /// Restore what a run quarantined
    ///
    /// Short for `quarantine restore`.
    ///
    /// Replaces nothing: where the store has something again, that stays, and what was quarantined stays in quarantine.
    ///
    /// Exit codes: 0 everything is back; 1 something was left in quarantine; 2 stopped before anything was moved.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(Restore),

    /// List, restore or purge what was quarantined
    #[command(subcommand)]
    Quarantine(Quarantine),

    /// Compare every blob with its digest
    ///
    /// Changes nothing without --quarantine, and may run while the registry serves. Blobs that are missing, corrupt, cut short or unreadable are reported
    /// with what needs them.
    ///
    /// Exit codes: 0 nothing wrong found; 1 findings; 2 could not run; 130 interrupted, with a report of what was found so far.
    #[command(after_help = "Examples:
  regsweep verify --state /var/lib/regsweep/state --slice 1/30 config.yml
  regsweep verify --quarantine --repository 'team/*' config.yml")]
    Verify(Verify),

    /// Report what is wrong or wasteful
    ///
    /// Reports everything that is wrong or wasteful, and what a collection would free. Changes nothing.
    ///
    /// Opens every link and every manifest and looks at every blob, but reads no layer: `verify` does. Fit for cron; two reports
    /// of the same store are the same.
    ///
    /// Exit codes: 0 nothing found that --fail-on counts; 1 findings; 2 could not run; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep audit /etc/docker/registry/config.yml
  regsweep audit --fail-on error --metrics /srv/metrics/audit.prom config.yml")]
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
        self.common().0
    }

    /// Where its report goes.
    pub fn output(&self) -> &OutputArguments {
        self.common().1
    }

    /// What all commands have.
    fn common(&self) -> (&StoreArguments, &OutputArguments) {
        match self {
            Command::GarbageCollect(arguments) => (&arguments.store, &arguments.output),
            Command::Restore(arguments) | Command::Quarantine(Quarantine::Restore(arguments)) => {
                (&arguments.store, &arguments.output)
            }
            Command::Quarantine(Quarantine::List(arguments)) => (&arguments.store, &arguments.output),
            Command::Quarantine(Quarantine::Purge(arguments)) => (&arguments.store, &arguments.output),
            Command::Verify(arguments) => (&arguments.store, &arguments.output),
            Command::Audit(arguments) => (&arguments.store, &arguments.output),
        }
    }
}

/// Which store.
#[derive(Args, Debug)]
pub struct StoreArguments {
    /// The registry's config.yml [default: $REGISTRY_CONFIGURATION_PATH]
    pub config: Option<PathBuf>,

    /// The registry's root directory, not CONFIG
    ///
    /// The directory that holds docker/registry/v2, or what is mounted of it, in place of the registry's configuration.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub root: Option<PathBuf>,
}

/// Where the report goes.
#[derive(Args, Debug)]
pub struct OutputArguments {
    /// Print no progress and no text report
    #[arg(help_heading = OUTPUT, short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log what is done
    ///
    /// Log what is done; garbage-collect also prints a line for each target.
    #[arg(help_heading = OUTPUT, short, long)]
    pub verbose: bool,

    /// Report format: text or json [default: text]
    #[arg(help_heading = OUTPUT, long, value_enum, default_value_t = Format::Text, hide_default_value = true, hide_possible_values = true)]
    pub format: Format,

    /// Write figures for Prometheus
    ///
    /// Write figures for Prometheus to this file, such as one in the textfile directory of the node exporter.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

/// Arguments of `garbage-collect`.
#[derive(Args, Debug)]
pub struct GarbageCollect {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Also delete untagged revisions
    ///
    /// Also delete revisions that no tag names. Children of multi-arch images and referrers of kept revisions stay.
    #[arg(help_heading = KEEP, short = 'm', long)]
    pub delete_untagged: bool,

    /// Report what would go, change nothing
    #[arg(help_heading = SAFETY, short, long)]
    pub dry_run: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Keep what is younger [default: 1h]
    ///
    /// Keep what is younger, such as 30m, 24h or 7d. The default is 0s where the registry answers that it is read-only, or is down and its configuration says so.
    #[arg(help_heading = KEEP, long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<Duration>,

    /// Go by modification times alone
    ///
    /// Take a file for as old as its modification time says even if it was made here less than an hour (or --min-age) ago: the store was copied or unpacked as a whole, and nothing is being copied any more.
    #[arg(help_heading = KEEP, long)]
    pub ignore_birth_time: bool,

    /// Stop if more than this would go
    ///
    /// Stop before any change if more than this would go, such as 50GiB or 30% of what is stored.
    #[arg(help_heading = SAFETY, long, value_name = "SIZE|PERCENT", value_parser = limit)]
    pub max_reclaim: Option<Limit>,

    /// Go on: the store looks empty
    ///
    /// Go on although the store has blobs and nothing that needs any, or images and no blobs.
    #[arg(help_heading = SAFETY, long)]
    pub allow_empty: bool,

    /// Go on: the store has shrunk
    ///
    /// Go on although less than half is left of what the last run saw, or something is not mounted that was.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shrunk: bool,

    /// Go on: up to this share is unlinked
    ///
    /// Go on although up to this share of the blobs is linked by no repository, such as 62%.
    #[arg(help_heading = SAFETY, long, value_name = "PERCENT", value_parser = percentage)]
    pub allow_unlinked: Option<f64>,

    /// Go on: most repositories have no tag
    ///
    /// With --delete-untagged, go on although most repositories have no tag at all.
    #[arg(help_heading = SAFETY, long)]
    pub allow_untagged_repositories: bool,

    /// Go on: a database owns the store
    ///
    /// Go on although another program's database (GitLab's, Harbor's, OpenShift's) says what is needed.
    #[arg(help_heading = SAFETY, long)]
    pub allow_foreign_owner: bool,

    /// Go on: blobs may be shared
    ///
    /// Go on although the directory of blobs is a symbolic link or a mount that another store may have too.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shared_blobs: bool,

    /// Number of threads [default: 16 to 64]
    ///
    /// The default is 8 for each processor, 16 at least and 64 at most: reading directories waits for the disk more than it computes. With
    /// --max-memory it is one for each 20 MiB at most, and 4 at least.
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit
    ///
    /// Memory limit; the blob table (39 bytes a blob) spills to a file in $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// Write each target as a line of JSON
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub plan_out: Option<PathBuf>,

    /// Quarantine instead of removing
    ///
    /// Move what goes to .regsweep/quarantine in the root directory, from where `regsweep restore` restores it.
    #[arg(help_heading = SAFETY, long)]
    pub quarantine: bool,

    /// Collect while the registry takes pushes
    ///
    /// Collect while the registry takes pushes: quarantine, restore what turns out to be needed, purge in a later run.
    #[arg(help_heading = SAFETY, long, conflicts_with = "assume_offline")]
    pub online: bool,

    /// Purge what waited so long [default: 24h]
    ///
    /// With --quarantine or --online, purge what earlier runs quarantined so long ago and nothing needs.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub quarantine_for: Option<Duration>,

    /// Watch for pushes [default: 60s]
    ///
    /// With --online, how long to watch for pushes that reference quarantined blobs.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration, requires = "online")]
    pub rescue_for: Option<Duration>,

    /// Ask this registry as well
    ///
    /// Ask this registry as well whether it takes pushes, such as http://127.0.0.1:5000. May be repeated.
    #[arg(help_heading = SAFETY, long, value_name = "URL")]
    pub registry: Vec<String>,

    /// Credentials to ask with
    ///
    /// Credentials for registries that want to know who asks: USER:PASSWORD, or @FILE for a file that holds it [default: $REGSWEEP_REGISTRY_AUTH].
    #[arg(help_heading = SAFETY, long, value_name = "USER:PASSWORD")]
    pub registry_auth: Option<String>,

    /// Do not look for writers
    ///
    /// Go on although a registry or another program seems to write to the store.
    #[arg(help_heading = SAFETY, long)]
    pub assume_offline: bool,

    /// Wait for another regsweep [default: 0s]
    ///
    /// Wait so long for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command, by the words that lead to it.
    fn commands() -> Vec<clap::Command> {
        let mut all = vec![Cli::command()];
        let mut next = 0;
        while next < all.len() {
            let below: Vec<_> = all[next].get_subcommands().cloned().collect();
            all.extend(below);
            next += 1;
        }
        all
    }

    #[test]
    fn short_help_fits_a_terminal_and_gives_each_option_a_line() {
        for mut command in commands() {
            let help = command.render_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                let begins_option = line.trim_start().starts_with('-') && line.starts_with("  ");
                assert!(!begins_option || line.trim_start().contains("  "), "{}: without its text: {line}", command.get_name());
            }
            let options = command.get_arguments().filter(|argument| !argument.is_positional() && !argument.is_hide_set()).count();
            let lines = help.lines().filter(|line| line.trim_start().starts_with('-')).count();
            assert!(lines >= options, "{}: {help}", command.get_name());
            let is_last = command.get_subcommands().next().is_none();
            assert!(!is_last || help.matches("\n  regsweep ").count() == 2, "{}: two examples: {help}", command.get_name());
        }
    }
}
