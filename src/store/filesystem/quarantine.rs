//! Moving files aside instead of removing them, and back.
//!
//! A *mirror* is a directory on the same filesystem, outside the registry's tree, that has the shape of `docker/registry/v2`. A file is moved by
//! one rename, which replaces nothing, and is looked at once more when it has arrived: a registry at work may have written to it in
//! between.

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

use super::FilesystemStore;
use super::removal::{Directories, differs, dispose_of_file, split, unlinkat};
use crate::error::{Context as _, Error};
use crate::layout::{self, Target};
use crate::oci::{Algorithm, Digest};
use crate::store::{FileState, ManifestContent, Removal, Stat, directory};

/// What an error calls the operation that needs room where removal makes some.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Longer than any digest in text.
const MAX_LINK_BYTES: u64 = 512;

/// What became of a file that was to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It is where it was.
    Back,
    /// Something is in its place; it stays in the mirror.
    Replaced,
    /// It is not in the mirror.
    Absent,
}

impl FilesystemStore {
    /// Moves a target that is as planned to its place in a mirror.
    ///
    /// # Errors
    ///
    /// When it is as planned and cannot be moved.
    pub fn move_to_quarantine(
        &self,
        target: &Target,
        planned: &Stat,
        mirror: &OwnedFd,
        directories: Directories,
    ) -> Result<Removal, Error> {
        let path = target.path();
        let Some((base, relative)) = self.locate(&path) else { return Ok(Removal::AlreadyGone) };
        let place = in_mirror(target);
        let moved = || -> io::Result<Removal> {
            // Made first: between the last look and the rename nothing else is to happen.
            let shelf = directory::make_directory_beneath(mirror, split(&place).0)?;
            dispose_of_file(base, relative, planned, directories, |directory, leaf| {
                rename(directory, &shelf, leaf)?;
                let arrived = rustix::fs::statat(&shelf, leaf, AtFlags::SYMLINK_NOFOLLOW)?;
                let Some(difference) = differs(&arrived, FileType::RegularFile, planned) else { return Ok(Removal::Removed) };
                match rename(&shelf, directory, leaf) {
                    // Written anew in the meantime: the newer one stands, and ours waits in the mirror.
                    Ok(()) | Err(Errno::EXIST) => Ok(Removal::Changed(difference)),
                    Err(error) => Err(error.into()),
                }
            })
        };
        moved().context_with(QUARANTINE, || self.root.at(&path))
    }

    /// Moves a target from a mirror to where it was. Replaces nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    pub fn restore(&self, target: &Target, mirror: &OwnedFd) -> Result<Return, Error> {
        let path = target.path();
        let place = in_mirror(target);
        let (base, relative) = self
            .locate(&path)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .context_with("restore", || self.root.at(&path))?;
        let moved = || -> io::Result<Return> {
            let (shelf, leaf) = split(&place);
            let shelf = match directory::open_directory_beneath(mirror, shelf) {
                Err(Errno::NOENT) => return Ok(Return::Absent),
                opened => opened?,
            };
            let directory = directory::make_directory_beneath(&base.directory, split(relative).0)?;
            match rename(&shelf, &directory, leaf) {
                Ok(()) => Ok(Return::Back),
                Err(Errno::EXIST) => Ok(Return::Replaced),
                Err(Errno::NOENT) => Ok(Return::Absent),
                Err(error) => Err(error.into()),
            }
        };
        let outcome = moved().context_with("restore", || self.root.at(&path))?;
        prune(mirror, place.parent().expect("targets lie in directories"));
        Ok(outcome)
    }

    /// Removes a target from a mirror if the store has the same in its place, byte for byte. What is there may be half of what it should
    /// be, and ours the only whole one. Says whether it did.
    ///
    /// # Errors
    ///
    /// When nobody can tell, or it cannot be removed.
    pub fn drop_copy(&self, target: &Target, mirror: &OwnedFd) -> Result<bool, Error> {
        let path = target.path();
        let in_store = match self.locate(&path).map(|(base, within)| stat_in(&base.directory, within)) {
            None => FileState::Absent,
            Some(leaf) => leaf.context_with("look at", || self.root.at(&path))?,
        };
        match (in_store, self.stat_aside(target, mirror)?) {
            (FileState::File(there), FileState::File(here)) if there.size_bytes == here.size_bytes => {
                let (base, within) = self.locate(&path).expect("its file was looked at there");
                match same_content((&base.directory, within), (mirror, &in_mirror(target)))
                    .context_with("compare", || path.clone())?
                {
                    true => self.drop_from_quarantine(target, mirror),
                    false => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }

    /// Removes a target from a mirror for good. Says whether it was there.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub fn drop_from_quarantine(&self, target: &Target, mirror: &OwnedFd) -> Result<bool, Error> {
        let place = in_mirror(target);
        let dropped = || -> io::Result<bool> {
            let (shelf, leaf) = split(&place);
            let shelf = match directory::open_directory_beneath(mirror, shelf) {
                Err(Errno::NOENT) => return Ok(false),
                opened => opened?,
            };
            match unlinkat(&shelf, leaf, AtFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::NOENT) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        let outcome = dropped().context_with("remove from the quarantine", || self.root.at(target.path()))?;
        prune(mirror, place.parent().expect("targets lie in directories"));
        Ok(outcome)
    }

    /// Reads a blob in a mirror that should be a manifest, as [`Store::manifest`](crate::store::Store::manifest) does one in the store.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn manifest_in_quarantine(
        &self,
        digest: &Digest,
        mirror: &OwnedFd,
        read: &mut dyn FnMut(&[u8]),
    ) -> Result<ManifestContent, Error> {
        let path = || Path::new("blobs").join(layout::blob_data_relative(digest));
        match directory::open_directory_beneath(mirror, b"blobs") {
            Ok(blobs) => self.read_manifest_in(&blobs, digest, read).context_with("read from the quarantine", path),
            Err(Errno::NOENT) => Ok(ManifestContent::Absent),
            Err(error) => Err(error).context_with("read from the quarantine", path),
        }
    }

    /// Whether a file in a mirror is, byte for byte, what its digest says: a blob's content has that digest, a link's is that digest.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn is_whole_in_quarantine(&self, target: &Target, mirror: &OwnedFd) -> Result<bool, Error> {
        let digest = target.digest();
        if matches!(target, Target::Blob(_)) {
            let absent = || io::Error::from(io::ErrorKind::NotFound);
            let is_whole = self.is_whole_blob_in_quarantine(digest, mirror)?;
            return is_whole.ok_or_else(absent).context_with("read from the quarantine", || self.root.at(target.path()));
        }
        let place = in_mirror(target);
        let is_whole = || -> io::Result<bool> {
            let (shelf, leaf) = split(&place);
            let file = std::fs::File::from(directory::open_file(directory::open_directory_beneath(mirror, shelf)?, leaf)?);
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, MAX_LINK_BYTES), &mut text)?;
            Ok(Digest::parse(&text).is_some_and(|named| named == *digest || is_alias(target, &named)))
        };
        is_whole().context_with("read from the quarantine", || self.root.at(target.path()))
    }

    /// Looks at a target in a mirror.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    fn stat_aside(&self, target: &Target, mirror: &OwnedFd) -> Result<FileState, Error> {
        let place = in_mirror(target);
        stat_in(mirror, &place).context_with("look at", || place)
    }
}

/// Whether two files hold the same.
fn same_content(one: (&OwnedFd, &Path), other: (&OwnedFd, &Path)) -> io::Result<bool> {
    let open = |(directory, path): (&OwnedFd, &Path)| {
        let (parent, name) = split(path);
        directory::open_directory_beneath(directory, parent)
            .and_then(|parent| directory::open_file(parent, name))
            .map(std::fs::File::from)
    };
    let (mut one, mut other) = (BufReader::new(open(one)?), BufReader::new(open(other)?));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] || (length == 0 && left.len() != right.len()) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Whether a layer link by another name may say this digest (H3).
fn is_alias(target: &Target, named: &Digest) -> bool {
    let is_layer = matches!(target, Target::Link(layout::LinkDirectory::Layers(_), _));
    is_layer && named.algorithm() == Algorithm::Sha256 && target.digest().algorithm() != Algorithm::Sha256
}

fn stat_in(directory: &OwnedFd, place: &Path) -> rustix::io::Result<FileState> {
    match directory::stat_beneath(directory, place) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Ok(FileState::File(directory::stat_of(&stat)))
        }
        Ok(_) => Ok(FileState::Irregular),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(FileState::Absent),
        Err(error) => Err(error),
    }
}

/// Where a target lies in a mirror.
pub(crate) fn in_mirror(target: &Target) -> PathBuf {
    let path = target.path();
    path.strip_prefix(layout::V2).expect("targets lie in the registry's tree").to_owned()
}

/// Renames without replacing. Filesystems that cannot do that in one step link and unlink, which leaves two names for a moment.
fn rename(from: &OwnedFd, to: &OwnedFd, leaf: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, leaf, to, leaf, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(from, leaf, to, leaf, AtFlags::empty())?;
            unlinkat(from, leaf, AtFlags::empty())
        }
        renamed => renamed,
    }
}

/// Removes directories of a mirror that are empty, from `directory` upwards. Never while something moves in: it may be about to use them. What cannot be removed is looked at again when the run is.
fn prune(mirror: &OwnedFd, directory: &Path) {
    for directory in directory.ancestors().take_while(|directory| !directory.as_os_str().is_empty()) {
        let name = directory.file_name().expect("it is below the mirror").as_bytes();
        let around = match directory.parent().map(|parent| parent.as_os_str().as_bytes()) {
            // Opened again, through no link: whoever owns the root may have put one there.
            Some(parent) if !parent.is_empty() => directory::open_directory_beneath(mirror, parent),
            _ => mirror.try_clone().map_err(|_| Errno::MFILE),
        };
        if around.and_then(|around| unlinkat(around, name, AtFlags::REMOVEDIR)).is_err() {
            break;
        }
    }
}
