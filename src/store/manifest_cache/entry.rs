//! One line of the index: which blob, what it was when it was read, and where its bytes are.

use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::oci::{Algorithm, Digest};
use crate::store::Condition;

/// Size of an entry in the file.
pub(super) const ENTRY_BYTES: usize = 32;

/// What a store says of a blob without reading it, as a hash: another one means that the blob may be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct Witness(u64);

impl Witness {
    /// Of an object. Nothing where the server tells no ETag or no time: there is no telling whether it is still the same.
    ///
    /// In whole seconds: a listing may say the time more finely than the header of an answer.
    pub(in crate::store) fn of_object(digest: &Digest, size_bytes: u64, modified: SystemTime, etag: &str) -> Option<Witness> {
        let since = since_epoch(modified).as_secs();
        if etag.is_empty() || since == 0 {
            return None;
        }
        Some(Witness::hash(digest, &[&size_bytes.to_be_bytes(), &since.to_be_bytes(), etag.as_bytes()]))
    }

    /// Of a file. Nothing where it cannot be told from another one. Not by its device, whose number may be another one after each mount.
    pub(in crate::store) fn of_file(digest: &Digest, condition: &Condition) -> Option<Witness> {
        let id = condition.id?;
        let times = [condition.stat.modified, condition.changed].map(|time| since_epoch(time).as_nanos().to_be_bytes());
        let numbers = [condition.stat.size_bytes, id.inode].map(u64::to_be_bytes);
        Some(Witness::hash(digest, &[&numbers.concat(), &times.concat()]))
    }

    fn hash(digest: &Digest, parts: &[&[u8]]) -> Witness {
        let mut hasher = Sha256::new();
        hasher.update(digest.algorithm().name());
        hasher.update(digest.bytes());
        parts.iter().for_each(|part| hasher.update(part));
        Witness(number(&hasher.finalize()))
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The first eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(*bytes.first_chunk().expect("eight bytes at least"))
}

/// What is kept of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Its bytes.
    Content,
    /// That it begins otherwise than a JSON object does.
    NotAnObject,
}

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The beginning of the digest. The bytes of a blob have all of it, and so has the witness.
    pub(super) key: u64,
    pub(super) algorithm: Algorithm,
    pub(super) witness: Witness,
    pub(super) kind: Kind,
    /// Where the bytes begin.
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Entry {
    pub(super) fn key_of(digest: &Digest) -> u64 {
        number(digest.bytes())
    }

    pub(super) fn is_of(&self, digest: &Digest) -> bool {
        self.key == Entry::key_of(digest) && self.algorithm == digest.algorithm()
    }

    /// Whether another entry says the same.
    pub(super) fn repeats(&self, other: &Entry) -> bool {
        (self.key, self.algorithm, self.witness, self.kind) == (other.key, other.algorithm, other.witness, other.kind)
    }

    /// The first byte of the digest.
    pub(super) fn shard(&self) -> u8 {
        self.key.to_be_bytes()[0]
    }

    /// Where the bytes end.
    pub(super) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length.into())
    }

    pub(super) fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.key.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.witness.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_be_bytes());
        bytes[28] = self.algorithm as u8;
        bytes[29] = self.kind as u8;
        bytes
    }

    /// Reads an entry; nothing if it is none.
    pub(super) fn read(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
        let kind = match bytes[29] {
            0 => Kind::Content,
            1 => Kind::NotAnObject,
            _ => return None,
        };
        Some(Entry {
            key: number(bytes),
            algorithm: *Algorithm::ALL.get(usize::from(bytes[28]))?,
            witness: Witness(number(&bytes[8..])),
            kind,
            offset: number(&bytes[16..]),
            length: u32::from_be_bytes(*bytes[24..].first_chunk()?),
        })
    }
}
