//! Limits the rate at which all threads together read.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long a waiting thread sleeps before it checks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A token bucket without a reserve: unused bytes expire, so that no burst follows a pause.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: f64,
    /// When the rate covers all bytes taken so far.
    covered: Mutex<Instant>,
}

impl Rate {
    /// A limit in bytes a second.
    pub fn new(bytes_per_second: u64) -> Rate {
        Rate { bytes_per_second: bytes_per_second as f64, covered: Mutex::new(Instant::now()) }
    }

    /// Takes bytes, and waits until the rate covers them. Returns whether it does before the run is over.
    #[must_use]
    pub fn take(&self, bytes: u64, is_over: impl Fn() -> bool) -> bool {
        let until = self.due(bytes, Instant::now());
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return true;
            }
            if is_over() {
                return false;
            }
            thread::sleep(wait.min(LOOK_EVERY));
        }
    }

    /// When the rate covers `bytes` more.
    fn due(&self, bytes: u64, now: Instant) -> Instant {
        let mut covered = self.covered.lock().expect("no thread panics while it holds the lock");
        *covered = now.max(*covered) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_a_pause_saves_none() {
        let rate = Rate::new(1000);
        let begun = Instant::now() + Duration::from_secs(1);
        let after = |millis| begun + Duration::from_millis(millis);
        assert_eq!(rate.due(500, begun), after(500));
        assert_eq!(rate.due(250, after(100)), after(750));
        assert_eq!(rate.due(100, after(60_000)), after(60_100));
    }

    #[test]
    fn many_threads_share_one_rate() {
        let rate = Rate::new(1 << 20);
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..16).for_each(|_| assert!(rate.take(4096, || false))));
            }
        });
        let elapsed = begun.elapsed().as_secs_f64();
        // A busy machine takes longer.
        assert!((0.25..10.0).contains(&elapsed), "256 KiB at 1 MiB/s took {elapsed} s");
    }

    #[test]
    fn waiting_ends_with_the_run() {
        let begun = Instant::now();
        assert!(!Rate::new(1).take(1000, || true));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
