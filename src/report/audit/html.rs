//! An audit as a page.

use std::path::Path;

use super::page::verdict;
use super::{AuditReport, Collection as Figures};
use crate::amount::Amount;
use crate::finding::{Finding, Severity};
use crate::format::{duration, plural, time};
use crate::plan::Kind;
use crate::report::Page;
use crate::report::collect::html::kinds;
use crate::report::collect::rows::Whose;
use crate::report::html::{Collection, CollectionRow, Data, Heading, Part};

/// What an audit looks for.
pub(in crate::report) const LOOKED_FOR: &str =
    "All links, manifests and directories were read, and no layer: `regsweep verify` reads those.";

pub(super) fn page(report: &AuditReport) -> Page {
    let mut data = Data::new(Heading {
        command: "audit",
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.started,
        elapsed: report.elapsed,
        verdict: verdict(report),
    });
    let figures = &report.figures;
    let [plain, untagged] = report.collections.each_ref().map(|collection| collection.totals.kind(Kind::Blob));
    data.sized("Stored", figures.blobs, "all blobs");
    match report.would_stop {
        true => data.notice("Not all of the store could be read, see the findings: what a collection frees is not known."),
        false => {
            data.sized("Reclaimable", plain, "a collection frees it");
            data.sized("With --delete-untagged", untagged, "a collection frees it");
            let mut kept = figures.blobs;
            kept.count = kept.count.saturating_sub(untagged.count);
            kept.size_bytes = kept.size_bytes.saturating_sub(untagged.size_bytes);
            data.part(Part::new("unique", "Kept", kept, "with --delete-untagged, too"));
            let more = Amount {
                count: untagged.count.saturating_sub(plain.count),
                size_bytes: untagged.size_bytes.saturating_sub(plain.size_bytes),
            };
            data.part(Part::new("untagged", "Untagged", more, "--delete-untagged frees it"));
            data.part(Part::new("unreferenced", "Reclaimable", plain, "a collection frees it"));
            data.collection(collection(report));
        }
    }
    data.counted("Repositories", figures.repositories, "");
    data.counted("Tags", figures.counts.tags, "");
    data.counted("Revisions", figures.counts.revisions, "manifests that repositories know");
    let uploads = plural(figures.uploads.count, "upload", "uploads");
    // No blobs yet.
    data.sized("Uploads", Amount { count: 0, ..figures.uploads }, &format!("{uploads}, begun and not ended"));
    data.findings(&report.findings, LOOKED_FOR);
    repair_step(&report.root, &report.findings).into_iter().for_each(|step| data.next(step));
    if !report.would_stop && untagged.count > 0 {
        data.next("run `regsweep garbage-collect --dry-run --delete-untagged` to see what would go");
    } else if !report.would_stop && plain.count > 0 {
        data.next("run `regsweep garbage-collect --dry-run` to see what would go");
    }
    Page::new(data)
}

/// What mends what is wrong, where `repair` can: not in a bucket.
pub(in crate::report) fn repair_step(root: &Path, findings: &[Finding]) -> Option<&'static str> {
    if root.to_string_lossy().starts_with("s3://") {
        return None;
    }
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    match errors().any(|finding| finding.code.next_step().contains("`regsweep repair`")) {
        true => Some("run `regsweep repair --dry-run` to see which of the errors can be mended here"),
        false => errors().any(|finding| finding.code.next_step().contains("repair --from")).then_some(
            "mend the errors: `regsweep repair --dry-run --from DIR` shows what a mirror or a backup has of what is lost",
        ),
    }
}

/// What a collection frees, without and with `--delete-untagged`.
pub(in crate::report) fn collection(report: &AuditReport) -> Collection {
    let both = report.collections.each_ref();
    let mut rows = kinds(&both.map(|collection| &collection.totals), Whose::Untagged);
    let total = rows.iter().take_while(|row| row.is_part()).count();
    rows.insert(total, CollectionRow::sized("total", "Freed now", &both.map(|collection| collection.totals.kind(Kind::Blob))));
    let until = both.iter().filter_map(|collection| collection.until).max();
    let until = until.map_or_else(String::new, |until| format!(", the last at {}", time(until)));
    let label = format!("Later, when they are older than {}{until}", duration(report.min_age));
    rows.insert(total + 1, CollectionRow::sized("later", label, &both.map(later)));
    let never =
        CollectionRow::sized("never", "Never: modification times in the future", &both.map(|collection| collection.never));
    if never.is_any() {
        rows.insert(total + 2, never);
    }
    let held =
        CollectionRow::counted("Held repositories, of which nothing goes", &both.map(|collection| collection.held_repositories));
    rows.extend(held.is_any().then_some(held));
    Collection { columns: vec!["A collection", "With --delete-untagged"], rows }
}

fn later(collection: &Figures) -> Amount {
    Amount {
        count: collection.young.count.saturating_sub(collection.never.count),
        size_bytes: collection.young.size_bytes.saturating_sub(collection.never.size_bytes),
    }
}
