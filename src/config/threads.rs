//! How many threads a run has.

use super::location::Place;

/// What a thread may need for a repository that somebody made large on purpose, and its part of what all of them share.
const MEMORY_OF_A_THREAD: u64 = 28 << 20;
/// So many threads however little memory there is.
const FEWEST_THREADS: u64 = 4;

/// So many requests are under way at once: a server far away lets each thread wait nearly all of its time.
const REQUESTS: usize = 64;

/// Reading directories waits for the disk more than it computes, so there are more threads than processors.
pub(super) fn jobs(place: &Place, given: Option<u16>, max_memory: Option<u64>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = max_memory.map_or(u64::MAX, |bytes| (bytes / MEMORY_OF_A_THREAD).max(FEWEST_THREADS));
    let wanted = match place {
        Place::Directory(_) => (8 * processors).clamp(16, 64),
        Place::Bucket(_) => REQUESTS,
    };
    given.map_or_else(|| wanted.min(usize::try_from(most).unwrap_or(usize::MAX)), usize::from)
}
