//! What a list holds.

use std::time::SystemTime;

use crate::oci::{Digest, RepositoryName, TagName};

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRepository {
    /// Its name.
    pub name: RepositoryName,
    /// How many tags the registry lists.
    pub tags: u64,
    /// Revisions: indexes, platforms, signatures.
    pub revisions: u64,
    /// When a tag was last pushed.
    pub pushed: Option<SystemTime>,
    /// Whether registry 2 has it in its catalogue: it does if there is a directory for layers.
    pub in_catalogue_2: bool,
    /// Whether registry 3 has: it does if there is a directory for manifests.
    pub in_catalogue_3: bool,
    /// Whether something in it cannot be understood, so that all that it links is kept.
    pub is_held: bool,
}

/// What a pull of a tag comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagState {
    /// The registry finds its manifest.
    Present,
    /// It has no `current/link`: the registry lists it and answers 404.
    Lost,
    /// Its `current/link` says no digest.
    Unclear,
    /// What it names is not stored.
    Missing,
    /// The repository has no revision link for what it names: the registry answers 404.
    Unlinked,
}

impl TagState {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            TagState::Present => "present",
            TagState::Lost => "lost",
            TagState::Unclear => "unclear",
            TagState::Missing => "missing",
            TagState::Unlinked => "unlinked",
        }
    }

    /// What is wrong, for people; nothing if nothing is.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            TagState::Present => None,
            TagState::Lost => Some("no current link: listed by the registry, not found by a pull"),
            TagState::Unclear => Some("its link says no digest: a pull fails"),
            TagState::Missing => Some("its manifest is not stored: a pull fails"),
            TagState::Unlinked => Some("no revision link: not found by a pull"),
        }
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTag {
    /// Its name.
    pub name: TagName,
    /// What it names now.
    pub digest: Option<Digest>,
    /// What a pull comes to.
    pub state: TagState,
    /// What it is: `index`, `image`, or the type of an artifact.
    pub kind: String,
    /// The platforms, in the order of the index; one for a single image that says which.
    pub platforms: Vec<ListedPlatform>,
    /// The bytes of all that it names, to any depth, each blob once. Signatures that refer to it are not part of it.
    pub size_bytes: u64,
    /// When it was last pushed.
    pub pushed: Option<SystemTime>,
    /// When it was built, by its own word; of an index when the last platform was.
    pub created: Option<SystemTime>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPlatform {
    /// `linux/arm64/v8`, if anything says so.
    pub platform: Option<String>,
    /// Its manifest.
    pub digest: Digest,
    /// Whether that is stored.
    pub is_stored: bool,
    /// The bytes of all that it names.
    pub size_bytes: u64,
    /// When it was built, by its own word.
    pub created: Option<SystemTime>,
}

/// A revision that no tag leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRevision {
    /// Where it is.
    pub repository: RepositoryName,
    /// Its manifest.
    pub digest: Digest,
    /// Whether that is stored.
    pub is_stored: bool,
    /// What it is: `index`, `image`, or the type of an artifact.
    pub kind: String,
    /// Its platform, if it says so.
    pub platform: Option<String>,
    /// The bytes of all that it names, to any depth.
    pub size_bytes: u64,
    /// When its link was written: when it was last pushed.
    pub pushed: Option<SystemTime>,
    /// When it was built, by its own word.
    pub created: Option<SystemTime>,
}
