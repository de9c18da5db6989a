//! Remembers when each blob was last found good, from run to run.
//!
//! One file: a head, a sorted table of 36 bytes for each blob, and a journal of what was found since the table was written. The table
//! is mapped and looked up where it lies. The journal grows by appending, and is flushed every few seconds: a crash costs what was
//! noted since, which is then read again. An entry that was torn does not match its checksum, and it and what follows count as not
//! written. At the end of a run, at the beginning of one that finds a journal, and when a journal has become long, both become a new
//! table, in a new file that takes the place of the old one as a whole.
//!
//! A blob is noted after its last byte was read and its digest matched, as of when its reading began; what was written to its file since
//! is not covered ([`selection`](super::selection) compares). One found bad or gone is noted too, and has no entry any more.
//!
//! The file belongs to one store: it names the root directory, the filesystem and the directory of blobs on it, and is refused for any other.
//! A copy of a store is another store: nobody has read the copy. It is locked for as long as it is open: two runs that share
//! it would each write a table without what the other found.

mod format;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use memmap2::{Mmap, MmapOptions};

use self::format::{ENTRY_BYTES, Entry, Head, Key, TableWriter, UNREADABLE};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
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
    open: RwLock<Open>,
    pending: Mutex<Pending>,
    /// Why something could not be written, the first time.
    failure: Mutex<Option<Error>>,
}

/// The file as it is now.
#[derive(Debug)]
struct Open {
    file: File,
    head: Head,
    map: Mmap,
    /// Where the journal ends.
    end: u64,
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
            0 => Open::write(path, identity.clone(), None, Vec::new(), &|_| true)?,
            _ => {
                let open = Open::read(file, path)?;
                format::check(&open.head.identity, identity, path)?;
                match open.journal().context("read", path)? {
                    journal if journal.is_empty() => open,
                    journal => Open::write(path, identity.clone(), Some(&open), journal, &|_| true)?,
                }
            }
        };
        let pending = Pending { entries: Vec::new(), flushed: Instant::now() };
        Ok(State { path: path.to_owned(), open: RwLock::new(open), pending: Mutex::new(pending), failure: Mutex::new(None) })
    }

    /// When a blob was last found good, as of the beginning of the run.
    pub fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        let open = self.open.read().expect("nothing panics with it held");
        let seconds = open.head.find(&open.map, &Key::of(digest))?;
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
    fn flush(&self, open: &mut Open) {
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

/// Opens the file, which is then ours alone.
fn lock(path: &Path) -> Result<File, Error> {
    // It will be replaced by a new one: not a device, and not what a link leads to.
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Error::Usage(format!("--state {} is no regular file; name one, or one that is not there", escaped(path))));
    }
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).context("open", path)?;
        take(&file, path)?;
        // Whoever had it before may have put another file in its place.
        let (mine, there) = (file.metadata().context("look at", path)?, std::fs::metadata(path));
        match there {
            Ok(there) if there.ino() == mine.ino() && there.dev() == mine.dev() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("look at", path),
        }
    }
}

fn take(file: &File, path: &Path) -> Result<(), Error> {
    // Fully qualified: `File` has methods of its own with these names by now.
    match fs2::FileExt::try_lock_exclusive(file) {
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Err(Error::Usage(format!(
            "another run has the state file {} open; wait for it, or give another --state",
            escaped(path)
        ))),
        taken => taken.context("lock", path),
    }
}

impl Open {
    fn read(file: File, path: &Path) -> Result<Open, Error> {
        let refuse = |why: &str| {
            let next = "give another --state, or remove the file to begin anew";
            Error::Usage(format!("cannot use the state file {}: {why}; {next}", escaped(path)))
        };
        let head = Head::read(&file).context("read", path)?.map_err(refuse)?;
        let end = head.table_end();
        if file.metadata().context("look at", path)?.len() < end {
            return Err(refuse(UNREADABLE));
        }
        let map = map(&file, end).context("map", path)?;
        if !head.matches(&map) {
            return Err(refuse(UNREADABLE));
        }
        Ok(Open { file, head, map, end })
    }

    /// The whole entries of the journal, in order.
    fn journal(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = vec![0; 1024 * ENTRY_BYTES];
        let mut offset = self.head.table_end();
        loop {
            let read = read_at(&self.file, &mut bytes, offset)?;
            for entry in bytes[..read].chunks(ENTRY_BYTES) {
                match Entry::read(entry, &self.head) {
                    Some(entry) => entries.push(entry),
                    None => return Ok(entries),
                }
            }
            if read < bytes.len() {
                return Ok(entries);
            }
            offset += read as u64;
        }
    }

    fn journal_len(&self) -> u64 {
        (self.end - self.head.table_end()) / ENTRY_BYTES as u64
    }

    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes(&self.head)).collect();
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes a new table of the table and the journal.
    fn rewrite(&mut self, path: &Path, keep: &dyn Fn(&Key) -> bool) -> Result<(), Error> {
        let journal = self.journal().context("read", path)?;
        *self = Open::write(path, self.head.identity.clone(), Some(self), journal, keep)?;
        Ok(())
    }

    /// Writes a file beside the one at `path`, then puts it in its place.
    fn write(
        path: &Path,
        identity: Identity,
        old: Option<&Open>,
        mut journal: Vec<Entry>,
        keep: &dyn Fn(&Key) -> bool,
    ) -> Result<Open, Error> {
        // The last word counts, and the sort keeps their order.
        journal.sort_by_key(|entry| entry.key);
        journal.reverse();
        journal.dedup_by_key(|entry| entry.key);
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut file =
            tempfile::Builder::new().prefix(".regsweep-state-").tempfile_in(directory).context("write to", directory)?;
        let head = {
            let mut table = TableWriter::new(file.as_file_mut(), identity);
            let mut put = |entry: Entry| if entry.seconds > 0 && keep(&entry.key) { table.put(&entry) } else { Ok(()) };
            let mut merge = || -> io::Result<()> {
                for entry in old.iter().flat_map(|old| old.head.entries(&old.map)) {
                    while journal.last().is_some_and(|newer| newer.key < entry.key) {
                        journal.pop().map_or(Ok(()), &mut put)?;
                    }
                    // A newer word takes the place of the older one.
                    if journal.last().is_none_or(|newer| newer.key != entry.key) {
                        put(entry)?;
                    }
                }
                while let Some(entry) = journal.pop() {
                    put(entry)?;
                }
                Ok(())
            };
            merge().context("write", path)?;
            table.finish().context("write", path)?
        };
        file.as_file().sync_all().context("write", path)?;
        // Before anybody can see it: whoever opens it from now on finds it taken.
        take(file.as_file(), path)?;
        let file = file.persist(path).map_err(|error| error.error).context("write", path)?;
        File::open(directory).and_then(|directory| directory.sync_all()).context("write to", directory)?;
        let end = head.table_end();
        let map = map(&file, end).context("map", path)?;
        Ok(Open { file, head, map, end })
    }
}

/// Reads as much as there is.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn map(file: &File, length: u64) -> io::Result<Mmap> {
    #[expect(unsafe_code, reason = "a map of a file")]
    // SAFETY: the file is our own and locked, and what is mapped is never written to in place: a new table is a new file, and the
    // journal lies behind what is mapped. Somebody who ignores the lock and shortens it ends this process with a signal, nothing worse.
    unsafe {
        MmapOptions::new().len(length as usize).map(file)
    }
}

#[cfg(test)]
mod tests;
