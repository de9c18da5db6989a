//! What a repository's manifests name, and whether the repository could serve it.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashSet;

use super::facts::BlobFacts;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, MAX_STRANGERS, Reading, layer_verdict};
use crate::inventory::BlobId;
use crate::oci::{DescriptorKind, Digest, manifest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// What the manifests of one repository name.
#[derive(Debug, Default)]
pub struct Needed {
    /// Every digest that a manifest names, and what it is another name of.
    pub named: HashSet<Digest>,
    /// Stored blobs that manifests name as content, and that the repository has no layer link for.
    pub unlinked: BTreeSet<Digest>,
    /// Blobs that manifests name as content, and that have a directory in the store and no data.
    pub absent: BTreeSet<Digest>,
    /// Stored manifests that an index names, and that the repository has no revision link for.
    pub lost_children: BTreeSet<Digest>,
    /// Revisions whose subject is neither stored nor a revision.
    pub orphans: BTreeSet<Digest>,
}

/// Walks from all tags and revisions of a repository to everything that manifests name. `links` are those of its layers, in the
/// survey's order.
///
/// # Errors
///
/// When a link or a manifest cannot be read.
pub fn needed(context: &Context<'_>, survey: &Survey, links: &[LinkContent], blobs: &BlobFacts) -> Result<Needed, Error> {
    let revisions: HashSet<BlobId> = survey
        .revisions
        .iter()
        .filter(|revision| revision.link != LinkContent::Absent)
        .filter_map(|revision| context.inventory.find(&revision.digest))
        .collect();
    let walk = Walk { context, survey, links, blobs, revisions };
    let mut needed = Needed::default();
    // Blobs without a link or without data, with the manifests that name them as content.
    let mut suspects: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    let mut seen: HashSet<Digest> = HashSet::default();
    let mut queue: Vec<Digest> = walk.roots();
    let mut strangers = 0;
    while let Some(digest) = queue.pop() {
        // Who leads further is held, and is not followed here either.
        if !seen.insert(digest) {
            continue;
        }
        strangers += u64::from(survey.revision(&digest).is_none());
        if strangers <= MAX_STRANGERS {
            walk.visit(&digest, &mut needed, &mut suspects, &mut queue)?;
        }
    }
    for (blob, manifests) in suspects {
        if walk.is_promised(&blob, &manifests)? {
            let lacks = if blobs.has_data(&blob) { &mut needed.unlinked } else { &mut needed.absent };
            lacks.insert(blob);
        }
    }
    Ok(needed)
}

struct Walk<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey,
    links: &'a [LinkContent],
    blobs: &'a BlobFacts,
    revisions: HashSet<BlobId>,
}

impl Walk<'_> {
    fn roots(&self) -> Vec<Digest> {
        let revisions = self.survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
        let tags = self.survey.tags.iter().filter_map(|tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        });
        revisions.map(|revision| revision.digest).chain(tags).collect()
    }

    fn visit(
        &self,
        digest: &Digest,
        needed: &mut Needed,
        suspects: &mut BTreeMap<Digest, BTreeSet<Digest>>,
        queue: &mut Vec<Digest>,
    ) -> Result<(), Error> {
        let Reading::Read(edges) = self.context.manifests.read(digest)? else { return Ok(()) };
        let is_revision = self.survey.revision(digest).is_some();
        if is_revision
            && !edges.more_subjects
            && !edges.subjects.is_empty()
            && edges.subjects.iter().all(|subject| self.is_unknown(subject))
        {
            needed.orphans.insert(*digest);
        }
        for edge in &edges.stored {
            let name = self.context.inventory.digest(edge.blob);
            needed.named.insert(name);
            if self.revisions.contains(&edge.blob) {
                queue.push(name);
                continue;
            }
            // Where the registry does not look, nothing is promised to anybody, and what it leads to is not asked either.
            if !edge.expected {
                continue;
            }
            let is_manifest = match edge.kind {
                DescriptorKind::Blob => false,
                _ => matches!(self.context.manifests.read(&name)?, Reading::Read(_)),
            };
            if is_manifest {
                queue.push(name);
                needed.lost_children.insert(name);
            } else if edge.kind != DescriptorKind::Manifest && !(self.is_linked(&name) && self.blobs.has_data(&name)) {
                suspects.entry(name).or_default().insert(*digest);
            }
        }
        for descriptor in &edges.unresolved {
            needed.named.insert(descriptor.digest);
            if let LinkVerdict::Names(name) = layer_verdict(self.context.store, self.survey, &descriptor.digest)? {
                needed.named.insert(name);
                if let (Some(blob), Some(size_bytes)) = (self.context.inventory.find(&name), descriptor.size_bytes) {
                    self.context.inventory.learn_size(blob, size_bytes);
                }
                if (descriptor.expected && descriptor.kind != DescriptorKind::Blob) || self.survey.revision(&name).is_some() {
                    queue.push(name);
                } else if descriptor.expected && !descriptor.foreign && !self.blobs.has_data(&name) {
                    needed.absent.insert(name);
                }
            }
        }
        Ok(())
    }

    fn is_unknown(&self, subject: &Digest) -> bool {
        self.survey.revision(subject).is_none() && self.context.inventory.find(subject).is_none()
    }

    /// Whether there is a layer link of that name, whatever it says.
    fn is_linked(&self, name: &Digest) -> bool {
        self.survey.layers.binary_search(name).is_ok_and(|place| self.links[place] != LinkContent::Absent)
    }

    /// Whether one of the manifests names the blob as content that is to be here, rather than one that may live elsewhere.
    fn is_promised(&self, blob: &Digest, manifests: &BTreeSet<Digest>) -> Result<bool, Error> {
        for digest in manifests {
            let mut promised = false;
            self.context.store.manifest(digest, &mut |bytes| {
                let references = manifest::references(bytes).unwrap_or_default();
                promised = references.descriptors.iter().any(|named| named.digest == *blob && named.expected && !named.foreign);
            })?;
            if promised {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
