//! The contract of every store and every vacuum.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Bench;
use crate::layout::{self, LinkDirectory, Shard, Target, UploadPart};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::{
    BlobContent, FileState, Leftover, LinkContent, Listing, MAX_MANIFEST_BYTES, ManifestContent, Planned, Removal, Stat,
    StrayKind,
};

/// A time long ago, to the nanosecond.
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

/// The classification of a manifest, and the bytes delivered.
fn manifest(bench: &Bench<'_>, digest: &Digest) -> (ManifestContent, Option<Vec<u8>>) {
    let mut read = None;
    let content = bench.store.manifest(digest, &mut |bytes| read = Some(bytes.to_vec())).expect("readable");
    (content, read)
}

/// Each case gets a store that holds only `docker/registry/v2`.
pub(crate) const CASES: &[fn(&Bench<'_>)] = &[
    an_empty_store_is_no_error,
    finds_repositories_by_any_marker,
    lists_digests_and_strays,
    classifies_links,
    reads_tags,
    lists_blobs_in_parts,
    reads_whole_manifests_and_checks_them,
    reads_blobs_to_their_end,
    inspects_without_changing,
    tells_when_a_link_was_last_named,
    removes_exactly_what_was_planned,
    leaves_what_has_changed,
    removes_directories_only_if_empty,
    inspects_uploads,
    lists_entries_beside,
    reports_when_files_changed,
    lists_what_can_be_listed,
    answers_for_each_of_a_batch,
];

fn an_empty_store_is_no_error(bench: &Bench<'_>) {
    let directory = revisions();
    assert_eq!(bench.store.repositories().expect("listable"), Listing::default());
    assert_eq!(bench.store.partitions().expect("listable"), Listing::default());
    assert_eq!(bench.open(&repository()).links(&directory).expect("listable"), Listing::default());
    assert_eq!(bench.open(&repository()).tags().expect("listable"), Listing::default());
    assert_eq!(bench.open(&repository()).read_links(&directory, &[digest("x")]).expect("readable"), [LinkContent::Absent]);
    assert_eq!(bench.open(&repository()).stat_links(&directory, &[digest("x")]).expect("readable"), [FileState::Absent]);
    assert_eq!(manifest(bench, &digest("x")), (ManifestContent::Absent, None));
    assert_eq!(bench.remove(&Target::Blob(digest("x")), &stat(0)).expect("no error"), Removal::AlreadyGone);
    bench.vacuum.barrier().expect("nothing to flush is flushed");
}

fn finds_repositories_by_any_marker(bench: &Bench<'_>) {
    let at = |path: &str| Path::new(layout::REPOSITORIES).join(path);
    for directory in ["a/_layers", "b/c/_manifests", "b/c/d/_uploads", "b/_layers", "Upper/_manifests"] {
        bench.put_directory(&at(directory), then());
    }
    if bench.has_directories() {
        bench.put_directory(&at("empty/nothing"), then());
    }
    bench.put(&at("b/file"), b"x", then());
    bench.put(&at("_file"), b"x", then());
    let found = bench.store.repositories().expect("listable");
    let names: Vec<String> = found.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["Upper", "a", "b", "b/c", "b/c/d"]);
    assert!(found.entries.iter().all(|entry| entry.foreign.is_none()));
    let strays: Vec<&Path> = found.strays.iter().map(|stray| &*stray.path).collect();
    assert_eq!(strays, [at("_file"), at("b/file")]);
}

fn lists_digests_and_strays(bench: &Bench<'_>) {
    let directory = revisions();
    let mut expected = [digest("a"), digest("b"), Digest::of(Algorithm::Sha512, b"c")];
    for digest in &expected {
        bench.put_directory(directory.link(digest).parent().expect("in a directory"), then());
    }
    expected.sort();
    let upper = digest("a").hex().to_uppercase();
    let strays = ["md5/x", "sha256/short", &format!("sha256/{upper}")].map(|stray| directory.path().join(stray));
    for stray in &strays {
        bench.put_directory(stray, then());
    }
    let file = directory.path().join("sha256").join(digest("file").hex());
    bench.put(&file, b"", then());
    let listing = bench.open(&repository()).links(&directory).expect("listable");
    assert_eq!(listing.entries, expected);
    let mut unknown = vec![directory.path().join("md5"), strays[1].clone(), strays[2].clone(), file];
    unknown.sort();
    assert_eq!(listing.strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), unknown);
    assert!(listing.strays.iter().all(|stray| stray.kind == StrayKind::Unrecognised));
}

fn classifies_links(bench: &Bench<'_>) {
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
        bench.put(&directory.link(&digest(name)), &content, then());
        digests.push(digest(name));
        expected.push(reads);
    }
    bench.put_directory(&directory.link(&digest("directory")), then());
    digests.extend([digest("directory"), digest("absent")]);
    let in_its_place = if bench.has_directories() { LinkContent::Irregular } else { LinkContent::Absent };
    expected.extend([in_its_place, LinkContent::Absent]);
    assert_eq!(bench.open(&repository()).read_links(&directory, &digests).expect("readable"), expected);
    let states = bench.open(&repository()).stat_links(&directory, &digests).expect("readable");
    let both: Vec<_> = expected.into_iter().zip(states).collect();
    assert_eq!(bench.open(&repository()).inspect_links(&directory, &digests).expect("readable"), both);
}

fn reads_tags(bench: &Bench<'_>) {
    let tag = |name: &str| TagName::new(name);
    bench.put(&layout::current_link(&repository(), &tag("v1")), digest("new").to_string().as_bytes(), then());
    for old in ["old", "new"] {
        let history = LinkDirectory::History(repository(), tag("v1"));
        bench.put(&history.link(&digest(old)), digest(old).to_string().as_bytes(), then());
    }
    bench.put_directory(&layout::tag_directory(&repository(), &tag("bare")), then());
    bench.put(&layout::tags_directory(&repository()).join(".DS_Store"), b"x", then());
    bench.put_directory(&layout::tag_directory(&repository(), &tag("v1")).join("leftover"), then());
    let tags = bench.open(&repository()).tags().expect("listable");
    assert_eq!(tags.entries, [tag("bare"), tag("v1")]);
    assert_eq!(tags.strays.len(), 1);
    let v1 = bench.open(&repository()).tag(&tag("v1")).expect("readable");
    assert_eq!(v1.current, LinkContent::Digest(digest("new")));
    let mut history = vec![digest("old"), digest("new")];
    history.sort();
    assert_eq!(v1.history.entries, history);
    assert_eq!(v1.history.strays.len(), 1);
    let states = ["v1", "bare", "none"].map(|name| bench.open(&repository()).stat_tag(&tag(name)).expect("inspected"));
    assert_eq!(states, [FileState::File(stat(71)), FileState::Absent, FileState::Absent]);
    let bare = bench.open(&repository()).tag(&tag("bare")).expect("readable");
    assert_eq!((bare.current, bare.history.entries), (LinkContent::Absent, vec![]));
    assert_eq!(bare.history.strays.is_empty(), bench.has_directories());
    assert_eq!(bench.open(&repository()).manifest_strays().expect("listable"), []);
}

fn lists_blobs_in_parts(bench: &Bench<'_>) {
    let blobs = [digest("a"), digest("b"), Digest::of(Algorithm::Sha384, b"c")];
    for blob in &blobs {
        bench.put(&layout::blob_data(blob), b"x", then());
    }
    let base = Path::new(layout::BLOBS);
    let wrong = (digest("a").shard() ^ 1).to_string();
    let misplaced = base.join("sha256").join(format!("{:02x}", digest("a").shard() ^ 1)).join(digest("a").hex());
    bench.put_directory(&misplaced, then());
    bench.put_directory(&base.join("sha256/xyz"), then());
    bench.put_directory(&base.join("x/data"), then());
    bench.put(&base.join("file"), wrong.as_bytes(), then());
    let partitions = bench.store.partitions().expect("listable");
    assert_eq!(partitions.strays.len(), 3);
    assert!(partitions.entries.is_sorted());
    let mut found = Vec::new();
    let mut strays = Vec::new();
    for partition in partitions.entries {
        let before = found.len();
        let mut each = |digest: &Digest, state: Option<&FileState>| {
            assert!(state.is_none_or(|state| *state == FileState::File(stat(1))), "the listed state is correct");
            found.push(*digest);
        };
        strays.extend(bench.store.blobs(&partition, &mut each).expect("listable"));
        assert!(found[before..].iter().all(|digest| partition.holds(Shard::of(digest))));
    }
    let mut expected = blobs.to_vec();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), [misplaced]);
}

fn reads_whole_manifests_and_checks_them(bench: &Bench<'_>) {
    // Sizes around those of buffers.
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 300_000] {
        let content = vec![b'x'; size];
        let digest = Digest::of(Algorithm::Sha512, &content);
        bench.put(&layout::blob_data(&digest), &content, then());
        assert!(manifest(bench, &digest) == (ManifestContent::Verified, Some(content)), "{size} bytes");
    }
    bench.put(&layout::blob_data(&digest("corrupt")), b"something else", then());
    assert_eq!(manifest(bench, &digest("corrupt")), (ManifestContent::Corrupt, None));
    let large = vec![b'x'; MAX_MANIFEST_BYTES as usize + 1];
    let large_digest = Digest::of(Algorithm::Sha256, &large);
    bench.put(&layout::blob_data(&large_digest), &large, then());
    assert!(manifest(bench, &large_digest) == (ManifestContent::TooLarge, None));
    bench.put_directory(&layout::blob_data(&digest("directory")), then());
    let in_its_place = if bench.has_directories() { ManifestContent::Irregular } else { ManifestContent::Absent };
    assert_eq!(manifest(bench, &digest("directory")), (in_its_place, None));
}

fn stat(size_bytes: u64) -> Stat {
    Stat::new(size_bytes, then())
}

fn reads_blobs_to_their_end(bench: &Bench<'_>) {
    // Larger than any buffer or window, and no multiple of one.
    let large: Vec<u8> = (0..5_000_003_u32).map(|n| (n % 251) as u8).collect();
    let contents = [Vec::new(), b"small".to_vec(), vec![7; 256 * 1024], vec![7; 256 * 1024 + 1], large];
    for content in &contents {
        let digest = Digest::of(Algorithm::Sha256, content);
        bench.put(&layout::blob_data(&digest), content, then());
        let mut read = Vec::new();
        let whole = bench.store.read_blob(&digest, &mut |part| {
            read.extend_from_slice(part);
            ControlFlow::Continue(())
        });
        let expected = Stat::new(content.len() as u64, then());
        assert!(matches!(whole, BlobContent::Whole(stat) if stat == expected), "{whole:?}");
        assert!(read == *content, "{} bytes", content.len());
    }
    let abandoned = bench.store.read_blob(&digest("small"), &mut |_| ControlFlow::Break(()));
    assert!(matches!(abandoned, BlobContent::Abandoned), "{abandoned:?}");
    assert!(matches!(bench.store.read_blob(&digest("absent"), &mut |_| ControlFlow::Continue(())), BlobContent::Absent));
    bench.put_directory(&layout::blob_data(&digest("directory")), then());
    match bench.store.read_blob(&digest("directory"), &mut |_| ControlFlow::Continue(())) {
        BlobContent::Irregular => assert!(bench.has_directories()),
        content => assert!(matches!(content, BlobContent::Absent) && !bench.has_directories(), "{content:?}"),
    }
}

fn inspects_without_changing(bench: &Bench<'_>) {
    let blob = digest("a");
    bench.put(&layout::blob_data(&blob), b"12345", then());
    let in_shard = |name: u8| Digest::from_bytes(Algorithm::Sha256, &[&[blob.shard()], &[name; 31][..]].concat());
    bench.put_directory(&layout::blob_data(&in_shard(1)), then());
    let states = bench.store.stat_blobs(Shard::of(&blob), &[blob, in_shard(1), in_shard(2)]).expect("readable");
    let in_its_place = if bench.has_directories() { FileState::Irregular } else { FileState::Absent };
    assert_eq!(states, [FileState::File(stat(5)), in_its_place, FileState::Absent]);
    bench.put(&revisions().link(&blob), b"1", then());
    assert_eq!(bench.open(&repository()).stat_links(&revisions(), &[blob]).expect("readable"), [FileState::File(stat(1))]);
    if bench.has_directories() {
        bench.put_directory(&Target::EmptyBlobDirectory(digest("empty")).path(), then());
    }
    let empty = bench.store.empty_directory(&Target::EmptyBlobDirectory(digest("empty"))).expect("readable");
    assert_eq!(empty, bench.has_directories().then(|| stat(0)));
    assert_eq!(bench.store.empty_directory(&Target::EmptyBlobDirectory(blob)).expect("readable"), None);
    assert_eq!(bench.store.empty_directory(&Target::EmptyBlobDirectory(digest("none"))).expect("readable"), None);
}

fn tells_when_a_link_was_last_named(bench: &Bench<'_>) {
    let list = || bench.open(&repository()).stat_list(&revisions(), Algorithm::Sha256).expect("readable");
    assert_eq!(list(), None);
    bench.put(&revisions().link(&digest("a")), b"1", then());
    bench.put(&revisions().link(&digest("b")), b"1", then());
    assert_eq!(list().is_some(), bench.has_directories());
    assert!(list().is_none_or(|list| list.modified >= then()), "{:?}", list());
    assert_eq!(bench.open(&repository()).stat_list(&revisions(), Algorithm::Sha512).expect("readable"), None);
}

fn removes_exactly_what_was_planned(bench: &Bench<'_>) {
    let (gone, stays) = (digest("gone"), digest("stays"));
    for digest in [&gone, &stays] {
        bench.put(&layout::blob_data(digest), b"12345", then());
        bench.put(&revisions().link(digest), b"12345", then());
    }
    // A foreign file keeps its directory.
    let beside = layout::blob_data(&gone).with_file_name("data.tmp");
    bench.put(&beside, b"", then());
    for target in [Target::Blob(gone), Target::Link(revisions(), gone)] {
        assert_eq!(bench.remove(&target, &stat(5)).expect("removable"), Removal::Removed);
        assert_eq!(bench.remove(&target, &stat(5)).expect("no error"), Removal::AlreadyGone);
    }
    let mut expected = vec![beside, layout::blob_data(&stays), revisions().link(&stays)];
    expected.sort();
    assert_eq!(bench.paths(), expected);
    assert_eq!(
        bench.open(&repository()).links(&revisions()).expect("listable").entries,
        [stays],
        "the directory goes with its link"
    );
    let mut left = Vec::new();
    bench.store.blobs(&Shard::of(&gone).into(), &mut |digest, _| left.push(*digest)).expect("listable");
    assert_eq!(left, [gone], "a directory with something in it stays");
}

fn leaves_what_has_changed(bench: &Bench<'_>) {
    let blob = digest("a");
    bench.put(&layout::blob_data(&blob), b"12345", then());
    let later = Stat { modified: then() + Duration::from_nanos(1), ..stat(5) };
    for planned in [stat(4), later] {
        assert!(matches!(bench.remove(&Target::Blob(blob), &planned).expect("no error"), Removal::Changed(_)));
    }
    bench.put_directory(&layout::blob_data(&digest("b")), then());
    let removal = bench.remove(&Target::Blob(digest("b")), &stat(0)).expect("no error");
    match bench.has_directories() {
        true => assert!(matches!(removal, Removal::Changed(_)), "{removal:?}"),
        false => assert_eq!(removal, Removal::AlreadyGone),
    }
    let mut left = bench.paths();
    left.retain(|path| !path.ends_with("data/inside"));
    assert_eq!(left, [layout::blob_data(&blob)]);
}

fn removes_directories_only_if_empty(bench: &Bench<'_>) {
    if !bench.has_directories() {
        let target = Target::EmptyBlobDirectory(digest("empty"));
        assert_eq!(bench.remove(&target, &stat(0)).expect("no error"), Removal::AlreadyGone, "none exists");
        return;
    }
    let empty = |name| Target::EmptyLinkDirectory(revisions(), digest(name));
    bench.put_directory(&empty("empty").path(), then());
    bench.put(&revisions().link(&digest("full")), b"x", then());
    let planned = bench.store.empty_directory(&empty("empty")).expect("readable").expect("a empty");
    assert_eq!(bench.remove(&empty("empty"), &planned).expect("removable"), Removal::Removed);
    assert_eq!(bench.remove(&empty("empty"), &planned).expect("no error"), Removal::AlreadyGone);
    assert!(matches!(bench.remove(&empty("full"), &stat(0)).expect("no error"), Removal::Changed(_)));
    assert_eq!(bench.open(&repository()).links(&revisions()).expect("listable").entries, [digest("full")]);
}

fn inspects_uploads(bench: &Bench<'_>) {
    assert_eq!(bench.open(&repository()).uploads().expect("listable"), Listing::default());
    let directory = layout::uploads_directory(&repository());
    bench.put(&directory.join("whole/startedat"), b"2026-01-02T03:04:05Z", then());
    bench.put(&directory.join("whole/data"), b"12345", then());
    bench.put(&directory.join("whole/hashstates/sha256/0"), b"x", then());
    bench.put(&directory.join("garbled/startedat"), b"yesterday", then());
    bench.put(&directory.join("cancelled/hashstates/sha256/0"), b"x", then());
    bench.put_directory(&directory.join("odd/startedat"), then());
    bench.put_directory(&directory.join("odd/data"), then());
    bench.put(&directory.join("file"), b"x", then());
    let listing = bench.open(&repository()).uploads().expect("listable");
    assert_eq!(listing.strays.iter().map(|stray| stray.path.clone()).collect::<Vec<_>>(), [directory.join("file")]);
    let [cancelled, garbled, odd, whole] = &listing.entries[..] else { panic!("four: {:?}", listing.entries) };
    assert_eq!([&cancelled.id, &garbled.id, &odd.id, &whole.id], ["cancelled", "garbled", "odd", "whole"]);
    assert_eq!((cancelled.started_file, cancelled.started, cancelled.data), (FileState::Absent, None, FileState::Absent));
    assert_eq!((garbled.started_file, garbled.started, garbled.data), (FileState::File(stat(9)), None, FileState::Absent));
    let contents = |id: &str| bench.open(&repository()).upload_contents(id.as_ref()).expect("listable");
    assert_eq!((contents("none"), contents("file").map(|contents| contents.files)), (None, None));
    let sha256 = UploadPart::HashState(Algorithm::Sha256, 0);
    let of_whole = contents("whole").expect("there");
    assert_eq!(of_whole.files, [(UploadPart::StartedAt, stat(20)), (UploadPart::Data, stat(5)), (sha256, stat(1))]);
    assert_eq!((of_whole.others, of_whole.modified >= then()), (Vec::<PathBuf>::new(), true));
    bench.put(&directory.join("garbled/hashstates/sha256/01"), b"x", then());
    bench.put(&directory.join("garbled/notes/deep"), b"x", then());
    let of_garbled = contents("garbled").expect("there");
    assert_eq!(of_garbled.files, [(UploadPart::StartedAt, stat(9))]);
    assert!(of_garbled.others.contains(&directory.join("garbled/hashstates/sha256/01")), "{of_garbled:?}");
    assert!(of_garbled.others.iter().any(|path| path.starts_with(directory.join("garbled/notes"))), "{of_garbled:?}");
    let in_its_place = if bench.has_directories() { FileState::Irregular } else { FileState::Absent };
    assert_eq!((odd.started_file, odd.started, odd.data), (in_its_place, None, in_its_place));
    let started = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    assert_eq!(
        (whole.started_file, whole.started, whole.data),
        (FileState::File(stat(20)), Some(started), FileState::File(stat(5)))
    );
}

fn lists_entries_beside(bench: &Bench<'_>) {
    let directory = Target::EmptyBlobDirectory(digest("a")).path();
    let beside = || bench.store.beside_blobs(Shard::of(&digest("a")), &[digest("a"), digest("b")]).expect("listable");
    assert_eq!(beside(), []);
    bench.put(&directory.join("data"), b"12345", then());
    bench.put(&directory.join("data.x.tmp"), b"123", then());
    bench.put(&directory.join("b/inside"), b"1", then());
    let expected = [("b", FileState::Irregular), ("data.x.tmp", FileState::File(stat(3)))];
    let found = |directory: &Path| expected.map(|(name, state)| Leftover { path: directory.join(name), state });
    assert_eq!(beside(), found(&directory));
    let tag = TagName::new("v1");
    let history = LinkDirectory::History(repository(), tag.clone());
    let in_links = history.path().join(layout::digest_path(&digest("a")));
    let in_tag = layout::tag_directory(&repository(), &tag).join("current");
    let in_upload = layout::uploads_directory(&repository()).join("u");
    for directory in [&in_links, &in_tag, &in_upload] {
        for (name, content) in [("link", ""), ("signatures/x", ""), ("startedat", ""), ("data.x.tmp", "123"), ("b/inside", "1")] {
            bench.put(&directory.join(name), content.as_bytes(), then());
        }
    }
    let repository = bench.open(&repository());
    let without = |found: Vec<Leftover>, names: &[&str]| {
        let is_other = |leftover: &Leftover| !names.iter().any(|name| leftover.path.ends_with(name));
        found.into_iter().filter(is_other).collect::<Vec<_>>()
    };
    let of_link = repository.beside_links(&history, &[digest("b"), digest("a")]).expect("listable");
    assert_eq!((of_link.len(), without(of_link, &["startedat"])), (3, found(&in_links).to_vec()));
    let of_tag = repository.beside_tag(&tag).expect("listable");
    assert_eq!((of_tag.len(), without(of_tag, &["startedat"])), (3, found(&in_tag).to_vec()));
    let of_upload = repository.beside_upload("u".as_ref()).expect("listable");
    assert_eq!((of_upload.len(), without(of_upload, &["link", "signatures"])), (4, found(&in_upload).to_vec()));
    assert_eq!(repository.beside_upload("none".as_ref()).expect("no error"), []);
}

fn reports_when_files_changed(bench: &Bench<'_>) {
    assert_eq!(bench.store.blob_condition(&digest("a")).expect("no error"), None);
    assert_eq!(bench.store.is_whole_on_disk(&digest("a")).expect("no error"), None);
    bench.put(&layout::blob_data(&digest("a")), b"a", then());
    bench.put(&layout::blob_data(&digest("b")), b"something else", then());
    let there = bench.store.blob_condition(&digest("a")).expect("inspected").expect("there");
    assert_eq!(there.stat, stat(1));
    assert!(there.touched() >= then() && there.changed >= then());
    for (name, is_whole) in [("a", true), ("b", false)] {
        assert_eq!(bench.store.is_whole_on_disk(&digest(name)).expect("readable"), Some(is_whole), "{name}");
    }
    bench.put_directory(&layout::blob_data(&digest("directory")), then());
    assert_eq!(bench.store.blob_condition(&digest("directory")).expect("no error"), None);
}

fn lists_what_can_be_listed(bench: &Bench<'_>) {
    bench.put_directory(&Path::new(layout::REPOSITORIES).join("a/_layers"), then());
    let listed = bench.store.listable_repositories(&mut |error| panic!("{error}")).expect("listable");
    assert_eq!(listed, bench.store.repositories().expect("listable"));
    assert_eq!(listed.entries.len(), 1);
}

fn answers_for_each_of_a_batch(bench: &Bench<'_>) {
    let blobs = ["a", "b", "c"].map(|name| Target::Blob(digest(name)));
    for target in &blobs[..2] {
        bench.put(&target.path(), b"12345", then());
    }
    let (five, four) = (stat(5), stat(4));
    for targets in [&blobs[..], &[]] {
        let planned = [&five, &four, &five];
        let batch: Vec<Planned<'_>> = targets.iter().zip(planned).map(|(target, stat)| Planned { target, stat }).collect();
        let most = bench.vacuum.batch();
        let removals: Vec<Removal> =
            batch.chunks(most).flat_map(|some| bench.vacuum.remove(some)).map(|removal| removal.expect("removable")).collect();
        assert_eq!(removals.len(), targets.len());
        if let [first, second, third] = &removals[..] {
            assert_eq!((first, third), (&Removal::Removed, &Removal::AlreadyGone));
            assert!(matches!(second, Removal::Changed(_)), "{second:?}");
        }
    }
    assert_eq!(bench.paths(), [blobs[1].path()]);
}
