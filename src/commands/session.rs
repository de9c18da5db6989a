//! What every command begins with: the lock, the threads, the memory, and what would keep it from reporting at the end.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use rayon::ThreadPool;

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::exit::Exit;
use crate::inventory::Budget;
use crate::progress::Progress;
use crate::quarantine::Reader;
use crate::records::Kept;
use crate::replacement::{directory_of, ensure_replaceable};
use crate::report::{Metrics, Page, Report};
use crate::store::{Access, Backend, Inside, LockGuard};

/// What a command is given to work with.
pub(super) struct Means<'a> {
    /// To look or to change.
    pub(super) access: Access,
    /// How long to wait for another regsweep.
    pub(super) wait_lock: Duration,
    /// When the command began.
    pub(super) now: Timestamp,
    /// Threads to read and remove with.
    pub(super) jobs: usize,
    pub(super) max_memory: Option<u64>,
    /// Where tables go that are larger.
    pub(super) spill_directory: &'a Path,
    /// Where figures are written at the end.
    pub(super) metrics: Option<&'a Path>,
}

/// A store that is locked, with the means to work on it. The lock is held to the end: what was seen is only true for as long as nobody else
/// sweeps.
pub(super) struct Session<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) pool: ThreadPool,
    lock: Box<dyn LockGuard>,
    notes: Kept<'a>,
    /// Gives each table that a command makes the memory that `--max-memory` leaves it, beside what is in memory already. They are made one
    /// after the other.
    budget: Box<dyn Fn(u64) -> Budget + Sync + 'a>,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl<'a> Session<'a> {
    /// Locks a store.
    ///
    /// # Errors
    ///
    /// When the lock cannot be had, the threads cannot be started, or the figures could not be written at the end.
    pub(super) fn open(
        backend: &'a dyn Backend,
        means: Means<'_>,
        progress: &'a dyn Progress,
        stop: &'a AtomicBool,
    ) -> Result<Session<'a>, Error> {
        let pool = threads(means.jobs)?;
        let lock = backend.lock(means.access, means.wait_lock, means.now, stop)?;
        let Means { max_memory, metrics, .. } = means;
        let spill_directory = means.spill_directory.to_owned();
        let budget = move |taken| match max_memory {
            Some(bytes) => Budget::of(Budget::for_tables(bytes).saturating_sub(taken), &spill_directory),
            None => Budget::unlimited(),
        };
        let session =
            Session { backend, pool, lock, notes: Kept::new(backend.notes()), budget: Box::new(budget), progress, stop };
        metrics.map_or(Ok(()), |path| session.ensure_metrics(path))?;
        Ok(session)
    }

    /// Whether another regsweep is kept out.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_held()
    }

    /// Why the server of the store cannot keep another regsweep out, if it cannot.
    pub(super) fn unlockable(&self) -> Option<&'static str> {
        self.lock.unlockable()
    }

    /// How the store is read.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { backend: self.backend, notes: &self.notes, budget: &*self.budget, progress: self.progress, stop: self.stop }
    }

    /// Works with all threads, and takes what was shown of it from the terminal.
    pub(super) fn work<T: Send>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, Error> + Send) -> Result<T, Error> {
        let reader = self.reader();
        let result = self.pool.install(|| work(&reader));
        self.progress.end();
        result
    }

    /// Ends a run. One that changed nothing, and ends with 2 or was interrupted, leaves every record as it found it.
    pub(super) fn end<R: Report>(&self, ended: Result<R, Error>) -> Result<R, Error> {
        let changed_nothing = match &ended {
            Ok(report) => match report.exit() {
                Exit::Stopped => true,
                Exit::Interrupted => !report.changed_anything(),
                Exit::Clean | Exit::Findings | Exit::Incomplete => false,
            },
            Err(_) => true,
        };
        if changed_nothing && let Err(error) = self.notes.take_back() {
            tracing::warn!("{error}; this record may say of this run that it changed something, which it did not");
        }
        ended
    }

    /// Makes sure that the figures can be written at the end, and outside of the store, before anything is changed.
    fn ensure_metrics(&self, path: &Path) -> Result<(), Error> {
        ensure_outside(self.backend, "--metrics", path).and_then(|()| Metrics::ensure_writable(path)).map_err(|error| match error
        {
            Error::Io { path: directory, source, .. } => {
                Error::Metrics(format!("--metrics {}: cannot write in {}: {source}", escaped(path), escaped(directory)))
            }
            other => Error::Metrics(other.to_string()),
        })
    }
}

/// Makes sure that a page can be written at the end, and outside of the store, before the work.
///
/// # Errors
///
/// When it cannot. The message names the option.
pub(super) fn ensure_page(backend: &dyn Backend, path: Option<&Path>) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    let asked = ensure_replaceable("--html", path).and_then(|()| ensure_outside(backend, "--html", path));
    asked.and_then(|()| Page::ensure_writable(path)).map_err(|error| match error {
        Error::Io { path: directory, source, .. } => Error::Usage(format!(
            "--html {}: cannot write in {}: {source}; name a file in a directory that can be written to",
            escaped(path),
            escaped(directory)
        )),
        other => other,
    })
}

fn threads(jobs: usize) -> Result<ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .thread_name(|index| format!("regsweep-{index}"))
        .build()
        .map_err(|error| Error::Usage(format!("cannot start {jobs} threads: {error}; give a smaller --jobs")))
}

/// Makes sure that a file which an option names would not be written into the store.
///
/// # Errors
///
/// When it would, or nobody can tell.
pub(super) fn ensure_outside(backend: &dyn Backend, option: &str, path: &Path) -> Result<(), Error> {
    let place = match std::fs::canonicalize(path) {
        Ok(place) => place,
        // A link to nothing yet would be followed, too.
        Err(error) if error.kind() != io::ErrorKind::NotFound || path.is_symlink() => {
            return Err(error).context("create", path);
        }
        Err(_) => {
            let directory = directory_of(path);
            std::fs::canonicalize(directory).context("open", directory)?
        }
    };
    // Written in place, because it may be a pipe: under another of its names it may be a blob.
    if place.metadata().is_ok_and(|file| file.is_file() && file.nlink() > 1) {
        return Err(Error::Usage(format!(
            "{option} {} has other names (hard links), and would be overwritten under each",
            escaped(path)
        )));
    }
    let whose = match backend.holds(&place) {
        Some(Inside::Ours) => "among the records of regsweep",
        Some(Inside::Registry) => "in the store itself",
        None => return Ok(()),
    };
    Err(Error::Usage(format!("{option} {} lies {whose}, where it would be taken for a part of the store", escaped(path))))
}
