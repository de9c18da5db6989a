//! Marks one repository: roots, what they reach, and what is left.

use rayon::prelude::*;

use super::links::{self, Candidate, SeenHistory};
use super::reach::{Reach, Role};
use super::roots::{Roots, has_old_revision, has_old_tag, oddities, protected};
use super::{Counts, Marks, Waiting};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held, Reading};
use crate::inventory::MarkFlags;
use crate::layout::{self, LinkDirectory};
use crate::oci::Digest;
use crate::plan::Deletions;
use crate::policy::RootPolicy;
use crate::store::{LinkContent, StrayKind};
use crate::survey::Survey;

/// Kept by whatever policy.
const TAGGED: MarkFlags = MarkFlags::LIVE.and(MarkFlags::TAGGED);

/// Marks what one repository keeps.
///
/// # Errors
///
/// When a link or manifest that is there cannot be read: what it keeps is then unknown, and nothing must be removed anywhere.
pub fn mark(survey: &Survey, context: &Context<'_>) -> Result<Marks, Error> {
    let mut findings = Vec::new();
    let mut held = oddities(survey, &mut findings);
    let roots = Roots::of(survey, &mut held, &mut findings);
    let readings = readings(survey, context)?;
    let mut reach = Reach::new(context, survey, &readings)?;
    let reached = match context.policy.roots {
        RootPolicy::AllRevisions => Reached::by_all_revisions(survey, context, &mut reach, roots, held)?,
        RootPolicy::TaggedOnly => Reached::by_tags(survey, context, &mut reach, roots, held)?,
    };
    held |= reached.is_held || reach.has_fault();

    let mut counts = Counts { young_revisions: reached.young, ..counted(survey) };
    let mut waiting = reached.waiting;
    let mut deletions = Deletions::default();
    let mut flags = if reached.is_held_untagged { TAGGED } else { MarkFlags::LIVE };
    if !held {
        let unreached = links::unreached(survey, context, &mut reach, &reached.candidates, &reached.seen_history, &readings)?;
        if unreached.fault {
            held = true;
            flags = TAGGED;
        }
        counts.young_layer_links = unreached.young_layer_links;
        waiting += unreached.waiting;
        findings.extend(unreached.findings);
        deletions = unreached.deletions;
    }
    if held {
        waiting = Waiting::default();
        deletions = Deletions::default();
        keep_everything(survey, context, &mut reach, flags)?;
        let directory = layout::repository_directory(&survey.name);
        findings.push(Finding::new(Code::HeldRepository).repository(&survey.name).path(directory));
    }
    if context.policy.roots == RootPolicy::TaggedOnly || survey.asks_for_old {
        let (has_old_revision, has_old_tag) = (has_old_revision(survey, context)?, has_old_tag(survey, context)?);
        counts.with_old_revisions = u64::from(has_old_revision);
        counts.with_old_tags = u64::from(has_old_tag);
        counts.untagged_repositories = u64::from(has_old_revision && !has_old_tag);
    }
    let is_needed = |digest: &&Digest| held || reach.has_reached(digest, context.inventory.find(digest));
    let needed = survey.queried.iter().filter(is_needed).copied().collect();
    findings.extend(reach.into_findings());
    findings.extend(waiting.finding().map(|finding| finding.repository(&survey.name)));
    let symlinks = survey.strays.iter().filter(|stray| stray.kind == StrayKind::Symlink).map(|stray| stray.path.clone());
    Ok(Marks {
        repository: survey.name.clone(),
        held,
        may_lack_manifests: !survey.layers.is_empty()
            && reached.candidates.is_empty()
            && survey.revisions.iter().all(|revision| revision.link != LinkContent::Absent),
        deletions,
        findings,
        symlinks: symlinks.collect(),
        counts,
        waiting,
        needed,
    })
}

/// What the revisions read as, in the survey's order.
fn readings<'a>(survey: &Survey, context: &Context<'a>) -> Result<Vec<Held<'a>>, Error> {
    let read = |revision: &crate::survey::Revision| {
        Ok(context.manifests.hold(match revision.link {
            LinkContent::Absent => Reading::Absent,
            _ => context.manifests.read_revision(&revision.digest)?,
        }))
    };
    survey.revisions.par_iter().with_min_len(64).map(read).collect()
}

fn counted(survey: &Survey) -> Counts {
    Counts {
        tags: survey.tags.iter().filter(|tag| tag.is_tag()).count() as u64,
        revisions: survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent).count() as u64,
        history_entries: survey.tags.iter().map(|tag| tag.history.len() as u64).sum(),
        layer_links: survey.layers.len() as u64,
        ..Counts::default()
    }
}

/// What came of the roots.
#[derive(Default)]
struct Reached {
    /// Whether everything here is kept for that.
    is_held: bool,
    /// Whether it would be with `--delete-untagged`, given or not.
    is_held_untagged: bool,
    /// Revisions that go, sorted.
    candidates: Vec<Candidate>,
    /// What looking at them has shown of the tags' histories.
    seen_history: Vec<SeenHistory>,
    /// Revisions that are kept for being young.
    young: u64,
    waiting: Waiting,
}

impl Reached {
    /// Everything that a revision names is kept. What `--delete-untagged` would keep of it is flagged.
    fn by_all_revisions(
        survey: &Survey,
        context: &Context<'_>,
        reach: &mut Reach<'_>,
        roots: Roots,
        held: bool,
    ) -> Result<Reached, Error> {
        reach.walk(roots.tags, TAGGED)?;
        let is_held_untagged = held || reach.has_fault() || reach.lacks_tag_target();
        let flags = if is_held_untagged { TAGGED } else { MarkFlags::LIVE };
        if !is_held_untagged {
            // What `--delete-untagged` would keep for being young is none of what it would free.
            let (untagged, _) = links::untagged_revisions(survey, context, reach)?;
            let young = untagged.iter().filter(|candidate| candidate.age.is_young());
            reach.walk(young.map(|candidate| (candidate.digest, Role::Revision)).collect(), TAGGED)?;
        }
        reach.walk(roots.revisions, flags)?;
        reach.walk(protected(survey), MarkFlags::YOUNG)?;
        if is_held_untagged {
            links::mark_all_names(survey, context, MarkFlags::TAGGED);
        }
        Ok(Reached { is_held_untagged, ..Reached::default() })
    }

    /// What tags name is kept, and what refers to that; of the other revisions what is young.
    fn by_tags(
        survey: &Survey,
        context: &Context<'_>,
        reach: &mut Reach<'_>,
        roots: Roots,
        held: bool,
    ) -> Result<Reached, Error> {
        reach.walk(roots.tags, MarkFlags::LIVE)?;
        let is_held = reach.lacks_tag_target();
        let mut reached = Reached { is_held, is_held_untagged: is_held, ..Reached::default() };
        if held || is_held || reach.has_fault() {
            return Ok(reached);
        }
        let (candidates, seen_history) = links::untagged_revisions(survey, context, reach)?;
        // The registry follows a symbolic link and serves what is behind it. What that refers to is not known here.
        reach.walk(reach.always_kept(), MarkFlags::LIVE)?;
        let (young, old): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| candidate.age.is_young() || survey.protected.contains(&candidate.digest));
        reach.walk(young.iter().map(|candidate| (candidate.digest, Role::Revision)).collect(), MarkFlags::YOUNG)?;
        reach.walk(protected(survey), MarkFlags::YOUNG)?;
        let directory = LinkDirectory::Revisions(survey.name.clone());
        for candidate in &young {
            reached.waiting.note(candidate.age, || directory.link(&candidate.digest));
        }
        (reached.young, reached.seen_history, reached.candidates) = (young.len() as u64, seen_history, old);
        reached.candidates.retain(|candidate| !reach.has_visited(&candidate.digest));
        Ok(reached)
    }
}

/// Keeps all that can be pulled from a repository in which something cannot be understood.
fn keep_everything(survey: &Survey, context: &Context<'_>, reach: &mut Reach<'_>, flags: MarkFlags) -> Result<(), Error> {
    reach.forget();
    reach.walk(Roots::everything(survey), flags)?;
    reach.walk(protected(survey), MarkFlags::YOUNG)?;
    links::mark_held_layers(survey, context, reach, flags)
}
