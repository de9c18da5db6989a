//! How the tags and revisions of one repository lead to its blobs, and what images state about themselves, for display.
//! [`mark`](crate::mark) decides what is live, never this module.

mod chains;
mod graph;
mod image_info;
mod lost;
mod pushes;

pub(crate) use self::chains::{Chains, Sought, Step};
pub(crate) use self::graph::{Lineage, Place};
pub(crate) use self::image_info::ImageInfo;
pub(crate) use self::lost::{Content, content};
pub(crate) use self::pushes::pushes;
