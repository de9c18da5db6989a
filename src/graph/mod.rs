//! The edges between digests: links in a repository, and references in manifests.

mod context;
mod links;
mod manifests;
mod names;
mod walk;

pub use self::context::Context;
pub(crate) use self::links::{LinkVerdict, judge_link, layer_verdict};
pub(crate) use self::manifests::{Edge, Edges, Fault, Held};
pub use self::manifests::{Manifests, Reading};
pub(crate) use self::names::{Name, Names, Numbered};
pub(crate) use self::walk::{Queue, Visited, Visitor, Walk};

/// How many manifests without a revision are followed in one repository. A registry refuses an index without its
/// manifests, but keys that it does not read can name any manifest of the store, once per repository, and any account
/// that may push can write them. A repository with more is held, and needs no further walk.
const MAX_STRANGERS: u64 = 16_384;

/// How many bytes of them are read.
const MAX_STRANGERS_BYTES: u64 = 1 << 30;
