//! `regsweep repair`: makes links again whose place says their content.
//!
//! Nothing is made before the whole store has been read and everything that can refuse has been asked. What is replaced is quarantined first.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::opening;
use super::owners;
use super::reading::named;
use super::session::{Means, Session};
use crate::audit::damage;
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::config::{Mode, RepairSettings};
use crate::error::{Error, ErrorKind};
use crate::finding::{Code, Finding};
use crate::findings::consolidated;
use crate::graph::{Context, Manifests};
use crate::inventory::Inventory;
use crate::layout::{LinkDirectory, Target};
use crate::mark::{self, interrupted};
use crate::oci::reference;
use crate::plan::Kind;
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Purpose, Reader, Run};
use crate::repair::{self, Mend, Mends};
use crate::report::repair::RepairReport;
use crate::store::{Access, Backend, LinkContent, Made, Planned, Removal, Repair, RepositoryEntry, Store, TagContent};
use crate::survey;
use crate::writers::{self, Question};

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
    let mut stops = Vec::new();
    let owned =
        owners::ensure_no_foreign_owner(backend, &settings.location, RootPolicy::AllRevisions, settings.allow_foreign_owner);
    stops_real_runs(settings.mode, owned, &mut stops)?;
    stops_real_runs(settings.mode, ensure_alone(&settings, backend), &mut stops)?;
    let mut report = RepairReport::new(&settings, backend.place());
    session.work(|reader| {
        let mends = read(&settings, reader, &mut report)?;
        stops_real_runs(settings.mode, ensure_possible(writer, &mends), &mut stops)?;
        report.planned = mends;
        if settings.mode == Mode::Execute && !report.planned.is_empty() {
            ensure_alone(&settings, reader.backend)?;
            interrupted(stop)?;
            mend_all(&settings, reader, writer, &mut report)?;
        }
        Ok(())
    })?;
    report.stops = stops.iter().map(ToString::to_string).collect();
    report.findings = consolidated(std::mem::take(&mut report.findings), false);
    report.elapsed = settings.clock.elapsed();
    Ok(report)
}

/// Ends a real run that something stands against, and lets a dry run say so.
fn stops_real_runs(mode: Mode, asked: Result<(), Error>, stops: &mut Vec<Error>) -> Result<(), Error> {
    match asked {
        Err(error @ (Error::Brake { .. } | Error::Usage(_) | Error::Io { .. })) if mode == Mode::DryRun => {
            stops.push(error);
            Ok(())
        }
        other => other,
    }
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
        urls: &settings.registries,
        credentials: settings.registry_auth.as_ref(),
        offers_online: false,
    })?;
    answers.ensure_no_writers()?;
    answers.nobody_asked().map_or(Ok(()), |reason| {
        Err(Error::Brake {
            reason: format!("no registry could be asked whether it takes pushes: {reason}"),
            lift: "give --registry URL with an address at which it answers from here, or, once it is stopped or read-only, --assume-offline"
                .to_owned(),
        })
    })
}

fn ensure_possible(writer: &dyn Repair, mends: &[Mend]) -> Result<(), Error> {
    if mends.is_empty() {
        return Ok(());
    }
    writer.ensure_possible()?;
    mends.iter().try_for_each(|mend| writer.ensure_writable(&mend.target))
}

/// Reads the store, and decides about every link. Returns those to make: contents before names.
fn read(settings: &RepairSettings, reader: &Reader<'_>, report: &mut RepairReport) -> Result<Vec<Mend>, Error> {
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
    let policy = Policy { min_age: std::time::Duration::ZERO, arrivals: Arrivals::Ignored, keeps_arrivals: false, now };
    let retention = &RootPolicy::AllRevisions;
    let context = Context { store, inventory: &inventory, manifests: &manifests, retention, policy };
    reader.progress.begin(Phase::LookingAtBlobs, None);
    let blobs = BlobFacts::look(&context)?;
    reader.progress.begin(Phase::Marking, Some(chosen.len() as u64));
    let all: Vec<Mends> = survey::each(chosen, |repository| {
        interrupted(reader.stop)?;
        let mends = of_repository(settings, &context, &blobs, repository)?;
        reader.progress.advance(1, 0);
        Ok(mends)
    })?;
    report.repositories = chosen.len() as u64;
    let mut mends = Vec::new();
    for of_repository in all {
        mends.extend(of_repository.links.into_values());
        report.findings.extend(of_repository.findings);
    }
    report.findings = damage::once_each(std::mem::take(&mut report.findings), std::collections::BTreeMap::new());
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
    repository: &RepositoryEntry,
) -> Result<Mends, Error> {
    let surveyed = survey::survey(context.store, repository)?;
    if let Some(typed) = settings.reference.as_ref().and_then(|reference| reference.tag()) {
        let Some(place) = surveyed.tags.iter().position(|tag| reference::is_tag(&tag.name, typed)) else {
            let (name, tag) = (&repository.name, crate::escape::escaped(typed));
            return Err(Error::Usage(format!("no tag {tag} in {name}; `regsweep list {name}` names them")));
        };
        let facts = RepositoryFacts::look(context, surveyed, blobs)?;
        return repair::current(&facts, context, blobs, place);
    }
    let marks = mark::mark(&surveyed, context)?;
    let facts = RepositoryFacts::look(context, surveyed, blobs)?;
    let mut mends = repair::links(&facts, context, blobs)?;
    let absent = facts.needed.absent.iter().filter(|digest| blobs.without_data.contains_key(digest));
    let absent = absent.map(|digest| Finding::new(Code::MissingBlob).digest(digest).path(crate::layout::blob_data(digest)));
    let of_contents = marks.findings.into_iter().filter(|finding| is_about_content(finding.code)).chain(absent);
    mends.findings.extend(of_contents.map(|finding| {
        let detail = format!("{} Not mended: only what holds the same bytes can replace it.", finding.message());
        finding.detail(detail)
    }));
    Ok(mends)
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

/// Makes all links. From the first one on nothing ends the run without its report.
///
/// # Errors
///
/// When no quarantine can be begun for what is replaced. Nothing has been changed then.
fn mend_all(settings: &RepairSettings, reader: &Reader<'_>, writer: &dyn Repair, report: &mut RepairReport) -> Result<(), Error> {
    let mut run = match report.planned.iter().filter(|mend| mend.replaced.is_some()).count() as u64 {
        0 => None,
        files => {
            reader.backend.shelves().ensure_room(files, files)?;
            Some(quarantine::begin(reader.backend, Purpose::Repair, &settings.clock, None)?)
        }
    };
    reader.progress.begin(Phase::Repairing, Some(report.planned.len() as u64));
    let planned = std::mem::take(&mut report.planned);
    for mend in &planned {
        if reader.stop.load(std::sync::atomic::Ordering::Relaxed) {
            report.interrupted = true;
            break;
        }
        match mend_one(reader.store(), writer, run.as_ref(), mend) {
            Ok(None) => {
                report.replaced += u64::from(mend.replaced.is_some());
                report.mended += 1;
            }
            Ok(Some(why)) => report.findings.push(failed(mend, why)),
            Err(error) => {
                let is_fatal = matches!(error.kind(), Some(ErrorKind::Full | ErrorKind::ReadOnly | ErrorKind::Broken));
                report.findings.push(failed(mend, &error.to_string()));
                report.has_failed = true;
                if is_fatal {
                    break;
                }
            }
        }
        reader.progress.advance(1, 0);
    }
    report.planned = planned;
    if let Some(run) = &mut run {
        finish(settings, reader, run, report);
    }
    Ok(())
}

/// Notes that the last thing was quarantined, and names the run if it holds anything.
fn finish(settings: &RepairSettings, reader: &Reader<'_>, run: &mut Run<'_>, report: &mut RepairReport) {
    let finished = reader.backend.vacuum().barrier().and_then(|()| run.finish(&settings.clock, None, None));
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

/// Makes one link, and reads it again. Says why it was left alone, if it was.
fn mend_one(store: &dyn Store, writer: &dyn Repair, run: Option<&Run<'_>>, mend: &Mend) -> Result<Option<&'static str>, Error> {
    if let (Some(stat), Some(run)) = (&mend.replaced, run) {
        match run.keep(&Planned { target: &mend.target, stat })? {
            Removal::Removed => {}
            Removal::AlreadyGone => return Ok(Some("Left alone: it is not there any more.")),
            Removal::Changed(_) => {
                return Ok(Some("Left alone: it was changed since it was read, so somebody writes to the store."));
            }
        }
    }
    let made = writer.make_link(&mend.target, mend.replaced.as_ref());
    if let (Err(_), Some(_), Some(run)) = (&made, &mend.replaced, run) {
        // Where it was it still is. What cannot be taken off the shelf is reported with the run.
        let _stays = run.restore(&mend.target);
    }
    match made? {
        Made::Made => {}
        Made::Exists => return Ok(Some("Left alone: it was made since it was looked for, so somebody writes to the store.")),
        Made::Changed(_) => return Ok(Some("Left alone: it was changed since it was read, so somebody writes to the store.")),
    }
    let says = read_again(store, &mend.target)?;
    Ok((says != LinkContent::Digest(*mend.target.digest()))
        .then_some("It was made, and does not read as it was written: look at the disk."))
}

fn read_again(store: &dyn Store, target: &Target) -> Result<LinkContent, Error> {
    let name = target.repository().expect("links lie in repositories");
    let repository = store.open(&RepositoryEntry { name: name.clone(), set_apart: None })?;
    match target {
        Target::Tag(_, tag, _) => {
            let TagContent { current, .. } = repository.tag(tag)?;
            Ok(current)
        }
        _ => {
            let directory: &LinkDirectory = target.link_directory().expect("it is a link");
            Ok(repository.read_links(directory, &[*target.digest()])?[0])
        }
    }
}

fn failed(mend: &Mend, why: &str) -> Finding {
    let mut finding = Finding::new(Code::FailedRepair).digest(mend.target.digest()).path(mend.target.path());
    finding.repository = mend.target.repository().cloned();
    finding.tag = mend.target.tag().cloned();
    finding.detail(why)
}
