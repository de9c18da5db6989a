//! Digests as numbers, for tables of what anybody may push: a digest takes sixteen times the room.

use std::hash::Hash;

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

/// Values with numbers, in the order in which they were met.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    all: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { all: Vec::new(), places: HashMap::default() }
    }
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    /// How many there are: the numbers below have a value.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of a value. Adds the value if it is new.
    pub(crate) fn number(&mut self, value: T) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.places.entry(value).or_insert(next);
        if number == next {
            self.all.push(value);
        }
        number
    }

    /// The number of a value, if it has one.
    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.places.get(value).copied()
    }

    /// The value of a number.
    pub(crate) fn get(&self, number: u32) -> T {
        self.all[number as usize]
    }
}

/// The digests that are named and are not in the inventory.
#[derive(Debug, Default)]
pub(crate) struct Names(Numbered<Digest>);

impl Names {
    /// The name of a digest. Adds the digest if it is new.
    pub(crate) fn name(&mut self, inventory: &Inventory, digest: &Digest) -> Name {
        if let Some(blob) = inventory.find(digest) {
            return Name::of(blob);
        }
        Name(inventory.len() as u32 + self.0.number(*digest))
    }

    /// The name of a digest, if it has one.
    pub(crate) fn find(&self, inventory: &Inventory, digest: &Digest) -> Option<Name> {
        let other = || self.0.find(digest).map(|number| Name(inventory.len() as u32 + number));
        inventory.find(digest).map(Name::of).or_else(other)
    }

    /// The digest of a name.
    pub(crate) fn digest(&self, inventory: &Inventory, name: Name) -> Digest {
        match name.0.checked_sub(inventory.len() as u32) {
            None => inventory.digest(BlobId::at(name.0)),
            Some(number) => self.0.get(number),
        }
    }
}
