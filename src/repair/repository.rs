//! The links of one repository: which are mended, and why others are not.

use std::collections::BTreeMap;

use super::decide::{CannotMend, Decision, Named, Part, decide};
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Reading};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent, Stat};

/// A link that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// The link.
    pub target: Target,
    /// What is wrong with it.
    pub code: Code,
    /// The damaged file in its place; nothing if there is none.
    pub replaced: Option<Stat>,
}

/// What is to be done in a repository, and what cannot be done.
#[derive(Debug, Default)]
pub(crate) struct Mends {
    /// By their places: a manifest may be missing for two reasons.
    pub(crate) links: BTreeMap<Target, Mend>,
    pub(crate) findings: Vec<Finding>,
}

impl Mends {
    /// Adds a link that is to be made.
    pub(super) fn mend(&mut self, target: Target, code: Code, replaced: Option<Stat>) {
        self.links.entry(target.clone()).or_insert(Mend { target, code, replaced });
    }

    /// Adds one that cannot be.
    pub(super) fn cannot(&mut self, target: &Target, code: Code, why: CannotMend) {
        self.findings.push(finding(target, code).detail(format!("{} {}", code.meaning(), why.reason())));
    }
}

fn finding(target: &Target, code: Code) -> Finding {
    let mut finding = Finding::new(code).digest(target.digest()).path(target.path());
    finding.repository = target.repository().cloned();
    finding.tag = target.tag().cloned();
    finding
}

/// Decides about all links of a repository.
///
/// # Errors
///
/// When a link or a manifest cannot be read.
pub(crate) fn links(facts: &RepositoryFacts<'_>, context: &Context<'_>, blobs: &BlobFacts) -> Result<Mends, Error> {
    let survey = &facts.survey;
    let name = &survey.name;
    let looking = Looking { facts, context, blobs };
    let mut mends = Mends::default();
    let layers = LinkDirectory::Layers(name.clone());
    for (digest, content) in survey.layers.iter().zip(&facts.layer_links) {
        looking.present(Part::Layer, &layers, digest, *content, &mut mends)?;
    }
    for digest in &facts.needed.unlinked {
        looking.missing(Part::Layer, &layers, digest, Code::MissingLayerLink, &mut mends)?;
    }
    let revisions = LinkDirectory::Revisions(name.clone());
    for revision in &survey.revisions {
        looking.present(Part::Revision, &revisions, &revision.digest, revision.link, &mut mends)?;
    }
    for digest in &facts.needed.lost_children {
        if facts.needed.uncertain.contains(digest) {
            mends.cannot(&Target::Link(revisions.clone(), *digest), Code::LostChild, CannotMend::Uncertain);
            continue;
        }
        looking.missing(Part::Revision, &revisions, digest, Code::LostChild, &mut mends)?;
    }
    for (tag, contents) in survey.tags.iter().zip(&facts.history_links) {
        let history = LinkDirectory::History(name.clone(), tag.name.clone());
        for (digest, content) in tag.history.iter().zip(contents) {
            looking.present(Part::History, &history, digest, *content, &mut mends)?;
        }
        let here = |code: Code, why: CannotMend| {
            let place = Finding::new(code).repository(name).tag(&tag.name).path(layout::current_link(name, &tag.name));
            place.detail(format!("{} {}", code.meaning(), why.reason()))
        };
        match tag.current {
            LinkContent::Digest(digest) => {
                // That it is not stored at all is said of the blob.
                let is_lost = survey.revision(&digest).is_none() && looking.named(&digest, Part::Layer)? != Named::Absent;
                if is_lost {
                    looking.missing(Part::Revision, &revisions, &digest, Code::LostRevision, &mut mends)?;
                }
            }
            LinkContent::Absent if !tag.name.is_valid() => {}
            LinkContent::Absent => mends.findings.push(here(Code::TagWithoutCurrent, CannotMend::NotNamed)),
            LinkContent::Empty => mends.findings.push(here(Code::EmptyLink, CannotMend::NotNamed)),
            LinkContent::Garbled => mends.findings.push(here(Code::GarbledLink, CannotMend::NotNamed)),
            LinkContent::Irregular => mends.findings.push(here(Code::IrregularLink, CannotMend::Irregular)),
        }
    }
    Ok(mends)
}

pub(super) struct Looking<'a> {
    pub(super) facts: &'a RepositoryFacts<'a>,
    pub(super) context: &'a Context<'a>,
    pub(super) blobs: &'a BlobFacts,
}

impl Looking<'_> {
    /// What the store has under a digest. Only for revisions it is read.
    pub(super) fn named(&self, digest: &Digest, part: Part) -> Result<Named, Error> {
        if self.context.inventory.find(digest).is_none() || !self.blobs.has_data(digest) {
            return Ok(Named::Absent);
        }
        if part != Part::Revision {
            return Ok(Named::Blob);
        }
        Ok(match self.context.manifests.read(digest)? {
            Reading::Read(_) => Named::Manifest,
            Reading::Absent => Named::Absent,
            Reading::Bad(_) => Named::Blob,
        })
    }

    /// A link that something kept needs and that is not there.
    pub(super) fn missing(
        &self,
        part: Part,
        directory: &LinkDirectory,
        digest: &Digest,
        code: Code,
        mends: &mut Mends,
    ) -> Result<(), Error> {
        let target = Target::Link(directory.clone(), *digest);
        let named = self.named(digest, part)?;
        match decide(part, digest, LinkContent::Absent, named, self.facts.survey.set_apart.is_some()) {
            Decision::Sound => {}
            Decision::Mend => mends.mend(target, code, None),
            Decision::CannotMend(why) => mends.cannot(&target, code, why),
        }
        Ok(())
    }

    /// A link whose directory is there.
    fn present(
        &self,
        part: Part,
        directory: &LinkDirectory,
        digest: &Digest,
        content: LinkContent,
        mends: &mut Mends,
    ) -> Result<(), Error> {
        let code = match content {
            LinkContent::Absent => return Ok(()),
            LinkContent::Digest(says) if says == *digest => return Ok(()),
            LinkContent::Digest(_) => Code::DisagreeingLink,
            LinkContent::Empty => Code::EmptyLink,
            LinkContent::Garbled => Code::GarbledLink,
            LinkContent::Irregular => Code::IrregularLink,
        };
        let target = Target::Link(directory.clone(), *digest);
        match decide(part, digest, content, self.named(digest, part)?, self.facts.survey.set_apart.is_some()) {
            Decision::Sound => {}
            Decision::CannotMend(why) => mends.cannot(&target, code, why),
            Decision::Mend => {
                let looked = self.facts.survey.repository.inspect_links(directory, &[*digest])?;
                match looked[..] {
                    // Its content as of now: what somebody has mended meanwhile is left.
                    [(now, FileState::File(stat))] if now == content => mends.mend(target, code, Some(stat)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
