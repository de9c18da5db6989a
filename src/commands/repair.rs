//! `regsweep repair`: makes links again whose place says their content.
//!
//! Nothing is made before the whole store has been read and everything that can refuse has been asked. What is replaced is quarantined first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::opening;
use super::owners;
use super::reading::named;
use super::session::{Means, Session};
use super::stops::stops_real_runs;
use crate::audit::damage;
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::config::{Mode, RepairSettings};
use crate::error::{Error, ErrorKind};
use crate::escape::escaped;
use crate::finding::{Code, Finding};
use crate::findings::consolidated;
use crate::format::size;
use crate::graph::{Context, Manifests};
use crate::inventory::Inventory;
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::mark::{self, interrupted};
use crate::oci::{Digest, reference};
use crate::plan::Kind;
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Purpose, Reader, Run};
use crate::repair::{self, Looking, Mend, Mends, Mirror};
use crate::report::repair::RepairReport;
use crate::store::{Access, Backend, FileState, LinkContent, Made, Planned, Removal, Repair, RepositoryEntry, Store, TagContent};
use crate::survey::{self, Survey};
use crate::writers::{self, Question};

/// Why something was left alone that is there now.
const MADE_SINCE: &str = "Left alone: it was made since it was looked for, so somebody writes to the store.";
/// Why something was left alone that is another one now.
const CHANGED_SINCE: &str = "Left alone: it was changed since it was read, so somebody writes to the store.";

/// Repairs, or says what a repair would do.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the run ended before anything was changed. What goes wrong later is in the report.
pub fn run(settings: RepairSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<RepairReport, Error> {
    run_on(&*opening::open(&settings.location, settings.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: RepairSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<RepairReport, Error> {
    let writer = backend.repair().ok_or_else(|| {
        Error::Usage("links in a bucket cannot be repaired yet; push the images again, which makes their links".to_owned())
    })?;
    if settings.location.is_proxy() {
        let message =
            "the registry is a pull-through cache, which fetches what it lacks on the next pull: there is nothing to repair";
        return Err(Error::Usage(message.to_owned()));
    }
    let means = Means {
        access: if settings.mode == Mode::DryRun { Access::Look } else { Access::Change },
        wait_lock: settings.wait_lock,
        now: settings.clock.timestamp(),
        jobs: settings.jobs,
        max_memory: settings.max_memory,
        spill_directory: &settings.spill_directory,
        metrics: settings.output.metrics.as_deref(),
    };
    let session = Session::open(backend, means, progress, stop)?;
    let other = settings.from.as_ref().map(|from| opening::open(from, settings.jobs)).transpose()?;
    let mirror = other.as_deref().map(|other| mirror_of(backend, other)).transpose()?;
    let mut stops = Vec::new();
    let owned =
        owners::ensure_no_foreign_owner(backend, &settings.location, RootPolicy::AllRevisions, settings.allow_foreign_owner);
    stops_real_runs(settings.mode, owned, is_said, &mut stops)?;
    stops_real_runs(settings.mode, ensure_alone(&settings, backend), is_said, &mut stops)?;
    let mut report = RepairReport::new(&settings, backend.place());
    session.work(|reader| {
        let mends = read(&settings, reader, mirror, &mut report)?;
        stops_real_runs(settings.mode, ensure_possible(backend, writer, &mends), is_said, &mut stops)?;
        report.has_more = mends.iter().any(|mend| mend.size_bytes.is_some() && mend.code != Code::MissingBlob);
        report.planned = mends;
        if settings.mode == Mode::Execute && !report.planned.is_empty() {
            ensure_alone(&settings, reader.backend)?;
            interrupted(stop)?;
            mend_all(&settings, reader, (writer, mirror), &mut report)?;
        }
        Ok(())
    })?;
    report.stops = stops.iter().map(ToString::to_string).collect();
    report.findings = consolidated(std::mem::take(&mut report.findings), false);
    report.elapsed = settings.clock.elapsed();
    Ok(report)
}

/// What a repair is stopped by, whatever else could be looked at.
fn is_said(error: &Error) -> bool {
    matches!(error, Error::Brake { .. } | Error::Usage(_) | Error::Io { .. })
}

/// Makes sure that no registry takes pushes meanwhile.
fn ensure_alone(settings: &RepairSettings, backend: &dyn Backend) -> Result<(), Error> {
    if settings.assume_offline {
        return Ok(());
    }
    let location = &settings.location;
    let answers = writers::ask(Question {
        root: backend.root(),
        registry: location.registry.as_ref(),
        http: location.http(),
        cache: location.cache_sign(),
        others: &settings.registries,
        credentials: settings.registry_auth.as_ref(),
        offers_online: false,
    });
    answers.ensure_no_writers()?;
    answers.unqueried().map_or(Ok(()), |reason| {
        Err(Error::Brake {
            reason: format!("no registry could be asked whether it takes pushes: {reason}"),
            lift: "give --registry URL with an address at which it answers from here, or, once it is stopped or read-only, --assume-offline"
                .to_owned(),
        })
    })
}

/// Takes another store for a mirror.
///
/// # Errors
///
/// When it is this one.
fn mirror_of<'o>(backend: &dyn Backend, other: &'o dyn Backend) -> Result<Mirror<'o>, Error> {
    match other.identity()? == backend.identity()? {
        true => {
            Err(Error::Usage(format!("--from {} is the store that is to be repaired: name another one", escaped(other.place()))))
        }
        false => Ok(Mirror::new(other.store())),
    }
}

fn ensure_possible(backend: &dyn Backend, writer: &dyn Repair, mends: &[Mend]) -> Result<(), Error> {
    if mends.is_empty() {
        return Ok(());
    }
    writer.ensure_possible()?;
    let needed: u64 = mends.iter().filter_map(|mend| mend.size_bytes).sum();
    if let Some(free) = backend.free_bytes().filter(|free| *free < needed) {
        let (needed, free) = (size(needed), size(free));
        return Err(Error::Usage(format!("{needed} are to be copied, and {free} are free: make room first")));
    }
    let replaced = mends.iter().filter(|mend| mend.replaced.is_some()).count() as u64;
    if replaced > 0 {
        backend.shelves().ensure_room(replaced, replaced)?;
    }
    mends.iter().try_for_each(|mend| writer.ensure_writable(&mend.target))
}

/// Reads the store, and decides about every link. Returns those to make: contents before names.
fn read(
    settings: &RepairSettings,
    reader: &Reader<'_>,
    mirror: Option<Mirror<'_>>,
    report: &mut RepairReport,
) -> Result<Vec<Mend>, Error> {
    let store = reader.store();
    reader.progress.begin(Phase::ListingBlobs, None);
    let (inventory, _) = Inventory::list(store, &(reader.budget)(0))?;
    interrupted(reader.stop)?;
    reader.progress.begin(Phase::FindingRepositories, None);
    let listed = store.repositories()?;
    let chosen = match settings.reference.as_ref().and_then(|reference| reference.repository()) {
        Some(typed) => std::slice::from_ref(named(&listed.entries, typed)?),
        None => &listed.entries[..],
    };
    let manifests = Manifests::new(store, &inventory);
    let now = settings.clock.start();
    let policy = Policy::new(std::time::Duration::ZERO, Arrivals::Ignored, now);
    let retention = &RootPolicy::AllRevisions;
    let context = Context { store, inventory: &inventory, manifests: &manifests, retention, policy };
    reader.progress.begin(Phase::LookingAtBlobs, None);
    let blobs = BlobFacts::look(&context)?;
    reader.progress.begin(Phase::Marking, Some(chosen.len() as u64));
    let all: Vec<Mends> = survey::each(chosen, |repository| {
        interrupted(reader.stop)?;
        let mends = of_repository(settings, &context, &blobs, mirror, repository)?;
        reader.progress.advance(1, 0);
        Ok(mends)
    })?;
    report.repositories = chosen.len() as u64;
    // Several repositories may need one blob.
    let mut by_target = BTreeMap::new();
    for of_repository in all {
        by_target.extend(of_repository.links);
        report.findings.extend(of_repository.findings);
    }
    report.findings = damage::once_each(std::mem::take(&mut report.findings), BTreeMap::new());
    let mut mends: Vec<Mend> = by_target.into_values().collect();
    // A push writes in this order, too: wherever this ends, no name is there before what it needs.
    mends.par_sort_by(|a, b| {
        (std::cmp::Reverse(Kind::of(&a.target)), &a.target).cmp(&(std::cmp::Reverse(Kind::of(&b.target)), &b.target))
    });
    Ok(mends)
}

fn of_repository(
    settings: &RepairSettings,
    context: &Context<'_>,
    blobs: &BlobFacts,
    mirror: Option<Mirror<'_>>,
    repository: &RepositoryEntry,
) -> Result<Mends, Error> {
    let surveyed = survey::survey(context.store, repository)?;
    let place = match settings.reference.as_ref().and_then(|reference| reference.tag()) {
        Some(typed) => Some(place_of(&surveyed, typed)?),
        None => None,
    };
    let marks = mark::mark(&surveyed, context)?;
    let facts = RepositoryFacts::look(context, surveyed, blobs)?;
    let absent = facts.needed.absent.iter().filter_map(|digest| {
        let code = match blobs.without_data.get(digest)? {
            FileState::Absent => Code::MissingBlob,
            FileState::Irregular => Code::IrregularData,
            FileState::File(_) => return None,
        };
        Some(Finding::new(code).digest(digest).path(layout::blob_data(digest)))
    });
    let mut of_contents: Vec<Finding> =
        marks.findings.into_iter().filter(|finding| is_about_content(finding.code)).chain(absent).collect();
    of_contents.sort();
    let mut looking = Looking { facts: &facts, context, blobs, mirror, copied: BTreeSet::new() };
    let mut mends = repair::contents(&mut looking, of_contents)?;
    repair::links(&looking, &mut mends)?;
    match place {
        Some(place) => repair::tag(&looking, place, mends),
        None => Ok(mends),
    }
}

/// The place of a tag in the survey.
///
/// # Errors
///
/// When there is none.
fn place_of(surveyed: &Survey<'_>, typed: &str) -> Result<usize, Error> {
    surveyed.tags.iter().position(|tag| reference::is_tag(&tag.name, typed)).ok_or_else(|| {
        let (name, tag) = (&surveyed.name, escaped(typed));
        Error::Usage(format!("no tag {tag} in {name}; `regsweep list {name}` names them"))
    })
}

/// Damage that no link mends. A child that is missing may never have been copied.
fn is_about_content(code: Code) -> bool {
    matches!(
        code,
        Code::MissingTagTarget
            | Code::MissingManifest
            | Code::MissingBlob
            | Code::CorruptManifest
            | Code::UnreadableManifest
            | Code::OversizedManifest
            | Code::IrregularData
    )
}

/// Makes everything. From the first change on nothing ends the run without its report.
///
/// # Errors
///
/// When no quarantine can be begun for what is replaced. Nothing has been changed then.
fn mend_all(
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
        let made = match not_copied.contains(mend.digest()) {
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
    if let (Target::Blob(digest), Some(mirror)) = (&mend.target, mirror) {
        return Ok(match writer.make_blob(digest, &mut |out| mirror.copy(digest, out, reader.stop))? {
            Made::Made => None,
            Made::Exists => Some(MADE_SINCE.to_owned()),
            Made::Changed(difference) => Some(format!("Not copied: in the store that --from names {difference}.")),
        });
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
