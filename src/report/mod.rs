//! What commands found and did, as values that can be put into words. Nothing else formats.

pub mod audit;
pub mod collect;
pub(crate) mod document;
mod json;
pub mod metrics;
pub mod quarantine;
pub mod text;
pub mod unused;
pub mod verify;

use std::collections::BTreeMap;

pub use self::document::Document;
pub use self::metrics::Metrics;

use crate::exit::Exit;
use crate::finding::{Finding, Severity};

/// What a command found and did.
pub trait Report {
    /// For people: what matters in ten seconds, then the details.
    fn document(&self) -> Document;

    /// For programs: one document. Field names are stable within one `schema` number; sizes are bytes, times RFC 3339 in UTC.
    fn json(&self) -> String;

    /// For Prometheus.
    fn metrics(&self) -> Metrics;

    /// The code to end with.
    fn exit(&self) -> Exit;

    /// Whether it was meant to change the store.
    fn changed_anything(&self) -> bool;

    /// What is to be said on standard error, too.
    fn complaints(&self) -> &[String] {
        &[]
    }

    /// The code to end with when nobody could be shown the report: that all is well must not be said then.
    fn exit_unseen(&self) -> Exit {
        match (self.exit(), self.changed_anything()) {
            (Exit::Clean | Exit::Findings, false) => Exit::Stopped,
            (Exit::Clean | Exit::Findings, true) => Exit::Incomplete,
            (exit, _) => exit,
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
