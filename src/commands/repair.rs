//! `regsweep repair`: makes links again whose place says their content.
//!
//! Nothing is made before the whole store has been read and everything that can refuse has been asked. What is replaced is quarantined first.

mod making;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use self::making::mend_all;
use super::opening;
use super::owners;
use super::reading::named;
use super::session::{Means, Session};
use super::stops::stops_real_runs;
use super::watched::Watched;
use crate::audit::damage;
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::config::{Mode, RepairSettings};
use crate::error::Error;
use crate::escape::{escaped, operand};
use crate::finding::{Code, Finding};
use crate::findings::consolidated;
use crate::format::size;
use crate::graph::{Context, Manifests};
use crate::inventory::Inventory;
use crate::layout;
use crate::mark::{self, interrupted};
use crate::oci::{Digest, reference};
use crate::plan::Kind;
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Reader};
use crate::repair::{self, Looking, Mend, Mends, Mirror};
use crate::report::repair::RepairReport;
use crate::store::{Access, Backend, FileState, Repair, RepositoryEntry};
use crate::survey::{self, Survey};
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
    let other = settings.from.as_ref().map(|from| opening::open(from, settings.jobs)).transpose()?;
    let mirror = other.as_deref().map(|other| mirror_of(backend, other)).transpose()?;
    let mut stops = Vec::new();
    let owned =
        owners::ensure_no_foreign_owner(backend, &settings.location, RootPolicy::AllRevisions, settings.allow_foreign_owner);
    stops_real_runs(settings.mode, owned, is_said, &mut stops)?;
    let mut report = RepairReport::new(&settings, backend.place());
    session.work(|reader| {
        let watched = if settings.notices_changes { Watched::begin(reader) } else { Watched::nothing() };
        stops_real_runs(settings.mode, ensure_alone(&settings, backend), is_said, &mut stops)?;
        let mends = read(&settings, reader, mirror, &mut report)?;
        stops_real_runs(settings.mode, ensure_possible(backend, writer, &mends), is_said, &mut stops)?;
        report.planned = mends;
        if report.planned.is_empty() {
            return Ok(());
        }
        if settings.mode == Mode::Execute {
            ensure_alone(&settings, reader.backend)?;
            interrupted(stop)?;
        }
        stops_real_runs(settings.mode, watched.ensure_unchanged(false), is_said, &mut stops)?;
        if settings.mode == Mode::Execute {
            mend_all(&settings, reader, (writer, mirror), &mut report)?;
        }
        Ok(())
    })?;
    report.stop_code = stops.first().map(Error::code);
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
        false => Ok(Mirror::new(other.store(), backend.free_bytes())),
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
    let (mut by_target, mut needed) = (BTreeMap::new(), None);
    let (mut has_more, mut misstated) = (false, BTreeMap::<Digest, BTreeSet<u64>>::new());
    for of_repository in all {
        by_target.extend(of_repository.links);
        report.findings.extend(of_repository.findings);
        has_more |= of_repository.has_more;
        needed = needed.or(of_repository.needed);
        of_repository.misstated.into_iter().for_each(|(digest, sizes)| misstated.entry(digest).or_default().extend(sizes));
    }
    // Where one manifest states a wrong size for it and another one the right size, it is copied for the other.
    let is_copied = |digest: &Digest| by_target.contains_key(&layout::Target::Blob(*digest));
    report.findings.retain(|finding| !finding.code.is_absence() || !finding.digest.as_ref().is_some_and(is_copied));
    reader.progress.begin(Phase::Checking, None);
    let known: BTreeSet<Digest> = damage::damaged(&report.findings);
    let is_meant = |digest: &Digest| {
        let is_known = known.contains(digest) || is_copied(digest);
        !is_known && needed.as_ref().is_none_or(|needed| needed.contains(digest))
    };
    let of_sizes = repair::sizes(&context, chosen, mirror, (&is_meant, &misstated), reader.stop)?;
    by_target.extend(of_sizes.links);
    report.findings.extend(of_sizes.findings);
    let copies = by_target.values().filter_map(|mend: &Mend| Some((*mend.digest(), mend.size_bytes?))).collect();
    report.findings.extend(repair::of_copies(&context, chosen, &copies, &misstated)?);
    let waiting = quarantine::waiting(reader, &report.findings)?;
    report.findings = quarantine::as_restorable(std::mem::take(&mut report.findings), &waiting);
    report.findings = damage::once_each(std::mem::take(&mut report.findings), BTreeMap::new());
    report.has_more = has_more && by_target.keys().any(|target| matches!(target, layout::Target::Blob(_)));
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
    let mut looking = Looking::new(&facts, context, blobs, mirror);
    let mut mends = repair::contents(&mut looking, of_contents)?;
    if let Some(place) = place {
        repair::target(&mut looking, place, &mut mends)?;
    }
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
        Error::Usage(format!("no tag {tag} in {name}; `regsweep list {}` names them", operand(name.as_path())))
    })
}

/// Damage that no link mends.
fn is_about_content(code: Code) -> bool {
    matches!(
        code,
        Code::MissingTagTarget
            | Code::MissingManifest
            | Code::MissingBlob
            | Code::MissingChild
            | Code::CorruptManifest
            | Code::UnreadableManifest
            | Code::OversizedManifest
            | Code::IrregularData
    )
}
