//! The kernel's notices (inotify) of entries that other processes create, move or remove.
//!
//! They come for whatever process on this kernel, in any PID, network or mount namespace, and need no privilege. A client of
//! NFS is not notified of what others do.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::hash::Hash;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::escape::escaped;
use crate::system_files::is_system_file;

/// How many directories one user may watch (source: inotify(7)).
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";
/// That limit before Linux 5.11.
const DEFAULT_LIMIT: usize = 8192;
/// Other programs of the user need watches as well.
const OUR_PART_OF_IT: usize = 4;
/// Each keeps its directory in the kernel's memory, about a kilobyte.
const MOST: usize = 32_768;
/// Room for some events.
const BUFFER_BYTES: usize = 16 << 10;

/// What happened to an entry of a watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It was created, or moved here.
    Made,
    /// It was removed, or moved away.
    Removed,
}

/// The first event that another program's own files do not explain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice<P> {
    /// An entry of the directory `P`.
    Entry(P, OsString, Event),
    /// More events than the kernel keeps.
    TooMany,
}

/// What was noticed.
pub(super) struct Noticed<P> {
    /// The first notice.
    pub(super) first: Option<Notice<P>>,
    /// Directories in which another program's own files changed.
    pub(super) explained: HashSet<P>,
}

impl<P> Default for Noticed<P> {
    fn default() -> Noticed<P> {
        Noticed { first: None, explained: HashSet::new() }
    }
}

/// Directories that are being watched. `P` tells them apart.
pub(super) struct Notices<P> {
    descriptor: OwnedFd,
    watched: Mutex<HashMap<i32, P>>,
    most: usize,
}

impl<P: Copy + Eq + Hash> Notices<P> {
    /// Begins to listen; `None` where that is not possible.
    pub(super) fn begin() -> Option<Notices<P>> {
        let limit = std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_LIMIT);
        let most = MOST.min(limit / OUR_PART_OF_IT);
        match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(descriptor) => Some(Notices { descriptor, watched: Mutex::default(), most }),
            Err(error) => {
                tracing::debug!("the kernel notifies of no changes: {error}");
                None
            }
        }
    }

    /// Watches a directory, if it exists and there is room. Returns whether it does.
    pub(super) fn watch(&self, directory: &Path, place: P) -> bool {
        let mask = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        if self.watched().len() >= self.most {
            return false;
        }
        match inotify::add_watch(&self.descriptor, directory, mask) {
            Ok(descriptor) => {
                self.watched().insert(descriptor, place);
                return true;
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            // A limit of the user, or of the machine: the second look has to do.
            Err(error) => tracing::debug!("the kernel does not watch {}: {error}", escaped(directory)),
        }
        false
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<i32, P>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was noticed, and ends the watch: from now on there may be changes of our own.
    pub(super) fn end(self) -> Noticed<P> {
        let watched = self.watched.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut noticed = Noticed::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut events = inotify::Reader::new(self.descriptor, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return noticed,
                Err(error) => {
                    tracing::debug!("what the kernel noticed cannot be read: {error}");
                    return noticed;
                }
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                noticed.first.get_or_insert(Notice::TooMany);
                continue;
            }
            // Of a watch that has ended with its directory there is no name.
            let (Some(&place), Some(name)) = (watched.get(&event.wd()), event.file_name()) else { continue };
            let name = name.to_bytes();
            if is_system_file(name, flags.contains(ReadFlags::ISDIR)) {
                noticed.explained.insert(place);
                continue;
            }
            let is_made = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            let what = if is_made { Event::Made } else { Event::Removed };
            noticed.first.get_or_insert_with(|| Notice::Entry(place, OsStr::from_bytes(name).to_owned(), what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_or_removed_is_noticed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let there = directory.path().join("there");
        std::fs::write(&there, "x").expect("made");
        let during = |act: &dyn Fn()| {
            let notices = Notices::begin().expect("the kernel notifies");
            notices.watch(directory.path(), 7);
            notices.watch(&directory.path().join("nowhere"), 8);
            act();
            notices.end()
        };
        let entry = |name: &str, what| Some(Notice::Entry(7, OsString::from(name), what));
        let made = during(&|| std::fs::create_dir(directory.path().join("made")).expect("made"));
        assert_eq!(made.first, entry("made", Event::Made));
        let moved = during(&|| std::fs::rename(directory.path().join("made"), directory.path().join("moved")).expect("moved"));
        assert_eq!(moved.first, entry("made", Event::Removed));
        let read = during(&|| {
            assert_eq!(std::fs::read(&there).expect("readable"), b"x");
            assert_eq!(std::fs::read_dir(directory.path()).expect("listable").count(), 2);
            // As backups set times.
            std::fs::File::open(&there).and_then(|file| file.set_modified(std::time::UNIX_EPOCH)).expect("ours");
        });
        assert_eq!(read.first, None);
        let foreign = during(&|| std::fs::create_dir(directory.path().join("@eaDir")).expect("made"));
        assert!(foreign.first.is_none() && foreign.explained.contains(&7));
    }
}
