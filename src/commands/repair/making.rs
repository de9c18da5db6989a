//! Makes what a repair has decided on, one after the other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::RepairSettings;
use crate::error::{Error, ErrorKind};
use crate::finding::{Code, Finding};
use crate::layout::{LinkDirectory, Shard, Target};
use crate::oci::Digest;
use crate::progress::Phase;
use crate::quarantine::{self, Purpose, Reader, Run};
use crate::repair::{Mend, Mirror};
use crate::report::repair::RepairReport;
use crate::store::{FileState, LinkContent, Made, OTHER_BYTES, Planned, Removal, Repair, RepositoryEntry, Store, TagContent};

/// Why something was left alone that is there now.
const MADE_SINCE: &str = "Left alone: it was made since it was looked for, so somebody writes to the store.";
/// Why something was left alone that is another one now.
const CHANGED_SINCE: &str = "Left alone: it was changed since it was read, so somebody writes to the store.";

/// Makes everything. From the first change on nothing ends the run without its report.
///
/// # Errors
///
/// When no quarantine can be begun for what is replaced. Nothing has been changed then.
pub(super) fn mend_all(
    settings: &RepairSettings,
    reader: &Reader<'_>,
    by: (&dyn Repair, Option<Mirror<'_>>),
    report: &mut RepairReport,
) -> Result<(), Error> {
    let mut run = match report.planned.iter().any(|mend| mend.replaced.is_some()) {
        false => None,
        true => Some(quarantine::begin(reader.backend, Purpose::Repair, &settings.clock, None)?),
    };
    reader.progress.begin(Phase::Repairing, Some(report.planned.len() as u64));
    let planned = std::mem::take(&mut report.planned);
    let (mut not_copied, mut is_unflushed) = (BTreeSet::<Digest>::new(), false);
    for mend in &planned {
        if reader.stop.load(Ordering::Relaxed) {
            report.interrupted = true;
            break;
        }
        // On the disk before what names them, whatever a power cut leaves.
        if mend.size_bytes.is_none() && std::mem::take(&mut is_unflushed) && !flush(reader, report) {
            break;
        }
        is_unflushed |= mend.size_bytes.is_some();
        let made = match mend.size_bytes.is_none() && not_copied.contains(mend.digest()) {
            true => Ok(Some("Not made: the blob that it would name was not copied.".to_owned())),
            false => mend_one(reader, by, run.as_ref(), mend),
        };
        let is_made = matches!(made, Ok(None));
        if mend.size_bytes.is_some() && !is_made {
            not_copied.insert(*mend.digest());
        }
        match made {
            Ok(None) => report.count(mend),
            Err(_) if reader.stop.load(Ordering::Relaxed) => report.interrupted = true,
            Ok(Some(why)) => report.findings.push(failed(mend, &why)),
            Err(error) => {
                report.findings.push(failed(mend, &error.to_string()));
                report.has_failed = true;
                if matches!(error.kind(), Some(ErrorKind::Full | ErrorKind::ReadOnly | ErrorKind::Broken)) {
                    break;
                }
            }
        }
        reader.progress.advance(1, mend.size_bytes.unwrap_or(0));
    }
    report.planned = planned;
    let is_flushed = flush(reader, report);
    if let Some(run) = &mut run {
        finish(settings, is_flushed, run, report);
    }
    Ok(())
}

/// Waits until everything made so far is on the disk. Says whether it is.
fn flush(reader: &Reader<'_>, report: &mut RepairReport) -> bool {
    let flushed = reader.backend.vacuum().barrier();
    if let Err(error) = &flushed {
        report.has_failed = true;
        report.findings.push(Finding::new(Code::FailedRepair).path(reader.backend.place()).detail(error.to_string()));
    }
    flushed.is_ok()
}

/// Notes that the last thing was quarantined, and names the run if it holds anything.
fn finish(settings: &RepairSettings, is_flushed: bool, run: &mut Run<'_>, report: &mut RepairReport) {
    let finished = if is_flushed { run.finish(&settings.clock, None, None) } else { Ok(()) };
    match finished.and_then(|()| run.remove_if_empty()) {
        Ok(true) => {}
        Ok(false) => report.quarantine_run = Some(run.id().to_owned()),
        Err(error) => {
            report.quarantine_run = Some(run.id().to_owned());
            report.has_failed = true;
            report.findings.push(Finding::new(Code::FailedRepair).path(run.path()).detail(error.to_string()));
        }
    }
}

/// Makes one thing, and reads a link again. Says why it was left alone, if it was.
fn mend_one(
    reader: &Reader<'_>,
    (writer, mirror): (&dyn Repair, Option<Mirror<'_>>),
    run: Option<&Run<'_>>,
    mend: &Mend,
) -> Result<Option<String>, Error> {
    if let (Target::Blob(_), Some(mirror)) = (&mend.target, mirror) {
        return copy_one((writer, mirror), run, mend, reader.stop);
    }
    if !names_something(reader.store(), &mend.target)? {
        return Ok(Some(
            "Left alone: the blob that it would name went since it was read, so somebody writes to the store.".to_owned(),
        ));
    }
    if let (Some(stat), Some(run)) = (&mend.replaced, run) {
        match run.keep(&Planned { target: &mend.target, stat })? {
            Removal::Removed => {}
            Removal::AlreadyGone | Removal::Changed(_) => return Ok(Some(CHANGED_SINCE.to_owned())),
        }
    }
    let made = writer.make_link(&mend.target, mend.replaced.as_ref());
    if let (Err(_), Some(_), Some(run)) = (&made, &mend.replaced, run) {
        // Where it was it still is. What cannot be taken off the shelf is reported with the run.
        let _stays = run.restore(&mend.target);
    }
    match made? {
        Made::Made => {}
        Made::Exists => return Ok(Some(MADE_SINCE.to_owned())),
        Made::Changed(_) => return Ok(Some(CHANGED_SINCE.to_owned())),
    }
    let says = read_again(reader.store(), &mend.target)?;
    let is_wrong = says != LinkContent::Digest(*mend.digest());
    Ok(is_wrong.then(|| "It was made, and does not read as it was written: look at the disk.".to_owned()))
}

/// Copies one blob. What is wrong in the mirror, or with its bytes, keeps nothing else from being made.
fn copy_one(
    (writer, mirror): (&dyn Repair, Mirror<'_>),
    run: Option<&Run<'_>>,
    mend: &Mend,
    stop: &AtomicBool,
) -> Result<Option<String>, Error> {
    if let (Some(stat), Some(run)) = (&mend.replaced, run) {
        match run.keep(&Planned { target: &mend.target, stat })? {
            Removal::Removed => {}
            Removal::AlreadyGone | Removal::Changed(_) => return Ok(Some(CHANGED_SINCE.to_owned())),
        }
    }
    let mut lacks = None;
    let made = writer.make_blob(mend.digest(), mend.replaced.as_ref(), &mut |out| {
        mirror.copy(mend.digest(), mend.size_bytes.unwrap_or_default(), out, stop).unwrap_or_else(|why| {
            lacks = Some(why);
            Err(std::io::ErrorKind::Other.into())
        })
    });
    if let (Some(_), Some(run)) = (&mend.replaced, run.filter(|_| !matches!(made, Ok(Made::Made)))) {
        // Where it was it still is. What cannot be taken off the shelf is reported with the run.
        let _stays = run.restore(&mend.target);
    }
    if let Some(lacks) = lacks {
        return Ok(Some(lacks.reason()));
    }
    Ok(match made? {
        Made::Made => None,
        Made::Exists => Some(MADE_SINCE.to_owned()),
        Made::Changed(difference) if difference == OTHER_BYTES => {
            Some(format!("Not copied: in the store that --from names {difference}."))
        }
        Made::Changed(_) => Some(CHANGED_SINCE.to_owned()),
    })
}

/// Whether what a link is to name is stored, right before it is made. History outlives what it names.
fn names_something(store: &dyn Store, target: &Target) -> Result<bool, Error> {
    if matches!(target, Target::Link(LinkDirectory::History(..), _)) {
        return Ok(true);
    }
    let Some(digest) = target.digest() else { return Ok(true) };
    Ok(matches!(store.stat_blobs(Shard::of(digest), &[*digest])?[..], [FileState::File(_)]))
}

fn read_again(store: &dyn Store, target: &Target) -> Result<LinkContent, Error> {
    let name = target.repository().expect("links lie in repositories");
    let repository = store.open(&RepositoryEntry { name: name.clone(), foreign: None })?;
    match target {
        Target::Tag(_, tag, _) => {
            let TagContent { current, .. } = repository.tag(tag)?;
            Ok(current)
        }
        Target::Link(directory, digest) => Ok(repository.read_links(directory, &[*digest])?[0]),
        // Nothing else is made as a link.
        _ => Ok(LinkContent::Irregular),
    }
}

fn failed(mend: &Mend, why: &str) -> Finding {
    let mut finding = Finding::new(Code::FailedRepair).digest(mend.digest()).path(mend.target.path());
    finding.repository = mend.target.repository().cloned();
    finding.tag = mend.target.tag().cloned();
    finding.detail(why)
}
