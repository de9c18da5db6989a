//! `regsweep quarantine`: what was quarantined, and what is to become of it.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::brakes::{ENOUGH, shrunk_lift};
use super::caches::{Caches, Remembering};
use super::opening;
use super::owners;
use super::reconcile;
use super::session::{Means, Session};
use crate::clock::RecordedTime;
use crate::config::{QuarantineSettings, Wanted};
use crate::descriptor_cache::{Forgotten, RedisCache};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::duration;
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::policy::RootPolicy;
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Due, Gate, Memory, Moved, Needed, Purged, Purpose, Quarantine, Reader, Replaced, Run, Wait};
use crate::records::{self, Records, Summary};
use crate::registry_config::DescriptorCache;
use crate::report::quarantine::{Done, QuarantineReport, RunRow};
use crate::store::{Access, Backend, Held};
use crate::writers::{self, OpenFiles, Question};

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
    let Acted { done, mut findings } = session.work(|reader| act(&settings, reader))?;
    findings.extend(done.moved().flat_map(|(code, moved)| reconcile::failures(code, moved)));
    // What was done is reported, whatever cannot be seen afterwards.
    let rows = || -> Result<Vec<RunRow>, Error> {
        let quarantine = Quarantine::open(backend)?;
        let reader = session.reader();
        let caches = Caches::now(&reader, &settings.location);
        let memory = memory(&settings, &reader, &quarantine, &caches)?;
        let redis = caches.cache();
        Ok(quarantine.runs.into_iter().map(|run| RunRow::of(run, now, &memory, redis.as_ref())).collect())
    };
    let runs = match rows() {
        Ok(runs) => runs,
        Err(error) if matches!(settings.wanted, Wanted::List) => return Err(error),
        Err(error) => {
            findings.push(Finding::new(Code::FailedRestore).detail(error.to_string()));
            Vec::new()
        }
    };
    findings.sort();
    findings.dedup();
    let waits = |row: &RunRow| row.remembered_by.is_some_and(DescriptorCache::ends_with_the_process);
    let unseen = || writers::all_started_after(backend.root(), settings.location.http(), &[], &settings.clock).err();
    let restart_unseen = if runs.iter().any(waits) { unseen() } else { None };
    Ok(QuarantineReport {
        restart_unseen,
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
        Wanted::Purge { run, older_than, assume_offline, allow_foreign_owner, allow_shared_blobs, .. } => {
            // What was quarantined may be needed by somebody whose links are not here.
            let backend = reader.backend;
            owners::ensure_no_foreign_owner(backend, &settings.location, RootPolicy::AllRevisions, *allow_foreign_owner)?;
            if !allow_shared_blobs {
                owners::ensure_blobs_not_shared(backend)?;
            }
            let chosen = run.as_deref().map(|id| quarantine.run(id)).transpose()?;
            let wait = wait(settings, reader, *older_than, *assume_offline)?;
            let (memory, redis) = match wait {
                Wait::AtLeast(wait) if wait >= settings.clock.longest_request() && !assume_offline => {
                    let caches = Caches::now(reader, &settings.location);
                    let redis = caches.cache().filter(|_| !quarantine.runs.is_empty());
                    redis.as_ref().map_or(Ok(()), RedisCache::ensure_reachable)?;
                    (memory(settings, reader, &quarantine, &caches)?, redis)
                }
                // No registry is at work.
                _ => (Memory::Nothing, None),
            };
            let due = Due { wait, clock: &settings.clock, memory: &memory, redis: redis.as_ref() };
            if let Some(run) = chosen {
                is_due(run, due)?;
            }
            match chosen.map(|run| (run.id().to_owned(), run.stamp().purpose)) {
                // Nothing has to be kept for what needs these: their bytes are nobody's, unless they match their digests after all.
                Some((id, Purpose::Verify | Purpose::Repair)) => {
                    let records = reconcile::records(reader)?;
                    let needed = reconcile::needed_by(reader, &quarantine, (&settings.clock, records.last_run()), &|_| false)?;
                    brakes(settings, reader, &records, &needed)?;
                    purge(reader, quarantine, &Needed::default(), (due, Some(&id)))
                }
                chosen => purge_collected(settings, reader, quarantine, (due, chosen.as_ref().map(|(id, _)| id.as_str()))),
            }
        }
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
            if let Some(older) = writers::started_before(root, since, clock) {
                return Err(Error::Brake {
                    reason: older,
                    lift: "restart it, or give the time before all were started".to_owned(),
                });
            }
            since.clone()
        }
        None => writers::all_started_after(root, settings.location.http(), &[], clock).map_err(|why| {
            let say =
                "give --since TIME, a time before the first of the registries that run now was started, such as --since 10m";
            Error::Usage(format!("when the registries were started is not known: {why}; {say}"))
        })?,
    };
    records::add_restart(reader.backend.notes(), started_after.clone())?;
    let memory = Memory::UntilRestart(records::restarts(reader.backend.notes())?);
    let is_forgotten = |run: &&Run<'_>| run.stamp().cache.is_some() && !run.is_remembered(&memory);
    let forgotten = quarantine.runs.iter().filter(is_forgotten).count() as u64;
    let redis = Caches::now(reader, &settings.location).cache().map(|redis| redis.place().to_owned());
    Ok(Done::Restarted { started_after: started_after.at, forgotten, redis })
}

/// How long things have to have waited. Beside a registry that takes pushes never less than a push may take.
fn wait(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    older_than: Option<Duration>,
    assume_offline: bool,
) -> Result<Wait, Error> {
    if older_than.is_none_or(|wait| wait < settings.clock.longest_request()) && !assume_offline {
        let location = &settings.location;
        let answers = writers::ask(Question {
            root: reader.backend.root(),
            registry: location.registry.as_ref(),
            http: location.http(),
            cache: location.cache_sign(),
            others: &[],
            credentials: None,
            offers_online: false,
        });
        answers.ensure_no_writers().map_err(|error| match error {
            Error::Brake { reason, lift } => {
                Error::Brake { reason, lift: format!("give --older-than 1h or more to purge beside it, or {lift}") }
            }
            error => error,
        })?;
        if let Some(reason) = answers.unqueried() {
            let reason = format!("no registry could be asked whether it takes pushes: {reason}");
            let lift = "give --older-than 1h or more to purge beside a registry, or, once it is stopped or read-only, \
                        --assume-offline"
                .to_owned();
            return Err(Error::Brake { reason, lift });
        }
    }
    Ok(older_than.map_or(Wait::Lifted, Wait::AtLeast))
}

/// A run that somebody names and that has not waited is no silent nothing.
fn is_due(run: &Run<'_>, due: Due<'_>) -> Result<(), Error> {
    let Wait::AtLeast(least) = due.wait else { return Ok(()) };
    let clock = due.clock;
    if due.is_due(run) {
        return Ok(());
    }
    if due.has_waited(run) && !due.is_forgotten(run) {
        let reason = format!("the registry's redis has not been made to forget what is in run {} since it was moved", run.id());
        let lift =
            "collect with --online, or purge without --run: that removes its keys, and the run begins to wait anew".to_owned();
        return Err(Error::Brake { reason, lift });
    }
    if due.has_waited(run) {
        let reason = format!("a registry that was at work when run {} was moved may remember what is in it", run.id());
        let lift = "restart the registry, and say so with `regsweep quarantine restarted --since 10m`".to_owned();
        return Err(Error::Brake { reason, lift });
    }
    let reason = match run.stamp().finished {
        None => format!("run {} was cut off, and has not begun to wait", run.id()),
        Some(_) if run.waits_by_no_clock(clock) => {
            format!(
                "nothing tells how long run {} has waited: the machine was restarted, and its clock is not synchronised",
                run.id()
            )
        }
        Some(finished) => {
            let waited = Duration::try_from(clock.started().duration_since(finished)).unwrap_or_default();
            let waited = duration(Duration::from_secs(waited.as_secs()));
            format!("run {} has waited for {waited}, and --older-than asks for {}", run.id(), duration(least))
        }
    };
    Err(Error::Brake { reason, lift: "wait, or stop the registry and purge without --older-than".to_owned() })
}

fn purge_collected(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    quarantine: Quarantine<'_>,
    (due, named): (Due<'_>, Option<&str>),
) -> Result<Acted, Error> {
    if quarantine.collected().next().is_none() {
        return Ok(purged_nothing(Moved::default()).into());
    }
    let mut records = reconcile::records(reader)?;
    let is_meant = |run: &Run<'_>| named.is_none_or(|id| run.id() == id);
    let needed = reconcile::needed_by(reader, &quarantine, (&settings.clock, records.last_run()), &|run| {
        is_meant(run) && due.is_due(run)
    })?;
    brakes(settings, reader, &records, &needed)?;
    reconcile::can_restore(reader, &needed)?;
    let restored = reconcile::restore_needed(reader, &quarantine, &needed, &mut records, &settings.clock);
    // It is read anew, and two lists of it are not to be held.
    drop(quarantine);
    if !restored.failed.is_empty() {
        return Ok(purged_nothing(restored).into());
    }
    let reopened = Quarantine::open(reader.backend);
    let acted = reopened.and_then(|quarantine| purge(reader, quarantine, &needed, (due, named)));
    let (mut more, mut failed) = (Forgotten::default(), None);
    // Afterwards: what cannot be looked at ends the command before anything is changed, and what could change nothing begins nothing either.
    let is_stopped = |acted: &Acted| matches!(&acted.done, Done::Purged { purged, touched: false, .. } if purged.is_stopped());
    if acted.as_ref().is_ok_and(|acted| !is_stopped(acted) || !restored.is_empty())
        && let Ok(mut quarantine) = Quarantine::open(reader.backend)
    {
        let remembering = LazyCell::new(|| Remembering::now(reader, &settings.location, Some(due)));
        (more, failed) = reconcile::begin_waits(reader, &mut quarantine, (&settings.clock, &|| *remembering), due.redis, true);
    }
    match acted {
        Ok(Acted { done: Done::Purged { purged, touched, withheld, proof, mut forgotten, .. }, mut findings }) => {
            forgotten += more;
            findings.extend(failed.map(|error| Finding::new(Code::FailedRestore).detail(error.to_string())));
            Ok(Acted { done: Done::Purged { restored, purged, touched, withheld, proof, forgotten }, findings })
        }
        // Something was restored: that is reported, whatever keeps the rest from being purged.
        Err(error) if !restored.is_empty() => Ok(Acted {
            done: purged_nothing(restored),
            findings: vec![Finding::new(Code::FailedRestore).detail(error.to_string())],
        }),
        other => other,
    }
}

fn purged_nothing(restored: Moved) -> Done {
    let (withheld, forgotten) = (Vec::new(), Forgotten::default());
    Done::Purged { restored, purged: Moved::default(), touched: false, withheld, proof: None, forgotten }
}

/// What keeps anything from being purged in a store of which a part may be missing.
fn brakes(settings: &QuarantineSettings, reader: &Reader<'_>, records: &Records<'_>, needed: &Needed) -> Result<(), Error> {
    let Wanted::Purge { allow_empty, allow_shrunk, .. } = settings.wanted else { return Ok(()) };
    if needed.looks_empty && !allow_empty {
        let reason = "nothing in the store needs anything, so nothing in quarantine is purged".to_owned();
        let lift = "check that all of the store is mounted, or give --allow-empty if this is how it should be".to_owned();
        return Err(Error::Brake { reason, lift });
    }
    // What is mounted is asked of the store.
    let summary = |held: &[(RepositoryName, [u64; 2])]| {
        Summary::new(settings.clock.started(), held.iter().map(|(name, counts)| (name, *counts)), Vec::new())
    };
    let now = summary(&needed.repositories);
    let before = records.summary().filter(|_| !allow_shrunk);
    let missing =
        before.and_then(|before| before.missing_from(&now, &|name| reader.backend.parts().is_held(name), needed.looks_empty));
    // What was pushed in place of what is lost makes up for nothing.
    let replaced = || before.filter(|_| !needed.looks_empty)?.replaced_in(&summary(&needed.old), ENOUGH);
    missing.or_else(replaced).map_or(Ok(()), |reason| Err(Error::Brake { reason, lift: shrunk_lift() }))
}

fn purge(
    reader: &Reader<'_>,
    quarantine: Quarantine<'_>,
    needed: &Needed,
    (due, named): (Due<'_>, Option<&str>),
) -> Result<Acted, Error> {
    let gate = Gate { needed, due, open: OpenFiles::look() };
    let mut purgeable = gate.purgeable(&quarantine, named)?;
    let withheld = std::mem::take(&mut purgeable.withheld);
    reader.progress.begin(Phase::Purging, None);
    let Purged { gone: purged, claimed, forgotten, touched } = quarantine::purge(&gate, purgeable, reader.stop)?;
    if !purged.is_stopped() {
        quarantine.tidy();
    }
    let proof = (!purged.is_empty()).then(|| gate.proof());
    let withheld = [withheld, claimed].concat();
    Ok(Done::Purged { restored: Moved::default(), purged, touched, withheld, proof, forgotten }.into())
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
    let mut records = Records::without_summary(reader.backend.notes())?;
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
