//! A plan that was written before and is to be carried out: what of a fresh one is in it.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::seen_rows::SeenRows;
use super::{SweepPlan, read};
use crate::error::{Context as _, Error};
use crate::inventory::Budget;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::store::Stat;

/// Of what is skipped, this much is named.
const NAMED: usize = 5;

/// The rows of a plan that somebody has looked at.
#[derive(Debug)]
pub struct Approved {
    rows: SeenRows,
    /// Where they come from.
    path: PathBuf,
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
        let rows = SeenRows::collect(read::read(BufReader::new(file), path), budget)?;
        Ok(Approved { rows, path: path.to_owned() })
    }

    /// How much memory its rows take.
    pub fn memory_bytes(&self) -> u64 {
        self.rows.memory_bytes()
    }

    /// Whether a revision is to go by it.
    pub fn has_revision(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.rows.place(&Target::Link(LinkDirectory::Revisions(repository.clone()), *digest)).is_some()
    }

    /// Leaves in a fresh plan what is here too, as it was. A blob stays for a name that stays: no link is to lead to nothing. An upload of which
    /// anything stays stays whole.
    pub fn carry(&self, plan: &mut SweepPlan) -> Carried {
        let is_here = |target: &Target, stat: &Stat| self.rows.place(target).is_some_and(|place| self.rows.is(place, stat));
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
