//! The bytes of a state file. All numbers are big-endian.
//!
//! ```text
//! head     magic 16, version 4, length of the root's path 4, nonce 8, filesystem 8, directory 8,
//!          entries of sha256, sha384 and sha512 3 x 8, checksum of the table 32, the path, checksum of all this 8
//! table    key 32, seconds since 1970 4; sorted by algorithm and key
//! journal  key 32, seconds since 1970 or 0 for not good 4, algorithm 1, zero 3, checksum 8
//! ```
//!
//! A key is the first 32 bytes of a digest: all of a sha256 digest, and enough of the longer ones. The file records the
//! algorithm separately.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::file::read_at;
use crate::oci::{Algorithm, Digest};
use crate::store::Identity;

const MAGIC: &[u8; 16] = b"regsweep verify\n";
const VERSION: u32 = 1;
/// The head without the path and its checksum.
const FIXED_BYTES: usize = 16 + 4 + 4 + 8 + 8 + 8 + 24 + 32;
const CHECKSUM_BYTES: usize = 8;
/// Longest path of a root.
const LONGEST_PATH: usize = 4096;
const RECORD_BYTES: usize = 36;
/// Size of an entry of the journal.
pub(super) const ENTRY_BYTES: usize = 48;

/// The reason to refuse a damaged file.
pub(super) const UNREADABLE: &str = "it is damaged";

/// The key of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl Key {
    pub(super) fn of(digest: &Digest) -> Key {
        let bytes = digest.bytes()[..32].try_into().expect("every digest has at least 32 bytes");
        Key { algorithm: digest.algorithm(), bytes }
    }

    /// The digest, if the key is all of it.
    pub(super) fn sha256(&self) -> Option<Digest> {
        (self.algorithm == Algorithm::Sha256).then(|| Digest::from_bytes(Algorithm::Sha256, &self.bytes))
    }
}

/// When a blob was last found good; 0 seconds if it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) seconds: u32,
}

impl Entry {
    /// The bytes of the entry in the journal.
    pub(super) fn bytes(&self, head: &Head) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..32].copy_from_slice(&self.key.bytes);
        bytes[32..36].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[36] = self.key.algorithm as u8;
        let (content, checksum) = bytes.split_at_mut(40);
        checksum.copy_from_slice(&head.checksum(content));
        bytes
    }

    /// Reads an entry of the journal; `None` if it is torn or belongs to an earlier file.
    pub(super) fn read(bytes: &[u8], head: &Head) -> Option<Entry> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        let (content, checksum) = bytes.split_at(40);
        if head.checksum(content) != checksum {
            return None;
        }
        let algorithm = *Algorithm::ALL.get(usize::from(content[36]))?;
        let key = Key { algorithm, bytes: content[..32].try_into().ok()? };
        Some(Entry { key, seconds: u32::from_be_bytes(content[32..36].try_into().ok()?) })
    }
}

/// The head, before the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) identity: Identity,
    /// Differs for each file, so that entries of an earlier file on the same part of the disk do not match.
    nonce: u64,
    counts: [u64; 3],
    table_checksum: [u8; 32],
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        let root = self.identity.place.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend((root.len() as u32).to_be_bytes());
        for number in [self.nonce, self.identity.filesystem, self.identity.directory].iter().chain(&self.counts) {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.table_checksum);
        bytes.extend(root);
        let checksum = short(&Sha256::digest(&bytes));
        bytes.extend(checksum);
        bytes
    }

    fn len(&self) -> usize {
        FIXED_BYTES + self.identity.place.as_os_str().len() + CHECKSUM_BYTES
    }

    /// Reads the head of a file, or returns why it is refused.
    pub(super) fn read(file: &File) -> io::Result<Result<Head, &'static str>> {
        let mut bytes = vec![0; FIXED_BYTES + LONGEST_PATH + CHECKSUM_BYTES];
        let read = read_at(file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Head::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
        if !bytes.starts_with(MAGIC) {
            return Err("it is not a state file");
        }
        let number = |place: usize, length: usize| -> Option<u64> {
            Some(bytes.get(place..place + length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        if number(16, 4) != Some(u64::from(VERSION)) {
            return Err("another version of regsweep wrote it");
        }
        let parse = || -> Option<Head> {
            let whole = FIXED_BYTES + usize::try_from(number(20, 4)?).ok()?;
            let content = bytes.get(..whole)?;
            if bytes.get(whole..whole + CHECKSUM_BYTES)? != short(&Sha256::digest(content)) {
                return None;
            }
            let root = PathBuf::from(std::ffi::OsString::from_vec(content[FIXED_BYTES..].to_vec()));
            let identity = Identity { place: root, filesystem: number(32, 8)?, directory: number(40, 8)? };
            let counts = [number(48, 8)?, number(56, 8)?, number(64, 8)?];
            // Later sums cannot overflow.
            counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count).filter(|sum| *sum < 1 << 40))?;
            Some(Head { identity, nonce: number(24, 8)?, counts, table_checksum: content[72..104].try_into().ok()? })
        };
        parse().ok_or(UNREADABLE)
    }

    /// Where the table ends and the journal begins.
    pub(super) fn table_end(&self) -> u64 {
        self.len() as u64 + self.counts.iter().sum::<u64>() * RECORD_BYTES as u64
    }

    fn table<'a>(&self, map: &'a [u8]) -> &'a [[u8; RECORD_BYTES]] {
        map[self.len()..].as_chunks().0
    }

    /// Whether a table matches its checksum.
    pub(super) fn matches(&self, map: &[u8]) -> bool {
        *Sha256::digest(&map[self.len()..]) == self.table_checksum
    }

    /// All entries of the table, in order.
    pub(super) fn entries<'a>(&'a self, map: &'a [u8]) -> impl Iterator<Item = Entry> + 'a {
        let algorithms = Algorithm::ALL.iter().zip(self.counts).flat_map(|(algorithm, count)| (0..count).map(|_| *algorithm));
        self.table(map).iter().zip(algorithms).map(|(record, algorithm)| {
            let (key, seconds) = record.split_at(32);
            let key = Key { algorithm, bytes: key.try_into().expect("32 bytes") };
            Entry { key, seconds: u32::from_be_bytes(seconds.try_into().expect("4 bytes")) }
        })
    }

    /// The seconds in the table for a blob.
    pub(super) fn find(&self, map: &[u8], key: &Key) -> Option<u32> {
        let place = key.algorithm as usize;
        let begin = self.counts[..place].iter().sum::<u64>() as usize;
        let records = &self.table(map)[begin..][..self.counts[place] as usize];
        let found = records.binary_search_by(|record| record[..32].cmp(&key.bytes)).ok()?;
        Some(u32::from_be_bytes(records[found][32..].try_into().expect("4 bytes")))
    }

    fn checksum(&self, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
        short(&Sha256::new().chain_update(self.nonce.to_be_bytes()).chain_update(content).finalize())
    }
}

fn short(digest: &[u8]) -> [u8; CHECKSUM_BYTES] {
    digest[..CHECKSUM_BYTES].try_into().expect("every digest has at least 8 bytes")
}

/// Writes a table, and then the head before it.
pub(super) struct TableWriter<'a> {
    out: BufWriter<&'a mut File>,
    head: Head,
    hasher: Sha256,
    begun: bool,
}

impl TableWriter<'_> {
    pub(super) fn new(file: &mut File, identity: Identity) -> TableWriter<'_> {
        use std::hash::{BuildHasher as _, RandomState};

        let nonce = RandomState::new().hash_one(std::process::id());
        let head = Head { identity, nonce, counts: [0; 3], table_checksum: [0; 32] };
        TableWriter { out: BufWriter::with_capacity(1 << 16, file), head, hasher: Sha256::new(), begun: false }
    }

    /// Leaves room for the head.
    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.seek(SeekFrom::Start(self.head.len() as u64))?;
        }
        Ok(())
    }

    /// Writes the next entry. Entries come in order.
    pub(super) fn put(&mut self, entry: &Entry) -> io::Result<()> {
        self.begin()?;
        for part in [&entry.key.bytes[..], &entry.seconds.to_be_bytes()] {
            self.hasher.update(part);
            self.out.write_all(part)?;
        }
        self.head.counts[entry.key.algorithm as usize] += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Head> {
        self.head.table_checksum = self.hasher.finalize().into();
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&self.head.bytes())?;
        self.out.flush()?;
        Ok(self.head)
    }
}
