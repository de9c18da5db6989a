//! The target of an explanation, as the passes know it.

use crate::inventory::{BlobId, Inventory};
use crate::oci::{Digest, RepositoryName, TagName};

/// What to explain.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A digest, in every repository.
    Digest(Digest),
    /// A digest, in one repository.
    In(RepositoryName, Digest),
    /// What a tag names.
    Tag(RepositoryName, TagName, Digest),
    /// A repository.
    Repository(RepositoryName),
}

impl Target {
    /// The digest; for a tag, the digest that it names.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        match self {
            Target::Digest(digest) | Target::In(_, digest) | Target::Tag(_, _, digest) => Some(digest),
            Target::Repository(_) => None,
        }
    }

    /// Its blob, if it has one.
    pub(crate) fn blob(&self, inventory: &Inventory) -> Option<BlobId> {
        self.digest().and_then(|digest| inventory.find(digest))
    }

    /// Whether it may be in a repository.
    pub(crate) fn is_in(&self, repository: &RepositoryName) -> bool {
        match self {
            Target::Digest(_) => true,
            Target::In(name, _) | Target::Tag(name, ..) | Target::Repository(name) => name == repository,
        }
    }
}
