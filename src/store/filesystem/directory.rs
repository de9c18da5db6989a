//! Reading directories and small files with as few system calls as the kernel allows.
//!
//! `std` opens by full path, calls `stat` on every directory it opens and allocates for every name. On a store of
//! 100,000 directories that is a third of the time. This module calls `openat`, `getdents64` until it is empty, and
//! `close`, and parses names in place.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::clock::time_of;
use crate::store::{Arrival, Stat};

/// Room for some 800 digest-named entries in one call.
const ENTRIES_BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static ENTRIES: RefCell<Vec<MaybeUninit<u8>>> = RefCell::new(vec![MaybeUninit::uninit(); ENTRIES_BUFFER_BYTES]);
}

/// What an entry of a directory is, symbolic links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

impl Kind {
    fn of(file_type: FileType) -> Kind {
        match file_type {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        }
    }
}

/// Opens a directory for reading, symbolic links followed.
pub(super) fn open_directory(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory below `at` for removing entries in it. Follows no symbolic link on the way, and leaves neither
/// `at` nor its filesystem.
pub(super) fn open_directory_beneath(at: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(&at, path, flags, Mode::empty(), resolve) {
        // Kernels before 5.6 and some sandboxes have no openat2. Opening one component at a time is equivalent.
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut directory: Option<OwnedFd> = None;
            for component in path.split(|&byte| byte == b'/') {
                if matches!(component, b"" | b"." | b"..") {
                    return Err(Errno::XDEV);
                }
                let from = directory.as_ref().map_or(at.as_fd(), AsFd::as_fd);
                let opened = rustix::fs::openat(from, component, flags | OFlags::NOFOLLOW, Mode::empty())?;
                if rustix::fs::fstat(&opened)?.st_dev != rustix::fs::fstat(from)?.st_dev {
                    return Err(Errno::XDEV);
                }
                directory = Some(opened);
            }
            directory.ok_or(Errno::NOENT)
        }
        opened => opened,
    }
}

/// Calls `stat` on a file below `at`, reached as [`open_directory_beneath`] does, symbolic links not followed.
pub(super) fn stat_beneath(at: impl AsFd, path: &std::path::Path) -> rustix::io::Result<rustix::fs::Stat> {
    use std::os::unix::ffi::OsStrExt as _;

    let (parent, name) = (path.parent().ok_or(Errno::NOENT)?, path.file_name().ok_or(Errno::NOENT)?);
    rustix::fs::statat(open_directory_beneath(at, parent.as_os_str().as_bytes())?, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Calls `each` with the name and kind of every entry of an open directory, in no order.
pub(super) fn for_each_entry<E: From<io::Error>>(
    directory: impl AsFd,
    mut each: impl FnMut(&[u8], Kind) -> Result<(), E>,
) -> Result<(), E> {
    let directory = directory.as_fd();
    ENTRIES.with_borrow_mut(|buffer| {
        let mut entries = RawDir::new(directory, buffer.as_mut_slice());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io::Error::from)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some filesystems do not store the type in the directory.
                FileType::Unknown => match rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Kind::of(FileType::from_raw_mode(stat.st_mode)),
                    Err(error) => return Err(io::Error::from(error).into()),
                },
                known => Kind::of(known),
            };
            each(name, kind)?;
        }
        Ok(())
    })
}

/// Whether an open directory has no entry.
pub(super) fn is_empty(directory: impl AsFd) -> io::Result<bool> {
    let mut empty = true;
    for_each_entry(directory, |_, _| -> io::Result<()> {
        empty = false;
        Ok(())
    })?;
    Ok(empty)
}

/// Converts the kernel's size and modification time.
pub(super) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let size_bytes = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 0,
        _ => stat.st_size as u64,
    };
    Stat::new(size_bytes, time_of(stat.st_mtime, stat.st_mtime_nsec))
}

/// When any metadata of a file last changed.
pub(super) fn changed_of(stat: &rustix::fs::Stat) -> SystemTime {
    time_of(stat.st_ctime, stat.st_ctime_nsec)
}

/// The type, size and times of an entry below an open directory, or with [`AtFlags::EMPTY_PATH`] of an open file.
pub(super) fn stat_at(at: impl AsFd, path: impl Arg, flags: AtFlags) -> rustix::io::Result<(FileType, Stat)> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let path = path.into_c_str()?;
    match rustix::fs::statx(&at, &*path, flags, mask) {
        Ok(found) => {
            let reported = StatxFlags::from_bits_retain(found.stx_mask);
            let time = |time: rustix::fs::StatxTimestamp| time_of(time.tv_sec, time.tv_nsec.into());
            let file_type = FileType::from_raw_mode(found.stx_mode.into());
            let size_bytes = if file_type == FileType::Directory { 0 } else { found.stx_size };
            let arrived = match reported.contains(StatxFlags::BTIME) {
                true => Arrival::Born(time(found.stx_btime)),
                false => Arrival::Changed(time(found.stx_ctime)),
            };
            Ok((file_type, Stat { arrived: Some(arrived), ..Stat::new(size_bytes, time(found.stx_mtime)) }))
        }
        // Kernels before 4.11 and some sandboxes have no statx.
        Err(Errno::NOSYS) => {
            let found = rustix::fs::statat(&at, &*path, flags)?;
            let changed = Arrival::Changed(time_of(found.st_ctime, found.st_ctime_nsec));
            Ok((FileType::from_raw_mode(found.st_mode), Stat { arrived: Some(changed), ..stat_of(&found) }))
        }
        Err(error) => Err(error),
    }
}

/// Opens a file that may be of any type. Never waits for a fifo, never acquires a controlling terminal, never follows
/// the last component.
pub(super) fn open_file(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Whether an open file is a regular file.
pub(super) fn is_regular(file: impl AsFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::RegularFile)
}

/// Reads once, and retries after a signal.
pub(super) fn read(file: impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    loop {
        match rustix::io::read(&file, &mut *buffer) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
