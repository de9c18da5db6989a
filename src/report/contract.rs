//! What every report can say of itself.

use super::document::Document;
use super::html::Page;
use super::metrics::Metrics;
use crate::exit::Exit;

/// What a command found and did.
pub trait Report {
    /// For people: what matters in ten seconds, then the details.
    fn document(&self) -> Document;

    /// For programs: one document. Field names are stable within one `schema` number; sizes are bytes, times RFC 3339 in UTC.
    fn json(&self) -> String;

    /// For spreadsheets: a line for each row, with heads; nothing if it has none.
    fn csv(&self) -> Option<String> {
        None
    }

    /// For browsers; nothing if it has no page.
    fn page(&self) -> Option<Page> {
        None
    }

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
