//! Two at once: a second regsweep, and writers that nobody stopped.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use super::{garbage, links};
use crate::support::held::{Held, filling};
use crate::support::layout::{self, blob_data, layer_link, revision_link, tag_current, tag_history};
use crate::support::*;

/// A store in which the layer 2 has a link that nothing needs, and `untagged` no tag.
fn store(untagged: &Image) -> Tree {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2));
    let tree = tree.pushed(untagged).repo("b").image("y", &[layer(3)]).tag("v1").upload_layer(&layer(4)).with(|tree| {
        filling().for_each(|blob| {
            tree.blob(&blob);
        });
    });
    tree.into_tree()
}

/// A run that does not mind that something changes before it sweeps: what comes after that has to do.
fn held(root: &Path, flags: &[&str]) -> Held {
    let command = ["garbage-collect", "--allow-unlinked", "100%", "--format", "json", "--root"];
    let run = Regsweep::new().args(command).arg(root).args(flags);
    Held::start(run.env("REGSWEEP_TEST_UNNOTICED", "yes"))
}

/// What is below the registry's base, by relative path.
fn names(root: &Path) -> BTreeSet<String> {
    snapshot(root).into_keys().filter(|path| path.starts_with("docker")).collect()
}

#[test]
fn h17_a_second_run_names_the_first_and_stops() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    let root = root.path();
    let before = names(root);
    let first = held(root, &[]);
    let holder = format!("process {} on ", first.running.child.id());
    let lock = root.join(".regsweep/lock");
    let inode = fs::metadata(&lock).expect("the lock").ino();
    for run in [Regsweep::gc(root), Regsweep::gc(root).dry(), Regsweep::gc(root).args(["--wait-lock", "300ms"])] {
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
        assert_eq!(refused.plan, None);
    }
    let waiting = Regsweep::gc(root).args(["--wait-lock", "60s"]).start();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(names(root), before, "nothing goes while the first is held up and the second waits");
    let first = first.release().expect_code(0);
    let second = waiting.wait().expect_code(0);
    assert!(first.blobs().contains(&garbage().digest));
    assert!(second.rows().is_empty(), "the first left nothing");
    assert_eq!(fs::metadata(&lock).expect("it stays").ino(), inode, "the lock file is never replaced");
    Regsweep::gc(root).run().expect_code(0);
}

#[test]
fn h17_looking_does_not_exclude_looking() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    // A run that was stopped leaves the lock file. A dry run makes none, and locks the root directory all the same.
    Regsweep::gc(root.path()).args(["--max-reclaim", "0%"]).run().expect_code(2);
    let first = held(root.path(), &["--dry-run"]);
    let second = Regsweep::gc(root.path()).dry().run().expect_code(0);
    Regsweep::gc(root.path()).run().expect_code(2);
    assert_eq!(first.release().expect_code(0).plan, second.plan);
}

#[test]
fn h41_r15_what_is_gone_already_is_no_failure() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let tree = store(&untagged);
    let root = tree.on_disk();
    let held = held(root.path(), &["-m"]);
    for path in [revision_link("a", untagged.digest()), layer_link("a", &layer(2).digest), blob_data(&layer(2).digest)] {
        fs::remove_file(root.path().join(path)).expect("it was there");
    }
    fs::remove_dir_all(root.path().join(layout::blob_directory(&garbage().digest))).expect("it was there");
    held.release().expect_code(0);
    let whole = tree.on_disk();
    Regsweep::gc(whole.path()).delete_untagged().run().expect_code(0);
    assert_eq!(names(root.path()), names(whole.path()), "the same as when nobody interferes");
}

/// The registry writes a layer's link again when the layer is pushed again. Where nobody should be at work no blob goes then.
#[test]
fn a_link_that_was_written_again_keeps_all_blobs() {
    let untagged = oci_image("untagged", &[layer(5)]);
    // With a link in another repository that goes, and with nothing that goes before it is seen.
    for (others, code) in [(true, 3), (false, 2)] {
        let root = store(&untagged).on_disk();
        if !others {
            fs::remove_file(root.path().join(layer_link("b", &layer(4).digest))).expect("there");
        }
        let before = names(root.path());
        let held = held(root.path(), &["--min-age", "30m"]);
        fs::write(root.path().join(layer_link("a", &layer(2).digest)), layer(2).digest).expect("written");
        let ran = held.release().expect_code(code);
        assert_eq!(ran.finding_codes(), ["changed-target"]);
        let blobs = |names: &BTreeSet<String>| names.iter().filter(|path| path.contains("/blobs/")).cloned().collect::<Vec<_>>();
        assert_eq!(blobs(&names(root.path())), blobs(&before), "no blob goes");
        assert_eq!(names(root.path()) == before, code == 2);
        // The next run sees what was planned then, and that the link is young.
        Regsweep::gc(root.path()).run().expect_code(0);
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(2).digest));
        assert!(!snapshot::blobs_on_disk(root.path()).contains_key(&garbage().digest));
    }
}

/// With a quarantine the repository is looked at again, and the rest goes.
#[test]
fn a_link_that_was_written_again_keeps_its_repository_and_its_blob() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    let before = names(root.path());
    let held = held(root.path(), &["--quarantine"]);
    fs::write(root.path().join(layer_link("a", &layer(2).digest)), layer(2).digest).expect("written");
    let ran = held.release().expect_code(3);
    assert_eq!(ran.finding_codes(), ["changed-target"]);
    let left = snapshot::blobs_on_disk(root.path());
    assert!(left.contains_key(&layer(2).digest));
    assert!(!left.contains_key(&garbage().digest) && !left.contains_key(&layer(4).digest), "the rest goes");
    let gone: BTreeSet<String> = before.difference(&names(root.path())).cloned().collect();
    assert!(gone.iter().all(|path| !path.contains("/repositories/a/")), "{gone:?}");
    // The next run sees what was planned then, young or not.
    Regsweep::gc(root.path()).run().expect_code(0);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(2).digest));
}

/// H5 the other way round: an image that nothing named is tagged after the tags were read.
#[test]
fn r08_r09_an_image_that_was_tagged_in_the_meantime_stays() {
    let untagged = index(&[oci_image("child", &[layer(5)])]);
    let root = store(&untagged).on_disk();
    let held = held(root.path(), &["-m", "--quarantine"]);
    let digest = untagged.digest();
    for path in [revision_link("a", digest), tag_history("a", "v2", digest), tag_current("a", "v2")] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, digest).expect("written");
    }
    let ran = held.release().expect_code(3);
    assert!(ran.blobs().is_superset(&untagged.reaches()), "it was to go");
    assert_eq!(ran.finding_codes(), ["changed-target"]);
    let left = snapshot::blobs_on_disk(root.path());
    assert!(untagged.reaches().iter().all(|digest| left.contains_key(digest)), "all of it stays");
    assert!(links("a", &untagged).iter().all(|link| root.path().join(link).exists()));
    assert!(!left.contains_key(&garbage().digest) && !left.contains_key(&layer(4).digest), "the rest goes");
}

/// What a repository that was seen to change names by now stays, also what it did not name when the plan was made.
#[test]
fn a_repository_that_changes_keeps_what_it_names_by_now() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    let held = held(root.path(), &["-m", "--quarantine"]);
    // A push that uses layers that nothing linked, and tags the untagged image again.
    let pushed = oci_image("pushed", &[garbage(), layer(1_000_001)]);
    let mut tree = Tree::new();
    tree.aged(Duration::ZERO).push("a", &pushed).tag("a", "v2", pushed.digest());
    for blob in [garbage(), layer(1_000_001)] {
        tree.remove(&blob_data(&blob.digest));
    }
    tree.write_to(root.path());
    fs::write(root.path().join(revision_link("a", untagged.digest())), untagged.digest()).expect("written");
    held.release().expect_code(3);
    let left = snapshot::blobs_on_disk(root.path());
    assert!(pushed.reaches().union(&untagged.reaches()).all(|digest| left.contains_key(digest)));
    assert!(!left.contains_key(&layer(1_000_002).digest), "the rest goes");
}

#[test]
fn r10_what_is_pushed_after_the_blobs_were_listed_stays() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    let held = held(root.path(), &["-m", "--min-age", "0s"]);
    let pushed = oci_image("pushed", &[layer(1), layer(6)]);
    let mut tree = Tree::new();
    tree.aged(Duration::ZERO).push("c", &pushed).tag("c", "v1", pushed.digest()).remove(&blob_data(&layer(1).digest));
    tree.write_to(root.path());
    held.release().expect_code(0);
    let left = snapshot::blobs_on_disk(root.path());
    assert!(pushed.reaches().iter().all(|digest| left.contains_key(digest)));
    assert!(!left.contains_key(&garbage().digest));
}

#[test]
fn r11_a_blob_that_was_stored_again_stays() {
    let untagged = oci_image("untagged", &[layer(5)]);
    let root = store(&untagged).on_disk();
    let held = held(root.path(), &[]);
    let again = root.path().join(blob_data(&garbage().digest));
    fs::write(&again, garbage().bytes).expect("written");
    let ran = held.release().expect_code(3);
    assert_eq!(ran.finding_codes(), ["changed-target"]);
    assert_eq!(fs::read(&again).expect("it stays"), garbage().bytes);
    let long_ago = SystemTime::now() - days(30);
    File::options().write(true).open(&again).and_then(|file| file.set_modified(long_ago)).expect("aged");
    Regsweep::gc(root.path()).run().expect_code(0);
    assert!(!again.exists());
}
