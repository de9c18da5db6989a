//! Manifests that were read before, kept from run to run, so that a run on an unchanged store does not read them again.
//!
//! - **What is kept** is the bytes of each manifest. They prove themselves: nothing is taken from the cache that does not hash to the digest
//!   that was asked for, so whatever becomes of the file, no reference of a manifest is lost by it, and a parser that learns more sees more
//!   in what was kept before. Of a large blob that is no JSON object that alone is kept.
//! - **When it is believed**: a blob is taken from it only if the store says of the blob now what it said when it was read: size, time and
//!   ETag in a bucket; size, times and inode in a directory. Damage that a listing shows is read, and a blob that is in no listing is not
//!   there.
//! - **Doubt**: a file that is damaged, of another version, of another store, or that others could have written is dropped and said, once a
//!   run. No run fails for its cache.
//! - **What is not kept**: what holds an image's configuration, whose environment may have secrets.
//!
//! One file for each store, replaced as a whole when a run ends. Runs at the same time read what they opened, and the last one's stands.

mod cache;
mod entry;
mod file;
mod spool;
#[cfg(test)]
mod tests;

pub(in crate::store) use self::cache::{Kept, ManifestCache};
pub(in crate::store) use self::entry::Witness;
