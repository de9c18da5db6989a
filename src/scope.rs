//! Which part of a store a collection is about. Pure.
//!
//! All of the store is read and marked whatever is chosen here: a blob that anything needs stays. What is chosen is what may go of the rest.

use std::sync::Arc;

use globset::{Glob, GlobSet};

use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Approved, Carried, Deletion, Reason, SweepPlan};
use crate::policy::RootPolicy;
use crate::retention::{OnlyApproved, Retention, Within};

/// What may go.
#[derive(Clone, Debug, Default)]
pub enum Scope {
    /// Whatever nothing needs.
    #[default]
    Whole,
    /// Links of some repositories, and blobs that nothing needs without them.
    Repositories(Chosen),
    /// Blobs that no repository links.
    Unlinked,
    /// What a plan names that was written before.
    Approved(Arc<Approved>),
}

/// Repositories by patterns of their names.
#[derive(Clone, Debug)]
pub struct Chosen {
    set: GlobSet,
    patterns: Vec<String>,
}

impl Scope {
    /// Repositories whose names match one of these.
    ///
    /// # Errors
    ///
    /// When there is too much in the patterns.
    pub fn repositories(patterns: &[Glob]) -> Result<Scope, globset::Error> {
        let set = GlobSet::new(patterns)?;
        let patterns = patterns.iter().map(|pattern| pattern.glob().to_owned()).collect();
        Ok(Scope::Repositories(Chosen { set, patterns }))
    }

    /// Whether it is all of the store.
    pub fn is_whole(&self) -> bool {
        matches!(self, Scope::Whole)
    }

    /// A retention, in this part; nothing if it is the whole.
    pub fn retention(&self, retention: RootPolicy) -> Option<Box<dyn Retention>> {
        let patterns = match self {
            Scope::Whole => return None,
            Scope::Approved(approved) => {
                return Some(Box::new(OnlyApproved { approved: Arc::clone(approved), retention }));
            }
            Scope::Repositories(chosen) => chosen.set.clone(),
            Scope::Unlinked => GlobSet::empty(),
        };
        Some(Box::new(Within { patterns, retention }))
    }

    /// Leaves in a plan what is of this part. Says what came of a plan that was written before.
    /// `had_linked` tells of a blob that no repository links which ones had linked it before a sweep was cut off.
    pub fn limit(&self, plan: &mut SweepPlan, had_linked: &dyn Fn(&Digest) -> Vec<RepositoryName>) -> Option<Carried> {
        match self {
            Scope::Whole => None,
            Scope::Approved(approved) => Some(approved.carry(plan)),
            _ => {
                plan.retain(|row| self.includes(row, had_linked));
                None
            }
        }
    }

    /// Whether a row of a plan is of this part. A blob that no repository links is of none, unless a run that was cut off had unlinked it.
    fn includes(&self, row: &Deletion, had_linked: &dyn Fn(&Digest) -> Vec<RepositoryName>) -> bool {
        let is_unlinked = matches!(row.target, Target::Blob(_)) && row.reason == Reason::Unlinked;
        match (self, row.target.repository()) {
            (Scope::Whole | Scope::Approved(_), _) => true,
            (Scope::Repositories(chosen), Some(repository)) => chosen.is_match(repository),
            (Scope::Repositories(chosen), None) => match row.target {
                Target::Blob(digest) if is_unlinked => had_linked(&digest).iter().any(|repository| chosen.is_match(repository)),
                Target::Blob(_) => true,
                _ => false,
            },
            (Scope::Unlinked, _) => is_unlinked,
        }
    }

    /// How much memory it takes.
    pub fn memory_bytes(&self) -> u64 {
        match self {
            Scope::Approved(approved) => approved.memory_bytes(),
            Scope::Whole | Scope::Repositories(_) | Scope::Unlinked => 0,
        }
    }

    /// The patterns that no repository matches.
    pub fn unmatched<'n>(&self, names: impl Iterator<Item = &'n RepositoryName>) -> Vec<String> {
        let Scope::Repositories(chosen) = self else { return Vec::new() };
        let mut is_met = vec![false; chosen.patterns.len()];
        for name in names {
            chosen.set.matches(name.as_path()).into_iter().for_each(|place| is_met[place] = true);
        }
        chosen.patterns.iter().zip(is_met).filter(|(_, is_met)| !is_met).map(|(pattern, _)| pattern.clone()).collect()
    }

    /// The patterns, if there are any.
    pub fn patterns(&self) -> &[String] {
        match self {
            Scope::Repositories(chosen) => &chosen.patterns,
            Scope::Whole | Scope::Unlinked | Scope::Approved(_) => &[],
        }
    }
}

impl Chosen {
    fn is_match(&self, repository: &RepositoryName) -> bool {
        self.set.is_match(repository.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LinkDirectory;
    use crate::options;
    use crate::store::Stat;
    use crate::testing::sha256;

    #[test]
    fn rows_of_other_parts_are_not_included() {
        let digest = sha256(b"x");
        let row = |target, reason| Deletion {
            target,
            stat: Stat::new(0, std::time::SystemTime::UNIX_EPOCH),
            alias_of: None,
            reason,
            depth: 0,
        };
        let link = |name: &str| Target::Link(LinkDirectory::Layers(RepositoryName::new(name)), digest);
        let chosen = Scope::repositories(&[options::glob("team/*").expect("a pattern")]).expect("few");
        for (row, is_of_chosen, is_of_unlinked) in [
            (row(link("team/a"), Reason::Unreferenced), true, false),
            (row(link("other"), Reason::Unreferenced), false, false),
            (row(Target::Blob(digest), Reason::Unreferenced), true, false),
            (row(Target::Blob(digest), Reason::Unlinked), false, true),
            (row(Target::EmptyBlobDirectory(digest), Reason::EmptyDirectory), false, false),
        ] {
            assert!(Scope::Whole.includes(&row, &|_| Vec::new()));
            assert_eq!(
                (chosen.includes(&row, &|_| Vec::new()), Scope::Unlinked.includes(&row, &|_| Vec::new())),
                (is_of_chosen, is_of_unlinked),
                "{row:?}"
            );
        }
    }

    #[test]
    fn patterns_that_match_nothing_are_named() {
        let patterns = ["team/*", "nobody", "a"].map(|text| options::glob(text).expect("a pattern"));
        let scope = Scope::repositories(&patterns).expect("few");
        let names = ["a", "team/x", "team/x/y"].map(RepositoryName::new);
        assert_eq!(scope.unmatched(names.iter()), ["nobody"]);
        assert!(Scope::Whole.unmatched(names.iter()).is_empty());
    }
}
