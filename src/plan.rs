//! What is to go, in which order: an ordered value that is printed, counted, and handed to the sweep. Pure.
//!
//! Names go before contents (G3): tag history, revisions with indexes before their children, layer links, then blobs with
//! manifests before what they name, then directories that were empty already. Wherever a sweep ends, no link that is left leads to
//! a blob that is gone.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::layout::{LinkDirectory, Target};
use crate::mark::blobs::{Amount, BlobMarks};
use crate::mark::{Deletion, Inventory, MarkFlags, Marks, Reason};
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
    /// A directory that is named by a digest and empty.
    EmptyDirectory,
}

impl Kind {
    /// The kind of a target.
    pub fn of(target: &Target) -> Kind {
        match target {
            Target::Link(LinkDirectory::History(..), _) => Kind::TagHistory,
            Target::Link(LinkDirectory::Revisions(_), _) => Kind::Revision,
            Target::Link(LinkDirectory::Layers(_), _) => Kind::LayerLink,
            Target::Blob(_) => Kind::Blob,
            Target::EmptyLinkDirectory(..) | Target::EmptyBlobDirectory(_) => Kind::EmptyDirectory,
        }
    }

    /// The name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TagHistory => "tag-history",
            Kind::Revision => "revision",
            Kind::LayerLink => "layer-link",
            Kind::Blob => "blob",
            Kind::EmptyDirectory => "empty-directory",
        }
    }
}

/// Everything that goes, in the order in which it goes. Equal for equal stores, however it was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SweepPlan {
    rows: Vec<Deletion>,
}

impl SweepPlan {
    /// Orders what marking has deletions.
    ///
    /// # Panics
    ///
    /// When a blob in it is marked live: that is never to happen, and must not get any further (I2).
    pub fn new(repositories: &mut [Marks], blobs: &mut BlobMarks, inventory: &Inventory) -> SweepPlan {
        blobs.deletions.par_iter().flatten().for_each(|row| {
            let blob = inventory.find(row.target.digest()).expect("deletions blobs come from the inventory");
            let live = inventory.has_any(blob, MarkFlags::LIVE.and(MarkFlags::YOUNG));
            assert!(!live, "{} is live and in the plan", row.target.digest());
        });
        let mut parts = Vec::with_capacity(repositories.len() + blobs.deletions.len());
        for marks in repositories {
            assert!(!marks.held || marks.deletions.is_empty(), "{} is held and in the plan", marks.repository);
            parts.push(std::mem::take(&mut marks.deletions));
        }
        parts.append(&mut blobs.deletions);
        SweepPlan::of_parts(parts)
    }

    /// Puts rows into the order of removal. Any parts will do; what follows one another as it is need not be moved about.
    pub(crate) fn of_parts(mut parts: Vec<Vec<Deletion>>) -> SweepPlan {
        parts.par_iter_mut().for_each(|part| part.sort_by_key(step));
        let mut rows = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
        // The places of the parts that are not used up, by the step that they are at.
        let mut waiting: BTreeMap<Step, Vec<usize>> = BTreeMap::new();
        for (place, part) in parts.iter().enumerate() {
            if let Some(first) = part.as_slice().first() {
                waiting.entry(step(first)).or_default().push(place);
            }
        }
        while let Some((this, mut places)) = waiting.pop_first() {
            places.sort_unstable();
            let begun = rows.len();
            for place in places {
                let part = &mut parts[place];
                let count = part.as_slice().partition_point(|row| step(row) == this);
                rows.extend(part.by_ref().take(count));
                if let Some(next) = part.as_slice().first() {
                    waiting.entry(step(next)).or_default().push(place);
                }
            }
            rows[begun..].sort_by(|a: &Deletion, b| a.target.cmp(&b.target));
        }
        SweepPlan { rows }
    }

    /// Leaves out what does not go after all.
    pub fn retain(&mut self, keep: impl FnMut(&Deletion) -> bool) {
        self.rows.retain(keep);
    }

    /// What goes, in order.
    pub fn rows(&self) -> &[Deletion] {
        &self.rows
    }

    /// Parts that have to be gone before the next part begins.
    pub fn steps(&self) -> impl Iterator<Item = &[Deletion]> {
        self.rows.chunk_by(|a, b| step(a) == step(b))
    }

    /// How much goes, by kind and reason. Sizes are of blobs; that of a link is not worth counting.
    pub fn totals(&self) -> Totals {
        let parts = self.rows.par_chunks(ROWS_AT_ONCE).map(|rows| Totals::of(rows.iter()));
        parts.reduce(Totals::default, |mut all, part| {
            all += part;
            all
        })
    }

    /// What each repository gives back: the blobs that go and that it had linked. A blob that several had linked counts for each.
    pub fn by_repository(&self, inventory: &Inventory) -> BTreeMap<RepositoryName, RepositoryShare> {
        let links = &self.rows[..self.rows.partition_point(|row| Kind::of(&row.target) < Kind::Blob)];
        let parts: Vec<(&RepositoryName, RepositoryShare)> = links
            .par_chunk_by(|a, b| a.target.link_directory() == b.target.link_directory())
            .map(|rows| {
                let directory = rows[0].target.link_directory().expect("links lie in directories");
                (directory.repository(), RepositoryShare::of(rows, inventory))
            })
            .collect();
        let mut shares: BTreeMap<RepositoryName, RepositoryShare> = BTreeMap::new();
        for (repository, part) in parts {
            *shares.entry(repository.clone()).or_default() += part;
        }
        shares
    }
}

/// Rows at a time that are counted as one task.
const ROWS_AT_ONCE: usize = 4096;

/// What goes at the same time: one kind, and one depth.
type Step = (Kind, u32);

fn step(row: &Deletion) -> Step {
    (Kind::of(&row.target), row.depth)
}

/// How much of what a plan or a sweep removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_kind: BTreeMap<(Kind, Reason), Amount>,
}

impl Totals {
    /// Counts rows.
    pub fn of<'a>(rows: impl Iterator<Item = &'a Deletion>) -> Totals {
        let mut totals = Totals::default();
        let mut run: Option<((Kind, Reason), Amount)> = None;
        for row in rows {
            let key = (Kind::of(&row.target), row.reason);
            let size_bytes = if key.0 == Kind::Blob { row.stat.size_bytes } else { 0 };
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

impl RepositoryShare {
    /// Counts the links of one directory that go.
    fn of(links: &[Deletion], inventory: &Inventory) -> RepositoryShare {
        let mut share = RepositoryShare::default();
        for link in links {
            match &link.target {
                Target::Link(LinkDirectory::Revisions(_), _) => share.revisions += 1,
                Target::Link(LinkDirectory::Layers(_), _) => share.layer_links += 1,
                _ => continue,
            }
            if let Some(blob) = inventory.find(link.target.digest())
                && inventory.has_any(blob, MarkFlags::DELETION)
            {
                share.blobs.add(inventory.size_bytes(blob).unwrap_or_default());
            }
        }
        share
    }
}

impl std::ops::AddAssign for RepositoryShare {
    fn add_assign(&mut self, other: RepositoryShare) {
        self.blobs += other.blobs;
        self.revisions += other.revisions;
        self.layer_links += other.layer_links;
    }
}
