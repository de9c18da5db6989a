//! What is to go, in which order: an ordered value that is printed, counted, and handed to the sweep. Pure.
//!
//! Names go before contents (G3): tags, tag history, revisions with indexes before their children, layer links, then blobs with
//! manifests before what they name, then uploads, then directories that were empty already. Wherever a sweep ends, no link that is left leads to
//! a blob that is gone.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::rows::{self, Row, STEP, Tables, WIDTH};
use super::{Deletion, Deletions, Kind, RepositoryShare, Totals};
use crate::amount::Amount;
use crate::error::Error;
use crate::inventory::{BlobId, Budget, Inventory, MarkFlags, Room};
use crate::layout::{Target, UploadPart};
use crate::oci::{Digest, RepositoryName};

/// Rows at a time that are counted as one task.
const ROWS_AT_ONCE: usize = 4096;

/// The directories of a repository between its own and those of its links: `_layers`, `_manifests`, `revisions`, and one for each algorithm.
const AROUND_LINKS: u64 = 7;
/// `tags`, that of the tag, `index`, and that of the algorithm.
const AROUND_HISTORY: u64 = 4;
/// `hashstates` and that of the upload.
const AROUND_UPLOAD: u64 = 2;
/// Directories of blobs between `blobs` and those of their own, of one algorithm.
const SHARDS: usize = 256;

/// Everything that goes, in the order in which it goes. Equal for equal stores, however it was made.
#[derive(Debug)]
pub struct SweepPlan {
    rows: Room,
    /// How many of them there are.
    count: usize,
    tables: Tables,
    inventory: Arc<Inventory>,
}

impl SweepPlan {
    /// Orders what goes: of repositories, in the order of their names, and of blobs.
    ///
    /// # Errors
    ///
    /// When there is no room beyond the budget, or what was set aside cannot be read again.
    ///
    /// # Panics
    ///
    /// When a blob in it is marked live: that is never to happen, and must not get any further (I2).
    pub fn new(
        repositories: Vec<(RepositoryName, Deletions)>,
        blobs: Vec<Deletions>,
        inventory: Arc<Inventory>,
        budget: &Budget,
    ) -> Result<SweepPlan, Error> {
        assert!(repositories.is_sorted_by(|(one, _), (other, _)| one < other), "repositories are in the order of their names");
        let count = repositories.iter().map(|(_, part)| part).chain(&blobs).map(Deletions::len).sum::<usize>();
        let mut room = budget.room(count * WIDTH)?;
        let mut tables = Tables::default();
        let mut rest: &mut [u8] = &mut room;
        let mut take = |tables: &mut Tables, number: usize, part: Deletions| -> Result<(), Error> {
            let (here, behind) = std::mem::take(&mut rest).split_at_mut(part.len() * WIDTH);
            rest = behind;
            tables.take(number as u32, part, budget, here)
        };
        for (number, (name, part)) in repositories.into_iter().enumerate() {
            take(&mut tables, number, part)?;
            tables.repositories.push(name);
        }
        for part in blobs {
            take(&mut tables, 0, part)?;
        }
        let (rows, _) = room.as_chunks_mut::<WIDTH>();
        rows.par_sort_unstable_by(|one, other| tables.compare(&inventory, one, other));
        let plan = SweepPlan { rows: room, count, tables, inventory };
        let is_live = |row: &Row| {
            let flags = MarkFlags::KEPT;
            rows::blob(row).is_some_and(|blob| plan.inventory.has_any(blob, flags))
        };
        plan.rows()[plan.range(Kind::Blob)].par_iter().for_each(|row| {
            assert!(!is_live(row), "{} is live and in the plan", plan.tables.digest(&plan.inventory, row));
        });
        Ok(plan)
    }

    fn rows(&self) -> &[Row] {
        let (rows, _) = self.rows.as_chunks::<WIDTH>();
        &rows[..self.count]
    }

    /// Leaves out what does not go after all.
    pub fn retain(&mut self, mut keep: impl FnMut(&Deletion) -> bool) {
        let (rows, _) = self.rows.as_chunks_mut::<WIDTH>();
        let mut kept = 0;
        for place in 0..self.count {
            if keep(&self.tables.deletion(&self.inventory, &rows[place])) {
                rows[kept] = rows[place];
                kept += 1;
            }
        }
        self.count = kept;
    }

    /// Whether a blob goes.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        let Some(blob) = self.inventory.find(digest) else { return false };
        // Each depth is in the order of the inventory.
        let rows = &self.rows()[self.range(Kind::Blob)];
        rows.chunk_by(|one, other| one[STEP] == other[STEP])
            .any(|step| step.binary_search_by_key(&Some(blob), rows::blob).is_ok())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of them are files.
    pub fn files(&self) -> u64 {
        self.range(Kind::EmptyDirectory).start as u64
    }

    /// How many directories it takes to keep them aside in the shape of the store: one for each, and those around them.
    pub fn directories(&self) -> u64 {
        let files = &self.rows()[..self.files() as usize];
        let names: HashSet<&RepositoryName> = files
            .chunk_by(|one, other| rows::repository(one) == rows::repository(other))
            .filter(|some| rows::kind(&some[0]) != Kind::Blob)
            .map(|some| &self.tables.repositories[rows::repository(&some[0])])
            .collect();
        let around_links: u64 = names.iter().map(|name| name.as_path().iter().count() as u64 + AROUND_LINKS).sum();
        let around_history = AROUND_HISTORY * self.tables.tags.len() as u64;
        let shards = self.range(Kind::Blob).len().min(SHARDS) as u64;
        let around_uploads = AROUND_UPLOAD * self.range(Kind::Upload).len() as u64;
        files.len() as u64 + around_links + around_history + around_uploads + shards
    }

    /// What goes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Deletion> {
        self.rows().iter().map(|row| self.tables.deletion(&self.inventory, row))
    }

    /// What goes of one kind, in order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = Deletion> {
        self.rows()[self.range(kind)].iter().map(|row| self.tables.deletion(&self.inventory, row))
    }

    /// The revisions that go.
    pub fn revisions(&self) -> impl Iterator<Item = (RepositoryName, Digest)> {
        self.of_kind(Kind::Revision).filter_map(|row| Some((row.target.repository()?.clone(), *row.target.digest()?)))
    }

    /// The blobs that go after their links, with the repository of each link.
    pub fn links_of_blobs(&self) -> impl Iterator<Item = (&RepositoryName, Digest)> {
        let goes = |blob: &BlobId| self.inventory.has_any(*blob, MarkFlags::DELETION);
        self.links().iter().flat_map(move |row| {
            let blobs = rows::blob(row).into_iter().chain(rows::alias(row)).filter(goes);
            blobs.map(|blob| (&self.tables.repositories[rows::repository(row)], self.inventory.digest(blob)))
        })
    }

    /// The uploads that go, and what was sent of them.
    pub fn uploads(&self) -> Amount {
        let mut all = Amount::default();
        let mut seen = HashSet::new();
        for row in self.of_kind(Kind::Upload).chain(self.of_kind(Kind::EmptyDirectory)) {
            let Some((repository, id)) = row.target.upload() else { continue };
            all.count += u64::from(seen.insert((repository.clone(), id.to_owned())));
            if matches!(&row.target, Target::Upload(file) if file.part == UploadPart::Data) {
                all.size_bytes = all.size_bytes.saturating_add(row.stat.size_bytes);
            }
        }
        all
    }

    fn range(&self, kind: Kind) -> Range<usize> {
        let rows = self.rows();
        let begin = rows.partition_point(|row| rows::kind(row) < kind);
        begin..begin + rows[begin..].partition_point(|row| rows::kind(row) == kind)
    }

    /// Parts that have to be gone before the next part begins, with the kind of what is in them.
    pub fn steps(&self) -> impl Iterator<Item = (Kind, Range<usize>)> {
        let mut begin = 0;
        std::iter::from_fn(move || {
            let first = self.rows().get(begin)?;
            let end = begin + self.rows()[begin..].partition_point(|row| row[STEP] == first[STEP]);
            let step = (rows::kind(first), begin..end);
            begin = end;
            Some(step)
        })
    }

    /// A part of what goes.
    pub fn part(&self, part: Range<usize>) -> Vec<Deletion> {
        self.rows()[part].par_iter().map(|row| self.tables.deletion(&self.inventory, row)).collect()
    }

    /// How much goes, by kind and reason. Sizes are of blobs; that of a link is not worth counting.
    pub fn totals(&self) -> Totals {
        let of_rows =
            |some: &[Row]| Totals::of(some.iter().map(|row| (rows::kind(row), rows::reason(row), rows::size_bytes(row))));
        self.rows().par_chunks(ROWS_AT_ONCE).map(of_rows).reduce(Totals::default, |mut all, part| {
            all += part;
            all
        })
    }

    /// Everything that goes before the first blob: links.
    fn links(&self) -> &[Row] {
        &self.rows()[..self.range(Kind::Blob).start]
    }

    /// What each repository gives back: the blobs that go and that it had linked. A blob that several had linked counts for each.
    pub fn by_repository(&self) -> BTreeMap<RepositoryName, RepositoryShare> {
        let parts: Vec<(usize, RepositoryShare)> = self
            .links()
            .par_chunk_by(|one, other| (rows::kind(one), rows::repository(one)) == (rows::kind(other), rows::repository(other)))
            .map(|some| (rows::repository(&some[0]), self.share(some)))
            .collect();
        let mut shares: BTreeMap<RepositoryName, RepositoryShare> = BTreeMap::new();
        for (repository, part) in parts {
            *shares.entry(self.tables.repositories[repository].clone()).or_default() += part;
        }
        shares
    }

    /// Counts links that go.
    fn share(&self, links: &[Row]) -> RepositoryShare {
        let mut share = RepositoryShare::default();
        for link in links {
            match rows::kind(link) {
                Kind::Revision => share.revisions += 1,
                Kind::LayerLink => share.layer_links += 1,
                _ => continue,
            }
            if let Some(blob) = rows::blob(link).filter(|blob| self.inventory.has_any(*blob, MarkFlags::DELETION)) {
                share.blobs.add(self.inventory.size_bytes(blob).unwrap_or_default());
            }
        }
        share
    }
}

#[cfg(test)]
impl SweepPlan {
    /// A plan of what an empty store would not have.
    pub(crate) fn of(deletions: &[Deletion]) -> SweepPlan {
        let budget = Budget::unlimited();
        let (inventory, _) = Inventory::list(&crate::store::MemoryStore::new(), &budget).expect("listable");
        let mut repositories: BTreeMap<RepositoryName, Deletions> = BTreeMap::new();
        let mut blobs = Deletions::default();
        for deletion in deletions {
            let part = match deletion.target.repository() {
                Some(repository) => repositories.entry(repository.clone()).or_default(),
                None => &mut blobs,
            };
            part.push(&inventory, deletion);
        }
        let repositories = repositories.into_iter().collect();
        SweepPlan::new(repositories, vec![blobs], Arc::new(inventory), &budget).expect("in memory")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout::{self, LinkDirectory, Target, UploadFile, UploadPart};
    use crate::oci::{Algorithm, TagName};
    use crate::plan::Reason;
    use crate::store::{MemoryStore, Stat};

    fn digest(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    /// Some of each kind, stored or not, in no order.
    fn deletions() -> Vec<Deletion> {
        let [a, b] = ["a", "a/b"].map(RepositoryName::new);
        let mut all = Vec::new();
        for (number, name) in (0..40_u32).map(|number| (number, format!("{number}"))) {
            let repository = if number % 3 == 0 { &a } else { &b };
            let tag = TagName::new(format!("v{}", number / 10));
            let directory = match number % 4 {
                0 => LinkDirectory::History(repository.clone(), tag.clone()),
                1 => LinkDirectory::Revisions(repository.clone()),
                _ => LinkDirectory::Layers(repository.clone()),
            };
            let by_another_name = Digest::of(Algorithm::Sha512, name.as_bytes());
            let id = format!("upload-{}", number / 12);
            let file = UploadFile {
                repository: repository.clone(),
                id: id.clone(),
                part: UploadPart::HashState(Algorithm::Sha256, number.into()),
            };
            let target = match number % 5 {
                _ if number % 11 == 5 => Target::Upload(Box::new(file)),
                _ if number % 11 == 6 => Target::EmptyUploadDirectory(repository.clone(), id),
                _ if number == 11 => Target::BrokenTag(repository.clone(), TagName::new("zz")),
                _ if number == 13 => Target::EmptyTag(repository.clone(), TagName::new("zzz")),
                // One in each.
                _ if matches!(number, 10 | 15) => Target::EmptyRepository(repository.clone()),
                0 if number % 4 == 0 => Target::Tag(repository.clone(), tag, digest(&name)),
                0 => Target::Link(directory, digest(&name)),
                1 => Target::Link(directory, by_another_name),
                2 => Target::Blob(digest(&name)),
                3 => Target::EmptyLinkDirectory(directory, digest(&name)),
                _ => Target::EmptyBlobDirectory(digest(&name)),
            };
            let is_directory = target.is_directory();
            all.push(Deletion {
                alias_of: (number % 5 == 1 && target.upload().is_none()).then(|| Box::new(digest(&name))),
                target,
                stat: Stat::new(number.into(), SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(number.into())),
                reason: if is_directory { Reason::EmptyDirectory } else { Reason::Untagged },
                depth: if is_directory { 0 } else { number % 2 },
            });
        }
        all
    }

    fn plan(deletions: &[Deletion], budget: &Budget) -> SweepPlan {
        let store = MemoryStore::new();
        for number in (0..40).filter(|number| number % 7 != 0) {
            store.add_file(layout::blob_data(&digest(&format!("{number}"))), "x", SystemTime::UNIX_EPOCH);
        }
        let (inventory, _) = Inventory::list(&store, &Budget::unlimited()).expect("listable");
        let mut repositories: BTreeMap<RepositoryName, Deletions> = BTreeMap::new();
        let mut blobs = vec![Deletions::default(), Deletions::default()];
        for (place, deletion) in deletions.iter().enumerate() {
            let part = match deletion.target.repository() {
                Some(repository) => repositories.entry(repository.clone()).or_default(),
                None => &mut blobs[place % 2],
            };
            part.push(&inventory, deletion);
        }
        for part in repositories.values_mut().chain(&mut blobs) {
            part.set_aside(budget).expect("room");
        }
        SweepPlan::new(repositories.into_iter().collect(), blobs, Arc::new(inventory), budget).expect("room")
    }

    #[test]
    fn what_goes_comes_back_whole_and_in_order_wherever_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut expected = deletions();
        expected.sort_by_key(|row| (Kind::of(&row.target), row.depth, row.target.clone()));
        for bytes in [None, Some(0), Some(500), Some(5_000)] {
            let budget = bytes.map_or_else(Budget::unlimited, |bytes| Budget::of(bytes, directory.path()));
            let mut plan = plan(&deletions(), &budget);
            assert_eq!(plan.iter().collect::<Vec<_>>(), expected, "{bytes:?}");
            let steps: Vec<(Kind, Range<usize>)> = plan.steps().collect();
            assert_eq!(steps.iter().map(|(_, part)| part.len()).sum::<usize>(), expected.len());
            for (kind, part) in steps {
                let rows = &expected[part.clone()];
                assert!(rows.iter().all(|row| Kind::of(&row.target) == kind && row.depth == rows[0].depth), "{part:?}");
                assert_eq!(plan.part(part), rows);
            }
            assert_eq!(plan.totals().kind(Kind::Blob).count, 6);
            let goes: Vec<Digest> = plan.of_kind(Kind::Blob).filter_map(|row| row.target.digest().copied()).collect();
            for number in 0..40 {
                let digest = digest(&format!("{number}"));
                assert_eq!(plan.has_blob(&digest), goes.contains(&digest) && number % 7 != 0, "{number}");
            }
            plan.retain(|row| row.depth == 1);
            assert!(plan.iter().eq(expected.iter().filter(|row| row.depth == 1).cloned()), "{bytes:?}");
            assert_eq!(plan.len(), plan.iter().count());
        }
    }
}
