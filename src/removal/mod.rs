//! What an operator asked for by name: repositories, tags and manifests in, a retention without them out, or why they may not go.
//!
//! All of it goes, or nothing does: what is not there, and what something that stays needs, is refused before anything is changed.

mod asked;
mod gather;

pub use self::asked::{Asked, Removal, RemovedFrom};
pub use self::gather::Removed;
pub(crate) use self::gather::{Outcomes, gather};
