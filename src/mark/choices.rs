//! What the retention chooses in one repository, and referrers whose subject is gone beside it.
//!
//! An orphan is an untagged manifest that refers to others of which none is stored, or a tag that is named after a manifest that is not stored
//! (`sha256-<hex>`, as in the OCI referrers tag schema, or the same with one of cosign's suffixes). A subject in another repository counts as
//! there: signatures may be kept apart from their images.

use foldhash::HashSet;

use crate::error::Error;
use crate::graph::{Context, Held, Reading};
use crate::oci::{DescriptorKind, Digest, TagName};
use crate::plan::{KeepReason, Reason, RootChoice};
use crate::store::LinkContent;
use crate::survey::{Survey, Tag};

/// What the retention chooses, without orphans if they are to go.
pub(super) struct Choices<'a> {
    survey: &'a Survey<'a>,
    context: &'a Context<'a>,
    /// Untagged revisions that go: those that are orphans, and the targets of tags that are.
    orphans: HashSet<Digest>,
    /// Tags that go for what they are named after.
    tags: HashSet<TagName>,
}

impl<'a> Choices<'a> {
    /// `readings` are those of the revisions.
    ///
    /// # Errors
    ///
    /// When a manifest cannot be read.
    pub(super) fn new(survey: &'a Survey<'a>, context: &'a Context<'a>, readings: &[Held<'_>]) -> Result<Choices<'a>, Error> {
        let mut choices = Choices { survey, context, orphans: HashSet::default(), tags: HashSet::default() };
        if context.policy.drops_orphans && context.retention.touches(survey) {
            choices.find_orphans(readings)?;
        }
        Ok(choices)
    }

    /// What becomes of each tag, in the survey's order.
    pub(super) fn tags(&self) -> Vec<RootChoice> {
        let chosen = self.context.retention.tags(self.survey);
        assert_eq!(chosen.len(), self.survey.tags.len(), "the retention chooses for each tag of {}", self.survey.name);
        let choose = |(choice, tag): (RootChoice, &Tag)| match choice {
            RootChoice::Root(_) if self.tags.contains(&tag.name) => RootChoice::Dropped(Reason::Orphaned),
            choice => choice,
        };
        chosen.into_iter().zip(&self.survey.tags).map(choose).collect()
    }

    /// Whether any revision may be dropped for having no tag.
    pub(super) fn drops_untagged(&self) -> bool {
        !self.orphans.is_empty() || self.context.retention.drops_untagged(self.survey)
    }

    /// What becomes of a revision should no kept tag reach it.
    pub(super) fn untagged(&self, digest: &Digest) -> RootChoice {
        let chosen = match self.context.retention.drops_untagged(self.survey) {
            true => self.context.retention.untagged(self.survey, digest),
            false => RootChoice::Root(KeepReason::Revision),
        };
        match chosen {
            RootChoice::Root(_) if self.orphans.contains(digest) => RootChoice::Dropped(Reason::Orphaned),
            chosen => chosen,
        }
    }

    /// Whether a manifest is neither stored nor a revision here.
    fn is_gone(&self, digest: &Digest) -> bool {
        self.context.inventory.find(digest).is_none() && self.survey.revision(digest).is_none()
    }

    /// What a tag names that is named after a manifest that is gone.
    fn orphaned_target(&self, tag: &Tag) -> Option<Digest> {
        let LinkContent::Digest(target) = tag.current else { return None };
        tag.name.subject().filter(|subject| self.is_gone(subject)).map(|_| target)
    }

    fn find_orphans(&mut self, readings: &[Held<'_>]) -> Result<(), Error> {
        self.find_referrers(readings)?;
        for tag in &self.survey.tags {
            let Some(target) = self.orphaned_target(tag) else { continue };
            // Anything may be called like a list of referrers, so it has to be one.
            if (!tag.name.is_list_of_referrers() || self.lists_orphans(&target, readings)?)
                && !self.context.retention.keeps_orphaned_tag(self.survey, &tag.name, &target)
            {
                self.tags.insert(tag.name.clone());
                if !self.context.retention.keeps_orphan(self.survey, &target) {
                    self.orphans.insert(target);
                }
            }
        }
        self.find_referrers(readings)
    }

    /// Whether a manifest names nothing but orphans.
    fn lists_orphans(&self, digest: &Digest, readings: &[Held<'_>]) -> Result<bool, Error> {
        let Some(place) = self.survey.revision(digest) else { return Ok(false) };
        let Reading::Read(edges) = readings[place].get(digest)? else { return Ok(false) };
        let mut named = edges.named(self.context.inventory);
        Ok(named.all(|(named, kind)| kind == DescriptorKind::Manifest && (self.orphans.contains(&named) || self.is_gone(&named))))
    }

    /// Finds revisions that refer to nothing but what is gone, and to what goes with that: signatures of signatures.
    fn find_referrers(&mut self, readings: &[Held<'_>]) -> Result<(), Error> {
        loop {
            let before = self.orphans.len();
            for (revision, reading) in self.survey.revisions.iter().zip(readings) {
                if let Reading::Read(edges) = reading.get(&revision.digest)?
                    && !edges.more_subjects
                    && !edges.subjects.is_empty()
                    && edges.subjects.iter().all(|subject| self.is_gone(subject) || self.orphans.contains(subject))
                    && !self.context.retention.keeps_orphan(self.survey, &revision.digest)
                {
                    self.orphans.insert(revision.digest);
                }
            }
            if self.orphans.len() == before {
                return Ok(());
            }
        }
    }
}
