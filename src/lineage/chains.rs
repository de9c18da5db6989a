//! Chains from roots to one blob: the first few, and their number.

use super::graph::{Lineage, Place};
use crate::inventory::BlobId;
use crate::oci::Digest;

/// Longer chains are counted and not listed: no tool builds such an image.
const MOST_STEPS: usize = 64;
/// Most steps to try for the list of one root: clients that push can create dead ends.
const MOST_TRIED: usize = 100_000;

/// What to search for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sought {
    /// A manifest.
    Manifest(Place),
    /// A blob that manifests name.
    Blob(BlobId),
}

/// One step of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The manifest that the root or the previous step names.
    Named(Digest),
    /// A revision that refers to the previous step.
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

/// The chains to what is sought.
pub(crate) struct Chains<'a> {
    lineage: &'a Lineage,
    sought: Sought,
    /// Number of chains that lead on from each place. A chain that returns to a place does not count.
    counts: Vec<u64>,
    /// Number of steps of the shortest of them.
    shortest: Vec<usize>,
}

/// A list of chains under construction.
struct ChainList {
    chain: Vec<(Place, Step)>,
    found: Vec<Vec<Step>>,
    most: usize,
    tried: usize,
}

impl<'a> Chains<'a> {
    /// Counts the chains from each place.
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

    /// Number of chains from a root.
    pub(crate) fn count(&self, root: Place) -> u64 {
        self.counts[root as usize]
    }

    /// The first chains from a root: at most `most`, and none of very many steps.
    pub(crate) fn first(&self, root: Place, most: usize) -> Vec<Vec<Step>> {
        let chain = vec![(root, Step::Named(self.lineage.name(root)))];
        let mut listing = ChainList { chain, found: Vec::new(), most, tried: 0 };
        self.extend_chain(&mut listing);
        listing.found
    }

    /// Extends the current chain. Recursion is no deeper than a listed chain is long.
    fn extend_chain(&self, listing: &mut ChainList) {
        let (place, _) = *listing.chain.last().expect("a chain begins with its root");
        if listing.found.len() < listing.most && self.is_end(place) {
            listing.found.push(listing.chain.iter().map(|(_, step)| *step).collect());
        }
        for (next, is_referrer) in self.next(place) {
            listing.tried += 1;
            let is_over = listing.found.len() >= listing.most || listing.tried > MOST_TRIED;
            let is_long = listing.chain.len().saturating_add(self.shortest[next as usize]) >= MOST_STEPS;
            let is_met = || listing.chain.iter().any(|(place, _)| *place == next);
            if is_over || is_long || self.counts[next as usize] == 0 || is_met() {
                continue;
            }
            let digest = self.lineage.name(next);
            listing.chain.push((next, if is_referrer { Step::Referrer(digest) } else { Step::Named(digest) }));
            self.extend_chain(listing);
            listing.chain.pop();
        }
    }

    fn is_end(&self, place: Place) -> bool {
        match self.sought {
            Sought::Manifest(manifest) => manifest == place,
            Sought::Blob(blob) => self.lineage.blobs(place).binary_search(&blob).is_ok(),
        }
    }

    /// The places where a chain leads on from a place, and whether each refers to it.
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
        let policy = Policy::new(Duration::ZERO, Arrivals::Ignored, THEN);
        let (inventory, retention) = (&inventory, &RootPolicy::AllRevisions);
        let context = Context { store: &built.0, inventory, manifests: &manifests, retention, policy };
        let entry = RepositoryEntry { name: RepositoryName::new("a"), foreign: None };
        let surveyed = survey::survey(&built.0, &entry).expect("listable");
        let lineage = Lineage::read(&context, &surveyed).expect("readable");
        let sought = |digest: &Digest| match lineage.place(digest) {
            Some(place) => Sought::Manifest(place),
            None => Sought::Blob(inventory.find(digest).expect("stored")),
        };
        check(&lineage, &sought);
    }

    #[test]
    fn chains_of_any_length_are_counted_and_short_chains_are_listed() {
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
                let root = lineage.place(&above[depth]).expect("a manifest");
                assert_eq!((chains.count(root), chains.first(root, 10).len()), (1, listed), "{depth}");
            }
            let root = lineage.place(&above[60]).expect("a manifest");
            assert_eq!(chains.first(root, 10)[0].len(), 61);
            let direct = Chains::new(lineage, sought(&above[60])).first(root, 10);
            assert_eq!(direct, [[Step::Named(above[60])]]);
        });
    }
}
