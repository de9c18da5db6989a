//! The content of a store after a collection, and what is missing from it later.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::oci::RepositoryName;
use crate::store::Part;

/// The content of a store after a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    schema: u32,
    /// When the collection ended.
    pub at: Timestamp,
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Revisions.
    pub revisions: u64,
    /// Tags and revisions by repository: additions in one do not offset losses in another.
    #[serde(default)]
    pub by_repository: BTreeMap<String, [u64; 2]>,
    /// Mount points of other filesystems in the store, relative to the root if below it.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// What tells these from others in their places, as far as they say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    filesystems: BTreeMap<String, String>,
    /// Repositories of which a sweep that did not end was to remove revisions: they are counted without these, and each by itself.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    swept: BTreeSet<String>,
    /// Repositories that a run takes out of the store as a whole.
    #[serde(skip)]
    removed: BTreeSet<String>,
}

impl Summary {
    /// The current content: the tags and revisions of each repository.
    pub fn new<'a>(
        at: Timestamp,
        repositories: impl Iterator<Item = (&'a RepositoryName, [u64; 2])>,
        parts: Vec<Part>,
    ) -> Summary {
        let by_repository: BTreeMap<String, [u64; 2]> = repositories.map(|(name, counts)| (name.to_string(), counts)).collect();
        let sum = |place: usize| by_repository.values().map(|counts| counts[place]).sum();
        let (repositories, tags, revisions) = (by_repository.len() as u64, sum(0), sum(1));
        let mounts = parts.iter().map(|part| part.name.clone()).collect();
        let filesystems = parts.into_iter().filter_map(|Part { name, identity }| Some((name, identity?))).collect();
        Summary { schema: SCHEMA, at, repositories, tags, revisions, by_repository, mounts, filesystems, ..Summary::default() }
    }

    /// What was mounted in the store.
    pub fn parts(&self) -> Vec<Part> {
        let part = |name: &String| Part { name: name.clone(), identity: self.filesystems.get(name).cloned() };
        self.mounts.iter().map(part).collect()
    }

    /// Lowers the counts to those of `after`: our own removals are not missing afterwards, and stop no later run.
    pub(super) fn lower_to(&mut self, after: &Summary) {
        after.removed.iter().for_each(|name| self.take_out(name));
        let (mut fewer_tags, had_tags) = (0, self.tags);
        for (name, [tags, revisions]) in &mut self.by_repository {
            let Some([tags_left, left]) = after.by_repository.get(name) else { continue };
            if tags_left < tags {
                fewer_tags += *tags - *tags_left;
                *tags = *tags_left;
            }
            if left < revisions {
                *revisions = *left;
                self.swept.insert(name.clone());
            }
        }
        self.tags = match self.by_repository.is_empty() {
            true => self.tags.min(after.tags),
            false => had_tags.saturating_sub(fewer_tags),
        };
        self.revisions = match self.by_repository.is_empty() {
            true => self.revisions.min(after.revisions),
            false => self.by_repository.values().map(|counts| counts[1]).sum(),
        };
    }

    /// Subtracts a removed revision.
    pub fn forget_revision(&mut self, repository: &RepositoryName) {
        self.revisions = self.revisions.saturating_sub(1);
        if let Some([_, revisions]) = self.by_repository.get_mut(&repository.to_string()) {
            *revisions = revisions.saturating_sub(1);
        }
    }

    /// Takes a repository out that was removed.
    pub fn forget_repository(&mut self, repository: &RepositoryName) {
        let name = repository.to_string();
        self.take_out(&name);
        self.removed.insert(name);
    }

    /// Takes out the repositories that hold neither a tag nor a revision.
    pub fn forget_empty(&mut self) {
        let before = self.by_repository.len();
        self.by_repository.retain(|_, held| *held != [0, 0]);
        self.repositories = self.repositories.saturating_sub((before - self.by_repository.len()) as u64);
    }

    fn take_out(&mut self, repository: &str) {
        if let Some([tags, revisions]) = self.by_repository.remove(repository) {
            self.repositories = self.repositories.saturating_sub(1);
            self.tags = self.tags.saturating_sub(tags);
            self.revisions = self.revisions.saturating_sub(revisions);
        }
    }

    /// Takes a tag out that was removed.
    pub fn forget_tag(&mut self, repository: &RepositoryName) {
        self.tags = self.tags.saturating_sub(1);
        if let Some([tags, _]) = self.by_repository.get_mut(&repository.to_string()) {
            *tags = tags.saturating_sub(1);
        }
    }

    /// Describes content of this summary that is missing from `now`; `None` if enough is left. `is_mounted` checks each
    /// recorded mount. An empty store may be right (`may_be_empty`); a missing mount never is.
    pub fn missing_from(&self, now: &Summary, is_mounted: &dyn Fn(&str) -> bool, may_be_empty: bool) -> Option<String> {
        self.unmounted(is_mounted).or_else(|| if may_be_empty { None } else { self.halved_in(now) })
    }

    /// A filesystem that was mounted in the store at the time and is not mounted now.
    fn unmounted(&self, is_mounted: &dyn Fn(&str) -> bool) -> Option<String> {
        let mount = self.mounts.iter().find(|mount| !is_mounted(mount))?;
        Some(format!(
            "{mount} was mounted in the store on {:.0}, with something in it, and is not mounted now, is empty, or is another filesystem",
            self.at
        ))
    }

    /// Describes content of this summary that young content replaced, if less than half is left in `old`, the
    /// repositories with old content. Counts below `least` are ignored, and so are repositories that held nothing: nothing in them is old now.
    pub fn replaced_in(&self, old: &Summary, least: u64) -> Option<String> {
        let held_something = self.by_repository.values().filter(|held| **held != [0, 0]).count() as u64;
        let then = [(held_something, "repositories"), (self.tags, "tags"), (self.revisions, "revisions")];
        // Earlier versions recorded only the sums.
        let mut all = self.left_in(old).into_iter().zip(then);
        let is_enough = |before: u64| before >= least && !self.by_repository.is_empty();
        let (left, (before, what)) = all.find(|(left, (before, _))| is_enough(*before) && left.saturating_mul(2) < *before)?;
        Some(format!(
            "there are {left} {what} left of the {before} that the last collection saw on {:.0}, and what is younger than --min-age \
             makes up for none",
            self.at
        ))
    }

    /// How many of the repositories, tags and revisions are left, counted per repository.
    fn left_in(&self, now: &Summary) -> [u64; 3] {
        let mut left = [0, 0, 0];
        for (name, [tags, revisions]) in &self.by_repository {
            if let Some([tags_now, revisions_now]) = now.by_repository.get(name) {
                left[0] += 1;
                left[1] += tags.min(tags_now);
                left[2] += revisions.min(revisions_now);
            }
        }
        left
    }

    fn halved_in(&self, now: &Summary) -> Option<String> {
        let mut left = self.left_in(now);
        // In a swept repository, remaining revisions do not offset losses elsewhere.
        for name in &self.swept {
            let then = self.by_repository.get(name).map_or(0, |counts| counts[1]);
            let left = now.by_repository.get(name).map_or(0, |counts| counts[1]);
            if left.saturating_mul(2) < then {
                return Some(format!(
                    "there are {left} revisions left in {name} of the {then} that a collection that was cut off was to keep there"
                ));
            }
        }
        // Earlier versions recorded only the sums.
        if self.by_repository.is_empty() {
            left = [now.repositories, now.tags, now.revisions];
        }
        let then = [(self.repositories, "repositories"), (self.tags, "tags"), (self.revisions, "revisions")];
        let (left, (before, what)) = left.into_iter().zip(then).find(|(left, (before, _))| left.saturating_mul(2) < *before)?;
        Some(format!("there are {left} {what} left of the {before} that the last collection saw on {:.0}", self.at))
    }
}
