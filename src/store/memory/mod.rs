//! A store in memory, for tests and benches: the same tree as on disk, as a sorted map of paths, with a lock, notes and a quarantine.

mod backend;
mod listing;
mod repair;
mod repository;
mod shelf;
mod store;
#[cfg(test)]
mod tests;

pub(super) use self::listing::{list, list_digests};
pub use self::store::MemoryStore;
#[cfg(test)]
pub(super) use self::store::Node;
