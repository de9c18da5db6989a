//! Uploads in words: how many there are, and what of them goes.

use super::CollectReport;
use crate::amount::Amount;
use crate::format::{duration, plural, size};
use crate::plan::{Kind, Totals};
use crate::policy::Uploads;
use crate::report::document::Document;
use crate::report::quarantine::page::of_uploads;

/// Uploads, with what was sent of them.
fn uploads(amount: Amount) -> String {
    format!("{} ({})", plural(amount.count, "upload", "uploads"), size(amount.size_bytes))
}

/// What is there of them, beside what is stored.
pub(super) fn there(page: &mut Document, report: &CollectReport) {
    let all = report.figures.counts.uploads;
    if all.count == 0 {
        return;
    }
    page.item("uploads", &format!("{} under way or abandoned, not counted as stored", uploads(all)));
    // Nothing younger than the minimum age goes, whatever was asked for.
    let least = report.policy.min_age;
    match (report.policy.uploads, report.figures.counts.stale_uploads) {
        (Uploads::OlderThan(age), stale) if stale.count > 0 => {
            let verb = if stale.count == 1 { "goes" } else { "go" };
            page.item("", &format!("{} not continued for {}: {verb}", uploads(stale), duration(age.max(least))));
        }
        (Uploads::OlderThan(age), _) => page.item(
            "",
            &format!("none goes: each was continued within {}, or has something unknown in it", duration(age.max(least))),
        ),
        _ => {}
    }
}

/// What of them goes, as a part of a sentence; nothing if none does.
pub(super) fn going(totals: &Totals) -> Option<String> {
    let files = totals.kind(Kind::Upload);
    (files.count > 0).then(|| of_uploads(files))
}

/// The bytes that go from the store with blobs and uploads.
pub(super) fn bytes(totals: &Totals) -> u64 {
    totals.kind(Kind::Blob).size_bytes.saturating_add(totals.kind(Kind::Upload).size_bytes)
}
