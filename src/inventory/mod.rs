//! Every stored blob and its facts: a table that is listed once, the memory of a run.

mod listed;
mod ownership;
mod spill;
mod states;
mod table;

pub(crate) use self::ownership::{Holder, MaskWords, Ownership, Whose};
pub use self::spill::{Budget, MEMORY_BESIDE};
pub(crate) use self::spill::{Room, SetAside};
pub use self::table::{BlobId, Inventory, MarkFlags};
