//! What goes, in words: rows of a plan, and how many there are of each kind.

use std::fmt::Write as _;

use crate::amount::Amount;
use crate::escape::escaped;
use crate::format::{number, plural};
use crate::plan::{Deletion, Kind, Reason, Totals};

/// Whose manifests go that no tag names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Whose {
    /// Those of revisions without a tag.
    Untagged,
    /// Also those of repositories that were asked for as a whole, with a tag or without.
    Repositories,
}

impl Whose {
    /// The manifests, in words.
    pub(in crate::report) fn manifests(self) -> &'static str {
        match self {
            Whose::Untagged => "manifests of untagged revisions",
            Whose::Repositories => "manifests",
        }
    }

    /// The same as a label.
    pub(in crate::report) fn label(self) -> &'static str {
        match self {
            Whose::Untagged => "Manifests of untagged revisions",
            Whose::Repositories => "Manifests",
        }
    }

    fn revisions(self) -> &'static str {
        match self {
            Whose::Untagged => "of untagged revisions",
            Whose::Repositories => "of revisions that go",
        }
    }
}

/// What of links and directories goes, in words.
pub(in crate::report) fn links(totals: &Totals, whose: Whose) -> Vec<String> {
    let mut parts = Vec::new();
    for (kind, one, many) in [
        (Kind::Revision, "revision", "revisions"),
        (Kind::Tag, "tag", "tags"),
        (Kind::TagHistory, "tag history entry", "tag history entries"),
        (Kind::LayerLink, "layer link", "layer links"),
        (Kind::EmptyDirectory, "empty directory", "empty directories"),
        (Kind::Repository, "repository without images", "repositories without images"),
    ] {
        let count = totals.kind(kind).count;
        if count == 0 {
            continue;
        }
        let mut part = plural(count, one, many);
        if kind == Kind::TagHistory {
            let of = |reason| match reason {
                Reason::Untagged => whose.revisions(),
                Reason::TagDropped => "of tags that go",
                Reason::Orphaned => "of referrers whose subject is gone",
                _ => "of deleted revisions",
            };
            let reasons: Vec<_> = totals.iter().filter(|(this, ..)| *this == kind).collect();
            let told: Vec<String> = match *reasons {
                [(_, reason, _)] => vec![of(reason).to_owned()],
                _ => reasons.iter().map(|(_, reason, amount)| format!("{} {}", number(amount.count), of(*reason))).collect(),
            };
            write!(part, " {}", told.join(" and ")).expect("writing to a String");
        }
        let is_orphaned = |(this, reason, _): &(Kind, Reason, Amount)| *this == kind && *reason == Reason::Orphaned;
        if let Some((.., amount)) = totals.iter().find(is_orphaned).filter(|_| matches!(kind, Kind::Revision | Kind::Tag)) {
            let which = if amount.count == count { String::new() } else { format!("{} ", number(amount.count)) };
            write!(part, " {which}of referrers whose subject is gone").expect("writing to a String");
        }
        parts.push(part);
    }
    parts
}

/// A target as a line, as upstream prints it where it does.
pub(super) fn target(row: &Deletion) -> String {
    let digest = row.target.digest().map(ToString::to_string).unwrap_or_default();
    let repository = row.target.repository().map(ToString::to_string).unwrap_or_default();
    let tag = || row.target.tag().map(ToString::to_string).unwrap_or_default();
    match Kind::of(&row.target) {
        Kind::Tag => format!("{repository}: tag eligible for deletion: {}", tag()),
        Kind::TagHistory => format!("{repository}: tag history entry of {} eligible for deletion: {digest}", tag()),
        Kind::Revision => format!("manifest eligible for deletion: {digest}"),
        Kind::LayerLink => format!("{repository}: layer link eligible for deletion: {digest}"),
        Kind::Blob => format!("blob eligible for deletion: {digest}"),
        Kind::Upload => format!("file of an upload eligible for deletion: {}", escaped(row.target.path())),
        Kind::EmptyDirectory => format!("empty directory eligible for deletion: {}", escaped(row.target.path())),
        Kind::Repository => format!("{repository}: repository eligible for deletion"),
    }
}
