//! Which part of the machine is visible to this process: in a container it may be small, with a registry in another
//! container.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::layout;
use crate::proc::is_in_first_pid_namespace;
use crate::store::Root;

/// The filesystem type of a container's root (source: `OVERLAYFS_SUPER_MAGIC` in Linux).
const OVERLAY: i64 = 0x794c_7630;

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
    let is_overlay = rustix::fs::statfs("/").is_ok_and(|filesystem| filesystem.f_type == OVERLAY);
    is_overlay && device(&store).is_some() && device(&store) == device(Path::new("/"))
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
