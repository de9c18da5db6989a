//! The store as the passes see it: repositories, tags, links and blobs, never keys or paths.
//!
//! [`Store`] reads, [`Vacuum`] removes. The seam speaks the layout's language so that an implementation can use what it knows:
//! the filesystem reads the names of digest directories and never enters them to look. What every implementation must do is
//! written as tests in `conformance.rs`.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;
use crate::layout::{LinkDirectory, Shard, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::system_files::is_system_file;

#[cfg(test)]
mod conformance;
pub mod directory;
pub mod dry_run;
pub mod filesystem;
pub mod lock;
pub mod memory;
pub mod own;
pub mod root;

pub use dry_run::DryRun;
pub use filesystem::FilesystemStore;
pub use memory::MemoryStore;

/// Longer than any time that the registry writes.
const START_BUFFER_BYTES: usize = 64;

/// Reads the time in a `startedat`.
fn started(text: &[u8]) -> Option<SystemTime> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    SystemTime::try_from(time).ok()
}

/// No registry accepts a larger manifest (distribution's limit is 4 MiB, others go up to this).
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// What a directory holds, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// What the layout knows.
    pub entries: Vec<T>,
    /// Everything else.
    pub strays: Vec<Stray>,
}

impl<T> Default for Listing<T> {
    fn default() -> Listing<T> {
        Listing { entries: Vec::new(), strays: Vec::new() }
    }
}

impl<T: Ord> Listing<T> {
    /// Sorts both lists: directories come in any order.
    fn sorted(mut self) -> Listing<T> {
        self.entries.sort_unstable();
        self.strays.sort_unstable();
        self
    }
}

/// An entry that is not what the layout has in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// Its path, relative to the root.
    pub path: PathBuf,
    /// What it is.
    pub kind: StrayKind,
}

/// What a stray entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StrayKind {
    /// A symbolic link to a directory, in the place of a directory. What is behind it is listed as if it were here, but nothing may
    /// be removed there: it may be anywhere.
    Symlink,
    /// A directory in which another filesystem is mounted. Treated like a symbolic link to a directory.
    Mount,
    /// What another program leaves in any directory: a NAS, NFS, a desktop. Left alone.
    SystemFile,
    /// Anything else that matches no rule. Left alone.
    Unrecognised,
}

impl StrayKind {
    /// Whether nothing may be removed behind it.
    pub fn sets_apart(self) -> bool {
        matches!(self, StrayKind::Symlink | StrayKind::Mount)
    }
}

/// A repository that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepositoryEntry {
    /// Its name.
    pub name: RepositoryName,
    /// Why nothing may be removed in it: it is reached through a symbolic link, one leads to it, or it is on another filesystem.
    pub set_apart: Option<StrayKind>,
}

/// What a tag's directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagContent {
    /// What `current/link` says.
    pub current: LinkContent,
    /// The digests that `index/` lists.
    pub history: Listing<Digest>,
}

/// What a `link` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkContent {
    /// A digest and nothing else.
    Digest(Digest),
    /// There is no such file.
    Absent,
    /// The file is empty.
    Empty,
    /// The file holds something else.
    Garbled,
    /// It is no regular file.
    Irregular,
}

/// What a blob that should be a manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestContent {
    /// Bytes that match the digest; they have been handed over.
    Verified,
    /// There is no such blob.
    Absent,
    /// The bytes do not match the digest.
    Corrupt,
    /// There are more than [`MAX_MANIFEST_BYTES`].
    TooLarge,
    /// It is no regular file.
    Irregular,
}

/// What the size and the first bytes of a blob say of it, before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestStart {
    /// Reading it will tell.
    Possible,
    /// It begins otherwise than a JSON object does.
    NotAnObject,
    /// There are more than [`MAX_MANIFEST_BYTES`].
    TooLarge,
}

/// Size and age of a file or directory: what a target is checked against just before it is removed.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Size in bytes; 0 for a directory.
    pub size_bytes: u64,
    /// When it was last modified.
    pub modified: SystemTime,
    /// When it came to be where it is, if the store tells.
    pub arrived: Option<Arrival>,
}

impl Stat {
    /// Of something of which nothing else is known.
    pub fn new(size_bytes: u64, modified: SystemTime) -> Stat {
        Stat { size_bytes, modified, arrived: None }
    }
}

/// What a writer leaves: size and modification time. A change time is another after a rename.
impl PartialEq for Stat {
    fn eq(&self, other: &Stat) -> bool {
        (self.size_bytes, self.modified) == (other.size_bytes, other.modified)
    }
}

impl Eq for Stat {}

/// When a file came to be where it is. A copy that keeps modification times makes a new file all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// When it was made. Neither a rename nor a new owner changes that.
    Born(SystemTime),
    /// When anything about it last changed, where the filesystem tells no time of birth.
    Changed(SystemTime),
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The name of its directory.
    pub id: OsString,
    /// When its directory was last written to.
    pub modified: SystemTime,
    /// Its `startedat`.
    pub started_file: FileState,
    /// What that says, if it says a time.
    pub started: Option<SystemTime>,
    /// Its `data`: what has been sent so far.
    pub data: FileState,
}

/// Something that lies in a directory, beside what the layout has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its path, relative to the root.
    pub path: PathBuf,
    /// What it is.
    pub leaf: FileState,
}

/// What is at the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// A regular file.
    File(Stat),
    /// Nothing.
    Absent,
    /// Something that is no regular file.
    Irregular,
}

/// What reading a blob to its end came to.
#[derive(Debug)]
pub enum BlobContent {
    /// All its bytes have been handed over. What the file was when it was opened.
    Whole(Stat),
    /// There is no such blob.
    Absent,
    /// It is no regular file.
    Irregular,
    /// It could not be opened, or not be read from there on.
    Failed {
        /// How many bytes had been read.
        offset: u64,
        /// Why it ended there.
        source: std::io::Error,
    },
    /// Whoever was handed the bytes wanted no more.
    Abandoned,
}

/// Whether to go on without a directory, by why it cannot be listed.
pub type Unlisted<'a> = &'a mut dyn FnMut(Error) -> Result<(), Error>;

/// Read access to a registry's storage.
///
/// A method returns an [`Error`] only when it cannot tell what is there. Things that are absent or odd are values.
pub trait Store: Sync {
    /// Every directory under `repositories/` that holds `_manifests`, `_layers` or `_uploads`, at any depth.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or a symbolic link leads nowhere.
    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error>;

    /// The same without the directories that cannot be listed, and what lies in them: `unlisted` is given why, and says whether to go on.
    /// Never for what removes anything: what was not seen may need everything.
    ///
    /// # Errors
    ///
    /// As above, where `unlisted` returns the error that it is given.
    fn listable_repositories(&self, _unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.repositories()
    }

    /// What is in `_manifests` beside `revisions` and `tags`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    fn manifest_strays(&self, repository: &RepositoryName) -> Result<Vec<Stray>, Error>;

    /// The repository's tags.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    fn tags(&self, repository: &RepositoryName) -> Result<Listing<TagName>, Error>;

    /// What one tag names, and named before.
    ///
    /// # Errors
    ///
    /// When its directories cannot be listed or its link not be read.
    fn tag(&self, repository: &RepositoryName, tag: &TagName) -> Result<TagContent, Error>;

    /// The digests that have a directory in a directory of links. Whether the `link` is in there is not looked at.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed.
    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error>;

    /// Reads the links of the digests given, in that order.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error>;

    /// Reads the links of the digests given and looks at their files, in that order.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error>;

    /// Looks at the link files of the digests given, in that order.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at.
    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error>;

    /// The uploads that were begun in a repository and not ended.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or what is in it not be looked at.
    fn uploads(&self, repository: &RepositoryName) -> Result<Listing<Upload>, Error>;

    /// Everything in a directory but the names given, sorted. `directory` is relative to the root; one that is not there holds nothing.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed, or what is in it not be looked at.
    fn leftovers(&self, directory: &Path, known: &[&str]) -> Result<Vec<Leftover>, Error>;

    /// The directories that blobs are kept in.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed.
    fn shards(&self) -> Result<Listing<Shard>, Error>;

    /// Calls `each` with the digests that have a directory in a shard, in no order, and returns what else is in it. Whether `data` is
    /// in those directories is not looked at.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    fn blobs(&self, shard: Shard, each: &mut dyn FnMut(&Digest)) -> Result<Vec<Stray>, Error>;

    /// Looks at the `data` files of blobs of one shard, in that order.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at.
    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error>;

    /// When anything about a blob's file last changed, by whatever moved or copied it too; nothing where the store does not tell.
    fn blob_changed(&self, digest: &Digest) -> Option<SystemTime> {
        let _ = digest;
        None
    }

    /// Reads a blob that should be a manifest, and checks it against its digest. Calls `read` with the bytes if they match.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error>;

    /// Whether a blob may be a manifest, by its size and its first bytes: what lists layers where manifests stand must not have them
    /// read. Small files, and what is not there or no regular file, are left to [`Store::manifest`].
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        let _ = digest;
        Ok(ManifestStart::Possible)
    }

    /// Reads a blob of any size and calls `each` with its bytes, part by part, until it breaks off. What of the file was not in the
    /// page cache before is not left there.
    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent;

    /// Where a symbolic link leads, relative to the root; nothing if that is outside the store.
    ///
    /// # Errors
    ///
    /// When it cannot be followed.
    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error>;

    /// Whether all that lies in a directory is what a NAS, NFS or a desktop left there: it is as good as empty, and stays.
    ///
    /// # Errors
    ///
    /// When it cannot be listed.
    fn holds_only_system_files(&self, directory: &Target) -> Result<bool, Error> {
        let entries = self.leftovers(&directory.path(), &[])?;
        let is_system_file = |entry: &Leftover| {
            let is_directory = !matches!(entry.leaf, FileState::File(_));
            entry.path.file_name().is_some_and(|name| is_system_file(name.as_encoded_bytes(), is_directory))
        };
        Ok(!entries.is_empty() && entries.iter().all(is_system_file))
    }

    /// Looks at a directory that a removed file left behind: its age if it is an empty directory, nothing otherwise.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error>;
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was removed.
    Removed,
    /// It was not there any more.
    AlreadyGone,
    /// It is not what the plan saw; it was left alone. Says what differs.
    Changed(&'static str),
}

/// What a repository keeps in which a link is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepsNow {
    /// Nothing but what its remaining links name: nobody else is at work.
    AsPlanned,
    /// These digests, and what its remaining links name.
    Digests(Vec<Digest>),
    /// Anything: somebody writes where nobody should be at work.
    Anything,
}

/// Removes targets from a registry's storage.
pub trait Vacuum: Sync {
    /// Looks at the target once more, removes exactly that file or empty directory if it is as `planned`, and then the directory that
    /// its digest names if that is empty.
    ///
    /// # Errors
    ///
    /// When the target is as planned and cannot be removed.
    fn remove(&self, target: &Target, planned: &Stat) -> Result<Removal, Error>;

    /// What a repository keeps by now in which a link was left: because it is not as planned any more (`is_changed`), or because it could
    /// not be removed.
    ///
    /// # Errors
    ///
    /// When that cannot be told: then it may be anything.
    fn keeps_now(&self, repository: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error>;

    /// Returns once everything removed so far is gone for good, also after a power cut.
    ///
    /// # Errors
    ///
    /// When that cannot be had.
    fn barrier(&self) -> Result<(), Error>;
}
