//! The interface of every report.

use super::document::Document;
use super::html::Page;
use super::metrics::Metrics;
use crate::exit::Exit;

/// The results of a command.
pub trait Report {
    /// For people: the most important facts first, then the details.
    fn document(&self) -> Document;

    /// For programs: one document. Field names are stable within one `schema` number; sizes are bytes, times RFC 3339 in UTC.
    fn json(&self) -> String;

    /// For spreadsheets: a header and one line per row; `None` if the report has no rows.
    fn csv(&self) -> Option<String> {
        None
    }

    /// For browsers; nothing if it has no page.
    fn page(&self) -> Option<Page> {
        None
    }

    /// For Prometheus.
    fn metrics(&self) -> Metrics;

    /// The exit code.
    fn exit(&self) -> Exit;

    /// Whether the command may have changed the store.
    fn changed_anything(&self) -> bool;

    /// Messages that also go to standard error.
    fn complaints(&self) -> &[String] {
        &[]
    }

    /// The exit code if the report could not be written: it must not signal success.
    fn exit_unseen(&self) -> Exit {
        match (self.exit(), self.changed_anything()) {
            (Exit::Clean | Exit::Findings, false) => Exit::Stopped,
            (Exit::Clean | Exit::Findings, true) => Exit::Incomplete,
            (exit, _) => exit,
        }
    }
}
