//! Directories for files that return to their places, or are made there; and their way back if the file does not come.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::directory::open_directory_beneath;
use super::removal::unlinkat;

/// Directories that were created on the way to a file, each with the one around it, the outermost first.
#[derive(Debug, Default)]
pub(super) struct MadeDirectories(Vec<(OwnedFd, Vec<u8>)>);

impl MadeDirectories {
    /// Adds one.
    pub(super) fn add(&mut self, around: OwnedFd, name: &[u8]) {
        self.0.push((around, name.to_owned()));
    }

    /// Removes them if they are empty: the file did not come. Only for who works alone, as others may be about to use them. A registry at work that
    /// finds one in the moment between has to try again, which is better than a directory that nothing explains.
    pub(super) fn undo(&self) {
        for (around, name) in self.0.iter().rev() {
            if unlinkat(around, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
        }
    }
}

/// Opens a directory below `at` as [`open_directory_beneath`] does, and creates missing directories on the way. A new
/// directory gets the mode and, if permitted, the owner of its parent, so that the same accounts can write there. What
/// was created is in `made`, also if that fails.
pub(super) fn make_directory_beneath(at: impl AsFd, path: &[u8], made: &mut MadeDirectories) -> rustix::io::Result<OwnedFd> {
    match open_directory_beneath(&at, path) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let mut directory: Option<OwnedFd> = None;
    for component in path.split(|&byte| byte == b'/') {
        let from = directory.as_ref().map_or(at.as_fd(), AsFd::as_fd);
        let opened = match open_directory_beneath(from, component) {
            Err(Errno::NOENT) => {
                make_like(from, component, made)?;
                open_directory_beneath(from, component)?
            }
            opened => opened?,
        };
        directory = Some(opened);
    }
    directory.ok_or(Errno::NOENT)
}

/// Creates a directory with the mode and owner of its parent.
fn make_like(around: impl AsFd, name: &[u8], made: &mut MadeDirectories) -> rustix::io::Result<()> {
    let like = rustix::fs::fstat(&around)?;
    let known = around.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    // With its mode at once: if the process is killed after this call, the registry can still read there, whatever its
    // account.
    match rustix::fs::mkdirat(&around, name, Mode::from_raw_mode(like.st_mode & 0o7777)) {
        // Another process created it first, and sets its owner.
        Err(Errno::EXIST) => return Ok(()),
        created => created?,
    }
    made.add(known, name);
    let directory = open_directory_beneath(&around, name)?;
    let (owner, group) = (rustix::fs::Uid::from_raw(like.st_uid), rustix::fs::Gid::from_raw(like.st_gid));
    match rustix::fs::fchown(&directory, Some(owner), Some(group)) {
        // Only root may change an owner.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(like.st_mode & 0o7777))
}
