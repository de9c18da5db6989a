//! Resolves paths of another process from its own root, and detects recent changes on the way.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::clock::time_of;

/// The kernel's limit of symbolic links in one path (source: `MAXSYMLINKS` in Linux).
const MOST_LINKS: u32 = 40;

/// The result of resolving a path of a process.
#[derive(Debug)]
pub(super) struct Reached {
    /// The resolved path from here, without symbolic links except for the process's own root or working directory.
    pub(super) path: PathBuf,
    /// The last change on the way: a symbolic link was created, or a directory was renamed.
    pub(super) changed: SystemTime,
}

/// Resolves a path as a process does: absolute symbolic links start at its root, and not at ours.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] if the path does not exist; any other error if that cannot be determined.
pub(super) fn reach(process: &Path, path: &Path) -> io::Result<Reached> {
    reach_by(process, path, &mut |_| ())
}

/// When the last symbolic link on the way was created, as far as the way leads; `None` without one.
pub(super) fn relinked_at(process: &Path, path: &Path) -> Option<SystemTime> {
    let mut last = None;
    // What is there or not does not matter: the link may have led elsewhere a moment ago.
    let _ = reach_by(process, path, &mut |created| last = last.max(Some(created)));
    last
}

fn reach_by(process: &Path, path: &Path, on_link: &mut dyn FnMut(SystemTime)) -> io::Result<Reached> {
    let root = process.join("root");
    let mut base = if path.is_absolute() { root.clone() } else { process.join("cwd") };
    // A link that cannot be followed here cannot be inspected.
    fs::read_link(&base)?;
    let mut left: VecDeque<OsString> = components(path);
    let mut parts: Vec<OsString> = Vec::new();
    let (mut links, mut changed) = (0, SystemTime::UNIX_EPOCH);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            let is_above = parts.last().is_none_or(|last| last == "..");
            match (is_above, base == root) {
                (false, _) => drop(parts.pop()),
                // The parent of a root is the root.
                (true, true) => {}
                (true, false) => parts.push(name),
            }
            continue;
        }
        let here = base.join(parts.iter().collect::<PathBuf>()).join(&name);
        let there = fs::symlink_metadata(&here)?;
        if !there.is_symlink() {
            // A change of its entries sets both times of a directory. A rename sets one.
            if there.is_dir() && changed_at(&there) != modified_at(&there) {
                changed = changed.max(changed_at(&there));
            }
            parts.push(name);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from(rustix::io::Errno::LOOP));
        }
        changed = changed.max(changed_at(&there));
        on_link(changed_at(&there));
        let target = fs::read_link(&here)?;
        if target.is_absolute() {
            base.clone_from(&root);
            parts.clear();
        }
        for name in components(&target).into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(Reached { path: base.join(parts.iter().collect::<PathBuf>()), changed })
}

fn components(path: &Path) -> VecDeque<OsString> {
    let is_step = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|component| component.as_os_str().to_owned()).collect()
}

/// When a file's metadata last changed, which includes a rename.
pub(super) fn changed_at(file: &fs::Metadata) -> SystemTime {
    time_of(file.ctime(), file.ctime_nsec().unsigned_abs())
}

fn modified_at(file: &fs::Metadata) -> SystemTime {
    time_of(file.mtime(), file.mtime_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    /// A process whose root is a directory of the test.
    fn jailed() -> (tempfile::TempDir, PathBuf) {
        let process = tempfile::tempdir().expect("a directory");
        let jail = process.path().join("jail");
        fs::create_dir_all(jail.join("data/store")).expect("made");
        fs::create_dir_all(jail.join("var/lib")).expect("made");
        symlink(&jail, process.path().join("root")).expect("made");
        symlink(jail.join("var/lib"), process.path().join("cwd")).expect("made");
        (process, jail)
    }

    #[test]
    fn a_link_in_another_root_leads_on_from_there() {
        let (process, jail) = jailed();
        let reached = |path: &str| {
            let there = reach(process.path(), Path::new(path)).map_err(|error| error.kind())?;
            Ok(fs::canonicalize(there.path)
                .expect("there")
                .strip_prefix(fs::canonicalize(&jail).expect("there"))
                .map(Path::to_owned))
        };
        symlink("/data", jail.join("var/reg")).expect("made");
        symlink("reg/../../data", jail.join("var/again")).expect("made");
        for path in
            ["/var/reg/store", "/data/store", "/../../data/./store", "../reg/store", "/var/again/store", "../../data/store"]
        {
            assert_eq!(reached(path), Ok(Ok(PathBuf::from("data/store"))), "{path}");
        }
        assert_eq!(reached("/no/such"), Err(io::ErrorKind::NotFound));
        symlink("/data/none", jail.join("dangling")).expect("made");
        assert_eq!(reached("/dangling"), Err(io::ErrorKind::NotFound));
        symlink("/loop", jail.join("loop")).expect("made");
        assert!(reached("/loop/x").is_err_and(|kind| kind != io::ErrorKind::NotFound));
    }

    #[test]
    fn a_link_or_a_directory_that_was_put_there_lately_is_a_change() {
        let (process, jail) = jailed();
        let changed = |path: &str| reach(process.path(), Path::new(path)).expect("there").changed;
        let file = jail.join("data/store/config.yml");
        fs::write(&file, "").expect("written");
        let before = changed("/data/store/config.yml");
        std::thread::sleep(Duration::from_millis(20));
        fs::write(jail.join("data/store/other"), "").expect("written");
        assert_eq!(changed("/data/store/config.yml"), before, "what else lies there is no matter");
        symlink("store", jail.join("data/link")).expect("made");
        assert!(changed("/data/link/config.yml") > before);
        let before = changed("/data/store/config.yml");
        std::thread::sleep(Duration::from_millis(20));
        fs::rename(jail.join("data"), jail.join("moved")).expect("moved");
        assert!(changed("/moved/store/config.yml") > before);
    }
}
