//! Files that processes of this machine have open for writing.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::proc::{is_in_first_pid_namespace, pids};
use crate::store::{Condition, FileId};

/// The access mode bits of the flags in `fdinfo`.
pub(super) const ACCESS_MODE: u32 = 0o3;

/// The files open for writing on this machine, of all processes that may be inspected.
#[derive(Clone, Debug, Default)]
pub struct OpenFiles {
    files: HashSet<FileId>,
    is_complete: bool,
}

impl OpenFiles {
    /// Inspects every process.
    pub fn look() -> OpenFiles {
        let mut open = OpenFiles { files: HashSet::new(), is_complete: is_in_first_pid_namespace() };
        let own = std::process::id();
        let mut seen = 0;
        for pid in pids().filter(|pid| *pid != own) {
            seen += 1;
            open.add(&Path::new("/proc").join(pid.to_string()));
        }
        // If even the first process is hidden, others are hidden too.
        open.is_complete &= seen > 0 && Path::new("/proc/1").exists();
        open
    }

    fn add(&mut self, process: &Path) {
        let descriptors = match fs::read_dir(process.join("fd")) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                self.is_complete &= error.kind() != ErrorKind::PermissionDenied;
                return;
            }
        };
        for descriptor in descriptors.flatten() {
            let Ok(file) = fs::metadata(descriptor.path()) else { continue };
            if file.is_file() && is_for_writing(&process.join("fdinfo").join(descriptor.file_name())) {
                self.files.insert(FileId { device: file.dev(), inode: file.ino() });
            }
        }
    }

    /// Whether every process could be inspected.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether a file is open for writing.
    pub fn contains(&self, file: &Condition) -> bool {
        file.id.is_some_and(|id| self.has(&id))
    }

    pub(super) fn has(&self, id: &FileId) -> bool {
        self.files.contains(id)
    }
}

/// Whether a descriptor is open for writing.
pub(super) fn is_for_writing(fdinfo: &Path) -> bool {
    let info = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = info.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_process_writes_to_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let [written, read] = ["written", "read"].map(|name| directory.path().join(name));
        let out = fs::File::create(&written).expect("made");
        fs::write(&read, "x").expect("made");
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .stdout(out)
            .stdin(fs::File::open(&read).expect("there"))
            .spawn()
            .expect("sleep runs");
        let open = OpenFiles::look();
        sleeper.kill().and_then(|()| sleeper.wait()).expect("ours to end");
        let is_open = |path: &Path| {
            let file = fs::metadata(path).expect("there");
            open.has(&FileId { device: file.dev(), inode: file.ino() })
        };
        assert!(is_open(&written) && !is_open(&read));
    }
}
