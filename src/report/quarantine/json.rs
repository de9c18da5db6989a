//! The same for programs.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Done, QuarantineReport};
use crate::escape::escaped;
use crate::quarantine::Purpose;
use crate::registry_config::DescriptorCache;
use crate::report::Report as _;
use crate::report::json::{self, Head, Moved, UploadFiles};
use crate::store::Held;

#[derive(Serialize)]
struct Body<'a> {
    directory: &'a str,
    restored: Option<Moved>,
    purged: Option<Moved>,
    /// What had waited and stays.
    withheld: u64,
    /// Keys and members of sets that were removed from the registries' redis.
    forgotten: u64,
    /// For `quarantine restarted`: all registries were started after this.
    started_after: Option<Timestamp>,
    /// Why this machine does not show a restart, if something waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_unseen: Option<&'a str>,
    /// The registry that is older than something in quarantine, and may remember it.
    #[serde(skip_serializing_if = "Option::is_none")]
    older_registry: Option<&'a str>,
    runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
    purpose: Purpose,
    began: Timestamp,
    finished: Option<Timestamp>,
    waited_seconds: Option<f64>,
    /// When a purge of it began that did not end.
    purging: Option<Timestamp>,
    blobs: u64,
    bytes: u64,
    links: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    uploads: Option<UploadFiles>,
    unrecognised: u64,
    /// The cache in which a registry may remember it.
    remembered_by: Option<DescriptorCache>,
    targets: Targets<'a>,
}

/// Written one after the other: there may be many.
struct Targets<'a>(&'a [Held]);

impl Serialize for Targets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|held| Target {
            path: escaped(held.target.path()),
            digest: held.target.digest().map(ToString::to_string),
            bytes: held.stat.size_bytes,
        }))
    }
}

#[derive(Serialize)]
struct Target {
    path: String,
    /// Nothing for a file of an upload.
    digest: Option<String>,
    bytes: u64,
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &QuarantineReport) -> String {
    let (restored, purged, withheld, forgotten) = match &report.done {
        Done::Listed | Done::Restarted { .. } => (None, None, 0, 0),
        Done::Restored(moved) => (Some(moved.into()), None, 0, 0),
        Done::Purged { restored, purged, withheld, forgotten, .. } => {
            (Some(restored.into()), Some(purged.into()), withheld.len() as u64, forgotten.keys + forgotten.members)
        }
    };
    let started_after = match report.done {
        Done::Restarted { started_after, .. } => Some(started_after),
        _ => None,
    };
    let body = Body {
        started_after,
        directory: &report.directory,
        restored,
        purged,
        withheld,
        forgotten,
        restart_unseen: report.restart_unseen.as_ref().map(|unseen| &*unseen.why),
        older_registry: report.older_registry.as_deref(),
        runs: report.runs.iter().map(run).collect(),
    };
    let head = Head {
        command: report.command(),
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

fn run(row: &super::RunRow) -> Run<'_> {
    Run {
        run: &row.id,
        purpose: row.purpose,
        began: row.began,
        finished: row.finished,
        waited_seconds: row.waited.map(|waited| waited.as_secs_f64()),
        purging: row.purging,
        blobs: row.blobs.count,
        bytes: row.blobs.size_bytes,
        links: row.links,
        uploads: UploadFiles::some(row.upload_files),
        unrecognised: row.unrecognised,
        remembered_by: row.remembered_by,
        targets: Targets(&row.targets),
    }
}
