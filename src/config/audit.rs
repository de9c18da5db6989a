//! Settings of `audit`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::common::{DEFAULT_MIN_AGE, Output, Settings, arrivals};
use super::environment::{environment, now, spill_directory};
use super::location::Location;
use super::threads::jobs;
use crate::cli;
use crate::error::Error;
use crate::options::FailOn;
use crate::policy::Arrivals;

/// As old as the registry lets uploads become before it purges them.
pub(super) const DEFAULT_UPLOAD_AGE: Duration = Duration::from_secs(168 * 3600);

/// Everything that an audit has to know.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The store.
    pub location: Location,
    /// Where the report goes.
    pub output: Output,
    /// Which findings make the exit code 1.
    pub fail_on: FailOn,
    /// What is younger may still be at work.
    pub min_age: Duration,
    /// What counts as young beside that.
    pub arrivals: Arrivals,
    /// An upload that was not continued within this period is stale.
    pub upload_age: Duration,
    /// When the audit began: the moment that ages are counted back from.
    pub now: SystemTime,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the table of blobs in a file.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_directory: PathBuf,
    /// How long to wait for a collection.
    pub wait_lock: Duration,
}

impl AuditSettings {
    /// Resolves the arguments of `audit`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Audit) -> Result<AuditSettings, Error> {
        let environment = environment();
        let location = Location::resolve(&arguments.store, &environment)?.with_cache(arguments.cache, &environment)?;
        let jobs = jobs(&location.place, arguments.jobs, arguments.max_memory);
        Ok(AuditSettings {
            min_age: arguments.min_age.unwrap_or(DEFAULT_MIN_AGE),
            arrivals: arrivals(arguments.ignore_birth_time),
            location,
            output: Output::new(arguments.output).with_html(arguments.html),
            fail_on: arguments.fail_on,
            upload_age: arguments.upload_age.unwrap_or(DEFAULT_UPLOAD_AGE),
            now: now(),
            jobs,
            max_memory: arguments.max_memory,
            spill_directory: spill_directory(&environment),
            wait_lock: arguments.wait_lock.unwrap_or_default(),
        })
    }
}

impl Settings for AuditSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
