//! The report for programs.

use serde::Serialize;

use super::{Extent, VerifyReport};
use crate::config::Selection;
use crate::escape::escaped;
use crate::report::Report as _;
use crate::report::json::{self, Bytes, Head};

#[derive(Serialize)]
struct Body<'a> {
    repository_patterns: &'a [String],
    sample_percent: Option<f64>,
    slice: Option<String>,
    max_age_seconds: Option<f64>,
    max_bytes_per_second: Option<u64>,
    state: Option<String>,
    state_failure: Option<&'a str>,
    reading_seconds: f64,
    bytes_per_second: Option<u64>,
    scanned: Scanned,
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
}

#[derive(Serialize)]
struct Scanned {
    repositories: u64,
    blobs: u64,
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &VerifyReport) -> String {
    let settings = &report.settings;
    let (sample_percent, slice) = match &settings.selection {
        Selection::All => (None, None),
        Selection::Sample(percent) => (Some(*percent), None),
        Selection::Slice(slice) => (None, Some(format!("{}/{}", slice.part, slice.of))),
    };
    let body = Body {
        repository_patterns: &settings.repository_patterns,
        sample_percent,
        slice,
        max_age_seconds: settings.max_age.map(|age| age.as_secs_f64()),
        max_bytes_per_second: settings.max_rate,
        state: settings.state.as_ref().map(escaped),
        state_failure: report.state_failure.as_deref(),
        reading_seconds: report.reading.as_secs_f64(),
        bytes_per_second: report.bytes_per_second(),
        scanned: Scanned { repositories: report.repositories, blobs: report.stored_blobs },
        selected: report.selected.into(),
        good: report.good.into(),
        damaged: report.damaged.into(),
        in_progress: report.in_progress.into(),
        left_young: report.left_young.into(),
        quarantined: report.quarantined.into(),
        quarantine_run: report.quarantine_run.as_deref(),
        fresh: report.fresh.into(),
        left: report.left.into(),
        vanished_blobs: report.vanished,
    };
    let outcome = match report.extent() {
        Extent::Complete => "complete",
        Extent::TimeUp => "time-up",
        Extent::Interrupted => "interrupted",
    };
    let head = Head {
        command: "verify",
        outcome: Some(outcome),
        exit: report.exit(),
        root: &report.root,
        config: settings.location.config_path.as_deref(),
        started: settings.started,
        elapsed: report.elapsed,
        findings: &report.findings,
    };
    json::render(&head, body)
}
