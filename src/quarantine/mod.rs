//! What was moved aside instead of being removed: `<root>/.regsweep/quarantine/<run>/`, a mirror of `docker/registry/v2` for each run.
//!
//! A run's folder is all that there is to know of it: what lies in it at `blobs/...` or `repositories/...` was at that place below
//! `docker/registry/v2`, and moving it there by hand undoes the run. `run.json` says who moved it and when. Nothing in there is ever
//! replaced, and nothing leaves it but by [`Run::put_back`] and [`Run::drop_for_good`].
//!
//! The quarantine shares the filesystem of what it takes in: a rename is atomic and needs no room, a copy is neither.

mod overlay;
mod run;
mod settle;
mod vacuum;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use walkdir::WalkDir;

pub use self::overlay::Overlay;
pub use self::run::{Boot, Purpose, Run, Stamp};
pub use self::settle::{Needed, Replaced, Settled, needed, purge, put_back};
pub use self::vacuum::Quarantining;
use crate::error::{Context as _, Error};
use crate::layout::{self, Target};
use crate::mark::blobs::Amount;
use crate::store::{FilesystemStore, Stat};

/// Clocks of a machine and of its storage may differ by so much.
const CLOCKS_APART: Duration = Duration::from_secs(300);
/// The folder of all runs, in our own.
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
}

impl Quarantine {
    /// Looks at what there is. Makes nothing. Folders whose names are not those of runs are somebody's own: they are left alone.
    ///
    /// # Errors
    ///
    /// When a folder cannot be listed, or a run's stamp cannot be read.
    pub fn open(store: &FilesystemStore) -> Result<Quarantine, Error> {
        let path = folder(store);
        match open_own(path.parent().expect("it lies in our own")).and_then(|own| child(&own, QUARANTINE)) {
            Err(Errno::NOENT) => return Ok(Quarantine { runs: Vec::new() }),
            // Not through a link, which may lead anywhere.
            opened => opened.context("open", &path)?,
        };
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&path).context("list", &path)? {
            let entry = entry.context("list", &path)?;
            if run::is_id(&entry.file_name()) && entry.file_type().context("look at", entry.path())?.is_dir() {
                runs.push(Run::open(&entry.path())?);
            } else {
                tracing::warn!("{} is no run of regsweep, and is left alone", crate::escape::escaped(entry.path()));
            }
        }
        runs.sort_by(|a, b| (a.stamp().began, a.id()).cmp(&(b.stamp().began, b.id())));
        Ok(Quarantine { runs })
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
}

/// Begins a run. What it is about was looked at since `began`, which is so long ago.
///
/// # Errors
///
/// When its folder cannot be made, the store is not all on the filesystem of its root, or its clock is not ours.
pub fn begin(store: &FilesystemStore, purpose: Purpose, began: Timestamp, elapsed: Duration) -> Result<Run, Error> {
    let own = store.root().join(layout::OWN_FOLDER);
    let opened = open_own(&own).context("open", &own)?;
    make(&opened, QUARANTINE, store).context_with("create", || folder(store))?;
    let quarantine = child(&opened, QUARANTINE).context_with("open", || folder(store))?;
    let device = |folder: &OwnedFd| rustix::fs::fstat(folder).map(|stat| stat.st_dev);
    let ours = device(&quarantine).context_with("look at", || folder(store))?;
    for (base, path) in store.bases() {
        if device(base).context("look at", path)? != ours {
            let message = format!(
                "{} is on another filesystem than {}, and nothing can be moved between the two at once; run without a quarantine",
                crate::escape::escaped(path),
                crate::escape::escaped(folder(store))
            );
            return Err(Error::Usage(message));
        }
    }
    let mut run = Run::begin(&quarantine, &folder(store), purpose, began)?;
    match clocks_agree(&mut run, elapsed) {
        Ok(()) => Ok(run),
        Err(error) => {
            run.remove_if_empty(store)?;
            Err(error)
        }
    }
}

/// Makes sure that the storage's clock, which says how old things are, is this machine's, by which they wait (A4).
fn clocks_agree(run: &mut Run, elapsed: Duration) -> Result<(), Error> {
    let apart = run.compare_clocks(elapsed)?;
    match apart > CLOCKS_APART {
        true => Err(Error::Brake {
            reason: format!("the clock of the storage and that of this machine are {} s apart", apart.as_secs()),
            lift: "set the one that is wrong: how long things wait in quarantine is counted by both".to_owned(),
        }),
        false => Ok(()),
    }
}

/// Where the runs are.
pub fn folder(store: &FilesystemStore) -> PathBuf {
    store.root().join(layout::OWN_FOLDER).join(QUARANTINE)
}

fn open_own(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn child(of: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(of, name, flags, Mode::empty())
}

/// Makes the folder of all runs: nobody may look into it who may not look at the store.
fn make(of: &OwnedFd, name: &str, store: &FilesystemStore) -> rustix::io::Result<()> {
    let mut mode = 0o777;
    let above = Path::new(layout::V2).ancestors().map(|folder| rustix::fs::stat(store.root().join(folder)));
    for stat in above.chain(store.bases().map(|(base, _)| rustix::fs::fstat(base))) {
        mode &= stat?.st_mode;
    }
    match rustix::fs::mkdirat(of, name, Mode::from_raw_mode(mode | 0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Lists the files of a run. Also counts those that were at no place that the layout knows.
fn contents(path: &Path) -> Result<(Vec<Held>, u64), Error> {
    let mut held = Vec::new();
    let mut unrecognised = 0;
    for entry in WalkDir::new(path).min_depth(1) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let at = error.path().unwrap_or(path).to_owned();
                return Err(Error::Io { operation: "list", path: at, source: error.into() });
            }
        };
        let is_stamp = entry.depth() == 1 && run::STAMPS.iter().any(|stamp| entry.file_name() == *stamp);
        if entry.file_type().is_dir() || is_stamp {
            continue;
        }
        let place = entry.path().strip_prefix(path).expect("the walk began there");
        match Target::of_path(&Path::new(layout::V2).join(place)).filter(|_| entry.file_type().is_file()) {
            Some(target) => {
                let metadata = entry.metadata().map_err(io::Error::from).context("look at", entry.path())?;
                let modified = metadata.modified().context("look at", entry.path())?;
                held.push(Held { target, stat: Stat::new(metadata.len(), modified) });
            }
            None => unrecognised += 1,
        }
    }
    held.sort_by(|a, b| a.target.cmp(&b.target));
    Ok((held, unrecognised))
}
