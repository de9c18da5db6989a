//! What went although somebody had asked for it, or had pushed it again, when an outsider looked.

use super::*;
use crate::support::layout::{blob_data, revision_link, tag_current};

const LATER: &str = "trusted=yes,shift=259200";

fn run(root: &Path, keep: &str) -> Regsweep {
    Regsweep::expire(root).args(["--keep-last", keep, "--jobs", "1", "--assume-offline"])
}

/// Keeps the two newest, and what a list names.
fn in_use(root: &Path, list: &str) -> Outcome {
    let (_directory, path) = policy(list);
    run(root, "2").arg("--protect").arg(&path).run()
}

fn is_whole(root: &Path, repository: &str, image: &Image) -> bool {
    root.join(revision_link(repository, image.digest())).exists()
        && image.reaches().iter().all(|digest| root.join(blob_data(digest)).exists())
}

/// A run that was cut off had begun to remove an image: what was pushed of it since, there or elsewhere, is a push of its own.
#[test]
fn an_image_that_was_pushed_again_after_a_killed_run_stays() {
    if !has_strace() {
        return;
    }
    let image = oci_image("image 1", &[layer(0), layer(1)]);
    let tree = store().into_tree();
    let mut tried = 0;
    for (repository, age) in [("team/app", minutes(0)), ("prod", days(2))] {
        for nth in (1..).step_by(3) {
            let root = tree.on_disk();
            let killed = run(root.path(), "2").injected(&format!("unlinkat:signal=KILL:when={nth}")).run();
            if killed.code == Some(0) {
                break;
            }
            // As long as its tag is there, the rule is about it.
            if root.path().join(tag_current("team/app", "v1")).exists() {
                continue;
            }
            tried += 1;
            registry().repo(repository).aged(age).pushed(&image).write_to(root.path());
            let next = run(root.path(), "2").env("REGSWEEP_TEST_CLOCK", LATER).run();
            assert!(matches!(next.code, Some(0 | 1)), "kill {nth}: {}", next.stderr);
            assert!(is_whole(root.path(), repository, &image), "kill {nth}, {repository}: {}", next.stdout);
        }
    }
    assert!(tried > 4, "{tried}");
}

/// A tag that names nothing any more keeps what its history names, or is no match.
#[test]
fn a_tag_without_a_link_that_is_in_use_keeps_its_image() {
    let image = oci_image("image 1", &[layer(0), layer(1)]);
    let in_use = |root: &Path| in_use(root, "reg:5000/team/app:v1\n");
    let root = store().on_disk();
    fs::remove_file(root.path().join(tag_current("team/app", "v1"))).expect("there");
    assert!(matches!(in_use(root.path()).code, Some(0 | 1)));
    assert!(is_whole(root.path(), "team/app", &image));
    fs::remove_dir_all(root.path().join(tag_current("team/app", "v1")).ancestors().nth(2).expect("a tag").join("index"))
        .expect("there");
    let refused = in_use(root.path()).expect_code(2);
    assert!(refused.stderr.contains("none of"), "{}", refused.stderr);
}

/// Tags of signatures and the like take no image's place, stay with what stays, and go with what goes.
#[test]
fn signatures_stay_and_go_with_their_images() {
    let image = |number: u64| oci_image(&format!("image {number}"), &[layer(0), layer(number)]);
    let mut built = registry().repo("app");
    for number in 1..=4_u64 {
        built = built.aged(days(50 - 10 * number)).pushed(&image(number)).tag(&format!("v{number}"));
        let (tag, signature) = signature_of(&image(number), 100 + number);
        built = built.aged(days(50 - 10 * number)).pushed(&signature).tag(&tag);
        // And that has one, too.
        let (tag, of_signature) = signature_of(&signature, 200 + number);
        built = built.pushed(&of_signature).tag(&tag);
    }
    let elsewhere = oci_image("elsewhere", &[layer(99)]);
    let (orphan, signs) = signature_of(&elsewhere, 99);
    built = built.aged(days(90)).pushed(&signs).tag(&orphan).aged(days(1)).pushed(&image(1)).tag("stable");
    let root = built.on_disk();
    let outcome = run(root.path(), "2").run().expect_code(0);
    // v1 is `stable` as well, and with v4 one of the two newest.
    let mut expected: Vec<String> = vec!["v1".into(), "v2".into(), "v3".into()];
    for number in [2, 3] {
        let (tag, signature) = signature_of(&image(number), 100 + number);
        expected.extend([tag, signature_of(&signature, 0).0]);
    }
    let expected: BTreeSet<String> = expected.into_iter().map(|tag| format!("app:{tag}")).collect();
    assert_eq!(tags(&outcome), expected, "{}", outcome.stdout);
    for number in [1, 4] {
        let (_, signature) = signature_of(&image(number), 100 + number);
        assert!(is_whole(root.path(), "app", &image(number)) && is_whole(root.path(), "app", &signature), "{number}");
    }
    assert!(!is_whole(root.path(), "app", &image(2)) && !is_whole(root.path(), "app", &signature_of(&image(2), 102).1));
    assert!(is_whole(root.path(), "app", &signs), "its subject is not here");
}

fn signature_of(of: &Image, number: u64) -> (String, Image) {
    (format!("sha256-{}.sig", &of.digest()[7..]), oci_image(&format!("signs {}", of.digest()), &[layer(number)]))
}

/// What runtimes print as an image's ID is no reference: nothing would be kept by it.
#[test]
fn ids_of_images_are_no_references() {
    let root = store().on_disk();
    for id in ["0123456789ab".to_owned(), "0123456789abcdef".repeat(4)] {
        let list = format!("reg:5000/team/app:v1\n{id}\n");
        let refused = in_use(root.path(), &list).expect_code(2);
        assert!(refused.stderr.contains("line 2") && refused.stderr.contains("is no reference"), "{}", refused.stderr);
    }
    let marked = "\u{feff}reg:5000/team/app:v1\r\n";
    let kept = in_use(root.path(), marked).expect_code(0);
    assert_eq!(tags(&kept), names(&["team/app:v2"]));
}

/// A tag that was pushed again while it was in quarantine stays as it is, and what it was is named.
#[test]
fn a_tag_that_was_pushed_again_is_not_promised_to_come_back() {
    let root = store().on_disk();
    run(root.path(), "2").arg("--quarantine").run().expect_code(0);
    let new = oci_image("new", &[layer(50)]);
    registry().repo("team/app").pushed(&new).tag("v1").write_to(root.path());
    let restored = Regsweep::new().args(["restore", "--all", "--root"]).arg(root.path()).run().expect_code(1);
    let old = oci_image("image 1", &[layer(0), layer(1)]);
    let said = format!("it was pushed again since, and nothing is replaced. The image is team/app@{}", old.digest());
    assert!(restored.stdout.contains(&said), "{}", restored.stdout);
    assert!(is_whole(root.path(), "team/app", &old) && is_whole(root.path(), "team/app", &new));
}
