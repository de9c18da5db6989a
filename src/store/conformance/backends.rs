//! The contract of every backend beyond reading and removing.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use super::Fill;
use crate::clock::RunClock;
use crate::error::Error;
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::{
    Access, Backend, Directories, FileState, LinkContent, LockGuard, Made, ManifestContent, Planned, Removal, Repair,
    RepositoryEntry, Return, Shape, Shelf, Stat, stat_target,
};

/// Each case gets a backend that holds only `docker/registry/v2`.
pub(crate) const CASES: &[fn(&dyn Backend, &dyn Fill)] = &[
    one_writer_or_many_readers,
    notes_are_replaced_in_one_step,
    what_lies_beside_is_seen,
    a_shelf_takes_and_restores,
    nothing_is_replaced,
    a_shelf_says_what_lies_on_it,
    a_shelf_goes_when_it_is_empty,
    stamps_are_no_content,
    links_are_made_and_replaced,
    blobs_are_made_of_their_own_bytes,
];

fn then() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_600_000_000)
}

fn digest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

fn blob(name: &str) -> Target {
    Target::Blob(digest(name))
}

fn is_run(name: &str) -> bool {
    name.starts_with("run")
}

/// Every change is made under the lock, and taking it creates our own directory.
fn lock(backend: &dyn Backend, access: Access) -> Result<Box<dyn LockGuard>, Error> {
    backend.lock(access, Duration::ZERO, Timestamp::UNIX_EPOCH, &AtomicBool::new(false))
}

fn one_writer_or_many_readers(backend: &dyn Backend, _: &dyn Fill) {
    let locked = |access| matches!(lock(backend, access), Err(Error::Locked { .. }));
    for access in [Access::Change, Access::Remove] {
        let first = lock(backend, access).expect("free");
        assert!(first.is_held() && first.unlockable().is_none());
        assert!(locked(Access::Change) && locked(Access::Remove));
        if backend.store().shape() == Shape::Tree {
            assert!(locked(Access::Look));
        } else {
            // Who may only read a bucket cannot lock it, and is told that it is not locked.
            assert!(!lock(backend, Access::Look).expect("no lock").is_held());
            continue;
        }
    }
    if backend.store().shape() == Shape::Keys {
        return drop(lock(backend, Access::Change).expect("free again"));
    }
    let reads = [Access::Look, Access::Look].map(|access| lock(backend, access).expect("shared"));
    assert!(locked(Access::Change));
    drop(reads);
    lock(backend, Access::Change).expect("free again");
}

fn notes_are_replaced_in_one_step(backend: &dyn Backend, fill: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    let notes = backend.notes();
    assert_eq!(notes.read("x").expect("none"), None);
    notes.remove("x").expect("gone already");
    for text in ["one", "two"] {
        notes.replace("x", &mut |out| out.write_all(text.as_bytes())).expect("written");
        assert_eq!(notes.read("x").expect("there").as_deref(), Some(text.as_bytes()));
    }
    let half = |out: &mut dyn std::io::Write| out.write_all(b"ha").and_then(|()| Err(std::io::Error::other("no room")));
    notes.replace("x", &mut { half }).expect_err("not written");
    assert_eq!(notes.read("x").expect("there").as_deref(), Some(&b"two"[..]), "the old one remains");
    notes.remove("x").expect("removed");
    assert_eq!(notes.read("x").expect("none"), None);
    assert_eq!(fill.paths().iter().filter(|path| path.starts_with("docker")).count(), 0, "the registry sees none of it");
}

fn what_lies_beside_is_seen(backend: &dyn Backend, fill: &dyn Fill) {
    assert!(!backend.has(layout::PROXY_STATE).expect("seen"));
    fill.put(layout::PROXY_STATE.as_ref(), b"{}", then());
    assert!(backend.has(layout::PROXY_STATE).expect("seen"));
    assert_eq!(backend.shared_blobs().expect("seen"), None);
    assert_eq!(backend.identity().expect("looked at"), backend.identity().expect("looked at"));
    assert_eq!(backend.parts().present(&mut std::iter::empty()), Vec::new());
}

fn shelf<'b>(backend: &'b dyn Backend, name: &str) -> Box<dyn Shelf + 'b> {
    backend.shelves().ensure_possible("").expect("on one filesystem");
    backend.shelves().ensure_room(1, 1).expect("room");
    backend.shelves().make(name).expect("made").expect("none of that name")
}

fn blob_state(backend: &dyn Backend, digest: &Digest) -> FileState {
    backend.store().stat_blobs(layout::Shard::of(digest), &[*digest]).expect("inspected")[0]
}

fn a_shelf_takes_and_restores(backend: &dyn Backend, fill: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    assert!(backend.shelves().list(&is_run).expect("none").is_empty());
    let link = Target::Link(LinkDirectory::Layers(RepositoryName::new("team/app")), digest("a"));
    let text = digest("a").to_string();
    let tag = Target::Tag(RepositoryName::new("team/app"), TagName::new("v1"), digest("a"));
    let contents = [(blob("a"), "a"), (link, &text), (tag, &text)];
    let shelf = shelf(backend, "run");
    for (target, content) in &contents {
        fill.put(&target.path(), content.as_bytes(), then());
        let stat = Stat::new(content.len() as u64, then());
        let planned = Planned { target, stat: &stat };
        let other = Stat::new(content.len() as u64 + 1, then());
        let changed = shelf.take(&Planned { target, stat: &other }, Directories::Prune).expect("no error");
        assert!(matches!(changed, Removal::Changed(_)), "{changed:?}");
        assert_eq!(shelf.take(&planned, Directories::Prune).expect("moved"), Removal::Removed);
        assert_eq!(shelf.take(&planned, Directories::Prune).expect("no error"), Removal::AlreadyGone);
        assert_eq!(shelf.condition(target).expect("inspected").expect("there").stat, stat, "its push time is kept");
        assert!(shelf.is_whole(target).expect("readable"));
    }
    assert!(fill.paths().is_empty(), "the registry sees none of it");
    assert_eq!(shelf.read_link(&contents[1].0), Some(digest("a")));
    let mut read = Vec::new();
    assert_eq!(shelf.manifest(&digest("a"), &mut |bytes| read = bytes.to_vec()).expect("read"), ManifestContent::Verified);
    assert_eq!(read, b"a");
    assert_eq!(shelf.manifest(&digest("b"), &mut |_| {}).expect("no error"), ManifestContent::Absent);
    for (target, _) in &contents {
        assert_eq!(shelf.give_back(target).expect("moved"), Return::Back);
        assert_eq!(shelf.give_back(target).expect("no error"), Return::Absent);
        assert_eq!(shelf.condition(target).expect("inspected"), None);
    }
    assert_eq!(blob_state(backend, &digest("a")), FileState::File(Stat::new(1, then())));
}

fn nothing_is_replaced(backend: &dyn Backend, fill: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    let shelf = shelf(backend, "run");
    let take = |name: &str, content: &str| {
        fill.put(&blob(name).path(), content.as_bytes(), then());
        let stat = Stat::new(content.len() as u64, then());
        shelf.take(&Planned { target: &blob(name), stat: &stat }, Directories::Keep)
    };
    take("a", "a").expect("moved");
    take("a", "newer").expect_err("the older one lies there");
    assert_eq!(shelf.give_back(&blob("a")).expect("no error"), Return::Replaced);
    assert!(!shelf.drop_copy(&blob("a")).expect("compared"), "they differ");
    fill.put(&blob("a").path(), b"a", then());
    assert!(shelf.drop_copy(&blob("a")).expect("compared"), "they are the same");
    assert_eq!(shelf.condition(&blob("a")).expect("inspected"), None);
    assert_ne!(blob_state(backend, &digest("a")), FileState::Absent);
    assert!(!shelf.drop_copy(&blob("a")).expect("nothing there"));
}

fn a_shelf_says_what_lies_on_it(backend: &dyn Backend, fill: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    let shelf = shelf(backend, "run");
    for name in ["b", "a", "wrong"] {
        let content = if name == "wrong" { "something else" } else { name };
        fill.put(&blob(name).path(), content.as_bytes(), then());
        let stat = Stat::new(content.len() as u64, then());
        shelf.take(&Planned { target: &blob(name), stat: &stat }, Directories::Prune).expect("moved");
    }
    let tag = Target::Tag(RepositoryName::new("team/app"), TagName::new("v1"), digest("a"));
    fill.put(&tag.path(), digest("a").to_string().as_bytes(), then());
    shelf.take(&Planned { target: &tag, stat: &Stat::new(71, then()) }, Directories::Prune).expect("moved");
    let again = backend.shelves().list(&is_run).expect("listed").pop().expect("one");
    assert_eq!((again.name(), again.place()), (shelf.name(), shelf.place()));
    let contents = again.contents(&["run.json"], u64::MAX).expect("listed");
    let mut expected = [vec![tag.clone()], ["a", "b", "wrong"].map(blob).to_vec()].concat();
    expected.sort();
    assert_eq!(contents.held.iter().map(|held| held.target.clone()).collect::<Vec<_>>(), expected);
    assert!(contents.held.iter().all(|held| held.changed > held.stat.modified), "they were moved just now");
    assert_eq!(contents.unrecognised, 0);
    assert!(!again.is_whole(&blob("wrong")).expect("readable"));
    again.is_whole(&blob("absent")).expect_err("nothing to read");
    assert!(again.is_whole(&tag).expect("readable"));
    assert!(again.drop_for_good(&tag).expect("removed"));
    assert!(again.drop_for_good(&blob("a")).expect("removed"));
    assert!(!again.drop_for_good(&blob("a")).expect("gone already"));
    assert_eq!(shelf.contents(&["run.json"], u64::MAX).expect("listed").held.len(), 2);
}

fn a_shelf_goes_when_it_is_empty(backend: &dyn Backend, fill: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    let one = shelf(backend, "run");
    assert!(backend.shelves().make("run").expect("no error").is_none(), "there is one of that name");
    fill.put(&blob("a").path(), b"a", then());
    one.take(&Planned { target: &blob("a"), stat: &Stat::new(1, then()) }, Directories::Prune).expect("moved");
    one.write_stamp("run.json", b"{}").expect("written");
    assert!(!one.remove_if_empty(&["run.json"]).expect("inspected"));
    one.give_back(&blob("a")).expect("moved");
    assert!(one.remove_if_empty(&["run.json"]).expect("removed"));
    assert!(backend.shelves().list(&is_run).expect("listed").is_empty());
    assert!(one.remove_if_empty(&["run.json"]).expect("gone already"));
}

fn stamps_are_no_content(backend: &dyn Backend, _: &dyn Fill) {
    let _lock = lock(backend, Access::Change).expect("free");
    let stamps = ["run.json", "purging.json"];
    let shelf = shelf(backend, "run");
    assert_eq!(shelf.read_stamp("run.json").expect("none"), None);
    shelf.stamp_written("run.json").expect_err("none");
    let before = RunClock::read().start() - Duration::from_secs(5);
    for text in ["{}", "[]"] {
        shelf.write_stamp("run.json", text.as_bytes()).expect("written");
        assert_eq!(shelf.read_stamp("run.json").expect("there").as_deref(), Some(text.as_bytes()));
    }
    assert!(shelf.stamp_written("run.json").expect("there") > before);
    shelf.rename_stamp("run.json", "purging.json").expect("renamed");
    assert_eq!(shelf.read_stamp("run.json").expect("none"), None);
    assert_eq!(shelf.read_stamp("purging.json").expect("there").as_deref(), Some(&b"[]"[..]));
    let contents = shelf.contents(&stamps, u64::MAX).expect("listed");
    assert_eq!((contents.held.len(), contents.unrecognised), (0, 0));
    assert!(shelf.remove_if_empty(&stamps).expect("removed"));
}

/// What is made replaces nothing that it does not know, and what it replaces goes back over it and over nothing else.
fn links_are_made_and_replaced(backend: &dyn Backend, fill: &dyn Fill) {
    let Some(repair) = backend.repair() else { return };
    let _lock = lock(backend, Access::Change).expect("free");
    repair.ensure_possible().expect("on one filesystem");
    let name = RepositoryName::new("team/app");
    let directory = LinkDirectory::Layers(name.clone());
    let target = Target::Link(directory.clone(), digest("a"));
    let content = || {
        let entry = RepositoryEntry { name: name.clone(), foreign: None };
        let opened = backend.store().open(&entry).expect("opened");
        opened.inspect_links(&directory, &[digest("a")]).expect("read")[0]
    };
    let good = LinkContent::Digest(digest("a"));
    fill.put(&directory.link(&digest("b")), b"", then());
    repair.ensure_writable(&target).expect("writable");
    assert_eq!(content().0, LinkContent::Absent, "asking makes nothing");
    assert_eq!(
        repair.make_link(&target, Some(&Stat::new(0, then()))).expect("no error"),
        Made::Changed("it is not there any more")
    );
    assert_eq!(repair.make_link(&target, None).expect("made"), Made::Made);
    assert_eq!(content().0, good);
    assert_eq!(repair.make_link(&target, None).expect("no error"), Made::Exists);
    let tag = Target::Tag(name.clone(), TagName::new("v1"), digest("a"));
    assert_eq!(repair.make_link(&tag, None).expect("made"), Made::Made);

    let shelf = shelf(backend, "run");
    let empty = Target::Link(directory.clone(), digest("b"));
    let (there, other) = (Stat::new(0, then()), Stat::new(1, then()));
    assert!(matches!(repair.make_link(&empty, Some(&other)).expect("no error"), Made::Changed(_)));
    assert!(matches!(shelf.keep(&Planned { target: &empty, stat: &other }).expect("no error"), Removal::Changed(_)));
    assert_eq!(shelf.keep(&Planned { target: &empty, stat: &there }).expect("kept"), Removal::Removed);
    let before = backend.store().open(&RepositoryEntry { name: name.clone(), foreign: None }).expect("opened");
    assert_eq!(before.read_links(&directory, &[digest("b")]).expect("read"), [LinkContent::Empty], "it has two places");
    drop(before);
    assert_eq!(repair.make_link(&empty, Some(&there)).expect("made"), Made::Made);
    assert_eq!(shelf.give_back_over(&empty, Some(then())).expect("no error"), Return::Replaced, "written to since");
    let later = RunClock::read().start() + Duration::from_secs(60);
    assert_eq!(shelf.give_back_over(&empty, Some(later)).expect("moved"), Return::Back);
    assert_eq!(shelf.give_back_over(&empty, Some(later)).expect("no error"), Return::Absent);
    let after = backend.store().open(&RepositoryEntry { name, foreign: None }).expect("opened");
    assert_eq!(after.read_links(&directory, &[digest("b")]).expect("read"), [LinkContent::Empty], "as it was");
}

/// A blob that is there is left, and bytes that are not those of its digest never are there.
fn blobs_are_made_of_their_own_bytes(backend: &dyn Backend, fill: &dyn Fill) {
    let Some(repair) = backend.repair() else { return };
    let _lock = lock(backend, Access::Change).expect("free");
    fill.put(&blob("other").path(), b"other", then());
    let make = |content: &'static [u8]| repair.make_blob(&digest("a"), None, &mut |out| out.write_all(content));
    let made: Vec<Made> = [&b""[..], b"b", b"aa"].into_iter().map(|content| make(content).expect("no error")).collect();
    assert!(made.iter().all(|made| matches!(made, Made::Changed(_))), "{made:?}");
    repair.make_blob(&digest("a"), None, &mut |_| Err(std::io::Error::other("broken off"))).expect_err("broken off");
    assert_eq!(fill.paths(), [blob("other").path()], "nothing is there, and nothing is left");
    assert_eq!(make(b"a").expect("made"), Made::Made);
    let mut read = Vec::new();
    assert_eq!(
        backend.store().manifest(&digest("a"), &mut |bytes| read = bytes.to_vec()).expect("read"),
        ManifestContent::Verified
    );
    assert_eq!(read, b"a");
    assert_eq!(make(b"a").expect("no error"), Made::Exists);
    damaged_blobs_are_replaced_for_good(backend, fill, repair);
}

/// By what is whole alone, and as long as they are what was seen.
fn damaged_blobs_are_replaced_for_good(backend: &dyn Backend, fill: &dyn Fill, repair: &dyn Repair) {
    let damaged = blob("b");
    fill.put(&damaged.path(), b"", then());
    let make = |content: &'static [u8], stat: &Stat| {
        repair.make_blob(&digest("b"), Some(stat), &mut |out| out.write_all(content)).expect("no error")
    };
    let state = || stat_target(backend.store(), &damaged).expect("looked at");
    let FileState::File(there) = state() else { panic!("it is there") };
    assert!(matches!(make(b"b", &Stat::new(7, then())), Made::Changed(_)), "another one than was seen");
    assert!(matches!(make(b"c", &there), Made::Changed(_)), "not its bytes");
    assert_eq!(state(), FileState::File(there));
    let shelf = shelf(backend, "run");
    let planned = Planned { target: &damaged, stat: &there };
    assert_eq!(shelf.keep(&planned).expect("kept"), Removal::Removed);
    assert_eq!(make(b"b", &there), Made::Made);
    let later = RunClock::read().start() + Duration::from_secs(60);
    for until in [Some(then()), Some(later), None] {
        assert_eq!(shelf.give_back_over(&damaged, until).expect("no error"), Return::Replaced, "its bytes may be nowhere else");
        assert!(matches!(state(), FileState::File(stat) if stat.size_bytes == 1));
    }
}
