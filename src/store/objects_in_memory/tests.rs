use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::bucket::{Etags, Fails, ObjectStore, counted};
use crate::audit::tolerant::Tolerant;
use crate::inventory::{Budget, Inventory};
use crate::layout::{self, LinkDirectory, OWN_DIRECTORY, Shard};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::quarantine::{Overlay, Quarantine, Quarantining};
use crate::store::conformance::{BACKENDS, Bench, Fill, STORES};
use crate::store::object::{Request, Requests as _};
use crate::store::{Backend as _, Directories, FileState, LinkContent, LockGuard, MemoryStore, RepositoryEntry, Store};
use crate::verify::lenient::Lenient;

impl Fill for ObjectStore {
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime) {
        self.memory().add_file(path, content, modified);
    }

    /// Keys know of none.
    fn put_directory(&self, _: &Path, _: SystemTime) {}

    fn paths(&self) -> Vec<PathBuf> {
        self.memory().files()
    }
}

/// What removes wants a lock.
fn locked(store: &ObjectStore) -> Box<dyn LockGuard> {
    let lock = store.take_lock(Duration::ZERO, Timestamp::UNIX_EPOCH, &AtomicBool::new(false));
    lock.expect("free")
}

/// Both kinds of ETags, and listings in a few orders.
fn empty() -> impl Iterator<Item = ObjectStore> {
    let kinds = [Etags::Md5, Etags::Opaque].into_iter();
    kinds.flat_map(|etags| (0..4).map(move |seed| ObjectStore::new(MemoryStore::new(), etags, seed)))
}

#[test]
fn does_what_every_store_does() {
    for case in STORES {
        for store in empty() {
            let _lock = locked(&store);
            case(&Bench::of(&store));
        }
    }
}

#[test]
fn does_what_every_backend_does() {
    for case in BACKENDS {
        empty().for_each(|store| case(&store, &store));
    }
}

#[test]
fn what_wraps_it_does_what_every_store_does() {
    for case in STORES {
        for store in empty() {
            let _lock = locked(&store);
            let quarantine = Quarantine::open(&store).expect("empty");
            case(&Bench { fill: &store, store: &Overlay::new(&store, &quarantine), vacuum: &store });
        }
        for store in empty() {
            let _lock = locked(&store);
            case(&Bench { fill: &store, store: &Tolerant::new(&store, store.place()), vacuum: &store });
        }
        for store in empty() {
            let _lock = locked(&store);
            case(&Bench { fill: &store, store: &Lenient::new(&store, store.place(), true), vacuum: &store });
        }
        for store in empty() {
            let clock = crate::clock::RunClock::read();
            let run = crate::quarantine::begin(&store, crate::quarantine::Purpose::GarbageCollect, &clock, None).expect("begun");
            let survey = |_: &RepositoryName| Ok(Vec::new());
            case(&Bench { fill: &store, store: &store, vacuum: &Quarantining::new(&store, &run, Directories::Prune, &survey) });
        }
    }
}

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_le_bytes())
}

#[test]
fn a_repository_is_one_listing_and_links_that_are_well_are_not_read() {
    let name = RepositoryName::new("team/app");
    let layers = LinkDirectory::Layers(name.clone());
    for (etags, reads) in [(Etags::Md5, 1), (Etags::Opaque, 2501)] {
        let store = ObjectStore::new(MemoryStore::new(), etags, 7);
        let digests: Vec<Digest> = (0..2501).map(digest).collect();
        for digest in &digests {
            store.memory().add_file(layers.link(digest), digest.to_string(), SystemTime::UNIX_EPOCH);
        }
        // What is nested in it is another's, and what only begins so as well.
        for other in ["team/app/deep", "team/app2", "team/app_x"] {
            let links = LinkDirectory::Layers(RepositoryName::new(other));
            digests[..600].iter().for_each(|digest| store.memory().add_file(links.link(digest), "x", SystemTime::UNIX_EPOCH));
        }
        let wrong = digest(7_000);
        store.memory().add_file(layers.link(&digests[0]), wrong.to_string(), SystemTime::UNIX_EPOCH);
        store.begin(None);
        let repository = store.open(&RepositoryEntry { name: name.clone(), foreign: None }).expect("listed");
        let listed = repository.links(&layers).expect("told");
        assert_eq!(listed.entries.len(), digests.len());
        let states = repository.stat_links(&layers, &digests).expect("told");
        assert!(states.iter().all(|state| matches!(state, FileState::File(stat) if stat.size_bytes == 71)));
        assert_eq!(counted(&store.log()), [(Request::List, 3)].into());
        let contents = repository.read_links(&layers, &digests).expect("read");
        assert_eq!(contents[0], LinkContent::Digest(wrong));
        assert!(contents[1..].iter().zip(&digests[1..]).all(|(content, digest)| *content == LinkContent::Digest(*digest)));
        assert_eq!(counted(&store.log()), [(Request::List, 3), (Request::Get, reads)].into());
    }
}

#[test]
fn an_open_repository_is_as_it_was_and_one_opened_again_as_it_is() {
    let name = RepositoryName::new("a");
    let layers = LinkDirectory::Layers(name.clone());
    let store = ObjectStore::new(MemoryStore::new(), Etags::Md5, 0);
    let open = || store.open(&RepositoryEntry { name: name.clone(), foreign: None }).expect("listed");
    let before = open();
    store.memory().add_file(layers.link(&digest(1)), digest(1).to_string(), SystemTime::UNIX_EPOCH);
    let found = [before, open()].map(|repository| repository.links(&layers).expect("told").entries);
    assert_eq!(found, [vec![], vec![digest(1)]]);
}

#[test]
fn what_a_listing_tells_of_blobs_is_not_asked_again() {
    let store = ObjectStore::new(MemoryStore::new(), Etags::Md5, 3);
    let digests: Vec<Digest> = (0..5000).map(digest).collect();
    for (number, digest) in digests.iter().enumerate() {
        store.memory().add_file(layout::blob_data(digest), vec![0; number % 7], SystemTime::UNIX_EPOCH);
    }
    store.begin(None);
    let (inventory, strays) = Inventory::list(&store, &Budget::unlimited()).expect("listable");
    assert_eq!((inventory.len(), strays.len()), (5000, 0));
    // Algorithms, shards, and sixteen parts of some 312 keys.
    assert_eq!(counted(&store.log()), [(Request::List, 18)].into());
    for (number, digest) in digests.iter().enumerate() {
        let blob = inventory.find(digest).expect("stored");
        let states = inventory.states(&store, Shard::of(digest), &[(blob, *digest)]).expect("told");
        assert!(matches!(states[..], [FileState::File(stat)] if stat.size_bytes == number as u64 % 7), "{states:?}");
    }
    assert_eq!(store.log().len(), 18);
}

#[test]
fn any_request_can_fail_before_it_was_carried_out_or_after() {
    for how in [Fails::Refused, Fails::AnswerLost] {
        let store = ObjectStore::new(MemoryStore::new(), Etags::Md5, 0);
        store.memory().add_file(layout::blob_data(&digest(1)), "x", SystemTime::UNIX_EPOCH);
        store.begin(Some((2, how)));
        let key = layout::blob_data(&digest(1));
        store.bucket.head(&key).expect("the first");
        store.bucket.delete(std::slice::from_ref(&key), &|| true).expect_err("the second");
        assert_eq!(store.bucket.head(&key).expect("the third").is_some(), how == Fails::Refused);
        assert!(!key.starts_with(OWN_DIRECTORY) && store.log().len() == 3);
    }
}
