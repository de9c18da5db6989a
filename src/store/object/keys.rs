//! What a listing told, by key.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::requests::{Listed, is_path};
use crate::oci::Digest;
use crate::store::memory::{list, list_digests};
use crate::store::{FileState, Leftover, Listing, Stray, StrayKind};

/// Keys of a listing, in order.
pub(super) struct Keys {
    paths: BTreeMap<PathBuf, Listed>,
    /// Those that no path stands for.
    odd: Vec<PathBuf>,
}

impl Keys {
    pub(super) fn new(listed: Vec<Listed>) -> Keys {
        let (paths, odd): (Vec<_>, Vec<_>) = listed.into_iter().partition(|listed| is_path(&listed.key));
        Keys {
            paths: paths.into_iter().map(|listed| (listed.key.clone(), listed)).collect(),
            odd: odd.into_iter().map(|listed| listed.key).collect(),
        }
    }

    /// The keys that are no paths, sorted.
    pub(super) fn odd(&self) -> Vec<Stray> {
        let mut strays: Vec<Stray> =
            self.odd.iter().map(|key| Stray { path: key.clone(), kind: StrayKind::Unrecognised }).collect();
        strays.sort_unstable_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
        strays
    }

    pub(super) fn get(&self, key: &Path) -> Option<&Listed> {
        self.paths.get(key)
    }

    /// What is under a key. That something lies further down makes nothing of it.
    pub(super) fn state(&self, key: &Path) -> FileState {
        self.get(key).map_or(FileState::Absent, |listed| FileState::File(listed.stat()))
    }

    /// All that lies below a directory.
    pub(super) fn below<'k>(&'k self, directory: &'k Path) -> impl Iterator<Item = &'k Listed> {
        let keys = self.paths.range(directory.to_owned()..).take_while(move |(key, _)| key.starts_with(directory));
        keys.filter(move |(key, _)| *key != directory).map(|(_, listed)| listed)
    }

    /// The entries of a directory, and whether more lies below each.
    pub(super) fn children(&self, directory: &Path) -> Vec<(PathBuf, bool)> {
        let mut children: Vec<(PathBuf, bool)> = Vec::new();
        for listed in self.below(directory) {
            let mut rest = listed.key.strip_prefix(directory).expect("it lies below").iter();
            let child = directory.join(rest.next().expect("it lies below"));
            let is_directory = rest.next().is_some();
            match children.last_mut() {
                Some((last, is_last_directory)) if *last == child => *is_last_directory |= is_directory,
                _ => children.push((child, is_directory)),
            }
        }
        children
    }

    /// The directories in a directory that `accept` takes, and what else is in it.
    pub(super) fn list<T: Ord>(&self, directory: &Path, accept: impl Fn(&OsStr) -> Option<T>) -> Listing<T> {
        list(self.children(directory), accept)
    }

    /// `<directory>/<algorithm>/<hex>`.
    pub(super) fn list_digests(&self, directory: &Path) -> Listing<Digest> {
        list_digests(directory, &|directory| self.children(directory))
    }

    /// What lies in a directory beside the names given.
    pub(super) fn beside(&self, directory: &Path, known: &[&str]) -> Vec<Leftover> {
        let is_known = |path: &Path| known.iter().any(|name| path.file_name() == Some(OsStr::new(name)));
        let unknown = self.children(directory).into_iter().filter(|(path, _)| !is_known(path));
        let leftover = |(path, is_directory): (PathBuf, bool)| {
            let state = if is_directory { FileState::Irregular } else { self.state(&path) };
            Leftover { path, state }
        };
        unknown.map(leftover).collect()
    }
}
