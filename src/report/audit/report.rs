//! The report of `audit`: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{html, json, page};
use crate::amount::Amount;
use crate::exit::Exit;
use crate::finding::{Finding, Severity};
use crate::mark::Counts;
use crate::options::FailOn;
use crate::plan::{Kind, Totals};
use crate::report::{Document, Metrics, Page, Report};

/// An audit.
#[derive(Debug)]
pub struct AuditReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// Which findings make the exit code 1.
    pub fail_on: FailOn,
    /// What is younger may still be at work.
    pub min_age: Duration,
    /// An upload that was not continued within this period is stale.
    pub upload_age: Duration,
    /// When it began.
    pub started: SystemTime,
    /// What was scanned.
    pub figures: Figures,
    /// What a collection would do, and what one with `--delete-untagged`.
    pub collections: [Collection; 2],
    /// Whether a collection would stop at something that cannot be read, so that what it would do is not known.
    pub would_stop: bool,
    /// What is wrong or odd, sorted.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Repositories.
    pub repositories: u64,
    /// What is in them.
    pub counts: Counts,
    /// Uploads that were begun, and what was sent of them.
    pub uploads: Amount,
    /// Blobs, by what the disk says.
    pub blobs: Amount,
}

/// What a collection would do.
#[derive(Debug, Default)]
pub struct Collection {
    /// Repositories in which nothing would be removed.
    pub held_repositories: u64,
    /// What would go.
    pub totals: Totals,
    /// What would go but for its age.
    pub young: Amount,
    /// Until when.
    pub until: Option<SystemTime>,
    /// Of those, what never goes, for a time in the future.
    pub never: Amount,
}

impl Report for AuditReport {
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
        let mut metrics = Metrics::new("audit", self.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics.stored(self.figures.blobs.count, self.figures.blobs.size_bytes).uploads(self.figures.uploads);
        let [plain, untagged] = &self.collections;
        metrics.reclaimable(plain.totals.kind(Kind::Blob)).reclaimable_untagged(untagged.totals.kind(Kind::Blob));
        metrics
    }

    fn exit(&self) -> Exit {
        let least = match self.fail_on {
            FailOn::Error => Severity::Error,
            FailOn::Warning => Severity::Warning,
            FailOn::Never => return Exit::Clean,
        };
        match self.findings.iter().any(|finding| finding.severity <= least) {
            true => Exit::Findings,
            false => Exit::Clean,
        }
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
