//! Listing and tidying a run's directory by its descriptor: whoever owns the root may replace any directory in it while we look.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{Held, run};
use crate::layout::{self, Target};
use crate::store::directory::{self, Kind, for_each_entry, open_directory_beneath, stat_of};

/// Deeper than any path that the registry makes.
const MAX_DEPTH: usize = 300;

/// What a run's directory holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) held: Vec<Held>,
    /// Files at no place that the layout knows.
    pub(super) unrecognised: u64,
}

/// Lists the files of a run, sorted.
pub(super) fn contents(mirror: &OwnedFd) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(place) = waiting.pop() {
        let Some(directory) = open(mirror, &place)? else { continue };
        let mut files = Vec::new();
        for_each_entry(&directory, |name, kind| -> io::Result<()> {
            let inside = place.join(std::ffi::OsStr::from_bytes(name));
            match kind {
                Kind::Directory if inside.components().count() <= MAX_DEPTH => waiting.push(inside),
                Kind::Other if place.as_os_str().is_empty() && run::STAMPS.iter().any(|stamp| stamp.as_bytes() == name) => {}
                Kind::Directory | Kind::Symlink => contents.unrecognised += 1,
                Kind::Other => files.push(inside),
            }
            Ok(())
        })?;
        for file in files {
            let name = file.file_name().expect("it was an entry");
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            match Target::of_path(&Path::new(layout::V2).join(&file)).filter(|_| is_file) {
                Some(target) => contents.held.push(Held { target, stat: stat_of(&stat), changed: changed(&stat) }),
                None => contents.unrecognised += 1,
            }
        }
    }
    contents.held.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(contents)
}

/// When anything about a file last changed.
pub(super) fn changed(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or_default());
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.st_ctime_nsec)
}

/// Removes the empty directories below a run's, the deepest first. Says whether nothing but the run's stamp is left.
pub(super) fn remove_empty(mirror: &OwnedFd) -> io::Result<bool> {
    let mut left = remove_empty_below(mirror, Path::new(""))?;
    left.retain(|name| run::STAMPS.iter().all(|stamp| stamp.as_bytes() != name));
    Ok(left.is_empty())
}

/// Returns the names of what is left in `place`.
fn remove_empty_below(mirror: &OwnedFd, place: &Path) -> io::Result<Vec<Vec<u8>>> {
    let Some(directory) = open(mirror, place)? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for_each_entry(&directory, |name, kind| -> io::Result<()> {
        entries.push((name.to_owned(), kind));
        Ok(())
    })?;
    let mut left = Vec::new();
    for (name, kind) in entries {
        let inside = place.join(std::ffi::OsStr::from_bytes(&name));
        let is_gone = kind == Kind::Directory
            && inside.components().count() <= MAX_DEPTH
            && remove_empty_below(mirror, &inside)?.is_empty()
            && remove_directory(&directory, &name).is_ok();
        if !is_gone {
            left.push(name);
        }
    }
    Ok(left)
}

/// Opens a directory of a run; nothing if it is not there any more.
fn open(mirror: &OwnedFd, place: &Path) -> io::Result<Option<OwnedFd>> {
    let path = if place.as_os_str().is_empty() { b"." } else { place.as_os_str().as_bytes() };
    // Opened anew also for the run's own: a descriptor remembers how far it was read.
    let opened = if path == b"." { directory::open_directory(mirror, ".") } else { open_directory_beneath(mirror, path) };
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "of an empty directory of ours, by descriptor")]
pub(super) fn remove_directory(of: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(of, name, AtFlags::REMOVEDIR)
}

#[expect(clippy::disallowed_methods, reason = "of the stamp of a run that holds nothing, by descriptor")]
pub(super) fn remove_stamp(mirror: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(mirror, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}
