//! Disk usage of a store: how much each repository, tag or kind of image reaches, how much of that it holds alone, and what
//! nothing needs. Sizes are file sizes.
//!
//! A row holds a blob *alone* if deleting the content of the row frees the blob, once untagged revisions are collected.
//! That requires no set of owners for each blob: a word beside the inventory records none, one or several. What a row
//! reaches in all is counted while its repository is scanned.

mod accounts;
mod grouped;
mod grouping;
mod keeping;
mod rows;
mod sizes;
mod whole;
mod young;

pub(crate) use self::grouping::Grouping;
pub(crate) use self::keeping::{Kept, LIVE, look};
pub use self::rows::{UsageRow, sorted};
pub(crate) use self::sizes::sizes;
pub use self::whole::StoreUsage;
pub(crate) use self::whole::whole;
pub use self::young::UntaggedYoung;
