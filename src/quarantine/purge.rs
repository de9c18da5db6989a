//! The one gate before the point of no return. See the [module](super).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Due, Moved, Needed, Purpose, Quarantine, Run};
use crate::error::Error;
use crate::layout::Target;
use crate::store::Held;
use crate::writers::OpenFiles;

/// How long things have to have waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For this long, by every clock that counts.
    AtLeast(Duration),
    /// Not at all: no registry is at work, as it says itself, as was seen, or as the operator says.
    Lifted,
}

/// What is asked of everything before it is purged.
#[derive(Debug)]
pub struct Gate<'a> {
    /// What is needed, by a complete mark of this run.
    pub needed: &'a Needed,
    /// What has to be so of their runs.
    pub due: Due<'a>,
    /// What is being written to.
    pub open: OpenFiles,
}

/// Why something that has waited is not purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withheld {
    /// A registry that was at work when it was quarantined may remember it.
    Remembered,
    /// Something that stays in quarantine needs it.
    NeededInQuarantine,
    /// A process has it open for writing.
    Open,
    /// It was touched in quarantine and is not what its digest says.
    Changed,
    /// `verify` took it for corrupt, and its bytes are what its digest says.
    Whole,
}

impl Withheld {
    /// The reason, in a few words.
    pub fn reason(self) -> &'static str {
        match self {
            Withheld::Remembered => "the registry's cache may remember them until it is restarted",
            Withheld::NeededInQuarantine => "something else in quarantine needs it",
            Withheld::Open => "a process has it open for writing",
            Withheld::Changed => "it was written to in quarantine",
            Withheld::Whole => "its bytes match its digest: restore it",
        }
    }
}

/// What proved that nothing writes to what was purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No process of this machine has it open, and nothing about it changed while it waited.
    NotOpen,
    /// Not every process can be seen from here. Nothing about it changed while it waited.
    Unchanged,
}

/// What would be purged, and what was withheld.
#[derive(Debug, Default)]
pub struct Purgeable<'q> {
    /// By run.
    runs: Vec<(&'q Run<'q>, Vec<&'q Held>)>,
    /// What has waited and stays.
    pub withheld: Vec<(Target, Withheld)>,
}

impl Purgeable<'_> {
    /// How much it is.
    pub fn amount(&self) -> Moved {
        let mut all = Moved::default();
        self.runs.iter().flat_map(|(_, held)| held).for_each(|held| all.add(held));
        all
    }
}

impl Gate<'_> {
    /// What of an open quarantine would be purged now. `verify`'s runs are purged only where `named` is one of them.
    ///
    /// # Errors
    ///
    /// When something cannot be looked at: then nothing is to be purged.
    pub fn purgeable<'q>(&self, quarantine: &'q Quarantine<'q>, named: Option<&str>) -> Result<Purgeable<'q>, Error> {
        let is_meant = |run: &&Run<'_>| match named {
            Some(id) => run.id() == id,
            None => run.stamp().purpose == Purpose::GarbageCollect,
        };
        let mut purgeable = Purgeable::default();
        for run in quarantine.runs.iter().filter(is_meant).filter(|run| self.due.has_waited(run)) {
            let is_remembered = run.is_remembered(self.due.memory);
            let mut goes = Vec::new();
            // Names before contents: whatever is left of an interrupted purge and is restored by hand leads to something.
            let (blobs, links): (Vec<&Held>, Vec<&Held>) =
                run.held().iter().partition(|held| matches!(held.target, Target::Blob(_)));
            for held in links.into_iter().chain(blobs) {
                if run.stamp().purpose == Purpose::GarbageCollect && self.needed.targets.contains(&held.target) {
                    continue;
                }
                if is_remembered {
                    purgeable.withheld.push((held.target.clone(), Withheld::Remembered));
                    continue;
                }
                let withheld = match self.needed.by_staying.contains(held.target.digest()) {
                    true => Some(Withheld::NeededInQuarantine),
                    false => self.withholds(run, held)?,
                };
                match withheld {
                    Some(why) => purgeable.withheld.push((held.target.clone(), why)),
                    None => goes.push(held),
                }
            }
            purgeable.runs.push((run, goes));
        }
        Ok(purgeable)
    }

    /// What proves that nobody writes to what passes.
    pub fn proof(&self) -> Proof {
        if self.open.is_complete() { Proof::NotOpen } else { Proof::Unchanged }
    }

    /// Whether something is being written to, or was.
    fn withholds(&self, run: &Run<'_>, held: &Held) -> Result<Option<Withheld>, Error> {
        let Some(there) = run.condition(&held.target)? else { return Ok(None) };
        if self.open.contains(&there) {
            return Ok(Some(Withheld::Open));
        }
        let is_verifys = run.stamp().purpose == Purpose::Verify;
        // A `chown`, a backup's hard link and the like change that too; the bytes tell.
        let is_touched = run.finished().is_none_or(|finished| there.changed > finished);
        if !is_verifys && !is_touched {
            return Ok(None);
        }
        Ok(match (run.is_whole(&held.target)?, is_verifys) {
            (true, true) => Some(Withheld::Whole),
            (false, false) if is_touched => Some(Withheld::Changed),
            _ => None,
        })
    }
}

/// Purges what a gate let through, and the directories of runs if nothing is left in them. Ends early when `stop` becomes true. What has
/// changed since it was let through stays.
pub fn purge(gate: &Gate<'_>, purgeable: Purgeable<'_>, stop: &AtomicBool) -> Moved {
    let mut purged = Moved::default();
    for (run, held) in purgeable.runs {
        // Should this be cut off, `restore` says that not all of the run is there any more.
        if !held.is_empty()
            && let Err(error) = run.begin_purge(gate.due.clock)
        {
            let why = format!("nothing of run {} is purged, because that cannot be noted: {error}", run.id());
            purged.failed.push((held[0].target.clone(), why));
            continue;
        }
        for held in held {
            if stop.load(Ordering::Relaxed) {
                return purged;
            }
            match run.condition(&held.target) {
                Ok(Some(there)) if there.stat != held.stat || there.changed != held.changed => {
                    purged
                        .failed
                        .push((held.target.clone(), "it was written to in the meantime; it stays in quarantine".to_owned()));
                    continue;
                }
                Ok(Some(there)) if gate.open.contains(&there) => continue,
                Ok(_) => {}
                Err(error) => {
                    purged.failed.push((held.target.clone(), error.to_string()));
                    continue;
                }
            }
            match run.drop_for_good(&held.target) {
                Ok(true) => purged.add(held),
                Ok(false) => {}
                Err(error) => purged.failed.push((held.target.clone(), error.to_string())),
            }
        }
        if let Err(error) = run.remove_if_empty() {
            tracing::warn!("cannot tidy up after run {}: {error}", run.id());
        }
    }
    purged
}
