//! How long a bucket may be changed: until the lease of its lock ends, by the boot-time clock, which also runs while the
//! machine sleeps.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::since_boot;
use crate::error::Error;

/// The bucket is not locked.
const NONE: u64 = 0;
/// Nothing ends it: the server has no locks, and the operator knows that.
const ENDLESS: u64 = u64::MAX;

/// The time until which a bucket may be changed.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// In milliseconds of the boot-time clock.
    ends: AtomicU64,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(ENDLESS - 1)
}

impl Lease {
    /// Begins a lease that ends at a time of the boot-time clock.
    pub(super) fn begin(&self, ends: Duration) {
        self.ends.store(milliseconds(ends), Ordering::SeqCst);
    }

    /// Begins one that does not end.
    pub(super) fn begin_endless(&self) {
        self.ends.store(ENDLESS, Ordering::SeqCst);
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.ends.store(NONE, Ordering::SeqCst);
    }

    /// Moves its end, unless it has ended: a run that overslept stays stopped. Returns whether it was moved.
    pub(super) fn extend(&self, ends: Duration) -> bool {
        let extended = |old: u64| (old > milliseconds(since_boot())).then_some(milliseconds(ends));
        self.ends.fetch_update(Ordering::SeqCst, Ordering::SeqCst, extended).is_ok()
    }

    /// Whether the bucket may be changed now.
    pub(super) fn holds(&self) -> bool {
        self.ends.load(Ordering::SeqCst) > milliseconds(since_boot())
    }

    /// Ensures that the bucket may be changed now.
    ///
    /// # Errors
    ///
    /// When the lease has ended. The error is one of a broken device: no other request would succeed.
    pub(super) fn ensure_holds(&self, operation: &'static str, place: &Path) -> Result<(), Error> {
        if self.holds() {
            return Ok(());
        }
        let why = "the lease of the lock has ended, because this machine slept or the server could not be reached; run again";
        let source = io::Error::new(io::ErrorKind::StaleNetworkFileHandle, why);
        Err(Error::Io { operation, path: place.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_has_ended_stays_ended() {
        let lease = Lease::default();
        let later = || since_boot() + Duration::from_secs(60);
        assert!(!lease.holds() && !lease.extend(later()), "it never began");
        lease.begin(later());
        assert!(lease.holds() && lease.extend(later()) && lease.holds());
        lease.begin(since_boot());
        assert!(!lease.holds() && !lease.extend(later()) && !lease.holds(), "too late");
        let error = lease.ensure_holds("remove", Path::new("x")).expect_err("ended");
        assert_eq!(error.kind(), Some(ErrorKind::Broken), "it ends a sweep");
        lease.begin_endless();
        assert!(lease.holds());
        lease.end();
        assert!(!lease.holds());
    }
}
