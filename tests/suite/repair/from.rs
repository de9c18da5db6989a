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
    ("all blobs but one", |tree| {
        for digest in tree.blobs().into_iter().filter(|digest| *digest != layer(4).digest) {
            tree.remove(&blob_directory(&digest));
        }
    }),
];

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
        let mut runs = 0;
        loop {
            let outcome = run(&[]);
            let report = outcome.report();
            if runs == 0 {
                assert_eq!((&report["blobs"], &report["links"]), (&dry["blobs"], &dry["links"]), "{name}");
                assert_eq!(report["blobs"].as_array().expect("a list").len() as u64, report["copied"]["blobs"], "{name}");
            }
            runs += 1;
            let is_over = report["run_again"] == false;
            // A child of an index that is missing may never have been copied: it is not looked for.
            assert_eq!(outcome.code, Some(if is_over { 0 } else { 1 }), "{name}: {}", outcome.stdout);
            if is_over {
                break;
            }
            assert!(runs < 5, "{name}");
        }
        let whole = expected(&store().into_tree());
        let children: std::collections::BTreeSet<String> =
            platforms().children.iter().flat_map(Image::reaches).map(|digest| blob_data(&digest)).collect();
        let missing: Vec<&String> = whole.keys().filter(|path| !contents(root).contains_key(*path)).collect();
        assert!(missing.iter().all(|path| *name == "all blobs but one" && children.contains(*path)), "{name}: {missing:?}");
        assert!(contents(root).iter().all(|(path, bytes)| whole.get(path) == Some(bytes)), "{name}");
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
    for bytes in ["", "layer 4\n", "layer 3", "layer 3\n\n"] {
        let mirror = store().with(|tree| drop_in(tree, &layer(3).digest, bytes)).on_disk();
        let outcome = repair(root.path(), &[]).arg("--from").arg(mirror.path()).run().expect_code(1);
        assert_eq!(contents(root.path()), before, "{bytes:?}");
        assert!(outcome.stdout.contains("its bytes do not match its digest"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("error: failed-repair"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("the blob that it would name was not copied"), "{}", outcome.stdout);
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
    refused(&[&format!("{REPOSITORY}:v1")], root.path(), "is a tag");
    fs::remove_file(&link).expect("removed");
    refused(&[], empty.path(), "there is no docker/registry/v2");
}
