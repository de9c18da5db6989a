//! The ways from a repository's tags and revisions to damaged digests.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashSet};
use rayon::prelude::*;

use super::Named;
use super::platform::Described;
use crate::error::Error;
use crate::finding::Need;
use crate::mark::{BlobId, Context, LinkVerdict, MAX_STRANGERS, Reading, layer_verdict};
use crate::oci::{Descriptor, DescriptorKind, Digest, TagName};
use crate::store::LinkContent;
use crate::survey::Survey;

/// The digests that are looked for.
pub(super) struct Wanted<'a> {
    /// With the size that they have, if only those count that state another.
    digests: &'a BTreeMap<Digest, Option<u64>>,
    blobs: HashSet<BlobId>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(context: &Context<'_>, digests: &'a BTreeMap<Digest, Option<u64>>) -> Wanted<'a> {
        Wanted { digests, blobs: digests.keys().filter_map(|digest| context.inventory.find(digest)).collect() }
    }
}

/// Who in one repository needs what is wanted, and states what size for it.
pub(super) fn of(context: &Context<'_>, survey: &Survey, wanted: &Wanted<'_>) -> Result<BTreeMap<Digest, Named>, Error> {
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
    let mut search = Search { context, survey, wanted, graph: &graph, described: HashMap::default(), found: BTreeMap::new() };

    let tagged = graph.below(tags.iter().map(|(_, digest)| *digest));
    let mut untagged: Vec<Digest> = revisions.into_iter().filter(|digest| !tagged.contains(digest)).collect();
    // Whoever is named by another untagged one is told with it.
    let named: HashSet<Digest> = untagged.iter().flat_map(|digest| graph.children(digest)).copied().collect();
    untagged.retain(|digest| !named.contains(digest));
    search.from(None, &untagged)?;
    for (tag, target) in tags {
        search.from(Some(tag), &[target])?;
    }
    Ok(search.found)
}

/// What one manifest names, as far as it matters here.
#[derive(Default)]
struct Node {
    /// Whether it is a manifest: cache indexes list layers.
    is_manifest: bool,
    children: Vec<Digest>,
    wanted: Vec<Digest>,
}

/// The manifests that a repository reaches.
struct Graph {
    nodes: HashMap<Digest, Node>,
    /// Those that are wanted, name what is, or lead to one that does.
    leads: HashSet<Digest>,
}

impl Graph {
    fn read(context: &Context<'_>, survey: &Survey, wanted: &Wanted<'_>, roots: &[Digest]) -> Result<Graph, Error> {
        // Many at a time: what follows finds them in the cache.
        survey.revisions.par_iter().with_min_len(64).try_for_each(|revision| match revision.link {
            LinkContent::Absent => Ok(()),
            _ => context.manifests.read_revision(&revision.digest).map(drop),
        })?;
        let revisions: HashSet<BlobId> =
            survey.revisions.iter().filter_map(|revision| context.inventory.find(&revision.digest)).collect();
        let mut nodes: HashMap<Digest, Node> = HashMap::default();
        let mut queue = roots.to_vec();
        let mut strangers = 0;
        while let Some(digest) = queue.pop() {
            // Who leads further is held, and is not followed here either.
            if nodes.contains_key(&digest) || strangers >= MAX_STRANGERS {
                continue;
            }
            let node = Node::read(context, survey, wanted, &revisions, &digest)?;
            strangers += u64::from(node.is_manifest && survey.revision(&digest).is_none());
            queue.extend(&node.children);
            nodes.insert(digest, node);
        }
        let needed_by_name: HashSet<&Digest> = roots.iter().filter(|root| wanted.digests.get(root) == Some(&None)).collect();
        let leads = leads(&nodes, |digest, node| !node.wanted.is_empty() || needed_by_name.contains(digest));
        Ok(Graph { nodes, leads })
    }

    fn children(&self, digest: &Digest) -> &[Digest] {
        self.nodes.get(digest).map_or(&[], |node| &node.children)
    }

    /// Everything that can be reached from there, that itself included.
    fn below(&self, roots: impl Iterator<Item = Digest>) -> HashSet<Digest> {
        let mut seen = HashSet::default();
        let mut queue: Vec<Digest> = roots.collect();
        while let Some(digest) = queue.pop() {
            if seen.insert(digest) {
                queue.extend(self.children(&digest));
            }
        }
        seen
    }
}

/// Those that `hit` says, and all that lead to one.
fn leads(nodes: &HashMap<Digest, Node>, hit: impl Fn(&Digest, &Node) -> bool) -> HashSet<Digest> {
    let mut queue: Vec<Digest> = nodes.iter().filter(|(digest, node)| hit(digest, node)).map(|(digest, _)| *digest).collect();
    let mut leads = HashSet::default();
    if queue.is_empty() {
        return leads;
    }
    let mut parents: HashMap<Digest, Vec<Digest>> = HashMap::default();
    for (parent, node) in nodes {
        for child in &node.children {
            parents.entry(*child).or_default().push(*parent);
        }
    }
    while let Some(digest) = queue.pop() {
        if leads.insert(digest) {
            queue.extend(parents.get(&digest).into_iter().flatten());
        }
    }
    leads
}

impl Node {
    fn read(
        context: &Context<'_>,
        survey: &Survey,
        wanted: &Wanted<'_>,
        revisions: &HashSet<BlobId>,
        digest: &Digest,
    ) -> Result<Node, Error> {
        let mut node = Node::default();
        let Reading::Read(edges) = context.manifests.read(digest)? else { return Ok(node) };
        node.is_manifest = true;
        for edge in &edges.stored {
            let is_wanted = wanted.blobs.contains(&edge.blob);
            let is_manifest = edge.kind != DescriptorKind::Blob || revisions.contains(&edge.blob);
            if is_wanted || is_manifest {
                node.name(context.inventory.digest(edge.blob), is_wanted, is_manifest);
            }
        }
        for descriptor in &edges.unresolved {
            node.follow(context, survey, wanted, descriptor)?;
        }
        node.wanted.sort_unstable();
        node.wanted.dedup();
        Ok(node)
    }

    /// Deals with a digest that is not stored, or that may be another name of a blob (H3).
    fn follow(
        &mut self,
        context: &Context<'_>,
        survey: &Survey,
        wanted: &Wanted<'_>,
        descriptor: &Descriptor,
    ) -> Result<(), Error> {
        let name = match layer_verdict(context, survey, &descriptor.digest)? {
            LinkVerdict::Names(name) => name,
            LinkVerdict::Absent | LinkVerdict::Faulty(_) => descriptor.digest,
        };
        let stored = context.inventory.find(&name);
        if let (Some(blob), Some(size_bytes)) = (stored, descriptor.size_bytes) {
            context.inventory.learn_size(blob, size_bytes);
        }
        let is_needed = stored.is_some() || !descriptor.foreign;
        let is_wanted = is_needed && wanted.digests.contains_key(&name);
        let is_manifest = descriptor.kind != DescriptorKind::Blob || survey.revision(&name).is_some();
        self.name(name, is_wanted, is_manifest);
        Ok(())
    }

    fn name(&mut self, digest: Digest, is_wanted: bool, is_manifest: bool) {
        if is_wanted {
            self.wanted.push(digest);
        }
        if is_manifest {
            self.children.push(digest);
        }
    }
}

/// Goes down the ways and keeps who was met.
struct Search<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey,
    wanted: &'a Wanted<'a>,
    graph: &'a Graph,
    described: HashMap<Digest, Described>,
    found: BTreeMap<Digest, Named>,
}

impl Search<'_> {
    /// Goes down from the target of a tag, or from untagged revisions. Tags are taken in their order.
    fn from(&mut self, tag: Option<&TagName>, roots: &[Digest]) -> Result<(), Error> {
        let graph = self.graph;
        let mut needs: BTreeMap<Digest, BTreeSet<Need>> = BTreeMap::new();
        let mut seen = HashSet::default();
        // Each with the one that names it.
        let mut queue: Vec<(Digest, Option<Digest>)> = Vec::new();
        for root in roots {
            if self.wanted.digests.get(root) == Some(&None) {
                needs.entry(*root).or_default().insert(self.need(tag, root, None));
            }
            queue.push((*root, None));
        }
        while let Some((digest, parent)) = queue.pop() {
            if !graph.leads.contains(&digest) || !seen.insert((digest, parent)) {
                continue;
            }
            for wanted in &graph.nodes[&digest].wanted {
                self.describe(&digest)?;
                if let Some(stored) = self.wanted.digests[wanted] {
                    let wrong: Vec<u64> = self.described[&digest].sizes_of(wanted).filter(|size| *size != stored).collect();
                    if wrong.is_empty() {
                        continue;
                    }
                    self.found.entry(*wanted).or_default().learn(wrong);
                }
                let platform = self.platform(&digest, parent.as_ref(), wanted)?;
                needs.entry(*wanted).or_default().insert(self.need(tag, &digest, platform));
            }
            queue.extend(graph.children(&digest).iter().map(|child| (*child, Some(digest))));
        }
        for (digest, needs) in needs {
            let named = self.found.entry(digest).or_default();
            let all = if tag.is_some() { &mut named.tagged } else { &mut named.untagged };
            all.append(needs);
        }
        Ok(())
    }

    fn need(&self, tag: Option<&TagName>, manifest: &Digest, platform: Option<String>) -> Need {
        Need { repository: self.survey.name.clone(), tag: tag.cloned(), manifest: *manifest, platform }
    }

    /// The platform that is damaged: of what the manifest lists, of the manifest itself where it is listed, or of its configuration.
    fn platform(&mut self, manifest: &Digest, parent: Option<&Digest>, wanted: &Digest) -> Result<Option<String>, Error> {
        if let Some(parent) = parent {
            self.describe(parent)?;
        }
        let described = &self.described[manifest];
        let listed = parent.and_then(|parent| self.described[parent].platform_of(manifest));
        Ok(described.platform_of(wanted).or(listed).or(described.own()).cloned())
    }

    fn describe(&mut self, digest: &Digest) -> Result<(), Error> {
        if !self.described.contains_key(digest) {
            let described = Described::read(self.context, self.survey, digest)?;
            self.described.insert(*digest, described);
        }
        Ok(())
    }
}
