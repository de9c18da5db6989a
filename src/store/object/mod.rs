//! A store in a bucket: an object store that speaks S3.
//!
//! - **Keys** and nothing else: a directory is what several of them have in common. Keys lie below the registry's root in the bucket, and are
//!   spoken of relative to it.
//! - **Listings** tell sizes, times and ETags, in pages and in any order. A repository is one listing, and so is each partition of the blobs;
//!   an open repository answers from what its listing said. A link is not read where its ETag is the MD5 of the content that its place implies.
//! - **[`Requests`]** is all that is asked of a bucket. `s3` asks a real one, a bucket in memory plays one for tests.
//!
//! - **Removing**: right before keys go they are looked at once more, and only what an answer lists as removed counts.
//! - **The lock** is an object with a lease, made and replaced under conditions. A server that ignores these is found out.
//!
//! What no directory can be named is no path: keys with empty, `.` or `..` parts, or with a slash at their end, are strays, whatever else they
//! look like. They are reported and left alone.

mod backend;
mod holder;
mod keys;
mod lease;
mod lock;
mod multiparts;
mod notes;
mod removal;
mod repository;
mod requests;
mod s3;
mod settings;
mod store;

pub use self::backend::BucketStore;
#[cfg(test)]
pub(in crate::store) use self::lock::NoLock;
#[cfg(test)]
pub(in crate::store) use self::repository::etag_of;
#[cfg(test)]
pub(in crate::store) use self::requests::{
    If, KEYS_AT_ONCE, Level, Listed, Multipart, Object, Put, Refusal, Requests, Seen, Sent, Told,
};
pub use self::requests::{Request, RequestCounts, Versions};
pub use self::settings::{AccessKeys, BucketSettings};
#[cfg(test)]
pub(crate) use self::store::ObjectStore;
