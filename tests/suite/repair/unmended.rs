//! What is not mended, and why; and what stops a repair.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;
use crate::support::image::OCI_INDEX;
use crate::support::layout::{blob_data, tag};
use crate::support::server::RealRegistry;

/// A damage that is left, the code of its finding, and words of the reason.
type Left = (&'static str, fn(&mut Tree), &'static str, &'static str);

const LEFT: &[Left] = &[
    (
        "an alias",
        |tree| {
            tree.file(layer_link(REPOSITORY, &layer(1).sha512()), "");
        },
        "empty-link",
        "alias",
    ),
    (
        "another digest",
        |tree| {
            tree.file(layer_link(REPOSITORY, &layer(1).digest), layer(2).digest);
        },
        "disagreeing-link",
        "which of them is right",
    ),
    (
        "a directory",
        |tree| {
            tree.remove(&layer_link(REPOSITORY, &layer(3).digest)).directory(layer_link(REPOSITORY, &layer(3).digest));
        },
        "irregular-link",
        "not a file",
    ),
    (
        "a layer that is gone",
        |tree| {
            tree.remove(&blob_data(&layer(3).digest)).file(layer_link(REPOSITORY, &layer(3).digest), "x");
        },
        "garbled-link",
        "is not stored",
    ),
    (
        "a manifest that is gone",
        |tree| {
            tree.remove(&blob_data(one().digest())).file(revision_link("other", one().digest()), "");
        },
        "empty-link",
        "is not stored",
    ),
    (
        "a manifest that is no manifest",
        |tree| {
            tree.file(revision_link(REPOSITORY, &layer(1).digest), "");
        },
        "empty-link",
        "cannot be read as a manifest",
    ),
    (
        "an entry that may be either",
        |tree| {
            let either = Content::new("{}");
            let entry = either.descriptor("application/vnd.buildkit.cacheconfig.v0");
            let cache = Image::from_json(OCI_INDEX, json!({ "schemaVersion": 2, "manifests": [entry] }), Vec::new(), Vec::new());
            tree.blob(&either).put_manifest(REPOSITORY, &cache);
        },
        "lost-child",
        "whether as a manifest or as a layer",
    ),
    (
        "an empty current",
        |tree| {
            tree.file(tag_current(REPOSITORY, "all"), "");
        },
        "empty-link",
        "only when it is named",
    ),
    (
        "no current",
        |tree| {
            tree.remove(&tag_current(REPOSITORY, "all"));
        },
        "tag-without-current",
        "only when it is named",
    ),
    (
        "a lost layer",
        |tree| {
            tree.remove(&blob_data(&layer(3).digest));
        },
        "missing-blob",
        "have to come from",
    ),
    (
        "a lost tag",
        |tree| {
            tree.remove(&blob_data(two().digest()));
        },
        "missing-tag-target",
        "have to come from",
    ),
    (
        "a corrupt manifest",
        |tree| {
            tree.file(blob_data(two().digest()), "{}");
        },
        "corrupt-manifest",
        "have to come from another store",
    ),
];

#[test]
fn what_cannot_be_mended_says_why_and_stays() {
    for (name, damage, code, why) in LEFT {
        let mut tree = store().into_tree();
        damage(&mut tree);
        let root = tree.on_disk();
        let before = snapshot(&root.path().join("docker"));
        let outcome = repair(root.path(), &[]).json().run().expect_code(1);
        assert_eq!(snapshot(&root.path().join("docker")), before, "{name}");
        assert_eq!(links(&outcome), [""; 0], "{name}");
        let said = outcome.findings().into_iter().any(|finding| finding.code == *code && finding.message.contains(why));
        assert!(said, "{name}: {}", outcome.stdout);
        let text = repair(root.path(), &[]).run().expect_code(1);
        assert!(text.stdout.contains("cannot be mended"), "{}", text.stdout);
    }
}

/// A tag without a `current`, what else is wrong with it, and words of the reason.
type NotMade = (&'static str, fn(&mut Tree), &'static str);

#[test]
fn a_tag_that_cannot_be_made_says_why() {
    let cases: [NotMade; 6] = [
        ("v1", |_| {}, "several manifests"),
        (
            "all",
            |tree| {
                tree.remove(&tag_history(REPOSITORY, "all", platforms().digest())).directory(tag(REPOSITORY, "all"));
            },
            "no history",
        ),
        (
            "all",
            |tree| {
                tree.file(tag_history(REPOSITORY, "all", platforms().digest()), one().digest());
            },
            "damaged too",
        ),
        // As `remove --online` leaves it.
        (
            "all",
            |tree| {
                tree.remove_leaving_directory(&tag_history(REPOSITORY, "all", platforms().digest()));
            },
            "`regsweep remove --root",
        ),
        (
            "v1",
            |tree| {
                for image in [one(), two()] {
                    tree.remove_leaving_directory(&tag_history(REPOSITORY, "v1", image.digest()));
                }
            },
            "`regsweep remove --root",
        ),
        (
            "all",
            |tree| {
                tree.remove(&blob_data(platforms().digest()));
            },
            "is not stored",
        ),
    ];
    for (name, damage, why) in cases {
        let mut tree = store().into_tree();
        tree.remove(&tag_current(REPOSITORY, name));
        damage(&mut tree);
        let root = tree.on_disk();
        let before = contents(root.path());
        let outcome = repair(root.path(), &[&format!("{REPOSITORY}:{name}")]).run().expect_code(1);
        assert_eq!(contents(root.path()), before, "{why}");
        assert!(outcome.stdout.contains(why), "{why}: {}", outcome.stdout);
    }
    let root = store().on_disk();
    for (name, why) in [("team/app:none", "no tag none"), ("none", "no repository none"), ("team/app@sha256:x", "invalid")] {
        let outcome = repair(root.path(), &[name]).run().expect_code(2);
        assert!(outcome.stderr.contains(why), "{name}: {}", outcome.stderr);
    }
}

/// What a tag needs is named when the tag is, and not when another one is.
#[test]
fn a_tag_that_is_named_is_looked_at_with_all_that_it_needs() {
    type Damaged = (&'static str, fn(&mut Tree), &'static str);
    let cases: [Damaged; 6] = [
        (
            "v1",
            |tree| {
                tree.remove(&blob_data(two().digest()));
            },
            "missing-tag-target",
        ),
        (
            "v1",
            |tree| {
                tree.remove(&blob_data(&layer(3).digest));
            },
            "missing-blob",
        ),
        (
            "v1",
            |tree| {
                tree.file(blob_data(two().digest()), "{}");
            },
            "corrupt-manifest",
        ),
        (
            "all",
            |tree| {
                tree.remove(&blob_data(&layer(5).digest));
            },
            "missing-blob",
        ),
        (
            "all",
            |tree| {
                tree.file(layer_link(REPOSITORY, &layer(5).digest), layer(2).digest);
            },
            "disagreeing-link",
        ),
        (
            "alias",
            |tree| {
                tree.symlink(tag(REPOSITORY, "alias"), "v1");
            },
            "behind-symlink",
        ),
    ];
    for (name, damage, code) in cases {
        let mut tree = store().into_tree();
        damage(&mut tree);
        let root = tree.on_disk();
        let before = contents(root.path());
        let outcome = repair(root.path(), &[&format!("{REPOSITORY}:{name}")]).json().run().expect_code(1);
        assert_eq!(outcome.finding_codes(), [code], "{name}: {}", outcome.stdout);
        let whole = repair(root.path(), &[REPOSITORY]).json().run().expect_code(1);
        assert!(whole.finding_codes().iter().any(|found| found == code), "{name}: {}", whole.stdout);
        assert_eq!(contents(root.path()), before, "{name}: {code}");
        let other = if name == "all" { "v1" } else { "all" };
        let outcome = repair(root.path(), &[&format!("{REPOSITORY}:{other}")]).run().expect_code(0);
        assert!(outcome.stdout.contains("nothing to mend"), "{name}: {}", outcome.stdout);
    }
}

/// Links that can be made are made for the tag that needs them.
#[test]
fn links_that_a_named_tag_needs_are_made() {
    // A history of one and what it says go together.
    let current = (tag_current(REPOSITORY, "all"), Damage::Missing);
    let tree = store().into_tree();
    for history in [Damage::Empty, Damage::Garbled] {
        let root =
            damaged(tree.clone(), &[current.clone(), (tag_history(REPOSITORY, "all", platforms().digest()), history)]).on_disk();
        repair(root.path(), &[&format!("{REPOSITORY}:all")]).run().expect_code(0);
        assert_eq!(contents(root.path()), expected(&tree), "{history:?}");
    }
    for (path, damage) in damages() {
        let root = damaged(tree.clone(), &[(path.clone(), damage)]).on_disk();
        let reaches = |image: &Image| image.reaches().iter().any(|digest| path.contains(&digest["sha256:".len()..]));
        let tags = [("v1", reaches(&two()) || path.contains("/tags/v1/")), ("all", reaches(&platforms()))];
        for (name, is_needed) in tags {
            let made = links(&repair(root.path(), &["--dry-run", &format!("{REPOSITORY}:{name}")]).json().run().expect_code(0));
            assert_eq!(made, if is_needed { vec![path.clone()] } else { Vec::new() }, "{name}: {damage:?}");
        }
        for (name, _) in tags.iter().filter(|(_, is_needed)| *is_needed) {
            repair(root.path(), &[&format!("{REPOSITORY}:{name}")]).run().expect_code(0);
            assert_eq!(contents(root.path()), expected(&tree), "{path}");
        }
    }
}

/// The help names what a command takes, and no more.
#[test]
fn help_names_the_references_that_are_taken() {
    let root = store().on_disk();
    let by_digest = format!("{REPOSITORY}@{}", two().digest());
    for (command, takes_digests) in [("repair", false), ("list", false), ("explain", true)] {
        let help = Regsweep::new().args([command, "--help"]).run().expect_code(0).stdout;
        assert_eq!(help.contains("REPOSITORY@DIGEST"), takes_digests, "{command}: {help}");
        assert!(help.contains("REPOSITORY:TAG"), "{command}: {help}");
        for reference in [&by_digest, two().digest()] {
            let ended = Regsweep::new().args([command, reference, "--root"]).arg(root.path()).run();
            assert_eq!(ended.code, Some(if takes_digests { 0 } else { 2 }), "{command}: {}", ended.stderr);
        }
    }
}

/// Nothing is written through a symbolic link, and what is behind one is named as the reason.
#[test]
fn nothing_is_written_through_a_link() {
    let lost = (layer_link(REPOSITORY, &layer(3).digest), Damage::Missing);
    let root = damaged(store().into_tree(), &[lost]).on_disk();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let team = root.path().join("docker/registry/v2/repositories/team");
    std::process::Command::new("mv").arg(&team).arg(elsewhere.path()).status().expect("moved");
    symlink(elsewhere.path().join("team"), &team).expect("linked");
    let before = snapshot(elsewhere.path());
    let outcome = repair(root.path(), &[]).json().run().expect_code(1);
    assert_eq!(snapshot(elsewhere.path()), before);
    assert!(outcome.stdout.contains("behind a symbolic link or a mount"), "{}", outcome.stdout);
}

#[test]
fn names_are_hostile_and_reports_are_not() {
    let name = "evil\u{1b}]0;x\u{7}/a b";
    let image = oci_image("x", &[layer(1)]);
    let mut tree = registry().repo(name).pushed(&image).tag("v\u{1b}1").into_tree();
    tree.remove(&layer_link(name, &layer(1).digest)).file(tag_history(name, "v\u{1b}1", image.digest()), "");
    let root = tree.on_disk();
    for words in [&["--dry-run"][..], &["--dry-run", "--json"], &[], &["--json"]] {
        let outcome = repair(root.path(), words).run();
        let text = outcome.stdout + &outcome.stderr;
        assert!(matches!(outcome.code, Some(0 | 1)), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
    assert_eq!(std::fs::read(root.path().join(layer_link(name, &layer(1).digest))).expect("made"), layer(1).digest.as_bytes());
}

/// Somebody else's store: refused before anything is made, and a dry run says so.
#[test]
fn who_cannot_make_it_like_the_registry_is_refused() {
    let Some(other) = SomebodyElse::new() else { return };
    let lost = (layer_link(REPOSITORY, &layer(3).digest), Damage::Missing);
    let root = other.directory().join("store");
    std::fs::create_dir(&root).expect("made");
    damaged(store().into_tree(), &[lost]).write_to(&root);
    std::os::unix::fs::chown(&root, Some(65534), Some(65534)).expect("changed");
    let before = contents(&root);
    for words in [&["--dry-run"][..], &[]] {
        let outcome = other.runs(repair(&root, words)).run().expect_code(2);
        assert!(outcome.stderr.contains("cannot write in"), "{}", outcome.stderr);
        if words == ["--dry-run"] {
            // The report names what is in the way, and does not lead to the run that stops.
            let said = |text: &str| outcome.stdout.contains(text);
            assert!(said("would stop") && said("cannot write in"), "{}", outcome.stdout);
            assert!(said("once nothing would stop a real run") && !said("run without --dry-run"), "{}", outcome.stdout);
        }
    }
    assert_eq!(contents(&root), before);
}

/// It fetches what it lacks.
#[test]
fn a_pull_through_cache_is_refused() {
    let mut tree = damaged(store().into_tree(), &damages()[..1]);
    tree.file("scheduler-state.json", "{}");
    let root = tree.on_disk();
    let before = contents(root.path());
    let outcome = repair(root.path(), &[]).run().expect_code(2);
    assert!(outcome.stderr.contains("pull-through cache"), "{}", outcome.stderr);
    assert_eq!(contents(root.path()), before);
}

/// A registry that takes pushes stops it, and one that answers that it is read-only does not.
#[test]
fn a_registry_at_work_stops_it() {
    let mut registry = RealRegistry::start();
    registry.client().push_tag("demo/app", "v1", &one());
    let link = registry.root().join(layer_link("demo/app", &layer(2).digest));
    std::fs::remove_file(&link).expect("removed");
    let run = |registry: &RealRegistry, words: &[&str]| Regsweep::new().arg("repair").args(words).arg(registry.config()).run();
    for words in [&["--dry-run"][..], &[]] {
        let outcome = run(&registry, words).expect_code(2);
        assert!(outcome.stderr.contains("takes pushes"), "{}", outcome.stderr);
    }
    assert!(!link.exists());
    registry.configure(crate::support::server::Settings::read_only());
    registry.restart();
    run(&registry, &[]).expect_code(0);
    registry.client().pull("demo/app", "v1").expect("it can be pulled");
}
