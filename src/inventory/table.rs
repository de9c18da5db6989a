//! Every stored blob and its facts: the memory of a run.
//!
//! A sorted table of digests with one word of facts for each. The first byte of a digest is implied by its shard and
//! not stored, so a SHA-256 blob takes 31 + 8 = **39 bytes**, however many references it has, in memory or, beyond a
//! [`Budget`], in a file. Where listings report sizes and times, these take 16 more and save a `stat` call per blob.
//! Digests that a client of the registry chooses cannot slow down a sorted table, as they can a hash table.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;
use rayon::prelude::*;

use super::listed::Listed;
use super::spill::{Budget, Bytes, Words};
use super::states;
use crate::error::Error;
use crate::layout::{Shard, Target};
use crate::oci::{Algorithm, Digest};
use crate::store::{FileState, Partition, Store, Stray};

/// A stored blob, by its place in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(u32);

impl BlobId {
    /// The place as a number.
    pub(crate) const fn place(self) -> u32 {
        self.0
    }

    /// The blob at a place.
    pub(crate) const fn at(place: u32) -> BlobId {
        BlobId(place)
    }
}

bitflags::bitflags! {
    /// Why a blob was marked. Flags accumulate, so the order of marking does not matter.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MarkFlags: u64 {
        /// Kept at any age.
        const LIVE = 1 << 48;
        /// Kept because it, or content that reaches it, is young.
        const YOUNG = 1 << 49;
        /// Kept with `--delete-untagged` too.
        const TAGGED = 1 << 50;
        /// This run removes a link to it. Does not keep it.
        const LINK_DROPPED = 1 << 51;
        /// It is in the plan. Does not keep it.
        const DELETION = 1 << 52;
        /// It is in quarantine, and possibly not in the store. Does not keep it.
        const QUARANTINED = 1 << 53;
        /// Manifests state different sizes for it. Does not keep it.
        const SIZES_DIFFER = 1 << 54;
        /// It lies behind a symbolic link or a mount, where nothing is removed; links to it stay as well.
        const FOREIGN = 1 << 55;
        /// Layer links to it stay: it is in quarantine, or was restored recently. Does not keep it.
        const PROTECTED = 1 << 56;
        /// Kept because quarantined content needs it once that is restored.
        const RESTORABLE = 1 << 57;
        /// Kept for any reason.
        const KEPT = Self::LIVE.bits() | Self::YOUNG.bits() | Self::RESTORABLE.bits();
    }
}

/// The low bits of a fact hold the size plus one; 0 is unknown.
const SIZE_MASK: u64 = (1 << 48) - 1;

/// All blobs that were stored when the run began.
#[derive(Debug)]
pub struct Inventory {
    shards: Arc<[InventoryShard]>,
    /// The index in `shards` of each possible shard, by algorithm and byte.
    places: Arc<[Option<u16>]>,
    facts: Arc<Words>,
    /// The marks made through this value, and not through another one over the same blobs, if they are noted.
    noted: Option<Mutex<HashMap<BlobId, MarkFlags>>>,
}

/// The blobs of one shard, sorted.
#[derive(Debug)]
struct InventoryShard {
    shard: Shard,
    /// The id of its first blob.
    first: u32,
    count: usize,
    /// All digests without their first byte: first the next four bytes of each, then, in the same order, the remaining
    /// bytes. A search reads only the first part until those bytes match, and one cache line holds those of several
    /// neighbours.
    rests: Bytes,
    /// The listed states, in the order of the digests; `None` if the listing reported none.
    states: Option<Bytes>,
}

/// Bytes of a digest that are stored separately for the search.
const HEAD_BYTES: usize = size_of::<u32>();

impl InventoryShard {
    /// Takes concatenated sorted digests without their first byte, and their states.
    fn keep(shard: Shard, rests: &[u8], states: Option<Vec<u8>>, budget: &Budget) -> Result<InventoryShard, Error> {
        let width = shard.algorithm.len_bytes() - 1;
        let mut parted = Vec::with_capacity(rests.len());
        for rest in rests.chunks_exact(width) {
            parted.extend_from_slice(&rest[..HEAD_BYTES]);
        }
        for rest in rests.chunks_exact(width) {
            parted.extend_from_slice(&rest[HEAD_BYTES..]);
        }
        let states = states.map(|states| budget.keep(states)).transpose()?;
        Ok(InventoryShard { shard, first: 0, count: rests.len() / width, rests: budget.keep(parted)?, states })
    }

    fn head(&self, index: usize) -> u32 {
        head(&self.rests[HEAD_BYTES * index..])
    }

    fn tail(&self, index: usize) -> &[u8] {
        let width = self.shard.algorithm.len_bytes() - 1 - HEAD_BYTES;
        &self.rests[HEAD_BYTES * self.count + width * index..][..width]
    }

    fn digest(&self, index: usize) -> Digest {
        let mut bytes = [0; 64];
        let length = self.shard.algorithm.len_bytes();
        bytes[0] = self.shard.byte;
        bytes[1..=HEAD_BYTES].copy_from_slice(&self.head(index).to_be_bytes());
        bytes[HEAD_BYTES + 1..length].copy_from_slice(self.tail(index));
        Digest::from_bytes(self.shard.algorithm, &bytes[..length])
    }

    fn state(&self, index: usize) -> Option<FileState> {
        states::unpack(self.states.as_deref()?, index)
    }

    fn position(&self, digest: &Digest) -> Option<usize> {
        let (wanted_head, wanted_tail) = (head(&digest.bytes()[1..]), &digest.bytes()[1 + HEAD_BYTES..]);
        let compare = |index| self.head(index).cmp(&wanted_head).then_with(|| self.tail(index).cmp(wanted_tail));
        // All before `low` are less, and all from `high` on are greater.
        let (mut low, mut high) = (0, self.count);
        // Digests are spread evenly, so a guess comes close. Chosen digests are not: from the guess on, each step is
        // twice as long as the one before, so that no choice makes the search slow.
        let mut guess = ((u64::from(wanted_head) * self.count as u64) >> u32::BITS) as usize;
        let mut stride = 1;
        while low < high {
            match compare(guess) {
                Ordering::Equal => return Some(guess),
                Ordering::Less => low = guess + 1,
                Ordering::Greater => high = guess,
            }
            guess = match (low, high) {
                (0, _) => high.saturating_sub(stride),
                (_, high) if high == self.count => (low + stride - 1).min(high.saturating_sub(1)),
                _ => low.midpoint(high),
            };
            stride *= 2;
        }
        None
    }
}

/// Partitions listed at once under a memory limit.
const PARTITIONS_AT_ONCE: usize = 4;

/// The first four bytes, which distinguish nearly all digests of a shard and are compared at once.
pub(super) fn head(rest: &[u8]) -> u32 {
    u32::from_be_bytes(*rest.first_chunk().expect("every digest is longer"))
}

fn place_of(shard: Shard) -> usize {
    (shard.algorithm as usize) << 8 | usize::from(shard.byte)
}

impl Inventory {
    /// Lists every partition of a store. Also returns the entries that are no blobs, in no order.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, there are more than 2^32 blobs, or there is no space beyond the budget.
    pub fn list(store: &dyn Store, budget: &Budget) -> Result<(Inventory, Vec<Stray>), Error> {
        let found = store.partitions()?;
        let mut strays = found.strays;
        let list = |partition: &Partition| {
            let mut listed = Listed::default();
            let strays = store.blobs(partition, &mut |digest, state| listed.add(digest, state))?;
            let keep = |(shard, rests, states): (_, Vec<u8>, _)| InventoryShard::keep(shard, &rests, states, budget);
            Ok((listed.into_sorted().map(keep).collect::<Result<Vec<_>, _>>()?, strays))
        };
        // A partition is in memory while it is listed, whatever the budget.
        let at_once = if budget.is_limited() { PARTITIONS_AT_ONCE } else { found.entries.len().max(1) };
        let mut listed: Vec<InventoryShard> = Vec::with_capacity(found.entries.len());
        for some in found.entries.chunks(at_once) {
            let parts: Vec<(Vec<InventoryShard>, Vec<Stray>)> = some.par_iter().map(list).collect::<Result<_, Error>>()?;
            for (shards, more) in parts {
                listed.extend(shards);
                strays.extend(more);
            }
        }
        let mut shards = Vec::with_capacity(listed.len());
        let mut count = 0_usize;
        for mut shard in listed {
            shard.first = u32::try_from(count).map_err(|_| Error::Usage("more than 2^32 blobs in one store".into()))?;
            count += shard.count;
            shards.push(shard);
        }
        let facts = budget.words(count)?;
        let mut places = vec![None; Algorithm::ALL.len() << 8];
        for (place, shard) in shards.iter().enumerate() {
            places[place_of(shard.shard)] = Some(place as u16);
        }
        let inventory = Inventory { shards: shards.into(), places: places.into(), facts: Arc::new(facts), noted: None };
        for stray in strays.iter().filter(|stray| stray.kind.sets_apart()) {
            inventory.keep_behind(&stray.path);
        }
        Ok((inventory, strays))
    }

    /// The same blobs without any facts. The table is shared, so places are the same. `strays` are those of the listing.
    ///
    /// # Errors
    ///
    /// When there is no space beyond the budget.
    pub fn afresh(&self, strays: &[Stray], budget: &Budget) -> Result<Inventory, Error> {
        let inventory = self.with(Arc::new(budget.words(self.len())?), None);
        for stray in strays.iter().filter(|stray| stray.kind.sets_apart()) {
            inventory.keep_behind(&stray.path);
        }
        Ok(inventory)
    }

    /// The same blobs and facts. Marks made through the result are noted as well: what one repository keeps.
    pub(crate) fn noting(&self) -> Inventory {
        self.with(Arc::clone(&self.facts), Some(Mutex::default()))
    }

    fn with(&self, facts: Arc<Words>, noted: Option<Mutex<HashMap<BlobId, MarkFlags>>>) -> Inventory {
        Inventory { shards: Arc::clone(&self.shards), places: Arc::clone(&self.places), facts, noted }
    }

    /// The marks made through this value.
    pub(crate) fn into_noted(self) -> HashMap<BlobId, MarkFlags> {
        self.noted.map(|noted| noted.into_inner().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }

    /// Copies all sizes that another inventory of the same blobs knows.
    pub fn learn_sizes_of(&self, other: &Inventory) {
        for (index, fact) in other.facts.iter().enumerate() {
            if let Some(size_bytes) = (fact.load(atomic::Ordering::Relaxed) & SIZE_MASK).checked_sub(1) {
                self.learn_size(BlobId(index as u32), size_bytes);
            }
        }
    }

    /// Keeps everything behind a symbolic link or a mount: an algorithm, a shard or a blob.
    fn keep_behind(&self, link: &Path) {
        for shard in
            self.shards.iter().filter(|shard| shard.shard.path().starts_with(link) || link.starts_with(shard.shard.path()))
        {
            for index in 0..shard.count {
                if Target::EmptyBlobDirectory(shard.digest(index)).path().starts_with(link) {
                    let kept = MarkFlags::LIVE | MarkFlags::TAGGED | MarkFlags::FOREIGN;
                    self.mark(BlobId(shard.first + index as u32), kept);
                }
            }
        }
    }

    /// The number of blobs.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Finds a blob; `None` if it is not stored.
    pub fn find(&self, digest: &Digest) -> Option<BlobId> {
        let shard = &self.shards[usize::from(self.places[place_of(Shard::of(digest))]?)];
        shard.position(digest).map(|index| BlobId(shard.first + index as u32))
    }

    /// The digest of a blob.
    pub fn digest(&self, blob: BlobId) -> Digest {
        let shard = self.shards.partition_point(|shard| shard.first <= blob.0) - 1;
        let shard = &self.shards[shard];
        shard.digest((blob.0 - shard.first) as usize)
    }

    /// The listed state of a blob's file, if the listing reported it.
    pub fn listed(&self, blob: BlobId) -> Option<FileState> {
        let shard = &self.shards[self.shards.partition_point(|shard| shard.first <= blob.0) - 1];
        shard.state((blob.0 - shard.first) as usize)
    }

    /// The states of the files of some blobs of one shard, in order: the listed ones, and those of `stat` for the rest.
    ///
    /// # Errors
    ///
    /// When `stat` fails for one of them.
    pub fn states(&self, store: &dyn Store, shard: Shard, blobs: &[(BlobId, Digest)]) -> Result<Vec<FileState>, Error> {
        let place = self.places[place_of(shard)].map(|place| &self.shards[usize::from(place)]);
        let Some(listed) = place.filter(|listed| listed.states.is_some()) else {
            let digests: Vec<Digest> = blobs.iter().map(|(_, digest)| *digest).collect();
            return store.stat_blobs(shard, &digests);
        };
        let known: Vec<Option<FileState>> =
            blobs.iter().map(|(blob, _)| listed.state((blob.0 - listed.first) as usize)).collect();
        let unknown = blobs.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<Digest> = unknown.map(|((_, digest), _)| *digest).collect();
        let stated = if unknown.is_empty() { Vec::new() } else { store.stat_blobs(shard, &unknown)? };
        let mut stated = stated.into_iter();
        Ok(known.into_iter().map(|known| known.or_else(|| stated.next()).expect("each state is listed or queried")).collect())
    }

    /// Marks a blob.
    pub fn mark(&self, blob: BlobId, flags: MarkFlags) {
        if let Some(noted) = &self.noted {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            *noted.entry(blob).or_insert(MarkFlags::empty()) |= flags;
        }
        // Checked first: most marks are repetitions, and a shared read costs less than a write.
        if !self.has_all(blob, flags) {
            self.fact(blob).fetch_or(flags.bits(), atomic::Ordering::Relaxed);
        }
    }

    /// Whether a blob has any of the given flags.
    pub fn has_any(&self, blob: BlobId, flags: MarkFlags) -> bool {
        self.fact(blob).load(atomic::Ordering::Relaxed) & flags.bits() != 0
    }

    /// All flags of a blob.
    pub fn flags(&self, blob: BlobId) -> MarkFlags {
        MarkFlags::from_bits_truncate(self.fact(blob).load(atomic::Ordering::Relaxed))
    }

    /// Whether any blob is kept.
    pub fn any_kept(&self) -> bool {
        let kept = MarkFlags::KEPT.bits();
        self.facts.iter().any(|fact| fact.load(atomic::Ordering::Relaxed) & kept != 0)
    }

    fn has_all(&self, blob: BlobId, flags: MarkFlags) -> bool {
        self.fact(blob).load(atomic::Ordering::Relaxed) & flags.bits() == flags.bits()
    }

    /// Notes the stated size of a blob. The largest statement wins, so their order does not matter.
    pub fn learn_size(&self, blob: BlobId, size_bytes: u64) {
        let size = size_bytes.saturating_add(1).min(SIZE_MASK);
        let learnt = |fact: u64| {
            let known = fact & SIZE_MASK;
            let differs = if known == 0 || known == size { 0 } else { MarkFlags::SIZES_DIFFER.bits() };
            let new = fact & !SIZE_MASK | known.max(size) | differs;
            (new != fact).then_some(new)
        };
        // An error only means that nothing had to change.
        let _ = self.fact(blob).fetch_update(atomic::Ordering::Relaxed, atomic::Ordering::Relaxed, learnt);
    }

    /// Notes that a blob is in the plan, and its actual size.
    pub fn note_deletion(&self, blob: BlobId, size_bytes: u64) {
        let size = size_bytes.saturating_add(1).min(SIZE_MASK);
        let noted = |fact: u64| {
            let differs = if fact & SIZE_MASK == 0 || fact & SIZE_MASK == size { 0 } else { MarkFlags::SIZES_DIFFER.bits() };
            Some(fact & !SIZE_MASK | size | MarkFlags::DELETION.bits() | differs)
        };
        let _ = self.fact(blob).fetch_update(atomic::Ordering::Relaxed, atomic::Ordering::Relaxed, noted);
    }

    /// The stated size of a blob.
    pub fn size_bytes(&self, blob: BlobId) -> Option<u64> {
        (self.fact(blob).load(atomic::Ordering::Relaxed) & SIZE_MASK).checked_sub(1)
    }

    fn fact(&self, blob: BlobId) -> &AtomicU64 {
        &self.facts[blob.0 as usize]
    }

    /// Calls `each` once per shard, in parallel, and returns the answers in the order of the shards.
    ///
    /// # Errors
    ///
    /// When `each` fails.
    pub fn map_shards<T: Send>(
        &self,
        each: impl Fn(Shard, &mut dyn Iterator<Item = (BlobId, Digest)>) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        self.shards
            .par_iter()
            .map(|shard| {
                let mut blobs = (0..shard.count).map(|index| (BlobId(shard.first + index as u32), shard.digest(index)));
                each(shard.shard, &mut blobs)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout;
    use crate::store::MemoryStore;

    fn inventory(digests: &[Digest]) -> Inventory {
        let store = MemoryStore::new();
        for digest in digests {
            store.add_file(layout::blob_data(digest), "x", SystemTime::UNIX_EPOCH);
        }
        Inventory::list(&store, &Budget::unlimited()).expect("listable").0
    }

    #[test]
    fn finds_what_is_stored_and_nothing_else() {
        let digests: Vec<Digest> = (0..2000_u32).map(|n| Digest::of(Algorithm::ALL[n as usize % 3], &n.to_le_bytes())).collect();
        let (stored, absent) = digests.split_at(1500);
        let inventory = inventory(stored);
        assert_eq!(inventory.len(), 1500);
        let mut ids: Vec<BlobId> = stored.iter().map(|digest| inventory.find(digest).expect("stored")).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1500);
        assert!(absent.iter().all(|digest| inventory.find(digest).is_none()));
        let listed: Vec<Vec<Digest>> =
            inventory.map_shards(|_, blobs| Ok(blobs.map(|(_, digest)| digest).collect())).expect("no error");
        let mut expected = stored.to_vec();
        expected.sort_unstable();
        assert_eq!(listed.concat(), expected);
    }

    #[test]
    fn finds_chosen_digests() {
        // The shard's byte, the bytes that a search compares first, and the last one.
        let named = |head: u32, last: u8| {
            let mut bytes = [0; 32];
            bytes[1..5].copy_from_slice(&head.to_be_bytes());
            bytes[31] = last;
            Digest::from_bytes(Algorithm::Sha256, &bytes)
        };
        let spread = |n: u32| n.wrapping_mul(0x9e37_79b1);
        let all: [Vec<Digest>; 5] = [
            (0..200).map(|n| named(7, n)).collect(),
            (0..200).map(|n| named(u32::MAX, n)).collect(),
            (0..200).map(|n| named(n, 1)).collect(),
            (0..200).map(|n| named(u32::MAX - n, 1)).collect(),
            (0..200).map(|n| named(spread(n), 1)).collect(),
        ];
        for mut digests in all {
            digests.sort_unstable();
            let stored: Vec<Digest> = digests.iter().copied().step_by(2).collect();
            let inventory = inventory(&stored);
            for (place, digest) in digests.iter().enumerate() {
                let found = inventory.find(digest);
                assert_eq!(found, (place % 2 == 0).then_some(BlobId(place as u32 / 2)), "{digest}");
                assert!(found.is_none_or(|blob| inventory.digest(blob) == *digest));
            }
        }
    }

    #[test]
    fn flags_add_up_and_the_largest_size_stands() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let inventory = inventory(&[digest]);
        let blob = inventory.find(&digest).expect("stored");
        assert_eq!(inventory.size_bytes(blob), None);
        inventory.learn_size(blob, 0);
        assert_eq!(inventory.size_bytes(blob), Some(0));
        inventory.mark(blob, MarkFlags::YOUNG);
        inventory.learn_size(blob, 7);
        inventory.learn_size(blob, 5);
        inventory.mark(blob, MarkFlags::TAGGED);
        assert_eq!(inventory.size_bytes(blob), Some(7));
        assert!(inventory.has_any(blob, MarkFlags::YOUNG) && inventory.has_any(blob, MarkFlags::TAGGED | MarkFlags::LIVE));
        assert!(!inventory.has_any(blob, MarkFlags::LIVE));
    }

    #[test]
    fn differing_sizes_are_noted_in_any_order() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for (sizes, differ) in [([7, 7, 7], false), ([7, 5, 7], true), ([5, 7, 7], true), ([7, 7, 5], true)] {
            let inventory = inventory(&[digest]);
            let blob = inventory.find(&digest).expect("stored");
            sizes.into_iter().for_each(|size| inventory.learn_size(blob, size));
            assert_eq!(inventory.has_any(blob, MarkFlags::SIZES_DIFFER), differ, "{sizes:?}");
            assert_eq!(inventory.size_bytes(blob), Some(7));
        }
        for (stored, differ) in [(7, false), (8, true)] {
            let inventory = inventory(&[digest]);
            let blob = inventory.find(&digest).expect("stored");
            inventory.learn_size(blob, 7);
            inventory.note_deletion(blob, stored);
            assert_eq!(inventory.has_any(blob, MarkFlags::SIZES_DIFFER), differ);
        }
    }
}
