//! Reading one repository: what every implementation of a store answers of it.

use std::ffi::OsStr;
use std::time::SystemTime;

use super::values::{FileState, Leftover, LinkContent, Listing, Stat, Stray, TagContent, Upload, UploadContents};
use crate::error::Error;
use crate::layout::LinkDirectory;
use crate::oci::{Algorithm, Digest, TagName};

/// A repository that was [opened](super::Store::open).
///
/// What it answers is as of when it was opened, or later, as the store likes: a bucket lists all of it then, with sizes, times and ETags, and
/// answers from that; a filesystem lists and looks when it is asked. Who has to look afresh opens it anew. It is dropped when a pass is done
/// with the repository, and what it has in memory with it.
///
/// All directories of links that are given to it are its own.
pub trait Repository: Send + Sync {
    /// Whether a directory of its own is there, one of [`MARKERS`](crate::layout::MARKERS): by these a registry tells a repository.
    ///
    /// # Errors
    ///
    /// When nobody can tell.
    fn has_directory(&self, marker: &str) -> Result<bool, Error>;

    /// The digests that have a directory in a directory of links. Whether the `link` is in there is not looked at.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed.
    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error>;

    /// What is in `_manifests` beside `revisions` and `tags`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    fn manifest_strays(&self) -> Result<Vec<Stray>, Error>;

    /// The tags.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    fn tags(&self) -> Result<Listing<TagName>, Error>;

    /// What one tag names, and named before.
    ///
    /// # Errors
    ///
    /// When its directories cannot be listed or its link not be read.
    fn tag(&self, tag: &TagName) -> Result<TagContent, Error>;

    /// What is in the place of a tag's `current/link`.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn stat_tag(&self, tag: &TagName) -> Result<FileState, Error>;

    /// When something was last made or removed in the directory of a tag or in its `current/`; nothing where there are no directories.
    ///
    /// # Errors
    ///
    /// When they cannot be looked at.
    fn tag_changed(&self, tag: &TagName) -> Result<Option<SystemTime>, Error>;

    /// The directory that lists those digests of a directory of links that are of this algorithm: no name came to it or left it after its
    /// time. Nothing where that is not told.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn stat_list(&self, directory: &LinkDirectory, algorithm: Algorithm) -> Result<Option<Stat>, Error>;

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

    /// What lies in the directories of the digests given beside `link`, in that order and sorted in each.
    ///
    /// # Errors
    ///
    /// When one cannot be listed, or what is in it not be looked at.
    fn beside_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<Leftover>, Error>;

    /// What lies in the `current/` of a tag beside `link`, sorted.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, or what is in it not be looked at.
    fn beside_tag(&self, tag: &TagName) -> Result<Vec<Leftover>, Error>;

    /// The uploads that were begun and not ended.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or what is in it not be looked at.
    fn uploads(&self) -> Result<Listing<Upload>, Error>;

    /// All that lies in the directory of an upload; nothing if there is none, or what is there is no directory.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, or what is in it not be looked at.
    fn upload_contents(&self, id: &OsStr) -> Result<Option<UploadContents>, Error>;

    /// What lies in an upload beside what the registry puts there, sorted.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, or what is in it not be looked at.
    fn beside_upload(&self, id: &OsStr) -> Result<Vec<Leftover>, Error>;
}
