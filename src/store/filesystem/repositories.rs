//! Finding the repositories: the one part of the tree whose depth is not known.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use foldhash::HashSet;
use rayon::prelude::*;
use rustix::io::Errno;
use walkdir::WalkDir;

use super::Base;
use super::directory::{Kind, for_each_entry, open_directory};
use crate::error::{Context as _, Error};
use crate::layout::{self, MARKERS};
use crate::oci::RepositoryName;
use crate::store::{Listing, RepositoryEntry, Stray, StrayKind};
use crate::system_files::{is_of_a_fork, is_system_file};

/// Finds everything below `repositories/`, and looks not into what makes a directory a repository.
pub(super) fn find(base: &Base, root: &Path) -> Result<Listing<RepositoryEntry>, Error> {
    // Few stores have symbolic links here, and following them takes twice as many calls.
    let found = match find_unlinked(base)? {
        Some(found) => found,
        None => find_linked(base, root)?,
    };
    Ok(found.into_listing(base))
}

/// What a walk came by.
#[derive(Default)]
struct Found {
    /// Directories of repositories, each as often as it has one of the markers, and whether that one is a symbolic link.
    names: Vec<(PathBuf, bool)>,
    strays: Vec<Stray>,
    /// What is reached through a link.
    linked: HashSet<PathBuf>,
    /// Where links lead to inside the store: the same repository under another name.
    targets: HashSet<PathBuf>,
    /// Links that lead nowhere, and the one that led out of the store to them.
    unresolved: Vec<(PathBuf, PathBuf)>,
}

/// Lists directories level by level, the directories of one level in parallel; nothing if there is a symbolic link among them.
fn find_unlinked(base: &Base) -> Result<Option<Found>, Error> {
    let mut found = Found::default();
    let mut level = vec![PathBuf::new()];
    while !level.is_empty() {
        let listed: Vec<Vec<(PathBuf, Kind)>> =
            level.par_iter().map(|directory| list(base, directory)).collect::<Result<_, _>>()?;
        let mut below = Vec::new();
        for (directory, entries) in level.iter().zip(listed) {
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

/// Walks everything, symbolic links followed.
fn find_linked(base: &Base, root: &Path) -> Result<Found, Error> {
    let Base { path: base, mounts, .. } = base;
    let is_mount = |path: &Path| mounts.iter().any(|mount| base.join(mount) == path);
    let mut found = Found::default();
    let mut entries = WalkDir::new(base).min_depth(1).follow_links(true).into_iter();
    // The link behind which everything is outside of the store, and its depth. Its repositories count, and the rest is not told.
    let mut outside: Option<(usize, PathBuf)> = None;
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(base).to_owned();
                let way_out = outside.as_ref().filter(|(depth, _)| error.depth() > *depth).map(|(_, link)| link);
                if error.loop_ancestor().is_some() {
                    if way_out.is_some() {
                        continue;
                    }
                    found.stray(within(base, &path), StrayKind::Symlink);
                    continue;
                }
                let source = error.into_io_error().expect("what is no loop is an I/O error");
                let unresolved = path.is_symlink()
                    && matches!(source.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::LOOP));
                if let Some(link) = way_out.filter(|_| unresolved) {
                    found.unresolved.push((path, link.clone()));
                    continue;
                }
                return Err(match unresolved {
                    true => Error::UnresolvedSymlink { path },
                    false => Error::Io { operation: "list", path, source },
                });
            }
        };
        let is_directory = entry.file_type().is_dir();
        let is_marker = entry.depth() > 1 && MARKERS.iter().any(|marker| entry.file_name() == *marker);
        let name = entry.file_name().as_bytes();
        if outside.as_ref().is_some_and(|(depth, _)| entry.depth() <= *depth) {
            outside = None;
        }
        if is_system_file(name, is_directory) || (is_directory && is_of_a_fork(name)) {
            let kind = if is_of_a_fork(name) { StrayKind::Unrecognised } else { StrayKind::SystemFile };
            if outside.is_none() {
                found.stray(within(base, entry.path()), kind);
            }
            if is_directory {
                entries.skip_current_dir();
            }
            continue;
        }
        if !is_directory && outside.is_some() {
            continue;
        }
        if !is_directory {
            found.stray(within(base, entry.path()), StrayKind::Unrecognised);
            continue;
        }
        if is_mount(entry.path()) {
            found.stray(within(base, entry.path()), StrayKind::Mount);
        }
        if entry.path_is_symlink() {
            let target = std::fs::canonicalize(entry.path()).context("follow", entry.path())?;
            if outside.is_none() {
                found.stray(within(base, entry.path()), StrayKind::Symlink);
                let is_inside = target.starts_with(base) || target.starts_with(root);
                outside = (!is_inside && !is_marker).then(|| (entry.depth(), entry.path().to_owned()));
            }
            found.linked.insert(entry.path().to_owned());
            // Each directory once through a link: links between a few directories make more ways than anybody can walk.
            let is_new = found.targets.insert(target);
            if !is_marker && !is_new {
                entries.skip_current_dir();
                continue;
            }
        }
        if is_marker {
            entries.skip_current_dir();
            let repository = entry.path().parent().expect("an entry lies in a directory").to_owned();
            found.names.push((repository, entry.path_is_symlink()));
        } else if MARKERS.iter().any(|marker| entry.file_name() == *marker) {
            // `repositories/_layers` belongs to no repository.
            entries.skip_current_dir();
            found.stray(within(base, entry.path()), StrayKind::Unrecognised);
        }
    }
    // Who has repositories there may have lost one of them. Elsewhere links that lead nowhere are nobody's.
    let has_repositories = |link: &Path| found.names.iter().any(|(name, _)| name.starts_with(link));
    match found.unresolved.iter().find(|(_, link)| has_repositories(link)) {
        Some((path, _)) => Err(Error::UnresolvedSymlink { path: path.clone() }),
        None => Ok(found),
    }
}

/// A path without the base.
fn within<'a>(base: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(base).unwrap_or(path)
}

impl Found {
    /// Notes an entry that makes no repository. `path` is relative to the base.
    fn stray(&mut self, path: &Path, kind: StrayKind) {
        self.strays.push(Stray { path: Path::new(layout::REPOSITORIES).join(path), kind });
    }

    fn into_listing(self, base: &Base) -> Listing<RepositoryEntry> {
        let Found { mut names, strays, linked, targets, .. } = self;
        let Base { path: base, mounts, .. } = base;
        let is_mount = |path: &Path| mounts.iter().any(|mount| base.join(mount) == path);
        names.sort();
        let above: HashSet<&Path> = targets.iter().flat_map(|target| target.ancestors()).collect();
        let mut listing = Listing { entries: Vec::<RepositoryEntry>::new(), strays };
        for (path, linked_marker) in names {
            let name = RepositoryName::new(path.strip_prefix(base).expect("the walk began at the base"));
            let through = path.ancestors().any(|directory| linked.contains(directory) || targets.contains(directory));
            let mounted = path.ancestors().any(is_mount) || MARKERS.iter().any(|marker| is_mount(&path.join(marker)));
            let set_apart = match linked_marker || through || above.contains(path.as_path()) {
                true => Some(StrayKind::Symlink),
                false => mounted.then_some(StrayKind::Mount),
            };
            match listing.entries.last_mut() {
                Some(last) if last.name == name => last.set_apart = last.set_apart.or(set_apart),
                _ => listing.entries.push(RepositoryEntry { name, set_apart }),
            }
        }
        listing.sorted()
    }
}
