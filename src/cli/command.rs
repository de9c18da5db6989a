//! The commands and their help.

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use super::audit::Audit;
use super::common::{OutputArguments, StoreArguments};
use super::expire::Expire;
use super::explain::Explain;
use super::garbage_collect::GarbageCollect;
use super::generate::{Completions, ManPages};
use super::list::List;
use super::quarantine::{Quarantine, RESTORE_EXAMPLES, Restore};
use super::remove::Remove;
use super::repair::Repair;
use super::report::Report;
use super::usage::Usage;
use super::verify::Verify;

/// The name of the program.
pub(super) const NAME: &str = "regsweep";

/// The version, the target and the features of this build.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut features: Vec<&str> = env!("REGSWEEP_FEATURES").split_whitespace().collect();
    features.extend(cfg!(target_feature = "crt-static").then_some("static"));
    features.extend(cfg!(debug_assertions).then_some("debug"));
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    format!("{}\ntarget: {}\nfeatures: {features}", env!("CARGO_PKG_VERSION"), env!("REGSWEEP_TARGET"))
});

/// Garbage collection and maintenance for container-registry storage
///
/// Works on the files that a Docker or OCI registry (registry:2, registry:3, and what builds on them) keeps under
/// docker/registry/v2.
#[derive(Debug, Parser)]
#[command(name = NAME, version, long_version = VERSION.as_str(), max_term_width = 80, subcommand_value_name = "COMMAND")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

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
    #[command(
        visible_alias = "gc",
        after_help = "Examples:
  regsweep garbage-collect --dry-run -m /etc/docker/registry/config.yml
  regsweep garbage-collect --online -m /etc/docker/registry/config.yml"
    )]
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
    /// Changes nothing without --quarantine, and may run while the registry serves. Blobs that are missing, corrupt,
    /// cut short or unreadable are reported with what needs them.
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

    /// Mend damaged and missing links
    ///
    /// Makes links again whose places say what they hold: one that a kept manifest, a tag or an index needs and whose blob is stored, and
    /// one that is empty or garbled. Nothing is invented: what cannot be mended is reported, with the reason.
    ///
    /// With REPOSITORY only that repository is repaired, with REPOSITORY:TAG only what the tag names now, from a history of one.
    ///
    /// Run it while the registry is stopped or read-only, first with --dry-run. What is replaced goes to quarantine.
    ///
    /// Exit codes: 0 done, nothing is left to mend; 1 done, with damage that cannot be mended; 2 stopped before anything was changed; 3 a
    /// repair began and did not finish cleanly, run it again; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep repair --dry-run /etc/docker/registry/config.yml
  regsweep repair /etc/docker/registry/config.yml team/api:1.0")]
    Repair(Repair),

    /// Print completions for a shell
    ///
    /// Prints the script by which a shell completes the commands and options of regsweep.
    #[command(after_help = "Examples:
  regsweep completions bash > /etc/bash_completion.d/regsweep
  regsweep completions fish > ~/.config/fish/completions/regsweep.fish")]
    Completions(Completions),

    /// Write manual pages
    ///
    /// Writes a page for each command into a directory, which is made if it is not there.
    #[command(after_help = "Examples:
  regsweep man /usr/local/share/man/man1
  regsweep man ./man && man ./man/regsweep.1")]
    Man(ManPages),
    /// Show what takes the room
    ///
    /// Shows what each repository reaches, what of it no other one does, and what nothing needs. Changes nothing.
    ///
    /// What a row holds alone is what deleting it would free, once untagged revisions are collected. Sizes are those of
    /// the files.
    ///
    /// Exit codes: 0 done; 1 done, with findings about the store; 2 could not run; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep usage /etc/docker/registry/config.yml
  regsweep usage --by tag --format csv --root /srv/registry")]
    Usage(Usage),

    /// Write one page with usage, audit and a dry run
    ///
    /// Writes one page for a browser: what takes the room, what a collection would free, what is wrong, and what to run next. The page is one
    /// file and needs no network. Changes nothing in the store.
    ///
    /// Reads the store three times: for a dry run, for `usage` and for `audit`.
    ///
    /// Exit codes: 0 done; 1 done, with findings about the store; 2 could not run; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep report --html registry.html /etc/docker/registry/config.yml
  regsweep report --html /srv/www/registry.html --root /srv/registry")]
    Report(Report),

    /// List repositories, tags or untagged revisions
    ///
    /// Lists repositories as the registry's catalogue has them, the tags of one, or what a tag names. Works on the
    /// files, so the registry need not run. Changes nothing.
    ///
    /// Exit codes: 0 done; 1 done, with findings about what is listed; 2 could not run; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep list /etc/docker/registry/config.yml team/api
  regsweep list --untagged --root /srv/registry")]
    List(List),

    /// Say why something is kept or not
    ///
    /// Says why a digest, a tag or a repository is kept or not: what links it, every way that leads to it, and what
    /// deleting it would free. Changes nothing.
    ///
    /// Exit codes: 0 done; 1 done, with findings about it; 2 could not run; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep explain /etc/docker/registry/config.yml team/api:1.0
  regsweep explain --root /srv/registry sha256:...")]
    Explain(Explain),

    /// Drop tags by rules, then collect
    ///
    /// Drops the tags that rules do not keep, and removes what no image needs any more, in one run. Untagged revisions that were there
    /// before stay, unless a rule says otherwise. Repositories that no rule names are left alone.
    ///
    /// Run it as garbage-collect: first with --dry-run, while the registry is stopped or read-only, or with --online.
    ///
    /// Exit codes: 0 done and nothing wrong found; 1 done, with findings about the store; 2 stopped before anything was
    /// removed; 3 a sweep began and did not finish cleanly, run it again; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep expire --dry-run --keep-last 10 --repository 'team/**' config.yml
  regsweep expire --policy policy.toml --protect in-use.txt config.yml")]
    Expire(Expire),

    /// Remove tags and manifests by name
    ///
    /// Removes the tags and manifests that are named, and collects what that frees, in the same run. Refuses a manifest that a kept tag, a
    /// kept index or a kept referrer needs. All of it goes, or nothing does.
    ///
    /// Run it as garbage-collect: first with --dry-run, while the registry is stopped or read-only, or with --online.
    ///
    /// Exit codes: 0 done and nothing wrong found; 1 done, with findings about the store; 2 stopped before anything was
    /// removed; 3 a sweep began and did not finish cleanly, run it again; 130 interrupted.
    #[command(after_help = "Examples:
  regsweep remove --dry-run config.yml team/app:1.0 team/app:1.1
  regsweep remove --quarantine --root /srv/registry team/app@sha256:...")]
    Remove(Remove),
}

impl Command {
    /// The name, as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Command::GarbageCollect(_) => "garbage-collect",
            Command::Restore(_) | Command::Quarantine(Quarantine::Restore(_)) => "restore",
            Command::Quarantine(Quarantine::List(_)) => "quarantine list",
            Command::Quarantine(Quarantine::Purge(_)) => "quarantine purge",
            Command::Quarantine(Quarantine::Restarted(_)) => "quarantine restarted",
            Command::Verify(_) => "verify",
            Command::Audit(_) => "audit",
            Command::Repair(_) => "repair",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
            Command::Usage(_) => "usage",
            Command::Report(_) => "report",
            Command::List(_) => "list",
            Command::Explain(_) => "explain",
            Command::Expire(_) => "expire",
            Command::Remove(_) => "remove",
        }
    }

    /// The store that the command works on, if any.
    pub fn store(&self) -> Option<&StoreArguments> {
        self.common().map(|(store, _)| store)
    }

    /// The report options of the command, if any.
    pub fn output(&self) -> Option<&OutputArguments> {
        self.common().map(|(_, output)| output)
    }

    /// The options that all commands with a store share.
    fn common(&self) -> Option<(&StoreArguments, &OutputArguments)> {
        Some(match self {
            Command::GarbageCollect(arguments) => (&arguments.store, &arguments.collect.output),
            Command::Expire(arguments) => (&arguments.store, arguments.output()),
            Command::Remove(arguments) => (&arguments.several.store, arguments.output()),
            Command::Restore(arguments) | Command::Quarantine(Quarantine::Restore(arguments)) => {
                (&arguments.store, &arguments.output)
            }
            Command::Quarantine(Quarantine::List(arguments)) => (&arguments.store, &arguments.output),
            Command::Quarantine(Quarantine::Purge(arguments)) => (&arguments.store, &arguments.output),
            Command::Quarantine(Quarantine::Restarted(arguments)) => (&arguments.store, &arguments.output),
            Command::Verify(arguments) => (&arguments.store, &arguments.output),
            Command::Audit(arguments) => (&arguments.store, &arguments.output),
            Command::Repair(arguments) => (&arguments.named.store, &arguments.output),
            Command::Usage(arguments) => (&arguments.store, &arguments.output),
            Command::Report(arguments) => (&arguments.store, &arguments.output),
            Command::Explain(arguments) => (&arguments.named.store, &arguments.output),
            Command::List(arguments) => (&arguments.named.store, &arguments.output),
            Command::Completions(_) | Command::Man(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command, with its full name.
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
