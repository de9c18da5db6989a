//! Our own directory beside the registry's, `<root>/.regsweep`: the lock, the quarantine and small records.
//!
//! The root often belongs to the registry's account while regsweep runs as root, so that account can replace anything
//! in it during a run. Every file is opened from a descriptor of the root, one component at a time and through no
//! symbolic link, and all work uses the opened descriptors.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{self, open_directory_beneath};
use super::removal::unlinkat;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout::OWN_DIRECTORY;

/// Much larger than any record that we write.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Our own directory, opened.
#[derive(Debug)]
pub(super) struct OwnDirectory {
    directory: OwnedFd,
    path: PathBuf,
}

impl OwnDirectory {
    /// Opens the directory below `root`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When the entry cannot be opened or is no directory.
    pub(super) fn open(root: &Path) -> Result<Option<OwnDirectory>, Error> {
        let path = root.join(OWN_DIRECTORY);
        let answer = directory::open_directory(rustix::fs::CWD, root)
            .and_then(|root| open_directory_beneath(root, OWN_DIRECTORY.as_bytes()));
        match answer {
            Err(Errno::NOENT) => Ok(None),
            answer => opened(answer, &path).map(|directory| Some(OwnDirectory { directory, path })),
        }
    }

    /// Opens the directory below `root`, which must exist.
    ///
    /// # Errors
    ///
    /// When it does not exist, or cannot be opened.
    pub(super) fn existing(root: &Path) -> Result<OwnDirectory, Error> {
        let absent = || io::Error::new(io::ErrorKind::NotFound, "our own directory could not be made");
        OwnDirectory::open(root)?.ok_or_else(absent).context_with("open", || root.join(OWN_DIRECTORY))
    }

    /// The directory itself.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.directory
    }

    /// Reads a record; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read, or is not our file.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match directory::open_file(&self.directory, name) {
                Err(Errno::NOENT) => return Ok(None),
                file => file?,
            };
            if !directory::is_regular(&file)? {
                return Err(io::Error::other("it is not regsweep's file; remove it"));
            }
            let mut text = Vec::new();
            std::fs::File::from(file).take(MAX_RECORD_BYTES).read_to_end(&mut text)?;
            Ok(Some(text))
        };
        read().context_with("read", || self.path.join(name))
    }

    /// Replaces a record atomically, and returns once it is on the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written. The old one then remains.
    pub(super) fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        // Two runs that do not see each other's lock must not write to one file.
        let new = format!("{name}.{:016x}.new", RandomState::new().build_hasher().finish());
        replace(&self.directory, name, &new, write).context_with("write", || self.path.join(name))
    }

    /// Removes a record. A missing record is no error.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be removed.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.directory, name.as_bytes(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error).context_with("remove", || self.path.join(name)),
        }
    }
}

/// The result of opening a directory of ours. Nothing is renamed into a directory on a separate mount.
///
/// # Errors
///
/// When the directory could not be opened.
pub(super) fn opened(answer: rustix::io::Result<OwnedFd>, path: &Path) -> Result<OwnedFd, Error> {
    match answer {
        Err(Errno::XDEV) => Err(Error::Usage(format!(
            "{} is mounted apart from the root, and nothing can be moved between the two at once; unmount it, and move what is in it into the directory \
             below",
            escaped(path)
        ))),
        answer => answer.context("open", path),
    }
}

/// Replaces a file atomically by way of a new one, and returns once it is on the disk.
pub(super) fn replace(
    directory: &OwnedFd,
    name: &str,
    new: &str,
    write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut written = || -> io::Result<()> {
        let file = rustix::fs::openat(directory, new, flags, Mode::from_raw_mode(0o644))?;
        if !directory::is_regular(&file)? {
            return Err(io::Error::other(format!("{new} is not regsweep's file; remove it")));
        }
        let mut out = io::BufWriter::new(std::fs::File::from(file));
        write(&mut out)?;
        out.into_inner()?.sync_all()?;
        rustix::fs::renameat(directory, new, directory, name)?;
        rustix::fs::fsync(directory)?;
        Ok(())
    };
    let outcome = written();
    if outcome.is_err() {
        // A partial record is useless, and takes space on a full disk.
        let _left_behind = unlinkat(directory, new.as_bytes(), AtFlags::empty());
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_links_are_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(OwnDirectory::open(root.path()).expect("none").is_none());
        let place = root.path().join(OWN_DIRECTORY);
        std::fs::create_dir(&place).expect("made");
        let own = OwnDirectory::open(root.path()).expect("opened").expect("there");
        assert_eq!(own.read("x").expect("none"), None);
        own.replace("x", &mut |out| out.write_all(b"one")).expect("written");
        own.replace("x", &mut |out| out.write_all(b"two")).expect("written");
        assert_eq!(own.read("x").expect("there").as_deref(), Some(&b"two"[..]));
        own.replace("x", &mut |_| Err(io::Error::other("no room"))).expect_err("not written");
        assert_eq!(own.read("x").expect("there").as_deref(), Some(&b"two"[..]), "the old one remains");
        own.remove("x").expect("removed");
        own.remove("x").expect("gone already");

        let elsewhere = root.path().join("elsewhere");
        std::fs::write(&elsewhere, "theirs").expect("written");
        std::os::unix::fs::symlink(&elsewhere, place.join("x")).expect("linked");
        std::os::unix::fs::symlink(&elsewhere, place.join("y.new")).expect("linked");
        own.read("x").expect_err("a link");
        replace(own.descriptor(), "y", "y.new", &mut |out| out.write_all(b"ours")).expect_err("a link");
        assert_eq!(std::fs::read(&elsewhere).expect("there"), b"theirs");
        std::fs::rename(&place, root.path().join("moved")).expect("moved");
        std::os::unix::fs::symlink(root.path().join("moved"), &place).expect("linked");
        OwnDirectory::open(root.path()).expect_err("a link to a directory");
    }
}
