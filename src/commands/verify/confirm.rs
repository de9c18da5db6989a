//! Looks at damaged blobs once more before they are told: what is being written is no damage yet.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::amount::Amount;
use crate::finding::{Code, Finding};
use crate::inventory::Inventory;
use crate::layout;
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::store::{BlobContent, Condition, FileState, Store};
use crate::verify::{DamagedBlob, Outcome};
use crate::writers::OpenFiles;

/// Who is at work on a blob is not seen by its times alone. What was touched so recently is read again before it is told.
const FRESH: Duration = Duration::from_secs(3600);

/// What looking again came to.
enum Again {
    /// It is as it was.
    Damaged(DamagedBlob),
    /// Somebody has it open for writing, or it was written to between two looks.
    InProgress(DamagedBlob),
    /// Its bytes come to its digest by now.
    Whole(u64),
    /// It is gone.
    Absent(DamagedBlob),
}

/// Corrects what a pass found by what is there now. Returns what is being written, as findings.
pub(super) fn confirm(
    store: &dyn Store,
    inventory: &Inventory,
    outcome: &mut Outcome,
    now: SystemTime,
    stop: &AtomicBool,
) -> Vec<Finding> {
    if !outcome.damaged.iter().any(|damaged| damaged.damage.is_corrupt()) {
        return Vec::new();
    }
    let open = OpenFiles::look();
    let damaged = std::mem::take(&mut outcome.damaged);
    let again: Vec<Again> = damaged.into_par_iter().map(|damaged| look_again(store, damaged, &open, now, stop)).collect();
    let mut findings = Vec::new();
    for again in again {
        match again {
            Again::Damaged(damaged) => outcome.damaged.push(damaged),
            Again::InProgress(damaged) => {
                findings.push(in_progress(&damaged.digest));
                outcome.in_progress.add(damaged.job_bytes);
            }
            Again::Whole(size_bytes) => outcome.good.add(size_bytes),
            Again::Absent(damaged) => outcome.absent.extend(inventory.find(&damaged.digest)),
        }
    }
    outcome.damaged_amount = Amount::default();
    for damaged in &outcome.damaged {
        outcome.damaged_amount.add(damaged.job_bytes);
    }
    findings
}

/// The finding for a blob that is being written.
pub(super) fn in_progress(digest: &Digest) -> Finding {
    Finding::new(Code::BlobInProgress).digest(digest).path(layout::blob_data(digest))
}

/// Whatever cannot be looked at stays what it was: damage must not be lost for that.
fn look_again(store: &dyn Store, damaged: DamagedBlob, open: &OpenFiles, now: SystemTime, stop: &AtomicBool) -> Again {
    let Some(then) = damaged.stat.filter(|_| damaged.damage.is_corrupt()) else { return Again::Damaged(damaged) };
    let there = match store.blob_condition(&damaged.digest) {
        Ok(Some(there)) => there,
        Ok(None) if is_absent(store, &damaged.digest) => return Again::Absent(damaged),
        Ok(None) | Err(_) => return Again::Damaged(damaged),
    };
    if open.contains(&there) {
        return Again::InProgress(damaged);
    }
    let has_changed = there.stat != then;
    if !has_changed && !is_fresh(&there, now) {
        return Again::Damaged(damaged);
    }
    match hash(store, &damaged.digest, stop) {
        Some((digest, size_bytes)) if digest == damaged.digest => Again::Whole(size_bytes),
        // Written to since it was read, and perhaps not for the last time.
        _ if has_changed => Again::InProgress(damaged),
        _ => Again::Damaged(damaged),
    }
}

fn is_fresh(there: &Condition, now: SystemTime) -> bool {
    now.duration_since(there.touched()).map_or(true, |age| age < FRESH)
}

fn is_absent(store: &dyn Store, digest: &Digest) -> bool {
    matches!(store.stat_blobs(layout::Shard::of(digest), &[*digest]).as_deref(), Ok([FileState::Absent]))
}

/// Hashes a blob; nothing if it cannot be read to its end, or nobody waits for it any more.
fn hash(store: &dyn Store, digest: &Digest, stop: &AtomicBool) -> Option<(Digest, u64)> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut size_bytes = 0;
    let content = store.read_blob(digest, &mut |part| {
        hasher.update(part);
        size_bytes += part.len() as u64;
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    matches!(content, BlobContent::Whole(_)).then(|| (hasher.finish(), size_bytes))
}
