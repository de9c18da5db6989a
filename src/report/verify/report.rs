//! The report of `verify`: its values, and how they come to an exit code and figures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{json, page};
use crate::amount::Amount;
use crate::config::VerifySettings;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::report::{Document, Metrics, Report};
use crate::verify::Outcome;

/// A verification, of all or of a part.
#[derive(Debug)]
pub struct VerifyReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// What was asked for.
    pub settings: VerifySettings,
    /// How many blobs are stored.
    pub stored_blobs: u64,
    /// How many repositories were asked what they need.
    pub repositories: u64,
    /// What was to be read.
    pub selected: Amount,
    /// What was left out for having been found good recently.
    pub fresh: Amount,
    /// What is as its digest says.
    pub good: Amount,
    /// What was read and is not.
    pub damaged: Amount,
    /// What did not match and is being written.
    pub in_progress: Amount,
    /// Corrupt blobs that stay where they are because they were touched recently.
    pub left_young: Amount,
    /// Blobs that went while they were waited for.
    pub vanished: u64,
    /// What was not read for want of time.
    pub left: Amount,
    /// Corrupt blobs that were quarantined.
    pub quarantined: Amount,
    /// The run that holds them.
    pub quarantine_run: Option<String>,
    /// What is wrong, sorted.
    pub findings: Vec<Finding>,
    /// Why what was found good could not be noted.
    pub state_failure: Option<String>,
    /// Whether it ended because it was told to.
    pub interrupted: bool,
    /// How long reading took.
    pub reading: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// How far a verification came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything selected was read.
    Complete,
    /// The time was up before.
    TimeUp,
    /// A signal ended it before.
    Interrupted,
}

impl VerifyReport {
    /// A report of nothing yet.
    pub fn new(settings: &VerifySettings, root: &Path, stored_blobs: u64) -> VerifyReport {
        VerifyReport {
            root: root.to_owned(),
            settings: settings.clone(),
            stored_blobs,
            repositories: 0,
            selected: Amount::default(),
            fresh: Amount::default(),
            good: Amount::default(),
            damaged: Amount::default(),
            in_progress: Amount::default(),
            left_young: Amount::default(),
            vanished: 0,
            left: Amount::default(),
            quarantined: Amount::default(),
            quarantine_run: None,
            findings: Vec::new(),
            state_failure: None,
            interrupted: false,
            reading: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }

    /// Takes over what a pass counted.
    pub fn count(&mut self, outcome: &Outcome) {
        self.good = outcome.good;
        self.damaged = outcome.damaged_amount;
        self.in_progress = outcome.in_progress;
        self.left = Amount {
            count: self.selected.count - outcome.done.count,
            size_bytes: self.selected.size_bytes - outcome.done.size_bytes,
        };
        // A signal that came after the last blob has interrupted nothing.
        self.interrupted &= self.left.count > 0;
    }

    /// How far it came.
    pub fn extent(&self) -> Extent {
        match (self.interrupted, self.left.count) {
            (true, _) => Extent::Interrupted,
            (false, 0) => Extent::Complete,
            (false, _) => Extent::TimeUp,
        }
    }

    /// How much was read in a second; nothing if hardly anything was.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let seconds = self.reading.as_secs_f64();
        let bytes = self.good.size_bytes + self.damaged.size_bytes;
        (seconds >= 0.001 && bytes > 0).then_some((bytes as f64 / seconds) as u64)
    }
}

impl Report for VerifyReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("verify", self.settings.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics.verified(self.good, self.damaged.count, self.left);
        metrics
    }

    fn exit(&self) -> Exit {
        match (self.extent(), Exit::of_findings(&self.findings)) {
            (Extent::Interrupted, _) => Exit::Interrupted,
            // What was asked for beside the findings was not done.
            (_, Exit::Clean) if self.state_failure.is_some() => Exit::Stopped,
            (_, exit) => exit,
        }
    }

    fn changed_anything(&self) -> bool {
        self.quarantined.count > 0
    }
}
