//! The lock that keeps two regsweeps out of each other's way.
//!
//! It excludes only our own processes: the registry takes no lock at all. The kernel releases it with the process, so it is never
//! stale. It has two parts, taken in this order by everybody, so that no two wait for each other:
//!
//! 1. The root folder itself. This takes no space, and a full disk is when people collect.
//! 2. The file `.regsweep/lock`, which says who holds it, and which other machines see where the root is on a network filesystem.
//!    It stays where it is: removing it would let a third process in beside a second. Somebody who only looks makes none.
//!
//! Where one of them cannot be had the other one does: no space for the file, or a filesystem that locks no folders.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;
use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout::OWN_FOLDER;

/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Proof that this process holds the lock, until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    _folder: Option<File>,
    file: Option<File>,
}

impl StoreLock {
    /// Takes the lock for changing the store, and waits for it up to `wait`. Creates `.regsweep/lock` below `root` if need be, and
    /// does without it on a full disk.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process still holds it then; [`Error::Io`] when the file cannot be made or locked.
    pub fn exclusive(root: &Path, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<StoreLock, Error> {
        // Fully qualified: `File` has methods of its own with these names by now.
        let attempt = Attempt { root, wait, begun: Instant::now(), stop, lock: FileExt::try_lock_exclusive };
        let folder = attempt.hold_folder()?;
        let file = match make_own(root) {
            Ok(file) => file,
            Err(error) if folder.is_some() && is_full(&error) => {
                tracing::warn!("{error}; {} alone is locked, which other machines may not see", escaped(root));
                return Ok(StoreLock { _folder: folder, file: None });
            }
            Err(error) => return Err(error),
        };
        attempt.hold_file(&file)?;
        // The text is for people: that it cannot be written must not stop the run.
        if let Err(error) = tell(&file, now) {
            tracing::warn!("cannot write to {}: {error}", escaped(lock_path(root)));
        }
        Ok(StoreLock { _folder: folder, file: Some(file) })
    }

    /// Takes the lock for looking only, and makes nothing. Where no folder can be locked and there is no lock file, nobody ever
    /// changed this store through us.
    ///
    /// # Errors
    ///
    /// As [`StoreLock::exclusive`].
    pub fn shared(root: &Path, wait: Duration, stop: &AtomicBool) -> Result<StoreLock, Error> {
        let attempt = Attempt { root, wait, begun: Instant::now(), stop, lock: FileExt::try_lock_shared };
        let folder = attempt.hold_folder()?;
        let file = match open_own(root, OFlags::RDONLY) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context("open", lock_path(root)),
        };
        if let Some(file) = &file {
            attempt.hold_file(file)?;
        }
        Ok(StoreLock { _folder: folder, file })
    }
}

impl Drop for StoreLock {
    /// Takes back what the file says: who is refused later, because somebody looks, is not to be told of this process.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Refused to somebody who only looks, and who has said nothing either.
            let _stays = file.set_len(0);
        }
    }
}

/// One process's way to both parts of the lock.
struct Attempt<'a> {
    root: &'a Path,
    wait: Duration,
    begun: Instant,
    stop: &'a AtomicBool,
    lock: fn(&File) -> io::Result<()>,
}

impl Attempt<'_> {
    /// Locks the root folder; nothing if folders cannot be locked here, or this one not be opened.
    fn hold_folder(&self) -> Result<Option<File>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(self.root, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error).context("open", self.root),
        };
        match self.hold(&folder) {
            Ok(()) => Ok(Some(folder)),
            Err(Refusal::Locked) => Err(self.locked()),
            Err(Refusal::Stopped) => Err(Error::Interrupted),
            Err(Refusal::Io(error)) if locks_no_folders(&error) => Ok(None),
            Err(Refusal::Io(error)) => Err(error).context("lock", self.root),
        }
    }

    fn hold_file(&self, file: &File) -> Result<(), Error> {
        self.hold(file).map_err(|refusal| match refusal {
            Refusal::Locked => self.locked(),
            Refusal::Stopped => Error::Interrupted,
            Refusal::Io(source) => Error::Io { operation: "lock", path: lock_path(self.root), source },
        })
    }

    fn hold(&self, file: &File) -> Result<(), Refusal> {
        loop {
            match (self.lock)(file) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() => {
                    return Err(Refusal::Io(error));
                }
                Err(_) if self.stop.load(Ordering::Relaxed) => return Err(Refusal::Stopped),
                Err(_) if self.begun.elapsed() >= self.wait => return Err(Refusal::Locked),
                Err(_) => thread::sleep(RETRY.min(self.wait.saturating_sub(self.begun.elapsed()))),
            }
        }
    }

    fn locked(&self) -> Error {
        Error::Locked { path: lock_path(self.root), holder: holder(self.root) }
    }
}

/// Why a part of the lock was not had.
enum Refusal {
    /// Another process has it.
    Locked,
    /// A signal came while it was waited for.
    Stopped,
    /// It cannot be had at all.
    Io(io::Error),
}

/// Makes the lock file and its folder if they are not there, and opens it.
fn make_own(root: &Path) -> Result<File, Error> {
    let folder = root.join(OWN_FOLDER);
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).context("create", folder),
        _ => {}
    }
    open_own(root, OFlags::RDWR | OFlags::CREATE).context_with("open", || lock_path(root))
}

/// Opens the lock file, which is one of our own and nothing else: whoever may write to the root directory could have put a link
/// there that leads to any file of the machine, or a fifo that nobody writes to.
fn open_own(root: &Path, flags: OFlags) -> io::Result<File> {
    let folder = rustix::fs::open(
        root.join(OWN_FOLDER),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, "lock", flags, Mode::from_raw_mode(0o666))?;
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink <= 1 {
        true => Ok(File::from(file)),
        false => Err(io::Error::other("it is no file of ours; remove it")),
    }
}

fn lock_path(root: &Path) -> PathBuf {
    root.join(OWN_FOLDER).join("lock")
}

/// Whether there is no room for a file.
fn is_full(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    matches!(errno(source), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether this filesystem, or the kernel, does not lock folders that are open for reading.
fn locks_no_folders(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::BADF | Errno::NOLCK | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn tell(mut file: &File, now: Timestamp) -> io::Result<()> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let text = format!("process {} on {host}, since {now:.0}\n", std::process::id());
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

/// Who holds the lock, as the lock file has it.
fn holder(root: &Path) -> String {
    let mut text = Vec::new();
    let read = open_own(root, OFlags::RDONLY).and_then(|file| file.take(256).read_to_end(&mut text));
    match read {
        Ok(1..) => crate::escape::escaped_bytes(text.trim_ascii()).into_owned(),
        _ => "which has not said who it is".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn second_holder_is_told_who_the_first_is() {
        let root = tempfile::tempdir().expect("a folder");
        let first = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free");
        let refused = StoreLock::exclusive(root.path(), Duration::from_millis(150), now(), &GO_ON).expect_err("held");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect_err("nobody looks while somebody changes");
        drop(first);
        let _one = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("free");
        let _two = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("looking together is fine");
        StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect_err("not while somebody looks");
    }

    #[test]
    fn who_is_gone_is_not_named() {
        let root = tempfile::tempdir().expect("a folder");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let _looks = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("free");
        let refused = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect_err("somebody looks");
        assert!(refused.to_string().contains("has not said who it is"), "{refused}");
    }

    /// As when a disk was full for the holder's file, and as when its filesystem locks no folders.
    #[test]
    fn either_part_alone_keeps_others_out() {
        let root = tempfile::tempdir().expect("a folder");
        let refused = |part: &str| {
            let both = [
                StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON),
                StoreLock::shared(root.path(), Duration::ZERO, &GO_ON),
            ];
            assert!(both.iter().all(|lock| matches!(lock, Err(Error::Locked { .. }))), "{part}: {both:?}");
        };
        let folder = File::open(root.path()).expect("a folder can be opened");
        FileExt::try_lock_exclusive(&folder).expect("free");
        refused("folder");
        FileExt::unlock(&folder).expect("held");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let file = File::open(lock_path(root.path())).expect("it stays");
        FileExt::try_lock_exclusive(&file).expect("free");
        refused("file");
        FileExt::try_lock_exclusive(&folder).expect("who was refused at the file does not keep the folder");
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let root = tempfile::tempdir().expect("a folder");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("no lock file, no holder");
        assert_eq!(std::fs::read_dir(root.path()).expect("listable").count(), 0);
    }
}
