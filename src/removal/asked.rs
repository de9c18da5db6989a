//! The retention of runs that remove what was asked for by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{KeepReason, Reason, RootChoice};
use crate::records::{BegunName, BegunWith};
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
    /// Those of them that were asked for by digest: they go although they refer to what stays.
    pub manifests: BTreeSet<Digest>,
    /// Whether all of it goes, its directories included.
    pub is_whole: bool,
    /// What goes with each name that was asked for, to go on with should the run be cut off.
    pub begun: Vec<BegunWith>,
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

    fn drops_repository(&self, survey: &Survey<'_>) -> bool {
        self.0.get(&survey.name).is_some_and(|removed| removed.is_whole)
    }

    fn drops_untagged(&self, survey: &Survey<'_>) -> bool {
        self.0.get(&survey.name).is_some_and(|removed| !removed.revisions.is_empty())
    }

    fn drops_referrer(&self, survey: &Survey<'_>, revision: &Digest) -> bool {
        self.0.get(&survey.name).is_some_and(|removed| removed.manifests.contains(revision))
    }

    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice {
        match self.0.get(&survey.name).is_some_and(|removed| removed.revisions.contains(revision)) {
            true => RootChoice::Dropped(Reason::Untagged),
            false => RootChoice::Root(KeepReason::Revision),
        }
    }
}

/// One repository, tag or manifest that was asked for.
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
    /// Whether a manifest that goes with it stays for what is in quarantine.
    pub manifest_waits: bool,
    /// After a run, whether it is not there any more, as far as that can be seen.
    pub is_removed: Option<bool>,
    /// Of a repository, whether its directories go as well: by these a registry lists it.
    pub directories_go: bool,
    /// Repositories in its directory. They are no part of it, and stay.
    pub nested: Vec<RepositoryName>,
}

impl Removal {
    /// A tag whose link names nothing, of what was asked for.
    pub(super) fn broken_tag(&self, one: &Asked) -> Option<&TagName> {
        let mut tags = self.0.get(&one.repository)?.tags.iter();
        let is_asked = |tag: &TagName| one.is_repository() || one.tag.as_ref() == Some(tag);
        let broken = tags.find(|(tag, content)| matches!(content, LinkContent::Empty | LinkContent::Garbled) && is_asked(tag));
        broken.map(|(tag, _)| tag)
    }

    /// Whether this is so of any revision that goes with a name.
    pub(super) fn any_of(&self, one: &Asked, is_so: &dyn Fn(&Digest) -> bool) -> bool {
        let name = one.begun_name();
        let begun = self.0.get(&one.repository).into_iter().flat_map(|from| &from.begun);
        begun.filter(|with| with.name == name).flat_map(|with| &with.revisions).any(is_so)
    }
}

impl Asked {
    /// What it is called in the record of what a run has begun with.
    pub(super) fn begun_name(&self) -> BegunName {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => BegunName::Tag(tag.clone()),
            (None, Some(digest)) => BegunName::Manifest(*digest),
            (None, None) => BegunName::Repository,
        }
    }

    /// A repository.
    pub(super) fn new(repository: &RepositoryName) -> Asked {
        Asked {
            repository: repository.clone(),
            tag: None,
            digest: None,
            is_gone: false,
            goes: false,
            manifest_goes: false,
            manifest_waits: false,
            is_removed: None,
            directories_go: false,
            nested: Vec::new(),
        }
    }

    /// Whether it is a whole repository.
    pub fn is_repository(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// How it is written on a command line.
    pub fn name(&self) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => format!("{}:{tag}", self.repository),
            (None, Some(digest)) => format!("{}@{digest}", self.repository),
            (None, None) => self.repository.to_string(),
        }
    }
}
