//! A directory as it is on disk: what "nothing was touched" is checked against.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use walkdir::WalkDir;

use super::digest::sha256;
use super::tree::digest_of_blob;

/// What is at one path. Times count to the nanosecond; access times do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: SeenKind,
    pub(crate) mode: u32,
    pub(crate) modified: (i64, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeenKind {
    /// Length and sha256.
    File(u64, String),
    Directory,
    Symlink(String),
    /// A fifo, a socket, a device: never opened.
    Other(&'static str),
}

/// Relative path to what is there. The directory itself is the empty path.
pub(crate) type Snapshot = BTreeMap<String, Seen>;

/// Looks at all that is at and below a directory. Symbolic links are not followed.
pub(crate) fn snapshot(directory: &Path) -> Snapshot {
    WalkDir::new(directory)
        .into_iter()
        .map(|entry| {
            let entry = entry.expect("the test may read all of its own directory");
            let path =
                entry.path().strip_prefix(directory).expect("entries are below the directory").to_string_lossy().into_owned();
            let metadata = entry.metadata().expect("an entry just listed is there");
            let seen = Seen {
                kind: kind(entry.path(), &metadata),
                mode: metadata.mode(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            };
            (path, seen)
        })
        .collect()
}

fn kind(path: &Path, metadata: &fs::Metadata) -> SeenKind {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        let bytes = fs::read(path).expect("the test may read its own files");
        SeenKind::File(metadata.len(), sha256(&bytes))
    } else if file_type.is_dir() {
        SeenKind::Directory
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).expect("a symlink can be read");
        SeenKind::Symlink(target.to_string_lossy().into_owned())
    } else if file_type.is_fifo() {
        SeenKind::Other("fifo")
    } else if file_type.is_socket() {
        SeenKind::Other("socket")
    } else {
        SeenKind::Other("device")
    }
}

/// Paths that are in the first and not in the second.
pub(crate) fn gone(before: &Snapshot, after: &Snapshot) -> BTreeSet<String> {
    before.keys().filter(|path| !after.contains_key(*path)).cloned().collect()
}

/// Adds the directories of tags in which nothing is left once these paths have gone: a registry would list such a tag.
pub(crate) fn add_tag_directories(gone: &mut BTreeSet<String>, before: &Snapshot) {
    // Of a tag in which no link is left all directories go.
    let is_tag = |path: &&String| path.split_once("/_manifests/tags/").is_some_and(|(_, tag)| !tag.contains('/'));
    let whole: Vec<String> = gone.iter().filter(is_tag).map(|tag| format!("{tag}/")).collect();
    gone.extend(whole.iter().flat_map(|inside| before.keys().filter(move |path| path.starts_with(inside)).cloned()));
    let in_tags = gone.iter().filter_map(|path| {
        let (repository, below) = path.split_once("/_manifests/tags/")?;
        Some((path.clone(), format!("{repository}/_manifests/tags/{}", below.split('/').next()?)))
    });
    let has_gone = |gone: &BTreeSet<String>, directory: &str| {
        let inside = format!("{directory}/");
        let mut entries = before.range(inside.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inside));
        // What the tag named has gone before; its directory is left then.
        entries.all(|path| gone.contains(path) || path.ends_with("/current"))
    };
    for (path, tag) in in_tags.collect::<Vec<_>>() {
        let above = Path::new(&path).ancestors().skip(1).map(|path| path.to_string_lossy().into_owned());
        for directory in above.take_while(|directory| directory.starts_with(&tag)) {
            if has_gone(gone, &directory) {
                gone.insert(directory);
            }
        }
        let current = format!("{tag}/current");
        if before.contains_key(&current) && has_gone(gone, &current) {
            gone.insert(current);
        }
    }
}

/// Digests of the blobs below a registry's root directory, with their sizes.
pub(crate) fn blobs_on_disk(root: &Path) -> BTreeMap<String, u64> {
    let blobs = "docker/registry/v2/blobs";
    if !root.join(blobs).exists() {
        return BTreeMap::new();
    }
    WalkDir::new(root.join(blobs))
        .into_iter()
        .map(|entry| entry.expect("the test may read all of its own directory"))
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|file| {
            let path = file.path().strip_prefix(root).expect("entries are below the directory").to_string_lossy().into_owned();
            Some((digest_of_blob(&path)?, file.metadata().expect("an entry just listed is there").len()))
        })
        .collect()
}

/// Copies a directory with all that is in it, times included, to a directory that is there and empty.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in WalkDir::new(from).min_depth(1).contents_first(false) {
        let entry = entry.expect("the test may read all of its own directory");
        let target = to.join(entry.path().strip_prefix(from).expect("entries are below the directory"));
        let metadata = entry.metadata().expect("an entry just listed is there");
        if metadata.is_dir() {
            fs::create_dir(&target).expect("a directory can be made");
        } else {
            fs::copy(entry.path(), &target).expect("a file can be copied");
            let modified = metadata.modified().expect("a file has a time");
            fs::File::open(&target).and_then(|file| file.set_modified(modified)).expect("a file's time can be set");
        }
    }
}
