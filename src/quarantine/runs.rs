//! All runs of a store that hold something, and how another one begins.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

use super::Run;
use super::stamp::{Purpose, is_id};
use super::{Moved, Needed, Reader};
use crate::amount::Amount;
use crate::clock::{RunClock, TOLERANCE};
use crate::error::Error;
use crate::format::plural;
use crate::inventory::MEMORY_BESIDE;
use crate::layout::Target;
use crate::oci::Digest;
use crate::records::Protected;
use crate::registry_config::DescriptorCache;
use crate::store::{Backend, FileState, Held, Store, stat_targets};

/// What a file in quarantine takes at most while a command works with it, as measured: its place in the list of its run, and in what is made of that:
/// what a mark is laid over, what is asked of the store, what is protected, what is recorded and reported.
const BYTES_A_FILE: u64 = 800;
/// So much of it is in what a run takes anyway, whatever the limit.
const BYTES_ANYWAY: u64 = 8 << 20;

/// The runs of one store that still hold something.
#[derive(Debug)]
pub struct Quarantine<'s> {
    /// The oldest first.
    pub runs: Vec<Run<'s>>,
}

impl<'s> Quarantine<'s> {
    /// Looks at what there is. Makes nothing. Directories whose names are not those of runs are somebody's own: they are left alone.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or a run's stamp cannot be read.
    pub fn open(backend: &'s dyn Backend) -> Result<Quarantine<'s>, Error> {
        Quarantine::with_room(backend, u64::MAX)
    }

    /// The same before anything is changed: with no more in memory than `--max-memory` leaves.
    ///
    /// # Errors
    ///
    /// Also when it would be more.
    pub fn open_within(reader: &Reader<'s>) -> Result<Quarantine<'s>, Error> {
        let quarantine = Quarantine::with_room(reader.backend, room(reader))?;
        quarantine.ensure_memory(reader, 0)?;
        Ok(quarantine)
    }

    /// Makes sure that there is memory for the list of it, and of so many files more, which the next runs have to read.
    ///
    /// # Errors
    ///
    /// When `--max-memory` is less.
    pub fn ensure_memory(&self, reader: &Reader<'_>, more: u64) -> Result<(), Error> {
        let files = self.runs.iter().map(|run| run.held().len() as u64 + run.more()).sum::<u64>() + more;
        if files <= room(reader) {
            return Ok(());
        }
        let least = format!("{}MiB", (MEMORY_BESIDE + files * BYTES_A_FILE).div_ceil(1 << 20));
        let what = plural(files, "file", "files");
        Err(Error::Brake {
            reason: match more {
                0 => format!("{what} are in quarantine, and --max-memory leaves too little for the list of them"),
                _ => format!(
                    "with this run {what} would be in quarantine, and --max-memory leaves too little for the list of them"
                ),
            },
            lift: match more {
                0 => format!("give --max-memory {least} or more"),
                _ => format!("give --max-memory {least} or more, or collect a part (--repository)"),
            },
        })
    }

    /// Of what is more than `room` files the number alone is known.
    fn with_room(backend: &'s dyn Backend, room: u64) -> Result<Quarantine<'s>, Error> {
        let mut quarantine = Quarantine { runs: Vec::new() };
        let mut left = room;
        for shelf in backend.shelves().list(&is_id)? {
            let run = Run::open(shelf, left)?;
            left -= run.as_ref().map_or(0, |run| run.held().len() as u64);
            quarantine.runs.extend(run);
        }
        quarantine.runs.sort_by(|a, b| (a.stamp().began, a.id()).cmp(&(b.stamp().began, b.id())));
        Ok(quarantine)
    }

    /// The run that began last, of what `repair` replaced apart: by the boot-time clock where it has seen both, which nobody can set back.
    pub fn newest(&self) -> Option<&Run<'s>> {
        let uptime =
            |run: &Run<'_>, id: &str| run.stamp().boot.as_ref().filter(|boot| boot.id == id).map(|boot| boot.uptime_seconds);
        self.runs.iter().filter(|run| run.stamp().purpose != Purpose::Repair).reduce(|newest, run| {
            let boot = newest.stamp().boot.as_ref();
            match boot.and_then(|boot| Some((boot.uptime_seconds, uptime(run, &boot.id)?))) {
                Some((newest_ended, ended)) if newest_ended > ended => newest,
                // They are in the order of the wall clock.
                _ => run,
            }
        })
    }

    /// The runs of collections: of things that nothing needed.
    pub fn collected(&self) -> impl Iterator<Item = &Run<'s>> {
        self.runs.iter().filter(|run| run.stamp().purpose.is_of_collection())
    }

    /// How much is in it.
    pub fn amount(&self) -> Amount {
        let mut all = Amount::default();
        for held in self.runs.iter().flat_map(Run::held).filter(|held| matches!(held.target, Target::Blob(_))) {
            all.add(held.stat.size_bytes);
        }
        all
    }

    /// The bytes of all that is in it, of blobs and of uploads.
    pub fn size_bytes(&self) -> u64 {
        let mut all = Moved::default();
        self.held().for_each(|(_, held)| all.add(held));
        all.bytes().size_bytes
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
    pub fn would_restore(&self, store: &dyn Store, needed: &Needed) -> Result<Moved, Error> {
        let mut all = Moved::default();
        let mut held: Vec<&Held> =
            self.collected().flat_map(Run::held).filter(|held| needed.targets.contains(&held.target)).collect();
        held.sort_by(|a, b| a.target.repository().cmp(&b.target.repository()));
        let targets: Vec<&Target> = held.iter().map(|held| &held.target).collect();
        let mut held = held.iter();
        stat_targets(store, &targets, &mut |_, state| match (held.next(), state) {
            (Some(held), FileState::Absent) => all.add(held),
            _ => all.replaced += 1,
        })?;
        Ok(all)
    }

    /// Adds what a collection must keep in the store so that all of this can be restored whole. What a run that was killed has begun to
    /// move, the next one with a quarantine (`goes_on`) moves the rest of; and it may quarantine what a tag names that was dropped before.
    pub fn protect(&self, goes_on: bool, protected: &mut Protected) {
        let whole = self.collected().filter(|run| !goes_on || run.stamp().finished.is_some());
        whole.flat_map(Run::held).for_each(|held| protected.add(&held.target));
        for (repository, digests) in std::mem::take(&mut protected.of_tags) {
            let revisions = protected.revisions.entry(repository.clone()).or_default();
            if !goes_on {
                revisions.extend(digests);
                continue;
            }
            let known: HashSet<&Digest> = revisions.iter().collect();
            let followers: Vec<Digest> = digests.into_iter().filter(|digest| !known.contains(digest)).collect();
            protected.of_tags.insert(repository, followers);
        }
    }

    /// All that is in it, with the run that holds it.
    pub fn held(&self) -> impl Iterator<Item = (&Run<'s>, &Held)> {
        self.runs.iter().flat_map(|run| run.held().iter().map(move |held| (run, held)))
    }

    /// The run of that name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn run(&self, id: &str) -> Result<&Run<'s>, Error> {
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

/// How many files may be in quarantine.
fn room(reader: &Reader<'_>) -> u64 {
    (reader.budget)(0).limit().map_or(u64::MAX, |bytes| bytes.max(BYTES_ANYWAY) / BYTES_A_FILE)
}

/// Begins a run of a command that began at the start of `clock`. `cache` is what a registry at work may remember things in.
///
/// # Errors
///
/// When it cannot be made, nothing can be moved there in one step, or the store's clock is not ours.
pub fn begin<'s>(
    backend: &'s dyn Backend,
    purpose: Purpose,
    clock: &RunClock,
    cache: Option<DescriptorCache>,
) -> Result<Run<'s>, Error> {
    begin_naming(backend, (purpose, BTreeSet::new()), clock, cache)
}

/// The same for a run in which these manifests go by their names, as REPOSITORY@DIGEST.
///
/// # Errors
///
/// As above.
pub fn begin_naming<'s>(
    backend: &'s dyn Backend,
    purpose: (Purpose, BTreeSet<String>),
    clock: &RunClock,
    cache: Option<DescriptorCache>,
) -> Result<Run<'s>, Error> {
    let mut run = Run::begin(backend.shelves(), purpose, clock, cache)?;
    match clocks_agree(&mut run, clock) {
        Ok(()) => Ok(run),
        Err(error) => {
            run.remove_if_empty()?;
            Err(error)
        }
    }
}

/// Makes sure that the storage's clock, which says how old things are, is this machine's, by which they wait (A4).
fn clocks_agree(run: &mut Run<'_>, clock: &RunClock) -> Result<(), Error> {
    let apart = run.compare_clocks(clock)?;
    match apart > TOLERANCE {
        true => Err(Error::Brake {
            reason: format!("the clock of the storage and that of this machine are {} s apart", apart.as_secs()),
            lift: "set the one that is wrong: how long things wait in quarantine is counted by both".to_owned(),
        }),
        false => Ok(()),
    }
}

/// A span that may be cut off anywhere: how long ago something was.
pub(super) fn since(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}
