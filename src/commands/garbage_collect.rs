//! `regsweep garbage-collect`: read everything, ask everything that can refuse, then change things and report.
//!
//! Nothing is changed before the assessment and everything else that can refuse has been asked, and nothing after the first change ends the run
//! without a report: what goes wrong there is a value. A dry run is the same up to the first change.

mod done;
mod flush;

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use self::done::Done;
use super::assess::{Assessment, assess};
use super::caches::Caches;
use super::opening;
use super::owners;
use super::reconcile;
use super::session::{Means, Session, ensure_outside, ensure_page};
use super::stops::{all_of, stops_real_runs};
use super::watched::Watched;
use crate::config::{CollectSettings, Disposal, Mode};
use crate::descriptor_cache::RedisCache;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::finding::Code;
use crate::findings::consolidated;
use crate::format::duration;
use crate::layout::Target;
use crate::mark::interrupted;
use crate::plan::{PlanLine, SweepPlan};
use crate::policy::RootPolicy;
use crate::progress::Progress;
use crate::quarantine::{self, Due, InRedis, Memory, Purpose, Quarantine, Reader, Run, Wait};
use crate::records::Records;
use crate::report::collect::{CollectReport, ExpireFigures, QuarantineFigures};
use crate::scope::Scope;
use crate::store::{Access, Backend, FileState, Root, stat_target};
use crate::writers::{self, Question, RestartUnseen};

/// Collects, or says what a collection would do.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the run ended before anything was changed. What goes wrong later is in the report.
pub fn run(settings: CollectSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<CollectReport, Error> {
    run_on(&*opening::open(&settings.location, settings.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    mut settings: CollectSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<CollectReport, Error> {
    let session = Session::open(backend, means(&settings), progress, stop)?;
    ensure_page(backend, settings.output.html.as_deref())?;
    ensure_lockable(&settings, session.unlockable())?;
    let mut stops = Vec::new();
    // Who drops tags drops what they keep.
    let roots = if settings.drops_tags() { RootPolicy::TaggedOnly } else { settings.roots };
    let owned = match settings.scope {
        Scope::Unlinked => owners::ensure_links_are_written(backend, &settings.location),
        _ => owners::ensure_no_foreign_owner(backend, &settings.location, roots, settings.allow_foreign_owner),
    };
    stops_real_runs(settings.mode, owned, is_brake, &mut stops)?;
    if !settings.allow_shared_blobs {
        stops_real_runs(settings.mode, owners::ensure_blobs_not_shared(backend), is_brake, &mut stops)?;
    }
    let asked = ensure_alone(&mut settings, backend, &mut stops)?;
    writers::vouch(&mut settings.clock, settings.location.http(), &settings.registries);
    let collected = session.work(|reader| collect(&settings, reader, &|| session.is_locked(), &asked, stops));
    // A registry that answers says more than what it wrote.
    session.end(collected.map(|report| CollectReport {
        unqueried: asked.nobody,
        writer: asked.writer.or(report.writer),
        ..report
    }))
}

fn means(settings: &CollectSettings) -> Means<'_> {
    Means {
        access: match settings.mode {
            Mode::Execute if settings.disposal == Disposal::Remove => Access::Remove,
            Mode::Execute => Access::Change,
            Mode::DryRun => Access::Look,
        },
        wait_lock: settings.wait_lock,
        now: Timestamp::try_from(settings.policy.now).unwrap_or_default(),
        jobs: settings.jobs,
        max_memory: settings.max_memory,
        spill_directory: &settings.spill_directory,
        metrics: settings.output.metrics.as_deref(),
    }
}

/// What a collection is stopped by for what the store or its registry is.
fn is_brake(error: &Error) -> bool {
    matches!(error, Error::Brake { .. } | Error::Redis { .. })
}

/// What is known of writers.
#[derive(Default)]
struct Asked {
    /// Why no registry could be asked.
    nobody: Option<String>,
    /// For a dry run: who writes, which stops a real run for as long as it does.
    writer: Option<String>,
    /// Where registries remember blobs: beside one at work also if that is not, or not any more, in its configuration.
    caches: Caches,
    /// The redis among them, where it is to be made to forget what is quarantined, or purged.
    redis: Option<RedisCache>,
}

impl Asked {
    /// What is asked of the redis before something is purged.
    fn in_redis(&self, disposal: Disposal) -> InRedis<'_> {
        match &self.redis {
            Some(redis) if disposal == Disposal::Online => InRedis::Beside(redis),
            Some(redis) => InRedis::Alone(redis),
            None if self.caches.redis.is_some() => InRedis::Unasked,
            None => InRedis::Nowhere,
        }
    }
}

/// What lets a run go on that could ask no registry.
const NOBODY_ASKED: &str = "give --registry URL (or REGSWEEP_REGISTRY) with an address at which it answers from here, or, once it is \
                            stopped or read-only, --assume-offline (or REGSWEEP_ASSUME_OFFLINE=true)";

/// Makes sure that no registry takes pushes meanwhile, where that matters, and sets the minimum age to what its answer allows.
fn ensure_alone(settings: &mut CollectSettings, backend: &dyn Backend, stops: &mut Vec<Error>) -> Result<Asked, Error> {
    let is_online = settings.disposal == Disposal::Online;
    let caches = Caches::at_start(&settings.location, backend.root(), is_online);
    let may_be_online = reconcile::may_be_online(&settings.location, &caches, settings.online_by);
    if let Some(outer) = backend.root().and_then(|root| writers::outer_store(root.path())) {
        tracing::warn!("the root {} lies in the storage of another registry, {}", escaped(backend.place()), escaped(outer));
    }
    if is_online {
        stops_real_runs(settings.mode, may_be_online, is_brake, stops)?;
        let redis = caches.cache();
        let is_usable = redis.as_ref().map_or(Ok(()), RedisCache::ensure_usable);
        stops_real_runs(settings.mode, is_usable, is_brake, stops)?;
        return Ok(Asked { caches, redis, ..Asked::default() });
    }
    if settings.flush_redis {
        let is_usable = caches.cache().map_or_else(|| caches.ensure_forgetful(settings.online_by), |redis| redis.ensure_usable());
        stops_real_runs(settings.mode, is_usable, is_brake, stops)?;
    }
    // What waited in quarantine is purged by this run, too, but not while a redis may claim it.
    let redis = caches.cache().filter(|redis| settings.disposal == Disposal::Quarantine && redis.ensure_usable().is_ok());
    if settings.assume_offline && !settings.no_min_age_if_read_only {
        return Ok(Asked { caches, redis, ..Asked::default() });
    }
    let offers_online = may_be_online.is_ok() && !settings.flush_redis;
    let answers = writers::ask(question(settings, backend.root(), offers_online));
    let mut writers = Vec::new();
    if !settings.assume_offline {
        stops_real_runs(settings.mode, answers.ensure_no_writers(), is_brake, &mut writers)?;
    }
    let nobody = answers.unqueried().filter(|_| !settings.assume_offline);
    if let Some(reason) = nobody.clone().filter(|_| settings.mode == Mode::Execute) {
        return Err(Error::Brake {
            reason: format!("no registry could be asked whether it takes pushes: {reason}"),
            lift: NOBODY_ASKED.to_owned(),
        });
    }
    if settings.no_min_age_if_read_only && answers.takes_no_pushes() {
        settings.policy.min_age = Duration::ZERO;
        settings.policy.keeps_arrivals = true;
    }
    Ok(Asked { nobody, writer: writers.first().map(ToString::to_string), caches, redis })
}

/// Makes sure that another regsweep can be kept out, or that the operator keeps it out.
fn ensure_lockable(settings: &CollectSettings, unlockable: Option<&str>) -> Result<(), Error> {
    let Some(why) = unlockable else { return Ok(()) };
    if settings.assume_offline {
        tracing::warn!("runs without a lock, because the server keeps none ({why}): no other regsweep may work on this bucket");
        return Ok(());
    }
    Err(Error::Brake {
        reason: format!("the server of the bucket cannot keep another regsweep out: {why}"),
        lift: "make sure that no other regsweep works on the bucket and that no registry takes pushes, and give --assume-offline"
            .to_owned(),
    })
}

/// Makes sure that a lock with a lease was not lost while the store was read.
fn ensure_still_locked(was_locked: bool, is_locked: bool) -> Result<(), Error> {
    match was_locked && !is_locked {
        false => Ok(()),
        true => Err(Error::Brake {
            reason: "the lease of the lock has ended while the store was read, and another regsweep may have begun".to_owned(),
            lift: "run again".to_owned(),
        }),
    }
}

/// The same as [`ensure_alone`] once more, right before the first change: the reading may have taken long.
fn ensure_still_alone(settings: &CollectSettings, root: Option<&Root>) -> Result<(), Error> {
    if settings.disposal == Disposal::Online || settings.assume_offline {
        return Ok(());
    }
    writers::ask(question(settings, root, false)).ensure_no_writers()
}

fn question<'a>(settings: &'a CollectSettings, root: Option<&'a Root>, offers_online: bool) -> Question<'a> {
    Question {
        root,
        registry: settings.location.registry.as_ref(),
        http: settings.location.http(),
        cache: settings.location.cache_sign(),
        others: &settings.registries,
        credentials: settings.registry_auth.as_ref(),
        offers_online,
    }
}

/// How long things wait before this run purges them; nothing if it purges none.
fn wait(settings: &CollectSettings, is_alone: bool) -> Option<Wait> {
    match settings.disposal {
        // Without a flag things wait for as long as anybody likes, but what is needed is restored.
        Disposal::Remove => None,
        // No registry is at work, so the operator's word is enough.
        Disposal::Quarantine if is_alone && settings.quarantine_for.is_zero() => Some(Wait::Lifted),
        Disposal::Quarantine if is_alone => Some(Wait::AtLeast(settings.quarantine_for)),
        Disposal::Quarantine | Disposal::Online => {
            let least = settings.clock.longest_request();
            if settings.quarantine_for < least {
                let least = duration(least);
                tracing::warn!(
                    "where a registry may be at work things wait for {least} at least: a push may take that long to say what it needs"
                );
            }
            Some(Wait::AtLeast(settings.quarantine_for.max(least)))
        }
    }
}

fn collect(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    is_locked: &(dyn Fn() -> bool + Sync),
    asked: &Asked,
    stops: Vec<Error>,
) -> Result<CollectReport, Error> {
    let is_alone = asked.nobody.is_none();
    let was_locked = is_locked();
    let free_before = reader.backend.free_bytes();
    let quarantine = Quarantine::open_within(reader)?;
    let mut records = reconcile::records(reader)?;
    let watched = match settings.disposal == Disposal::Online || !settings.notices_changes {
        true => Watched::nothing(),
        false => Watched::begin(reader),
    };
    let ensure_unchanged = || watched.ensure_unchanged(may_be_online(settings, asked));
    let wait = wait(settings, is_alone);
    let memory = match is_alone && settings.disposal != Disposal::Online {
        true => Memory::Nothing,
        false => {
            let beside = (&settings.location, &Caches::now(reader, &settings.location));
            reconcile::memory(reader, &quarantine, beside, &settings.registries, &settings.clock)?
        }
    };
    let redis = asked.in_redis(settings.disposal);
    let due = wait.map(|wait| Due { wait, clock: &settings.clock, memory: &memory, redis });
    let mut assessment = assess(settings, reader, &quarantine, &records, due, was_locked)?;
    assessment.stops.splice(..0, stops);
    if settings.mode == Mode::Execute
        && let Some(error) = all_of(std::mem::take(&mut assessment.stops))
    {
        return Err(error);
    }
    if let Some(path) = &settings.plan_out {
        write_plan(&assessment.plan, path, reader.backend)?;
    }
    let mut writer = None;
    let waiting = QuarantineFigures {
        waits_for: waits_for(wait),
        remembered: quarantine.runs.iter().any(|run| run.is_remembered(&memory)),
        older_registry: reconcile::older_registry(reader, &quarantine, &memory, &settings.clock),
        ..QuarantineFigures::default()
    };
    let mut done = Done { quarantine: waiting, ..Done::default() };
    match settings.mode {
        Mode::DryRun => {
            done.foresee(reader, &quarantine, &assessment)?;
            if settings.flush_redis {
                done.foresee_flush(reader, &asked.caches, &assessment);
            }
            // An empty plan would need no room.
            if let Err(error) = has_room(settings, reader, (&quarantine, &assessment)) {
                assessment.stops.push(error);
            }
            writer = ensure_unchanged().err().map(|error| error.to_string());
        }
        Mode::Execute => {
            has_room(settings, reader, (&quarantine, &assessment))?;
            ensure_still_alone(settings, reader.backend.root())?;
            ensure_still_locked(was_locked, is_locked())?;
            interrupted(reader.stop)?;
            ensure_unchanged()?;
            forget_present(reader, &records)?;
            let run = begin_run(settings, reader, asked, &assessment)?;
            done.carry_out(settings, reader, quarantine, &mut records, &mut assessment, (run, due));
            if settings.disposal != Disposal::Online {
                done.flush(settings, reader, &asked.caches);
            }
        }
    }
    Ok(CollectReport { writer, ..report(settings, reader, assessment, done, (free_before, &asked.caches)) })
}

/// Forgets what commands had begun with of tags that are there again, whichever command this is.
fn forget_present(reader: &Reader<'_>, records: &Records<'_>) -> Result<(), Error> {
    let begun = records.begun_but_present(&mut |name, tag| {
        Ok(stat_target(reader.store(), &Target::BrokenTag(name.clone(), tag.clone()))? != FileState::Absent)
    })?;
    if let Some(Err(error)) = begun.map(|begun| records.write_begun(&begun)) {
        tracing::warn!("{error}; a command that was cut off may go on with what a tag named before it was pushed again");
    }
    Ok(())
}

/// Begins what the plan is quarantined in, if it is.
fn begin_run<'r>(
    settings: &CollectSettings,
    reader: &Reader<'r>,
    asked: &Asked,
    assessment: &Assessment,
) -> Result<Option<Run<'r>>, Error> {
    if settings.disposal == Disposal::Remove || assessment.plan.is_empty() {
        return Ok(None);
    }
    // As of the beginning: what was linked since then may not have been seen by the survey.
    let cache = asked.caches.in_memory.filter(|_| settings.disposal == Disposal::Online);
    let purpose = (purpose(settings), assessment.named());
    quarantine::begin_naming(reader.backend, purpose, &settings.clock, cache).map(Some)
}

fn may_be_online(settings: &CollectSettings, asked: &Asked) -> bool {
    !settings.flush_redis && reconcile::may_be_online(&settings.location, &asked.caches, settings.online_by).is_ok()
}

/// The command that what is quarantined is named after.
fn purpose(settings: &CollectSettings) -> Purpose {
    match (&settings.expire, &settings.remove) {
        (Some(_), _) => Purpose::Expire,
        (None, Some(_)) => Purpose::Remove,
        (None, None) => Purpose::GarbageCollect,
    }
}

fn waits_for(wait: Option<Wait>) -> Duration {
    match wait {
        Some(Wait::AtLeast(wait)) => wait,
        _ => Duration::ZERO,
    }
}

/// Makes sure that what is needed can be restored, and that what is to be quarantined has room: on the disk, and in the memory of the runs that
/// come after, which could not bring it back otherwise.
fn has_room(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    (quarantine, assessment): (&Quarantine<'_>, &Assessment),
) -> Result<(), Error> {
    reconcile::can_restore(reader, &assessment.needed)?;
    match settings.disposal {
        Disposal::Remove => Ok(()),
        _ if assessment.plan.is_empty() => Ok(()),
        _ => {
            quarantine.ensure_memory(reader, assessment.plan.files())?;
            reader.backend.shelves().ensure_room(assessment.plan.files(), assessment.plan.directories())
        }
    }
}

fn report(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    assessment: Assessment,
    done: Done,
    (free_before, caches): (Option<u64>, &Caches),
) -> CollectReport {
    let Done { swept, quarantine, findings: failed, may_have_changed, touched, stale, redis_unasked } = done;
    let mut findings = assessment.findings;
    let unfinished = failed.len() as u64;
    findings.extend(failed);
    findings.extend(stale);
    for moved in [&quarantine.restored, &quarantine.rescued] {
        findings.extend(reconcile::failures(Code::FailedRestore, moved));
    }
    findings.extend(reconcile::failures(Code::FailedPurge, &quarantine.purged));
    findings.extend(swept.findings.iter().cloned());
    let findings = consolidated(findings, settings.location.is_proxy());
    CollectReport {
        command: settings.command,
        expire: assessment
            .expired
            .zip(settings.expire.as_ref())
            .map(|(expired, settings)| ExpireFigures { expired, rules: settings.rules.clone() }),
        removed: assessment.removed,
        mode: settings.mode,
        disposal: settings.disposal,
        root: reader.backend.place().to_owned(),
        config_path: settings.location.config_path.clone(),
        registry: settings.location.registry.clone(),
        descriptor_cache: caches.longest(),
        in_memory: caches.in_memory,
        redis_unasked,
        restart_unseen: caches.in_memory.and_then(|_| restart_unseen(settings, reader.backend.root())),
        unqueried: None,
        rerun: settings.rerun.clone(),
        writer: None,
        is_proxy: settings.location.is_proxy(),
        roots: settings.roots,
        scope: settings.scope.clone(),
        carried: assessment.carried,
        policy: settings.policy,
        plan: settings.verbose.then_some(assessment.plan),
        figures: assessment.figures,
        swept,
        quarantine,
        unfinished,
        may_have_changed: may_have_changed || touched,
        stop_code: assessment.stops.first().map(Error::code),
        stops: assessment.stops.iter().map(ToString::to_string).collect(),
        findings,
        free_before,
        free_after: reader.backend.free_bytes(),
        versions: reader.backend.versions(),
        requests: reader.backend.requests(),
        elapsed: settings.clock.elapsed(),
    }
}

/// Why this machine does not show when the registries of a store were started, if that matters to it.
fn restart_unseen(settings: &CollectSettings, root: Option<&Root>) -> Option<RestartUnseen> {
    if settings.disposal != Disposal::Online {
        return None;
    }
    writers::restart_unseen(root, settings.location.http(), &settings.registries, &settings.clock)
}

/// Writes the plan as JSON Lines, before anything of it is carried out.
fn write_plan(plan: &SweepPlan, path: &Path, backend: &dyn Backend) -> Result<(), Error> {
    ensure_outside(backend, "--plan-out", path)?;
    let file = std::fs::File::create(path).context("create", path)?;
    let mut out = std::io::BufWriter::new(file);
    for row in plan.iter() {
        serde_json::to_writer(&mut out, &PlanLine::new(&row)).map_err(std::io::Error::from).context("write", path)?;
        out.write_all(b"\n").context("write", path)?;
    }
    out.flush().context("write", path)
}
