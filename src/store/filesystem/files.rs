//! Links and manifests: small files, read with as few calls as possible.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory;
use crate::layout;
use crate::oci::Digest;
use crate::store::values::begins_as_object;
use crate::store::{FileState, LinkContent, MAX_MANIFEST_BYTES, ManifestContent, ManifestStart, SMALL_MANIFEST_BYTES, Stat};

/// How many times an empty link is read again, 2 ms later each time.
const READS_OF_AN_EMPTY_LINK: u32 = 3;
/// Larger than any digest in text.
const LINK_BUFFER_BYTES: usize = 512;
/// Sized so that one read is usually enough.
const MANIFEST_BUFFER_BYTES: usize = SMALL_MANIFEST_BYTES as usize;
/// How much of a blob is read to decide whether it may be a manifest.
const FIRST_BYTES: usize = 1024;
/// Manifests larger than this are read one at a time: with 16 threads, as many buffers of [`MAX_MANIFEST_BYTES`] and
/// their parsed content would take more memory than the rest of a run.
const LARGE_MANIFEST_BYTES: usize = 1 << 20;

thread_local! {
    static MANIFEST: RefCell<Vec<u8>> = RefCell::new(vec![0; MANIFEST_BUFFER_BYTES]);
}

/// A relative path of a link or blob, in a reused buffer.
#[derive(Default)]
pub(super) struct Relative(String);

impl Relative {
    /// `<algorithm>/<hex>/link`.
    pub(super) fn link(&mut self, digest: &Digest) -> &str {
        self.0.clear();
        self.0.push_str(digest.algorithm().name());
        self.0.push('/');
        digest.push_hex(&mut self.0);
        self.0.push_str("/link");
        &self.0
    }

    /// `<hex>/data`.
    pub(super) fn data(&mut self, digest: &Digest) -> &str {
        self.0.clear();
        digest.push_hex(&mut self.0);
        self.0.push_str("/data");
        &self.0
    }
}

/// Reads a link. An empty one is read again: registries before 3.1 truncate a link before they write it (R14).
pub(super) fn read_link(at: impl AsFd, path: &str) -> io::Result<LinkContent> {
    let read = || match open_link(&at, path)? {
        Ok(file) => read_open_link(&file),
        Err(content) => Ok(content),
    };
    let mut content = read()?;
    for _ in 0..READS_OF_AN_EMPTY_LINK {
        if content != LinkContent::Empty {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        content = read()?;
    }
    Ok(content)
}

/// Reads a link and the state of its file, opened once.
pub(super) fn inspect_link(at: impl AsFd, path: &str) -> io::Result<(LinkContent, FileState)> {
    Ok(match open_link(at, path)? {
        Ok(file) => (read_open_link(&file)?, file_state(directory::stat_at(&file, c"", AtFlags::EMPTY_PATH)?)),
        Err(LinkContent::Absent) => (LinkContent::Absent, FileState::Absent),
        Err(content) => (content, FileState::Irregular),
    })
}

/// Opens a link, or classifies one that cannot be read.
fn open_link(at: impl AsFd, path: &str) -> io::Result<Result<OwnedFd, LinkContent>> {
    match directory::open_file(at, path) {
        Ok(file) => Ok(Ok(file)),
        Err(Errno::NOENT) => Ok(Err(LinkContent::Absent)),
        // A symbolic link, a socket, or a file in place of the directory.
        Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => Ok(Err(LinkContent::Irregular)),
        Err(error) => Err(error.into()),
    }
}

/// The file type matters only if the file holds no digest.
fn read_open_link(file: &OwnedFd) -> io::Result<LinkContent> {
    let mut buffer = [0; LINK_BUFFER_BYTES];
    let read = match directory::read(file, &mut buffer) {
        Ok(read) => read,
        Err(Errno::ISDIR) => return Ok(LinkContent::Irregular),
        Err(Errno::AGAIN) if !directory::is_regular(file)? => return Ok(LinkContent::Irregular),
        Err(error) => return Err(error.into()),
    };
    if let Some(digest) = Digest::parse(&buffer[..read]) {
        return Ok(LinkContent::Digest(digest));
    }
    Ok(match (directory::is_regular(file)?, read) {
        (false, _) => LinkContent::Irregular,
        (true, 0) => LinkContent::Empty,
        (true, _) => LinkContent::Garbled,
    })
}

/// Classifies a blob by its size and first bytes.
pub(super) fn manifest_start(blobs: &OwnedFd, digest: &Digest) -> io::Result<ManifestStart> {
    let file = match directory::open_file(blobs, layout::blob_data_relative(digest)) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return Ok(ManifestStart::Possible),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    // One read of a small file returns all of it, and shows whether it is damaged.
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size <= MANIFEST_BUFFER_BYTES as i64 {
        return Ok(ManifestStart::Possible);
    }
    if stat.st_size as u64 > MAX_MANIFEST_BYTES {
        return Ok(ManifestStart::TooLarge);
    }
    let mut first = [0; FIRST_BYTES];
    let read = directory::read(&file, &mut first)?;
    Ok(match begins_as_object(&first[..read]) {
        true => ManifestStart::Possible,
        false => ManifestStart::NotAnObject,
    })
}

/// Reads a manifest from a directory with the shape of `blobs/`. Large ones are read under `large_manifest`.
pub(super) fn read_manifest(
    blobs: &OwnedFd,
    digest: &Digest,
    large_manifest: &Mutex<()>,
    read_by: &mut dyn FnMut(&[u8]),
) -> io::Result<ManifestContent> {
    MANIFEST.with_borrow_mut(|buffer| read_manifest_into(buffer, blobs, digest, large_manifest, read_by))
}

/// Reads a manifest. If the bytes of the first read match the digest, they are complete and no further call is made.
fn read_manifest_into(
    buffer: &mut Vec<u8>,
    blobs: &OwnedFd,
    digest: &Digest,
    large_manifest: &Mutex<()>,
    read_by: &mut dyn FnMut(&[u8]),
) -> io::Result<ManifestContent> {
    let file = match directory::open_file(blobs, layout::blob_data_relative(digest)) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(ManifestContent::Absent),
        Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return Ok(ManifestContent::Irregular),
        Err(error) => return Err(error.into()),
    };
    let matches = |bytes: &[u8]| Digest::of(digest.algorithm(), bytes) == *digest;
    let mut filled = 0;
    let mut alone = None;
    let content = loop {
        let read = match directory::read(&file, &mut buffer[filled..]) {
            Ok(read) => read,
            Err(Errno::ISDIR) => break ManifestContent::Irregular,
            Err(Errno::AGAIN) if !directory::is_regular(&file)? => break ManifestContent::Irregular,
            Err(error) => return Err(error.into()),
        };
        filled += read;
        if filled as u64 > MAX_MANIFEST_BYTES {
            break if directory::is_regular(&file)? { ManifestContent::TooLarge } else { ManifestContent::Irregular };
        }
        if filled < buffer.len() && matches(&buffer[..filled]) {
            read_by(&buffer[..filled]);
            break ManifestContent::Verified;
        }
        if read == 0 {
            break if directory::is_regular(&file)? { ManifestContent::Corrupt } else { ManifestContent::Irregular };
        }
        if filled == buffer.len() {
            if alone.is_none() && filled >= LARGE_MANIFEST_BYTES {
                // The lock guards no data, only the number of readers.
                alone = Some(large_manifest.lock().unwrap_or_else(PoisonError::into_inner));
            }
            buffer.resize(2 * filled, 0);
        }
    };
    // One large manifest must not keep its buffer for the rest of the run.
    buffer.truncate(MANIFEST_BUFFER_BYTES);
    buffer.shrink_to_fit();
    drop(alone);
    Ok(content)
}

pub(super) fn file_state((file_type, stat): (FileType, Stat)) -> FileState {
    match file_type {
        FileType::RegularFile => FileState::File(stat),
        _ => FileState::Irregular,
    }
}

/// The state of a file, symbolic links not followed.
pub(super) fn stat_file(at: impl AsFd, path: &str) -> io::Result<FileState> {
    match directory::stat_at(at, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(file_state(found)),
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(FileState::Irregular),
        Err(Errno::NOENT) => Ok(FileState::Absent),
        Err(error) => Err(error.into()),
    }
}
