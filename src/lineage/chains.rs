//! The ways from roots to one blob: the first few, and how many there are.

use super::graph::{Lineage, Place};
use crate::inventory::BlobId;
use crate::oci::Digest;

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
}

impl<'a> Chains<'a> {
    /// Finds them.
    pub(crate) fn new(lineage: &'a Lineage, sought: Sought) -> Chains<'a> {
        let mut chains = Chains { lineage, sought, counts: vec![0; lineage.len()] };
        let mut is_counted = vec![false; lineage.len()];
        let mut is_open = vec![false; lineage.len()];
        for root in 0..lineage.len() as Place {
            let mut stack = vec![(root, false)];
            while let Some((place, is_left)) = stack.pop() {
                let index = place as usize;
                if is_left {
                    let beyond = chains.next(place).map(|(next, _)| chains.counts[next as usize]);
                    chains.counts[index] = beyond.fold(u64::from(chains.is_end(place)), u64::saturating_add);
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

    /// The first ways from a root, and no more than `most`.
    pub(crate) fn first(&self, root: Place, most: usize) -> Vec<Vec<Step>> {
        let mut found = Vec::new();
        let mut way = vec![(root, Step::Named(self.lineage.name(root)))];
        self.go_on(&mut way, most, &mut found);
        found
    }

    fn go_on(&self, way: &mut Vec<(Place, Step)>, most: usize, found: &mut Vec<Vec<Step>>) {
        let (place, _) = *way.last().expect("a way begins with its root");
        if found.len() < most && self.is_end(place) {
            found.push(way.iter().map(|(_, step)| *step).collect());
        }
        let next: Vec<(Place, bool)> = self.next(place).collect();
        for (next, is_referrer) in next {
            let is_met = way.iter().any(|(place, _)| *place == next);
            if found.len() < most && !is_met && self.counts[next as usize] > 0 {
                let digest = self.lineage.name(next);
                way.push((next, if is_referrer { Step::Referrer(digest) } else { Step::Named(digest) }));
                self.go_on(way, most, found);
                way.pop();
            }
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
