//! The result of marking a repository.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{Stays, Waiting};
use crate::amount::Amount;
use crate::finding::Finding;
use crate::oci::{Digest, RepositoryName};
use crate::plan::Deletions;

/// The result of marking one repository.
#[derive(Debug)]
pub struct Marks {
    /// The repository.
    pub repository: RepositoryName,
    /// Whether everything in it is kept because an entry cannot be understood.
    pub held: bool,
    /// Why it stays although it was to go as a whole.
    pub stays: Option<Stays>,
    /// Whether it has layer links and no trace of the manifests that needed them. Deleting a manifest leaves an empty
    /// revision directory. Without one, and without a dropped revision, unneeded layers belong to manifests that are
    /// lost or were never pushed.
    pub may_lack_manifests: bool,
    /// Entries that are not live and old enough.
    pub deletions: Deletions,
    /// Findings about the repository.
    pub findings: Vec<Finding>,
    /// Symbolic links in place of directories.
    pub symlinks: Vec<PathBuf>,
    /// The number of entries.
    pub counts: Counts,
    /// Entries kept only because of their age.
    pub waiting: Waiting,
    /// Revisions that were to go, and are kept for what is in quarantine alone.
    pub restorable: Vec<Digest>,
    /// The same of those that are too young.
    pub young: Vec<Digest>,
    /// The needed ones of the survey's queried digests; all of them if everything is kept.
    pub needed: Vec<Digest>,
    /// What young links name that is in quarantine, and when each was written.
    pub young_names: Vec<(Digest, SystemTime)>,
}

impl Marks {
    /// The number of its tags and of its revisions, 0 for a kind that is all young; `None` if both are.
    pub fn held_by_old(&self) -> Option<[u64; 2]> {
        let Counts { tags, revisions, with_known_tags, with_known_revisions, .. } = self.counts;
        (with_known_tags + with_known_revisions > 0).then(|| [tags * with_known_tags, revisions * with_known_revisions])
    }
}

/// Entries of one repository, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tags.
    pub tags: u64,
    /// Revisions: directories with a link, whatever it says.
    pub revisions: u64,
    /// Those of them whose manifest is not stored.
    pub lost_revisions: u64,
    /// Directories in tag histories.
    pub history_entries: u64,
    /// Directories in `_layers`.
    pub layer_links: u64,
    /// Uploads that were begun and not ended, and what was sent of them; where the policy looks at them.
    pub uploads: Amount,
    /// Those of them that nobody continues, and that go.
    pub stale_uploads: Amount,
    /// Revisions that are no roots but too young to drop.
    pub young_revisions: u64,
    /// Revisions that are no roots but could be needed by what is in quarantine.
    pub restorable_revisions: u64,
    /// Layer links that nothing needs but that are too young to drop.
    pub young_layer_links: u64,
    /// Repositories with a revision that is no younger than [evidence](crate::policy::Policy::of_evidence) may be; counted where the retention drops untagged revisions, like those below.
    pub with_old_revisions: u64,
    /// Those of them without a tag that is as old.
    pub untagged_repositories: u64,
    /// Repositories with a revision that is as old, or was there when the last collection began; counted where
    /// [`last_run`](crate::survey::Survey::last_run) is known.
    pub with_known_revisions: u64,
    /// The same for tags.
    pub with_known_tags: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.tags += other.tags;
        self.revisions += other.revisions;
        self.lost_revisions += other.lost_revisions;
        self.history_entries += other.history_entries;
        self.layer_links += other.layer_links;
        self.uploads += other.uploads;
        self.stale_uploads += other.stale_uploads;
        self.young_revisions += other.young_revisions;
        self.restorable_revisions += other.restorable_revisions;
        self.young_layer_links += other.young_layer_links;
        self.with_old_revisions += other.with_old_revisions;
        self.with_known_revisions += other.with_known_revisions;
        self.with_known_tags += other.with_known_tags;
        self.untagged_repositories += other.untagged_repositories;
    }
}
