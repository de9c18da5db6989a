//! The location of a store on this machine: the registry's root directory, or a mounted part of it.

use std::fs::ReadDir;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error};
use crate::layout;
use crate::system_files::is_system_file;

/// A directory that stands for the registry's root.
///
/// Usually the root itself. It may also be the registry's `docker`, `docker/registry` or `docker/registry/v2`, if only
/// that directory is mounted here, under any name. Entries beside it are then invisible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
    /// The path of this directory in the registry, relative to the registry's root.
    stands_for: &'static str,
}

impl Root {
    /// A registry's root directory, whatever its content.
    pub fn whole(path: &Path) -> Root {
        Root { path: path.to_owned(), stands_for: "" }
    }

    /// A directory with the content of the root, or of a directory on the way down from it; `None` for any other.
    pub fn with_content(path: &Path) -> Option<Root> {
        let stands_for = |stands_for| Root { path: path.to_owned(), stands_for };
        if stands_for("").has(layout::V2) {
            return Some(stands_for(""));
        }
        let parts = ["docker", "docker/registry", layout::V2].map(stands_for);
        parts.into_iter().find(|root| root.has(layout::REPOSITORIES) && root.has(layout::BLOBS))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path in the registry, if it is not the registry's root.
    pub fn stands_for(&self) -> Option<&'static str> {
        Some(self.stands_for).filter(|place| !place.is_empty())
    }

    /// Resolves a path relative to the registry's root. Entries beside the directory have no path here, and are not
    /// found.
    pub fn at(&self, relative: impl AsRef<Path>) -> PathBuf {
        let relative = relative.as_ref();
        self.path.join(relative.strip_prefix(self.stands_for).unwrap_or(relative))
    }

    /// Whether a pull-through cache's state file is here. A file that cannot be checked may be one.
    pub fn has_cache_state(&self) -> bool {
        let is_absence = |error: io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        !self.at(layout::PROXY_STATE).symlink_metadata().is_err_and(is_absence)
    }

    fn has(&self, directory: &str) -> bool {
        self.at(directory).is_dir()
    }

    /// This root with symbolic links resolved.
    ///
    /// # Errors
    ///
    /// When the directory cannot be opened.
    pub fn resolved(&self) -> Result<Root, Error> {
        let path = std::fs::canonicalize(&self.path).context("open the root directory", &self.path)?;
        Ok(Root { path, stands_for: self.stands_for })
    }

    /// Whether no registry has written here yet: the directory is empty, or holds only entries of a new filesystem.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    pub fn is_unused(&self) -> Result<bool, Error> {
        let look = |entries: ReadDir| -> io::Result<bool> {
            for entry in entries {
                let entry = entry?;
                if !is_system_file(std::os::unix::ffi::OsStrExt::as_bytes(&*entry.file_name()), entry.file_type()?.is_dir()) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        std::fs::read_dir(&self.path).and_then(look).context("list", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_unreadable_cache_state_may_exist() {
        let directory = tempfile::tempdir().expect("a directory");
        let has_state = |root: &str| Root::whole(&directory.path().join(root)).has_cache_state();
        fs::write(directory.path().join("file"), "").expect("written");
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).expect("linked");
        assert_eq!(["", "absent", "file", "loop"].map(has_state), [false, false, false, true]);
        fs::write(directory.path().join(layout::PROXY_STATE), "{}").expect("written");
        assert!(has_state(""));
    }

    #[test]
    fn what_is_mounted_of_a_root_stands_for_it() {
        let above = tempfile::tempdir().expect("a directory");
        for (place, blobs) in
            [("", layout::BLOBS), ("docker", "registry/v2/blobs"), ("docker/registry", "v2/blobs"), (layout::V2, "blobs")]
        {
            let path = above.path().join(format!("volume of {}", place.replace('/', "-")));
            fs::create_dir_all(path.join(blobs)).expect("made");
            assert!(Root::with_content(&path).is_none() || place.is_empty(), "{place}: blobs alone are no store");
            fs::create_dir_all(path.join(blobs).with_file_name("repositories")).expect("made");
            let root = Root::with_content(&path).expect("a store");
            assert_eq!(root.stands_for().unwrap_or_default(), place);
            assert_eq!(root.at(layout::BLOBS), path.join(blobs));
            assert!(!root.is_unused().expect("listed"));
        }
        let whole = Root::whole(above.path());
        assert_eq!(whole.at(layout::OWN_DIRECTORY), above.path().join(".regsweep"));
        let part = Root { path: above.path().to_owned(), stands_for: layout::V2 };
        assert_eq!(part.at(layout::OWN_DIRECTORY), above.path().join(".regsweep"));
        assert_eq!(part.at(layout::V2), above.path().join(""));
    }

    #[test]
    fn only_what_a_filesystem_begins_with_is_unused() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Root::whole(dir.path());
        assert!(root.is_unused().expect("listed"));
        fs::create_dir(dir.path().join("lost+found")).expect("made");
        assert!(root.is_unused().expect("listed"));
        fs::create_dir(dir.path().join(layout::OWN_DIRECTORY)).expect("made");
        assert!(!root.is_unused().expect("listed"), "there was a store here once");
    }
}
