//! What a run that drops tags and manifests, by rules or by name, had begun with, should it be cut off.
//!
//! Such a run takes names first. Once a tag is gone, the manifests that were to go with it are untagged ones like any other, and those stay. So the
//! same command goes on with these if it is given again, and with no others: not with what another command had begun with or a collection of
//! untagged revisions was to remove, nor with what was restored or pushed since. A tag that is there again names something else: what is recorded of
//! it is forgotten by the first collection that sees it there, by whichever command and not as a dry run. Else it would be gone on with once that tag
//! goes, too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::error::Error;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName, TagName};

/// A name that a run is to remove.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BegunName {
    /// A tag.
    Tag(TagName),
    /// A manifest.
    Manifest(Digest),
    /// All of a repository.
    Repository,
}

const TAG: &str = "tag ";

impl BegunName {
    fn key(&self) -> String {
        match self {
            BegunName::Tag(tag) => format!("{TAG}{tag}"),
            BegunName::Manifest(digest) => format!("manifest {digest}"),
            BegunName::Repository => "repository".to_owned(),
        }
    }
}

/// The command that had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BegunBy {
    /// `expire`.
    Expire,
    /// `remove`.
    Remove,
}

/// A name, and the revisions that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunWith {
    /// The name.
    pub name: BegunName,
    /// Whether a run that was cut off had begun with it. What is recorded of a tag that is there is of no use: it names what was pushed since.
    pub goes_on: bool,
    /// The revisions.
    pub revisions: Vec<Digest>,
}

/// The same as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// When the run began. What was written since is not what it saw.
    pub began: SystemTime,
    /// Revisions that are not known to be gone.
    pub revisions: Vec<Digest>,
}

/// One entry of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// Nothing in a record of an earlier version: no command goes on with that.
    #[serde(default)]
    by: Option<BegunBy>,
    began: Timestamp,
    revisions: Vec<String>,
}

/// All that was begun with and not ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AllBegun {
    schema: u32,
    repositories: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl Entry {
    fn understood(&self) -> Option<Begun> {
        let began = SystemTime::try_from(self.began).ok()?;
        let revisions = self.revisions.iter().filter_map(|digest| Digest::parse(digest.as_bytes())).collect();
        Some(Begun { began, revisions })
    }
}

impl AllBegun {
    pub(super) fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    /// What a command had begun with by its name.
    pub fn get(&self, by: BegunBy, repository: &RepositoryName, name: &BegunName) -> Option<Begun> {
        let entry = self.repositories.get(&repository.to_string())?.get(&name.key())?;
        entry.understood().filter(|_| entry.by == Some(by))
    }

    /// The tags of a repository that runs of a command had begun to remove.
    pub fn tags(&self, by: BegunBy, repository: &RepositoryName) -> Vec<(TagName, Begun)> {
        let entries = self.repositories.get(&repository.to_string()).into_iter().flatten();
        let entries = entries.filter(|(_, entry)| entry.by == Some(by));
        let tag = |(key, entry): (&String, &Entry)| Some((TagName::new(key.strip_prefix(TAG)?), entry.understood()?));
        entries.filter_map(tag).collect()
    }

    /// Takes out the tags that are there. Says whether there was one.
    ///
    /// # Errors
    ///
    /// Those of `is_there`.
    pub(super) fn forget_present(
        &mut self,
        is_there: &mut dyn FnMut(&RepositoryName, &TagName) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let mut present = Vec::new();
        for (repository, entries) in &self.repositories {
            for key in entries.keys() {
                let Some(tag) = key.strip_prefix(TAG) else { continue };
                if is_there(&RepositoryName::new(repository), &TagName::new(tag))? {
                    present.push((repository.clone(), key.clone()));
                }
            }
        }
        for (repository, key) in &present {
            self.repositories.get_mut(repository).and_then(|entries| entries.remove(key));
        }
        self.repositories.retain(|_, entries| !entries.is_empty());
        Ok(!present.is_empty())
    }

    /// Adds what a run of a command that began then is to remove, to what is here of a name with which it goes on.
    pub(super) fn add<'b>(
        &mut self,
        begun: impl Iterator<Item = (&'b RepositoryName, &'b BegunWith)>,
        (by, began): (BegunBy, Timestamp),
    ) {
        self.schema = SCHEMA;
        for (repository, with) in begun {
            let entries = self.repositories.entry(repository.to_string()).or_default();
            if !with.goes_on || entries.get(&with.name.key()).is_some_and(|entry| entry.by != Some(by)) {
                entries.remove(&with.name.key());
            }
            let entry = entries.entry(with.name.key()).or_insert(Entry { by: Some(by), began, revisions: Vec::new() });
            let known: HashSet<&String> = entry.revisions.iter().collect();
            let new: Vec<String> =
                with.revisions.iter().map(ToString::to_string).filter(|digest| !known.contains(digest)).collect();
            entry.revisions.extend(new);
        }
    }

    /// Takes out what is done.
    pub(super) fn end<'b>(&mut self, done: impl Iterator<Item = (&'b RepositoryName, &'b BegunWith)>) {
        for (repository, with) in done {
            if let Some(entries) = self.repositories.get_mut(&repository.to_string()) {
                entries.remove(&with.name.key());
            }
        }
        self.repositories.retain(|_, entries| !entries.is_empty());
    }

    /// Takes out what was restored: it is wanted. Says whether there was any of it.
    pub(super) fn forget<'t>(&mut self, restored: impl Iterator<Item = &'t Target>) -> bool {
        let mut revisions: HashMap<String, HashSet<String>> = HashMap::new();
        let mut tagged: HashSet<(String, String)> = HashSet::new();
        let mut is_changed = false;
        for target in restored {
            match target {
                Target::Link(LinkDirectory::Revisions(repository), digest) => {
                    revisions.entry(repository.to_string()).or_default().insert(digest.to_string());
                }
                Target::Tag(repository, tag, digest) => {
                    // What it names is wanted, whatever else was to go with it, and so is what was to go with that: its platforms.
                    revisions.entry(repository.to_string()).or_default();
                    tagged.insert((repository.to_string(), digest.to_string()));
                    let entries = self.repositories.get_mut(&repository.to_string());
                    is_changed |= entries.is_some_and(|entries| entries.remove(&BegunName::Tag(tag.clone()).key()).is_some());
                }
                _ => {}
            }
        }
        for (repository, entries) in &mut self.repositories {
            let Some(restored) = revisions.get(repository) else { continue };
            entries.retain(|_, entry| {
                let before = entry.revisions.len();
                match entry.revisions.iter().any(|digest| tagged.contains(&(repository.clone(), digest.clone()))) {
                    true => entry.revisions.clear(),
                    false => entry.revisions.retain(|digest| !restored.contains(digest)),
                }
                is_changed |= entry.revisions.len() != before;
                before == 0 || !entry.revisions.is_empty()
            });
        }
        self.repositories.retain(|_, entries| !entries.is_empty());
        is_changed
    }
}
