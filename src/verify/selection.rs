//! Which blobs are read, and in which order.
//!
//! The order needs sizes, and looking at a small file costs nearly half of what reading it does. So the size that manifests state is
//! taken where there is one: if it is a lie, blobs come in another order. Only blobs that nothing names are looked at, and those that
//! may be left out for having been found good recently.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::state::State;
use crate::cli::Slice;
use crate::config::Selection;
use crate::error::Error;
use crate::layout::Shard;
use crate::mark::blobs::Amount;
use crate::mark::{BlobId, Colour, Context};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::store::{Leaf, Stat, Store};

/// Blobs that are looked at between two looks at the rest.
const BLOBS_AT_ONCE: usize = 1024;
/// Reading up to this much is waiting for the disk more than it is hashing.
const SMALL_BYTES: u64 = 1 << 20;
/// What was found good on the same day is read largest first.
const BAND: Duration = Duration::from_secs(24 * 3600);

/// What is asked for.
pub struct Wanted<'a> {
    /// Only blobs that are marked.
    pub marked_only: bool,
    /// Which part of them.
    pub part: &'a Selection,
    /// What is known from earlier runs.
    pub state: Option<&'a State>,
    /// Leaves out what was found good so recently.
    pub max_age: Option<Duration>,
    /// When the run began.
    pub now: SystemTime,
}

/// One blob to read. 16 bytes: there is one for every blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which.
    pub blob: BlobId,
    /// How long ago it was last found good, in bands; 0 is never.
    band: u32,
    /// How large it is, or is said to be.
    pub size_bytes: u64,
}

/// What was selected.
#[derive(Debug, Default)]
pub struct Selected {
    /// What is to be read.
    pub jobs: Vec<Job>,
    /// How much that is.
    pub amount: Amount,
    /// What was left out for having been found good recently.
    pub fresh: Amount,
    /// What is selected and has a directory without data.
    pub absent: Vec<BlobId>,
    /// Directories without data, selected or not, as far as they were looked at: those of which manifests state a size were not.
    pub without_data: u64,
}

/// Selects what is asked for.
///
/// # Errors
///
/// When a shard cannot be opened.
pub fn select(context: &Context<'_>, wanted: &Wanted<'_>, progress: &dyn Progress) -> Result<Selected, Error> {
    let parts = context.inventory.map_shards(|shard, blobs| {
        let mut selected = Selected::default();
        let (mut some, mut others) = (Vec::new(), Vec::new());
        for (blob, digest) in blobs {
            if !wanted.wants(context, blob, &digest) {
                // What is stored is counted the same whichever part of it is read.
                if context.inventory.size_bytes(blob).is_none() {
                    others.push(digest);
                }
                continue;
            }
            let last_good = wanted.last_good(&digest);
            let looks_fresh = wanted.is_fresh(last_good);
            match context.inventory.size_bytes(blob) {
                Some(size_bytes) if !looks_fresh => selected.jobs.push(Job { blob, band: band(last_good), size_bytes }),
                _ => some.push((blob, digest, last_good)),
            }
            if some.len() == BLOBS_AT_ONCE {
                selected.look_at(context, shard, &some, wanted);
                some.clear();
            }
        }
        selected.look_at(context, shard, &some, wanted);
        for some in others.chunks(BLOBS_AT_ONCE) {
            let leaves = look(context.store, shard, some);
            let is_without = |leaf: &&Option<Leaf>| matches!(leaf, Some(Leaf::Absent | Leaf::Irregular));
            selected.without_data += leaves.iter().filter(is_without).count() as u64;
        }
        progress.advance(1, 0);
        Ok(selected)
    })?;
    let mut all = Selected::default();
    all.jobs.reserve_exact(parts.iter().map(|part| part.jobs.len()).sum());
    for part in parts {
        all.jobs.extend(part.jobs);
        all.fresh += part.fresh;
        all.absent.extend(part.absent);
        all.without_data += part.without_data;
    }
    if let Selection::Sample(percent) = wanted.part {
        sample(&mut all.jobs, *percent, |job| job.blob);
        sample(&mut all.absent, *percent, |blob| *blob);
    }
    all.jobs.sort_unstable_by_key(|job| (job.band, Reverse(job.size_bytes), job.blob));
    for job in &all.jobs {
        all.amount.add(job.size_bytes);
    }
    Ok(all)
}

impl Wanted<'_> {
    fn wants(&self, context: &Context<'_>, blob: BlobId, digest: &Digest) -> bool {
        let marked = Colour::LIVE.and(Colour::YOUNG);
        let in_part = match self.part {
            Selection::Slice(slice) => is_in(*slice, digest),
            Selection::All | Selection::Sample(_) => true,
        };
        in_part && (!self.marked_only || context.inventory.has_any(blob, marked))
    }

    /// When a blob was last found good. Nobody can have done that in the future.
    fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        self.state?.last_good(digest).filter(|at| *at <= self.now)
    }

    /// Whether that was recently.
    fn is_fresh(&self, last_good: Option<SystemTime>) -> bool {
        let age = last_good.and_then(|at| self.now.duration_since(at).ok());
        age.zip(self.max_age).is_some_and(|(age, max_age)| age < max_age)
    }
}

/// Whether a digest is in one part of so many. Digests are spread evenly, and so are the parts.
fn is_in(slice: Slice, digest: &Digest) -> bool {
    let middle = u64::from_be_bytes(digest.bytes()[8..16].try_into().expect("every digest is longer"));
    middle % u64::from(slice.of) == u64::from(slice.part - 1)
}

/// Leaves so many percent of what there is, others each time, and at least one.
fn sample<T>(all: &mut Vec<T>, percent: f64, blob: impl Fn(&T) -> BlobId) {
    let count = (all.len() as f64 * percent / 100.0).ceil() as usize;
    if count < all.len() {
        let random = RandomState::new();
        all.select_nth_unstable_by_key(count, |one| random.hash_one(blob(one)));
        all.truncate(count);
    }
}

/// A blob that has to be looked at, and when it was last found good.
type Unsure = (BlobId, Digest, Option<SystemTime>);

impl Selected {
    fn look_at(&mut self, context: &Context<'_>, shard: Shard, blobs: &[Unsure], wanted: &Wanted<'_>) {
        let digests: Vec<Digest> = blobs.iter().map(|(_, digest, _)| *digest).collect();
        for (&(blob, digest, last_good), leaf) in blobs.iter().zip(look(context.store, shard, &digests)) {
            match leaf {
                // What was written to the file since then, or put in its place, nobody has read.
                Some(Leaf::File(stat)) => match last_good.filter(|at| *at >= newest(context.store, &digest, &stat)) {
                    at if wanted.is_fresh(at) => self.fresh.add(stat.size_bytes),
                    at => self.jobs.push(Job { blob, band: band(at), size_bytes: stat.size_bytes }),
                },
                Some(Leaf::Absent) => {
                    self.without_data += 1;
                    self.absent.push(blob);
                }
                // Reading it will say what is wrong.
                other => {
                    self.without_data += u64::from(other == Some(Leaf::Irregular));
                    self.jobs.push(Job { blob, band: 0, size_bytes: 0 });
                }
            }
        }
    }
}

/// When a blob's file was last written to or moved to where it is.
fn newest(store: &dyn Store, digest: &Digest, stat: &Stat) -> SystemTime {
    store.blob_changed(digest).map_or(stat.modified, |changed| changed.max(stat.modified))
}

/// Looks at blobs of one shard; nothing for those that cannot be looked at.
fn look(store: &dyn Store, shard: Shard, digests: &[Digest]) -> Vec<Option<Leaf>> {
    match store.stat_blobs(shard, digests) {
        Ok(leaves) => leaves.into_iter().map(Some).collect(),
        // One of them is the reason, and the others are not to suffer for it.
        Err(_) => digests.iter().map(|digest| store.stat_blobs(shard, &[*digest]).ok().map(|leaves| leaves[0])).collect(),
    }
}

fn band(last_good: Option<SystemTime>) -> u32 {
    let since = last_good.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| (since.as_secs() / BAND.as_secs()) as u32 + 1)
}

/// Jobs that are handed out one at a time, to many threads.
///
/// In each band the large ones come first: a huge blob that came last would keep one thread busy and leave the others with nothing
/// to do. Small ones can also be had for themselves.
pub struct Queue {
    large: Vec<Job>,
    small: Vec<Job>,
    next_large: AtomicUsize,
    next_small: AtomicUsize,
}

impl Queue {
    /// All jobs, sorted as they are selected.
    pub fn new(jobs: Vec<Job>) -> Queue {
        let (large, small) = jobs.into_iter().partition(|job| job.size_bytes > SMALL_BYTES);
        Queue { large, small, next_large: AtomicUsize::new(0), next_small: AtomicUsize::new(0) }
    }

    /// The next job of all.
    pub fn next(&self) -> Option<Job> {
        loop {
            let place = self.next_large.load(Ordering::Relaxed);
            let large = self.large.get(place).copied();
            let small = self.small.get(self.next_small.load(Ordering::Relaxed));
            match (large, small) {
                (Some(large), small) if small.is_none_or(|small| large.band <= small.band) => {
                    let taken = self.next_large.compare_exchange(place, place + 1, Ordering::Relaxed, Ordering::Relaxed);
                    if taken.is_ok() {
                        return Some(large);
                    }
                }
                // Somebody else may have taken the last small one.
                (Some(_), _) => {
                    if let Some(job) = self.next_small() {
                        return Some(job);
                    }
                }
                (None, _) => return self.next_small(),
            }
        }
    }

    /// The next small job.
    pub fn next_small(&self) -> Option<Job> {
        self.small.get(self.next_small.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;
    use crate::mark::{Budget, Inventory};
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

    #[test]
    fn samples_are_of_their_size_and_differ() {
        let jobs: Vec<Job> = blobs(1000).into_iter().map(|(blob, _)| Job { blob, band: 0, size_bytes: 1 }).collect();
        let draw = |percent| {
            let mut drawn = jobs.clone();
            sample(&mut drawn, percent, |job| job.blob);
            drawn.sort_unstable_by_key(|job| job.blob);
            drawn
        };
        assert_eq!(draw(5.0).len(), 50);
        assert_ne!(draw(5.0), draw(5.0));
        assert_eq!(draw(0.01).len(), 1);
        assert_eq!(draw(100.0).len(), 1000);
    }

    #[test]
    fn bands_come_in_order_and_the_large_first_in_each() {
        let [a, b, c, d, ..] = *blobs(4) else { unreachable!("there are four") };
        let job = |(blob, _): (BlobId, Digest), band, size_bytes| Job { blob, band, size_bytes };
        let jobs = [job(a, 0, 2 << 20), job(b, 0, 3), job(c, 7, 9 << 20), job(d, 7, 5)];
        let queue = Queue::new(jobs.to_vec());
        assert_eq!(std::iter::from_fn(|| queue.next()).collect::<Vec<_>>(), jobs);
        let queue = Queue::new(jobs.to_vec());
        assert_eq!(queue.next_small(), Some(jobs[1]));
        assert_eq!([queue.next(), queue.next(), queue.next(), queue.next()], [Some(jobs[0]), Some(jobs[2]), Some(jobs[3]), None]);
    }
}
