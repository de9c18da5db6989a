//! Atomic replacement of files: a reader sees either the old file or the new one.
//!
//! For files that the user names, such as those of `--metrics` and `--state`. Our own records lie in a directory that
//! other accounts may write to: [`Notes`](crate::store::Notes) replaces those through a descriptor, so that no link
//! leads elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;

/// A file that will replace another. An unfinished one is removed.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: NamedTempFile,
    path: PathBuf,
}

impl Replacement {
    /// Creates a file beside the one that it will replace.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written to.
    pub(crate) fn begin(path: &Path, prefix: &str) -> Result<Replacement, Error> {
        let directory = directory_of(path);
        let file = tempfile::Builder::new().prefix(prefix).tempfile_in(directory).context("write to", directory)?;
        Ok(Replacement { file, path: path.to_owned() })
    }

    /// The file being written.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Renames the file into place once its content is on the disk.
    ///
    /// # Errors
    ///
    /// When writing or renaming fails. The old file then remains.
    pub(crate) fn finish(self) -> Result<File, Error> {
        self.file.as_file().sync_all().context("write", &self.path)?;
        self.file.persist(&self.path).map_err(|error| error.error).context("write", &self.path)
    }
}

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Ensures that a path is a regular file or free: devices and links are never replaced.
///
/// # Errors
///
/// When another kind of file exists. The message names the option.
pub(crate) fn ensure_replaceable(option: &str, path: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => {
            let message = format!("{option} {} is no regular file; name one, or one that is not there", escaped(path));
            Err(Error::Usage(message))
        }
        _ => Ok(()),
    }
}

/// Makes sure that a file is in no registry's storage: whatever is wrong with the store, nothing of ours gets into one.
///
/// # Errors
///
/// When it would be. The message names the option that named it.
pub(crate) fn ensure_outside_storage(option: &str, path: &Path) -> Result<(), Error> {
    let is_within = |directory: PathBuf| format!("{}/", directory.display()).contains(&format!("/{}/", layout::V2));
    match std::fs::canonicalize(directory_of(path)).is_ok_and(is_within) {
        true => Err(Error::Usage(format!("{option} {} lies in a registry's storage; name a file elsewhere", escaped(path)))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_old_file_stands_until_the_new_one_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "old").expect("written");
        let mut new = Replacement::begin(&path, ".new-").expect("begun");
        new.file().write_all(b"half").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        drop(new);
        assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing is left behind");
        let mut new = Replacement::begin(&path, ".new-").expect("begun");
        new.file().write_all(b"new").expect("written");
        new.finish().expect("replaced");
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("link");
        ensure_replaceable("--state", &path).expect("nothing there");
        std::os::unix::fs::symlink("file", &path).expect("linked");
        let message = ensure_replaceable("--state", &path).expect_err("a link").to_string();
        assert!(message.contains("--state") && message.contains("no regular file"), "{message}");
        ensure_replaceable("--state", Path::new("/dev/null")).expect_err("a device");
        assert_eq!((directory_of(Path::new("x")), directory_of(Path::new("a/x"))), (Path::new("."), Path::new("a")));
    }
}
