//! How fast all threads together may read.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread that has to wait sleeps before it looks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A bucket that fills with so many bytes a second, and holds nothing in store: what was not used is lost, so that a pause is not
/// followed by a burst.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: f64,
    /// When everything taken so far will have been paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    /// So many bytes a second.
    pub fn new(bytes_per_second: u64) -> Rate {
        Rate { bytes_per_second: bytes_per_second as f64, paid: Mutex::new(Instant::now()) }
    }

    /// Takes so many bytes, and waits until they are paid for. Says whether the wait was over before the run was.
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

    /// When so many more bytes are paid for.
    fn due(&self, bytes: u64, now: Instant) -> Instant {
        let mut paid = self.paid.lock().expect("nothing panics with it held");
        *paid = now.max(*paid) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_paid_for_and_a_pause_buys_nothing() {
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
        // Longer on a machine that has other things to do.
        assert!((0.25..10.0).contains(&elapsed), "256 KiB at 1 MiB/s took {elapsed} s");
    }

    #[test]
    fn nobody_waits_for_longer_than_the_run() {
        let begun = Instant::now();
        assert!(!Rate::new(1).take(1000, || true));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
