//! The processes of this machine, as far as `/proc` shows them to us.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The number of the first namespace of processes, which never changes (source: `PROC_PID_INIT_INO` in Linux).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is in the first namespace of processes: one in another does not see everybody.
pub(crate) fn is_in_first_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace == Path::new(FIRST_PID_NAMESPACE))
}

/// Their numbers.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Namespaces of mounts that were met, ours among them.
pub(crate) struct MountNamespaces(BTreeSet<PathBuf>);

impl MountNamespaces {
    /// Ours alone.
    pub(crate) fn ours() -> MountNamespaces {
        MountNamespaces(of("self").into_iter().collect())
    }

    /// Whether a process is the first that was met of another one. One that we may not look at is of none.
    pub(crate) fn is_new(&mut self, pid: u32) -> bool {
        of(&pid.to_string()).is_some_and(|namespace| self.0.insert(namespace))
    }
}

fn of(process: &str) -> Option<PathBuf> {
    fs::read_link(PathBuf::from("/proc").join(process).join("ns/mnt")).ok()
}
