//! Entries of the store that are part of no image: uploads, and leftovers of a crash.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::directory::{self, for_each_entry, open_directory};
use super::files::{file_state, stat_file};
use crate::store::values::{START_BUFFER_BYTES, started};
use crate::store::{FileState, Leftover, Upload};

/// Inspects one upload; `None` if it has ended in the meantime.
pub(super) fn inspect(uploads: &OwnedFd, id: OsString) -> io::Result<Option<Upload>> {
    let directory = match open_directory(uploads, &*id) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let modified = directory::stat_of(&rustix::fs::fstat(&directory)?).modified;
    let started_file = stat_file(&directory, "startedat")?;
    let started = match started_file {
        FileState::File(_) => read_start(&directory)?,
        FileState::Absent | FileState::Irregular => None,
    };
    Ok(Some(Upload { id, modified, started_file, started, data: stat_file(&directory, "data")? }))
}

fn read_start(directory: &OwnedFd) -> io::Result<Option<SystemTime>> {
    let file = match directory::open_file(directory, "startedat") {
        Ok(file) => file,
        // It was replaced after the check.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !directory::is_regular(&file)? {
        return Ok(None);
    }
    let mut buffer = [0; START_BUFFER_BYTES];
    let read = directory::read(&file, &mut buffer)?;
    Ok(started(&buffer[..read]))
}

/// Inspects every entry of a directory except the known names. Opens no file.
pub(super) fn leftovers(directory: &OwnedFd, path: &Path, known: &[&str]) -> io::Result<Vec<Leftover>> {
    let mut leftovers = Vec::new();
    for_each_entry(directory, |name, _| -> io::Result<()> {
        if known.iter().any(|known| known.as_bytes() == name) {
            return Ok(());
        }
        match directory::stat_at(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => leftovers.push(Leftover { path: path.join(OsStr::from_bytes(name)), leaf: file_state(found) }),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    leftovers.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(leftovers)
}
