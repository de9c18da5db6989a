//! A directory of this machine as the location of a registry's storage.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::lock::StoreLock;
use super::mounts;
use super::own::OwnDirectory;
use super::root::Root;
use super::store::FilesystemStore;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::store::{
    Access, Backend, Identity, Inside, LockGuard, Notes, Parts, Repair, RequestCounts, Shelves, Store, Vacuum, Versions,
};

impl Backend for FilesystemStore {
    fn place(&self) -> &Path {
        self.root().path()
    }

    fn root(&self) -> Option<&Root> {
        Some(FilesystemStore::root(self))
    }

    fn store(&self) -> &dyn Store {
        self
    }

    fn vacuum(&self) -> &dyn Vacuum {
        self
    }

    fn repair(&self) -> Option<&dyn Repair> {
        Some(self)
    }

    fn shelves(&self) -> &dyn Shelves {
        self
    }

    fn notes(&self) -> &dyn Notes {
        self
    }

    fn parts(&self) -> &dyn Parts {
        self
    }

    fn lock(&self, access: Access, wait: Duration, now: Timestamp, stop: &AtomicBool) -> Result<Box<dyn LockGuard>, Error> {
        let root = self.root().path();
        Ok(Box::new(match access {
            Access::Look => StoreLock::shared(root, wait, stop)?,
            Access::Remove | Access::Change => StoreLock::exclusive(root, wait, now, stop)?,
        }))
    }

    fn has(&self, relative: &str) -> Result<bool, Error> {
        let path = self.at(relative);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error).context("look for", path),
        }
    }

    /// Their directory, or that of the links, may be a symbolic link to elsewhere, or a mount of what is mounted in another place too, or
    /// somebody mounts it by itself. Where that is so of a directory above it, up to the root, the same store has another root as well, with a
    /// lock, records and a quarantine of its own.
    fn shared_blobs(&self) -> Result<Option<String>, Error> {
        if let Some(reason) = self.other_root()? {
            return Ok(Some(reason));
        }
        let reasons = [layout::BLOBS, layout::REPOSITORIES].map(|part| self.shared_part(part));
        reasons.into_iter().find_map(Result::transpose).transpose()
    }

    fn holds(&self, path: &Path) -> Option<Inside> {
        let docker = self.at("docker");
        let own = std::fs::canonicalize(self.at(layout::OWN_DIRECTORY));
        match self.bases().map(|(_, base)| base).chain([docker.as_path()]).any(|base| path.starts_with(base)) {
            _ if own.is_ok_and(|own| path.starts_with(own)) => Some(Inside::Ours),
            true => Some(Inside::Registry),
            false => None,
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        // Usually one filesystem, but administrators mount blobs elsewhere.
        fs2::available_space(self.blobs_path().unwrap_or(self.root().path())).ok()
    }

    fn requests(&self) -> Option<RequestCounts> {
        None
    }

    fn versions(&self) -> Option<Versions> {
        None
    }

    fn identity(&self) -> Result<Identity, Error> {
        let directories = [layout::BLOBS, layout::V2].map(|directory| self.at(directory));
        let directory = directories.into_iter().find(|directory| directory.exists());
        let directory = directory.unwrap_or_else(|| self.root().path().to_owned());
        let metadata = std::fs::metadata(&directory).context("look at", &directory)?;
        let filesystem = rustix::fs::statvfs(&directory).context("look at", &directory)?.f_fsid;
        Ok(Identity { place: self.root().path().to_owned(), filesystem, directory: metadata.ino() })
    }
}

/// In `<root>/.regsweep`. The lock is taken before anything is changed, and makes that directory, but for a full disk.
impl FilesystemStore {
    /// Why another store may have `blobs` or `repositories` as well.
    fn shared_part(&self, part: &str) -> Result<Option<String>, Error> {
        let given = self.at(part);
        if given.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let real = std::fs::canonicalize(&given).context("open", &given)?;
        let v2 = self.at(layout::V2);
        let name = Path::new(part).file_name().unwrap_or_default();
        let here = std::fs::canonicalize(&v2).context("open", &v2)?.join(name);
        Ok(if real != here {
            Some(format!("{} is a symbolic link to {}", escaped(&given), escaped(&real)))
        } else if let Some(other) = mounts::shown_elsewhere(&real) {
            Some(format!("what is mounted at {} is {}", escaped(&given), escaped(&other)))
        } else {
            mounts::shown_apart(&real)
                .map(|point| format!("{}, or a part of it, is mounted at {} as well", escaped(&given), escaped(&point)))
        })
    }

    /// Why the same store may have another root.
    fn other_root(&self) -> Result<Option<String>, Error> {
        for place in ["docker", "docker/registry", layout::V2] {
            let path = self.at(place);
            let is_link = match path.symlink_metadata() {
                Ok(metadata) => metadata.is_symlink(),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                Err(error) => return Err(error).context("look at", path),
            };
            // A root that stands for one of them may be reached by any path.
            if is_link && path != self.root().path() {
                let real = std::fs::canonicalize(&path).context("open", &path)?;
                return Ok(Some(format!("{} is a symbolic link to {}", escaped(&path), escaped(&real))));
            }
            // A volume that is mounted there and nowhere else is this store's alone.
            if let Some(other) = std::fs::canonicalize(&path).ok().and_then(|real| mounts::shown_twice(&real)) {
                return Ok(Some(format!("{} is mounted at {} as well", escaped(&path), escaped(&other))));
            }
        }
        Ok(None)
    }
}

impl Notes for FilesystemStore {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match OwnDirectory::open(self.root().path())? {
            Some(own) => own.read(name),
            None => Ok(None),
        }
    }

    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        OwnDirectory::existing(self.root().path())?.replace(name, write)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        OwnDirectory::existing(self.root().path())?.remove(name)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().path().join(layout::OWN_DIRECTORY).join(name)
    }
}
