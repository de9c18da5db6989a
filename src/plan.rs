//! What is to go, in which order: an ordered value that is printed, counted, and handed to the sweep. Pure.
//!
//! Names go before contents (G3): tag history, revisions with indexes before their children, layer links, then blobs with
//! manifests before what they name, then folders that were empty already. Wherever a sweep ends, no link that is left leads to
//! a blob that is gone.

use std::collections::BTreeMap;

use crate::layout::{LinkFolder, Target};
use crate::mark::blobs::{Amount, BlobMarks};
use crate::mark::{Colour, Condemned, Inventory, Marks, Reason};
use crate::oci::RepositoryName;

/// What a target is. Declared in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An entry in the history of a tag.
    TagHistory,
    /// A revision link.
    Revision,
    /// A layer link.
    LayerLink,
    /// A blob.
    Blob,
    /// A folder that is named by a digest and empty.
    EmptyFolder,
}

impl Kind {
    /// The kind of a target.
    pub fn of(target: &Target) -> Kind {
        match target {
            Target::Link(LinkFolder::History(..), _) => Kind::TagHistory,
            Target::Link(LinkFolder::Revisions(_), _) => Kind::Revision,
            Target::Link(LinkFolder::Layers(_), _) => Kind::LayerLink,
            Target::Blob(_) => Kind::Blob,
            Target::EmptyLinkFolder(..) | Target::EmptyBlobFolder(_) => Kind::EmptyFolder,
        }
    }

    /// The name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TagHistory => "tag-history",
            Kind::Revision => "revision",
            Kind::LayerLink => "layer-link",
            Kind::Blob => "blob",
            Kind::EmptyFolder => "empty-folder",
        }
    }
}

/// Everything that goes, in the order in which it goes. Equal for equal stores, however it was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SweepPlan {
    rows: Vec<Condemned>,
}

impl SweepPlan {
    /// Orders what marking has condemned.
    ///
    /// # Panics
    ///
    /// When a blob in it is marked live: that is never to happen, and must not get any further (I2).
    pub fn new(repositories: &mut [Marks], blobs: &mut BlobMarks, inventory: &Inventory) -> SweepPlan {
        let mut rows = std::mem::take(&mut blobs.condemned);
        for row in &rows {
            let blob = inventory.find(row.target.digest()).expect("condemned blobs come from the inventory");
            let live = inventory.has_any(blob, Colour::LIVE.and(Colour::YOUNG));
            assert!(!live, "{} is live and in the plan", row.target.digest());
        }
        for marks in repositories {
            assert!(!marks.held || marks.condemned.is_empty(), "{} is held and in the plan", marks.repository);
            rows.append(&mut marks.condemned);
        }
        SweepPlan::of_rows(rows)
    }

    /// Puts rows into the order of removal.
    pub(crate) fn of_rows(mut rows: Vec<Condemned>) -> SweepPlan {
        rows.sort_unstable_by(|a, b| {
            let place = |row: &Condemned| (Kind::of(&row.target), row.depth);
            place(a).cmp(&place(b)).then_with(|| a.target.cmp(&b.target))
        });
        SweepPlan { rows }
    }

    /// Leaves out what does not go after all.
    pub fn retain(&mut self, keep: impl FnMut(&Condemned) -> bool) {
        self.rows.retain(keep);
    }

    /// What goes, in order.
    pub fn rows(&self) -> &[Condemned] {
        &self.rows
    }

    /// Parts that have to be gone before the next part begins.
    pub fn steps(&self) -> impl Iterator<Item = &[Condemned]> {
        self.rows.chunk_by(|a, b| Kind::of(&a.target) == Kind::of(&b.target) && a.depth == b.depth)
    }

    /// How much goes, by kind and reason. Sizes are of blobs; that of a link is not worth counting.
    pub fn totals(&self) -> Totals {
        Totals::of(self.rows.iter())
    }

    /// What each repository gives back: the blobs that go and that it had linked. A blob that several had linked counts for each.
    pub fn by_repository(&self, inventory: &Inventory) -> BTreeMap<RepositoryName, RepositoryShare> {
        let mut shares: BTreeMap<RepositoryName, RepositoryShare> = BTreeMap::new();
        for row in &self.rows {
            let Target::Link(folder, digest) = &row.target else { continue };
            let share = match shares.get_mut(folder.repository()) {
                Some(share) => share,
                None => shares.entry(folder.repository().clone()).or_default(),
            };
            match folder {
                LinkFolder::History(..) => continue,
                LinkFolder::Revisions(_) => share.revisions += 1,
                LinkFolder::Layers(_) => share.layer_links += 1,
            }
            if let Some(blob) = inventory.find(digest)
                && inventory.has_any(blob, Colour::CONDEMNED)
            {
                share.blobs.add(inventory.size_bytes(blob).unwrap_or_default());
            }
        }
        shares
    }
}

/// How much of what a plan or a sweep removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_kind: BTreeMap<(Kind, Reason), Amount>,
}

impl Totals {
    /// Counts rows.
    pub fn of<'a>(rows: impl Iterator<Item = &'a Condemned>) -> Totals {
        let mut totals = Totals::default();
        for row in rows {
            let kind = Kind::of(&row.target);
            let size_bytes = if kind == Kind::Blob { row.stat.size_bytes } else { 0 };
            totals.by_kind.entry((kind, row.reason)).or_default().add(size_bytes);
        }
        totals
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
