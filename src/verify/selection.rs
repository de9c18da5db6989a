//! Which blobs are read, and in which order.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::damage::{Damage, Hurt};
use super::state::State;
use crate::cli::Slice;
use crate::config::Selection;
use crate::error::Error;
use crate::layout::{Shard, Target};
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
    /// How large it was when it was selected.
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
    /// What cannot be read because it is no file.
    pub hurt: Vec<Hurt>,
}

/// Looks at every blob that is asked for.
///
/// # Errors
///
/// When a shard cannot be opened.
pub fn select(context: &Context<'_>, wanted: &Wanted<'_>, progress: &dyn Progress) -> Result<Selected, Error> {
    let parts = context.inventory.map_shards(|shard, blobs| {
        let mut selected = Selected::default();
        let mut some = Vec::with_capacity(BLOBS_AT_ONCE);
        for (blob, digest) in blobs {
            if wanted.wants(context, blob, &digest) {
                some.push((blob, digest));
            }
            if some.len() == BLOBS_AT_ONCE {
                selected.look_at(context, shard, &some, wanted)?;
                progress.advance(some.len() as u64, 0);
                some.clear();
            }
        }
        selected.look_at(context, shard, &some, wanted)?;
        progress.advance(some.len() as u64, 0);
        Ok(selected)
    })?;
    let mut all = Selected::default();
    all.jobs.reserve_exact(parts.iter().map(|part| part.jobs.len()).sum());
    for part in parts {
        all.jobs.extend(part.jobs);
        all.fresh += part.fresh;
        all.hurt.extend(part.hurt);
    }
    if let Selection::Sample(percent) = wanted.part {
        sample(&mut all.jobs, *percent);
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

    /// When a file was last found good. What was written to it since then nobody has read.
    fn last_good(&self, digest: &Digest, stat: &Stat) -> Option<SystemTime> {
        self.state?.last_good(digest).filter(|at| *at >= stat.modified && *at <= self.now)
    }
}

/// Whether a digest is in one part of so many. Digests are spread evenly, and so are the parts.
fn is_in(slice: Slice, digest: &Digest) -> bool {
    let middle = u64::from_be_bytes(digest.bytes()[8..16].try_into().expect("every digest is longer"));
    middle % u64::from(slice.of) == u64::from(slice.part - 1)
}

/// Leaves so many percent of the jobs, others each time, and at least one.
fn sample(jobs: &mut Vec<Job>, percent: f64) {
    let count = (jobs.len() as f64 * percent / 100.0).ceil() as usize;
    if count < jobs.len() {
        let random = RandomState::new();
        jobs.select_nth_unstable_by_key(count, |job| random.hash_one(job.blob));
        jobs.truncate(count);
    }
}

impl Selected {
    fn look_at(
        &mut self,
        context: &Context<'_>,
        shard: Shard,
        blobs: &[(BlobId, Digest)],
        wanted: &Wanted<'_>,
    ) -> Result<(), Error> {
        let digests: Vec<Digest> = blobs.iter().map(|(_, digest)| *digest).collect();
        for (&(blob, digest), leaf) in blobs.iter().zip(look(context.store, shard, &digests)) {
            match leaf {
                Some(Leaf::File(stat)) => self.file(blob, &digest, &stat, wanted),
                // Reading it will say what is wrong.
                None => self.jobs.push(Job { blob, band: 0, size_bytes: 0 }),
                Some(Leaf::Irregular) => self.hurt.push(Hurt { digest, damage: Damage::Irregular, stat: None }),
                Some(Leaf::Absent) => self.without_data(context, blob, digest)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, blob: BlobId, digest: &Digest, stat: &Stat, wanted: &Wanted<'_>) {
        let last_good = wanted.last_good(digest, stat);
        let age = last_good.and_then(|at| wanted.now.duration_since(at).ok());
        match (age, wanted.max_age) {
            (Some(age), Some(max_age)) if age < max_age => self.fresh.add(stat.size_bytes),
            _ => self.jobs.push(Job { blob, band: band(last_good), size_bytes: stat.size_bytes }),
        }
    }

    fn without_data(&mut self, context: &Context<'_>, blob: BlobId, digest: Digest) -> Result<(), Error> {
        let damage = if context.inventory.has_any(blob, Colour::LIVE.and(Colour::YOUNG)) {
            Damage::Missing
        } else if context.store.empty_folder(&Target::EmptyBlobFolder(digest))?.is_some() {
            // An upload that was never finished left it.
            return Ok(());
        } else {
            Damage::NoData
        };
        self.hurt.push(Hurt { digest, damage, stat: None });
        Ok(())
    }
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
            sample(&mut drawn, percent);
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
