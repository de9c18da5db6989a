//! The size of each blob on disk, and the row of a report that holds it: none, one, or several. Two words for each blob
//! of an [`Inventory`](super::Inventory), however many references it has, in memory or beyond the [`Budget`].

use std::sync::atomic::Ordering;

use super::BlobId;
use super::spill::{Budget, Words};
use crate::error::Error;

const UNOWNED: u32 = 0;
const SEVERAL: u32 = 1;
const FIRST_ROW: u32 = 2;

/// How many rows a number distinguishes.
const MOST_ROWS: u32 = u32::MAX - FIRST_ROW;

/// The condition under which a row holds a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The row keeps the blob when untagged revisions are collected.
    Live,
    /// The row keeps the blob in any collection, which may keep untagged revisions.
    Kept,
}

/// The rows that hold a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// No row.
    Nobody,
    /// Exactly this row.
    One(u32),
    /// More than one row.
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
    /// Makes room for `blobs` blobs, without sizes or owners.
    ///
    /// # Errors
    ///
    /// When there is no space beyond the budget.
    pub(crate) fn new(blobs: usize, budget: &Budget) -> Result<Ownership, Error> {
        Ok(Ownership { sizes: budget.words(blobs)?, owners: budget.words(blobs)? })
    }

    /// The same sizes, without owners, for rows of another kind.
    ///
    /// # Errors
    ///
    /// As above.
    pub(crate) fn without_owners(&self, blobs: usize, budget: &Budget) -> Result<Ownership, Error> {
        let other = Ownership::new(blobs, budget)?;
        for place in 0..blobs {
            other.sizes[place].store(self.sizes[place].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(other)
    }

    /// Sets the size of a blob on disk.
    pub(crate) fn set_size(&self, blob: BlobId, size_bytes: u64) {
        self.sizes[blob.place() as usize].store(size_bytes.saturating_add(1), Ordering::Relaxed);
    }

    /// The size of a blob on disk; `None` if it has no data.
    pub(crate) fn size_bytes(&self, blob: BlobId) -> Option<u64> {
        self.sizes[blob.place() as usize].load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes that a row holds a blob. Order and repetition do not matter.
    ///
    /// # Panics
    ///
    /// When there are more than 2^32 - 3 rows: each takes more memory than its number.
    pub(crate) fn claim(&self, blob: BlobId, by: Holder, row: u32) {
        assert!(row < MOST_ROWS, "row {row}");
        let row = row + FIRST_ROW;
        let claimed = |word: u64| {
            let owner = match half(word, by) {
                UNOWNED => row,
                owner if owner == row => return None,
                SEVERAL => return None,
                _ => SEVERAL,
            };
            Some(with_half(word, by, owner))
        };
        // An error only means that nothing had to change.
        let _ = self.owners[blob.place() as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, claimed);
    }

    /// The rows that hold a blob.
    pub(crate) fn whose(&self, blob: BlobId, by: Holder) -> Whose {
        match half(self.owners[blob.place() as usize].load(Ordering::Relaxed), by) {
            UNOWNED => Whose::Nobody,
            SEVERAL => Whose::Several,
            row => Whose::One(row - FIRST_ROW),
        }
    }
}

/// 64 bits for each blob.
#[derive(Debug)]
pub(crate) struct MaskWords(Words);

impl MaskWords {
    /// Makes room for `blobs` blobs, with no bit set.
    ///
    /// # Errors
    ///
    /// When there is no space beyond the budget.
    pub(crate) fn new(blobs: usize, budget: &Budget) -> Result<MaskWords, Error> {
        Ok(MaskWords(budget.words(blobs)?))
    }

    /// Sets a bit for a blob.
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
    fn owners_are_counted_in_any_order() {
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
