//! Images with several tags, of which some wait in quarantine when the last one goes: they go after it, and each tag can still be restored whole.

use std::fs;

use super::*;
use crate::support::layout::{blob_data, layer_link, revision_link, tag_current};

/// The image of the tags `v1` and `v2`, with what belongs to it.
fn going() -> [Image; 3] {
    let image = index(&[child()]);
    let signature = oci_image("its signature", &[layer(9)]).referring_to(&image);
    [image, child(), signature]
}

/// The one that nobody gave a tag, and that was deployed by its digest.
fn deployed() -> Image {
    oci_image("deployed", &[layer(7)])
}

/// A repository with one image under the tags `v1` and `v2`, which is an index with a signature, and others that stay.
fn twice() -> Registry {
    let [image, _, signature] = going();
    let built = registry().repo("team/app").aged(days(9)).pushed(&image).tag("v1").pushed(&signature);
    let built = built.aged(days(8)).with(|tree| {
        tree.tag("team/app", "v2", image.digest());
    });
    built.aged(days(7)).pushed(&deployed()).pushed(&super::image(3)).tag("v3").repo("lib").pushed(&super::image(1)).tag("v1")
}

fn is_whole(root: &Path, image: &Image) -> bool {
    root.join(revision_link("team/app", image.digest())).exists()
        && image.blobs.iter().all(|blob| root.join(layer_link("team/app", &blob.digest)).exists())
        && image.reaches().iter().all(|digest| root.join(blob_data(digest)).exists())
}

/// How many of the manifests that go together are there, each of them whole.
#[track_caller]
fn whole(root: &Path) -> usize {
    assert!(is_whole(root, &deployed()) && is_whole(root, &super::image(3)), "what stays is whole");
    going().iter().filter(|image| is_whole(root, image)).count()
}

/// What is left of them, in the store or in quarantine.
fn left(root: &Path) -> Vec<String> {
    let names: Vec<String> = going().iter().map(|image| image.digest().replace("sha256:", "")).collect();
    let all = crate::support::snapshot(root).into_keys();
    let files = all.filter(|path| path.ends_with("/data") || path.ends_with("/link"));
    files.filter(|path| names.iter().any(|name| path.contains(name))).collect()
}

/// Drops one tag by a command.
fn drop_tag(root: &Path, command: &str, tag: &str, flags: &[&str]) -> Outcome {
    let run = match command {
        "remove" => Regsweep::remove(root).arg(format!("team/app:{tag}")),
        _ => {
            let policy = root.join("policy.toml");
            let rule = format!("[[rule]]\nrepositories = ['team/*']\nkeep-newest = 0\ntags = ['{tag}']\n");
            fs::write(&policy, rule).expect("written");
            Regsweep::expire(root).arg("--policy").arg(policy)
        }
    };
    run.args(["--jobs", "1", "--assume-offline"]).args(flags).run()
}

fn runs(root: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(root.join(".regsweep/quarantine")).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
    let mut names: Vec<(std::time::SystemTime, String)> = entries
        .into_iter()
        .map(|entry| {
            (entry.metadata().and_then(|data| data.created()).expect("told"), entry.file_name().to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

fn collect(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::gc(root).args(["--assume-offline", "--min-age", "0s"]).args(flags).run()
}

fn restore(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::new().args(["restore", "--root"]).arg(root).args(flags).run()
}

fn purge(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::new().args(["quarantine", "purge", "--assume-offline", "--root"]).arg(root).args(flags).run().expect_code(0)
}

#[track_caller]
fn audited(root: &Path) {
    let audit = Regsweep::audit(root).run();
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}

const COMMANDS: [[&str; 2]; 4] = [["remove", "remove"], ["expire", "expire"], ["remove", "expire"], ["expire", "remove"]];

/// Both tags in quarantine, by one command after the other.
#[track_caller]
fn both(commands: [&str; 2]) -> (tempfile::TempDir, [String; 2]) {
    let root = twice().into_tree().on_disk();
    let first = drop_tag(root.path(), commands[0], "v1", &["--quarantine"]).expect_code(0);
    assert_eq!(whole(root.path()), 3, "{commands:?}: {}", first.stdout);
    let second = drop_tag(root.path(), commands[1], "v2", &["--quarantine"]).expect_code(0);
    assert_eq!(whole(root.path()), 0, "{commands:?}: {}", second.stdout);
    assert!(!second.stdout.contains("kept only"), "{commands:?}: {}", second.stdout);
    assert_eq!(listed(root.path(), "team/app"), names(&["v3"]));
    let runs = runs(root.path()).try_into().expect("two runs");
    (root, runs)
}

#[test]
fn an_image_goes_with_its_last_tag_although_another_one_waits() {
    for commands in COMMANDS {
        let (root, _) = both(commands);
        audited(root.path());
        collect(root.path(), &[]).expect_code(0);
        assert_eq!(whole(root.path()), 0, "{commands:?}");
        purge(root.path(), &[]);
        assert!(left(root.path()).is_empty() && runs(root.path()).is_empty(), "{commands:?}");
    }
}

/// A tag that comes back brings what it names, wherever in quarantine that waits.
#[test]
fn each_tag_is_restored_whole() {
    for commands in COMMANDS {
        let (_, [first, second]) = both(commands);
        assert_ne!(first, second);
        let cases: [(&[usize], &[&str]); 4] =
            [(&[0], &["v1", "v3"]), (&[1], &["v2", "v3"]), (&[], &["v2", "v3"]), (&[0, 1], &["v1", "v2", "v3"])];
        for (wanted, expected) in cases {
            let (root, runs) = both(commands);
            if wanted.is_empty() {
                restore(root.path(), &[]).expect_code(0);
            }
            for run in wanted {
                restore(root.path(), &["--run", &runs[*run]]).expect_code(0);
                assert_eq!(whole(root.path()), 3, "{commands:?}, {wanted:?}");
            }
            assert_eq!(listed(root.path(), "team/app"), names(expected), "{commands:?}, {wanted:?}");
            assert_eq!(whole(root.path()), 3, "{commands:?}, {wanted:?}");
            audited(root.path());
            // Whatever is purged then.
            purge(root.path(), &[]);
            collect(root.path(), &[]).expect_code(0);
            assert_eq!(whole(root.path()), 3, "{commands:?}, {wanted:?}");
        }
        let (root, _) = both(commands);
        restore(root.path(), &["--all"]).expect_code(0);
        assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v1", "v2", "v3"]), 3));
        let (root, _) = both(commands);
        restore(root.path(), &["--digest", going()[0].digest()]).expect_code(0);
        assert!(is_whole(root.path(), &going()[0]) && is_whole(root.path(), &child()));
    }
}

/// A purge of the run that holds an image leaves what a tag in another run needs.
#[test]
fn what_a_tag_that_waits_needs_is_not_purged() {
    for commands in COMMANDS {
        let (root, [first, second]) = both(commands);
        let purged = purge(root.path(), &["--run", &second]);
        assert!(purged.stdout.contains("something else in quarantine needs"), "{}", purged.stdout);
        restore(root.path(), &["--run", &first]).expect_code(0);
        assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v1", "v3"]), 3), "{commands:?}");

        // No image needs its tags.
        let (root, [first, second]) = both(commands);
        purge(root.path(), &["--run", &first]);
        assert_eq!(runs(root.path()), std::slice::from_ref(&second), "{commands:?}");
        restore(root.path(), &["--run", &second]).expect_code(0);
        assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v2", "v3"]), 3), "{commands:?}");
    }
}

/// A tag that was pushed again brings nothing back that it does not name any more.
#[test]
fn a_tag_that_is_there_again_brings_nothing() {
    let (root, [first, _]) = both(["remove", "remove"]);
    let tag = root.path().join(tag_current("team/app", "v1"));
    fs::create_dir_all(tag.parent().expect("a directory")).expect("made");
    fs::write(&tag, super::image(3).digest()).expect("pushed");
    restore(root.path(), &["--run", &first]).expect_code(1);
    assert_eq!(whole(root.path()), 0);
}

/// A run that removes for good leaves what a tag in quarantine needs, says so, and takes it when it is given again.
#[test]
fn what_stays_for_a_tag_in_quarantine_goes_after_that_is_purged() {
    for commands in COMMANDS {
        let root = twice().into_tree().on_disk();
        drop_tag(root.path(), commands[0], "v1", &["--quarantine"]).expect_code(0);
        for _again in 0..2 {
            let second = drop_tag(root.path(), commands[1], "v2", &["--min-age", "0s"]).expect_code(0);
            assert!(!second.stdout.contains("kept only for being young"), "{commands:?}: {}", second.stdout);
            assert!(second.stdout.contains("the same command takes them once that is purged"), "{commands:?}: {}", second.stdout);
            assert_eq!(
                second.stdout.contains("run this again once that is purged"),
                commands[1] == "remove",
                "{}",
                second.stdout
            );
            assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v3"]), 3), "{commands:?}");
        }
        let restored = tempfile::tempdir().expect("a directory");
        crate::support::snapshot::copy(root.path(), restored.path());
        purge(root.path(), &[]);
        assert_eq!(whole(root.path()), 3, "{commands:?}");
        drop_tag(root.path(), commands[1], "v2", &["--min-age", "0s"]).expect_code(0);
        assert_eq!(whole(root.path()), 0, "{commands:?}");
        assert!(left(root.path()).is_empty(), "{commands:?}");

        // Or it is wanted after all: then nothing goes on with it.
        let root = restored;
        restore(root.path(), &[]).expect_code(0);
        assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v1", "v3"]), 3), "{commands:?}");
        fs::write(root.path().join(tag_current("team/app", "v1")), super::image(3).digest()).expect("pushed");
        drop_tag(root.path(), commands[1], "v2", &["--min-age", "0s"]);
        assert_eq!(whole(root.path()), 3, "{commands:?}");
        // Nor with what was to go with it, when the registry deletes that image alone.
        fs::remove_file(root.path().join(revision_link("team/app", going()[0].digest()))).expect("deleted");
        drop_tag(root.path(), commands[1], "v2", &["--min-age", "0s"]);
        assert_eq!(whole(root.path()), 2, "{commands:?}");
    }
}

/// Names that were given together are given together again.
#[test]
fn a_run_of_several_names_is_given_again_as_it_was() {
    let root = twice().into_tree().on_disk();
    let all = |root: &Path| Regsweep::remove(root).args(["team/app:v2", "lib:v1", "--min-age", "0s", "--assume-offline"]).run();
    drop_tag(root.path(), "remove", "v1", &["--quarantine"]).expect_code(0);
    all(root.path()).expect_code(0);
    purge(root.path(), &[]);
    all(root.path()).expect_code(0);
    assert!(left(root.path()).is_empty());
    let done = all(root.path()).expect_code(2);
    assert!(done.stderr.contains("there is no such tag"), "{}", done.stderr);
}

/// By its digest, too, an image goes that only a tag in quarantine names; where nothing would be quarantined the way out is named.
#[test]
fn a_manifest_goes_by_digest_although_a_tag_of_it_waits() {
    let root = twice().into_tree().on_disk();
    let digest = by_digest(&going()[0]);
    drop_tag(root.path(), "remove", "v1", &["--quarantine"]).expect_code(0);
    let refused = Regsweep::remove(root.path())
        .args([&digest, "team/app:v2"])
        .args(["--min-age", "0s", "--assume-offline"])
        .run()
        .expect_code(2);
    assert!(
        refused.stderr.contains("what is in quarantine needs it") && refused.stderr.contains("purge first"),
        "{}",
        refused.stderr
    );
    Regsweep::remove(root.path()).args([&digest, "team/app:v2"]).args(["--quarantine", "--assume-offline"]).run().expect_code(0);
    assert_eq!(whole(root.path()), 0);
    restore(root.path(), &["--all"]).expect_code(0);
    assert_eq!((listed(root.path(), "team/app"), whole(root.path())), (names(&["v1", "v2", "v3"]), 3));
}

/// A signature that went by its own name is not needed by the image that stays: no run brings it back, but a restoration does.
#[test]
fn a_referrer_that_went_by_digest_waits_although_its_image_stays() {
    let root = twice().into_tree().on_disk();
    let root = root.path();
    let remove = || {
        let run =
            Regsweep::remove(root).arg(by_digest(&going()[2])).args(["--quarantine", "--assume-offline", "--min-age", "0s"]);
        run.arg("--ignore-birth-time").run().expect_code(0);
        assert_eq!(whole(root), 2);
    };
    remove();
    for flags in [&["--quarantine"][..], &[]] {
        collect(root, flags).expect_code(0);
        assert_eq!(whole(root), 2, "{flags:?}");
    }
    restore(root, &[]).expect_code(0);
    assert_eq!(whole(root), 3);
    remove();
    purge(root, &[]);
    assert!(left(root).iter().all(|path| !path.contains(&going()[2].digest().replace("sha256:", ""))), "{:?}", left(root));
    assert_eq!(whole(root), 2);
    audited(root);
}

/// Cut off or failed anywhere, with a collection in between or not: given again, the run comes to its end.
#[test]
fn a_run_with_a_quarantine_that_did_not_come_to_its_end_is_finished_by_the_same_command() {
    if !has_strace() {
        return;
    }
    let tree = twice().into_tree();
    for (inject, between) in
        ["signal=KILL", "error=EIO"].into_iter().flat_map(|inject| [false, true].map(|between| (inject, between)))
    {
        for nth in [2, 3, 5, 6, 7, 8, 10, 13] {
            let what = format!("{inject} at {nth}, a collection in between: {between}");
            let root = tree.on_disk();
            let root = root.path();
            let run =
                || Regsweep::remove(root).args(["team/app:v1", "team/app:v2", "--quarantine", "--jobs", "1", "--assume-offline"]);
            let first = run().injected(&format!("renameat2:{inject}:when={nth}")).run();
            if first.code == Some(0) {
                assert!(nth > 12, "{what}");
                break;
            }
            if between {
                // A tag without its link is a finding.
                assert!(matches!(collect(root, &["--quarantine"]).code, Some(0 | 1)), "{what}");
            }
            let again = run().args(["--min-age", "0s"]).run();
            assert!(matches!(again.code, Some(0 | 1)), "{what}: {}{}", again.stdout, again.stderr);
            assert!(!again.stdout.contains("kept only for being young"), "{what}: {}", again.stdout);
            // What a manifest in quarantine names waits for that; and a signature that went before its image was needed by that in between.
            let waits = whole(root) > 0 || again.stdout.contains("run this again once that is purged");
            let is_said =
                again.stdout.contains("the same command takes them") || again.stdout.contains("because they are needed");
            assert!(!waits || is_said, "{what}: {}", again.stdout);
            let undone = tempfile::tempdir().expect("a directory");
            crate::support::snapshot::copy(root, undone.path());
            restore(undone.path(), &["--all"]).expect_code(0);
            assert_eq!((listed(undone.path(), "team/app"), whole(undone.path())), (names(&["v1", "v2", "v3"]), 3), "{what}");
            purge(root, &[]);
            if waits {
                run().args(["--min-age", "0s"]).run().expect_code(0);
                purge(root, &[]);
            }
            collect(root, &[]).expect_code(0);
            assert_eq!(left(root), [""; 0], "{what}: {}", again.stdout);
            whole(root);
        }
    }
}

/// Of tags that were removed by name no rule is said to drop them again.
#[test]
fn what_was_removed_by_name_comes_back_without_advice_for_rules() {
    let (root, _) = both(["remove", "remove"]);
    let restored = restore(root.path(), &["--all"]).expect_code(0);
    assert!(restored.stdout.contains("2 tags with their push times"), "{}", restored.stdout);
    assert!(!restored.stdout.contains("rules") && restored.stdout.contains("  team/app:v1\n"), "{}", restored.stdout);
    let (root, _) = both(["remove", "expire"]);
    let restored = restore(root.path(), &["--all"]).expect_code(0);
    let advice = restored.stdout.split("--protect FILE").nth(1).expect("advice for the other one");
    assert!(advice.contains("  team/app:v2\n") && !advice.contains("team/app:v1"), "{}", restored.stdout);
}
