//! Settings of `verify`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use globset::GlobSet;

use super::common::{DEFAULT_MIN_AGE, Output, Settings};
use super::environment::{environment, read_clock, spill_directory};
use super::location::Location;
use super::threads::jobs;
use crate::cli;
use crate::clock::RunClock;
use crate::error::Error;
use crate::options::Slice;

/// Which blobs are meant to be read.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All.
    All,
    /// So many percent, at random.
    Sample(f64),
    /// One part of so many, the same each time.
    Slice(Slice),
}

/// Everything that `verify` has to know.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// The store.
    pub location: Location,
    /// Where the report goes.
    pub output: Output,
    /// When the command began.
    pub started: SystemTime,
    /// Only what repositories of such names reach.
    pub repositories: Option<GlobSet>,
    /// The patterns that `repositories` was made of, as they were typed.
    pub repository_patterns: Vec<String>,
    /// Which part of that.
    pub selection: Selection,
    /// When to end, counted from the beginning.
    pub max_duration: Option<Duration>,
    /// How many bytes to read in a second.
    pub max_rate: Option<u64>,
    /// Where it is remembered when each blob was last found good.
    pub state: Option<PathBuf>,
    /// What was found good so recently is left out.
    pub max_age: Option<Duration>,
    /// Whether what is corrupt is quarantined.
    pub quarantine: bool,
    /// When the command began, and what time it is since.
    pub clock: RunClock,
    /// With that, what was touched more recently stays: somebody may be writing it.
    pub min_age: Duration,
    /// Lifts the brake for disks that seem to read wrong.
    pub allow_many_damaged: bool,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the tables of blobs in files.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_directory: PathBuf,
    /// How long to wait for another regsweep.
    pub wait_lock: Duration,
}

impl VerifySettings {
    /// Resolves the arguments of `verify`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Verify) -> Result<VerifySettings, Error> {
        let environment = environment();
        let location = Location::resolve(&arguments.store, &environment)?;
        let jobs = jobs(&location.place, arguments.jobs, arguments.max_memory);
        let patterns: Vec<String> = arguments.repository.iter().map(ToString::to_string).collect();
        let repositories = match patterns.is_empty() {
            true => None,
            false => Some(GlobSet::new(arguments.repository).map_err(|error| Error::Usage(format!("--repository: {error}")))?),
        };
        let selection = match (arguments.sample, arguments.slice) {
            (Some(percent), _) => Selection::Sample(percent),
            (None, Some(slice)) => Selection::Slice(slice),
            (None, None) => Selection::All,
        };
        let clock = read_clock();
        Ok(VerifySettings {
            location,
            output: Output::new(arguments.output),
            started: clock.start(),
            repositories,
            repository_patterns: patterns,
            selection,
            max_duration: arguments.max_duration,
            max_rate: arguments.max_rate,
            state: arguments.state,
            max_age: arguments.max_age,
            quarantine: arguments.quarantine,
            clock,
            // Read-only or not: backups are copied back when nobody pushes.
            min_age: arguments.min_age.unwrap_or(DEFAULT_MIN_AGE),
            allow_many_damaged: arguments.allow_many_damaged,
            jobs,
            max_memory: arguments.max_memory,
            spill_directory: spill_directory(&environment),
            wait_lock: arguments.wait_lock.unwrap_or_default(),
        })
    }
}

impl Settings for VerifySettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
