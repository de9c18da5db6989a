//! What a repository's manifests name, and whether the repository can serve it.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashSet};

use super::facts::BlobFacts;
use crate::error::Error;
use crate::graph::{Context, Edge, Edges, LinkVerdict, Queue, Reading, Visited, Visitor, Walk, layer_verdict};
use crate::inventory::BlobId;
use crate::oci::{Descriptor, DescriptorKind, Digest, manifest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// What the manifests of one repository name and the repository lacks.
#[derive(Debug, Default)]
pub(crate) struct RepositoryNeeds {
    /// Every digest that a manifest names and that has no data under that name, and the blob that it is an alias of; with the size that is
    /// stated for it, if all state the same.
    pub(crate) named: HashMap<Digest, Option<u64>>,
    /// Stored blobs that manifests name as content and that have no layer link in the repository.
    pub(crate) unlinked: BTreeSet<Digest>,
    /// Blobs that manifests name as content and whose directory in the store has no data.
    pub(crate) absent: BTreeSet<Digest>,
    /// Stored manifests that an index names and that have no revision link in the repository.
    pub(crate) lost_children: BTreeSet<BlobId>,
    /// Those among them that no manifest names as one for certain: they may have been pushed as blobs.
    pub(crate) uncertain: BTreeSet<BlobId>,
    /// Stored blobs that an index names as manifests, that cannot be read as such, and that have no revision link in the repository.
    pub(crate) damaged_children: BTreeSet<BlobId>,
    /// Revisions whose subject is neither stored nor a revision.
    pub(crate) orphans: BTreeSet<Digest>,
}

/// Walks from all tags and revisions of a repository to everything that manifests name. `links` are the layer links, in the
/// survey's order.
///
/// # Errors
///
/// When a link or a manifest cannot be read.
pub(crate) fn needed(
    context: &Context<'_>,
    survey: &Survey<'_>,
    links: &[LinkContent],
    blobs: &BlobFacts,
) -> Result<RepositoryNeeds, Error> {
    let revisions: HashSet<BlobId> = survey
        .revisions
        .iter()
        .filter(|revision| revision.link != LinkContent::Absent)
        .filter_map(|revision| context.inventory.find(&revision.digest))
        .collect();
    let suspects = BTreeMap::new();
    let mut visitor = NeededVisitor { context, survey, links, blobs, revisions, needed: RepositoryNeeds::default(), suspects };
    Walk::new(context.manifests).run(visitor.roots(), &mut visitor)?;
    let NeededVisitor { mut needed, suspects, .. } = visitor;
    for (manifest, suspects) in suspects {
        for blob in required(context, &manifest, suspects)? {
            let lacks = if blobs.has_data(&blob) { &mut needed.unlinked } else { &mut needed.absent };
            lacks.insert(blob);
        }
    }
    Ok(needed)
}

/// The blobs that a manifest names as content of this store, without those that may live elsewhere.
fn required(context: &Context<'_>, manifest: &Digest, mut blobs: HashSet<Digest>) -> Result<Vec<Digest>, Error> {
    let mut required = Vec::new();
    context.store.manifest(manifest, &mut |bytes| {
        let references = manifest::references(bytes).unwrap_or_default();
        let named = references.descriptors.iter().filter(|named| named.expected && !named.foreign);
        required.extend(named.map(|named| named.digest).filter(|digest| blobs.remove(digest)));
    })?;
    Ok(required)
}

struct NeededVisitor<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    links: &'a [LinkContent],
    blobs: &'a BlobFacts,
    revisions: HashSet<BlobId>,
    needed: RepositoryNeeds,
    /// Blobs without a link or without data, by the manifest that names them as content.
    suspects: BTreeMap<Digest, HashSet<Digest>>,
}

impl Visitor for NeededVisitor<'_> {
    type Role = ();

    fn revision(&self, digest: &Digest, (): &()) -> Result<Option<Reading>, Error> {
        self.context.manifests.revision_of(self.survey, digest)
    }

    fn visit(&mut self, digest: &Digest, (): &(), reading: &Reading, queue: &mut Queue<'_, ()>) -> Result<Visited, Error> {
        let Reading::Read(edges) = reading else { return Ok(Visited::Done) };
        self.note_orphan(digest, edges);
        for edge in &edges.stored {
            self.follow_stored(digest, edge, queue)?;
        }
        for descriptor in &edges.unresolved {
            self.follow_unresolved(descriptor, queue)?;
        }
        Ok(Visited::Done)
    }
}

impl NeededVisitor<'_> {
    fn roots(&self) -> Vec<(Digest, ())> {
        let revisions = self.survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
        let tags = self.survey.tags.iter().filter_map(|tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        });
        revisions.map(|revision| revision.digest).chain(tags).map(|digest| (digest, ())).collect()
    }

    /// Notes a revision whose subjects are all unknown.
    fn note_orphan(&mut self, digest: &Digest, edges: &Edges) {
        if self.survey.revision(digest).is_some()
            && !edges.more_subjects
            && !edges.subjects.is_empty()
            && edges.subjects.iter().all(|subject| self.is_unknown(subject))
        {
            self.needed.orphans.insert(*digest);
        }
    }

    fn follow_stored(&mut self, manifest: &Digest, edge: &Edge, queue: &mut Queue<'_, ()>) -> Result<(), Error> {
        let name = self.context.inventory.digest(edge.blob);
        if !self.blobs.has_data(&name) {
            self.needed.named.entry(name).or_default();
        }
        if self.revisions.contains(&edge.blob) {
            queue.push_blob(edge.blob, ());
            return Ok(());
        }
        // The registry does not read this place, so no client needs the blob, and the walk does not follow it.
        if !edge.expected {
            return Ok(());
        }
        let is_manifest = match edge.kind {
            DescriptorKind::Blob => false,
            _ => matches!(self.context.manifests.read(&name)?, Reading::Read(_)),
        };
        if is_manifest {
            queue.push_blob(edge.blob, ());
            // BuildKit's cache indexes list a JSON configuration that is pushed and pulled as a blob.
            if edge.kind == DescriptorKind::Manifest || !self.is_linked(&name) {
                let is_new = self.needed.lost_children.insert(edge.blob);
                if edge.kind == DescriptorKind::Manifest {
                    self.needed.uncertain.remove(&edge.blob);
                } else if is_new {
                    self.needed.uncertain.insert(edge.blob);
                }
            }
        } else if edge.kind == DescriptorKind::Manifest {
            self.needed.damaged_children.extend(Some(edge.blob).filter(|_| self.blobs.has_data(&name)));
        } else if !(self.is_linked(&name) && self.blobs.has_data(&name)) {
            self.suspects.entry(*manifest).or_default().insert(name);
        }
        Ok(())
    }

    /// Follows a digest that is not stored or that may be an alias of a blob (H3).
    fn follow_unresolved(&mut self, descriptor: &Descriptor, queue: &mut Queue<'_, ()>) -> Result<(), Error> {
        self.name(descriptor.digest, descriptor.size_bytes);
        let LinkVerdict::Names(name) = layer_verdict(self.survey, &descriptor.digest)? else { return Ok(()) };
        self.name(name, descriptor.size_bytes);
        if let (Some(blob), Some(size_bytes)) = (self.context.inventory.find(&name), descriptor.size_bytes) {
            self.context.inventory.learn_size(blob, size_bytes);
        }
        if (descriptor.expected && descriptor.kind != DescriptorKind::Blob) || self.survey.revision(&name).is_some() {
            queue.push(&name, ());
        } else if descriptor.expected && !descriptor.foreign && !self.blobs.has_data(&name) {
            self.needed.absent.insert(name);
        }
        Ok(())
    }

    /// Notes a digest without data, and forgets sizes that differ.
    fn name(&mut self, digest: Digest, size_bytes: Option<u64>) {
        let known = self.needed.named.entry(digest).or_insert(size_bytes);
        *known = known.filter(|known| Some(*known) == size_bytes);
    }

    fn is_unknown(&self, subject: &Digest) -> bool {
        self.survey.revision(subject).is_none() && self.context.inventory.find(subject).is_none()
    }

    /// Whether a layer link of that name exists, with any content.
    fn is_linked(&self, name: &Digest) -> bool {
        self.survey.layers.binary_search(name).is_ok_and(|place| self.links[place] != LinkContent::Absent)
    }
}
