//! Which tags and revisions of a repository are roots: the one value in which runs that collect differ. Pure.
//!
//! A survey goes in, and for each tag, and for each revision that no kept tag reaches, comes out whether it is a root, and why. What
//! is dropped here is not yet deleted: it may be young, reached by something else, refer to what is kept, or lie in a repository
//! that is held. That is judged by [`plan`](crate::plan), which does not know which retention it was.

use std::fmt;
use std::sync::Arc;

use globset::GlobSet;

use crate::oci::{Digest, TagName};
use crate::plan::{Approved, KeepReason, Reason, RootChoice};
use crate::policy::RootPolicy;
use crate::survey::Survey;

/// Chooses the roots of repositories.
pub trait Retention: fmt::Debug + Sync {
    /// Whether anything may go of this repository. Of others every link stays, and what it leads to.
    fn touches(&self, survey: &Survey<'_>) -> bool;

    /// What becomes of each tag, in the survey's order. A dropped tag is no root; its `current/link` and its history go.
    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice>;

    /// Whether all of the repository goes, whatever its names say. It goes as a whole or not at all.
    fn drops_repository(&self, _: &Survey<'_>) -> bool {
        false
    }

    /// Whether any revision may be dropped here for having no tag. Then it must be known what all kept tags reach: a repository in which
    /// the target of one is absent is held.
    fn drops_untagged(&self, survey: &Survey<'_>) -> bool;

    /// Whether a revision goes although it refers to one that stays, because it was asked for by its digest.
    fn drops_referrer(&self, _: &Survey<'_>, _: &Digest) -> bool {
        false
    }

    /// Whether a revision stays although it refers to nothing that is stored, with all that it reaches.
    fn keeps_orphan(&self, _: &Survey<'_>, _: &Digest) -> bool {
        false
    }

    /// Whether a tag that names this stays although it is named after a manifest that is not stored.
    fn keeps_orphaned_tag(&self, _: &Survey<'_>, _: &TagName, _: &Digest) -> bool {
        false
    }

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

/// Another retention, in some repositories only. Of the rest every link stays, and what it leads to.
#[derive(Clone, Debug)]
pub struct Within {
    /// Patterns of the names of these repositories.
    pub patterns: GlobSet,
    /// What goes in them.
    pub retention: RootPolicy,
}

impl Retention for Within {
    fn touches(&self, survey: &Survey<'_>) -> bool {
        self.patterns.is_match(survey.name.as_path())
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        self.chosen(survey).tags(survey)
    }

    fn drops_untagged(&self, survey: &Survey<'_>) -> bool {
        self.chosen(survey).drops_untagged(survey)
    }

    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice {
        self.chosen(survey).untagged(survey, revision)
    }
}

impl Within {
    /// Links that stay are roots: otherwise what they lead to would go.
    fn chosen(&self, survey: &Survey<'_>) -> RootPolicy {
        if self.touches(survey) { self.retention } else { RootPolicy::AllRevisions }
    }
}

/// Another retention, but of the revisions and tags that it drops, and of orphans, only those that somebody has approved. The others are roots,
/// with all that they reach.
#[derive(Clone, Debug)]
pub struct OnlyApproved {
    /// The plan that names them.
    pub approved: Arc<Approved>,
    /// What would go without it.
    pub retention: RootPolicy,
}

impl Retention for OnlyApproved {
    fn touches(&self, survey: &Survey<'_>) -> bool {
        self.retention.touches(survey)
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        self.retention.tags(survey)
    }

    fn drops_untagged(&self, survey: &Survey<'_>) -> bool {
        self.retention.drops_untagged(survey)
    }

    fn keeps_orphan(&self, survey: &Survey<'_>, revision: &Digest) -> bool {
        !self.approved.has_revision(&survey.name, revision)
    }

    fn keeps_orphaned_tag(&self, survey: &Survey<'_>, tag: &TagName, target: &Digest) -> bool {
        !self.approved.has_tag(&survey.name, tag, target)
    }

    fn untagged(&self, survey: &Survey<'_>, revision: &Digest) -> RootChoice {
        match self.approved.has_revision(&survey.name, revision) {
            true => self.retention.untagged(survey, revision),
            false => RootChoice::Root(KeepReason::Revision),
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
        let entry = RepositoryEntry { name: crate::oci::RepositoryName::new("a"), foreign: None };
        let surveyed = survey::survey(&built.0, &entry).expect("listable");
        for (policy, drops, untagged) in [
            (RootPolicy::AllRevisions, false, RootChoice::Root(KeepReason::Revision)),
            (RootPolicy::TaggedOnly, true, RootChoice::Dropped(Reason::Untagged)),
        ] {
            assert_eq!(policy.tags(&surveyed), [RootChoice::Root(KeepReason::Tag); 2]);
            assert_eq!((policy.drops_untagged(&surveyed), policy.untagged(&surveyed, &digest)), (drops, untagged));
        }
    }

    #[test]
    fn within_patterns_only_what_they_match_is_touched() {
        let built = Built::default();
        let patterns =
            globset::GlobSetBuilder::new().add(crate::options::glob("team/*").expect("a pattern")).build().expect("patterns");
        for (name, touched) in [("team/a", true), ("team", false), ("team/a/b", false), ("other/team/a", false)] {
            let digest = sha256(name.as_bytes());
            built.revision(name, &digest);
            let entry = RepositoryEntry { name: crate::oci::RepositoryName::new(name), foreign: None };
            let surveyed = survey::survey(&built.0, &entry).expect("listable");
            let within = Within { patterns: patterns.clone(), retention: RootPolicy::TaggedOnly };
            assert_eq!(within.touches(&surveyed), touched, "{name}");
            let chosen = if touched { RootPolicy::TaggedOnly } else { RootPolicy::AllRevisions };
            assert_eq!(within.drops_untagged(&surveyed), touched, "{name}");
            assert_eq!(within.untagged(&surveyed, &digest), chosen.untagged(&surveyed, &digest), "{name}");
        }
    }
}
