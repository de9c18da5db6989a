//! The values of an explanation.

use std::time::SystemTime;

use crate::amount::Amount;
use crate::oci::{Digest, RepositoryName, TagName};

/// Most chains, and most links, to list.
pub const MOST_LISTED: usize = 1000;

/// Why content is kept or not.
#[derive(Debug)]
pub struct Explanation {
    /// The digest to explain; for a tag, the digest that it names. `None` for a repository.
    pub digest: Option<Digest>,
    /// The size of its blob, if it is stored.
    pub size_bytes: Option<u64>,
    /// Its kind: `index`, `image`, the type of an artifact, or `blob` for other content.
    pub kind: Option<String>,
    /// The decision about it.
    pub fate: Fate,
    /// Held repositories among those that keep it: something in them cannot be understood, so everything they link is kept.
    pub held_in: Vec<RepositoryName>,
    /// Whether anything links it where it was asked for.
    pub is_linked: bool,
    /// The links that name it, by repository.
    pub links: Vec<LinkPlace>,
    /// Number of links.
    pub link_count: u64,
    /// Chains that lead to it from tags, and from revisions that no tag leads to; those from tags first.
    pub chains: Vec<ExplainedChain>,
    /// Number of chains.
    pub chain_count: u64,
    /// Number of chains that begin at a tag.
    pub tagged_chain_count: u64,
    /// All that it leads to, itself included.
    pub leads_to: Amount,
    /// What deleting it would free, once untagged revisions are collected.
    pub freed: Amount,
}

/// The decision about content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays with any options: a tag leads to it, or its repository is held.
    Kept,
    /// It stays unless untagged revisions are collected.
    KeptUntagged,
    /// It stays for now: it, or what leads to it, is too young to be judged. Until when, if that is known.
    Young(Option<SystemTime>),
    /// It is behind a symbolic link or a mount, where nothing is deleted.
    Foreign,
    /// A collection removes it: it is linked, but no kept manifest needs it.
    Unreferenced,
    /// A collection removes it: no repository links it.
    Unlinked,
    /// It is not stored.
    Absent,
    /// Its data is not a regular file.
    Irregular,
}

impl Fate {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::KeptUntagged => "kept-untagged",
            Fate::Young(_) => "young",
            Fate::Foreign => "foreign",
            Fate::Unreferenced => "unreferenced",
            Fate::Unlinked => "unlinked",
            Fate::Absent => "absent",
            Fate::Irregular => "irregular",
        }
    }
}

/// A link that names the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkPlace {
    /// The repository.
    pub repository: RepositoryName,
    /// `layer-link`, `layer-alias`, `revision`, `tag` or `tag-history`.
    pub kind: &'static str,
    /// The tag, if it is the link of a tag.
    pub tag: Option<TagName>,
}

/// A chain from a root to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedChain {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag at which it begins; `None` if it begins at a revision without a tag.
    pub tag: Option<TagName>,
    /// From the manifest that the root names to the target.
    pub steps: Vec<ChainStep>,
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStep {
    /// The digest that the previous step leads to.
    pub digest: Digest,
    /// How the previous step leads to it.
    pub relation: Relation,
    /// Its kind: a platform, `index`, `image`, the type of an artifact, or `blob`.
    pub kind: String,
}

/// How one step leads to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The root names it.
    Root,
    /// The previous step names it.
    Named,
    /// It refers to the previous step as its subject, and stays with it.
    Refers,
}

impl Relation {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Relation::Root => "root",
            Relation::Named => "named",
            Relation::Refers => "refers",
        }
    }
}
