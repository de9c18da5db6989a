//! A repository that goes as a whole: every name in it, whatever it says, and then its directories.
//!
//! Nothing in it is followed, because nothing in it is kept. What other repositories need of its blobs they mark themselves.

use std::time::Duration;

use super::depths::revision_depths;
use super::inspect;
use super::unreached::{Unreached, tag_target};
use super::uploads::{self, Seen};
use crate::amount::Amount;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held};
use crate::inventory::MarkFlags;
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::Digest;
use crate::plan::{Deletion, Deletions, LinkSays, Reason};
use crate::store::{FileState, LinkContent, Shape, Stat};
use crate::survey::{ANSWERS_AT_ONCE, Revision, Survey, in_chunks};

/// The registry itself takes an upload for abandoned after this (`maintenance.uploadpurging.age`, 168h if it is not set).
const ABANDONED: Duration = Duration::from_secs(168 * 3600);

/// What becomes of a repository that is to go as a whole.
pub(super) enum Whole {
    /// This goes.
    Goes(Going),
    /// It stays.
    Stays(Stays),
}

/// Why a repository stays that is to go as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Something in it is too young, or was restored lately.
    Young,
    /// Something of it was restored lately, or what is in quarantine can only be restored whole while it stays.
    Quarantine,
    /// Somebody may be pushing to it: an upload that was begun and not ended.
    Upload(String),
}

/// All names of a repository.
#[derive(Default)]
pub(super) struct Going {
    pub(super) deletions: Deletions,
    pub(super) findings: Vec<Finding>,
    /// The uploads that go with it: how many, and their bytes.
    pub(super) uploads: Amount,
}

/// Plans that all of it goes, unless something in it has to stay.
///
/// # Errors
///
/// When something in it cannot be read.
pub(super) fn whole(survey: &Survey<'_>, context: &Context<'_>, readings: &[Held<'_>]) -> Result<Whole, Error> {
    let (unreached, uploads) = (Unreached::default(), Amount::default());
    let mut all = All { survey, context, unreached, uploads, leaves: Vec::new(), stays: None };
    if !survey.restored_tags.is_empty() {
        return Ok(Whole::Stays(Stays::Young));
    }
    if survey.awaited().next().is_some() {
        return Ok(Whole::Stays(Stays::Quarantine));
    }
    all.tags()?;
    all.revisions(readings)?;
    all.layers()?;
    all.uploads()?;
    if let Some(stays) = all.stays {
        return Ok(Whole::Stays(stays));
    }
    all.leaves.extend(beside(survey)?);
    all.itself()?;
    let All { unreached, uploads, leaves, .. } = all;
    let findings = leaves.into_iter().chain(unreached.findings).collect();
    Ok(Whole::Goes(Going { deletions: unreached.deletions, findings, uploads }))
}

struct All<'a> {
    survey: &'a Survey<'a>,
    context: &'a Context<'a>,
    unreached: Unreached,
    uploads: Amount,
    /// What is left in it, for being nothing that a registry puts there.
    leaves: Vec<Finding>,
    stays: Option<Stays>,
}

impl All<'_> {
    /// Lets a link go.
    fn link(&mut self, target: Target, state: &FileState, reason: Reason, depth: u32) -> Result<(), Error> {
        match state {
            FileState::File(stat) => {
                self.ensure_old(stat);
                self.unreached.drop_named(self.context, target, *stat, reason, depth);
            }
            FileState::Irregular => self.irregular(&target),
            FileState::Absent => {
                if let Target::Link(directory, digest) = target {
                    self.unreached.directory(self.context, Target::EmptyLinkDirectory(directory, digest))?;
                }
            }
        }
        Ok(())
    }

    fn ensure_old(&mut self, stat: &Stat) {
        if self.context.policy.is_young(stat) {
            self.stays.get_or_insert(Stays::Young);
        }
    }

    fn irregular(&mut self, target: &Target) {
        self.leaves.push(Finding::new(Code::IrregularLink).repository(&self.survey.name).path(target.path()));
    }

    fn tags(&mut self) -> Result<(), Error> {
        let survey = self.survey;
        for tag in &survey.tags {
            let target = tag_target(survey, &tag.name, tag.current);
            self.link(target, &survey.repository.stat_tag(&tag.name)?, Reason::TagDropped, 0)?;
            let directory = LinkDirectory::History(survey.name.clone(), tag.name.clone());
            let states = in_chunks(&tag.history, |some| survey.repository.stat_links(&directory, some))?;
            for (digest, state) in tag.history.iter().zip(states) {
                self.link(Target::Link(directory.clone(), *digest), &state, Reason::TagDropped, 0)?;
            }
        }
        Ok(())
    }

    fn revisions(&mut self, readings: &[Held<'_>]) -> Result<(), Error> {
        let survey = self.survey;
        let directory = LinkDirectory::Revisions(survey.name.clone());
        let (going, gone): (Vec<&Revision>, Vec<&Revision>) =
            survey.revisions.iter().partition(|revision| revision.link != LinkContent::Absent);
        let going: Vec<Digest> = going.iter().map(|revision| revision.digest).collect();
        let depths = revision_depths(survey, self.context, &going, readings)?;
        let states = in_chunks(&going, |some| survey.repository.stat_links(&directory, some))?;
        for ((digest, state), depth) in going.into_iter().zip(states).zip(depths) {
            self.link(Target::Link(directory.clone(), digest), &state, Reason::Untagged, depth)?;
        }
        for revision in gone {
            self.unreached.directory(self.context, Target::EmptyLinkDirectory(directory.clone(), revision.digest))?;
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<(), Error> {
        let (survey, context) = (self.survey, self.context);
        let directory = LinkDirectory::Layers(survey.name.clone());
        let all: Vec<_> = survey.layers.iter().zip(0..).map(|(digest, place)| (place, context.inventory.find(digest))).collect();
        for some in all.chunks(ANSWERS_AT_ONCE) {
            for layer in inspect::layers(survey, context, some)? {
                let target = Target::Link(directory.clone(), layer.digest);
                let Some(stat) = layer.stat else {
                    let is_absent = layer.facts.says == LinkSays::Absent;
                    let state = if is_absent { FileState::Absent } else { FileState::Irregular };
                    self.link(target, &state, Reason::Unreferenced, 0)?;
                    continue;
                };
                self.ensure_old(&stat);
                // An alias marks its canonical digest as well.
                for blob in [layer.blob, context.inventory.find(&layer.canonical)].into_iter().flatten() {
                    context.inventory.mark(blob, MarkFlags::LINK_DROPPED);
                    // Another repository's image in quarantine needs the blob, and not this link.
                    if layer.facts.protected {
                        context.inventory.mark(blob, MarkFlags::RESTORABLE);
                    }
                }
                let alias_of = (layer.canonical != layer.digest).then(|| Box::new(layer.canonical));
                let row = Deletion { target, stat, alias_of, reason: Reason::Unreferenced, depth: 0 };
                self.unreached.drop_link(context, layer.blob, &row);
            }
        }
        Ok(())
    }

    fn uploads(&mut self) -> Result<(), Error> {
        let (survey, context) = (self.survey, self.context);
        let listed = survey.repository.uploads()?;
        let strays = listed.strays.iter();
        self.leaves
            .extend(strays.map(|stray| Finding::new(Code::of_stray(stray.kind)).repository(&survey.name).path(&stray.path)));
        let policy = uploads::upload_policy(ABANDONED, &context.policy);
        let apart = uploads::apart(context, &listed.strays);
        for upload in &listed.entries {
            let path = layout::uploads_directory(&survey.name).join(&upload.id);
            match uploads::inspect(survey, upload, &policy)? {
                Seen::Unrecognised(finding) => self.leaves.push(finding),
                Seen::Gone => {}
                Seen::Young(id) => {
                    self.stays.get_or_insert(Stays::Upload(id.to_owned()));
                }
                // The link or the mount is named above, and with it its directories stay.
                Seen::Stale(..) if apart.contains(&path) => {}
                Seen::Stale(id, contents) if contents.others.is_empty() => {
                    self.uploads.add(upload.size_bytes());
                    uploads::drop_upload(survey, context, id, &contents, &mut self.unreached.deletions);
                }
                Seen::Stale(_, contents) => self.leaves.extend(contents.others.iter().map(|path| uploads::unknown(survey, path))),
            }
        }
        Ok(())
    }

    /// Lets its directories go, if nothing is left in them.
    fn itself(&mut self) -> Result<(), Error> {
        let is_clean = self.leaves.is_empty() && self.survey.strays.is_empty();
        if let Some(row) = itself(self.survey, self.context)?.filter(|_| is_clean) {
            self.unreached.deletions.push(self.context.inventory, &row);
        }
        Ok(())
    }
}

/// The directories of a repository, as what goes last of it. A bucket has none.
pub(super) fn itself(survey: &Survey<'_>, context: &Context<'_>) -> Result<Option<Deletion>, Error> {
    if context.store.shape() == Shape::Keys {
        return Ok(None);
    }
    let target = Target::EmptyRepository(survey.name.clone());
    let stat = context.store.empty_directory(&target)?;
    Ok(stat.map(|stat| Deletion { target, stat, alias_of: None, reason: Reason::EmptyDirectory, depth: 0 }))
}

/// What lies in the directories of a repository's names beside their links.
pub(super) fn beside(survey: &Survey<'_>) -> Result<Vec<Finding>, Error> {
    let revisions: Vec<Digest> = survey.revisions.iter().map(|revision| revision.digest).collect();
    let repository = &survey.repository;
    let mut found = repository.beside_links(&LinkDirectory::Layers(survey.name.clone()), &survey.layers)?;
    found.extend(repository.beside_links(&LinkDirectory::Revisions(survey.name.clone()), &revisions)?);
    for tag in &survey.tags {
        found.extend(repository.beside_tag(&tag.name)?);
        let history = LinkDirectory::History(survey.name.clone(), tag.name.clone());
        found.extend(repository.beside_links(&history, &tag.history)?);
    }
    let finding = |path| Finding::new(Code::UnrecognisedEntry).repository(&survey.name).path(path);
    Ok(found.into_iter().map(|leftover| finding(leftover.path)).collect())
}
