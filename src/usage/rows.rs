//! One row of the report: a repository, a namespace, a tag, a kind of image or an age.

use std::cmp::Reverse;
use std::time::SystemTime;

use crate::amount::Amount;
use crate::options::UsageSort;

/// What one row reaches and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// Its name, escaped for display.
    pub name: String,
    /// Blobs that it keeps when untagged revisions are collected.
    pub total: Amount,
    /// Blobs of `total` that no other row keeps: deleting the content of this row alone frees them.
    pub unique: Amount,
    /// Blobs that its untagged revisions keep, and no other row.
    pub untagged: Amount,
    /// Manifests that it has a revision for: indexes, platforms, signatures.
    pub images: u64,
    /// Number of tags.
    pub tags: u64,
    /// When a tag was last pushed.
    pub pushed: Option<SystemTime>,
    /// Held repositories: something in them cannot be understood, so everything they link is kept.
    pub held_repositories: u64,
}

impl UsageRow {
    /// Blobs of `total` that other rows keep as well.
    pub fn shared(&self) -> Amount {
        Amount { count: self.total.count - self.unique.count, size_bytes: self.total.size_bytes - self.unique.size_bytes }
    }

    /// Updates the time of the last push.
    pub(super) fn pushed_at(&mut self, time: Option<SystemTime>) {
        self.pushed = self.pushed.max(time);
    }
}

/// Sorts rows: the largest, the most or the latest first, and equal rows by name.
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
