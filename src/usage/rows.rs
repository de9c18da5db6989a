//! One row of the account: a repository, a namespace, a tag, a kind of image or an age.

use std::cmp::Reverse;
use std::time::SystemTime;

use crate::amount::Amount;
use crate::options::UsageSort;

/// What one row reaches and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// What it stands for, safe to print.
    pub name: String,
    /// All that it keeps when untagged revisions are collected.
    pub total: Amount,
    /// Of that, what no other row keeps: what deleting it alone would free.
    pub unique: Amount,
    /// What is kept by its untagged revisions and by no other row.
    pub untagged: Amount,
    /// Manifests that it has a revision for: indexes, platforms, signatures.
    pub images: u64,
    /// Tags.
    pub tags: u64,
    /// When a tag was last pushed.
    pub pushed: Option<SystemTime>,
    /// Repositories in which something cannot be understood: all that they link is kept.
    pub held_repositories: u64,
}

impl UsageRow {
    /// Of what it keeps, what other rows keep as well.
    pub fn shared(&self) -> Amount {
        Amount { count: self.total.count - self.unique.count, size_bytes: self.total.size_bytes - self.unique.size_bytes }
    }

    /// Notes a push.
    pub(super) fn pushed_at(&mut self, time: Option<SystemTime>) {
        self.pushed = self.pushed.max(time);
    }
}

/// Puts rows in order: the largest, the most or the latest first, and equal ones by name.
pub fn sorted(mut rows: Vec<UsageRow>, by: UsageSort) -> Vec<UsageRow> {
    let rest = |row: &UsageRow| (Reverse(row.unique.size_bytes), Reverse(row.total.size_bytes), row.name.clone());
    match by {
        UsageSort::Unique => rows.sort_by_cached_key(rest),
        UsageSort::Total => rows.sort_by_cached_key(|row| (Reverse(row.total.size_bytes), rest(row))),
        UsageSort::Tags => rows.sort_by_cached_key(|row| (Reverse(row.tags), rest(row))),
        UsageSort::Pushed => rows.sort_by_cached_key(|row| (Reverse(row.pushed), rest(row))),
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_largest_comes_first_and_equal_ones_by_name() {
        let row = |name: &str, unique, total, tags, pushed: Option<u64>| UsageRow {
            name: name.to_owned(),
            unique: Amount { count: 1, size_bytes: unique },
            total: Amount { count: 1, size_bytes: total },
            tags,
            pushed: pushed.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            ..UsageRow::default()
        };
        let rows =
            || vec![row("b", 5, 5, 9, None), row("a", 5, 5, 1, Some(3)), row("c", 1, 7, 2, Some(9)), row("d", 6, 6, 2, None)];
        let names = |by| sorted(rows(), by).into_iter().map(|row| row.name).collect::<String>();
        assert_eq!(names(UsageSort::Unique), "dabc");
        assert_eq!(names(UsageSort::Total), "cdab");
        assert_eq!(names(UsageSort::Tags), "bdca");
        assert_eq!(names(UsageSort::Pushed), "cadb");
    }
}
