//! The one gate before the point of no return. See the [module](super).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::run::noted_path;
use super::{Due, InRedis, Moved, Needed, Quarantine, Run};
use crate::descriptor_cache::{Forgotten, RedisCache};
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
    /// The registries' redis was not made to forget it since it was quarantined.
    NotForgotten,
    /// The registries' redis claimed it, although it had been made to forget it.
    Claimed,
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
    /// The reason that so many files have, in a few words.
    pub fn reason(self, count: u64) -> String {
        let (them, they, their) = if count == 1 { ("it", "it was", "its") } else { ("them", "they were", "their") };
        match self {
            Withheld::Remembered => format!("the registry's cache may remember {them} until it is restarted"),
            Withheld::NotForgotten => format!("the registry's redis has not been made to forget {them} since {they} moved"),
            Withheld::Claimed => {
                format!("the registry's redis claimed {them} again; its keys are removed, and the wait began anew")
            }
            Withheld::NeededInQuarantine => format!("something else in quarantine needs {them}"),
            Withheld::Open => format!("a process has {them} open for writing"),
            Withheld::Changed => format!("{they} written to in quarantine"),
            Withheld::Whole => format!("{their} bytes match {their} digest: restore {them}"),
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

impl<'q> Purgeable<'q> {
    fn targets(&self) -> Vec<&'q Target> {
        self.runs.iter().flat_map(|(_, held)| held).map(|held| &held.target).collect()
    }

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
            None => run.stamp().purpose.is_of_collection(),
        };
        let mut purgeable = Purgeable::default();
        for run in quarantine.runs.iter().filter(is_meant).filter(|run| self.due.has_waited(run)) {
            let of_run = match () {
                () if run.is_remembered(self.due.memory) => Some(Withheld::Remembered),
                () if !self.due.is_forgotten(run) => Some(Withheld::NotForgotten),
                () => None,
            };
            let waits_again = run.waits_again(self.due.wait, self.due.clock);
            let mut goes = Vec::new();
            // Names before contents: whatever is left of an interrupted purge and is restored by hand leads to something.
            let (blobs, links): (Vec<&Held>, Vec<&Held>) =
                run.held().iter().partition(|held| matches!(held.target, Target::Blob(_)));
            for held in links.into_iter().chain(blobs) {
                if run.stamp().purpose.is_of_collection() && self.needed.targets.contains(&held.target) {
                    continue;
                }
                let claimed = || waits_again.contains(&noted_path(&held.target)).then_some(Withheld::Claimed);
                if let Some(why) = of_run.or_else(claimed) {
                    purgeable.withheld.push((held.target.clone(), why));
                    continue;
                }
                let withheld = match self.needed.by_staying.needs(&held.target) {
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
        let is_damaged = !run.stamp().purpose.is_of_collection();
        // A `chown`, a backup's hard link and the like change that too; the bytes tell.
        let is_touched = run.finished().is_none_or(|finished| there.changed > finished);
        if !is_damaged && !is_touched {
            return Ok(None);
        }
        Ok(match (run.is_whole(&held.target)?, is_damaged) {
            (true, true) => Some(Withheld::Whole),
            (false, false) if is_touched => Some(Withheld::Changed),
            _ => None,
        })
    }
}

/// What came of a purge.
#[derive(Debug, Default)]
pub struct Purged {
    /// What is gone.
    pub gone: Moved,
    /// What a redis claimed, and stays for that.
    pub claimed: Vec<(Target, Withheld)>,
    /// What it was made to forget.
    pub forgotten: Forgotten,
    /// Whether a stamp or the redis may not be as it was.
    pub touched: bool,
}

/// Purges what a gate let through and no redis claims, and the directories of runs if nothing is left in them. Ends early when `stop` becomes
/// true. What has changed since it was let through stays.
///
/// # Errors
///
/// When the redis cannot be asked: then nothing is changed.
pub fn purge(gate: &Gate<'_>, mut purgeable: Purgeable<'_>, stop: &AtomicBool) -> Result<Purged, Error> {
    let mut purged = Purged::default();
    match gate.due.redis {
        InRedis::Beside(redis) => withhold_claimed(gate, redis, &mut purgeable, &mut purged, stop)?,
        InRedis::Alone(redis) => forget_all(redis, &purgeable, &mut purged, stop)?,
        InRedis::Nowhere | InRedis::Unasked => {}
    }
    for (run, held) in purgeable.runs {
        if !purge_run(gate, run, held, &mut purged, stop) {
            break;
        }
    }
    Ok(purged)
}

/// Makes a redis forget everything that goes, whatever it claims of it: no registry is at work, so nothing uses that meanwhile, and the next
/// one that is started would believe it.
fn forget_all(redis: &RedisCache, purgeable: &Purgeable<'_>, purged: &mut Purged, stop: &AtomicBool) -> Result<(), Error> {
    let targets = purgeable.targets();
    if !targets.is_empty() {
        purged.forgotten = redis.forget(&targets, stop)?;
        purged.touched |= purged.forgotten != Forgotten::default();
    }
    Ok(())
}

/// Takes out what a redis claims, and makes it forget that. It is asked of everything before anything is changed.
fn withhold_claimed(
    gate: &Gate<'_>,
    redis: &RedisCache,
    purgeable: &mut Purgeable<'_>,
    purged: &mut Purged,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let mut answers = redis.claimed(&purgeable.targets(), stop)?.into_iter();
    for (run, held) in &mut purgeable.runs {
        let claimed: Vec<&Held> =
            held.iter().copied().zip(&mut answers).filter(|(_, is_claimed)| *is_claimed).map(|(held, _)| held).collect();
        let targets: Vec<&Target> = claimed.iter().map(|held| &held.target).collect();
        purged.touched |= !targets.is_empty();
        let forget = || redis.forget(&targets, stop);
        let forgotten = match targets.is_empty() {
            true => continue,
            false => run.forget_again(&targets, gate.due.clock, forget),
        };
        match forgotten {
            Ok((forgotten, all_wait)) => {
                purged.forgotten += forgotten;
                all_wait.then(|| held.clear());
            }
            Err(error) => {
                let why = format!("nothing of run {} is purged, because the redis claims some of it: {error}", run.id());
                purged.gone.failed.push((targets[0].clone(), why));
                held.clear();
                continue;
            }
        }
        purged.claimed.extend(targets.into_iter().map(|target| (target.clone(), Withheld::Claimed)));
        held.retain(|held| !claimed.iter().any(|claimed| std::ptr::eq(*claimed, *held)));
    }
    Ok(())
}

/// Purges what was let through of one run. Says whether the next one is to follow.
fn purge_run(gate: &Gate<'_>, run: &Run<'_>, held: Vec<&Held>, purged: &mut Purged, stop: &AtomicBool) -> bool {
    let Some(first) = held.first() else {
        tidy(run);
        return true;
    };
    // Should this be cut off, `restore` says that not all of the run is there any more.
    let noted = match run.begin_purge(gate.due.clock) {
        Ok(noted) => noted,
        Err((error, is_touched)) => {
            purged.touched |= is_touched;
            let why = format!("nothing of run {} is purged, because that cannot be noted: {error}", run.id());
            purged.gone.failed.push((first.target.clone(), why));
            return true;
        }
    };
    let (mut any, mut stopped) = (false, false);
    for held in held {
        stopped = stop.load(Ordering::Relaxed);
        if stopped {
            break;
        }
        match purge_one(gate, run, held) {
            Ok(true) => {
                purged.gone.add(held);
                any = true;
            }
            Ok(false) => {}
            Err(why) => {
                // Some filesystems answer with an error when it was done all the same.
                any |= !matches!(run.condition(&held.target), Ok(Some(_)));
                purged.gone.failed.push((held.target.clone(), why));
            }
        }
    }
    match any {
        true => tidy(run),
        false => purged.touched |= run.take_back_purge(noted).is_err(),
    }
    !stopped
}

/// Purges one thing that was let through. Says whether it did: what somebody has opened since then stays.
///
/// # Errors
///
/// Why it could not be done.
fn purge_one(gate: &Gate<'_>, run: &Run<'_>, held: &Held) -> Result<bool, String> {
    match run.condition(&held.target).map_err(|error| error.to_string())? {
        Some(there) if there.stat != held.stat || there.changed != held.changed => {
            return Err("it was written to in the meantime; it stays in quarantine".to_owned());
        }
        Some(there) if gate.open.contains(&there) => return Ok(false),
        Some(_) | None => {}
    }
    run.drop_for_good(&held.target).map_err(|error| error.to_string())
}

fn tidy(run: &Run<'_>) {
    if let Err(error) = run.remove_if_empty() {
        tracing::warn!("cannot tidy up after run {}: {error}", run.id());
    }
}
