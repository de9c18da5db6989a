//! Decides what is live: roots and manifests in, marks on the inventory out (G1).
//!
//! Repositories are marked one by one, many at a time, in any order: a mark is a bit that is only ever set. What stays for the
//! whole run is the [`Inventory`](crate::inventory::Inventory) (39 bytes for a stored blob), a cache of manifests of fixed size, and what the plan will
//! hold. What is known of one repository is dropped when it is done: 150 bytes for each of its directories, and what its manifests
//! name, 8 bytes for what is stored and a hundred for what is not, 32 MiB of it at most: what is beyond is read again.

mod arrivals;
pub mod blobs;
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
mod waiting;

pub use self::arrivals::arrivals;
pub use self::marks::{Counts, Marks};
pub use self::named::everything_named;
pub use self::repositories::{hold_shared, interrupted, planned, repositories};
pub use self::repository::mark;
pub use self::waiting::Waiting;
