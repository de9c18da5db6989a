//! Marks all repositories of a store in parallel.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::HashSet;

use super::blobs::BlobMarks;
use super::{Marks, mark};
use crate::error::Error;
use crate::graph::Context;
use crate::layout;
use crate::oci::RepositoryName;
use crate::plan::Deletions;
use crate::progress::{Phase, Progress};
use crate::store::{RepositoryEntry, Store, StrayKind};
use crate::survey::{Survey, each, survey};

/// Marks the content that the repositories keep. `prepare` may add queried and protected digests to each survey; `done`
/// takes from each result the parts that may not fit in memory: findings and deletions.
///
/// # Errors
///
/// When an existing entry cannot be read, or `stop` becomes true.
pub fn repositories(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    prepare: &(dyn Fn(&mut Survey<'_>) + Sync),
    done: &(dyn Fn(&mut Marks) -> Result<(), Error> + Sync),
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<Marks>, Error> {
    progress.begin(Phase::Marking, Some(repositories.len() as u64));
    let one = |repository: &RepositoryEntry| {
        let mut survey = survey(context.store, repository)?;
        prepare(&mut survey);
        let mut marks = mark(&survey, context)?;
        done(&mut marks)?;
        Ok(marks)
    };
    let mut marks = each(repositories, |repository| {
        interrupted(stop)?;
        let marks = one(repository)?;
        tracing::debug!(repository = %marks.repository, held = marks.held, deletions = marks.deletions.len(), "marked");
        progress.advance(1, 0);
        Ok(marks)
    })?;
    hold_shared(context.store, repositories, &mut marks, &one)?;
    Ok(marks)
}

/// The deletions of each repository, and of the blobs.
///
/// # Panics
///
/// When a held repository has deletions.
pub fn planned(marks: &mut [Marks], blobs: &mut BlobMarks) -> (Vec<(RepositoryName, Deletions)>, Vec<Deletions>) {
    let repositories = marks.iter_mut().map(|marks| {
        assert!(!marks.held || marks.deletions.is_empty(), "{} is held and in the plan", marks.repository);
        (marks.repository.clone(), std::mem::take(&mut marks.deletions))
    });
    (repositories.collect(), std::mem::take(&mut blobs.deletions))
}

/// Fails if the run should end.
///
/// # Errors
///
/// [`Error::Interrupted`] when `stop` is true.
pub fn interrupted(stop: &AtomicBool) -> Result<(), Error> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Holds the repositories that a symbolic link inside another one leads into: the other repository uses entries that
/// look unused there. `one` marks one of them again.
///
/// # Errors
///
/// When a link cannot be followed, or a repository cannot be read.
pub fn hold_shared(
    store: &dyn Store,
    repositories: &[RepositoryEntry],
    marks: &mut [Marks],
    one: &dyn Fn(&RepositoryEntry) -> Result<Marks, Error>,
) -> Result<(), Error> {
    let mut targets = HashSet::default();
    for link in marks.iter().flat_map(|marks| &marks.symlinks) {
        targets.extend(store.symlink_target(link)?);
    }
    let above: HashSet<&Path> = targets.iter().flat_map(|target| target.ancestors()).collect();
    if targets.is_empty() {
        return Ok(());
    }
    for (repository, marks) in repositories.iter().zip(marks) {
        let directory = layout::repository_directory(&repository.name);
        let is_shared = above.contains(directory.as_path()) || directory.ancestors().any(|directory| targets.contains(directory));
        if is_shared && !marks.held {
            *marks = one(&RepositoryEntry { foreign: Some(StrayKind::Symlink), ..repository.clone() })?;
        }
    }
    Ok(())
}
