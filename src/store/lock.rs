//! The lock that keeps two regsweeps out of each other's way.
//!
//! It excludes only our own processes: the registry takes no lock at all. The kernel releases it with the process, so it is never
//! stale, and the file stays where it is: removing it would let a third process in beside a second.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;
use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout::OWN_FOLDER;

/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Proof that this process holds the lock, until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    _file: Option<File>,
}

impl StoreLock {
    /// Takes the lock for changing the store, and waits for it up to `wait`. Creates `.regsweep/lock` below `root` if need be.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process still holds it then; [`Error::Io`] when the file cannot be made or locked.
    pub fn exclusive(root: &Path, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<StoreLock, Error> {
        let path = lock_path(root);
        let folder = root.join(OWN_FOLDER);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).context("create", folder),
            _ => {}
        }
        let file = open_own(root, OFlags::RDWR | OFlags::CREATE).context("open", &path)?;
        // Fully qualified: `File` has methods of its own with these names by now.
        hold(&file, &path, wait, stop, FileExt::try_lock_exclusive)?;
        // The text is for people, and a full disk is when they collect: that it cannot be written must not stop the run.
        if let Err(error) = tell(&file, now) {
            tracing::warn!("cannot write to {}: {error}", escaped(&path));
        }
        Ok(StoreLock { _file: Some(file) })
    }

    /// Takes the lock for looking only. Without a lock file nobody ever changed this store through us, and none is made.
    ///
    /// # Errors
    ///
    /// As [`StoreLock::exclusive`].
    pub fn shared(root: &Path, wait: Duration, stop: &AtomicBool) -> Result<StoreLock, Error> {
        let path = lock_path(root);
        let file = match open_own(root, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StoreLock { _file: None }),
            Err(error) => return Err(error).context("open", path),
        };
        hold(&file, &path, wait, stop, FileExt::try_lock_shared)?;
        Ok(StoreLock { _file: Some(file) })
    }
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

fn hold(
    file: &File,
    path: &Path,
    wait: Duration,
    stop: &AtomicBool,
    attempt: impl Fn(&File) -> io::Result<()>,
) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        match attempt(file) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() => {
                return Err(error).context("lock", path);
            }
            Err(_) if stop.load(Ordering::Relaxed) => return Err(Error::Interrupted),
            Err(_) if begun.elapsed() >= wait => {
                return Err(Error::Locked { path: path.to_owned(), holder: holder(file) });
            }
            Err(_) => thread::sleep(RETRY.min(wait.saturating_sub(begun.elapsed()))),
        }
    }
}

fn tell(mut file: &File, now: Timestamp) -> io::Result<()> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    file.set_len(0)?;
    writeln!(file, "process {} on {host}, since {now:.0}", std::process::id())
}

fn holder(mut file: &File) -> String {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(256).read_to_end(&mut text));
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
    fn looking_leaves_nothing_behind() {
        let root = tempfile::tempdir().expect("a folder");
        StoreLock::shared(root.path(), Duration::ZERO, &GO_ON).expect("no lock file, no holder");
        assert_eq!(std::fs::read_dir(root.path()).expect("listable").count(), 0);
    }
}
