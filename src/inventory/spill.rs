//! Memory beyond a budget: an unnamed mapped file, which the kernel writes out under memory pressure.
//!
//! A map is safe here: the file has no other descriptor, so no process can truncate it under the map, and its blocks
//! are allocated before anything is written, so a full disk is an error and not a signal.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Mutex, PoisonError};

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

use crate::error::{Context as _, Error};

/// What a run takes beside its tables: the cache of manifests, four partitions while they are listed, buffers.
pub const MEMORY_BESIDE: u64 = 160 << 20;

/// How much memory may come from the heap, and the directory for the rest.
#[derive(Debug)]
pub struct Budget {
    /// The limit, if there is one.
    bytes: Option<u64>,
    taken: AtomicU64,
    directory: PathBuf,
    /// The file of spilled bytes, and its length.
    spilled: Mutex<Option<(File, u64)>>,
}

impl Budget {
    /// What tables may take of a limit for all of a run's memory.
    pub fn for_tables(limit: u64) -> u64 {
        limit.saturating_sub(MEMORY_BESIDE)
    }

    /// Everything from the heap.
    pub fn unlimited() -> Budget {
        Budget { bytes: None, taken: AtomicU64::new(0), directory: PathBuf::new(), spilled: Mutex::default() }
    }

    /// `bytes` bytes from the heap, and the rest from unnamed files in `directory`.
    pub fn of(bytes: u64, directory: &Path) -> Budget {
        Budget { bytes: Some(bytes), taken: AtomicU64::new(0), directory: directory.to_owned(), spilled: Mutex::default() }
    }

    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.bytes.is_some()
    }

    /// The limit, if there is one.
    pub fn limit(&self) -> Option<u64> {
        self.bytes
    }

    /// Takes `bytes` from the budget if they fit.
    fn take(&self, bytes: u64) -> bool {
        let Some(limit) = self.bytes else { return true };
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= limit);
        self.taken.fetch_update(atomic::Ordering::Relaxed, atomic::Ordering::Relaxed, more).is_ok()
    }

    /// Where files are made.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// An unnamed file for bytes of which it is not known yet how many there are; nothing without a limit.
    pub(crate) fn staging(&self) -> Result<Option<File>, Error> {
        self.is_limited().then(|| self.file(1)).transpose()
    }

    /// Creates an unnamed file with `bytes` bytes allocated on disk.
    fn file(&self, bytes: u64) -> Result<File, Error> {
        let file = tempfile::tempfile_in(&self.directory).context("make a file for --max-memory in", &self.directory)?;
        fs2::FileExt::allocate(&file, bytes).context("get the room for --max-memory in", &self.directory)?;
        Ok(file)
    }

    /// Stores bytes that are read again once: many parts share one file if they do not fit.
    pub(crate) fn set_aside(&self, mut bytes: Vec<u8>) -> Result<SetAside, Error> {
        bytes.shrink_to_fit();
        if bytes.is_empty() || self.take(bytes.len() as u64) {
            return Ok(SetAside::Heap(bytes));
        }
        let mut spilled = self.spilled.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, end) = match &mut *spilled {
            Some(spilled) => spilled,
            none => none.insert((self.file(1)?, 0)),
        };
        let begin = *end;
        file.write_all_at(&bytes, begin).context("write for --max-memory in", &self.directory)?;
        *end += bytes.len() as u64;
        Ok(SetAside::File(begin, bytes.len()))
    }

    /// Reads all of the stored bytes.
    pub(crate) fn read(&self, bytes: &SetAside, to: &mut [u8]) -> Result<(), Error> {
        match bytes {
            SetAside::Heap(bytes) => to.copy_from_slice(bytes),
            SetAside::File(begin, _) => {
                let spilled = self.spilled.lock().unwrap_or_else(PoisonError::into_inner);
                let (file, _) = spilled.as_ref().expect("spilled bytes are in a file");
                file.read_exact_at(to, *begin).context("read for --max-memory in", &self.directory)?;
            }
        }
        Ok(())
    }

    /// Stores bytes that do not change.
    pub(super) fn keep(&self, mut bytes: Vec<u8>) -> Result<Bytes, Error> {
        bytes.shrink_to_fit();
        if bytes.is_empty() || self.take(bytes.len() as u64) {
            return Ok(Bytes::Heap(bytes));
        }
        let file = self.file(bytes.len() as u64)?;
        file.write_all_at(&bytes, 0).context("write for --max-memory in", &self.directory)?;
        #[expect(unsafe_code, reason = "a map of a file")]
        // SAFETY: the file is unnamed and this is its only descriptor, so no process changes it while it is mapped.
        let map = unsafe { Mmap::map(&file) }.context("map a file for --max-memory in", &self.directory)?;
        Ok(Bytes::File(map))
    }

    /// Zeroed bytes that one thread changes at a time.
    pub(crate) fn room(&self, bytes: usize) -> Result<Room, Error> {
        if bytes == 0 || self.take(bytes as u64) {
            return Ok(Room::Heap(vec![0; bytes]));
        }
        let file = self.file(bytes as u64)?;
        #[expect(unsafe_code, reason = "a map of a file")]
        // SAFETY: the file is unnamed and this is its only descriptor, so no other code changes it while it is mapped.
        let map = unsafe { MmapMut::map_mut(&file) }.context("map a file for --max-memory in", &self.directory)?;
        assert!(map.len() >= bytes, "the map is as long as the file");
        Ok(Room::File(map))
    }

    /// Zeroed words.
    pub(super) fn words(&self, count: usize) -> Result<Words, Error> {
        let bytes = size_of::<AtomicU64>() as u64 * count as u64;
        if count == 0 || self.take(bytes) {
            return Ok(Words::Heap((0..count).map(|_| AtomicU64::new(0)).collect()));
        }
        let file = self.file(bytes)?;
        let map = MmapOptions::new().map_raw(&file).context("map a file for --max-memory in", &self.directory)?;
        assert!(map.len() as u64 >= bytes, "the map is as long as the file");
        Ok(Words::File(map, count))
    }
}

/// Bytes stored by [`Budget::set_aside`].
#[derive(Debug)]
pub(crate) enum SetAside {
    Heap(Vec<u8>),
    /// Their offset and length.
    File(u64, usize),
}

impl SetAside {
    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            SetAside::Heap(bytes) => bytes.len(),
            SetAside::File(_, count) => *count,
        }
    }
}

/// Bytes that do not change.
#[derive(Debug)]
pub(super) enum Bytes {
    Heap(Vec<u8>),
    File(Mmap),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Heap(bytes) => bytes,
            Bytes::File(map) => map,
        }
    }
}

/// Bytes that one thread changes at a time.
#[derive(Debug)]
pub(crate) enum Room {
    Heap(Vec<u8>),
    File(MmapMut),
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Room::Heap(bytes) => bytes,
            Room::File(map) => map,
        }
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Room::Heap(bytes) => bytes,
            Room::File(map) => map,
        }
    }
}

impl Room {
    /// How much of the heap it takes.
    pub(crate) fn heap_bytes(&self) -> u64 {
        match self {
            Room::Heap(bytes) => bytes.len() as u64,
            Room::File(_) => 0,
        }
    }
}

/// Words that many threads change.
#[derive(Debug)]
pub(super) enum Words {
    Heap(Vec<AtomicU64>),
    /// A map, and the number of words in it.
    File(MmapRaw, usize),
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        match self {
            Words::Heap(words) => words,
            #[expect(unsafe_code, reason = "a map as words")]
            // SAFETY: the map begins at a page, is long enough (see `words`), lives as long as `self`, is zero where
            // nothing was written, and is only accessed through these atomics; the file has no other descriptor.
            Words::File(map, count) => unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<AtomicU64>(), *count) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_kept_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let budget = Budget::of(10, directory.path());
        let kept = [vec![1; 8], vec![2; 8], vec![3; 2], Vec::new()].map(|bytes| budget.keep(bytes).expect("kept"));
        assert_eq!(kept.each_ref().map(|bytes| bytes.to_vec()), [vec![1; 8], vec![2; 8], vec![3; 2], vec![]]);
        assert!(matches!(kept, [Bytes::Heap(_), Bytes::File(_), Bytes::Heap(_), Bytes::Heap(_)]));
        let words = budget.words(1000).expect("kept");
        assert!(matches!(words, Words::File(..)) && words.len() == 1000);
        words[999].fetch_add(7, atomic::Ordering::Relaxed);
        assert_eq!(words.iter().map(|word| word.load(atomic::Ordering::Relaxed)).sum::<u64>(), 7);
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "the files have no names");
    }

    #[test]
    fn no_room_is_an_error_that_names_the_directory() {
        let error = Budget::of(0, Path::new("/proc")).keep(vec![1]).expect_err("not writable");
        assert!(error.to_string().contains("--max-memory") && error.to_string().contains("/proc"), "{error}");
    }
}
