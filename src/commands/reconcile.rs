//! What becomes of a quarantine around a command: what is needed is restored, what has waited long enough is purged.
//!
//! The protocol is in [`quarantine`]. Here are its steps as commands take them, each of which either changes nothing or ends in a value
//! that is reported: from the first change on nothing may end a command without its report.

use std::cell::LazyCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::caches::{Caches, Remembering};
use crate::clock::RunClock;
use crate::config::Location;
use crate::descriptor_cache::{Forgotten, RedisCache};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, Target};
use crate::progress::Phase;
use crate::quarantine::{self, Due, Memory, Moved, Needed, Quarantine, Reader, Replaced, Run};
use crate::records::{self, Records};
use crate::writers::{self, Endpoint};

/// When things that have just been quarantined are looked at again, beside the end of the time for that.
const RESCUES: [Duration; 2] = [Duration::ZERO, Duration::from_secs(5)];
/// How long a wait goes on before it looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(50);

/// How often the store is looked at anew when a registry at work takes away what was listed a moment before.
const LOOKS: u32 = 5;

/// Looks at a store that a registry may be changing, again if something went from under it (R15). Where nobody else should be at work the
/// first look is the last: that somebody is has to be said.
pub(super) fn look<T>(is_online: bool, mut at: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut looks = 1;
    loop {
        match at() {
            Err(error) if is_online && error.is_vanished() && looks < LOOKS => {
                tracing::info!("{error}; looking again");
                looks += 1;
            }
            looked => return looked,
        }
    }
}

/// Reads what of the quarantine is needed by now. Changes nothing.
///
/// # Errors
///
/// When something that is there cannot be read.
pub(super) fn needed(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    due: Option<Due<'_>>,
    clock: &RunClock,
) -> Result<Needed, Error> {
    needed_by(reader, quarantine, (clock, None), &|run| due.is_some_and(|due| due.is_due(run)))
}

/// What registries at work may remember of what is in quarantine.
///
/// # Errors
///
/// When what their operator has said of them cannot be read.
pub(super) fn memory(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    (location, caches): (&Location, &Caches),
    others: &[Endpoint],
    clock: &RunClock,
) -> Result<Memory, Error> {
    if quarantine.runs.is_empty() {
        return Ok(Memory::Nothing);
    }
    // What is in a redis outlives every restart, whenever it was written there.
    if matches!(caches.redis, Some(Err(_))) {
        return Ok(Memory::All);
    }
    if quarantine.runs.iter().all(|run| run.stamp().cache.is_none()) {
        return Ok(Memory::Nothing);
    }
    let mut restarts = records::restarts(reader.notes)?;
    // What is seen here counts for more than what was said, perhaps where nothing could be seen.
    let oldest = LazyCell::new(|| writers::Oldest::of(reader.backend.root(), clock));
    restarts.retain(|restart| oldest.as_ref().is_none_or(|oldest| !oldest.is_older_than(restart)));
    let seen = writers::all_started_after(reader.backend.root(), location.http(), others, clock)
        .inspect_err(|why| tracing::info!("{why}: when the registries were started is for `quarantine restarted` to say"));
    Ok(Memory::UntilRestart { said: restarts, seen: seen.ok() })
}

/// The registry, in words, that was started before something that is in quarantine was put there, and may remember it.
pub(super) fn older_registry(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    memory: &Memory,
    clock: &RunClock,
) -> Option<String> {
    let mut remembered = quarantine.runs.iter().filter(|run| run.is_remembered(memory)).filter_map(Run::ended).peekable();
    remembered.peek()?;
    let oldest = writers::Oldest::of(reader.backend.root(), clock)?;
    remembered.any(|ended| oldest.is_older_than(&ended)).then(|| oldest.to_string())
}

/// Reads what of the quarantine is needed, with other runs that may be purged, and with what is old of tags and revisions, if somebody asks for that.
///
/// # Errors
///
/// When something that is there cannot be read.
pub(super) fn needed_by(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    (clock, last_run): (&RunClock, Option<SystemTime>),
    is_due: &dyn Fn(&Run<'_>) -> bool,
) -> Result<Needed, Error> {
    look(true, || quarantine::needed(reader, quarantine, (clock.now(), last_run), is_due))
}

/// Opens the records of a store, and holds the mounts that they name: before anything of the store is read.
pub(super) fn records<'r>(reader: &Reader<'r>) -> Result<Records<'r>, Error> {
    let records = Records::open(reader.notes)?;
    if let Some(summary) = records.summary() {
        reader.backend.parts().hold(&summary.parts());
    }
    Ok(records)
}

/// What to do where nothing can be restored.
pub(super) const MOUNT_AS_ONE: &str = "mount both as one filesystem, so that what is in quarantine can be restored";

/// Makes sure that what is needed can be restored: before anything is changed.
///
/// # Errors
///
/// When something is needed, and cannot be.
pub(super) fn can_restore(reader: &Reader<'_>, needed: &Needed) -> Result<(), Error> {
    match needed.targets.is_empty() {
        true => Ok(()),
        false => {
            let shelves = reader.backend.shelves();
            shelves.ensure_possible(MOUNT_AS_ONE)?;
            shelves.ensure_returnable(&mut needed.targets.iter(), MOUNT_AS_ONE)
        }
    }
}

/// Restores what is needed, and notes it as young. What could not be restored is in the answer.
pub(super) fn restore_needed(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    needed: &Needed,
    records: &mut Records<'_>,
    clock: &RunClock,
) -> Moved {
    let is_chosen = |run: &Run<'_>, target: &Target| run.stamp().purpose.is_of_collection() && needed.targets.contains(target);
    restore(reader, quarantine, Replaced::Drop, &is_chosen, records, clock)
}

/// Restores what is chosen, and notes it as young.
pub(super) fn restore(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    replaced: Replaced,
    is_chosen: &dyn Fn(&Run<'_>, &Target) -> bool,
    records: &mut Records<'_>,
    clock: &RunClock,
) -> Moved {
    // Before it comes back: were we killed in between, the next run would take it for what nothing needs.
    let chosen = || quarantine.held().filter(|(run, held)| is_chosen(run, &held.target)).map(|(_, held)| &held.target);
    // Before it comes back as well: what something needs stays for that and no longer, but what is asked for is wanted.
    if replaced == Replaced::Keep
        && let Err(error) = records.forget_begun_with(chosen())
    {
        let why = format!("not restored, because a command that was cut off would go on to take it: {error}");
        return Moved { failed: chosen().take(1).map(|target| (target.clone(), why.clone())).collect(), ..Moved::default() };
    }
    let noted = records.add_restored(chosen(), clock);
    let mut restored = Vec::new();
    let mut moved = quarantine::restore(reader.backend.vacuum(), quarantine, replaced, is_chosen, &mut |target| {
        restored.push(target.clone())
    });
    // What the store had already did not come back just now.
    let noted = noted.and_then(|any| match any && restored.len() < chosen().count() {
        true => records.amend_restored(&restored),
        false => Ok(()),
    });
    if let (Err(error), Some(first)) = (noted, restored.first()) {
        moved.failed.push((first.clone(), format!("restored, but a next run will not know that it was: {error}")));
    }
    if let Err(error) = records.forget_sweep_of(&restored) {
        tracing::warn!("{error}");
    }
    // What could change nothing leaves all as it was.
    if !moved.is_stopped() {
        quarantine.tidy();
    }
    moved
}

/// What became of the waits of runs in quarantine.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// What the redis was made to forget.
    pub(super) forgotten: Forgotten,
    /// Why it was not made to forget more.
    pub(super) failed: Option<Error>,
    /// Whether a wait began.
    pub(super) begun: bool,
}

/// Lets the wait of runs begin again where no clock reaches back to when they ended, and begin where they were cut off, if what these had left is
/// done by now (`is_done`); and anew where the redis was not made to forget them. One whose stamp cannot be written waits on, and must not keep a full disk from being collected.
pub(super) fn begin_waits<'r>(
    reader: &Reader<'_>,
    quarantine: &mut Quarantine<'_>,
    (clock, remembering): (&RunClock, &dyn Fn() -> Remembering<'r>),
    due: Option<Due<'_>>,
    is_done: bool,
) -> Waits {
    let redis = due.and_then(|due| due.redis.beside());
    let is_open = |run: &&mut Run<'_>| match run.stamp().finished {
        None => is_done,
        Some(_) => run.waits_by_no_clock(clock) || redis.is_some_and(|redis| !run.is_forgotten_by(redis.place())),
    };
    let mut waits = Waits::default();
    for run in quarantine.runs.iter_mut().filter(|run| !run.held().is_empty()).filter(is_open) {
        let closed = reader.backend.vacuum().barrier().and_then(|()| close(reader, run, (clock, &remembering()), due));
        match closed {
            Ok(more) => {
                waits.forgotten += more;
                waits.begun = true;
            }
            Err(error @ Error::Redis { .. }) => waits.failed = Some(error),
            // All of it was restored, and it is gone.
            Err(error) if error.is_vanished() => {}
            Err(error) => tracing::warn!("run {} waits until that can be noted: {error}", run.id()),
        }
    }
    waits
}

/// Makes the redis forget what is in a run, and stamps it: only then its wait begins.
fn close(
    reader: &Reader<'_>,
    run: &mut Run<'_>,
    (clock, remembering): (&RunClock, &Remembering<'_>),
    due: Option<Due<'_>>,
) -> Result<Forgotten, Error> {
    let forgotten = match remembering.redis {
        None => Forgotten::default(),
        Some(redis) => {
            // What was moved in this run is in no list of it yet.
            let held = run.contents()?;
            redis.forget(&held.iter().map(|held| &held.target).collect::<Vec<_>>(), reader.stop)?
        }
    };
    let redis = remembering.redis.map(RedisCache::place);
    match due.is_some_and(|due| due.is_past(run)) {
        true => run.finish_past(clock, redis)?,
        false => run.finish(clock, remembering.in_memory, redis)?,
    }
    Ok(forgotten)
}

/// Closes a run: nothing more will be moved into it. Says whether it holds anything. One that was interrupted has not finished: the next one
/// goes on with it.
///
/// # Errors
///
/// When the store cannot be flushed or the run's stamp not be written.
pub(super) fn finish(
    reader: &Reader<'_>,
    run: &mut Run<'_>,
    (clock, remembering): (&RunClock, &Remembering<'_>),
    is_interrupted: bool,
) -> Result<(bool, Forgotten), Error> {
    reader.backend.vacuum().barrier()?;
    let forgotten = if is_interrupted { Forgotten::default() } else { close(reader, run, (clock, remembering), None)? };
    Ok((!run.remove_if_empty()?, forgotten))
}

/// How a watch for pushes ended.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// What a push needed and was restored.
    pub(super) rescued: Moved,
    /// What the store needs as of the last look.
    pub(super) needed: Option<Needed>,
    /// Whether somebody ended it early.
    pub(super) interrupted: bool,
    /// Why it could not go on.
    pub(super) failed: Option<Error>,
}

/// Looks, at once, a little later and once more when the time is over, for pushes that need what was quarantined by the run of that name, and
/// restores that. Ends early when the reader is to stop: the next run sees to the rest.
pub(super) fn rescue(
    reader: &Reader<'_>,
    (run, rescue_for): (&str, Duration),
    due: Due<'_>,
    records: &mut Records<'_>,
    clock: &RunClock,
) -> Rescue {
    let mut rescue = Rescue::default();
    let begun = Instant::now();
    for at in RESCUES.into_iter().filter(|at| *at < rescue_for).chain([rescue_for]) {
        if !sleep_until(begun, at, rescue_for, reader) {
            rescue.interrupted = true;
            return rescue;
        }
        match rescue_once(reader, (run, due), records, clock, &mut rescue.rescued) {
            Ok(needed) => rescue.needed = Some(needed),
            Err(Error::Interrupted) => {
                rescue.interrupted = true;
                return rescue;
            }
            Err(error) => {
                rescue.failed = Some(error);
                return rescue;
            }
        }
    }
    rescue
}

fn rescue_once(
    reader: &Reader<'_>,
    (run, due): (&str, Due<'_>),
    records: &mut Records<'_>,
    clock: &RunClock,
    rescued: &mut Moved,
) -> Result<Needed, Error> {
    let quarantine = Quarantine::open(reader.backend)?;
    // Not as what stays: what this run took was in the store when it began, so what that needs of the quarantine was restored first.
    let is_due = |other: &Run<'_>| other.id() == run || due.is_due(other);
    let needed = needed_by(reader, &quarantine, (clock, None), &is_due)?;
    let moved = restore_needed(reader, &quarantine, &needed, records, clock);
    *rescued += moved;
    Ok(needed)
}

/// Counts down to the end of the watch. Says whether the time came.
fn sleep_until(begun: Instant, at: Duration, end: Duration, reader: &Reader<'_>) -> bool {
    let mut shown = None;
    while begun.elapsed() < at {
        if reader.stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = end.saturating_sub(begun.elapsed()).as_secs() + 1;
        if shown.is_none() {
            reader.progress.begin(Phase::Rescuing, Some(end.as_secs().max(1)));
            reader.progress.advance(end.as_secs().saturating_sub(left), 0);
        } else if shown != Some(left) {
            reader.progress.advance(1, 0);
        }
        shown = Some(left);
        std::thread::sleep(TICK.min(at.saturating_sub(begun.elapsed())));
    }
    !reader.stop.load(Ordering::Relaxed)
}

/// Makes sure that what the registry may do meanwhile is something that a quarantine can undo. `caches` are where it
/// remembers blobs, and `online` is what asks for it.
///
/// # Errors
///
/// When it is not, or nobody can tell.
pub(super) fn may_be_online(location: &Location, caches: &Caches, online: &str) -> Result<(), Error> {
    let stopped = || format!("stop the registry and collect without {online}");
    if location.registry.is_none() {
        return Err(Error::Usage(format!(
            "{online} needs the registry's configuration, which says whether the registry remembers blobs that are gone: give its \
             config.yml in place of --root. Where that names the root as the registry's container has it, \
             REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=DIR says where it is mounted here"
        )));
    }
    caches.ensure_forgetful(online)?;
    if let Some(sign) = location.cache_sign() {
        let reason = format!("the registry {sign}, which writes to its store on every pull");
        return Err(Error::Brake { reason, lift: stopped() });
    }
    Ok(())
}

/// What could not be moved or purged, as findings.
pub(super) fn failures(code: Code, moved: &Moved) -> impl Iterator<Item = Finding> {
    moved.failed.iter().map(move |(target, why)| {
        let mut finding = Finding::new(code).path(target.path()).detail(why.clone());
        (finding.digest, finding.repository) = (target.digest().copied(), target.repository().cloned());
        finding
    })
}

/// The directory of the quarantine, for people.
pub(super) fn directory() -> String {
    format!("{}/quarantine", layout::OWN_DIRECTORY)
}
