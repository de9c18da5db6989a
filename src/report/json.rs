//! What the JSON documents of all commands have in common. Field names are stable within one `schema` number; sizes are bytes, times
//! RFC 3339 in UTC.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use crate::amount::Amount;
use crate::error::ALSO;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::finding::{Finding, Severity};
use crate::quarantine;

/// The version of the shape of JSON reports.
pub(super) const SCHEMA: u32 = 2;

/// What every report says of its run.
pub(super) struct Head<'a> {
    pub(super) command: &'static str,
    /// Where the exit code does not say it all.
    pub(super) outcome: Option<&'static str>,
    pub(super) exit: Exit,
    pub(super) root: &'a Path,
    pub(super) config: Option<&'a Path>,
    pub(super) started: SystemTime,
    pub(super) elapsed: Duration,
    pub(super) findings: &'a [Finding],
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u32,
    command: &'static str,
    outcome: &'static str,
    exit_code: u8,
    root: String,
    config: Option<String>,
    started: String,
    elapsed_seconds: f64,
    #[serde(flatten)]
    body: T,
    finding_counts: BTreeMap<&'static str, u64>,
    findings: &'a [Finding],
}

/// Renders a report as one document.
pub(super) fn render(head: &Head<'_>, body: impl Serialize) -> String {
    let document = Envelope {
        schema: SCHEMA,
        command: head.command,
        outcome: head.outcome.unwrap_or(match head.exit {
            Exit::Clean | Exit::Findings => "complete",
            Exit::Stopped => "stopped",
            Exit::Incomplete => "incomplete",
            Exit::Interrupted => "interrupted",
        }),
        exit_code: head.exit as u8,
        root: escaped(head.root),
        config: head.config.map(escaped),
        started: Timestamp::try_from(head.started).unwrap_or_default().to_string(),
        elapsed_seconds: head.elapsed.as_secs_f64(),
        body,
        finding_counts: finding_counts(head.findings),
        findings: head.findings,
    };
    serde_json::to_string_pretty(&document).expect("a report is made of strings and numbers")
}

/// Why a run was stopped, in the shape that an error has in place of a report.
#[derive(Serialize)]
pub(super) struct Stopped {
    code: &'static str,
    /// All reasons.
    message: String,
    path: Option<String>,
}

impl Stopped {
    /// Nothing where nothing stops it. The code is that of the first reason.
    pub(super) fn some(code: Option<&'static str>, stops: &[String]) -> Option<Stopped> {
        code.map(|code| Stopped { code, message: stops.join(ALSO), path: None })
    }
}

/// A number of blobs and the bytes in them.
#[derive(Serialize)]
pub(super) struct Bytes {
    blobs: u64,
    bytes: u64,
}

impl From<Amount> for Bytes {
    fn from(amount: Amount) -> Bytes {
        Bytes { blobs: amount.count, bytes: amount.size_bytes }
    }
}

/// Files of uploads, and the bytes in them.
#[derive(Serialize)]
pub(super) struct UploadFiles {
    upload_files: u64,
    upload_bytes: u64,
}

impl UploadFiles {
    /// Nothing if there are none.
    pub(super) fn some(files: Amount) -> Option<UploadFiles> {
        (files.count > 0).then_some(UploadFiles { upload_files: files.count, upload_bytes: files.size_bytes })
    }
}

/// What was moved into quarantine, out of it, or purged from it. `replaced` are those that stay because the store has them again.
#[derive(Serialize)]
pub(super) struct Moved {
    blobs: u64,
    bytes: u64,
    links: u64,
    /// Files of uploads, where there are any.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    uploads: Option<UploadFiles>,
    replaced: u64,
    /// Tags among the links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl From<&quarantine::Moved> for Moved {
    fn from(moved: &quarantine::Moved) -> Moved {
        Moved {
            blobs: moved.blobs.count,
            bytes: moved.blobs.size_bytes,
            links: moved.links,
            uploads: UploadFiles::some(moved.upload_files),
            replaced: moved.replaced,
            tags: moved.tags.iter().map(|(repository, tag)| format!("{repository}:{tag}")).collect(),
        }
    }
}

/// How many findings there are of each severity, 0 included.
fn finding_counts(findings: &[Finding]) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&str, u64> = Severity::ALL.iter().map(|severity| (severity.name(), 0)).collect();
    for finding in findings {
        *counts.entry(finding.severity.name()).or_default() += finding.number();
    }
    counts
}
