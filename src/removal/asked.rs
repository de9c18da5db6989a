//! The retention of runs that remove what was asked for by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{KeepReason, Reason, RootChoice};
use crate::retention::Retention;
use crate::store::LinkContent;
use crate::survey::{Survey, Tag};

/// What goes of each repository. Those that are not named here are left alone.
#[derive(Clone, Debug, Default)]
pub struct Removal(pub BTreeMap<RepositoryName, RemovedFrom>);

/// What goes of one repository.
#[derive(Clone, Debug, Default)]
pub struct RemovedFrom {
    /// Tags, each with what its link held when it was looked at: one that was pushed again since is another one.
    pub tags: BTreeMap<TagName, LinkContent>,
    /// Revisions that go unless something that stays needs them.
    pub revisions: BTreeSet<Digest>,
}

impl Retention for Removal {
    fn touches(&self, survey: &Survey<'_>) -> bool {
        self.0.contains_key(&survey.name)
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        let removed = self.0.get(&survey.name);
        let choose = |tag: &Tag| match removed.and_then(|removed| removed.tags.get(&tag.name)) {
            Some(content) if *content == tag.current => RootChoice::Dropped(Reason::TagDropped),
            _ => RootChoice::Root(KeepReason::Tag),
        };
        survey.tags.iter().map(choose).collect()
    }

    fn drops_untagged(&self, survey: &Survey<'_>) -> bool {
        self.0.get(&survey.name).is_some_and(|removed| !removed.revisions.is_empty())
    }

    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice {
        match self.0.get(&survey.name).is_some_and(|removed| removed.revisions.contains(revision)) {
            true => RootChoice::Dropped(Reason::Untagged),
            false => RootChoice::Root(KeepReason::Revision),
        }
    }
}

/// One tag or manifest that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its name, if it is a tag.
    pub tag: Option<TagName>,
    /// The manifest, or what the tag names. A damaged tag names nothing.
    pub digest: Option<Digest>,
    /// Whether an earlier run that was cut off has removed it.
    pub is_gone: bool,
    /// Whether it goes in this run.
    pub goes: bool,
    /// Whether the manifest goes, too. It stays for as long as something else needs it.
    pub manifest_goes: bool,
}

impl Asked {
    /// How it is written on a command line.
    pub fn name(&self) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => format!("{}:{tag}", self.repository),
            (None, Some(digest)) => format!("{}@{digest}", self.repository),
            (None, None) => self.repository.to_string(),
        }
    }
}
