//! Which tags and revisions of a repository are roots: the one value in which runs that collect differ. Pure.
//!
//! A survey goes in, and for each tag, and for each revision that no kept tag reaches, comes out whether it is a root, and why. What
//! is dropped here is not yet deleted: it may be young, reached by something else, refer to what is kept, or lie in a repository
//! that is held. That is judged by [`plan`](crate::plan), which does not know which retention it was.

use std::fmt;

use crate::oci::Digest;
use crate::plan::{KeepReason, Reason, RootChoice};
use crate::policy::RootPolicy;
use crate::survey::Survey;

/// Chooses the roots of repositories.
pub trait Retention: fmt::Debug + Sync {
    /// Whether anything may go of this repository. Of others every link stays, and what it leads to.
    fn touches(&self, survey: &Survey<'_>) -> bool;

    /// What becomes of each tag, in the survey's order. A dropped tag is no root; its `current/link` and its history go.
    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice>;

    /// Whether any revision may be dropped here for having no tag. Then it must be known what all kept tags reach: a repository in which
    /// the target of one is absent is held.
    fn drops_untagged(&self, survey: &Survey<'_>) -> bool;

    /// What becomes of a revision should no kept tag reach it. Asked only where some may be dropped.
    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice;
}

/// What `garbage-collect` keeps: every tag, and every revision or those that tags reach.
impl Retention for RootPolicy {
    fn touches(&self, _: &Survey<'_>) -> bool {
        true
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        vec![RootChoice::Root(KeepReason::Tag); survey.tags.len()]
    }

    fn drops_untagged(&self, _: &Survey<'_>) -> bool {
        *self == RootPolicy::TaggedOnly
    }

    fn untagged(&self, _: &Survey<'_>, _: &Digest) -> RootChoice {
        match self {
            RootPolicy::AllRevisions => RootChoice::Root(KeepReason::Revision),
            RootPolicy::TaggedOnly => RootChoice::Dropped(Reason::Untagged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RepositoryEntry;
    use crate::survey;
    use crate::testing::{Built, sha256};

    #[test]
    fn every_tag_is_a_root_and_a_revision_by_itself_unless_untagged_ones_go() {
        let built = Built::default();
        let digest = sha256(b"image");
        built.revision("a", &digest);
        built.tag("a", "v1", &digest);
        built.tag("a", "v2", &digest);
        let entry = RepositoryEntry { name: crate::oci::RepositoryName::new("a"), set_apart: None };
        let surveyed = survey::survey(&built.0, &entry).expect("listable");
        for (policy, drops, untagged) in [
            (RootPolicy::AllRevisions, false, RootChoice::Root(KeepReason::Revision)),
            (RootPolicy::TaggedOnly, true, RootChoice::Dropped(Reason::Untagged)),
        ] {
            assert_eq!(policy.tags(&surveyed), [RootChoice::Root(KeepReason::Tag); 2]);
            assert_eq!((policy.drops_untagged(&surveyed), policy.untagged(&surveyed, &digest)), (drops, untagged));
        }
    }
}
