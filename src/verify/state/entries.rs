//! What was found good when: asked, noted, and brought to the disk now and then.

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

/// How often what was found is brought to the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// A journal that has grown so long becomes part of the table: putting it in order takes 40 bytes of memory for each entry.
const LONGEST_JOURNAL: u64 = 1_000_000;

/// When each blob was last found good.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    pub(super) open: RwLock<StateFile>,
    pending: Mutex<Pending>,
    /// Why something could not be written, the first time.
    failure: Mutex<Option<Error>>,
}

/// What was found and is not in the file yet.
#[derive(Debug)]
struct Pending {
    entries: Vec<Entry>,
    flushed: Instant,
}

impl State {
    /// Opens the file, or makes one.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, is in use, is damaged or no such file at all, or cannot be read or written.
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
        let open = self.open.read().expect("nothing panics with it held");
        let seconds = open.find(&Key::of(digest))?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds)))
    }

    /// Notes that a blob was found good by a reading that began then.
    pub fn note_good(&self, digest: &Digest, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Rounded down: what was written to the file in the same second may not have been read.
        self.note(Entry { key: Key::of(digest), seconds: u32::try_from(since.as_secs()).unwrap_or(u32::MAX) });
    }

    /// Notes that a blob was found not to be good.
    pub fn note_bad(&self, digest: &Digest) {
        self.note(Entry { key: Key::of(digest), seconds: 0 });
    }

    fn note(&self, entry: Entry) {
        self.pending.lock().expect("nothing panics with it held").entries.push(entry);
    }

    /// Brings what was noted to the disk if the last time was some seconds ago. To be called now and then.
    pub fn flush_when_due(&self) {
        let mut pending = self.pending.lock().expect("nothing panics with it held");
        if pending.entries.is_empty() || pending.flushed.elapsed() < FLUSH_EVERY {
            return;
        }
        pending.flushed = Instant::now();
        drop(pending);
        // Whoever finds it taken leaves the flushing to the other, and goes on.
        let Ok(mut open) = self.open.try_write() else { return };
        self.flush(&mut open);
    }

    /// Brings what was noted to the disk.
    pub(super) fn flush(&self, open: &mut StateFile) {
        let entries = std::mem::take(&mut self.pending.lock().expect("nothing panics with it held").entries);
        let appended = open.append(&entries).context("write", &self.path).and_then(|()| {
            if open.journal_len() < LONGEST_JOURNAL {
                return Ok(());
            }
            open.rewrite(&self.path, &|_| true)
        });
        if let Err(error) = appended {
            self.failure.lock().expect("nothing panics with it held").get_or_insert(error);
        }
    }

    /// Writes the table anew, without blobs that are not stored any more.
    ///
    /// # Errors
    ///
    /// When that cannot be done, or something could not be written before.
    pub fn close(self, is_stored: impl Fn(&Digest) -> bool) -> Result<(), Error> {
        let mut open = self.open.write().expect("nothing panics with it held");
        self.flush(&mut open);
        if let Some(error) = self.failure.lock().expect("nothing panics with it held").take() {
            return Err(error);
        }
        open.rewrite(&self.path, &|key| key.sha256().is_none_or(|digest| is_stored(&digest)))
    }
}
