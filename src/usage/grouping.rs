//! Rows of any grouping.

use std::time::SystemTime;

use super::accounts::Accounts;
use super::grouped::{FewRows, TagRows};
use super::keeping::Kept;
use super::rows::UsageRow;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, Holder, Inventory, Ownership, Whose};
use crate::options::UsageBy;
use crate::store::RepositoryEntry;

/// Rows while they fill: by many threads, one repository at a time, in any order.
#[derive(Debug)]
pub(crate) enum Grouping {
    /// By repository or namespace.
    Repositories(Accounts),
    /// By tag.
    Tags(TagRows),
    /// By the age of the last push of tags.
    Ages(FewRows),
    /// By kind of image.
    Kinds(FewRows),
}

impl Grouping {
    /// Empty rows.
    ///
    /// # Errors
    ///
    /// When there is no room beyond the budget.
    pub(crate) fn new(
        by: UsageBy,
        repositories: &[RepositoryEntry],
        blobs: usize,
        budget: &Budget,
        now: SystemTime,
    ) -> Result<Grouping, Error> {
        Ok(match by {
            UsageBy::Repository | UsageBy::Namespace => Grouping::Repositories(Accounts::new(repositories, by)),
            UsageBy::Tag => Grouping::Tags(TagRows::default()),
            UsageBy::Age => Grouping::Ages(FewRows::new(blobs, budget, now)?),
            UsageBy::MediaType => Grouping::Kinds(FewRows::new(blobs, budget, now)?),
        })
    }

    /// Adds a repository.
    ///
    /// # Errors
    ///
    /// When something in it cannot be read.
    pub(crate) fn add(&self, context: &Context<'_>, kept: &Kept, ownership: &Ownership) -> Result<(), Error> {
        match self {
            Grouping::Repositories(accounts) => accounts.add(kept, ownership),
            Grouping::Tags(rows) => rows.add(context, kept, ownership)?,
            Grouping::Ages(rows) => rows.add_ages(context, kept)?,
            Grouping::Kinds(rows) => rows.add_kinds(context, kept)?,
        }
        Ok(())
    }

    /// Resets the rows of the changed repositories. Returns all repositories to add to these rows, the changed ones in
    /// place of the earlier ones. Rows by tag, age and kind do not change: neither does what tags lead to.
    pub(crate) fn begin_again(&self, repositories: &[RepositoryEntry], changed: Vec<RepositoryEntry>) -> Vec<RepositoryEntry> {
        match self {
            Grouping::Repositories(accounts) => accounts.begin_again(repositories, changed),
            Grouping::Tags(_) | Grouping::Ages(_) | Grouping::Kinds(_) => Vec::new(),
        }
    }

    /// The rows that hold a blob among what stays when untagged revisions are collected.
    pub(crate) fn whose(&self, ownership: &Ownership, blob: BlobId) -> Whose {
        match self {
            Grouping::Repositories(_) => ownership.whose(blob, Holder::Live),
            Grouping::Tags(_) => TagRows::whose(ownership, blob),
            Grouping::Ages(rows) | Grouping::Kinds(rows) => rows.whose(blob),
        }
    }

    /// The rows, once all repositories are added.
    pub(crate) fn into_rows(self, inventory: &Inventory, ownership: &Ownership) -> Vec<UsageRow> {
        match self {
            Grouping::Repositories(accounts) => accounts.into_rows(inventory, ownership),
            Grouping::Tags(rows) => rows.into_rows(inventory, ownership),
            Grouping::Ages(rows) | Grouping::Kinds(rows) => rows.into_rows(inventory, ownership),
        }
    }
}
