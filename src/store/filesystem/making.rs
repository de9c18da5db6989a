//! Directories for files that return to their places, or are made there; and their way back if the file does not come.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, Stat};
use rustix::io::Errno;

use super::directory::{for_each_entry, open_directory, open_directory_beneath};
use super::removal::unlinkat;

/// What of a mode is permissions.
const MODE: u32 = 0o7777;

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
    make(at.as_fd(), path, made, |_| Ok(()))
}

/// The same for a directory that the registry is to use. One that is there already, empty and ours, gets the mode and owner of its parent as
/// well: a process that was killed right after it had made it left it as its own.
pub(super) fn make_place_beneath(at: impl AsFd, path: &[u8], made: &mut MadeDirectories) -> rustix::io::Result<OwnedFd> {
    make(at.as_fd(), path, made, |directory| {
        let like = rustix::fs::statat(directory, "..", AtFlags::empty())?;
        if !is_left(&rustix::fs::fstat(directory)?, &like) || !is_empty(directory)? {
            return Ok(());
        }
        match set_like(directory, &like) {
            // It is another's, and was not left by us.
            Err(Errno::PERM) => Ok(()),
            set => set,
        }
    })
}

/// Calls `found` with each directory on the way that is there already, or with the last one alone if that is.
fn make(
    at: BorrowedFd<'_>,
    path: &[u8],
    made: &mut MadeDirectories,
    found: impl Fn(&OwnedFd) -> rustix::io::Result<()>,
) -> rustix::io::Result<OwnedFd> {
    match open_directory_beneath(at, path) {
        Err(Errno::NOENT) => {}
        opened => {
            let opened = opened?;
            return found(&opened).map(|()| opened);
        }
    }
    let mut directory: Option<OwnedFd> = None;
    for component in path.split(|&byte| byte == b'/') {
        let from = directory.as_ref().map_or(at, AsFd::as_fd);
        let opened = match open_directory_beneath(from, component) {
            Err(Errno::NOENT) => {
                make_like(from, component, made)?;
                open_directory_beneath(from, component)?
            }
            opened => {
                let opened = opened?;
                found(&opened)?;
                opened
            }
        };
        directory = Some(opened);
    }
    directory.ok_or(Errno::NOENT)
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    // Opened anew: a descriptor remembers its read position.
    let listed = open_directory(directory, ".")?;
    let mut is_empty = true;
    for_each_entry(&listed, |_, _| -> io::Result<()> {
        is_empty = false;
        Ok(())
    })
    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(is_empty)
}

/// Whether a directory is as one that we have just made and not given to anybody: our own, with no permission that its parent lacks.
fn is_left(stat: &Stat, like: &Stat) -> bool {
    let is_like = (stat.st_uid, stat.st_gid, stat.st_mode & MODE) == (like.st_uid, like.st_gid, like.st_mode & MODE);
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & MODE & !like.st_mode == 0;
    is_ours && !is_like
}

/// Creates a directory with the mode and owner of its parent.
fn make_like(around: impl AsFd, name: &[u8], made: &mut MadeDirectories) -> rustix::io::Result<()> {
    let like = rustix::fs::fstat(&around)?;
    let known = around.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    // With its mode at once: if the process is killed after this call, the registry can still read there, whatever its
    // account.
    match rustix::fs::mkdirat(&around, name, Mode::from_raw_mode(like.st_mode & MODE)) {
        // Another process created it first, and sets its owner.
        Err(Errno::EXIST) => return Ok(()),
        created => created?,
    }
    made.add(known, name);
    set_like(&open_directory_beneath(&around, name)?, &like)
}

fn set_like(directory: &OwnedFd, like: &Stat) -> rustix::io::Result<()> {
    let (owner, group) = (rustix::fs::Uid::from_raw(like.st_uid), rustix::fs::Gid::from_raw(like.st_gid));
    match rustix::fs::fchown(directory, Some(owner), Some(group)) {
        // Only root may change an owner.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::fchmod(directory, Mode::from_raw_mode(like.st_mode & MODE))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    /// A process that is killed right after it made a directory leaves it with an owner and a mode that the registry may not be able to use.
    #[test]
    fn a_directory_that_was_left_empty_becomes_like_its_parent_and_no_other_does() {
        let own = rustix::process::geteuid().as_raw();
        let owner = if own == 0 { 65_534 } else { own };
        // What has a permission of its own was given to somebody.
        for (left, place, mode) in [
            ("left", "left", 0o700),
            ("left", "left/new", 0o700),
            ("full", "full/new", 0o700),
            ("full", "full", 0o700),
            ("given", "given", 0o2700),
        ] {
            let root = tempfile::tempdir().expect("a directory");
            let set =
                |path: &str, mode| fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).expect("ours");
            fs::create_dir(root.path().join(left)).expect("made");
            if left == "full" {
                fs::write(root.path().join("full/file"), "").expect("written");
            }
            set(left, mode);
            set("", 0o750);
            std::os::unix::fs::chown(root.path(), Some(owner), None).expect("ours");
            let at = open_directory(rustix::fs::CWD, root.path()).expect("there");
            make_place_beneath(&at, place.as_bytes(), &mut MadeDirectories::default()).expect("made");
            let seen = |path: &str| {
                let seen = fs::metadata(root.path().join(path)).expect("there");
                (seen.permissions().mode() & MODE, seen.uid())
            };
            let expected = if left == "left" { (0o750, owner) } else { (mode, own) };
            assert_eq!([seen(left), seen(place)], [expected; 2], "{place}");
        }
    }
}
