//! What a store holds, as people ask for it: repositories as the registry's catalogue has them, tags with their platforms, revisions that
//! no tag leads to. Facts and no judgement.

mod repositories;
mod sizes;
mod tags;
mod values;

pub(crate) use self::repositories::{repository, untagged};
pub(crate) use self::sizes::sizes_of;
pub(crate) use self::tags::tags;
pub use self::values::{ListedPlatform, ListedRepository, ListedRevision, ListedTag, TagState};
