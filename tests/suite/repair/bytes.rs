//! Blobs that are there and have other bytes than their digest says.

use std::fs;

use super::*;
use crate::support::layout::blob_data;

/// What is damaged, in words; the digest; what is in its place; the code of the finding.
type Wrong = (&'static str, String, String, &'static str);

fn wrong() -> Vec<Wrong> {
    let child = platforms().children[1].clone();
    let text = |image: &Image| String::from_utf8(image.manifest.bytes.clone()).expect("JSON");
    let cut = |image: &Image| text(image)[..40].to_owned();
    vec![
        ("an empty layer", layer(3).digest, String::new(), "empty-blob"),
        ("a layer that is cut short", layer(3).digest, "lay".to_owned(), "truncated-blob"),
        ("a layer with more after it", layer(3).digest, "layer 3\nlayer 3\n".to_owned(), "overlong-blob"),
        ("an empty layer of two repositories", layer(2).digest, String::new(), "empty-blob"),
        ("an empty configuration", two().blobs[0].digest.clone(), String::new(), "empty-blob"),
        ("an empty manifest of a tag", two().digest().to_owned(), String::new(), "corrupt-manifest"),
        ("a manifest that is cut short", one().digest().to_owned(), cut(&one()), "corrupt-manifest"),
        ("an empty index", platforms().digest().to_owned(), String::new(), "corrupt-manifest"),
        ("a child that is cut short", child.digest().to_owned(), cut(&child), "corrupt-manifest"),
    ]
}

fn drop_in(tree: &mut Tree, digest: &str, bytes: &str) {
    tree.file(blob_data(digest), bytes);
}

/// The codes of what a report says of a digest.
fn codes(outcome: &Outcome, digest: &str) -> Vec<String> {
    let findings = outcome.findings().into_iter();
    findings.filter(|finding| finding.digest.as_deref() == Some(digest)).map(|finding| finding.code.clone()).collect()
}

#[test]
fn a_blob_of_other_bytes_says_so_and_is_replaced_from_a_mirror() {
    let mirror = store().on_disk();
    let before = snapshot(mirror.path());
    let whole = expected(&store().into_tree());
    for (name, digest, bytes, code) in wrong() {
        let root = store().with(|tree| drop_in(tree, &digest, &bytes)).on_disk();
        let root = root.path();
        let damaged = contents(root);
        let audited = Regsweep::new().args(["audit", "--json", "--root"]).arg(root).run();
        assert!(!codes(&audited, &digest).is_empty(), "{name}: an audit finds it");
        let alone = repair(root, &[]).json().run().expect_code(1);
        assert_eq!(codes(&alone, &digest), [code], "{name}: {}", alone.stdout);
        assert!(alone.stdout.contains("Not mended: the right bytes have to come"), "{name}: {}", alone.stdout);
        assert_eq!(contents(root), damaged, "{name}");

        let from = |words: &[&str]| repair(root, words).arg("--from").arg(mirror.path());
        let dry = from(&["--dry-run"]).json().run().expect_code(0).report();
        assert_eq!(contents(root), damaged, "{name}");
        let report = from(&[]).json().run().expect_code(0).report();
        assert_eq!((&report["blobs"], &report["links"]), (&dry["blobs"], &dry["links"]), "{name}");
        assert_eq!((&report["blobs"][0]["replaces"], &report["copied"]["blobs"]), (&true.into(), &1.into()), "{name}");
        assert_eq!(contents(root), whole, "{name}");

        let run = report["quarantine_run"].as_str().expect("what was there is kept");
        let restored = Regsweep::new().args(["restore", "--run", run, "--root"]).arg(root).run().expect_code(1);
        assert!(restored.stdout.contains("nothing is replaced"), "{name}: {}", restored.stdout);
        assert_eq!(contents(root), whole, "{name}: its bytes may be nowhere else");
        // Where there is none, it comes back, and is said to be damaged.
        fs::remove_file(root.join(blob_data(&digest))).expect("removed");
        let restored = Regsweep::new().args(["restore", "--run", run, "--root"]).arg(root).run().expect_code(1);
        assert!(restored.stdout.contains("do not match its digest"), "{name}: {}", restored.stdout);
        assert_eq!(contents(root), damaged, "{name}: as it was");
        let words = from(&[]).run().expect_code(0).stdout;
        assert!(words.contains("restores a damaged blob only where there is none by then"), "{name}: {words}");
    }
    assert_eq!(snapshot(mirror.path()), before);
}

/// A restoration of what was damaged replaces nothing, and comes by the name of its run alone.
#[test]
fn a_damaged_blob_comes_back_by_name_alone_and_over_nothing() {
    let mirror = store().on_disk();
    let path = blob_data(&layer(3).digest);
    let root = store().with(|tree| drop_in(tree, &layer(3).digest, "")).on_disk();
    let root = root.path();
    let report = repair(root, &[]).arg("--from").arg(mirror.path()).json().run().expect_code(0).report();
    let run = report["quarantine_run"].as_str().expect("a run");
    let whole = contents(root);
    Regsweep::new().args(["restore", "--root"]).arg(root).run().expect_code(2);
    Regsweep::new().args(["restore", "--all", "--root"]).arg(root).run().expect_code(2);
    Regsweep::new().args(["restore", "--digest", &layer(3).digest, "--root"]).arg(root).run();
    assert_eq!(contents(root), whole);
    fs::write(root.join(&path), "another").expect("written");
    Regsweep::new().args(["restore", "--run", run, "--root"]).arg(root).run();
    assert_eq!(fs::read(root.join(&path)).expect("there"), b"another", "nothing of somebody else is replaced");
    Regsweep::new().args(["quarantine", "purge", "--run", run, "--assume-offline", "--root"]).arg(root).run().expect_code(0);
    assert_eq!(fs::read_dir(root.join(".regsweep/quarantine")).expect("there").count(), 0);
}

/// The bytes are right, so what states another size was built wrong.
#[test]
fn a_whole_blob_of_another_size_than_stated_is_left() {
    let built_wrong = two().edit(|json| json["layers"][1]["size"] = 9.into());
    let build = || store().repo(REPOSITORY).pushed(&built_wrong).tag("wrong");
    let (root, mirror) = (build().on_disk(), build().on_disk());
    let before = contents(root.path());
    for from in [false, true] {
        let repair = repair(root.path(), &[]).json();
        let outcome = if from { repair.arg("--from").arg(mirror.path()) } else { repair }.run().expect_code(1);
        assert_eq!(codes(&outcome, &layer(3).digest), ["size-mismatch"]);
        assert!(outcome.stdout.contains("the manifest was built wrong"), "{}", outcome.stdout);
        assert_eq!(contents(root.path()), before);
    }
    // Damaged all the same, and both sizes are stated: the one of the digest's bytes is taken.
    let root = build().with(|tree| drop_in(tree, &layer(3).digest, "")).on_disk();
    let outcome = repair(root.path(), &[]).arg("--from").arg(mirror.path()).run().expect_code(1);
    assert_eq!(contents(root.path()), before, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("the manifest was built wrong"), "{}", outcome.stdout);
}

/// What is named is looked at, and nothing else.
#[test]
fn damaged_blobs_are_those_of_what_is_named() {
    let mirror = store().on_disk();
    let damage = |tree: &mut Tree| [3, 4].into_iter().for_each(|number| drop_in(tree, &layer(number).digest, ""));
    let root = store().with(damage).on_disk();
    let root = root.path();
    let outcome = repair(root, &[&format!("{REPOSITORY}:v1")]).json().run().expect_code(1);
    assert_eq!((codes(&outcome, &layer(3).digest), codes(&outcome, &layer(4).digest)), (vec!["empty-blob".to_owned()], vec![]));
    let other = repair(root, &["other"]).json().run().expect_code(0);
    assert_eq!(other.findings().len(), 0);
    repair(root, &[REPOSITORY]).arg("--from").arg(mirror.path()).run().expect_code(0);
    assert_eq!(contents(root), expected(&store().into_tree()));
}
