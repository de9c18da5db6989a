//! Reading a store on a local filesystem.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::condition::{condition, is_whole};
use super::directory::{self, open_directory};
use super::files::{self, Relative, stat_file};
use super::held::HeldMounts;
use super::mounts;
use super::repository::FilesystemRepository;
use super::root::Root;
use super::{content, repositories};
use crate::error::{Context as _, Error};
use crate::layout::{self, Shard, Target};
use crate::oci::digest::hex_byte;
use crate::oci::{Algorithm, Digest};
use crate::store::manifest_cache::{Kept, ManifestCache};
use crate::store::{
    BlobContent, Condition, EachBlob, FileState, Leftover, Listing, ManifestContent, ManifestStart, Partition, Repository,
    RepositoryEntry, Shape, Stat, Store, Stray, Unlisted,
};

/// The storage of a registry with the filesystem driver.
#[derive(Debug)]
pub struct FilesystemStore {
    pub(super) root: Root,
    /// The mounts held while the store is read.
    pub(super) mounts: Mutex<Vec<HeldMounts>>,
    pub(super) repositories: Option<Base>,
    pub(super) blobs: Option<Base>,
    /// Held while a large manifest is read.
    large_manifest: Mutex<()>,
    /// Manifests that were read before.
    pub(super) cache: Option<ManifestCache>,
}

/// A directory that other paths are opened relative to.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) directory: OwnedFd,
    /// The resolved path.
    pub(super) path: PathBuf,
    /// Mount points of other filesystems in it.
    pub(super) mounts: Vec<PathBuf>,
}

impl Base {
    fn open(root: &Root, relative: &str) -> Result<Option<Base>, Error> {
        let given = root.at(relative);
        let path = match std::fs::canonicalize(&given) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match first_symlink(root, relative) {
                    Some(path) => Err(Error::UnresolvedSymlink { path, way_out: None }),
                    None => Ok(None),
                };
            }
            Err(error) => return Err(error).context("open", given),
        };
        let directory = open_directory(CWD, &path).context("open", &path)?;
        let mounts = mounts::below(&path);
        Ok(Some(Base { directory, path, mounts }))
    }

    /// Whether a path relative to the base is a mount point.
    pub(super) fn is_mount(&self, relative: &Path) -> bool {
        self.mounts.iter().any(|mount| mount == relative)
    }
}

/// Whether a missing path is just that, and not behind a symbolic link: its parent can be reached, and has no such entry.
fn is_absent(base: &Base, relative: &Path) -> bool {
    let stat = |path: &Path, flags| rustix::fs::statat(&base.directory, path, flags).map(drop);
    let has_parent = || relative.parent().is_some_and(|parent| stat(parent, AtFlags::empty()).is_ok());
    stat(relative, AtFlags::SYMLINK_NOFOLLOW) == Err(Errno::NOENT) && has_parent()
}

/// The symbolic link on the way to a missing path.
fn first_symlink(root: &Root, relative: &str) -> Option<PathBuf> {
    let ancestors: Vec<&Path> = Path::new(relative).ancestors().collect();
    let mut on_the_way = ancestors.into_iter().rev().map(|ancestor| root.at(ancestor));
    on_the_way.find(|path| path.is_symlink() && path.metadata().is_err())
}

impl FilesystemStore {
    /// Opens the store with this root.
    ///
    /// # Errors
    ///
    /// When there is none, or when it cannot be opened.
    pub fn open(root: &Root) -> Result<FilesystemStore, Error> {
        let root = root.resolved()?;
        if Base::open(&root, layout::V2)?.is_none() {
            return Err(Error::NotAStore {
                hint: format!("there is no {} in it; give the registry's root directory with --root", layout::V2),
                root: root.path().to_owned(),
            });
        }
        let repositories = Base::open(&root, layout::REPOSITORIES)?;
        let blobs = Base::open(&root, layout::BLOBS)?;
        let (mounts, large_manifest) = (Mutex::default(), Mutex::default());
        Ok(FilesystemStore { root, mounts, repositories, blobs, large_manifest, cache: None })
    }

    /// The root with symbolic links resolved.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Resolves a path relative to the registry's root.
    pub fn at(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.at(relative)
    }

    /// The directory of blobs with symbolic links resolved, if it exists.
    pub(super) fn blobs_path(&self) -> Option<&Path> {
        self.blobs.as_ref().map(|blobs| blobs.path.as_path())
    }

    /// The base directories with their paths.
    pub(super) fn bases(&self) -> impl Iterator<Item = (&OwnedFd, &Path)> {
        self.repositories.iter().chain(&self.blobs).map(|base| (&base.directory, base.path.as_path()))
    }

    /// Reads a manifest from a directory with the shape of `blobs/`.
    pub(super) fn read_manifest_in(
        &self,
        blobs: &OwnedFd,
        digest: &Digest,
        read: &mut dyn FnMut(&[u8]),
    ) -> io::Result<ManifestContent> {
        files::read_manifest(blobs, digest, &self.large_manifest, read)
    }

    /// The base of a path relative to the root, and the rest of the path.
    pub(super) fn locate<'a>(&self, path: &'a Path) -> Option<(&Base, &'a Path)> {
        // Compared as bytes: every path starts with one of the two bases, and comparing components is slow.
        let within = |base: &str| match path.as_os_str().as_bytes().strip_prefix(base.as_bytes())? {
            [b'/', rest @ ..] => Some(Path::new(std::ffi::OsStr::from_bytes(rest))),
            [] => Some(Path::new("")),
            _ => None,
        };
        match (within(layout::REPOSITORIES), within(layout::BLOBS)) {
            (Some(rest), _) => Some((self.repositories.as_ref()?, rest)),
            (_, Some(rest)) => Some((self.blobs.as_ref()?, rest)),
            _ => None,
        }
    }

    /// Where something is mounted below a directory.
    pub(super) fn mounts_in(&self, path: &Path) -> Vec<PathBuf> {
        let Some((base, relative)) = self.locate(path) else { return Vec::new() };
        let below = base.mounts.iter().filter_map(|mount| mount.strip_prefix(relative).ok());
        below.filter(|within| !within.as_os_str().is_empty()).map(|within| path.join(within)).collect()
    }

    /// Opens a directory for reading; `None` if it does not exist.
    pub(super) fn directory(&self, path: &Path) -> Result<Option<OwnedFd>, Error> {
        let Some((base, relative)) = self.locate(path) else {
            return Ok(None);
        };
        match open_directory(&base.directory, relative) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) if is_absent(base, relative) => Ok(None),
            Err(Errno::NOENT) => match first_symlink(&self.root, &path.to_string_lossy()) {
                Some(path) => Err(Error::UnresolvedSymlink { path, way_out: None }),
                None => Ok(None),
            },
            // A file in place of a directory is reported where its parent is listed.
            Err(Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).context_with("list", || self.root.at(path)),
        }
    }
}

impl Store for FilesystemStore {
    fn shape(&self) -> Shape {
        Shape::Tree
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.listable_repositories(&mut Err)
    }

    fn listable_repositories(&self, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        let find = |base| repositories::find(base, self.root.path(), unlisted);
        self.repositories.as_ref().map_or_else(|| Ok(Listing::default()), find)
    }

    /// Makes no call: a directory is listed on demand.
    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        Ok(Box::new(FilesystemRepository::new(self, &repository.name)))
    }

    /// One partition per shard: a shard's directory is one listing.
    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let Some(base) = &self.blobs else {
            return Ok(Listing::default());
        };
        let path = Path::new(layout::BLOBS);
        // Opened anew: a descriptor remembers its read position.
        let directory = open_directory(&base.directory, ".").context("list", &base.path)?;
        let algorithms = self.list(directory.as_fd(), path, Algorithm::from_name)?;
        let mut all = Listing { entries: Vec::new(), strays: algorithms.strays };
        for algorithm in algorithms.entries {
            let path = path.join(algorithm.name());
            let directory = open_directory(&directory, algorithm.name()).context_with("list", || self.root.at(&path))?;
            let shards = self
                .list(directory.as_fd(), &path, |name| hex_byte(name).map(|byte| Partition::from(Shard { algorithm, byte })))?;
            all.entries.extend(shards.entries);
            all.strays.extend(shards.strays);
        }
        Ok(all.sorted())
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let mut strays = Vec::new();
        if let Some(cache) = &self.cache {
            cache.begin(partition);
        }
        let mut each = |digest: Digest| {
            if let Some(cache) = &self.cache {
                cache.listed(&digest);
            }
            each(&digest, None);
        };
        for byte in partition.bytes() {
            let shard = Shard { algorithm: partition.algorithm(), byte };
            let path = shard.path();
            let Some(directory) = self.directory(&path)? else { continue };
            let accept = |hex: &[u8]| Digest::from_hex(shard.algorithm, hex).filter(|digest| digest.shard() == shard.byte);
            strays.extend(self.list_each(directory.as_fd(), &path, accept, &mut each)?);
        }
        if let Some(cache) = &self.cache {
            cache.end(partition);
        }
        Ok(strays)
    }

    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        let Some(directory) = self.directory(&shard.path())? else {
            return Ok(vec![FileState::Absent; digests.len()]);
        };
        let mut relative = Relative::default();
        digests
            .iter()
            .map(|digest| {
                stat_file(&directory, relative.data(digest)).context_with("look at", || self.root.at(layout::blob_data(digest)))
            })
            .collect()
    }

    fn beside_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        self.beside_all(digests, |digest| Target::EmptyBlobDirectory(*digest).path(), &layout::IN_BLOB_DIRECTORY)
    }

    fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        let Some(base) = &self.blobs else { return Ok(None) };
        condition(&base.directory, Path::new(&layout::blob_data_relative(digest)))
            .context_with("look at", || self.at(layout::blob_data(digest)))
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        let Some(base) = &self.blobs else {
            return Ok(ManifestContent::Absent);
        };
        let known = self.known(digest);
        if let Some(Kept::Content(content)) = known.kept() {
            read(&content);
            return Ok(ManifestContent::Verified);
        }
        let mut read_and_keep = |content: &[u8]| {
            known.keep(content);
            read(content);
        };
        self.read_manifest_in(&base.directory, digest, &mut read_and_keep)
            .context_with("read", || self.root.at(layout::blob_data(digest)))
    }

    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        let Some(base) = &self.blobs else { return Ok(ManifestStart::Possible) };
        let known = self.known(digest);
        if let Some(kept) = known.kept() {
            return Ok(kept.start());
        }
        let start = files::manifest_start(&base.directory, digest);
        let start = start.context_with("read", || self.root.at(layout::blob_data(digest)))?;
        if start == ManifestStart::NotAnObject {
            known.keep_no_object();
        }
        Ok(start)
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        match &self.blobs {
            Some(base) => content::read(&base.directory, digest, each),
            None => BlobContent::Absent,
        }
    }

    fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        let Some(base) = &self.blobs else { return Ok(None) };
        is_whole(digest, |each| content::read_uncached(&base.directory, digest, each))
            .context_with("read", || self.at(layout::blob_data(digest)))
    }

    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error> {
        let Some((base, relative)) = self.locate(link) else {
            return Ok(None);
        };
        let target = std::fs::canonicalize(base.path.join(relative)).context_with("follow", || self.root.at(link))?;
        let below =
            |base: &Option<Base>, relative: &str| Some(Path::new(relative).join(target.strip_prefix(&base.as_ref()?.path).ok()?));
        Ok(below(&self.repositories, layout::REPOSITORIES).or_else(|| below(&self.blobs, layout::BLOBS)))
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        let path = directory.path();
        let Some((base, relative)) = self.locate(&path) else {
            return Ok(None);
        };
        let youngest = match directory {
            Target::EmptyRepository(_) => Some(youngest_of(base, relative)),
            Target::EmptyTag(..) => Some(youngest_in_empty(base, relative)),
            _ => None,
        };
        if let Some(youngest) = youngest {
            return youngest.context_with("look at", || self.root.at(&path));
        }
        let inspect = || -> io::Result<Option<Stat>> {
            let (file_type, stat) = match directory::stat_at(&base.directory, relative, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if file_type != FileType::Directory {
                return Ok(None);
            }
            let empty = directory::is_empty(open_directory(&base.directory, relative)?)?;
            Ok(empty.then_some(stat))
        };
        inspect().context_with("look at", || self.root.at(&path))
    }
}

/// The age of the youngest of the directories that make a repository one, its own included.
fn youngest_of(base: &Base, relative: &Path) -> io::Result<Option<Stat>> {
    let mut youngest: Option<Stat> = None;
    for path in [relative.to_owned()].into_iter().chain(layout::MARKERS.map(|marker| relative.join(marker))) {
        match directory::stat_at(&base.directory, path.as_path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok((FileType::Directory, stat)) if youngest.is_none_or(|youngest| stat.modified > youngest.modified) => {
                youngest = Some(stat);
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(youngest)
}

/// The age of the youngest directory of a tag in which there is nothing but directories.
fn youngest_in_empty(base: &Base, relative: &Path) -> io::Result<Option<Stat>> {
    let mut youngest: Option<Stat> = None;
    let mut left = vec![relative.to_owned()];
    while let Some(path) = left.pop() {
        let stat = match directory::stat_at(&base.directory, path.as_path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok((FileType::Directory, stat)) => stat,
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        youngest = youngest.into_iter().chain([stat]).max_by_key(|stat| stat.modified);
        directory::for_each_entry(open_directory(&base.directory, path.as_path())?, |name, _| -> io::Result<()> {
            left.push(path.join(OsStr::from_bytes(name)));
            Ok(())
        })?;
    }
    Ok(youngest)
}
