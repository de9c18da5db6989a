//! The blobs that nothing reaches: how old they are, and what becomes of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::HashMap;
use rayon::prelude::*;

use super::{Marks, Waiting, depths, inspect};
use crate::amount::Amount;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, Inventory, MarkFlags};
use crate::layout::{self, Shard, Target};
use crate::oci::Digest;
use crate::plan::{BlobFacts, Decision, Deletion, Deletions, Inspected, KeepReason, decide};
use crate::store::{FileState, Store};

/// Looks at so many blobs between two looks at what is left to do.
const BLOBS_AT_ONCE: usize = 1024;

/// Not the depth of any manifest: sorts what is no manifest behind them all.
pub const NO_MANIFEST: u32 = u32::MAX;

/// What became of all blobs.
#[derive(Debug, Default)]
pub struct BlobMarks {
    /// Not live, and old enough: a list for each shard.
    pub deletions: Vec<Deletions>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Reached from a root that is kept whatever its age. Sizes are those that manifests state.
    pub live: Amount,
    /// Kept for nothing but being young, or being reached by what is.
    pub young: Amount,
    /// Kept for nothing but what is in quarantine.
    pub restorable: Amount,
    /// Since when, for what and until when.
    pub waiting: Waiting,
    /// Of the live ones, those that `--delete-untagged` would not keep.
    pub live_untagged_only: Amount,
    /// Those that are in quarantine and nowhere else, and that nothing needs.
    pub quarantined: u64,
    /// Directories without data, or with something that is no file in its place, as far as they were looked at: those of kept blobs whose size manifests state were not.
    pub without_data: u64,
}

impl std::ops::AddAssign for BlobMarks {
    fn add_assign(&mut self, other: BlobMarks) {
        self.deletions.extend(other.deletions);
        self.findings.extend(other.findings);
        self.live += other.live;
        self.young += other.young;
        self.restorable += other.restorable;
        self.waiting += other.waiting;
        self.live_untagged_only += other.live_untagged_only;
        self.quarantined += other.quarantined;
        self.without_data += other.without_data;
    }
}

/// Looks at every blob once all repositories are marked. Live ones are counted, not touched. What goes takes no memory beyond the budget.
///
/// # Errors
///
/// When a blob cannot be looked at.
pub fn unreached_blobs(context: &Context<'_>, repositories: &[Marks], budget: &Budget) -> Result<BlobMarks, Error> {
    let manifests = dropped_manifests(context, repositories)?;
    let parts = context.inventory.map_shards(|shard, blobs| {
        let mut marks = BlobMarks::default();
        let mut deletions = Deletions::default();
        let mut unknown = Vec::new();
        for (blob, digest) in blobs {
            let is_kept = is_kept(context.inventory, blob);
            match context.inventory.size_bytes(blob).filter(|_| is_kept) {
                Some(size_bytes) => marks.keep(context.inventory, blob, size_bytes),
                None => unknown.push((blob, digest)),
            }
            if unknown.len() == BLOBS_AT_ONCE {
                marks.look_at(context, shard, &unknown, &manifests, &mut deletions)?;
                unknown.clear();
            }
        }
        marks.look_at(context, shard, &unknown, &manifests, &mut deletions)?;
        deletions.set_aside(budget)?;
        marks.deletions.push(deletions);
        Ok(marks)
    })?;
    let mut all = BlobMarks::default();
    for part in parts {
        all += part;
    }
    // Of the blobs: what waits in repositories is told there.
    all.findings.extend(all.waiting.finding());
    for marks in repositories {
        all.waiting += marks.waiting.clone();
    }
    Ok(all)
}

/// How large all blobs really are. Looks at every one.
///
/// # Errors
///
/// When one cannot be looked at.
pub fn stored_bytes(store: &dyn Store, inventory: &Inventory) -> Result<u64, Error> {
    let shards = inventory.map_shards(|shard, blobs| {
        let mut all = Amount::default();
        let blobs: Vec<(BlobId, Digest)> = blobs.collect();
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            for leaf in inventory.states(store, shard, some)? {
                if let FileState::File(stat) = leaf {
                    all.add(stat.size_bytes);
                }
            }
        }
        Ok(all.size_bytes)
    })?;
    Ok(shards.into_iter().sum())
}

/// Whether a blob is kept whatever its age, and is old. Looks until it finds one, which is mostly the first.
///
/// # Errors
///
/// When one cannot be looked at.
pub fn any_old_kept(context: &Context<'_>) -> Result<bool, Error> {
    let found = AtomicBool::new(false);
    context.inventory.map_shards(|shard, blobs| {
        let live: Vec<(BlobId, Digest)> = blobs
            .filter(|(blob, _)| !found.load(Ordering::Relaxed) && context.inventory.has_any(*blob, MarkFlags::LIVE))
            .collect();
        for some in live.chunks(FEW_BLOBS) {
            if found.load(Ordering::Relaxed) {
                break;
            }
            let leaves = context.inventory.states(context.store, shard, some)?;
            let is_old = |leaf: &FileState| matches!(leaf, FileState::File(stat) if !context.policy.is_young(stat));
            if leaves.iter().any(is_old) {
                found.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner())
}

/// How many blobs are kept whose own age is not young, and how large they are; no more of them than `enough` has once there are more than that
/// of both, so that where little is asked for little is looked at.
///
/// # Errors
///
/// When one cannot be looked at.
pub fn old_kept(context: &Context<'_>, enough: Amount) -> Result<Amount, Error> {
    let (count, size_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let found = || Amount { count: count.load(Ordering::Relaxed), size_bytes: size_bytes.load(Ordering::Relaxed) };
    let is_enough = || found().count > enough.count && found().size_bytes > enough.size_bytes;
    context.inventory.map_shards(|shard, blobs| {
        if is_enough() {
            return Ok(());
        }
        let kept: Vec<(BlobId, Digest)> = blobs.filter(|(blob, _)| is_kept(context.inventory, *blob)).collect();
        for some in kept.chunks(FEW_BLOBS) {
            if is_enough() {
                break;
            }
            for leaf in context.inventory.states(context.store, shard, some)? {
                if let FileState::File(stat) = leaf
                    && !context.policy.is_young(&stat)
                {
                    count.fetch_add(1, Ordering::Relaxed);
                    size_bytes.fetch_add(stat.size_bytes, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    })?;
    Ok(found())
}

/// Whether something keeps a blob. What only waits in quarantine is not stored, whatever keeps it there.
fn is_kept(inventory: &Inventory, blob: BlobId) -> bool {
    inventory.has_any(blob, MarkFlags::KEPT)
        && (inventory.has_any(blob, MarkFlags::LIVE) || !inventory.has_any(blob, MarkFlags::QUARANTINED))
}

/// So many blobs are enough to find an old one among.
const FEW_BLOBS: usize = 8;

/// The manifests of revisions that go, with their depths among all of them: an index may have gone from one repository and its
/// children from another.
fn dropped_manifests(context: &Context<'_>, repositories: &[Marks]) -> Result<HashMap<BlobId, u32>, Error> {
    let mut dropped: Vec<BlobId> = repositories.iter().flat_map(|marks| marks.deletions.manifests()).copied().collect();
    dropped.par_sort_unstable();
    dropped.dedup();
    let manifests: Vec<_> = dropped.par_iter().map(|blob| (context.inventory.digest(*blob), Some(*blob))).collect();
    let depths = depths::depths(&manifests, |digest| context.manifests.read_revision(digest))?;
    Ok(dropped.into_iter().zip(depths).collect())
}

impl BlobMarks {
    fn keep(&mut self, inventory: &Inventory, blob: BlobId, size_bytes: u64) {
        if !inventory.has_any(blob, MarkFlags::LIVE) {
            let kept = if inventory.has_any(blob, MarkFlags::YOUNG) { &mut self.young } else { &mut self.restorable };
            kept.add(size_bytes);
            return;
        }
        self.live.add(size_bytes);
        if !inventory.has_any(blob, MarkFlags::TAGGED | MarkFlags::YOUNG | MarkFlags::RESTORABLE) {
            self.live_untagged_only.add(size_bytes);
        }
    }

    fn look_at(
        &mut self,
        context: &Context<'_>,
        shard: Shard,
        blobs: &[(BlobId, Digest)],
        manifests: &HashMap<BlobId, u32>,
        deletions: &mut Deletions,
    ) -> Result<(), Error> {
        let leaves = context.inventory.states(context.store, shard, blobs)?;
        for (&(blob, digest), state) in blobs.iter().zip(leaves) {
            let inventory = context.inventory;
            let depth = manifests.get(&blob).copied();
            let facts = BlobFacts {
                flags: inventory.flags(blob),
                of_dropped_revision: depth.is_some(),
                inspected: Inspected::new(&state, &context.policy),
            };
            match (decide::blob(&facts), state) {
                (_, FileState::Irregular) => {
                    self.without_data += 1;
                    self.note(Code::IrregularData, &digest);
                }
                (Decision::Delete(reason), FileState::File(stat)) => {
                    inventory.note_deletion(blob, stat.size_bytes);
                    let depth = depth.unwrap_or(NO_MANIFEST);
                    let row = Deletion { target: Target::Blob(digest), stat, alias_of: None, reason, depth };
                    deletions.push(inventory, &row);
                }
                (Decision::Keep(KeepReason::Young(age)), FileState::File(stat)) => {
                    self.waiting.note(age, || layout::blob_data(&digest));
                    self.waiting.note_blob(age, stat.size_bytes);
                    self.young.add(stat.size_bytes);
                }
                (Decision::Keep(_), FileState::File(stat)) => self.keep(inventory, blob, stat.size_bytes),
                (Decision::Keep(KeepReason::Quarantined), FileState::Absent) => self.quarantined += 1,
                (Decision::Keep(KeepReason::Absent), FileState::Absent) => {
                    self.without_data += 1;
                    self.without_data(context, digest, deletions)?;
                }
                // Marked and not there: what names it has been reported where its data is needed.
                (Decision::Keep(_) | Decision::Delete(_), FileState::Absent) => self.without_data += 1,
            }
        }
        Ok(())
    }

    fn without_data(&mut self, context: &Context<'_>, digest: Digest, deletions: &mut Deletions) -> Result<(), Error> {
        let target = Target::EmptyBlobDirectory(digest);
        let (facts, stat) = inspect::directory(&target, context)?;
        match (decide::directory(&facts), stat) {
            (Decision::Delete(reason), Some(stat)) => {
                let row = Deletion { target, stat, alias_of: None, reason, depth: 0 };
                deletions.push(context.inventory, &row);
            }
            (Decision::Keep(_), Some(_)) => {}
            (_, None) if crate::store::holds_only_system_files(context.store, &digest)? => {
                self.findings.push(Finding::new(Code::SystemFile).path(target.path()));
            }
            (_, None) => self.note(Code::MissingData, &digest),
        }
        Ok(())
    }

    fn note(&mut self, code: Code, digest: &Digest) {
        self.findings.push(Finding::new(code).digest(digest).path(layout::blob_data(digest)));
    }
}
