//! What leads from one digest to another: links in a repository, and what manifests name.

mod context;
mod links;
mod manifests;
mod walk;

pub use self::context::Context;
pub(crate) use self::links::{LinkVerdict, judge_link, layer_verdict};
pub(crate) use self::manifests::{Edge, Edges, Fault, Held};
pub use self::manifests::{Manifests, Reading};
pub(crate) use self::walk::{Queue, Visited, Visitor, Walk};

/// Manifests that a repository's lead to and that it has no revision for: so many of them are followed. A registry takes no index whose
/// manifests it lacks, but keys that it does not read lead whoever may push to any manifest of the store, once for each repository. One
/// that leads to more is held, and nothing needs to be followed there.
const MAX_STRANGERS: u64 = 16_384;

/// And so many bytes of them.
const MAX_STRANGERS_BYTES: u64 = 1 << 30;
