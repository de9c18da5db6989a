//! The reading half of a collection: what the store and its quarantine hold, what of it would go, and what stops that.

mod begun;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::brakes::{self, ENOUGH, MaxReclaim, Seen, Unlinked};
use super::reconcile;
use crate::amount::Amount;
use crate::audit::recheck;
use crate::config::{CollectSettings, Disposal, ExpireSettings, RemoveSettings};
use crate::error::Error;
use crate::escape::escaped;
use crate::expiry::{self, Expired};
use crate::finding::{Code, Finding};
use crate::findings::Gathered;
use crate::format::number;
use crate::graph::{Context, Manifests};
use crate::inventory::{Budget, Inventory, MarkFlags};
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::mark::blobs::{self, BlobMarks};
use crate::mark::{self, Counts, Marks, interrupted};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::options::Limit;
use crate::plan::{Carried, Deletion, RepositoryShare, SweepPlan};
use crate::policy::{Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::quarantine::{Due, Gate, Moved, Needed, Overlay, Quarantine, Reader, Withheld};
use crate::records::{BegunBy, BegunName, Protected, Records, Summary};
use crate::removal::{self, Outcomes, Removed};
use crate::report::collect::Figures;
use crate::retention::Retention;
use crate::store::{FileState, Part, RepositoryEntry, Shape, Store, Stray, StrayKind};
use crate::survey::{self, Survey};
use crate::writers::OpenFiles;

/// What a collection would do.
pub(super) struct Assessment {
    /// What of the quarantine is needed by now.
    pub(super) needed: Needed,
    /// What of it would be purged as it is now.
    pub(super) purge: Moved,
    /// How much may go, and be purged.
    pub(super) reclaim: MaxReclaim,
    /// What of it has waited and stays.
    pub(super) withheld: Vec<(Target, Withheld)>,
    /// What goes from the store.
    pub(super) plan: SweepPlan,
    pub(super) figures: Figures,
    pub(super) findings: Vec<Finding>,
    /// What the store holds.
    pub(super) summary: Summary,
    /// What stops it.
    pub(super) stops: Vec<Error>,
    /// The blobs that the store held.
    pub(super) inventory: Arc<Inventory>,
    /// What was kept, as the store allows to tell it.
    pub(super) policy: Policy,
    /// What of it is old.
    old_summary: Summary,
    /// What goes of what is old and that no repository links, whatever part of the store the run is about: it shows what is missing.
    unlinked: Unlinked,
    /// What came of a plan that was given.
    pub(super) carried: Option<Carried>,
    /// Patterns of repositories that none matches.
    unmatched: Vec<String>,
    /// What a policy comes to, if there is one.
    pub(super) expired: Option<Expired>,
    /// What was asked for by name, if anything was.
    pub(super) removed: Option<Removed>,
    /// Revisions that were to go, and are kept for being young or for what is in quarantine.
    postponed: HashSet<(RepositoryName, Digest)>,
}

/// Reads everything, and changes nothing.
///
/// # Errors
///
/// When something that is there cannot be read, or the reader is to stop.
pub(super) fn assess(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    records: &Records<'_>,
    due: Option<Due<'_>>,
    is_locked: bool,
) -> Result<Assessment, Error> {
    let needed = match quarantine.collected().next() {
        Some(_) => reconcile::needed(reader, quarantine, due, &settings.clock)?,
        None => Needed::default(),
    };
    // After what is in quarantine: what was pushed in between is seen by the plan at least.
    // Without the lock, as only a dry run may be, another regsweep can be what takes things away.
    let may_change = settings.disposal == Disposal::Online || !is_locked;
    let mut protected = records.restored_within(settings.policy.restored_window(), &settings.clock);
    let restored = protected.clone();
    // Of a run that was cut off, too: a revision that comes back first is whole then.
    for target in &needed.targets {
        match target {
            Target::Link(LinkDirectory::Revisions(_), _) => protected.add(target),
            // It is not to lose its image in the run that it comes back in.
            Target::Tag(repository, _, digest) => {
                protected.add(&Target::Link(LinkDirectory::Revisions(repository.clone()), *digest));
            }
            _ => {}
        }
    }
    quarantine.protect(settings.disposal != Disposal::Remove, &mut protected);
    let overlay = Overlay::new(reader.store(), quarantine);
    let mut assessment =
        reconcile::look(may_change, || survey_and_plan(settings, reader, &overlay, (&protected, &restored, &needed), records))?;
    // What is missing for being in quarantine is restored first.
    let returns: HashSet<&Digest> = needed.targets.iter().filter_map(Target::digest).collect();
    assessment.findings.retain(|finding| {
        let is_missing = finding.code.is_absence() || finding.code == Code::LostRevision;
        !is_missing || finding.digest.is_none_or(|digest| !returns.contains(&digest))
    });
    assessment.needed = needed;
    if let Some(due) = due {
        let gate = Gate { needed: &assessment.needed, due, open: OpenFiles::look() };
        let purgeable = gate.purgeable(quarantine, None)?;
        (assessment.purge, assessment.withheld) = (purgeable.amount(), purgeable.withheld);
    }
    assessment.reclaim = MaxReclaim {
        limit: settings.max_reclaim,
        stored_bytes: match settings.max_reclaim {
            Some(Limit::Percent(_)) => blobs::stored_bytes(&overlay, &assessment.inventory)?,
            _ => 0,
        },
        quarantined_bytes: quarantine.size_bytes(),
    };
    assessment.stops = assessment.stops_of(settings, reader, &overlay, records)?;
    Ok(assessment)
}

impl Assessment {
    fn stops_of(
        &self,
        settings: &CollectSettings,
        reader: &Reader<'_>,
        overlay: &Overlay<'_>,
        records: &Records<'_>,
    ) -> Result<Vec<Error>, Error> {
        let manifests = Manifests::new(overlay, &self.inventory);
        let (inventory, policy) = (&self.inventory, self.policy);
        let chosen = chosen(settings, self.expired.as_ref(), self.removed.as_ref());
        let retention = chosen.as_deref().unwrap_or(&settings.roots);
        let context = Context { store: overlay, inventory, manifests: &manifests, retention, policy };
        // An upload goes by its age alone: what is needed says nothing of it.
        let is_of_uploads = |row: &Deletion| row.target.upload().is_some();
        let goes = self.plan.iter().any(|row| !is_of_uploads(&row));
        // What is younger than an hour proves nothing, and where nothing else goes, nothing has to be proved.
        let evidence = policy.of_evidence();
        let is_old_kept = |context: &Context<'_>| blobs::any_old_kept(&Context { policy: evidence, ..*context });
        let old_goes = || self.plan.iter().any(|row| !is_of_uploads(&row) && !evidence.is_young(&row.stat));
        let seen = Seen {
            settings,
            figures: &self.figures,
            records,
            summary: &self.summary,
            old_summary: &self.old_summary,
            is_mounted: &|name| reader.backend.parts().is_held(name),
            goes,
            is_arrival_unknown: self.policy.arrivals != settings.policy.arrivals && !self.plan.is_empty(),
            any_kept: self.inventory.any_kept(),
            any_old_kept: settings.allow_empty || !old_goes() || is_old_kept(&context)?,
            unlinked: self.unlinked(&context)?,
            purge: self.purge.bytes(),
            reclaim: &self.reclaim,
            losing_all: self.expired.as_ref().map_or(&[], |expired| &expired.losing_all),
        };
        interrupted(reader.stop)?;
        let asked = self.removed.iter().flat_map(|removed| removed.stops.clone());
        let unmatched = self.unmatched.iter().map(|pattern| {
            let reason = format!("no repository matches --repository '{}'", escaped(pattern));
            (reason, "`regsweep list` names those that there are; patterns are such as 'team/*' or 'team/**'".to_owned())
        });
        let refused = asked.chain(unmatched).map(|(reason, lift)| Error::Brake { reason, lift });
        Ok(refused.chain(brakes::brakes(&seen)).collect())
    }

    /// How much of what is old is linked by no repository. What is kept is looked at only where something is, and until that cannot be half.
    fn unlinked(&self, context: &Context<'_>) -> Result<Unlinked, Error> {
        let policy = self.policy.of_evidence();
        let found = self.unlinked;
        let Unlinked { unlinked, of } = found;
        if unlinked.count == 0 {
            return Ok(found);
        }
        let enough = Amount {
            count: (unlinked.count * 2).max(ENOUGH).saturating_sub(of.count),
            size_bytes: unlinked.size_bytes.saturating_mul(2).saturating_sub(of.size_bytes),
        };
        let mut all = blobs::old_kept(&Context { policy, ..*context }, enough)?;
        all += of;
        Ok(Unlinked { unlinked, of: all })
    }
}

fn survey_and_plan(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    store: &Overlay<'_>,
    (protected, restored, needed): (&Protected, &Protected, &Needed),
    records: &Records<'_>,
) -> Result<Assessment, Error> {
    let (Reader { progress, stop, .. }, last_run) = (*reader, records.last_run());
    let budget = (reader.budget)(store.memory_bytes() + settings.scope.memory_bytes());
    let (inventory, blob_strays) = listed(store, (protected, restored), &budget, progress)?;
    interrupted(stop)?;
    progress.begin(Phase::FindingRepositories, None);
    let repositories = store.repositories()?;
    interrupted(stop)?;
    tracing::info!("{} blobs, {} repositories", number(inventory.len() as u64), number(repositories.entries.len() as u64));

    let manifests = Manifests::new(store, &inventory);
    let (policy, recent_changes) = mark::arrivals(store, &inventory, settings.policy)?;
    let mut context = Context { store, inventory: &inventory, manifests: &manifests, retention: &settings.roots, policy };
    let mut expired = expired(settings, &context, &repositories.entries, reader, records)?;
    let mut removed = removed(settings, &context, &repositories.entries, reader, records)?;
    let chosen = chosen(settings, expired.as_ref(), removed.as_ref());
    context.retention = chosen.as_deref().unwrap_or(context.retention);
    let prepare = |survey: &mut Survey<'_>| {
        protect(survey, protected, restored);
        (survey.last_run, survey.moved_aliases) = (last_run, store.moved_aliases(&survey.name));
    };
    let gathered = Gathered::default();
    let done = |marks: &mut Marks| {
        gathered.add(std::mem::take(&mut marks.findings));
        begun::forget_names(settings, marks);
        marks.deletions.set_aside(&budget)
    };
    let mut marks = mark::repositories(&context, &repositories.entries, &prepare, &done, progress, stop)?;

    progress.begin(Phase::Checking, None);
    let mut blobs = blobs::unreached_blobs(&context, &marks, &budget)?;
    let strays = repositories.strays.iter().chain(&blob_strays);
    let of_blobs = std::mem::take(&mut blobs.findings).into_iter().chain(recent_changes);
    gathered.add(of_blobs.chain(strays.clone().map(Finding::of_stray)).collect());
    let findings = recheck::still_hold(reader.store(), &policy, gathered.into_findings())?;

    let mut plan = planned((&mut marks, &mut blobs), needed, &inventory, &budget)?;
    let [summary, old_summary] = summaries(settings, &marks, parts(reader, strays, &repositories.entries, &marks));
    let lacking = marks.iter().filter(|marks| marks.may_lack_manifests).map(|marks| marks.repository.clone()).collect();
    let unlinked_in = |plan: &SweepPlan| brakes::unlinked_in(plan, records, &summary, &lacking, &policy.of_evidence());
    let with_blobs = leave_blobs(settings, &mut plan, &unlinked_in);
    // By all links: beside a registry at work some stay although their blobs go.
    let shares = plan.by_repository();
    if settings.disposal == Disposal::Online {
        online_only(&mut plan, reader.store(), &inventory)?;
    }
    let unlinked = with_blobs.unwrap_or_else(|| unlinked_in(&plan));
    let carried = settings.scope.limit(&mut plan, &|digest| records.had_linked(digest).collect());
    expired.iter_mut().for_each(|expired| expired.note_planned(&plan));
    let [restorable, postponed] = begun::staying(&marks);
    let outcomes = outcomes(settings, reader, &marks, &restorable);
    removed.iter_mut().for_each(|removed| removed.note_planned(&plan, &outcomes, &findings, &policy));
    let figures = figures(settings, &inventory, &marks, &blobs, &plan, shares);
    Ok(Assessment {
        needed: Needed::default(),
        purge: Moved::default(),
        reclaim: MaxReclaim::default(),
        withheld: Vec::new(),
        plan,
        figures,
        findings,
        summary,
        stops: Vec::new(),
        inventory,
        policy,
        old_summary,
        unlinked,
        carried,
        unmatched: settings.scope.unmatched(repositories.entries.iter().map(|entry| &entry.name)),
        expired,
        removed,
        postponed,
    })
}

/// Gives a repository what stays in it for what is in quarantine, or came from there.
fn protect(survey: &mut Survey<'_>, protected: &Protected, restored: &Protected) {
    let of = |all: &BTreeMap<RepositoryName, Vec<Digest>>| all.get(&survey.name).cloned().unwrap_or_default();
    (survey.protected, survey.restored) = (of(&protected.revisions), of(&restored.revisions));
    survey.followers = protected.of_tags.get(&survey.name).cloned().unwrap_or_default();
    survey.restored_tags = protected.tags.get(&survey.name).cloned().unwrap_or_default();
    survey.restored_uploads = protected.uploads.get(&survey.name).cloned().unwrap_or_default();
}

/// What became of the repositories.
fn outcomes<'m>(
    settings: &CollectSettings,
    reader: &Reader<'_>,
    marks: &'m [Marks],
    restorable: &'m HashSet<(RepositoryName, Digest)>,
) -> Outcomes<'m> {
    Outcomes {
        restorable,
        held: marks.iter().filter(|marks| marks.held).map(|marks| &marks.repository).collect(),
        stays: marks.iter().filter_map(|marks| Some((&marks.repository, marks.stays.as_ref()?))).collect(),
        is_online: settings.disposal == Disposal::Online,
        has_directories: reader.store().shape() == Shape::Tree,
    }
}

/// Lists the blobs, and flags those that stay for what is in quarantine or came from there.
fn listed(
    store: &Overlay<'_>,
    (protected, restored): (&Protected, &Protected),
    budget: &Budget,
    progress: &dyn Progress,
) -> Result<(Arc<Inventory>, Vec<Stray>), Error> {
    // Before repositories: what is pushed from now on is not in the inventory, and what is not there does not go.
    progress.begin(Phase::ListingBlobs, None);
    let (inventory, blob_strays) = Inventory::list(store, budget)?;
    let mark = |digest: &Digest, flags| {
        if let Some(blob) = inventory.find(digest) {
            inventory.mark(blob, flags);
        }
    };
    store.quarantined().for_each(|digest| mark(digest, MarkFlags::QUARANTINED));
    protected.digests.iter().for_each(|digest| mark(digest, MarkFlags::PROTECTED));
    restored.digests.iter().for_each(|digest| mark(digest, MarkFlags::YOUNG));
    Ok((Arc::new(inventory), blob_strays))
}

/// What goes by the rules, if there are any.
fn expired(
    settings: &CollectSettings,
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    reader: &Reader<'_>,
    records: &Records<'_>,
) -> Result<Option<Expired>, Error> {
    let Some(ExpireSettings { rules, protect, .. }) = &settings.expire else { return Ok(None) };
    let begun = records.begun()?;
    let cut_off = |repository: &RepositoryName| begun.tags(BegunBy::Expire, repository);
    expiry::gather(context, repositories, (rules, protect.as_ref()), &cut_off, reader.progress, reader.stop).map(Some)
}

/// What was asked for by name, if anything was.
fn removed(
    settings: &CollectSettings,
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    reader: &Reader<'_>,
    records: &Records<'_>,
) -> Result<Option<Removed>, Error> {
    let Some(RemoveSettings { references, .. }) = &settings.remove else { return Ok(None) };
    let begun = records.begun()?;
    let cut_off = |repository: &RepositoryName, name: &BegunName| begun.get(BegunBy::Remove, repository, name);
    removal::gather(context, repositories, references, &cut_off, reader.stop).map(Some)
}

/// All that goes, without directories that are not empty any more once what is needed is restored: that comes before the sweep, which would
/// take them for written to by somebody.
fn planned(
    (marks, blobs): (&mut [Marks], &mut BlobMarks),
    needed: &Needed,
    inventory: &Arc<Inventory>,
    budget: &Budget,
) -> Result<SweepPlan, Error> {
    let (of_repositories, of_blobs) = mark::planned(marks, blobs);
    let mut plan = SweepPlan::new(of_repositories, of_blobs, Arc::clone(inventory), budget)?;
    if !needed.targets.is_empty() {
        let fills = needed.fills();
        plan.retain(|row| !fills(&row.target));
    }
    Ok(plan)
}

/// Leaves out the blobs that a later run is to see to, if that was asked for. They say as much of what is missing, and so are counted before.
fn leave_blobs(settings: &CollectSettings, plan: &mut SweepPlan, count: &dyn Fn(&SweepPlan) -> Unlinked) -> Option<Unlinked> {
    settings.leaves_blobs().then(|| {
        let counted = count(plan);
        plan.retain(|row| row.target.repository().is_some());
        counted
    })
}

/// What the store holds, and the same without repositories in which nothing is old, and what is young.
fn summaries(settings: &CollectSettings, marks: &[Marks], parts: Vec<Part>) -> [Summary; 2] {
    let held = marks.iter().map(|marks| (&marks.repository, [marks.counts.tags, marks.counts.revisions]));
    let old = marks.iter().filter_map(|marks| Some((&marks.repository, marks.held_by_old()?)));
    let began = settings.clock.started();
    [Summary::new(began, held, parts), Summary::new(began, old, Vec::new())]
}

/// The retention of a run that drops tags, by rules or by name, or that is about a part of the store.
fn chosen(settings: &CollectSettings, expired: Option<&Expired>, removed: Option<&Removed>) -> Option<Box<dyn Retention>> {
    match (expired, removed) {
        (Some(expired), _) => Some(Box::new(expired.chosen.clone())),
        (None, Some(removed)) => Some(Box::new(removed.removal.clone())),
        (None, None) => settings.scope.retention(settings.roots),
    }
}

/// What is mounted in the store, and where symbolic links in it led.
fn parts<'a>(
    reader: &Reader<'_>,
    strays: impl Iterator<Item = &'a Stray>,
    repositories: &[RepositoryEntry],
    marks: &[Marks],
) -> Vec<Part> {
    let links = strays.filter(|stray| stray.kind == StrayKind::Symlink).map(|stray| stray.path.as_path());
    let linked = repositories.iter().filter(|entry| entry.foreign == Some(StrayKind::Symlink));
    let linked: Vec<PathBuf> = linked.map(|entry| layout::repository_directory(&entry.name)).collect();
    let mut links = links.chain(linked.iter().chain(marks.iter().flat_map(|marks| &marks.symlinks)).map(PathBuf::as_path));
    reader.backend.parts().present(&mut links)
}

/// Leaves in the plan what may go beside a registry that takes pushes: directories stay, because one may be about to be used, and so do
/// links to blobs that are there, or could come back.
fn online_only(plan: &mut SweepPlan, store: &dyn Store, inventory: &Inventory) -> Result<(), Error> {
    let is_gone = |digest: &Digest| -> Result<bool, Error> {
        match inventory.find(digest) {
            None => Ok(digest.algorithm() == Algorithm::Sha256),
            Some(blob) if inventory.has_any(blob, MarkFlags::QUARANTINED) => Ok(false),
            Some(_) => Ok(store.stat_blobs(Shard::of(digest), &[*digest])? == [FileState::Absent]),
        }
    };
    let mut failed = None;
    plan.retain(|row| match &row.target {
        Target::EmptyLinkDirectory(..)
        | Target::EmptyBlobDirectory(_)
        | Target::EmptyUploadDirectory(..)
        | Target::EmptyTag(..)
        | Target::EmptyRepository(_) => false,
        // It is not quarantined, and a push may be writing to it.
        Target::BrokenTag(..) => false,
        Target::Link(LinkDirectory::Layers(_), digest) => is_gone(digest).unwrap_or_else(|error| {
            failed = Some(error);
            false
        }),
        Target::Tag(..) | Target::Link(..) | Target::Blob(_) | Target::Upload(_) => true,
    });
    failed.map_or(Ok(()), Err)
}

fn figures(
    settings: &CollectSettings,
    inventory: &Inventory,
    marks: &[Marks],
    blobs: &BlobMarks,
    plan: &SweepPlan,
    shares: BTreeMap<RepositoryName, RepositoryShare>,
) -> Figures {
    let mut counts = Counts::default();
    for marks in marks {
        counts += marks.counts;
    }
    Figures {
        repositories: marks.len() as u64,
        held_repositories: marks.iter().filter(|marks| marks.held).count() as u64,
        counts,
        going_uploads: if counts.stale_uploads.count == 0 { Amount::default() } else { plan.uploads() },
        blobs: inventory.len() as u64 - blobs.quarantined - blobs.without_data,
        live: blobs.live,
        young: blobs.young,
        restorable: blobs.restorable,
        waiting: blobs.waiting.clone(),
        planned: plan.totals(),
        delete_untagged_in_addition: match settings.roots {
            _ if settings.drops_tags() || !settings.scope.is_whole() => None,
            RootPolicy::AllRevisions => Some(blobs.live_untagged_only),
            RootPolicy::TaggedOnly => None,
        },
        shares,
    }
}

/// All that a repository names by now, to any depth: what must stay of a store in which it was seen to change.
///
/// # Errors
///
/// When something in it cannot be read.
pub(super) fn named_now(
    reader: &Reader<'_>,
    overlay: &Overlay<'_>,
    inventory: &Inventory,
    name: &RepositoryName,
) -> Result<Vec<Digest>, Error> {
    reconcile::look(true, || {
        interrupted(reader.stop)?;
        let entry = overlay.repositories()?.entries.into_iter().find(|entry| entry.name == *name);
        let Some(entry) = entry else { return Ok(Vec::new()) };
        let survey = survey::survey(overlay, &entry)?;
        mark::everything_named(overlay, inventory, &survey)
    })
}

/// Whether somebody wants the run to end.
pub(super) fn is_stopped(reader: &Reader<'_>) -> bool {
    reader.stop.load(Ordering::Relaxed)
}
