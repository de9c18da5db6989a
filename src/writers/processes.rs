//! Processes of this machine that may write to the store, as far as `/proc` shows them to us.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::open_files::is_for_writing;
use super::registries::{self, Serves};
use crate::escape::escaped;
use crate::layout;
use crate::proc::{MountNamespaces, pids};
use crate::store::Root;
use crate::store::filesystem::mounts::{self, Mounted};

/// A sign of somebody at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A process has a file of the store open for writing.
    Writing {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
        /// The file, as it sees it.
        path: PathBuf,
    },
    /// A process sees the store mounted at a place of its own.
    Mounted {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
        /// Where it sees it.
        at: PathBuf,
    },
    /// A process is a registry.
    Registry {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
        /// Whether it works on this store; otherwise that cannot be seen.
        is_ours: bool,
        /// Whether it takes no pushes, by its configuration.
        is_read_only: bool,
    },
}

impl Sign {
    /// Whether it is no more than the sign of a registry that is read-only.
    pub(super) fn may_be_of_a_read_only_registry(&self) -> bool {
        match self {
            Sign::Writing { .. } => false,
            Sign::Mounted { .. } => true,
            Sign::Registry { is_ours, is_read_only, .. } => *is_read_only || !is_ours,
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Writing { pid, name, path } => {
                write!(f, "process {pid} ({}) has {} open for writing", escaped(name), escaped(path))
            }
            Sign::Mounted { pid, name, at } => {
                write!(f, "process {pid} ({}) has the store mounted at {}", escaped(name), escaped(at))
            }
            Sign::Registry { pid, name, is_ours: true, .. } => {
                write!(f, "process {pid} ({}) is a registry that works on this store", escaped(name))
            }
            Sign::Registry { pid, name, .. } => {
                write!(f, "process {pid} ({}) is a registry, and cannot be seen to work on another store", escaped(name))
            }
        }
    }
}

/// Looks at every process but this one. Those that we may not look at are passed over.
pub(super) fn signs(root: &Root) -> Vec<Sign> {
    let v2 = root.at(layout::V2);
    let ours = mounts::of_process("self");
    let place = Mounted::around(&ours, &v2);
    let mut namespaces = MountNamespaces::ours();
    let mut signs = Vec::new();
    for pid in pids().filter(|pid| *pid != std::process::id()) {
        let process = Path::new("/proc").join(pid.to_string());
        let name = || fs::read_to_string(process.join("comm")).unwrap_or_default().trim_end().to_owned();
        signs.extend(writing(&process, &v2).map(|path| Sign::Writing { pid, name: name(), path }));
        match registries::serves(&process, root) {
            None | Some(Serves::Another) => {}
            Some(Serves::Ours { is_read_only }) => signs.push(Sign::Registry { pid, name: name(), is_ours: true, is_read_only }),
            Some(Serves::Untold) => signs.push(Sign::Registry { pid, name: name(), is_ours: false, is_read_only: false }),
        }
        if !namespaces.is_new(pid) {
            continue;
        }
        let Some(place) = &place else { continue };
        let theirs = mounts::of_process(&pid.to_string());
        let elsewhere = theirs.iter().find_map(|mounted| {
            // A namespace that shows all of our filesystem at its usual place is any service's. One that shows less of it was
            // made to show the store.
            mounted.shows(place).filter(|at| *at != v2 || place.is_shown_alone_by(mounted))
        });
        signs.extend(elsewhere.map(|at| Sign::Mounted { pid, name: name(), at }));
    }
    signs
}

/// The first file of the store that a process has open for writing. The path may be one that only it knows, so what counts is that the
/// same file is at the same place in our view of the store.
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
