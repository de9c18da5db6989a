//! What the revisions in quarantine name.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::needed::subjects;
use super::{Overlay, Quarantine, Reader, Run};
use crate::error::Error;
use crate::graph::{Manifests, Queue, Reading, Visited, Visitor, Walk};
use crate::inventory::Inventory;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Algorithm, DescriptorKind, Digest, RepositoryName};
use crate::store::{LinkContent, Repository, RepositoryEntry, Store};

/// What the runs that stay in quarantine need, so that their images can be restored whole. An image is served through the links of its own
/// repository: those of another one do nothing for it. Blobs belong to no repository.
#[derive(Debug, Default)]
pub(super) struct ByStaying {
    anywhere: HashSet<Digest>,
    by_repository: HashMap<RepositoryName, HashSet<Digest>>,
}

impl ByStaying {
    /// Whether something that is due has to wait with them.
    pub(super) fn needs(&self, target: &Target) -> bool {
        let Some(digest) = target.digest() else { return false };
        match target.repository() {
            Some(repository) => self.by_repository.get(repository).is_some_and(|digests| digests.contains(digest)),
            None => self.anywhere.contains(digest),
        }
    }
}

/// Follows what the revisions in these runs name.
pub(super) fn by_staying(
    store: &dyn Store,
    runs: &[&Run<'_>],
    inventory: &Inventory,
    manifests: &Manifests<'_>,
) -> Result<ByStaying, Error> {
    let mut staying = ByStaying::default();
    for held in runs.iter().flat_map(|run| run.held()) {
        let Target::Link(directory @ LinkDirectory::Revisions(repository), digest) = &held.target else { continue };
        let roots = [vec![*digest], subjects(directory, digest, manifests)?].concat();
        let layers = LayerLinks::new(store, repository);
        let mut reached = staying.by_repository.remove(repository).unwrap_or_default();
        reached.insert(*digest);
        let mut visitor = Staying { runs, inventory, manifests, layers, reached };
        Walk::unbounded(manifests).run(roots.into_iter().map(|digest| (digest, Role::Revision)).collect(), &mut visitor)?;
        staying.by_repository.insert(repository.clone(), visitor.reached);
    }
    staying.anywhere = staying.by_repository.values().flatten().copied().collect();
    Ok(staying)
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
        let layers = LayerLinks::new(reader.store(), repository);
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
}

impl<'a> LayerLinks<'a> {
    fn new(store: &'a dyn Store, name: &RepositoryName) -> LayerLinks<'a> {
        LayerLinks { store, directory: LinkDirectory::Layers(name.clone()), repository: None }
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
            let link = Target::Link(self.layers.directory.clone(), *digest);
            if let LinkContent::Digest(canonical) = self.layers.read(digest)? {
                names.push(canonical);
            }
            names.extend(self.runs.iter().filter_map(|run| run.read_link(&link)));
        }
        Ok(names)
    }
}
