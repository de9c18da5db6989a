//! Why something in a store is kept or not: what links it, which ways lead to it from tags and revisions, what a collection decides, and what
//! would be freed without it.

mod facts;
mod looking;
mod target;
mod values;

pub(crate) use self::looking::explain;
pub(crate) use self::target::Target;
pub use self::values::{ChainStep, ExplainedChain, Explanation, Fate, LinkPlace, MOST_LISTED, Relation};
