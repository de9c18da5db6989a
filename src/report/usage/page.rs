//! What takes the room, for people.

use super::UsageReport;
use crate::format::{amount, number, plural, size, time};
use crate::options::{UsageBy, UsageSort};
use crate::report::document::{Cells, Document};
use crate::report::text::only_looked;
use crate::usage::{StoreUsage, UntaggedYoung, UsageRow};

/// Rows shown if nobody says how many.
const ROWS_SHOWN: usize = 20;

/// The report as a document.
pub(super) fn document(report: &UsageReport) -> Document {
    let mut page = Document::default();
    let verdict = verdict(&report.usage);
    page.headline("usage", &verdict);
    page.root(&report.root, report.config_path.as_deref());
    page.blank();
    store(&mut page, report);
    page.blank();
    rows(&mut page, report);
    next(&mut page, report);
    page.findings(&report.findings);
    page.blank();
    page.line(&only_looked(&verdict, &report.findings, report.elapsed));
    page
}

/// What came of it, in a few words.
pub(in crate::report) fn verdict(usage: &StoreUsage) -> String {
    format!("{} stored, {} of it live", size(usage.stored.size_bytes), size(usage.live.size_bytes))
}

fn store(page: &mut Document, report: &UsageReport) {
    let usage = &report.usage;
    if report.is_partial {
        page.item("partial", "not all of the store could be read, see the findings: there is more than this");
    }
    let counts = &report.counts;
    page.item(
        "scanned",
        &format!(
            "{}, {}, {}, {}",
            plural(report.repositories, "repository", "repositories"),
            plural(counts.tags, "tag", "tags"),
            plural(counts.revisions, "revision", "revisions"),
            plural(counts.layer_links, "layer link", "layer links"),
        ),
    );
    page.item("stored", &amount(usage.stored));
    page.item("live", &format!("{}: what tags lead to", amount(usage.live)));
    let UntaggedYoung { images, at_most, until } = usage.untagged_young;
    if images > 0 {
        let images = plural(images, "image", "images");
        let until = until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        page.item("", &format!("  up to {} of it in {images} without a tag, too young to go{until}", amount(at_most)));
    }
    if usage.linked_young.count > 0 {
        let linked = amount(usage.linked_young);
        page.item("", &format!("  {linked} of it needed by no manifest yet, too young to judge{}", young_until(usage)));
    }
    let shared = if report.by == UsageBy::Repository { "in several repositories" } else { "in several rows" };
    page.item("", &format!("  {} of it {shared}", amount(usage.shared)));
    if usage.in_no_row.count > 0 {
        page.item(
            "",
            &format!("  {} of it in no row: behind symbolic links or mounts, or kept for no tag", amount(usage.in_no_row)),
        );
    }
    if let Some(ratio) = usage.deduplication() {
        let unshared = size(usage.unshared_bytes);
        page.item("", &format!("  deduplication {ratio:.2}: {unshared} if each image had its own copy"));
    }
    if report.is_partial {
        page.item("reclaimable", "not known: a collection would stop at what cannot be read");
    } else {
        reclaimable(page, report);
    }
    beside(page, report);
}

/// What collections free.
fn reclaimable(page: &mut Document, report: &UsageReport) {
    let usage = &report.usage;
    page.item("untagged", &format!("{}: in revisions that no tag leads to; --delete-untagged frees it", amount(usage.untagged)));
    page.item("reclaimable", &format!("{}: linked, needed by no manifest; a collection frees it", amount(usage.unreferenced)));
    page.item("", &format!("{}: linked by no repository; a collection frees it", amount(usage.unlinked)));
}

/// What is too young, and what lies beside the stored blobs.
fn beside(page: &mut Document, report: &UsageReport) {
    let usage = &report.usage;
    if usage.young.count > 0 {
        let young = amount(usage.young);
        page.item("young", &format!("{young}: needed by nothing yet, too young to judge{}", young_until(usage)));
    }
    if usage.other.count > 0 {
        page.item("changed", &format!("{}: changed by a concurrent writer", amount(usage.other)));
    }
    if usage.quarantined.count > 0 {
        page.item("quarantine", &format!("{}, not counted as stored", amount(usage.quarantined)));
    }
    if usage.uploads.count > 0 {
        let uploads = plural(usage.uploads.count, "upload", "uploads");
        page.item(
            "uploads",
            &format!("{uploads} ({}) under way or abandoned, not counted as stored", size(usage.uploads.size_bytes)),
        );
    }
}

fn young_until(usage: &StoreUsage) -> String {
    usage.young_until.map_or_else(String::new, |until| format!(" until {}", time(until)))
}

fn rows(page: &mut Document, report: &UsageReport) {
    let (shown, more) = report.shown(ROWS_SHOWN);
    let (one, many) = match report.by {
        UsageBy::Repository => ("repository", "repositories"),
        UsageBy::Namespace => ("namespace", "namespaces"),
        UsageBy::Tag => ("tag", "tags"),
        UsageBy::MediaType => ("kind of image", "kinds of images"),
        UsageBy::Age => ("last push", "ages"),
    };
    if report.rows.is_empty() {
        page.line(&format!("no {many}"));
        return;
    }
    let order = match report.sort {
        UsageSort::Unique => "the largest unique first",
        UsageSort::Total => "the largest total first",
        UsageSort::Tags => "the most tags first",
        UsageSort::Pushed => "the last pushed first",
    };
    let caption = match report.by {
        UsageBy::Age => format!("tags by their last push, {order}; deleting all of one age frees what is unique"),
        _ => format!("{}, {order}; deleting one alone frees what is unique", plural(report.rows.len() as u64, one, many)),
    };
    let largest = shown.iter().map(|row| measure(row, report.sort)).max().unwrap_or_default();
    let bar = |row: &UsageRow| if largest == 0 { 0.0 } else { measure(row, report.sort) as f64 / largest as f64 };
    page.grid(Cells {
        caption,
        heads: heads(report.by, one),
        words: 1,
        rows: shown.iter().map(|row| (cells(row, report.by), Some(bar(row)))).collect(),
        more,
        advice: "--top 0 shows all".to_owned(),
    });
}

/// What the bar of a row shows: what the rows are in the order of, where that is a size.
fn measure(row: &UsageRow, sort: UsageSort) -> u64 {
    match sort {
        UsageSort::Unique | UsageSort::Pushed => row.unique.size_bytes,
        UsageSort::Total => row.total.size_bytes,
        UsageSort::Tags => row.tags,
    }
}

/// What no tag leads to is in repositories, and in nothing that tags make.
pub(super) fn has_untagged(by: UsageBy) -> bool {
    matches!(by, UsageBy::Repository | UsageBy::Namespace)
}

fn heads(by: UsageBy, name: &str) -> Vec<String> {
    let mut heads = vec!["unique", "shared", "total", "untagged", "images", "tags", "last push", name];
    if !has_untagged(by) {
        heads.remove(3);
    }
    heads.into_iter().map(str::to_owned).collect()
}

fn cells(row: &UsageRow, by: UsageBy) -> Vec<String> {
    let held = if row.held_repositories > 0 { " (held)" } else { "" };
    let mut cells = vec![
        size(row.unique.size_bytes),
        size(row.shared().size_bytes),
        size(row.total.size_bytes),
        size(row.untagged.size_bytes),
        number(row.images),
        number(row.tags),
        row.pushed.map_or_else(|| "-".to_owned(), |pushed| time(pushed)[..10].to_owned()),
        format!("{}{held}", row.name),
    ];
    if !has_untagged(by) {
        cells.remove(3);
    }
    cells
}

fn next(page: &mut Document, report: &UsageReport) {
    if let Some(next) = next_step(report) {
        page.blank();
        page.item("next", &next);
    }
}

/// What to run; nothing where not all could be read.
pub(in crate::report) fn next_step(report: &UsageReport) -> Option<String> {
    let usage = &report.usage;
    (!report.is_partial).then(|| match usage.waits_until() {
        _ if usage.untagged.count > 0 => {
            "run `regsweep garbage-collect --dry-run --delete-untagged` to see what would go".to_owned()
        }
        _ if usage.reclaimable().count > 0 => "run `regsweep garbage-collect --dry-run` to see what would go".to_owned(),
        Some(until) => {
            let with_untagged = if usage.untagged_young.images > 0 { " --delete-untagged" } else { "" };
            format!(
                "nothing to collect yet: what is too young can go from {} on; `regsweep garbage-collect --dry-run{with_untagged}` says more",
                time(until)
            )
        }
        None => "nothing to collect: delete tags or repositories, then collect".to_owned(),
    })
}
