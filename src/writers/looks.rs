//! Two looks at a store: what of it differs shows a writer wherever it runs, on another machine too.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

use crate::layout::{self, PUSHED_TO};
use crate::oci::RepositoryName;
use crate::store::Root;
use crate::system_files::is_system_file;

/// Uploads of one repository that are looked at. Nobody has as many at once.
const MOST_UPLOADS: usize = 10_000;

/// When entries of a directory were last made, moved or removed; `None` if it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modified(Option<(i64, u32)>);

impl Modified {
    pub(super) fn of(directory: &Path) -> Modified {
        Modified(seen(directory).map(|(_, modified)| modified))
    }
}

/// Size and modification time, not from an NFS client's cache. Of a symbolic link those of what it leads to.
fn seen(path: &Path) -> Option<(u64, (i64, u32))> {
    let looked = rustix::fs::statx(CWD, path, AtFlags::STATX_FORCE_SYNC, StatxFlags::SIZE | StatxFlags::MTIME);
    let looked = looked.map(|found| (found.stx_size, (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec)));
    match looked {
        // Old kernels, and some sandboxes.
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = fs::metadata(path).ok()?;
            Some((found.len(), (found.mtime(), found.mtime_nsec() as u32)))
        }
        looked => looked.ok(),
    }
}

/// What a repository looked like.
pub(super) struct Look {
    pub(super) name: RepositoryName,
    /// The directories that the kernel does not notify of.
    directories: [Option<Modified>; PUSHED_TO],
    /// What each of its uploads looked like, sorted.
    uploads: Box<[u64]>,
}

impl Look {
    /// Looks at a repository: at its uploads, and at those of its directories that the kernel does not notify of.
    pub(super) fn at(
        root: &Root,
        name: &RepositoryName,
        (directories, is_notified): (&[PathBuf; PUSHED_TO], [bool; PUSHED_TO]),
    ) -> Look {
        // Before its uploads: one that is begun in between changes the directory.
        let look = |part: usize| (!is_notified[part]).then(|| Modified::of(&root.at(&directories[part])));
        let directories: [Option<Modified>; PUSHED_TO] = std::array::from_fn(look);
        // The first of [`layout::pushed_to`]. What cannot be looked at cannot be listed.
        let has_uploads = directories[0] != Some(Modified(None));
        let mut uploads: Vec<u64> = if has_uploads { uploads(root, name).map(|(_, look)| look).collect() } else { Vec::new() };
        uploads.sort_unstable();
        Look { name: name.clone(), directories, uploads: uploads.into() }
    }

    /// An upload that has been continued since, if there were any.
    pub(super) fn continued_upload(&self, root: &Root) -> Option<OsString> {
        if self.uploads.is_empty() {
            return None;
        }
        uploads(root, &self.name).find(|(_, look)| self.uploads.binary_search(look).is_err()).map(|(id, _)| id)
    }

    /// The directories that differ by now, by their places among [`layout::pushed_to`].
    pub(super) fn changed<'a>(&'a self, root: &'a Root) -> impl Iterator<Item = (usize, PathBuf)> + 'a {
        let looked_at = (0..PUSHED_TO).filter_map(|part| Some((part, self.directories[part]?)));
        looked_at.filter_map(|(part, before)| {
            let path = layout::pushed_to(&self.name)[part].clone();
            (Modified::of(&root.at(&path)) != before).then_some((part, path))
        })
    }
}

/// The uploads of a repository, and a number for each that is another one when something is sent to it.
fn uploads(root: &Root, name: &RepositoryName) -> impl Iterator<Item = (OsString, u64)> {
    let entries = fs::read_dir(root.at(layout::uploads_directory(name))).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| !is_system_file(entry.file_name().as_bytes(), true));
    entries.take(MOST_UPLOADS).map(|entry| {
        let mut hasher = DefaultHasher::new();
        (entry.file_name(), seen(&entry.path()), seen(&entry.path().join("data"))).hash(&mut hasher);
        (entry.file_name(), hasher.finish())
    })
}
