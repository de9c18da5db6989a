//! The report of `list`: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{json, page};
use crate::catalogue::{ListedRepository, ListedRevision, ListedTag};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::oci::Reference;
use crate::report::{Document, Metrics, Report};

/// What is in a store.
#[derive(Debug)]
pub struct ListReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// What was asked for.
    pub reference: Option<Reference>,
    /// When it began.
    pub started: SystemTime,
    /// What was found.
    pub listed: Listed,
    /// Whether something could not be read, so that there may be more.
    pub is_partial: bool,
    /// What is wrong or odd, sorted.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a list has.
#[derive(Debug)]
pub enum Listed {
    /// Repositories, by name.
    Repositories(Vec<ListedRepository>),
    /// A repository, and tags of it by name.
    Tags(ListedRepository, Vec<ListedTag>),
    /// Revisions that no tag leads to, by repository and digest.
    Untagged(Vec<ListedRevision>),
}

impl Report for ListReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("list", self.started, self.exit());
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
