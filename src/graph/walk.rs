//! Walks from manifest to manifest within one repository. Each pass over manifests is a visitor of this walk and
//! decides what to do with each one.

use std::hash::Hash;

use foldhash::HashSet;

use super::{MAX_STRANGERS, MAX_STRANGERS_BYTES, Manifests, Name, Names, Reading};
use crate::error::Error;
use crate::inventory::{BlobId, Inventory};
use crate::oci::Digest;

/// A pass over the manifests of a repository.
pub(crate) trait Visitor {
    /// Why a digest is read as a manifest.
    type Role: Copy + Eq + Hash;

    /// Reads a revision, if the visitor's repository has it: a manifest that was pushed as one is read in full and
    /// compared with its digest. Other blobs are read only if they may be manifests.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read from the disk.
    fn revision(&self, digest: &Digest, role: &Self::Role) -> Result<Option<Reading>, Error>;

    /// Handles a reading, and queues its references.
    ///
    /// # Errors
    ///
    /// When another file is needed and cannot be read.
    fn visit(
        &mut self,
        digest: &Digest,
        role: &Self::Role,
        reading: &Reading,
        queue: &mut Queue<'_, Self::Role>,
    ) -> Result<Visited, Error>;

    /// Handles a digest that was visited before.
    fn visit_again(&mut self, _digest: &Digest, _role: &Self::Role) {}

    /// Handles a manifest that is not read, because the repository led to too many without a revision.
    fn cut_off(&mut self, _digest: &Digest) {}
}

/// The result of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visited {
    /// It is not visited again.
    Done,
    /// It is no manifest in this role; it may be one in another role.
    Undecided,
}

/// Digests to visit, each once per role: manifests that all name each other would queue the square of their number.
pub(crate) struct Queue<'a, Role> {
    inventory: &'a Inventory,
    names: &'a mut Names,
    waiting: Vec<(Name, Role)>,
    queued: HashSet<(Name, Role)>,
}

impl<Role: Copy + Eq + Hash> Queue<'_, Role> {
    /// Queues a reference of a manifest.
    pub(crate) fn push(&mut self, digest: &Digest, role: Role) {
        let name = self.names.name(self.inventory, digest);
        self.add(name, role);
    }

    /// [`Queue::push`] for a digest with a known place in the inventory.
    pub(crate) fn push_blob(&mut self, blob: BlobId, role: Role) {
        self.add(Name::of(blob), role);
    }

    fn add(&mut self, name: Name, role: Role) {
        if self.queued.insert((name, role)) {
            self.waiting.push((name, role));
        }
    }
}

/// A walk: visited digests and remaining limits.
pub(crate) struct Walk<'a> {
    manifests: &'a Manifests<'a>,
    names: Names,
    visited: HashSet<Name>,
    strangers: Strangers,
}

/// How many manifests without a revision were read, and their bytes.
struct Strangers {
    read: (u64, u64),
    most: (u64, u64),
}

impl Strangers {
    fn up_to(most: (u64, u64)) -> Strangers {
        Strangers { read: (0, 0), most }
    }

    fn are_too_many(&self) -> bool {
        self.read.0 >= self.most.0 || self.read.1 >= self.most.1
    }

    fn count(&mut self, reading: &Reading) {
        self.read.0 += u64::from(matches!(reading, Reading::Read(_)));
        self.read.1 += reading.bytes_read();
    }
}

impl<'a> Walk<'a> {
    /// A bounded walk from the manifests of one repository.
    pub(crate) fn new(manifests: &'a Manifests<'a>) -> Walk<'a> {
        let strangers = Strangers::up_to((MAX_STRANGERS, MAX_STRANGERS_BYTES));
        Walk { manifests, names: Names::default(), visited: HashSet::default(), strangers }
    }

    /// A walk without bounds.
    pub(crate) fn unbounded(manifests: &'a Manifests<'a>) -> Walk<'a> {
        Walk { strangers: Strangers::up_to((u64::MAX, u64::MAX)), ..Walk::new(manifests) }
    }

    /// Reserves space for a number of manifests.
    pub(crate) fn reserve(&mut self, manifests: usize) {
        self.visited.reserve(manifests);
    }

    /// Forgets the visited digests.
    pub(crate) fn forget(&mut self) {
        self.visited.clear();
        self.strangers.read = (0, 0);
    }

    /// Whether a manifest was visited.
    pub(crate) fn has_visited(&self, digest: &Digest) -> bool {
        self.names.find(self.manifests.inventory(), digest).is_some_and(|name| self.visited.contains(&name))
    }

    /// Visits the roots and all queued digests, the last queued first.
    ///
    /// # Errors
    ///
    /// When a manifest cannot be read, or a visit fails.
    pub(crate) fn run<V: Visitor>(&mut self, roots: Vec<(Digest, V::Role)>, visitor: &mut V) -> Result<(), Error> {
        let (manifests, inventory) = (self.manifests, self.manifests.inventory());
        let waiting = roots.into_iter().map(|(digest, role)| (self.names.name(inventory, &digest), role)).collect();
        let mut queue = Queue { inventory, names: &mut self.names, waiting, queued: HashSet::default() };
        while let Some((name, role)) = queue.waiting.pop() {
            let digest = queue.names.digest(inventory, name);
            if self.visited.contains(&name) {
                visitor.visit_again(&digest, &role);
                continue;
            }
            let reading = match visitor.revision(&digest, &role)? {
                Some(reading) => reading,
                None if self.strangers.are_too_many() => {
                    visitor.cut_off(&digest);
                    continue;
                }
                // No revision, or one whose link was deleted: an index that names it still needs it.
                None => {
                    let reading = manifests.read(&digest)?;
                    self.strangers.count(&reading);
                    reading
                }
            };
            if visitor.visit(&digest, &role, &reading, &mut queue)? == Visited::Done {
                self.visited.insert(name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Budget;
    use crate::testing::Built;

    /// Queues everything at every step, for one of two reasons.
    struct All {
        everything: Vec<Digest>,
        visits: usize,
        longest: usize,
    }

    impl Visitor for All {
        type Role = bool;

        fn revision(&self, _: &Digest, _: &bool) -> Result<Option<Reading>, Error> {
            Ok(None)
        }

        fn visit(&mut self, _: &Digest, _: &bool, _: &Reading, queue: &mut Queue<'_, bool>) -> Result<Visited, Error> {
            self.visits += 1;
            for digest in &self.everything {
                queue.push(digest, self.visits.is_multiple_of(2));
            }
            self.longest = self.longest.max(queue.waiting.len());
            Ok(Visited::Done)
        }
    }

    #[test]
    fn what_all_name_is_queued_and_visited_once() {
        let built = Built::default();
        let everything: Vec<Digest> = (0..500_u32).map(|number| built.json(&serde_json::json!({ "number": number }))).collect();
        let (inventory, _) = Inventory::list(&built.0, &Budget::unlimited()).expect("listable");
        let manifests = Manifests::new(&built.0, &inventory);
        let mut all = All { everything: everything.clone(), visits: 0, longest: 0 };
        Walk::new(&manifests).run(vec![(everything[0], true)], &mut all).expect("readable");
        assert_eq!(all.visits, 500);
        assert!(all.longest <= 2 * 500, "once for each reason, and not once for each who names it: {}", all.longest);
    }
}
