//! A plan that was written before and is to be carried out: what of a fresh one is in it.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::read::PlannedRow;
use super::seen_rows::SeenRows;
use super::{Reason, SweepPlan, read};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::format::plural;
use crate::inventory::Budget;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::Stat;

/// Of what is skipped, this much is named.
const NAMED: usize = 5;

/// The rows of a plan that somebody has looked at.
#[derive(Debug)]
pub struct Approved {
    rows: SeenRows,
    /// Where they come from.
    path: PathBuf,
    /// How many are of tags that rules or names drop.
    of_tags: u64,
    /// How many are of referrers whose subject is gone.
    orphaned: u64,
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// Rows that a fresh plan has as well, as they were.
    pub rows: u64,
    /// Rows that it has not, or not as they were.
    pub skipped: u64,
    /// The first of these, in order.
    pub first_skipped: Vec<PathBuf>,
}

impl Approved {
    /// Reads the plan in a file. Its rows are in memory, or beyond the budget in a file of our own.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is none.
    pub fn read(path: &Path, budget: &Budget) -> Result<Approved, Error> {
        let file = File::open(path).context("read", path)?;
        let (mut of_tags, mut orphaned) = (0, 0);
        let rows = read::read(BufReader::new(file), path).inspect(|row| match row {
            Ok(PlannedRow { reason: Reason::TagDropped, .. }) => of_tags += 1,
            Ok(PlannedRow { reason: Reason::Orphaned, .. }) => orphaned += 1,
            _ => {}
        });
        let rows = SeenRows::collect(rows, budget)?;
        Ok(Approved { rows, path: path.to_owned(), of_tags, orphaned })
    }

    /// Makes sure that a collection can carry it out. `drops_orphans` is what it was asked for.
    ///
    /// # Errors
    ///
    /// When some of it goes by other commands only, or by a flag that was not given.
    pub fn ensure_possible(&self, drops_orphans: bool) -> Result<(), Error> {
        let refused =
            |count, why: &str| Error::Usage(format!("--plan {} has {} {why}", escaped(&self.path), plural(count, "row", "rows")));
        if self.of_tags > 0 {
            let why = "of tags, which `expire` or `remove` wrote: give that command again, without --plan";
            return Err(refused(self.of_tags, why));
        }
        if self.orphaned > 0 && !drops_orphans {
            return Err(refused(self.orphaned, "that --orphaned-referrers wrote: give that flag as well"));
        }
        Ok(())
    }

    /// How much memory its rows take.
    pub fn memory_bytes(&self) -> u64 {
        self.rows.memory_bytes()
    }

    /// Whether a revision is to go by it.
    pub fn has_revision(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.rows.place(&Target::Link(LinkDirectory::Revisions(repository.clone()), *digest)).is_some()
    }

    /// Whether a tag is to go by it that names this.
    pub fn has_tag(&self, repository: &RepositoryName, tag: &TagName, target: &Digest) -> bool {
        self.rows.place(&Target::Tag(repository.clone(), tag.clone(), *target)).is_some()
    }

    /// Leaves in a fresh plan what is here too, as it was. A blob stays for a name that stays: no link is to lead to nothing. An upload of which
    /// anything stays stays whole, and so does a repository of which a tag or a revision stays: what that needs is among its links.
    pub fn carry(&self, plan: &mut SweepPlan) -> Carried {
        let is_seen = |target: &Target, stat: &Stat| self.rows.place(target).is_some_and(|place| self.rows.is(place, stat));
        // It was pushed or set again, if to the same.
        let is_root = |target: &Target| matches!(target, Target::Tag(..) | Target::Link(LinkDirectory::Revisions(_), _));
        let root_stays = plan.iter().filter(|row| is_root(&row.target) && !is_seen(&row.target, &row.stat));
        let whole: HashSet<RepositoryName> = root_stays.filter_map(|row| row.target.repository().cloned()).collect();
        let stays_whole = |target: &Target| target.repository().is_some_and(|name| whole.contains(name));
        let is_here = |target: &Target, stat: &Stat| is_seen(target, stat) && !stays_whole(target);
        let is_name = |target: &Target| matches!(target, Target::Tag(..) | Target::BrokenTag(..) | Target::Link(..));
        let mut named: HashSet<Digest> = HashSet::new();
        for row in plan.iter().filter(|row| is_name(&row.target) && !is_here(&row.target, &row.stat)) {
            named.extend(row.target.digest().into_iter().chain(row.alias_of.as_deref()));
        }
        // Nor are the directories of a repository to go of which anything stays.
        let (mut kept_in, mut torn): (HashSet<RepositoryName>, HashSet<(RepositoryName, String)>) = Default::default();
        for row in plan.iter().filter(|row| !is_here(&row.target, &row.stat)) {
            kept_in.extend(row.target.repository().cloned());
            torn.extend(upload_of(&row.target));
        }
        plan.retain(|row| {
            let stays = match &row.target {
                Target::Blob(digest) => named.contains(digest),
                Target::EmptyRepository(repository) => kept_in.contains(repository),
                target => upload_of(target).is_some_and(|upload| torn.contains(&upload)),
            };
            is_here(&row.target, &row.stat) && !stays
        });
        let mut carried = vec![false; self.rows.len()];
        plan.iter().filter_map(|row| self.rows.place(&row.target)).for_each(|place| carried[place] = true);
        let skipped = carried.iter().filter(|is_carried| !**is_carried).count() as u64;
        let first_skipped = if skipped == 0 { Vec::new() } else { self.first_skipped(&carried) };
        Carried { rows: plan.len() as u64, skipped, first_skipped }
    }

    /// The first of what is skipped, in order. Only the file has their paths: where it cannot be read again, there are none.
    fn first_skipped(&self, carried: &[bool]) -> Vec<PathBuf> {
        let Ok(file) = File::open(&self.path) else { return Vec::new() };
        let mut first = BTreeSet::new();
        for row in read::read(BufReader::new(file), &self.path).map_while(Result::ok) {
            if self.rows.place(&row.target).is_some_and(|place| !carried[place]) {
                first.insert(row.target.path());
                if first.len() > NAMED {
                    first.pop_last();
                }
            }
        }
        first.into_iter().collect()
    }
}

fn upload_of(target: &Target) -> Option<(RepositoryName, String)> {
    target.upload().map(|(repository, id)| (repository.clone(), id.to_owned()))
}
