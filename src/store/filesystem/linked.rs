//! Finding repositories in a tree with symbolic links.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use foldhash::HashSet;
use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::mounts;
use super::repositories::{Found, within};
use super::store::Base;
use crate::error::{Context as _, Error};
use crate::layout::{MARKERS, UPLOADS};
use crate::oci::RepositoryName;
use crate::store::{StrayKind, Unlisted};
use crate::system_files::{is_of_a_fork, is_system_file};

/// Walks the whole tree, symbolic links followed.
pub(super) fn find(base: &Base, root: &Path, unlisted: Unlisted<'_>) -> Result<Found, Error> {
    let mut walk =
        Linked { base, root, found: Found::default(), outside: None, unresolved: Vec::new(), elsewhere: HashSet::default() };
    let mut entries = WalkDir::new(&base.path).min_depth(1).follow_links(true).into_iter();
    while let Some(entry) = entries.next() {
        let next = match entry {
            Ok(entry) => walk.visit(&entry)?,
            Err(error) => match walk.fail(error) {
                Ok(next) => next,
                Err(error) => {
                    unlisted(error)?;
                    Next::Into
                }
            },
        };
        if next == Next::Beside {
            entries.skip_current_dir();
        }
    }
    walk.end()
}

/// Where a walk continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// In the directory, if it is one.
    Into,
    /// At the next sibling.
    Beside,
}

/// A walk through links.
struct Linked<'a> {
    base: &'a Base,
    root: &'a Path,
    found: Found,
    /// The link behind which everything is outside the store, and its depth. Repositories behind it count; other
    /// entries are not reported.
    outside: Option<(usize, PathBuf)>,
    /// Dangling links and links to empty directories, each with the link that led out of the store to it.
    unresolved: Vec<(PathBuf, PathBuf)>,
    /// Links out of the store to trees without visible signs of a registry.
    elsewhere: HashSet<PathBuf>,
}

impl Linked<'_> {
    fn visit(&mut self, entry: &DirEntry) -> Result<Next, Error> {
        let is_directory = entry.file_type().is_dir();
        let is_marker_name = MARKERS.iter().any(|marker| entry.file_name() == *marker);
        let is_marker = entry.depth() > 1 && is_marker_name;
        let name = entry.file_name().as_bytes();
        if self.outside.as_ref().is_some_and(|(depth, _)| entry.depth() <= *depth) {
            self.outside = None;
        }
        if is_system_file(name, is_directory) || (is_directory && is_of_a_fork(name)) {
            let kind = if is_of_a_fork(name) { StrayKind::Unrecognised } else { StrayKind::SystemFile };
            if self.outside.is_none() {
                self.stray(entry, kind);
            }
            return Ok(if is_directory { Next::Beside } else { Next::Into });
        }
        if !is_directory {
            match &self.outside {
                Some((_, link)) => drop(self.elsewhere.insert(link.clone())),
                None => self.stray(entry, StrayKind::Unrecognised),
            }
            return Ok(Next::Into);
        }
        if self.base.mounts.iter().any(|mount| self.base.path.join(mount) == entry.path()) {
            self.stray(entry, StrayKind::Mount);
        }
        if entry.path_is_symlink() && self.follow(entry, is_marker)? == Next::Beside {
            return Ok(Next::Beside);
        }
        if is_marker {
            let repository = entry.path().parent().expect("an entry lies in a directory").to_owned();
            self.found.names.push((repository, entry.path_is_symlink()));
            return Ok(Next::Beside);
        }
        if is_marker_name {
            // `repositories/_layers` belongs to no repository.
            self.stray(entry, StrayKind::Unrecognised);
            return Ok(Next::Beside);
        }
        Ok(Next::Into)
    }

    /// Notes a symbolic link to a directory.
    fn follow(&mut self, entry: &DirEntry, is_marker: bool) -> Result<Next, Error> {
        let path = entry.path();
        let target = std::fs::canonicalize(path).context("follow", path)?;
        let is_inside = target.starts_with(&self.base.path) || target.starts_with(self.root);
        // A disk may be mounted anywhere, in the registry's own tree as well. Regsweep never empties the target of a
        // link, so an empty one means an unmounted disk. Uploads are often redirected to another disk, and are usually
        // empty.
        if entry.file_name() != UPLOADS && !mounts::holds_something(path) {
            match &self.outside {
                Some((_, link)) => self.unresolved.push((path.to_owned(), link.clone())),
                None => return Err(Error::EmptySymlink { path: path.to_owned(), way_out: None }),
            }
        }
        if self.outside.is_none() {
            self.stray(entry, StrayKind::Symlink);
            self.outside = (!is_inside && !is_marker).then(|| (entry.depth(), path.to_owned()));
        }
        self.found.linked.insert(path.to_owned());
        // Each directory is entered once through a link: links between a few directories make exponentially many paths.
        let is_new = self.found.targets.insert(target);
        Ok(if is_marker || is_new { Next::Into } else { Next::Beside })
    }

    /// Classifies a walk error.
    fn fail(&mut self, error: walkdir::Error) -> Result<Next, Error> {
        let path = error.path().unwrap_or(&self.base.path).to_owned();
        let way_out = self.outside.as_ref().filter(|(depth, _)| error.depth() > *depth).map(|(_, link)| link.clone());
        if error.loop_ancestor().is_some() {
            if way_out.is_none() {
                self.found.stray(within(&self.base.path, &path), StrayKind::Symlink);
            }
            return Ok(Next::Into);
        }
        let source = error.into_io_error().expect("what is no loop is an I/O error");
        let code = source.raw_os_error().map(Errno::from_raw_os_error);
        let is_unresolved = path.is_symlink() && matches!(code, Some(Errno::NOENT | Errno::LOOP));
        match way_out {
            Some(link) if is_unresolved => {
                self.unresolved.push((path, link));
                Ok(Next::Into)
            }
            _ if is_unresolved => Err(Error::UnresolvedSymlink { path, way_out: None }),
            _ => Err(Error::Io { operation: "list", path, source }),
        }
    }

    /// An unresolved link outside the store counts as a lost repository if its tree holds repositories or no other
    /// content, or if the registry serves the link's name. Other unresolved links are ignored.
    fn end(self) -> Result<Found, Error> {
        let Linked { base, found, unresolved, elsewhere, .. } = self;
        let has_repositories = |link: &Path| found.names.iter().any(|(name, _)| name.starts_with(link));
        let counts = |path: &Path, link: &Path| {
            has_repositories(link) || !elsewhere.contains(link) || may_be_served(within(&base.path, path))
        };
        match unresolved.into_iter().find(|(path, link)| counts(path, link)) {
            Some((path, link)) if path.exists() => Err(Error::EmptySymlink { path, way_out: Some(link) }),
            Some((path, link)) => Err(Error::UnresolvedSymlink { path, way_out: Some(link) }),
            None => Ok(found),
        }
    }

    fn stray(&mut self, entry: &DirEntry, kind: StrayKind) {
        self.found.stray(within(&self.base.path, entry.path()), kind);
    }
}

/// Whether the registry would find a repository, or part of one, at a path relative to `repositories/`.
fn may_be_served(path: &Path) -> bool {
    let is_marker = path.file_name().is_some_and(|name| MARKERS.iter().any(|marker| name == *marker));
    let repository = if is_marker { path.parent() } else { Some(path) };
    repository.is_some_and(|path| RepositoryName::new(path).is_valid())
}
