//! Settings of the commands that read a store, say what is in it and change nothing.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::common::{DEFAULT_MIN_AGE, Output, Settings, arrivals};
use super::environment::{environment, read_clock, spill_directory};
use super::location::Location;
use super::threads::jobs;
use crate::cli;
use crate::error::Error;
use crate::oci::Reference;
use crate::options::{UsageBy, UsageSort};
use crate::policy::{Arrivals, Policy};

/// What all of them have to know.
#[derive(Clone, Debug)]
pub struct ReadingSettings {
    /// The store.
    pub location: Location,
    /// Where the report goes.
    pub output: Output,
    /// What is too young to be judged.
    pub policy: Policy,
    /// When the command began.
    pub started: SystemTime,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the tables of blobs in files.
    pub max_memory: Option<u64>,
    /// Where those files would be made.
    pub spill_directory: PathBuf,
    /// How long to wait for a collection.
    pub wait_lock: Duration,
}

impl ReadingSettings {
    pub(super) fn resolve(
        store: &cli::StoreArguments,
        output: cli::OutputArguments,
        ages: Option<cli::AgeArguments>,
        reading: cli::ReadingArguments,
    ) -> Result<ReadingSettings, Error> {
        let environment = environment();
        let started = read_clock().start();
        let (min_age, arrivals) = match ages {
            Some(ages) => (ages.min_age.unwrap_or(DEFAULT_MIN_AGE), arrivals(ages.ignore_birth_time)),
            None => (DEFAULT_MIN_AGE, Arrivals::Ignored),
        };
        let location = Location::resolve(store, &environment)?.with_cache(reading.cache, &environment)?;
        Ok(ReadingSettings {
            jobs: jobs(&location.place, reading.jobs, reading.max_memory),
            location,
            output: Output::new(output),
            policy: Policy::new(min_age, arrivals, started),
            started,
            max_memory: reading.max_memory,
            spill_directory: spill_directory(&environment),
            wait_lock: reading.wait_lock.unwrap_or_default(),
        })
    }
}

/// Everything that `usage` has to know.
#[derive(Clone, Debug)]
pub struct UsageSettings {
    /// How the store is read.
    pub reading: ReadingSettings,
    /// What makes a row.
    pub by: UsageBy,
    /// How many rows to show; nothing if nobody says.
    pub top: Option<usize>,
    /// Their order.
    pub sort: UsageSort,
}

impl UsageSettings {
    /// Resolves the arguments of `usage`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Usage) -> Result<UsageSettings, Error> {
        let cli::Usage { store, by, top, sort, output, html, ages, reading } = arguments;
        let mut reading = ReadingSettings::resolve(&store, output, Some(ages), reading)?;
        reading.output = reading.output.with_html(html);
        Ok(UsageSettings { reading, by, top, sort })
    }
}

/// Everything that `list` has to know.
#[derive(Clone, Debug)]
pub struct ListSettings {
    /// How the store is read.
    pub reading: ReadingSettings,
    /// What of it to list; the repositories if nothing is named.
    pub reference: Option<Reference>,
    /// Whether to list revisions that no tag leads to.
    pub untagged: bool,
}

impl ListSettings {
    /// Resolves the arguments of `list`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, what it names is not there, or the reference is none that can be listed.
    pub fn resolve(arguments: cli::List) -> Result<ListSettings, Error> {
        let cli::List { named, untagged, output, reading } = arguments;
        let cli::NamedArguments { store, reference } = named;
        let refused = match &reference {
            Some(reference @ (Reference::Digest(_) | Reference::Manifest(..))) => Some(format!(
                "{reference} is no repository and no tag: give REPOSITORY or REPOSITORY:TAG, or see `regsweep explain`"
            )),
            Some(reference @ Reference::Tag(..)) if untagged => {
                Some(format!("{reference} is a tag, and --untagged lists what no tag leads to: give REPOSITORY"))
            }
            _ => None,
        };
        match refused {
            Some(why) => Err(Error::Usage(why)),
            None => Ok(ListSettings { reading: ReadingSettings::resolve(&store, output, None, reading)?, reference, untagged }),
        }
    }
}

impl Settings for ListSettings {
    fn location(&self) -> &Location {
        &self.reading.location
    }

    fn output(&self) -> &Output {
        &self.reading.output
    }
}

/// Everything that `explain` has to know.
#[derive(Clone, Debug)]
pub struct ExplainSettings {
    /// How the store is read.
    pub reading: ReadingSettings,
    /// What is to be explained.
    pub reference: Reference,
}

impl ExplainSettings {
    /// Resolves the arguments of `explain`.
    ///
    /// # Errors
    ///
    /// When nothing or no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Explain) -> Result<ExplainSettings, Error> {
        let cli::Explain { named, output, ages, reading } = arguments;
        let cli::NamedArguments { store, reference } = named;
        let nothing =
            || Error::Usage("nothing to explain: give DIGEST, REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST".to_owned());
        let reference = reference.ok_or_else(nothing)?;
        Ok(ExplainSettings { reading: ReadingSettings::resolve(&store, output, Some(ages), reading)?, reference })
    }
}

impl Settings for ExplainSettings {
    fn location(&self) -> &Location {
        &self.reading.location
    }

    fn output(&self) -> &Output {
        &self.reading.output
    }
}

impl Settings for UsageSettings {
    fn location(&self) -> &Location {
        &self.reading.location
    }

    fn output(&self) -> &Output {
        &self.reading.output
    }
}
