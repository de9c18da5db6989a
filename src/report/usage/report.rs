//! The report of `usage`: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{csv, html, json, page};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::mark::Counts;
use crate::options::{UsageBy, UsageSort};
use crate::report::{Document, Metrics, Page, Report};
use crate::usage::{StoreUsage, UsageRow};

/// What takes the room of a store.
#[derive(Debug)]
pub struct UsageReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// What makes a row.
    pub by: UsageBy,
    /// The order of the rows.
    pub sort: UsageSort,
    /// How many rows were asked for; 0 are all.
    pub top: Option<usize>,
    /// When it began.
    pub started: SystemTime,
    /// The whole store.
    pub usage: StoreUsage,
    /// All rows, in order.
    pub rows: Vec<UsageRow>,
    /// Tags by when they were last pushed, the latest first, if a page is wanted.
    pub ages: Option<Vec<UsageRow>>,
    /// The tags, in order, if a page is wanted and there is one repository, whose row would say nothing.
    pub tags: Option<Vec<UsageRow>>,
    /// Repositories.
    pub repositories: u64,
    /// What is in them.
    pub counts: Counts,
    /// Whether something could not be read, so that the figures are of what could.
    pub is_partial: bool,
    /// What is wrong or odd, sorted.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub elapsed: Duration,
}

impl UsageReport {
    /// The rows to show where `default` are shown if nobody says, and how many more there are.
    pub(super) fn shown(&self, default: usize) -> (&[UsageRow], u64) {
        let most = match self.top.unwrap_or(default) {
            0 => self.rows.len(),
            most => most.min(self.rows.len()),
        };
        (&self.rows[..most], (self.rows.len() - most) as u64)
    }
}

impl Report for UsageReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn csv(&self) -> Option<String> {
        Some(csv::render(self))
    }

    fn page(&self) -> Option<Page> {
        Some(html::page(self))
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("usage", self.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics.stored(self.usage.stored.count, self.usage.stored.size_bytes).uploads(self.usage.uploads);
        metrics.reclaimable(self.usage.reclaimable());
        metrics
    }

    fn exit(&self) -> Exit {
        Exit::of_findings(&self.findings)
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
