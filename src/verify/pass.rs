//! One pass over the blobs that are to be read, with all threads.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::damage::{Damage, DamagedBlob};
use super::jobs::{Job, Queue};
use super::rate::Rate;
use super::state::State;
use crate::amount::Amount;
use crate::inventory::{BlobId, Inventory, MarkFlags};
use crate::layout::Shard;
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::progress::Progress;
use crate::store::{BlobContent, FileState, Stat, Store};

/// The lowest priority.
const IDLE: i32 = 19;

/// The inputs of a pass.
pub struct Pass<'a> {
    /// The store to read from.
    pub store: &'a dyn Store,
    /// The blobs and their stated sizes.
    pub inventory: &'a Inventory,
    /// The state file that records good blobs.
    pub state: Option<&'a State>,
    /// The limit of the read rate.
    pub rate: Option<&'a Rate>,
    /// When to stop.
    pub deadline: Option<Instant>,
    /// When the run began, by both clocks.
    pub began: (SystemTime, Instant),
    /// Number of threads.
    pub jobs: usize,
    /// Receives the progress.
    pub progress: &'a dyn Progress,
    /// Set to stop the pass.
    pub stop: &'a AtomicBool,
}

/// The result of a pass.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Blobs that match their digest.
    pub good: Amount,
    /// Damaged blobs, in no order.
    pub damaged: Vec<DamagedBlob>,
    /// Their number and the sizes of their jobs.
    pub damaged_amount: Amount,
    /// Blobs still being written, as a second check shows.
    pub in_progress: Amount,
    /// Good blobs with their sizes, where a manifest states another size.
    pub otherwise: Vec<(BlobId, u64)>,
    /// Blobs without data, or whose data is gone.
    pub absent: Vec<BlobId>,
    /// Finished jobs, with the sizes that they stated.
    pub done: Amount,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.good += other.good;
        self.damaged.extend(other.damaged);
        self.damaged_amount += other.damaged_amount;
        self.in_progress += other.in_progress;
        self.otherwise.extend(other.otherwise);
        self.absent.extend(other.absent);
        self.done += other.done;
    }
}

/// The result of reading one blob.
enum Verdict {
    Good {
        size_bytes: u64,
    },
    DamagedBlob(Damage, Option<Stat>),
    Absent,
    /// The pass ended first.
    Left,
}

impl Pass<'_> {
    /// Reads all jobs, or as many as the time limit allows.
    pub fn run(&self, queue: &Queue) -> Outcome {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let outcome = Mutex::new(Outcome::default());
        let work = |next: &dyn Fn() -> Option<Job>| {
            let mine = self.work(next);
            outcome.lock().expect("no thread panics while it holds the lock").add(mine);
        };
        thread::scope(|scope| {
            for index in 1..self.jobs {
                let work = &work;
                let thread = thread::Builder::new().name(format!("regsweep-verify-{index}")).spawn_scoped(scope, move || {
                    if index < processors {
                        return work(&|| queue.next());
                    }
                    // Applies to this thread only. If it fails, the pass may take longer.
                    let _ = rustix::process::nice(IDLE);
                    work(&|| queue.next_small());
                });
                if let Err(error) = thread {
                    tracing::warn!("cannot start thread {index} of {}: {error}; going on with fewer", self.jobs);
                    break;
                }
            }
            work(&|| queue.next());
        });
        outcome.into_inner().expect("all threads have ended")
    }

    fn work(&self, next: &dyn Fn() -> Option<Job>) -> Outcome {
        let mut outcome = Outcome::default();
        while !self.is_over()
            && let Some(job) = next()
        {
            let digest = self.inventory.digest(job.blob);
            let begun = self.began.0 + self.began.1.elapsed();
            let verdict = self.verify(&job, &digest);
            match (&verdict, self.state) {
                (Verdict::Good { .. }, Some(state)) => state.note_good(&digest, begun),
                (Verdict::DamagedBlob(..) | Verdict::Absent, Some(state)) => state.note_bad(&digest),
                _ => {}
            }
            match verdict {
                Verdict::Good { size_bytes } => {
                    outcome.good.add(size_bytes);
                    if self.is_stated_otherwise(job.blob, size_bytes) {
                        outcome.otherwise.push((job.blob, size_bytes));
                    }
                }
                Verdict::DamagedBlob(damage, stat) => {
                    outcome.damaged_amount.add(job.size_bytes);
                    outcome.damaged.push(DamagedBlob { digest, damage, stat, job_bytes: job.size_bytes });
                }
                Verdict::Absent => outcome.absent.push(job.blob),
                Verdict::Left => break,
            }
            outcome.done.add(job.size_bytes);
            self.progress.advance(1, 0);
        }
        outcome
    }

    fn is_stated_otherwise(&self, blob: BlobId, size_bytes: u64) -> bool {
        let differs = self.inventory.size_bytes(blob).is_some_and(|stated| stated != size_bytes);
        differs || self.inventory.has_any(blob, MarkFlags::SIZES_DIFFER)
    }

    /// Whether to stop. Each thread calls this several times a second in any phase, so it also flushes the state.
    fn is_over(&self) -> bool {
        if let Some(state) = self.state {
            state.flush_when_due();
        }
        self.stop.load(Ordering::Relaxed) || self.is_late()
    }

    /// Whether the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Reads one blob, and once more if the file changed meanwhile.
    fn verify(&self, job: &Job, digest: &Digest) -> Verdict {
        let mut again = true;
        loop {
            let (content, found, size_bytes) = self.read(digest);
            let stat = match content {
                BlobContent::Whole(_) if found == *digest => return Verdict::Good { size_bytes },
                BlobContent::Whole(stat) => Some(stat),
                BlobContent::Failed { .. } | BlobContent::Irregular => None,
                BlobContent::Absent => return Verdict::Absent,
                BlobContent::Abandoned => return Verdict::Left,
            };
            let now = self.look(digest);
            match (stat, now) {
                (_, Some(FileState::Absent)) => return Verdict::Absent,
                (Some(before), Some(FileState::File(after))) if before != after && again => {
                    again = false;
                    continue;
                }
                _ => {}
            }
            let damage = match content {
                BlobContent::Failed { offset, source } => Damage::Unreadable { offset, source },
                BlobContent::Irregular => Damage::Irregular,
                _ => Damage::Corrupt { stored_bytes: size_bytes, stated_bytes: self.inventory.size_bytes(job.blob) },
            };
            return Verdict::DamagedBlob(damage, stat);
        }
    }

    /// Reads and hashes a blob. Returns how the read ended, the digest of the bytes read, and their number.
    fn read(&self, digest: &Digest) -> (BlobContent, Digest, u64) {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut size_bytes = 0;
        let content = self.store.read_blob(digest, &mut |part| {
            let bytes = part.len() as u64;
            if self.rate.is_some_and(|rate| !rate.take(bytes, || self.is_over())) || self.is_over() {
                return ControlFlow::Break(());
            }
            hasher.update(part);
            size_bytes += bytes;
            self.progress.advance(0, bytes);
            ControlFlow::Continue(())
        });
        (content, hasher.finish(), size_bytes)
    }

    fn look(&self, digest: &Digest) -> Option<FileState> {
        Some(self.store.stat_blobs(Shard::of(digest), &[*digest]).ok()?[0])
    }
}

/// The deadline of a run with a time limit.
pub fn deadline(began: Instant, max_duration: Option<Duration>) -> Option<Instant> {
    began.checked_add(max_duration?)
}
