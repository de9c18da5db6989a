//! Finding the repositories: the one part of the tree whose depth is unknown.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use foldhash::HashSet;
use rayon::prelude::*;

use super::directory::{Kind, for_each_entry, open_directory};
use super::linked;
use super::store::Base;
use crate::error::{Context as _, Error};
use crate::layout::{self, MARKERS};
use crate::oci::RepositoryName;
use crate::store::{Listing, RepositoryEntry, Stray, StrayKind, Unlisted};
use crate::system_files::{is_of_a_fork, is_system_file};

/// Finds everything below `repositories/`, without entering the markers of a repository. `unlisted` receives the reason
/// why a directory cannot be listed, and decides whether to continue without it.
pub(super) fn find(base: &Base, root: &Path, unlisted: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
    // Few stores have symbolic links here, and following them doubles the number of calls.
    let found = match find_unlinked(base, unlisted)? {
        Some(found) => found,
        None => linked::find(base, root, unlisted)?,
    };
    Ok(found.into_listing(base))
}

/// The result of a walk.
#[derive(Default)]
pub(super) struct Found {
    /// Directories of repositories, once per marker, and whether that marker is a symbolic link.
    pub(super) names: Vec<(PathBuf, bool)>,
    pub(super) strays: Vec<Stray>,
    /// Paths reached through a link.
    pub(super) linked: HashSet<PathBuf>,
    /// Targets of links inside the store: the same repository under another name.
    pub(super) targets: HashSet<PathBuf>,
}

/// Lists directories level by level, each level in parallel; `None` if one of them is a symbolic link.
fn find_unlinked(base: &Base, unlisted: Unlisted<'_>) -> Result<Option<Found>, Error> {
    let mut found = Found::default();
    let mut level = vec![PathBuf::new()];
    while !level.is_empty() {
        let listed: Vec<Result<Vec<(PathBuf, Kind)>, Error>> = level.par_iter().map(|directory| list(base, directory)).collect();
        let mut below = Vec::new();
        for (directory, entries) in level.iter().zip(listed) {
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    unlisted(error)?;
                    continue;
                }
            };
            for (path, kind) in entries {
                let name = path.file_name().expect("entries have names");
                let is_marker = MARKERS.iter().any(|marker| name == *marker);
                if is_system_file(name.as_bytes(), kind == Kind::Directory) {
                    found.stray(&path, StrayKind::SystemFile);
                    continue;
                }
                match kind {
                    Kind::Symlink => return Ok(None),
                    Kind::Directory if is_of_a_fork(name.as_bytes()) => found.stray(&path, StrayKind::Unrecognised),
                    Kind::Other => found.stray(&path, StrayKind::Unrecognised),
                    Kind::Directory => {
                        if base.is_mount(&path) {
                            found.stray(&path, StrayKind::Mount);
                        }
                        match is_marker {
                            false => below.push(path),
                            true if directory.as_os_str().is_empty() => found.stray(&path, StrayKind::Unrecognised),
                            true => found.names.push((base.path.join(directory), false)),
                        }
                    }
                }
            }
        }
        level = below;
    }
    Ok(Some(found))
}

fn list(base: &Base, directory: &Path) -> Result<Vec<(PathBuf, Kind)>, Error> {
    let relative = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut entries = Vec::new();
    let listed = open_directory(&base.directory, relative).map_err(io::Error::from).and_then(|open| {
        for_each_entry(open, |name, kind| -> io::Result<()> {
            entries.push((directory.join(OsStr::from_bytes(name)), kind));
            Ok(())
        })
    });
    listed.context_with("list", || base.path.join(directory))?;
    Ok(entries)
}

/// A path relative to the base.
pub(super) fn within<'a>(base: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(base).unwrap_or(path)
}

impl Found {
    /// Notes an entry that is no part of a repository. `path` is relative to the base.
    pub(super) fn stray(&mut self, path: &Path, kind: StrayKind) {
        self.strays.push(Stray { path: Path::new(layout::REPOSITORIES).join(path), kind });
    }

    fn into_listing(self, base: &Base) -> Listing<RepositoryEntry> {
        let Found { mut names, strays, linked, targets } = self;
        let Base { path: base, mounts, .. } = base;
        let is_mount = |path: &Path| mounts.iter().any(|mount| base.join(mount) == path);
        names.sort();
        let above: HashSet<&Path> = targets.iter().flat_map(|target| target.ancestors()).collect();
        let mut listing = Listing { entries: Vec::<RepositoryEntry>::new(), strays };
        for (path, linked_marker) in names {
            let name = RepositoryName::new(path.strip_prefix(base).expect("the walk began at the base"));
            let through = path.ancestors().any(|directory| linked.contains(directory) || targets.contains(directory));
            let mounted = path.ancestors().any(is_mount) || MARKERS.iter().any(|marker| is_mount(&path.join(marker)));
            let foreign = match linked_marker || through || above.contains(path.as_path()) {
                true => Some(StrayKind::Symlink),
                false => mounted.then_some(StrayKind::Mount),
            };
            match listing.entries.last_mut() {
                Some(last) if last.name == name => last.foreign = last.foreign.or(foreign),
                _ => listing.entries.push(RepositoryEntry { name, foreign }),
            }
        }
        listing.sorted()
    }
}
