//! The floor: the system calls that a collection cannot do without, and nothing else. No parsing, no tables, no report.

use std::collections::HashSet;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, unlinkat};

fn directory(at: impl AsFd, path: impl rustix::path::Arg) -> OwnedFd {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("the store is healthy")
}

fn names(directory: impl AsFd) -> Vec<CString> {
    let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.expect("the store is healthy");
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") && entry.file_type() == FileType::Directory {
            names.push(entry.file_name().to_owned());
        }
    }
    names
}

fn open(at: impl AsFd, path: &str) -> OwnedFd {
    openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("the store is healthy")
}

fn read<T>(at: impl AsFd, path: &str, take: impl FnOnce(&[u8]) -> T) -> T {
    let mut buffer = [0_u8; 64 * 1024];
    let length = rustix::io::read(open(at, path), &mut buffer).expect("the store is healthy");
    take(&buffer[..length])
}

fn look(at: impl AsFd, path: &str) {
    rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW).expect("the store is healthy");
}

fn utf8(name: &CString) -> &str {
    name.to_str().expect("the store's names are ASCII")
}

/// Lists every directory, reads every revision's and every tag's link, and every manifest, once. With `untagged` it also makes the
/// calls for what would go: each layer link is opened, looked at and read, so that a young or damaged one stays, and each link of a
/// revision and of the history, and each blob, is looked at for its age and size.
pub(crate) fn survey(root: &Path, untagged: bool) {
    let v2 = directory(CWD, root.join("docker/registry/v2"));
    let blobs = directory(&v2, "blobs");
    let shards = directory(&blobs, "sha256");
    names(&blobs);
    let listed: Vec<(CString, Vec<CString>)> = names(&shards)
        .into_par_iter()
        .map(|shard| {
            let blobs = names(directory(&shards, &shard));
            (shard, blobs)
        })
        .collect();
    let repositories = directory(&v2, "repositories");
    let found = find(&repositories, String::new());
    let kept: Vec<HashSet<Hex>> =
        found.par_iter().map(|repository| survey_repository(&repositories, repository, &blobs, untagged)).collect();
    if !untagged {
        std::hint::black_box((listed, kept));
        return;
    }
    let kept: HashSet<Hex> = kept.into_iter().flatten().collect();
    listed.par_iter().for_each(|(shard, blobs)| {
        let shard = directory(&shards, shard);
        for blob in blobs.iter().filter(|blob| !kept.contains(&hex(blob.as_bytes()))) {
            look(&shard, &format!("{}/data", utf8(blob)));
        }
    });
}

fn find(repositories: &OwnedFd, path: String) -> Vec<String> {
    let below = names(directory(repositories, if path.is_empty() { "." } else { &path }));
    if below.iter().any(|name| name.as_bytes() == b"_manifests") {
        return vec![path];
    }
    let join = |name: &CString| if path.is_empty() { utf8(name).to_owned() } else { format!("{path}/{}", utf8(name)) };
    below.iter().flat_map(|name| find(repositories, join(name))).collect()
}

/// What the repository's tags need, if `untagged`.
fn survey_repository(repositories: &OwnedFd, repository: &str, blobs: &OwnedFd, untagged: bool) -> HashSet<Hex> {
    let repository = directory(repositories, repository);
    let layers = directory(&repository, "_layers");
    names(&layers);
    let layers = directory(&layers, "sha256");
    let linked = names(&layers);
    let manifests = directory(&repository, "_manifests");
    names(&manifests);
    let tags = directory(&manifests, "tags");
    let tagged: Vec<(Hex, OwnedFd, Vec<CString>)> = names(&tags)
        .par_iter()
        .with_min_len(64)
        .map(|tag| {
            let tag = directory(&tags, tag);
            names(&tag);
            let current = hex(&read(&tag, "current/link", |text| text["sha256:".len()..].to_vec()));
            let index = directory(&tag, "index");
            names(&index);
            let history = directory(&index, "sha256");
            let entries = names(&history);
            (current, history, entries)
        })
        .collect();
    let mut kept: HashSet<Hex> = tagged.iter().map(|(current, ..)| *current).collect();
    let revisions = directory(&manifests, "revisions");
    names(&revisions);
    let revisions = directory(&revisions, "sha256");
    let needed: Vec<Hex> = names(&revisions)
        .par_iter()
        .with_min_len(256)
        .flat_map_iter(|digest| {
            let name = utf8(digest);
            read(&revisions, &format!("{name}/link"), |_| ());
            let manifest = format!("sha256/{}/{name}/data", &name[..2]);
            if untagged && kept.contains(&hex(digest.as_bytes())) {
                return read(blobs, &manifest, digests);
            }
            read(blobs, &manifest, |_| ());
            if untagged {
                look(&revisions, &format!("{name}/link"));
            }
            Vec::new()
        })
        .collect();
    if untagged {
        for (current, history, entries) in &tagged {
            for entry in entries.iter().filter(|entry| hex(entry.as_bytes()) != *current) {
                look(history, &format!("{}/link", utf8(entry)));
            }
        }
        kept.extend(needed);
        linked.par_iter().with_min_len(256).filter(|layer| !kept.contains(&hex(layer.as_bytes()))).for_each(|layer| {
            let link = open(&layers, &format!("{}/link", utf8(layer)));
            rustix::fs::fstat(&link).expect("the store is healthy");
            rustix::io::read(&link, &mut [0; 128]).expect("the store is healthy");
        });
    }
    kept
}

/// The 64 digits of a digest, as they are.
type Hex = [u8; 64];

fn hex(name: &[u8]) -> Hex {
    name.try_into().expect("the store's digests are SHA-256")
}

/// All that looks like a digest: to know what a manifest needs without parsing it.
fn digests(manifest: &[u8]) -> Vec<Hex> {
    let mark = b"sha256:";
    let starts = manifest.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
    starts.map(|(start, _)| hex(&manifest[start + mark.len()..][..64])).collect()
}

/// Lists the shards and removes every blob that is not the one image's: one unlink and one rmdir each.
pub(crate) fn sweep(root: &Path) {
    let shards = directory(CWD, root.join("docker/registry/v2/blobs/sha256"));
    names(&shards).par_iter().for_each(|shard| {
        let shard = directory(&shards, shard);
        for blob in names(&shard) {
            unlinkat(&shard, format!("{}/data", utf8(&blob)), AtFlags::empty()).expect("the store is healthy");
            unlinkat(&shard, &blob, AtFlags::REMOVEDIR).expect("the store is healthy");
        }
    });
}
