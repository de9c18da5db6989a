//! The report for programs.

use serde::Serialize;

use super::RepairReport;
use crate::config::Mode;
use crate::escape::escaped;
use crate::finding::Code;
use crate::plan::Kind;
use crate::repair::Mend;
use crate::report::Report as _;
use crate::report::json::{self, Bytes, Head, Stopped};

#[derive(Serialize)]
struct Body<'a> {
    dry_run: bool,
    scanned: Scanned,
    blobs: Vec<Blob>,
    links: Vec<Link>,
    copied: Bytes,
    run_again: bool,
    mended: u64,
    replaced: u64,
    quarantine_run: Option<&'a str>,
    stops: &'a [String],
    /// The same as an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Stopped>,
}

#[derive(Serialize)]
struct Scanned {
    repositories: u64,
}

#[derive(Serialize)]
struct Link {
    kind: &'static str,
    code: Code,
    repository: Option<String>,
    tag: Option<String>,
    digest: String,
    path: String,
    replaces: bool,
}

#[derive(Serialize)]
struct Blob {
    code: Code,
    digest: String,
    path: String,
    bytes: u64,
    replaces: bool,
}

impl Blob {
    /// Nothing for a link.
    fn of(mend: &Mend) -> Option<Blob> {
        let (digest, path) = (mend.digest().to_string(), escaped(mend.target.path()));
        Some(Blob { code: mend.code, digest, path, bytes: mend.size_bytes?, replaces: mend.replaced.is_some() })
    }
}

impl From<&Mend> for Link {
    fn from(mend: &Mend) -> Link {
        let target = &mend.target;
        Link {
            kind: Kind::of(target).name(),
            code: mend.code,
            repository: target.repository().map(ToString::to_string),
            tag: target.tag().map(ToString::to_string),
            digest: mend.digest().to_string(),
            path: escaped(target.path()),
            replaces: mend.replaced.is_some(),
        }
    }
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &RepairReport) -> String {
    let body = Body {
        dry_run: report.mode == Mode::DryRun,
        scanned: Scanned { repositories: report.repositories },
        blobs: report.planned.iter().filter_map(Blob::of).collect(),
        links: report.planned.iter().filter(|mend| mend.size_bytes.is_none()).map(Link::from).collect(),
        copied: report.copied.into(),
        run_again: report.has_more,
        mended: report.mended,
        replaced: report.replaced,
        quarantine_run: report.quarantine_run.as_deref(),
        stops: &report.stops,
        error: Stopped::some(report.stop_code, &report.stops),
    };
    let head = Head {
        command: "repair",
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
