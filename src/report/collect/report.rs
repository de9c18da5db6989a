//! The report of `garbage-collect`: its values, and how they come to an outcome, an exit code and figures.

use std::path::PathBuf;
use std::time::Duration;

use super::expire::ExpireFigures;
use super::figures::{Figures, QuarantineFigures, RedisUnasked, RescueEnd};
use super::rows::Whose;
use super::{html, json, page};
use crate::amount::Amount;
use crate::config::{Disposal, Mode};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::plan::{Carried, Kind, SweepPlan};
use crate::policy::{Policy, RootPolicy};
use crate::quarantine::Withheld;
use crate::registry_config::{DescriptorCache, RegistryConfig};
use crate::removal::{Asked, Removed};
use crate::report::{Document, Metrics, Page, Report};
use crate::scope::Scope;
use crate::store::{RequestCounts, Versions};
use crate::sweep::SweepReport;
use crate::writers::RestartUnseen;

/// A collection, done or imagined.
#[derive(Debug)]
pub struct CollectReport {
    /// The command that collected.
    pub command: &'static str,
    /// What a policy came to; nothing if none was given.
    pub expire: Option<ExpireFigures>,
    /// What was asked for by name, and what becomes of it; nothing if nothing was.
    pub removed: Option<Removed>,
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
    /// The cache of blob descriptors that it keeps, by its configuration or by the environment.
    pub descriptor_cache: Option<DescriptorCache>,
    /// The part of that which a restart of the registry ends.
    pub in_memory: Option<DescriptorCache>,
    /// Why the redis in which it keeps them could not be asked what it remembers of what is gone.
    pub redis_unasked: Option<RedisUnasked>,
    /// Beside a registry with such a cache: why this machine does not show whether it was started again.
    pub restart_unseen: Option<RestartUnseen>,
    /// Why no registry could be asked whether it takes pushes; nothing if one was, or if it did not matter.
    pub unqueried: Option<String>,
    /// The command that does what a dry run shows.
    pub rerun: String,
    /// For a dry run: who writes to the store, and what to do about it before a real one.
    pub writer: Option<String>,
    /// Whether its registry is a pull-through cache, by its configuration, the environment or what is in the root.
    pub is_proxy: bool,
    /// Which revisions were roots.
    pub roots: RootPolicy,
    /// Which part of the store it was about.
    pub scope: Scope,
    /// What came of a plan that was given.
    pub carried: Option<Carried>,
    /// What was too young to be judged.
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
    /// Whether something that could not be removed is not in its place all the same, or the quarantine not as it was.
    pub may_have_changed: bool,
    /// What stops a real run; only a dry run has any.
    pub stops: Vec<String>,
    /// The error code of the first of them.
    pub stop_code: Option<&'static str>,
    /// What is wrong or odd, sorted.
    pub findings: Vec<Finding>,
    /// Free disk space before, in bytes.
    pub free_before: Option<u64>,
    /// Free disk space after, in bytes.
    pub free_after: Option<u64>,
    /// What was asked of the server of a bucket, if it is one.
    pub requests: Option<RequestCounts>,
    /// Whether a bucket keeps what is removed from it.
    pub versions: Option<Versions>,
    /// How long it took.
    pub elapsed: Duration,
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
        let is_unchanged = !self.has_changed_anything() && !self.may_have_changed;
        let is_left = self.swept.left > 0 || self.unfinished > 0 || self.quarantine.has_failed();
        let is_refused = self.swept.met_writer || !self.quarantine.restored.failed.is_empty();
        let has_failed = self.mode == Mode::Execute && is_left && !is_interrupted;
        if !self.stops.is_empty() || (is_unchanged && (is_refused || has_failed)) {
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
        self.mode == Mode::Execute && (!self.swept.removed.is_empty() || self.quarantine.has_moved())
    }

    /// Whose manifests go that no tag names any more.
    pub(super) fn whose(&self) -> Whose {
        let any_whole = self.removed.iter().flat_map(|removed| &removed.asked).any(Asked::is_repository);
        if any_whole { Whose::Repositories } else { Whose::Untagged }
    }

    /// The blobs that were removed or purged.
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
        let is_withheld = self.quarantine.withheld.iter().any(|(_, why)| *why == Withheld::Remembered);
        let waits = self.disposal == Disposal::Online && self.quarantine.remembered && self.quarantine.waiting.count > 0;
        // A redis that could not be asked may claim it, too.
        let has_removed = (self.in_memory.is_some() || self.redis_unasked.is_some())
            && self.mode == Mode::Execute
            && !self.swept.removed.is_empty();
        has_removed || is_withheld || waits
    }
}

impl Report for CollectReport {
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
        let mut metrics = Metrics::new(self.command, self.policy.now, self.exit());
        metrics.elapsed(self.elapsed).findings(&self.findings);
        metrics.stored(self.figures.blobs, self.figures.stored_bytes()).uploads(self.figures.counts.uploads);
        if self.mode == Mode::Execute {
            let gone = self.reclaimed();
            metrics.reclaimed(gone.count, gone.size_bytes).quarantined(self.quarantine.waiting);
            metrics.registry_must_restart(self.registry_must_restart());
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
        self.has_changed_anything() || self.may_have_changed
    }

    fn complaints(&self) -> &[String] {
        &self.stops
    }
}
