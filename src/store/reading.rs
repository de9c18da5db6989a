//! Reading: what every implementation of a store answers.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::repository::Repository;
use super::values::{
    BlobContent, Condition, FileState, Leftover, Listing, ManifestContent, ManifestStart, Partition, RepositoryEntry, Shape,
    Stat, Stray,
};
use crate::error::Error;
use crate::layout::{Shard, Target};
use crate::oci::Digest;
use crate::system_files::is_system_file;

/// Whether to go on without a directory, by why it cannot be listed.
pub type Unlisted<'a> = &'a mut dyn FnMut(Error) -> Result<(), Error>;

/// Is given a blob that a listing has, and what is in the place of its `data`, where the listing tells that. It tells no arrival.
pub type EachBlob<'a> = &'a mut dyn FnMut(&Digest, Option<&FileState>);

/// Read access to a registry's storage.
///
/// A method returns an [`Error`] only when it cannot tell what is there. Things that are absent or odd are values. What is answered here of a
/// blob or a directory is as of the question, but for what [`Store::blobs`] tells on the way; what a [`Repository`] answers may be as old as
/// that. Who has to look afresh, because something is about to be said or done for it, asks here, or opens the repository anew.
pub trait Store: Sync {
    /// Whether directories are there by themselves.
    fn shape(&self) -> Shape;

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

    /// Opens a repository: lists it, where a store can do that in one go. One that is not there is one that holds nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be listed.
    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error>;

    /// The parts that blobs are listed in, sorted. Each shard that holds anything lies in one of them, and in no other.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed.
    fn partitions(&self) -> Result<Listing<Partition>, Error>;

    /// Calls `each` with the digests that have a directory in a partition, in no order, and returns what else is in it. Whether `data` is
    /// in those directories is told where the listing shows it, and not looked at otherwise.
    ///
    /// # Errors
    ///
    /// When the partition cannot be listed.
    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error>;

    /// Looks at the `data` files of blobs of one shard, in that order.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at.
    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error>;

    /// What lies in the directories of blobs of one shard beside `data`, in that order and sorted in each.
    ///
    /// # Errors
    ///
    /// When one cannot be listed, or what is in it not be looked at.
    fn beside_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error>;

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

    /// Looks at a directory that a removed file left behind: its age if it is an empty directory, nothing otherwise. Of a repository that is
    /// the age of the youngest of the directories that make it one, whatever is in them.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error>;
}

/// Looks afresh at the file of a blob or a link. Opens its repository for that: see [`stat_targets`] for many.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn stat_target(store: &dyn Store, target: &Target) -> Result<FileState, Error> {
    let mut state = FileState::Absent;
    stat_targets(store, &[target], &mut |_, found| state = found)?;
    Ok(state)
}

/// Looks afresh at the files of blobs and links, and calls `each` with each and what is in its place. Those of one repository that stand one
/// after the other are looked at with it opened once.
///
/// # Errors
///
/// When one cannot be looked at.
pub fn stat_targets<'t>(
    store: &dyn Store,
    targets: &[&'t Target],
    each: &mut dyn FnMut(&'t Target, FileState),
) -> Result<(), Error> {
    for some in targets.chunk_by(|a, b| a.repository() == b.repository()) {
        let Some(name) = some[0].repository() else {
            for target in some {
                let digest = target.digest().expect("what lies in no repository is a blob");
                each(target, store.stat_blobs(Shard::of(digest), &[*digest])?[0]);
            }
            continue;
        };
        let repository = store.open(&RepositoryEntry { name: name.clone(), foreign: None })?;
        for target in some {
            let state = match target {
                Target::Tag(_, tag, _) | Target::BrokenTag(_, tag) => repository.stat_tag(tag)?,
                Target::Upload(file) => {
                    let files =
                        repository.upload_contents(OsStr::new(&file.id))?.map(|contents| contents.files).unwrap_or_default();
                    let found = files.into_iter().find(|(part, _)| *part == file.part);
                    found.map_or(FileState::Absent, |(_, stat)| FileState::File(stat))
                }
                _ => match (target.link_directory(), target.digest()) {
                    (Some(directory), Some(digest)) => repository.stat_links(directory, &[*digest])?[0],
                    // No file is looked for there.
                    _ => FileState::Absent,
                },
            };
            each(target, state);
        }
    }
    Ok(())
}

/// Whether all that lies in the directory of a blob without data is what a NAS, NFS or a desktop left there: it is as good as empty, and
/// stays.
///
/// # Errors
///
/// When it cannot be listed.
pub fn holds_only_system_files(store: &dyn Store, blob: &Digest) -> Result<bool, Error> {
    let entries = store.beside_blobs(Shard::of(blob), &[*blob])?;
    let is_system_file = |entry: &Leftover| {
        let is_directory = !matches!(entry.state, FileState::File(_));
        entry.path.file_name().is_some_and(|name| is_system_file(name.as_encoded_bytes(), is_directory))
    };
    Ok(!entries.is_empty() && entries.iter().all(is_system_file))
}
