//! All that a repository names, whether a collection would keep it or not.

use foldhash::HashSet;

use super::roots::Roots;
use crate::error::Error;
use crate::graph::{Manifests, Reading};
use crate::inventory::Inventory;
use crate::layout::LinkDirectory;
use crate::oci::{DescriptorKind, Digest};
use crate::store::{LinkContent, Store};
use crate::survey::{self, Survey};

/// Every digest that a repository's links name, by directory and by content, and that the manifests among them name to any depth.
///
/// # Errors
///
/// When a link or a manifest that is there cannot be read.
pub fn everything_named(store: &dyn Store, inventory: &Inventory, surveyed: &Survey) -> Result<Vec<Digest>, Error> {
    let manifests = Manifests::new(store, inventory);
    let directory = LinkDirectory::Layers(surveyed.name.clone());
    let layers = survey::read_links(store, &directory, &surveyed.layers)?;
    let aliases = layers.iter().filter_map(|content| match content {
        LinkContent::Digest(digest) => Some(*digest),
        _ => None,
    });
    let mut named: HashSet<Digest> = surveyed.layers.iter().copied().chain(aliases).collect();
    let mut waiting: Vec<Digest> = Roots::everything(surveyed).into_iter().map(|(digest, _)| digest).collect();
    named.extend(&waiting);
    while let Some(digest) = waiting.pop() {
        let reading = match surveyed.revision(&digest) {
            Some(_) => manifests.read_revision(&digest)?,
            None => manifests.read(&digest)?,
        };
        let Reading::Read(edges) = reading else { continue };
        let stored = edges.stored.iter().map(|edge| (inventory.digest(edge.blob), edge.kind));
        let unresolved = edges.unresolved.iter().map(|descriptor| (descriptor.digest, descriptor.kind));
        for (digest, kind) in stored.chain(unresolved) {
            if named.insert(digest) && (kind != DescriptorKind::Blob || surveyed.revision(&digest).is_some()) {
                waiting.push(digest);
            }
        }
    }
    Ok(named.into_iter().collect())
}
