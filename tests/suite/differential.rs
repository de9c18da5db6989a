//! Beside the registry's own collector: on storage that it handles right, both take away the same blobs.
//!
//! Stores are drawn from fixed seeds and leave out what docker-registry 2.8 is known to get wrong or to give up on:
//! indexes with `-m`, referrers, sha512 names, repositories without a tags directory, anything damaged. Each is written
//! twice; one copy is ours, the other its.

use std::collections::BTreeSet;

use crate::support::server::{self, RealRegistry};
use crate::support::snapshot::{blobs_on_disk, copy};
use crate::support::*;

/// Enough for every combination of the moves below to come up.
const SEEDS: std::ops::Range<u64> = 0..24;

/// A stream of numbers that is the same on every machine (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let bound = u64::try_from(choices.len()).expect("a short list");
        let chosen = usize::try_from(self.below(bound)).expect("an index of it");
        choices[chosen].clone()
    }
}

/// A registry after some weeks of use. Few layers and few names, so that much is shared and much is overwritten.
fn used_registry(seed: u64) -> Tree {
    let mut draw = Draw(seed);
    let mut tree = Tree::new();
    let repositories = ["a", "a/nested/deeply", "b", "library/with-dashes"];
    let tags = ["latest", "v1", "v2", "2024.01"];
    // A tag in every repository: the registry's -m gives up on one that has no tags directory.
    for repository in repositories {
        let image = oci_image(repository, &[layer(0)]);
        tree.push(repository, &image).tag(repository, "base", image.digest());
    }
    let mut pushed = Vec::<(&str, Image)>::new();
    for step in 0..20 + draw.below(20) {
        let repository = draw.one_of(&repositories);
        match draw.below(10) {
            // Pushed under a tag, mostly one that is there already.
            0..=4 => {
                let image = drawn_image(&mut draw, step);
                tree.push(repository, &image);
                tree.tag(repository, draw.one_of(&tags), image.digest());
                pushed.push((repository, image));
            }
            // Pushed by digest; untagged from the start.
            5 => {
                let image = drawn_image(&mut draw, step);
                tree.push(repository, &image);
                pushed.push((repository, image));
            }
            // A tag moved back to what was there before, or an image pushed to a second repository.
            6 if !pushed.is_empty() => {
                let (_, image) = draw.one_of(&pushed);
                tree.push(repository, &image);
                tree.tag(repository, draw.one_of(&tags), image.digest());
                pushed.push((repository, image));
            }
            7 | 8 if !pushed.is_empty() => {
                let (repository, image) = draw.one_of(&pushed);
                tree.delete_manifest(repository, image.digest());
            }
            // Layers that no manifest ever named, or whose link was deleted.
            _ => {
                let stray = layer(100 + draw.below(20));
                tree.layer(repository, &stray);
                if draw.below(2) == 0 {
                    tree.delete_layer(repository, &stray.digest);
                }
            }
        }
    }
    tree
}

fn drawn_image(draw: &mut Draw, step: u64) -> Image {
    let layers: Vec<Content> = (0..=draw.below(3)).map(|_| layer(draw.below(12))).collect();
    // Few names as well: the same image is pushed again now and then.
    let name = format!("image {}", step % 15);
    if draw.below(2) == 0 { oci_image(&name, &layers) } else { docker_image(&name, &layers) }
}

/// Collects two equal storages, one by each program, and compares the blobs that are left.
fn compare(what: &str, ours: &std::path::Path, theirs: &std::path::Path, delete_untagged: bool) {
    let all = blobs_on_disk(ours);
    assert_eq!(all, blobs_on_disk(theirs), "{what}: not the same storage");

    let run = Regsweep::gc(ours).any_age();
    let run = if delete_untagged { run.delete_untagged() } else { run };
    let outcome = run.run().expect_code(0);
    let flags: &[&str] = if delete_untagged { &["-m"] } else { &[] };
    let output = server::garbage_collect(theirs, flags);
    assert!(output.status.success(), "{what}: docker-registry: {}", String::from_utf8_lossy(&output.stderr));

    let left_by_us = blobs_on_disk(ours);
    let left_by_them = blobs_on_disk(theirs);
    assert_eq!(left_by_us, left_by_them, "{what}");
    let removed: BTreeSet<String> = all.into_keys().filter(|digest| !left_by_us.contains_key(digest)).collect();
    assert_eq!(outcome.blobs(), removed, "{what}: the plan says otherwise");
}

fn compare_drawn(delete_untagged: bool) {
    let mut removed_somewhere = 0;
    for seed in SEEDS {
        let tree = used_registry(seed);
        let (ours, theirs) = (tree.on_disk(), tree.on_disk());
        compare(&format!("seed {seed}"), ours.path(), theirs.path(), delete_untagged);
        removed_somewhere += tree.blobs().len() - blobs_on_disk(ours.path()).len();
    }
    // Two programs that remove nothing agree as well.
    assert!(removed_somewhere > 100, "the stores hold too little garbage");
}

#[test]
fn removes_the_blobs_the_registrys_own_collector_removes() {
    compare_drawn(false);
}

#[test]
fn removes_the_blobs_the_registrys_own_collector_removes_with_delete_untagged() {
    compare_drawn(true);
}

#[test]
fn agrees_with_the_registrys_own_collector_on_what_the_registry_itself_wrote() {
    let mut registry = RealRegistry::start();
    let client = registry.client();
    let first = oci_image("first", &[layer(1), layer(2)]);
    let second = docker_image("second", &[layer(1), layer(3)]);
    let third = oci_image("third", &[layer(4)]);
    for repository in ["a", "a/b"] {
        client.push_tag(repository, "latest", &first);
        client.push_tag(repository, "latest", &second);
        client.push_tag(repository, "doomed", &third);
    }
    client.push("a", &oci_image("by digest", &[layer(5)]));
    client.delete_manifest("a", third.digest());
    client.delete_manifest("a/b", third.digest());
    client.delete_manifest("a/b", first.digest());
    client.put_blob("a", &layer(6));
    client.put_blob("a", &layer(7));
    client.delete_blob("a", &layer(7).digest);
    client.begin_upload("a");
    registry.stop();

    for delete_untagged in [false, true] {
        let [ours, theirs] = std::array::from_fn(|_| {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            copy(&registry.root(), directory.path());
            directory
        });
        let what = format!("delete untagged: {delete_untagged}");
        compare(&what, ours.path(), theirs.path(), delete_untagged);
    }
}

/// Everything else in the suite stands on this one: the builder's storage is the registry's, byte for byte.
#[test]
fn builder_writes_what_the_registry_writes() {
    let mut registry = RealRegistry::start();
    let client = registry.client();
    let mut tree = Tree::new();

    let first = oci_image("first", &[layer(1), layer(2)]);
    let second = docker_image("second", &[layer(1), layer(3)]);
    let platforms = index(&[first.clone(), oci_image("other", &[layer(4)])]);
    let list = manifest_list(std::slice::from_ref(&second));
    let long = oci_image("sha512", &[layer(5)]).with_sha512_descriptors();
    let referrer = oci_image("signature", &[layer(6)]).referring_to(&first);
    for (repository, tag, image) in [
        ("a", "latest", &first),
        ("a", "latest", &second),
        ("a", "stays", &first),
        ("a", "goes", &second),
        ("a/b/c", "platforms", &platforms),
        ("a/b/c", "list", &list),
        ("long", "v1", &long),
    ] {
        client.push_tag(repository, tag, image);
        tree.push(repository, image).tag(repository, tag, image.digest());
    }
    client.push("a", &referrer);
    tree.push("a", &referrer);
    client.delete_manifest("a", second.digest());
    tree.delete_manifest("a", second.digest());
    client.delete_blob("a", &layer(3).digest);
    tree.delete_layer("a", &layer(3).digest);
    client.mount("mounted", &layer(1).digest, "a");
    tree.layer_link("mounted", &layer(1).digest);
    client.delete_manifest("a/b/c", platforms.digest());
    tree.delete_manifest("a/b/c", platforms.digest());
    registry.stop();

    let built = tree.on_disk();
    // Kinds only: times and modes are when and where this ran. Finished uploads leave an empty directory.
    let content = |root: &std::path::Path| -> Vec<_> {
        snapshot(&root.join("docker"))
            .into_iter()
            .filter(|(path, _)| !path.ends_with("/_uploads"))
            .map(|(path, seen)| (path, seen.kind))
            .collect()
    };
    assert_eq!(content(built.path()), content(&registry.root()));
}
