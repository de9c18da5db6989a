//! Three reports in one document for programs.

use serde::Serialize;
use serde_json::Value;

use super::OverviewReport;
use crate::escape::escaped;
use crate::report::Report as _;
use crate::report::json::{self, Head};

#[derive(Serialize)]
struct Body {
    html: String,
    /// Nothing where a dry run stopped at what cannot be read.
    garbage_collect: Option<Value>,
    usage: Value,
    audit: Value,
}

/// Renders a report as one document. The findings are those of the audit.
pub(super) fn render(report: &OverviewReport) -> String {
    let parsed = |json: String| serde_json::from_str(&json).expect("a report is JSON");
    let body = Body {
        html: escaped(&report.html),
        garbage_collect: report.collect.as_ref().map(|report| parsed(report.json())),
        usage: parsed(report.usage.json()),
        audit: parsed(report.audit.json()),
    };
    let head = Head {
        command: "report",
        outcome: None,
        exit: report.exit(),
        root: &report.usage.root,
        config: report.usage.config_path.as_deref(),
        started: report.usage.started,
        elapsed: report.elapsed,
        findings: &report.audit.findings,
    };
    json::render(&head, body)
}
