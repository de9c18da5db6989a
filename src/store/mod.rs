//! The store as the passes see it: repositories, tags, links and blobs, never keys or paths.
//!
//! [`Store`] reads, and a [`Repository`] that it opened; [`Vacuum`] removes, [`Repair`] makes links, [`Shelves`] hold what was quarantined, and a [`Backend`] has them all, with the lock and our own notes.
//! The seam speaks the layout's language so that an implementation can use what it knows: the filesystem reads the names of digest
//! directories and never enters them to look. What every implementation and everything that wraps one must do is written as tests in
//! `conformance`.

mod backend;
#[cfg(test)]
mod conformance;
mod dry_run;
pub mod filesystem;
mod manifest_cache;
mod memory;
mod object;
#[cfg(test)]
mod objects_in_memory;
mod reading;
mod removing;
mod repairing;
mod repository;
mod shelf;
mod values;

pub use self::backend::{Access, Backend, Identity, Inside, LockGuard, Notes, Part, Parts};
pub use self::dry_run::DryRun;
pub use self::filesystem::{FilesystemStore, Root};
pub use self::memory::MemoryStore;
pub use self::object::{AccessKeys, BucketSettings, BucketStore, Request, RequestCounts, Versions};
#[cfg(test)]
pub(crate) use self::objects_in_memory::{Etags, Fails, ObjectStore, counted};
pub use self::reading::{EachBlob, Store, Unlisted, holds_only_system_files, stat_target, stat_targets};
pub use self::removing::{Directories, KeepsNow, Planned, Removal, Vacuum};
pub(crate) use self::repairing::OTHER_BYTES;
pub use self::repairing::{Made, Repair, WriteBlob};
pub use self::repository::Repository;
pub use self::shelf::{Contents, Held, Return, Shelf, Shelves};
pub use self::values::{
    Arrival, BlobContent, Condition, FileId, FileState, Leftover, LinkContent, Listing, MAX_MANIFEST_BYTES, ManifestContent,
    ManifestStart, Partition, RepositoryEntry, SMALL_MANIFEST_BYTES, Shape, Stat, Stray, StrayKind, TagContent, Unseen, Upload,
    UploadContents,
};
