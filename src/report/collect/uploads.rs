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
    let Uploads::OlderThan(age) = report.policy.uploads else { return };
    let age = duration(age.max(least));
    let (stale, going) = (report.figures.counts.stale_uploads, report.figures.going_uploads);
    let staying =
        Amount { count: stale.count.saturating_sub(going.count), size_bytes: stale.size_bytes.saturating_sub(going.size_bytes) };
    let verb = |amount: Amount, one: &'static str, several: &'static str| if amount.count == 1 { one } else { several };
    if stale.count == 0 {
        page.item(
            "",
            &format!("none goes: each was continued within {age}, has a time in the future, or something unknown in it"),
        );
    }
    if going.count > 0 {
        page.item("", &format!("{} not continued for {age}: {}", uploads(going), verb(going, "goes", "go")));
    }
    if staying.count > 0 {
        let why = match report.scope.is_whole() {
            // With nothing in them: beside a registry directories stay.
            true => "an empty directory may be in use",
            false => "the run is not about all of the store",
        };
        page.item("", &format!("{} not continued for {age}: {}, {why}", uploads(staying), verb(staying, "stays", "stay")));
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
