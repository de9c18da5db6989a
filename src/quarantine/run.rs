//! One run's folder: its stamp, what it holds, and the ways out of it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{CLOCKS_APART, Held, child, contents, open_own};
use crate::error::{Context as _, Error};
use crate::layout::Target;
use crate::oci::Digest;
use crate::store::filesystem::aside::Return;
use crate::store::filesystem::condition::Condition;
use crate::store::{FilesystemStore, Stat};

/// The file that says who made a run and when.
const STAMP: &str = "run.json";
/// The same while it is written.
const NEW_STAMP: &str = "run.json.new";
/// The files in a run's folder that are not what it holds.
pub(super) const STAMPS: [&str; 2] = [STAMP, NEW_STAMP];
/// Times of files may be cut down to this.
const COARSENESS: Duration = Duration::from_secs(1);
/// Runs that may begin within one second.
const RUNS_A_SECOND: u32 = 1000;

/// Why things were moved aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Nothing needed them. They go for good when they have waited long enough and nothing needs them still.
    GarbageCollect,
    /// Their bytes are not what their digests say. They wait until somebody says what is to become of them.
    Verify,
}

impl Purpose {
    /// What the name of a run says of it.
    fn of_id(id: &str) -> Purpose {
        let is_verify = id.split_once('-').is_some_and(|(_, name)| name.starts_with(Purpose::Verify.name()));
        if is_verify { Purpose::Verify } else { Purpose::GarbageCollect }
    }

    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::GarbageCollect => "garbage-collect",
            Purpose::Verify => "verify",
        }
    }
}

/// A machine's time since it was started: a clock that nobody sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// Which start.
    pub id: String,
    /// How long ago, in seconds, times asleep included.
    pub uptime_seconds: f64,
}

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// The shape of this file.
    pub schema: u32,
    /// Why.
    pub purpose: Purpose,
    /// When the run began.
    pub began: Timestamp,
    /// The same by the clock that the store's files get their times from, which may be another machine's.
    #[serde(default)]
    pub began_by_store: Option<Timestamp>,
    /// When the last thing had been moved and the disk had it all. Nothing while the run goes on, or after a crash.
    pub finished: Option<Timestamp>,
    /// By the clock that nobody sets.
    pub boot: Option<Boot>,
}

/// A run in quarantine.
#[derive(Debug)]
pub struct Run {
    id: String,
    path: PathBuf,
    mirror: OwnedFd,
    stamp: Stamp,
    held: Vec<Held>,
    unrecognised: u64,
}

impl Run {
    pub(super) fn begin(quarantine: &OwnedFd, path: &Path, purpose: Purpose, now: Timestamp) -> Result<Run, Error> {
        let second = now.strftime("%Y%m%dT%H%M%SZ");
        let names = (1..=RUNS_A_SECOND).map(|number| match number {
            1 => format!("{second}-{}", purpose.name()),
            more => format!("{second}-{}-{more}", purpose.name()),
        });
        for id in names {
            let path = path.join(&id);
            match rustix::fs::mkdirat(quarantine, &id, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => continue,
                made => made.context("create", &path)?,
            }
            let mirror = child(quarantine, &id).context("open", &path)?;
            let stamp = Stamp { schema: 1, purpose, began: now, began_by_store: None, finished: None, boot: None };
            let run = Run { id, path, mirror, stamp, held: Vec::new(), unrecognised: 0 };
            run.write_stamp()?;
            return Ok(run);
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("create a folder in", path)
    }

    pub(super) fn open(path: &Path) -> Result<Run, Error> {
        let mirror = open_own(path).context("open", path)?;
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stamp = match read_stamp(&mirror).context_with("read", || path.join(STAMP))? {
            Some(text) => understood(&text).context_with("understand", || path.join(STAMP))?,
            // Nothing had been moved when its run was cut off; or somebody removed it, and nobody knows how long things have waited.
            None => {
                let purpose = Purpose::of_id(&id);
                Stamp { schema: 1, purpose, began: Timestamp::UNIX_EPOCH, began_by_store: None, finished: None, boot: None }
            }
        };
        let (held, unrecognised) = contents(path)?;
        Ok(Run { id, path: path.to_owned(), mirror, stamp, held, unrecognised })
    }

    /// Its name: when it began, and by which command.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its stamp says.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// When it began, by the store's clock or not long before.
    pub fn began(&self) -> SystemTime {
        let (began, slack) = match self.stamp.began_by_store {
            Some(by_store) => (by_store.min(self.stamp.began), COARSENESS),
            None => (self.stamp.began, CLOCKS_APART),
        };
        SystemTime::try_from(began).ok().and_then(|began| began.checked_sub(slack)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Compares the store's clock with ours: the stamp has been written just now, and the run began so long ago. Says how far they are
    /// apart.
    pub(super) fn compare_clocks(&mut self, elapsed: Duration) -> Result<Duration, Error> {
        let path = self.path.join(STAMP);
        let written = path.metadata().and_then(|metadata| metadata.modified()).context("look at", &path)?;
        let by_store = written.checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH);
        let by_us = SystemTime::try_from(self.stamp.began).unwrap_or(by_store);
        self.stamp.began_by_store = Timestamp::try_from(by_store).ok();
        Ok(by_us.duration_since(by_store).unwrap_or_else(|error| error.duration()))
    }

    /// What it held when it was opened, in order.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// Files in its folder that are at no place that the layout knows. They are left alone.
    pub fn unrecognised(&self) -> u64 {
        self.unrecognised
    }

    pub(super) fn mirror(&self) -> &OwnedFd {
        &self.mirror
    }

    /// Whether things have waited here for so long, by every clock there is. A run that was cut off has not begun to wait.
    pub fn has_waited(&self, wait: Duration, now: Timestamp, boot: Option<&Boot>) -> bool {
        let Some(finished) = self.stamp.finished else { return false };
        let by_date = Duration::try_from(now.duration_since(finished)).is_ok_and(|waited| waited >= wait);
        let by_boot = match (&self.stamp.boot, boot) {
            (Some(then), Some(now)) if then.id == now.id => now.uptime_seconds - then.uptime_seconds >= wait.as_secs_f64(),
            _ => true,
        };
        by_date && by_boot
    }

    /// Notes that the last thing has been moved. The store has to be flushed before.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn finish(&mut self, now: Timestamp, boot: Option<Boot>) -> Result<(), Error> {
        self.stamp.finished = Some(now);
        self.stamp.boot = boot;
        self.write_stamp()
    }

    /// Moves something to where it was. Replaces nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    pub fn put_back(&self, store: &FilesystemStore, target: &Target) -> Result<Return, Error> {
        store.put_back(target, &self.mirror)
    }

    /// Removes something for good. Says whether it was there.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn drop_for_good(&self, store: &FilesystemStore, target: &Target) -> Result<bool, Error> {
        store.drop_aside(target, &self.mirror)
    }

    /// Removes something that the store has the same of. Says whether it did.
    ///
    /// # Errors
    ///
    /// When nobody can tell, or it cannot be removed.
    pub fn drop_copy(&self, store: &FilesystemStore, target: &Target) -> Result<bool, Error> {
        store.drop_copy(target, &self.mirror)
    }

    /// Looks at something again.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn look_at(&self, store: &FilesystemStore, target: &Target) -> Result<Option<Stat>, Error> {
        Ok(match store.stat_aside(target, &self.mirror)? {
            crate::store::Leaf::File(stat) => Some(stat),
            _ => None,
        })
    }

    /// Looks at a blob again: which file it is, and when it was touched.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn condition(&self, store: &FilesystemStore, digest: &Digest) -> Result<Option<Condition>, Error> {
        store.condition_aside(digest, &self.mirror)
    }

    /// Hashes a blob: whether its bytes come to its digest; nothing if it is not there. What `verify` has quarantined may have been
    /// written on by whoever had it open, and what is whole must never be purged.
    ///
    /// # Errors
    ///
    /// When it cannot be read to its end.
    pub fn is_whole(&self, store: &FilesystemStore, digest: &Digest) -> Result<Option<bool>, Error> {
        store.is_whole_aside(digest, &self.mirror)
    }

    /// Removes the run's folder if it holds nothing any more.
    ///
    /// # Errors
    ///
    /// When that cannot be told, or not be done.
    pub fn remove_if_empty(&self, store: &FilesystemStore) -> Result<bool, Error> {
        store.remove_emptied(&self.path, &STAMPS)
    }

    fn write_stamp(&self) -> Result<(), Error> {
        let path = self.path.join(STAMP);
        let write = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.mirror, NEW_STAMP, flags, Mode::from_raw_mode(0o644))?;
            let mut file = std::fs::File::from(file);
            io::Write::write_all(&mut file, &[&serde_json::to_vec_pretty(&self.stamp)?[..], b"\n"].concat())?;
            file.sync_all()?;
            rustix::fs::renameat(&self.mirror, NEW_STAMP, &self.mirror, STAMP)?;
            rustix::fs::fsync(&self.mirror)?;
            Ok(())
        };
        write().context("write", &path)
    }
}

/// Whether a folder of that name is a run: `20261124T230000Z-garbage-collect`.
pub(super) fn is_id(name: &OsStr) -> bool {
    let Some((second, command)) = name.to_str().and_then(|name| name.split_once('-')) else { return false };
    let is_second = second.len() == 16
        && second.bytes().enumerate().all(|(place, byte)| match place {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    // The second one of a second has a number.
    let is_of = |purpose: &Purpose| {
        let rest = command.strip_prefix(purpose.name());
        let number = rest.map(|rest| rest.strip_prefix('-').unwrap_or(rest));
        rest == Some("") || number.is_some_and(|number| rest != Some(number) && number.parse::<u32>().is_ok())
    };
    is_second && [Purpose::GarbageCollect, Purpose::Verify].iter().any(is_of)
}

fn understood(text: &[u8]) -> io::Result<Stamp> {
    let with_step = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("{error}; remove the file, and what is in its folder begins to wait anew"))
    };
    let stamp: Stamp = serde_json::from_slice(text).map_err(|error| with_step(&error))?;
    match stamp.schema {
        1 => Ok(stamp),
        other => Err(io::Error::other(format!("its schema is {other}: a newer regsweep wrote it"))),
    }
}

fn read_stamp(mirror: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(mirror, STAMP, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(file), 1 << 16), &mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_told_from_others() {
        for (name, purpose) in [
            ("20261124T230000Z-garbage-collect", Purpose::GarbageCollect),
            ("20261124T230000Z-garbage-collect-2", Purpose::GarbageCollect),
            ("20261124T230000Z-verify", Purpose::Verify),
            ("20261124T230000Z-verify-12", Purpose::Verify),
        ] {
            assert!(is_id(OsStr::new(name)), "{name}");
            assert_eq!(Purpose::of_id(name), purpose, "{name}");
        }
        for name in [
            "",
            "-",
            "backup",
            "lost+found",
            "20261124T230000Z",
            "20261124-garbage-collect",
            "20261124T230000Z-mine",
            "20261124T230000Z-verify.bak",
        ] {
            assert!(!is_id(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn stamps_of_others_are_not_understood() {
        let stamp = |schema| format!(r#"{{"schema":{schema},"purpose":"verify","began":"2026-11-24T23:00:00Z"}}"#);
        assert_eq!(understood(stamp(1).as_bytes()).expect("ours").purpose, Purpose::Verify);
        assert!(understood(stamp(2).as_bytes()).expect_err("newer").to_string().contains("newer"));
        assert!(understood(b"").expect_err("empty").to_string().contains("remove the file"));
    }
}
