//! Settings of `report`: those of the three commands that it runs, for one store and one time.

use super::audit::{AuditSettings, DEFAULT_UPLOAD_AGE};
use super::collect::{CollectSettings, Disposal, Mode};
use super::common::{Output, Settings};
use super::environment::{Beside, environment, read_clock, registries, registry_auth};
use super::location::Location;
use super::reading::{ReadingSettings, UsageSettings};
use crate::cli;
use crate::error::Error;
use crate::options::{FailOn, UsageBy, UsageSort};
use crate::policy::RootPolicy;
use crate::scope::Scope;

/// Everything that `report` has to know.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// A dry run.
    pub collect: CollectSettings,
    /// The account by repository.
    pub usage: UsageSettings,
    /// The audit.
    pub audit: AuditSettings,
}

impl ReportSettings {
    /// Resolves the arguments of `report`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::Report) -> Result<ReportSettings, Error> {
        let cli::Report { store, html, output, ages, upload_age, reading } = arguments;
        let mut reading = ReadingSettings::resolve(&store, output, Some(ages), reading)?;
        reading.output = reading.output.with_html(Some(html));
        let audit = AuditSettings {
            location: reading.location.clone(),
            output: reading.output.clone(),
            fail_on: FailOn::Warning,
            min_age: reading.policy.min_age,
            arrivals: reading.policy.arrivals,
            upload_age: upload_age.unwrap_or(DEFAULT_UPLOAD_AGE),
            now: reading.started,
            jobs: reading.jobs,
            max_memory: reading.max_memory,
            spill_directory: reading.spill_directory.clone(),
            wait_lock: reading.wait_lock,
        };
        let collect = dry_run(&reading)?;
        let usage = UsageSettings { reading, by: UsageBy::Repository, top: None, sort: UsageSort::Unique };
        Ok(ReportSettings { collect, usage, audit })
    }
}

/// A dry run that counts ages as the others do: none of them takes a registry's word that it is read-only for a minimum age of 0.
fn dry_run(reading: &ReadingSettings) -> Result<CollectSettings, Error> {
    let environment = environment();
    Ok(CollectSettings {
        command: "garbage-collect",
        expire: None,
        remove: None,
        location: reading.location.clone(),
        roots: RootPolicy::AllRevisions,
        scope: Scope::Whole,
        policy: reading.policy,
        mode: Mode::DryRun,
        output: reading.output.clone(),
        verbose: false,
        max_reclaim: None,
        allow_empty: false,
        allow_shrunk: false,
        allow_unlinked: None,
        allow_missing: None,
        allow_untagged_repositories: false,
        allow_foreign_owner: false,
        allow_shared_blobs: false,
        jobs: reading.jobs,
        max_memory: reading.max_memory,
        spill_directory: reading.spill_directory.clone(),
        plan_out: None,
        disposal: Disposal::Remove,
        online_by: "--online",
        quarantine_for: Default::default(),
        rescue_for: Default::default(),
        registries: registries(&[], &environment)?,
        registry_auth: registry_auth(None, &environment)?,
        no_min_age_if_read_only: false,
        assume_offline: Beside::resolve(Beside { online: false, assume_offline: false }, &environment)?.assume_offline,
        notices_changes: false,
        flush_redis: false,
        clock: read_clock(),
        wait_lock: reading.wait_lock,
        rerun: "regsweep garbage-collect".to_owned(),
    })
}

impl Settings for ReportSettings {
    fn location(&self) -> &Location {
        &self.usage.reading.location
    }

    fn output(&self) -> &Output {
        &self.usage.reading.output
    }
}
