//! What changes a bucket: its lock, and removals.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::bucket::{Conditions, Etags, Fails, ObjectStore, counted};
use crate::error::{Error, ErrorKind};
use crate::layout::{self, LinkDirectory, OWN_DIRECTORY, Target};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::object::{If, Request, Requests as _};
use crate::store::{Backend as _, LockGuard, MemoryStore, Planned, Removal, Stat, Vacuum as _};

const THEN: SystemTime = SystemTime::UNIX_EPOCH;

fn bucket(etags: Etags) -> ObjectStore {
    ObjectStore::new(MemoryStore::new(), etags, 3)
}

fn lock(store: &ObjectStore) -> Result<Box<dyn LockGuard>, Error> {
    store.take_lock(Duration::ZERO, Timestamp::UNIX_EPOCH, &AtomicBool::new(false))
}

fn key_of_lock() -> PathBuf {
    Path::new(OWN_DIRECTORY).join("lock")
}

fn is_there(store: &ObjectStore) -> bool {
    store.bucket.has_ours(&key_of_lock())
}

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_le_bytes())
}

/// Blobs of one byte each, and links to them.
fn targets(store: &ObjectStore, count: u32) -> Vec<Target> {
    let layers = LinkDirectory::Layers(RepositoryName::new("team/app"));
    let mut targets = Vec::new();
    for digest in (0..count).map(digest) {
        targets.push(Target::Blob(digest));
        targets.push(Target::Link(layers.clone(), digest));
    }
    for target in &targets {
        store.memory().add_file(target.path(), "x", THEN);
    }
    targets
}

fn remove(store: &ObjectStore, targets: &[Target]) -> Vec<Result<Removal, Error>> {
    let stat = Stat::new(1, THEN);
    let planned: Vec<Planned<'_>> = targets.iter().map(|target| Planned { target, stat: &stat }).collect();
    planned.chunks(store.batch()).flat_map(|batch| store.vacuum().remove(batch)).collect()
}

fn is_removed(removal: &Result<Removal, Error>) -> bool {
    matches!(removal, Ok(Removal::Removed))
}

#[test]
fn one_holds_the_lock_and_removes_it() {
    let store = bucket(Etags::Md5);
    let first = lock(&store).expect("free");
    let error = lock(&store).expect_err("held");
    assert!(matches!(&error, Error::Locked { path, .. } if path.ends_with(".regsweep/lock")), "{error}");
    assert!(error.to_string().contains(&format!("process {} on ", std::process::id())), "{error}");
    assert!(first.is_held() && is_there(&store));
    drop(first);
    assert!(!is_there(&store));
    drop(lock(&store).expect("free again"));
}

#[test]
fn a_stale_lock_is_taken_over_and_its_holder_stops() {
    let store = bucket(Etags::Md5);
    let first = lock(&store).expect("free");
    store.bucket.server().ahead = Duration::from_secs(119);
    lock(&store).expect_err("its lease and the time for what was sent are not over");
    store.bucket.server().ahead = Duration::from_secs(125);
    let second = lock(&store).expect("it is stale by the server's clock");
    let text = store.bucket.see(&key_of_lock()).expect("read").expect("there").content;
    drop(first);
    assert_eq!(store.bucket.see(&key_of_lock()).expect("read").expect("the second one's").content, text);
    drop(second);
    // What another program left there.
    store.bucket.put(&key_of_lock(), b"", If::Always).expect("written");
    lock(&store).expect_err("it may be somebody's");
    store.bucket.server().ahead = Duration::from_secs(250);
    drop(lock(&store).expect("it is nobody's"));
}

#[test]
fn a_server_that_keeps_no_conditions_is_found_out() {
    for conditions in [Conditions::Ignored, Conditions::Unsupported] {
        let store = bucket(Etags::Md5);
        store.bucket.server().conditions = conditions;
        let lock = lock(&store).expect("a guard that holds nothing");
        assert!(!lock.is_held() && lock.unlockable().is_some(), "{conditions:?}");
        assert!(!is_there(&store), "nothing is left");
        // Who goes on without a lock can change things.
        store.notes().replace("x", &mut |out| out.write_all(b"x")).expect("written");
        drop(lock);
        store.notes().replace("x", &mut |out| out.write_all(b"x")).expect_err("not locked");
    }
}

#[test]
fn any_request_for_the_lock_can_fail() {
    let store = bucket(Etags::Md5);
    store.begin(None);
    drop(lock(&store).expect("free"));
    let requests = store.log().len();
    assert!(requests >= 6, "{requests}");
    for how in [Fails::Refused, Fails::AnswerLost] {
        for number in 1..=requests {
            let store = bucket(Etags::Md5);
            store.begin(Some((number, how)));
            match lock(&store) {
                Ok(lock) => assert!(lock.is_held() && is_there(&store), "{how:?} {number}"),
                Err(error) => assert!(matches!(error, Error::Io { operation: "lock" | "read", .. }), "{how:?} {number}: {error}"),
            }
            assert!(!is_there(&store), "{how:?} {number}: it would be in the next one's way");
        }
    }
}

#[test]
fn nothing_is_changed_without_a_lease() {
    let store = bucket(Etags::Md5);
    let targets = targets(&store, 3);
    let refused = || {
        store.begin(None);
        let removals = remove(&store, &targets);
        assert!(removals.iter().all(|removal| removal.as_ref().is_err_and(|error| error.kind() == Some(ErrorKind::Broken))));
        assert!(store.log().iter().all(|(kind, _)| *kind != Request::Delete), "{:?}", store.log());
        store.notes().replace("x", &mut |out| out.write_all(b"x")).expect_err("not locked");
        store.notes().remove("x").expect_err("not locked");
    };
    refused();
    let lock = lock(&store).expect("free");
    store.overslept();
    assert!(!lock.is_held());
    refused();
    drop(lock);
    assert!(is_there(&store), "whose it is by now is not known");
}

#[test]
fn keys_go_by_the_thousand_after_a_listing_of_each_directory() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let store = bucket(etags);
        let targets = targets(&store, 1500);
        let _lock = lock(&store).expect("free");
        store.begin(None);
        let blobs: Vec<Target> = targets.iter().filter(|target| matches!(target, Target::Blob(_))).cloned().collect();
        let links: Vec<Target> = targets.iter().filter(|target| matches!(target, Target::Link(..))).cloned().collect();
        assert!(remove(&store, &links).iter().all(is_removed));
        // Two batches, of which the first leaves one page to the second.
        assert_eq!(counted(&store.log()), [(Request::List, 3), (Request::Delete, 2)].into());
        store.begin(None);
        assert!(remove(&store, &blobs[..20]).iter().all(is_removed));
        assert_eq!(counted(&store.log()), [(Request::Head, 20), (Request::Delete, 1)].into(), "few of any shard");
        assert!(remove(&store, &blobs).iter().filter(|removal| is_removed(removal)).count() == 1480);
        assert!(store.memory().files().is_empty());
        assert!(remove(&store, &targets).iter().all(|removal| matches!(removal, Ok(Removal::AlreadyGone))));
    }
}

#[test]
fn what_is_not_as_planned_stays() {
    let store = bucket(Etags::Md5);
    let _lock = lock(&store).expect("free");
    for few in [1, 20] {
        let targets = targets(&store, few);
        let (longer, newer) = (targets[0].path(), targets[1].path());
        store.memory().add_file(&longer, "xx", THEN);
        store.memory().add_file(&newer, "y", THEN + Duration::from_secs(1));
        let removals = remove(&store, &targets);
        assert!(matches!(removals[0], Ok(Removal::Changed("its size has changed"))), "{:?}", removals[0]);
        assert!(matches!(removals[1], Ok(Removal::Changed("it was written to in the meantime"))), "{:?}", removals[1]);
        assert!(removals[2..].iter().all(is_removed));
        assert_eq!(store.memory().files().len(), 2);
    }
}

/// Times have seconds, and all tags the same length.
#[test]
fn a_tag_that_was_moved_within_its_second_stays() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let store = bucket(etags);
        let _lock = lock(&store).expect("free");
        let tag = |name: &str| Target::Tag(RepositoryName::new("a"), TagName::new(name), digest(1));
        let stat = Stat::new(71, THEN);
        for (name, names, stays) in [("v1", 1, false), ("v2", 2, true)] {
            let target = tag(name);
            store.memory().add_file(target.path(), digest(names).to_string(), THEN);
            let removal =
                store.vacuum().remove(&[Planned { target: &target, stat: &stat }]).pop().expect("one").expect("no error");
            let expected = if stays { Removal::Changed("it names another manifest now") } else { Removal::Removed };
            assert_eq!(removal, expected, "{etags:?}");
            assert_eq!(store.memory().files().contains(&target.path()), stays);
        }
    }
}

#[test]
fn only_what_an_answer_names_counts() {
    let store = bucket(Etags::Md5);
    let _lock = lock(&store).expect("free");
    let targets = targets(&store, 20);
    // Removed, and not named: nothing is known of it until it is looked at again.
    store.bucket.server().unnamed = 5;
    store.bucket.server().keeps = [(targets[7].path(), true), (targets[8].path(), false)].into();
    store.begin(None);
    let removals = remove(&store, &targets);
    let error = removals[8].as_ref().expect_err("it is kept");
    assert!(error.to_string().contains("the key is kept") && error.kind() != Some(ErrorKind::Broken), "{error}");
    assert_eq!(removals.iter().filter(|removal| is_removed(removal)).count(), 39);
    assert_eq!(store.memory().files(), [targets[8].path()]);
    assert_eq!(counted(&store.log())[&Request::Delete], 2, "the one that passes goes the second time");
}

/// A right that is missing is missing for every key.
#[test]
fn a_request_that_is_refused_ends_a_sweep() {
    let is_fatal =
        |removal: &Result<Removal, Error>| removal.as_ref().is_err_and(|error| error.kind() == Some(ErrorKind::Broken));
    let store = bucket(Etags::Md5);
    let _lock = lock(&store).expect("free");
    let targets = targets(&store, 4);
    store.bucket.server().keeps = targets.iter().map(|target| (target.path(), false)).collect();
    assert!(remove(&store, &targets).iter().all(is_fatal));
    store.bucket.server().keeps.clear();
    store.begin(Some((1 + targets.len(), Fails::Refused)));
    assert!(remove(&store, &targets).iter().all(is_fatal), "{:?}", store.log());
    store.begin(Some((1 + targets.len(), Fails::AnswerLost)));
    assert!(remove(&store, &targets).iter().all(is_removed), "it is looked at again");
}

#[test]
fn notes_lie_beside_the_registry() {
    let store = bucket(Etags::Md5);
    let _lock = lock(&store).expect("free");
    store.notes().replace("last.json", &mut |out| out.write_all(b"{}")).expect("written");
    assert!(store.bucket.see(&Path::new(OWN_DIRECTORY).join("last.json")).expect("read").is_some());
    assert!(!layout::V2.starts_with(OWN_DIRECTORY));
}
