//! The retention of runs that drop chosen tags.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{KeepReason, Reason, RootChoice};
use crate::records::BegunWith;
use crate::retention::Retention;
use crate::store::LinkContent;
use crate::survey::Survey;

/// What goes of each repository. Those that are not named here are left alone.
#[derive(Clone, Debug, Default)]
pub struct Chosen(pub BTreeMap<RepositoryName, DroppedIn>);

/// What goes of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedIn {
    /// Tags, each with what its link held when it was chosen: one that was pushed again since is another one.
    pub tags: BTreeMap<TagName, LinkContent>,
    /// Revisions that go unless something that stays needs them: those that chosen tags reach, and untagged ones that were chosen.
    pub revisions: BTreeSet<Digest>,
    /// What goes with each tag, to go on with should the run be cut off.
    pub begun: Vec<BegunWith>,
}

impl Retention for Chosen {
    fn touches(&self, survey: &Survey<'_>) -> bool {
        self.0.contains_key(&survey.name)
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        let dropped = self.0.get(&survey.name);
        let choose = |tag: &crate::survey::Tag| {
            let content = dropped.and_then(|dropped| dropped.tags.get(&tag.name));
            match content.is_some_and(|content| tag.current == *content) {
                true => RootChoice::Dropped(Reason::TagDropped),
                false => RootChoice::Root(KeepReason::Tag),
            }
        };
        survey.tags.iter().map(choose).collect()
    }

    fn drops_untagged(&self, survey: &Survey<'_>) -> bool {
        self.0.get(&survey.name).is_some_and(|dropped| !dropped.revisions.is_empty())
    }

    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice {
        match self.0.get(&survey.name).is_some_and(|dropped| dropped.revisions.contains(revision)) {
            true => RootChoice::Dropped(Reason::Untagged),
            false => RootChoice::Root(KeepReason::Revision),
        }
    }
}
