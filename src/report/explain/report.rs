//! The report of `explain`: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{json, page};
use crate::exit::Exit;
use crate::explain::Explanation;
use crate::finding::Finding;
use crate::oci::Reference;
use crate::report::{Document, Metrics, Report};

/// Why something is kept or not.
#[derive(Debug)]
pub struct ExplainReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// What was asked for.
    pub reference: Reference,
    /// When it began.
    pub started: SystemTime,
    /// The explanation.
    pub explanation: Explanation,
    /// Whether something could not be read, so that more may lead to it.
    pub is_partial: bool,
    /// What is wrong or odd with what is explained, sorted.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report for ExplainReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("explain", self.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics
    }

    fn exit(&self) -> Exit {
        Exit::of_findings(&self.findings)
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
