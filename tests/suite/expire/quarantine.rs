//! Tags in quarantine: what takes them there, what brings them back, and what does not.

use super::*;
use crate::support::snapshot::{Seen, SeenKind};

/// The registry's files with all that is known of them.
fn files(root: &Path) -> std::collections::BTreeMap<String, Seen> {
    let mut seen = snapshot(&root.join("docker"));
    seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
    seen
}

fn expire(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::expire(root).args(["--keep-last", "2", "--repository", "team/*"]).args(flags).run()
}

fn restore(root: &Path) -> Outcome {
    Regsweep::new().args(["restore", "--root"]).arg(root).run().expect_code(0)
}

#[test]
fn restore_brings_tags_back_with_their_push_times() {
    let root = store().into_tree().on_disk();
    let before = files(root.path());
    let done = expire(root.path(), &["--quarantine"]).expect_code(0);
    assert_eq!(tags(&done), names(&["team/app:v1", "team/app:v2"]));
    assert_eq!(listed(root.path(), "team/app"), names(&["v3", "v4"]));
    let restored = restore(root.path());
    assert_eq!(files(root.path()), before, "times and all");
    assert!(restored.stdout.contains("--protect FILE") && restored.stdout.contains("  team/app:v1\n"), "{}", restored.stdout);
    // What was restored is young, and what is in use stays for good.
    assert_eq!(expire(root.path(), &["--quarantine"]).expect_code(0).rows(), []);
    let (_directory, path) = policy("team/app:v1\nteam/app:v2\n");
    let list = path.to_str().expect("text");
    assert_eq!(expire(root.path(), &["--min-age", "0s", "--protect", list]).expect_code(0).rows(), []);
    assert_eq!(tags(&expire(root.path(), &["--min-age", "0s"]).expect_code(0)), names(&["team/app:v1", "team/app:v2"]));
}

/// That its image is needed by another tag does not bring a tag back, nor its history.
#[test]
fn later_runs_leave_tags_in_quarantine() {
    let tree = store().with(|tree| {
        let digest = oci_image("image 1", &[layer(0), layer(1)]).digest().to_owned();
        tree.aged(days(1)).tag("team/app", "v5", &digest);
    });
    let root = tree.into_tree().on_disk();
    let done = expire(root.path(), &["--quarantine"]).expect_code(0);
    assert!(tags(&done).contains("team/app:v1") && !done.blobs().contains(&layer(1).digest));
    let left = files(root.path());
    for flags in [&["--quarantine"][..], &[]] {
        Regsweep::gc(root.path()).args(flags).run().expect_code(0);
        assert_eq!(files(root.path()), left, "{flags:?}");
        assert_eq!(listed(root.path(), "team/app"), names(&["v4", "v5"]));
    }
    restore(root.path());
    assert_eq!(listed(root.path(), "team/app"), names(&["v1", "v2", "v3", "v4", "v5"]));
}

/// What a tag in quarantine names can be pulled again once that is restored, whatever a run in between drops.
#[test]
fn what_a_tag_in_quarantine_names_stays_for_it() {
    let digest = oci_image("image 4", &[layer(0), layer(4)]).digest().to_owned();
    let tree = store().with(|tree| {
        tree.aged(days(30)).tag("team/app", "alias", &digest);
    });
    let root = tree.into_tree().on_disk();
    let (_directory, path) = policy(&rule("team/*", "keep-newest = 0\ntags = ['alias']"));
    let run =
        |path: &Path, flags: &[&str]| Regsweep::expire(root.path()).arg("--policy").arg(path).args(flags).run().expect_code(0);
    assert_eq!(tags(&run(&path, &["--quarantine"])), names(&["team/app:alias"]));
    let (_directory, path) = policy(&rule("team/*", "keep-newest = 0\ntags = ['v4']"));
    let outcome = run(&path, &[]);
    assert_eq!(tags(&outcome), names(&["team/app:v4"]));
    assert!(!outcome.blobs().contains(&digest), "its image would be lost to whoever restores the tag");
    restore(root.path());
    assert!(listed(root.path(), "team/app").contains("alias"));
    let pulled = Regsweep::new().args(["explain", "--root"]).arg(root.path()).arg("team/app:alias").run();
    assert!(pulled.stdout.contains("kept"), "{}", pulled.stdout);
}

/// Tags of one image that go in one night after the other, while the first ones wait: it goes with the last of them.
#[test]
fn an_image_goes_with_the_last_of_its_tags() {
    let image = oci_image("image 1", &[layer(0), layer(1)]);
    let tree = store().with(|tree| {
        tree.aged(days(3)).tag("team/app", "late", image.digest());
    });
    let root = tree.into_tree().on_disk();
    let is_there = || root.path().join(crate::support::layout::revision_link("team/app", image.digest())).exists();
    let night = |age: &str| {
        let (_directory, path) = policy(&rule("team/*", &format!("keep-younger-than = '{age}'")));
        Regsweep::expire(root.path()).arg("--policy").arg(path).arg("--quarantine").run().expect_code(0)
    };
    assert_eq!(tags(&night("84h")), names(&["team/app:v1"]));
    assert!(is_there());
    let last = night("60h");
    assert!(tags(&last).contains("team/app:late") && !is_there(), "{}", last.stdout);
    assert!(!last.stdout.contains("kept only"), "{}", last.stdout);
    Regsweep::new().args(["restore", "--all", "--root"]).arg(root.path()).run().expect_code(0);
    assert!(is_there() && listed(root.path(), "team/app").is_superset(&names(&["v1", "late"])));
}

/// A run that dropped most tags is no loss to the next one.
#[test]
fn the_next_run_knows_that_the_tags_went() {
    let root = store().into_tree().on_disk();
    Regsweep::gc(root.path()).run().expect_code(0);
    let one = ["--keep-last", "1"];
    assert_eq!(tags(&Regsweep::expire(root.path()).args(one).run().expect_code(0)).len(), 3);
    Regsweep::gc(root.path()).run().expect_code(0);
}
