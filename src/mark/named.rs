//! All digests that a repository names, kept by a collection or not.

use foldhash::HashSet;

use super::roots::Roots;
use crate::error::Error;
use crate::graph::{Manifests, Queue, Reading, Visited, Visitor, Walk};
use crate::inventory::Inventory;
use crate::layout::LinkDirectory;
use crate::oci::{DescriptorKind, Digest};
use crate::store::{LinkContent, Store};
use crate::survey::{self, Survey};

/// Every digest that a repository's links name, by directory and by content, and the references of the manifests among
/// them, to any depth.
///
/// # Errors
///
/// When an existing link or manifest cannot be read.
pub fn everything_named(store: &dyn Store, inventory: &Inventory, surveyed: &Survey<'_>) -> Result<Vec<Digest>, Error> {
    let manifests = Manifests::new(store, inventory);
    let directory = LinkDirectory::Layers(surveyed.name.clone());
    let layers = survey::read_links(&*surveyed.repository, &directory, &surveyed.layers)?;
    let aliases = layers.iter().filter_map(|content| match content {
        LinkContent::Digest(digest) => Some(*digest),
        _ => None,
    });
    let mut named: HashSet<Digest> = surveyed.layers.iter().copied().chain(aliases).collect();
    let roots: Vec<(Digest, ())> = Roots::everything(surveyed).into_iter().map(|(digest, _)| (digest, ())).collect();
    named.extend(roots.iter().map(|(digest, ())| *digest));
    let mut visitor = NamedVisitor { inventory, manifests: &manifests, surveyed, named };
    Walk::unbounded(&manifests).run(roots, &mut visitor)?;
    Ok(visitor.named.into_iter().collect())
}

struct NamedVisitor<'a> {
    inventory: &'a Inventory,
    manifests: &'a Manifests<'a>,
    surveyed: &'a Survey<'a>,
    named: HashSet<Digest>,
}

impl Visitor for NamedVisitor<'_> {
    type Role = ();

    fn revision(&self, digest: &Digest, (): &()) -> Result<Option<Reading>, Error> {
        self.manifests.revision_of(self.surveyed, digest)
    }

    fn visit(&mut self, _: &Digest, (): &(), reading: &Reading, queue: &mut Queue<'_, ()>) -> Result<Visited, Error> {
        let Reading::Read(edges) = reading else { return Ok(Visited::Done) };
        for (digest, kind) in edges.named(self.inventory) {
            self.named.insert(digest);
            // Another manifest may have named it as a layer before.
            if kind != DescriptorKind::Blob || self.surveyed.revision(&digest).is_some() {
                queue.push(&digest, ());
            }
        }
        Ok(Visited::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Budget;
    use crate::oci::RepositoryName;
    use crate::store::RepositoryEntry;
    use crate::testing::Built;

    #[test]
    fn follows_a_manifest_that_another_names_as_a_layer() {
        let built = Built::default();
        let [config, layer] = [b"{}".as_slice(), b"layer"].map(|bytes| built.blob(bytes));
        let child = built.image(&config, &[layer]);
        let index = built.index(&[child]);
        // It has a layer link, and another image names it as a layer.
        built.layer("a", &child);
        built.revision("a", &built.image(&config, &[child]));
        built.revision("a", &index);
        let (inventory, _) = Inventory::list(&built.0, &Budget::unlimited()).expect("listable");
        let entry = RepositoryEntry { name: RepositoryName::new("a"), foreign: None };
        let surveyed = survey::survey(&built.0, &entry).expect("listable");
        let named = everything_named(&built.0, &inventory, &surveyed).expect("readable");
        assert!(named.contains(&layer), "the layer of an image that only an index names");
    }
}
