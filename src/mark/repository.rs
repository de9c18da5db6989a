//! Marks one repository: its roots, everything that they reach, and the rest.

use foldhash::HashSet;
use rayon::prelude::*;

use super::choices::Choices;
use super::held::{keep_everything, mark_all_names};
use super::inspect::{DroppedTag, SeenRevision, dropped_tags, untagged_revisions};
use super::reach::{Reach, Role};
use super::roots::{Roots, has_old_revision, has_old_tag, oddities, protected};
use super::unreached::{Left, unreached};
use super::uploads;
use super::whole::{Going, Whole, beside, itself, whole};
use super::{Counts, Marks, Waiting};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held, Reading};
use crate::inventory::MarkFlags;
use crate::layout::{self, LinkDirectory};
use crate::oci::Digest;
use crate::plan::{Decision, Deletions, Inspected, KeepReason, RevisionFacts, RootChoice, decide};
use crate::store::{FileState, LinkContent, Shape, StrayKind};
use crate::survey::{Revision, Survey, Tag};

/// Kept with `--delete-untagged` too.
const TAGGED: MarkFlags = MarkFlags::LIVE.union(MarkFlags::TAGGED);

/// Marks the content that one repository keeps.
///
/// # Errors
///
/// When an existing link or manifest cannot be read: its references are then unknown, and nothing may be removed
/// anywhere.
pub fn mark(survey: &Survey<'_>, context: &Context<'_>) -> Result<Marks, Error> {
    let mut findings = Vec::new();
    let mut held = oddities(survey, &mut findings);
    let mut stays = None;
    let readings = readings(survey, context)?;
    if !held && context.retention.drops_repository(survey) {
        match whole(survey, context, &readings)? {
            Whole::Goes(going) => return marks_of_whole(survey, context, going, findings),
            Whole::Stays(why) => stays = Some(why),
        }
    }
    let choices = Choices::new(survey, context, &readings)?;
    let dropped = dropped_tags(survey, context, &choices)?;
    let roots = Roots::of(survey, &dropped, &mut held, &mut findings);
    let mut reach = Reach::new(context, survey, &readings)?;
    let reached = Reached::by(roots, (survey, context, &choices), &mut reach, dropped, held)?;
    held |= reached.is_held || reach.has_fault();

    let [restorable, young] = if held { [Vec::new(), Vec::new()] } else { [reached.restorable, reached.young] };
    let (young_revisions, restorable_revisions) = (young.len() as u64, restorable.len() as u64);
    let mut counts = Counts { young_revisions, restorable_revisions, ..counted(survey) };
    let is_lost = |(revision, reading): &(&Revision, &Held<'_>)| revision.link != LinkContent::Absent && reading.is_absent();
    counts.lost_revisions = survey.revisions.iter().zip(&readings).filter(is_lost).count() as u64;
    let (mut waiting, mut young_names) = (reached.waiting, Vec::new());
    let mut deletions = Deletions::default();
    let mut flags = if reached.is_held_untagged { TAGGED } else { MarkFlags::LIVE };
    if !held {
        let unreached = unreached(survey, context, &mut reach, &reached.left, &readings)?;
        if unreached.held {
            held = true;
            flags = TAGGED;
        }
        counts.young_layer_links = unreached.young_layer_links;
        waiting += unreached.waiting;
        young_names = unreached.young_names;
        findings.extend(unreached.findings);
        deletions = unreached.deletions;
    }
    if held {
        waiting = Waiting::default();
        deletions = Deletions::default();
        keep_everything(survey, &mut reach, flags)?;
        let is_faulty = reached.is_held || reach.has_fault();
        if survey.foreign.is_none() || is_faulty || findings.iter().any(|finding| finding.code.is_of_held_name()) {
            let directory = layout::repository_directory(&survey.name);
            findings.push(Finding::new(Code::HeldRepository).repository(&survey.name).path(directory));
        }
    }
    let names_going = deletions.len();
    let is_mixed = uploads::uploads(survey, context, held, (&mut counts, &mut deletions, &mut findings))?;
    if !held && !is_mixed && context.policy.prunes_empty && context.retention.touches(survey) && names_going == names(survey) {
        prune_empty(survey, context, &counts, &mut deletions)?;
    }
    count_old(survey, context, &mut counts)?;
    let is_needed = |digest: &&Digest| held || reach.has_reached(digest, context.inventory.find(digest));
    let needed = survey.queried.iter().filter(is_needed).copied().collect();
    findings.extend(reach.into_findings());
    findings.extend(waiting.finding().map(|finding| finding.repository(&survey.name)));
    let symlinks = survey.strays.iter().filter(|stray| stray.kind == StrayKind::Symlink).map(|stray| stray.path.clone());
    Ok(Marks {
        repository: survey.name.clone(),
        held,
        stays,
        may_lack_manifests: !survey.layers.is_empty()
            && reached.left.revisions.is_empty()
            && survey.revisions.iter().all(|revision| revision.link != LinkContent::Absent),
        deletions,
        findings,
        symlinks: symlinks.collect(),
        counts,
        waiting,
        restorable,
        young,
        needed,
        young_names,
    })
}

/// What comes of a repository that goes as a whole.
fn marks_of_whole(survey: &Survey<'_>, context: &Context<'_>, going: Going, mut findings: Vec<Finding>) -> Result<Marks, Error> {
    let Going { deletions, findings: left, uploads } = going;
    findings.extend(left);
    let mut counts = Counts { uploads, stale_uploads: uploads, ..counted(survey) };
    count_old(survey, context, &mut counts)?;
    Ok(Marks {
        repository: survey.name.clone(),
        held: false,
        stays: None,
        may_lack_manifests: false,
        deletions,
        findings,
        symlinks: Vec::new(),
        counts,
        waiting: Waiting::default(),
        restorable: Vec::new(),
        young: Vec::new(),
        needed: Vec::new(),
        young_names: Vec::new(),
    })
}

/// How many names a repository has, each of which goes as one row: links, and directories of digests and tags that have lost theirs.
fn names(survey: &Survey<'_>) -> usize {
    let of_tag = |tag: &Tag| usize::from(tag.current != LinkContent::Absent || tag.is_empty) + tag.history.len();
    survey.layers.len() + survey.revisions.len() + survey.tags.iter().map(of_tag).sum::<usize>()
}

/// Lets the directories of a repository go whose names all go, if nothing else is in it.
fn prune_empty(survey: &Survey<'_>, context: &Context<'_>, counts: &Counts, deletions: &mut Deletions) -> Result<(), Error> {
    let is_clean = survey.strays.is_empty() && counts.uploads == counts.stale_uploads;
    if !is_clean || survey.awaited().next().is_some() || !beside(survey)?.is_empty() {
        return Ok(());
    }
    // A push may have made them, and what it puts there comes next.
    if let Some(row) = itself(survey, context)?.filter(|row| !context.policy.is_young(&row.stat)) {
        deletions.push(context.inventory, &row);
    }
    Ok(())
}

/// Counts what brakes compare: whether anything in it is old, or was there at the last run.
fn count_old(survey: &Survey<'_>, context: &Context<'_>, counts: &mut Counts) -> Result<(), Error> {
    let evidence = context.policy.of_evidence();
    let is_old = |state: &FileState| matches!(state, FileState::File(stat) if !evidence.is_young(stat));
    let (mut is_any_revision_old, mut is_any_tag_old) = (false, false);
    if context.retention.drops_untagged(survey) {
        (is_any_revision_old, is_any_tag_old) = (has_old_revision(survey, &is_old)?, has_old_tag(survey, &is_old)?);
        counts.with_old_revisions = u64::from(is_any_revision_old);
        counts.untagged_repositories = u64::from(is_any_revision_old && !is_any_tag_old);
    }
    if let Some(last_run) = survey.last_run {
        let was_there = |state: &FileState| is_old(state) || matches!(state, FileState::File(stat) if stat.modified < last_run);
        // An old revision existed then.
        counts.with_known_revisions = u64::from(is_any_revision_old || has_old_revision(survey, &was_there)?);
        counts.with_known_tags = u64::from(is_any_tag_old || has_old_tag(survey, &was_there)?);
    }
    Ok(())
}

/// The readings of the revisions, in the survey's order.
fn readings<'a>(survey: &Survey<'_>, context: &Context<'a>) -> Result<Vec<Held<'a>>, Error> {
    let read = |revision: &Revision| {
        Ok(context.manifests.hold(match revision.link {
            LinkContent::Absent => Reading::Absent,
            _ => context.manifests.read_revision(&revision.digest)?,
        }))
    };
    // A file is read in less time than it takes to give it to another thread; a server lets each wait.
    let together = match context.store.shape() {
        Shape::Tree => 64,
        Shape::Keys => 1,
    };
    survey.revisions.par_iter().with_min_len(together).map(read).collect()
}

fn counted(survey: &Survey<'_>) -> Counts {
    Counts {
        tags: survey.tags.iter().filter(|tag| tag.is_tag()).count() as u64,
        revisions: survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent).count() as u64,
        history_entries: survey.tags.iter().map(|tag| tag.history.len() as u64).sum(),
        layer_links: survey.layers.len() as u64,
        ..Counts::default()
    }
}

/// The result of walking from the roots.
#[derive(Default)]
struct Reached {
    /// Whether the repository is held because of the walk.
    is_held: bool,
    /// Whether it would be held with `--delete-untagged`, given or not.
    is_held_untagged: bool,
    /// The entries left to judge.
    left: Left,
    /// The revisions kept because they are young.
    young: Vec<Digest>,
    /// The revisions kept for what is in quarantine.
    restorable: Vec<Digest>,
    waiting: Waiting,
}

impl Reached {
    /// Marks the content that the retention keeps, everything reached from there, and everything too young to drop.
    /// Flags the part that `--delete-untagged` would keep.
    fn by(
        mut roots: Roots,
        (survey, context, choices): (&Survey<'_>, &Context<'_>, &Choices<'_>),
        reach: &mut Reach<'_>,
        dropped: Vec<DroppedTag>,
        held: bool,
    ) -> Result<Reached, Error> {
        let drops_untagged = choices.drops_untagged();
        let choose = |digest: &Digest| choices.untagged(digest);
        let is_root = |digest: &Digest| matches!(choose(digest), RootChoice::Root(_));
        reach.walk(roots.tags, TAGGED)?;
        let is_held = drops_untagged && reach.lacks_tag_target();
        let is_held_untagged = held || reach.has_fault() || reach.lacks_tag_target();
        let mut reached = Reached { is_held, is_held_untagged, ..Reached::default() };
        reached.left.tags = dropped;
        if drops_untagged && is_held_untagged {
            return Ok(reached);
        }
        let mut untagged = Vec::new();
        if !is_held_untagged && (drops_untagged || survey.may_have_young_revisions(&context.policy)?) {
            (untagged, reached.left.seen_history) = untagged_revisions(survey, context, reach, &choose)?;
            // `--delete-untagged` keeps young revisions, so they do not count as freed by it.
            let young = untagged.iter().filter(|revision| revision.is_young() && is_root(&revision.digest));
            reach.walk(young.map(root).collect(), TAGGED)?;
        }
        roots.revisions.retain(|(digest, _)| is_root(digest));
        reach.walk(roots.revisions, if is_held_untagged { TAGGED } else { MarkFlags::LIVE })?;
        if drops_untagged {
            // The registry follows a symbolic link and serves its target. The subjects of that are unknown here.
            reach.walk(reach.always_kept(), MarkFlags::LIVE)?;
        }
        reached.keep_young(&untagged, survey, reach)?;
        let left = keep_restorable(&untagged, survey, reach)?;
        if is_held_untagged {
            mark_all_names(survey, context, MarkFlags::TAGGED);
        }
        let going = untagged.into_iter().filter_map(|mut revision| {
            revision.facts.reached = reach.has_visited(&revision.digest);
            match decide::revision(&revision.facts) {
                Decision::Delete(reason) => Some((revision, reason)),
                Decision::Keep(_) => None,
            }
        });
        reached.left.revisions = going.collect();
        reached.restorable = left.into_iter().filter(|digest| reach.has_visited(digest)).collect();
        Ok(reached)
    }

    /// Keeps dropped revisions that are too young to delete, or were restored lately.
    fn keep_young(&mut self, untagged: &[SeenRevision], survey: &Survey<'_>, reach: &mut Reach<'_>) -> Result<(), Error> {
        let is_kept = |revision: &&SeenRevision| match decide::revision(&revision.facts) {
            Decision::Keep(KeepReason::Young(_)) => true,
            Decision::Keep(KeepReason::Protected) => revision.is_young() || survey.restored.contains(&revision.digest),
            _ => false,
        };
        let young: Vec<&SeenRevision> = untagged.iter().filter(is_kept).collect();
        reach.walk(young.iter().copied().map(root).collect(), MarkFlags::YOUNG)?;
        let directory = LinkDirectory::Revisions(survey.name.clone());
        for revision in &young {
            if let Inspected::File(age) = revision.facts.inspected {
                self.waiting.note(age, || directory.link(&revision.digest));
            }
        }
        for tag in &self.left.tags {
            if let Decision::Keep(KeepReason::Young(age)) = decide::tag(&tag.facts) {
                self.waiting.note(age, || layout::current_link(&survey.name, &survey.tags[tag.place].name));
            }
        }
        self.young = young.iter().map(|revision| revision.digest).collect();
        Ok(())
    }
}

/// Keeps what may yet be restored whole, by what is in quarantine. What follows a tag there goes after it, if nothing else keeps it. Returns the
/// dropped revisions that nothing but that could keep.
fn keep_restorable(untagged: &[SeenRevision], survey: &Survey<'_>, reach: &mut Reach<'_>) -> Result<Vec<Digest>, Error> {
    let goes = |revision: &&SeenRevision| {
        let facts = RevisionFacts { protected: false, reached: reach.has_visited(&revision.digest), ..revision.facts };
        matches!(decide::revision(&facts), Decision::Delete(_))
    };
    let left: Vec<&SeenRevision> = untagged.iter().filter(goes).collect();
    let is_protected = |revision: &&SeenRevision| revision.facts.protected;
    reach.walk(left.iter().copied().filter(is_protected).map(root).collect(), MarkFlags::RESTORABLE)?;
    let left: Vec<Digest> = left.into_iter().map(|revision| revision.digest).collect();
    let follows: HashSet<&Digest> = survey.followers.iter().filter(|digest| left.binary_search(digest).is_ok()).collect();
    let stay = protected(survey).into_iter().filter(|(digest, _)| !follows.contains(digest));
    reach.walk(stay.collect(), MarkFlags::RESTORABLE)?;
    Ok(left)
}

fn root(revision: &SeenRevision) -> (Digest, Role) {
    (revision.digest, Role::Revision)
}
