use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{FilesystemStore, Root};
use crate::layout;
use crate::store::conformance::{BACKENDS, Bench, Fill, STORES};

impl Fill for FilesystemStore {
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime) {
        self.put_directory(path.parent().expect("in a directory"), modified);
        std::fs::write(self.at(path), content).expect("written");
        age(&self.at(path), modified);
    }

    fn put_directory(&self, path: &Path, modified: SystemTime) {
        std::fs::create_dir_all(self.at(path)).expect("made");
        age(&self.at(path), modified);
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.root().path()).into_iter().map(|entry| entry.expect("listable"));
        let is_ours =
            |path: &Path| path.strip_prefix(self.root().path()).is_ok_and(|path| path.starts_with(layout::OWN_DIRECTORY));
        let files = entries.filter(|entry| entry.file_type().is_file() && !is_ours(entry.path()));
        let mut paths: Vec<PathBuf> =
            files.map(|file| file.path().strip_prefix(self.root().path()).expect("below it").to_owned()).collect();
        paths.sort();
        paths
    }
}

fn age(path: &Path, modified: SystemTime) {
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).expect("after the epoch");
    let time = Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::empty()).expect("aged");
}

/// An empty store.
fn empty(directory: &tempfile::TempDir) -> FilesystemStore {
    std::fs::create_dir_all(directory.path().join(layout::REPOSITORIES)).expect("made");
    std::fs::create_dir_all(directory.path().join(layout::BLOBS)).expect("made");
    FilesystemStore::open(&Root::whole(directory.path())).expect("a store")
}

#[test]
fn does_what_every_store_does() {
    for case in STORES {
        let directory = tempfile::tempdir().expect("a directory");
        case(&Bench::of(&empty(&directory)));
    }
}

#[test]
fn does_what_every_backend_does() {
    for case in BACKENDS {
        let directory = tempfile::tempdir().expect("a directory");
        let store = empty(&directory);
        case(&store, &store);
    }
}
