//! A shelf on a filesystem: a directory on the store's filesystem, outside the registry's tree, with the shape of
//! `docker/registry/v2`.
//!
//! A file is moved by one rename, which replaces nothing, and checked once more on arrival: a running registry may have
//! written to it in between. Moving a shelf's content back by hand undoes its run.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::condition::{condition, is_whole};
use super::directory::{self, open_directory_beneath};
use super::making::{MadeDirectories, make_directory_beneath, make_place_beneath};
use super::removal::{differs, dispose_of_file, split, unlinkat};
use super::shelf_contents::MAX_LINK_BYTES;
use super::store::FilesystemStore;
use super::{content, own, shelf_contents};
use crate::error::{Context as _, Error};
use crate::layout::{self, Target};
use crate::oci::{Algorithm, Digest};
use crate::store::{Condition, Contents, Directories, FileState, ManifestContent, Planned, Removal, Return, Shelf};

/// Larger than any stamp.
const MAX_STAMP_BYTES: u64 = 1 << 16;

/// The directory of one run.
#[derive(Debug)]
pub(super) struct FilesystemShelf<'s> {
    pub(super) store: &'s FilesystemStore,
    pub(super) name: String,
    /// For messages.
    pub(super) path: PathBuf,
    /// The directory of all runs.
    pub(super) all: Arc<OwnedFd>,
    pub(super) directory: OwnedFd,
    /// What was made for it around its own directory.
    pub(super) made: MadeDirectories,
}

impl Shelf for FilesystemShelf<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> &Path {
        &self.path
    }

    fn read_stamp(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                file => file?,
            };
            let mut text = Vec::new();
            File::from(file).take(MAX_STAMP_BYTES).read_to_end(&mut text)?;
            Ok(Some(text))
        };
        read().context_with("read", || self.path.join(name))
    }

    fn write_stamp(&self, name: &str, text: &[u8]) -> Result<(), Error> {
        let new = format!("{name}{}", shelf_contents::NEW);
        own::replace(&self.directory, name, &new, &mut |out| out.write_all(text)).context_with("write", || self.path.join(name))
    }

    fn rename_stamp(&self, from: &str, to: &str) -> Result<(), Error> {
        let renamed = rustix::fs::renameat(&self.directory, from, &self.directory, to);
        renamed.and_then(|()| rustix::fs::fsync(&self.directory)).context_with("rename", || self.path.join(from))
    }

    fn stamp_written(&self, name: &str) -> Result<SystemTime, Error> {
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(directory::stat_of(&stat.context_with("look at", || self.path.join(name))?).modified)
    }

    fn contents(&self, stamps: &[&str], room: u64) -> Result<Contents, Error> {
        shelf_contents::contents(&self.directory, stamps, room).context("list", &self.path)
    }

    fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error> {
        let path = planned.target.path();
        let Some((base, relative)) = self.store.locate(&path) else { return Ok(Removal::AlreadyGone) };
        let moved = || -> io::Result<Removal> {
            // Created first: nothing may happen between the last check and the rename.
            // What is made for nothing goes with the run: others may be moving into it.
            let mut made = MadeDirectories::default();
            let parent = make_directory_beneath(&self.directory, split(&on_shelf(planned.target)).0, &mut made)?;
            dispose_of_file(base, relative, planned.stat, directories, |directory, name| {
                rename(directory, &parent, name)?;
                let arrived = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let Some(difference) = differs(&arrived, FileType::RegularFile, planned.stat) else {
                    return Ok(Removal::Removed);
                };
                match rename(&parent, directory, name) {
                    // Rewritten in the meantime: the newer file remains, and the moved one waits on the shelf.
                    Ok(()) | Err(Errno::EXIST) => Ok(Removal::Changed(difference)),
                    Err(error) => Err(error.into()),
                }
            })
        };
        let removal = moved().context_with("quarantine", || self.store.at(&path))?;
        if directories == Directories::Prune {
            self.store.prune_around(planned.target)?;
        }
        Ok(removal)
    }

    fn keep(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        let path = planned.target.path();
        let Some((base, relative)) = self.store.locate(&path) else { return Ok(Removal::AlreadyGone) };
        let place = on_shelf(planned.target);
        let kept = || -> io::Result<Removal> {
            let (parent, name) = split(relative);
            let directory = match open_directory_beneath(&base.directory, parent) {
                Err(Errno::NOENT) => return Ok(Removal::AlreadyGone),
                opened => opened?,
            };
            match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(Removal::AlreadyGone),
                there => {
                    if let Some(difference) = differs(&there?, FileType::RegularFile, planned.stat) {
                        return Ok(Removal::Changed(difference));
                    }
                }
            }
            let shelf = make_directory_beneath(&self.directory, split(&place).0, &mut MadeDirectories::default())?;
            rustix::fs::linkat(&directory, name, &shelf, name, AtFlags::empty())?;
            rustix::fs::fsync(&shelf)?;
            Ok(Removal::Removed)
        };
        kept().context_with("quarantine", || self.store.at(&path))
    }

    fn give_back_over(&self, target: &Target, until: Option<SystemTime>) -> Result<Return, Error> {
        let path = target.path();
        let Some((base, relative)) = self.store.locate(&path) else { return self.give_back(target) };
        let place = on_shelf(target);
        let moved = || -> io::Result<Option<Return>> {
            let (from, to) = (split(&place), split(relative));
            let opened = open_directory_beneath(&self.directory, from.0)
                .and_then(|shelf| Ok((shelf, open_directory_beneath(&base.directory, to.0)?)));
            let (shelf, directory) = match opened {
                Err(Errno::NOENT) => return Ok(None),
                opened => opened?,
            };
            let stat = |directory: &OwnedFd, name: &[u8]| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
            let (here, there) = match stat(&shelf, from.1).and_then(|here| Ok((here, stat(&directory, to.1)?))) {
                Err(Errno::NOENT) => return Ok(None),
                stats => stats?,
            };
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) {
                // Cut off before it was replaced.
                unlinkat(&shelf, from.1, AtFlags::empty())?;
                return Ok(Some(Return::Back));
            }
            let is_made = FileType::from_raw_mode(there.st_mode) == FileType::RegularFile
                && until.is_none_or(|until| directory::stat_of(&there).modified <= until)
                // The whole bytes of a blob may be nowhere else.
                && !matches!(target, Target::Blob(_))
                && shelf_contents::read_digest(&directory, std::ffi::OsStr::from_bytes(to.1)) == target.digest().copied();
            if !is_made {
                return Ok(None);
            }
            rustix::fs::renameat(&shelf, from.1, &directory, to.1)?;
            Ok(Some(Return::Back))
        };
        match moved().context_with("restore", || self.store.at(&path))? {
            Some(outcome) => {
                self.prune_above(&place);
                Ok(outcome)
            }
            None => self.give_back(target),
        }
    }

    fn give_back(&self, target: &Target) -> Result<Return, Error> {
        let path = target.path();
        let (base, relative) = self
            .store
            .locate(&path)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .context_with("restore", || self.store.at(&path))?;
        let mut made = MadeDirectories::default();
        let mut moved = |(parent, name): (&[u8], &[u8])| -> io::Result<Return> {
            let parent = match open_directory_beneath(&self.directory, parent) {
                Err(Errno::NOENT) => return Ok(Return::Absent),
                opened => opened?,
            };
            let directory = make_place_beneath(&base.directory, split(relative).0, &mut made)?;
            match rename(&parent, &directory, name) {
                Ok(()) => Ok(Return::Back),
                Err(Errno::EXIST) => Ok(Return::Replaced),
                Err(Errno::NOENT) => Ok(Return::Absent),
                Err(error) => Err(error.into()),
            }
        };
        let place = on_shelf(target);
        let outcome = moved(split(&place)).context_with("restore", || self.store.at(&path));
        if !matches!(outcome, Ok(Return::Back)) {
            made.undo();
        }
        let outcome = outcome?;
        self.prune_above(&place);
        Ok(outcome)
    }

    fn drop_copy(&self, target: &Target) -> Result<bool, Error> {
        let path = target.path();
        let in_store = match self.store.locate(&path).map(|(base, within)| stat_in(&base.directory, within)) {
            None => FileState::Absent,
            Some(state) => state.context_with("look at", || self.store.at(&path))?,
        };
        let place = on_shelf(target);
        let here = stat_in(&self.directory, &place).context_with("look at", || self.path.join(&place))?;
        match (in_store, here) {
            (FileState::File(there), FileState::File(here)) if there.size_bytes == here.size_bytes => {
                let (base, within) = self.store.locate(&path).expect("its file was found there");
                match same_content((&base.directory, within), (&self.directory, &place))
                    .context_with("compare", || path.clone())?
                {
                    true => self.drop_for_good(target),
                    false => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }

    fn drop_for_good(&self, target: &Target) -> Result<bool, Error> {
        let dropped = |(parent, name): (&[u8], &[u8])| -> io::Result<bool> {
            let parent = match open_directory_beneath(&self.directory, parent) {
                Err(Errno::NOENT) => return Ok(false),
                opened => opened?,
            };
            match unlinkat(&parent, name, AtFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::NOENT) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        let place = on_shelf(target);
        let outcome = dropped(split(&place)).context_with("remove from the quarantine", || self.store.at(target.path()))?;
        self.prune_above(&place);
        Ok(outcome)
    }

    fn condition(&self, target: &Target) -> Result<Option<Condition>, Error> {
        let place = on_shelf(target);
        condition(&self.directory, &place).context_with("look in the quarantine at", || self.path.join(place))
    }

    fn is_whole(&self, target: &Target) -> Result<bool, Error> {
        let read = |(parent, name): (&[u8], &[u8])| -> io::Result<bool> {
            // What an upload is to be nobody knows yet.
            let Some(digest) = target.digest() else { return Ok(true) };
            if matches!(target, Target::Blob(_)) {
                let blobs = open_directory_beneath(&self.directory, b"blobs")?;
                let is_whole = is_whole(digest, |each| content::read(&blobs, digest, each))?;
                return is_whole.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
            }
            let file = File::from(directory::open_file(open_directory_beneath(&self.directory, parent)?, name)?);
            let mut text = Vec::new();
            file.take(MAX_LINK_BYTES).read_to_end(&mut text)?;
            Ok(Digest::parse(&text).is_some_and(|named| named == *digest || is_alias(target, &named)))
        };
        read(split(&on_shelf(target))).context_with("read from the quarantine", || self.store.at(target.path()))
    }

    fn read_link(&self, target: &Target) -> Option<Digest> {
        let place = on_shelf(target);
        let (parent, name) = split(&place);
        let parent = open_directory_beneath(&self.directory, parent).ok()?;
        shelf_contents::read_digest(&parent, std::ffi::OsStr::from_bytes(name))
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        let path = || self.path.join("blobs").join(layout::blob_data_relative(digest));
        match open_directory_beneath(&self.directory, b"blobs") {
            Ok(blobs) => self.store.read_manifest_in(&blobs, digest, read).context_with("read from the quarantine", path),
            Err(Errno::NOENT) => Ok(ManifestContent::Absent),
            Err(error) => Err(error).context_with("read from the quarantine", path),
        }
    }

    fn remove_if_empty(&self, stamps: &[&str]) -> Result<bool, Error> {
        let is_gone =
            shelf_contents::remove_if_empty((&self.all, &self.name), &self.directory, stamps).context("remove", &self.path)?;
        if is_gone {
            self.made.undo();
        }
        Ok(is_gone)
    }
}

impl FilesystemShelf<'_> {
    /// Removes empty directories, from the file's upwards. Not called while something moves in, which may be about to
    /// use them. A directory that cannot be removed is tried again with the run's own.
    fn prune_above(&self, place: &Path) {
        let parents = place.ancestors().skip(1).take_while(|directory| !directory.as_os_str().is_empty());
        for directory in parents {
            let name = directory.file_name().expect("it is below the shelf").as_bytes();
            let around = match directory.parent().map(|parent| parent.as_os_str().as_bytes()) {
                // Opened again, through no link: the owner of the root may have replaced the directory by one.
                Some(parent) if !parent.is_empty() => open_directory_beneath(&self.directory, parent),
                _ => self.directory.try_clone().map_err(|_| Errno::MFILE),
            };
            if around.and_then(|around| unlinkat(around, name, AtFlags::REMOVEDIR)).is_err() {
                break;
            }
        }
    }
}

/// Whether two files have the same content.
fn same_content(one: (&OwnedFd, &Path), other: (&OwnedFd, &Path)) -> io::Result<bool> {
    let open = |(directory, path): (&OwnedFd, &Path)| {
        let (parent, name) = split(path);
        open_directory_beneath(directory, parent).and_then(|parent| directory::open_file(parent, name)).map(File::from)
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

/// Whether a layer link may name this digest as an alias (H3).
fn is_alias(target: &Target, named: &Digest) -> bool {
    let is_layer = matches!(target, Target::Link(layout::LinkDirectory::Layers(_), _));
    is_layer
        && named.algorithm() == Algorithm::Sha256
        && target.digest().is_some_and(|digest| digest.algorithm() != Algorithm::Sha256)
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

/// The path of a target on a shelf.
fn on_shelf(target: &Target) -> PathBuf {
    let path = target.path();
    path.strip_prefix(layout::V2).expect("targets lie in the registry's tree").to_owned()
}

/// Renames without replacing. On filesystems without that operation it links and unlinks, which leaves two names in
/// between.
fn rename(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(from, name, to, name, AtFlags::empty())?;
            unlinkat(from, name, AtFlags::empty())
        }
        renamed => renamed,
    }
}
