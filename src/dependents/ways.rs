//! The ways from a repository's tags and revisions to damaged digests.

use std::collections::BTreeMap;
use std::rc::Rc;

use foldhash::{HashMap, HashSet};
use rayon::prelude::*;

use super::named::Named;
use super::platform::Described;
use crate::error::Error;
use crate::finding::{Need, Needs};
use crate::graph::{Context, Edges, LinkVerdict, Queue, Reading, Visited, Visitor, Walk, layer_verdict};
use crate::inventory::BlobId;
use crate::oci::{Descriptor, DescriptorKind, Digest, TagName};
use crate::store::LinkContent;
use crate::survey::Survey;

/// The digests that are looked for.
pub(super) struct Wanted<'a> {
    /// With the size that they have, if only those count that state another.
    digests: &'a BTreeMap<Digest, Option<u64>>,
    /// The same in order: what many manifests name is noted by its place here.
    places: Vec<Digest>,
    blobs: HashSet<BlobId>,
    /// How many who need one of them are told apart.
    pub(super) most: usize,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(context: &Context<'_>, digests: &'a BTreeMap<Digest, Option<u64>>) -> Wanted<'a> {
        let blobs = digests.keys().filter_map(|digest| context.inventory.find(digest)).collect();
        Wanted { digests, places: digests.keys().copied().collect(), blobs, most: Needs::most_of_each(digests.len()) }
    }

    /// The place of a digest, if it is wanted.
    pub(super) fn place(&self, digest: &Digest) -> Option<u32> {
        self.places.binary_search(digest).ok().map(|place| place as u32)
    }
}

/// Who in one repository needs what is wanted, and states what size for it.
pub(super) fn of(context: &Context<'_>, survey: &Survey<'_>, wanted: &Wanted<'_>) -> Result<BTreeMap<Digest, Named>, Error> {
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
    let graph = Graph::read(context, survey, wanted, &roots)?;
    if graph.leads.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut search =
        Search { context, survey, wanted, graph: &graph, described: HashMap::default(), kept: 0, found: BTreeMap::new() };

    let places = |digests: &mut dyn Iterator<Item = Digest>| -> Vec<Place> {
        digests.filter_map(|digest| graph.places.get(&digest).copied()).collect()
    };
    let is_tagged = graph.below(places(&mut tags.iter().map(|(_, digest)| *digest)));
    let mut untagged = places(&mut revisions.into_iter());
    untagged.retain(|place| !is_tagged[*place as usize]);
    // Whoever is named by another untagged one is told with it.
    let named: HashSet<Place> = untagged.iter().flat_map(|place| graph.children(*place)).copied().collect();
    untagged.retain(|place| !named.contains(place));
    search.from(None, &untagged)?;
    for (tag, target) in tags {
        search.from(Some(tag), &places(&mut std::iter::once(target)))?;
    }
    Ok(search.found)
}

/// Where a graph has a manifest.
type Place = u32;

/// What one manifest names, as far as it matters here.
#[derive(Default)]
struct Node {
    children: Vec<Digest>,
    /// By place.
    wanted: Vec<u32>,
}

/// The manifests that a repository reaches, by number: what leads from one to another takes 4 bytes.
#[derive(Default)]
struct Graph {
    names: Vec<Digest>,
    places: HashMap<Digest, Place>,
    /// Where the children of each begin and end.
    spans: Vec<(u32, u32)>,
    children: Vec<Place>,
    /// What is wanted of what some name.
    wanted: HashMap<Place, Vec<u32>>,
    /// Those that are wanted, name what is, or lead to one that does; none if there is none such.
    leads: Vec<bool>,
}

impl Graph {
    fn read(context: &Context<'_>, survey: &Survey<'_>, wanted: &Wanted<'_>, roots: &[Digest]) -> Result<Graph, Error> {
        // Many at a time: what follows finds them in the cache.
        survey.revisions.par_iter().with_min_len(64).try_for_each(|revision| match revision.link {
            LinkContent::Absent => Ok(()),
            _ => context.manifests.read_revision(&revision.digest).map(drop),
        })?;
        let revisions: HashSet<BlobId> =
            survey.revisions.iter().filter_map(|revision| context.inventory.find(&revision.digest)).collect();
        let mut visitor = GraphVisitor { context, survey, wanted, revisions: &revisions, graph: Graph::default() };
        for root in roots {
            visitor.graph.place(root);
        }
        Walk::new(context.manifests).run(roots.iter().map(|root| (*root, ())).collect(), &mut visitor)?;
        let mut graph = visitor.graph;
        let needed_by_name = roots.iter().filter(|root| wanted.digests.get(root) == Some(&None)).map(|root| graph.places[root]);
        let hits = graph.wanted.keys().copied().chain(needed_by_name).collect();
        graph.leads = graph.leads(hits);
        Ok(graph)
    }

    /// The place of a manifest, which may be a new one.
    fn place(&mut self, digest: &Digest) -> Place {
        let next = self.names.len() as Place;
        let place = *self.places.entry(*digest).or_insert(next);
        if place == next {
            self.names.push(*digest);
            self.spans.push((0, 0));
        }
        place
    }

    /// Notes what one of them names.
    fn add(&mut self, digest: &Digest, node: Node) {
        let place = self.place(digest);
        let begin = self.children.len() as u32;
        for child in &node.children {
            let child = self.place(child);
            self.children.push(child);
        }
        self.spans[place as usize] = (begin, self.children.len() as u32);
        if !node.wanted.is_empty() {
            self.wanted.insert(place, node.wanted);
        }
    }

    fn children(&self, place: Place) -> &[Place] {
        let (begin, end) = self.spans[place as usize];
        &self.children[begin as usize..end as usize]
    }

    /// Everything that can be reached from there, that itself included.
    fn below(&self, roots: Vec<Place>) -> Vec<bool> {
        let mut seen = vec![false; self.names.len()];
        let mut queue = roots;
        while let Some(place) = queue.pop() {
            if !std::mem::replace(&mut seen[place as usize], true) {
                queue.extend(self.children(place));
            }
        }
        seen
    }

    /// Those given, and all that lead to one.
    fn leads(&self, hits: Vec<Place>) -> Vec<bool> {
        if hits.is_empty() {
            return Vec::new();
        }
        let mut ways: Vec<(Place, Place)> = Vec::with_capacity(self.children.len());
        for parent in 0..self.names.len() as Place {
            ways.extend(self.children(parent).iter().map(|child| (*child, parent)));
        }
        ways.sort_unstable();
        let mut leads = vec![false; self.names.len()];
        let mut queue = hits;
        while let Some(place) = queue.pop() {
            if !std::mem::replace(&mut leads[place as usize], true) {
                let begin = ways.partition_point(|(child, _)| *child < place);
                queue.extend(ways[begin..].iter().take_while(|(child, _)| *child == place).map(|(_, parent)| *parent));
            }
        }
        leads
    }
}

/// Builds the graph.
struct GraphVisitor<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    wanted: &'a Wanted<'a>,
    revisions: &'a HashSet<BlobId>,
    graph: Graph,
}

impl Visitor for GraphVisitor<'_> {
    type Role = ();

    fn revision(&self, digest: &Digest, (): &()) -> Result<Option<Reading>, Error> {
        // What was pushed since the run began needs nothing that was missing before.
        if self.context.inventory.find(digest).is_none() && self.survey.revision(digest).is_none() {
            return Ok(Some(Reading::Absent));
        }
        self.context.manifests.revision_of(self.survey, digest)
    }

    fn visit(&mut self, digest: &Digest, (): &(), reading: &Reading, queue: &mut Queue<()>) -> Result<Visited, Error> {
        if let Reading::Read(edges) = reading {
            let node = self.node(edges)?;
            node.children.iter().for_each(|child| queue.push(*child, ()));
            self.graph.add(digest, node);
        }
        Ok(Visited::Done)
    }
}

impl GraphVisitor<'_> {
    fn node(&self, edges: &Edges) -> Result<Node, Error> {
        let mut node = Node::default();
        for edge in &edges.stored {
            let is_wanted = self.wanted.blobs.contains(&edge.blob);
            let is_manifest = edge.kind != DescriptorKind::Blob || self.revisions.contains(&edge.blob);
            if is_wanted || is_manifest {
                let name = self.context.inventory.digest(edge.blob);
                node.name(name, self.wanted.place(&name), is_manifest);
            }
        }
        for descriptor in &edges.unresolved {
            self.follow(descriptor, &mut node)?;
        }
        node.wanted.sort_unstable();
        node.wanted.dedup();
        Ok(node)
    }

    /// Deals with a digest that is not stored, or that may be another name of a blob (H3).
    fn follow(&self, descriptor: &Descriptor, node: &mut Node) -> Result<(), Error> {
        let name = match layer_verdict(self.survey, &descriptor.digest)? {
            LinkVerdict::Names(name) => name,
            LinkVerdict::Absent | LinkVerdict::Faulty(_) => descriptor.digest,
        };
        let stored = self.context.inventory.find(&name);
        if let (Some(blob), Some(size_bytes)) = (stored, descriptor.size_bytes) {
            self.context.inventory.learn_size(blob, size_bytes);
        }
        let is_needed = stored.is_some() || !descriptor.foreign;
        let wanted = self.wanted.place(&name).filter(|_| is_needed);
        let is_manifest = descriptor.kind != DescriptorKind::Blob || self.survey.revision(&name).is_some();
        node.name(name, wanted, is_manifest);
        Ok(())
    }
}

impl Node {
    fn name(&mut self, digest: Digest, wanted: Option<u32>, is_manifest: bool) {
        self.wanted.extend(wanted);
        if is_manifest {
            self.children.push(digest);
        }
    }
}

/// What is kept of what manifests say, counted in platforms and sizes: what is beyond is read again.
const MAX_DESCRIBED: usize = 100_000;

/// Goes down the ways and keeps who was met.
struct Search<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    wanted: &'a Wanted<'a>,
    graph: &'a Graph,
    described: HashMap<Place, Rc<Described>>,
    /// How much that is.
    kept: usize,
    found: BTreeMap<Digest, Named>,
}

impl Search<'_> {
    /// Goes down from the target of a tag, or from untagged revisions. Tags are taken in their order.
    fn from(&mut self, tag: Option<&TagName>, roots: &[Place]) -> Result<(), Error> {
        let graph = self.graph;
        let (mut seen, mut entered, mut told) = (HashSet::default(), HashSet::default(), HashSet::default());
        // Each with the one that names it.
        let mut queue: Vec<(Place, Option<Place>)> = Vec::new();
        for root in roots {
            let name = graph.names[*root as usize];
            if self.wanted.digests.get(&name) == Some(&None) {
                self.tell(&name, self.need(tag, *root, None));
            }
            queue.push((*root, None));
        }
        while let Some((place, parent)) = queue.pop() {
            if !graph.leads[place as usize] || !seen.insert((place, parent)) {
                continue;
            }
            if let Some(wanted) = graph.wanted.get(&place) {
                let listed = self.listed(place, parent)?;
                // Whoever lists it as the same platform says no more than the first.
                if told.insert((place, listed.clone())) {
                    self.tell_of(tag, place, wanted, listed.as_ref())?;
                }
            }
            // Whoever names it: what it leads to is queued once.
            if entered.insert(place) {
                queue.extend(graph.children(place).iter().map(|child| (*child, Some(place))));
            }
        }
        Ok(())
    }

    /// Notes a manifest as one that needs what it names.
    fn tell_of(&mut self, tag: Option<&TagName>, place: Place, wanted: &[u32], listed: Option<&String>) -> Result<(), Error> {
        let described = self.describe(place)?;
        for number in wanted {
            let digest = self.wanted.places[*number as usize];
            if let Some(stored) = self.wanted.digests[&digest] {
                let wrong: Vec<u64> = described.sizes_of(*number).filter(|size| *size != stored).collect();
                if wrong.is_empty() {
                    continue;
                }
                self.found.entry(digest).or_default().learn(wrong);
            }
            // The platform that is damaged: of what the manifest lists, of the manifest itself where it is listed, or of its configuration.
            let platform = described.platform_of(&digest).or(listed).or(described.own());
            self.tell(&digest, self.need(tag, place, platform.cloned()));
        }
        Ok(())
    }

    fn tell(&mut self, wanted: &Digest, need: Need) {
        let most = self.wanted.most;
        self.found.entry(*wanted).or_default().needs.append([need], most);
    }

    fn need(&self, tag: Option<&TagName>, manifest: Place, platform: Option<String>) -> Need {
        let manifest = self.graph.names[manifest as usize];
        Need { repository: self.survey.name.clone(), tag: tag.cloned(), manifest, platform }
    }

    /// The platform that a manifest is listed as.
    fn listed(&mut self, manifest: Place, parent: Option<Place>) -> Result<Option<String>, Error> {
        let Some(parent) = parent else { return Ok(None) };
        Ok(self.describe(parent)?.platform_of(&self.graph.names[manifest as usize]).cloned())
    }

    fn describe(&mut self, manifest: Place) -> Result<Rc<Described>, Error> {
        if let Some(described) = self.described.get(&manifest) {
            return Ok(Rc::clone(described));
        }
        let name = &self.graph.names[manifest as usize];
        let described = Rc::new(Described::read(self.context, self.survey, self.wanted, name)?);
        if self.kept > MAX_DESCRIBED {
            self.described.clear();
            self.kept = 0;
        }
        self.kept += described.len();
        self.described.insert(manifest, Rc::clone(&described));
        Ok(described)
    }
}
