//! Finding the repositories: the one part of the tree whose depth is not known.

use std::path::{Path, PathBuf};

use foldhash::HashSet;
use rustix::io::Errno;
use walkdir::WalkDir;

use super::Base;
use crate::error::{Context as _, Error};
use crate::layout::{self, MARKERS};
use crate::oci::RepositoryName;
use crate::store::{Listing, RepositoryEntry, Stray, StrayKind};

/// Walks everything below `repositories/`, except into what makes a folder a repository.
pub(super) fn find(base: &Base) -> Result<Listing<RepositoryEntry>, Error> {
    let Base { path: base, mounts, .. } = base;
    let is_mount = |path: &Path| mounts.iter().any(|mount| base.join(mount) == path);
    let in_store = |path: &Path| Path::new(layout::REPOSITORIES).join(path.strip_prefix(base).unwrap_or(path));
    let mut names: Vec<(PathBuf, bool)> = Vec::new();
    let mut strays = Vec::new();
    // What is reached through a link, and where links lead to inside the store: the same repository under another name.
    let mut linked: HashSet<PathBuf> = HashSet::default();
    let mut targets: HashSet<PathBuf> = HashSet::default();
    let mut entries = WalkDir::new(base).min_depth(1).follow_links(true).into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(base).to_owned();
                if error.loop_ancestor().is_some() {
                    strays.push(Stray { path: in_store(&path), kind: StrayKind::Symlink });
                    continue;
                }
                let source = error.into_io_error().expect("what is no loop is an I/O error");
                let unresolved = path.is_symlink()
                    && matches!(source.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::LOOP));
                return Err(match unresolved {
                    true => Error::UnresolvedSymlink { path },
                    false => Error::Io { operation: "list", path, source },
                });
            }
        };
        let is_folder = entry.file_type().is_dir();
        let is_marker = entry.depth() > 1 && MARKERS.iter().any(|marker| entry.file_name() == *marker);
        if !is_folder {
            strays.push(Stray { path: in_store(entry.path()), kind: StrayKind::Unrecognised });
            continue;
        }
        if is_mount(entry.path()) {
            strays.push(Stray { path: in_store(entry.path()), kind: StrayKind::Mount });
        }
        if entry.path_is_symlink() {
            strays.push(Stray { path: in_store(entry.path()), kind: StrayKind::Symlink });
            let target = std::fs::canonicalize(entry.path()).context("follow", entry.path())?;
            linked.insert(entry.path().to_owned());
            // Each folder once through a link: links between a few folders make more ways than anybody can walk.
            let is_new = targets.insert(target);
            if !is_marker && !is_new {
                entries.skip_current_dir();
                continue;
            }
        }
        if is_marker {
            entries.skip_current_dir();
            let repository = entry.path().parent().expect("an entry lies in a folder").to_owned();
            names.push((repository, entry.path_is_symlink()));
        } else if MARKERS.iter().any(|marker| entry.file_name() == *marker) {
            // `repositories/_layers` belongs to no repository.
            entries.skip_current_dir();
            strays.push(Stray { path: in_store(entry.path()), kind: StrayKind::Unrecognised });
        }
    }
    names.sort();
    let above: HashSet<&Path> = targets.iter().flat_map(|target| target.ancestors()).collect();
    let mut listing = Listing { entries: Vec::<RepositoryEntry>::new(), strays };
    for (path, linked_marker) in names {
        let name = RepositoryName::new(path.strip_prefix(base).expect("the walk began at the base"));
        let through = path.ancestors().any(|folder| linked.contains(folder) || targets.contains(folder));
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
    Ok(listing.sorted())
}
