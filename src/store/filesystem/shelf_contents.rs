//! Listing and pruning a shelf by its descriptor: the owner of the root may replace any directory in it meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory::{self, Kind, changed_of, for_each_entry, open_directory_beneath, stat_of};
use super::removal::unlinkat;
use crate::layout::{self, Target};
use crate::oci::Digest;
use crate::store::{Contents, Held};

/// The suffix of a stamp's name while it is written.
pub(super) const NEW: &str = ".new";

/// Longer than any digest in text.
pub(super) const MAX_LINK_BYTES: u64 = 512;

/// Deeper than any path of the registry.
const MAX_DEPTH: usize = 300;

/// Whether a name in a shelf's directory is that of a stamp, finished or not.
fn is_stamp(name: &[u8], stamps: &[&str]) -> bool {
    let name = name.strip_suffix(NEW.as_bytes()).unwrap_or(name);
    stamps.iter().any(|stamp| stamp.as_bytes() == name)
}

/// Lists the files on a shelf, sorted.
pub(super) fn contents(shelf: &OwnedFd, stamps: &[&str], room: u64) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(place) = waiting.pop() {
        let Some(directory) = open(shelf, &place)? else { continue };
        let mut files = Vec::new();
        for_each_entry(&directory, |name, kind| -> io::Result<()> {
            let inside = place.join(std::ffi::OsStr::from_bytes(name));
            match kind {
                Kind::Directory if inside.components().count() <= MAX_DEPTH => waiting.push(inside),
                Kind::Other if place.as_os_str().is_empty() && is_stamp(name, stamps) => {}
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
            let named = || read_digest(&directory, name);
            match Target::of_file(&Path::new(layout::V2).join(&file), named).filter(|_| is_file) {
                Some(_) if contents.held.len() as u64 >= room => contents.more += 1,
                Some(target) => contents.held.push(Held { target, stat: stat_of(&stat), changed: changed_of(&stat) }),
                None => contents.unrecognised += 1,
            }
        }
    }
    contents.held.shrink_to_fit();
    contents.held.sort_unstable_by(|a, b| a.target.cmp(&b.target));
    Ok(contents)
}

/// The digest that a link says, if it says one.
pub(super) fn read_digest(directory: &OwnedFd, name: impl AsRef<OsStr>) -> Option<Digest> {
    let directory = directory.try_clone().ok()?;
    let file = File::from(directory::open_file(directory, name.as_ref().as_bytes()).ok()?);
    let mut text = Vec::new();
    file.take(MAX_LINK_BYTES).read_to_end(&mut text).ok()?;
    Digest::parse(&text)
}

/// Removes the empty directories on a shelf, deepest first. Removes the shelf itself, given with its parent, if only
/// its stamps are left. Returns whether it is gone.
pub(super) fn remove_if_empty((all, name): (&OwnedFd, &str), shelf: &OwnedFd, stamps: &[&str]) -> io::Result<bool> {
    let left = match remove_empty_below(shelf, Path::new("")) {
        // Another process removed it first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        left => left?,
    };
    if !left.iter().all(|name| is_stamp(name, stamps)) {
        return Ok(false);
    }
    for stamp in stamps.iter().flat_map(|stamp| [(*stamp).to_owned(), format!("{stamp}{NEW}")]) {
        match unlinkat(shelf, stamp.as_bytes(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match unlinkat(all, name.as_bytes(), AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of the remaining entries in `place`.
fn remove_empty_below(shelf: &OwnedFd, place: &Path) -> io::Result<Vec<Vec<u8>>> {
    let Some(directory) = open(shelf, place)? else { return Ok(Vec::new()) };
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
            && remove_empty_below(shelf, &inside)?.is_empty()
            && unlinkat(&directory, &name, AtFlags::REMOVEDIR).is_ok();
        if !is_gone {
            left.push(name);
        }
    }
    Ok(left)
}

/// Opens a directory of a run; `None` if it no longer exists.
fn open(shelf: &OwnedFd, place: &Path) -> io::Result<Option<OwnedFd>> {
    let path = if place.as_os_str().is_empty() { b"." } else { place.as_os_str().as_bytes() };
    // The run's own directory is opened anew as well: a descriptor remembers its read position.
    let opened = if path == b"." { directory::open_directory(shelf, ".") } else { open_directory_beneath(shelf, path) };
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
