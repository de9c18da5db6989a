//! What every store does, as tests that each implementation runs on the same tree.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::layout;
use crate::oci::Algorithm;

/// A store that can be filled with files.
pub(crate) trait Subject: Store + Vacuum {
    /// Makes a file, and the directories above it.
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime);
    /// Makes a directory, and those above it.
    fn put_directory(&self, path: &Path, modified: SystemTime);
    /// The paths of all files.
    fn paths(&self) -> Vec<PathBuf>;
}

/// Long ago, to the nanosecond.
fn then() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789)
}

fn digest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

fn repository() -> RepositoryName {
    RepositoryName::new("team/app")
}

fn revisions() -> LinkDirectory {
    LinkDirectory::Revisions(repository())
}

/// What a manifest is, and the bytes that are handed over.
fn manifest(store: &impl Subject, digest: &Digest) -> (ManifestContent, Option<Vec<u8>>) {
    let mut read = None;
    let content = store.manifest(digest, &mut |bytes| read = Some(bytes.to_vec())).expect("readable");
    (content, read)
}

/// Runs everything. `empty` makes a store that holds `docker/registry/v2` and nothing else.
pub(crate) fn every_store<S: Subject>(empty: impl Fn() -> S) {
    an_empty_store_is_no_error(&empty());
    finds_repositories_by_any_marker(&empty());
    lists_digests_and_sets_the_rest_apart(&empty());
    tells_links_apart(&empty());
    reads_tags(&empty());
    lists_blobs_by_shard(&empty());
    reads_whole_manifests_and_checks_them(&empty());
    reads_blobs_to_their_end(&empty());
    looks_without_touching(&empty());
    removes_exactly_what_was_planned(&empty());
    leaves_what_has_changed(&empty());
    removes_directories_only_if_empty(&empty());
    looks_at_uploads(&empty());
    looks_at_what_lies_beside(&empty());
}

fn an_empty_store_is_no_error(store: &impl Subject) {
    let directory = revisions();
    assert_eq!(store.repositories().expect("listable"), Listing::default());
    assert_eq!(store.shards().expect("listable"), Listing::default());
    assert_eq!(store.links(&directory).expect("listable"), Listing::default());
    assert_eq!(store.tags(&repository()).expect("listable"), Listing::default());
    assert_eq!(store.read_links(&directory, &[digest("x")]).expect("readable"), [LinkContent::Absent]);
    assert_eq!(store.stat_links(&directory, &[digest("x")]).expect("readable"), [FileState::Absent]);
    assert_eq!(manifest(store, &digest("x")), (ManifestContent::Absent, None));
    assert_eq!(store.remove(&Target::Blob(digest("x")), &stat(0)).expect("no error"), Removal::AlreadyGone);
    store.barrier().expect("nothing to flush is flushed");
}

fn finds_repositories_by_any_marker(store: &impl Subject) {
    let at = |path: &str| Path::new(layout::REPOSITORIES).join(path);
    for directory in ["a/_layers", "b/c/_manifests", "b/c/d/_uploads", "b/_layers", "Upper/_manifests", "empty/nothing"] {
        store.put_directory(&at(directory), then());
    }
    store.put(&at("b/file"), b"x", then());
    store.put(&at("_file"), b"x", then());
    let found = store.repositories().expect("listable");
    let names: Vec<String> = found.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["Upper", "a", "b", "b/c", "b/c/d"]);
    assert!(found.entries.iter().all(|entry| entry.set_apart.is_none()));
    let strays: Vec<&Path> = found.strays.iter().map(|stray| &*stray.path).collect();
    assert_eq!(strays, [at("_file"), at("b/file")]);
}

fn lists_digests_and_sets_the_rest_apart(store: &impl Subject) {
    let directory = revisions();
    let mut expected = [digest("a"), digest("b"), Digest::of(Algorithm::Sha512, b"c")];
    for digest in &expected {
        store.put_directory(directory.link(digest).parent().expect("in a directory"), then());
    }
    expected.sort();
    let upper = digest("a").hex().to_uppercase();
    let strays = ["md5/x", "sha256/short", &format!("sha256/{upper}")].map(|stray| directory.path().join(stray));
    for stray in &strays {
        store.put_directory(stray, then());
    }
    let file = directory.path().join("sha256").join(digest("file").hex());
    store.put(&file, b"", then());
    let listing = store.links(&directory).expect("listable");
    assert_eq!(listing.entries, expected);
    let mut unknown = vec![directory.path().join("md5"), strays[1].clone(), strays[2].clone(), file];
    unknown.sort();
    assert_eq!(listing.strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), unknown);
    assert!(listing.strays.iter().all(|stray| stray.kind == StrayKind::Unrecognised));
}

fn tells_links_apart(store: &impl Subject) {
    let directory = revisions();
    let contents: [(&str, &[u8], LinkContent); 7] = [
        ("good", b"", LinkContent::Digest(digest("good"))),
        ("empty", b"", LinkContent::Empty),
        ("newline", b"\n", LinkContent::Garbled),
        ("short", b"sha256:00", LinkContent::Garbled),
        ("long", &[b'x'; 5000], LinkContent::Garbled),
        ("nul", b"sha256:\0", LinkContent::Garbled),
        ("traversal", b"sha256:../../../../etc/passwd", LinkContent::Garbled),
    ];
    let mut digests = Vec::new();
    let mut expected = Vec::new();
    for (name, content, reads) in contents {
        let content = if name == "good" { digest(name).to_string().into_bytes() } else { content.to_vec() };
        store.put(&directory.link(&digest(name)), &content, then());
        digests.push(digest(name));
        expected.push(reads);
    }
    store.put_directory(&directory.link(&digest("directory")), then());
    digests.extend([digest("directory"), digest("absent")]);
    expected.extend([LinkContent::Irregular, LinkContent::Absent]);
    assert_eq!(store.read_links(&directory, &digests).expect("readable"), expected);
    let leaves = store.stat_links(&directory, &digests).expect("readable");
    let both: Vec<_> = expected.into_iter().zip(leaves).collect();
    assert_eq!(store.inspect_links(&directory, &digests).expect("readable"), both);
}

fn reads_tags(store: &impl Subject) {
    let tag = |name: &str| TagName::new(name);
    store.put(&layout::current_link(&repository(), &tag("v1")), digest("new").to_string().as_bytes(), then());
    for old in ["old", "new"] {
        let history = LinkDirectory::History(repository(), tag("v1"));
        store.put(&history.link(&digest(old)), digest(old).to_string().as_bytes(), then());
    }
    store.put_directory(&layout::tag_directory(&repository(), &tag("bare")), then());
    store.put(&layout::tags_directory(&repository()).join(".DS_Store"), b"x", then());
    store.put_directory(&layout::tag_directory(&repository(), &tag("v1")).join("leftover"), then());
    let tags = store.tags(&repository()).expect("listable");
    assert_eq!(tags.entries, [tag("bare"), tag("v1")]);
    assert_eq!(tags.strays.len(), 1);
    let v1 = store.tag(&repository(), &tag("v1")).expect("readable");
    assert_eq!(v1.current, LinkContent::Digest(digest("new")));
    let mut history = vec![digest("old"), digest("new")];
    history.sort();
    assert_eq!(v1.history.entries, history);
    assert_eq!(v1.history.strays.len(), 1);
    let bare = store.tag(&repository(), &tag("bare")).expect("readable");
    assert_eq!(bare, TagContent { current: LinkContent::Absent, history: Listing::default() });
    assert_eq!(store.manifest_strays(&repository()).expect("listable"), []);
}

fn lists_blobs_by_shard(store: &impl Subject) {
    let blobs = [digest("a"), digest("b"), Digest::of(Algorithm::Sha384, b"c")];
    for blob in &blobs {
        store.put(&layout::blob_data(blob), b"x", then());
    }
    let base = Path::new(layout::BLOBS);
    let wrong = (digest("a").shard() ^ 1).to_string();
    let misplaced = base.join("sha256").join(format!("{:02x}", digest("a").shard() ^ 1)).join(digest("a").hex());
    store.put_directory(&misplaced, then());
    store.put_directory(&base.join("sha256/xyz"), then());
    store.put_directory(&base.join("x/data"), then());
    store.put(&base.join("file"), wrong.as_bytes(), then());
    let shards = store.shards().expect("listable");
    assert_eq!(shards.strays.len(), 3);
    let mut found = Vec::new();
    let mut strays = Vec::new();
    for shard in shards.entries {
        let before = found.len();
        strays.extend(store.blobs(shard, &mut |digest| found.push(*digest)).expect("listable"));
        assert!(found[before..].iter().all(|digest| Shard::of(digest) == shard));
    }
    let mut expected = blobs.to_vec();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), [misplaced]);
}

fn reads_whole_manifests_and_checks_them(store: &impl Subject) {
    // Sizes around those of buffers.
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 300_000] {
        let content = vec![b'x'; size];
        let digest = Digest::of(Algorithm::Sha512, &content);
        store.put(&layout::blob_data(&digest), &content, then());
        assert!(manifest(store, &digest) == (ManifestContent::Verified, Some(content)), "{size} bytes");
    }
    store.put(&layout::blob_data(&digest("corrupt")), b"something else", then());
    assert_eq!(manifest(store, &digest("corrupt")), (ManifestContent::Corrupt, None));
    let large = vec![b'x'; MAX_MANIFEST_BYTES as usize + 1];
    let large_digest = Digest::of(Algorithm::Sha256, &large);
    store.put(&layout::blob_data(&large_digest), &large, then());
    assert!(manifest(store, &large_digest) == (ManifestContent::TooLarge, None));
    store.put_directory(&layout::blob_data(&digest("directory")), then());
    assert_eq!(manifest(store, &digest("directory")), (ManifestContent::Irregular, None));
}

fn stat(size_bytes: u64) -> Stat {
    Stat::new(size_bytes, then())
}

fn reads_blobs_to_their_end(store: &impl Subject) {
    // Larger than any buffer or window, and no multiple of one.
    let large: Vec<u8> = (0..5_000_003_u32).map(|n| (n % 251) as u8).collect();
    let contents = [Vec::new(), b"small".to_vec(), vec![7; 256 * 1024], vec![7; 256 * 1024 + 1], large];
    for content in &contents {
        let digest = Digest::of(Algorithm::Sha256, content);
        store.put(&layout::blob_data(&digest), content, then());
        let mut read = Vec::new();
        let whole = store.read_blob(&digest, &mut |part| {
            read.extend_from_slice(part);
            ControlFlow::Continue(())
        });
        let expected = Stat::new(content.len() as u64, then());
        assert!(matches!(whole, BlobContent::Whole(stat) if stat == expected), "{whole:?}");
        assert!(read == *content, "{} bytes", content.len());
    }
    let abandoned = store.read_blob(&digest("small"), &mut |_| ControlFlow::Break(()));
    assert!(matches!(abandoned, BlobContent::Abandoned), "{abandoned:?}");
    assert!(matches!(store.read_blob(&digest("absent"), &mut |_| ControlFlow::Continue(())), BlobContent::Absent));
    store.put_directory(&layout::blob_data(&digest("directory")), then());
    assert!(matches!(store.read_blob(&digest("directory"), &mut |_| ControlFlow::Continue(())), BlobContent::Irregular));
}

fn looks_without_touching(store: &impl Subject) {
    let blob = digest("a");
    store.put(&layout::blob_data(&blob), b"12345", then());
    let in_shard = |name: u8| Digest::from_bytes(Algorithm::Sha256, &[&[blob.shard()], &[name; 31][..]].concat());
    store.put_directory(&layout::blob_data(&in_shard(1)), then());
    let leaves = store.stat_blobs(Shard::of(&blob), &[blob, in_shard(1), in_shard(2)]).expect("readable");
    assert_eq!(leaves, [FileState::File(stat(5)), FileState::Irregular, FileState::Absent]);
    store.put(&revisions().link(&blob), b"1", then());
    assert_eq!(store.stat_links(&revisions(), &[blob]).expect("readable"), [FileState::File(stat(1))]);
    store.put_directory(&Target::EmptyBlobDirectory(digest("empty")).path(), then());
    assert_eq!(store.empty_directory(&Target::EmptyBlobDirectory(digest("empty"))).expect("readable"), Some(stat(0)));
    assert_eq!(store.empty_directory(&Target::EmptyBlobDirectory(blob)).expect("readable"), None);
    assert_eq!(store.empty_directory(&Target::EmptyBlobDirectory(digest("none"))).expect("readable"), None);
}

fn removes_exactly_what_was_planned(store: &impl Subject) {
    let (gone, stays) = (digest("gone"), digest("stays"));
    for digest in [&gone, &stays] {
        store.put(&layout::blob_data(digest), b"12345", then());
        store.put(&revisions().link(digest), b"12345", then());
    }
    // Something that does not belong there keeps its directory.
    let beside = layout::blob_data(&gone).with_file_name("data.tmp");
    store.put(&beside, b"", then());
    for target in [Target::Blob(gone), Target::Link(revisions(), gone)] {
        assert_eq!(store.remove(&target, &stat(5)).expect("removable"), Removal::Removed);
        assert_eq!(store.remove(&target, &stat(5)).expect("no error"), Removal::AlreadyGone);
    }
    let mut expected = vec![beside, layout::blob_data(&stays), revisions().link(&stays)];
    expected.sort();
    assert_eq!(store.paths(), expected);
    assert_eq!(store.links(&revisions()).expect("listable").entries, [stays], "the directory goes with its link");
    let mut left = Vec::new();
    store.blobs(Shard::of(&gone), &mut |digest| left.push(*digest)).expect("listable");
    assert_eq!(left, [gone], "a directory with something in it stays");
}

fn leaves_what_has_changed(store: &impl Subject) {
    let blob = digest("a");
    store.put(&layout::blob_data(&blob), b"12345", then());
    let later = Stat { modified: then() + Duration::from_nanos(1), ..stat(5) };
    for planned in [stat(4), later] {
        assert!(matches!(store.remove(&Target::Blob(blob), &planned).expect("no error"), Removal::Changed(_)));
    }
    store.put_directory(&layout::blob_data(&digest("b")), then());
    assert!(matches!(store.remove(&Target::Blob(digest("b")), &stat(0)).expect("no error"), Removal::Changed(_)));
    assert_eq!(store.paths(), [layout::blob_data(&blob)]);
}

fn removes_directories_only_if_empty(store: &impl Subject) {
    let empty = |name| Target::EmptyLinkDirectory(revisions(), digest(name));
    store.put_directory(&empty("empty").path(), then());
    store.put(&revisions().link(&digest("full")), b"x", then());
    let planned = store.empty_directory(&empty("empty")).expect("readable").expect("a empty");
    assert_eq!(store.remove(&empty("empty"), &planned).expect("removable"), Removal::Removed);
    assert_eq!(store.remove(&empty("empty"), &planned).expect("no error"), Removal::AlreadyGone);
    assert!(matches!(store.remove(&empty("full"), &stat(0)).expect("no error"), Removal::Changed(_)));
    assert_eq!(store.links(&revisions()).expect("listable").entries, [digest("full")]);
}

fn looks_at_uploads(store: &impl Subject) {
    assert_eq!(store.uploads(&repository()).expect("listable"), Listing::default());
    let directory = layout::uploads_directory(&repository());
    store.put(&directory.join("whole/startedat"), b"2026-01-02T03:04:05Z", then());
    store.put(&directory.join("whole/data"), b"12345", then());
    store.put(&directory.join("whole/hashstates/sha256/0"), b"x", then());
    store.put(&directory.join("garbled/startedat"), b"yesterday", then());
    store.put(&directory.join("cancelled/hashstates/sha256/0"), b"x", then());
    store.put_directory(&directory.join("odd/startedat"), then());
    store.put_directory(&directory.join("odd/data"), then());
    store.put(&directory.join("file"), b"x", then());
    let listing = store.uploads(&repository()).expect("listable");
    assert_eq!(listing.strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), [directory.join("file")]);
    let [cancelled, garbled, odd, whole] = &listing.entries[..] else { panic!("four: {:?}", listing.entries) };
    assert_eq!([&cancelled.id, &garbled.id, &odd.id, &whole.id], ["cancelled", "garbled", "odd", "whole"]);
    assert_eq!((cancelled.started_file, cancelled.started, cancelled.data), (FileState::Absent, None, FileState::Absent));
    assert_eq!((garbled.started_file, garbled.started, garbled.data), (FileState::File(stat(9)), None, FileState::Absent));
    assert_eq!((odd.started_file, odd.started, odd.data), (FileState::Irregular, None, FileState::Irregular));
    let started = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    assert_eq!(
        (whole.started_file, whole.started, whole.data),
        (FileState::File(stat(20)), Some(started), FileState::File(stat(5)))
    );
}

fn looks_at_what_lies_beside(store: &impl Subject) {
    let directory = Target::EmptyBlobDirectory(digest("a")).path();
    assert_eq!(store.leftovers(&directory, &["data"]).expect("listable"), []);
    store.put(&directory.join("data"), b"12345", then());
    store.put(&directory.join("data.x.tmp"), b"123", then());
    store.put(&directory.join("b/inside"), b"1", then());
    let leftovers = store.leftovers(&directory, &["data"]).expect("listable");
    let expected = [("b", FileState::Irregular), ("data.x.tmp", FileState::File(stat(3)))];
    assert_eq!(leftovers, expected.map(|(name, leaf)| Leftover { path: directory.join(name), leaf }));
}
