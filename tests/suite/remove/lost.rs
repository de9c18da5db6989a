//! What an outsider found: what went that had not been asked for, and what never went.

use std::path::PathBuf;

use super::*;
use crate::support::layout::{blob_data, revision_link, tag_current};
use crate::support::snapshot::blobs_on_disk;

fn untagged(number: u64) -> Image {
    oci_image(&format!("untagged {number}"), &[layer(0), layer(100 + number)])
}

/// A repository with the tags `v1` and `v2` and untagged images that are deployed by digest.
fn deployed() -> Registry {
    let mut built = registry().repo("team/app");
    for number in 1..=2_u64 {
        built = built.aged(days(9 - number)).pushed(&image(number)).tag(&format!("v{number}"));
    }
    (1..=4).fold(built, |built, number| built.pushed(&untagged(number)))
}

fn is_whole(root: &Path, image: &Image) -> bool {
    root.join(revision_link("team/app", image.digest())).exists()
        && image.reaches().iter().all(|digest| root.join(blob_data(digest)).exists())
}

/// A collection of untagged revisions was a mistake, and was ended at once: what it has not removed is nothing that `remove` or `expire` go on with.
#[test]
fn what_a_collection_of_untagged_revisions_had_begun_with_is_not_gone_on_with() {
    if !has_strace() {
        return;
    }
    let tree = deployed().into_tree();
    for inject in ["unlinkat:signal=INT:when=1", "unlinkat:signal=KILL:when=1", "unlinkat:signal=KILL:when=4"] {
        for command in ["remove", "no-collect", "expire"] {
            let root = tree.on_disk();
            let collected = Regsweep::gc(root.path()).delete_untagged().args(["--jobs", "1", "--assume-offline"]);
            assert_ne!(collected.injected(inject).run().code, Some(0));
            let left: Vec<Image> = (1..=4).map(untagged).filter(|image| is_whole(root.path(), image)).collect();
            assert!(left.len() > 1, "{inject}: {}", left.len());
            let run = match command {
                "remove" => Regsweep::remove(root.path()).arg("team/app:v1"),
                "no-collect" => Regsweep::remove(root.path()).args(["team/app:v1", "--no-collect"]),
                _ => Regsweep::expire(root.path()).args(["--keep-last", "1", "--repository", "team/app"]),
            };
            run.run().expect_code(0);
            assert_eq!(listed(root.path(), "team/app"), names(&["v2"]));
            for image in left {
                assert!(is_whole(root.path(), &image), "{inject}, {command}: {}", image.digest());
            }
        }
    }
}

/// A removal of a tag that removed nothing, and then a push to that tag: the image that it named before is one without a tag, which stays.
#[test]
fn what_a_tag_named_before_it_was_pushed_again_is_not_gone_on_with() {
    if !has_strace() {
        return;
    }
    let tree = deployed().into_tree();
    let ends = ["unlinkat:error=EIO", "unlinkat:signal=KILL:when=1", "renameat2:signal=KILL:when=1"];
    for (inject, command) in ends.into_iter().flat_map(|inject| ["expire", "remove"].map(|command| (inject, command))) {
        let root = tree.on_disk();
        let mut removal = Regsweep::remove(root.path()).args(["team/app:v1", "--jobs", "1", "--assume-offline"]);
        if inject.starts_with("rename") {
            removal = removal.arg("--quarantine");
        }
        assert_ne!(removal.injected(inject).run().code, Some(0), "{inject}");
        std::fs::write(root.path().join(tag_current("team/app", "v1")), untagged(1).digest()).expect("pushed");
        let run = match command {
            "remove" => Regsweep::remove(root.path()).args(["--min-age", "0s", "team/app:v1"]),
            _ => Regsweep::expire(root.path()).args(["--keep-last", "5", "--repository", "team/app"]),
        };
        run.run().expect_code(0);
        assert!(is_whole(root.path(), &image(1)), "{inject}, {command}");
        assert_eq!(is_whole(root.path(), &untagged(1)), command == "expire", "{inject}, {command}");
    }
}

/// Cut off before its blobs, a run is gone on with by the same command, also where a tag was all that went of a repository, and a name that
/// never was is refused as ever.
#[test]
fn a_run_of_many_names_that_was_cut_off_is_finished_by_the_same_command() {
    if !has_strace() {
        return;
    }
    let tree = store().repo("team").pushed(&image(8)).tag("same").tag("other").into_tree();
    let all = ["team/app:v1", "team:same"];
    let run = |root: &Path| Regsweep::remove(root).args(all).args(["--jobs", "1", "--assume-offline"]);
    let whole = tree.on_disk();
    run(whole.path()).run().expect_code(0);
    for inject in ["syncfs:error=EIO:when=1", "syncfs:signal=KILL:when=1", "syncfs:signal=TERM:when=1"] {
        let root = tree.on_disk();
        assert_ne!(run(root.path()).injected(inject).run().code, Some(0), "{inject}");
        let typo = Regsweep::remove(root.path()).args(["team/app:v1", "team/app:typo"]).run().expect_code(2);
        assert!(typo.stderr.contains("team/app:typo: there is no such tag"), "{}", typo.stderr);
        run(root.path()).run().expect_code(0);
        assert_eq!(blobs_on_disk(root.path()), blobs_on_disk(whole.path()), "{inject}");
        // And then it is done.
        let again = run(root.path()).run().expect_code(2);
        assert!(again.stderr.contains("there is no such tag"), "{inject}: {}", again.stderr);
    }
}

/// Cut off between links and blobs, a run about some repositories takes these blobs when it is run again, and one about others leaves the record
/// of them, so that no brake stops the next collection.
#[test]
fn runs_about_a_part_of_a_store_know_what_another_one_has_left() {
    if !has_strace() {
        return;
    }
    let mut built = registry().repo("team/app");
    for number in 1..=12 {
        built = built.pushed(&untagged(number));
    }
    let tree = built.pushed(&image(1)).tag("v1").repo("c").pushed(&image(2)).tag("x").pushed(&image(3)).tag("y").into_tree();
    let collect = |root: &Path| Regsweep::gc(root).delete_untagged().args(["--jobs", "1", "--assume-offline"]);
    let whole = tree.on_disk();
    collect(whole.path()).run().expect_code(0);
    let cut_off = "syncfs:signal=KILL:when=1";

    let root = tree.on_disk();
    let part = || collect(root.path()).args(["--repository", "team/*"]);
    assert_ne!(part().injected(cut_off).run().code, Some(0));
    part().run().expect_code(0);
    assert_eq!(blobs_on_disk(root.path()), blobs_on_disk(whole.path()), "run again, it takes its blobs");

    for between in
        [&["remove", "c:x"][..], &["expire", "--keep-last", "1", "--repository", "c"], &["garbage-collect", "--repository", "c"]]
    {
        let root = tree.on_disk();
        assert_ne!(collect(root.path()).injected(cut_off).run().code, Some(0));
        Regsweep::new().args(between).args(["--ignore-birth-time", "--root"]).arg(root.path()).run().expect_code(0);
        let next = collect(root.path()).run().expect_code(0);
        assert!(
            untagged(3).reaches().iter().skip(1).any(|digest| !root.path().join(blob_data(digest)).exists()),
            "{}",
            next.stdout
        );
    }
}

/// A signature that was asked for by its digest goes although its image stays.
#[test]
fn a_referrer_goes_by_digest_although_its_subject_stays() {
    let bad = oci_image("bad signature", &[layer(50)]).referring_to(&image(1));
    let of_bad = oci_image("signature of that", &[layer(51)]).referring_to(&bad);
    let good = oci_image("good signature", &[layer(52)]).referring_to(&image(1));
    let built = registry().repo("team/app").pushed(&image(1)).tag("v1").pushed(&bad).pushed(&of_bad).pushed(&good);
    let root = built.into_tree().on_disk();
    let done = Regsweep::remove(root.path()).arg(by_digest(&bad)).run().expect_code(0);
    assert_eq!(
        [&image(1), &good, &bad, &of_bad].map(|image| is_whole(root.path(), image)),
        [true, true, false, false],
        "{}",
        done.stdout
    );
    assert_eq!(done.rows_of("revision").len(), 2);
}

/// The report says of each name what became of it, and not what was planned.
#[test]
fn what_could_not_be_removed_is_said_to_be_there() {
    if !has_strace() {
        return;
    }
    let root = store().into_tree().on_disk();
    let run = Regsweep::remove(root.path()).args(["team/app:v1", "team:v1", "--jobs", "1", "--assume-offline"]).json();
    let outcome = run.injected("unlinkat:error=EPERM:when=1").run().expect_code(3);
    let items = outcome.report()["remove"].as_array().expect("a list").clone();
    let removed: Vec<_> =
        items.iter().map(|item| (item["repository"].as_str().expect("a name"), item["removed"].clone())).collect();
    for (name, removed) in removed {
        let is_there = listed(root.path(), name).contains("v1");
        assert_eq!(removed, !is_there, "{name}");
    }
    let done = Regsweep::remove(root.path()).args(["team/app:v1", "team:v1"]).run().expect_code(0);
    assert!(done.stdout.contains("team:v1: gone"), "{}", done.stdout);
    let moved = Regsweep::remove(root.path()).args(["team/app:v2", "--quarantine"]).run().expect_code(0);
    assert!(moved.stdout.contains("team/app:v2: in quarantine"), "{}", moved.stdout);
}

fn expire(root: &Path, keep: &str) -> Regsweep {
    Regsweep::expire(root).args(["--keep-last", keep, "--repository", "team/app", "--jobs", "1", "--assume-offline"])
}

fn remove(root: &Path) -> Regsweep {
    Regsweep::remove(root).args(["team/app:v1", "--jobs", "1", "--assume-offline"])
}

fn tag_directory(root: &Path, tag: &str) -> PathBuf {
    root.join(tag_current("team/app", tag)).ancestors().nth(2).expect("above its link").to_owned()
}

/// A push to a tag, and its deletion by the registry, long ago.
fn push_again_and_delete(root: &Path, between: impl FnOnce()) {
    let link = root.join(tag_current("team/app", "v1"));
    std::fs::create_dir_all(link.parent().expect("in a directory")).expect("made");
    std::fs::write(&link, untagged(1).digest()).expect("pushed");
    between();
    std::fs::remove_dir_all(tag_directory(root, "v1")).expect("deleted");
}

/// A removal that was cut off before its first change, and a tag that was pushed again: any run that sees it there forgets what was begun with, and
/// nothing is gone on with once that tag goes by other means.
#[test]
fn what_was_recorded_of_a_tag_is_forgotten_once_it_is_seen_again() {
    if !has_strace() {
        return;
    }
    let tree = deployed().into_tree();
    for by_rules in [true, false] {
        let run = |root: &Path| if by_rules { expire(root, "1") } else { remove(root) };
        for between in ["garbage-collect", "expire", "remove"] {
            let root = tree.on_disk();
            let root = root.path();
            assert_ne!(run(root).injected("unlinkat:signal=KILL:when=1").run().code, Some(0));
            assert!(root.join(".regsweep/begun.json").exists());
            push_again_and_delete(root, || {
                let seeing = match between {
                    "expire" => expire(root, "9"),
                    "remove" => Regsweep::remove(root).args(["team/app@".to_owned() + untagged(3).digest()]),
                    _ => Regsweep::gc(root).args(["--assume-offline"]),
                };
                seeing.run().expect_code(0);
            });
            let code = if by_rules { 0 } else { 2 };
            run(root).run().expect_code(code);
            assert!(is_whole(root, &image(1)), "by rules {by_rules}, {between}");
        }
    }
}

/// What `remove` had begun with is its own: `expire` takes neither the image, which no tag names any more, nor its signature, which `remove` leaves.
#[test]
fn expire_does_not_go_on_with_what_remove_had_begun_with() {
    if !has_strace() {
        return;
    }
    let signature = format!("{}.sig", image(1).digest().replace(':', "-"));
    let tree = deployed().pushed(&untagged(9)).tag(&signature).into_tree();
    let mut cut_off = 0;
    for nth in 1.. {
        let root = tree.on_disk();
        let root = root.path();
        if remove(root).injected(&format!("unlinkat:signal=KILL:when={nth}")).run().code == Some(0) {
            break;
        }
        if !is_whole(root, &image(1)) || root.join(tag_current("team/app", "v1")).exists() {
            continue;
        }
        cut_off += 1;
        expire(root, "10").run().expect_code(0);
        assert!(is_whole(root, &image(1)) && is_whole(root, &untagged(9)), "{nth}");
        assert!(listed(root, "team/app").contains(&signature), "{nth}");
        remove(root).run().expect_code(0);
        assert!(!is_whole(root, &image(1)) && is_whole(root, &untagged(9)), "{nth}: `remove` goes on with it");
    }
    assert!(cut_off > 0);
}

/// A restoration that is cut off, or cannot write the record: what came back is not gone on with, or it did not come back.
#[test]
fn what_a_restoration_that_was_cut_off_brought_back_is_not_gone_on_with() {
    if !has_strace() {
        return;
    }
    let tree = deployed().into_tree();
    let mut restored = 0;
    for end in ["signal=KILL", "error=EIO"] {
        for nth in 1..=6 {
            let root = tree.on_disk();
            let root = root.path();
            let killed = (3..12).find(|nth| {
                let _ = expire(root, "1").arg("--quarantine").injected(&format!("renameat2:signal=KILL:when={nth}")).run();
                !root.join(tag_current("team/app", "v1")).exists() && root.join(".regsweep/begun.json").exists()
            });
            assert!(killed.is_some());
            let restore = || Regsweep::new().args(["restore", "--all", "--root"]).arg(root);
            let ran = restore().injected(&format!("unlinkat:{end}:when={nth}")).run();
            if ran.code != Some(0) {
                restore().run();
            }
            assert!(root.join(tag_current("team/app", "v1")).exists(), "{end} {nth}: {}", ran.stdout);
            restored += 1;
            push_again_and_delete(root, || {});
            expire(root, "1").run().expect_code(0);
            assert!(is_whole(root, &image(1)), "{end} {nth}");
        }
    }
    assert!(restored > 0);
}

/// A tag that comes back and whose image went by other means is a finding.
#[test]
fn a_restored_tag_without_its_image_is_a_finding() {
    let root = deployed().into_tree().on_disk();
    let root = root.path();
    remove(root).args(["--quarantine", "--no-collect"]).run().expect_code(0);
    let mut runs = std::fs::read_dir(root.join(".regsweep/quarantine")).expect("a run").flatten();
    let held = runs.next().expect("one").path().join(revision_link("team/app", image(1).digest()));
    let held = PathBuf::from(held.to_string_lossy().replace("/docker/registry/v2/", "/"));
    std::fs::remove_dir_all(held.parent().expect("in a directory")).expect("its revision went with it");
    let ran = Regsweep::new().args(["restore", "--all", "--json", "--root"]).arg(root).run().expect_code(1);
    let lost: Vec<Finding> = ran.findings().into_iter().filter(|finding| finding.code == "lost-revision").collect();
    assert_eq!(lost.len(), 1, "{:?}", ran.findings());
    assert_eq!(lost[0].tag.as_deref(), Some("v1"));
}

/// A tag of which a removal that was cut off left the history: that does not come back from quarantine alone, night for night, although another tag
/// names its image.
#[test]
fn history_does_not_come_back_without_its_tag() {
    let root = registry().repo("team/app").pushed(&image(1)).tag("v1").tag("again").into_tree().on_disk();
    let root = root.path();
    std::fs::remove_dir_all(root.join(tag_current("team/app", "v1")).parent().expect("in a directory")).expect("removed");
    remove(root).arg("--quarantine").run().expect_code(0);
    assert!(!tag_directory(root, "v1").exists());
    for _ in 0..2 {
        let night = Regsweep::gc(root).args(["--quarantine", "--assume-offline"]).json().run().expect_code(0);
        assert_eq!(night.finding_codes(), [""; 0]);
        assert!(!tag_directory(root, "v1").exists());
    }
    Regsweep::new().args(["restore", "--all", "--root"]).arg(root).run();
    assert!(tag_directory(root, "v1").exists(), "who asks for it gets it");
}
