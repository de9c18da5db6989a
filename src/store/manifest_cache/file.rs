//! The file of a cache. All numbers are big-endian.
//!
//! ```text
//! head      magic 16, schema 4, zero 4, store 32, entries 8, checksum of these and of the index 32
//! contents  the bytes of manifests, one after the other
//! index     beginning of the digest 8, witness 8, offset 8, length 4, algorithm 1, kind 1, zero 2; sorted
//! ```
//!
//! The contents have no checksum of their own: their digests are that. What is believed of the index is covered by the head's.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::entry::{ENTRY_BYTES, Entry};
use crate::error::{Context as _, Error};
use crate::replacement::Replacement;

const MAGIC: &[u8; 16] = b"regsweep cache.\n";
/// Another one for each change of the format.
pub(super) const SCHEMA: u32 = 1;
const HEAD_BYTES: usize = 96;
/// What the checksum of the head covers of it.
const COVERED_BYTES: usize = 64;

/// Which store a cache is of, as a hash.
pub(super) type StoreKey = [u8; 32];

/// An open file.
#[derive(Debug)]
pub(super) struct CacheFile {
    file: File,
    /// Sorted.
    pub(super) entries: Vec<Entry>,
}

/// Why a file is not used.
#[derive(Debug)]
pub(super) enum Unused {
    /// There is none.
    Absent,
    /// There is one, and something is wrong with it.
    Doubted(String),
}

impl From<io::Error> for Unused {
    fn from(error: io::Error) -> Unused {
        match error.kind() {
            io::ErrorKind::NotFound => Unused::Absent,
            _ => Unused::Doubted(error.to_string()),
        }
    }
}

impl CacheFile {
    pub(super) fn open(path: &Path, store: &StoreKey) -> Result<CacheFile, Unused> {
        let doubted = |why: &str| Err(Unused::Doubted(why.to_owned()));
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return doubted("it is no regular file");
        }
        // What others may write may say anything.
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return doubted("it belongs to another user");
        }
        if metadata.mode() & 0o022 != 0 {
            return doubted("others may write to it");
        }
        const DAMAGED: &str = "it is damaged";
        let mut head = [0; HEAD_BYTES];
        if metadata.len() < HEAD_BYTES as u64 {
            return doubted(DAMAGED);
        }
        file.read_exact_at(&mut head, 0)?;
        if !head.starts_with(MAGIC) {
            return doubted(DAMAGED);
        }
        if head[16..20] != SCHEMA.to_be_bytes() {
            return doubted("another version of regsweep wrote it");
        }
        if head[24..56] != *store {
            return doubted("it is of another store");
        }
        let count = u64::from_be_bytes(*head[56..].first_chunk().expect("eight bytes"));
        let length = count.checked_mul(ENTRY_BYTES as u64).filter(|length| *length <= metadata.len() - HEAD_BYTES as u64);
        let Some(length) = length else { return doubted(DAMAGED) };
        let index_at = metadata.len() - length;
        let mut index = vec![0; length as usize];
        file.read_exact_at(&mut index, index_at)?;
        if head[COVERED_BYTES..] != checksum(&head[..COVERED_BYTES], &index) {
            return doubted(DAMAGED);
        }
        let (index, _) = index.as_chunks::<ENTRY_BYTES>();
        let is_within = |entry: &Entry| entry.offset >= HEAD_BYTES as u64 && entry.end().is_some_and(|end| end <= index_at);
        let entries: Option<Vec<Entry>> = index.iter().map(|bytes| Entry::read(bytes).filter(is_within)).collect();
        match entries {
            Some(entries) if entries.is_sorted_by_key(|entry| entry.key) => Ok(CacheFile { file, entries }),
            _ => doubted(DAMAGED),
        }
    }

    /// The bytes that an entry leads to.
    pub(super) fn content(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        read(&self.file, entry)
    }
}

fn checksum(head: &[u8], index: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(head);
    hasher.update(index);
    hasher.finalize().into()
}

/// Reads the bytes of an entry.
pub(super) fn read(file: &File, entry: &Entry) -> io::Result<Vec<u8>> {
    let mut content = vec![0; entry.length as usize];
    file.read_exact_at(&mut content, entry.offset)?;
    Ok(content)
}

/// Writes a file in place of the one at `path`: entries in their order, with the bytes that `content` has for each. One without is left out.
pub(super) fn write<T>(
    path: &Path,
    store: &StoreKey,
    entries: &[(Entry, T)],
    content: impl Fn(&(Entry, T)) -> Option<Vec<u8>>,
) -> Result<(), Error> {
    // Made with mode 0600.
    let mut file = Replacement::begin(path, ".regsweep-cache-")?;
    let mut write = || -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, file.file());
        out.write_all(&[0; HEAD_BYTES])?;
        let (mut offset, mut index) = (HEAD_BYTES as u64, Vec::with_capacity(entries.len() * ENTRY_BYTES));
        for entry in entries {
            let Some(content) = content(entry) else { continue };
            out.write_all(&content)?;
            index.extend_from_slice(&Entry { offset, length: content.len() as u32, ..entry.0 }.bytes());
            offset += content.len() as u64;
        }
        out.write_all(&index)?;
        out.flush()?;
        let mut head = [0; HEAD_BYTES];
        head[..16].copy_from_slice(MAGIC);
        head[16..20].copy_from_slice(&SCHEMA.to_be_bytes());
        head[24..56].copy_from_slice(store);
        head[56..64].copy_from_slice(&((index.len() / ENTRY_BYTES) as u64).to_be_bytes());
        let checksum = checksum(&head[..COVERED_BYTES], &index);
        head[COVERED_BYTES..].copy_from_slice(&checksum);
        out.get_ref().write_all_at(&head, 0)
    };
    write().context("write", path)?;
    file.finish().map(drop)
}
