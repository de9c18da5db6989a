//! Processes of this machine that may write to the store, as far as `/proc` shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::open_files::is_for_writing;
use super::registries::{self, Serves};
use crate::escape::escaped;
use crate::layout;
use crate::proc::{mount_namespace, pids};
use crate::store::Root;
use crate::store::filesystem::mounts::{self, Mounted, Place};

/// A sign of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A process has a file of the store open for writing.
    Writing {
        /// Its id.
        pid: u32,
        /// Its name.
        name: String,
        /// The file, as it sees it.
        path: PathBuf,
    },
    /// Another mount namespace shows the store at a place of its own.
    Mounted {
        /// The id and name of a process in it, preferably a registry; `None` if it has only kernel threads.
        process: Option<(u32, String)>,
        /// The mount point there.
        at: PathBuf,
        /// The registries in it.
        registries: Vec<u32>,
    },
    /// A process is a registry.
    Registry {
        /// Its id.
        pid: u32,
        /// Its name.
        name: String,
        /// The store that it serves.
        serves: Serves,
    },
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Writing { pid, name, path } => {
                write!(f, "process {pid} ({}) has {} open for writing", escaped(name), escaped(path))
            }
            Sign::Mounted { process: Some((pid, name)), at, .. } => {
                write!(f, "process {pid} ({}) has the store mounted at {}", escaped(name), escaped(at))
            }
            Sign::Mounted { process: None, at, .. } => {
                write!(f, "another mount namespace has the store mounted at {}", escaped(at))
            }
            Sign::Registry { pid, name, serves } => {
                write!(f, "process {pid} ({}) is a registry", escaped(name))?;
                match serves {
                    Serves::Ours(_) => f.write_str(" that works on this store"),
                    Serves::Changed(config, _) => write!(
                        f,
                        ", and {} was changed after it was started: it may work on this store until it is started again",
                        escaped(config)
                    ),
                    Serves::Another | Serves::Untold => f.write_str(", and cannot be seen to work on another store"),
                }
            }
        }
    }
}

/// Inspects every process but this one. Processes that may not be inspected are skipped.
pub(super) fn signs(root: &Root) -> Vec<Sign> {
    let v2 = root.at(layout::V2);
    let ours = mount_namespace("self");
    let mut signs = Vec::new();
    // The processes of other mount namespaces, and whether each is a registry.
    let mut elsewhere: BTreeMap<PathBuf, Vec<(u32, bool)>> = BTreeMap::new();
    for pid in pids().filter(|pid| *pid != std::process::id()) {
        let process = directory(pid);
        signs.extend(writing(&process, &v2).map(|path| Sign::Writing { pid, name: name(pid), path }));
        let serves = registries::serves(&process, root);
        if let Some(namespace) = mount_namespace(&pid.to_string()).filter(|namespace| ours.as_ref() != Some(namespace)) {
            elsewhere.entry(namespace).or_default().push((pid, serves.is_some()));
        }
        signs.extend(serves.filter(|serves| *serves != Serves::Another).map(|serves| Sign::Registry {
            pid,
            name: name(pid),
            serves,
        }));
    }
    if let Some(place) = Mounted::around(&mounts::of_process("self"), &v2) {
        signs.extend(elsewhere.values().filter_map(|processes| mounted(processes, &place, &v2)));
    }
    signs
}

/// The directory of a process.
pub(super) fn directory(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The name of a process; empty if it has ended.
pub(super) fn name(pid: u32) -> String {
    fs::read_to_string(directory(pid).join("comm")).unwrap_or_default().trim_end().to_owned()
}

/// Where the mount namespace of some processes shows a place, if not at ours.
fn mounted(processes: &[(u32, bool)], place: &Place, v2: &Path) -> Option<Sign> {
    let theirs = processes.iter().map(|(pid, _)| mounts::of_process(&pid.to_string())).find(|table| !table.is_empty())?;
    let at = theirs.iter().find_map(|mounted| {
        // Services commonly have a namespace that shows all of our filesystem at its usual place. One that shows less
        // was made to show the store.
        mounted.shows(place).filter(|at| at != v2 || place.is_shown_alone_by(mounted))
    })?;
    let registries: Vec<u32> = processes.iter().filter(|(_, is_registry)| *is_registry).map(|(pid, _)| *pid).collect();
    // Kernel threads have no arguments.
    let has_arguments = |pid: &u32| fs::read(directory(*pid).join("cmdline")).is_ok_and(|line| !line.is_empty());
    let named = registries.first().copied().or_else(|| processes.iter().map(|(pid, _)| *pid).find(has_arguments));
    Some(Sign::Mounted { process: named.map(|pid| (pid, name(pid))), at, registries })
}

/// The first file of the store that a process has open for writing. The path may be valid only in its namespace, so the
/// file is compared with the one at the same place in our view of the store.
fn writing(process: &Path, v2: &Path) -> Option<PathBuf> {
    let base = format!("/{}/", layout::V2);
    fs::read_dir(process.join("fd")).ok()?.flatten().find_map(|descriptor| {
        let path = fs::read_link(descriptor.path()).ok()?;
        let (_, inside) = path.to_str()?.split_once(&base)?;
        let (here, there) = (fs::metadata(v2.join(inside)).ok()?, fs::metadata(descriptor.path()).ok()?);
        let is_ours = (here.dev(), here.ino()) == (there.dev(), there.ino());
        (is_ours && is_for_writing(&process.join("fdinfo").join(descriptor.file_name()))).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileId;
    use crate::writers::OpenFiles;

    #[test]
    fn a_file_that_a_process_writes_to_is_seen() {
        let root = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(root.path()).expect("there");
        let uploads = root.join(layout::REPOSITORIES).join("a/_uploads/1");
        fs::create_dir_all(&uploads).expect("made");
        assert_eq!(signs(&Root::whole(&root)), []);
        let data = fs::File::create(uploads.join("data")).expect("made");
        let other = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(other.path().join(layout::V2)).expect("made");
        let mut sleeper = std::process::Command::new("sleep").arg("60").stdout(data).spawn().expect("sleep runs");
        let seen = signs(&Root::whole(&root));
        let path = uploads.join("data");
        let id = |path: &Path| fs::metadata(path).map(|file| FileId { device: file.dev(), inode: file.ino() }).expect("there");
        assert!(OpenFiles::look().has(&id(&path)));
        fs::rename(&path, uploads.join("elsewhere")).expect("renamed");
        fs::write(&path, "").expect("written");
        let open = OpenFiles::look();
        assert!(open.has(&id(&uploads.join("elsewhere"))) && !open.has(&id(&path)), "by what it is, not by name");
        fs::rename(uploads.join("elsewhere"), &path).expect("renamed");
        assert_eq!(signs(&Root::whole(other.path())), [], "of another store");
        sleeper.kill().and_then(|()| sleeper.wait()).expect("ours to end");
        assert!(
            matches!(&seen[..], [Sign::Writing { pid, path, .. }] if *pid == sleeper.id() && path.ends_with("1/data")),
            "{seen:?}"
        );
    }
}
