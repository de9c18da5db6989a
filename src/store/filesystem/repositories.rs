//! Finding the repositories: the one part of the tree whose depth is not known.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use walkdir::WalkDir;

use crate::error::{Context as _, Error};
use crate::layout::{self, MARKERS};
use crate::oci::RepositoryName;
use crate::store::{Listing, RepositoryEntry, Stray, StrayKind};

/// Walks everything below `repositories/`, except into what makes a folder a repository.
pub(super) fn find(base: &Path) -> Result<Listing<RepositoryEntry>, Error> {
    let in_store = |path: &Path| Path::new(layout::REPOSITORIES).join(path.strip_prefix(base).unwrap_or(path));
    let mut names: Vec<(PathBuf, bool)> = Vec::new();
    let mut strays = Vec::new();
    // What is reached through a link, and where links lead to inside the store: the same repository under another name.
    let mut linked: Vec<PathBuf> = Vec::new();
    let mut targets: Vec<PathBuf> = Vec::new();
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
        if entry.path_is_symlink() {
            strays.push(Stray { path: in_store(entry.path()), kind: StrayKind::Symlink });
            let target = std::fs::canonicalize(entry.path()).context("follow", entry.path())?;
            linked.push(entry.path().to_owned());
            targets.push(target);
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
    let mut listing = Listing { entries: Vec::<RepositoryEntry>::new(), strays };
    for (path, linked_marker) in names {
        let name = RepositoryName::new(path.strip_prefix(base).expect("the walk began at the base"));
        let is_target = |target: &PathBuf| path.starts_with(target) || target.starts_with(&path);
        let behind_symlink = linked_marker || linked.iter().any(|link| path.starts_with(link)) || targets.iter().any(is_target);
        match listing.entries.last_mut() {
            Some(last) if last.name == name => last.behind_symlink |= behind_symlink,
            _ => listing.entries.push(RepositoryEntry { name, behind_symlink }),
        }
    }
    Ok(listing.sorted())
}
