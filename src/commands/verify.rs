//! `regsweep verify`: what is needed, what is selected, every byte of it.

mod confirm;
mod quarantine;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::opening;
use super::reconcile;
use super::session::{Means, Session, ensure_outside};
use crate::config::VerifySettings;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::findings::consolidated;
use crate::format::number;
use crate::graph::{Context, Manifests};
use crate::inventory::{BlobId, Budget, Inventory, MarkFlags};
use crate::layout::{self, Shard, Target};
use crate::mark;
use crate::oci::Digest;
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::report::verify::VerifyReport;
use crate::store::{Access, Backend, FileState, RepositoryEntry, Store};
use crate::survey;
use crate::verify::consolidate::consolidate;
use crate::verify::jobs::Queue;
use crate::verify::lenient::Lenient;
use crate::verify::rate::Rate;
use crate::verify::selection::{Selected, Wanted, select};
use crate::verify::state::State;
use crate::verify::{Damage, DamagedBlob, Pass, deadline};

/// Verifies.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When it is not known what there is to verify. What is wrong with it is in the report.
pub fn run(settings: VerifySettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<VerifyReport, Error> {
    run_on(&*opening::open(&settings.location, settings.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: VerifySettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<VerifyReport, Error> {
    let began = Instant::now();
    let VerifySettings { jobs, max_memory, spill_directory, wait_lock, .. } = &settings;
    let means = Means {
        // Alone, what is quarantined; beside others, what only looks. A sweep would take blobs away while they are read.
        access: if settings.quarantine { Access::Change } else { Access::Look },
        wait_lock: *wait_lock,
        now: settings.clock.timestamp(),
        jobs: *jobs,
        max_memory: *max_memory,
        spill_directory,
        metrics: settings.output.metrics.as_deref(),
    };
    let session = Session::open(backend, means, progress, stop)?;
    settings.state.as_ref().map_or(Ok(()), |path| ensure_outside(backend, "--state", path))?;
    let state = settings.state.as_ref().map(|path| State::open(path, &backend.identity()?)).transpose()?;
    let result = verify(&settings, &session, state, (progress, stop), began);
    progress.end();
    result
}

fn verify(
    settings: &VerifySettings,
    session: &Session<'_>,
    state: Option<State>,
    (progress, stop): (&dyn Progress, &AtomicBool),
    began: Instant,
) -> Result<VerifyReport, Error> {
    let (backend, pool) = (session.backend, &session.pool);
    let store = backend.store();
    // What quarantines must know all that is there.
    let lenient = Lenient::new(store, backend.place(), !settings.quarantine);
    progress.begin(Phase::ListingBlobs, None);
    let budget = (session.reader().budget)(0);
    let (inventory, _) = pool.install(|| Inventory::list(&lenient, &budget))?;
    let manifests = Manifests::new(&lenient, &inventory);
    let policy = needs_all(settings);
    let context =
        Context { store: &lenient, inventory: &inventory, manifests: &manifests, retention: &RootPolicy::AllRevisions, policy };
    let mut report = VerifyReport::new(settings, backend.place(), inventory.len() as u64);

    let surveyed = pool.install(|| survey(settings, (&context, &lenient), state.as_ref(), &budget, (progress, stop)));
    let Surveyed { repositories, looked_at, mut findings, selected } = match surveyed {
        Ok(surveyed) => surveyed,
        // Whoever asked for the end gets the report all the same: nothing was read.
        Err(Error::Interrupted) => {
            (report.interrupted, report.elapsed) = (true, began.elapsed());
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.repositories = looked_at;
    report.stored_blobs -= selected.without_data;
    report.selected = selected.amount;
    report.fresh = selected.fresh;

    let rate = settings.max_rate.map(Rate::new);
    let pass = Pass {
        store,
        inventory: &inventory,
        state: state.as_ref(),
        rate: rate.as_ref(),
        deadline: deadline(began, settings.max_duration),
        began: (settings.started, began),
        jobs: settings.jobs,
        progress,
        stop,
    };
    progress.begin_bytes(Phase::Verifying, selected.amount.count, selected.amount.size_bytes);
    let reading = Instant::now();
    let mut outcome = pass.run(&Queue::new(selected.jobs));
    outcome.absent.extend(selected.absent);
    report.reading = reading.elapsed();
    report.interrupted = stop.load(Ordering::Relaxed);
    progress.begin(Phase::Checking, None);
    findings.extend(pool.install(|| confirm::confirm(store, &inventory, &mut outcome, settings.clock.now(), stop)));
    findings.retain(|finding| {
        let missing = finding.digest.filter(|_| finding.code.is_absence());
        missing.is_none_or(|digest| !lenient.may_hide(&digest) && !is_stored_by_now(store, &digest))
    });
    report.vanished += add_absent(&context, store, &outcome.absent, &mut findings);
    findings.extend(outcome.damaged.iter().map(DamagedBlob::finding));
    let sizes = outcome.otherwise.iter().map(|(blob, size_bytes)| (inventory.digest(*blob), *size_bytes)).collect();
    let findings = pool.install(|| consolidate(&context, &repositories, findings, &sizes));
    let findings = consolidated(findings.into_iter().chain(lenient.findings()).collect(), settings.location.is_proxy());
    report.findings = restorable(session, findings);
    report.count(&outcome);
    if settings.quarantine {
        // What was found must not be lost for it, and neither what was found good.
        if let Err(error) =
            pool.install(|| quarantine::quarantine(backend, settings, &outcome, &settings.clock, stop, &mut report))
        {
            report.findings.push(Finding::new(Code::FailedRemoval).detail(error.to_string()));
            report.findings.sort();
        }
    }
    let closed = state.map_or(Ok(()), |state| state.close(|digest| inventory.find(digest).is_some() || lenient.may_hide(digest)));
    report.state_failure = closed.err().map(|error| error.to_string());
    report.elapsed = began.elapsed();
    Ok(report)
}

/// Findings, in which what waits in quarantine is not lost. Without the memory for the list of it the rest is reported all the same.
fn restorable(session: &Session<'_>, findings: Vec<Finding>) -> Vec<Finding> {
    let waiting = crate::quarantine::waiting(&session.reader(), &findings).unwrap_or_default();
    crate::quarantine::as_restorable(findings, &waiting)
}

/// Everything that a repository links is needed, whatever its age.
fn needs_all(settings: &VerifySettings) -> Policy {
    Policy::new(Duration::ZERO, Arrivals::Ignored, settings.started)
}

/// Adds what was listed and not there to be read, but for what whoever needs it has said already. Returns how many have gone since.
fn add_absent(context: &Context<'_>, store: &dyn Store, blobs: &[BlobId], findings: &mut Vec<Finding>) -> u64 {
    let missed: HashSet<Digest> = findings.iter().filter_map(|finding| finding.digest).collect();
    let mut vanished = 0;
    for blob in blobs {
        let digest = context.inventory.digest(*blob);
        match absent(context, store, *blob, &digest) {
            Absent::DamagedBlob(damaged) if !missed.contains(&digest) => findings.push(damaged.finding()),
            Absent::Vanished => vanished += 1,
            Absent::DamagedBlob(_) | Absent::Nothing => {}
        }
    }
    vanished
}

/// What is known before the first blob is read.
struct Surveyed {
    /// All repositories.
    repositories: Vec<RepositoryEntry>,
    /// How many of them were asked what they need.
    looked_at: u64,
    findings: Vec<Finding>,
    selected: Selected,
}

/// Marks what the repositories need, and selects what is to be read.
fn survey(
    settings: &VerifySettings,
    (context, lenient): (&Context<'_>, &Lenient<'_>),
    state: Option<&State>,
    budget: &Budget,
    (progress, stop): (&dyn Progress, &AtomicBool),
) -> Result<Surveyed, Error> {
    interrupted(stop)?;
    progress.begin(Phase::FindingRepositories, None);
    let all = context.store.repositories()?.entries;
    let mut repositories = all.clone();
    if let Some(names) = &settings.repositories {
        repositories.retain(|repository| names.is_match(repository.name.as_path()));
        // It may be in what could not be listed, which is a finding.
        if repositories.is_empty() && !lenient.has_passed_over() {
            let patterns = settings.repository_patterns.join(", ");
            return Err(Error::Usage(format!(
                "no repository matches --repository {patterns}; '*' is one component, '**' any number"
            )));
        }
    }
    tracing::info!("{} blobs, {} repositories", number(context.inventory.len() as u64), number(repositories.len() as u64));
    progress.begin(Phase::Marking, Some(repositories.len() as u64));
    let findings: Vec<Vec<Finding>> = survey::each(&repositories, |repository| {
        interrupted(stop)?;
        let findings = missing(context, repository);
        progress.advance(1, 0);
        Ok(findings)
    })?;
    progress.begin(Phase::Selecting, None);
    let wanted = Wanted {
        marked_only: settings.repositories.is_some(),
        part: &settings.selection,
        state,
        max_age: settings.max_age,
        now: settings.started,
    };
    let selected = select(context, &wanted, budget, progress)?;
    interrupted(stop)?;
    Ok(Surveyed { repositories: all, looked_at: repositories.len() as u64, findings: findings.concat(), selected })
}

/// Marks what one repository needs, and returns what of it is not stored. Everything else that is odd about a repository is not asked for.
fn missing(context: &Context<'_>, repository: &RepositoryEntry) -> Vec<Finding> {
    let marks = reconcile::look(true, || mark::mark(&survey::survey(context.store, repository)?, context));
    match marks {
        Ok(marks) => marks.findings.into_iter().filter(|finding| finding.code.is_absence()).collect(),
        // The blobs can be read whatever is wrong with the links to them.
        Err(error) => {
            let finding = Finding::new(Code::HeldRepository).repository(&repository.name);
            vec![
                finding
                    .path(layout::repository_directory(&repository.name))
                    .detail(format!("What it needs is not known: {error}")),
            ]
        }
    }
}

/// Whether what was missing when the blobs were listed has been pushed since.
fn is_stored_by_now(store: &dyn Store, digest: &Digest) -> bool {
    matches!(store.stat_blobs(Shard::of(digest), &[*digest]).as_deref(), Ok([FileState::File(_)]))
}

/// What a directory without data is.
enum Absent {
    /// Something is wrong.
    DamagedBlob(DamagedBlob),
    /// It is no directory any more.
    Vanished,
    /// It is what an upload that was never finished leaves, or was pushed while the others were read.
    Nothing,
}

/// Whatever cannot be looked at counts as what is worse: what was found before must not be lost for it.
fn absent(context: &Context<'_>, store: &dyn Store, blob: BlobId, digest: &Digest) -> Absent {
    let damaged = |damage| Absent::DamagedBlob(DamagedBlob { digest: *digest, damage, stat: None, job_bytes: 0 });
    let is_empty = || matches!(context.store.empty_directory(&Target::EmptyBlobDirectory(*digest)), Ok(Some(_)));
    if is_stored_by_now(context.store, digest) {
        Absent::Nothing
    } else if is_gone(store, digest) {
        Absent::Vanished
    } else if context.inventory.has_any(blob, MarkFlags::KEPT) {
        damaged(Damage::Missing)
    } else if is_empty() {
        Absent::Nothing
    } else {
        damaged(Damage::NoData)
    }
}

/// Whether a blob has no directory any more.
fn is_gone(store: &dyn Store, digest: &Digest) -> bool {
    let mut listed = false;
    let listing = store.blobs(&Shard::of(digest).into(), &mut |there, _| listed |= there == digest);
    listing.is_ok() && !listed
}

fn interrupted(stop: &AtomicBool) -> Result<(), Error> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}
