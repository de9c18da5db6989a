//! What a collection found and did.

pub mod json;
pub(super) mod page;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::amount::Amount;
use crate::config::{Disposal, Mode};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::layout::Target;
use crate::mark::{Counts, Waiting};
use crate::oci::RepositoryName;
use crate::plan::{Kind, RepositoryShare, SweepPlan, Totals};
use crate::policy::Policy;
use crate::quarantine::{Moved, Proof, Withheld};
use crate::registry_config::RegistryConfig;
use crate::report::{Document, Metrics, Report};
use crate::sweep::SweepReport;

/// A collection, done or imagined.
#[derive(Debug)]
pub struct CollectReport {
    /// Whether anything was removed.
    pub mode: Mode,
    /// Whether it was removed or quarantined.
    pub disposal: Disposal,
    /// The root directory, symbolic links resolved.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// What the configuration says.
    pub registry: Option<RegistryConfig>,
    /// Whether it keeps a cache of blob descriptors, by its configuration or by the environment.
    pub remembers_blobs: bool,
    /// Why no registry could be asked whether it takes pushes; nothing if one was, or if it did not matter.
    pub nobody_asked: Option<String>,
    /// The command that does what a dry run shows.
    pub rerun: String,
    /// For a dry run: who writes to the store, and what to do about it before a real one.
    pub writer: Option<String>,
    /// Whether its registry is a pull-through cache, by its configuration, the environment or what is in the root.
    pub is_proxy: bool,
    /// What was kept.
    pub policy: Policy,
    /// Every target, if they were asked for.
    pub plan: Option<SweepPlan>,
    /// What was found and planned.
    pub figures: Figures,
    /// What was removed.
    pub swept: SweepReport,
    /// What was done with the quarantine.
    pub quarantine: QuarantineFigures,
    /// What went wrong after the first change, beside targets that are left.
    pub unfinished: u64,
    /// What stops a real run; only a dry run has any.
    pub stops: Vec<String>,
    /// What is wrong or odd, sorted.
    pub findings: Vec<Finding>,
    /// Free disk space before, in bytes.
    pub free_before: Option<u64>,
    /// Free disk space after, in bytes.
    pub free_after: Option<u64>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was done with what was quarantined, in this run and before.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFigures {
    /// What went back before the sweep because it is needed by now.
    pub restored: Moved,
    /// What had waited long enough and went for good.
    pub purged: Moved,
    /// The run that holds what was quarantined now.
    pub run: Option<String>,
    /// How the watch for pushes ended; nothing if there was none.
    pub rescue: Option<RescueEnd>,
    /// What of it went back at once.
    pub rescued: Moved,
    /// What had waited and stays.
    pub withheld: Vec<(Target, Withheld)>,
    /// What proved that nobody writes to what was purged.
    pub proof: Option<Proof>,
    /// Blobs that are in quarantine now.
    pub waiting: Amount,
    /// How long they wait.
    pub waits_for: Duration,
    /// Whether a signal ended the run before all of it was done.
    pub interrupted: bool,
}

/// How the watch for pushes that need what was quarantined ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescueEnd {
    /// It went on for as long as it should.
    Complete,
    /// A signal ended it: the next run sees to the rest.
    Interrupted,
    /// The store could not be read, or something not be restored.
    Failed,
}

impl RescueEnd {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            RescueEnd::Complete => "complete",
            RescueEnd::Interrupted => "interrupted",
            RescueEnd::Failed => "failed",
        }
    }
}

/// What a store holds, and what of it goes.
#[derive(Debug)]
pub struct Figures {
    /// Repositories.
    pub repositories: u64,
    /// Those in which nothing is removed.
    pub held_repositories: u64,
    /// What is in them.
    pub counts: Counts,
    /// Stored blobs.
    pub blobs: u64,
    /// Blobs that are needed. Sizes are those that manifests state.
    pub live: Amount,
    /// Blobs that are kept for being young alone.
    pub young: Amount,
    /// Until when, why beside that, and which of them never go.
    pub waiting: Waiting,
    /// What goes.
    pub planned: Totals,
    /// What `--delete-untagged` would free in addition, at most; nothing if it was given.
    pub delete_untagged_in_addition: Option<Amount>,
    /// What each repository gives back.
    pub shares: BTreeMap<RepositoryName, RepositoryShare>,
}

impl Figures {
    /// Of the blobs that are kept for being young, those that go some day, and those that never do.
    pub fn later_and_never(&self) -> (Amount, Amount) {
        self.waiting.later_and_never(self.young)
    }

    /// All bytes in blobs.
    pub fn stored_bytes(&self) -> u64 {
        let mut all = self.live;
        all += self.young;
        all += self.planned.kind(Kind::Blob);
        all.size_bytes
    }

    /// Revisions that go for having no tag, and the repositories that they are in.
    pub fn untagged(&self) -> (u64, u64) {
        let repositories = self.shares.values().filter(|share| share.revisions > 0).count() as u64;
        (self.planned.kind(Kind::Revision).count, repositories)
    }

    /// Repositories with something reclaimable, the largest first.
    pub fn largest_reclaimable(&self) -> Vec<(&RepositoryName, &RepositoryShare)> {
        let mut shares: Vec<_> = self.shares.iter().filter(|(_, share)| share.blobs.count > 0).collect();
        shares.sort_by_key(|(name, share)| (std::cmp::Reverse(share.blobs.size_bytes), (*name).clone()));
        shares
    }
}

/// How far a collection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything planned is gone, or would be.
    Complete,
    /// Something planned was left.
    Incomplete,
    /// It ended before anything was changed, or would.
    Stopped,
    /// A signal ended it before everything was gone.
    Interrupted,
}

impl CollectReport {
    /// How far it came.
    pub fn outcome(&self) -> Outcome {
        let is_interrupted =
            self.swept.interrupted || self.quarantine.interrupted || self.quarantine.rescue == Some(RescueEnd::Interrupted);
        let failed = [&self.quarantine.restored, &self.quarantine.rescued].iter().any(|moved| !moved.failed.is_empty());
        let is_left = self.swept.left > 0 || self.unfinished > 0 || failed;
        // A removal that failed may have happened all the same; what was never tried did not.
        let is_refused = self.swept.met_writer || !self.quarantine.restored.failed.is_empty();
        if !self.stops.is_empty() || (is_refused && !self.has_changed_anything()) {
            Outcome::Stopped
        } else if is_interrupted {
            Outcome::Interrupted
        } else if is_left {
            Outcome::Incomplete
        } else {
            Outcome::Complete
        }
    }

    /// Whether anything in the store or in quarantine is not as it was.
    pub fn has_changed_anything(&self) -> bool {
        let quarantine = &self.quarantine;
        let moved = [&quarantine.restored, &quarantine.purged, &quarantine.rescued];
        self.mode == Mode::Execute && (!self.swept.removed.is_empty() || moved.iter().any(|moved| !moved.is_empty()))
    }

    /// The blobs that are gone for good.
    pub fn reclaimed(&self) -> Amount {
        let mut gone = Amount::default();
        if self.mode == Mode::Execute {
            gone += self.quarantine.purged.blobs;
        }
        if self.disposal == Disposal::Remove && self.mode == Mode::Execute {
            gone += self.swept.removed.kind(Kind::Blob);
        }
        gone
    }

    /// The blobs that went into quarantine and are still there when the run ends.
    pub fn quarantined(&self) -> Amount {
        let (moved, rescued) = (self.swept.removed.kind(Kind::Blob), self.quarantine.rescued.blobs);
        Amount {
            count: moved.count.saturating_sub(rescued.count),
            size_bytes: moved.size_bytes.saturating_sub(rescued.size_bytes),
        }
    }

    /// Whether a registry that runs, or was only made read-only, now remembers blobs that are gone.
    pub fn registry_must_restart(&self) -> bool {
        self.remembers_blobs && self.mode == Mode::Execute && !self.swept.removed.is_empty()
    }
}

impl Report for CollectReport {
    fn document(&self) -> Document {
        page::document(self)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new("garbage-collect", self.policy.now, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics.looked_at(self.figures.blobs, self.figures.stored_bytes());
        if self.mode == Mode::Execute {
            let gone = self.reclaimed();
            metrics.reclaimed(gone.count, gone.size_bytes).quarantined(self.quarantine.waiting);
        }
        metrics.reclaimable(self.figures.planned.kind(Kind::Blob));
        metrics
    }

    fn exit(&self) -> Exit {
        match self.outcome() {
            Outcome::Complete => Exit::of_findings(&self.findings),
            Outcome::Incomplete => Exit::Incomplete,
            Outcome::Stopped => Exit::Stopped,
            Outcome::Interrupted => Exit::Interrupted,
        }
    }

    fn changed_anything(&self) -> bool {
        self.has_changed_anything()
    }

    fn complaints(&self) -> &[String] {
        &self.stops
    }
}
