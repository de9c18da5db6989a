//! Makes links and blobs: written in our own directory, then renamed to their places.
//!
//! Nothing is written below `docker/registry/v2` before it is whole: some registries list no repository any more because of one stray file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::directory::open_directory_beneath;
use super::making::{MadeDirectories, make_place_beneath};
use super::own::OwnDirectory;
use super::removal::{differs, split, unlinkat};
use super::store::{Base, FilesystemStore};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout::{self, Target};
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::store::repairing::{NO_LINK, OTHER_BYTES};
use crate::store::{Made, Repair, Shelves, Stat, WriteBlob};

/// A file before it has its place. Only one is made at a time, under the lock.
const NEW: &str = "repair.new";
/// The way out where nothing can be renamed.
const MOUNT_AS_ONE: &str = "mount both as one filesystem, or push the images again";

impl Repair for FilesystemStore {
    fn ensure_possible(&self) -> Result<(), Error> {
        Shelves::ensure_possible(self, MOUNT_AS_ONE)
    }

    fn ensure_writable(&self, target: &Target) -> Result<(), Error> {
        let path = target.path();
        let (base, relative) = self.base_of(&path)?;
        let (directory, above) = nearest(base, relative).context_with("open", || self.at(&path))?;
        let shown = self.at(path.ancestors().nth(above).unwrap_or(&path));
        rustix::fs::accessat(&directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .context("write in", &shown)?;
        let owner = rustix::fs::fstat(&directory).context("look at", &shown)?.st_uid;
        let us = rustix::process::geteuid();
        if us.is_root() || us.as_raw() == owner {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} belongs to user {owner}, and what user {} makes there would be another's; run as root or as user {owner}",
            escaped(&shown),
            us.as_raw()
        )))
    }

    fn make_link(&self, target: &Target, replaced: Option<&Stat>) -> Result<Made, Error> {
        let Some(digest) = target.digest() else { return Ok(Made::Changed(NO_LINK)) };
        let content = digest.to_string();
        self.make(&target.path(), replaced, &mut |out| out.write_all(content.as_bytes()).map(|()| true))
    }

    fn make_blob(&self, digest: &Digest, replaced: Option<&Stat>, write: WriteBlob<'_>) -> Result<Made, Error> {
        self.make(&layout::blob_data(digest), replaced, &mut |out| {
            let mut hashing = Hashing { out, hasher: Hasher::new(digest.algorithm()) };
            write(&mut hashing)?;
            Ok(hashing.hasher.finish() == *digest)
        })
    }
}

/// Hashes what is written.
struct Hashing<'a> {
    out: &'a mut dyn io::Write,
    hasher: Hasher,
}

impl io::Write for Hashing<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let written = self.out.write(part)?;
        self.hasher.update(&part[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl FilesystemStore {
    fn base_of<'a>(&self, path: &'a Path) -> Result<(&Base, &'a Path), Error> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        self.locate(path).ok_or_else(absent).context_with("make", || self.at(path))
    }

    /// Makes one file in one step.
    fn make(&self, path: &Path, replaced: Option<&Stat>, fill: Fill<'_>) -> Result<Made, Error> {
        let (base, relative) = self.base_of(path)?;
        let own = OwnDirectory::existing(self.root().path())?;
        let (parent, name) = split(relative);
        let mut directories = MadeDirectories::default();
        let mut make = || -> io::Result<Made> {
            let directory = make_place_beneath(&base.directory, parent, &mut directories)?;
            // Asked first: a file for nothing is not to be written.
            if let Some(made) = is_as_planned(&directory, name, replaced)? {
                return Ok(made);
            }
            if !write_new(own.descriptor(), &directory, fill)? {
                return Ok(Made::Changed(OTHER_BYTES));
            }
            let made = place(own.descriptor(), &directory, name, replaced)?;
            rustix::fs::fsync(&directory)?;
            Ok(made)
        };
        let made = make();
        if !matches!(made, Ok(Made::Made)) {
            let _none_or_ours = unlinkat(own.descriptor(), NEW.as_bytes(), AtFlags::empty());
            directories.undo();
        }
        made.context_with("make", || self.at(path))
    }
}

/// Writes a file, and says whether it is what it is to be.
type Fill<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> io::Result<bool>;

/// Opens the nearest directory above a file that exists. Says how many steps above the file it is.
fn nearest(base: &Base, relative: &Path) -> io::Result<(OwnedFd, usize)> {
    for (above, directory) in relative.ancestors().enumerate().skip(1) {
        if directory.as_os_str().is_empty() {
            return Ok((base.directory.try_clone()?, above));
        }
        match open_directory_beneath(&base.directory, directory.as_os_str().as_bytes()) {
            Err(Errno::NOENT) => {}
            opened => return Ok((opened?, above)),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// What keeps a link from being made in its place.
fn is_as_planned(directory: &OwnedFd, name: &[u8], replaced: Option<&Stat>) -> io::Result<Option<Made>> {
    Ok(match (rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW), replaced) {
        (Err(Errno::NOENT), None) => None,
        (Err(Errno::NOENT), Some(_)) => Some(Made::Changed("it is not there any more")),
        (Err(error), _) => return Err(error.into()),
        (Ok(_), None) => Some(Made::Exists),
        (Ok(there), Some(planned)) => differs(&there, FileType::RegularFile, planned).map(Made::Changed),
    })
}

/// Writes the new file with the owner and the mode that a file made in `like` by its owner has.
fn write_new(own: &OwnedFd, like: &OwnedFd, fill: Fill<'_>) -> io::Result<bool> {
    match unlinkat(own, NEW.as_bytes(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let like = rustix::fs::fstat(like)?;
    // A directory's mode shows the mask: the registry asks for 0777 and for 0666.
    let mode = Mode::from_raw_mode(like.st_mode & 0o666);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(own, NEW, flags, mode)?;
    let ours = rustix::fs::fstat(&file)?;
    if (ours.st_uid, ours.st_gid) != (like.st_uid, like.st_gid) {
        rustix::fs::fchown(&file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
    }
    rustix::fs::fchmod(&file, mode)?;
    let mut file = std::fs::File::from(file);
    let is_right = fill(&mut file)?;
    file.sync_all()?;
    Ok(is_right)
}

/// Renames the new file to its place.
fn place(own: &OwnedFd, directory: &OwnedFd, name: &[u8], replaced: Option<&Stat>) -> io::Result<Made> {
    if replaced.is_some() {
        // Once more, right before.
        if let Some(made) = is_as_planned(directory, name, replaced)? {
            return Ok(made);
        }
        rustix::fs::renameat(own, NEW, directory, name)?;
        return Ok(Made::Made);
    }
    match rename_to_nothing(own, directory, name) {
        Ok(()) => Ok(Made::Made),
        Err(Errno::EXIST) => Ok(Made::Exists),
        Err(error) => Err(error.into()),
    }
}

/// Renames without replacing, by link and unlink where there is no such operation.
fn rename_to_nothing(own: impl AsFd, directory: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(&own, NEW, &directory, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(&own, NEW, &directory, name, AtFlags::empty())?;
            unlinkat(&own, NEW.as_bytes(), AtFlags::empty())
        }
        renamed => renamed,
    }
}
