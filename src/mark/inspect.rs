//! Reads the state of unreached links: the only reads between walking and deciding. Returns facts.
//!
//! Only links that nothing needs are opened: this tool does not verify that needed ones exist.

use foldhash::HashSet;

use super::choices::Choices;
use super::reach::Reach;
use super::roots::judge_revision;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, judge_link};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::{LinkDirectory, Target};
use crate::oci::Digest;
use crate::plan::{
    Decision, DirectoryFacts, HistoryFacts, HistoryRevision, Inspected, KeepReason, LayerFacts, LinkSays, Reason, RevisionFacts,
    RootChoice, TagFacts, decide,
};
use crate::store::{FileState, LinkContent, Stat};
use crate::survey::{Survey, in_chunks};

/// A tag that the retention drops.
pub(super) struct DroppedTag {
    /// Its place in the survey.
    pub(super) place: usize,
    /// What is in its `current/link`, if that is a file, and the file's state.
    pub(super) current: Option<(LinkContent, Stat)>,
    pub(super) facts: TagFacts,
}

impl DroppedTag {
    /// The dropped tag at a place in the survey.
    pub(super) fn at(dropped: &[DroppedTag], place: usize) -> Option<&DroppedTag> {
        dropped.binary_search_by_key(&place, |tag| tag.place).ok().map(|found| &dropped[found])
    }

    /// Why its history is deleted; `None` if the tag stays.
    pub(super) fn goes(&self) -> Option<Reason> {
        match (self.facts.choice, decide::tag(&self.facts)) {
            (_, Decision::Delete(reason)) => Some(reason),
            // An earlier run or the registry has already removed its link.
            (RootChoice::Dropped(reason), Decision::Keep(KeepReason::Absent)) => Some(reason),
            (_, Decision::Keep(_)) => None,
        }
    }
}

/// Inspects the links of the tags that the retention drops; usually there are none.
pub(super) fn dropped_tags(survey: &Survey<'_>, context: &Context<'_>, choices: &Choices<'_>) -> Result<Vec<DroppedTag>, Error> {
    let dropped = choices.tags().into_iter().enumerate().filter(|(place, choice)| {
        matches!(choice, RootChoice::Dropped(_)) && !survey.restored_tags.contains(&survey.tags[*place].name)
    });
    dropped
        .map(|(place, choice)| {
            let tag = &survey.tags[place];
            let state = match tag.current {
                LinkContent::Absent => FileState::Absent,
                LinkContent::Irregular => FileState::Irregular,
                LinkContent::Digest(_) | LinkContent::Empty | LinkContent::Garbled => survey.repository.stat_tag(&tag.name)?,
            };
            let current = match state {
                FileState::File(stat) => Some((tag.current, stat)),
                FileState::Absent | FileState::Irregular => None,
            };
            let inspected = Inspected::new(&state, &context.policy);
            Ok(DroppedTag { place, current, facts: TagFacts { choice, inspected, held: false } })
        })
        .collect()
}

/// A revision that no kept tag reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenRevision {
    pub(super) digest: Digest,
    pub(super) stat: Stat,
    pub(super) facts: RevisionFacts,
}

impl SeenRevision {
    /// Whether it is too young, whether or not it is a root.
    pub(super) fn is_young(&self) -> bool {
        matches!(self.facts.inspected, Inspected::File(age) if age.is_young())
    }
}

/// The inspected history of one tag, sorted.
pub(super) type SeenHistory = Vec<(Digest, FileState)>;

/// Inspects the unreached revisions, and their entries in tag histories.
pub(super) fn untagged_revisions(
    survey: &Survey<'_>,
    context: &Context<'_>,
    reach: &Reach<'_>,
    choose: &dyn Fn(&Digest) -> RootChoice,
) -> Result<(Vec<SeenRevision>, Vec<SeenHistory>), Error> {
    let (places, digests): (Vec<usize>, Vec<Digest>) = survey
        .revisions
        .iter()
        .enumerate()
        .filter(|(_, revision)| matches!(judge_revision(&revision.digest, revision.link), LinkVerdict::Names(_)))
        .map(|(place, revision)| (place, revision.digest))
        .filter(|(_, digest)| !reach.has_visited(digest))
        .unzip();
    let states = stat_links(survey, &LinkDirectory::Revisions(survey.name.clone()), &digests)?;
    let mut revisions: Vec<SeenRevision> = Vec::with_capacity(digests.len());
    for ((place, digest), state) in places.into_iter().zip(digests).zip(states) {
        let choice = choose(&digest);
        let facts = RevisionFacts {
            reached: false,
            choice,
            // A root needs no protection.
            protected: matches!(choice, RootChoice::Dropped(_)) && survey.protected.contains(&digest),
            always_root: reach.is_always_kept(place),
            inspected: Inspected::new(&state, &context.policy),
            held: false,
        };
        // A missing link is already decided.
        if let FileState::File(stat) = state {
            revisions.push(SeenRevision { digest, stat, facts });
        }
    }
    // A revision is not deleted before its history, and young history is not deleted (G2).
    let mut seen = Vec::with_capacity(survey.tags.len());
    for tag in &survey.tags {
        let (places, named): (Vec<usize>, Vec<Digest>) =
            tag.history.iter().filter_map(|digest| Some((place_of(&revisions, digest)?, *digest))).unzip();
        let states = stat_links(survey, &LinkDirectory::History(survey.name.clone(), tag.name.clone()), &named)?;
        for (place, state) in places.into_iter().zip(&states) {
            let inspected = &mut revisions[place].facts.inspected;
            if let (FileState::File(stat), Inspected::File(age)) = (state, *inspected) {
                *inspected = Inspected::File(age.and(context.policy.age(stat)));
            }
        }
        seen.push(named.into_iter().zip(states).collect());
    }
    Ok((revisions, seen))
}

/// The index of a revision in a sorted list.
fn place_of(revisions: &[SeenRevision], digest: &Digest) -> Option<usize> {
    revisions.binary_search_by(|revision| revision.digest.cmp(digest)).ok()
}

/// A layer link that was not reached by its own name.
pub(super) struct SeenLayer {
    /// Its place in the survey.
    pub(super) place: u32,
    pub(super) digest: Digest,
    /// Its place in the inventory.
    pub(super) blob: Option<BlobId>,
    /// The digest in the link; another one if it is an alias.
    pub(super) canonical: Digest,
    /// The state of its file, if it exists.
    pub(super) stat: Option<Stat>,
    pub(super) facts: LayerFacts,
}

/// The layer links that were not reached by their own names, as places in the survey and in the inventory.
pub(super) fn unreached_layers(survey: &Survey<'_>, context: &Context<'_>, reach: &Reach<'_>) -> Vec<(u32, Option<BlobId>)> {
    let layers = survey.layers.iter().zip(0..).map(|(digest, place)| (digest, place, context.inventory.find(digest)));
    layers.filter(|(digest, _, blob)| !reach.has_reached(digest, *blob)).map(|(_, place, blob)| (place, blob)).collect()
}

/// Reads some of them.
pub(super) fn layers(
    survey: &Survey<'_>,
    context: &Context<'_>,
    some: &[(u32, Option<BlobId>)],
) -> Result<Vec<SeenLayer>, Error> {
    let directory = LinkDirectory::Layers(survey.name.clone());
    let digests: Vec<Digest> = some.iter().map(|(place, _)| survey.layers[*place as usize]).collect();
    let inspected = in_chunks(&digests, |some| survey.repository.inspect_links(&directory, some))?;
    let blobs = some.iter().copied();
    let seen = digests.into_iter().zip(blobs).zip(inspected).map(|((digest, (place, blob)), (content, state))| {
        let (says, canonical) = match judge_link(&digest, content) {
            LinkVerdict::Names(canonical) => (LinkSays::Digest, canonical),
            LinkVerdict::Absent => (LinkSays::Absent, digest),
            LinkVerdict::Faulty(code) => (LinkSays::Unclear(code), digest),
        };
        let named = if canonical == digest { blob } else { context.inventory.find(&canonical) };
        let has = |flags| [blob, named].into_iter().flatten().any(|blob| context.inventory.has_any(blob, flags));
        let facts = LayerFacts {
            says,
            protected: has(MarkFlags::PROTECTED),
            reached: false,
            foreign: has(MarkFlags::FOREIGN),
            inspected: Inspected::new(&state, &context.policy),
            held: false,
        };
        let stat = match state {
            FileState::File(stat) => Some(stat),
            FileState::Absent | FileState::Irregular => None,
        };
        SeenLayer { place, digest, blob, canonical, stat, facts }
    });
    Ok(seen.collect())
}

/// The facts that decide about tag history entries, beside the entry itself.
pub(super) struct HistoryNames<'a> {
    pub(super) survey: &'a Survey<'a>,
    /// Deleted revisions with their reasons, sorted.
    going: &'a [(SeenRevision, Reason)],
    /// The inspected history entries of untagged revisions, per tag.
    seen: &'a [SeenHistory],
    /// The link contents of the tags that stay.
    named_now: HashSet<LinkContent>,
}

/// A tag history entry that no name keeps.
pub(super) struct SeenEntry {
    pub(super) digest: Digest,
    pub(super) stat: Option<Stat>,
    pub(super) facts: HistoryFacts,
}

impl<'a> HistoryNames<'a> {
    pub(super) fn new(
        survey: &'a Survey<'a>,
        going: &'a [(SeenRevision, Reason)],
        seen: &'a [SeenHistory],
        dropped: &[DroppedTag],
    ) -> HistoryNames<'a> {
        let goes = |place: usize| DroppedTag::at(dropped, place).is_some_and(|tag| tag.goes().is_some());
        let kept = survey.tags.iter().enumerate().filter(|(place, _)| !goes(*place));
        HistoryNames { survey, going, seen, named_now: kept.map(|(_, tag)| tag.current).collect() }
    }

    /// Inspects the entries of one tag's history that no name keeps. `tag_goes` is the reason if the tag is deleted.
    pub(super) fn inspect(&self, place: usize, tag_goes: Option<Reason>, context: &Context<'_>) -> Result<Vec<SeenEntry>, Error> {
        let tag = &self.survey.tags[place];
        let mut entries: Vec<SeenEntry> = tag
            .history
            .iter()
            .map(|digest| SeenEntry { digest: *digest, stat: None, facts: self.facts(digest, tag_goes, context) })
            .filter(|entry| decide::history(&entry.facts) == Decision::Keep(KeepReason::NotInspected))
            .collect();
        let seen = self.seen.get(place).map_or(&[][..], Vec::as_slice);
        let seen = |digest: &Digest| seen.binary_search_by(|(seen, _)| seen.cmp(digest)).ok().map(|place| seen[place].1);
        let unseen: Vec<Digest> = entries.iter().map(|entry| entry.digest).filter(|digest| seen(digest).is_none()).collect();
        let directory = LinkDirectory::History(self.survey.name.clone(), tag.name.clone());
        let mut states = stat_links(self.survey, &directory, &unseen)?.into_iter();
        for entry in &mut entries {
            let state = seen(&entry.digest).or_else(|| states.next()).expect("each was inspected, then or now");
            entry.facts.inspected = Inspected::new(&state, &context.policy);
            if let FileState::File(stat) = state {
                entry.stat = Some(stat);
            }
        }
        Ok(entries)
    }

    /// The facts about an entry's digest.
    fn facts(&self, digest: &Digest, tag_goes: Option<Reason>, context: &Context<'_>) -> HistoryFacts {
        let going = self.going.binary_search_by(|(revision, _)| revision.digest.cmp(digest));
        let revision = match going {
            Ok(place) => HistoryRevision::Goes(self.going[place].1),
            Err(_) if self.survey.revision(digest).is_some() || self.survey.awaited().any(|awaited| awaited == digest) => {
                HistoryRevision::Stays
            }
            Err(_) => HistoryRevision::Gone,
        };
        let blob = context.inventory.find(digest);
        HistoryFacts {
            tag_goes,
            revision,
            foreign: blob.is_some_and(|blob| context.inventory.has_any(blob, MarkFlags::FOREIGN)),
            tag_target: self.named_now.contains(&LinkContent::Digest(*digest)),
            inspected: Inspected::Not,
            held: false,
        }
    }
}

/// Inspects a directory that has lost its link.
pub(super) fn directory(target: &Target, context: &Context<'_>) -> Result<(DirectoryFacts, Option<Stat>), Error> {
    let stat = context.store.empty_directory(target)?;
    Ok((DirectoryFacts { empty: stat.map(|stat| context.policy.age(&stat)), held: false }, stat))
}

fn stat_links(survey: &Survey<'_>, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
    in_chunks(digests, |some| survey.repository.stat_links(directory, some))
}
