//! The lock that keeps two regsweeps out of each other's way.
//!
//! It excludes only our own processes: the registry takes no lock at all. The kernel releases it with the process, so it is never
//! stale.
//!
//! The lock is the file `.regsweep/lock`, which says who holds it, and which other machines see where the root is on a network
//! filesystem. Nobody but its owner may open it (mode 0600): whoever can open a file can lock it, and keep everybody out. It stays
//! where it is: removing it would let a third process in beside a second. Runs that only look never make it.
//!
//! Where there is no such file, and none can be made on a full disk, the root directory is locked in its place; that takes no room.
//! Whoever can read the store can do the same, so a lock on the directory counts only if a regsweep holds it that may write there
//! (`holds_directory`). Whoever has the file looks for such a one too: it may have begun before there was room for the file.
//!
//! Runs that only look take the lock if they can, and say so if they cannot: see [`LockGuard::is_held`].

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
/// The lock file is its owner's alone.
const FILE_MODE: u32 = 0o600;

/// Proof that this process holds the lock, until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock {
    directory: Option<File>,
    file: Option<File>,
}

impl StoreLock {
    /// Takes the lock for changing the store, and waits for it up to `wait`. Creates `.regsweep/lock` below `root` if need be, and
    /// does without it on a full disk.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process still holds it then; [`Error::Io`] when the file cannot be made or locked.
    pub(super) fn exclusive(root: &Path, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<StoreLock, Error> {
        // Fully qualified: `File` has methods of its own with these names by now.
        let attempt = Attempt { root, wait, begun: Instant::now(), stop, lock: FileExt::try_lock_exclusive };
        let file = match make_own(root) {
            Ok(file) => file,
            Err(error) if is_full(&error) => {
                tracing::warn!("{error}; {} alone is locked, which other machines may not see", escaped(root));
                return Ok(StoreLock { directory: attempt.hold_directory(&|_| true)?, file: None });
            }
            Err(error) => return Err(error),
        };
        let directory = match attempt.hold_file(&file)? {
            // Somebody may have begun when there was no room for the file.
            true => attempt.wait_for_directory().map(|()| None)?,
            false => attempt.hold_directory(&|_| true)?,
        };
        // The text is for people: that it cannot be written must not stop the run.
        if let Err(error) = tell(&file, now) {
            tracing::warn!("cannot write to {}: {error}", escaped(lock_path(root)));
        }
        Ok(StoreLock { directory, file: Some(file) })
    }

    /// Takes the lock for looking only, and makes nothing. What may not be opened is not locked: [`LockGuard::is_held`].
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process changes the store; [`Error::Io`] when the lock file is none of ours.
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
            // A first run that changes something is kept out by this.
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

/// One process's way to the lock.
struct Attempt<'a> {
    root: &'a Path,
    wait: Duration,
    begun: Instant,
    stop: &'a AtomicBool,
    lock: fn(&File) -> io::Result<()>,
}

impl Attempt<'_> {
    /// Locks the file. Says whether files can be locked here at all.
    fn hold_file(&self, file: &File) -> Result<bool, Error> {
        match self.hold(file, &|_| true) {
            Ok(()) => Ok(true),
            Err(Refusal::Io(error)) if cannot_lock(&error) => Ok(false),
            Err(refusal) => Err(self.error(refusal, lock_path(self.root))),
        }
    }

    /// Locks the root directory; nothing if that cannot be done here, or somebody has it who does not count.
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

    /// Waits until no regsweep holds the root directory, and does not keep it.
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

    /// Locks a file, and waits for those that count.
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

/// Why the lock was not had.
enum Refusal {
    /// Another process has it.
    Locked,
    /// Another process has it that does not count.
    Stranger,
    /// A signal came while it was waited for.
    Stopped,
    /// It cannot be had at all.
    Io(io::Error),
}

/// Whether a regsweep of this machine that may write to a directory has locked it. Anybody who may read it can lock it, and stop
/// nobody by that.
fn holds_directory(directory: &File) -> bool {
    let Ok(there) = directory.metadata() else { return true };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // The device is not compared: some filesystems tell another one here.
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

/// As whom a process works.
struct Credentials {
    user: u32,
    groups: Vec<u32>,
}

impl Credentials {
    /// Nothing if the system does not say.
    fn of(process: &Path) -> Option<Credentials> {
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let numbers = |key: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
        };
        // Of four users and groups the last one is that which the filesystem asks for.
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

/// Makes the lock file and its directory if they are not there, and opens it.
fn make_own(root: &Path) -> Result<File, Error> {
    let directory = root.join(OWN_DIRECTORY);
    match std::fs::create_dir(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).context("create", directory),
        _ => {}
    }
    let file = open_own(root, OFlags::RDWR | OFlags::CREATE).context_with("open", || lock_path(root))?;
    // Before it is locked: who has opened it until now may still hold it, and nobody else from now on.
    keep_to_ourselves(&file);
    Ok(file)
}

/// Keeps others from locking a file that an earlier version made for all to open.
fn keep_to_ourselves(file: &File) {
    if file.metadata().is_ok_and(|there| there.mode() & 0o077 != 0) {
        let _another_users = rustix::fs::fchmod(file, Mode::from_raw_mode(FILE_MODE));
    }
}

/// Opens the lock file, which is one of our own and nothing else: whoever may write to the root directory could have put a link
/// there that leads to any file of the machine, or a fifo that nobody writes to.
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
        false => Err(io::Error::other("it is no file of ours; remove it")),
    }
}

fn lock_path(root: &Path) -> PathBuf {
    root.join(OWN_DIRECTORY).join("lock")
}

/// Whether there is no room for a file.
fn is_full(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    matches!(errno(source), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether this filesystem, or the kernel, does not lock files, or not directories.
fn cannot_lock(error: &io::Error) -> bool {
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
        let root = tempfile::tempdir().expect("a directory");
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
        let root = tempfile::tempdir().expect("a directory");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let _looks = StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("free");
        let refused = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect_err("somebody looks");
        assert!(refused.to_string().contains("has not said who it is"), "{refused}");
    }

    /// As when a disk was full for the holder's file, and as when there is one.
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
        // The first of these makes the file, the second finds it: neither sees less for that.
        refused("directory, no file");
        refused("directory, and a file");
        FileExt::unlock(&directory).expect("held");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        let file = File::open(lock_path(root.path())).expect("it stays");
        FileExt::try_lock_exclusive(&file).expect("free");
        refused("file");
        FileExt::try_lock_exclusive(&directory).expect("who was refused at the file does not keep the directory");
    }

    #[test]
    fn the_file_is_its_owners_alone_and_keeps_the_directory_free() {
        let root = tempfile::tempdir().expect("a directory");
        let mode = || std::fs::metadata(lock_path(root.path())).expect("there").mode() & 0o777;
        let lock = StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free");
        assert!(lock.is_held() && mode() == 0o600);
        let directory = File::open(root.path()).expect("a directory can be opened");
        FileExt::try_lock_exclusive(&directory).expect("nobody needs it");
        FileExt::unlock(&directory).expect("held");
        drop(lock);
        // As an earlier version made it.
        let file = File::open(lock_path(root.path())).expect("there");
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).expect("ours");
        drop(StoreLock::exclusive(root.path(), Duration::ZERO, now(), &GO_ON).expect("free"));
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let root = tempfile::tempdir().expect("a directory");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("no lock file, no holder");
        assert_eq!(std::fs::read_dir(root.path()).expect("listable").count(), 0);
    }
}
