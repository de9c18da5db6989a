//! The roots of a repository, and its entries that cannot be understood.

use super::held;
use super::inspect::DroppedTag;
use super::reach::Role;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{LinkVerdict, judge_link};
use crate::layout::{self, LinkDirectory};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};
use crate::survey::Survey;

/// Reports entries that break the layout. Returns whether they make the repository held.
pub(super) fn oddities(survey: &Survey<'_>, findings: &mut Vec<Finding>) -> bool {
    let mut held = false;
    let here = |code| Finding::new(code).repository(&survey.name);
    if !survey.name.is_valid() {
        held = true;
        findings.push(here(Code::InvalidName).path(layout::repository_directory(&survey.name)));
    }
    if survey.foreign.is_some() {
        held = true;
        findings.push(here(Code::RepositoryElsewhere).path(layout::repository_directory(&survey.name)));
    }
    for stray in &survey.strays {
        held |= stray.kind.sets_apart();
        findings.push(here(Code::of_stray(stray.kind)).path(&stray.path));
    }
    held
}

/// The roots of one repository.
pub(super) struct Roots {
    pub(super) tags: Vec<(Digest, Role)>,
    pub(super) revisions: Vec<(Digest, Role)>,
}

impl Roots {
    /// `dropped` are the tags that the retention drops: they are no roots.
    pub(super) fn of(survey: &Survey<'_>, dropped: &[DroppedTag], held: &mut bool, findings: &mut Vec<Finding>) -> Roots {
        let mut roots = Roots { tags: Vec::new(), revisions: Vec::new() };
        let directory = LinkDirectory::Revisions(survey.name.clone());
        for revision in &survey.revisions {
            match judge_revision(&revision.digest, revision.link) {
                LinkVerdict::Names(digest) => roots.revisions.push((digest, Role::Revision)),
                LinkVerdict::Absent => {}
                LinkVerdict::Faulty(code) => {
                    *held = true;
                    let finding = Finding::new(code).repository(&survey.name).digest(&revision.digest);
                    findings.push(finding.path(directory.link(&revision.digest)));
                }
            }
        }
        for (place, tag) in survey.tags.iter().enumerate() {
            let here = |code| {
                let path = layout::current_link(&survey.name, &tag.name);
                Finding::new(code).repository(&survey.name).tag(&tag.name).path(path)
            };
            let code = match tag.current {
                LinkContent::Digest(_) | LinkContent::Empty | LinkContent::Garbled
                    if DroppedTag::at(dropped, place).is_some_and(|tag| tag.goes().is_some()) =>
                {
                    continue;
                }
                LinkContent::Digest(digest) => {
                    roots.tags.push((digest, Role::TagTarget(place as u32)));
                    continue;
                }
                LinkContent::Absent => {
                    // One that goes is on its way out, and of one without any link nothing is missing.
                    if DroppedTag::at(dropped, place).is_none_or(|tag| tag.goes().is_none()) {
                        findings.push(here(if tag.is_empty { Code::EmptyTag } else { Code::TagWithoutCurrent }));
                    }
                    continue;
                }
                LinkContent::Empty => Code::EmptyLink,
                LinkContent::Garbled => Code::GarbledLink,
                LinkContent::Irregular => Code::IrregularLink,
            };
            *held = true;
            findings.push(here(code));
        }
        roots
    }

    /// Every digest that a held repository's links name.
    pub(super) fn everything(survey: &Survey<'_>) -> Vec<(Digest, Role)> {
        // The walk takes roots from the end, so history comes last: the same digest may have a stricter role before.
        let mut roots: Vec<(Digest, Role)> = held::history_roots(survey).collect();
        for revision in &survey.revisions {
            match revision.link {
                LinkContent::Absent => continue,
                LinkContent::Digest(digest) if digest != revision.digest => roots.push((digest, Role::Revision)),
                _ => {}
            }
            roots.push((revision.digest, Role::Revision));
        }
        for (place, tag) in survey.tags.iter().enumerate() {
            if let LinkContent::Digest(digest) = tag.current {
                roots.push((digest, Role::TagTarget(place as u32)));
            }
        }
        roots
    }
}

/// Whether a revision here is old. Stops at the first one, usually the first revision.
pub(super) fn has_old_revision(survey: &Survey<'_>, is_old: &dyn Fn(&FileState) -> bool) -> Result<bool, Error> {
    let directory = LinkDirectory::Revisions(survey.name.clone());
    for revision in survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent) {
        let states = survey.repository.stat_links(&directory, &[revision.digest])?;
        if states.iter().any(is_old) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a tag here, or an entry of its history, is old: a tag that was pushed again is as old as its history. Stops
/// at the first one, usually the first tag.
pub(super) fn has_old_tag(survey: &Survey<'_>, is_old: &dyn Fn(&FileState) -> bool) -> Result<bool, Error> {
    for tag in survey.tags.iter().filter(|tag| tag.is_tag()) {
        let history = LinkDirectory::History(survey.name.clone(), tag.name.clone());
        for digest in &tag.history {
            if survey.repository.stat_links(&history, &[*digest])?.iter().any(is_old) {
                return Ok(true);
            }
        }
        if is_old(&survey.repository.stat_tag(&tag.name)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Manifests that may be linked here again: their references are kept for them.
pub(super) fn protected(survey: &Survey<'_>) -> Vec<(Digest, Role)> {
    survey.awaited().map(|digest| (*digest, Role::Optional)).collect()
}

/// Classifies a revision's link: unlike a layer link it cannot be an alias.
pub(super) fn judge_revision(directory: &Digest, content: LinkContent) -> LinkVerdict {
    match judge_link(directory, content) {
        LinkVerdict::Names(digest) if digest != *directory => LinkVerdict::Faulty(Code::DisagreeingLink),
        verdict => verdict,
    }
}
