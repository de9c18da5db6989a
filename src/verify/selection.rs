//! Which blobs are read, and in which order.
//!
//! The order needs sizes, and looking at a small file costs nearly half of what reading it does. So the size that manifests state is
//! taken where there is one: if it is a lie, blobs come in another order. Only blobs that nothing names are looked at, and those that
//! may be left out for having been found good recently.

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

/// Blobs that are looked at between two looks at the rest.
const BLOBS_AT_ONCE: usize = 1024;
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

/// What was selected.
#[derive(Debug)]
pub struct Selected {
    /// What is to be read, in order.
    pub jobs: Jobs,
    /// How much that is.
    pub amount: Amount,
    /// What was left out for having been found good recently.
    pub fresh: Amount,
    /// What is selected and has a directory without data.
    pub absent: Vec<BlobId>,
    /// Directories without data, selected or not, as far as they were looked at: those of which manifests state a size were not.
    pub without_data: u64,
}

/// What was selected of one shard. Jobs go to all others as they become many.
struct Part<'a> {
    all_jobs: &'a Mutex<Jobs>,
    jobs: Vec<Job>,
    fresh: Amount,
    absent: Vec<BlobId>,
    without_data: u64,
}

/// Selects what is asked for.
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
                // What is stored is counted the same whichever part of it is read.
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
                part.look_at(context, shard, &some, wanted);
                some.clear();
            }
            if others.len() == BLOBS_AT_ONCE {
                part.count(context, shard, &others);
                others.clear();
            }
        }
        part.look_at(context, shard, &some, wanted);
        part.count(context, shard, &others);
        progress.advance(1, 0);
        part.flush();
        Ok((part.fresh, part.absent, part.without_data))
    })?;
    let jobs = all_jobs.into_inner().expect("nothing panics with it held");
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

/// A blob that has to be looked at, and when it was last found good.
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
        self.all_jobs.lock().expect("nothing panics with it held").extend(&self.jobs);
        self.jobs.clear();
    }

    fn look_at(&mut self, context: &Context<'_>, shard: Shard, blobs: &[Unsure], wanted: &Wanted<'_>) {
        let digests: Vec<Digest> = blobs.iter().map(|(_, digest, _)| *digest).collect();
        for (&(blob, digest, last_good), leaf) in blobs.iter().zip(look(context.store, shard, &digests)) {
            self.without_data += u64::from(is_without_data(leaf));
            match leaf {
                // What was written to the file since then, or put in its place, nobody has read.
                Some(FileState::File(stat)) => match last_good.filter(|at| *at >= newest(context.store, &digest, &stat)) {
                    at if wanted.is_fresh(at) => self.fresh.add(stat.size_bytes),
                    at => self.add(Job { blob, band: band(at), size_bytes: stat.size_bytes }),
                },
                Some(FileState::Absent) => self.absent.push(blob),
                // Reading it will say what is wrong.
                Some(FileState::Irregular) | None => self.add(Job { blob, band: 0, size_bytes: 0 }),
            }
        }
    }

    /// Looks at blobs that are not selected.
    fn count(&mut self, context: &Context<'_>, shard: Shard, digests: &[Digest]) {
        let leaves = look(context.store, shard, digests);
        self.without_data += leaves.into_iter().filter(|leaf| is_without_data(*leaf)).count() as u64;
    }
}

fn is_without_data(leaf: Option<FileState>) -> bool {
    matches!(leaf, Some(FileState::Absent | FileState::Irregular))
}

/// When a blob's file was last written to or moved to where it is.
fn newest(store: &dyn Store, digest: &Digest, stat: &Stat) -> SystemTime {
    store.blob_condition(digest).ok().flatten().map_or(stat.modified, |there| there.touched())
}

/// Looks at blobs of one shard; nothing for those that cannot be looked at.
fn look(store: &dyn Store, shard: Shard, digests: &[Digest]) -> Vec<Option<FileState>> {
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
