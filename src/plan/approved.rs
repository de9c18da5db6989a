//! A plan that was written before and is to be carried out: what of a fresh one is in it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{SweepPlan, read};
use crate::error::{Context as _, Error};
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::store::Stat;

/// Of what is skipped, this much is named.
const NAMED: usize = 5;

/// The rows of a plan that somebody has looked at.
#[derive(Clone, Debug)]
pub struct Approved {
    rows: HashMap<Target, (u64, SystemTime)>,
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
    /// Reads the plan in a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Approved, Error> {
        let file = File::open(path).context("read", path)?;
        let rows = read::read(BufReader::new(file), path);
        let rows = rows.map(|row| row.map(|row| (row.target, (row.stat.size_bytes, row.stat.modified))));
        Ok(Approved { rows: rows.collect::<Result<_, Error>>()? })
    }

    /// Whether a revision is to go by it.
    pub fn has_revision(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.rows.contains_key(&Target::Link(LinkDirectory::Revisions(repository.clone()), *digest))
    }

    /// Leaves in a fresh plan what is here too, as it was. A blob stays for a name that stays: no link is to lead to nothing. An upload of which
    /// anything stays stays whole.
    pub fn carry(&self, plan: &mut SweepPlan) -> Carried {
        let is_here =
            |target: &Target, stat: &Stat| self.rows.get(target).is_some_and(|seen| *seen == (stat.size_bytes, stat.modified));
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
        let carried: HashSet<Target> = plan.iter().map(|row| row.target).collect();
        let mut skipped: Vec<PathBuf> = self.rows.keys().filter(|target| !carried.contains(*target)).map(Target::path).collect();
        skipped.sort_unstable();
        let count = skipped.len() as u64;
        skipped.truncate(NAMED);
        Carried { rows: plan.len() as u64, skipped: count, first_skipped: skipped }
    }
}

fn upload_of(target: &Target) -> Option<(RepositoryName, String)> {
    target.upload().map(|(repository, id)| (repository.clone(), id.to_owned()))
}
