//! What an explanation says.

use std::time::SystemTime;

use crate::amount::Amount;
use crate::oci::{Digest, RepositoryName, TagName};

/// So many ways and links are listed, of those that there are.
pub const MOST_LISTED: usize = 1000;

/// Why something is kept or not.
#[derive(Debug)]
pub struct Explanation {
    /// The digest that is explained: of a tag what it names. Nothing for a repository.
    pub digest: Option<Digest>,
    /// How large its blob is, if it is stored.
    pub size_bytes: Option<u64>,
    /// What it is: `index`, `image`, the type of an artifact, or `blob` for what is no manifest.
    pub kind: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
    /// Repositories among those that keep it in which something cannot be understood, so that all that they link is kept.
    pub held_in: Vec<RepositoryName>,
    /// What links it, by repository.
    pub links: Vec<LinkPlace>,
    /// How many links there are.
    pub link_count: u64,
    /// Ways that lead to it from what tags name, and from revisions that no tag leads to: those of tags first.
    pub chains: Vec<ExplainedChain>,
    /// How many ways there are.
    pub chain_count: u64,
    /// Of those, how many begin at a tag.
    pub tagged_chain_count: u64,
    /// What it leads to in all, itself included.
    pub leads_to: Amount,
    /// What would be freed if it was gone, once untagged revisions are collected.
    pub freed: Amount,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, whatever a collection is told: a tag leads to it, or its repository is held.
    Kept,
    /// It stays unless untagged revisions are collected.
    KeptUntagged,
    /// It stays for now: it, or what leads to it, is too young to be judged. Until when, if that is known.
    Young(Option<SystemTime>),
    /// It lies behind a symbolic link or a mount, where nothing goes.
    SetApart,
    /// A collection removes it: it is linked, and no manifest that is kept needs it.
    Unreferenced,
    /// A collection removes it: no repository links it.
    Unlinked,
    /// It is not stored.
    Absent,
    /// Something that is no regular file is in its place.
    Irregular,
}

impl Fate {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::KeptUntagged => "kept-untagged",
            Fate::Young(_) => "young",
            Fate::SetApart => "set-apart",
            Fate::Unreferenced => "unreferenced",
            Fate::Unlinked => "unlinked",
            Fate::Absent => "absent",
            Fate::Irregular => "irregular",
        }
    }
}

/// A link that names something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkPlace {
    /// In which repository.
    pub repository: RepositoryName,
    /// `layer-link`, `layer-alias`, `revision`, `tag` or `tag-history`.
    pub kind: &'static str,
    /// Of which tag.
    pub tag: Option<TagName>,
}

/// A way from a root to what is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedChain {
    /// Where it is.
    pub repository: RepositoryName,
    /// The tag that it begins at; nothing if it begins at a revision without a tag.
    pub tag: Option<TagName>,
    /// From what the root names to what is explained.
    pub steps: Vec<ChainStep>,
}

/// One step of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStep {
    /// What the one before leads to.
    pub digest: Digest,
    /// How.
    pub relation: Relation,
    /// What it is: a platform, `index`, `image`, the type of an artifact, or `blob`.
    pub kind: String,
}

/// How one thing leads to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is what the root names.
    Root,
    /// The one before names it.
    Named,
    /// It refers to the one before as its subject, and stays with it.
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
