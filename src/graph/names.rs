//! Digests as numbers, for tables of what anybody may push: a digest takes sixteen times the room.

use foldhash::HashMap;

use crate::inventory::{BlobId, Inventory};
use crate::oci::Digest;

/// A digest: its place in the inventory or, beyond those, its place among the others of one [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(u32);

impl Name {
    /// The name of a stored blob.
    pub(crate) fn of(blob: BlobId) -> Name {
        Name(blob.place())
    }
}

/// The digests that are named and are not in the inventory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    others: Vec<Digest>,
    places: HashMap<Digest, u32>,
}

impl Names {
    /// The name of a digest. Adds the digest if it is new.
    pub(crate) fn name(&mut self, inventory: &Inventory, digest: &Digest) -> Name {
        if let Some(blob) = inventory.find(digest) {
            return Name::of(blob);
        }
        let next = self.others.len() as u32;
        let place = *self.places.entry(*digest).or_insert(next);
        if place == next {
            self.others.push(*digest);
        }
        Name(inventory.len() as u32 + place)
    }

    /// The name of a digest, if it has one.
    pub(crate) fn find(&self, inventory: &Inventory, digest: &Digest) -> Option<Name> {
        let other = || self.places.get(digest).map(|place| Name(inventory.len() as u32 + place));
        inventory.find(digest).map(Name::of).or_else(other)
    }

    /// The digest of a name.
    pub(crate) fn digest(&self, inventory: &Inventory, name: Name) -> Digest {
        match name.0.checked_sub(inventory.len() as u32) {
            None => inventory.digest(BlobId::at(name.0)),
            Some(place) => self.others[place as usize],
        }
    }
}
