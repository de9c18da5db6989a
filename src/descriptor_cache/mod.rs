//! The redis in which registries remember blobs (`storage.cache.blobdescriptor: redis`): what it claims, and how it is made to forget.
//!
//! A registry believes a key that is there: it accepts images whose blobs are gone for as long as the key stays, and no restart ends that.
//! It writes three kinds of keys, in this order:
//!
//! | Key | Holds |
//! | --- | --- |
//! | `repository::<name>::blobs` | a set: the digests that the repository has |
//! | `blobs::<digest>` | a hash: the blob's digest, size and media type |
//! | `repository::<name>::blobs::<digest>` | a hash: the media type in the repository |
//!
//! It believes that a repository has a blob if the digest is in the set *and* the blob's own key is there. So that key is what claims a
//! blob, and it is removed first: from it a request sets the others again, and not the other way round. A digest of another algorithm
//! names the blob that it stands for in its hash.
//!
//! Names in a redis are whatever somebody has put there. They are compared as bytes, and never printed or followed.

mod claims;
mod connection;
mod flush;
mod forget;
mod keys;

pub use self::flush::AreGone;
pub use self::forget::{Forgotten, RedisCache};
