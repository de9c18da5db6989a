//! A store in memory in the shape of an object store, for tests: it proves that the seam suits a bucket before there is any network code.
//!
//! - **Keys**: below them lies the tree of a [`MemoryStore`], which the backend fills and asks for its own needs; what directories are in it
//!   nobody sees.
//! - **Listings** come in pages of 1,000 and in no order, another one for each seed.
//! - **Requests** are counted by kind, and any one of them can fail: before it was carried out, or after that with its answer lost.
//! - **Quarantine** is that of a bucket with versions, where what was removed can be had back as it was, with its time.
//!
//! What is under keys of our own is kept apart from the tree, and conditions are kept for those keys alone.
//!
//! [`MemoryStore`]: super::MemoryStore

mod backend;
mod bucket;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod multiparts;
mod shelves;
#[cfg(test)]
mod tests;

pub(crate) use self::bucket::{Etags, Fails, ObjectStore, counted};
