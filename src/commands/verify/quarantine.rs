//! `verify --quarantine`: takes corrupt blobs out of the way of the next push, and nothing that somebody is writing.
//!
//! A registry, or somebody who copies a backup back, writes blobs at their final names: half a blob may be one that is not finished.
//! Moving it takes the writer's file away, and the writer says that all went well. So what was touched recently and what is open for
//! writing stays, and what was moved is looked at once more where it has arrived: whoever opened it before the rename goes on there.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::confirm::in_progress;
use crate::clock::RunClock;
use crate::config::VerifySettings;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::{number, plural};
use crate::layout::{self, Target};
use crate::policy::{Arrivals, Policy};
use crate::quarantine::{self, Purpose, Quarantining, Run};
use crate::report::verify::VerifyReport;
use crate::store::{Backend, Directories, Planned, Removal, Return, Stat, Store, Vacuum as _};
use crate::verify::{DamagedBlob, Outcome};
use crate::writers::OpenFiles;

/// Blobs that are moved between two looks at what has arrived.
const BLOBS_AT_ONCE: usize = 64;
/// As many damaged blobs do not come about by themselves ...
const MANY_BLOBS: u64 = 10;
/// ... if they are this share of those that were read.
const MANY_PERCENT: u64 = 5;

/// A blob that is to be moved.
type Corrupt<'a> = (&'a DamagedBlob, Stat);

/// Quarantines what is corrupt. Ends early when `stop` becomes true.
///
/// # Errors
///
/// When nothing can be moved. Nothing has been then.
pub(super) fn quarantine(
    backend: &dyn Backend,
    settings: &VerifySettings,
    outcome: &Outcome,
    clock: &RunClock,
    stop: &AtomicBool,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let corrupt =
        outcome.damaged.iter().filter(|damaged| damaged.damage.is_corrupt()).filter_map(|damaged| Some((damaged, damaged.stat?)));
    let policy = Policy::new(settings.min_age, Arrivals::Ignored, clock.now());
    let (young, mut old): (Vec<Corrupt<'_>>, Vec<Corrupt<'_>>) =
        corrupt.partition(|(damaged, _)| is_young(backend.store(), damaged, &policy));
    young.iter().for_each(|(_, stat)| report.left_young.add(stat.size_bytes));
    if old.is_empty() || stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    report.findings.extend(suspect_disk(backend.store(), outcome, &mut old, settings.allow_many_damaged));
    if !old.is_empty() {
        move_all(backend, &old, clock, stop, report)?;
    }
    report.findings.sort();
    Ok(())
}

fn move_all(
    backend: &dyn Backend,
    corrupt: &[Corrupt<'_>],
    clock: &RunClock,
    stop: &AtomicBool,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    // Asked before anything is made: half of a run would be of no use.
    backend.shelves().ensure_room(corrupt.len() as u64, corrupt.len() as u64)?;
    let mut run = quarantine::begin(backend, Purpose::Verify, clock, None)?;
    let mut stays = false;
    for some in corrupt.chunks(BLOBS_AT_ONCE).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let moved = move_some(backend, &run, some, &mut report.findings);
        stays |= check_arrived(&run, &moved, report);
    }
    if stays {
        report.quarantine_run = Some(run.id().to_owned());
    }
    let finished = backend.vacuum().barrier().and_then(|()| run.finish(clock, None, None)).and_then(|()| run.remove_if_empty());
    if let Err(error) = finished {
        report.findings.push(Finding::new(Code::FailedRestore).detail(error.to_string()));
    }
    Ok(())
}

/// Whether a blob was written, moved or copied so recently that somebody may be at it still. What cannot be told counts as young.
fn is_young(store: &dyn Store, damaged: &DamagedBlob, policy: &Policy) -> bool {
    match store.blob_condition(&damaged.digest) {
        Ok(Some(there)) => policy.is_young(&Stat::new(there.stat.size_bytes, there.touched())),
        Ok(None) | Err(_) => true,
    }
}

/// Reads what is to be moved again, past the page cache: what the disk has right must not go for what the memory has wrong. And more
/// damage at once than blobs suffer by themselves is the disk's. Leaves in `corrupt` what is to be moved, and says what it looks like.
fn suspect_disk(store: &dyn Store, outcome: &Outcome, corrupt: &mut Vec<Corrupt<'_>>, lifted: bool) -> Option<Finding> {
    let wrong: Vec<bool> = corrupt.par_iter().map(|(damaged, stat)| is_wrong_on_disk(store, damaged, stat)).collect();
    let whole = wrong.iter().filter(|wrong| !**wrong).count() as u64;
    let mut wrong = wrong.into_iter();
    corrupt.retain(|_| wrong.next().expect("one for each"));
    let read = outcome.good.count + outcome.damaged.len() as u64;
    let damaged = outcome.damaged.iter().filter(|damaged| damaged.damage.is_of_bytes()).count() as u64;
    let left = damaged - whole;
    let is_much = !lifted && left >= MANY_BLOBS && 100 * left >= MANY_PERCENT * read;
    if is_much {
        corrupt.clear();
    }
    let what = match whole {
        0 if !is_much => return None,
        0 => "past the page cache too: it looks like the disk or its controller".to_owned(),
        _ => format!("{} of them right past the page cache: it looks like the memory", number(whole)),
    };
    let end = if is_much { "Nothing was quarantined" } else { "What is right on the disk stays where it is" };
    let detail = format!("{} of {} were read wrong, {what}. {end}", number(damaged), plural(read, "blob", "blobs"));
    Some(Finding::new(Code::SuspectDisk).detail(detail))
}

/// Whether a blob is on the disk as it was read. What was written to since then is seen to where it would be moved.
fn is_wrong_on_disk(store: &dyn Store, damaged: &DamagedBlob, stat: &Stat) -> bool {
    let is_as_read = || matches!(store.blob_condition(&damaged.digest), Ok(Some(there)) if there.stat == *stat);
    !matches!(store.is_whole_on_disk(&damaged.digest), Ok(Some(true))) || !is_as_read()
}

/// Moves blobs that nobody has open. Returns those that were moved.
fn move_some<'a>(backend: &dyn Backend, run: &Run<'_>, corrupt: &[Corrupt<'a>], findings: &mut Vec<Finding>) -> Vec<Corrupt<'a>> {
    // The registry may serve, and its directories are its own.
    let vacuum = Quarantining::new(backend.vacuum(), run, Directories::Keep, &|_| Ok(Vec::new()));
    let open = OpenFiles::look();
    let mut moved = Vec::new();
    for &(damaged, stat) in corrupt {
        let there = backend.store().blob_condition(&damaged.digest).ok().flatten();
        if there.is_some_and(|there| open.contains(&there)) {
            findings.push(in_progress(&damaged.digest));
            continue;
        }
        let failure = match vacuum.remove(&[Planned { target: &Target::Blob(damaged.digest), stat: &stat }]).remove(0) {
            Ok(Removal::Removed) => {
                moved.push((damaged, stat));
                continue;
            }
            Ok(Removal::AlreadyGone) => continue,
            Ok(Removal::Changed(difference)) => {
                in_progress(&damaged.digest).detail(format!("Left in place, because it is being written: {difference}"))
            }
            Err(error) => failed(Code::FailedRemoval, damaged, &error),
        };
        findings.push(failure);
    }
    moved
}

/// Looks at what has been moved, and restores what is whole by now or still being written. Says whether anything stays in quarantine.
fn check_arrived(run: &Run<'_>, moved: &[Corrupt<'_>], report: &mut VerifyReport) -> bool {
    let open = OpenFiles::look();
    let mut stays = false;
    for (damaged, stat) in moved {
        let why = match has_arrived_broken(run, damaged, stat, &open) {
            Ok(true) => {
                report.quarantined.add(stat.size_bytes);
                stays = true;
                continue;
            }
            Ok(false) => in_progress(&damaged.digest).detail("Restored at once, because it is being written"),
            Err(error) => failed(Code::FailedRemoval, damaged, &error),
        };
        match restore(run, damaged) {
            Ok(None) => report.findings.push(why),
            Ok(Some(finding)) => {
                report.findings.push(finding);
                stays = true;
            }
            Err(error) => {
                report.findings.push(failed(Code::FailedRestore, damaged, &error));
                stays = true;
            }
        }
    }
    stays
}

/// Whether a blob that was moved is what it was, and nobody writes to it. Its time of change is that of the rename.
fn has_arrived_broken(run: &Run<'_>, damaged: &DamagedBlob, stat: &Stat, open: &OpenFiles) -> Result<bool, Error> {
    let target = Target::Blob(damaged.digest);
    let is_unmoved = || Ok::<_, Error>(run.condition(&target)?.filter(|there| there.stat == *stat));
    let Some(there) = is_unmoved()? else { return Ok(false) };
    let is_whole = run.is_whole(&target)?;
    // Once more behind the reading, which takes its time.
    Ok(!is_whole && !open.contains(&there) && is_unmoved()?.is_some())
}

/// Restores a blob. Where the registry has written it anew, the new one stands, and a finding says that the other one waits.
fn restore(run: &Run<'_>, damaged: &DamagedBlob) -> Result<Option<Finding>, Error> {
    let target = Target::Blob(damaged.digest);
    match run.restore(&target)? {
        Return::Back | Return::Absent => Ok(None),
        Return::Replaced if run.drop_copy(&target)? => Ok(None),
        Return::Replaced => {
            let detail = format!("Written anew while it was moved; the other one stays in quarantine in run {}", run.id());
            Ok(Some(in_progress(&damaged.digest).detail(detail)))
        }
    }
}

fn failed(code: Code, damaged: &DamagedBlob, error: &Error) -> Finding {
    Finding::new(code).digest(&damaged.digest).path(layout::blob_data(&damaged.digest)).detail(error.to_string())
}
