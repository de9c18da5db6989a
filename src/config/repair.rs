//! Settings of `repair`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::collect::Mode;
use super::common::{Output, Settings};
use super::environment::{environment, notices_changes, read_clock, registries, registry_auth, spill_directory};
use super::location::Location;
use super::threads::jobs;
use crate::cli;
use crate::clock::RunClock;
use crate::error::Error;
use crate::oci::Reference;
use crate::writers::{Credentials, Endpoint};

/// Everything that `repair` has to know.
#[derive(Clone, Debug)]
pub struct RepairSettings {
    /// The store.
    pub location: Location,
    /// The repository, or the tag whose `current` is to be made; everything if nothing is named.
    pub reference: Option<Reference>,
    /// The store that lost blobs are copied from.
    pub from: Option<Location>,
    /// Whether to change anything.
    pub mode: Mode,
    /// Print a line for each link.
    pub verbose: bool,
    /// Where the report goes.
    pub output: Output,
    /// Registries to ask, beside the configuration's.
    pub registries: Vec<Endpoint>,
    /// What to say to registries that want to know who asks.
    pub registry_auth: Option<Credentials>,
    /// Lifts the brakes for registries at work.
    pub assume_offline: bool,
    /// Whether a store that changes meanwhile stops the run.
    pub notices_changes: bool,
    /// Lifts the brakes for stores whose roots are in a database.
    pub allow_foreign_owner: bool,
    /// When the command began, and what time it is since.
    pub clock: RunClock,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the table of blobs in a file.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_directory: PathBuf,
    /// How long to wait for another regsweep.
    pub wait_lock: Duration,
}

impl RepairSettings {
    /// Resolves the arguments of `repair`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, what it names is not there, or the reference is none that can be repaired.
    pub fn resolve(arguments: cli::Repair) -> Result<RepairSettings, Error> {
        let cli::NamedArguments { store, reference } = arguments.named;
        if let Some(reference @ (Reference::Digest(_) | Reference::Manifest(..))) = &reference {
            return Err(Error::Usage(format!("{reference} is no repository and no tag: give REPOSITORY or REPOSITORY:TAG")));
        }
        let environment = environment();
        let location = Location::resolve(&store, &environment)?;
        Ok(RepairSettings {
            jobs: jobs(&location.place, arguments.jobs, arguments.max_memory),
            location,
            from: arguments.from.map(|root| other_store(root, &environment)).transpose()?,
            reference,
            mode: if arguments.dry_run { Mode::DryRun } else { Mode::Execute },
            verbose: arguments.output.verbose,
            output: Output::new(arguments.output),
            registries: registries(&arguments.registry, &environment)?,
            registry_auth: registry_auth(arguments.registry_auth, &environment)?,
            // Typed only: a variable that is meant for nightly collections must not let this run beside a registry.
            assume_offline: arguments.assume_offline,
            notices_changes: notices_changes(),
            allow_foreign_owner: arguments.allow_foreign_owner,
            clock: read_clock(),
            max_memory: arguments.max_memory,
            spill_directory: spill_directory(&environment),
            wait_lock: arguments.wait_lock.unwrap_or_default(),
        })
    }
}

/// The store that `--from` names.
fn other_store(root: PathBuf, environment: &[(OsString, OsString)]) -> Result<Location, Error> {
    Location::resolve(&cli::StoreArguments { config: None, root: Some(root), endpoint: None }, environment)
}

impl Settings for RepairSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
