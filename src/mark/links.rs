//! The links of a repository that nothing reaches: how old they are, and what becomes of them.
//!
//! Only links that nothing needs are opened and looked at: that a needed one is there is not this tool's to prove.

use foldhash::{HashMap, HashSet};
use rayon::prelude::*;

use super::Waiting;
use super::reach::{Reach, Role};
use super::roots::judge_revision;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held, LinkVerdict, Reading, judge_link};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Algorithm, Digest};
use crate::plan::{Deletion, Deletions, Reason};
use crate::policy::Age;
use crate::store::{FileState, LinkContent, Stat};
use crate::survey::{self, Survey, in_chunks};

/// A revision that no tag reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) digest: Digest,
    pub(super) stat: Stat,
    /// Of its link and of those in the history of tags, together.
    pub(super) age: Age,
}

/// What was seen of the history of one tag, sorted.
pub(super) type SeenHistory = Vec<(Digest, FileState)>;

/// Looks at the revisions that were not reached, and at what the tags' histories have of them.
pub(super) fn untagged_revisions(
    survey: &Survey,
    context: &Context<'_>,
    reach: &Reach<'_>,
) -> Result<(Vec<Candidate>, Vec<SeenHistory>), Error> {
    let digests: Vec<Digest> = survey
        .revisions
        .iter()
        .filter(|revision| matches!(judge_revision(&revision.digest, revision.link), LinkVerdict::Names(_)))
        .map(|revision| revision.digest)
        .filter(|digest| !reach.has_visited(digest))
        .collect();
    let leaves = stat_links(context, &LinkDirectory::Revisions(survey.name.clone()), &digests)?;
    let mut candidates: Vec<Candidate> = digests
        .iter()
        .zip(leaves)
        .filter_map(|(&digest, leaf)| match leaf {
            FileState::File(stat) => Some(Candidate { digest, stat, age: context.policy.age(&stat) }),
            // It was there when it was read: somebody is at work, and what he leaves is for the next run.
            FileState::Absent | FileState::Irregular => None,
        })
        .collect();
    // A revision cannot go before its history, and young history does not go (G2).
    let mut seen = Vec::with_capacity(survey.tags.len());
    for tag in &survey.tags {
        let (places, named): (Vec<usize>, Vec<Digest>) = tag
            .history
            .iter()
            .filter_map(|digest| {
                let place = candidates.binary_search_by(|candidate| candidate.digest.cmp(digest)).ok()?;
                Some((place, *digest))
            })
            .unzip();
        let leaves = stat_links(context, &LinkDirectory::History(survey.name.clone(), tag.name.clone()), &named)?;
        for (place, leaf) in places.into_iter().zip(&leaves) {
            if let FileState::File(stat) = leaf {
                let candidate = &mut candidates[place];
                candidate.age = candidate.age.and(context.policy.age(stat));
            }
        }
        seen.push(named.into_iter().zip(leaves).collect());
    }
    Ok((candidates, seen))
}

/// A layer link that nothing reaches, and that is old.
struct OldLayer {
    /// In the survey.
    place: u32,
    /// Where the inventory has the digest of its directory.
    blob: Option<BlobId>,
    /// What it says, if that is another digest.
    alias_of: Option<Box<Digest>>,
    stat: Stat,
}

/// What was found of the links that nothing reaches.
#[derive(Default)]
pub(super) struct Unreached {
    pub(super) deletions: Deletions,
    pub(super) findings: Vec<Finding>,
    pub(super) young_layer_links: u64,
    pub(super) waiting: Waiting,
    /// Whether one of them cannot be understood.
    pub(super) fault: bool,
}

/// Judges everything in a repository that was not reached. Young layer links become roots here. `untagged` are the revisions
/// that go, sorted, and `seen` is what their going has already shown of each tag's history.
pub(super) fn unreached(
    survey: &Survey,
    context: &Context<'_>,
    reach: &mut Reach<'_>,
    untagged: &[Candidate],
    seen: &[SeenHistory],
    readings: &[Held<'_>],
) -> Result<Unreached, Error> {
    let mut unreached = Unreached::default();
    unreached.layers(survey, context, reach)?;
    unreached.revisions(survey, context, untagged, readings)?;
    unreached.history(survey, context, reach, untagged, seen)?;
    Ok(unreached)
}

impl Unreached {
    fn layers(&mut self, survey: &Survey, context: &Context<'_>, reach: &mut Reach<'_>) -> Result<(), Error> {
        let directory = LinkDirectory::Layers(survey.name.clone());
        let unreached: Vec<(u32, Option<BlobId>)> = survey
            .layers
            .iter()
            .zip(0..)
            .map(|(digest, place)| (digest, place, context.inventory.find(digest)))
            .filter(|(digest, _, blob)| !reach.has_reached(digest, *blob))
            .map(|(_, place, blob)| (place, blob))
            .collect();
        let mut old = Vec::new();
        // What is seen of a link takes more than what has to be known of it, and somebody may have made very many.
        for some in unreached.chunks(survey::ANSWERS_AT_ONCE) {
            let digests: Vec<Digest> = some.iter().map(|(place, _)| survey.layers[*place as usize]).collect();
            let inspected = in_chunks(&digests, |some| context.store.inspect_links(&directory, some))?;
            for (&(place, blob), seen) in some.iter().zip(inspected) {
                old.extend(self.layer(survey, context, reach, &directory, (place, blob), seen)?);
            }
        }
        drop(unreached);
        // Only now is it known what is reached under another name.
        for OldLayer { place, blob, alias_of, stat } in old {
            let digest = survey.layers[place as usize];
            let named = alias_of.as_deref().map_or(blob, |canonical| context.inventory.find(canonical));
            let is_alias_reached = alias_of.as_deref().is_some_and(|canonical| reach.has_reached(canonical, named));
            if reach.has_reached(&digest, blob) || is_alias_reached {
                continue;
            }
            // What cannot go is served for as long as it is linked: names and contents stay in step.
            if [blob, named].into_iter().flatten().any(|blob| context.inventory.has_any(blob, MarkFlags::SET_APART)) {
                continue;
            }
            // Under another name than that of its directory, too, if it is an alias.
            if let Some(named) = named {
                context.inventory.mark(named, MarkFlags::LINK_DROPPED);
            }
            let target = Target::Link(directory.clone(), digest);
            self.drop_link(context, blob, Deletion { target, stat, alias_of, reason: Reason::Unreferenced, depth: 0 });
        }
        Ok(())
    }

    /// Judges one layer link that nothing reaches: what is left of it to be decided, if it is old.
    fn layer(
        &mut self,
        survey: &Survey,
        context: &Context<'_>,
        reach: &mut Reach<'_>,
        directory: &LinkDirectory,
        (place, blob): (u32, Option<BlobId>),
        (content, leaf): (LinkContent, FileState),
    ) -> Result<Option<OldLayer>, Error> {
        let digest = &survey.layers[place as usize];
        let canonical = match judge_link(digest, content) {
            LinkVerdict::Names(canonical) => canonical,
            LinkVerdict::Absent => {
                self.empty_directory(context, Target::EmptyLinkDirectory(directory.clone(), *digest))?;
                return Ok(None);
            }
            LinkVerdict::Faulty(code) => {
                self.faulty(survey, directory, digest, code);
                return Ok(None);
            }
        };
        // Whatever is in quarantine can only be restored whole if its links are still there.
        let protects = |digest: &Digest| {
            context.inventory.find(digest).is_some_and(|blob| context.inventory.has_any(blob, MarkFlags::PROTECTED))
        };
        match leaf {
            FileState::File(_) if protects(digest) || protects(&canonical) => {
                reach.mark_alone(digest, MarkFlags::YOUNG);
                reach.mark_alone(&canonical, MarkFlags::YOUNG);
            }
            FileState::File(stat) if self.waiting.note(context.policy.age(&stat), || directory.link(digest)) => {
                self.young_layer_links += 1;
                reach.mark_alone(digest, MarkFlags::YOUNG);
                reach.mark_alone(&canonical, MarkFlags::YOUNG);
            }
            FileState::File(stat) => {
                let alias_of = (canonical != *digest).then(|| Box::new(canonical));
                return Ok(Some(OldLayer { place, blob, alias_of, stat }));
            }
            FileState::Absent => {}
            FileState::Irregular => self.faulty(survey, directory, digest, Code::IrregularLink),
        }
        Ok(None)
    }

    fn revisions(
        &mut self,
        survey: &Survey,
        context: &Context<'_>,
        untagged: &[Candidate],
        readings: &[Held<'_>],
    ) -> Result<(), Error> {
        let directory = LinkDirectory::Revisions(survey.name.clone());
        for (candidate, depth) in untagged.iter().zip(revision_depths(survey, context, untagged, readings)?) {
            let blob = context.inventory.find(&candidate.digest);
            let target = Target::Link(directory.clone(), candidate.digest);
            let row = Deletion { target, stat: candidate.stat, alias_of: None, reason: Reason::Untagged, depth };
            self.drop_link(context, blob, row);
        }
        for revision in survey.revisions.iter().filter(|revision| revision.link == LinkContent::Absent) {
            self.empty_directory(context, Target::EmptyLinkDirectory(directory.clone(), revision.digest))?;
        }
        Ok(())
    }

    fn history(
        &mut self,
        survey: &Survey,
        context: &Context<'_>,
        reach: &mut Reach<'_>,
        untagged: &[Candidate],
        seen: &[SeenHistory],
    ) -> Result<(), Error> {
        let named_now: HashSet<LinkContent> = survey.tags.iter().map(|tag| tag.current).collect();
        for (place, tag) in survey.tags.iter().enumerate() {
            let directory = LinkDirectory::History(survey.name.clone(), tag.name.clone());
            let seen = seen.get(place).map_or(&[][..], Vec::as_slice);
            let seen = |digest: &Digest| seen.binary_search_by(|(seen, _)| seen.cmp(digest)).ok().map(|place| seen[place].1);
            let stale: Vec<(Digest, Reason)> = tag
                .history
                .iter()
                .filter_map(|&digest| {
                    if untagged.binary_search_by(|candidate| candidate.digest.cmp(&digest)).is_ok() {
                        return Some((digest, Reason::Untagged));
                    }
                    let is_there = survey.revision(&digest).is_some() || survey.protected.contains(&digest);
                    if context.inventory.find(&digest).is_some_and(|blob| context.inventory.has_any(blob, MarkFlags::SET_APART)) {
                        return None;
                    }
                    // A tag still names it, although its revision link is lost: it can be repaired, so nothing of it goes.
                    let is_current = named_now.contains(&LinkContent::Digest(digest));
                    (!is_there && !is_current).then_some((digest, Reason::RevisionGone))
                })
                .collect();
            let unseen: Vec<Digest> = stale.iter().map(|(digest, _)| *digest).filter(|digest| seen(digest).is_none()).collect();
            let mut leaves = stat_links(context, &directory, &unseen)?.into_iter();
            for (digest, reason) in stale {
                match seen(&digest).or_else(|| leaves.next()).expect("each was looked at, then or now") {
                    // A blob goes only if every link to it is old.
                    FileState::File(stat) if self.waiting.note(context.policy.age(&stat), || directory.link(&digest)) => {
                        reach.mark_alone(&digest, MarkFlags::YOUNG);
                    }
                    FileState::File(stat) => {
                        let blob = context.inventory.find(&digest);
                        let target = Target::Link(directory.clone(), digest);
                        self.drop_link(context, blob, Deletion { target, stat, alias_of: None, reason, depth: 0 });
                    }
                    FileState::Absent => self.empty_directory(context, Target::EmptyLinkDirectory(directory.clone(), digest))?,
                    FileState::Irregular => self.faulty(survey, &directory, &digest, Code::IrregularLink),
                }
            }
        }
        Ok(())
    }

    /// Lets a link go. `blob` is where the inventory has the digest of its directory.
    fn drop_link(&mut self, context: &Context<'_>, blob: Option<BlobId>, row: Deletion) {
        // Should the repository be held yet, all that it links is marked live, and why a blob goes is asked of none of it.
        if let Some(blob) = blob {
            context.inventory.mark(blob, MarkFlags::LINK_DROPPED);
        }
        self.deletions.push(context.inventory, &row);
    }

    fn empty_directory(&mut self, context: &Context<'_>, directory: Target) -> Result<(), Error> {
        if let Some(stat) = context.store.empty_directory(&directory)?
            && !context.policy.is_young(&stat)
        {
            let row = Deletion { target: directory, stat, alias_of: None, reason: Reason::EmptyDirectory, depth: 0 };
            self.deletions.push(context.inventory, &row);
        }
        Ok(())
    }

    fn faulty(&mut self, survey: &Survey, directory: &LinkDirectory, digest: &Digest, code: Code) {
        self.fault = true;
        let mut finding = Finding::new(code).repository(&survey.name).digest(digest).path(directory.link(digest));
        finding.tag = directory.tag().cloned();
        self.findings.push(finding);
    }
}

/// For each of a repository's revisions that go, its depth below the others.
fn revision_depths(
    survey: &Survey,
    context: &Context<'_>,
    untagged: &[Candidate],
    readings: &[Held<'_>],
) -> Result<Vec<u32>, Error> {
    let manifests: Vec<(Digest, Option<BlobId>)> =
        untagged.iter().map(|candidate| (candidate.digest, context.inventory.find(&candidate.digest))).collect();
    depths(&manifests, |digest| readings[survey.revision(digest).expect("candidates are revisions")].get(digest))
}

/// For each of some manifests, given with their places in the inventory, the length of the longest way down to it from another of them.
/// They need not be stored.
pub(super) fn depths(
    manifests: &[(Digest, Option<BlobId>)],
    read: impl Fn(&Digest) -> Result<Reading, Error> + Sync,
) -> Result<Vec<u32>, Error> {
    let mut blobs: HashMap<BlobId, usize> = HashMap::default();
    // What edges name by digest: what is not stored, and what may be another name of a blob.
    let mut names: HashMap<Digest, usize> = HashMap::default();
    for (place, (digest, blob)) in manifests.iter().enumerate() {
        blobs.extend(blob.map(|blob| (blob, place)));
        if blob.is_none() || digest.algorithm() != Algorithm::Sha256 {
            names.insert(*digest, place);
        }
    }
    // Only what leads from one to another is held: all that they name may be more than there is room for.
    let children: Vec<Vec<usize>> = manifests
        .par_iter()
        .with_min_len(64)
        .map(|(digest, _)| {
            let Reading::Read(edges) = read(digest)? else { return Ok(Vec::new()) };
            let stored = edges.stored.iter().filter_map(|edge| blobs.get(&edge.blob));
            let named = edges.unresolved.iter().filter_map(|descriptor| names.get(&descriptor.digest));
            let mut children: Vec<usize> = stored.chain(named).copied().collect();
            children.sort_unstable();
            children.dedup();
            Ok(children)
        })
        .collect::<Result<_, Error>>()?;
    let mut parents = vec![0_u32; manifests.len()];
    for &child in children.iter().flatten() {
        parents[child] += 1;
    }
    // Digests cannot form a circle, so everything is taken off the queue once.
    let mut depths = vec![0; manifests.len()];
    let mut queue: Vec<usize> = (0..manifests.len()).filter(|&place| parents[place] == 0).collect();
    while let Some(place) = queue.pop() {
        for &child in &children[place] {
            depths[child] = depths[child].max(depths[place] + 1);
            parents[child] -= 1;
            if parents[child] == 0 {
                queue.push(child);
            }
        }
    }
    Ok(depths)
}

/// Marks what a held repository's layer links name, by directory and by content.
pub(super) fn mark_held_layers(
    survey: &Survey,
    context: &Context<'_>,
    reach: &mut Reach<'_>,
    flags: MarkFlags,
) -> Result<(), Error> {
    let directory = LinkDirectory::Layers(survey.name.clone());
    let contents = survey::read_links(context.store, &directory, &survey.layers)?;
    for (digest, content) in survey.layers.iter().zip(contents) {
        reach.mark_alone(digest, flags);
        if let LinkContent::Digest(named) = content {
            reach.mark_alone(&named, flags);
        }
    }
    Ok(())
}

/// Marks every digest that a directory in the repository is named by.
pub(super) fn mark_all_names(survey: &Survey, context: &Context<'_>, flags: MarkFlags) {
    let revisions = survey.revisions.iter().map(|revision| &revision.digest);
    let history = survey.tags.iter().flat_map(|tag| &tag.history);
    for digest in survey.layers.iter().chain(revisions).chain(history) {
        if let Some(blob) = context.inventory.find(digest) {
            context.inventory.mark(blob, flags);
        }
    }
}

fn stat_links(context: &Context<'_>, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
    in_chunks(digests, |some| context.store.stat_links(directory, some))
}

/// A digest in a tag's history, as a root of a held repository.
pub(super) fn history_roots(survey: &Survey) -> impl Iterator<Item = (Digest, Role)> {
    survey.tags.iter().flat_map(|tag| tag.history.iter().map(|&digest| (digest, Role::Optional)))
}
