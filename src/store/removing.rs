//! Removing: what a plan lists, and nothing else.

use super::values::Stat;
use crate::error::Error;
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was removed.
    Removed,
    /// It was not there any more.
    AlreadyGone,
    /// It is not what the plan saw; it was left alone. Says what differs.
    Changed(&'static str),
}

/// What a repository keeps in which a link is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepsNow {
    /// Nothing but what its remaining links name: nobody else is at work.
    AsPlanned,
    /// These digests, and what its remaining links name.
    Digests(Vec<Digest>),
    /// Anything: somebody writes where nobody should be at work.
    Anything,
}

impl KeepsNow {
    /// Where removing cannot be undone: a link that changed since the plan was made ends the sweep, because a registry is writing.
    pub fn without_undo(is_changed: bool) -> KeepsNow {
        if is_changed { KeepsNow::Anything } else { KeepsNow::AsPlanned }
    }
}

/// A target, and what the plan saw of it.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// What is to go.
    pub target: &'a Target,
    /// Its size and age then.
    pub stat: &'a Stat,
}

/// What becomes of the directory that a file leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directories {
    /// It goes if it is empty.
    Prune,
    /// It stays: a registry at work may have made it just now for what it is about to put there.
    Keep,
}

/// Removes targets from a registry's storage.
pub trait Vacuum: Sync {
    /// How many targets it takes at once. Where there are no batches, 1.
    fn batch(&self) -> usize;

    /// Looks at each target once more, removes exactly that file or empty directory if it is as planned, and then the directory that its
    /// digest names if that is empty. Answers for each in the order given; an error when a target is as planned and cannot be removed.
    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>>;

    /// Whether removing takes room rather than making some: then a full store is the end of it.
    fn takes_room(&self) -> bool;

    /// What a repository keeps by now in which a link was left: because it is not as planned any more (`is_changed`), or because it could
    /// not be removed.
    ///
    /// # Errors
    ///
    /// When that cannot be told: then it may be anything.
    fn keeps_now(&self, repository: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error>;

    /// Returns once everything removed so far is gone for good, also after a power cut.
    ///
    /// # Errors
    ///
    /// When that cannot be had.
    fn barrier(&self) -> Result<(), Error>;
}
