//! The same for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::{Done, QuarantineReport};
use crate::escape::escaped;
use crate::finding::Finding;
use crate::quarantine::{self, Purpose};
use crate::report::{Report as _, SCHEMA};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    exit_code: u8,
    root: String,
    folder: &'a str,
    started: String,
    elapsed_seconds: f64,
    put_back: Option<Moved>,
    purged: Option<Moved>,
    /// What had waited and stays.
    withheld: u64,
    runs: Vec<Run<'a>>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct Moved {
    blobs: u64,
    bytes: u64,
    links: u64,
    replaced: u64,
}

impl From<&quarantine::Moved> for Moved {
    fn from(settled: &quarantine::Moved) -> Moved {
        Moved { blobs: settled.blobs.count, bytes: settled.blobs.size_bytes, links: settled.links, replaced: settled.replaced }
    }
}

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
    purpose: Purpose,
    began: Timestamp,
    finished: Option<Timestamp>,
    waited_seconds: Option<f64>,
    blobs: u64,
    bytes: u64,
    links: u64,
    unrecognised: u64,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Target {
    path: String,
    digest: String,
    bytes: u64,
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &QuarantineReport) -> String {
    let (put_back, purged, withheld) = match &report.done {
        Done::Listed => (None, None, 0),
        Done::Restored(moved) => (Some(moved.into()), None, 0),
        Done::Purged { put_back, purged, withheld, .. } => (Some(put_back.into()), Some(purged.into()), withheld.len() as u64),
    };
    let document = Document {
        schema: SCHEMA,
        command: report.command(),
        exit_code: report.exit() as u8,
        root: escaped(&report.root),
        folder: &report.folder,
        started: Timestamp::try_from(report.started).unwrap_or_default().to_string(),
        elapsed_seconds: report.elapsed.as_secs_f64(),
        put_back,
        purged,
        withheld,
        runs: report.runs.iter().map(run).collect(),
        findings: &report.findings,
    };
    serde_json::to_string_pretty(&document).expect("a report is made of strings and numbers")
}

fn run(row: &super::RunRow) -> Run<'_> {
    Run {
        run: &row.id,
        purpose: row.purpose,
        began: row.began,
        finished: row.finished,
        waited_seconds: row.waited.map(|waited| waited.as_secs_f64()),
        blobs: row.blobs.count,
        bytes: row.blobs.size_bytes,
        links: row.links,
        unrecognised: row.unrecognised,
        targets: row
            .targets
            .iter()
            .map(|held| Target {
                path: escaped(held.target.path()),
                digest: held.target.digest().to_string(),
                bytes: held.stat.size_bytes,
            })
            .collect(),
    }
}
