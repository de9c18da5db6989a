//! What a cache believes, and what it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::oci::{Algorithm, Digest};
use crate::store::Partition;

const MANIFEST: &[u8] = br#"{"layers":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#;

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn witness(digest: &Digest, etag: &str) -> Option<Witness> {
    Witness::of_object(digest, MANIFEST.len() as u64, SystemTime::UNIX_EPOCH + Duration::from_secs(1000), etag)
}

/// A directory with a cache in which one manifest is.
struct Kitchen(TempDir);

impl Kitchen {
    fn new() -> Kitchen {
        let kitchen = Kitchen(tempfile::tempdir().expect("a directory"));
        kitchen.open().keep(&digest(MANIFEST), witness(&digest(MANIFEST), "a"), MANIFEST);
        kitchen
    }

    fn open(&self) -> ManifestCache {
        ManifestCache::open(self.0.path(), "a store").expect("a cache")
    }

    fn file(&self) -> PathBuf {
        let mut all = fs::read_dir(self.0.path()).expect("listed").map(|entry| entry.expect("listed").path());
        let file = all.next().expect("a file");
        assert!(all.next().is_none(), "one file");
        file
    }

    /// Whether the manifest is there, for a store that says this of it.
    fn has(&self, etag: &str) -> bool {
        let cache = self.open();
        let digest = digest(MANIFEST);
        cache.seen(&digest, || witness(&digest, etag));
        match cache.find(&digest) {
            Some(kept) => kept == Kept::Content(MANIFEST.to_vec()) || panic!("another content"),
            None => false,
        }
    }
}

#[test]
fn a_manifest_is_taken_from_it_only_if_the_store_says_the_same_of_it() {
    let kitchen = Kitchen::new();
    assert!(kitchen.has("a") && !kitchen.has("b"), "another ETag");
    let kitchen = Kitchen::new();
    let digest = digest(MANIFEST);
    assert_eq!(kitchen.open().find(&digest), None, "nothing was said of it");
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let length = MANIFEST.len() as u64;
    for other in [
        Witness::of_object(&digest, length - 1, time(1000), "a"),
        Witness::of_object(&digest, length, time(1001), "a"),
        Witness::of_object(&digest, length, time(1000), ""),
        Witness::of_object(&digest, length, time(0), "a"),
        Witness::of_object(&self::digest(b"x"), length, time(1000), "a"),
    ] {
        let cache = kitchen.open();
        cache.seen(&digest, || other);
        assert_eq!(cache.find(&digest), None, "{other:?}");
        cache.seen(&digest, || witness(&digest, "a"));
        assert!(cache.find(&digest).is_some());
    }
    // Half a second is not seen: the header of an answer has none.
    let later = Witness::of_object(&digest, length, time(1000) + Duration::from_millis(500), "a");
    assert_eq!(later, witness(&digest, "a"));
}

#[test]
fn what_a_listing_does_not_have_is_not_there() {
    let kitchen = Kitchen::new();
    let digest = digest(MANIFEST);
    let partition = Partition::new(Algorithm::Sha256, digest.shard()..=digest.shard());
    let cache = kitchen.open();
    cache.seen(&digest, || witness(&digest, "a"));
    cache.begin(&Partition::new(Algorithm::Sha512, 0..=255));
    assert!(cache.find(&digest).is_some(), "another algorithm's");
    cache.begin(&partition);
    assert_eq!(cache.find(&digest), None, "not until the new listing has it");
    drop(cache);
    assert!(kitchen.has("a"), "a listing that did not end says nothing of what it did not have");
    let cache = kitchen.open();
    cache.begin(&partition);
    cache.end(&partition);
    drop(cache);
    assert!(!kitchen.has("a"), "and one that did has it dropped");
}

#[test]
fn no_byte_of_it_can_change_without_being_noticed() {
    let kitchen = Kitchen::new();
    let path = kitchen.file();
    let good = fs::read(&path).expect("read");
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x20;
        fs::write(&path, &bad).expect("written");
        // Four bytes of the head say nothing, and are covered all the same.
        assert!(!kitchen.has("a"), "byte {place}");
    }
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).expect("written");
        assert!(!kitchen.has("a"), "cut at {length}");
    }
    fs::write(&path, [&good[..], b"x"].concat()).expect("written");
    assert!(!kitchen.has("a"), "a byte too many");
    fs::write(&path, &good).expect("written");
    assert!(kitchen.has("a"));
}

#[test]
fn what_is_doubted_is_made_anew() {
    type Spoil = fn(&std::path::Path);
    let spoils: [Spoil; 4] = [
        |path| fs::write(path, "something else").expect("written"),
        |path| fs::set_permissions(path, Permissions::from_mode(0o622)).expect("set"),
        |path| {
            // As another version writes it: its checksum is right.
            let mut bytes = fs::read(path).expect("read");
            bytes[19] += 1;
            let index = bytes.len() - entry::ENTRY_BYTES;
            let checksum = Digest::of(Algorithm::Sha256, &[&bytes[..64], &bytes[index..]].concat());
            bytes[64..96].copy_from_slice(checksum.bytes());
            fs::write(path, bytes).expect("written");
        },
        |path| {
            let elsewhere = path.with_file_name("elsewhere");
            fs::rename(path, &elsewhere).expect("renamed");
            std::os::unix::fs::symlink(&elsewhere, path).expect("linked");
        },
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let kitchen = Kitchen::new();
        spoil(&kitchen.file());
        let cache = kitchen.open();
        let digest = digest(MANIFEST);
        cache.seen(&digest, || witness(&digest, "a"));
        assert_eq!(cache.find(&digest), None, "{number}");
        cache.keep(&digest, witness(&digest, "a"), MANIFEST);
        drop(cache);
        assert!(kitchen.has("a"), "{number}");
    }
    // That of another store is none of ours, whatever it is called.
    let kitchen = Kitchen::new();
    let ours = kitchen.file();
    let other = ManifestCache::open(kitchen.0.path(), "another").expect("a cache");
    other.seen(&digest(MANIFEST), || witness(&digest(MANIFEST), "a"));
    assert_eq!(other.find(&digest(MANIFEST)), None);
    other.keep(&digest(MANIFEST), witness(&digest(MANIFEST), "a"), MANIFEST);
    drop(other);
    let theirs = |entry: std::io::Result<fs::DirEntry>| Some(entry.expect("listed").path()).filter(|path| *path != ours);
    let theirs = fs::read_dir(kitchen.0.path()).expect("listed").find_map(theirs).expect("a file of its own");
    fs::rename(theirs, &ours).expect("renamed");
    assert!(!kitchen.has("a"));
}

#[test]
fn only_its_user_may_read_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let below = directory.path().join("made/for/it");
    let cache = ManifestCache::open(&below, "a store").expect("a cache");
    cache.keep(&digest(MANIFEST), witness(&digest(MANIFEST), "a"), MANIFEST);
    drop(cache);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&below), 0o700);
    for entry in fs::read_dir(&below).expect("listed") {
        assert_eq!(mode(&entry.expect("listed").path()), 0o600);
    }
}

#[test]
fn configurations_are_not_kept_nor_what_is_no_object() {
    for (content, is_kept) in [
        (MANIFEST, true),
        (b"{\"config\":{\"digest\":\"sha256:0\"}}", true),
        (b"{\"manifests\":[]}", true),
        (b"{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\"}", true),
        (b"{\"a\":1}", false),
        (b"{\"private_key\":\"x\"}", false),
        (b"{\"user\":\"x\",\"password\":\"y\"}", false),
        (b"{\"rootfs\":null,\"config\":{\"Env\":[\"PASSWORD=x\"]}}", false),
        (b"{\"config\":{\"Env\":[\"PASSWORD=x\"]}}", false),
        (b"{\"rootfs\":{},\"config\":{\"Env\":[\"PASSWORD=x\"]}}", false),
        (b"{\"history\":[{\"v1Compatibility\":\"...\"}]}", false),
        (b"{\"container_config\":{}}", false),
        (b"[null,null,null]", false),
        (b"no JSON", false),
        (b"{", false),
    ] {
        let kitchen = Kitchen(tempfile::tempdir().expect("a directory"));
        let digest = digest(content);
        kitchen.open().keep(&digest, witness(&digest, "a"), content);
        let cache = kitchen.open();
        cache.seen(&digest, || witness(&digest, "a"));
        assert_eq!(cache.find(&digest).is_some(), is_kept, "{}", content.escape_ascii());
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_costs_the_cache_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(ManifestCache::open(&file.join("below"), "a store").is_none());
    // It goes away while a run lasts.
    let kitchen = Kitchen::new();
    let cache = kitchen.open();
    fs::rename(kitchen.0.path(), directory.path().join("elsewhere")).expect("renamed");
    let digest = digest(MANIFEST);
    cache.keep(&digest, witness(&digest, "b"), MANIFEST);
    cache.seen(&digest, || witness(&digest, "a"));
    assert!(cache.find(&digest).is_some(), "what was opened can be read");
    drop(cache);
    fs::rename(directory.path().join("elsewhere"), kitchen.0.path()).expect("renamed");
    assert!(kitchen.has("a"));
}

#[test]
fn runs_at_the_same_time_leave_a_whole_file() {
    let kitchen = Kitchen::new();
    let (one, other) = (kitchen.open(), kitchen.open());
    let contents: Vec<Vec<u8>> = (0..100).map(|number| format!("{{\"layers\":[{number}]}}").into_bytes()).collect();
    for (number, content) in contents.iter().enumerate() {
        let cache = if number % 2 == 0 { &one } else { &other };
        cache.keep(&digest(content), witness(&digest(content), "a"), content);
    }
    drop(one);
    drop(other);
    let cache = kitchen.open();
    let is_there = |content: &Vec<u8>| {
        let digest = digest(content);
        cache.seen(&digest, || witness(&digest, "a"));
        cache.find(&digest) == Some(Kept::Content(content.clone()))
    };
    let there: Vec<bool> = contents.iter().map(is_there).collect();
    assert_eq!(there.iter().filter(|is_there| **is_there).count(), 50, "those of the last one: {there:?}");
    assert!(kitchen.has("a"), "and what both had");
}
