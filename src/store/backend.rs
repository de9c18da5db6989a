//! The place where a registry's storage is, with all that a command needs of it.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::filesystem::Root;
use super::object::{RequestCounts, Versions};
use super::reading::Store;
use super::removing::Vacuum;
use super::repairing::Repair;
use super::shelf::Shelves;
use crate::error::Error;

/// A registry's storage, wherever it is. Chosen once, when a command begins; what comes after speaks of this and of nothing behind it.
pub trait Backend: Debug + Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> &Path;

    /// Where it is on this machine, for those who look for processes, mounts and owners; nothing for what no path leads to.
    fn root(&self) -> Option<&Root>;

    /// What it holds.
    fn store(&self) -> &dyn Store;

    /// What removes from it for good.
    fn vacuum(&self) -> &dyn Vacuum;

    /// What makes links in it; nothing where that cannot be done.
    fn repair(&self) -> Option<&dyn Repair>;

    /// Where things lie that were quarantined.
    fn shelves(&self) -> &dyn Shelves;

    /// What we have written down beside it.
    fn notes(&self) -> &dyn Notes;

    /// What it consists of that may be missing.
    fn parts(&self) -> &dyn Parts;

    /// Takes the lock that keeps two regsweeps out of each other's way, and waits for it up to `wait`. `now` is what whoever is refused is
    /// told.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another one still holds it then; [`Error::Interrupted`] when `stop` became true meanwhile; [`Error::Io`] when it
    /// cannot be had at all.
    fn lock(&self, access: Access, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<Box<dyn LockGuard>, Error>;

    /// Whether there is a file or directory of that name beside what the registry keeps, relative to its root.
    ///
    /// # Errors
    ///
    /// When nobody can tell.
    fn has(&self, relative: &str) -> Result<bool, Error>;

    /// Why its blobs may be another store's as well, in words.
    ///
    /// # Errors
    ///
    /// When that cannot be seen.
    fn shared_blobs(&self) -> Result<Option<String>, Error>;

    /// Whether a path of this machine, symbolic links resolved, leads into it, and where.
    fn holds(&self, path: &Path) -> Option<Inside>;

    /// Bytes that an unprivileged writer could still write; nothing where that has no meaning or is not told.
    fn free_bytes(&self) -> Option<u64>;

    /// What was asked of its server so far; nothing where there is none.
    fn requests(&self) -> Option<RequestCounts>;

    /// Whether it keeps what is removed, and the room that takes; nothing where that has no meaning.
    fn versions(&self) -> Option<Versions>;

    /// What tells it from any other, also from a copy of itself.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn identity(&self) -> Result<Identity, Error>;
}

/// What somebody wants a lock for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look: many may at once.
    Look,
    /// To remove for good, and for nothing else: one may, and nobody who takes the lock looks meanwhile.
    Remove,
    /// To change things in any way, as for a quarantine: the same.
    Change,
}

/// A lock, until it is dropped.
pub trait LockGuard: Debug + Send + Sync {
    /// Whether another regsweep is kept out. If not, one may be changing the store meanwhile, and what is missing has to be looked at
    /// again before it is told.
    fn is_held(&self) -> bool;

    /// Why no lock can be had of this store's server, if that is so: then the operator has to vouch that no other regsweep works on it.
    fn unlockable(&self) -> Option<&'static str>;
}

/// Where in a store a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Into what the registry keeps.
    Registry,
    /// Among what we have written down.
    Ours,
}

/// Small files of our own beside the registry's, by their names.
pub trait Notes: Sync {
    /// Reads one; nothing if there is none.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read, or is not ours.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Replaces one in one step, and returns once it is on the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written. The old one stands then.
    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error>;

    /// Removes one. One that is not there is no error.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    fn remove(&self, name: &str) -> Result<(), Error>;

    /// Where one is, for people.
    fn at(&self, name: &str) -> std::path::PathBuf;
}

/// A part of a store that may be missing while the rest is there, or be another one: what is mounted in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is: relative to the root where it is below it.
    pub name: String,
    /// What tells it from another one in its place, the same after each start of the machine; nothing where the filesystem does not say.
    pub identity: Option<String>,
}

/// The parts of a store, by the names that [`Parts::present`] gives them.
pub trait Parts: Sync {
    /// Those that are there and hold something. `links` are the symbolic links that were met, and everything that was reached through one.
    fn present(&self, links: &mut dyn Iterator<Item = &Path>) -> Vec<Part>;

    /// Holds these from now on, so that others that come in their places are not taken for them. One that is another one already is not held.
    fn hold(&self, parts: &[Part]);

    /// Whether one has been there since it was held, and holds something.
    fn is_held(&self, name: &str) -> bool;
}

/// What tells a store from any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Where it is: symbolic links resolved, if that is a path.
    pub place: std::path::PathBuf,
    /// What the system calls the filesystem, or the bucket, that the blobs are in.
    pub filesystem: u64,
    /// And the directory of the blobs on it.
    pub directory: u64,
}
