//! What became of things in quarantine.

use crate::amount::Amount;
use crate::layout::Target;
use crate::oci::{RepositoryName, TagName};
use crate::store::Held;

/// What became of things in quarantine, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blobs.
    pub blobs: Amount,
    /// Links.
    pub links: u64,
    /// Files of uploads.
    pub upload_files: Amount,
    /// The tags among them, by what they are called.
    pub tags: Vec<(RepositoryName, TagName)>,
    /// Those of them that rules had dropped.
    pub tags_of_rules: Vec<(RepositoryName, TagName)>,
    /// Things that were in the store again already.
    pub replaced: u64,
    /// What could not be moved or removed, in words.
    pub failed: Vec<(Target, String)>,
}

impl Moved {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.has_moved_nothing() && self.replaced == 0
    }

    /// Whether nothing changed its place.
    pub fn has_moved_nothing(&self) -> bool {
        self.blobs.count == 0 && self.links == 0 && self.upload_files.count == 0
    }

    /// Whether there was something to do, and none of it could be done.
    pub fn is_stopped(&self) -> bool {
        self.is_empty() && !self.failed.is_empty()
    }

    /// All bytes of it: those of uploads are as gone as those of blobs.
    pub fn bytes(&self) -> Amount {
        let mut all = self.blobs;
        all += self.upload_files;
        all
    }

    /// Counts one more.
    pub(super) fn add(&mut self, held: &Held) {
        match held.target {
            Target::Blob(_) => self.blobs.add(held.stat.size_bytes),
            Target::Upload(_) => self.upload_files.add(held.stat.size_bytes),
            _ => self.links += 1,
        }
        if let Target::Tag(repository, tag, _) = &held.target {
            self.tags.push((repository.clone(), tag.clone()));
        }
    }
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Moved) {
        self.blobs += other.blobs;
        self.links += other.links;
        self.upload_files += other.upload_files;
        self.tags.extend(other.tags);
        self.tags_of_rules.extend(other.tags_of_rules);
        self.replaced += other.replaced;
        self.failed.extend(other.failed);
    }
}
