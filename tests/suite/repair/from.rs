//! `--from`: lost blobs come from another store, and nothing else does.

use std::fs;

use super::*;
use crate::support::layout::{blob_data, blob_directory};

/// What is lost, in words, and how.
type Lost = (&'static str, fn(&mut Tree));

const LOST: &[Lost] = &[
    ("a layer", |tree| {
        tree.remove(&blob_directory(&layer(3).digest));
    }),
    ("the data of a layer", |tree| {
        tree.remove(&blob_data(&layer(3).digest)).directory(blob_directory(&layer(3).digest));
    }),
    ("a layer and its link", |tree| {
        tree.remove(&blob_directory(&layer(3).digest)).remove(&layer_link(REPOSITORY, &layer(3).digest));
    }),
    ("a layer and what its link said, in two repositories", |tree| {
        tree.remove(&blob_directory(&layer(2).digest)).file(layer_link(REPOSITORY, &layer(2).digest), "");
        tree.file(layer_link("other", &layer(2).digest), "sha256:");
    }),
    ("what a tag names, and its revision link", |tree| {
        tree.remove(&blob_directory(two().digest())).remove(&revision_link(REPOSITORY, two().digest()));
    }),
    ("a manifest and what its revision link said", |tree| {
        tree.remove(&blob_directory(one().digest())).file(revision_link(REPOSITORY, one().digest()), "");
    }),
    ("a manifest and all that it names", |tree| {
        for digest in two().reaches() {
            tree.remove(&blob_directory(&digest));
        }
    }),
    ("a platform of an index", |tree| {
        tree.remove(&blob_directory(platforms().children[0].digest()));
    }),
    ("a platform of an index, with all that it names and all links to it", |tree| lose_platform(tree, 0)),
    ("all platforms of an index", |tree| [0, 1].into_iter().for_each(|place| lose_platform(tree, place))),
    ("an index and all its platforms", |tree| {
        tree.remove(&blob_directory(platforms().digest()));
        [0, 1].into_iter().for_each(|place| lose_platform(tree, place));
    }),
    ("an index, and the links of a platform that is stored", |tree| {
        let child = platforms().children[1].clone();
        tree.remove(&blob_directory(platforms().digest())).remove(&revision_link(REPOSITORY, child.digest()));
        child.blobs.iter().for_each(|blob| drop_link(tree, &blob.digest));
    }),
    ("an index, and all but a file cut short of a platform", |tree| {
        lose_platform(tree, 1);
        let child = platforms().children[1].clone();
        tree.remove(&blob_directory(platforms().digest()));
        drop_in(tree, child.digest(), "{");
        drop_in(tree, &child.blobs[1].digest, "");
    }),
    ("all blobs but one", |tree| {
        for digest in tree.blobs().into_iter().filter(|digest| *digest != layer(4).digest) {
            tree.remove(&blob_directory(&digest));
        }
    }),
];

fn drop_link(tree: &mut Tree, digest: &str) {
    tree.remove(&layer_link(REPOSITORY, digest));
}

fn lose_platform(tree: &mut Tree, place: usize) {
    let child = platforms().children[place].clone();
    for digest in child.reaches() {
        tree.remove(&blob_directory(&digest));
    }
    child.blobs.iter().for_each(|blob| drop_link(tree, &blob.digest));
    tree.remove(&revision_link(REPOSITORY, child.digest()));
}

/// A platform that the mirror has neither is none that was lost, and one that it has in part comes as far as it goes.
#[test]
fn platforms_come_as_far_as_the_mirror_has_them() {
    let mut tree = store().into_tree();
    [0, 1].into_iter().for_each(|place| lose_platform(&mut tree, place));
    let (sparse, mut half) = (tree, store().into_tree());
    lose_platform(&mut half, 0);
    half.remove(&blob_directory(&layer(5).digest));
    let (root, sparse, half) = (sparse.on_disk(), sparse.on_disk(), half.on_disk());
    let before = contents(root.path());
    let from = |mirror: &Path| repair(root.path(), &[]).arg("--from").arg(mirror).json().run();
    from(sparse.path()).expect_code(0);
    repair(root.path(), &[]).run().expect_code(0);
    assert_eq!(contents(root.path()), before, "nothing was lost");
    let outcome = from(half.path()).expect_code(1);
    let codes: Vec<(String, Option<String>)> =
        outcome.findings().into_iter().map(|finding| (finding.code.clone(), finding.digest.clone())).collect();
    assert_eq!(codes, [("missing-blob".to_owned(), Some(layer(5).digest))], "{}", outcome.stdout);
    let child = platforms().children[1].clone();
    let there = contents(root.path());
    let paths = [blob_data(child.digest()), revision_link(REPOSITORY, child.digest()), blob_data(&child.blobs[0].digest)];
    assert!(paths.iter().all(|path| there.contains_key(path)), "{there:?}");
    assert!(!there.contains_key(&layer_link(REPOSITORY, &layer(5).digest)), "no link leads to nothing");
}

#[test]
fn lost_blobs_come_back_and_the_mirror_is_left_as_it_is() {
    let mirror = store().on_disk();
    let before = snapshot(mirror.path());
    for (name, lose) in LOST {
        let mut tree = store().into_tree();
        lose(&mut tree);
        let root = tree.on_disk();
        let root = root.path();
        let lost = contents(root);
        let run = |words: &[&str]| repair(root, words).arg("--from").arg(mirror.path()).json().run();
        let dry = run(&["--dry-run"]).report();
        assert_eq!(contents(root), lost, "{name}");
        let outcome = run(&[]).expect_code(0);
        let report = outcome.report();
        assert_eq!((&report["blobs"], &report["links"]), (&dry["blobs"], &dry["links"]), "{name}");
        assert_eq!(report["blobs"].as_array().expect("a list").len() as u64, report["copied"]["blobs"], "{name}");
        assert_eq!(report["run_again"], false, "{name}");
        assert_eq!(contents(root), expected(&store().into_tree()), "{name}");
        let again = run(&[]).expect_code(0).report();
        assert_eq!((&again["blobs"], &again["links"]), (&serde_json::json!([]), &serde_json::json!([])), "{name}");
    }
    assert_eq!(snapshot(mirror.path()), before);
}

/// Bytes that are not those of the digest never become visible, and no link is made to them.
#[test]
fn a_mirror_that_has_other_bytes_gives_nothing() {
    let mut tree = store().into_tree();
    tree.remove(&blob_directory(&layer(3).digest)).file(layer_link(REPOSITORY, &layer(3).digest), "");
    let root = tree.on_disk();
    let before = contents(root.path());
    for bytes in ["", "layer 4\n", "layer 3", "layer 3\n\n", "gibberis"] {
        let mirror = store().with(|tree| drop_in(tree, &layer(3).digest, bytes)).on_disk();
        let outcome = repair(root.path(), &[]).arg("--from").arg(mirror.path()).run().expect_code(1);
        assert_eq!(contents(root.path()), before, "{bytes:?}");
        let said = match bytes.len() == layer(3).bytes.len() {
            true => ["its bytes do not match its digest", "error: failed-repair", "the blob that it would name was not copied"],
            false => ["what names it states 8", "error: missing-blob", "the blob that it would name is not stored"],
        };
        assert!(said.iter().all(|words| outcome.stdout.contains(words)), "{said:?}: {}", outcome.stdout);
        assert!(!root.path().join(".regsweep/repair.new").exists());
    }
}

fn drop_in(tree: &mut Tree, digest: &str, bytes: &str) {
    tree.file(blob_data(digest), bytes);
}

/// Only what something here needs.
#[test]
fn nothing_else_is_copied() {
    let mirror = store().repo(REPOSITORY).image("more", &[layer(9)]).tag("more").on_disk();
    let mut tree = store().into_tree();
    tree.file(layer_link(REPOSITORY, &layer(9).digest), "");
    let root = tree.on_disk();
    let before = contents(root.path());
    let outcome = repair(root.path(), &[]).arg("--from").arg(mirror.path()).run().expect_code(1);
    assert_eq!(contents(root.path()), before);
    assert!(outcome.stdout.contains("is not stored"), "{}", outcome.stdout);
}

#[test]
fn what_cannot_be_a_mirror_is_refused() {
    let root = store().on_disk();
    let empty = tempfile::tempdir().expect("a directory");
    let link = empty.path().join("link");
    std::os::unix::fs::symlink(root.path(), &link).expect("linked");
    let refused = |words: &[&str], from: &Path, why: &str| {
        let outcome = repair(root.path(), words).arg("--from").arg(from).run().expect_code(2);
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
    };
    refused(&[], root.path(), "is the store that is to be repaired");
    refused(&[], &link, "is the store that is to be repaired");
    refused(&[], &empty.path().join("none"), "No such file");
    refused(&[&format!("{REPOSITORY}:v1")], root.path(), "is the store that is to be repaired");
    fs::remove_file(&link).expect("removed");
    refused(&[], empty.path(), "there is no docker/registry/v2");
}
