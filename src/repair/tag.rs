//! The `current` of a tag that somebody named, from a history of one.

use super::decide::{CannotMend, Named, Part};
use super::repository::{Looking, Mends};
use crate::audit::facts::RepositoryFacts;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};

/// Decides about a tag, by its place in the survey. Its revision link is made too if it is lost: else the tag would name nothing.
///
/// # Errors
///
/// When something cannot be read.
pub(crate) fn current(looking: &Looking<'_>, place: usize) -> Result<Mends, Error> {
    let facts = looking.facts;
    let (survey, tag) = (&facts.survey, &facts.survey.tags[place]);
    let mut mends = Mends::default();
    let code = match tag.current {
        LinkContent::Digest(digest) => {
            named_now(looking, &digest, &mut mends)?;
            return Ok(mends);
        }
        LinkContent::Absent => Code::TagWithoutCurrent,
        LinkContent::Empty => Code::EmptyLink,
        LinkContent::Garbled => Code::GarbledLink,
        LinkContent::Irregular => Code::IrregularLink,
    };
    let named = match only_one(facts, place) {
        Ok(digest) => match looking.named(&digest, Part::Revision)? {
            Named::Absent => Err(CannotMend::NotStored),
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
            mends.findings.push(here.detail(format!("{} {}", code.meaning(), why.reason())));
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

/// A tag that names a manifest by now: its revision link may be lost.
fn named_now(looking: &Looking<'_>, digest: &Digest, mends: &mut Mends) -> Result<(), Error> {
    let survey = &looking.facts.survey;
    match survey.revision(digest) {
        Some(_) => Ok(()),
        None => {
            looking.missing(Part::Revision, &LinkDirectory::Revisions(survey.name.clone()), digest, Code::LostRevision, mends)
        }
    }
}

/// The one manifest that the history of a tag names.
fn only_one(facts: &RepositoryFacts<'_>, place: usize) -> Result<Digest, CannotMend> {
    let tag = &facts.survey.tags[place];
    match (&tag.history[..], &facts.history_links[place][..]) {
        _ if facts.survey.foreign.is_some() => Err(CannotMend::Foreign),
        _ if tag.current == LinkContent::Irregular => Err(CannotMend::Irregular),
        ([digest], [LinkContent::Digest(says)]) if digest == says => Ok(*digest),
        ([], _) => Err(CannotMend::NoHistory),
        ([_], _) => Err(CannotMend::HistoryUnsure),
        _ => Err(CannotMend::LongHistory),
    }
}
