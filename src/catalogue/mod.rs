//! Listings of a store: repositories as in the registry's catalogue, tags with their platforms, and revisions that no tag
//! leads to. States facts and judges nothing.

mod repositories;
mod sizes;
mod tags;
mod values;

pub(crate) use self::repositories::{repository, untagged};
pub(crate) use self::sizes::sizes_of;
pub(crate) use self::tags::tags;
pub use self::values::{ListedPlatform, ListedRepository, ListedRevision, ListedTag, TagState};
