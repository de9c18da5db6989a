//! What the revisions and tags in quarantine name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::needed::subjects;
use super::{Overlay, Quarantine, Reader, Run};
use crate::error::Error;
use crate::graph::{Manifests, Queue, Reading, Visited, Visitor, Walk};
use crate::inventory::Inventory;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Algorithm, DescriptorKind, Digest, RepositoryName};
use crate::store::{FileState, LinkContent, Repository, RepositoryEntry, Store, stat_targets};

/// What manifests and tags name, so that their images can be served whole. An image is served through the links of its own repository: those of
/// another one do nothing for it. Blobs belong to no repository.
#[derive(Debug, Default)]
pub(super) struct Reached {
    by_repository: HashMap<RepositoryName, HashSet<Digest>>,
    anywhere: HashSet<Digest>,
}

impl Reached {
    /// Follows these revisions and targets of tags, by repository.
    fn from(
        mut revisions: BTreeMap<RepositoryName, BTreeSet<Digest>>,
        tags: &BTreeMap<RepositoryName, BTreeSet<Digest>>,
        (overlay, runs): (&Overlay<'_>, &[&Run<'_>]),
        (inventory, manifests): (&Inventory, &Manifests<'_>),
    ) -> Result<Reached, Error> {
        for (repository, targets) in tags {
            revisions.entry(repository.clone()).or_default().extend(targets);
        }
        let mut all = Reached::default();
        for (repository, roots) in revisions {
            let mut following = Following { overlay, runs, inventory, manifests, repository: &repository };
            let mut reached = following.reached(roots, HashSet::new())?;
            if let Some(targets) = tags.get(&repository) {
                reached = following.with_referrers(targets, reached)?;
            }
            all.by_repository.insert(repository, reached);
        }
        all.anywhere = all.by_repository.values().flatten().copied().collect();
        Ok(all)
    }

    /// Whether something belongs to it. No image needs its tags.
    pub(super) fn needs(&self, target: &Target) -> bool {
        if matches!(target, Target::Tag(..) | Target::Link(LinkDirectory::History(..), _)) {
            return false;
        }
        let Some(digest) = target.digest() else { return false };
        match target.repository() {
            Some(repository) => self.by_repository.get(repository).is_some_and(|digests| digests.contains(digest)),
            None => self.anywhere.contains(digest),
        }
    }
}

/// Follows what the revisions and tags in runs that stay (`stays`) name: that has to stay as well. What a tag names may have been quarantined
/// later, by another run.
pub(super) fn by_staying(
    overlay: &Overlay<'_>,
    quarantine: &Quarantine<'_>,
    stays: &dyn Fn(&Run<'_>) -> bool,
    inventory: &Inventory,
    manifests: &Manifests<'_>,
) -> Result<Reached, Error> {
    let runs: Vec<&Run<'_>> = quarantine.collected().collect();
    let mut revisions: BTreeMap<RepositoryName, BTreeSet<Digest>> = BTreeMap::new();
    let mut tags: BTreeMap<RepositoryName, BTreeSet<Digest>> = BTreeMap::new();
    for held in runs.iter().filter(|run| stays(run)).flat_map(|run| run.held()) {
        match &held.target {
            Target::Link(directory @ LinkDirectory::Revisions(repository), digest) => {
                let roots = revisions.entry(repository.clone()).or_default();
                roots.insert(*digest);
                roots.extend(subjects(directory, digest, manifests)?);
            }
            Target::Tag(repository, _, digest) => {
                tags.entry(repository.clone()).or_default().insert(*digest);
            }
            _ => {}
        }
    }
    Reached::from(revisions, &tags, (overlay, &runs), (inventory, manifests))
}

/// What comes back with the tags that are to come back (`is_wanted`): where what they name was quarantined later, by another run, that is in
/// the answer with its run. Of a tag that is there again, nothing.
///
/// # Errors
///
/// When something that is there cannot be read.
pub fn following(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    is_wanted: &dyn Fn(&Run<'_>, &Target) -> bool,
) -> Result<BTreeMap<Target, String>, Error> {
    let held = || quarantine.collected().flat_map(|run| run.held().iter().map(move |held| (run, &held.target)));
    let wanted: HashSet<&Target> = held().filter(|(run, target)| is_wanted(run, target)).map(|(_, target)| target).collect();
    let tagged: Vec<&Target> = wanted.iter().filter(|target| matches!(target, Target::Tag(..))).copied().collect();
    if tagged.is_empty() || held().all(|(run, target)| is_wanted(run, target)) {
        return Ok(BTreeMap::new());
    }
    let mut tags: BTreeMap<RepositoryName, BTreeSet<Digest>> = BTreeMap::new();
    stat_targets(reader.store(), &tagged, &mut |target, state| {
        if let (FileState::Absent, Target::Tag(repository, _, digest)) = (state, target) {
            tags.entry(repository.clone()).or_default().insert(*digest);
        }
    })?;
    let overlay = Overlay::new(reader.store(), quarantine);
    let (inventory, _) = Inventory::list(&overlay, &(reader.budget)(quarantine.memory_bytes()))?;
    let manifests = Manifests::new(&overlay, &inventory);
    let runs: Vec<&Run<'_>> = quarantine.collected().collect();
    let reached = Reached::from(BTreeMap::new(), &tags, (&overlay, &runs), (&inventory, &manifests))?;
    let others = held().filter(|(_, target)| reached.needs(target) && !wanted.contains(target));
    let mut following: BTreeMap<Target, String> = others.map(|(run, target)| (target.clone(), run.id().to_owned())).collect();
    let targets: Vec<Target> = following.keys().cloned().collect();
    stat_targets(reader.store(), &targets.iter().collect::<Vec<_>>(), &mut |target, state| {
        if state != FileState::Absent {
            following.remove(target);
        }
    })?;
    Ok(following)
}

/// Follows what manifests of a repository name, in the store and in quarantine.
struct Following<'a> {
    overlay: &'a Overlay<'a>,
    runs: &'a [&'a Run<'a>],
    inventory: &'a Inventory,
    manifests: &'a Manifests<'a>,
    repository: &'a RepositoryName,
}

impl Following<'_> {
    /// Adds some manifests, and what they name, to what was reached.
    fn reached(&mut self, roots: BTreeSet<Digest>, mut reached: HashSet<Digest>) -> Result<HashSet<Digest>, Error> {
        let layers = LayerLinks::new(self.overlay, self.repository);
        reached.extend(&roots);
        let mut visitor = Staying { runs: self.runs, inventory: self.inventory, manifests: self.manifests, layers, reached };
        let roots = roots.into_iter().map(|digest| (digest, Role::Revision)).collect();
        Walk::unbounded(self.manifests).run(roots, &mut visitor)?;
        Ok(visitor.reached)
    }

    /// Adds what belongs to the targets of tags: their subjects, and the referrers that were quarantined together with a manifest that was reached.
    fn with_referrers(&mut self, tags: &BTreeSet<Digest>, mut reached: HashSet<Digest>) -> Result<HashSet<Digest>, Error> {
        let directory = LinkDirectory::Revisions(self.repository.clone());
        let mut next = BTreeSet::new();
        for digest in tags {
            next.extend(subjects(&directory, digest, self.manifests)?);
        }
        let mut referrers: Vec<(Digest, Vec<Digest>)> = Vec::new();
        for run in self.runs {
            for digest in run.links(&directory).iter().filter_map(|held| held.target.digest()) {
                let mut subjects = subjects(&directory, digest, self.manifests)?;
                subjects.retain(|subject| run.holds(&Target::Link(directory.clone(), *subject)));
                referrers.push((*digest, subjects));
            }
        }
        loop {
            next.extend(referrers.iter().filter(|(_, of)| of.iter().any(|of| reached.contains(of))).map(|(digest, _)| *digest));
            next.retain(|digest| !reached.contains(digest));
            if next.is_empty() {
                return Ok(reached);
            }
            reached = self.reached(std::mem::take(&mut next), reached)?;
        }
    }
}

/// What comes back with a digest.
#[derive(Debug)]
pub struct Named {
    digest: Digest,
    /// The repositories that it was a revision of.
    repositories: BTreeSet<RepositoryName>,
    /// What its manifest names, to any depth.
    digests: HashSet<Digest>,
}

impl Named {
    /// Whether a target is to come back out of a run. Of what is named nothing that `verify` took for corrupt.
    pub fn include(&self, run: &Run<'_>, target: &Target) -> bool {
        let is_near = match target {
            Target::Link(directory, _) => self.repositories.contains(directory.repository()),
            _ => true,
        } && run.stamp().purpose.is_of_collection();
        let Some(digest) = target.digest() else { return false };
        *digest == self.digest || (is_near && self.digests.contains(digest))
    }
}

/// What a digest in quarantine names there, if it is a revision's: without its layers an image that is restored cannot be pulled.
///
/// # Errors
///
/// When something that is there cannot be read.
pub fn named_by(reader: &Reader<'_>, quarantine: &Quarantine<'_>, digest: &Digest) -> Result<Named, Error> {
    let mut named = Named { digest: *digest, repositories: BTreeSet::new(), digests: HashSet::new() };
    for (_, held) in quarantine.held() {
        if let Target::Link(LinkDirectory::Revisions(repository), revision) = &held.target
            && revision == digest
        {
            named.repositories.insert(repository.clone());
        }
    }
    if named.repositories.is_empty() {
        return Ok(named);
    }
    let overlay = Overlay::new(reader.store(), quarantine);
    let (inventory, _) = Inventory::list(&overlay, &(reader.budget)(quarantine.memory_bytes()))?;
    let manifests = Manifests::new(&overlay, &inventory);
    let runs: Vec<&Run<'_>> = quarantine.collected().collect();
    for repository in &named.repositories {
        let layers = LayerLinks::new(&overlay, repository);
        let reached = std::mem::take(&mut named.digests);
        let mut visitor = Staying { runs: &runs, inventory: &inventory, manifests: &manifests, layers, reached };
        Walk::unbounded(&manifests).run(vec![(*digest, Role::Revision)], &mut visitor)?;
        named.digests = visitor.reached;
    }
    Ok(named)
}

/// Why something is looked at as a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// It was linked as one, or is the subject of one that was.
    Revision,
    /// A manifest names it.
    Named,
}

/// The layer links of a repository, which is opened when the first is read: few repositories have any of another name.
struct LayerLinks<'a> {
    store: &'a dyn Store,
    directory: LinkDirectory,
    repository: Option<Box<dyn Repository + 'a>>,
    /// Those of another name that are in quarantine.
    moved: Vec<(Digest, Digest)>,
}

impl<'a> LayerLinks<'a> {
    fn new(overlay: &'a Overlay<'_>, name: &RepositoryName) -> LayerLinks<'a> {
        let (directory, moved) = (LinkDirectory::Layers(name.clone()), overlay.moved_aliases(name));
        LayerLinks { store: overlay, directory, repository: None, moved }
    }

    fn read(&mut self, digest: &Digest) -> Result<LinkContent, Error> {
        let repository = match &mut self.repository {
            Some(repository) => repository,
            none => {
                let entry = RepositoryEntry { name: self.directory.repository().clone(), foreign: None };
                none.insert(self.store.open(&entry)?)
            }
        };
        Ok(repository.read_links(&self.directory, &[*digest])?[0])
    }
}

struct Staying<'a> {
    runs: &'a [&'a Run<'a>],
    inventory: &'a Inventory,
    manifests: &'a Manifests<'a>,
    layers: LayerLinks<'a>,
    reached: HashSet<Digest>,
}

impl Visitor for Staying<'_> {
    type Role = Role;

    fn revision(&self, digest: &Digest, role: &Role) -> Result<Option<Reading>, Error> {
        (*role == Role::Revision).then(|| self.manifests.read_revision(digest)).transpose()
    }

    fn visit(&mut self, _: &Digest, _: &Role, reading: &Reading, queue: &mut Queue<'_, Role>) -> Result<Visited, Error> {
        let Reading::Read(edges) = reading else { return Ok(Visited::Done) };
        if edges.any_alias {
            // It may be any.
            self.reached.extend(self.runs.iter().flat_map(|run| run.held()).filter_map(|held| held.target.digest().copied()));
        }
        for (digest, kind) in edges.named(self.inventory) {
            for name in self.names(&digest)? {
                self.reached.insert(name);
                // It may have been reached before, by somebody who took it for a layer.
                if kind != DescriptorKind::Blob {
                    queue.push(&name, Role::Named);
                }
            }
        }
        Ok(Visited::Done)
    }
}

impl Staying<'_> {
    /// A digest and what it may be another name of (H3): the link that went with it knows, if it went.
    fn names(&mut self, digest: &Digest) -> Result<Vec<Digest>, Error> {
        let mut names = vec![*digest];
        if digest.algorithm() != Algorithm::Sha256 {
            if let LinkContent::Digest(canonical) = self.layers.read(digest)? {
                names.push(canonical);
            }
            names.extend(self.layers.moved.iter().filter(|(alias, _)| alias == digest).map(|(_, canonical)| *canonical));
        }
        Ok(names)
    }
}
