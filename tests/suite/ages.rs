//! What is too young to be judged: by its modification time, by having been made just now, and by a time that no clock shows yet.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::support::layout::{blob_data, layer_link, revision_link, tag_history, upload};
use crate::support::*;

/// An image of which a copy that keeps times has written all but the manifest, beside one that is whole; and garbage of a month ago.
fn half_copied() -> Tree {
    let mut tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    tree.layer("a", &layer(2)).layer("b", &layer(3)).blob(&layer(4));
    tree
}

fn left(root: &Path) -> Vec<u64> {
    let blobs = snapshot::blobs_on_disk(root);
    (1..=4).filter(|number| blobs.contains_key(&layer(*number).digest)).collect()
}

/// Whether this filesystem tells when files were made.
fn tells_birth(root: &Path) -> bool {
    fs::metadata(root).is_ok_and(|found| found.created().is_ok())
}

/// `cp -a`, `tar -x` and `rsync -a` give new files old times.
#[test]
fn what_was_just_copied_is_young() {
    let run = |root: &Path, flags: &[&str]| {
        let ran = Regsweep::gc(root).counting_birth().delete_untagged().json().args(flags).run().expect_code(0);
        (left(root), ran)
    };
    for (flags, expected) in [
        (&[][..], vec![1, 2, 3, 4]),
        (&["--min-age", "24h"], vec![1, 2, 3, 4]),
        (&["--min-age", "30m"], vec![1, 2, 3, 4]),
        (&["--min-age", "0s"], vec![1]),
        (&["--ignore-birth-time"], vec![1]),
    ] {
        let root = half_copied().on_disk();
        if !tells_birth(root.path()) {
            return skipped("the filesystem does not tell when files were made");
        }
        let (stay, ran) = run(root.path(), flags);
        assert_eq!(stay, expected, "{flags:?}");
        if expected.len() == 4 {
            // Two links, and the blob that nothing links.
            assert_eq!(ran.report()["young"]["just_made"], 3, "{flags:?}");
            let text = Regsweep::gc(root.path()).counting_birth().dry().args(flags).run().expect_code(0).stdout;
            assert!(text.contains("--ignore-birth-time") && text.contains("there is nothing to remove yet"), "{text}");
            let audit = Regsweep::audit(root.path()).counting_birth().json().args(flags).run().expect_code(0).report();
            assert_eq!((&audit["reclaimable"]["blobs"], &audit["reclaimable"]["young"]["blobs"]), (&0.into(), &3.into()));
        }
    }
}

/// A new owner, a hard link, a rename: the file is as old as it was.
#[test]
fn what_was_only_touched_is_as_old_as_before() {
    let root = half_copied().on_disk();
    if !tells_birth(root.path()) {
        return skipped("the filesystem does not tell when files were made");
    }
    sleep(Duration::from_millis(2_100));
    let place = |number| root.path().join(blob_data(&layer(number).digest));
    chown(place(2), Some(rustix::process::getuid().as_raw()), None).expect("ours");
    fs::hard_link(place(3), root.path().join("backup")).expect("linked");
    fs::rename(place(4), root.path().join("moved"))
        .and_then(|()| fs::rename(root.path().join("moved"), place(4)))
        .expect("moved");
    // One that was copied just now.
    let copy = fs::read(place(2)).expect("there");
    let modified = fs::metadata(place(2)).and_then(|found| found.modified()).expect("there");
    fs::remove_file(place(2)).and_then(|()| fs::write(place(2), copy)).expect("written");
    fs::File::options().write(true).open(place(2)).and_then(|file| file.set_modified(modified)).expect("set");
    let ran = Regsweep::gc(root.path()).counting_birth().args(["--min-age", "2s"]).run().expect_code(0);
    assert_eq!(left(root.path()), [1, 2], "{}", ran.stdout);
}

/// What comes back from quarantine was made long ago, and what waits there is not asked. Young it is by our own record alone.
#[test]
fn what_was_restored_is_young_by_our_record_alone() {
    let root = half_copied().on_disk();
    if !tells_birth(root.path()) {
        return skipped("the filesystem does not tell when files were made");
    }
    sleep(Duration::from_millis(2_100));
    let gc = || Regsweep::gc(root.path()).counting_birth().args(["--min-age", "2s", "--quarantine"]);
    gc().run().expect_code(0);
    assert_eq!(left(root.path()), [1]);
    Regsweep::new().args(["restore", "--root"]).arg(root.path()).run().expect_code(0);
    assert_eq!(left(root.path()), [1, 2, 3, 4]);
    gc().run().expect_code(0);
    assert_eq!(left(root.path()), [1, 2, 3, 4]);
    sleep(Duration::from_millis(2_100));
    gc().run().expect_code(0);
    assert_eq!(left(root.path()), [1]);
}

/// Uploads too, by a file or by what `startedat` says; whatever is asked of them.
#[test]
fn uploads_of_the_future_are_told() {
    for (file, content, ahead) in [("data", "sent", days(400)), ("startedat", "2999-01-01T00:00:00Z", Duration::ZERO)] {
        let mut tree = half_copied();
        for (id, is_ahead) in [("0b1c6f8e-0000-4000-8000-000000000001", true), ("0b1c6f8e-0000-4000-8000-000000000002", false)] {
            let at = upload("a", id);
            tree.file(format!("{at}/startedat"), "2020-01-01T00:00:00Z").file(format!("{at}/data"), "sent");
            if is_ahead {
                tree.file(format!("{at}/{file}"), content);
                tree.touch_at(
                    &format!("{at}/{file}"),
                    if ahead.is_zero() { SystemTime::now() - days(30) } else { SystemTime::now() + ahead },
                );
            }
        }
        let root = tree.on_disk();
        let collect = || Regsweep::gc(root.path()).json().any_age();
        let runs = [collect().dry(), collect().dry().args(["--uploads-older-than", "1d"]), Regsweep::audit(root.path()).json()];
        for run in runs {
            let ran = run.run().expect_code(1);
            let told: Vec<_> = ran.findings().into_iter().filter(|finding| finding.code == "future-time").collect();
            assert_eq!(told.len(), 1, "{file}: {}", ran.stdout);
            assert_eq!(told[0].count, 1, "{file}: {}", ran.stdout);
            assert!(told[0].message.starts_with("1 upload has a time in the future"), "{}", told[0].message);
        }
    }
}

/// Each place where an age decides.
#[test]
fn times_in_the_future_are_told() {
    let gone = oci_image("gone", &[layer(5)]);
    let store = || {
        let mut tree = half_copied();
        tree.push("a", &gone).tag("a", "v1", gone.digest());
        let now = tree.bytes(&tag_history("a", "v1", gone.digest())).is_some();
        assert!(now);
        let x = oci_image("x", &[layer(1)]);
        tree.tag("a", "v1", x.digest());
        tree
    };
    for (place, path) in [
        ("a blob", blob_data(&layer(4).digest)),
        ("a layer link", layer_link("a", &layer(2).digest)),
        ("a revision", revision_link("a", gone.digest())),
        ("a history entry", tag_history("a", "v1", gone.digest())),
    ] {
        let mut tree = store();
        tree.touch_at(&path, SystemTime::now() + days(400));
        let root = tree.on_disk();
        let ran = Regsweep::gc(root.path()).dry().json().delete_untagged().any_age().run().expect_code(1);
        let told: Vec<_> = ran.findings().into_iter().filter(|finding| finding.code == "future-time").collect();
        assert_eq!(told.len(), 1, "{place}: {:?}", ran.findings());
        assert_eq!((told[0].count, told[0].severity.as_str()), (1, "warning"), "{place}");
        assert!(told[0].next_step.as_ref().is_some_and(|next| next.contains("touch")), "{place}");
        assert_eq!(ran.report()["young"]["future"], 1, "{place}");
        let text = Regsweep::gc(root.path()).dry().delete_untagged().any_age().run().expect_code(1).stdout;
        assert!(!text.contains("--min-age 0s includes"), "{place}: {text}");
        let audit = Regsweep::audit(root.path()).json().any_age().run();
        let codes = audit.finding_codes();
        assert_eq!(codes.iter().filter(|code| *code == "future-time").count(), 1, "{place}: {codes:?}");
    }
    // What is needed may have any time, and two clocks may differ a little.
    for (path, ahead) in [(blob_data(&layer(1).digest), days(400)), (blob_data(&layer(4).digest), minutes(5))] {
        let mut tree = half_copied();
        tree.touch_at(&path, SystemTime::now() + ahead);
        let root = tree.on_disk();
        Regsweep::gc(root.path()).dry().json().any_age().run().expect_code(0);
    }
}

/// What goes later, and when.
#[test]
fn a_store_in_which_all_is_young_says_when() {
    let mut tree = Tree::new();
    tree.aged(minutes(10));
    let untagged = oci_image("untagged", &[layer(7)]);
    tree.push("a", &oci_image("x", &[layer(1)])).tag("a", "v1", oci_image("x", &[layer(1)]).digest());
    tree.push("a", &untagged).layer("a", &layer(2)).blob(&layer(4));
    let root = tree.on_disk();
    let dry = |flags: &[&str]| Regsweep::gc(root.path()).dry().args(flags).run().expect_code(0).stdout;
    let text = dry(&[]);
    assert!(text.contains("there is nothing to remove yet; 2 blobs (16 B) are too young until "), "{text}");
    // What is young would not go with --delete-untagged either.
    assert!(text.contains("--delete-untagged would free nothing in addition"), "{text}");
    let until = Regsweep::gc(root.path()).dry().json().run().expect_code(0).report()["young"]["until"].clone();
    let until: jiff::Timestamp = until.as_str().expect("a time").parse().expect("a time");
    let expected = jiff::Timestamp::try_from(tree.now() + minutes(50)).expect("a time");
    assert_eq!(until.as_second(), expected.as_second());
    let audit = Regsweep::audit(root.path()).json().run().expect_code(0).report();
    assert_eq!(audit["reclaimable"]["young"]["blobs"], 2);
    assert_eq!(audit["reclaimable_delete_untagged"]["young"]["blobs"], 5);
    assert!(audit["reclaimable"]["young_until"].is_string());
    // Old ones count.
    let mut old = Tree::new();
    old.push("a", &oci_image("x", &[layer(1)])).tag("a", "v1", oci_image("x", &[layer(1)]).digest()).push("a", &untagged);
    let root = old.on_disk();
    let text = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    assert!(text.contains("--delete-untagged would free up to 3 blobs"), "{text}");
}

/// Beside what has been there for long, too.
#[test]
fn what_delete_untagged_would_free_leaves_out_what_was_linked_lately() {
    let [old, new] = [7, 8].map(|number| oci_image(&format!("untagged {number}"), &[layer(number)]));
    let mut tree = Tree::new();
    tree.push("a", &oci_image("x", &[layer(1)])).tag("a", "v1", oci_image("x", &[layer(1)]).digest());
    tree.push("a", &old).push("a", &new);
    let root = tree.on_disk();
    let links = root.path().join("docker/registry/v2/repositories/a/_manifests/revisions/sha256");
    let later = || Regsweep::gc(root.path()).dry().env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=172800");
    let freed = || {
        let report = later().json().run().expect_code(0).report();
        let (more, all) =
            (&report["reclaimable_delete_untagged"], later().delete_untagged().json().run().expect_code(0).report());
        (more["blobs"].as_u64().expect("a number"), all["reclaimable"]["blobs"].as_u64().expect("a number"))
    };
    assert_eq!(freed(), (6, 6));
    let lately = SystemTime::now() + days(2) - minutes(5);
    let touch = |path: &Path| fs::File::open(path).expect("there").set_modified(lately).expect("its times can be set");
    // Written again in its place: at most.
    touch(&root.path().join(revision_link("a", new.digest())));
    assert_eq!(freed(), (6, 3));
    touch(&links);
    assert_eq!(freed(), (3, 3));
}

/// What never goes is told apart from what goes later.
#[test]
fn what_lies_in_the_future_goes_neither_now_nor_later() {
    let mut tree = Tree::new();
    tree.push("a", &oci_image("x", &[layer(1)])).tag("a", "v1", oci_image("x", &[layer(1)]).digest());
    tree.blob(&layer(6)).touch_at(&blob_data(&layer(6).digest), SystemTime::now() + days(400));
    let dry = |root: &Path, flags: &[&str]| Regsweep::gc(root).dry().args(flags).run().expect_code(1).stdout;
    let never = "1 blob (8 B) never: modification times in the future";
    let root = tree.on_disk();
    for flags in [&[][..], &["--min-age", "0s"]] {
        let text = dry(root.path(), flags);
        assert!(text.contains(never) && !text.contains("later, when"), "{flags:?}: {text}");
        assert!(text.ends_with("there is nothing to remove\n"), "{flags:?}: {text}");
    }
    tree.aged(minutes(10)).blob(&layer(4)).blob(&layer(5));
    let root = tree.on_disk();
    let text = dry(root.path(), &[]);
    assert!(text.contains(never) && text.contains("2 blobs (16 B) later, when they are older than 1h, the last at "), "{text}");
    assert!(text.contains("nothing to remove yet; 2 blobs (16 B) are too young until "), "{text}");
    let young = Regsweep::gc(root.path()).dry().json().run().expect_code(1).report()["young"].clone();
    assert_eq!((&young["blobs"], &young["never"]["blobs"], &young["never"]["bytes"]), (&3.into(), &1.into(), &8.into()));
    let audit = Regsweep::audit(root.path()).run().expect_code(1).stdout;
    assert!(audit.contains("2 blobs (16 B) are too young until "), "{audit}");
    assert!(audit.contains("1 blob (8 B) is young for ever: modification times in the future"), "{audit}");
    let audit = Regsweep::audit(root.path()).json().run().expect_code(1).report();
    assert_eq!((&audit["reclaimable"]["young"]["blobs"], &audit["reclaimable"]["young_never"]["blobs"]), (&3.into(), &1.into()));
    let text = dry(root.path(), &["--min-age", "0s"]);
    assert!(text.contains("2 blobs (16 B) now") && text.contains(never) && !text.contains("later, when"), "{text}");
}

/// A registry that takes no pushes does not tell what is being copied into its store: that is kept for the hour, and no minimum age is the reason.
#[test]
fn what_was_just_made_is_said_to_be_that() {
    let root = half_copied().on_disk();
    if !tells_birth(root.path()) {
        return skipped("the filesystem does not tell when files were made");
    }
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: {{enabled: true}}}}}}\nhttp: {{addr: \"127.0.0.1:1\"}}\n",
        root.path().display()
    );
    fs::write(config.path(), text).expect("written");
    let dry = |flags: &[&str]| Regsweep::gc_config(config.path()).counting_birth().dry().args(flags).run().expect_code(0).stdout;
    let text = dry(&[]);
    assert!(text.contains("every revision, and what was made less than 1h ago\n"), "{text}");
    assert!(
        text.contains("later, when they were made more than 1h ago, the last at ") && !text.contains("older than 0s"),
        "{text}"
    );
    let text = dry(&["--ignore-birth-time"]);
    assert!(text.contains("every revision, of any age\n") && !text.contains("later, when"), "{text}");
    let text = dry(&["--min-age", "0s"]);
    assert!(text.contains("every revision, of any age\n") && !text.contains("later, when"), "{text}");
}
