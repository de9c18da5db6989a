//! The report of the commands that deal with a quarantine: its values, and how they come to an exit code and figures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::{json, page};
use crate::amount::Amount;
use crate::descriptor_cache::Forgotten;
use crate::exit::Exit;
use crate::finding::{Code, Finding};
use crate::layout::Target;
use crate::quarantine::{Moved, Proof, Purpose, Withheld};
use crate::registry_config::DescriptorCache;
use crate::report::{Document, Metrics, Report};
use crate::store::Held;
use crate::writers::RestartUnseen;

/// A look at a quarantine, and what came of it.
#[derive(Debug)]
pub struct QuarantineReport {
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// When the command began.
    pub started: SystemTime,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// The directory of all runs, relative to the root.
    pub directory: String,
    /// The runs that are there now, the oldest first.
    pub runs: Vec<RunRow>,
    /// Why this machine does not show a restart, if something in quarantine waits for one.
    pub restart_unseen: Option<RestartUnseen>,
    /// The registry that is older than something in quarantine, and may remember it.
    pub older_registry: Option<String>,
    /// What was done.
    pub done: Done,
    /// What went wrong.
    pub findings: Vec<Finding>,
    /// Whether a signal ended it before all had gone that was to go.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was done with a quarantine.
#[derive(Debug)]
pub enum Done {
    /// Nothing: it was listed.
    Listed,
    /// A restart of the registries was noted.
    Restarted {
        /// All that are in service were started after this.
        started_after: Timestamp,
        /// How many runs that were quarantined beside a registry with a cache none remembers any more.
        forgotten: u64,
        /// The redis in which they remember blobs, too.
        redis: Option<String>,
    },
    /// Things were restored.
    Restored(Moved),
    /// Things were purged.
    Purged {
        /// What was needed after all.
        restored: Moved,
        /// What is gone.
        purged: Moved,
        /// Whether anything else in quarantine, or in the registries' redis, may not be as it was.
        touched: bool,
        /// What had waited and stays.
        withheld: Vec<(Target, Withheld)>,
        /// What proved that nobody writes to what is gone.
        proof: Option<Proof>,
        /// What the registries' redis was made to forget.
        forgotten: Forgotten,
    },
}

impl Done {
    /// All that happened to anything, with the code of what could not be done.
    pub fn moved(&self) -> impl Iterator<Item = (Code, &Moved)> {
        let (restored, purged) = match self {
            Done::Listed | Done::Restarted { .. } => (None, None),
            Done::Restored(moved) => (Some(moved), None),
            Done::Purged { restored, purged, .. } => (Some(restored), Some(purged)),
        };
        let restored = restored.map(|moved| (Code::FailedRestore, moved));
        restored.into_iter().chain(purged.map(|moved| (Code::FailedPurge, moved)))
    }
}

/// One run.
#[derive(Debug)]
pub struct RunRow {
    /// Its name.
    pub id: String,
    /// Why things were moved.
    pub purpose: Purpose,
    /// When it began.
    pub began: Timestamp,
    /// When the last thing had been moved; nothing if it was cut off.
    pub finished: Option<Timestamp>,
    /// How long that is ago.
    pub waited: Option<Duration>,
    /// When a purge of it began that did not end: what is left is not all that there was.
    pub purging: Option<Timestamp>,
    /// Files in it that began to wait anew, because the registry's redis claimed them.
    pub again: u64,
    /// Blobs in it.
    pub blobs: Amount,
    /// Links in it.
    pub links: u64,
    /// Files of uploads in it.
    pub upload_files: Amount,
    /// Files in it that are none of ours.
    pub unrecognised: u64,
    /// The cache in which a registry at work may remember what is in it.
    pub remembered_by: Option<DescriptorCache>,
    /// All of them.
    pub targets: Vec<Held>,
}

impl QuarantineReport {
    pub(super) fn command(&self) -> &'static str {
        match self.done {
            Done::Listed => "quarantine list",
            Done::Restarted { .. } => "quarantine restarted",
            Done::Restored(_) => "restore",
            Done::Purged { .. } => "quarantine purge",
        }
    }

    /// How much is in quarantine now.
    pub(super) fn waiting(&self) -> Amount {
        let mut all = Amount::default();
        self.runs.iter().for_each(|run| all += run.blobs);
        all
    }
}

impl Report for QuarantineReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new(self.command(), self.started, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings).quarantined(self.waiting());
        if let Done::Purged { purged, .. } = &self.done {
            metrics.reclaimed(purged.blobs.count, purged.blobs.size_bytes);
        }
        metrics
    }

    fn exit(&self) -> Exit {
        match &self.done {
            _ if self.interrupted => Exit::Interrupted,
            // Something needs what could not be restored.
            Done::Purged { restored, purged, .. } if !restored.failed.is_empty() => {
                if restored.is_empty() && purged.is_empty() {
                    Exit::Stopped
                } else {
                    Exit::Incomplete
                }
            }
            // Nothing came back, or went: all is as it was.
            Done::Restored(restored) if restored.has_moved_nothing() && !restored.failed.is_empty() => Exit::Stopped,
            Done::Purged { restored, purged, touched: false, .. } if restored.is_empty() && purged.is_stopped() => Exit::Stopped,
            Done::Purged { purged, .. } if !purged.failed.is_empty() => Exit::Incomplete,
            // Something is where it should have gone: whoever wants it back has to look.
            Done::Restored(restored) if restored.replaced > 0 => Exit::Findings,
            _ => Exit::of_findings(&self.findings),
        }
    }

    fn changed_anything(&self) -> bool {
        !matches!(self.done, Done::Listed | Done::Restarted { .. })
    }
}
