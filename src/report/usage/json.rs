//! What takes the room, for programs.

use serde::Serialize;

use super::UsageReport;
use crate::format::time;
use crate::report::Report as _;
use crate::report::json::{self, Bytes, Head};
use crate::usage::UsageRow;

#[derive(Serialize)]
struct Body {
    by: &'static str,
    sort: &'static str,
    partial: bool,
    scanned: Scanned,
    stored: Bytes,
    live: Bytes,
    shared: Bytes,
    in_no_row: Bytes,
    untagged: Bytes,
    reclaimable: Reclaimable,
    young: Bytes,
    linked_young: Bytes,
    young_until: Option<String>,
    untagged_young: UntaggedYoung,
    changed: Bytes,
    quarantined: Bytes,
    uploads: Uploads,
    unshared_bytes: u64,
    deduplication: Option<f64>,
    rows: Vec<Row>,
    rows_not_listed: u64,
}

#[derive(Serialize)]
struct Scanned {
    repositories: u64,
    tags: u64,
    revisions: u64,
    layer_links: u64,
}

#[derive(Serialize)]
struct Reclaimable {
    unreferenced: Bytes,
    unlinked: Bytes,
}

#[derive(Serialize)]
struct UntaggedYoung {
    images: u64,
    at_most: Bytes,
    until: Option<String>,
}

#[derive(Serialize)]
struct Uploads {
    uploads: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Row {
    name: String,
    total: Bytes,
    unique: Bytes,
    shared: Bytes,
    untagged: Bytes,
    images: u64,
    tags: u64,
    pushed: Option<String>,
    held_repositories: u64,
}

impl From<&UsageRow> for Row {
    fn from(row: &UsageRow) -> Row {
        Row {
            name: row.name.clone(),
            total: row.total.into(),
            unique: row.unique.into(),
            shared: row.shared().into(),
            untagged: row.untagged.into(),
            images: row.images,
            tags: row.tags,
            pushed: row.pushed.map(time),
            held_repositories: row.held_repositories,
        }
    }
}

/// Renders a report as one JSON document. Without `--top` it has all rows.
pub(super) fn render(report: &UsageReport) -> String {
    let usage = &report.usage;
    let (shown, rows_not_listed) = report.shown(0);
    let body = Body {
        by: report.by.name(),
        sort: report.sort.name(),
        partial: report.is_partial,
        scanned: Scanned {
            repositories: report.repositories,
            tags: report.counts.tags,
            revisions: report.counts.revisions,
            layer_links: report.counts.layer_links,
        },
        stored: usage.stored.into(),
        live: usage.live.into(),
        shared: usage.shared.into(),
        in_no_row: usage.in_no_row.into(),
        untagged: usage.untagged.into(),
        reclaimable: Reclaimable { unreferenced: usage.unreferenced.into(), unlinked: usage.unlinked.into() },
        young: usage.young.into(),
        linked_young: usage.linked_young.into(),
        young_until: usage.young_until.map(time),
        untagged_young: UntaggedYoung {
            images: usage.untagged_young.images,
            at_most: usage.untagged_young.at_most.into(),
            until: usage.untagged_young.until.map(time),
        },
        changed: usage.other.into(),
        quarantined: usage.quarantined.into(),
        uploads: Uploads { uploads: usage.uploads.count, bytes: usage.uploads.size_bytes },
        unshared_bytes: usage.unshared_bytes,
        deduplication: usage.deduplication(),
        rows: shown.iter().map(Row::from).collect(),
        rows_not_listed,
    };
    let head = Head {
        command: "usage",
        outcome: None,
        exit: report.exit(),
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.started,
        elapsed: report.elapsed,
        findings: &report.findings,
    };
    json::render(&head, body)
}
