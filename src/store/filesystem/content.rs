//! Reading blobs of any size at disk speed, without evicting from the page cache the pages that the machine serves.
//!
//! The files are not mapped: a file that shrinks, or a bad sector, kills a process that reads through a map, and `read`
//! is faster at every size (measured). The kernel's own read-ahead is off, because its pages cannot be distinguished
//! from pages that were cached before. Each window is probed first, then requested, read in its turn, and dropped if
//! the probe had not found it.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{Advice, FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::directory;
use crate::layout;
use crate::oci::Digest;
use crate::store::{BlobContent, Stat};

/// Large enough that calls cost nothing, small enough that 16 buffers fit in the processors' caches.
const BUFFER_BYTES: usize = 256 * 1024;
/// The unit of probing, requesting and dropping.
const WINDOW_BYTES: u64 = 1 << 20;
/// Windows requested before they are read.
const WINDOWS_AHEAD: u64 = 8;
/// Alignment of reads past the page cache: no disk has larger sectors.
const DIRECT_ALIGNMENT: usize = 4096;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// Reads a blob's `data`.
pub(super) fn read(blobs: &OwnedFd, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
    let failed = |error: Errno| BlobContent::Failed { offset: 0, source: error.into() };
    let file = match directory::open_file(blobs, layout::blob_data_relative(digest)) {
        Ok(file) => file,
        Err(Errno::NOENT) => return BlobContent::Absent,
        Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return BlobContent::Irregular,
        Err(error) => return failed(error),
    };
    let stat = match rustix::fs::fstat(&file) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => directory::stat_of(&stat),
        Ok(_) => return BlobContent::Irregular,
        Err(error) => return failed(error),
    };
    let mut reader = Reader { file, size: stat.size_bytes, offset: 0, each };
    let end = BUFFER.with_borrow_mut(|buffer| match reader.size <= buffer.len() as u64 {
        true => reader.small(buffer),
        false => reader.large(buffer),
    });
    content_of(end, stat, reader.offset)
}

/// Reads a blob's `data` from the disk, past the page cache: the cache may be wrong where the disk is right, and the
/// other way round.
pub(super) fn read_uncached(blobs: &OwnedFd, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
    let path = layout::blob_data_relative(digest);
    let file = match directory::open_file(blobs, &path) {
        Ok(file) => file,
        Err(Errno::NOENT) => return BlobContent::Absent,
        Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return BlobContent::Irregular,
        Err(error) => return BlobContent::Failed { offset: 0, source: error.into() },
    };
    let stat = match rustix::fs::fstat(&file) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => directory::stat_of(&stat),
        Ok(_) => return BlobContent::Irregular,
        Err(error) => return BlobContent::Failed { offset: 0, source: error.into() },
    };
    // Only clean pages are dropped. On a filesystem that supports neither, the page cache is the only source.
    let _ = rustix::fs::fdatasync(&file);
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    let mut room = vec![0; BUFFER_BYTES + DIRECT_ALIGNMENT];
    let aligned = room.as_ptr().align_offset(DIRECT_ALIGNMENT).min(DIRECT_ALIGNMENT);
    let buffer = &mut room[aligned..][..BUFFER_BYTES];
    // Tried first, because a mapped page stays cached whatever the advice.
    let direct = OFlags::RDONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut offset = 0;
    if let Ok(direct) = rustix::fs::openat(blobs, &path, direct, Mode::empty()) {
        match read_on(&direct, buffer, &mut offset, each) {
            Err(End::Failed(error)) if offset == 0 && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
            end => return content_of(end, stat, offset),
        }
    }
    content_of(read_on(&file, buffer, &mut offset, each), stat, offset)
}

/// Reads a file from its current offset to its end.
fn read_on(
    file: &OwnedFd,
    buffer: &mut [u8],
    offset: &mut u64,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), End> {
    loop {
        let read = directory::read(file, buffer)?;
        if read == 0 {
            return Ok(());
        }
        *offset += read as u64;
        if each(&buffer[..read]).is_break() {
            return Err(End::Abandoned);
        }
    }
}

fn content_of(end: Result<(), End>, stat: Stat, offset: u64) -> BlobContent {
    match end {
        Ok(()) => BlobContent::Whole(stat),
        Err(End::Abandoned) => BlobContent::Abandoned,
        Err(End::Failed(source)) => BlobContent::Failed { offset, source },
    }
}

struct Reader<'a> {
    file: OwnedFd,
    /// At opening. A file that has shrunk since ends early; of one that has grown, this much is read.
    size: u64,
    offset: u64,
    each: &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>,
}

/// Why reading stopped before the end of the file.
enum End {
    Abandoned,
    Failed(io::Error),
}

impl From<Errno> for End {
    fn from(error: Errno) -> End {
        End::Failed(error.into())
    }
}

impl Reader<'_> {
    /// A file that fits in one buffer.
    fn small(&mut self, buffer: &mut [u8]) -> Result<(), End> {
        if self.size == 0 {
            return Ok(());
        }
        let cached = self.read_cached(buffer).unwrap_or(0);
        if cached as u64 == self.size {
            return self.hand_over(&buffer[..cached]);
        }
        self.read_up_to(self.size, buffer)?;
        self.drop_cached(0, None);
        Ok(())
    }

    fn large(&mut self, buffer: &mut [u8]) -> Result<(), End> {
        // Advice that the kernel ignores costs only time.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
        // Before the first read: from a cached page the kernel continues to read ahead, whatever the advice.
        let windows = self.size.div_ceil(WINDOW_BYTES);
        let cold: Vec<bool> = (0..windows).map(|window| !self.is_cached(window * WINDOW_BYTES)).collect();
        for turn in 0..windows + WINDOWS_AHEAD {
            if let Some(window) = turn.checked_sub(WINDOWS_AHEAD) {
                let begin = window * WINDOW_BYTES;
                let read = self.read_up_to((begin + WINDOW_BYTES).min(self.size), buffer);
                if cold[window as usize] {
                    self.drop_cached(begin, NonZeroU64::new(WINDOW_BYTES));
                }
                read?;
            }
            if cold.get(turn as usize).is_some_and(|cold| *cold) {
                let begin = turn * WINDOW_BYTES;
                let _ = rustix::fs::fadvise(&self.file, begin, NonZeroU64::new(WINDOW_BYTES), Advice::WillNeed);
            }
        }
        Ok(())
    }

    /// Reads from the current offset up to `end`, or to the current end of the file.
    fn read_up_to(&mut self, end: u64, buffer: &mut [u8]) -> Result<(), End> {
        while self.offset < end {
            let most = buffer.len().min((end - self.offset) as usize);
            let read = loop {
                match rustix::io::pread(&self.file, &mut buffer[..most], self.offset) {
                    Err(Errno::INTR) => {}
                    result => break result?,
                }
            };
            if read == 0 {
                break;
            }
            self.hand_over(&buffer[..read])?;
        }
        Ok(())
    }

    fn hand_over(&mut self, part: &[u8]) -> Result<(), End> {
        self.offset += part.len() as u64;
        match (self.each)(part) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(End::Abandoned),
        }
    }

    /// Reads from the page cache alone. A filesystem that does not report its cached pages counts as one with none:
    /// filling the cache with unrequested pages would do more harm.
    fn read_cached(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buffer)], 0, ReadWriteFlags::NOWAIT)
    }

    fn is_cached(&self, offset: u64) -> bool {
        let mut byte = [0];
        rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT).is_ok()
    }

    fn drop_cached(&self, offset: u64, length: Option<NonZeroU64>) {
        let _ = rustix::fs::fadvise(&self.file, offset, length, Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[test]
    fn every_size_is_read_past_the_page_cache_as_through_it() {
        // Also on a disk: a filesystem in memory may not support reads past the page cache.
        for directory in [tempfile::tempdir().expect("a directory"), tempfile::tempdir_in(".").expect("a directory")] {
            let blobs = directory::open_directory(rustix::fs::CWD, directory.path()).expect("there");
            for length in [0, 1, 511, 4096, 4097, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES + 777] {
                let bytes: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
                let digest = Digest::of(Algorithm::Sha256, &bytes);
                let path = directory.path().join(layout::blob_data_relative(&digest));
                std::fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
                std::fs::write(&path, &bytes).expect("written");
                for read in [read, read_uncached] {
                    let mut found = Vec::new();
                    let content = read(&blobs, &digest, &mut |part| {
                        found.extend_from_slice(part);
                        ControlFlow::Continue(())
                    });
                    assert!(matches!(content, BlobContent::Whole(stat) if stat.size_bytes == length as u64), "{content:?}");
                    assert!(found == bytes, "{length} bytes");
                }
            }
        }
    }
}
