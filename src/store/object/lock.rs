//! The lock of a bucket: an object that is only made where there is none, and replaced only by who knows its ETag.
//!
//! It has a lease, which a thread renews, and which [`Lease`] holds for those who change things. Who finds a lock whose lease
//! ended long ago by the server's clock takes it over, by the same condition. A server that does not keep to conditions keeps
//! nobody out: that is tried on each lock that is taken, and reported.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::holder::{Holder, LEASE, described, is_stale};
use super::lease::Lease;
use super::requests::{If, Put, Refusal, Requests, delete_one, put};
use crate::clock::since_boot;
use crate::error::Error;
use crate::escape::escaped;
use crate::layout::OWN_DIRECTORY;
use crate::store::LockGuard;

/// How often a lock is renewed.
const RENEWAL: Duration = Duration::from_secs(20);
/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(500);
/// How often a lock is taken that goes or changes in between.
const ATTEMPTS: usize = 3;
/// No lock has this ETag.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// The key of the lock.
fn key() -> PathBuf {
    Path::new(OWN_DIRECTORY).join("lock")
}

/// Takes the lock for changing a bucket, and waits for it up to `wait`.
///
/// # Errors
///
/// As for [`Backend::lock`](crate::store::Backend::lock).
pub(super) fn lock<R: Requests + 'static>(
    bucket: &Arc<R>,
    lease: &Arc<Lease>,
    wait: Duration,
    now: Timestamp,
    stop: &AtomicBool,
) -> Result<Box<dyn LockGuard>, Error> {
    let begun = Instant::now();
    loop {
        let mut own = Own { bucket: Arc::clone(bucket), holder: Holder::new(now), etag: String::new() };
        let taken = own.take(lease).and_then(|holder| match holder {
            None => own.try_conditions().map(|()| None),
            Some(holder) => Ok(Some(holder)),
        });
        let holder = match taken {
            Ok(None) => return Ok(Box::new(Held::new(own, Arc::clone(lease)))),
            Ok(Some(holder)) => holder,
            Err(why) => {
                own.remove_and_end(lease);
                return match why {
                    Untaken::Failed(error) => Err(error),
                    // Whether to go on is for who asked for the lock to decide.
                    Untaken::Ignored(why) => {
                        lease.begin_endless();
                        Ok(Box::new(Unlockable { why, lease: Arc::clone(lease) }))
                    }
                };
            }
        };
        match () {
            () if stop.load(Ordering::Relaxed) => return Err(Error::Interrupted),
            () if begun.elapsed() >= wait => return Err(Error::Locked { path: bucket.place_of(&key()), holder }),
            () => std::thread::sleep(RETRY.min(wait.saturating_sub(begun.elapsed()))),
        }
    }
}

/// Why there is no lock.
enum Untaken {
    /// The server does not keep to conditions; to which one.
    Ignored(&'static str),
    /// A request failed.
    Failed(Error),
}

impl From<Error> for Untaken {
    fn from(error: Error) -> Untaken {
        Untaken::Failed(error)
    }
}

/// Our lock, as it was last written.
struct Own<R> {
    bucket: Arc<R>,
    holder: Holder,
    etag: String,
}

impl<R: Requests> Own<R> {
    /// Takes the lock, and begins its lease. Returns who holds it if another one does.
    fn take(&mut self, lease: &Lease) -> Result<Option<String>, Untaken> {
        for _ in 0..ATTEMPTS {
            let begun = since_boot();
            let seen = self.bucket.see(&key())?;
            let condition = match &seen {
                None => If::Absent,
                Some(seen) if is_stale(seen) => If::Is(&seen.etag),
                Some(seen) => return Ok(Some(described(&seen.content))),
            };
            if self.write(&self.holder.clone(), condition)? {
                lease.begin(begun + LEASE);
                return Ok(None);
            }
        }
        Ok(Some("which was faster".to_owned()))
    }

    /// Writes the lock. Returns whether it is ours then: a request whose answer was lost may have been carried out.
    fn write(&mut self, holder: &Holder, condition: If<'_>) -> Result<bool, Untaken> {
        let text = holder.text();
        let etag = match put(&*self.bucket, &key(), &text, condition).map_err(|refusal| self.untaken(refusal))? {
            Put::Done(Some(etag)) => etag,
            Put::Done(None) | Put::Refused => match self.bucket.see(&key())? {
                Some(seen) if seen.content == text => seen.etag,
                _ => return Ok(false),
            },
        };
        (self.etag, self.holder) = (etag, holder.clone());
        Ok(true)
    }

    fn untaken(&self, refusal: Refusal) -> Untaken {
        match refusal.source.kind() {
            io::ErrorKind::Unsupported => Untaken::Ignored("it does not support conditional writes"),
            _ => Untaken::Failed(Error::Io { operation: "lock", path: self.bucket.place_of(&key()), source: refusal.source }),
        }
    }

    /// Tries whether the server keeps to the conditions that the lock consists of.
    fn try_conditions(&mut self) -> Result<(), Untaken> {
        let tries = [
            (If::Absent, "it replaced an object by a write with If-None-Match: *"),
            (If::Is(NO_ETAG), "it replaced an object by a write with another ETag in If-Match"),
        ];
        for (condition, why) in tries {
            let again = put(&*self.bucket, &key(), &self.holder.text(), condition).map_err(|refusal| self.untaken(refusal))?;
            if again != Put::Refused {
                return Err(Untaken::Ignored(why));
            }
        }
        match self.renew()? {
            true => Ok(()),
            false => Err(Untaken::Ignored("it refused a write with the right ETag in If-Match")),
        }
    }

    /// Renews the lock. Returns whether it is still ours.
    fn renew(&mut self) -> Result<bool, Untaken> {
        let etag = self.etag.clone();
        self.write(&self.holder.renewed(), If::Is(&etag))
    }

    /// Removes the lock if it is ours, before its lease has ended, and ends that.
    fn remove_and_end(&self, lease: &Lease) {
        let is_ours = lease.holds();
        lease.end();
        let remove = || -> Result<(), io::Error> {
            match self.bucket.see(&key()).map_err(io::Error::other)? {
                Some(seen) if self.holder.wrote(&seen.content) => {
                    delete_one(&*self.bucket, &key()).map_err(|refusal| refusal.source)
                }
                _ => Ok(()),
            }
        };
        // Once more, because another run would have to wait for it.
        if is_ours && let Err(error) = remove().or_else(|_| remove()) {
            let place = escaped(self.bucket.place_of(&key()));
            tracing::warn!("the lock {place} stays until another run takes it over: {error}");
        }
    }
}

/// What a lock and the thread that renews it have in common.
struct Shared<R> {
    own: Mutex<Own<R>>,
    lease: Arc<Lease>,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl<R: Requests> Shared<R> {
    /// Renews the lock until it is over or lost.
    fn renew_on_and_on(&self) {
        while !self.is_over_after(RENEWAL) {
            let begun = since_boot();
            let renewed = locked(&self.own).renew();
            match renewed {
                Ok(true) if self.lease.extend(begun + LEASE) => {}
                Ok(_) => {
                    self.lease.end();
                    tracing::warn!("another regsweep has taken the lock over, or its lease has ended");
                    return;
                }
                // It is tried again until the lease ends.
                Err(Untaken::Failed(error)) => tracing::info!("{error}"),
                Err(Untaken::Ignored(why)) => tracing::info!("the server does not keep locks: {why}"),
            }
        }
    }

    /// Waits; returns whether the lock is over.
    fn is_over_after(&self, wait: Duration) -> bool {
        let is_over = locked(&self.is_over);
        let waited = self.over.wait_timeout_while(is_over, wait, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock, until it is dropped.
struct Held<R: Requests> {
    shared: Arc<Shared<R>>,
    renewing: Option<JoinHandle<()>>,
}

impl<R: Requests + 'static> Held<R> {
    fn new(own: Own<R>, lease: Arc<Lease>) -> Held<R> {
        let shared = Arc::new(Shared { own: Mutex::new(own), lease, is_over: Mutex::default(), over: Condvar::new() });
        let renewed = Arc::clone(&shared);
        let renewing = std::thread::Builder::new().name("regsweep-lock".to_owned()).spawn(move || renewed.renew_on_and_on());
        // Without the thread the run has one lease.
        Held { shared, renewing: renewing.ok() }
    }
}

impl<R: Requests> fmt::Debug for Held<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("lease", &self.shared.lease).finish_non_exhaustive()
    }
}

impl<R: Requests> LockGuard for Held<R> {
    fn is_held(&self) -> bool {
        self.shared.lease.holds()
    }

    fn unlockable(&self) -> Option<&'static str> {
        None
    }
}

impl<R: Requests> Drop for Held<R> {
    fn drop(&mut self) {
        *locked(&self.shared.is_over) = true;
        self.shared.over.notify_all();
        // It panics nowhere.
        let _ended = self.renewing.take().map(JoinHandle::join);
        locked(&self.shared.own).remove_and_end(&self.shared.lease);
    }
}

/// No lock can be had of this server.
#[derive(Debug)]
struct Unlockable {
    why: &'static str,
    lease: Arc<Lease>,
}

impl LockGuard for Unlockable {
    fn is_held(&self) -> bool {
        false
    }

    fn unlockable(&self) -> Option<&'static str> {
        Some(self.why)
    }
}

impl Drop for Unlockable {
    fn drop(&mut self) {
        self.lease.end();
    }
}

/// Nobody is kept out: those who only look have no lock in a bucket.
#[derive(Debug)]
pub(in crate::store) struct NoLock;

impl LockGuard for NoLock {
    fn is_held(&self) -> bool {
        false
    }

    fn unlockable(&self) -> Option<&'static str> {
        None
    }
}
