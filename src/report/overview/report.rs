//! The report of `report`: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::Duration;

use super::{html, json, page};
use crate::exit::Exit;
use crate::plan::Kind;
use crate::report::audit::AuditReport;
use crate::report::collect::CollectReport;
use crate::report::usage::UsageReport;
use crate::report::{Document, Metrics, Page, Report};

/// What three commands found in one store, read one after the other.
#[derive(Debug)]
pub struct OverviewReport {
    /// Where the page goes.
    pub html: PathBuf,
    /// A dry run without `--delete-untagged`; nothing if it stopped at what cannot be read.
    pub collect: Option<CollectReport>,
    /// What stops a real run.
    pub stops: Vec<String>,
    /// What takes the room, by repository.
    pub usage: UsageReport,
    /// What is wrong or wasteful, and what collections would free.
    pub audit: AuditReport,
    /// How long all of it took.
    pub elapsed: Duration,
}

impl Report for OverviewReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn page(&self) -> Option<Page> {
        Some(html::page(self))
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("report", self.usage.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.audit.findings);
        metrics.stored(self.usage.usage.stored.count, self.usage.usage.stored.size_bytes);
        let [plain, untagged] = &self.audit.collections;
        metrics.reclaimable(plain.totals.kind(Kind::Blob)).reclaimable_untagged(untagged.totals.kind(Kind::Blob));
        metrics
    }

    /// That of the audit: a dry run that says what would stop a real run has done its job here.
    fn exit(&self) -> Exit {
        match self.stops.is_empty() {
            true => self.audit.exit(),
            false => Exit::Findings,
        }
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
