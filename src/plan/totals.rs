//! How much of what goes.

use std::collections::BTreeMap;

use super::{Kind, Reason};
use crate::amount::Amount;

/// How much of what a plan or a sweep removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_kind: BTreeMap<(Kind, Reason), Amount>,
}

impl Totals {
    /// Counts rows, given by kind, reason and size.
    pub(crate) fn of(rows: impl Iterator<Item = (Kind, Reason, u64)>) -> Totals {
        let mut totals = Totals::default();
        let mut run: Option<((Kind, Reason), Amount)> = None;
        for (kind, reason, size_bytes) in rows {
            let key = (kind, reason);
            let size_bytes = if matches!(kind, Kind::Blob | Kind::Upload) { size_bytes } else { 0 };
            match &mut run {
                // Most rows are of the kind of the one before.
                Some((same, amount)) if *same == key => amount.add(size_bytes),
                _ => totals.add(run.replace((key, Amount { count: 1, size_bytes }))),
            }
        }
        totals.add(run);
        totals
    }

    fn add(&mut self, run: Option<((Kind, Reason), Amount)>) {
        if let Some((key, amount)) = run {
            *self.by_kind.entry(key).or_default() += amount;
        }
    }

    /// All kinds and reasons that occur, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, Reason, Amount)> {
        self.by_kind.iter().map(|(&(kind, reason), &amount)| (kind, reason, amount))
    }

    /// Everything of one kind.
    pub fn kind(&self, wanted: Kind) -> Amount {
        let mut all = Amount::default();
        for (_, _, amount) in self.iter().filter(|(kind, ..)| *kind == wanted) {
            all += amount;
        }
        all
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        for (key, amount) in other.by_kind {
            *self.by_kind.entry(key).or_default() += amount;
        }
    }
}

/// What one repository gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryShare {
    /// Blobs that go and that it had linked.
    pub blobs: Amount,
    /// Revisions that go.
    pub revisions: u64,
    /// Layer links that go.
    pub layer_links: u64,
}

impl std::ops::AddAssign for RepositoryShare {
    fn add_assign(&mut self, other: RepositoryShare) {
        self.blobs += other.blobs;
        self.revisions += other.revisions;
        self.layer_links += other.layer_links;
    }
}
