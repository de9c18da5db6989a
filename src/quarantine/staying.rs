//! What the revisions in quarantine need that can still be restored.

use std::collections::HashSet;

use super::Run;
use super::needed::subjects;
use crate::error::Error;
use crate::graph::{Manifests, Queue, Reading, Visited, Visitor, Walk};
use crate::inventory::Inventory;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Algorithm, DescriptorKind, Digest};
use crate::store::{FilesystemStore, LinkContent, Store as _};

/// Follows what the revisions in these runs name.
pub(super) fn by_staying(
    store: &FilesystemStore,
    runs: &[&Run],
    inventory: &Inventory,
    manifests: &Manifests<'_>,
) -> Result<HashSet<Digest>, Error> {
    let mut reached = HashSet::new();
    for held in runs.iter().flat_map(|run| run.held()) {
        let Target::Link(directory @ LinkDirectory::Revisions(repository), digest) = &held.target else { continue };
        let roots = [vec![*digest], subjects(directory, digest, manifests)?].concat();
        let layers = LinkDirectory::Layers(repository.clone());
        reached.insert(*digest);
        let mut visitor = Staying { store, runs, inventory, manifests, layers, reached };
        Walk::unbounded(manifests).run(roots.into_iter().map(|digest| (digest, Role::Revision)).collect(), &mut visitor)?;
        reached = visitor.reached;
    }
    Ok(reached)
}

/// Why something is looked at as a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// It was linked as one, or is the subject of one that was.
    Revision,
    /// A manifest names it.
    Named,
}

struct Staying<'a> {
    store: &'a FilesystemStore,
    runs: &'a [&'a Run],
    inventory: &'a Inventory,
    manifests: &'a Manifests<'a>,
    layers: LinkDirectory,
    reached: HashSet<Digest>,
}

impl Visitor for Staying<'_> {
    type Role = Role;

    fn revision(&self, digest: &Digest, role: &Role) -> Result<Option<Reading>, Error> {
        (*role == Role::Revision).then(|| self.manifests.read_revision(digest)).transpose()
    }

    fn visit(&mut self, _: &Digest, _: &Role, reading: &Reading, queue: &mut Queue<Role>) -> Result<Visited, Error> {
        let Reading::Read(edges) = reading else { return Ok(Visited::Done) };
        if edges.any_alias {
            // It may be any.
            self.reached.extend(self.runs.iter().flat_map(|run| run.held()).map(|held| *held.target.digest()));
        }
        for (digest, kind) in edges.named(self.inventory) {
            for name in self.names(&digest)? {
                self.reached.insert(name);
                // It may have been reached before, by somebody who took it for a layer.
                if kind != DescriptorKind::Blob {
                    queue.push(name, Role::Named);
                }
            }
        }
        Ok(Visited::Done)
    }
}

impl Staying<'_> {
    /// A digest and what it may be another name of (H3): the link that went with it knows, if it went.
    fn names(&self, digest: &Digest) -> Result<Vec<Digest>, Error> {
        let mut names = vec![*digest];
        if digest.algorithm() != Algorithm::Sha256 {
            let link = Target::Link(self.layers.clone(), *digest);
            if let LinkContent::Digest(canonical) = self.store.read_links(&self.layers, &[*digest])?[0] {
                names.push(canonical);
            }
            names.extend(self.runs.iter().filter_map(|run| run.read_link(&link)));
        }
        Ok(names)
    }
}
