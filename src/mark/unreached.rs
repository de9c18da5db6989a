//! What becomes of the links of a repository that nothing reaches: each is inspected, judged, and stays or is planned to go.

use super::Waiting;
use super::depths::revision_depths;
use super::held::keep_links;
use super::inspect::{self, DroppedTag, HistoryNames, SeenHistory, SeenLayer, SeenRevision};
use super::reach::Reach;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::{LinkDirectory, Target};
use crate::oci::Digest;
use crate::plan::{Decision, Deletion, Deletions, Inspected, KeepReason, LayerFacts, LinkSays, Reason, TagFacts, decide};
use crate::store::{LinkContent, Stat};
use crate::survey::{ANSWERS_AT_ONCE, Survey};

/// What came of the links that nothing reaches.
#[derive(Default)]
pub(super) struct Unreached {
    pub(super) deletions: Deletions,
    pub(super) findings: Vec<Finding>,
    pub(super) young_layer_links: u64,
    pub(super) waiting: Waiting,
    /// Whether one of them cannot be understood. Nothing goes from then on.
    pub(super) held: bool,
}

/// A layer link that goes, unless it is reached under another name: no more of it than has to be known.
struct OldLayer {
    /// In the survey.
    place: u32,
    /// Where the inventory has the digest of its directory.
    blob: Option<BlobId>,
    /// What it says, if that is another digest.
    alias_of: Option<Box<Digest>>,
    stat: Stat,
}

impl OldLayer {
    fn new(seen: SeenLayer) -> Option<OldLayer> {
        let SeenLayer { place, digest, blob, canonical, stat, .. } = seen;
        Some(OldLayer { place, blob, alias_of: (canonical != digest).then(|| Box::new(canonical)), stat: stat? })
    }
}

/// What walking has left to be judged.
#[derive(Default)]
pub(super) struct Left {
    /// Tags that the retention drops.
    pub(super) tags: Vec<DroppedTag>,
    /// Revisions that go, sorted, each with why.
    pub(super) revisions: Vec<(SeenRevision, Reason)>,
    /// What inspecting untagged revisions has shown of each tag's history.
    pub(super) seen_history: Vec<SeenHistory>,
}

/// Judges everything in a repository that was not reached. Young layer links become roots here.
pub(super) fn unreached(
    survey: &Survey<'_>,
    context: &Context<'_>,
    reach: &mut Reach<'_>,
    left: &Left,
    readings: &[Held<'_>],
) -> Result<Unreached, Error> {
    if !context.retention.touches(survey) {
        keep_links(survey, context)?;
        return Ok(Unreached::default());
    }
    let mut unreached = Unreached::default();
    unreached.layers(survey, context, reach)?;
    unreached.revisions(survey, context, left, readings)?;
    unreached.tags(survey, context, reach, left)?;
    Ok(unreached)
}

impl Unreached {
    fn layers(&mut self, survey: &Survey<'_>, context: &Context<'_>, reach: &mut Reach<'_>) -> Result<(), Error> {
        let directory = LinkDirectory::Layers(survey.name.clone());
        let mut old: Vec<OldLayer> = Vec::new();
        // What is seen of a link takes more than what has to be known of it, and somebody may have made very many.
        for some in inspect::unreached_layers(survey, context, reach).chunks(ANSWERS_AT_ONCE) {
            for layer in inspect::layers(survey, context, some)? {
                match decide::layer(&layer.facts) {
                    Decision::Delete(_) => old.extend(OldLayer::new(layer)),
                    Decision::Keep(KeepReason::Protected) => mark_both(reach, &layer, MarkFlags::RESTORABLE),
                    Decision::Keep(KeepReason::Young(age)) => {
                        self.waiting.note(age, || directory.link(&layer.digest));
                        self.young_layer_links += 1;
                        mark_both(reach, &layer, MarkFlags::YOUNG);
                    }
                    Decision::Keep(KeepReason::Absent) => {
                        self.directory(context, Target::EmptyLinkDirectory(directory.clone(), layer.digest))?;
                    }
                    Decision::Keep(KeepReason::Unclear(code)) => self.unclear(survey, &directory, &layer.digest, code),
                    Decision::Keep(_) => {}
                }
            }
        }
        // Only now is it known what is reached under another name.
        for OldLayer { place, blob, alias_of, stat } in old {
            let digest = survey.layers[place as usize];
            let named = alias_of.as_deref().map_or(blob, |canonical| context.inventory.find(canonical));
            let has = |flags| [blob, named].into_iter().flatten().any(|blob| context.inventory.has_any(blob, flags));
            let facts = LayerFacts {
                says: LinkSays::Digest,
                protected: has(MarkFlags::PROTECTED),
                reached: reach.has_reached(&digest, blob)
                    || alias_of.as_deref().is_some_and(|canonical| reach.has_reached(canonical, named)),
                set_apart: has(MarkFlags::SET_APART),
                inspected: Inspected::File(context.policy.age(&stat)),
                held: self.held,
            };
            let Decision::Delete(reason) = decide::layer(&facts) else { continue };
            // Under another name than that of its directory, too, if it is an alias.
            if let Some(named) = named {
                context.inventory.mark(named, MarkFlags::LINK_DROPPED);
            }
            let target = Target::Link(directory.clone(), digest);
            self.drop_link(context, blob, &Deletion { target, stat, alias_of, reason, depth: 0 });
        }
        Ok(())
    }

    fn revisions(&mut self, survey: &Survey<'_>, context: &Context<'_>, left: &Left, readings: &[Held<'_>]) -> Result<(), Error> {
        let directory = LinkDirectory::Revisions(survey.name.clone());
        let going: Vec<Digest> = left.revisions.iter().map(|(revision, _)| revision.digest).collect();
        for ((revision, reason), depth) in left.revisions.iter().zip(revision_depths(survey, context, &going, readings)?) {
            let target = Target::Link(directory.clone(), revision.digest);
            self.drop_named(context, target, revision.stat, *reason, depth);
        }
        for revision in survey.revisions.iter().filter(|revision| revision.link == LinkContent::Absent) {
            self.directory(context, Target::EmptyLinkDirectory(directory.clone(), revision.digest))?;
        }
        Ok(())
    }

    /// Tags that are dropped, and the histories of all.
    fn tags(&mut self, survey: &Survey<'_>, context: &Context<'_>, reach: &mut Reach<'_>, left: &Left) -> Result<(), Error> {
        let names = HistoryNames::new(survey, &left.revisions, &left.seen_history, &left.tags);
        for (place, tag) in survey.tags.iter().enumerate() {
            let dropped = DroppedTag::at(&left.tags, place);
            if let Some(DroppedTag { current: Some((digest, stat)), facts, .. }) = dropped
                && let Decision::Delete(reason) = decide::tag(&TagFacts { held: self.held, ..*facts })
            {
                let target = Target::Tag(survey.name.clone(), tag.name.clone(), *digest);
                self.drop_named(context, target, *stat, reason, 0);
            }
            let directory = LinkDirectory::History(survey.name.clone(), tag.name.clone());
            for mut entry in names.inspect(place, dropped.and_then(DroppedTag::goes), context)? {
                let digest = entry.digest;
                entry.facts.held = self.held;
                match (decide::history(&entry.facts), entry.stat) {
                    (Decision::Delete(reason), Some(stat)) => {
                        self.drop_named(context, Target::Link(directory.clone(), digest), stat, reason, 0);
                    }
                    // A blob goes only if every link to it is old.
                    (Decision::Keep(KeepReason::Young(age)), _) => {
                        self.waiting.note(age, || directory.link(&digest));
                        reach.mark_alone(&digest, MarkFlags::YOUNG);
                    }
                    (Decision::Keep(KeepReason::Absent), _) => {
                        self.directory(context, Target::EmptyLinkDirectory(directory.clone(), digest))?;
                    }
                    (Decision::Keep(KeepReason::Unclear(code)), _) => self.unclear(survey, &directory, &digest, code),
                    (Decision::Keep(_) | Decision::Delete(_), _) => {}
                }
            }
        }
        Ok(())
    }

    /// Lets what names one digest go.
    fn drop_named(&mut self, context: &Context<'_>, target: Target, stat: Stat, reason: Reason, depth: u32) {
        let blob = context.inventory.find(target.digest());
        self.drop_link(context, blob, &Deletion { target, stat, alias_of: None, reason, depth });
    }

    /// Lets a link go. `blob` is where the inventory has the digest that it is named by.
    fn drop_link(&mut self, context: &Context<'_>, blob: Option<BlobId>, row: &Deletion) {
        // Should the repository be held yet, all that it links is marked live, and why a blob goes is asked of none of it.
        if let Some(blob) = blob {
            context.inventory.mark(blob, MarkFlags::LINK_DROPPED);
        }
        self.deletions.push(context.inventory, row);
    }

    fn directory(&mut self, context: &Context<'_>, target: Target) -> Result<(), Error> {
        let (mut facts, stat) = inspect::directory(&target, context)?;
        facts.held = self.held;
        if let (Decision::Delete(reason), Some(stat)) = (decide::directory(&facts), stat) {
            self.deletions.push(context.inventory, &Deletion { target, stat, alias_of: None, reason, depth: 0 });
        }
        Ok(())
    }

    fn unclear(&mut self, survey: &Survey<'_>, directory: &LinkDirectory, digest: &Digest, code: Code) {
        self.held = true;
        let mut finding = Finding::new(code).repository(&survey.name).digest(digest).path(directory.link(digest));
        finding.tag = directory.tag().cloned();
        self.findings.push(finding);
    }
}

/// Marks what a layer link leads to, by either name.
fn mark_both(reach: &mut Reach<'_>, layer: &SeenLayer, flags: MarkFlags) {
    reach.mark_alone(&layer.digest, flags);
    reach.mark_alone(&layer.canonical, flags);
}
