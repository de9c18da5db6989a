//! How large each blob is on disk, and which row of a report holds it: none, one, or several. Two words for each blob of an
//! [`Inventory`](super::Inventory), whatever refers to it, in memory or beyond the [`Budget`].

use std::sync::atomic::Ordering;

use super::BlobId;
use super::spill::{Budget, Words};
use crate::error::Error;

const NOBODY: u32 = 0;
const SEVERAL: u32 = 1;
const FIRST_ROW: u32 = 2;

/// So many rows can be told apart.
const MOST_ROWS: u32 = u32::MAX - FIRST_ROW;

/// By what a row holds a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// By what stays when untagged revisions are collected.
    Live,
    /// By anything that a collection keeps, untagged revisions included.
    Kept,
}

/// Which rows hold a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// None.
    Nobody,
    /// This one alone.
    One(u32),
    /// More than one.
    Several,
}

/// Sizes and owners of all blobs.
#[derive(Debug)]
pub(crate) struct Ownership {
    /// Bytes plus one; 0 is a blob without data.
    sizes: Words,
    /// Two numbers for each blob, by [`Holder`].
    owners: Words,
}

impl Ownership {
    /// Of so many blobs, of which nothing is known yet.
    ///
    /// # Errors
    ///
    /// When there is no room beyond the budget.
    pub(crate) fn new(blobs: usize, budget: &Budget) -> Result<Ownership, Error> {
        Ok(Ownership { sizes: budget.words(blobs)?, owners: budget.words(blobs)? })
    }

    /// Learns how large a blob is on disk.
    pub(crate) fn set_size(&self, blob: BlobId, size_bytes: u64) {
        self.sizes[blob.place() as usize].store(size_bytes.saturating_add(1), Ordering::Relaxed);
    }

    /// How large a blob is on disk; nothing if it has no data.
    pub(crate) fn size_bytes(&self, blob: BlobId) -> Option<u64> {
        self.sizes[blob.place() as usize].load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes that a row holds a blob. The same in any order, and however often it is said.
    ///
    /// # Panics
    ///
    /// When there are more than 2^32 - 3 rows: each takes more memory than a row's number has.
    pub(crate) fn claim(&self, blob: BlobId, by: Holder, row: u32) {
        assert!(row < MOST_ROWS, "row {row}");
        let row = row + FIRST_ROW;
        let claimed = |word: u64| {
            let owner = match half(word, by) {
                NOBODY => row,
                owner if owner == row => return None,
                SEVERAL => return None,
                _ => SEVERAL,
            };
            Some(with_half(word, by, owner))
        };
        // An error only says that there was nothing to change.
        let _ = self.owners[blob.place() as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, claimed);
    }

    /// Which rows hold a blob.
    pub(crate) fn whose(&self, blob: BlobId, by: Holder) -> Whose {
        match half(self.owners[blob.place() as usize].load(Ordering::Relaxed), by) {
            NOBODY => Whose::Nobody,
            SEVERAL => Whose::Several,
            row => Whose::One(row - FIRST_ROW),
        }
    }
}

/// 64 bits for each blob.
#[derive(Debug)]
pub(crate) struct MaskWords(Words);

impl MaskWords {
    /// Of so many blobs, none set.
    ///
    /// # Errors
    ///
    /// When there is no room beyond the budget.
    pub(crate) fn new(blobs: usize, budget: &Budget) -> Result<MaskWords, Error> {
        Ok(MaskWords(budget.words(blobs)?))
    }

    /// Sets a bit of a blob.
    pub(crate) fn set(&self, blob: BlobId, bit: u32) {
        self.0[blob.place() as usize].fetch_or(1 << bit, Ordering::Relaxed);
    }

    /// All bits of a blob.
    pub(crate) fn get(&self, blob: BlobId) -> u64 {
        self.0[blob.place() as usize].load(Ordering::Relaxed)
    }
}

fn half(word: u64, by: Holder) -> u32 {
    match by {
        Holder::Live => word as u32,
        Holder::Kept => (word >> u32::BITS) as u32,
    }
}

fn with_half(word: u64, by: Holder, owner: u32) -> u64 {
    match by {
        Holder::Live => word & !u64::from(u32::MAX) | u64::from(owner),
        Holder::Kept => word & u64::from(u32::MAX) | u64::from(owner) << u32::BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_is_told_from_none_and_from_several_in_any_order() {
        let ownership = Ownership::new(3, &Budget::unlimited()).expect("room");
        let blobs = [0, 1, 2].map(BlobId::at);
        for (claims, expected) in [
            (&[][..], Whose::Nobody),
            (&[7, 7], Whose::One(7)),
            (&[0], Whose::One(0)),
            (&[0, 1], Whose::Several),
            (&[1, 0, 1], Whose::Several),
        ] {
            for by in [Holder::Live, Holder::Kept] {
                let ownership = Ownership::new(1, &Budget::unlimited()).expect("room");
                claims.iter().for_each(|row| ownership.claim(blobs[0], by, *row));
                assert_eq!(ownership.whose(blobs[0], by), expected, "{claims:?}");
                let other = if by == Holder::Live { Holder::Kept } else { Holder::Live };
                assert_eq!(ownership.whose(blobs[0], other), Whose::Nobody);
            }
        }
        ownership.set_size(blobs[1], 0);
        ownership.set_size(blobs[2], u64::MAX);
        assert_eq!(blobs.map(|blob| ownership.size_bytes(blob)), [None, Some(0), Some(u64::MAX - 1)]);
    }
}
