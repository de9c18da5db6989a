//! Totals of the store: every blob is in exactly one category, so that the figures add up.

use std::time::SystemTime;

use super::grouping::Grouping;
use super::keeping::LIVE;
use super::young::UntaggedYoung;
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, MarkFlags, Ownership, Whose};
use crate::oci::Digest;
use crate::plan::{BlobFacts, Decision, Inspected, Reason, decide};

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// What a store holds. `stored` is the sum of `live`, `untagged`, `unreferenced`, `unlinked`, `young` and `other`; `live`
/// is the sum of what rows hold alone, `shared` and `in_no_row`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Blobs with data.
    pub stored: Amount,
    /// Kept when untagged revisions are collected: by tags, or because young content reaches them.
    pub live: Amount,
    /// Blobs of `live` that several rows keep, or one row and something else.
    pub shared: Amount,
    /// Blobs of `live` that no row keeps: they are behind a symbolic link or a mount, or no tag leads to them and the rows
    /// are by tag.
    pub in_no_row: Amount,
    /// Kept by untagged revisions alone: `--delete-untagged` frees them in addition.
    pub untagged: Amount,
    /// Linked, but needed by no kept manifest: a collection frees them.
    pub unreferenced: Amount,
    /// Linked by no repository: a collection frees them.
    pub unlinked: Amount,
    /// Needed by nothing, but too young to be judged.
    pub young: Amount,
    /// What of `live` is linked, and needed by no manifest: its links are too young to be judged.
    pub linked_young: Amount,
    /// When the last of both is old enough; `None` if none ever is.
    pub young_until: Option<SystemTime>,
    /// What of `live` no tag leads to: its images are too young to go.
    pub untagged_young: UntaggedYoung,
    /// Needed by nothing, and changed during the scan.
    pub other: Amount,
    /// Bytes that the images that stay would take if each had its own copy of its content.
    pub unshared_bytes: u64,
    /// In quarantine.
    pub quarantined: Amount,
    /// Unfinished uploads.
    pub uploads: Amount,
}

impl StoreUsage {
    /// What a collection frees.
    pub fn reclaimable(&self) -> Amount {
        let mut all = self.unreferenced;
        all += self.unlinked;
        all
    }

    /// When the last is old enough of what only its age keeps; `None` if nothing is so, or for ever.
    pub fn waits_until(&self) -> Option<SystemTime> {
        self.young_until.max(self.untagged_young.until)
    }

    /// The size of the images that stay without sharing, as a multiple of the size that they take; `None` if they take none.
    pub fn deduplication(&self) -> Option<f64> {
        let taken = self.live.size_bytes;
        (taken > 0 && self.unshared_bytes > 0).then(|| self.unshared_bytes as f64 / taken as f64)
    }
}

impl std::ops::AddAssign for StoreUsage {
    fn add_assign(&mut self, other: StoreUsage) {
        self.stored += other.stored;
        self.live += other.live;
        self.shared += other.shared;
        self.in_no_row += other.in_no_row;
        self.untagged += other.untagged;
        self.unreferenced += other.unreferenced;
        self.unlinked += other.unlinked;
        self.young += other.young;
        self.linked_young += other.linked_young;
        self.young_until = self.young_until.max(other.young_until);
        self.untagged_young += other.untagged_young;
        self.other += other.other;
        self.unshared_bytes = self.unshared_bytes.saturating_add(other.unshared_bytes);
        self.quarantined += other.quarantined;
        self.uploads += other.uploads;
    }
}

/// Assigns every blob to its category, once all repositories are marked. Stats unneeded blobs again, for their age.
///
/// # Errors
///
/// When a blob cannot be read.
pub(crate) fn whole(context: &Context<'_>, rows: &Grouping, ownership: &Ownership) -> Result<StoreUsage, Error> {
    let inventory = context.inventory;
    let parts = context.inventory.map_shards(|shard, blobs| {
        let mut all = StoreUsage::default();
        let mut unreached: Vec<(BlobId, Digest, u64)> = Vec::new();
        for (blob, digest) in blobs {
            let Some(size_bytes) = ownership.size_bytes(blob) else { continue };
            all.stored.add(size_bytes);
            if !inventory.has_any(blob, MarkFlags::KEPT) {
                unreached.push((blob, digest, size_bytes));
            } else if inventory.has_any(blob, LIVE) {
                all.live.add(size_bytes);
                if !inventory.has_any(blob, MarkFlags::TAGGED | MarkFlags::RESTORABLE) {
                    all.linked_young.add(size_bytes);
                }
                match rows.whose(ownership, blob) {
                    Whose::Nobody => all.in_no_row.add(size_bytes),
                    Whose::One(_) => {}
                    Whose::Several => all.shared.add(size_bytes),
                }
            } else {
                all.untagged.add(size_bytes);
            }
        }
        for some in unreached.chunks(BLOBS_AT_ONCE) {
            let digests: Vec<Digest> = some.iter().map(|(_, digest, _)| *digest).collect();
            for (&(blob, _, size_bytes), state) in some.iter().zip(context.store.stat_blobs(shard, &digests)?) {
                let inspected = Inspected::new(&state, &context.policy);
                let facts = BlobFacts { flags: inventory.flags(blob), of_dropped_revision: false, inspected };
                let place = match (decide::blob(&facts), inspected) {
                    (Decision::Delete(Reason::Unlinked), _) => &mut all.unlinked,
                    (Decision::Delete(_), _) => &mut all.unreferenced,
                    (Decision::Keep(_), Inspected::File(age)) => {
                        all.young_until = all.young_until.max(age.until());
                        &mut all.young
                    }
                    (Decision::Keep(_), _) => &mut all.other,
                };
                place.add(size_bytes);
            }
        }
        Ok(all)
    })?;
    let mut all = StoreUsage::default();
    parts.into_iter().for_each(|part| all += part);
    Ok(all)
}
