//! The directory of all shelves, `<root>/.regsweep/quarantine`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, Statx, StatxFlags};
use rustix::io::Errno;

use super::directory::{self, Kind, for_each_entry, open_directory_beneath};
use super::making::MadeDirectories;
use super::own::{self, OwnDirectory};
use super::removal::unlinkat;
use super::shelf::FilesystemShelf;
use super::store::FilesystemStore;
use crate::error::{Context as _, Error};
use crate::escape::{escaped, escaped_bytes};
use crate::format::size;
use crate::layout::{self, Target};
use crate::store::{Shelf, Shelves};

/// The name of the directory in our own.
const QUARANTINE: &str = "quarantine";

/// The size of a digest's entry in its parent directory, with the unused part of each block, and in the record of the
/// sweep.
const ENTRY_BYTES: u64 = 192;
/// ext2, ext3 and ext4.
const EXT_MAGIC: u64 = 0xEF53;
/// The least size of an inode on filesystems that store inodes in blocks.
const INODE_BYTES: u64 = 256;
/// A run's directory, its stamp, twice during a replacement, and the parent directories.
const OWN_INODES: u64 = 6;
/// The alternative if quarantining is impossible.
const WITHOUT: &str = "run without a quarantine";
/// A run's stamp, twice during a replacement, and its directories.
const STAMP_BYTES: u64 = 64 << 10;

impl Shelves for FilesystemStore {
    fn place(&self) -> PathBuf {
        self.root().path().join(layout::OWN_DIRECTORY).join(QUARANTINE)
    }

    /// Directories without the name of a run are not ours: they are left alone.
    fn list<'s>(&'s self, is_run: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Shelf + 's>>, Error> {
        let path = self.place();
        let Some(own) = OwnDirectory::open(self.root().path())? else { return Ok(Vec::new()) };
        let all = match open_directory_beneath(own.descriptor(), QUARANTINE.as_bytes()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => Arc::new(own::opened(opened, &path)?),
        };
        let mut names = Vec::new();
        for_each_entry(&*all, |name, kind| -> std::io::Result<()> {
            match std::str::from_utf8(name).ok().filter(|name| kind == Kind::Directory && is_run(name)) {
                Some(name) => names.push(name.to_owned()),
                None => {
                    tracing::warn!("{}/{} is no run of regsweep, and is left alone", escaped(&path), escaped_bytes(name));
                }
            }
            Ok(())
        })
        .context("list", &path)?;
        let mut shelves: Vec<Box<dyn Shelf + 's>> = Vec::with_capacity(names.len());
        for name in names {
            let path = path.join(&name);
            match open_directory_beneath(&*all, name.as_bytes()) {
                // An administrator restored it by hand.
                Err(Errno::NOENT) => {}
                opened => {
                    let directory = opened.context("open", &path)?;
                    let (all, made) = (Arc::clone(&all), MadeDirectories::default());
                    shelves.push(Box::new(FilesystemShelf { store: self, name, path, all, directory, made }));
                }
            }
        }
        Ok(shelves)
    }

    fn make<'s>(&'s self, name: &str) -> Result<Option<Box<dyn Shelf + 's>>, Error> {
        let mut made = MadeDirectories::default();
        match self.make_in(name, &mut made) {
            Ok(None) => Ok(None),
            Ok(Some((all, directory))) => {
                let path = self.place().join(name);
                Ok(Some(Box::new(FilesystemShelf { store: self, name: name.to_owned(), path, all, directory, made })))
            }
            Err(error) => {
                made.undo();
                Err(error)
            }
        }
    }

    fn ensure_possible(&self, instead: &str) -> Result<(), Error> {
        let path = self.place();
        let root = self.root().path();
        // The existing part of the path, or its future parent.
        let above = path.parent().unwrap_or(root);
        let ours = [path.as_path(), above, root].into_iter().find_map(|place| mount_of(rustix::fs::CWD, place).ok());
        for (base, base_path) in self.bases() {
            let theirs = mount_of(base, Path::new("")).context("look at", base_path)?;
            if Some(theirs) != ours {
                let where_to = match ours.is_some_and(|ours| ours.0 == theirs.0) {
                    true => "is mounted apart from",
                    false => "is on another filesystem than",
                };
                let message = format!(
                    "{} {where_to} {}, and nothing can be moved between the two at once; {instead}",
                    escaped(base_path),
                    escaped(&path)
                );
                return Err(Error::Usage(message));
            }
        }
        Ok(())
    }

    /// What was mounted in the store since it was opened is seen by the move alone.
    fn ensure_returnable(&self, targets: &mut dyn Iterator<Item = &Target>, instead: &str) -> Result<(), Error> {
        for target in targets {
            let path = target.path();
            let Some((base, relative)) = self.locate(&path) else { continue };
            if let Some(mount) = relative.ancestors().find(|place| !place.as_os_str().is_empty() && base.is_mount(place)) {
                let message = format!(
                    "{} is mounted apart from {}, where something is that belongs there and is to be restored, and nothing can be moved between the \
                     two at once; {instead}",
                    escaped(base.path.join(mount)),
                    escaped(self.place())
                );
                return Err(Error::Usage(message));
            }
        }
        Ok(())
    }

    /// Each file needs a directory of its own.
    fn ensure_room(&self, files: u64, directories: u64) -> Result<(), Error> {
        self.ensure_possible(WITHOUT)?;
        let path = self.root().path();
        let room = directory::open_directory(rustix::fs::CWD, path).and_then(rustix::fs::fstatvfs).context("look at", path)?;
        // Only ext allocates a block per directory at once; on others it takes an inode, which some store in blocks.
        let is_ext = rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u64 == EXT_MAGIC);
        let bytes_each = if is_ext { room.f_frsize } else { INODE_BYTES };
        let entries = files.saturating_mul(ENTRY_BYTES);
        let needed = directories.saturating_mul(bytes_each).saturating_add(entries).saturating_add(STAMP_BYTES);
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        // A filesystem that creates inodes dynamically reports none.
        let lacks_inodes = room.f_files > 0 && room.f_favail < directories.saturating_add(OWN_INODES);
        let reason = if free < needed {
            format!("to quarantine {files} files takes {} for their directories, and {} are free", size(needed), size(free))
        } else if lacks_inodes {
            format!("to quarantine {files} files takes as many inodes for their directories, and {} are free", room.f_favail)
        } else {
            return Ok(());
        };
        let lift = "stop the registry and collect without a quarantine, which needs no room, or make some".to_owned();
        Err(Error::Brake { reason, lift })
    }
}

impl FilesystemStore {
    /// Makes the directory of a shelf in that of all shelves; nothing if there is one of that name. What is made around it is in `made`.
    fn make_in(&self, name: &str, made: &mut MadeDirectories) -> Result<Option<(Arc<OwnedFd>, OwnedFd)>, Error> {
        let path = self.place();
        let own = OwnDirectory::existing(self.root().path())?;
        make_directory_of_all(own.descriptor(), self, made).context("create", &path)?;
        let all = Arc::new(own::opened(open_directory_beneath(own.descriptor(), QUARANTINE.as_bytes()), &path)?);
        self.ensure_possible(WITHOUT)?;
        let path = path.join(name);
        match rustix::fs::mkdirat(&*all, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Ok(None),
            made => made.context("create", &path)?,
        }
        let opened = open_directory_beneath(&*all, name.as_bytes()).context("open", &path);
        if opened.is_err() {
            let _nothing_in_it = unlinkat(&*all, name.as_bytes(), AtFlags::REMOVEDIR);
        }
        Ok(Some((all, opened?)))
    }
}

/// The filesystem of a directory, and its mount if the system reports it (Linux 5.8): a rename fails between two
/// mounts, even of one filesystem.
fn mount_of(at: impl AsFd, path: &Path) -> rustix::io::Result<(u64, Option<u64>)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let device = rustix::fs::statat(&at, path, flags)?.st_dev;
    let stat = rustix::fs::statx(&at, path, flags, StatxFlags::MNT_ID);
    let has_mount = |stat: &Statx| StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((device, stat.ok().filter(has_mount).map(|stat| stat.stx_mnt_id)))
}

/// Creates the directory of all shelves, with no wider access than the store.
fn make_directory_of_all(own: &OwnedFd, store: &FilesystemStore, made: &mut MadeDirectories) -> std::io::Result<()> {
    let mut mode = 0o777;
    let above = Path::new(layout::V2).ancestors().map(|directory| rustix::fs::stat(store.at(directory)));
    for stat in above.chain(store.bases().map(|(base, _)| rustix::fs::fstat(base))) {
        match stat {
            Ok(stat) => mode &= stat.st_mode,
            // The path lies above the mounted part.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let around = own.try_clone()?;
    match rustix::fs::mkdirat(own, QUARANTINE, Mode::from_raw_mode(mode | 0o700)) {
        Ok(()) => made.add(around, QUARANTINE.as_bytes()),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
