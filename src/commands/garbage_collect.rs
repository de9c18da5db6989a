//! `regsweep garbage-collect`: read everything, ask everything that can refuse, then change things and report.
//!
//! Nothing is changed before the assessment and everything else that can refuse has been asked, and nothing after the first change ends the run
//! without a report: what goes wrong there is a value. A dry run is the same up to the first change.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::assess::{self, Assessment, assess};
use super::owners;
use super::reconcile::{self, Rescue};
use super::{budget, metrics_are_writable, outside_the_store, threads};
use crate::config::{CollectSettings, Disposal, Mode};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::finding::{Code, Finding};
use crate::findings::consolidated;
use crate::format::duration;
use crate::inventory::MarkFlags;
use crate::mark::interrupted;
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Kind, SweepPlan};
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Gate, Needed, Overlay, Purgeable, Purpose, Quarantine, Quarantining, Reader, Run, Wait};
use crate::records::{Records, Summary};
use crate::report::collect::{CollectReport, QuarantineFigures, RescueEnd, json};
use crate::store::filesystem::removal::Directories;
use crate::store::lock::StoreLock;
use crate::store::root::Root;
use crate::store::{DryRun, FilesystemStore, Vacuum};
use crate::sweep::{SweepReport, sweep};
use crate::writers::{self, OpenFiles, Question};

/// Collects, or says what a collection would do.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the run ended before anything was changed. What goes wrong later is in the report.
pub fn run(mut settings: CollectSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<CollectReport, Error> {
    let pool = threads(settings.jobs)?;
    let store = FilesystemStore::open(&settings.location.root)?;
    let now = Timestamp::try_from(settings.policy.now).unwrap_or_default();
    // Held to the end: the survey is only true for as long as nobody else sweeps.
    let lock = match settings.mode {
        Mode::Execute => StoreLock::exclusive(store.root().path(), settings.wait_lock, now, stop)?,
        Mode::DryRun => StoreLock::shared(store.root().path(), settings.wait_lock, stop)?,
    };
    metrics_are_writable(settings.output.metrics.as_deref(), &store)?;
    let mut stops = Vec::new();
    let (location, roots) = (&settings.location, settings.policy.roots);
    let owned = owners::ensure_no_foreign_owner(store.root(), location, roots, settings.allow_foreign_owner);
    stops_real_runs(settings.mode, owned, &mut stops)?;
    if !settings.allow_shared_blobs {
        stops_real_runs(settings.mode, owners::ensure_blobs_not_shared(store.root()), &mut stops)?;
    }
    let asked = ensure_alone(&mut settings, store.root(), &mut stops)?;
    if !settings.clock.is_trusted()
        && let Some(date) = writers::date_elsewhere(settings.location.http(), &settings.registries)
    {
        settings.clock.compare_with_registry(date);
    }
    let budget = budget(settings.max_memory, &settings.spill_directory);
    let reader = Reader { store: &store, budget: &budget, progress, stop };
    let result = pool.install(|| collect(&settings, &reader, lock.is_held(), asked.nobody.is_none(), stops));
    progress.end();
    result.map(|report| CollectReport { nobody_asked: asked.nobody, writer: asked.writer, ..report })
}

/// Ends a real run that something stands against, and lets a dry run say so.
fn stops_real_runs(mode: Mode, asked: Result<(), Error>, stops: &mut Vec<Error>) -> Result<(), Error> {
    match asked {
        Err(error @ Error::Brake { .. }) if mode == Mode::DryRun => {
            stops.push(error);
            Ok(())
        }
        other => other,
    }
}

/// What is known of writers.
#[derive(Default)]
struct Asked {
    /// Why no registry could be asked.
    nobody: Option<String>,
    /// For a dry run: who writes, which stops a real run for as long as it does.
    writer: Option<String>,
}

/// Makes sure that no registry takes pushes meanwhile, where that matters, and sets the minimum age to what its answer allows.
fn ensure_alone(settings: &mut CollectSettings, root: &Root, stops: &mut Vec<Error>) -> Result<Asked, Error> {
    let may_be_online = reconcile::may_be_online(&settings.location);
    if let Some(outer) = writers::outer_store(root.path()) {
        tracing::warn!("the root {} lies in the storage of another registry, {}", escaped(root.path()), escaped(outer));
    }
    if settings.disposal == Disposal::Online {
        return stops_real_runs(settings.mode, may_be_online, stops).map(|()| Asked::default());
    }
    if settings.assume_offline && !settings.no_min_age_if_read_only {
        return Ok(Asked::default());
    }
    let answers = writers::ask(question(settings, root, may_be_online.is_ok()))?;
    let mut writers = Vec::new();
    if !settings.assume_offline {
        stops_real_runs(settings.mode, answers.ensure_no_writers(), &mut writers)?;
    }
    let nobody = answers.nobody_asked().filter(|_| !settings.assume_offline);
    if settings.no_min_age_if_read_only && answers.takes_no_pushes() {
        settings.policy.min_age = Duration::ZERO;
        settings.policy.keeps_arrivals = true;
    }
    Ok(Asked { nobody, writer: writers.first().map(ToString::to_string) })
}

/// The same once more, right before the first change: the reading may have taken long.
fn ensure_still_alone(settings: &CollectSettings, root: &Root) -> Result<(), Error> {
    if settings.disposal == Disposal::Online || settings.assume_offline {
        return Ok(());
    }
    writers::ask(question(settings, root, false))?.ensure_no_writers()
}

fn question<'a>(settings: &'a CollectSettings, root: &'a Root, offers_online: bool) -> Question<'a> {
    Question {
        root,
        registry: settings.location.registry.as_ref(),
        http: settings.location.http(),
        cache: settings.location.cache_sign(),
        urls: &settings.registries,
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
    is_locked: bool,
    is_alone: bool,
    stops: Vec<Error>,
) -> Result<CollectReport, Error> {
    let free_before = reader.store.free_bytes();
    let quarantine = Quarantine::open(reader.store)?;
    let mut records = reconcile::records(reader)?;
    let wait = wait(settings, is_alone);
    let mut assessment = assess(settings, reader, &quarantine, &records, wait, is_locked)?;
    assessment.stops.splice(..0, stops);
    if settings.mode == Mode::Execute
        && let Some(error) = std::mem::take(&mut assessment.stops).into_iter().next()
    {
        return Err(error);
    }
    if let Some(path) = &settings.plan_out {
        write_plan(&assessment.plan, path, reader.store)?;
    }
    let mut done =
        Done { quarantine: QuarantineFigures { waits_for: waits_for(wait), ..QuarantineFigures::default() }, ..Done::default() };
    match settings.mode {
        Mode::DryRun => {
            done.foresee(reader, &quarantine, &assessment)?;
            // An empty plan would need no room.
            if let Err(error) = has_room(settings, reader, &assessment) {
                assessment.stops.push(error);
            }
        }
        Mode::Execute => {
            has_room(settings, reader, &assessment)?;
            ensure_still_alone(settings, reader.store.root())?;
            interrupted(reader.stop)?;
            let run = match settings.disposal {
                Disposal::Remove => None,
                _ if assessment.plan.is_empty() => None,
                // As of the beginning: what was linked since then may not have been seen by the survey.
                _ => Some(quarantine::begin(reader.store, Purpose::GarbageCollect, &settings.clock)?),
            };
            done.carry_out(settings, reader, quarantine, &mut records, &mut assessment, (run, wait));
        }
    }
    Ok(report(settings, reader, assessment, done, free_before))
}

fn waits_for(wait: Option<Wait>) -> Duration {
    match wait {
        Some(Wait::AtLeast(wait)) => wait,
        _ => Duration::ZERO,
    }
}

/// Makes sure that what is to be quarantined has room.
fn has_room(settings: &CollectSettings, reader: &Reader<'_>, assessment: &Assessment) -> Result<(), Error> {
    match settings.disposal {
        Disposal::Remove => Ok(()),
        _ if assessment.plan.is_empty() => Ok(()),
        _ => quarantine::has_room(reader.store, assessment.plan.files(), assessment.plan.directories()),
    }
}

/// What was done, or would be.
#[derive(Default)]
struct Done {
    swept: SweepReport,
    quarantine: QuarantineFigures,
    /// What went wrong after the first change.
    findings: Vec<Finding>,
}

impl Done {
    /// What a real run would do.
    fn foresee(&mut self, reader: &Reader<'_>, quarantine: &Quarantine, assessment: &Assessment) -> Result<(), Error> {
        self.swept = sweep(&assessment.plan, &DryRun, reader.progress, reader.stop);
        self.quarantine.restored = quarantine.would_restore(reader.store, &assessment.needed)?;
        self.quarantine.waiting = quarantine.amount();
        self.quarantine.purged = assessment.purge.clone();
        self.quarantine.withheld = assessment.withheld.clone();
        Ok(())
    }

    /// Does it. From here on nothing ends the run without its report.
    fn carry_out(
        &mut self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        mut quarantine: Quarantine,
        records: &mut Records,
        assessment: &mut Assessment,
        (run, wait): (Option<Run>, Option<Wait>),
    ) {
        // Of runs that were killed, or whose files were moved back by hand.
        quarantine.tidy();
        if !assessment.needed.targets.is_empty() {
            reader.progress.begin(Phase::Restoring, None);
            self.quarantine.restored =
                reconcile::restore_needed(reader, &quarantine, &assessment.needed, records, &settings.clock);
        }
        if !self.quarantine.restored.failed.is_empty() {
            // Something needs what could not be restored: nothing else is to go before it is.
            self.swept.left = assessment.plan.len() as u64;
            run.iter().for_each(|run| drop(run.remove_if_empty()));
            self.wait_on(reader);
            return;
        }
        reconcile::begin_waits(reader, &mut quarantine, &settings.clock);
        if let Err(error) = records.date_restorations(&settings.clock) {
            tracing::warn!("{error}");
        }
        let left = left_by(assessment);
        self.sweep(settings, reader, &quarantine, records, (assessment, &left), run);
        if settings.disposal == Disposal::Online && self.quarantine.run.is_some() && !self.swept.interrupted {
            let wait = wait.expect("beside a registry things wait");
            let rescue = reconcile::rescue(reader, settings.rescue_for, wait, records, &settings.clock);
            self.note_rescue(rescue, &mut assessment.needed);
        }
        let has_failed = self.swept.findings.iter().any(|finding| finding.code == Code::FailedRemoval);
        if let Some(wait) = wait.filter(|_| self.goes_on(reader)) {
            match has_failed {
                true => tracing::warn!("nothing is purged in this run, because something could not be removed: see the findings"),
                false => self.purge(settings, reader, assessment, wait),
            }
        }
        if self.goes_on(reader) {
            // On a full disk: the one before stands, which says no less.
            records.write_summary(left).unwrap_or_else(|error| tracing::warn!("{error}"));
        } else {
            self.quarantine.interrupted = assess::is_stopped(reader);
        }
        self.wait_on(reader);
    }

    /// Whether the run comes to its end. What was spared because somebody changed it meanwhile, or could not be removed, is for the next one.
    fn goes_on(&self, reader: &Reader<'_>) -> bool {
        let rescued = matches!(self.quarantine.rescue, None | Some(RescueEnd::Complete));
        !assess::is_stopped(reader) && rescued && !self.swept.met_writer && self.findings.is_empty()
    }

    fn sweep(
        &mut self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        quarantine: &Quarantine,
        records: &mut Records,
        (assessment, left): (&Assessment, &Summary),
        run: Option<Run>,
    ) {
        let plan = &assessment.plan;
        let inventory = &assessment.inventory;
        let is_kept = |blob| inventory.has_any(blob, MarkFlags::LIVE.and(MarkFlags::YOUNG));
        let is_unlinked = |digest: &Digest| inventory.find(digest).is_some_and(|blob| !is_kept(blob));
        let noted = records.begin_sweep(plan.links_of_blobs(), is_unlinked);
        let before = records.summary().cloned();
        if let Err(error) = records.lower_summary(left) {
            tracing::warn!("{error}; should this run be cut off, the next one may ask for --allow-shrunk");
        }
        if plan.is_empty() {
            noted.unwrap_or_else(|error| tracing::warn!("{error}"));
            return;
        }
        if let Err(error) = noted {
            // On a full disk, which is when people collect. Were we killed now, the next run would ask before it goes on.
            tracing::warn!("{error}; should this run be killed, the next one may ask for --allow-unlinked");
        }
        let vacuum: &dyn Vacuum = reader.store;
        match run {
            None => self.swept = sweep(plan, vacuum, reader.progress, reader.stop),
            Some(mut run) => {
                let overlay = Overlay::new(reader.store, quarantine);
                let survey = |name: &RepositoryName| -> Result<Vec<Digest>, Error> {
                    assess::named_now(reader, &overlay, &assessment.inventory, name)
                };
                let directories = if settings.disposal == Disposal::Online { Directories::Keep } else { Directories::Prune };
                let vacuum = Quarantining::new(reader.store, &run, directories, &survey);
                self.swept = sweep(plan, &vacuum, reader.progress, reader.stop);
                match reconcile::finish(reader, &mut run, &settings.clock) {
                    Ok(true) => self.quarantine.run = Some(run.id().to_owned()),
                    Ok(false) => {}
                    Err(error) => {
                        self.quarantine.run = Some(run.id().to_owned());
                        self.note(&error);
                    }
                }
            }
        }
        // A run that was stopped leaves what is known as it was.
        if self.swept.left == plan.len() as u64
            && let Some(before) = before.filter(|before| records.summary() != Some(before))
            && let Err(error) = records.write_summary(before)
        {
            tracing::warn!("{error}");
        }
        if self.swept.left == 0
            && let Err(error) = records.end_sweep()
        {
            tracing::warn!("{error}");
        }
    }

    fn note_rescue(&mut self, rescue: Rescue, needed: &mut Needed) {
        self.quarantine.rescue = Some(match (&rescue.failed, rescue.interrupted) {
            (Some(_), _) => RescueEnd::Failed,
            (None, true) => RescueEnd::Interrupted,
            (None, false) if rescue.rescued.failed.is_empty() => RescueEnd::Complete,
            (None, false) => RescueEnd::Failed,
        });
        self.quarantine.rescued = rescue.rescued;
        // Younger than what was read at the beginning.
        if let Some(latest) = rescue.needed {
            *needed = latest;
        }
        if let Some(error) = rescue.failed {
            self.note(&error);
        }
    }

    /// The last thing that a run does.
    fn purge(&mut self, settings: &CollectSettings, reader: &Reader<'_>, assessment: &Assessment, wait: Wait) {
        let (needed, assessed) = (&assessment.needed, assessment.purge.blobs);
        let this_run = self.quarantine.run.clone();
        let purge = || -> Result<_, Error> {
            let mut quarantine = Quarantine::open(reader.store)?;
            // What has just been quarantined can be restored until a later run, however short things wait.
            quarantine.runs.retain(|run| this_run.as_deref() != Some(run.id()));
            let gate = Gate { needed, wait, clock: &settings.clock, open: OpenFiles::look() };
            let mut purgeable = gate.purgeable(reader.store, &quarantine, None)?;
            let withheld = std::mem::take(&mut purgeable.withheld);
            // The limit was asked of what was due when the run was assessed.
            if settings.max_reclaim.is_some() && purgeable.amount().blobs.size_bytes > assessed.size_bytes {
                tracing::warn!("nothing is purged in this run: more has become due since --max-reclaim was asked");
                purgeable = Purgeable::default();
            }
            reader.progress.begin(Phase::Purging, None);
            Ok((quarantine::purge(reader.store, &gate, purgeable, reader.stop), withheld, gate.proof()))
        };
        match purge() {
            Ok((purged, withheld, proof)) => {
                self.quarantine.proof = (!purged.is_empty()).then_some(proof);
                (self.quarantine.purged, self.quarantine.withheld) = (purged, withheld);
            }
            Err(error) => self.note(&error),
        }
    }

    /// What is in quarantine now.
    fn wait_on(&mut self, reader: &Reader<'_>) {
        match Quarantine::open(reader.store) {
            Ok(quarantine) => {
                self.quarantine.waiting = quarantine.amount();
                // Everything in it may have been restored by now.
                let run = self.quarantine.run.take();
                self.quarantine.run = run.filter(|id| quarantine.run(id).is_ok());
            }
            // Everything was done: only what is in quarantine now cannot be told.
            Err(error) => tracing::warn!("{error}"),
        }
    }

    fn note(&mut self, error: &Error) {
        self.findings.push(Finding::new(Code::FailedRestore).detail(error.to_string()));
    }
}

/// What the store holds once the plan is carried out.
fn left_by(assessment: &Assessment) -> Summary {
    let mut after = assessment.summary.clone();
    for row in assessment.plan.of_kind(Kind::Revision) {
        row.target.link_directory().into_iter().for_each(|directory| after.forget_revision(directory.repository()));
    }
    after
}

fn report(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    assessment: Assessment,
    done: Done,
    free_before: Option<u64>,
) -> CollectReport {
    let Done { swept, quarantine, findings: failed } = done;
    let mut findings = assessment.findings;
    let unfinished = failed.len() as u64;
    findings.extend(failed);
    for moved in [&quarantine.restored, &quarantine.purged, &quarantine.rescued] {
        findings.extend(reconcile::failures(moved));
    }
    findings.extend(swept.findings.iter().cloned());
    let findings = consolidated(findings, settings.location.is_proxy());
    CollectReport {
        mode: settings.mode,
        disposal: settings.disposal,
        root: reader.store.root().path().to_owned(),
        config_path: settings.location.config_path.clone(),
        registry: settings.location.registry.clone(),
        remembers_blobs: settings.location.descriptor_cache().is_some(),
        nobody_asked: None,
        rerun: settings.rerun.clone(),
        writer: None,
        is_proxy: settings.location.is_proxy(),
        policy: settings.policy,
        plan: settings.verbose.then_some(assessment.plan),
        figures: assessment.figures,
        swept,
        quarantine,
        unfinished,
        stops: assessment.stops.iter().map(ToString::to_string).collect(),
        findings,
        free_before,
        free_after: reader.store.free_bytes(),
        elapsed: settings.clock.elapsed(),
    }
}

/// Writes the plan as JSON Lines, before anything of it is carried out.
fn write_plan(plan: &SweepPlan, path: &Path, store: &FilesystemStore) -> Result<(), Error> {
    outside_the_store("--plan-out", path, store)?;
    let file = std::fs::File::create(path).context("create", path)?;
    let mut out = std::io::BufWriter::new(file);
    for row in plan.iter() {
        serde_json::to_writer(&mut out, &json::Row::of(&row)).map_err(std::io::Error::from).context("write", path)?;
        out.write_all(b"\n").context("write", path)?;
    }
    out.flush().context("write", path)
}
