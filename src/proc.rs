//! The processes of this machine, as far as `/proc` shows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number of the initial PID namespace, which never changes (source: `PROC_PID_INIT_INO` in Linux).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is in the initial PID namespace. From another one some processes are invisible.
pub(crate) fn is_in_first_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace == Path::new(FIRST_PID_NAMESPACE))
}

/// The number of the initial user namespace, which never changes (source: `PROC_USER_INIT_INO` in Linux).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";
/// The capability to inspect any process (source: `CAP_SYS_PTRACE` in Linux).
const MAY_TRACE: u32 = 19;

/// Whether this process may inspect every other one: its environment, working directory and open files.
pub(crate) fn may_look_at_all() -> bool {
    let is_first = fs::read_link("/proc/self/ns/user").is_ok_and(|namespace| namespace == Path::new(FIRST_USER_NAMESPACE));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_first && capabilities(&status).is_some_and(|held| held & (1 << MAY_TRACE) != 0)
}

/// The effective capabilities in a `status`.
fn capabilities(status: &str) -> Option<u64> {
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(held.trim(), 16).ok()
}

/// The ids of all processes.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The mount namespaces seen, ours included.
pub(crate) struct MountNamespaces(BTreeSet<PathBuf>);

impl MountNamespaces {
    /// Only our own.
    pub(crate) fn ours() -> MountNamespaces {
        MountNamespaces(mount_namespace("self").into_iter().collect())
    }

    /// Whether a process is the first one seen of its mount namespace; false if its namespace cannot be read.
    pub(crate) fn is_new(&mut self, pid: u32) -> bool {
        mount_namespace(&pid.to_string()).is_some_and(|namespace| self.0.insert(namespace))
    }
}

/// The mount namespace of a process.
pub(crate) fn mount_namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(PathBuf::from("/proc").join(process).join("ns/mnt")).ok()
}

/// Ticks per second of the boot-time clock in `/proc` (source: `USER_HZ` in Linux).
const TICKS: u64 = 100;

/// When a process was started, as time since the boot, by its directory in `/proc`.
pub(crate) fn started(process: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name, in parentheses, may contain any character.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_the_kernel_writes_them() {
        assert_eq!(capabilities("Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t000001fffeffffff\n"), Some(0x1ff_feff_ffff));
        assert_eq!(capabilities("Name:\tx\n"), None);
    }
}
