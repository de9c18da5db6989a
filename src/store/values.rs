//! What a store answers: listings, contents, states of files.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::layout::{Shard, UploadPart};
use crate::oci::{Algorithm, Digest, RepositoryName};

/// Longer than any time that the registry writes.
pub(super) const START_BUFFER_BYTES: usize = 64;

/// Whether bytes may be the first ones of a JSON object.
pub(super) fn begins_as_object(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    bytes.first().is_none_or(|first| *first == b'{')
}

/// Reads the time in a `startedat`.
pub(super) fn started(text: &[u8]) -> Option<SystemTime> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    SystemTime::try_from(time).ok()
}

/// No registry accepts a larger manifest (distribution's limit is 4 MiB, others go up to this).
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Larger than nearly every manifest: one read tells all of what is no larger.
pub const SMALL_MANIFEST_BYTES: u64 = 64 << 10;

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
    pub(super) fn sorted(mut self) -> Listing<T> {
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
    /// Multipart uploads that were begun and not ended, under keys that are of no upload of a registry, and how many: its path is the first of
    /// the keys. Left alone.
    Multiparts(u64),
    /// Not to be seen: multipart uploads that were begun and not ended.
    Unseen(Unseen),
}

/// Why a server does not tell which multipart uploads were begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unseen {
    /// The credentials lack this right.
    Denied(&'static str),
    /// It has no request for that.
    Unsupported,
    /// Its answer is none to what was asked.
    NoAnswer,
}

impl StrayKind {
    /// Whether nothing may be removed behind it.
    pub fn sets_apart(self) -> bool {
        matches!(self, StrayKind::Symlink | StrayKind::Mount)
    }
}

/// What a store is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Files in directories. A directory is there by itself, and may be empty.
    Tree,
    /// Keys. A directory is what several of them have in common, and no more: none is empty. Listings tell sizes and times, and so that
    /// nothing is under a key.
    Keys,
}

/// Blobs that are listed in one go: those of one algorithm whose digests begin with one of some bytes. How many bytes is the store's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    algorithm: Algorithm,
    first: u8,
    last: u8,
}

impl Partition {
    /// The blobs of an algorithm whose digests begin with one of these bytes.
    pub fn new(algorithm: Algorithm, bytes: RangeInclusive<u8>) -> Partition {
        Partition { algorithm, first: *bytes.start(), last: *bytes.end() }
    }

    /// The algorithm of its blobs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes that their digests begin with.
    pub fn bytes(&self) -> RangeInclusive<u8> {
        self.first..=self.last
    }

    /// Whether a shard lies in it.
    pub fn holds(&self, shard: Shard) -> bool {
        shard.algorithm == self.algorithm && self.bytes().contains(&shard.byte)
    }
}

impl From<Shard> for Partition {
    fn from(shard: Shard) -> Partition {
        Partition::new(shard.algorithm, shard.byte..=shard.byte)
    }
}

/// A repository that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepositoryEntry {
    /// Its name.
    pub name: RepositoryName,
    /// Why nothing may be removed in it: it is reached through a symbolic link, one leads to it, or it is on another filesystem.
    pub foreign: Option<StrayKind>,
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

impl Upload {
    /// When it was last continued, as far as it says: by its files, or by its directory if it has none.
    pub fn last_continued(&self) -> SystemTime {
        let files = [self.started_file, self.data].into_iter().filter_map(|state| match state {
            FileState::File(stat) => Some(stat.modified),
            FileState::Absent | FileState::Irregular => None,
        });
        files.chain(self.started).max().unwrap_or(self.modified)
    }

    /// How much was sent so far.
    pub fn size_bytes(&self) -> u64 {
        match self.data {
            FileState::File(stat) => stat.size_bytes,
            FileState::Absent | FileState::Irregular => 0,
        }
    }
}

/// What lies in the directory of an upload, at any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadContents {
    /// What the registry keeps there, sorted.
    pub files: Vec<(UploadPart, Stat)>,
    /// Everything else but directories for that, sorted.
    pub others: Vec<PathBuf>,
    /// When the last of its directories was written to.
    pub modified: SystemTime,
    /// Its own directory.
    pub directory: Stat,
}

impl UploadContents {
    /// Nothing so far, in a directory like this.
    pub(super) fn of(directory: Stat) -> UploadContents {
        UploadContents { files: Vec::new(), others: Vec::new(), modified: directory.modified, directory }
    }

    /// Adds a file, given by its path and that of the upload.
    pub(super) fn add(&mut self, path: &Path, upload: &Path, state: FileState) {
        let part = path.strip_prefix(upload).ok().and_then(UploadPart::of_relative);
        match (part, state) {
            (_, FileState::Absent) => {}
            (Some(part), FileState::File(stat)) => self.files.push((part, stat)),
            _ => self.others.push(path.to_owned()),
        }
    }

    /// All of it, in order.
    pub(super) fn sorted(mut self) -> UploadContents {
        self.files.sort_unstable_by_key(|(part, _)| *part);
        self.others.sort_unstable();
        self
    }
}

/// Something that lies in a directory, beside what the layout has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its path, relative to the root.
    pub path: PathBuf,
    /// What it is.
    pub state: FileState,
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

/// Which file something is, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The filesystem.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

/// A file as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which file it is: the same one wherever it is moved on its filesystem. Nothing where files are nothing that a process can hold open.
    pub id: Option<FileId>,
    /// Size and modification time.
    pub stat: Stat,
    /// When anything about it last changed, by whatever moved or copied it too.
    pub changed: SystemTime,
}

impl Condition {
    /// When it was last written, moved or copied. Copies give files the old times of what they copy, but cannot give them an old
    /// time of change.
    pub fn touched(&self) -> SystemTime {
        self.stat.modified.max(self.changed)
    }
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
