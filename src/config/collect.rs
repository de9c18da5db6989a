//! Settings of `garbage-collect`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::common::{DEFAULT_MIN_AGE, Output, Settings, arrivals};
use super::environment::{Beside, ONLINE, environment, notices_changes, read_clock, registries, registry_auth, spill_directory};
use super::expire::ExpireSettings;
use super::location::Location;
use super::remove::RemoveSettings;
use super::threads::jobs;
use crate::cli;
use crate::clock::RunClock;
use crate::error::Error;
use crate::format::duration;
use crate::inventory::Budget;
use crate::options::Limit;
use crate::plan::Approved;
use crate::policy::{Policy, RootPolicy, Uploads};
use crate::scope::Scope;
use crate::writers::{Credentials, Endpoint};

/// Longer than any push takes, and long enough for somebody to notice.
const DEFAULT_QUARANTINE: Duration = Duration::from_secs(24 * 3600);
/// Longer than nearly every request takes.
const DEFAULT_RESCUE: Duration = Duration::from_secs(60);

/// The least age of uploads that go beside a registry at work: a client that was cut off comes back sooner.
const UPLOADS_BESIDE_REGISTRY: Duration = Duration::from_secs(24 * 3600);

/// Whether anything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is touched.
    DryRun,
    /// The plan is carried out.
    Execute,
}

/// What happens to what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// It is removed. Nobody else may be at work.
    Remove,
    /// It is quarantined, and what waited long enough is removed. Nobody else may be at work.
    Quarantine,
    /// The same beside a registry that takes pushes.
    Online,
}

/// Everything that a collection has to know.
#[derive(Clone, Debug)]
pub struct CollectSettings {
    /// The name of the command.
    pub command: &'static str,
    /// Which tags go; nothing if none does.
    pub expire: Option<ExpireSettings>,
    /// What was asked for by name; nothing if nothing was.
    pub remove: Option<RemoveSettings>,
    /// The store.
    pub location: Location,
    /// Which revisions are roots.
    pub roots: RootPolicy,
    /// Which part of the store it is about.
    pub scope: Scope,
    /// What is too young to be judged.
    pub policy: Policy,
    /// Whether to remove.
    pub mode: Mode,
    /// Where the report goes.
    pub output: Output,
    /// Print a line for each target.
    pub verbose: bool,
    /// How much may go at most.
    pub max_reclaim: Option<Limit>,
    /// Lifts the brakes for stores that look empty.
    pub allow_empty: bool,
    /// Lifts the brakes for stores of which less than half is left.
    pub allow_shrunk: bool,
    /// The share of blobs, in percent, that may be linked by no repository.
    pub allow_unlinked: Option<f64>,
    /// Up to which share of its revisions may have no manifest, in percent.
    pub allow_missing: Option<f64>,
    /// Lifts the brakes for stores whose repositories mostly have no tag.
    pub allow_untagged_repositories: bool,
    /// Lifts the brakes for stores whose roots are in a database.
    pub allow_foreign_owner: bool,
    /// Lifts the brake for blobs that another store may have too.
    pub allow_shared_blobs: bool,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the table of blobs in a file.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_directory: PathBuf,
    /// Where to write the plan.
    pub plan_out: Option<PathBuf>,
    /// What happens to what goes.
    pub disposal: Disposal,
    /// What says that a registry may take pushes meanwhile, if anything does: the option, or the variable.
    pub online_by: &'static str,
    /// How long things wait in quarantine.
    pub quarantine_for: Duration,
    /// How long to look out for pushes that need what was quarantined.
    pub rescue_for: Duration,
    /// Registries to ask, beside the configuration's.
    pub registries: Vec<Endpoint>,
    /// What to say to registries that want to know who asks.
    pub registry_auth: Option<Credentials>,
    /// Whether the minimum age is 0 where the registry takes no pushes: none was given. Beside a registry at work there may be pushes
    /// whatever anything says.
    pub no_min_age_if_read_only: bool,
    /// Whether stale keys are removed from the registry's redis.
    pub flush_redis: bool,
    /// Lifts the brakes for registries at work.
    pub assume_offline: bool,
    /// Whether changes to the store while it is read stop a run without a registry at work.
    pub notices_changes: bool,
    /// When the run began, and what time it is since.
    pub clock: RunClock,
    /// How long to wait for another regsweep.
    pub wait_lock: Duration,
    /// What was typed, without `--dry-run`.
    pub rerun: String,
}

impl CollectSettings {
    /// Resolves the arguments of `garbage-collect`. `rerun` is the command line that does the same without `--dry-run`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: cli::GarbageCollect, rerun: String) -> Result<CollectSettings, Error> {
        let cli::GarbageCollect {
            store,
            delete_untagged,
            repository,
            unlinked_only,
            plan,
            uploads_older_than,
            prune_empty,
            orphaned_referrers,
            collect,
        } = arguments;
        ensure_kept(plan.as_deref(), collect.plan_out.as_deref())?;
        let roots = if delete_untagged { RootPolicy::TaggedOnly } else { RootPolicy::AllRevisions };
        let mut settings = CollectSettings::of_command("garbage-collect", &store, collect, roots, rerun)?;
        settings.scope = match (plan, unlinked_only, repository.is_empty()) {
            (Some(plan), ..) => {
                // Half of it is for what goes by now.
                let budget = match settings.max_memory {
                    Some(limit) => Budget::of(Budget::for_tables(limit) / 2, &settings.spill_directory),
                    None => Budget::unlimited(),
                };
                let approved = Approved::read(&plan, &budget)?;
                approved.ensure_possible(orphaned_referrers)?;
                Scope::Approved(Arc::new(approved))
            }
            (None, true, _) => Scope::Unlinked,
            (None, false, true) => Scope::Whole,
            (None, false, false) => {
                Scope::repositories(&repository).map_err(|error| Error::Usage(format!("--repository: {error}")))?
            }
        };
        settings.policy.prunes_empty = prune_empty;
        settings.policy.drops_orphans = orphaned_referrers;
        if let Some(age) = uploads_older_than {
            settings.ensure_old(age)?;
            settings.policy.uploads = Uploads::OlderThan(age);
        }
        Ok(settings)
    }

    /// Makes sure that no upload is young that is as old as this.
    fn ensure_old(&self, age: Duration) -> Result<(), Error> {
        let (given, min_age) = (duration(age), self.policy.min_age);
        let why = if self.disposal == Disposal::Online && age < UPLOADS_BESIDE_REGISTRY {
            let least = duration(UPLOADS_BESIDE_REGISTRY);
            format!(
                "beside a registry that takes pushes a client may continue an upload after a long pause: give {least} or more, or stop the \
                 registry and collect without {}",
                self.online_by
            )
        } else if age < min_age && !self.no_min_age_if_read_only {
            format!("nothing younger than --min-age ({}) goes: give no less, or a shorter --min-age as well", duration(min_age))
        } else {
            return Ok(());
        };
        Err(Error::Usage(format!("--uploads-older-than {given} is too short: {why}")))
    }

    /// Resolves what all commands have that collect.
    ///
    /// # Errors
    ///
    /// As above.
    pub(super) fn of_command(
        command: &'static str,
        store: &cli::StoreArguments,
        arguments: cli::CollectArguments,
        roots: RootPolicy,
        rerun: String,
    ) -> Result<CollectSettings, Error> {
        let environment = environment();
        let location = Location::resolve(store, &environment)?.with_cache(arguments.cache, &environment)?;
        let jobs = jobs(&location.place, arguments.jobs, arguments.max_memory);
        let min_age = arguments.min_age.unwrap_or(DEFAULT_MIN_AGE);
        let clock = read_clock();
        let typed = Beside { online: arguments.online, assume_offline: arguments.assume_offline };
        let beside = Beside::resolve(typed, &environment)?;
        ensure_redis(&location, arguments.flush_redis, beside.online)?;
        if arguments.rescue_for.is_some() && !beside.online {
            return Err(Error::Usage(format!("--rescue-for is for runs with --online (or {ONLINE}=true)")));
        }
        Ok(CollectSettings {
            command,
            expire: None,
            remove: None,
            location,
            roots,
            scope: Scope::Whole,
            policy: Policy {
                min_age,
                arrivals: arrivals(arguments.ignore_birth_time),
                keeps_arrivals: false,
                now: clock.start(),
                uploads: Uploads::Counted,
                prunes_empty: false,
                drops_orphans: false,
            },
            mode: if arguments.dry_run { Mode::DryRun } else { Mode::Execute },
            verbose: arguments.output.verbose,
            output: Output::new(arguments.output).with_html(arguments.html),
            max_reclaim: arguments.max_reclaim,
            allow_empty: arguments.allow_empty,
            allow_shrunk: arguments.allow_shrunk,
            allow_unlinked: arguments.allow_unlinked,
            allow_missing: arguments.allow_missing,
            allow_untagged_repositories: arguments.allow_untagged_repositories,
            allow_foreign_owner: arguments.allow_foreign_owner,
            allow_shared_blobs: arguments.allow_shared_blobs,
            jobs,
            max_memory: arguments.max_memory,
            spill_directory: spill_directory(&environment),
            plan_out: arguments.plan_out,
            disposal: match (beside.online, arguments.quarantine) {
                (true, _) => Disposal::Online,
                (false, true) => Disposal::Quarantine,
                (false, false) => Disposal::Remove,
            },
            online_by: if typed.online { "--online" } else { ONLINE },
            quarantine_for: arguments.quarantine_for.unwrap_or(DEFAULT_QUARANTINE),
            rescue_for: arguments.rescue_for.unwrap_or(DEFAULT_RESCUE),
            registries: registries(&arguments.registry, &environment)?,
            registry_auth: registry_auth(arguments.registry_auth, &environment)?,
            no_min_age_if_read_only: arguments.min_age.is_none() && !beside.online,
            flush_redis: arguments.flush_redis,
            assume_offline: beside.assume_offline,
            notices_changes: notices_changes(),
            clock,
            wait_lock: arguments.wait_lock.unwrap_or_default(),
            rerun,
        })
    }
}

/// Makes sure that a plan which is carried out is not written over.
fn ensure_kept(plan: Option<&Path>, plan_out: Option<&Path>) -> Result<(), Error> {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match (plan, plan_out) {
        (Some(plan), Some(out)) if plan == out || (file(plan).is_some() && file(plan) == file(out)) => Err(Error::Usage(
            "--plan-out names the plan that --plan carries out: it would be overwritten; name another file".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Makes sure that there is a redis to flush.
fn ensure_redis(location: &Location, is_wanted: bool, is_online: bool) -> Result<(), Error> {
    let message = match location.redis() {
        _ if !is_wanted => return Ok(()),
        Some(_) if !is_online => return Ok(()),
        // By its variable: what is typed does not get here.
        Some(_) => "--flush-redis is for runs without REGSWEEP_ONLINE, which remove keys without being asked",
        None => {
            "--flush-redis needs the configuration of a registry that remembers blobs in a redis (storage.cache.blobdescriptor: redis)"
        }
    };
    Err(Error::Usage(message.to_owned()))
}

impl Settings for CollectSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}
