use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::MemoryStore;
use crate::audit::tolerant::Tolerant;
use crate::quarantine::{Overlay, Quarantine, Quarantining};
use crate::store::conformance::{BACKENDS, Bench, Fill, STORES};
use crate::store::{Backend as _, Directories};
use crate::verify::lenient::Lenient;

impl Fill for MemoryStore {
    fn put(&self, path: &Path, content: &[u8], modified: SystemTime) {
        self.add_file(path, content, modified);
    }

    fn put_directory(&self, path: &Path, modified: SystemTime) {
        self.add_directory(path, modified);
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.files()
    }
}

#[test]
fn does_what_every_store_does() {
    for case in STORES {
        case(&Bench::of(&MemoryStore::new()));
    }
}

#[test]
fn does_what_every_backend_does() {
    for case in BACKENDS {
        let store = MemoryStore::new();
        case(&store, &store);
    }
}

/// What wraps a store answers as the store does, where nothing is in its way.
#[test]
fn what_wraps_a_store_does_what_every_store_does() {
    for case in STORES {
        let store = MemoryStore::new();
        let quarantine = Quarantine::open(&store).expect("empty");
        case(&Bench { fill: &store, store: &Overlay::new(&store, &quarantine), vacuum: &store });
        let store = MemoryStore::new();
        case(&Bench { fill: &store, store: &Tolerant::new(&store, store.place()), vacuum: &store });
        for passes_over in [false, true] {
            let store = MemoryStore::new();
            case(&Bench { fill: &store, store: &Lenient::new(&store, store.place(), passes_over), vacuum: &store });
        }
    }
}

/// A vacuum that quarantines takes from the store what another would.
#[test]
fn what_quarantines_does_what_every_vacuum_does() {
    for case in STORES {
        let store = MemoryStore::new();
        let clock = crate::clock::RunClock::read();
        let run = crate::quarantine::begin(&store, crate::quarantine::Purpose::GarbageCollect, &clock, None).expect("begun");
        let survey = |_: &crate::oci::RepositoryName| Ok(Vec::new());
        let vacuum = Quarantining::new(&store, &run, Directories::Prune, &survey);
        case(&Bench { fill: &store, store: &store, vacuum: &vacuum });
    }
}
