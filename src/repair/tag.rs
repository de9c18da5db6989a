//! A tag that somebody named: its `current`, from a history of one, and what it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{CannotMend, Decision, Named, Part, decide};
use super::repository::{Looking, Mends};
use crate::audit::facts::RepositoryFacts;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{LinkVerdict, Reading, layer_verdict};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, TagName};
use crate::store::{FileState, LinkContent};

/// Of what was decided about all of a repository, what a tag needs, by its place in the survey; and its `current`, which is made because it is
/// named.
///
/// # Errors
///
/// When something cannot be read.
pub(crate) fn tag(looking: &Looking<'_>, place: usize, all: Mends) -> Result<Mends, Error> {
    let survey = &looking.facts.survey;
    let tag = &survey.tags[place];
    let mut mends = current(looking, place)?;
    let needed = needed(looking, place)?;
    let own = |name: Option<&TagName>| name.is_none_or(|name| *name == tag.name);
    let is_needed = |digest: Option<&Digest>| digest.is_some_and(|digest| needed.contains(digest));
    let links = all.links.into_iter().filter(|(target, _)| match target.tag() {
        Some(name) => own(Some(name)),
        None => is_needed(target.digest()),
    });
    let made: BTreeMap<_, _> = links.filter(|(target, _)| !mends.links.contains_key(target)).collect();
    mends.links.extend(made);
    let (directory, link) = (layout::tag_directory(&survey.name, &tag.name), layout::current_link(&survey.name, &tag.name));
    mends.misstated = all.misstated;
    let is_of_tag = |finding: &Finding| match (&finding.tag, &finding.path) {
        // Whether that can be mended has just been decided.
        (_, Some(path)) if *path == link => false,
        (_, Some(path)) if path.starts_with(&directory) => true,
        (Some(name), _) if *name == tag.name => true,
        (name, _) => is_needed(finding.digest.as_ref()) && (name.is_none() || finding.code.is_absence()),
    };
    mends.findings.extend(all.findings.into_iter().filter(is_of_tag));
    (mends.has_more, mends.needed) = (all.has_more, Some(needed));
    Ok(mends)
}

/// All that the manifest of a tag leads to, itself included, whatever of it is stored.
fn needed(looking: &Looking<'_>, place: usize) -> Result<BTreeSet<Digest>, Error> {
    let survey = &looking.facts.survey;
    let named = match survey.tags[place].current {
        LinkContent::Digest(digest) => Some(digest),
        _ => only_one(looking.facts, place).ok(),
    };
    let mut waiting = Vec::from_iter(named);
    let mut needed = BTreeSet::new();
    while let Some(digest) = waiting.pop() {
        if !needed.insert(digest) {
            continue;
        }
        if let Some(references) = looking.copied_references(&digest) {
            waiting.extend(references.descriptors.into_iter().filter(|named| named.expected).map(|named| named.digest));
            continue;
        }
        let Reading::Read(edges) = looking.context.manifests.read(&digest)? else { continue };
        waiting.extend(edges.stored.iter().map(|edge| looking.context.inventory.digest(edge.blob)));
        for descriptor in &edges.unresolved {
            waiting.push(descriptor.digest);
            // It may be an alias of a blob.
            if let LinkVerdict::Names(name) = layer_verdict(survey, &descriptor.digest)? {
                waiting.push(name);
            }
        }
    }
    Ok(needed)
}

/// Decides about the `current` of a tag. Its revision link is made too if it is lost: else the tag would name nothing.
fn current(looking: &Looking<'_>, place: usize) -> Result<Mends, Error> {
    let facts = looking.facts;
    let (survey, tag) = (&facts.survey, &facts.survey.tags[place]);
    let mut mends = Mends::default();
    let code = match tag.current {
        LinkContent::Digest(_) => return Ok(mends),
        LinkContent::Absent => Code::TagWithoutCurrent,
        LinkContent::Empty => Code::EmptyLink,
        LinkContent::Garbled => Code::GarbledLink,
        LinkContent::Irregular => Code::IrregularLink,
    };
    let named = match only_one(facts, place) {
        Ok(digest) => match looking.named(&digest, Part::Revision)? {
            Named::Absent => Err(CannotMend::TargetNotStored),
            Named::Blob => Err(CannotMend::NoManifest),
            Named::Manifest => Ok(digest),
        },
        why => why,
    };
    let digest = match named {
        Ok(digest) => digest,
        Err(why) => {
            let here = Finding::new(code).repository(&survey.name).tag(&tag.name);
            let here = here.path(layout::current_link(&survey.name, &tag.name));
            let lacks = only_one(facts, place).ok().and_then(|digest| looking.mirror?.manifest(&digest).err());
            let reason = match (why, lacks) {
                (CannotMend::TargetNotStored, Some(lacks)) => lacks.reason(),
                _ => why.reason().to_owned(),
            };
            mends.findings.push(here.detail(format!("{} {reason}", code.meaning())));
            return Ok(mends);
        }
    };
    if survey.revision(&digest).is_none() {
        let revisions = LinkDirectory::Revisions(survey.name.clone());
        looking.missing(Part::Revision, &revisions, &digest, Code::LostRevision, &mut mends)?;
    }
    let replaced = match survey.repository.stat_tag(&tag.name)? {
        FileState::File(stat) => Some(stat),
        _ => None,
    };
    mends.mend(Target::Tag(survey.name.clone(), tag.name.clone(), digest), code, replaced);
    Ok(mends)
}

/// The one manifest that the history of a tag names.
pub(super) fn only_one(facts: &RepositoryFacts<'_>, place: usize) -> Result<Digest, CannotMend> {
    let tag = &facts.survey.tags[place];
    match (&tag.history[..], &facts.history_links[place][..]) {
        _ if facts.survey.foreign.is_some() => Err(CannotMend::Foreign),
        _ if tag.current == LinkContent::Irregular => Err(CannotMend::Irregular),
        ([digest], [LinkContent::Digest(says)]) if digest == says => Ok(*digest),
        // It is made again in the same run, and before the tag.
        ([digest], [content @ (LinkContent::Empty | LinkContent::Garbled)])
            if decide(Part::History, digest, *content, Named::Absent, false) == Decision::Mend =>
        {
            Ok(*digest)
        }
        ([], _) => Err(CannotMend::NoHistory),
        (_, links) if links.iter().all(|link| *link == LinkContent::Absent) => Err(CannotMend::HistoryGone),
        ([_], _) => Err(CannotMend::HistoryUnsure),
        _ => Err(CannotMend::LongHistory),
    }
}
