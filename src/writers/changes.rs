//! Changes to a store while a run reads it: the one sign of a writer that needs to see neither its processes nor its network.
//!
//! The kernel notifies of changes by any container on the same machine, and two looks show those by other machines. Only entries
//! of the directories in which pushes create something count, and uploads that grow: a push that writes the same links again
//! leaves no such trace, and each target is looked at once more before it is removed anyway.

use std::array;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::looks::{Look, Modified};
use super::notices::{Event, Notice, Noticed, Notices};
use super::view;
use crate::error::Error;
use crate::escape::escaped;
use crate::layout;
use crate::oci::RepositoryName;
use crate::store::Root;

/// Repositories that are looked at, at some 200 bytes each.
const MOST_REPOSITORIES: usize = 100_000;

/// A watched directory: one that repositories share, or one of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Shared(u32),
    Of(u32, u8),
}

/// A store whose changes are being noticed.
pub struct Changes<'a> {
    root: &'a Root,
    notices: Option<Notices<Place>>,
    /// With a look at those that the kernel does not notify of.
    shared: Vec<(PathBuf, Option<Modified>)>,
    repositories: Vec<Look>,
}

impl<'a> Changes<'a> {
    /// Begins before the store is read: watches the directories to which pushes write, and looks at them. What cannot be
    /// watched is only looked at, and what cannot be looked at shows no change. Ends early when `stop` becomes true.
    pub fn watch(root: &'a Root, repositories: &[RepositoryName], stop: &AtomicBool) -> Changes<'a> {
        Changes::watch_with(root, repositories, Notices::begin(), stop)
    }

    fn watch_with(
        root: &'a Root,
        repositories: &[RepositoryName],
        mut notices: Option<Notices<Place>>,
        stop: &AtomicBool,
    ) -> Changes<'a> {
        let repositories = &repositories[..repositories.len().min(MOST_REPOSITORIES)];
        let watch = |path: &Path, place| notices.as_ref().is_some_and(|notices| notices.watch(path, place));
        let namespaces: BTreeSet<&Path> = repositories.iter().flat_map(layout::above).chain([Path::new("")]).collect();
        let namespaces = namespaces.into_iter().map(layout::namespace_directory);
        let shared = layout::blob_directories().chain(namespaces).zip(0..).map(|(relative, number)| {
            let path = root.at(&relative);
            let is_notified = watch(&path, Place::Shared(number)) && view::shows_all_changes(&path);
            let look = (!is_notified).then(|| Modified::of(&path));
            (relative, look)
        });
        let shared = shared.collect();
        let of_repository = |(number, name): (usize, &RepositoryName)| {
            let directories = layout::pushed_to(name);
            // A mount inside a repository sets it apart, and nothing of it goes.
            let shows_all = view::shows_all_changes(&root.at(layout::repository_directory(name)));
            let is_notified =
                array::from_fn(|part| watch(&root.at(&directories[part]), Place::Of(number as u32, part as u8)) && shows_all);
            Look::at(root, name, (&directories, is_notified))
        };
        let is_wanted = || !stop.load(Ordering::Relaxed);
        let looked = repositories.par_iter().enumerate().map(|repository| is_wanted().then(|| of_repository(repository)));
        let looked: Option<Vec<Look>> = looked.collect();
        if looked.is_none() {
            notices = None;
        }
        Changes { root, notices, shared, repositories: looked.unwrap_or_default() }
    }

    /// Ensures that nothing has changed since, right before the first change of our own.
    ///
    /// # Errors
    ///
    /// [`Error::Brake`] when something has.
    pub fn ensure_none(self, offers_online: bool) -> Result<(), Error> {
        let Some(change) = self.first() else { return Ok(()) };
        let online = if offers_online { ", or give --online" } else { "" };
        Err(Error::Brake {
            reason: format!("the store changed while this run looked at it: {change}"),
            lift: format!(
                "stop what writes to it, or make the registry read-only (storage.maintenance.readonly.enabled: true, and restart \
                 it), and run again{online}; --assume-offline does not lift this"
            ),
        })
    }

    /// The first change that is found.
    fn first(mut self) -> Option<Change> {
        let noticed = self.notices.take().map(Notices::end).unwrap_or_default();
        let Noticed { first, explained } = noticed;
        if let Some(notice) = first {
            return Some(self.told_by(notice));
        }
        let of_repository = |(number, before): (usize, &Look)| {
            if let Some(id) = before.continued_upload(self.root) {
                return Some(Change::Upload(layout::uploads_directory(&before.name).join(id)));
            }
            let is_explained = |part: usize| explained.contains(&Place::Of(number as u32, part as u8));
            before.changed(self.root).find(|(part, _)| !is_explained(*part)).map(|(_, path)| Change::Directory(path))
        };
        let shared = || {
            let differs = |path: &Path, before| Modified::of(&self.root.at(path)) != before;
            let is_changed = |(number, (path, before)): &(u32, &(PathBuf, Option<Modified>))| {
                before.is_some_and(|before| differs(path, before)) && !explained.contains(&Place::Shared(*number))
            };
            (0..).zip(&self.shared).find(is_changed).map(|(_, (path, _))| Change::Directory(path.clone()))
        };
        // A repository's name says more than a shard.
        self.repositories.par_iter().enumerate().find_map_first(of_repository).or_else(shared)
    }

    fn told_by(&self, notice: Notice<Place>) -> Change {
        let Notice::Entry(place, name, event) = notice else { return Change::Many };
        let directory = match place {
            Place::Shared(number) => self.shared[number as usize].0.clone(),
            Place::Of(number, part) => layout::pushed_to(&self.repositories[number as usize].name)[part as usize].clone(),
        };
        let is_upload = event == Event::Made && directory.ends_with(layout::UPLOADS);
        let path = directory.join(name);
        if is_upload { Change::Upload(path) } else { Change::Entry(path, event) }
    }
}

/// What has changed, by its path relative to the root.
enum Change {
    /// An upload was begun or continued.
    Upload(PathBuf),
    /// Something happened to an entry.
    Entry(PathBuf, Event),
    /// An entry of this directory was made, moved or removed.
    Directory(PathBuf),
    /// More than anybody counts.
    Many,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Upload(path) => write!(out, "the upload {} was begun or continued: something is being pushed", escaped(path)),
            Change::Entry(path, Event::Made) => write!(out, "{} was made, as by a push", escaped(path)),
            Change::Entry(path, Event::Removed) => write!(out, "{} was removed", escaped(path)),
            Change::Directory(path) => write!(out, "an entry of {} was made or removed", escaped(path)),
            Change::Many => out.write_str("more entries were made or removed than the kernel tells of"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is done to the directory of a store.
    type Act<'a> = &'a dyn Fn(&Path);

    /// Whether something done between the two looks is seen, and what is said of it.
    fn during(notifies: bool, act: Act<'_>) -> Option<String> {
        let root = tempfile::tempdir().expect("a directory");
        let v2 = root.path().join(layout::V2);
        let names = ["team/app", "other"].map(RepositoryName::new);
        for name in &names {
            for directory in layout::pushed_to(name) {
                fs::create_dir_all(root.path().join(directory)).expect("made");
            }
        }
        fs::create_dir_all(v2.join("blobs/sha256/ab/abcd")).expect("made");
        fs::create_dir_all(v2.join("repositories/team/app/_uploads/begun")).expect("made");
        fs::write(v2.join("repositories/team/app/_uploads/begun/data"), "one").expect("made");
        fs::write(v2.join("repositories/team/app/_manifests/tags/x"), "one").expect("made");
        let whole = Root::whole(root.path());
        let notices = notifies.then(Notices::begin).flatten();
        let changes = Changes::watch_with(&whole, &names, notices, &AtomicBool::new(false));
        // The clock of a filesystem may tick a few times in ten milliseconds only.
        std::thread::sleep(std::time::Duration::from_millis(20));
        act(&v2);
        changes.first().map(|change| change.to_string())
    }

    #[test]
    fn what_pushes_write_is_seen_with_notices_and_without() {
        let made = |path: &'static str| move |v2: &Path| fs::create_dir_all(v2.join(path)).expect("made");
        let grown = |v2: &Path| fs::write(v2.join("repositories/team/app/_uploads/begun/data"), "one, two").expect("written");
        let ended = |v2: &Path| {
            let upload = v2.join("repositories/team/app/_uploads/begun");
            fs::rename(upload, v2.join("elsewhere")).expect("moved");
        };
        let acts: [(&str, Act<'_>); 9] = [
            ("team/app/_uploads", &made("repositories/team/app/_uploads/other")),
            ("team/app/_uploads/begun", &grown),
            ("team/app/_uploads", &ended),
            ("other/_layers/sha256", &made("repositories/other/_layers/sha256/ab")),
            ("other/_manifests/tags", &made("repositories/other/_manifests/tags/v1/current")),
            ("other/_manifests/revisions/sha256", &made("repositories/other/_manifests/revisions/sha256/ab")),
            ("blobs/sha256", &made("blobs/sha256/cd/cdef")),
            ("blobs/sha256/ab", &made("blobs/sha256/ab/abef")),
            ("repositories/team", &made("repositories/team/new/_layers")),
        ];
        for notifies in [true, false] {
            for (named, act) in acts {
                let said = during(notifies, act).unwrap_or_else(|| panic!("{named} {notifies}: nothing was seen"));
                assert!(said.contains(named), "{named} {notifies}: {said}");
            }
            let reads = |v2: &Path| assert!(fs::read(v2.join("repositories/team/app/_uploads/begun/data")).is_ok());
            assert_eq!(during(notifies, &reads), None);
        }
        assert_eq!(during(true, &made("repositories/team/app/@eaDir")), None);
    }
}
