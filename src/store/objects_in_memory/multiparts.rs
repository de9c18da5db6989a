//! Multipart uploads that were begun and not ended.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::bucket::{Etags, Fails, ObjectStore, counted};
use crate::error::Error;
use crate::layout::{self, Target, UploadFile, UploadPart};
use crate::oci::RepositoryName;
use crate::store::object::{Multipart, Request};
use crate::store::{
    FileState, LockGuard, MemoryStore, Planned, Removal, RepositoryEntry, Stat, Store as _, StrayKind, Unseen, Vacuum as _,
};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn file(repository: &str, id: &str, part: UploadPart) -> UploadFile {
    UploadFile { repository: RepositoryName::new(repository), id: id.to_owned(), part }
}

fn data(repository: &str, id: &str) -> PathBuf {
    file(repository, id, UploadPart::Data).path()
}

/// An upload of `app` with keys and two multipart uploads, and one of which nothing else is left in a repository that has no keys.
fn store() -> ObjectStore {
    let store = ObjectStore::new(MemoryStore::new(), Etags::Md5, 1);
    store.memory().add_file(file("app", "kept", UploadPart::StartedAt).path(), "1970-01-12T13:46:40Z", at(0));
    store.begin_multipart(&data("app", "kept"), "1", at(1), (10, Some(at(5))));
    store.begin_multipart(&data("app", "kept"), "2", at(2), (20, Some(at(3))));
    store.begin_multipart(&data("left/alone", "lost"), "3", at(4), (0, None));
    for (number, key) in ["blobs/sha256/aa/data", "repositories/app/_uploads/kept/data2"].iter().enumerate() {
        store.begin_multipart(&Path::new(layout::V2).join(key), &number.to_string(), at(0), (1, None));
    }
    store.begin_multipart(Path::new("elsewhere"), "4", at(0), (1, None));
    store
}

fn open<'s>(store: &'s ObjectStore, name: &str) -> Box<dyn crate::store::Repository + 's> {
    store.open(&RepositoryEntry { name: RepositoryName::new(name), foreign: None }).expect("listed")
}

fn lock(store: &ObjectStore) -> Box<dyn LockGuard> {
    store.take_lock(Duration::ZERO, Timestamp::UNIX_EPOCH, &AtomicBool::new(false)).expect("free")
}

#[test]
fn an_upload_is_as_large_and_as_young_as_all_that_was_sent_of_it() {
    let store = store();
    store.begin(None);
    let repositories = store.repositories().expect("listed");
    let names: Vec<String> = repositories.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["app", "left/alone"]);
    let others: Vec<_> = repositories.strays.iter().map(|stray| (stray.path.clone(), stray.kind)).collect();
    assert_eq!(others, [(Path::new(layout::V2).join("blobs/sha256/aa/data"), StrayKind::Multiparts(2))]);
    let asked = store.log().len();
    let repository = open(&store, "app");
    let uploads = repository.uploads().expect("told");
    assert!(uploads.strays.is_empty());
    let [upload] = &uploads.entries[..] else { panic!("{uploads:?}") };
    assert_eq!((upload.id.as_os_str(), upload.size_bytes(), upload.last_continued()), (OsStr::new("kept"), 30, at(5)));
    let contents = repository.upload_contents(OsStr::new("kept")).expect("told").expect("there");
    let parts: Vec<_> = contents.files.iter().map(|(part, stat)| (*part, stat.size_bytes, stat.modified)).collect();
    assert_eq!(parts, [(UploadPart::StartedAt, 20, at(0)), (UploadPart::Data, 30, at(5))]);
    assert!(contents.others.is_empty());
    // The repository, the parts of two, and `startedat`: all of them were listed before.
    assert_eq!(counted(&store.log()[asked..]), [(Request::List, 3), (Request::Get, 1)].into());

    let alone = open(&store, "left/alone");
    let [upload] = &alone.uploads().expect("told").entries[..] else { panic!("one upload") };
    assert_eq!((upload.size_bytes(), upload.last_continued(), upload.started_file), (0, at(4), FileState::Absent));
    // Who opens it again sees what has come since.
    store.begin_multipart(&data("left/alone", "more"), "5", at(9), (7, Some(at(9))));
    let ids: Vec<OsString> =
        open(&store, "left/alone").uploads().expect("told").entries.into_iter().map(|upload| upload.id).collect();
    assert_eq!(ids, ["lost", "more"]);
}

#[test]
fn what_is_under_the_key_already_is_a_part_of_it() {
    let store = store();
    store.memory().add_file(data("app", "kept"), "12345", at(8));
    store.repositories().expect("listed");
    let uploads = open(&store, "app").uploads().expect("told").entries;
    assert_eq!((uploads[0].size_bytes(), uploads[0].last_continued()), (35, at(8)));
    // One that was just begun is young, whatever its parts say.
    store.begin_multipart(&data("app", "kept"), "6", at(9), (1, Some(at(3))));
    let uploads = open(&store, "app").uploads().expect("told").entries;
    assert_eq!((uploads[0].size_bytes(), uploads[0].last_continued()), (36, at(9)));
}

#[test]
fn a_server_that_lists_them_by_whole_keys_is_asked_for_each_upload() {
    let store = store();
    store.bucket.server().lists_multiparts_by_key = true;
    let repositories = store.repositories().expect("listed");
    assert_eq!((repositories.entries.len(), repositories.strays.len()), (1, 0));
    assert_eq!(open(&store, "app").uploads().expect("told").entries[0].size_bytes(), 30);
}

#[test]
fn a_server_that_does_not_tell_of_them_is_asked_once() {
    let why = Unseen::Denied("a right");
    for (unseen, parts_unseen) in [(Some(why), None), (None, Some(why))] {
        let store = store();
        store.bucket.server().unseen = unseen;
        store.bucket.server().parts_unseen = parts_unseen;
        let repositories = store.repositories().expect("listed");
        let strays: Vec<_> = repositories.strays.iter().map(|stray| stray.kind).collect();
        assert_eq!((repositories.entries.len(), strays), (1, vec![StrayKind::Unseen(why)]));
        store.begin(None);
        let uploads = open(&store, "app").uploads().expect("told").entries;
        assert_eq!((uploads.len(), uploads[0].size_bytes()), (1, 0));
        assert_eq!(counted(&store.log()), [(Request::List, 1), (Request::Get, 1)].into());
    }
}

fn remove(store: &ObjectStore, stat: Stat) -> Result<Removal, Error> {
    let target = Target::Upload(Box::new(file("app", "kept", UploadPart::Data)));
    store.remove(&[Planned { target: &target, stat: &stat }]).pop().expect("an answer")
}

fn left(store: &ObjectStore) -> Vec<String> {
    let server = store.bucket.server();
    server.multiparts.keys().filter(|multipart| multipart.key == data("app", "kept")).map(|one| one.id.clone()).collect()
}

#[test]
fn what_was_sent_goes_if_it_is_as_planned() {
    let planned = Stat::new(30, at(5));
    for number in 0..7 {
        let store = store();
        let _lock = lock(&store);
        let others = store.bucket.server().multiparts.len() - 2;
        let multipart = |id: &str, initiated| Multipart { key: data("app", "kept"), id: id.to_owned(), initiated: at(initiated) };
        let (mut stat, mut expected) = (planned, (Removal::Removed, 0));
        let mut change = |text| expected = (Removal::Changed(text), 2);
        match number {
            0 => {}
            1 => {
                store.memory().add_file(data("app", "kept"), "12345", at(8));
                stat = Stat::new(35, at(8));
            }
            2 => {
                store.bucket.server().multiparts.get_mut(&multipart("1", 1)).expect("begun").size_bytes = 11;
                change("its size has changed");
            }
            3 => {
                store.bucket.server().multiparts.get_mut(&multipart("2", 2)).expect("begun").modified = Some(at(6));
                change("it was written to in the meantime");
            }
            4 => {
                store.memory().add_file(data("app", "kept"), "12345", at(3));
                change("its size has changed");
            }
            5 => {
                store.begin_multipart(&data("app", "kept"), "9", at(9), (0, None));
                expected = (Removal::Changed("it was written to in the meantime"), 3);
            }
            _ => {
                store.bucket.server().multiparts.retain(|multipart, _| multipart.key != data("app", "kept"));
                expected = (Removal::AlreadyGone, 0);
            }
        }
        let removed = remove(&store, stat).expect("an answer");
        assert_eq!((removed, left(&store).len()), expected, "{number}");
        let has_key = store.memory().files().contains(&data("app", "kept"));
        assert_eq!(has_key, number == 4, "{number}");
        let left = left(&store).len();
        assert_eq!(store.bucket.server().multiparts.len() - left, others, "{number}: others stay");
    }
}

#[test]
fn an_end_that_is_not_answered_is_looked_at_again_and_none_is_sent_after_the_lease() {
    for number in 1..=5 {
        let store = store();
        let _lock = lock(&store);
        store.begin(Some((number, Fails::AnswerLost)));
        let removed = remove(&store, Stat::new(30, at(5)));
        let log = store.log();
        let is_change = log[number - 1].0 == Request::Delete;
        match removed {
            // Of the two one was ended, so that it is not as planned when it is looked at again.
            Ok(removed) => {
                assert_eq!(removed, if number == 4 { Removal::Changed("its size has changed") } else { Removal::Removed })
            }
            Err(error) => assert!(!is_change, "{number}: {error}"),
        }
    }
    let store = store();
    let _lock = lock(&store);
    store.overslept();
    remove(&store, Stat::new(30, at(5))).expect_err("the lease has ended");
    assert_eq!(left(&store).len(), 2);
}
