//! One thing that goes.

use serde::{Deserialize, Serialize};

use crate::layout::{LinkDirectory, Target};
use crate::oci::Digest;
use crate::store::Stat;

/// What a target is. Declared in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What a tag names now. First of all: where it was written to since, its history and its revisions are spared.
    Tag,
    /// An entry in the history of a tag.
    TagHistory,
    /// A revision link.
    Revision,
    /// A layer link.
    LayerLink,
    /// A blob.
    Blob,
    /// A file of an upload. After everything else: what goes with it is no image's.
    Upload,
    /// A directory that is named by a digest and empty, or that of an upload without files.
    EmptyDirectory,
    /// The directories of a repository in which nothing is left.
    Repository,
}

impl Kind {
    /// The kind of a target.
    pub fn of(target: &Target) -> Kind {
        match target {
            Target::Tag(..) | Target::BrokenTag(..) => Kind::Tag,
            Target::Link(LinkDirectory::History(..), _) => Kind::TagHistory,
            Target::Link(LinkDirectory::Revisions(_), _) => Kind::Revision,
            Target::Link(LinkDirectory::Layers(_), _) => Kind::LayerLink,
            Target::Blob(_) => Kind::Blob,
            Target::Upload(_) => Kind::Upload,
            Target::EmptyLinkDirectory(..)
            | Target::EmptyBlobDirectory(_)
            | Target::EmptyUploadDirectory(..)
            | Target::EmptyTag(..) => Kind::EmptyDirectory,
            Target::EmptyRepository(_) => Kind::Repository,
        }
    }

    /// The name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tag => "tag",
            Kind::TagHistory => "tag-history",
            Kind::Revision => "revision",
            Kind::LayerLink => "layer-link",
            Kind::Blob => "blob",
            Kind::Upload => "upload",
            Kind::EmptyDirectory => "empty-directory",
            Kind::Repository => "repository",
        }
    }
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No tag reaches the revision, or the manifest was one of such a revision.
    Untagged,
    /// The history of a tag names a revision that was deleted.
    RevisionGone,
    /// A repository links it, and no manifest kept there needs it.
    Unreferenced,
    /// No repository links it.
    Unlinked,
    /// Nothing is left in the directory.
    EmptyDirectory,
    /// The retention keeps the tag no longer.
    TagDropped,
    /// What it refers to is not stored.
    Orphaned,
    /// Nobody has continued the upload for too long.
    StaleUpload,
}

/// Something that goes, with what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What.
    pub target: Target,
    /// Its size and age: looked at again before it is removed.
    pub stat: Stat,
    /// For a link by another name than that of the blob that it leads to: the blob's.
    pub alias_of: Option<Box<Digest>>,
    /// Why.
    pub reason: Reason,
    /// For manifests, how many others that go too are above it: an index goes before its children. What an upload is known by goes before
    /// the rest of it.
    pub depth: u32,
}
