//! The lock that excludes concurrent regsweep runs.
//!
//! It excludes only our own processes: the registry takes no lock. The kernel releases it with the process, so it is
//! never stale.
//!
//! The lock is the file `.regsweep/lock`, which names its holder, and which other machines see when the root is on a
//! network filesystem. Only its owner may open it (mode 0600): any process that can open a file can lock it, and block
//! all others. The file is never removed: removing it would let a third process in beside a second. Read-only runs
//! never create it.
//!
//! If the file does not exist and cannot be created on a full disk, the root directory is locked instead, which needs
//! no space. Any process that can read the store can lock the directory too, so a lock on it counts only if a regsweep
//! holds it that may write there (`holds_directory`). The holder of the file checks for such a lock as well: its owner
//! may have begun before there was space for the file.
//!
//! Read-only runs take the lock if they can, and report if they cannot: see [`LockGuard::is_held`].

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
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
use crate::layout::OWN_DIRECTORY;
use crate::store::LockGuard;

/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(100);
/// Only the owner may open the lock file.
const FILE_MODE: u32 = 0o600;

/// Proof that this process holds the lock, until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock {
    directory: Option<File>,
    file: Option<File>,
}

impl StoreLock {
    /// Takes the lock for changing the store, and waits for it up to `wait`. Creates `.regsweep/lock` below `root` if
    /// needed, and does without it on a full disk.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process still holds it after `wait`; [`Error::Io`] when the file cannot be
    /// created or locked.
    pub(super) fn exclusive(root: &Path, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<StoreLock, Error> {
        // Fully qualified: newer versions of `File` have methods with these names.
        let attempt = Attempt { root, wait, begun: Instant::now(), stop, lock: FileExt::try_lock_exclusive };
        let file = match make_own(root) {
            Ok(file) => file,
            Err(error) if is_full(&error) => {
                tracing::warn!("{error}; {} alone is locked, which other machines may not see", escaped(root));
                return Ok(StoreLock { directory: attempt.hold_directory(&|_| true)?, file: None });
            }
            Err(error) => return Err(error),
        };
        let locks_files = attempt.hold_file(&file)?;
        let directory = match locks_files {
            // Another run may have begun before there was space for the file.
            true => attempt.wait_for_directory().map(|()| None)?,
            false => attempt.hold_directory(&|_| true)?,
        };
        if directory.is_none() && !locks_files {
            tracing::warn!(
                "runs without a lock, because the filesystem of {} has none: make sure that no other regsweep works on this store",
                escaped(root)
            );
        }
        // The text is informative only: failing to write it must not stop the run.
        if let Err(error) = write_holder(&file, now) {
            tracing::warn!("cannot write to {}: {error}", escaped(lock_path(root)));
        }
        Ok(StoreLock { directory, file: Some(file) })
    }

    /// Takes the lock for reading, and creates nothing. A lock file that may not be opened is not locked:
    /// [`LockGuard::is_held`].
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process changes the store; [`Error::Io`] when the lock file is not ours.
    pub(super) fn shared(root: &Path, wait: Duration, stop: &AtomicBool) -> Result<StoreLock, Error> {
        let attempt = Attempt { root, wait, begun: Instant::now(), stop, lock: FileExt::try_lock_shared };
        let file = match open_own(root, OFlags::RDONLY) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let path = lock_path(root);
                tracing::warn!(
                    "runs without a lock, because {} is another user's: looks twice at what is missing",
                    escaped(path)
                );
                attempt.wait_for_directory()?;
                return Ok(StoreLock { directory: None, file: None });
            }
            Err(error) => return Err(error).context("open", lock_path(root)),
        };
        let locks_files = file.as_ref().map_or(Ok(false), |file| attempt.hold_file(file))?;
        let directory = match locks_files {
            true => attempt.wait_for_directory().map(|()| None)?,
            // This excludes a first run that changes the store.
            false => attempt.hold_directory(&holds_directory)?,
        };
        let file = file.filter(|_| locks_files);
        if file.is_none() && directory.is_none() {
            tracing::warn!("runs without a lock, which cannot be had here: looks twice at what is missing");
        }
        Ok(StoreLock { directory, file })
    }
}

impl LockGuard for StoreLock {
    fn is_held(&self) -> bool {
        self.file.is_some() || self.directory.is_some()
    }

    fn unlockable(&self) -> Option<&'static str> {
        None
    }
}

impl Drop for StoreLock {
    /// Clears the holder from the file: a run that a reader blocks later must not name this process.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Fails for a reader, whose descriptor is read-only and who wrote no name.
            let _stays = file.set_len(0);
        }
    }
}

/// One attempt to take the lock.
struct Attempt<'a> {
    root: &'a Path,
    wait: Duration,
    begun: Instant,
    stop: &'a AtomicBool,
    lock: fn(&File) -> io::Result<()>,
}

impl Attempt<'_> {
    /// Locks the file. Returns whether files can be locked here at all.
    fn hold_file(&self, file: &File) -> Result<bool, Error> {
        match self.hold(file, &|_| true) {
            Ok(()) => Ok(true),
            Err(Refusal::Io(error)) if cannot_lock(&error) => Ok(false),
            Err(refusal) => Err(self.error(refusal, lock_path(self.root))),
        }
    }

    /// Locks the root directory; `None` if that is impossible here, or if its holder does not count.
    fn hold_directory(&self, counts: &dyn Fn(&File) -> bool) -> Result<Option<File>, Error> {
        let Some(directory) = self.open_directory()? else { return Ok(None) };
        match self.hold(&directory, counts) {
            Ok(()) => Ok(Some(directory)),
            Err(Refusal::Stranger) => {
                tracing::warn!("{} is locked by something that is no regsweep, and is not waited for", escaped(self.root));
                Ok(None)
            }
            Err(Refusal::Io(error)) if cannot_lock(&error) => Ok(None),
            Err(refusal) => Err(self.error(refusal, self.root.to_owned())),
        }
    }

    /// Waits until no regsweep holds the root directory, and does not keep its lock.
    fn wait_for_directory(&self) -> Result<(), Error> {
        self.hold_directory(&holds_directory).map(drop)
    }

    fn open_directory(&self) -> Result<Option<File>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(self.root, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(File::from(directory))),
            Err(Errno::ACCESS) => Ok(None),
            Err(error) => Err(error).context("open", self.root),
        }
    }

    /// Locks a file, and waits for holders that count.
    fn hold(&self, file: &File, counts: &dyn Fn(&File) -> bool) -> Result<(), Refusal> {
        loop {
            match (self.lock)(file) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() => {
                    return Err(Refusal::Io(error));
                }
                Err(_) if !counts(file) => return Err(Refusal::Stranger),
                Err(_) if self.stop.load(Ordering::Relaxed) => return Err(Refusal::Stopped),
                Err(_) if self.begun.elapsed() >= self.wait => return Err(Refusal::Locked),
                Err(_) => thread::sleep(RETRY.min(self.wait.saturating_sub(self.begun.elapsed()))),
            }
        }
    }

    fn error(&self, refusal: Refusal, path: PathBuf) -> Error {
        match refusal {
            Refusal::Locked | Refusal::Stranger => Error::Locked { path, holder: holder(self.root) },
            Refusal::Stopped => Error::Interrupted,
            Refusal::Io(source) => Error::Io { operation: "lock", path, source },
        }
    }
}

/// Why the lock was not taken.
enum Refusal {
    /// Another process holds it.
    Locked,
    /// A process that does not count holds it.
    Stranger,
    /// A signal came during the wait.
    Stopped,
    /// Locking failed.
    Io(io::Error),
}

/// Whether a regsweep of this machine that may write to a directory has locked it. Any process that may read the
/// directory can lock it, and must not block a run that way.
fn holds_directory(directory: &File) -> bool {
    let Ok(there) = directory.metadata() else { return true };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // The device is not compared: some filesystems report another one here.
    let holders = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
        let (pid, place) = (words.next()?.parse::<u32>().ok()?, words.next()?);
        (place.rsplit(':').next()?.parse::<u64>().ok()? == there.ino()).then_some(pid)
    });
    holders.into_iter().any(|pid| {
        let process = Path::new("/proc").join(pid.to_string());
        let is_ours = std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("regsweep"));
        is_ours && Credentials::of(&process).is_none_or(|process| process.may_write(&there))
    })
}

/// The user and groups of a process.
struct Credentials {
    user: u32,
    groups: Vec<u32>,
}

impl Credentials {
    /// `None` if the system does not report them.
    fn of(process: &Path) -> Option<Credentials> {
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let numbers = |key: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
        };
        // The last of the four ids is the one that the filesystem checks.
        let user = *numbers("Uid:")?.last()?;
        let mut groups = numbers("Groups:").unwrap_or_default();
        groups.extend(numbers("Gid:")?.last());
        Some(Credentials { user, groups })
    }

    fn may_write(&self, directory: &std::fs::Metadata) -> bool {
        let by_group = directory.mode() & 0o020 != 0 && self.groups.contains(&directory.gid());
        self.user == 0 || self.user == directory.uid() || by_group || directory.mode() & 0o002 != 0
    }
}

/// Creates the lock file and its directory if needed, and opens it.
fn make_own(root: &Path) -> Result<File, Error> {
    let directory = root.join(OWN_DIRECTORY);
    match std::fs::create_dir(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).context("create", directory),
        _ => {}
    }
    let file = open_own(root, OFlags::RDWR | OFlags::CREATE).context_with("open", || lock_path(root))?;
    // Before locking: a process that opened the file until now may still hold it, but no other can from now on.
    keep_to_ourselves(&file);
    Ok(file)
}

/// Restricts a lock file that an earlier version created readable for all.
fn keep_to_ourselves(file: &File) {
    if file.metadata().is_ok_and(|there| there.mode() & 0o077 != 0) {
        let _another_users = rustix::fs::fchmod(file, Mode::from_raw_mode(FILE_MODE));
    }
}

/// Opens the lock file, which must be a regular file of ours: an account that may write to the root directory could
/// have put a link there to any file of the machine, or a fifo without a writer.
fn open_own(root: &Path, flags: OFlags) -> io::Result<File> {
    let directory = rustix::fs::open(
        root.join(OWN_DIRECTORY),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, "lock", flags, Mode::from_raw_mode(FILE_MODE))?;
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink <= 1 {
        true => Ok(File::from(file)),
        false => Err(io::Error::other("it is not regsweep's file; remove it")),
    }
}

fn lock_path(root: &Path) -> PathBuf {
    root.join(OWN_DIRECTORY).join("lock")
}

/// Whether an error means a full disk.
fn is_full(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    matches!(errno(source), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether this filesystem or kernel does not support locks on files, or on directories.
fn cannot_lock(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::BADF | Errno::NOLCK | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn write_holder(mut file: &File, now: Timestamp) -> io::Result<()> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let text = format!("process {} on {host}, since {now:.0}\n", std::process::id());
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

/// The holder named in the lock file.
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
    fn refusal_names_the_holder() {
        let root = tempfile::tempdir().expect("a directory");
        let first = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free");
        let refused = StoreLock::exclusive(root.path(), Duration::from_millis(150), now(), &GO_ON).expect_err("held");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect_err("no reader beside a writer");
        drop(first);
        let _one = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("free");
        let _two = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("readers share the lock");
        StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect_err("no writer beside a reader");
    }

    #[test]
    fn released_lock_names_no_holder() {
        let root = tempfile::tempdir().expect("a directory");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let _looks = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("free");
        let refused = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect_err("held by a reader");
        assert!(refused.to_string().contains("has not said who it is"), "{refused}");
    }

    /// With the holder's file missing on a full disk, and with the file present.
    #[test]
    fn either_part_alone_keeps_others_out() {
        let root = tempfile::tempdir().expect("a directory");
        let refused = |part: &str| {
            let both = [
                StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON),
                StoreLock::shared(root.path(), Duration::ZERO, &GO_ON),
            ];
            assert!(both.iter().all(|lock| matches!(lock, Err(Error::Locked { .. }))), "{part}: {both:?}");
        };
        let directory = File::open(root.path()).expect("a directory can be opened");
        FileExt::try_lock_exclusive(&directory).expect("free");
        // The first of these creates the file, the second finds it; both are refused.
        refused("directory, no file");
        refused("directory, and a file");
        FileExt::unlock(&directory).expect("held");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let file = File::open(lock_path(root.path())).expect("it stays");
        FileExt::try_lock_exclusive(&file).expect("free");
        refused("file");
        FileExt::try_lock_exclusive(&directory).expect("a run refused at the file does not keep the directory");
    }

    #[test]
    fn the_file_is_its_owners_alone_and_keeps_the_directory_free() {
        let root = tempfile::tempdir().expect("a directory");
        let mode = || std::fs::metadata(lock_path(root.path())).expect("there").mode() & 0o777;
        let lock = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free");
        assert!(lock.is_held() && mode() == 0o600);
        let directory = File::open(root.path()).expect("a directory can be opened");
        FileExt::try_lock_exclusive(&directory).expect("free");
        FileExt::unlock(&directory).expect("held");
        drop(lock);
        // The mode of an earlier version.
        let file = File::open(lock_path(root.path())).expect("there");
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).expect("ours");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn shared_lock_creates_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("no lock file, no holder");
        assert_eq!(std::fs::read_dir(root.path()).expect("listable").count(), 0);
    }
}
