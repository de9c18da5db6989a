//! What leads from the tags and revisions of one repository to its blobs, and what images say of themselves: for whoever explains a
//! store to people. What is live is decided by [`mark`](crate::mark), never here.

mod chains;
mod graph;
mod pushes;
mod said;

pub(crate) use self::chains::{Chains, Sought, Step};
pub(crate) use self::graph::{Lineage, Place};
pub(crate) use self::pushes::pushes;
pub(crate) use self::said::Said;
