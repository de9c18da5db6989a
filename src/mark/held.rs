//! Keeps everything that can be pulled from a held repository.

use super::reach::{Reach, Role};
use super::roots::{Roots, protected};
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::MarkFlags;
use crate::layout::LinkDirectory;
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};
use crate::survey::{self, Survey};

/// Marks everything that a repository's links name, and everything reached from there.
pub(super) fn keep_everything(survey: &Survey<'_>, reach: &mut Reach<'_>, flags: MarkFlags) -> Result<(), Error> {
    reach.forget();
    reach.walk(Roots::everything(survey), flags)?;
    reach.walk(protected(survey), MarkFlags::RESTORABLE)?;
    mark_layers(survey, reach, flags)
}

/// Marks the digests of layer links, by directory and by content.
fn mark_layers(survey: &Survey<'_>, reach: &mut Reach<'_>, flags: MarkFlags) -> Result<(), Error> {
    let directory = LinkDirectory::Layers(survey.name.clone());
    let contents = survey::read_links(&*survey.repository, &directory, &survey.layers)?;
    for (digest, content) in survey.layers.iter().zip(contents) {
        reach.mark_alone(digest, flags);
        if let LinkContent::Digest(named) = content {
            reach.mark_alone(&named, flags);
        }
    }
    Ok(())
}

/// Marks every digest that names a directory in the repository.
pub(super) fn mark_all_names(survey: &Survey<'_>, context: &Context<'_>, flags: MarkFlags) {
    let revisions = survey.revisions.iter().map(|revision| &revision.digest);
    let history = survey.tags.iter().flat_map(|tag| &tag.history);
    for digest in survey.layers.iter().chain(revisions).chain(history) {
        if let Some(blob) = context.inventory.find(digest) {
            context.inventory.mark(blob, flags);
        }
    }
}

/// Marks what the history of tags names in a repository that nothing is to go of.
pub(super) fn keep_history(survey: &Survey<'_>, context: &Context<'_>) -> Result<(), Error> {
    let is_kept =
        |digest: &Digest| context.inventory.find(digest).is_none_or(|blob| context.inventory.has_any(blob, MarkFlags::LIVE));
    for tag in &survey.tags {
        let history: Vec<Digest> = tag.history.iter().filter(|digest| !is_kept(digest)).copied().collect();
        let directory = LinkDirectory::History(survey.name.clone(), tag.name.clone());
        let states = survey::in_chunks(&history, |some| survey.repository.stat_links(&directory, some))?;
        let is_there = history.iter().zip(states).filter(|(_, state)| *state != FileState::Absent);
        is_there
            .filter_map(|(digest, _)| context.inventory.find(digest))
            .for_each(|blob| context.inventory.mark(blob, MarkFlags::LIVE));
    }
    Ok(())
}

/// The digests of tag histories, as roots of a held repository.
pub(super) fn history_roots(survey: &Survey<'_>) -> impl Iterator<Item = (Digest, Role)> {
    survey.tags.iter().flat_map(|tag| tag.history.iter().map(|&digest| (digest, Role::Optional)))
}
