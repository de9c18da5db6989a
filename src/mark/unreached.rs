//! Inspects every unreached link of a repository, and either keeps it or plans its deletion.

use std::time::SystemTime;

use super::Waiting;
use super::depths::revision_depths;
use super::held::keep_history;
use super::inspect::{self, DroppedTag, HistoryNames, SeenHistory, SeenLayer, SeenRevision};
use super::reach::Reach;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, TagName};
use crate::plan::{Decision, Deletion, Deletions, Inspected, KeepReason, LayerFacts, LinkSays, Reason, TagFacts, decide};
use crate::store::{LinkContent, Stat};
use crate::survey::{ANSWERS_AT_ONCE, Survey};

/// The result for the unreached links.
#[derive(Default)]
pub(super) struct Unreached {
    pub(super) deletions: Deletions,
    pub(super) findings: Vec<Finding>,
    pub(super) young_layer_links: u64,
    /// What young links name that is in quarantine, and when they were written.
    pub(super) young_names: Vec<(Digest, SystemTime)>,
    pub(super) waiting: Waiting,
    /// Whether a link cannot be understood. Nothing is deleted from then on.
    pub(super) held: bool,
}

/// A layer link that is deleted unless it is reached under another name. Holds only the facts needed for that.
struct OldLayer {
    /// Its place in the survey.
    place: u32,
    /// The place of its directory's digest in the inventory.
    blob: Option<BlobId>,
    /// The digest in the link, if it is another one.
    alias_of: Option<Box<Digest>>,
    stat: Stat,
}

impl OldLayer {
    fn new(seen: SeenLayer) -> Option<OldLayer> {
        let SeenLayer { place, digest, blob, canonical, stat, .. } = seen;
        Some(OldLayer { place, blob, alias_of: (canonical != digest).then(|| Box::new(canonical)), stat: stat? })
    }
}

/// The entries that a walk left to judge.
#[derive(Default)]
pub(super) struct Left {
    /// Tags that the retention drops.
    pub(super) tags: Vec<DroppedTag>,
    /// Deleted revisions with their reasons, sorted.
    pub(super) revisions: Vec<(SeenRevision, Reason)>,
    /// The inspected history entries of untagged revisions, per tag.
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
        let mut unreached = Unreached::default();
        unreached.keep_layers(survey, context, reach)?;
        keep_history(survey, context)?;
        return Ok(unreached);
    }
    let mut unreached = Unreached::default();
    unreached.layers(survey, context, reach)?;
    unreached.revisions(survey, context, left, readings)?;
    unreached.tags(survey, context, reach, left)?;
    Ok(unreached)
}

impl Unreached {
    /// Marks what the layer links of a repository lead to that nothing is to go of: what is there is served. What cannot be understood holds it
    /// as it holds any other.
    fn keep_layers(&mut self, survey: &Survey<'_>, context: &Context<'_>, reach: &mut Reach<'_>) -> Result<(), Error> {
        let directory = LinkDirectory::Layers(survey.name.clone());
        for some in inspect::unreached_layers(survey, context, reach).chunks(ANSWERS_AT_ONCE) {
            for layer in inspect::layers(survey, context, some)? {
                match decide::layer(&layer.facts) {
                    Decision::Keep(KeepReason::Absent) => {}
                    Decision::Keep(KeepReason::Unclear(code)) => self.unclear(survey, &directory, &layer.digest, code),
                    _ => mark_both(reach, &layer, MarkFlags::LIVE),
                }
            }
        }
        Ok(())
    }

    fn layers(&mut self, survey: &Survey<'_>, context: &Context<'_>, reach: &mut Reach<'_>) -> Result<(), Error> {
        let directory = LinkDirectory::Layers(survey.name.clone());
        let mut old: Vec<OldLayer> = Vec::new();
        // Inspected links take more memory than the facts kept, and a push may create very many.
        for some in inspect::unreached_layers(survey, context, reach).chunks(ANSWERS_AT_ONCE) {
            for layer in inspect::layers(survey, context, some)? {
                match decide::layer(&layer.facts) {
                    Decision::Delete(_) => old.extend(OldLayer::new(layer)),
                    Decision::Keep(KeepReason::Protected) => mark_both(reach, &layer, MarkFlags::RESTORABLE),
                    Decision::Keep(KeepReason::Young(age)) => {
                        self.waiting.note(age, || directory.link(&layer.digest));
                        self.young_layer_links += 1;
                        self.note_young(context, &layer.digest, layer.stat);
                        if layer.canonical != layer.digest {
                            self.note_young(context, &layer.canonical, layer.stat);
                        }
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
        // Only now are all other names reached.
        for OldLayer { place, blob, alias_of, stat } in old {
            let digest = survey.layers[place as usize];
            let named = alias_of.as_deref().map_or(blob, |canonical| context.inventory.find(canonical));
            let has = |flags| [blob, named].into_iter().flatten().any(|blob| context.inventory.has_any(blob, flags));
            let facts = LayerFacts {
                says: LinkSays::Digest,
                protected: has(MarkFlags::PROTECTED),
                reached: reach.has_reached(&digest, blob)
                    || alias_of.as_deref().is_some_and(|canonical| reach.has_reached(canonical, named)),
                foreign: has(MarkFlags::FOREIGN),
                inspected: Inspected::File(context.policy.age(&stat)),
                held: self.held,
            };
            let Decision::Delete(reason) = decide::layer(&facts) else { continue };
            // An alias marks its canonical digest as well.
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

    /// The dropped tags, and the histories of all tags.
    fn tags(&mut self, survey: &Survey<'_>, context: &Context<'_>, reach: &mut Reach<'_>, left: &Left) -> Result<(), Error> {
        let names = HistoryNames::new(survey, &left.revisions, &left.seen_history, &left.tags);
        for (place, tag) in survey.tags.iter().enumerate() {
            let dropped = DroppedTag::at(&left.tags, place);
            if let Some(DroppedTag { current: Some((current, stat)), facts, .. }) = dropped
                && let Decision::Delete(reason) = decide::tag(&TagFacts { held: self.held, ..*facts })
            {
                self.drop_named(context, tag_target(survey, &tag.name, *current), *stat, reason, 0);
            }
            if tag.is_empty {
                self.directory(context, Target::EmptyTag(survey.name.clone(), tag.name.clone()))?;
            }
            let directory = LinkDirectory::History(survey.name.clone(), tag.name.clone());
            for mut entry in names.inspect(place, dropped.and_then(DroppedTag::goes), context)? {
                let digest = entry.digest;
                entry.facts.held = self.held;
                match (decide::history(&entry.facts), entry.stat) {
                    (Decision::Delete(reason), Some(stat)) => {
                        self.drop_named(context, Target::Link(directory.clone(), digest), stat, reason, 0);
                    }
                    // A blob is deleted only if every link to it is old.
                    (Decision::Keep(KeepReason::Young(age)), stat) => {
                        self.waiting.note(age, || directory.link(&digest));
                        self.note_young(context, &digest, stat);
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

    /// Deletes an entry that names a digest.
    pub(super) fn drop_named(&mut self, context: &Context<'_>, target: Target, stat: Stat, reason: Reason, depth: u32) {
        let blob = target.digest().and_then(|digest| context.inventory.find(digest));
        self.drop_link(context, blob, &Deletion { target, stat, alias_of: None, reason, depth });
    }

    /// Deletes a link. `blob` is the place of its digest in the inventory.
    pub(super) fn drop_link(&mut self, context: &Context<'_>, blob: Option<BlobId>, row: &Deletion) {
        // If the repository becomes held after this, its content is marked live, and the deletion reason of a live blob
        // is never used.
        if let Some(blob) = blob {
            context.inventory.mark(blob, MarkFlags::LINK_DROPPED);
        }
        self.deletions.push(context.inventory, row);
    }

    pub(super) fn directory(&mut self, context: &Context<'_>, target: Target) -> Result<(), Error> {
        let (mut facts, stat) = inspect::directory(&target, context)?;
        facts.held = self.held;
        if let (Decision::Delete(reason), Some(stat)) = (decide::directory(&facts), stat) {
            // A tag's after those in it.
            let depth = u32::from(matches!(target, Target::EmptyTag(..)));
            self.deletions.push(context.inventory, &Deletion { target, stat, alias_of: None, reason, depth });
        }
        Ok(())
    }

    /// Notes that a young link names something, if that is in quarantine.
    fn note_young(&mut self, context: &Context<'_>, digest: &Digest, stat: Option<Stat>) {
        let blob = context.inventory.find(digest);
        if let Some(stat) = stat
            && blob.is_some_and(|blob| context.inventory.has_any(blob, MarkFlags::QUARANTINED))
        {
            self.young_names.push((*digest, stat.modified));
        }
    }

    fn unclear(&mut self, survey: &Survey<'_>, directory: &LinkDirectory, digest: &Digest, code: Code) {
        self.held = true;
        let mut finding = Finding::new(code).repository(&survey.name).digest(digest).path(directory.link(digest));
        finding.tag = directory.tag().cloned();
        self.findings.push(finding);
    }
}

/// A tag's `current/link` that is a file, by what it says.
pub(super) fn tag_target(survey: &Survey<'_>, tag: &TagName, current: LinkContent) -> Target {
    match current {
        LinkContent::Digest(digest) => Target::Tag(survey.name.clone(), tag.clone(), digest),
        _ => Target::BrokenTag(survey.name.clone(), tag.clone()),
    }
}

/// Marks the target of a layer link, by both names.
fn mark_both(reach: &mut Reach<'_>, layer: &SeenLayer, flags: MarkFlags) {
    reach.mark_alone(&layer.digest, flags);
    reach.mark_alone(&layer.canonical, flags);
}
