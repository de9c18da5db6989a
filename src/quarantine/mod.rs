//! What was quarantined instead of being removed: `<root>/.regsweep/quarantine/<run>/`, a mirror of `docker/registry/v2` for each run.
//!
//! A run's directory is all that there is to know of it: what lies in it at `blobs/...` or `repositories/...` was at that place below
//! `docker/registry/v2`, and moving it there by hand undoes the run. `run.json` says who moved it and when. Nothing in there is ever
//! replaced. The quarantine shares the filesystem of what it takes in: a rename is atomic and needs no room, a copy is neither.
//!
//! # The protocol
//!
//! A collection with a quarantine goes through these steps. Nothing is changed before all that can refuse has been asked.
//!
//! 1. **Read.** [`needed`] marks the store together with the quarantine and says what of it something needs by now. The plan of the
//!    collection is made over the same view: what is in quarantine keeps its links and what it needs, so that it can be restored whole.
//! 2. **Refuse.** Brakes, limits, room, outputs, clocks.
//! 3. **Restore** what is needed. What comes back counts as young from then on ([`records`](crate::records)).
//! 4. **Quarantine** what the plan lists.
//! 5. **Rescue.** Beside a registry at work, look at once, a little later and once more for pushes that need what has just gone.
//! 6. **Purge** what has waited long enough, through one [`Gate`]. It comes last, and only if everything before it went well.
//!
//! # The gate
//!
//! Nothing is purged but through [`purge`], which asks of everything: has it waited ([`Wait`], [`Run::has_waited`]); does a complete mark
//! that was made in this run, under the lock, need it, or does what stays in quarantine; does a process of this machine have it open for
//! writing; has it changed since it was quarantined. No flag skips the last three. What this machine cannot see (other nodes, processes of
//! others) is covered by the last one: a file that somebody still wrote to has another modification time, and one that was touched in any
//! other way is hashed.

mod check;
mod named;
mod needed;
mod overlay;
mod purge;
mod restore;
mod run;
mod tree;
mod vacuum;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, Statx, StatxFlags};
use rustix::io::Errno;

pub use self::check::{check, suspects};
pub use self::named::{Named, named_by};
pub use self::needed::{Needed, Reader, needed};
pub use self::overlay::Overlay;
pub use self::purge::{Gate, Proof, Purgeable, Wait, Withheld, is_due, purge};
pub use self::restore::{Replaced, restore};
pub use self::run::{Purpose, Run, Stamp};
pub use self::vacuum::Quarantining;
use crate::amount::Amount;
use crate::clock::{RunClock, TOLERANCE};
use crate::error::{Context as _, Error};
use crate::layout::{self, Shard, Target};
use crate::records::Protected;
use crate::store::directory::{self, Kind, for_each_entry, open_directory_beneath};
use crate::store::own::OwnDirectory;
use crate::store::{FileState, FilesystemStore, Stat, Store as _};

/// A file in the list of a run, the name of its repository, and its place in what a mark is laid over, in what is asked of the store, and in
/// what is protected.
const BYTES_A_FILE: u64 = 4 * size_of::<Held>() as u64;

/// The directory of all runs, in our own.
const QUARANTINE: &str = "quarantine";

/// The runs of one store that still hold something.
#[derive(Debug)]
pub struct Quarantine {
    /// The oldest first.
    pub runs: Vec<Run>,
}

/// Something that a run holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it was.
    pub target: Target,
    /// What it is.
    pub stat: Stat,
    /// When anything about it last changed; our own rename does that too.
    pub changed: SystemTime,
}

/// What became of things in quarantine, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blobs.
    pub blobs: Amount,
    /// Links.
    pub links: u64,
    /// Things that were in the store again already.
    pub replaced: u64,
    /// What could not be moved or removed, in words.
    pub failed: Vec<(Target, String)>,
}

impl Moved {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.blobs.count == 0 && self.links == 0 && self.replaced == 0
    }

    /// Counts one more.
    fn add(&mut self, held: &Held) {
        match held.target {
            Target::Blob(_) => self.blobs.add(held.stat.size_bytes),
            _ => self.links += 1,
        }
    }
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Moved) {
        self.blobs += other.blobs;
        self.links += other.links;
        self.replaced += other.replaced;
        self.failed.extend(other.failed);
    }
}

impl Quarantine {
    /// Looks at what there is. Makes nothing. Directories whose names are not those of runs are somebody's own: they are left alone.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or a run's stamp cannot be read.
    pub fn open(store: &FilesystemStore) -> Result<Quarantine, Error> {
        let path = directory_of(store);
        let mut quarantine = Quarantine { runs: Vec::new() };
        let Some(own) = OwnDirectory::open(store.root().path())? else { return Ok(quarantine) };
        let all = match open_directory_beneath(own.descriptor(), QUARANTINE.as_bytes()) {
            Err(Errno::NOENT) => return Ok(quarantine),
            opened => Arc::new(opened.context("open", &path)?),
        };
        let mut names = Vec::new();
        for_each_entry(&*all, |name, kind| -> std::io::Result<()> {
            match std::str::from_utf8(name).ok().filter(|name| kind == Kind::Directory && run::is_id(name)) {
                Some(name) => names.push(name.to_owned()),
                None => {
                    let name = crate::escape::escaped_bytes(name);
                    tracing::warn!("{}/{name} is no run of regsweep, and is left alone", crate::escape::escaped(&path));
                }
            }
            Ok(())
        })
        .context("list", &path)?;
        for name in names {
            quarantine.runs.extend(Run::open(&all, &path, &name)?);
        }
        quarantine.runs.sort_by(|a, b| (a.stamp().began, a.id()).cmp(&(b.stamp().began, b.id())));
        Ok(quarantine)
    }

    /// The run that began last: by the boot-time clock where it has seen both, which nobody can set back.
    pub fn newest(&self) -> Option<&Run> {
        let uptime = |run: &Run, id: &str| run.stamp().boot.as_ref().filter(|boot| boot.id == id).map(|boot| boot.uptime_seconds);
        self.runs.iter().reduce(|newest, run| {
            let boot = newest.stamp().boot.as_ref();
            match boot.and_then(|boot| Some((boot.uptime_seconds, uptime(run, &boot.id)?))) {
                Some((newest_ended, ended)) if newest_ended > ended => newest,
                // They are in the order of the wall clock.
                _ => run,
            }
        })
    }

    /// The runs of collections: of things that nothing needed.
    pub fn collected(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.stamp().purpose == Purpose::GarbageCollect)
    }

    /// How much is in it.
    pub fn amount(&self) -> Amount {
        let mut all = Amount::default();
        for held in self.runs.iter().flat_map(Run::held).filter(|held| matches!(held.target, Target::Blob(_))) {
            all.add(held.stat.size_bytes);
        }
        all
    }

    /// About how much memory the list of what is in it takes, and what is made of it while it is reconciled.
    pub fn memory_bytes(&self) -> u64 {
        let files = self.runs.iter().map(|run| run.held().len() as u64).sum::<u64>();
        files * BYTES_A_FILE
    }

    /// What would be restored of what is needed: what the store has again is not moved.
    ///
    /// # Errors
    ///
    /// When the store cannot be looked at.
    pub fn would_restore(&self, store: &FilesystemStore, needed: &Needed) -> Result<Moved, Error> {
        let mut all = Moved::default();
        for held in self.collected().flat_map(Run::held).filter(|held| needed.targets.contains(&held.target)) {
            let digest = *held.target.digest();
            let there = match held.target.link_directory() {
                Some(directory) => store.stat_links(directory, &[digest])?,
                None => store.stat_blobs(Shard::of(&digest), &[digest])?,
            };
            match there[..] {
                [FileState::Absent] => all.add(held),
                _ => all.replaced += 1,
            }
        }
        Ok(all)
    }

    /// Adds what a collection must keep in the store so that all of this can be restored whole. What a run that was killed has begun to
    /// move, the next one with a quarantine (`goes_on`) moves the rest of.
    pub fn protect(&self, goes_on: bool, protected: &mut Protected) {
        let whole = self.collected().filter(|run| !goes_on || run.stamp().finished.is_some());
        whole.flat_map(Run::held).for_each(|held| protected.add(&held.target));
    }

    /// All that is in it, with the run that holds it.
    pub fn held(&self) -> impl Iterator<Item = (&Run, &Held)> {
        self.runs.iter().flat_map(|run| run.held().iter().map(move |held| (run, held)))
    }

    /// The run of that name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn run(&self, id: &str) -> Result<&Run, Error> {
        self.runs.iter().find(|run| run.id() == id).ok_or_else(|| {
            Error::Usage(format!("no run {} is in quarantine; `regsweep quarantine list` names them", crate::escape::escaped(id)))
        })
    }

    /// Removes the directories of runs that hold nothing any more. That one cannot be removed costs nothing but its name.
    pub fn tidy(&self) {
        for run in &self.runs {
            if let Err(error) = run.remove_if_empty()
                && !error.is_vanished()
            {
                tracing::warn!("cannot tidy up after run {}: {error}", run.id());
            }
        }
    }
}

/// Begins a run of a command that began at the start of `clock`.
///
/// # Errors
///
/// When its directory cannot be made, the store is not all on the filesystem of its root, or its clock is not ours.
pub fn begin(store: &FilesystemStore, purpose: Purpose, clock: &RunClock) -> Result<Run, Error> {
    let path = directory_of(store);
    let own = OwnDirectory::open(store.root().path())?;
    let absent = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let own = own.ok_or_else(absent).context_with("open", || store.root().path().join(layout::OWN_DIRECTORY))?;
    make(own.descriptor(), store).context("create", &path)?;
    let quarantine = Arc::new(open_directory_beneath(own.descriptor(), QUARANTINE.as_bytes()).context("open", &path)?);
    ensure_one_filesystem(store)?;
    let mut run = Run::begin(&quarantine, &path, purpose, clock)?;
    match clocks_agree(&mut run, clock) {
        Ok(()) => Ok(run),
        Err(error) => {
            run.remove_if_empty()?;
            Err(error)
        }
    }
}

/// Makes sure that things can be moved to quarantine in one step each. Makes nothing.
///
/// # Errors
///
/// When the store is not all on the filesystem of its quarantine.
fn ensure_one_filesystem(store: &FilesystemStore) -> Result<(), Error> {
    let path = directory_of(store);
    let root = store.root().path();
    // What is there of it, or where it would be made.
    let own = path.parent().unwrap_or(root);
    let ours = [path.as_path(), own, root].into_iter().find_map(|place| mount_of(rustix::fs::CWD, place).ok());
    for (base, base_path) in store.bases() {
        let theirs = mount_of(base, Path::new("")).context("look at", base_path)?;
        if Some(theirs) != ours {
            let where_to = match ours.is_some_and(|ours| ours.0 == theirs.0) {
                true => "is mounted apart from",
                false => "is on another filesystem than",
            };
            let message = format!(
                "{} {where_to} {}, and nothing can be moved between the two at once; run without a quarantine",
                crate::escape::escaped(base_path),
                crate::escape::escaped(&path)
            );
            return Err(Error::Usage(message));
        }
    }
    Ok(())
}

/// The filesystem that a directory is on, and the mount, where the system tells (Linux 5.8): nothing is renamed from one mount to another, be
/// they of one filesystem.
fn mount_of(at: impl AsFd, path: &Path) -> rustix::io::Result<(u64, Option<u64>)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let device = rustix::fs::statat(&at, path, flags)?.st_dev;
    let told = rustix::fs::statx(&at, path, flags, StatxFlags::MNT_ID);
    let tells = |told: &Statx| StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((device, told.ok().filter(tells).map(|told| told.stx_mnt_id)))
}

/// Makes sure that the storage's clock, which says how old things are, is this machine's, by which they wait (A4).
fn clocks_agree(run: &mut Run, clock: &RunClock) -> Result<(), Error> {
    let apart = run.compare_clocks(clock)?;
    match apart > TOLERANCE {
        true => Err(Error::Brake {
            reason: format!("the clock of the storage and that of this machine are {} s apart", apart.as_secs()),
            lift: "set the one that is wrong: how long things wait in quarantine is counted by both".to_owned(),
        }),
        false => Ok(()),
    }
}

/// Where the runs are, for messages.
pub fn directory_of(store: &FilesystemStore) -> PathBuf {
    store.root().path().join(layout::OWN_DIRECTORY).join(QUARANTINE)
}

/// Makes the directory of all runs: nobody may look into it who may not look at the store.
fn make(own: &OwnedFd, store: &FilesystemStore) -> rustix::io::Result<()> {
    let mut mode = 0o777;
    let above = Path::new(layout::V2).ancestors().map(|directory| rustix::fs::stat(store.at(directory)));
    for stat in above.chain(store.bases().map(|(base, _)| rustix::fs::fstat(base))) {
        match stat {
            Ok(stat) => mode &= stat.st_mode,
            // It lies above what is mounted here.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    match rustix::fs::mkdirat(own, QUARANTINE, Mode::from_raw_mode(mode | 0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes sure that there is a place and room for what is to be quarantined: each file takes a directory of its own along.
///
/// # Errors
///
/// When there is less than that takes at least.
pub fn has_room(store: &FilesystemStore, files: u64, directories: u64) -> Result<(), Error> {
    ensure_one_filesystem(store)?;
    let path = store.root().path();
    let room = directory::open_directory(rustix::fs::CWD, path).and_then(rustix::fs::fstatvfs).context("look at", path)?;
    // Only ext gives a directory a block at once; with others it takes an inode, which some keep in blocks.
    let is_ext = rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u64 == EXT_MAGIC);
    let bytes_each = if is_ext { room.f_frsize } else { INODE_BYTES };
    let entries = files.saturating_mul(ENTRY_BYTES);
    let needed = directories.saturating_mul(bytes_each).saturating_add(entries).saturating_add(STAMP_BYTES);
    let is_full = |needed: u64, free: u64| free < needed;
    // A filesystem that makes inodes as it goes says that it has none.
    let inodes = room.f_files > 0 && is_full(directories.saturating_add(OWN_INODES), room.f_favail);
    let reason = if is_full(needed, room.f_bavail.saturating_mul(room.f_frsize)) {
        let free = crate::format::size(room.f_bavail.saturating_mul(room.f_frsize));
        format!("to quarantine {files} files takes {} for their directories, and {free} are free", crate::format::size(needed))
    } else if inodes {
        format!("to quarantine {files} files takes as many inodes for their directories, and {} are free", room.f_favail)
    } else {
        return Ok(());
    };
    let lift = "stop the registry and collect without a quarantine, which needs no room, or make some".to_owned();
    Err(Error::Brake { reason, lift })
}

/// What a name of a digest takes in the directory above it, where a part of each block is empty, and in the record of the sweep.
const ENTRY_BYTES: u64 = 192;
/// ext2, ext3 and ext4.
const EXT_MAGIC: u64 = 0xEF53;
/// What an inode takes at least where it is kept in blocks.
const INODE_BYTES: u64 = 256;
/// A run's directory, its stamp, twice while it is replaced, and the directories that all of it lies in.
const OWN_INODES: u64 = 6;
/// A run's stamp, twice while it is replaced, and its directories.
const STAMP_BYTES: u64 = 64 << 10;

/// A span that may be cut off anywhere: how long ago something was.
fn since(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}
