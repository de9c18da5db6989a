//! Repairing: links that are made again. The only writer of what a registry reads.

use super::values::Stat;
use crate::error::Error;
use crate::layout::Target;

/// The result of making a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The link is there now.
    Made,
    /// Another file is in its place. It was left alone.
    Exists,
    /// The file that it was to replace is not as planned. It was left alone. Says what differs.
    Changed(&'static str),
}

/// Makes links in a registry's storage. A link holds the digest of its target, and nothing else can be written.
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
}
