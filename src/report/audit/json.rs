//! Audits for programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{AuditReport, Collection};
use crate::cli::FailOn;
use crate::escape::escaped;
use crate::finding::Finding;
use crate::report::collect::json::Removal;
use crate::report::{Bytes, Report as _, SCHEMA, finding_counts, page};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    exit_code: u8,
    root: String,
    config: Option<String>,
    fail_on: &'static str,
    min_age_seconds: f64,
    upload_age_seconds: f64,
    started: String,
    elapsed_seconds: f64,
    looked_at: LookedAt,
    would_free: Planned,
    would_free_delete_untagged: Planned,
    finding_counts: BTreeMap<&'static str, u64>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct LookedAt {
    repositories: u64,
    tags: u64,
    revisions: u64,
    tag_history: u64,
    layer_links: u64,
    uploads: u64,
    blobs: u64,
    bytes: u64,
}

/// What a collection would remove, as its own report has it under `planned`.
#[derive(Serialize)]
struct Planned {
    held_repositories: u64,
    young: Bytes,
    young_until: Option<String>,
    #[serde(flatten)]
    removal: Removal,
}

impl From<&Collection> for Planned {
    fn from(collection: &Collection) -> Planned {
        Planned {
            held_repositories: collection.held_repositories,
            young: collection.young.into(),
            young_until: collection.until.map(page::time),
            removal: (&collection.totals).into(),
        }
    }
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &AuditReport) -> String {
    let counts = &report.figures.counts;
    let [plain, untagged] = &report.collections;
    let document = Document {
        schema: SCHEMA,
        command: "audit",
        exit_code: report.exit() as u8,
        root: escaped(&report.root),
        config: report.config_path.as_ref().map(escaped),
        fail_on: match report.fail_on {
            FailOn::Error => "error",
            FailOn::Warning => "warning",
            FailOn::Never => "never",
        },
        min_age_seconds: report.min_age.as_secs_f64(),
        upload_age_seconds: report.upload_age.as_secs_f64(),
        started: Timestamp::try_from(report.started).unwrap_or_default().to_string(),
        elapsed_seconds: report.elapsed.as_secs_f64(),
        looked_at: LookedAt {
            repositories: report.figures.repositories,
            tags: counts.tags,
            revisions: counts.revisions,
            tag_history: counts.history_entries,
            layer_links: counts.layer_links,
            uploads: report.figures.uploads,
            blobs: report.figures.blobs.count,
            bytes: report.figures.blobs.size_bytes,
        },
        would_free: plain.into(),
        would_free_delete_untagged: untagged.into(),
        finding_counts: finding_counts(&report.findings),
        findings: &report.findings,
    };
    serde_json::to_string_pretty(&document).expect("a report is made of strings and numbers")
}
