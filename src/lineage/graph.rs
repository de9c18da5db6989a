//! The manifests of one repository as a graph: which names which, which refers to which, and what blobs each names.

use foldhash::HashSet;

use crate::error::Error;
use crate::graph::{Context, Edges, LinkVerdict, Numbered, Queue, Reading, Visited, Visitor, Walk, layer_verdict};
use crate::inventory::BlobId;
use crate::oci::{Algorithm, Descriptor, DescriptorKind, Digest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// The number of a manifest in a graph.
pub(crate) type Place = u32;

/// One manifest, and what it leads to.
#[derive(Debug, Default)]
struct Node {
    /// Manifests that it names.
    children: Vec<Place>,
    /// Revisions that refer to it, and stay as long as it does.
    referrers: Vec<Place>,
    /// Stored blobs that it names, and itself.
    blobs: Vec<BlobId>,
    /// Whether it was read as a manifest.
    is_manifest: bool,
}

/// The manifests that the tags and revisions of a repository lead to, by number.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    manifests: Numbered<Digest>,
    nodes: Vec<Node>,
}

impl Lineage {
    /// Reads the graph.
    ///
    /// # Errors
    ///
    /// When a link or a manifest that is there cannot be read.
    pub(crate) fn read(context: &Context<'_>, surveyed: &Survey) -> Result<Lineage, Error> {
        let revisions = || surveyed.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
        let targets = surveyed.tags.iter().filter_map(|tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        });
        let roots: Vec<Digest> = targets.chain(revisions().map(|revision| revision.digest)).collect();
        let blobs = revisions().filter_map(|revision| context.inventory.find(&revision.digest)).collect();
        let mut builder = Builder { context, surveyed, revisions: blobs, lineage: Lineage::default(), subjects: Vec::new() };
        for root in &roots {
            builder.lineage.place_or_new(root);
        }
        let roots = roots.into_iter().rev().map(|root| (root, ())).collect();
        Walk::new(context.manifests).run(roots, &mut builder)?;
        let Builder { mut lineage, subjects, .. } = builder;
        for (subject, referrer) in subjects {
            // A subject that nothing leads to keeps no referrer.
            if let Some(subject) = lineage.place(&subject) {
                lineage.nodes[subject as usize].referrers.push(referrer);
            }
        }
        for node in &mut lineage.nodes {
            for list in [&mut node.children, &mut node.referrers] {
                list.sort_unstable();
                list.dedup();
            }
            node.blobs.sort_unstable();
            node.blobs.dedup();
        }
        Ok(lineage)
    }

    /// The place of a manifest.
    pub(crate) fn place(&self, digest: &Digest) -> Option<Place> {
        self.manifests.find(digest)
    }

    /// The manifest at a place.
    pub(crate) fn name(&self, place: Place) -> Digest {
        self.manifests.get(place)
    }

    /// Whether a place was read as a manifest.
    pub(crate) fn is_manifest(&self, place: Place) -> bool {
        self.nodes[place as usize].is_manifest
    }

    /// Number of manifests.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Stored blobs that a manifest names, itself included, sorted.
    pub(crate) fn blobs(&self, place: Place) -> &[BlobId] {
        &self.nodes[place as usize].blobs
    }

    /// Manifests that a manifest names.
    pub(crate) fn children(&self, place: Place) -> &[Place] {
        &self.nodes[place as usize].children
    }

    /// Manifests that refer to a manifest.
    pub(crate) fn referrers(&self, place: Place) -> &[Place] {
        &self.nodes[place as usize].referrers
    }

    /// Every manifest that the roots keep, the roots included, in the order of the walk. The walk does not enter `without`.
    pub(crate) fn below(&self, roots: impl IntoIterator<Item = Place>, without: Option<Place>) -> Vec<Place> {
        let mut seen = HashSet::default();
        let mut reached = Vec::new();
        let mut queue: Vec<Place> = roots.into_iter().collect();
        queue.reverse();
        while let Some(place) = queue.pop() {
            if Some(place) == without || !seen.insert(place) {
                continue;
            }
            reached.push(place);
            queue.extend(self.referrers(place).iter().rev());
            queue.extend(self.children(place).iter().rev());
        }
        reached
    }

    /// A manifest and all manifests that it names, at any depth, without referrers.
    pub(crate) fn content(&self, root: Place) -> Vec<Place> {
        let mut seen = HashSet::default();
        let mut queue = vec![root];
        while let Some(place) = queue.pop() {
            if seen.insert(place) {
                queue.extend(self.children(place));
            }
        }
        seen.into_iter().collect()
    }

    /// The blobs of some manifests, each once.
    pub(crate) fn blobs_of(&self, places: &[Place]) -> HashSet<BlobId> {
        places.iter().flat_map(|place| self.blobs(*place)).copied().collect()
    }

    fn place_or_new(&mut self, digest: &Digest) -> Place {
        let place = self.manifests.number(*digest);
        self.nodes.resize_with(self.manifests.len(), Node::default);
        place
    }
}

/// Builds the graph.
struct Builder<'a> {
    context: &'a Context<'a>,
    surveyed: &'a Survey<'a>,
    revisions: HashSet<BlobId>,
    lineage: Lineage,
    /// Each subject with its referrer.
    subjects: Vec<(Digest, Place)>,
}

impl Visitor for Builder<'_> {
    type Role = ();

    fn revision(&self, digest: &Digest, (): &()) -> Result<Option<Reading>, Error> {
        self.context.manifests.revision_of(self.surveyed, digest)
    }

    fn visit(&mut self, digest: &Digest, (): &(), reading: &Reading, queue: &mut Queue<'_, ()>) -> Result<Visited, Error> {
        let place = self.lineage.place_or_new(digest);
        let mut node = Node::default();
        node.blobs.extend(self.context.inventory.find(digest));
        if let Reading::Read(edges) = reading {
            node.is_manifest = true;
            self.follow(edges, &mut node, queue)?;
            if self.surveyed.revision(digest).is_some() {
                self.subjects.extend(edges.subjects.iter().map(|subject| (*subject, place)));
            }
        }
        self.lineage.nodes[place as usize] = node;
        Ok(Visited::Done)
    }
}

impl Builder<'_> {
    fn follow(&mut self, edges: &Edges, node: &mut Node, queue: &mut Queue<'_, ()>) -> Result<(), Error> {
        for edge in &edges.stored {
            node.blobs.push(edge.blob);
            if edge.kind != DescriptorKind::Blob || self.revisions.contains(&edge.blob) {
                self.child(self.context.inventory.digest(edge.blob), node, queue);
            }
        }
        if edges.any_alias {
            for digest in self.surveyed.layers.iter().filter(|digest| digest.algorithm() != Algorithm::Sha256) {
                self.name(digest, DescriptorKind::Blob, node, queue)?;
            }
        }
        for Descriptor { digest, kind, .. } in &edges.unresolved {
            self.name(digest, *kind, node, queue)?;
        }
        Ok(())
    }

    /// Follows a digest that is not stored or that may be an alias of a blob (H3).
    fn name(&mut self, digest: &Digest, kind: DescriptorKind, node: &mut Node, queue: &mut Queue<'_, ()>) -> Result<(), Error> {
        let name = match layer_verdict(self.surveyed, digest)? {
            LinkVerdict::Names(name) => name,
            LinkVerdict::Absent | LinkVerdict::Faulty(_) => *digest,
        };
        node.blobs.extend(self.context.inventory.find(&name));
        if kind != DescriptorKind::Blob || self.surveyed.revision(&name).is_some() {
            self.child(name, node, queue);
        }
        Ok(())
    }

    fn child(&mut self, digest: Digest, node: &mut Node, queue: &mut Queue<'_, ()>) {
        node.children.push(self.lineage.place_or_new(&digest));
        queue.push(&digest, ());
    }
}
