//! Explains why content is kept or not: its links, the chains that lead to it from tags and revisions, the decision of a
//! collection, and what deleting it would free.

mod facts;
mod looking;
mod target;
mod values;

pub(crate) use self::looking::explain;
pub(crate) use self::target::Target;
pub use self::values::{ChainStep, ExplainedChain, Explanation, Fate, LinkPlace, MOST_LISTED, Relation};
