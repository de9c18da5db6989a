//! Mounts that are held while a store is read, and watched until then.
//!
//! An open directory keeps a mount from being unmounted, and its number from being another's. Neither keeps it from being moved away or
//! covered by another one, and back before anybody asks; so a thread waits for changes of the table of mounts from the hold on, and looks at
//! each of them again. What was not seen at its place at any look counts as missing.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::directory::open_directory;
use super::mounts::{self, Mounted, holds_something};
use crate::store::Part;

/// Some mounts, held and watched until this is dropped.
#[derive(Debug)]
pub(super) struct HeldMounts {
    mounts: Arc<[HeldMount]>,
    /// Closed to end the watch.
    end: Option<UnixStream>,
    watch: Option<JoinHandle<()>>,
}

impl HeldMounts {
    /// Holds these mounts at these points. One that cannot be opened, or is another one, is not held.
    ///
    /// # Errors
    ///
    /// When nobody could watch them: then none is held.
    pub(super) fn hold<'p>(points: impl Iterator<Item = (&'p Part, PathBuf)>) -> io::Result<HeldMounts> {
        // Before the first look, so that no change falls between the two.
        let table = File::open("/proc/self/mountinfo")?;
        let mounts: Arc<[HeldMount]> = points.filter_map(|(part, point)| HeldMount::open(part, point)).collect();
        if mounts.is_empty() {
            return Ok(HeldMounts { mounts, end: None, watch: None });
        }
        let (ends, end) = UnixStream::pair()?;
        let watched = Arc::clone(&mounts);
        let watch = std::thread::Builder::new().name("mounts".to_owned()).spawn(move || watch(&table, &ends, &watched))?;
        Ok(HeldMounts { mounts, end: Some(end), watch: Some(watch) })
    }

    /// Whether the mount of that name was at its place at every look, and is now, with something in it.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.mounts.iter().any(|held| held.name == name && held.look() && holds_something(&held.point))
    }
}

impl Drop for HeldMounts {
    fn drop(&mut self) {
        drop(self.end.take());
        // It cannot fail but by a panic, which has been shown.
        self.watch.take().map(JoinHandle::join);
    }
}

/// A mount that is held: it cannot be unmounted meanwhile but lazily, and no other gets its number.
#[derive(Debug)]
struct HeldMount {
    name: String,
    point: PathBuf,
    id: Vec<u8>,
    /// Whether something else was seen in its place.
    was_away: AtomicBool,
    _directory: OwnedFd,
}

impl HeldMount {
    /// Opens a directory, which mounts what is mounted on demand; nothing if it cannot be opened, or if what is there is another one.
    fn open(part: &Part, point: PathBuf) -> Option<HeldMount> {
        let directory = open_directory(CWD, &point).ok()?;
        let is_another = |then: &String| mounts::identity(&directory).is_some_and(|now| now != *then);
        if part.identity.as_ref().is_some_and(is_another) {
            return None;
        }
        let id = number(&directory)?;
        // What is not mounted now is nothing to hold, whatever lies in its place.
        let is_mounted = mounts::of_process("self").iter().any(|mounted: &Mounted| mounted.is(&id, &point));
        let name = part.name.clone();
        is_mounted.then(|| HeldMount { name, point, id, was_away: AtomicBool::new(false), _directory: directory })
    }

    /// Looks whether whoever opens its place comes to it: what is on top counts, and not what else the table has. Says whether that was so
    /// each time.
    fn look(&self) -> bool {
        let there = open_directory(CWD, &self.point).ok().and_then(|directory| number(&directory));
        if there.as_ref() != Some(&self.id) {
            self.was_away.store(true, Ordering::Relaxed);
        }
        !self.was_away.load(Ordering::Relaxed)
    }
}

/// Looks at all of them whenever the table of mounts has changed.
fn watch(table: &File, ends: &UnixStream, mounts: &[HeldMount]) {
    loop {
        let mut events = [PollFd::new(table, PollFlags::PRI), PollFd::new(ends, PollFlags::HUP)];
        match poll(&mut events, None) {
            Ok(_) if !events[1].revents().is_empty() => return,
            Ok(_) => mounts.iter().for_each(|held| {
                held.look();
            }),
            Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!("mounts cannot be watched: {error}; those in the store count as missing");
                mounts.iter().for_each(|held| held.was_away.store(true, Ordering::Relaxed));
                return;
            }
        }
    }
}

/// The number of the mount that an open directory is on.
pub(super) fn number(directory: &OwnedFd) -> Option<Vec<u8>> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    Some(told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().as_bytes().to_vec())
}
