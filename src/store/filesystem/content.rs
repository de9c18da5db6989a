//! Reading blobs of any size, at the speed of the disk and without pushing out of the page cache what the machine serves from it.
//!
//! No map: a file that shrinks or a bad sector under one kills the process, and `read` is faster at every size (measured). The kernel
//! is asked not to read ahead by itself, because what it has read ahead can no longer be told from what was there before; each window
//! is probed first, then asked for, read when its turn comes, and dropped if the probe had not found it.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{Advice, FileType};
use rustix::io::{Errno, ReadWriteFlags};

use crate::layout;
use crate::oci::Digest;
use crate::store::{BlobContent, directory};

/// Large enough that calls cost nothing, small enough that 16 of them stay in the processors' caches.
const BUFFER_BYTES: usize = 256 * 1024;
/// What is probed, asked for and dropped at once.
const WINDOW_BYTES: u64 = 1 << 20;
/// Windows asked for before they are read.
const WINDOWS_AHEAD: u64 = 8;

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
    match end {
        Ok(()) => BlobContent::Whole(stat),
        Err(End::Abandoned) => BlobContent::Abandoned,
        Err(End::Failed(source)) => BlobContent::Failed { offset: reader.offset, source },
    }
}

struct Reader<'a> {
    file: OwnedFd,
    /// When it was opened. A file that has shrunk since ends early, one that has grown is read so far.
    size: u64,
    offset: u64,
    each: &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>,
}

/// Why reading ended before the file did.
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
    /// A file that one buffer holds.
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
        // Advice that is not taken costs no more than time.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
        // Before anything is read: from a page that was cached the kernel goes on to read ahead, whatever the advice.
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

    /// Reads and hands over everything from where it is up to `end`, or to where the file now ends.
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

    /// Reads from the page cache alone. A filesystem that cannot say what is in it counts as one that has nothing there: to flood it
    /// with what nobody asked for would do more harm.
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
