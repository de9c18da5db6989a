//! When each blob was last found good: lookups, records, and periodic flushes to disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::file::StateFile;
use super::format::{Entry, Key};
use super::identity;
use super::lock::lock;
use crate::error::{Context as _, Error};
use crate::oci::Digest;
use crate::store::Identity;

/// How often records are flushed to disk.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// A longer journal is merged into the table. Sorting it takes 40 bytes of memory for each entry.
const LONGEST_JOURNAL: u64 = 1_000_000;

/// When each blob was last found good.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    pub(super) open: RwLock<StateFile>,
    pending: Mutex<Pending>,
    /// The first write error.
    failure: Mutex<Option<Error>>,
}

/// Records that are not in the file yet.
#[derive(Debug)]
struct Pending {
    entries: Vec<Entry>,
    flushed: Instant,
}

impl State {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, is in use, is damaged, is not a state file, or cannot be read or written.
    pub fn open(path: &Path, identity: &Identity) -> Result<State, Error> {
        let file = lock(path)?;
        let open = match file.metadata().context("look at", path)?.len() {
            0 => StateFile::write(path, identity.clone(), None, Vec::new(), &|_| true)?,
            _ => {
                let open = StateFile::read(file, path)?;
                identity::check(open.identity(), identity, path)?;
                match open.journal().context("read", path)? {
                    journal if journal.is_empty() => open,
                    journal => StateFile::write(path, identity.clone(), Some(&open), journal, &|_| true)?,
                }
            }
        };
        let pending = Pending { entries: Vec::new(), flushed: Instant::now() };
        Ok(State { path: path.to_owned(), open: RwLock::new(open), pending: Mutex::new(pending), failure: Mutex::new(None) })
    }

    /// When a blob was last found good, as of the beginning of the run.
    pub fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        let open = self.open.read().expect("no thread panics while it holds the lock");
        let seconds = open.find(&Key::of(digest))?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds)))
    }

    /// Records that a blob was found good by a read that began at `at`.
    pub fn note_good(&self, digest: &Digest, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Rounds down: the read may have missed a write within the same second.
        self.note(Entry { key: Key::of(digest), seconds: u32::try_from(since.as_secs()).unwrap_or(u32::MAX) });
    }

    /// Records that a blob was not found good.
    pub fn note_bad(&self, digest: &Digest) {
        self.note(Entry { key: Key::of(digest), seconds: 0 });
    }

    fn note(&self, entry: Entry) {
        self.pending.lock().expect("no thread panics while it holds the lock").entries.push(entry);
    }

    /// Flushes records to disk if the last flush was some seconds ago. Call it regularly.
    pub fn flush_when_due(&self) {
        let mut pending = self.pending.lock().expect("no thread panics while it holds the lock");
        if pending.entries.is_empty() || pending.flushed.elapsed() < FLUSH_EVERY {
            return;
        }
        pending.flushed = Instant::now();
        drop(pending);
        // Another thread that holds the lock flushes instead.
        let Ok(mut open) = self.open.try_write() else { return };
        self.flush(&mut open);
    }

    /// Flushes records to disk.
    pub(super) fn flush(&self, open: &mut StateFile) {
        let entries = std::mem::take(&mut self.pending.lock().expect("no thread panics while it holds the lock").entries);
        let appended = open.append(&entries).context("write", &self.path).and_then(|()| {
            if open.journal_len() < LONGEST_JOURNAL {
                return Ok(());
            }
            open.rewrite(&self.path, &|_| true)
        });
        if let Err(error) = appended {
            self.failure.lock().expect("no thread panics while it holds the lock").get_or_insert(error);
        }
    }

    /// Rewrites the table without blobs that are no longer stored.
    ///
    /// # Errors
    ///
    /// When the table cannot be written, or an earlier write failed.
    pub fn close(self, is_stored: impl Fn(&Digest) -> bool) -> Result<(), Error> {
        let mut open = self.open.write().expect("no thread panics while it holds the lock");
        self.flush(&mut open);
        if let Some(error) = self.failure.lock().expect("no thread panics while it holds the lock").take() {
            return Err(error);
        }
        open.rewrite(&self.path, &|key| key.sha256().is_none_or(|digest| is_stored(&digest)))
    }
}
