//! Other filesystems mounted inside the store.
//!
//! The layout does not know why an administrator mounted them, and flushing the store does not flush them. They are
//! read like the rest, and nothing on them is removed (I9).

use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::directory::{Kind, for_each_entry, open_directory};
use crate::proc::{MountNamespaces, pids};
use crate::system_files::is_system_file;

/// One line of a process's mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// The number of the mount. It may be reused once the mount is gone.
    id: Vec<u8>,
    /// Major and minor number of the filesystem.
    device: Vec<u8>,
    /// The directory of the filesystem that the mount shows.
    root: PathBuf,
    /// Where the mount shows it.
    point: PathBuf,
}

/// A directory by its place in its filesystem, independent of mount points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    device: Vec<u8>,
    path: PathBuf,
    /// The directory of the filesystem that our mount shows.
    around: PathBuf,
}

impl Place {
    /// Whether another mount shows a smaller part of the filesystem around the place than ours does.
    pub(crate) fn is_shown_alone_by(&self, mounted: &Mounted) -> bool {
        mounted.root != self.around && mounted.root.starts_with(&self.around)
    }
}

impl Mounted {
    /// Whether this mount has that number and that point.
    pub(super) fn is(&self, id: &[u8], point: &Path) -> bool {
        self.id == id && self.point == point
    }

    /// The mount point.
    pub(super) fn at(&self) -> &Path {
        &self.point
    }

    /// The mount on which the process with this table sees a directory.
    fn under<'t>(table: &'t [Mounted], path: &Path) -> Option<&'t Mounted> {
        // Of several mounts at one point the last is visible.
        let mounted = table.iter().filter(|mounted| path.starts_with(&mounted.point));
        mounted.max_by_key(|mounted| mounted.point.components().count())
    }

    /// The place of the directory at `path` as the process with this table sees it.
    pub(crate) fn around(table: &[Mounted], path: &Path) -> Option<Place> {
        let mounted = Mounted::under(table, path)?;
        let below = path.strip_prefix(&mounted.point).expect("it was found by that");
        Some(Place { device: mounted.device.clone(), path: mounted.root.join(below), around: mounted.root.clone() })
    }

    /// Where this mount shows a place, or part of it.
    pub(crate) fn shows(&self, place: &Place) -> Option<PathBuf> {
        if self.device != place.device {
            return None;
        }
        match place.path.strip_prefix(&self.root) {
            Ok(below) => Some(self.point.join(below)),
            Err(_) => self.root.starts_with(&place.path).then(|| self.point.clone()),
        }
    }
}

/// The mounts that a process sees; empty if its table cannot be read.
pub(crate) fn of_process(pid: &str) -> Vec<Mounted> {
    table(&std::fs::read(Path::new("/proc").join(pid).join("mountinfo")).unwrap_or_default())
}

/// The mount points below a directory, relative to it.
///
/// Without `/proc` there are none: removal checks at every step that it stays in its filesystem.
pub(super) fn below(directory: &Path) -> Vec<PathBuf> {
    of_process("self")
        .into_iter()
        .filter_map(|mounted| Some(mounted.point.strip_prefix(directory).ok()?.to_owned()))
        .filter(|point| point != Path::new(""))
        .collect()
}

/// The mount point of a directory.
pub(super) fn point_of(table: &[Mounted], directory: &Path) -> Option<PathBuf> {
    Mounted::under(table, directory).map(|mounted| mounted.point.clone())
}

/// How many links on the way to a directory are followed, as in the kernel.
const MOST_LINKS: usize = 40;

/// Resolves a path, and lists the mount points on the way, that of the result included: each link may lie on another
/// mount.
pub(super) fn followed(table: &[Mounted], path: &Path) -> (PathBuf, Vec<PathBuf>) {
    let mut points = Vec::new();
    let (mut here, mut rest) = (PathBuf::from("/"), path.to_owned());
    let mut links = 0;
    while let Some(name) = rest.iter().next().map(ToOwned::to_owned) {
        let behind: PathBuf = rest.iter().skip(1).collect();
        match std::fs::read_link(here.join(&name)) {
            _ if name == "/" => (here, rest) = (PathBuf::from("/"), behind),
            _ if name == ".." => {
                here.pop();
                rest = behind;
            }
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                points.extend(point_of(table, &here));
                rest = target.join(behind);
            }
            _ => {
                here.push(name);
                rest = behind;
            }
        }
    }
    points.extend(point_of(table, &here));
    (here, points)
}

/// Whether a mount at a place in the store may hold images; mounts for snapshots and uploads come and go.
pub(super) fn is_of_the_store(mount: &Path) -> bool {
    mount.iter().all(|name| name != "_uploads" && !is_system_file(name.as_encoded_bytes(), true))
}

/// Whether a directory has content from its users. A filesystem mounted in place of another is usually empty.
pub(super) fn holds_something(directory: &Path) -> bool {
    let mut any = false;
    let Ok(open) = open_directory(CWD, directory) else { return false };
    let listed = for_each_entry(open, |name, kind| {
        any |= !is_system_file(name, kind == Kind::Directory);
        Ok::<(), std::io::Error>(())
    });
    // A directory that cannot be listed may have content.
    any || listed.is_err()
}

/// What tells the directory that is mounted somewhere from any other that may be mounted there: its inode and when that was made, or the number
/// of its filesystem where that is not known; nothing where neither is. A copy of a whole disk, block by block, has the same.
pub(super) fn identity(directory: &OwnedFd) -> Option<String> {
    let known = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME).ok()?;
    if StatxFlags::from_bits_retain(known.stx_mask).contains(StatxFlags::BTIME) {
        let made = known.stx_btime;
        return Some(format!("inode {} of {}.{:09}", known.stx_ino, made.tv_sec, made.tv_nsec));
    }
    let filesystem = rustix::fs::fstatvfs(directory).ok()?.f_fsid;
    (filesystem != 0).then(|| format!("inode {} of filesystem {filesystem:x}", known.stx_ino))
}

/// Where else than at the mount point `point` its content is to be seen: in the directory of a filesystem that is mounted there alone, or
/// at another mount point. Nothing if `point` is none, or if it shows all of a filesystem that nothing else shows.
pub(crate) fn shown_elsewhere(point: &Path) -> Option<PathBuf> {
    let table = of_process("self");
    let mounted = table.iter().rfind(|mounted| mounted.point == point)?;
    shown_here(&table, point).or_else(|| (mounted.root != Path::new("/")).then(|| mounted.root.clone()))
}

/// At which other mount point this process sees what is mounted at `point`; nothing if `point` is none.
pub(crate) fn shown_twice(point: &Path) -> Option<PathBuf> {
    shown_here(&of_process("self"), point)
}

fn shown_here(table: &[Mounted], point: &Path) -> Option<PathBuf> {
    let mounted = table.iter().rfind(|mounted| mounted.point == point)?;
    let others = table.iter().filter(|other| other.device == mounted.device && other.point != point);
    others.into_iter().find_map(|other| Some(other.point.join(mounted.root.strip_prefix(&other.root).ok()?)))
}

/// Where this process or another mounts a directory, or part of it, without its surroundings: such a mount has a
/// purpose of its own. Processes that may not be inspected are skipped.
pub(crate) fn shown_apart(directory: &Path) -> Option<PathBuf> {
    let own = of_process("self");
    let place = Mounted::around(&own, directory)?;
    let mut namespaces = MountNamespaces::ours();
    apart(&own, &place, directory).or_else(|| {
        let mut others = pids().filter(|pid| namespaces.is_new(*pid)).map(|pid| of_process(&pid.to_string()));
        others.find_map(|table| apart(&table, &place, directory))
    })
}

fn apart(table: &[Mounted], place: &Place, directory: &Path) -> Option<PathBuf> {
    let shown = |mounted: &&Mounted| mounted.device == place.device && mounted.root.starts_with(&place.path);
    // `shown_elsewhere` checks a mount in the directory's own place.
    table.iter().filter(shown).find(|mounted| !mounted.point.starts_with(directory)).map(|mounted| mounted.point.clone())
}

/// Parses the first, third, fourth and fifth field of every line; see proc_pid_mountinfo(5).
fn table(mountinfo: &[u8]) -> Vec<Mounted> {
    let path = |field: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(unescaped(field)));
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let (id, _parent) = (fields.next()?, fields.next()?);
            let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Mounted { id: id.to_owned(), device: device.to_owned(), root: path(root), point: path(point) })
        })
        .collect()
}

/// Space, tab, newline and backslash are octal escapes, such as `\040`.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        let octal = rest.get(..3).filter(|_| byte == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::ffi::OsStr::from_bytes(digits).to_str()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_as_the_kernel_writes_them() {
        let mountinfo = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            40 36 0:30 / /mnt rw - tmpfs tmpfs rw\n\n";
        let points: Vec<PathBuf> = table(mountinfo).into_iter().map(|mounted| mounted.point).collect();
        assert_eq!(points, [Path::new("/mnt/a b\\c"), Path::new("/mnt")]);
        assert_eq!(unescaped(b"\\9\\04"), b"\\9\\04");
    }

    #[test]
    fn a_directory_is_the_same_wherever_it_is_mounted() {
        let host = table(b"1 0 8:1 / / rw - ext4 d rw\n2 1 8:2 / /srv rw - ext4 e rw\n");
        let container = table(b"9 0 0:30 / / rw - overlay o rw\n10 9 8:2 /registry /var/lib/registry rw - ext4 e rw\n");
        let store = Mounted::around(&host, Path::new("/srv/registry/docker/registry/v2")).expect("mounted");
        let seen: Vec<PathBuf> = container.iter().filter_map(|mounted| mounted.shows(&store)).collect();
        assert_eq!(seen, [Path::new("/var/lib/registry/docker/registry/v2")]);
        let whole = table(b"13 9 8:2 / /data rw - ext4 e rw\n");
        assert!(!store.is_shown_alone_by(&whole[0]), "all that is on the filesystem, as we see it");
        let bound = table(b"12 9 8:2 /registry /srv/registry rw - ext4 e rw\n");
        assert!(store.is_shown_alone_by(&bound[0]), "at the same place, and nothing beside it");
        let other = Mounted::around(&host, Path::new("/srv/other")).expect("mounted");
        assert!(container.iter().all(|mounted| mounted.shows(&other).is_none()));
        let blobs = Mounted::around(&host, Path::new("/srv/registry/docker/registry/v2/blobs")).expect("mounted");
        assert_eq!(apart(&container, &blobs, Path::new("/srv/registry/docker/registry/v2/blobs")), None, "all of the store");
        let part = table(b"11 9 8:2 /registry/docker/registry/v2/blobs /blobs ro - ext4 e rw\n");
        assert_eq!(part[0].shows(&store), Some(PathBuf::from("/blobs")));
        assert_eq!(apart(&part, &blobs, Path::new("/srv/registry/docker/registry/v2/blobs")), Some(PathBuf::from("/blobs")));
        assert_eq!(apart(&part, &blobs, Path::new("/blobs")), None, "in its own place");
    }
}
