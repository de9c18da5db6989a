//! Listing directories: the entries that the layout knows, and all others.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory::{Kind, for_each_entry, open_directory};
use super::{FilesystemStore, mounts};
use crate::error::{Context as _, Error};
use crate::oci::{Algorithm, Digest};
use crate::store::{Listing, Stray, StrayKind};
use crate::system_files::is_system_file;

impl FilesystemStore {
    /// Lists an open directory and sorts its entries into accepted ones and strays. `path` is the directory's.
    pub(super) fn list<T: Ord>(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        accept: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Listing<T>, Error> {
        let mut entries = Vec::new();
        let strays = self.list_each(directory, path, accept, |entry| entries.push(entry))?;
        Ok(Listing { entries, strays }.sorted())
    }

    /// Lists an open directory, calls `each` with each accepted entry, and returns the others.
    pub(super) fn list_each<T>(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        accept: impl Fn(&[u8]) -> Option<T>,
        each: impl FnMut(T),
    ) -> Result<Vec<Stray>, Error> {
        let strays = self.list_any((directory, path), Err, accept, each)?;
        // At any depth: regsweep never empties the target of a link, but an unmounted disk is empty.
        let mut links = strays.iter().filter(|stray| stray.kind == StrayKind::Symlink).map(|stray| self.root.at(&stray.path));
        if let Some(path) = links.find(|path| !mounts::holds_something(path)) {
            return Err(Error::EmptySymlink { path, way_out: None });
        }
        Ok(self.reported(path, strays))
    }

    /// Lists the entries of an open directory that nothing is kept for. A symbolic link that leads nowhere hides nothing there, so it is a
    /// stray as any other.
    pub(super) fn list_unneeded<T: Ord>(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        accept: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Listing<T>, Error> {
        let mut entries = Vec::new();
        let strays = self.list_any((directory, path), |_| Ok(()), accept, |entry| entries.push(entry))?;
        Ok(Listing { entries, strays: self.reported(path, strays) }.sorted())
    }

    /// Without what is not told: entries outside the store are not reported, not even by name.
    fn reported(&self, path: &Path, mut strays: Vec<Stray>) -> Vec<Stray> {
        if strays.iter().any(|stray| stray.kind == StrayKind::Unrecognised) && self.is_outside(path) {
            strays.retain(|stray| stray.kind.sets_apart());
        }
        strays
    }

    /// The same with all strays. `unresolved` says whether to go on without what a link that cannot be followed leads to.
    fn list_any<T>(
        &self,
        (directory, path): (BorrowedFd<'_>, &Path),
        unresolved: impl Fn(Errno) -> Result<(), Errno>,
        accept: impl Fn(&[u8]) -> Option<T>,
        mut each: impl FnMut(T),
    ) -> Result<Vec<Stray>, Error> {
        let mut strays = Vec::new();
        let any_mounts = self.repositories.iter().chain(&self.blobs).any(|base| !base.mounts.is_empty());
        let mounted = if any_mounts { self.locate(path) } else { None };
        for_each_entry(directory, |name, kind| -> Result<(), Listed> {
            let stray = |kind| Stray { path: path.join(OsStr::from_bytes(name)), kind };
            if is_system_file(name, kind == Kind::Directory) {
                strays.push(stray(StrayKind::SystemFile));
                return Ok(());
            }
            let accepted = accept(name);
            match (kind, accepted) {
                (Kind::Directory, Some(entry)) => {
                    each(entry);
                    if mounted.is_some_and(|(base, within)| base.is_mount(&within.join(OsStr::from_bytes(name)))) {
                        strays.push(stray(StrayKind::Mount));
                    }
                }
                (Kind::Symlink, Some(entry)) => match leads_to_directory(directory, name) {
                    Ok(true) => {
                        each(entry);
                        strays.push(stray(StrayKind::Symlink));
                    }
                    Ok(false) => strays.push(stray(StrayKind::Unrecognised)),
                    Err(error) => {
                        unresolved(error).map_err(|error| Listed::Entry(error, stray(StrayKind::Symlink).path))?;
                        strays.push(stray(StrayKind::Symlink));
                    }
                },
                _ => strays.push(stray(StrayKind::Unrecognised)),
            }
            Ok(())
        })
        .map_err(|error| match error {
            Listed::Directory(error) => Error::Io { operation: "list", path: self.root.at(path), source: error },
            Listed::Entry(Errno::NOENT | Errno::LOOP, entry) => {
                Error::UnresolvedSymlink { path: self.root.at(entry), way_out: None }
            }
            Listed::Entry(error, entry) => Error::Io { operation: "follow", path: self.root.at(entry), source: error.into() },
        })?;
        Ok(strays)
    }

    /// Whether a symbolic link on a path leads out of the store.
    fn is_outside(&self, path: &Path) -> bool {
        let Some((base, relative)) = self.locate(path) else { return false };
        std::fs::canonicalize(base.path.join(relative)).is_ok_and(|real| self.leaves(&real))
    }

    /// Whether a resolved path is outside the store.
    fn leaves(&self, real: &Path) -> bool {
        !real.starts_with(self.root.at("docker")) && !self.bases().any(|(_, base)| real.starts_with(base))
    }

    /// Lists `<directory>/<algorithm>/<hex>`.
    pub(super) fn list_digests(&self, path: &Path) -> Result<Listing<Digest>, Error> {
        let Some(directory) = self.directory(path)? else {
            return Ok(Listing::default());
        };
        let algorithms = self.list(directory.as_fd(), path, Algorithm::from_name)?;
        let mut all = Listing { entries: Vec::new(), strays: algorithms.strays };
        for algorithm in algorithms.entries {
            let path = path.join(algorithm.name());
            let directory = open_directory(&directory, algorithm.name()).context_with("list", || self.root.at(&path))?;
            let accept = |hex: &[u8]| Digest::from_hex(algorithm, hex);
            all.strays.extend(self.list_each(directory.as_fd(), &path, accept, |digest| all.entries.push(digest))?);
        }
        Ok(all.sorted())
    }
}

/// Where a listing failed.
enum Listed {
    Directory(io::Error),
    Entry(Errno, PathBuf),
}

impl From<io::Error> for Listed {
    fn from(error: io::Error) -> Listed {
        Listed::Directory(error)
    }
}

/// Whether a symbolic link leads to a directory.
fn leads_to_directory(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(at, name, AtFlags::empty())?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
