//! What can be asked for. Each command wires the passes together and returns a report.

mod assess;
pub mod audit;
mod brakes;
pub mod garbage_collect;
mod owners;
pub mod quarantine;
mod reconcile;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::inventory::Budget;
use crate::layout::OWN_DIRECTORY;
use crate::report::Metrics;
use crate::store::FilesystemStore;

/// So many threads to read and remove with.
///
/// # Errors
///
/// When the system has none.
fn threads(jobs: usize) -> Result<rayon::ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .thread_name(|index| format!("regsweep-{index}"))
        .build()
        .map_err(|error| Error::Usage(format!("cannot start {jobs} threads: {error}; give a smaller --jobs")))
}

/// What a run takes beside the table of blobs: the cache of manifests, four shards while they are listed, buffers.
const MEMORY_BESIDE_THE_INVENTORY: u64 = 160 << 20;

/// Gives each table that a command makes the memory that `--max-memory` leaves it, beside what is in memory already. They are made one after
/// the other.
fn budget(max_memory: Option<u64>, spill_directory: &Path) -> impl Fn(u64) -> Budget + Sync {
    move |taken| match max_memory {
        Some(bytes) => Budget::of(bytes.saturating_sub(MEMORY_BESIDE_THE_INVENTORY).saturating_sub(taken), spill_directory),
        None => Budget::unlimited(),
    }
}

/// Makes sure that the figures can be written at the end, and outside of the store, before anything is changed.
///
/// # Errors
///
/// When they could not.
fn metrics_are_writable(path: Option<&Path>, store: &FilesystemStore) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    outside_the_store("--metrics", path, store)?;
    Metrics::ensure_writable(path).map_err(|error| match error {
        Error::Io { path: directory, source, .. } => {
            Error::Usage(format!("--metrics {}: cannot write in {}: {source}", escaped(path), escaped(directory)))
        }
        other => other,
    })
}

/// Makes sure that a file which an option names would not be written into the store.
///
/// # Errors
///
/// When it would, or nobody can tell.
fn outside_the_store(option: &str, path: &Path, store: &FilesystemStore) -> Result<(), Error> {
    let place = match std::fs::canonicalize(path) {
        Ok(place) => place,
        // A link to nothing yet would be followed, too.
        Err(error) if error.kind() != io::ErrorKind::NotFound || path.is_symlink() => {
            return Err(error).context("create", path);
        }
        Err(_) => {
            let directory = match path.parent() {
                Some(parent) if parent != Path::new("") => parent.to_owned(),
                _ => PathBuf::from("."),
            };
            std::fs::canonicalize(&directory).context("open", &directory)?
        }
    };
    let own = std::fs::canonicalize(store.at(OWN_DIRECTORY)).is_ok_and(|own| place.starts_with(own));
    match store.holds(&place) || own {
        true => {
            let whose = if own { "among the records of regsweep" } else { "in the store itself" };
            let message = format!("{option} {} lies {whose}, where whoever reads there would trip over it", escaped(path));
            Err(Error::Usage(message))
        }
        false => Ok(()),
    }
}
