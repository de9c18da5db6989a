//! The blobs to read, in order: 16 bytes for each, within the memory limit, shared by many threads.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::inventory::Room;
use crate::inventory::{BlobId, Budget};

/// Up to this size, reading a blob waits for the disk longer than it hashes.
const SMALL_BYTES: u64 = 1 << 20;
/// Sorts small blobs behind all large ones. A band is a day, so bands reach this bit only in millions of years.
const SMALL: u32 = 1 << 31;

/// One blob to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The blob.
    pub blob: BlobId,
    /// When it was last found good, in bands; 0 is never.
    pub band: u32,
    /// Its size, or the size that a manifest states.
    pub size_bytes: u64,
}

/// A job as bytes that sort like jobs: large before small, then by band, in each the largest first, then by blob.
type Packed = [u8; 16];

impl Job {
    fn is_small(&self) -> bool {
        self.size_bytes <= SMALL_BYTES
    }

    fn pack(&self) -> Packed {
        let head = if self.is_small() { self.band | SMALL } else { self.band };
        let mut packed = [0; 16];
        packed[..4].copy_from_slice(&head.to_be_bytes());
        packed[4..12].copy_from_slice(&(u64::MAX - self.size_bytes).to_be_bytes());
        packed[12..].copy_from_slice(&self.blob.place().to_be_bytes());
        packed
    }

    fn unpack(packed: &Packed) -> Job {
        let word = |at: usize| u32::from_be_bytes(*packed[at..].first_chunk().expect("four bytes"));
        let size = u64::from_be_bytes(*packed[4..].first_chunk().expect("eight bytes"));
        Job { blob: BlobId::at(word(12)), band: word(0) & !SMALL, size_bytes: u64::MAX - size }
    }
}

/// Jobs, in memory or, beyond the limit, in a file.
#[derive(Debug)]
pub struct Jobs {
    room: Room,
    count: usize,
}

impl Jobs {
    /// No jobs yet, with room for `most`.
    ///
    /// # Errors
    ///
    /// When there is no room beyond the budget.
    pub fn with_room_for(most: usize, budget: &Budget) -> Result<Jobs, Error> {
        Ok(Jobs { room: budget.room(size_of::<Packed>() * most)?, count: 0 })
    }

    /// Adds jobs. The total must not exceed the room.
    pub fn extend(&mut self, jobs: &[Job]) {
        let (all, _) = self.room.as_chunks_mut();
        for (slot, job) in all[self.count..].iter_mut().zip(jobs) {
            *slot = job.pack();
        }
        self.count += jobs.len();
        assert!(self.count <= all.len(), "there is room for every blob");
    }

    /// Number of jobs.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All jobs.
    pub fn iter(&self) -> impl Iterator<Item = Job> {
        self.packed().iter().map(Job::unpack)
    }

    /// Sorts the jobs into the order of reading.
    pub fn sort(&mut self) {
        self.packed_mut().par_sort_unstable();
    }

    /// Keeps a random `percent` of the jobs, and at least one.
    pub fn sample(&mut self, percent: f64) {
        let drawn = sample(self.packed_mut(), percent, |packed| Job::unpack(packed).blob);
        self.count = drawn;
    }

    fn get(&self, place: usize) -> Option<Job> {
        self.packed().get(place).map(Job::unpack)
    }

    fn packed(&self) -> &[Packed] {
        &self.room.as_chunks().0[..self.count]
    }

    fn packed_mut(&mut self) -> &mut [Packed] {
        &mut self.room.as_chunks_mut().0[..self.count]
    }
}

/// Moves a random `percent` of the items to the front, and at least one. Returns their number.
pub(super) fn sample<T>(all: &mut [T], percent: f64, blob: impl Fn(&T) -> BlobId) -> usize {
    let count = (all.len() as f64 * percent / 100.0).ceil() as usize;
    if count < all.len() {
        let random = RandomState::new();
        all.select_nth_unstable_by_key(count, |one| random.hash_one(blob(one)));
    }
    count.min(all.len())
}

/// Jobs for many threads, one at a time.
///
/// Large blobs come first in each band: a huge blob at the end would keep one thread busy and leave the others idle. A
/// thread can also take small blobs only.
#[derive(Debug)]
pub struct Queue {
    jobs: Jobs,
    /// The place of the first small job.
    first_small: usize,
    next_large: AtomicUsize,
    next_small: AtomicUsize,
}

impl Queue {
    /// A queue of sorted jobs.
    pub fn new(jobs: Jobs) -> Queue {
        let first_small = jobs.packed().partition_point(|packed| !Job::unpack(packed).is_small());
        Queue { jobs, first_small, next_large: AtomicUsize::new(0), next_small: AtomicUsize::new(first_small) }
    }

    /// The next job of any size.
    pub fn next(&self) -> Option<Job> {
        loop {
            let place = self.next_large.load(Ordering::Relaxed);
            let large = self.jobs.get(place).filter(|_| place < self.first_small);
            let small = self.jobs.get(self.next_small.load(Ordering::Relaxed));
            match (large, small) {
                (Some(large), small) if small.is_none_or(|small| large.band <= small.band) => {
                    let taken = self.next_large.compare_exchange(place, place + 1, Ordering::Relaxed, Ordering::Relaxed);
                    if taken.is_ok() {
                        return Some(large);
                    }
                }
                // Another thread may have taken the last small job.
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
        self.jobs.get(self.next_small.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    fn job(place: u32, band: u32, size_bytes: u64) -> Job {
        Job { blob: BlobId::at(place), band, size_bytes }
    }

    fn jobs(all: &[Job], budget: &Budget) -> Jobs {
        let mut jobs = Jobs::with_room_for(all.len() + 3, budget).expect("room");
        all.chunks(7).for_each(|some| jobs.extend(some));
        jobs
    }

    #[test]
    fn bytes_sort_as_jobs_do_in_memory_and_in_a_file() {
        let sizes = [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 1 << 40, u64::MAX];
        let mut all: Vec<Job> =
            (0..600).map(|n| job(n * 7_919 % 600, n * 31 % 4 * 9_999, sizes[n as usize * 13 % sizes.len()])).collect();
        let directory = tempfile::tempdir().expect("a directory");
        for budget in [Budget::unlimited(), Budget::of(10, directory.path())] {
            let mut packed = jobs(&all, &budget);
            assert!(packed.iter().eq(all.iter().copied()) && packed.len() == 600);
            packed.sort();
            all.sort_unstable_by_key(|job| (job.is_small(), job.band, Reverse(job.size_bytes), job.blob));
            assert!(packed.iter().eq(all.iter().copied()));
        }
    }

    #[test]
    fn samples_have_the_right_size_and_differ() {
        let all: Vec<Job> = (0..1000).map(|place| job(place, 0, 1)).collect();
        let draw = |percent| {
            let mut drawn = jobs(&all, &Budget::unlimited());
            drawn.sample(percent);
            drawn.sort();
            drawn.iter().collect::<Vec<_>>()
        };
        assert_eq!(draw(5.0).len(), 50);
        assert_ne!(draw(5.0), draw(5.0));
        assert_eq!(draw(0.01).len(), 1);
        assert_eq!(draw(100.0).len(), 1000);
    }

    #[test]
    fn bands_come_in_order_and_the_large_first_in_each() {
        let all = [job(0, 0, 2 << 20), job(1, 0, 3), job(2, 7, 9 << 20), job(3, 7, 5)];
        let queue = || {
            let mut jobs = jobs(&all, &Budget::unlimited());
            jobs.sort();
            Queue::new(jobs)
        };
        let in_order = queue();
        assert_eq!(std::iter::from_fn(|| in_order.next()).collect::<Vec<_>>(), all);
        let queue = queue();
        assert_eq!(queue.next_small(), Some(all[1]));
        assert_eq!([queue.next(), queue.next(), queue.next(), queue.next()], [Some(all[0]), Some(all[2]), Some(all[3]), None]);
    }
}
