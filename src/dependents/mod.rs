//! The images that need a blob: from damage to the tags that it breaks.
//!
//! Walks the manifests as marking does, from the target of each tag and from the revisions that no tag reaches. The cost is
//! the edges of every repository; only a repository that reaches damage costs more.

mod named;
mod needs;
mod platform;
mod search;
mod sizes;
#[cfg(test)]
mod tests;

pub(crate) use self::named::size_mismatch;
pub(crate) use self::needs::dependents;
pub(crate) use self::platform::platform;
pub(crate) use self::sizes::{size_mismatches, stated_otherwise, wrong_sizes};
