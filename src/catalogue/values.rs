//! Rows of listings.

use std::time::SystemTime;

use crate::oci::{Digest, RepositoryName, TagName};

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRepository {
    /// Its name.
    pub name: RepositoryName,
    /// Number of tags that the registry lists.
    pub tags: u64,
    /// Number of revisions: indexes, platforms, signatures.
    pub revisions: u64,
    /// When a tag was last pushed.
    pub pushed: Option<SystemTime>,
    /// Whether registry 2 has it in its catalogue: that requires a directory for layers.
    pub in_catalogue_2: bool,
    /// Whether registry 3 has it in its catalogue: that requires a directory for manifests.
    pub in_catalogue_3: bool,
    /// Whether it is held: something in it cannot be understood, so everything it links is kept.
    pub is_held: bool,
}

/// The result of pulling a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagState {
    /// The registry finds its manifest.
    Present,
    /// It has no `current/link`: the registry lists it and answers 404.
    Lost,
    /// Its `current/link` does not hold a digest.
    Unclear,
    /// The manifest that it names is not stored.
    Missing,
    /// The repository has no revision link for its manifest: the registry answers 404.
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

    /// The problem, for display; `None` if a pull works.
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
    /// The digest that it names now.
    pub digest: Option<Digest>,
    /// The result of pulling it.
    pub state: TagState,
    /// Its kind: `index`, `image`, or the type of an artifact.
    pub kind: String,
    /// The platforms, in the order of the index; one for a single image that states it.
    pub platforms: Vec<ListedPlatform>,
    /// Bytes of all that it names, at any depth, each blob once. Excludes signatures that refer to it.
    pub size_bytes: u64,
    /// When it was last pushed.
    pub pushed: Option<SystemTime>,
    /// When it was built, as it states; for an index, when its latest platform was.
    pub created: Option<SystemTime>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPlatform {
    /// The platform, such as `linux/arm64/v8`, if known.
    pub platform: Option<String>,
    /// Its manifest.
    pub digest: Digest,
    /// Whether the manifest is stored.
    pub is_stored: bool,
    /// Bytes of all that it names.
    pub size_bytes: u64,
    /// When it was built, as it states.
    pub created: Option<SystemTime>,
}

/// A revision that no tag leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRevision {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its manifest.
    pub digest: Digest,
    /// Whether the manifest is stored.
    pub is_stored: bool,
    /// Its kind: `index`, `image`, or the type of an artifact.
    pub kind: String,
    /// Its platform, if it states one.
    pub platform: Option<String>,
    /// Bytes of all that it names, at any depth.
    pub size_bytes: u64,
    /// When it was last pushed: when its link was written.
    pub pushed: Option<SystemTime>,
    /// When it was built, as it states.
    pub created: Option<SystemTime>,
}
