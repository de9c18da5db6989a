//! Removal of one exact file or empty directory at a time, below its base, never through a symbolic link.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory;
use super::store::{Base, FilesystemStore};
use crate::error::{Context as _, Error};
use crate::layout::{self, Target};
use crate::oci::{Algorithm, RepositoryName};
use crate::store::{Directories, KeepsNow, Planned, Removal, Stat, Vacuum};

impl Vacuum for FilesystemStore {
    fn batch(&self) -> usize {
        1
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        batch.iter().map(|planned| self.remove_one(planned)).collect()
    }

    fn takes_room(&self) -> bool {
        false
    }

    fn keeps_now(&self, _: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error> {
        Ok(KeepsNow::without_undo(is_changed))
    }

    fn barrier(&self) -> Result<(), Error> {
        let mut flushed = None;
        // Usually one filesystem, but administrators mount blobs elsewhere.
        for base in self.repositories.iter().chain(&self.blobs) {
            let device = rustix::fs::fstat(&base.directory).context("look at", &base.path)?.st_dev;
            if flushed.replace(device) != Some(device) {
                rustix::fs::syncfs(&base.directory).context("flush", &base.path)?;
            }
        }
        Ok(())
    }
}

impl FilesystemStore {
    fn remove_one(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        let path = planned.target.path();
        let Some((base, relative)) = self.locate(&path) else {
            return Ok(Removal::AlreadyGone);
        };
        let removal = match planned.target {
            Target::EmptyUploadDirectory(..) => self.remove_upload_directory(base, relative, planned),
            Target::EmptyTag(..) => prune_empty_tag(base, relative),
            Target::EmptyRepository(_) => prune_repository(base, relative),
            target if target.is_directory() => remove_empty_directory(base, relative, planned.stat),
            _ => remove_file(base, relative, planned.stat),
        };
        let removal = removal.context_with("remove", || self.at(&path))?;
        self.prune_around(planned.target)?;
        Ok(removal)
    }

    /// Removes the directories around a target that are left empty and mean something by being there.
    ///
    /// # Errors
    ///
    /// When one that is empty cannot be removed.
    pub(super) fn prune_around(&self, target: &Target) -> Result<(), Error> {
        match target.upload() {
            Some((repository, id)) if !target.is_directory() => {
                let path = layout::upload_directory(repository, id);
                let Some((base, relative)) = self.locate(&path) else { return Ok(()) };
                prune_upload(base, relative).map(drop).context_with("remove", || self.at(&path))
            }
            Some(_) => Ok(()),
            None => self.prune_tag(target),
        }
    }

    /// Removes the directory of an upload, and those in it, if there is no file in them.
    fn remove_upload_directory(&self, base: &Base, relative: &Path, planned: &Planned<'_>) -> io::Result<Removal> {
        let (uploads, id) = split(relative);
        let uploads = match open_for_removal(base, uploads)? {
            Ok(uploads) => uploads,
            Err(removal) => return Ok(removal),
        };
        match rustix::fs::statat(&uploads, id, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                if let Some(difference) = differs(&stat, FileType::Directory, planned.stat) {
                    return Ok(Removal::Changed(difference));
                }
            }
            Err(Errno::NOENT) => return Ok(Removal::AlreadyGone),
            Err(error) => return Err(error.into()),
        }
        Ok(match prune_upload(base, relative)? {
            true => Removal::Removed,
            false => Removal::Changed("it is not empty any more"),
        })
    }

    /// Removes the directories of the tag that a target belonged to once nothing is left in them: by its directory a registry lists a tag.
    ///
    /// # Errors
    ///
    /// When one that is empty cannot be removed.
    fn prune_tag(&self, target: &Target) -> Result<(), Error> {
        let (Some(repository), Some(tag)) = (target.repository(), target.tag()) else { return Ok(()) };
        let path = layout::tag_directory(repository, tag);
        let Some((base, relative)) = self.locate(&path) else { return Ok(()) };
        prune_tag_directory(base, relative).context_with("remove", || self.at(&path))
    }
}

/// `_manifests/tags/<tag>/index/<algorithm>/<hex>`.
const DEEPEST_BELOW_MARKER: usize = 5;
/// `index/<algorithm>/<hex>`.
const DEEPEST_BELOW_TAG: usize = 3;

/// Removes the directories that make a repository one, itself, and those around it, as far as nothing is left in them. First what a registry
/// knows it by. Another repository in it stays, and so does all that is not a directory.
fn prune_repository(base: &Base, relative: &Path) -> io::Result<Removal> {
    let Ok(repository) = open_for_removal(base, relative.as_os_str().as_bytes())? else { return Ok(Removal::AlreadyGone) };
    let mut is_gone = true;
    for marker in layout::MARKERS {
        prune_below(base, &relative.join(marker), DEEPEST_BELOW_MARKER)?;
        is_gone &= is_gone_if_empty(&repository, marker.as_bytes())?;
    }
    if !is_gone {
        return Ok(Removal::Changed("something is in it by now, or lies in it that no registry puts there"));
    }
    for directory in relative.ancestors().take_while(|directory| !directory.as_os_str().is_empty()) {
        let (parent, name) = split(directory);
        let is_gone = match parent {
            b"" => is_gone_if_empty(&base.directory, name)?,
            parent => match open_for_removal(base, parent)? {
                Ok(parent) => is_gone_if_empty(&parent, name)?,
                Err(_) => false,
            },
        };
        if !is_gone {
            break;
        }
    }
    Ok(Removal::Removed)
}

/// Removes the directories of a tag in which no link is left.
fn prune_empty_tag(base: &Base, relative: &Path) -> io::Result<Removal> {
    prune_below(base, relative, DEEPEST_BELOW_TAG)?;
    let (tags, name) = split(relative);
    match open_for_removal(base, tags)? {
        Ok(tags) if !is_there(&tags, name) => Ok(Removal::AlreadyGone),
        Ok(tags) if is_gone_if_empty(&tags, name)? => Ok(Removal::Removed),
        Ok(_) => Ok(Removal::Changed("it is not empty any more")),
        Err(removal) => Ok(removal),
    }
}

/// Removes the directories below one in which nothing is left.
fn prune_below(base: &Base, relative: &Path, depth: usize) -> io::Result<()> {
    let Ok(open) = open_for_removal(base, relative.as_os_str().as_bytes())? else { return Ok(()) };
    let mut names = Vec::new();
    let listed = directory::for_each_entry(&open, |name, kind| -> io::Result<()> {
        if kind == directory::Kind::Directory {
            names.push(name.to_owned());
        }
        Ok(())
    });
    match listed {
        Ok(()) => {}
        // Somebody else has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    for name in names.iter().filter(|_| depth > 0) {
        if !is_gone_if_empty(&open, name)? {
            prune_below(base, &relative.join(OsStr::from_bytes(name)), depth - 1)?;
            is_gone_if_empty(&open, name)?;
        }
    }
    Ok(())
}

/// Removes the directories of a tag in which nothing is left. A tag that names something is left as it is, however little history it has.
fn prune_tag_directory(base: &Base, relative: &Path) -> io::Result<()> {
    let Ok(tag) = open_for_removal(base, relative.as_os_str().as_bytes())? else { return Ok(()) };
    if !is_gone_if_empty(&tag, b"current")? {
        return Ok(());
    }
    if let Ok(history) = open_for_removal(base, relative.join("index").as_os_str().as_bytes())? {
        for algorithm in Algorithm::ALL {
            is_gone_if_empty(&history, algorithm.name().as_bytes())?;
        }
    }
    if is_gone_if_empty(&tag, b"index")? {
        let (tags, name) = split(relative);
        if let Ok(tags) = open_for_removal(base, tags)? {
            is_gone_if_empty(&tags, name)?;
        }
    }
    Ok(())
}

/// Removes the directories of an upload in which nothing is left, its own last. Says whether that is not there any more.
fn prune_upload(base: &Base, relative: &Path) -> io::Result<bool> {
    let Ok(upload) = open_for_removal(base, relative.as_os_str().as_bytes())? else { return Ok(true) };
    if let Ok(states) = open_for_removal(base, relative.join("hashstates").as_os_str().as_bytes())? {
        for algorithm in Algorithm::ALL {
            is_gone_if_empty(&states, algorithm.name().as_bytes())?;
        }
    }
    if !is_gone_if_empty(&upload, b"hashstates")? {
        return Ok(false);
    }
    let (uploads, id) = split(relative);
    match open_for_removal(base, uploads)? {
        Ok(uploads) => is_gone_if_empty(&uploads, id),
        Err(_) => Ok(true),
    }
}

/// Removes a directory if it is empty. Says whether it is not there any more.
fn is_gone_if_empty(directory: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // Something is in it, or it is a file, a link or a mount: none of them is ours.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Splits a path into its parent and its last component, as bytes.
pub(super) fn split(path: &Path) -> (&[u8], &[u8]) {
    let parent = path.parent().expect("targets lie in directories");
    let name = path.file_name().expect("targets have names");
    (parent.as_os_str().as_bytes(), name.as_bytes())
}

/// Opens a target's directory, or returns the outcome if the directory does not exist or is not reached directly.
fn open_for_removal(base: &Base, directory: &[u8]) -> io::Result<Result<OwnedFd, Removal>> {
    match directory::open_directory_beneath(&base.directory, directory) {
        Ok(directory) => Ok(Ok(directory)),
        Err(Errno::NOENT) => Ok(Err(Removal::AlreadyGone)),
        Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => {
            Ok(Err(Removal::Changed("a symbolic link, a file or another filesystem is on the way to it now")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes `<...>/<hex>/<name>` and then `<hex>` if that leaves it empty.
fn remove_file(base: &Base, relative: &Path, planned: &Stat) -> io::Result<Removal> {
    dispose_of_file(base, relative, planned, Directories::Prune, |directory, name| {
        unlinkat(directory, name, AtFlags::empty())?;
        Ok(Removal::Removed)
    })
}

/// Checks `<...>/<hex>/<name>` once more, passes it to `dispose` if it is as planned, and then prunes `<hex>`.
pub(super) fn dispose_of_file(
    base: &Base,
    relative: &Path,
    planned: &Stat,
    directories: Directories,
    dispose: impl FnOnce(&OwnedFd, &[u8]) -> io::Result<Removal>,
) -> io::Result<Removal> {
    let (directory, name) = split(relative);
    let (shelf, hex) = split(relative.parent().expect("a file lies in its digest's directory"));
    let shelf = match open_for_removal(base, shelf)? {
        Ok(shelf) => shelf,
        Err(removal) => return Ok(removal),
    };
    debug_assert!(directory.ends_with(hex));
    let opened = match directory::open_directory_beneath(&shelf, hex) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(Removal::AlreadyGone),
        Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => {
            return Ok(Removal::Changed("its directory is not the directory that it was"));
        }
        Err(error) => return Err(error.into()),
    };
    let removal = match rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match differs(&stat, FileType::RegularFile, planned) {
            Some(difference) => return Ok(Removal::Changed(difference)),
            None => match dispose(&opened, name) {
                // Unless the missing entry is the destination of `dispose`.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(&opened, name) => Removal::AlreadyGone,
                Ok(Removal::Changed(difference)) => return Ok(Removal::Changed(difference)),
                removal => removal?,
            },
        },
        Err(Errno::NOENT) => Removal::AlreadyGone,
        Err(error) => return Err(error.into()),
    };
    if directories == Directories::Keep {
        return Ok(removal);
    }
    match unlinkat(&shelf, hex, AtFlags::REMOVEDIR) {
        // Another entry is in it, or another process removed it first: both are left alone.
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(removal),
        Err(error) => Err(error.into()),
    }
}

fn is_there(directory: &OwnedFd, name: &[u8]) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn remove_empty_directory(base: &Base, relative: &Path, planned: &Stat) -> io::Result<Removal> {
    let (parent, name) = split(relative);
    let parent = match open_for_removal(base, parent)? {
        Ok(parent) => parent,
        Err(removal) => return Ok(removal),
    };
    match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            if let Some(difference) = differs(&stat, FileType::Directory, planned) {
                return Ok(Removal::Changed(difference));
            }
        }
        Err(Errno::NOENT) => return Ok(Removal::AlreadyGone),
        Err(error) => return Err(error.into()),
    }
    match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(Removal::Removed),
        Err(Errno::NOENT) => Ok(Removal::AlreadyGone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Removal::Changed("it is not empty any more")),
        Err(error) => Err(error.into()),
    }
}

/// How a file differs from the planned one.
pub(super) fn differs(stat: &rustix::fs::Stat, expected: FileType, planned: &Stat) -> Option<&'static str> {
    let now = directory::stat_of(stat);
    if FileType::from_raw_mode(stat.st_mode) != expected {
        Some("it is of another type now")
    } else if now.size_bytes != planned.size_bytes {
        Some("its size has changed")
    } else if now.modified != planned.modified {
        Some("it was written to in the meantime")
    } else {
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "the one call that removes, for the one type allowed to")]
pub(super) fn unlinkat(directory: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(directory, name, flags)
}
