//! Locks a state file for one run: two runs that share it would each write a table without the results of the other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::replacement::ensure_replaceable;

/// Opens and locks the file.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    ensure_replaceable("--state", path)?;
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).context("open", path)?;
        take(&file, path)?;
        // The previous run may have replaced the file.
        let (mine, there) = (file.metadata().context("look at", path)?, std::fs::metadata(path));
        match there {
            Ok(there) if there.ino() == mine.ino() && there.dev() == mine.dev() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("look at", path),
        }
    }
}

/// Locks a file, or fails if another run holds it.
pub(super) fn take(file: &File, path: &Path) -> Result<(), Error> {
    // Fully qualified: newer versions of `File` have methods with these names.
    match fs2::FileExt::try_lock_exclusive(file) {
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Err(Error::Usage(format!(
            "another run has the state file {} open; wait for it, or give another --state",
            escaped(path)
        ))),
        taken => taken.context("lock", path),
    }
}
