//! From what was typed, the registry's configuration, the environment and the clock to settings: the only reader of the last two.

mod audit;
mod location;
mod quarantine;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use self::audit::AuditSettings;
pub use self::location::Location;
pub use self::quarantine::{QuarantineSettings, Wanted};
pub use self::verify::{Selection, VerifySettings};
use crate::cli::{self, Format, Limit};
use crate::clock::RunClock;
use crate::error::{Context as _, Error};
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::writers::Credentials;

/// Keeps what was pushed in the last hour: longer than nearly every push takes.
const DEFAULT_MIN_AGE: Duration = Duration::from_secs(3600);

/// Where a password is given without anybody seeing it in the list of processes.
const REGISTRY_AUTH: &str = "REGSWEEP_REGISTRY_AUTH";

/// Longer than any push takes, and long enough for somebody to notice.
const DEFAULT_QUARANTINE: Duration = Duration::from_secs(24 * 3600);
/// Longer than nearly every request takes.
const DEFAULT_RESCUE: Duration = Duration::from_secs(60);

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

/// Where a command's report goes.
#[derive(Clone, Debug)]
pub struct Output {
    /// Print no text report and no progress.
    pub quiet: bool,
    /// How to print the report.
    pub format: Format,
    /// Where to write figures for Prometheus.
    pub metrics: Option<PathBuf>,
}

impl Output {
    fn of(arguments: cli::OutputArguments) -> Output {
        Output { quiet: arguments.quiet, format: arguments.format, metrics: arguments.metrics }
    }
}

/// What every command has to know.
pub trait Settings {
    /// The store.
    fn location(&self) -> &Location;

    /// Where the report goes.
    fn output(&self) -> &Output;
}

/// Everything that a collection has to know.
#[derive(Clone, Debug)]
pub struct CollectSettings {
    /// The store.
    pub location: Location,
    /// Which revisions are roots.
    pub roots: RootPolicy,
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
    /// How long things wait in quarantine.
    pub quarantine_for: Duration,
    /// How long to look out for pushes that need what was quarantined.
    pub rescue_for: Duration,
    /// Registries to ask, beside the configuration's.
    pub registries: Vec<String>,
    /// What to say to registries that want to know who asks.
    pub registry_auth: Option<Credentials>,
    /// Whether the minimum age is 0 where the registry takes no pushes: none was given. Beside a registry at work there may be pushes
    /// whatever anything says.
    pub no_min_age_if_read_only: bool,
    /// Lifts the brakes for registries at work.
    pub assume_offline: bool,
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
        let environment = environment();
        let location = Location::resolve(&arguments.store, &environment)?;
        let roots = if arguments.delete_untagged { RootPolicy::TaggedOnly } else { RootPolicy::AllRevisions };
        let min_age = arguments.min_age.unwrap_or(DEFAULT_MIN_AGE);
        let clock = RunClock::read();
        Ok(CollectSettings {
            location,
            roots,
            policy: Policy {
                min_age,
                arrivals: arrivals(arguments.ignore_birth_time),
                keeps_arrivals: false,
                now: clock.start(),
            },
            mode: if arguments.dry_run { Mode::DryRun } else { Mode::Execute },
            verbose: arguments.output.verbose,
            output: Output::of(arguments.output),
            max_reclaim: arguments.max_reclaim,
            allow_empty: arguments.allow_empty,
            allow_shrunk: arguments.allow_shrunk,
            allow_unlinked: arguments.allow_unlinked,
            allow_untagged_repositories: arguments.allow_untagged_repositories,
            allow_foreign_owner: arguments.allow_foreign_owner,
            allow_shared_blobs: arguments.allow_shared_blobs,
            jobs: jobs(arguments.jobs, arguments.max_memory),
            max_memory: arguments.max_memory,
            spill_directory: spill_directory(&environment),
            plan_out: arguments.plan_out,
            disposal: match (arguments.online, arguments.quarantine) {
                (true, _) => Disposal::Online,
                (false, true) => Disposal::Quarantine,
                (false, false) => Disposal::Remove,
            },
            quarantine_for: arguments.quarantine_for.unwrap_or(DEFAULT_QUARANTINE),
            rescue_for: arguments.rescue_for.unwrap_or(DEFAULT_RESCUE),
            registries: arguments.registry,
            registry_auth: registry_auth(arguments.registry_auth, &environment)?,
            no_min_age_if_read_only: arguments.min_age.is_none() && !arguments.online,
            assume_offline: arguments.assume_offline,
            clock,
            wait_lock: arguments.wait_lock.unwrap_or_default(),
            rerun,
        })
    }
}

impl Settings for CollectSettings {
    fn location(&self) -> &Location {
        &self.location
    }

    fn output(&self) -> &Output {
        &self.output
    }
}

/// What counts as young for having just been made.
fn arrivals(ignored: bool) -> Arrivals {
    if ignored { Arrivals::Ignored } else { Arrivals::BornOrChanged }
}

/// User and password: as they were typed, from the file that was named, or from the variable.
fn registry_auth(given: Option<String>, environment: &[(OsString, OsString)]) -> Result<Option<Credentials>, Error> {
    let variable = || {
        let (_, value) = environment.iter().find(|(name, value)| name == REGISTRY_AUTH && !value.is_empty())?;
        Some((REGISTRY_AUTH, value.to_string_lossy().into_owned()))
    };
    let Some((source, given)) = given.map(|given| ("--registry-auth", given)).or_else(variable) else { return Ok(None) };
    let text = match given.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).context("read", path)?,
        None => given,
    };
    let credentials = Credentials::of(&text);
    let message = || format!("{source} is neither USER:PASSWORD nor @FILE with that in its only line");
    credentials.map(Some).ok_or_else(|| Error::Usage(message()))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// What the clock says.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// How tests move the clocks of a debug build; see [`RunClock`].
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn test_clock() -> Option<String> {
    std::env::var("REGSWEEP_TEST_CLOCK").ok()
}

/// Not `/tmp` unless somebody says so: where that is kept in memory, nothing would be won.
fn spill_directory(environment: &[(OsString, OsString)]) -> PathBuf {
    let given = environment.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
    given.map_or_else(|| PathBuf::from("/var/tmp"), |(_, value)| PathBuf::from(value))
}

/// What a thread may need for a repository that somebody made large on purpose.
const MEMORY_OF_A_THREAD: u64 = 20 << 20;
/// So many threads however little memory there is.
const FEWEST_THREADS: u64 = 4;

/// Reading directories waits for the disk more than it computes, so there are more threads than processors.
fn jobs(given: Option<u16>, max_memory: Option<u64>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = max_memory.map_or(u64::MAX, |bytes| (bytes / MEMORY_OF_A_THREAD).max(FEWEST_THREADS));
    given.map_or_else(|| (8 * processors).clamp(16, 64).min(usize::try_from(most).unwrap_or(usize::MAX)), usize::from)
}
