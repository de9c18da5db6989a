//! What is known of a repository once it is marked.

use std::path::PathBuf;

use super::Waiting;
use crate::finding::Finding;
use crate::oci::{Digest, RepositoryName};
use crate::plan::Deletions;

/// What marking found out about one repository.
#[derive(Debug)]
pub struct Marks {
    /// The repository.
    pub repository: RepositoryName,
    /// Whether everything in it is kept because something in it cannot be understood.
    pub held: bool,
    /// Whether it links layers, and nothing says why a manifest that needed them would be gone. Deleting one leaves the directory of its
    /// revision; where none is empty and no revision goes, layers that no manifest needs are those of manifests that are lost, or were pushed
    /// without one.
    pub may_lack_manifests: bool,
    /// What in it is not live, and old enough.
    pub deletions: Deletions,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Symbolic links in the place of directories.
    pub symlinks: Vec<PathBuf>,
    /// What was looked at.
    pub counts: Counts,
    /// What is kept here for nothing but its age.
    pub waiting: Waiting,
    /// Of what the survey was asked about, what is needed here; all of it where everything is kept.
    pub needed: Vec<Digest>,
}

impl Marks {
    /// Its tags and revisions, as far as there is an old one of each; nothing where all is young.
    pub fn held_by_old(&self) -> Option<[u64; 2]> {
        let Counts { tags, revisions, with_known_tags, with_known_revisions, .. } = self.counts;
        (with_known_tags + with_known_revisions > 0).then(|| [tags * with_known_tags, revisions * with_known_revisions])
    }
}

/// How much of what one repository, or many, hold.
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
    /// Revisions that are no roots but too young to drop.
    pub young_revisions: u64,
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
        self.young_revisions += other.young_revisions;
        self.young_layer_links += other.young_layer_links;
        self.with_old_revisions += other.with_old_revisions;
        self.with_known_revisions += other.with_known_revisions;
        self.with_known_tags += other.with_known_tags;
        self.untagged_repositories += other.untagged_repositories;
    }
}
