//! The report of `repair`: its values, and how they come to an exit code and figures.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{json, page};
use crate::amount::Amount;
use crate::config::{Mode, RepairSettings};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::repair::Mend;
use crate::report::{Document, Metrics, Report};

/// A repair, or what one would do.
#[derive(Debug)]
pub struct RepairReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// Whether anything was to be changed.
    pub mode: Mode,
    /// Print a line for each link.
    pub verbose: bool,
    /// When it began.
    pub started: SystemTime,
    /// How many repositories were read.
    pub repositories: u64,
    /// What to make, in order.
    pub planned: Vec<Mend>,
    /// How many links of them were made.
    pub mended: u64,
    /// How many of those replaced a damaged one.
    pub replaced: u64,
    /// The blobs that were copied.
    pub copied: Amount,
    /// How many of those replaced a damaged one.
    pub copied_over: u64,
    /// Whether more was lost than one run looks for.
    pub has_more: bool,
    /// The run that holds what was replaced.
    pub quarantine_run: Option<String>,
    /// What stops a real run; only a dry run has any.
    pub stops: Vec<String>,
    /// The error code of the first of them.
    pub stop_code: Option<&'static str>,
    /// What cannot be mended, or was not.
    pub findings: Vec<Finding>,
    /// Whether a link could not be made.
    pub has_failed: bool,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl RepairReport {
    /// A report of nothing yet.
    pub fn new(settings: &RepairSettings, root: &Path) -> RepairReport {
        RepairReport {
            root: root.to_owned(),
            config_path: settings.location.config_path.clone(),
            mode: settings.mode,
            verbose: settings.verbose,
            started: settings.clock.start(),
            repositories: 0,
            planned: Vec::new(),
            mended: 0,
            replaced: 0,
            copied: Amount::default(),
            copied_over: 0,
            has_more: false,
            quarantine_run: None,
            stops: Vec::new(),
            stop_code: None,
            findings: Vec::new(),
            has_failed: false,
            interrupted: false,
            elapsed: Duration::ZERO,
        }
    }

    /// Counts something that was made.
    pub fn count(&mut self, mend: &Mend) {
        match mend.size_bytes {
            Some(size_bytes) => {
                self.copied.add(size_bytes);
                self.copied_over += u64::from(mend.replaced.is_some());
            }
            None => {
                self.mended += 1;
                self.replaced += u64::from(mend.replaced.is_some());
            }
        }
    }

    /// What is to be copied, and how many links are to be made.
    pub(super) fn to_do(&self) -> (Amount, u64) {
        let (mut blobs, mut links) = (Amount::default(), 0);
        for mend in &self.planned {
            match mend.size_bytes {
                Some(size_bytes) => blobs.add(size_bytes),
                None => links += 1,
            }
        }
        (blobs, links)
    }
}

impl Report for RepairReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("repair", self.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics
    }

    fn exit(&self) -> Exit {
        match (self.interrupted, self.has_failed) {
            _ if !self.stops.is_empty() => Exit::Stopped,
            (true, _) => Exit::Interrupted,
            (false, true) => Exit::Incomplete,
            (false, false) if self.has_more => Exit::Findings,
            (false, false) => Exit::of_findings(&self.findings),
        }
    }

    fn changed_anything(&self) -> bool {
        self.mended > 0 || self.copied.count > 0 || self.has_failed || self.quarantine_run.is_some()
    }

    fn complaints(&self) -> &[String] {
        &self.stops
    }
}
