//! Settings of the commands that deal with what was moved aside.

use std::time::{Duration, SystemTime};

use super::{Location, Output, Settings, boot, default_jobs, environment, now};
use crate::cli;
use crate::error::Error;
use crate::oci::Digest;
use crate::quarantine::Boot;

/// What is to be done with a quarantine.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Say what is in it.
    List,
    /// Put things back.
    Restore {
        /// Of this run; of the newest if none is named.
        run: Option<String>,
        /// Of every run.
        all: bool,
        /// This digest alone.
        digest: Option<Digest>,
    },
    /// Remove things for good.
    Purge {
        /// Of this run; of all collections if none is named.
        run: Option<String>,
        /// What has waited for so long.
        older_than: Duration,
        /// Lifts the brake for registries at work.
        assume_offline: bool,
        /// Lifts the brake for stores that look empty.
        allow_empty: bool,
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
    /// When the command began.
    pub now: SystemTime,
    /// The same by the clock that nobody sets.
    pub boot: Option<Boot>,
    /// Threads.
    pub jobs: usize,
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
        let (store, output, wait_lock, wanted) = match arguments {
            cli::Quarantine::List(list) => (list.store, list.output, None, Wanted::List),
            cli::Quarantine::Restore(restore) => {
                let wanted = Wanted::Restore { run: restore.run, all: restore.all, digest: restore.digest };
                (restore.store, restore.output, restore.wait_lock, wanted)
            }
            cli::Quarantine::Purge(purge) => {
                let older_than = purge.older_than.unwrap_or_default();
                let wanted = Wanted::Purge {
                    run: purge.run,
                    older_than,
                    assume_offline: purge.assume_offline,
                    allow_empty: purge.allow_empty,
                };
                (purge.store, purge.output, purge.wait_lock, wanted)
            }
        };
        Ok(QuarantineSettings {
            location: Location::resolve(&store, &environment())?,
            wanted,
            output: Output::of(output),
            now: now(),
            boot: boot(),
            jobs: default_jobs(),
            wait_lock: wait_lock.unwrap_or_default(),
        })
    }
}

impl Settings for QuarantineSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
