//! The whole store: every blob in exactly one place, so that the figures add up.

use super::grouping::Grouping;
use super::keeping::LIVE;
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, MarkFlags, Ownership, Whose};
use crate::oci::Digest;
use crate::plan::{BlobFacts, Decision, Inspected, Reason, decide};

/// Looks at so many blobs at once.
const BLOBS_AT_ONCE: usize = 1024;

/// What a store holds. `stored` is the sum of `live`, `untagged`, `unreferenced`, `unlinked`, `young` and `other`; `live` is what rows hold
/// alone, `shared` and `in_no_row`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Blobs that have data.
    pub stored: Amount,
    /// Kept when untagged revisions are collected: by tags, or by being reached by what is young.
    pub live: Amount,
    /// Of that, what several rows keep, or one row and something else.
    pub shared: Amount,
    /// Of that, what no row keeps: it lies behind a symbolic link or a mount, or no tag leads to it and the rows are those of tags.
    pub in_no_row: Amount,
    /// Kept by untagged revisions alone: what `--delete-untagged` would free in addition.
    pub untagged: Amount,
    /// Linked, and needed by no manifest that is kept: what a collection frees.
    pub unreferenced: Amount,
    /// Linked by no repository: what a collection frees.
    pub unlinked: Amount,
    /// Needed by nothing and too young to be judged.
    pub young: Amount,
    /// Needed by nothing, and changed while it was looked at.
    pub other: Amount,
    /// What the images that stay would take if each had its own copy of all that it names, in bytes.
    pub unshared_bytes: u64,
    /// In quarantine.
    pub quarantined: Amount,
    /// Uploads that were begun and not ended.
    pub uploads: Amount,
}

impl StoreUsage {
    /// What a collection frees.
    pub fn reclaimable(&self) -> Amount {
        let mut all = self.unreferenced;
        all += self.unlinked;
        all
    }

    /// How many times the images that stay would fit into what they take, if nothing was shared; nothing if they take nothing.
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
        self.other += other.other;
        self.unshared_bytes = self.unshared_bytes.saturating_add(other.unshared_bytes);
        self.quarantined += other.quarantined;
        self.uploads += other.uploads;
    }
}

/// Puts every blob in its place, once all repositories are marked. Looks again at those that nothing keeps: how old they are.
///
/// # Errors
///
/// When a blob cannot be looked at.
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
                    (Decision::Keep(_), Inspected::File(_)) => &mut all.young,
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
