//! Where things lie that were quarantined: a shelf for each run.
//!
//! What a run is, how long it waits and what may go is the [protocol's](crate::quarantine). Here is what a store can do with files that are
//! out of the registry's sight: take them, give them back, say what they are, and let them go.

use std::fmt::Debug;
use std::path::Path;
use std::time::SystemTime;

use super::removing::{Directories, Planned, Removal};
use super::values::{Condition, ManifestContent, Stat};
use crate::error::Error;
use crate::layout::Target;
use crate::oci::Digest;

/// All shelves of a store.
pub trait Shelves: Sync {
    /// Where they are, for people.
    fn place(&self) -> std::path::PathBuf;

    /// Those that there are, of names that `is_run` takes, in no order. Makes nothing.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    fn list<'s>(&'s self, is_run: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Shelf + 's>>, Error>;

    /// Makes an empty one; nothing if there is one of that name.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or [`Shelves::ensure_possible`] says no.
    fn make<'s>(&'s self, name: &str) -> Result<Option<Box<dyn Shelf + 's>>, Error>;

    /// Makes sure that things can be moved there, and back, in one step each. Makes nothing. `instead` is what to do where they cannot.
    ///
    /// # Errors
    ///
    /// When they cannot.
    fn ensure_possible(&self, instead: &str) -> Result<(), Error>;

    /// Makes sure that each of these could be given back where it was. `instead` says what to do if it cannot.
    ///
    /// # Errors
    ///
    /// When the place of one is mounted apart.
    fn ensure_returnable(&self, targets: &mut dyn Iterator<Item = &Target>, instead: &str) -> Result<(), Error>;

    /// Makes sure that there is room for so many files, with so many directories for them. Makes nothing.
    ///
    /// # Errors
    ///
    /// When there is less than that takes at least, or nothing can be moved at all.
    fn ensure_room(&self, files: u64, directories: u64) -> Result<(), Error>;
}

/// Something that lies on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it was.
    pub target: Target,
    /// What it is.
    pub stat: Stat,
    /// When anything about it last changed; our own rename does that too.
    pub changed: SystemTime,
}

/// All that lies on a shelf, sorted.
#[derive(Debug, Default)]
pub struct Contents {
    /// What has a place in the registry's layout.
    pub held: Vec<Held>,
    /// How much else there is, beside the stamps.
    pub unrecognised: u64,
    /// How much of what has a place there was no room for.
    pub more: u64,
}

/// What became of a file that was to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It is where it was.
    Back,
    /// Something is in its place; it stays on the shelf.
    Replaced,
    /// It is not on the shelf.
    Absent,
}

/// What one run has quarantined. What lies on a shelf is never replaced.
pub trait Shelf: Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Where it is, for people.
    fn place(&self) -> &Path;

    /// Reads one of its stamps, small files that say what it is; nothing if there is none of that name.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    fn read_stamp(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Replaces a stamp in one step, and returns once it is on the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written. The old one stands then.
    fn write_stamp(&self, name: &str, text: &[u8]) -> Result<(), Error>;

    /// Gives a stamp another name, which takes no room, and returns once that is on the disk.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    fn rename_stamp(&self, from: &str, to: &str) -> Result<(), Error>;

    /// When a stamp was written, by the store's clock.
    ///
    /// # Errors
    ///
    /// When it is not there, or cannot be looked at.
    fn stamp_written(&self, name: &str) -> Result<SystemTime, Error>;

    /// All that lies on it but `stamps`, of which no more than `room` files are held: the rest are counted.
    ///
    /// # Errors
    ///
    /// When it cannot be listed.
    fn contents(&self, stamps: &[&str], room: u64) -> Result<Contents, Error>;

    /// Moves a target here that is as planned.
    ///
    /// # Errors
    ///
    /// When it is as planned and cannot be moved.
    fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error>;

    /// Gives a file that is as planned a second place here. The first one remains.
    ///
    /// # Errors
    ///
    /// When it is as planned and cannot have two places, or something lies here.
    fn keep(&self, planned: &Planned<'_>) -> Result<Removal, Error>;

    /// Moves a target back over the link that was made in its place: one that holds its digest and was not written to after `until`, if given.
    /// Where the store still has the same file, it goes from here. Replaces nothing else, and no blob: its bytes may be nowhere else.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    fn give_back_over(&self, target: &Target, until: Option<SystemTime>) -> Result<Return, Error>;

    /// Moves a target to where it was. Replaces nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    fn give_back(&self, target: &Target) -> Result<Return, Error>;

    /// Removes a target for good if the store has the same in its place, byte for byte: what is there may be half of what it should be, and
    /// ours the only whole one. Says whether it did.
    ///
    /// # Errors
    ///
    /// When nobody can tell, or it cannot be removed.
    fn drop_copy(&self, target: &Target) -> Result<bool, Error>;

    /// Removes a target for good. Says whether it was there.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    fn drop_for_good(&self, target: &Target) -> Result<bool, Error>;

    /// A target as it is now; nothing if it is not here.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn condition(&self, target: &Target) -> Result<Option<Condition>, Error>;

    /// Whether a target is, byte for byte, what its digest says: a blob's content has that digest, a link's is that digest.
    ///
    /// # Errors
    ///
    /// When it is not there, or cannot be read to its end.
    fn is_whole(&self, target: &Target) -> Result<bool, Error>;

    /// What a link says, if it is here and says a digest.
    fn read_link(&self, target: &Target) -> Option<Digest>;

    /// Reads a blob that should be a manifest, as [`Store::manifest`](super::Store::manifest) does one in the store.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error>;

    /// Removes the shelf, `stamps` and all, if nothing else lies on it. Says whether it is gone.
    ///
    /// # Errors
    ///
    /// When that cannot be told, or not be done.
    fn remove_if_empty(&self, stamps: &[&str]) -> Result<bool, Error>;
}
