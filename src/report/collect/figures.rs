//! What a collection found and planned, and what it did with the quarantine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::amount::Amount;
use crate::descriptor_cache::Forgotten;
use crate::layout::Target;
use crate::mark::{Counts, Waiting};
use crate::oci::RepositoryName;
use crate::plan::{Kind, RepositoryShare, Totals};
use crate::quarantine::{Moved, Proof, Withheld};

/// What a store holds, and what of it goes.
#[derive(Debug)]
pub struct Figures {
    /// Repositories.
    pub repositories: u64,
    /// Those in which nothing is removed.
    pub held_repositories: u64,
    /// What is in them.
    pub counts: Counts,
    /// Uploads that go: of those that nobody continues what the plan has.
    pub going_uploads: Amount,
    /// Stored blobs.
    pub blobs: u64,
    /// Blobs that are needed. Sizes are those that manifests state.
    pub live: Amount,
    /// Blobs that are kept for being young alone.
    pub young: Amount,
    /// Blobs that are kept for what is in quarantine alone: it could not be restored without them.
    pub restorable: Amount,
    /// Until when, why beside that, and which of them never go.
    pub waiting: Waiting,
    /// What goes.
    pub planned: Totals,
    /// What `--delete-untagged` would free in addition, at most; nothing if it was given.
    pub delete_untagged_in_addition: Option<Amount>,
    /// What is reclaimable in each repository.
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
        all += self.restorable;
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

/// Why a redis was not asked what it remembers of what is gone.
#[derive(Clone, Debug)]
pub struct RedisUnasked {
    /// Why, and what to do about that.
    pub why: String,
    /// Whether it can be asked once that is done.
    pub is_flushable: bool,
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
    /// What the registries' redis was made to forget.
    pub forgotten: Forgotten,
    /// Blobs that are in quarantine now.
    pub waiting: Amount,
    /// How long they wait.
    pub waits_for: Duration,
    /// Whether a registry may remember something that has been there since before this run.
    pub remembered: bool,
    /// The registry that is older than that, if it is seen.
    pub older_registry: Option<String>,
    /// Whether a signal ended the run before all of it was done.
    pub interrupted: bool,
}

impl QuarantineFigures {
    fn moves(&self) -> [&Moved; 3] {
        [&self.restored, &self.rescued, &self.purged]
    }

    /// Whether anything went back or for good.
    pub fn has_moved(&self) -> bool {
        self.moves().iter().any(|moved| !moved.is_empty())
    }

    /// Whether something should have and could not.
    pub fn has_failed(&self) -> bool {
        self.moves().iter().any(|moved| !moved.failed.is_empty())
    }
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
