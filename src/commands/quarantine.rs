//! `regsweep quarantine`: what was quarantined, and what is to become of it.

mod purging;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::caches::Caches;
use super::opening;
use super::reconcile;
use super::session::{Means, Session};
use crate::clock::RecordedTime;
use crate::config::{QuarantineSettings, Wanted};
use crate::descriptor_cache::RedisCache;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::Target;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::quarantine::{self, Memory, Purpose, Quarantine, Reader, Replaced, Run};
use crate::records::{self, Records};
use crate::registry_config::DescriptorCache;
use crate::report::quarantine::{Done, QuarantineReport, RunRow};
use crate::store::{Access, Backend, Held};
use crate::writers;

/// Lists, restores or purges.
///
/// # Errors
///
/// When the command ended before anything was changed.
pub fn run(settings: QuarantineSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<QuarantineReport, Error> {
    run_on(&*opening::open(&settings.location, settings.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    mut settings: QuarantineSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<QuarantineReport, Error> {
    if matches!(settings.wanted, Wanted::Purge { .. }) {
        writers::vouch(&mut settings.clock, settings.location.http(), &[]);
    }
    let now = settings.clock.timestamp();
    let (access, wait_lock) = match settings.wanted {
        Wanted::List => (Access::Look, Duration::ZERO),
        _ => (Access::Change, settings.wait_lock),
    };
    let QuarantineSettings { jobs, max_memory, spill_directory, .. } = &settings;
    let metrics = settings.output.metrics.as_deref();
    let means = Means { access, wait_lock, now, jobs: *jobs, max_memory: *max_memory, spill_directory, metrics };
    let session = Session::open(backend, means, progress, stop)?;
    let acted = session.work(|reader| act(&settings, reader));
    session.end(acted.and_then(|acted| report(&settings, &session, acted, stop)))
}

/// Says what was done, and what is in quarantine now.
fn report(
    settings: &QuarantineSettings,
    session: &Session<'_>,
    Acted { done, mut findings }: Acted,
    stop: &AtomicBool,
) -> Result<QuarantineReport, Error> {
    let (backend, now) = (session.backend, settings.clock.timestamp());
    findings.extend(done.moved().flat_map(|(code, moved)| reconcile::failures(code, moved)));
    // What was done is reported, whatever cannot be seen afterwards.
    let rows = || -> Result<(Vec<RunRow>, Option<String>), Error> {
        let quarantine = Quarantine::open(backend)?;
        let reader = session.reader();
        let caches = Caches::now(&reader, &settings.location);
        let memory = memory(settings, &reader, &quarantine, &caches)?;
        let older = reconcile::older_registry(&reader, &quarantine, &memory, &settings.clock);
        let redis = caches.cache();
        Ok((quarantine.runs.into_iter().map(|run| RunRow::of(run, now, &memory, redis.as_ref())).collect(), older))
    };
    let (runs, older_registry) = match rows() {
        Ok(seen) => seen,
        Err(error) if matches!(settings.wanted, Wanted::List) => return Err(error),
        Err(error) => {
            findings.push(Finding::new(Code::FailedRestore).detail(error.to_string()));
            (Vec::new(), None)
        }
    };
    findings.sort();
    findings.dedup();
    let waits = |row: &RunRow| row.remembered_by.is_some_and(DescriptorCache::ends_with_the_process);
    let unseen = || writers::restart_unseen(backend.root(), settings.location.http(), &[], &settings.clock);
    let restart_unseen = if runs.iter().any(waits) { unseen() } else { None };
    Ok(QuarantineReport {
        restart_unseen,
        older_registry,
        root: backend.place().to_owned(),
        started: settings.clock.start(),
        config_path: settings.location.config_path.clone(),
        directory: reconcile::directory(),
        runs,
        done,
        findings,
        interrupted: matches!(settings.wanted, Wanted::Purge { .. }) && stop.load(Ordering::Relaxed),
        elapsed: settings.clock.elapsed(),
    })
}

/// What was done, and what was found on the way.
struct Acted {
    done: Done,
    findings: Vec<Finding>,
}

impl From<Done> for Acted {
    fn from(done: Done) -> Acted {
        Acted { done, findings: Vec::new() }
    }
}

fn act(settings: &QuarantineSettings, reader: &Reader<'_>) -> Result<Acted, Error> {
    let quarantine = Quarantine::open_within(reader)?;
    match &settings.wanted {
        Wanted::List => Ok(Done::Listed.into()),
        Wanted::Restarted { since } => restarted(settings, reader, &quarantine, since.as_ref()).map(Acted::from),
        Wanted::Restore { run, all, digest } => restore(settings, reader, quarantine, run.as_deref(), *all, digest.as_ref()),
        Wanted::Purge { .. } => purging::purge(settings, reader, quarantine),
    }
}

/// What registries at work may remember of what is in quarantine.
fn memory(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    caches: &Caches,
) -> Result<Memory, Error> {
    reconcile::memory(reader, quarantine, (&settings.location, caches), &[], &settings.clock)
}

/// Notes that all registries have been started again: after the time that is given, or that this machine shows.
fn restarted(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    since: Option<&RecordedTime>,
) -> Result<Done, Error> {
    let (root, clock) = (reader.backend.root(), &settings.clock);
    let started_after = match since {
        Some(since) => {
            if let Some(older) = writers::Oldest::of(root, clock).filter(|oldest| oldest.is_older_than(since)) {
                return Err(Error::Brake {
                    reason: format!("{older}, which is before that time"),
                    lift: older.advice().to_owned(),
                });
            }
            since.clone()
        }
        None => writers::all_started_after(root, settings.location.http(), &[], clock).map_err(|why| {
            let say = "give --since TIME, the time when their restart began (`date -u +%FT%TZ` tells it then)";
            Error::Usage(format!("when the registries were started is not known: {why}; {say}"))
        })?,
    };
    records::add_restart(reader.notes, started_after.clone())?;
    let memory = Memory::UntilRestart { said: records::restarts(reader.notes)?, seen: None };
    let is_forgotten = |run: &&Run<'_>| run.stamp().cache.is_some() && !run.is_remembered(&memory);
    let forgotten = quarantine.runs.iter().filter(is_forgotten).count() as u64;
    let redis = Caches::now(reader, &settings.location).cache().map(|redis| redis.place().to_owned());
    Ok(Done::Restarted { started_after: started_after.at, forgotten, redis })
}

fn restore(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    quarantine: Quarantine<'_>,
    run: Option<&str>,
    all: bool,
    digest: Option<&Digest>,
) -> Result<Acted, Error> {
    if quarantine.runs.is_empty() {
        return Err(Error::Usage("nothing is in quarantine".to_owned()));
    }
    let only = match run {
        Some(id) => Some(quarantine.run(id)?.id()),
        // Whoever names a digest means it, wherever it is.
        None if all || digest.is_some() => None,
        None => Some(newest(&quarantine)?),
    };
    let named = digest.map(|digest| quarantine::named_by(reader, &quarantine, digest)).transpose()?;
    let is_meant = |run: &Run<'_>, target: &Target| {
        // What was damaged comes back only for who names its run.
        let is_whole = only.is_some() || run.stamp().purpose != Purpose::Repair;
        is_whole && only.is_none_or(|id| run.id() == id) && named.as_ref().is_none_or(|named| named.include(run, target))
    };
    // Where a collection has a copy of what `verify` took for corrupt, that one comes back, unless somebody names the run.
    let corrupt: HashSet<&Target> = match run {
        Some(_) => HashSet::new(),
        None => {
            let of_verify =
                |(run, held): &(&Run<'_>, &Held)| run.stamp().purpose == Purpose::Verify && is_meant(run, &held.target);
            quarantine.held().filter(of_verify).map(|(_, held)| &held.target).collect()
        }
    };
    let is_asked = |run: &Run<'_>, target: &Target| {
        is_meant(run, target) || (run.stamp().purpose.is_of_collection() && corrupt.contains(target))
    };
    let following = quarantine::following(reader, &quarantine, &is_asked)?;
    let is_wanted =
        |run: &Run<'_>, target: &Target| is_asked(run, target) || following.get(target).is_some_and(|id| id == run.id());
    let held = quarantine.held().filter(|(run, held)| is_wanted(run, &held.target));
    let wanted: BTreeSet<Target> = held.map(|(_, held)| held.target.clone()).collect();
    if wanted.is_empty() {
        let is_held = |digest: &Digest| quarantine.held().any(|(_, held)| held.target.digest() == Some(digest));
        if let Some(digest) = digest.filter(|digest| !is_held(digest)) {
            return Err(Error::Usage(format!("{digest} is not in quarantine; `regsweep quarantine list` says what is")));
        }
        // A restoration that was cut off may have left an empty run: that is none of what is damaged.
        if only.is_none() && quarantine.held().next().is_some() {
            return Err(Error::Usage(ONLY_DAMAGED.to_owned()));
        }
    }
    let shelves = reader.backend.shelves();
    shelves.ensure_possible(reconcile::MOUNT_AS_ONE)?;
    shelves.ensure_returnable(&mut wanted.iter(), reconcile::MOUNT_AS_ONE)?;
    let mut records = Records::without_summary(reader.notes)?;
    let suspects = quarantine::suspects(&quarantine, &is_wanted);
    let is_part = |run: &&Run<'_>| run.stamp().purging.is_some() && run.held().iter().any(|held| is_asked(run, &held.target));
    let purged: Vec<Finding> = quarantine.runs.iter().filter(is_part).map(partly_purged).collect();
    let moved = reconcile::restore(reader, &quarantine, Replaced::Keep, &is_wanted, &mut records, &settings.clock);
    // It is read anew to be checked, and two lists of it are not to be held.
    drop(quarantine);
    if moved.has_moved_nothing() && !moved.failed.is_empty() {
        return Ok(Done::Restored(moved).into());
    }
    // It is only back if it can be pulled. No link came back if a blob could not.
    let failed: HashSet<&Target> = moved.failed.iter().map(|(target, _)| target).collect();
    let is_blob = |target: &Target| matches!(target, Target::Blob(_));
    let stays = failed.iter().any(|target| is_blob(target));
    let is_back = |target: &Target| !failed.contains(target) && (is_blob(target) || !stays);
    let back: BTreeSet<Target> = wanted.into_iter().filter(is_back).collect();
    let findings = quarantine::check(reader, &back, &suspects).unwrap_or_else(|error| {
        let detail = format!("Restored, but it could not be checked whether it can be pulled: {error}");
        vec![Finding::new(Code::FailedRestore).detail(detail)]
    });
    Ok(Acted { done: Done::Restored(moved), findings: [findings, purged].concat() })
}

/// What is said where a purge of a run had begun.
fn partly_purged(run: &Run<'_>) -> Finding {
    let detail = format!(
        "A purge of run {} had begun: if it had removed anything, that is gone, and what was restored may lack it.",
        run.id()
    );
    Finding::new(Code::FailedRestore).detail(detail)
}

/// The run that comes back if none is named.
fn newest<'q>(quarantine: &'q Quarantine<'_>) -> Result<&'q str, Error> {
    quarantine.newest().map(Run::id).ok_or_else(|| Error::Usage(ONLY_DAMAGED.to_owned()))
}

/// What nobody gets back by accident.
const ONLY_DAMAGED: &str =
    "only damaged files that `repair` replaced are in quarantine: name their run (--run) if they are to come back";

impl RunRow {
    fn of(run: Run<'_>, now: Timestamp, memory: &Memory, redis: Option<&RedisCache>) -> RunRow {
        let is_claimed = redis.is_some_and(|redis| !run.is_forgotten_by(redis.place()));
        let mut row = RunRow {
            id: run.id().to_owned(),
            purpose: run.stamp().purpose,
            began: run.stamp().began,
            finished: run.stamp().finished,
            purging: run.stamp().purging,
            waited: run.stamp().finished.and_then(|then| Duration::try_from(now.duration_since(then)).ok()),
            again: run.again(),
            blobs: Default::default(),
            links: 0,
            upload_files: Default::default(),
            unrecognised: run.unrecognised(),
            remembered_by: match run.is_remembered(memory) {
                true => run.stamp().cache.or(is_claimed.then_some(DescriptorCache::Redis)),
                false => is_claimed.then_some(DescriptorCache::Redis),
            },
            targets: Vec::new(),
        };
        row.targets = run.into_held();
        for held in &row.targets {
            match held.target {
                Target::Blob(_) => row.blobs.add(held.stat.size_bytes),
                Target::Upload(_) => row.upload_files.add(held.stat.size_bytes),
                _ => row.links += 1,
            }
        }
        row
    }
}
