//! What goes and what is refused, on small stores.

use super::*;
use crate::support::layout::{blob_data, revision_link, tag_current};
use crate::support::snapshot::{SeenKind, Snapshot, blobs_on_disk};

/// All that is the registry's, with times.
fn registry_files(root: &Path) -> Snapshot {
    snapshot(&root.join("docker"))
}

#[test]
fn what_is_named_goes_with_what_only_it_needs() {
    let root = store().into_tree().on_disk();
    let before = registry_files(root.path());
    let run = || Regsweep::remove(root.path()).args(["team/app:v1", "team/app:multi", "team/app:v1"]);
    let foreseen = run().dry().json().run().expect_code(0);
    assert_eq!(registry_files(root.path()), before, "a dry run touches nothing");
    assert_eq!(tags(&foreseen), names(&["team/app:v1", "team/app:multi"]));
    let items = foreseen.report()["remove"].as_array().expect("a list").clone();
    assert_eq!(items.len(), 2, "each once");
    assert!(items.iter().all(|item| item["goes"] == true && item["manifest_goes"] == true), "{items:?}");
    let done = run().run().expect_code(0);
    assert_eq!(done.rows(), foreseen.rows(), "the real run does what the dry run said");
    assert_eq!(listed(root.path(), "team/app"), names(&["v2", "v3", "signature"]));
    for digest in [image(1).digest(), child().digest(), layer(1).digest.as_str(), layer(5).digest.as_str()] {
        assert!(!root.path().join(blob_data(digest)).exists(), "{digest}");
    }
    // What others need, what was untagged before and other repositories stay.
    let untagged = oci_image("untagged", &[layer(7)]);
    assert!(root.path().join(revision_link("team/app", untagged.digest())).exists());
    assert!(root.path().join(blob_data(&layer(0).digest)).exists());
    assert_eq!(listed(root.path(), "team"), names(&["v1"]));
    // The next run misses nothing.
    assert_eq!(Regsweep::gc(root.path()).run().expect_code(0).rows(), []);
}

#[test]
fn manifests_go_by_digest_unless_something_that_stays_needs_them() {
    let untagged = oci_image("untagged", &[layer(7)]);
    let root = store().into_tree().on_disk();
    let before = registry_files(root.path());
    let (one, two, three) = (by_digest(&image(1)), by_digest(&child()), by_digest(&image(3)));
    for (asked, expected) in [
        (vec![one.clone()], vec!["needed by the tag team/app:v1".to_owned()]),
        (vec![two.clone()], vec![format!("the index {}", by_digest(&index(&[child()])))]),
        (vec![three.clone(), "team/app:v3".into()], vec![format!("its referrer {}", by_digest(&signature()))]),
        // By its only tag the image goes as well.
        (
            vec!["team/app:v3".into()],
            vec![format!(
                "the image of team/app:v3 is needed by its referrer {} (the tag team/app:signature)",
                by_digest(&signature())
            )],
        ),
        (vec![one.clone(), two.clone()], vec!["the tag team/app:v1".to_owned(), "the index".to_owned()]),
    ] {
        for flags in [&["--dry-run"][..], &[], &["--quarantine"]] {
            let refused = Regsweep::remove(root.path()).args(&asked).args(flags).run().expect_code(2);
            assert!(expected.iter().all(|words| refused.stderr.contains(words)), "{asked:?}: {}", refused.stderr);
            assert!(registry_files(root.path()) == before, "{asked:?}");
        }
    }
    // With what needs it, each goes.
    let all = [by_digest(&untagged), one, two, three];
    let done =
        Regsweep::remove(root.path()).args(&all).args(["v1", "multi", "v3", "signature"].map(|tag| format!("team/app:{tag}")));
    done.run().expect_code(0);
    assert_eq!(listed(root.path(), "team/app"), names(&["v2"]));
    for image in [image(1), child(), image(3), signature(), untagged] {
        assert!(!root.path().join(revision_link("team/app", image.digest())).exists());
    }
}

/// An image that goes by its tags takes no subject from a referrer that stays, also as the platform of an index, and where the referrer is in
/// a list that clients tag for a registry that has none of its own.
#[test]
fn tags_go_unless_a_referrer_that_stays_has_its_subject_there() {
    let (one, two) = (oci_image("one", &[layer(30)]), oci_image("two", &[layer(31)]));
    let (both, attached) = (index(&[one.clone(), two.clone()]), oci_image("attached", &[layer(32)]).referring_to(&one));
    let list = index(std::slice::from_ref(&attached));
    let fallback = one.digest().replace(':', "-");
    let built = registry().repo("a").pushed(&both).tag("v1").tag("v2").pushed(&attached).pushed(&list).tag(&fallback);
    let root = built.pushed(&oci_image("other", &[layer(33)])).tag("other").into_tree().on_disk();
    let run = |words: &[&str]| Regsweep::remove(root.path()).args(words).run();
    let refused = run(&["a:v1", "a:v2"]).expect_code(2);
    let expected = format!("its referrer a@{} (the tag a:{fallback})", attached.digest());
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    // With another tag the image stays, and with the list all of it goes.
    run(&["a:v1"]).expect_code(0);
    run(&["a:v2", &format!("a:{fallback}")]).expect_code(0);
    assert_eq!(listed(root.path(), "a"), names(&["other"]));
    for gone in [&one, &two, &both, &attached, &list] {
        assert!(!root.path().join(revision_link("a", gone.digest())).exists());
    }
    // A subject that is lost already is nothing that could be taken from it.
    let built = registry()
        .repo("a")
        .pushed(&one)
        .tag("v1")
        .pushed(&attached)
        .tag("signature")
        .repo("b")
        .image("b", &[layer(40)])
        .tag("v1");
    let root = built.with(|tree| _ = tree.remove(&blob_data(one.digest()))).into_tree().on_disk();
    let run = Regsweep::remove(root.path()).arg("a:v1").run();
    assert!(matches!(run.code, Some(0 | 1)), "{}", run.stderr);
    assert_eq!(listed(root.path(), "a"), names(&["signature"]));
}

/// A name that is not there may be a typing error: then nothing goes, and the names that may be anything are escaped.
#[test]
fn all_of_it_goes_or_nothing_does() {
    let root = store().into_tree().on_disk();
    let before = registry_files(root.path());
    let digest = format!("sha256:{}", "0".repeat(64));
    for (wrong, expected) in [
        ("team/app:v9".to_owned(), "team/app:v9: there is no such tag"),
        ("team/ap:v1".to_owned(), "no repository team/ap for team/ap:v1"),
        ("../team/app:v1".to_owned(), "no repository"),
        ("team/app:..".to_owned(), "no such tag"),
        ("team/app:*".to_owned(), "no such tag"),
        ("team/*:v1".to_owned(), "no repository"),
        ("team/app:\u{1b}[2J".to_owned(), "team/app:\\u{1b}[2J: there is no such tag"),
        (format!("team/app@{digest}"), "no such manifest"),
        ("team/ap".to_owned(), "no repository team/ap for team/ap"),
        (digest.clone(), "names no repository"),
    ] {
        let run = Regsweep::remove(root.path()).args(["team/app:v1", &wrong]).run().expect_code(2);
        assert!(run.stderr.contains(expected) && !run.stderr.contains('\u{1b}'), "{wrong}: {}", run.stderr);
        assert!(registry_files(root.path()) == before, "{wrong}");
    }
}

/// A tag that names nothing is listed by the registry and answered with 404. It goes as any other.
#[test]
fn damaged_tags_go() {
    let image = image(1);
    let digest = image.digest().to_owned();
    let ghost = store().with(|tree| {
        tree.remove(&blob_data(&digest)).remove(&revision_link("team/app", &digest));
    });
    let without_current = store().with(|tree| {
        tree.remove(&tag_current("team/app", "v1"));
    });
    for (what, built) in [("its manifest is lost", ghost), ("without current", without_current)] {
        let root = built.into_tree().on_disk();
        let run = Regsweep::remove(root.path()).arg("team/app:v1").run();
        assert!(matches!(run.code, Some(0 | 1)), "{what}: {}", run.stderr);
        assert_eq!(listed(root.path(), "team/app"), names(&["v2", "v3", "multi", "signature"]), "{what}");
    }
}

#[test]
fn nothing_goes_of_a_repository_that_cannot_be_understood_nor_what_is_young() {
    let garbled = store().with(|tree| {
        tree.file(tag_current("team/app", "v2"), "garbled");
    });
    let young = registry().repo("team/app").young().pushed(&image(1)).tag("v1");
    for (built, expected) in [(garbled, "cannot be understood (garbled-link"), (young, "team/app:v1 stays: it is too young")] {
        let root = built.into_tree().on_disk();
        let before = registry_files(root.path());
        let foreseen = Regsweep::remove(root.path()).arg("team/app:v1").dry().run();
        assert!(foreseen.stdout.contains(expected), "{}", foreseen.stdout);
        let run = Regsweep::remove(root.path()).arg("team/app:v1").run().expect_code(2);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert!(registry_files(root.path()) == before, "{expected}");
    }
}

/// As registries before 3.1 write a link: it is empty for a moment. What is so for longer is damage, and what is damaged beside it, too.
#[test]
fn beside_a_push_that_is_under_way_it_says_to_try_again_later() {
    let damaged = |tree: &mut Tree| drop_in(tree, "garbled");
    for (is_young, is_damaged, expected, other) in [
        (true, false, "under way (work-under-way", "try again when it has ended"),
        (true, true, "cannot be understood", "repair that first"),
        (false, false, "cannot be understood (empty-link", "repair that first"),
    ] {
        let built = if is_damaged { store().with(damaged) } else { store() };
        let root = built.into_tree().on_disk();
        let link = root.path().join(tag_current("team/app", "v2"));
        std::fs::write(&link, "").expect("emptied");
        if !is_young {
            age(root.path());
        }
        let before = registry_files(root.path());
        for flags in [&[][..], &["--quarantine"]] {
            let run = Regsweep::remove(root.path()).arg("team/app:v1").args(flags).run().expect_code(2);
            assert!(run.stderr.contains(expected) && run.stderr.contains(other), "{is_young}: {}", run.stderr);
            assert!(registry_files(root.path()) == before, "{expected}");
        }
    }
}

fn drop_in(tree: &mut Tree, text: &str) {
    tree.file(tag_current("team/app", "v3"), text);
}

/// The brakes are for what nobody meant.
#[test]
fn the_last_images_may_go_and_no_later_run_is_stopped_by_that() {
    let tree = registry().repo("a").pushed(&image(1)).tag("v1").pushed(&image(2)).tag("v2").into_tree();
    let root = tree.on_disk();
    Regsweep::gc(root.path()).run().expect_code(0);
    Regsweep::remove(root.path()).args(["a:v1", "a:v2"]).run().expect_code(0);
    assert_eq!(listed(root.path(), "a"), names(&[]));
    Regsweep::new().args(["garbage-collect", "--ignore-birth-time", "--root"]).arg(root.path()).run().expect_code(0);
}

/// Blobs are left to the next collection, which knows whose they were.
#[test]
fn blobs_may_be_left_to_a_later_run() {
    let mut built = registry().repo("a");
    for number in 1..=6_u64 {
        built = built.pushed(&image(number)).tag(&format!("v{number}"));
    }
    let tree = built.into_tree();
    let all: Vec<String> = (1..=5).map(|number| format!("a:v{number}")).collect();
    let (root, whole) = (tree.on_disk(), tree.on_disk());
    Regsweep::remove(whole.path()).args(&all).run().expect_code(0);
    let before = blobs_on_disk(root.path());
    let done = Regsweep::remove(root.path()).args(&all).arg("--no-collect").run().expect_code(0);
    assert_eq!((done.blobs().len(), blobs_on_disk(root.path()) == before), (0, true));
    assert_eq!(listed(root.path(), "a"), names(&["v6"]));
    Regsweep::new().args(["garbage-collect", "--ignore-birth-time", "--root"]).arg(root.path()).run().expect_code(0);
    assert_eq!(blobs_on_disk(root.path()), blobs_on_disk(whole.path()));
}

#[test]
fn restore_brings_back_what_was_quarantined() {
    let root = store().into_tree().on_disk();
    let files = || {
        let mut seen = snapshot(&root.path().join("docker"));
        seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
        seen.into_keys().collect::<BTreeSet<_>>()
    };
    let before = files();
    Regsweep::remove(root.path()).args(["team/app:v1", "team/app:multi", "--quarantine"]).run().expect_code(0);
    assert_eq!(listed(root.path(), "team/app"), names(&["v2", "v3", "signature"]));
    let restored = Regsweep::new().args(["restore", "--root"]).arg(root.path()).run().expect_code(0);
    assert_eq!(files(), before, "{}", restored.stdout);
    // What was restored counts as young.
    let again = Regsweep::remove(root.path()).arg("team/app:v1").run().expect_code(2);
    assert!(again.stderr.contains("restored lately"), "{}", again.stderr);
}

/// Where something cannot be removed, the report says so, and the same command comes to the same end.
#[test]
fn a_run_in_which_a_removal_fails_is_finished_by_the_next() {
    if !has_strace() {
        return;
    }
    let tree = store().into_tree();
    let run = |root: &Path| Regsweep::remove(root).args(["team/app:v1", "team/app:multi", "--jobs", "1", "--assume-offline"]);
    let whole = tree.on_disk();
    run(whole.path()).run().expect_code(0);
    let files = |root: &Path| {
        let mut seen = registry_files(root);
        seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
        seen
    };
    let mut failed = 0;
    for nth in (1..50).step_by(3) {
        let root = tree.on_disk();
        let before = registry_files(root.path());
        let outcome = run(root.path()).json().injected(&format!("unlinkat:error=EIO:when={nth}")).run();
        match outcome.code {
            Some(0 | 1) => assert!(files(root.path()) == files(whole.path()), "failure {nth}: {}", outcome.stderr),
            Some(2) => assert!(registry_files(root.path()) == before, "failure {nth}: {}", outcome.stderr),
            code => assert_eq!(code, Some(3), "failure {nth}: {}", outcome.stderr),
        }
        failed += u64::from(outcome.code == Some(3));
        assert_eq!(outcome.report()["command"], "remove", "failure {nth}");
        let again = run(root.path()).run();
        assert!(matches!(again.code, Some(0 | 1)), "failure {nth}: {}", again.stderr);
        assert!(files(root.path()) == files(whole.path()), "failure {nth}");
    }
    assert!(failed > 5, "{failed}");
}

/// Killed at any removal, a run leaves no link to nothing, and the same command comes to the same end.
#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    let untagged = by_digest(&oci_image("untagged", &[layer(7)]));
    let names = ["team/app:v1", "team/app:multi", &untagged];
    is_finished_after_any_kill(&store().into_tree(), |root| {
        Regsweep::remove(root).args(names).args(["--jobs", "1", "--assume-offline"])
    });
}
