//! The passes of a collection one by one, on a small store in a warm cache: `cargo bench --bench passes`.
//!
//! For whole programs, beside the registry's own collector and the floor, see `benches/compare`.

#[path = "../compare/stores.rs"]
#[allow(dead_code, clippy::disallowed_methods)]
mod stores;
#[path = "../../tests/suite/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use regsweep::graph::{Context, Manifests};
use regsweep::inventory::{Budget, Inventory};
use regsweep::mark::blobs::unreached_blobs;
use regsweep::mark::{Marks, mark, planned};
use regsweep::oci::manifest::references;
use regsweep::plan::SweepPlan;
use regsweep::policy::{Policy, RootPolicy};
use regsweep::store::Root;
use regsweep::store::{FilesystemStore, RepositoryEntry, Store as _};
use regsweep::survey::{Survey, survey};
use stores::Shape;

fn main() {
    // One thread: what is measured is work, not how it is spread.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first to ask");
    divan::main();
}

static STORE: LazyLock<FilesystemStore> = LazyLock::new(|| {
    let directory = Path::new("target/compare");
    std::fs::create_dir_all(directory).expect("the directory for stores can be made");
    FilesystemStore::open(&Root::whole(&stores::make(directory, Shape::GROWING[1]))).expect("a store")
});

fn repositories() -> Vec<RepositoryEntry> {
    STORE.repositories().expect("healthy").entries
}

fn surveys() -> Vec<Survey<'static>> {
    repositories().iter().map(|repository| survey(&*STORE, repository).expect("healthy")).collect()
}

fn inventory() -> Inventory {
    Inventory::list(&*STORE, &Budget::unlimited()).expect("healthy").0
}

fn policy() -> Policy {
    Policy::new(Duration::ZERO, regsweep::policy::Arrivals::Ignored, SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000))
}

#[divan::bench]
fn list_blobs(bencher: Bencher<'_, '_>) {
    let count = inventory().len();
    bencher.counter(ItemsCount::new(count)).bench(inventory);
}

#[divan::bench]
fn find_repositories(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(repositories().len())).bench(repositories);
}

#[divan::bench]
fn survey_repositories(bencher: Bencher<'_, '_>) {
    let revisions: usize = surveys().iter().map(|survey| survey.revisions.len()).sum();
    bencher.counter(ItemsCount::new(revisions)).bench(surveys);
}

#[divan::bench]
fn read_references(bencher: Bencher<'_, '_>) {
    let digest = surveys()[0].revisions[0].digest;
    let mut manifest = Vec::new();
    STORE.manifest(&digest, &mut |bytes| manifest = bytes.to_vec()).expect("healthy");
    bencher.counter(BytesCount::of_slice(&manifest)).bench(|| references(black_box(&manifest)));
}

#[divan::bench]
fn find_in_inventory(bencher: Bencher<'_, '_>) {
    let inventory = inventory();
    let layers = surveys().swap_remove(0).layers;
    bencher
        .counter(ItemsCount::new(layers.len()))
        .bench(|| layers.iter().filter(|digest| inventory.find(black_box(digest)).is_some()).count());
}

/// With `--delete-untagged`, manifests read anew each time.
#[divan::bench]
fn mark_repositories(bencher: Bencher<'_, '_>) {
    let surveys = surveys();
    let revisions: usize = surveys.iter().map(|survey| survey.revisions.len()).sum();
    bencher.counter(ItemsCount::new(revisions)).with_inputs(inventory).bench_refs(|inventory| mark_all(&surveys, inventory));
}

fn mark_all(surveys: &[Survey<'_>], inventory: &Inventory) -> Vec<Marks> {
    let manifests = Manifests::new(&*STORE, inventory);
    let retention = &RootPolicy::TaggedOnly;
    let context = Context { store: &*STORE, inventory, manifests: &manifests, retention, policy: policy() };
    surveys.iter().map(|survey| mark(survey, &context).expect("healthy")).collect()
}

#[divan::bench]
fn put_the_plan_in_order(bencher: Bencher<'_, '_>) {
    let surveys = surveys();
    let marked = || {
        let inventory = inventory();
        let marks = mark_all(&surveys, &inventory);
        let manifests = Manifests::new(&*STORE, &inventory);
        let (inventory_now, retention) = (&inventory, &RootPolicy::TaggedOnly);
        let context = Context { store: &*STORE, inventory: inventory_now, manifests: &manifests, retention, policy: policy() };
        let blobs = unreached_blobs(&context, &marks, &Budget::unlimited()).expect("healthy");
        (inventory, marks, blobs)
    };
    let parts = || {
        let (inventory, mut marks, mut blobs) = marked();
        (Arc::new(inventory), planned(&mut marks, &mut blobs))
    };
    bencher.with_inputs(parts).bench_values(|(inventory, (repositories, blobs))| {
        SweepPlan::new(repositories, blobs, inventory, &Budget::unlimited()).expect("in memory")
    });
}
