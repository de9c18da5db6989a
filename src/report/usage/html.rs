//! What takes the room, as a page.

use std::collections::BTreeMap;

use super::UsageReport;
use super::page::{has_untagged, next_step, verdict};
use crate::amount::Amount;
use crate::options::UsageBy;
use crate::report::Page;
use crate::report::html::{Cell, Collection, CollectionRow, Column, Data, Heading, Part, Rows};
use crate::usage::UsageRow;

/// What is said where something could not be read.
const PARTIAL: &str =
    "Not all of the store could be read, see the findings: there is more than this, and what a collection frees is not known.";

pub(super) fn page(report: &UsageReport) -> Page {
    let mut data = Data::new(heading("usage", report));
    figures(&mut data, report);
    parts(&mut data, report);
    if !report.is_partial {
        data.collection(collection(report));
    }
    rows(&mut data, report, None);
    data.findings(
        &report.findings,
        "usage reports what it meets on its way; `regsweep audit` looks for everything that is wrong.",
    );
    if let Some(next) = next_step(report) {
        data.next(next);
    }
    Page::new(data)
}

/// What the page is about, whichever command makes it.
pub(in crate::report) fn heading<'a>(command: &'static str, report: &'a UsageReport) -> Heading<'a> {
    Heading {
        command,
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.started,
        elapsed: report.elapsed,
        verdict: verdict(&report.usage),
    }
}

/// The figures at the top.
pub(in crate::report) fn figures(data: &mut Data, report: &UsageReport) {
    let usage = &report.usage;
    if report.is_partial {
        data.notice(PARTIAL);
    }
    data.sized("Stored", usage.stored, "all blobs");
    data.sized("Live", usage.live, "what tags lead to");
    if !report.is_partial {
        data.sized("Reclaimable", usage.reclaimable(), "a collection frees it");
        data.sized("Untagged", usage.untagged, "--delete-untagged frees it");
    }
    data.counted("Repositories", report.repositories, "");
    data.counted("Tags", report.counts.tags, "");
    data.counted("Revisions", report.counts.revisions, "manifests that repositories know");
    if let Some(ratio) = usage.deduplication() {
        data.sized(
            "Live without sharing",
            Amount { count: 0, size_bytes: usage.unshared_bytes },
            &format!("deduplication {ratio:.2}: if each live image had its own copy"),
        );
    }
}

/// What the stored bytes are.
pub(in crate::report) fn parts(data: &mut Data, report: &UsageReport) {
    let usage = &report.usage;
    let rest = |all: Amount, without: [Amount; 2]| Amount {
        count: all.count.saturating_sub(without[0].count + without[1].count),
        size_bytes: all.size_bytes.saturating_sub(without[0].size_bytes + without[1].size_bytes),
    };
    let unique = rest(usage.live, [usage.shared, usage.in_no_row]);
    let in_one = if report.tags.is_some() { "in the one repository" } else { "in one row of the table" };
    for part in [
        Part::new("unique", "Live, unique", unique, in_one),
        Part::new("shared", "Live, shared", usage.shared, "in several rows of the table"),
        Part::new("apart", "Live, in no row", usage.in_no_row, "behind symbolic links or mounts, or kept for no tag"),
        Part::new("untagged", "Untagged", usage.untagged, "in revisions that no tag leads to; --delete-untagged frees it"),
        Part::new("unreferenced", "Unreferenced", usage.unreferenced, "linked, needed by no manifest; a collection frees it"),
        Part::new("unlinked", "Unlinked", usage.unlinked, "linked by no repository; a collection frees it"),
        Part::new("young", "Young", usage.young, "needed by nothing yet, too young to judge"),
        Part::new("changed", "Changed", usage.other, "changed by a concurrent writer"),
    ] {
        data.part(part);
    }
}

/// What collections free, by what nothing needs. Both are the same but for what only untagged revisions need.
fn collection(report: &UsageReport) -> Collection {
    let usage = &report.usage;
    let mut with_untagged = usage.reclaimable();
    with_untagged += usage.untagged;
    let rows = [
        CollectionRow::sized("part", "Linked, but needed by no manifest", &[usage.unreferenced, usage.unreferenced]),
        CollectionRow::sized("part", "Linked by no repository", &[usage.unlinked, usage.unlinked]),
        CollectionRow::sized("part", "In revisions that no tag leads to", &[Amount::default(), usage.untagged]),
        CollectionRow::sized("total", "Freed now", &[usage.reclaimable(), with_untagged]),
        CollectionRow::sized("later", "Later: too young to judge", &[usage.young, usage.young]),
    ];
    Collection { columns: vec!["A collection", "With --delete-untagged"], rows: rows.into_iter().collect() }
}

const COLUMNS: [Column; 9] = [
    Column::new("name", "Name", "name", ""),
    Column::new("unique", "Unique", "bytes", "what deleting it alone frees, once untagged revisions are collected"),
    Column::new("shared", "Shared", "bytes", "what others keep as well"),
    Column::new("total", "Total", "bytes", "unique and shared"),
    Column::new("untagged", "Untagged", "bytes", "what only its own untagged revisions lead to"),
    Column::new("images", "Images", "count", "indexes, platforms and signatures each count"),
    Column::new("tags", "Tags", "count", ""),
    Column::new("pushed", "Last push", "date", "when a tag in it was last pushed"),
    Column::new("held", "Held", "count", "repositories in which something cannot be understood: all that they link is kept"),
];
const GOES: Column = Column::new(
    "goes",
    "Reclaimable",
    "bytes",
    "what a collection frees of it; a blob that several repositories link counts for each",
);

/// The rows, and the tags by age. `goes` has what a collection frees of each repository.
pub(in crate::report) fn rows(data: &mut Data, report: &UsageReport, goes: Option<&BTreeMap<String, u64>>) {
    // The row of a single repository says nothing; its tags do.
    let (by, of_rows, goes) = match &report.tags {
        Some(tags) => (UsageBy::Tag, tags, None),
        None => (report.by, &report.rows, goes),
    };
    let has_untagged = has_untagged(by);
    let mut columns: Vec<Column> = COLUMNS.to_vec();
    columns.retain(|column| has_untagged || column.key() != "untagged");
    let goes_at = if has_untagged { 5 } else { 4 };
    if goes.is_some() {
        columns.insert(goes_at, GOES);
    }
    let row = |row: &UsageRow| {
        let mut cells = cells(row, has_untagged);
        if let Some(goes) = goes {
            cells.insert(goes_at, Cell::Number(goes.get(&row.name).copied().unwrap_or_default()));
        }
        cells
    };
    let (names, separators) = match by {
        UsageBy::Repository => (("repository", "repositories"), "/"),
        UsageBy::Namespace => (("namespace", "namespaces"), ""),
        UsageBy::Tag => (("tag", "tags"), "/:"),
        UsageBy::MediaType => (("kind of image", "kinds of images"), ""),
        UsageBy::Age => (("age", "ages"), ""),
    };
    let largest = ["total", "untagged", "goes"];
    data.rows(Rows::new(names, separators, &largest, &columns, of_rows.iter().map(row).collect()));
    if let Some(ages) = &report.ages {
        let mut columns = COLUMNS.to_vec();
        columns.retain(|column| column.key() != "untagged");
        columns[0] = Column::new("name", "Last push", "name", "");
        columns[6] = Column::new("pushed", "Latest", "date", "when the last of them was pushed");
        data.ages(Rows::new(("age", "ages"), "", &largest, &columns, ages.iter().map(|row| cells(row, false)).collect()));
    }
}

fn cells(row: &UsageRow, has_untagged: bool) -> Vec<Cell> {
    let mut cells = vec![
        Cell::Text(row.name.clone()),
        Cell::Number(row.unique.size_bytes),
        Cell::Number(row.shared().size_bytes),
        Cell::Number(row.total.size_bytes),
    ];
    if has_untagged {
        cells.push(Cell::Number(row.untagged.size_bytes));
    }
    cells.extend([Cell::Number(row.images), Cell::Number(row.tags), Cell::from(row.pushed), Cell::Number(row.held_repositories)]);
    cells
}
