//! The state file: a mapped table, followed by a journal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use super::format::{ENTRY_BYTES, Entry, Head, Key, TableWriter, UNREADABLE};
use super::lock::take;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::replacement::{Replacement, directory_of};
use crate::store::Identity;

/// An open state file.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    head: Head,
    map: Mmap,
    /// Where the journal ends.
    end: u64,
}

impl StateFile {
    pub(super) fn read(file: File, path: &Path) -> Result<StateFile, Error> {
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
        Ok(StateFile { file, head, map, end })
    }

    /// The store to which it belongs.
    pub(super) fn identity(&self) -> &Identity {
        &self.head.identity
    }

    /// The seconds in the table for a blob.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.head.find(&self.map, key)
    }

    /// The complete entries of the journal, in order.
    pub(super) fn journal(&self) -> io::Result<Vec<Entry>> {
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

    pub(super) fn journal_len(&self) -> u64 {
        (self.end - self.head.table_end()) / ENTRY_BYTES as u64
    }

    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes(&self.head)).collect();
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Merges the table and the journal into a new table.
    pub(super) fn rewrite(&mut self, path: &Path, keep: &dyn Fn(&Key) -> bool) -> Result<(), Error> {
        let journal = self.journal().context("read", path)?;
        *self = StateFile::write(path, self.head.identity.clone(), Some(self), journal, keep)?;
        Ok(())
    }

    /// Writes a file beside the one at `path`, then replaces that one.
    pub(super) fn write(
        path: &Path,
        identity: Identity,
        old: Option<&StateFile>,
        mut journal: Vec<Entry>,
        keep: &dyn Fn(&Key) -> bool,
    ) -> Result<StateFile, Error> {
        // The last entry of a blob counts; the sort is stable.
        journal.sort_by_key(|entry| entry.key);
        journal.reverse();
        journal.dedup_by_key(|entry| entry.key);
        let mut file = Replacement::begin(path, ".regsweep-state-")?;
        let head = {
            let mut table = TableWriter::new(file.file(), identity);
            let mut put = |entry: Entry| if entry.seconds > 0 && keep(&entry.key) { table.put(&entry) } else { Ok(()) };
            let mut merge = || -> io::Result<()> {
                for entry in old.iter().flat_map(|old| old.head.entries(&old.map)) {
                    while journal.last().is_some_and(|newer| newer.key < entry.key) {
                        journal.pop().map_or(Ok(()), &mut put)?;
                    }
                    // A newer entry replaces the older one.
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
        // Locks the file before it is visible, so that no other run can lock it first.
        take(file.file(), path)?;
        let file = file.finish()?;
        let directory = directory_of(path);
        File::open(directory).and_then(|directory| directory.sync_all()).context("write to", directory)?;
        let end = head.table_end();
        let map = map(&file, end).context("map", path)?;
        Ok(StateFile { file, head, map, end })
    }
}

/// Fills the buffer, or reads to the end of the file.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
    // SAFETY: the file is our own and locked, and the mapped part is never written in place: a new table is a new file, and
    // the journal lies behind the mapped part. A program that ignores the lock and truncates the file ends this process
    // with a signal, nothing worse.
    unsafe {
        MmapOptions::new().len(length as usize).map(file)
    }
}
