//! The ways from roots to one blob: the first few, and how many there are.

use super::graph::{Lineage, Place};
use crate::inventory::BlobId;
use crate::oci::Digest;

/// Longer ways are counted and not listed: nobody builds such an image.
const MOST_STEPS: usize = 64;
/// So many steps are tried for the list of one root: whoever may push can make dead ends.
const MOST_TRIED: usize = 100_000;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sought {
    /// A manifest.
    Manifest(Place),
    /// A blob that manifests name.
    Blob(BlobId),
}

/// One step of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What the root names, or a manifest that the one before names.
    Named(Digest),
    /// A revision that refers to the one before.
    Referrer(Digest),
}

impl Step {
    /// The manifest.
    pub(crate) fn digest(&self) -> &Digest {
        match self {
            Step::Named(digest) | Step::Referrer(digest) => digest,
        }
    }
}

/// The ways to what is sought.
pub(crate) struct Chains<'a> {
    lineage: &'a Lineage,
    sought: Sought,
    /// How many lead on from each place. A way that comes to the same place again is none.
    counts: Vec<u64>,
    /// How many steps the shortest of them has.
    shortest: Vec<usize>,
}

/// A list of ways in the making.
struct Listing {
    way: Vec<(Place, Step)>,
    found: Vec<Vec<Step>>,
    most: usize,
    tried: usize,
}

impl<'a> Chains<'a> {
    /// Finds them.
    pub(crate) fn new(lineage: &'a Lineage, sought: Sought) -> Chains<'a> {
        let mut chains = Chains { lineage, sought, counts: vec![0; lineage.len()], shortest: vec![usize::MAX; lineage.len()] };
        let mut is_counted = vec![false; lineage.len()];
        let mut is_open = vec![false; lineage.len()];
        for root in 0..lineage.len() as Place {
            let mut stack = vec![(root, false)];
            while let Some((place, is_left)) = stack.pop() {
                let index = place as usize;
                if is_left {
                    let beyond = chains.next(place).map(|(next, _)| chains.counts[next as usize]);
                    chains.counts[index] = beyond.fold(u64::from(chains.is_end(place)), u64::saturating_add);
                    let beyond = chains.next(place).map(|(next, _)| chains.shortest[next as usize]).min();
                    let beyond = beyond.unwrap_or(usize::MAX).saturating_add(1);
                    chains.shortest[index] = if chains.is_end(place) { 0 } else { beyond };
                    is_counted[index] = true;
                } else if !is_counted[index] && !std::mem::replace(&mut is_open[index], true) {
                    stack.push((place, true));
                    stack.extend(chains.next(place).filter(|(next, _)| !is_open[*next as usize]).map(|(next, _)| (next, false)));
                }
            }
        }
        chains
    }

    /// How many ways lead from a root.
    pub(crate) fn count(&self, root: Place) -> u64 {
        self.counts[root as usize]
    }

    /// The first ways from a root, no more than `most` and none of very many steps.
    pub(crate) fn first(&self, root: Place, most: usize) -> Vec<Vec<Step>> {
        let way = vec![(root, Step::Named(self.lineage.name(root)))];
        let mut listing = Listing { way, found: Vec::new(), most, tried: 0 };
        self.go_on(&mut listing);
        listing.found
    }

    /// Goes on where a way ends so far. No deeper than a way may be long.
    fn go_on(&self, listing: &mut Listing) {
        let (place, _) = *listing.way.last().expect("a way begins with its root");
        if listing.found.len() < listing.most && self.is_end(place) {
            listing.found.push(listing.way.iter().map(|(_, step)| *step).collect());
        }
        for (next, is_referrer) in self.next(place) {
            listing.tried += 1;
            let is_over = listing.found.len() >= listing.most || listing.tried > MOST_TRIED;
            let is_long = listing.way.len().saturating_add(self.shortest[next as usize]) >= MOST_STEPS;
            let is_met = || listing.way.iter().any(|(place, _)| *place == next);
            if is_over || is_long || self.counts[next as usize] == 0 || is_met() {
                continue;
            }
            let digest = self.lineage.name(next);
            listing.way.push((next, if is_referrer { Step::Referrer(digest) } else { Step::Named(digest) }));
            self.go_on(listing);
            listing.way.pop();
        }
    }

    fn is_end(&self, place: Place) -> bool {
        match self.sought {
            Sought::Manifest(manifest) => manifest == place,
            Sought::Blob(blob) => self.lineage.blobs(place).binary_search(&blob).is_ok(),
        }
    }

    /// Where a way leads on from a place, and whether that refers to it.
    fn next(&self, place: Place) -> impl Iterator<Item = (Place, bool)> {
        let is_over = matches!(self.sought, Sought::Manifest(manifest) if manifest == place);
        let children = self.lineage.children(place).iter().map(|child| (*child, false));
        let referrers = self.lineage.referrers(place).iter().map(|referrer| (*referrer, true));
        children.chain(referrers).filter(move |_| !is_over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::graph::{Context, Manifests};
    use crate::inventory::{Budget, Inventory};
    use crate::oci::RepositoryName;
    use crate::policy::{Arrivals, Policy, RootPolicy};
    use crate::store::RepositoryEntry;
    use crate::survey;
    use crate::testing::{Built, THEN};

    fn with_chains(built: &Built, check: impl FnOnce(&Lineage, &dyn Fn(&Digest) -> Sought)) {
        let (inventory, _) = Inventory::list(&built.0, &Budget::unlimited()).expect("listable");
        let manifests = Manifests::new(&built.0, &inventory);
        let policy = Policy { min_age: Duration::ZERO, arrivals: Arrivals::Ignored, keeps_arrivals: false, now: THEN };
        let (inventory, retention) = (&inventory, &RootPolicy::AllRevisions);
        let context = Context { store: &built.0, inventory, manifests: &manifests, retention, policy };
        let entry = RepositoryEntry { name: RepositoryName::new("a"), set_apart: None };
        let surveyed = survey::survey(&built.0, &entry).expect("listable");
        let lineage = Lineage::read(&context, &surveyed).expect("readable");
        let sought = |digest: &Digest| match lineage.place(digest) {
            Some(place) => Sought::Manifest(place),
            None => Sought::Blob(inventory.find(digest).expect("stored")),
        };
        check(&lineage, &sought);
    }

    #[test]
    fn ways_are_counted_however_long_and_listed_if_somebody_could_read_them() {
        let built = Built::default();
        let layer = built.blob(b"layer");
        let image = built.image(&built.blob(b"{}"), &[layer]);
        let mut above = vec![image];
        for _ in 0..5_000 {
            above.push(built.index(&above[above.len() - 1..]));
        }
        above.iter().for_each(|digest| built.revision("a", digest));
        with_chains(&built, |lineage, sought| {
            let chains = Chains::new(lineage, sought(&layer));
            for (depth, listed) in [(0, 1), (60, 1), (5_000, 0)] {
                let root = lineage.place(&above[depth]).expect("it is one");
                assert_eq!((chains.count(root), chains.first(root, 10).len()), (1, listed), "{depth}");
            }
            let root = lineage.place(&above[60]).expect("it is one");
            assert_eq!(chains.first(root, 10)[0].len(), 61);
            let direct = Chains::new(lineage, sought(&above[60])).first(root, 10);
            assert_eq!(direct, [[Step::Named(above[60])]]);
        });
    }
}
