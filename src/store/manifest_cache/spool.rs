//! What a run has read, until it ends: in a file without a name, so that nothing is left of a run that is killed.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use foldhash::HashSet;

use super::entry::{Entry, Kind, Witness};

/// A cache is not made larger than this: whoever may push could fill the disk.
const MAX_SPOOL_BYTES: u64 = 4 << 30;

/// New entries, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Spool {
    out: Option<BufWriter<File>>,
    pub(super) entries: Vec<Entry>,
    /// What is there already: a manifest may be read several times in a run.
    known: HashSet<(u64, Witness, Kind)>,
    length: u64,
    /// Nothing more is taken.
    is_closed: bool,
}

impl Spool {
    /// Adds an entry with its bytes, if there is room.
    ///
    /// # Errors
    ///
    /// When nothing can be written in the directory, once.
    pub(super) fn add(&mut self, directory: &Path, entry: Entry, content: &[u8]) -> io::Result<()> {
        if self.is_closed || self.length + content.len() as u64 > MAX_SPOOL_BYTES {
            return Ok(());
        }
        if !self.known.insert((entry.key, entry.witness, entry.kind)) {
            return Ok(());
        }
        let offset = self.length;
        self.write(directory, content).inspect_err(|_| self.is_closed = true)?;
        self.length += content.len() as u64;
        self.entries.push(Entry { offset, length: content.len() as u32, ..entry });
        Ok(())
    }

    fn write(&mut self, directory: &Path, content: &[u8]) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            None => self.out.insert(BufWriter::new(tempfile::tempfile_in(directory)?)),
        };
        out.write_all(content)
    }

    /// The file that has all bytes; nothing if there are none.
    ///
    /// # Errors
    ///
    /// When the last ones cannot be written.
    pub(super) fn file(&mut self) -> io::Result<Option<&File>> {
        let Some(out) = &mut self.out else { return Ok(None) };
        out.flush()?;
        Ok(Some(out.get_ref()))
    }
}
