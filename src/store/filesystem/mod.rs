//! A store on a local filesystem.
//!
//! - **Listing** trusts the layout: the names in `_layers/<algorithm>/`, `revisions/<algorithm>/` and the blob shards
//!   are digests, and directories with such names are never listed. Every other directory is listed once.
//! - **Symbolic links**: the root, `docker/registry/v2`, `repositories` and `blobs` may be links, as administrators
//!   make them; they are resolved once, when the store is opened. Further down a link to a directory is followed for
//!   reading and reported as a stray, a dangling link is an error, and nothing is ever removed through a link.
//! - **Mounts**: another filesystem mounted further down is treated like such a link.
//! - **Odd files**: a `link` or `data` is opened without waiting and without following; anything but a regular file is
//!   reported.
//! - **Removal** opens the directory beneath its base without following links, checks the file once more, and unlinks
//!   that name.
//! - **Network filesystems** work if they keep POSIX semantics; nothing here depends on inode numbers or `d_type`.

mod backend;
mod condition;
mod content;
mod directory;
mod files;
mod held;
mod known;
mod linked;
mod listing;
mod lock;
mod making;
pub(crate) mod mounts;
mod own;
mod parts;
mod removal;
mod repair;
mod repositories;
mod repository;
mod root;
mod shelf;
mod shelf_contents;
mod shelves;
mod store;
#[cfg(test)]
mod tests;
mod uploads;

pub use self::root::Root;
pub use self::store::FilesystemStore;
