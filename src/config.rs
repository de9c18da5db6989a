//! From what was typed, the registry's configuration, the environment and the clock to [`Settings`]: the only reader of the last two.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli::{Format, GarbageCollect, Limit};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::policy::{Policy, RootPolicy};
use crate::registry_config::{self, RegistryConfig};

/// Keeps what was pushed in the last hour: longer than nearly every push takes.
const DEFAULT_MIN_AGE: Duration = Duration::from_secs(3600);

/// The variable that the registry takes the path of its configuration from.
const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// Whether anything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is touched.
    DryRun,
    /// The plan is carried out.
    Execute,
}

/// Everything that a collection has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The registry's root directory.
    pub root: PathBuf,
    /// The configuration file that names it, if it was not given itself.
    pub config_path: Option<PathBuf>,
    /// What the configuration says beside.
    pub registry: Option<RegistryConfig>,
    /// What to keep.
    pub policy: Policy,
    /// Whether to remove.
    pub mode: Mode,
    /// Print no text report and no progress.
    pub quiet: bool,
    /// Print a line for each target.
    pub verbose: bool,
    /// How much may go at most.
    pub max_reclaim: Option<Limit>,
    /// Lifts the brakes for stores that look empty.
    pub allow_empty: bool,
    /// Lifts the brakes for stores whose roots are in a database.
    pub allow_foreign_owner: bool,
    /// Threads.
    pub jobs: usize,
    /// Memory to stay within by keeping the table of blobs in a file.
    pub max_memory: Option<u64>,
    /// Where that file would be made.
    pub spill_folder: PathBuf,
    /// How to print the report.
    pub format: Format,
    /// Where to write the plan.
    pub plan_out: Option<PathBuf>,
    /// How long to wait for another regsweep.
    pub wait_lock: Duration,
}

impl Settings {
    /// Resolves the arguments of `garbage-collect`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve(arguments: GarbageCollect) -> Result<Settings, Error> {
        let environment = environment();
        let (root, config_path, registry) = match &arguments.root {
            Some(root) => (find_root(root)?, None, None),
            None => {
                let path = config_path(arguments.config.as_deref(), &environment)?;
                let registry = registry_config::load(&path, &environment).map_err(|error| Error::Usage(error.to_string()))?;
                (existing_root(&registry.root, &path)?, Some(path), Some(registry))
            }
        };
        let read_only = registry.as_ref().is_some_and(|registry| registry.read_only);
        let roots = if arguments.delete_untagged { RootPolicy::TaggedOnly } else { RootPolicy::AllRevisions };
        let min_age = arguments.min_age.unwrap_or(if read_only { Duration::ZERO } else { DEFAULT_MIN_AGE });
        Ok(Settings {
            root,
            config_path,
            registry,
            policy: Policy { roots, min_age, now: now() },
            mode: if arguments.dry_run { Mode::DryRun } else { Mode::Execute },
            quiet: arguments.quiet,
            verbose: arguments.verbose,
            max_reclaim: arguments.max_reclaim,
            allow_empty: arguments.allow_empty,
            allow_foreign_owner: arguments.allow_foreign_owner,
            jobs: arguments.jobs.map_or_else(default_jobs, usize::from),
            max_memory: arguments.max_memory,
            spill_folder: spill_folder(&environment),
            format: arguments.format,
            plan_out: arguments.plan_out,
            wait_lock: arguments.wait_lock.unwrap_or_default(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Not `/tmp` unless somebody says so: where that is kept in memory, nothing would be won.
fn spill_folder(environment: &[(OsString, OsString)]) -> PathBuf {
    let given = environment.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
    given.map_or_else(|| PathBuf::from("/var/tmp"), |(_, value)| PathBuf::from(value))
}

/// Reading folders waits for the disk more than it computes, so there are more threads than processors.
fn default_jobs() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (8 * processors).clamp(16, 64)
}

fn config_path(given: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<PathBuf, Error> {
    let variable = || {
        environment
            .iter()
            .find(|(name, value)| name == CONFIGURATION_PATH && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    given.map(Path::to_owned).or_else(variable).ok_or_else(|| {
        let message = format!("no store named: give the registry's config.yml, set {CONFIGURATION_PATH}, or give --root DIR");
        Error::Usage(message)
    })
}

/// The root that a configuration names.
fn existing_root(root: &Path, config: &Path) -> Result<PathBuf, Error> {
    let metadata = std::fs::metadata(root).map_err(|error| {
        Error::Usage(format!(
            "cannot open the root directory {}, which storage.filesystem.rootdirectory in {} and the environment come to: {error}; \
             run where the registry's volume is mounted, or give --root DIR",
            escaped(root),
            escaped(config)
        ))
    })?;
    match metadata.is_dir() {
        true => Ok(root.to_owned()),
        false => Err(Error::NotAStore { root: root.to_owned(), hint: "it is not a folder".into() }),
    }
}

/// The root directory that somebody meant who named it, or a folder on the way down from it.
fn find_root(given: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(given).context("open the root directory", given)?;
    let metadata = std::fs::metadata(&path).context("open the root directory", given)?;
    if !metadata.is_dir() {
        return Err(Error::NotAStore { root: path, hint: "it is not a folder; give the registry's root directory".into() });
    }
    if path.join(layout::V2).is_dir() {
        return Ok(path);
    }
    // As it was given first, then as it really is: `..` and links in it hide where it lies.
    let real = std::fs::canonicalize(&path).context("open the root directory", given)?;
    for path in [&path, &real] {
        for inside in [layout::BLOBS, layout::REPOSITORIES, layout::V2, "docker/registry", "docker"] {
            let depth = Path::new(inside).components().count();
            if let Some(root) = path.ancestors().nth(depth)
                && path.ends_with(inside)
                && root.join(layout::V2).is_dir()
            {
                return Ok(root.to_owned());
            }
        }
    }
    let below = std::fs::read_dir(&path)
        .context("list", &path)?
        .flatten()
        .map(|entry| entry.path())
        .find(|folder| folder.join(layout::V2).is_dir());
    let hint = match below {
        Some(folder) => format!("but there is in {}: give --root {}", escaped(&folder), escaped(&folder)),
        None => format!("there is no {} in it; give the folder that holds it", layout::V2),
    };
    Err(Error::NotAStore { root: path, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_root_from_any_folder_on_the_way_down() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("data");
        std::fs::create_dir_all(root.join(layout::BLOBS)).expect("made");
        for inside in ["", "docker", "docker/registry", layout::V2, layout::BLOBS] {
            assert_eq!(find_root(&root.join(inside)).expect("a store"), root, "{inside}");
        }
        let hint = find_root(dir.path()).expect_err("one too far up").to_string();
        assert!(hint.contains(&format!("give --root {}", root.display())), "{hint}");
        std::fs::create_dir_all(dir.path().join("other")).expect("made");
        assert!(find_root(&dir.path().join("other")).is_err());
    }
}
