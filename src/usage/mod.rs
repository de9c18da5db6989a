//! What takes the room of a store: how much each repository, tag or kind of image reaches, how much of that it holds alone, and what
//! nothing needs. Sizes are those of the files.
//!
//! A row holds a blob *alone* if deleting what the row stands for would free it, once untagged revisions are collected. That needs no
//! set of owners for each blob: none, one and several are all that there is to know, in a word beside the inventory. What a row
//! reaches in all is counted while its repository is looked at.

mod accounts;
mod grouped;
mod grouping;
mod keeping;
mod rows;
mod sizes;
mod whole;

pub(crate) use self::grouping::Grouping;
pub(crate) use self::keeping::{Kept, LIVE, look};
pub use self::rows::{UsageRow, sorted};
pub(crate) use self::sizes::sizes;
pub use self::whole::StoreUsage;
pub(crate) use self::whole::whole;
