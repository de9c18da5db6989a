//! What a collection does once nothing stands against it, and what became of it.

use std::cell::LazyCell;

use super::super::assess::{self, Assessment};
use super::super::caches::Remembering;
use super::super::reconcile::{self, Rescue};
use crate::config::{CollectSettings, Disposal};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::inventory::MarkFlags;
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::plan::Kind;
use crate::progress::Phase;
use crate::quarantine::{self, Due, Gate, Needed, Overlay, Purgeable, Purged, Quarantine, Quarantining, Reader, Run};
use crate::records::{BegunBy, Records, Summary};
use crate::report::collect::{QuarantineFigures, RedisUnasked, RescueEnd};
use crate::store::{Directories, DryRun, FileState, Shape, stat_target};
use crate::sweep::{SweepReport, sweep};
use crate::writers::OpenFiles;

/// What was done, or would be.
#[derive(Default)]
pub(super) struct Done {
    pub(super) swept: SweepReport,
    pub(super) quarantine: QuarantineFigures,
    /// What went wrong after the first change.
    pub(super) findings: Vec<Finding>,
    /// Whether something that could not be removed is not there as it was.
    pub(super) may_have_changed: bool,
    /// Whether anything else in quarantine, or in the registries' redis, may not be as it was.
    pub(super) touched: bool,
    /// What the registry's redis claims and the store does not have.
    pub(super) stale: Vec<Finding>,
    /// Why it could not be asked.
    pub(super) redis_unasked: Option<RedisUnasked>,
}

impl Done {
    /// What a real run would do.
    pub(super) fn foresee(
        &mut self,
        reader: &Reader<'_>,
        quarantine: &Quarantine<'_>,
        assessment: &Assessment,
    ) -> Result<(), Error> {
        self.swept = sweep(&assessment.plan, &DryRun, reader.progress, reader.stop);
        self.quarantine.restored = quarantine.would_restore(reader.store(), &assessment.needed)?;
        self.quarantine.waiting = quarantine.amount();
        self.quarantine.purged = assessment.purge.clone();
        self.quarantine.withheld = assessment.withheld.clone();
        Ok(())
    }

    /// Does it. From here on nothing ends the run without its report.
    pub(super) fn carry_out(
        &mut self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        mut quarantine: Quarantine<'_>,
        records: &mut Records<'_>,
        assessment: &mut Assessment,
        (run, due): (Option<Run<'_>>, Option<Due<'_>>),
    ) {
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
        if let Err(error) = records.date_restorations(&settings.clock) {
            tracing::warn!("{error}");
        }
        let left = left_by(assessment, reader.store().shape());
        self.sweep(settings, reader, &mut quarantine, records, (assessment, &left), (run, due));
        // What is in quarantine is read anew from here on, and two lists of it are not to be held.
        drop(quarantine);
        let is_watched = settings.disposal == Disposal::Online && !self.swept.interrupted;
        if let Some(run) = self.quarantine.run.clone().filter(|_| is_watched) {
            let due = due.expect("beside a registry things wait");
            let rescue = reconcile::rescue(reader, (&run, settings.rescue_for), due, records, &settings.clock);
            self.note_rescue(rescue, &mut assessment.needed);
        }
        if let Some(removed) = &mut assessment.removed {
            removed.note_done(reader.store());
        }
        let has_failed = self.swept.findings.iter().any(|finding| finding.code == Code::FailedRemoval);
        if let Some(due) = due.filter(|_| self.goes_on(reader)) {
            match has_failed {
                true => tracing::warn!("nothing is purged in this run, because something could not be removed: see the findings"),
                false => match missing_now(settings, reader, records, assessment) {
                    Some(missing) => tracing::warn!("nothing is purged in this run: {missing}"),
                    None => self.purge(reader, assessment, due),
                },
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
        quarantine: &mut Quarantine<'_>,
        records: &mut Records<'_>,
        (assessment, left): (&mut Assessment, &Summary),
        (run, due): (Option<Run<'_>>, Option<Due<'_>>),
    ) {
        let (begun, ended) = (assessment.begun(), assessment.ended());
        let plan = &assessment.plan;
        let inventory = &assessment.inventory;
        // What is kept for nothing but the quarantine is as unlinked as before once that is purged.
        let is_kept = |blob| inventory.has_any(blob, MarkFlags::LIVE | MarkFlags::YOUNG);
        let is_unlinked = |digest: &Digest| inventory.find(digest).is_some_and(|blob| !is_kept(blob));
        // Nor does a run about a part of the store take what another one has left.
        let stays = |digest: &Digest| {
            let is_in_store = |blob| !inventory.has_any(blob, MarkFlags::QUARANTINED);
            let is_left = |blob| inventory.has_any(blob, MarkFlags::RESTORABLE) || (is_in_store(blob) && !plan.has_blob(digest));
            inventory.find(digest).is_some_and(|blob| !is_kept(blob) && is_left(blob))
        };
        let begun = || begun.iter().map(|(name, with)| (name, with));
        let ended = || ended.iter().map(|(name, with)| (name, with));
        let noted = records.begin_sweep(plan.links_of_blobs(), is_unlinked);
        let before = records.summary().cloned();
        if let Err(error) = records.lower_summary(left) {
            tracing::warn!("{error}; should this run be cut off, the next one may ask for --allow-shrunk");
        }
        if plan.is_empty() {
            noted.and_then(|()| records.end_with(ended())).unwrap_or_else(|error| tracing::warn!("{error}"));
            self.begin_waits(settings, reader, quarantine, due, &|| beside(settings, reader, due));
            return;
        }
        if let Err(error) = noted {
            // On a full disk, which is when people collect. Were we killed now, the next run would ask before it goes on.
            tracing::warn!("{error}; should this run be killed, the next one may ask for --allow-unlinked");
        }
        let begun_before = records.begun().ok();
        let by = if settings.expire.is_some() { BegunBy::Expire } else { BegunBy::Remove };
        if let Err(error) = records.begin_with(begun(), (by, settings.clock.started())) {
            tracing::warn!("{error}; should this run be cut off, the same command will not go on with it");
        }
        self.dispose(settings, reader, quarantine, assessment, (run, due));
        self.may_have_changed = self.swept.findings.iter().any(|finding| is_gone(reader, finding));
        // A run that was stopped leaves what is known as it was.
        if self.swept.left == plan.len() as u64
            && let Some(before) = before.filter(|before| records.summary() != Some(before))
            && let Err(error) = records.write_summary(before)
        {
            tracing::warn!("{error}");
        }
        if self.swept.left == plan.len() as u64
            && !self.may_have_changed
            && begun().next().is_some()
            && let Some(before) = begun_before
            && let Err(error) = records.write_begun(&before)
        {
            tracing::warn!("{error}");
        }
        // Of blobs that are left to a later run the record stays as it was written: that run is to know who unlinked them.
        if self.swept.left == 0
            && !settings.leaves_blobs()
            && let Err(error) = records.end_sweep(stays)
        {
            tracing::warn!("{error}");
        }
        // Last of all: until then the same command goes on.
        if self.swept.left == 0
            && let Err(error) = records.end_with(ended())
        {
            tracing::warn!("{error}");
        }
    }

    /// Removes or quarantines what is in the plan.
    fn dispose(
        &mut self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        quarantine: &mut Quarantine<'_>,
        assessment: &Assessment,
        (run, due): (Option<Run<'_>>, Option<Due<'_>>),
    ) {
        let plan = &assessment.plan;
        let vacuum = reader.backend.vacuum();
        match run {
            None => {
                self.swept = sweep(plan, vacuum, reader.progress, reader.stop);
                self.begin_waits(settings, reader, quarantine, due, &Remembering::nowhere);
            }
            Some(mut run) => {
                let overlay = Overlay::new(reader.store(), quarantine);
                let survey = |name: &RepositoryName| -> Result<Vec<Digest>, Error> {
                    assess::named_now(reader, &overlay, &assessment.inventory, name)
                };
                let directories = if settings.disposal == Disposal::Online { Directories::Keep } else { Directories::Prune };
                let vacuum = Quarantining::new(vacuum, &run, directories, &survey);
                self.swept = sweep(plan, &vacuum, reader.progress, reader.stop);
                // Before this one: which of them is the newest is told by when they finished.
                let remembering = LazyCell::new(|| beside(settings, reader, due));
                self.begin_waits(settings, reader, quarantine, due, &|| *remembering);
                match reconcile::finish(reader, &mut run, (&settings.clock, &remembering), self.swept.interrupted) {
                    Ok((is_held, forgotten)) => {
                        self.quarantine.forgotten += forgotten;
                        self.quarantine.run = is_held.then(|| run.id().to_owned());
                    }
                    Err(error) => {
                        self.quarantine.run = Some(run.id().to_owned());
                        self.note(&error);
                    }
                }
            }
        }
    }

    /// What a run that was cut off has left is for one with a quarantine that comes to the end of its sweep.
    fn begin_waits<'r>(
        &mut self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        quarantine: &mut Quarantine<'_>,
        due: Option<Due<'_>>,
        remembering: &dyn Fn() -> Remembering<'r>,
    ) {
        let is_done = settings.disposal != Disposal::Remove && !self.swept.interrupted;
        let waits = reconcile::begin_waits(reader, quarantine, (&settings.clock, remembering), due, is_done);
        self.quarantine.forgotten += waits.forgotten;
        self.touched |= waits.begun;
        waits.failed.iter().for_each(|error| self.note(error));
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
    fn purge(&mut self, reader: &Reader<'_>, assessment: &Assessment, due: Due<'_>) {
        let needed = &assessment.needed;
        let this_run = self.quarantine.run.clone();
        let purge = || -> Result<_, Error> {
            let mut quarantine = Quarantine::open(reader.backend)?;
            // What has just been quarantined can be restored until a later run, however short things wait.
            quarantine.runs.retain(|run| this_run.as_deref() != Some(run.id()));
            let gate = Gate { needed, due, open: OpenFiles::look() };
            let mut purgeable = gate.purgeable(&quarantine, None)?;
            let withheld = std::mem::take(&mut purgeable.withheld);
            // More may be due than when the run was assessed.
            if let Some(reason) = assessment.reclaim.refuses_purge(purgeable.amount().bytes()) {
                tracing::warn!("nothing is purged in this run: {reason}");
                purgeable = Purgeable::default();
            }
            reader.progress.begin(Phase::Purging, None);
            Ok((quarantine::purge(&gate, purgeable, reader.stop)?, withheld, gate.proof()))
        };
        match purge() {
            Ok((Purged { gone, claimed, forgotten, touched }, withheld, proof)) => {
                self.touched |= touched;
                self.quarantine.proof = (!gone.is_empty()).then_some(proof);
                self.quarantine.forgotten += forgotten;
                (self.quarantine.purged, self.quarantine.withheld) = (gone, [withheld, claimed].concat());
            }
            Err(error) => self.note(&error),
        }
    }

    /// What is in quarantine now.
    fn wait_on(&mut self, reader: &Reader<'_>) {
        match Quarantine::open(reader.backend) {
            Ok(quarantine) => {
                self.quarantine.waiting = quarantine.amount();
                // Everything in it may have been restored by now.
                let run = self.quarantine.run.take();
                self.quarantine.run = run.filter(|id| quarantine.run(id).is_ok());
                // Of runs that were killed, or whose files were moved back by hand.
                if !self.is_undone() {
                    quarantine.tidy();
                }
            }
            // Everything was done: only what is in quarantine now cannot be told.
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Whether nothing is done and something failed or was interrupted: then all is as it was.
    fn is_undone(&self) -> bool {
        let has_changed = self.may_have_changed || self.touched || !self.swept.removed.is_empty() || self.quarantine.has_moved();
        let has_failed =
            self.swept.left > 0 || self.swept.interrupted || !self.findings.is_empty() || self.quarantine.has_failed();
        has_failed && !has_changed
    }

    pub(super) fn note(&mut self, error: &Error) {
        self.findings.push(Finding::new(Code::FailedRestore).detail(error.to_string()));
    }
}

/// What a registry at work may remember things in that have been moved by now.
fn beside<'a>(settings: &CollectSettings, reader: &Reader<'_>, due: Option<Due<'a>>) -> Remembering<'a> {
    match settings.disposal {
        Disposal::Online => Remembering::now(reader, &settings.location, due),
        Disposal::Quarantine | Disposal::Remove => Remembering::nowhere(),
    }
}

/// Whether what could not be removed, by this finding, is not in its place: some filesystems answer with an error when it was done all the same.
fn is_gone(reader: &Reader<'_>, finding: &Finding) -> bool {
    // Whatever a tag names: its file is what is looked at.
    let named = || finding.digest;
    let Some(target) = finding.path.as_deref().and_then(|path| Target::of_file(path, named)) else { return false };
    !target.is_directory() && !matches!(stat_target(reader.store(), &target), Ok(FileState::File(_)))
}

/// A mount that has not been there since the run began: what was seen to be needed while pushes were waited for may lack what lies on it.
fn missing_now(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    records: &Records<'_>,
    assessment: &Assessment,
) -> Option<String> {
    let before = records.summary().filter(|_| !settings.allow_shrunk)?;
    before.missing_from(&assessment.summary, &|name| reader.backend.parts().is_held(name), true)
}

/// What the store holds once the plan is carried out.
fn left_by(assessment: &Assessment, shape: Shape) -> Summary {
    let mut after = assessment.summary.clone();
    for row in assessment.plan.of_kind(Kind::Revision) {
        row.target.link_directory().into_iter().for_each(|directory| after.forget_revision(directory.repository()));
    }
    for row in assessment.plan.of_kind(Kind::Tag) {
        row.target.repository().into_iter().for_each(|repository| after.forget_tag(repository));
    }
    for row in assessment.plan.of_kind(Kind::Repository) {
        row.target.repository().into_iter().for_each(|repository| after.forget_repository(repository));
    }
    // Without directories a repository goes with its last key, be that an upload's that somebody else ends.
    if shape == Shape::Keys {
        after.forget_empty();
    }
    after
}
