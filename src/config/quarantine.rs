//! Settings of the commands that deal with what was quarantined.

use std::path::PathBuf;
use std::time::Duration;

use super::common::{Output, Settings};
use super::environment::{environment, notices_changes, read_clock, spill_directory};
use super::location::Location;
use super::threads::jobs;
use crate::cli;
use crate::clock::{RecordedTime, RunClock};
use crate::error::Error;
use crate::oci::Digest;

/// What is to be done with a quarantine.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Say what is in it.
    List,
    /// Note that the registries were started again.
    Restarted {
        /// After this time; nothing if this machine shows it.
        since: Option<RecordedTime>,
    },
    /// Restore things.
    Restore {
        /// Of this run; of the newest if none is named.
        run: Option<String>,
        /// Of every run.
        all: bool,
        /// This digest alone.
        digest: Option<Digest>,
    },
    /// Purge things.
    Purge {
        /// Of this run; of all collections if none is named.
        run: Option<String>,
        /// What has waited for this long; everything if nothing is said.
        older_than: Option<Duration>,
        /// Lifts the brake for registries at work.
        assume_offline: bool,
        /// Lifts the brake for stores that look empty.
        allow_empty: bool,
        /// Lifts the brakes for stores of which less than half is left.
        allow_shrunk: bool,
        /// Lifts the brakes for stores whose roots are in a database.
        allow_foreign_owner: bool,
        /// Lifts the brake for blobs that another store may have too.
        allow_shared_blobs: bool,
    },
}

/// Everything that `quarantine` has to know.
#[derive(Clone, Debug)]
pub struct QuarantineSettings {
    /// The store.
    pub location: Location,
    /// What to do.
    pub wanted: Wanted,
    /// Where the report goes.
    pub output: Output,
    /// When the command began, and what time it is since.
    pub clock: RunClock,
    /// Memory to stay within.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_directory: PathBuf,
    /// Threads.
    pub jobs: usize,
    /// Whether a store that changes meanwhile stops a purge beside no registry.
    pub notices_changes: bool,
    /// How long to wait for another regsweep.
    pub wait_lock: Duration,
}

impl QuarantineSettings {
    /// Resolves the arguments of `quarantine` and its subcommands.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Quarantine) -> Result<QuarantineSettings, Error> {
        let environment = environment();
        let mut max_memory = None;
        let clock = read_clock();
        let (store, output, wait_lock, wanted) = match arguments {
            cli::Quarantine::List(list) => {
                max_memory = list.max_memory;
                (list.store, list.output, None, Wanted::List)
            }
            cli::Quarantine::Restarted(restarted) => {
                let since = restarted.since.map(|since| recorded(since, &clock)).transpose()?;
                (restarted.store, restarted.output, restarted.wait_lock, Wanted::Restarted { since })
            }
            cli::Quarantine::Restore(restore) => {
                max_memory = restore.max_memory;
                let wanted = Wanted::Restore { run: restore.run, all: restore.all, digest: restore.digest };
                (restore.store, restore.output, restore.wait_lock, wanted)
            }
            cli::Quarantine::Purge(purge) => {
                max_memory = purge.max_memory;
                let wanted = Wanted::Purge {
                    run: purge.run,
                    older_than: purge.older_than,
                    // Typed only: a variable that is meant for nightly collections must not end a wait.
                    assume_offline: purge.assume_offline,
                    allow_empty: purge.allow_empty,
                    allow_shrunk: purge.allow_shrunk,
                    allow_foreign_owner: purge.allow_foreign_owner,
                    allow_shared_blobs: purge.allow_shared_blobs,
                };
                (purge.store, purge.output, purge.wait_lock, wanted)
            }
        };
        let location = Location::resolve(&store, &environment)?;
        Ok(QuarantineSettings {
            jobs: jobs(&location.place, None, max_memory),
            location,
            wanted,
            output: Output::new(output),
            clock,
            max_memory,
            spill_directory: spill_directory(&environment),
            notices_changes: notices_changes(),
            wait_lock: wait_lock.unwrap_or_default(),
        })
    }
}

/// A time as it was typed: counted from the beginning of the command, however long it waits for its turn afterwards.
fn recorded(since: cli::Since, clock: &RunClock) -> Result<RecordedTime, Error> {
    let ago = match since {
        cli::Since::Ago(ago) => ago,
        cli::Since::At(at) => Duration::try_from(clock.timestamp().duration_since(at))
            .map_err(|_| Error::Usage(format!("--since {at} has not come yet")))?,
    };
    clock.recorded(ago).ok_or_else(|| Error::Usage("--since is before any time that a clock can say".to_owned()))
}

impl Settings for QuarantineSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
