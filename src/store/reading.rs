//! Reading: what every implementation of a store answers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::values::{
    BlobContent, Condition, FileState, Leftover, LinkContent, Listing, ManifestContent, ManifestStart, RepositoryEntry, Stat,
    Stray, TagContent, Upload,
};
use crate::error::Error;
use crate::layout::{LinkDirectory, Shard, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::system_files::is_system_file;

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
    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error>;

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

    /// A blob's file as it is now; nothing if there is no such regular file.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error>;

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
    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error>;

    /// Reads a blob of any size and calls `each` with its bytes, part by part, until it breaks off. What of the file was not in the
    /// page cache before is not left there.
    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent;

    /// Whether a blob's bytes where they are kept come to its digest, whatever the memory of this machine has of them; nothing if it is not
    /// there.
    ///
    /// # Errors
    ///
    /// When it cannot be read to its end.
    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error>;

    /// Where a symbolic link leads, relative to the root; nothing if that is outside the store.
    ///
    /// # Errors
    ///
    /// When it cannot be followed.
    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error>;

    /// Looks at a directory that a removed file left behind: its age if it is an empty directory, nothing otherwise.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error>;
}

/// Looks at the file of a blob or a link.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn stat_target(store: &dyn Store, target: &Target) -> Result<FileState, Error> {
    let digest = *target.digest();
    let states = match target.link_directory() {
        Some(directory) => store.stat_links(directory, &[digest])?,
        None => store.stat_blobs(Shard::of(&digest), &[digest])?,
    };
    Ok(states[0])
}

/// Whether all that lies in a directory is what a NAS, NFS or a desktop left there: it is as good as empty, and stays.
///
/// # Errors
///
/// When it cannot be listed.
pub fn holds_only_system_files(store: &dyn Store, directory: &Target) -> Result<bool, Error> {
    let entries = store.leftovers(&directory.path(), &[])?;
    let is_system_file = |entry: &Leftover| {
        let is_directory = !matches!(entry.leaf, FileState::File(_));
        entry.path.file_name().is_some_and(|name| is_system_file(name.as_encoded_bytes(), is_directory))
    };
    Ok(!entries.is_empty() && entries.iter().all(is_system_file))
}
