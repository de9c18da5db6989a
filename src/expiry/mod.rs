//! Which tags a policy of an operator keeps, and which go: rules and facts in, choices with their reasons out.
//!
//! What goes here loses its tag. What becomes of its image is judged by [`plan`](crate::plan), as for every collection.

mod chosen;
mod gather;
mod judge;
mod protect;
mod rules;
mod version;

pub use self::chosen::{Chosen, DroppedIn};
pub(crate) use self::gather::gather;
pub use self::gather::{Expired, Note, Verdict};
pub use self::judge::{Fate, Kept};
pub use self::protect::ProtectList;
pub use self::rules::{Order, Rule, Rules};
