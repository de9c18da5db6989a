//! Which part of the machine is visible to this process: in a container it may be small, with a registry in another
//! container.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::layout;
use crate::proc::is_in_first_pid_namespace;
use crate::store::Root;

/// The filesystem type of a container's root (source: `OVERLAYFS_SUPER_MAGIC` in Linux).
const OVERLAY: u64 = 0x794c_7630;
/// Filesystems that no other machine has (source: `magic.h` in Linux): ext2 to ext4, XFS, btrfs, ZFS, F2FS, bcachefs and tmpfs.
const LOCAL: [u64; 7] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x2FC1_2FC1, 0xF2F5_2010, 0xCA45_1A4E, 0x0102_1994];

/// Whether all processes of the machine are visible.
pub(super) fn shows_all_processes() -> bool {
    is_in_first_pid_namespace()
        && (rustix::process::geteuid().is_root()
            || !hides_processes(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
}

/// Whether `/proc` shows other users' processes only to root (source: `hidepid` in proc(5)).
fn hides_processes(mountinfo: &str) -> bool {
    let is_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    let options = mountinfo.lines().filter(is_proc).flat_map(|line| line.split([' ', ',']));
    let mut levels = options.filter_map(|option| option.strip_prefix("hidepid="));
    levels.any(|level| !["0", "off"].contains(&level))
}

/// Whether all processes that may use a store are visible: those of the machine, or of the one container whose layers
/// hold it.
pub(super) fn shows_all_users_of(root: &Root) -> bool {
    shows_all_processes() || (rustix::process::geteuid().is_root() && is_in_own_image(root))
}

/// Whether the loopback and the sockets of this process are those of a registry with the store below `root`: on the
/// machine itself, or in a container that cannot share the store.
pub(super) fn has_the_registrys_loopback(root: &Root) -> bool {
    let network = |process: &str| fs::read_link(PathBuf::from("/proc").join(process).join("ns/net")).ok();
    let Some(own) = network("self") else { return false };
    // The first process may be hidden; the namespace's number then decides.
    let is_first = || shows_all_processes() && is_made_at_boot(&own);
    if !network("1").map_or_else(is_first, |first| first == own) {
        return false;
    }
    shows_all_processes() || is_in_own_image(root)
}

/// Whether the kernel made a namespace while it started: it numbers namespaces from 0xF000_0000 up, and assigns some two
/// hundred numbers before any process can request one.
fn is_made_at_boot(namespace: &Path) -> bool {
    let number = |text: &str| text.rsplit_once('[')?.1.strip_suffix(']')?.parse::<u32>().ok();
    namespace.to_str().and_then(number).is_some_and(|number| number < 0xF000_0000 + 160)
}

/// Whether the store lies in the layers of this container, which no other container mounts.
fn is_in_own_image(root: &Root) -> bool {
    let store = root.at(layout::V2);
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    filesystem_type(Path::new("/")) == Some(OVERLAY) && device(&store).is_some() && device(&store) == device(Path::new("/"))
}

/// Whether a filesystem is one that no other machine has.
pub(super) fn is_local(path: &Path) -> bool {
    filesystem_type(path).is_some_and(|known| known == OVERLAY || LOCAL.contains(&known))
}

/// Whether the kernel sees every change to a filesystem. Of overlayfs others may have the layers.
pub(super) fn shows_all_changes(path: &Path) -> bool {
    filesystem_type(path).is_some_and(|known| LOCAL.contains(&known))
}

fn filesystem_type(path: &Path) -> Option<u64> {
    rustix::fs::statfs(path).ok().map(|filesystem| u64::from(filesystem.f_type as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proc_that_hides_processes_is_known() {
        let line = |options: &str| {
            format!("24 1 0:22 / /sys rw - sysfs sysfs rw\n25 1 0:23 / /proc rw,nosuid - proc proc rw{options}\n")
        };
        assert!(hides_processes(&line(",hidepid=2")) && hides_processes(&line(",gid=5,hidepid=invisible")));
        assert!(!hides_processes(&line("")) && !hides_processes(&line(",hidepid=0")) && !hides_processes(""));
    }
}
