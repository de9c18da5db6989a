//! Evidence that a blob's file is finished: its identity, its times, and its hash.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory;
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::store::{BlobContent, Condition, FileId};

/// Hashes the content that `read` delivers.
pub(super) fn is_whole(
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

/// The current condition of a file; `None` if it is no regular file.
pub(super) fn condition(directory: &OwnedFd, path: &Path) -> rustix::io::Result<Option<Condition>> {
    let stat = match directory::stat_beneath(directory, path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Condition {
        id: Some(FileId { device: stat.st_dev, inode: stat.st_ino }),
        stat: directory::stat_of(&stat),
        changed: directory::changed_of(&stat),
    }))
}
