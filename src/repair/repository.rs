//! The links of one repository: which are mended, and why others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use super::decide::{CannotMend, Decision, Named, Part, decide};
use super::mirror::Mirror;
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::error::Error;
use crate::escape::operand;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Reading};
use crate::inventory::{BlobId, Inventory, MarkFlags};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{DescriptorKind, Digest, References};
use crate::store::{FileState, LinkContent, Stat};
use crate::survey::Survey;

/// A link, or a blob that a mirror has, that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// The link.
    pub target: Target,
    /// What is wrong with it.
    pub code: Code,
    /// The damaged file in its place; nothing if there is none.
    pub replaced: Option<Stat>,
    /// The size of a blob; nothing for a link.
    pub size_bytes: Option<u64>,
}

impl Mend {
    /// What it names, or is.
    pub fn digest(&self) -> &Digest {
        self.target.digest().expect("links and blobs are named by digests")
    }
}

/// What is to be done in a repository, and what cannot be done.
#[derive(Debug, Default)]
pub(crate) struct Mends {
    /// By their places: a manifest may be missing for two reasons.
    pub(crate) links: BTreeMap<Target, Mend>,
    pub(crate) findings: Vec<Finding>,
    /// Whether a mirror may have more than was looked for.
    pub(crate) has_more: bool,
    /// The sizes that copied manifests state for blobs that have another one.
    pub(crate) misstated: BTreeMap<Digest, BTreeSet<u64>>,
    /// All that a tag leads to, where only that was looked at.
    pub(crate) needed: Option<BTreeSet<Digest>>,
}

impl Mends {
    /// Adds a link that is to be made.
    pub(super) fn mend(&mut self, target: Target, code: Code, replaced: Option<Stat>) {
        self.links.entry(target.clone()).or_insert(Mend { target, code, replaced, size_bytes: None });
    }

    /// Adds a blob that a mirror has.
    pub(super) fn blob(&mut self, digest: &Digest, code: Code, replaced: Option<Stat>, size_bytes: u64) {
        let target = Target::Blob(*digest);
        self.links.entry(target.clone()).or_insert(Mend { target, code, replaced, size_bytes: Some(size_bytes) });
    }

    /// Adds one that cannot be.
    pub(super) fn cannot(&mut self, target: &Target, code: Code, why: CannotMend) {
        self.findings.push(finding(target, code).detail(format!("{} {}", code.meaning(), why.reason())));
    }
}

fn finding(target: &Target, code: Code) -> Finding {
    let mut finding = Finding::new(code).path(target.path());
    (finding.digest, finding.repository) = (target.digest().copied(), target.repository().cloned());
    finding.tag = target.tag().cloned();
    finding
}

/// The stated size of a blob, if all that is stated is the same.
pub(super) fn only_size(inventory: &Inventory, blob: BlobId) -> Option<u64> {
    inventory.size_bytes(blob).filter(|_| !inventory.has_any(blob, MarkFlags::SIZES_DIFFER))
}

/// Decides about all links of a repository.
///
/// # Errors
///
/// When a link or a manifest cannot be read.
pub(crate) fn links(looking: &Looking<'_>, mends: &mut Mends) -> Result<(), Error> {
    let facts = looking.facts;
    let survey = &facts.survey;
    let name = &survey.name;
    let layers = LinkDirectory::Layers(name.clone());
    for (digest, content) in survey.layers.iter().zip(&facts.layer_links) {
        looking.present(Part::Layer, &layers, digest, *content, mends)?;
    }
    for digest in &facts.needed.unlinked {
        looking.missing(Part::Layer, &layers, digest, Code::MissingLayerLink, mends)?;
    }
    let revisions = LinkDirectory::Revisions(name.clone());
    for revision in &survey.revisions {
        looking.present(Part::Revision, &revisions, &revision.digest, revision.link, mends)?;
    }
    for blob in &facts.needed.lost_children {
        let digest = looking.context.inventory.digest(*blob);
        if facts.needed.uncertain.contains(blob) {
            mends.cannot(&Target::Link(revisions.clone(), digest), Code::LostChild, CannotMend::Uncertain);
            continue;
        }
        looking.missing(Part::Revision, &revisions, &digest, Code::LostChild, mends)?;
    }
    for (tag, contents) in survey.tags.iter().zip(&facts.history_links) {
        let history = LinkDirectory::History(name.clone(), tag.name.clone());
        for (digest, content) in tag.history.iter().zip(contents) {
            looking.present(Part::History, &history, digest, *content, mends)?;
        }
        let here = |code: Code, why: CannotMend| {
            let place = Finding::new(code).repository(name).tag(&tag.name).path(layout::current_link(name, &tag.name));
            let way = match why {
                CannotMend::NotNamed => {
                    let named = [name.as_path().as_os_str(), tag.name.as_os_str()].join(OsStr::new(":"));
                    format!(" `regsweep repair {}` names it.", operand(named))
                }
                _ => String::new(),
            };
            place.detail(format!("{} {}{way}", code.meaning(), why.reason()))
        };
        match tag.current {
            LinkContent::Digest(digest) => {
                // That it is not stored at all is said of the blob.
                let is_lost = survey.revision(&digest).is_none() && looking.named(&digest, Part::Layer)? != Named::Absent;
                if is_lost {
                    looking.missing(Part::Revision, &revisions, &digest, Code::LostRevision, mends)?;
                }
            }
            LinkContent::Absent if tag.is_empty || !tag.name.is_valid() => {}
            LinkContent::Absent => mends.findings.push(here(Code::TagWithoutCurrent, CannotMend::NotNamed)),
            LinkContent::Empty => mends.findings.push(here(Code::EmptyLink, CannotMend::NotNamed)),
            LinkContent::Garbled => mends.findings.push(here(Code::GarbledLink, CannotMend::NotNamed)),
            LinkContent::Irregular => mends.findings.push(here(Code::IrregularLink, CannotMend::Irregular)),
        }
    }
    mends.findings.extend(apart(survey));
    Ok(())
}

/// What is a symbolic link or a mount among the names: as long as it is there, its repository keeps all that it links.
fn apart(survey: &Survey<'_>) -> impl Iterator<Item = Finding> {
    survey.strays.iter().filter(|stray| stray.kind.sets_apart()).map(|stray| {
        let code = Code::of_stray(stray.kind);
        let finding = Finding::new(code).repository(&survey.name).path(&stray.path);
        finding.detail(format!("{} {}", code.meaning(), CannotMend::Apart.reason()))
    })
}

/// A repository that is being looked at.
pub(crate) struct Looking<'a> {
    pub(crate) facts: &'a RepositoryFacts<'a>,
    pub(crate) context: &'a Context<'a>,
    pub(crate) blobs: &'a BlobFacts,
    /// Where lost blobs are copied from.
    pub(crate) mirror: Option<Mirror<'a>>,
    /// What is copied from there. It counts as stored, because it is made before anything that names it.
    pub(crate) copied: BTreeSet<Digest>,
    /// What was met on the way from manifests that are copied.
    pub(super) followed: BTreeSet<(Digest, DescriptorKind)>,
    /// How many manifests were followed, and their bytes.
    pub(super) manifests_followed: (u64, u64),
}

impl<'a> Looking<'a> {
    /// Begins to look at a repository.
    pub(crate) fn new(
        facts: &'a RepositoryFacts<'a>,
        context: &'a Context<'a>,
        blobs: &'a BlobFacts,
        mirror: Option<Mirror<'a>>,
    ) -> Looking<'a> {
        let (copied, followed) = (BTreeSet::new(), BTreeSet::new());
        Looking { facts, context, blobs, mirror, copied, followed, manifests_followed: (0, 0) }
    }

    /// Whether the store has a blob of that name, whatever its bytes are.
    pub(super) fn is_stored(&self, digest: &Digest) -> bool {
        self.context.inventory.find(digest).is_some() && self.blobs.has_data(digest)
    }

    /// Whether an index names a blob as a manifest that cannot be read as one, and that has no revision link.
    pub(super) fn is_damaged_child(&self, digest: &Digest) -> bool {
        let blob = self.context.inventory.find(digest);
        blob.is_some_and(|blob| self.facts.needed.damaged_children.contains(&blob))
    }

    /// The size that manifests state for a blob, if all state the same.
    pub(super) fn stated(&self, digest: &Digest) -> Option<u64> {
        let inventory = self.context.inventory;
        match self.facts.needed.named.get(digest) {
            Some(Some(size)) => Some(*size),
            _ => only_size(inventory, inventory.find(digest)?),
        }
    }

    /// What the store has under a digest. Only for revisions it is read.
    pub(super) fn named(&self, digest: &Digest, part: Part) -> Result<Named, Error> {
        if !self.is_stored(digest) || self.copied.contains(digest) {
            return Ok(self.named_elsewhere(digest, part));
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

    /// What is copied under a digest.
    fn named_elsewhere(&self, digest: &Digest, part: Part) -> Named {
        match self.mirror {
            Some(mirror) if self.copied.contains(digest) => match part == Part::Revision && mirror.manifest(digest).is_ok() {
                true => Named::Manifest,
                false => Named::Blob,
            },
            _ => Named::Absent,
        }
    }

    /// What a manifest names that is copied.
    pub(super) fn copied_references(&self, digest: &Digest) -> Option<References> {
        let mirror = self.mirror.filter(|_| self.copied.contains(digest))?;
        Some(mirror.manifest(digest).ok()?.1)
    }

    /// Whether a layer link of that name is there, with any content.
    pub(super) fn has_layer_link(&self, digest: &Digest) -> bool {
        let place = self.facts.survey.layers.binary_search(digest);
        place.is_ok_and(|place| self.facts.layer_links[place] != LinkContent::Absent)
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
        match decide(part, digest, LinkContent::Absent, named, self.facts.survey.foreign.is_some()) {
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
        match decide(part, digest, content, self.named(digest, part)?, self.facts.survey.foreign.is_some()) {
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
