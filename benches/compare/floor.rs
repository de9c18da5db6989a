//! The floor: the system calls that a collection cannot do without, and nothing else. No parsing, no tables, no report.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, unlinkat};

fn folder(at: impl AsFd, path: impl rustix::path::Arg) -> OwnedFd {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("the store is healthy")
}

fn names(folder: impl AsFd) -> Vec<CString> {
    let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.expect("the store is healthy");
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") && entry.file_type() == FileType::Directory {
            names.push(entry.file_name().to_owned());
        }
    }
    names
}

fn read(at: impl AsFd, path: &str) {
    let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("the store is healthy");
    let mut buffer = [0_u8; 64 * 1024];
    rustix::io::read(&file, &mut buffer).expect("the store is healthy");
}

fn utf8(name: &CString) -> &str {
    name.to_str().expect("the store's names are ASCII")
}

/// Lists every folder, reads every revision's and every tag's link, and every manifest, once.
pub(crate) fn survey(root: &Path) {
    let v2 = folder(CWD, root.join("docker/registry/v2"));
    let blobs = folder(&v2, "blobs");
    let shards = folder(&blobs, "sha256");
    names(&blobs);
    let listed: Vec<usize> = names(&shards).par_iter().map(|shard| names(folder(&shards, shard)).len()).collect();
    let repositories = folder(&v2, "repositories");
    let found = find(&repositories, String::new());
    let read: usize = found.par_iter().map(|repository| survey_repository(&repositories, repository, &blobs)).sum();
    std::hint::black_box((listed, read));
}

fn find(repositories: &OwnedFd, path: String) -> Vec<String> {
    let below = names(folder(repositories, if path.is_empty() { "." } else { &path }));
    if below.iter().any(|name| name.as_bytes() == b"_manifests") {
        return vec![path];
    }
    let join = |name: &CString| if path.is_empty() { utf8(name).to_owned() } else { format!("{path}/{}", utf8(name)) };
    below.iter().flat_map(|name| find(repositories, join(name))).collect()
}

fn survey_repository(repositories: &OwnedFd, repository: &str, blobs: &OwnedFd) -> usize {
    let repository = folder(repositories, repository);
    let layers = folder(&repository, "_layers");
    let mut count = names(&layers).len() + names(folder(&layers, "sha256")).len();
    let manifests = folder(&repository, "_manifests");
    names(&manifests);
    let revisions = folder(&manifests, "revisions");
    names(&revisions);
    let revisions = folder(&revisions, "sha256");
    let digests = names(&revisions);
    count += digests.len();
    digests.par_iter().with_min_len(256).for_each(|digest| {
        let hex = utf8(digest);
        read(&revisions, &format!("{hex}/link"));
        read(blobs, &format!("sha256/{}/{hex}/data", &hex[..2]));
    });
    let tags = folder(&manifests, "tags");
    let tagged = names(&tags);
    count += tagged.len();
    tagged.par_iter().with_min_len(64).for_each(|tag| {
        let tag = folder(&tags, tag);
        names(&tag);
        read(&tag, "current/link");
        let index = folder(&tag, "index");
        names(&index);
        names(folder(&index, "sha256"));
    });
    count
}

/// Lists the shards and removes every blob that is not the one image's: one unlink and one rmdir each.
pub(crate) fn sweep(root: &Path) {
    let shards = folder(CWD, root.join("docker/registry/v2/blobs/sha256"));
    names(&shards).par_iter().for_each(|shard| {
        let shard = folder(&shards, shard);
        for blob in names(&shard) {
            unlinkat(&shard, format!("{}/data", utf8(&blob)), AtFlags::empty()).expect("the store is healthy");
            unlinkat(&shard, &blob, AtFlags::REMOVEDIR).expect("the store is healthy");
        }
    });
}
