//! What tells whether a blob's file is finished: which file it is, when it was touched, and whether its bytes are whole.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::quarantine::in_mirror;
use super::{FilesystemStore, content};
use crate::error::{Context as _, Error};
use crate::layout::{self, Target};
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::store::{BlobContent, Stat, directory};

/// Which file something is, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The filesystem.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

/// A blob's file as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which file it is: the same one wherever it is moved on its filesystem.
    pub id: FileId,
    /// Size and modification time.
    pub stat: Stat,
    /// When anything about it last changed, by whatever moved or copied it too.
    pub changed: SystemTime,
}

impl Condition {
    /// When it was last written, moved or copied. Copies give files the old times of what they copy, but cannot give them an old
    /// time of change.
    pub fn touched(&self) -> SystemTime {
        self.stat.modified.max(self.changed)
    }
}

impl FilesystemStore {
    /// Looks at a blob's file; nothing if there is no such regular file.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn blob_condition(&self, digest: &Digest) -> Result<Option<Condition>, Error> {
        let Some(base) = &self.blobs else { return Ok(None) };
        condition(&base.directory, Path::new(&layout::blob_data_relative(digest)))
            .context_with("look at", || self.at(layout::blob_data(digest)))
    }

    /// The same for a blob in a mirror.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub(crate) fn condition_in_quarantine(&self, digest: &Digest, mirror: &OwnedFd) -> Result<Option<Condition>, Error> {
        let place = in_mirror(&Target::Blob(*digest));
        condition(mirror, &place).context_with("look in the quarantine at", || place.clone())
    }

    /// Whether a blob's bytes in a mirror come to its digest; nothing if it is not there, or no regular file.
    ///
    /// # Errors
    ///
    /// When it cannot be read to its end.
    pub(crate) fn is_whole_blob_in_quarantine(&self, digest: &Digest, mirror: &OwnedFd) -> Result<Option<bool>, Error> {
        let path = || in_mirror(&Target::Blob(*digest));
        let blobs = match directory::open_directory_beneath(mirror, b"blobs") {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.context_with("read from the quarantine", path)?,
        };
        is_whole(digest, |each| content::read(&blobs, digest, each)).context_with("read from the quarantine", path)
    }

    /// Whether a blob's bytes on the disk come to its digest, whatever the page cache has of them; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be read to its end.
    pub fn is_whole_on_disk(&self, digest: &Digest) -> Result<Option<bool>, Error> {
        let Some(base) = &self.blobs else { return Ok(None) };
        is_whole(digest, |each| content::read_uncached(&base.directory, digest, each))
            .context_with("read", || self.at(layout::blob_data(digest)))
    }
}

/// Hashes what `read` hands over.
fn is_whole(
    digest: &Digest,
    read: impl FnOnce(&mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent,
) -> io::Result<Option<bool>> {
    let mut hasher = Hasher::new(digest.algorithm());
    let content = read(&mut |part| {
        hasher.update(part);
        ControlFlow::Continue(())
    });
    match content {
        BlobContent::Whole(_) => Ok(Some(hasher.finish() == *digest)),
        BlobContent::Failed { source, .. } => Err(source),
        BlobContent::Absent | BlobContent::Irregular | BlobContent::Abandoned => Ok(None),
    }
}

fn condition(directory: &OwnedFd, path: &Path) -> rustix::io::Result<Option<Condition>> {
    let stat = match directory::stat_beneath(directory, path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error),
    };
    let since = u64::try_from(stat.st_ctime).map(Duration::from_secs).unwrap_or_default();
    Ok(Some(Condition {
        id: FileId { device: stat.st_dev, inode: stat.st_ino },
        stat: directory::stat_of(&stat),
        changed: SystemTime::UNIX_EPOCH + since + Duration::from_nanos(stat.st_ctime_nsec),
    }))
}
