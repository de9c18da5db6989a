//! Decides what is live: roots and manifests in, marks on the inventory out (G1).
//!
//! Repositories are marked in parallel and in any order: a mark is a bit that is only ever set. The
//! [`Inventory`](crate::inventory::Inventory) (39 bytes per stored blob), a cache of manifests of fixed size, and the
//! rows of the plan live for the whole run. The facts about one repository are dropped when it is done: 150 bytes per
//! directory, and the references of its manifests, 8 bytes per stored and a hundred per missing digest, 32 MiB at most;
//! manifests beyond that are read again.

mod arrivals;
pub mod blobs;
mod choices;
mod depths;
mod held;
mod inspect;
mod marks;
mod named;
mod notes;
mod reach;
mod repositories;
mod repository;
mod roots;
#[cfg(test)]
mod tests;
mod unreached;
mod uploads;
mod waiting;
mod whole;

pub use self::arrivals::arrivals;
pub use self::marks::{Counts, Marks};
pub use self::named::everything_named;
pub use self::repositories::{hold_shared, interrupted, planned, repositories};
pub use self::repository::mark;
pub use self::uploads::of_the_future;
pub use self::waiting::Waiting;
pub use self::whole::Stays;
