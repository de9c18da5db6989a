//! Selects the blobs to read, and their order.
//!
//! The order needs sizes, and a stat of a small file costs nearly half as much as reading it. So selection takes the size
//! that manifests state, if there is one: a wrong size only changes the order. It stats only blobs that no manifest names,
//! and blobs that it may skip because they were found good recently.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::jobs::{Job, Jobs, sample};
use super::state::State;
use crate::amount::Amount;
use crate::config::Selection;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, MarkFlags};
use crate::layout::Shard;
use crate::oci::Digest;
use crate::options::Slice;
use crate::progress::Progress;
use crate::store::{FileState, Stat, Store};

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;
/// Blobs found good on the same day are read largest first.
const BAND: Duration = Duration::from_secs(24 * 3600);

/// What to select.
pub struct Wanted<'a> {
    /// Only blobs that are marked.
    pub marked_only: bool,
    /// The part of them to read.
    pub part: &'a Selection,
    /// Results of earlier runs.
    pub state: Option<&'a State>,
    /// Skips blobs verified within this period.
    pub max_age: Option<Duration>,
    /// When the run began.
    pub now: SystemTime,
}

/// The selected blobs.
#[derive(Debug)]
pub struct Selected {
    /// The blobs to read, in order.
    pub jobs: Jobs,
    /// Their number and size.
    pub amount: Amount,
    /// Blobs skipped because they were found good recently.
    pub fresh: Amount,
    /// Selected blobs whose directory has no data.
    pub absent: Vec<BlobId>,
    /// Directories without data, selected or not, of those that were checked. Blobs with a stated size were not.
    pub without_data: u64,
}

/// The selected blobs of one shard. Jobs go to `all_jobs` in batches.
struct Part<'a> {
    all_jobs: &'a Mutex<Jobs>,
    jobs: Vec<Job>,
    fresh: Amount,
    absent: Vec<BlobId>,
    without_data: u64,
}

/// Selects blobs.
///
/// # Errors
///
/// When a shard cannot be opened, or there is no room for the jobs beyond the budget.
pub fn select(context: &Context<'_>, wanted: &Wanted<'_>, budget: &Budget, progress: &dyn Progress) -> Result<Selected, Error> {
    let all_jobs = Mutex::new(Jobs::with_room_for(context.inventory.len(), budget)?);
    let parts = context.inventory.map_shards(|shard, blobs| {
        let mut part = Part::new(&all_jobs);
        let (mut some, mut others) = (Vec::new(), Vec::new());
        for (blob, digest) in blobs {
            if !wanted.wants(context, blob, &digest) {
                // The count of blobs without data is the same for any part.
                if context.inventory.size_bytes(blob).is_none() {
                    others.push(digest);
                }
            } else {
                let last_good = wanted.last_good(&digest);
                let looks_fresh = wanted.is_fresh(last_good);
                match context.inventory.size_bytes(blob) {
                    Some(size_bytes) if !looks_fresh => part.add(Job { blob, band: band(last_good), size_bytes }),
                    _ => some.push((blob, digest, last_good)),
                }
            }
            if some.len() == BLOBS_AT_ONCE {
                part.scan(context, shard, &some, wanted);
                some.clear();
            }
            if others.len() == BLOBS_AT_ONCE {
                part.count(context, shard, &others);
                others.clear();
            }
        }
        part.scan(context, shard, &some, wanted);
        part.count(context, shard, &others);
        progress.advance(1, 0);
        part.flush();
        Ok((part.fresh, part.absent, part.without_data))
    })?;
    let jobs = all_jobs.into_inner().expect("no thread panics while it holds the lock");
    let mut all = Selected { jobs, amount: Amount::default(), fresh: Amount::default(), absent: Vec::new(), without_data: 0 };
    for (fresh, absent, without_data) in parts {
        all.fresh += fresh;
        all.absent.extend(absent);
        all.without_data += without_data;
    }
    if let Selection::Sample(percent) = wanted.part {
        all.jobs.sample(*percent);
        let drawn = sample(&mut all.absent, *percent, |blob| *blob);
        all.absent.truncate(drawn);
    }
    all.jobs.sort();
    for job in all.jobs.iter() {
        all.amount.add(job.size_bytes);
    }
    Ok(all)
}

impl Wanted<'_> {
    fn wants(&self, context: &Context<'_>, blob: BlobId, digest: &Digest) -> bool {
        let marked = MarkFlags::KEPT;
        let in_part = match self.part {
            Selection::Slice(slice) => is_in(*slice, digest),
            Selection::All | Selection::Sample(_) => true,
        };
        in_part && (!self.marked_only || context.inventory.has_any(blob, marked))
    }

    /// When a blob was last found good. Ignores times in the future.
    fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        self.state?.last_good(digest).filter(|at| *at <= self.now)
    }

    /// Whether that was within `max_age`.
    fn is_fresh(&self, last_good: Option<SystemTime>) -> bool {
        let age = last_good.and_then(|at| self.now.duration_since(at).ok());
        age.zip(self.max_age).is_some_and(|(age, max_age)| age < max_age)
    }
}

/// Whether a digest is in a slice. Digests are spread evenly, and so are slices.
fn is_in(slice: Slice, digest: &Digest) -> bool {
    let middle = u64::from_be_bytes(digest.bytes()[8..16].try_into().expect("every digest has at least 32 bytes"));
    middle % u64::from(slice.of) == u64::from(slice.part - 1)
}

/// A blob to stat, and when it was last found good.
type Unsure = (BlobId, Digest, Option<SystemTime>);

impl<'a> Part<'a> {
    fn new(all_jobs: &'a Mutex<Jobs>) -> Part<'a> {
        Part { all_jobs, jobs: Vec::new(), fresh: Amount::default(), absent: Vec::new(), without_data: 0 }
    }

    fn add(&mut self, job: Job) {
        self.jobs.push(job);
        if self.jobs.len() == BLOBS_AT_ONCE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.all_jobs.lock().expect("no thread panics while it holds the lock").extend(&self.jobs);
        self.jobs.clear();
    }

    fn scan(&mut self, context: &Context<'_>, shard: Shard, blobs: &[Unsure], wanted: &Wanted<'_>) {
        let digests: Vec<Digest> = blobs.iter().map(|(_, digest, _)| *digest).collect();
        for (&(blob, digest, last_good), state) in blobs.iter().zip(stat(context.store, shard, &digests)) {
            self.without_data += u64::from(is_without_data(state));
            match state {
                // A file that was written or replaced since then is unverified.
                Some(FileState::File(stat)) => match last_good.filter(|at| *at >= newest(context.store, &digest, &stat)) {
                    at if wanted.is_fresh(at) => self.fresh.add(stat.size_bytes),
                    at => self.add(Job { blob, band: band(at), size_bytes: stat.size_bytes }),
                },
                Some(FileState::Absent) => self.absent.push(blob),
                // Reading the blob reports the error.
                Some(FileState::Irregular) | None => self.add(Job { blob, band: 0, size_bytes: 0 }),
            }
        }
    }

    /// Counts blobs without data among those not selected.
    fn count(&mut self, context: &Context<'_>, shard: Shard, digests: &[Digest]) {
        let states = stat(context.store, shard, digests);
        self.without_data += states.into_iter().filter(|state| is_without_data(*state)).count() as u64;
    }
}

fn is_without_data(state: Option<FileState>) -> bool {
    matches!(state, Some(FileState::Absent | FileState::Irregular))
}

/// When a blob's file was last written or moved into place.
fn newest(store: &dyn Store, digest: &Digest, stat: &Stat) -> SystemTime {
    store.blob_condition(digest).ok().flatten().map_or(stat.modified, |there| there.touched())
}

/// Stats blobs of one shard; `None` on error.
fn stat(store: &dyn Store, shard: Shard, digests: &[Digest]) -> Vec<Option<FileState>> {
    match store.stat_blobs(shard, digests) {
        Ok(states) => states.into_iter().map(Some).collect(),
        // One blob causes the error. Retries one by one for the others.
        Err(_) => digests.iter().map(|digest| store.stat_blobs(shard, &[*digest]).ok().map(|states| states[0])).collect(),
    }
}

fn band(last_good: Option<SystemTime>) -> u32 {
    let since = last_good.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| (since.as_secs() / BAND.as_secs()) as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use crate::layout;
    use crate::oci::Algorithm;
    use crate::store::MemoryStore;

    fn blobs(count: u64) -> Vec<(BlobId, Digest)> {
        let store = MemoryStore::new();
        let digests: Vec<Digest> = (0..count).map(|n| Digest::of(Algorithm::Sha256, &n.to_le_bytes())).collect();
        for digest in &digests {
            store.add_file(layout::blob_data(digest), "x", SystemTime::UNIX_EPOCH);
        }
        let (inventory, _) = Inventory::list(&store, &Budget::unlimited()).expect("listable");
        digests.iter().map(|digest| (inventory.find(digest).expect("stored"), *digest)).collect()
    }

    #[test]
    fn slices_are_even_and_come_to_the_whole() {
        let all = blobs(3000);
        let mut seen = 0;
        for part in 1..=30 {
            let count = all.iter().filter(|(_, digest)| is_in(Slice { part, of: 30 }, digest)).count();
            assert!((50..160).contains(&count), "{count} in part {part}");
            seen += count;
        }
        assert_eq!(seen, 3000);
    }
}
