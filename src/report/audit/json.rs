//! Audits for programs.

use serde::Serialize;

use super::{AuditReport, Collection};
use crate::format::time;
use crate::options::FailOn;
use crate::report::Report as _;
use crate::report::collect::json::Removal;
use crate::report::json::{self, Bytes, Head};

#[derive(Serialize)]
struct Body {
    fail_on: &'static str,
    min_age_seconds: f64,
    upload_age_seconds: f64,
    scanned: Scanned,
    reclaimable: Reclaimable,
    reclaimable_delete_untagged: Reclaimable,
}

#[derive(Serialize)]
struct Scanned {
    repositories: u64,
    tags: u64,
    revisions: u64,
    tag_history: u64,
    layer_links: u64,
    uploads: u64,
    /// Not among `bytes`.
    upload_bytes: u64,
    blobs: u64,
    bytes: u64,
}

/// What a collection would remove, as its own report has it.
#[derive(Serialize)]
struct Reclaimable {
    held_repositories: u64,
    young: Bytes,
    young_until: Option<String>,
    young_never: Bytes,
    #[serde(flatten)]
    removal: Removal,
}

impl From<&Collection> for Reclaimable {
    fn from(collection: &Collection) -> Reclaimable {
        Reclaimable {
            held_repositories: collection.held_repositories,
            young: collection.young.into(),
            young_until: collection.until.map(time),
            young_never: collection.never.into(),
            removal: (&collection.totals).into(),
        }
    }
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &AuditReport) -> String {
    let counts = &report.figures.counts;
    let [plain, untagged] = &report.collections;
    let body = Body {
        fail_on: match report.fail_on {
            FailOn::Error => "error",
            FailOn::Warning => "warning",
            FailOn::Never => "never",
        },
        min_age_seconds: report.min_age.as_secs_f64(),
        upload_age_seconds: report.upload_age.as_secs_f64(),
        scanned: Scanned {
            repositories: report.figures.repositories,
            tags: counts.tags,
            revisions: counts.revisions,
            tag_history: counts.history_entries,
            layer_links: counts.layer_links,
            uploads: report.figures.uploads.count,
            upload_bytes: report.figures.uploads.size_bytes,
            blobs: report.figures.blobs.count,
            bytes: report.figures.blobs.size_bytes,
        },
        reclaimable: plain.into(),
        reclaimable_delete_untagged: untagged.into(),
    };
    let head = Head {
        command: "audit",
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
