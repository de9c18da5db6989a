//! The report for programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Extent, VerifyReport};
use crate::config::Selection;
use crate::escape::escaped;
use crate::finding::Finding;
use crate::report::{Bytes, Report as _, SCHEMA, finding_counts};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    outcome: &'static str,
    exit_code: u8,
    root: String,
    config: Option<String>,
    repository_patterns: &'a [String],
    sample_percent: Option<f64>,
    slice: Option<String>,
    max_age_seconds: Option<f64>,
    max_bytes_per_second: Option<u64>,
    state: Option<String>,
    state_failure: Option<&'a str>,
    started: String,
    elapsed_seconds: f64,
    reading_seconds: f64,
    bytes_per_second: Option<u64>,
    repositories: u64,
    stored_blobs: u64,
    selected: Bytes,
    good: Bytes,
    damaged: Bytes,
    in_progress: Bytes,
    left_young: Bytes,
    quarantined: Bytes,
    quarantine_run: Option<&'a str>,
    fresh: Bytes,
    left: Bytes,
    vanished_blobs: u64,
    finding_counts: BTreeMap<&'static str, u64>,
    findings: &'a [Finding],
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &VerifyReport) -> String {
    let settings = &report.settings;
    let (sample_percent, slice) = match &settings.selection {
        Selection::All => (None, None),
        Selection::Sample(percent) => (Some(*percent), None),
        Selection::Slice(slice) => (None, Some(format!("{}/{}", slice.part, slice.of))),
    };
    let document = Document {
        schema: SCHEMA,
        command: "verify",
        outcome: match report.extent() {
            Extent::Complete => "complete",
            Extent::TimeUp => "time-up",
            Extent::Interrupted => "interrupted",
        },
        exit_code: report.exit() as u8,
        root: escaped(&report.root),
        config: settings.location.config_path.as_ref().map(escaped),
        repository_patterns: &settings.repository_patterns,
        sample_percent,
        slice,
        max_age_seconds: settings.max_age.map(|age| age.as_secs_f64()),
        max_bytes_per_second: settings.max_rate,
        state: settings.state.as_ref().map(escaped),
        state_failure: report.state_failure.as_deref(),
        started: Timestamp::try_from(settings.started).unwrap_or_default().to_string(),
        elapsed_seconds: report.elapsed.as_secs_f64(),
        reading_seconds: report.reading.as_secs_f64(),
        bytes_per_second: report.bytes_per_second(),
        repositories: report.repositories,
        stored_blobs: report.stored_blobs,
        selected: report.selected.into(),
        good: report.good.into(),
        damaged: report.hurt.into(),
        in_progress: report.in_progress.into(),
        left_young: report.left_young.into(),
        quarantined: report.quarantined.into(),
        quarantine_run: report.quarantine_run.as_deref(),
        fresh: report.fresh.into(),
        left: report.left.into(),
        vanished_blobs: report.vanished,
        finding_counts: finding_counts(&report.findings),
        findings: &report.findings,
    };
    serde_json::to_string_pretty(&document).expect("a report is made of strings and numbers")
}
