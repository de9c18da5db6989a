//! Who needs a blob: from damage to the tags that it breaks.
//!
//! Walks what manifests name, as marking does, from each tag's target and from the revisions that no tag reaches. Every repository
//! costs its edges; only one that reaches something damaged costs more.

mod named;
mod needs;
mod platform;
mod sizes;
#[cfg(test)]
mod tests;
mod ways;

pub(crate) use self::needs::dependents;
pub(crate) use self::platform::platform;
pub(crate) use self::sizes::{size_mismatches, stated_otherwise};
