//! Repairing: links and blobs that are made again. The only writer of what a registry reads.

use std::io;

use super::values::Stat;
use crate::error::Error;
use crate::layout::Target;
use crate::oci::Digest;

/// What differs of a blob that was not made.
pub(crate) const OTHER_BYTES: &str = "its bytes do not match its digest";

/// Why an upload is not made.
pub(super) const NO_LINK: &str = "it is no link";

/// The result of making a link or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there now.
    Made,
    /// Another file is in its place. It was left alone.
    Exists,
    /// The file that it was to replace is not as planned, or its bytes are not those of its digest. Nothing was made. Says what differs.
    Changed(&'static str),
}

/// Writes the bytes of a blob.
pub type WriteBlob<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>;

/// Makes links and blobs in a registry's storage. A link holds the digest of its target, a blob the bytes that match its digest: nothing else can
/// be written.
pub trait Repair: Sync {
    /// Makes sure that links can be made in one step. Makes nothing.
    ///
    /// # Errors
    ///
    /// When they cannot.
    fn ensure_possible(&self) -> Result<(), Error>;

    /// Makes sure that a link can be made as the registry would make it: with the owner and the mode of its directory. Makes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot.
    fn ensure_writable(&self, target: &Target) -> Result<(), Error>;

    /// Makes one link in one step, and returns once it is on the disk. Replaces the file that `replaced` describes, and no other.
    ///
    /// # Errors
    ///
    /// When it cannot be made. The file before it then remains.
    fn make_link(&self, target: &Target, replaced: Option<&Stat>) -> Result<Made, Error>;

    /// Makes one blob in one step from what `write` writes, if that matches its digest, and returns once it is on the disk. Replaces the file
    /// that `replaced` describes, and no other.
    ///
    /// # Errors
    ///
    /// When `write` fails, or it cannot be made. The file before it then remains.
    fn make_blob(&self, digest: &Digest, replaced: Option<&Stat>, write: WriteBlob<'_>) -> Result<Made, Error>;
}
