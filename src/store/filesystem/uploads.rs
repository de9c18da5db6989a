//! Entries of the store that are part of no image: uploads, and leftovers of a crash.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory::{self, for_each_entry, open_directory};
use super::files::{file_state, stat_file};
use crate::layout::UploadPart;
use crate::store::values::{START_BUFFER_BYTES, started};
use crate::store::{FileState, Leftover, Upload, UploadContents};

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

/// Lists all that lies in an upload; `None` if it has ended in the meantime, or is no directory. `path` is the upload's.
pub(super) fn contents(uploads: &OwnedFd, id: &OsStr, path: &Path) -> io::Result<Option<UploadContents>> {
    let directory = match open_directory(uploads, id) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut contents = UploadContents::of(directory::stat_of(&rustix::fs::fstat(&directory)?));
    let mut waiting = vec![(path.to_owned(), directory)];
    while let Some((place, directory)) = waiting.pop() {
        let mut names = Vec::new();
        for_each_entry(&directory, |name, _| -> io::Result<()> {
            names.push(OsStr::from_bytes(name).to_owned());
            Ok(())
        })?;
        for name in names {
            let inside = place.join(&name);
            let (file_type, stat) = match directory::stat_at(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let is_ours = inside.strip_prefix(path).is_ok_and(UploadPart::is_directory);
            if file_type != FileType::Directory || !is_ours {
                contents.add(&inside, path, file_state((file_type, stat)));
                continue;
            }
            contents.modified = contents.modified.max(stat.modified);
            match open_directory(&directory, &*name) {
                Ok(directory) => waiting.push((inside, directory)),
                Err(Errno::NOENT) => {}
                // Something else has been put there just now.
                Err(Errno::NOTDIR | Errno::LOOP) => contents.others.push(inside),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Some(contents.sorted()))
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
            Ok(found) => leftovers.push(Leftover { path: path.join(OsStr::from_bytes(name)), state: file_state(found) }),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    leftovers.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(leftovers)
}
