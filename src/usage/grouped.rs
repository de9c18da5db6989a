//! Rows by tag, by age and by kind of image. They count what the tags of a repository lead to, not all that it marks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use foldhash::{HashMap, HashSet};

use super::keeping::{Kept, LIVE};
use super::rows::UsageRow;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, Holder, Inventory, MarkFlags, MaskWords, Ownership, Whose};
use crate::lineage::{ImageInfo, Lineage, Place};
use crate::store::LinkContent;

/// The row of kept blobs that no tag leads to.
const OTHERS: u32 = 0;

/// What the tags of one repository lead to.
struct Tagged {
    lineage: Lineage,
    /// The index in the survey of each tag that names a manifest, and the place of that manifest.
    tags: Vec<(usize, Place)>,
    /// Blobs kept for another reason than a tag.
    others: HashSet<BlobId>,
}

impl Tagged {
    fn read(context: &Context<'_>, kept: &Kept) -> Result<Tagged, Error> {
        let lineage = Lineage::read(context, &kept.surveyed)?;
        let mut tags = Vec::new();
        for (number, tag) in kept.surveyed.tags.iter().enumerate() {
            if let LinkContent::Digest(digest) = tag.current {
                tags.extend(lineage.place(&digest).map(|place| (number, place)));
            }
        }
        let reached = lineage.blobs_of(&lineage.below(tags.iter().map(|(_, place)| *place), None));
        let is_other = |(blob, flags): &(&BlobId, &MarkFlags)| {
            // A held repository keeps every blob, even if its tags go.
            flags.intersects(LIVE) && (kept.marks.held || flags.contains(MarkFlags::YOUNG) || !reached.contains(blob))
        };
        let others = kept.noted.iter().filter(is_other).map(|(blob, _)| *blob).collect();
        Ok(Tagged { lineage, tags, others })
    }

    /// The blobs of some manifests that the repository keeps.
    fn blobs(&self, kept: &Kept, places: &[Place]) -> HashSet<BlobId> {
        let mut blobs = self.lineage.blobs_of(places);
        blobs.retain(|blob| kept.noted.get(blob).is_some_and(|flags| flags.intersects(LIVE)));
        blobs
    }
}

/// A row for each tag.
#[derive(Debug, Default)]
pub(crate) struct TagRows {
    rows: Mutex<Vec<UsageRow>>,
}

impl TagRows {
    pub(super) fn add(&self, context: &Context<'_>, kept: &Kept, ownership: &Ownership) -> Result<(), Error> {
        let tagged = Tagged::read(context, kept)?;
        tagged.others.iter().for_each(|blob| ownership.claim(*blob, Holder::Live, OTHERS));
        for &(number, place) in &tagged.tags {
            let places = tagged.lineage.below([place], None);
            let mut row = UsageRow {
                name: format!("{}:{}", kept.surveyed.name, kept.surveyed.tags[number].name),
                images: places.iter().filter(|place| tagged.lineage.is_manifest(**place)).count() as u64,
                tags: 1,
                pushed: kept.pushes[number],
                held_repositories: u64::from(kept.marks.held),
                ..UsageRow::default()
            };
            let blobs = tagged.blobs(kept, &places);
            blobs.iter().filter_map(|blob| ownership.size_bytes(*blob)).for_each(|size_bytes| row.total.add(size_bytes));
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push(row);
            let number = rows.len() as u32;
            drop(rows);
            blobs.iter().for_each(|blob| ownership.claim(*blob, Holder::Live, number));
        }
        Ok(())
    }

    pub(super) fn into_rows(self, inventory: &Inventory, ownership: &Ownership) -> Vec<UsageRow> {
        let mut rows = self.rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        for blob in (0..inventory.len() as u32).map(BlobId::at) {
            if let (Whose::One(row @ 1..), Some(size_bytes)) = (ownership.whose(blob, Holder::Live), ownership.size_bytes(blob)) {
                rows[row as usize - 1].unique.add(size_bytes);
            }
        }
        rows
    }

    /// The rows that hold a blob; blobs kept without a tag are in no row.
    pub(super) fn whose(ownership: &Ownership, blob: BlobId) -> Whose {
        match ownership.whose(blob, Holder::Live) {
            Whose::One(OTHERS) => Whose::Nobody,
            whose => whose,
        }
    }
}

/// Rows few enough for a bit mask: one word for each blob records which rows hold it.
#[derive(Debug)]
pub(crate) struct FewRows {
    masks: MaskWords,
    rows: Mutex<Vec<UsageRow>>,
    /// When the run began.
    now: SystemTime,
}

/// The bit of blobs kept for another reason than a tag.
const OTHER_BIT: u32 = 63;
/// Rows beyond this number share one row.
const MOST_ROWS: usize = 62;
const BEYOND: &str = "other kinds";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Upper limits of age in days, with the names of the rows.
const AGES: [(u32, &str); 6] = [
    (1, "within a day"),
    (7, "within a week"),
    (30, "within 30 days"),
    (90, "within 90 days"),
    (365, "within a year"),
    (u32::MAX, "longer ago"),
];

impl FewRows {
    pub(super) fn new(blobs: usize, budget: &Budget, now: SystemTime) -> Result<FewRows, Error> {
        Ok(FewRows { masks: MaskWords::new(blobs, budget)?, rows: Mutex::default(), now })
    }

    /// The number of a row. Adds the row if it is new.
    fn row(&self, name: &str, learn: impl FnOnce(&mut UsageRow)) -> u32 {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rows.iter().position(|row| row.name == name);
        let number = known.unwrap_or_else(|| {
            let name = if rows.len() < MOST_ROWS { name } else { BEYOND };
            rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                rows.push(UsageRow { name: name.to_owned(), ..UsageRow::default() });
                rows.len() - 1
            })
        });
        learn(&mut rows[number]);
        number as u32
    }

    /// Adds a repository to the rows by age.
    pub(super) fn add_ages(&self, context: &Context<'_>, kept: &Kept) -> Result<(), Error> {
        let tagged = Tagged::read(context, kept)?;
        tagged.others.iter().for_each(|blob| self.masks.set(*blob, OTHER_BIT));
        let mut of_ages: HashMap<&str, Vec<(usize, Place)>> = HashMap::default();
        for &(number, place) in &tagged.tags {
            of_ages.entry(self.age(kept.pushes[number])).or_default().push((number, place));
        }
        for (age, tags) in of_ages {
            let places = tagged.lineage.below(tags.iter().map(|(_, place)| *place), None);
            let row = self.row(age, |row| {
                row.tags += tags.len() as u64;
                row.images += places.iter().filter(|place| tagged.lineage.is_manifest(**place)).count() as u64;
                row.held_repositories += u64::from(kept.marks.held);
                tags.iter().for_each(|(number, _)| row.pushed_at(kept.pushes[*number]));
            });
            tagged.blobs(kept, &places).iter().for_each(|blob| self.masks.set(*blob, row));
        }
        Ok(())
    }

    fn age(&self, pushed: Option<SystemTime>) -> &'static str {
        let Some(pushed) = pushed else { return "at an unknown time" };
        let age = self.now.duration_since(pushed).unwrap_or_default();
        AGES.iter().find(|(days, _)| age < DAY * *days).map_or("longer ago", |(_, name)| name)
    }

    /// Adds a repository to the rows by kind of image.
    pub(super) fn add_kinds(&self, context: &Context<'_>, kept: &Kept) -> Result<(), Error> {
        let tagged = Tagged::read(context, kept)?;
        tagged.others.iter().for_each(|blob| self.masks.set(*blob, OTHER_BIT));
        let lineage = &tagged.lineage;
        for place in lineage.below(tagged.tags.iter().map(|(_, place)| *place), None) {
            if !lineage.is_manifest(place) {
                continue;
            }
            let info = ImageInfo::read_manifest(context.store, &lineage.name(place))?;
            let row = self.row(info.kind(), |row| {
                row.images += 1;
                for (number, _) in tagged.tags.iter().filter(|(_, root)| *root == place) {
                    row.tags += 1;
                    row.pushed_at(kept.pushes[*number]);
                }
            });
            // Listed manifests count in their own rows.
            let is_listed = |blob: &BlobId| {
                let child = lineage.place(&context.inventory.digest(*blob));
                child.is_some_and(|child| child != place && lineage.is_manifest(child))
            };
            let blobs = tagged.blobs(kept, &[place]);
            blobs.iter().filter(|blob| !is_listed(blob)).for_each(|blob| self.masks.set(*blob, row));
        }
        Ok(())
    }

    pub(super) fn into_rows(self, inventory: &Inventory, ownership: &Ownership) -> Vec<UsageRow> {
        let mut rows = self.rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        for blob in (0..inventory.len() as u32).map(BlobId::at) {
            let Some(size_bytes) = ownership.size_bytes(blob) else { continue };
            let mask = self.masks.get(blob);
            for (number, row) in rows.iter_mut().enumerate().filter(|(number, _)| mask >> number & 1 == 1) {
                row.total.add(size_bytes);
                if mask == 1 << number {
                    row.unique.add(size_bytes);
                }
            }
        }
        rows
    }

    pub(super) fn whose(&self, blob: BlobId) -> Whose {
        let mask = self.masks.get(blob);
        match mask.count_ones() {
            0 => Whose::Nobody,
            1 if mask == 1 << OTHER_BIT => Whose::Nobody,
            1 => Whose::One(mask.trailing_zeros()),
            _ => Whose::Several,
        }
    }
}
