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
use std::time::{Duration, SystemTime};

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
    /// Looks at what there is. Makes nothing.
    ///
    /// # Errors
    ///
    /// When a folder cannot be listed, or a run's stamp cannot be read.
    pub fn open(store: &FilesystemStore) -> Result<Quarantine, Error> {
        let path = folder(store);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Quarantine { runs: Vec::new() }),
            entries => entries.context("list", &path)?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.context("list", &path)?;
            // A link would lead anywhere.
            if entry.file_type().context("look at", entry.path())?.is_dir() {
                runs.push(Run::open(&entry.path())?);
            }
        }
        runs.sort_by(|a, b| a.id().cmp(b.id()));
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

/// Begins a run.
///
/// # Errors
///
/// When its folder cannot be made, or the store is not all on the filesystem of its root.
pub fn begin(store: &FilesystemStore, purpose: Purpose, now: Timestamp) -> Result<Run, Error> {
    let own = store.root().join(layout::OWN_FOLDER);
    let opened = open_own(&own).context("open", &own)?;
    make(&opened, QUARANTINE).context_with("create", || folder(store))?;
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
    let run = Run::begin(&quarantine, &folder(store), purpose, now)?;
    match clocks_agree(&run, now) {
        Ok(()) => Ok(run),
        Err(error) => {
            run.remove_if_empty(store)?;
            Err(error)
        }
    }
}

/// Makes sure that the storage's clock, which says how old things are, is this machine's, by which they wait (A4).
fn clocks_agree(run: &Run, now: Timestamp) -> Result<(), Error> {
    let path = run.path().join(run::STAMP);
    let written = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).context("look at", &path)?;
    let now = SystemTime::try_from(now).unwrap_or(written);
    let apart = now.duration_since(written).unwrap_or_else(|error| error.duration());
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

fn make(of: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(of, name, Mode::from_raw_mode(0o755)) {
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
        if entry.file_type().is_dir() || (entry.depth() == 1 && entry.file_name() == run::STAMP) {
            continue;
        }
        let place = entry.path().strip_prefix(path).expect("the walk began there");
        match Target::of_path(&Path::new(layout::V2).join(place)).filter(|_| entry.file_type().is_file()) {
            Some(target) => {
                let metadata = entry.metadata().map_err(io::Error::from).context("look at", entry.path())?;
                let modified = metadata.modified().context("look at", entry.path())?;
                held.push(Held { target, stat: Stat { size_bytes: metadata.len(), modified } });
            }
            None => unrecognised += 1,
        }
    }
    held.sort_by(|a, b| a.target.cmp(&b.target));
    Ok((held, unrecognised))
}
