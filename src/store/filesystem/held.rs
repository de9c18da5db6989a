//! Mounts that are held while a store is read, and watched for as long.
//!
//! An open directory keeps a mount from being unmounted and its number from being reused. It does not keep the mount
//! from being moved away or covered by another one, and restored before the next check. A thread therefore waits for
//! changes of the mount table and checks each held mount again. A mount that was not in its place at any check counts
//! as missing.

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

/// Mounts that are held and watched until this is dropped.
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

    /// Whether the mount was in its place at every check, is there now, and has content.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.mounts.iter().any(|held| held.name == name && held.check() && holds_something(&held.point))
    }
}

impl Drop for HeldMounts {
    fn drop(&mut self) {
        drop(self.end.take());
        // The thread fails only by a panic, which is already reported.
        self.watch.take().map(JoinHandle::join);
    }
}

/// A held mount: it cannot be unmounted except lazily, and its number is not reused.
#[derive(Debug)]
struct HeldMount {
    name: String,
    point: PathBuf,
    id: Vec<u8>,
    /// Whether a check found something else in its place.
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
        // Only a current mount is held, whatever lies in its place.
        let is_mounted = mounts::of_process("self").iter().any(|mounted: &Mounted| mounted.is(&id, &point));
        let name = part.name.clone();
        is_mounted.then(|| HeldMount { name, point, id, was_away: AtomicBool::new(false), _directory: directory })
    }

    /// Checks that opening the mount point leads to this mount: the topmost mount counts, whatever else the table
    /// lists. Returns whether every check so far succeeded.
    fn check(&self) -> bool {
        let there = open_directory(CWD, &self.point).ok().and_then(|directory| number(&directory));
        if there.as_ref() != Some(&self.id) {
            self.was_away.store(true, Ordering::Relaxed);
        }
        !self.was_away.load(Ordering::Relaxed)
    }
}

/// Checks all held mounts whenever the mount table changes.
fn watch(table: &File, ends: &UnixStream, mounts: &[HeldMount]) {
    loop {
        let mut events = [PollFd::new(table, PollFlags::PRI), PollFd::new(ends, PollFlags::HUP)];
        match poll(&mut events, None) {
            Ok(_) if !events[1].revents().is_empty() => return,
            Ok(_) => mounts.iter().for_each(|held| {
                held.check();
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

/// The mount number of an open directory.
pub(super) fn number(directory: &OwnedFd) -> Option<Vec<u8>> {
    let fdinfo = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    Some(fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().as_bytes().to_vec())
}
