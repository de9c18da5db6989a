//! Chains from a repository's tags and revisions to damaged digests.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::{HashMap, HashSet};
use rayon::prelude::*;

use super::named::Named;
use super::platform::Described;
use crate::error::Error;
use crate::finding::{Need, Needs};
use crate::findings::LISTED_OF_A_REPOSITORY;
use crate::graph::{Context, Edges, LinkVerdict, Name, Names, Numbered, Queue, Reading, Visited, Visitor, Walk, layer_verdict};
use crate::inventory::{BlobId, Inventory};
use crate::oci::{Descriptor, DescriptorKind, Digest, TagName};
use crate::store::LinkContent;
use crate::survey::Survey;

/// The digests to search for.
pub(super) struct SearchTargets<'a> {
    /// With the real size, if only manifests that state another size count.
    digests: &'a BTreeMap<Digest, Option<u64>>,
    /// The same digests in order. Nodes refer to them by place.
    places: Vec<Digest>,
    blobs: HashSet<BlobId>,
    /// Images to list for each digest.
    pub(super) most: usize,
    /// Of the targets with a size that no report lists: whether each was found. Clients that push control how many there are.
    unlisted: Vec<AtomicBool>,
}

/// Targets with a size for which images are listed.
const LISTED: usize = LISTED_OF_A_REPOSITORY as usize;

impl<'a> SearchTargets<'a> {
    pub(super) fn new(context: &Context<'_>, digests: &'a BTreeMap<Digest, Option<u64>>) -> SearchTargets<'a> {
        let blobs = digests.keys().filter_map(|digest| context.inventory.find(digest)).collect();
        let with_size = digests.values().filter(|size| size.is_some()).count();
        let unlisted = (0..with_size.saturating_sub(LISTED)).map(|_| AtomicBool::new(false)).collect();
        let places = digests.keys().copied().collect();
        SearchTargets { digests, places, blobs, most: Needs::most_of_each(digests.len().min(LISTED)), unlisted }
    }

    /// Where it is noted that a target was found, if no report lists it.
    fn unlisted(&self, place: u32) -> Option<&AtomicBool> {
        self.unlisted.get((place as usize).checked_sub(LISTED)?)
    }

    /// The number of targets that were found and that no report lists.
    pub(super) fn found_unlisted(&self) -> u64 {
        self.unlisted.iter().filter(|found| found.load(Ordering::Relaxed)).count() as u64
    }

    /// The place of a digest, if it is a target.
    pub(super) fn place(&self, digest: &Digest) -> Option<u32> {
        self.places.binary_search(digest).ok().map(|place| place as u32)
    }
}

/// The images in one repository that need a target, and the sizes that they state.
pub(super) fn in_repository(
    context: &Context<'_>,
    survey: &Survey<'_>,
    targets: &SearchTargets<'_>,
) -> Result<BTreeMap<Digest, Named>, Error> {
    let mut tags: Vec<(&TagName, Digest)> = Vec::new();
    for tag in &survey.tags {
        if let LinkContent::Digest(digest) = tag.current {
            tags.push((&tag.name, digest));
        }
    }
    let mut revisions: Vec<Digest> = Vec::new();
    for revision in survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent) {
        revisions.push(revision.digest);
    }
    let roots: Vec<Digest> = tags.iter().map(|(_, digest)| *digest).chain(revisions.iter().copied()).collect();
    let graph = Graph::read(context, survey, targets, &roots)?;
    if graph.leads.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut search =
        Search { context, survey, targets, graph: &graph, described: HashMap::default(), kept: 0, found: BTreeMap::new() };

    let places = |digests: &mut dyn Iterator<Item = Digest>| -> Vec<Place> {
        digests.filter_map(|digest| graph.find(context.inventory, &digest)).collect()
    };
    let is_tagged = graph.below(places(&mut tags.iter().map(|(_, digest)| *digest)));
    let mut untagged = places(&mut revisions.into_iter());
    untagged.retain(|place| !is_tagged[*place as usize]);
    // An untagged manifest that another untagged one names is reported with that one.
    let named: HashSet<Place> = untagged.iter().flat_map(|place| graph.children(*place)).copied().collect();
    untagged.retain(|place| !named.contains(place));
    search.walk_from(None, &untagged)?;
    for (tag, target) in tags {
        search.walk_from(Some(tag), &places(&mut std::iter::once(target)))?;
    }
    Ok(search.found)
}

/// The number of a manifest in a graph.
type Place = u32;

/// The manifests and the targets that one manifest names.
#[derive(Default)]
struct Node {
    children: Vec<Name>,
    /// Targets, by place.
    targets: Vec<u32>,
}

/// The manifests that a repository reaches, by number: an edge takes 4 bytes.
#[derive(Default)]
struct Graph {
    names: Names,
    manifests: Numbered<Name>,
    /// The range of each manifest's children in `children`.
    spans: Vec<(u32, u32)>,
    children: Vec<Place>,
    /// The targets that a manifest names, if it names any.
    targets: HashMap<Place, Vec<u32>>,
    /// Whether each manifest is a target, names one or leads to one that does. Empty if there is none.
    leads: Vec<bool>,
}

impl Graph {
    fn read(context: &Context<'_>, survey: &Survey<'_>, targets: &SearchTargets<'_>, roots: &[Digest]) -> Result<Graph, Error> {
        // Reads in parallel; the walk then finds the manifests in the cache.
        survey.revisions.par_iter().with_min_len(64).try_for_each(|revision| match revision.link {
            LinkContent::Absent => Ok(()),
            _ => context.manifests.read_revision(&revision.digest).map(drop),
        })?;
        let revisions: HashSet<BlobId> =
            survey.revisions.iter().filter_map(|revision| context.inventory.find(&revision.digest)).collect();
        let mut visitor = GraphVisitor { context, survey, targets, revisions: &revisions, graph: Graph::default() };
        for root in roots {
            let name = visitor.graph.names.name(context.inventory, root);
            visitor.graph.place(name);
        }
        Walk::new(context.manifests).run(roots.iter().map(|root| (*root, ())).collect(), &mut visitor)?;
        let mut graph = visitor.graph;
        let needed_by_name = roots.iter().filter(|root| targets.digests.get(root) == Some(&None));
        let needed_by_name = needed_by_name.filter_map(|root| graph.find(context.inventory, root));
        let hits = graph.targets.keys().copied().chain(needed_by_name).collect();
        graph.leads = graph.leads(hits);
        Ok(graph)
    }

    /// The place of a manifest. Adds the manifest if it is new.
    fn place(&mut self, name: Name) -> Place {
        let place = self.manifests.number(name);
        self.spans.resize(self.manifests.len(), (0, 0));
        place
    }

    /// The place of a manifest, if it is known.
    fn find(&self, inventory: &Inventory, digest: &Digest) -> Option<Place> {
        self.manifests.find(&self.names.find(inventory, digest)?)
    }

    /// The digest of a manifest.
    fn digest(&self, inventory: &Inventory, place: Place) -> Digest {
        self.names.digest(inventory, self.manifests.get(place))
    }

    /// Adds what a manifest names.
    fn add(&mut self, name: Name, node: Node) {
        let place = self.place(name);
        let begin = self.children.len() as u32;
        for child in node.children {
            let child = self.place(child);
            self.children.push(child);
        }
        self.spans[place as usize] = (begin, self.children.len() as u32);
        if !node.targets.is_empty() {
            self.targets.insert(place, node.targets);
        }
    }

    fn children(&self, place: Place) -> &[Place] {
        let (begin, end) = self.spans[place as usize];
        &self.children[begin as usize..end as usize]
    }

    /// Marks the roots and everything that they reach.
    fn below(&self, roots: Vec<Place>) -> Vec<bool> {
        let mut seen = vec![false; self.manifests.len()];
        let mut queue = roots;
        while let Some(place) = queue.pop() {
            if !std::mem::replace(&mut seen[place as usize], true) {
                queue.extend(self.children(place));
            }
        }
        seen
    }

    /// Marks the hits and every manifest that leads to one.
    fn leads(&self, hits: Vec<Place>) -> Vec<bool> {
        if hits.is_empty() {
            return Vec::new();
        }
        let mut edges: Vec<(Place, Place)> = Vec::with_capacity(self.children.len());
        for parent in 0..self.manifests.len() as Place {
            edges.extend(self.children(parent).iter().map(|child| (*child, parent)));
        }
        edges.sort_unstable();
        let mut leads = vec![false; self.manifests.len()];
        let mut queue = hits;
        while let Some(place) = queue.pop() {
            if !std::mem::replace(&mut leads[place as usize], true) {
                let begin = edges.partition_point(|(child, _)| *child < place);
                queue.extend(edges[begin..].iter().take_while(|(child, _)| *child == place).map(|(_, parent)| *parent));
            }
        }
        leads
    }
}

/// Builds the graph.
struct GraphVisitor<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    targets: &'a SearchTargets<'a>,
    revisions: &'a HashSet<BlobId>,
    graph: Graph,
}

impl Visitor for GraphVisitor<'_> {
    type Role = ();

    fn revision(&self, digest: &Digest, (): &()) -> Result<Option<Reading>, Error> {
        // A manifest pushed since the run began needs nothing that was missing before.
        if self.context.inventory.find(digest).is_none() && self.survey.revision(digest).is_none() {
            return Ok(Some(Reading::Absent));
        }
        self.context.manifests.revision_of(self.survey, digest)
    }

    fn visit(&mut self, digest: &Digest, (): &(), reading: &Reading, queue: &mut Queue<'_, ()>) -> Result<Visited, Error> {
        if let Reading::Read(edges) = reading {
            let node = self.node(edges, queue)?;
            let name = self.graph.names.name(self.context.inventory, digest);
            self.graph.add(name, node);
        }
        Ok(Visited::Done)
    }
}

impl GraphVisitor<'_> {
    fn node(&mut self, edges: &Edges, queue: &mut Queue<'_, ()>) -> Result<Node, Error> {
        let mut node = Node::default();
        for edge in &edges.stored {
            let is_target = self.targets.blobs.contains(&edge.blob);
            let is_manifest = edge.kind != DescriptorKind::Blob || self.revisions.contains(&edge.blob);
            if is_target {
                node.targets.extend(self.targets.place(&self.context.inventory.digest(edge.blob)));
            }
            if is_manifest {
                node.children.push(Name::of(edge.blob));
                queue.push_blob(edge.blob, ());
            }
        }
        for descriptor in &edges.unresolved {
            self.follow(descriptor, &mut node, queue)?;
        }
        node.targets.sort_unstable();
        node.targets.dedup();
        Ok(node)
    }

    /// Follows a digest that is not stored or that may be an alias of a blob (H3).
    fn follow(&mut self, descriptor: &Descriptor, node: &mut Node, queue: &mut Queue<'_, ()>) -> Result<(), Error> {
        let name = match layer_verdict(self.survey, &descriptor.digest)? {
            LinkVerdict::Names(name) => name,
            LinkVerdict::Absent | LinkVerdict::Faulty(_) => descriptor.digest,
        };
        let stored = self.context.inventory.find(&name);
        if let (Some(blob), Some(size_bytes)) = (stored, descriptor.size_bytes) {
            self.context.inventory.learn_size(blob, size_bytes);
        }
        let is_needed = stored.is_some() || !descriptor.foreign;
        node.targets.extend(self.targets.place(&name).filter(|_| is_needed));
        if descriptor.kind != DescriptorKind::Blob || self.survey.revision(&name).is_some() {
            node.children.push(self.graph.names.name(self.context.inventory, &name));
            queue.push(&name, ());
        }
        Ok(())
    }
}

/// Limit of the cache of manifest contents, in platforms and sizes. Beyond it, manifests are read again.
const MAX_DESCRIBED: usize = 25_000;

/// Walks down from the roots and collects the images that need a target.
struct Search<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    targets: &'a SearchTargets<'a>,
    graph: &'a Graph,
    described: HashMap<Place, Rc<Described>>,
    /// Size of `described`, in platforms and sizes.
    kept: usize,
    found: BTreeMap<Digest, Named>,
}

impl Search<'_> {
    /// Walks down from the target of a tag, or from untagged revisions. Takes tags in their order.
    fn walk_from(&mut self, tag: Option<&TagName>, roots: &[Place]) -> Result<(), Error> {
        let graph = self.graph;
        let (mut seen, mut entered, mut recorded) = (HashSet::default(), HashSet::default(), HashSet::default());
        // Each manifest with its parent.
        let mut queue: Vec<(Place, Option<Place>)> = Vec::new();
        for root in roots {
            let name = graph.digest(self.context.inventory, *root);
            if self.targets.digests.get(&name) == Some(&None) {
                self.record(&name, self.need(tag, *root, None));
            }
            queue.push((*root, None));
        }
        while let Some((place, parent)) = queue.pop() {
            if !graph.leads[place as usize] || !seen.insert((place, parent)) {
                continue;
            }
            if let Some(targets) = graph.targets.get(&place) {
                let listed = self.listed(place, parent)?;
                // Another parent that lists it as the same platform adds nothing.
                if recorded.insert((place, listed.clone())) {
                    self.record_targets(tag, place, targets, listed.as_ref())?;
                }
            }
            // Queues the children once, for all parents.
            if entered.insert(place) {
                queue.extend(graph.children(place).iter().map(|child| (*child, Some(place))));
            }
        }
        Ok(())
    }

    /// Records a manifest as one that needs the targets that it names.
    fn record_targets(
        &mut self,
        tag: Option<&TagName>,
        place: Place,
        targets: &[u32],
        listed: Option<&String>,
    ) -> Result<(), Error> {
        let described = self.describe(place)?;
        for number in targets {
            let digest = self.targets.places[*number as usize];
            if let Some(stored) = self.targets.digests[&digest] {
                let wrong: Vec<u64> = described.sizes_of(*number).filter(|size| *size != stored).collect();
                if wrong.is_empty() {
                    continue;
                }
                if let Some(found) = self.targets.unlisted(*number) {
                    found.store(true, Ordering::Relaxed);
                    continue;
                }
                self.found.entry(digest).or_default().learn(wrong);
            }
            // The damaged platform: that of the target in this manifest, that of this manifest in its index, or that of its
            // configuration.
            let platform = described.platform_of(&digest).or(listed).or(described.own());
            self.record(&digest, self.need(tag, place, platform.cloned()));
        }
        Ok(())
    }

    fn record(&mut self, target: &Digest, need: Need) {
        let most = self.targets.most;
        self.found.entry(*target).or_default().needs.append([need], most);
    }

    fn need(&self, tag: Option<&TagName>, manifest: Place, platform: Option<String>) -> Need {
        let manifest = self.graph.digest(self.context.inventory, manifest);
        Need { repository: self.survey.name.clone(), tag: tag.cloned(), manifest, platform }
    }

    /// The platform that the parent states for a manifest.
    fn listed(&mut self, manifest: Place, parent: Option<Place>) -> Result<Option<String>, Error> {
        let Some(parent) = parent else { return Ok(None) };
        Ok(self.describe(parent)?.platform_of(&self.graph.digest(self.context.inventory, manifest)).cloned())
    }

    fn describe(&mut self, manifest: Place) -> Result<Rc<Described>, Error> {
        if let Some(described) = self.described.get(&manifest) {
            return Ok(Rc::clone(described));
        }
        let name = self.graph.digest(self.context.inventory, manifest);
        let described = Rc::new(Described::read(self.context, self.survey, self.targets, &name)?);
        if self.kept > MAX_DESCRIBED {
            self.described.clear();
            self.kept = 0;
        }
        self.kept += described.len();
        self.described.insert(manifest, Rc::clone(&described));
        Ok(described)
    }
}
