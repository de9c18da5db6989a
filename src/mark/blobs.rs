//! Unreferenced blobs: their age, and whether they are deleted.

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

/// How many blobs are handled between two checks of the remaining work.
const BLOBS_AT_ONCE: usize = 1024;

/// Larger than the depth of any manifest: sorts other blobs behind all manifests.
pub const NO_MANIFEST: u32 = u32::MAX;

/// The result for all blobs.
#[derive(Debug, Default)]
pub struct BlobMarks {
    /// Blobs that are not live and old enough: one list per shard.
    pub deletions: Vec<Deletions>,
    /// Findings about blobs.
    pub findings: Vec<Finding>,
    /// Reached from a root that is kept at any age. Sizes are those that manifests state.
    pub live: Amount,
    /// Kept only because they are young, or a young thing reaches them.
    pub young: Amount,
    /// Kept only because quarantined content needs them.
    pub restorable: Amount,
    /// Young blobs: how many, why and until when.
    pub waiting: Waiting,
    /// Live blobs that `--delete-untagged` would not keep.
    pub live_untagged_only: Amount,
    /// Blobs that are only in quarantine, and that nothing needs.
    pub quarantined: u64,
    /// Directories without data, or with an irregular file as data. Kept blobs with a size from manifests are not
    /// checked.
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

/// Classifies every blob once all repositories are marked. Live ones are counted without `stat`. Deletions take no
/// memory beyond the budget.
///
/// # Errors
///
/// When `stat` fails for a blob.
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
                marks.classify(context, shard, &unknown, &manifests, &mut deletions)?;
                unknown.clear();
            }
        }
        marks.classify(context, shard, &unknown, &manifests, &mut deletions)?;
        deletions.set_aside(budget)?;
        marks.deletions.push(deletions);
        Ok(marks)
    })?;
    let mut all = BlobMarks::default();
    for part in parts {
        all += part;
    }
    // Only of the blobs: repositories report their own.
    all.findings.extend(all.waiting.finding());
    for marks in repositories {
        all.waiting += marks.waiting.clone();
    }
    Ok(all)
}

/// The actual size of all blobs. Calls `stat` on every one.
///
/// # Errors
///
/// When `stat` fails for a blob.
pub fn stored_bytes(store: &dyn Store, inventory: &Inventory) -> Result<u64, Error> {
    let shards = inventory.map_shards(|shard, blobs| {
        let mut all = Amount::default();
        let blobs: Vec<(BlobId, Digest)> = blobs.collect();
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            for state in inventory.states(store, shard, some)? {
                if let FileState::File(stat) = state {
                    all.add(stat.size_bytes);
                }
            }
        }
        Ok(all.size_bytes)
    })?;
    Ok(shards.into_iter().sum())
}

/// Whether a blob that is kept at any age is old. Stops at the first one, usually the first blob.
///
/// # Errors
///
/// When `stat` fails for a blob.
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
            let states = context.inventory.states(context.store, shard, some)?;
            let is_old = |state: &FileState| matches!(state, FileState::File(stat) if !context.policy.is_young(stat));
            if states.iter().any(is_old) {
                found.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner())
}

/// The number and size of kept blobs that are not young themselves. Stops once both exceed `enough`, so that a small
/// limit costs few `stat` calls.
///
/// # Errors
///
/// When `stat` fails for a blob.
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
            for state in context.inventory.states(context.store, shard, some)? {
                if let FileState::File(stat) = state
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

/// Whether a blob is kept in the store. A blob that is only in quarantine is not.
fn is_kept(inventory: &Inventory, blob: BlobId) -> bool {
    inventory.has_any(blob, MarkFlags::KEPT)
        && (inventory.has_any(blob, MarkFlags::LIVE) || !inventory.has_any(blob, MarkFlags::QUARANTINED))
}

/// Few blobs suffice to find an old one.
const FEW_BLOBS: usize = 8;

/// The manifests of dropped revisions, with their depths among all of them: one repository may drop an index, and
/// another its children.
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

    fn classify(
        &mut self,
        context: &Context<'_>,
        shard: Shard,
        blobs: &[(BlobId, Digest)],
        manifests: &HashMap<BlobId, u32>,
        deletions: &mut Deletions,
    ) -> Result<(), Error> {
        let states = context.inventory.states(context.store, shard, blobs)?;
        for (&(blob, digest), state) in blobs.iter().zip(states) {
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
                // A marked blob without data: references to it were reported where the data is needed.
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
