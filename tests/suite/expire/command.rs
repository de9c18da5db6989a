//! What each rule and option does, on small stores.

use super::*;
use crate::support::layout::{revision_link, tag_current};
use crate::support::snapshot::blobs_on_disk;

#[test]
fn the_last_tags_stay_and_what_only_the_others_need_goes() {
    let root = store().into_tree().on_disk();
    let before = snapshot(root.path());
    let last = ["--keep-last", "2", "--repository", "team/*"];
    let foreseen = Regsweep::expire(root.path()).args(last).dry().run().expect_code(0);
    assert_eq!(snapshot(root.path()), before, "a dry run touches nothing");
    assert_eq!(tags(&foreseen), names(&["team/app:v1", "team/app:v2"]));
    let bytes: u64 = blobs_on_disk(root.path()).values().sum();
    let done = Regsweep::expire(root.path()).args(last).json().run().expect_code(0);
    assert_eq!(done.rows(), foreseen.rows(), "the real run does what the dry run said");
    assert_eq!(bytes - blobs_on_disk(root.path()).values().sum::<u64>(), done.reclaimable_bytes(), "exact bytes");
    assert_eq!(listed(root.path(), "team/app"), names(&["v3", "v4"]));
    let gone = [1, 2].map(|number| layer(number).digest);
    assert!(
        gone.iter().all(|digest| done.blobs().contains(digest)) && done.blobs().len() == 6,
        "manifest, configuration, layer of each"
    );
    // What was untagged before stays, here and elsewhere.
    for (repository, number) in [("team/app", 6), ("lib", 7)] {
        let untagged = oci_image("untagged", &[layer(number)]);
        assert!(root.path().join(revision_link(repository, untagged.digest())).exists(), "{repository}");
    }
    assert_eq!(said(&done)["kept_counts"]["keep-newest"], 2);
    assert_eq!(said(&done)["dropped"].as_array().expect("some").len(), 2);
    let again = Regsweep::expire(root.path()).args(last).run().expect_code(0);
    assert_eq!(again.rows(), []);
}

#[test]
fn a_policy_says_which_tags_stay() {
    for (text, expected) in [
        (rule("**", "keep-newest = 1"), &["team/app:v1", "team/app:v2", "team/app:v3"][..]),
        (rule("team/*", "keep-newest = 1\nby = 'version'\nkeep-tags = ['v2']"), &["team/app:v1", "team/app:v3"]),
        (rule("team/**", "keep-younger-than = '60h'"), &["team/app:v1", "team/app:v2"]),
        (rule("team/*", "keep-newest = 0\ntags = ['v[12]']"), &["team/app:v1", "team/app:v2"]),
        (rule("team/*", "keep-newest = 0\ntags = ['v[12]']") + &rule("*/app", "keep-tags = ['v1']"), &["team/app:v2"]),
        (rule("team", "keep-newest = 1") + &rule("*", "keep-newest = 1"), &[]),
    ] {
        let root = store().into_tree().on_disk();
        let (_directory, path) = policy(&text);
        let outcome = Regsweep::expire(root.path()).arg("--policy").arg(&path).run().expect_code(0);
        assert_eq!(tags(&outcome), names(expected), "{text}");
        let left = names(&["v1", "v2", "v3", "v4"]);
        let gone: BTreeSet<String> = expected.iter().map(|name| name.replace("team/app:", "")).collect();
        assert_eq!(listed(root.path(), "team/app"), left.difference(&gone).cloned().collect(), "{text}");
        assert_eq!(listed(root.path(), "lib"), names(&["old"]));
    }
}

/// Not a link goes of a repository that no rule names, nor what one leads to, be it garbage or not.
#[test]
fn repositories_that_no_rule_names_are_left_alone() {
    let built = store().with(|tree| {
        tree.aged(days(30))
            .layer("lib", &layer(30))
            .layer_by_sha512("lib", &layer(31))
            .layer("team/app", &layer(32))
            .blob(&layer(33));
        let lost = oci_image("lost", &[layer(34)]);
        tree.blob(&lost.manifest).file(crate::support::layout::tag_history("lib", "old", lost.digest()), lost.digest());
    });
    let root = built.into_tree().on_disk();
    let lib = root.path().join(crate::support::layout::repository("lib"));
    let before = snapshot(&lib);
    let outcome = Regsweep::expire(root.path()).args(["--keep-last", "2", "--repository", "team/*"]).run().expect_code(0);
    assert_eq!(snapshot(&lib), before);
    let gone = outcome.blobs();
    for stays in [layer(30).digest, layer(31).digest, oci_image("lost", &[layer(34)]).digest().to_owned()] {
        assert!(!gone.contains(&stays), "{stays}");
    }
    for goes in [layer(32).digest, layer(33).digest] {
        assert!(gone.contains(&goes), "{goes}");
    }
}

#[test]
fn untagged_revisions_go_where_a_rule_says_so() {
    let root = store().into_tree().on_disk();
    let (_directory, path) = policy(&rule("team/*", "untagged-older-than = '8d'"));
    let outcome = Regsweep::expire(root.path()).arg("--policy").arg(&path).run().expect_code(0);
    let untagged = oci_image("untagged", &[layer(6)]);
    assert_eq!(
        outcome.rows_of("revision").iter().map(|row| row.digest.clone()).collect::<Vec<_>>(),
        [Some(untagged.digest().to_owned())]
    );
    assert_eq!(tags(&outcome), names(&[]));
    let root = store().into_tree().on_disk();
    let (_directory, path) = policy(&rule("team/*", "untagged-older-than = '10d'"));
    assert_eq!(Regsweep::expire(root.path()).arg("--policy").arg(&path).run().expect_code(0).rows(), []);
}

#[test]
fn what_cannot_be_understood_stops_it_before_anything_is_changed() {
    let root = store().into_tree().on_disk();
    let before = snapshot(&root.path().join("docker"));
    let refused = |run: Regsweep, expected: &str| {
        let outcome = run.run().expect_code(2);
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
        assert_eq!(snapshot(&root.path().join("docker")), before);
    };
    let of = |text: &str| {
        let (directory, path) = policy(text);
        (directory, Regsweep::expire(root.path()).arg("--policy").arg(path))
    };
    let (_one, run) = of(&rule("**", "keep-newst = 1"));
    refused(run, "line 3, `keep-newst = 1`: unknown field");
    let (_one, run) = of("");
    refused(run, "no [[rule]]");
    let (_one, run) = of(&rule("**", "keep-newest = 0"));
    refused(run, "the rules drop every tag of lib, and of 1 other repository");
    refused(Regsweep::expire(root.path()), "--policy");
    refused(Regsweep::expire(root.path()).args(["--repository", "x", "--keep-last", "1", "--policy", "p"]), "--policy");
    refused(Regsweep::expire(root.path()).args(["--policy", "/nowhere"]), "/nowhere");
    refused(Regsweep::expire(root.path()).args(["--keep-last", "1", "--repository", "[x"]), "expected a pattern");
    let lists = [
        ("", "is empty"),
        ("<none>\n", "<none> is no reference"),
        ("other:1\nlib:2\n", "none of 2 references"),
        ("team/app:v1\nbad one:\n", "line 2"),
    ];
    for (list, expected) in lists {
        let (_one, path) = policy(list);
        refused(Regsweep::expire(root.path()).args(["--keep-last", "1", "--protect"]).arg(path), expected);
    }
    // Standard input is closed here, as that of a job whose first program failed.
    refused(Regsweep::expire(root.path()).args(["--keep-last", "1", "--protect", "-"]), "--protect - is empty");
}

#[test]
fn the_brake_for_repositories_without_tags_has_a_flag_of_its_own() {
    let root = store().into_tree().on_disk();
    let (_directory, path) = policy(&rule("lib", "keep-newest = 0"));
    let run = || Regsweep::expire(root.path()).arg("--policy").arg(&path);
    let dry = run().dry().run().expect_code(2);
    assert!(dry.stdout.contains("would stop"), "{}", dry.stdout);
    run().arg("--allow-empty").run().expect_code(2);
    let done = run().arg("--allow-all-tags").run().expect_code(0);
    assert_eq!(tags(&done), names(&["lib:old"]));
    assert_eq!(listed(root.path(), "lib"), names(&[]));
}

#[test]
fn what_is_in_use_stays_by_tag_by_digest_and_by_what_is_in_it() {
    let child = oci_image("child", &[layer(20)]);
    let both = index(&[child.clone(), oci_image("other child", &[layer(21)])]);
    let built =
        || store().repo("multi").aged(days(40)).pushed(&both).tag("both").aged(days(3)).image("new", &[layer(22)]).tag("new");
    let image = oci_image("image 1", &[layer(0), layer(1)]);
    let config = image.blobs[0].digest.clone();
    for (list, kept) in [
        ("team/app:v1".to_owned(), "team/app:v1"),
        ("registry.example:5000/team/app:v1".into(), "team/app:v1"),
        (format!("docker-pullable://registry.example/elsewhere@{}", image.digest()), "team/app:v1"),
        (format!("x:1@{}", image.digest()), "team/app:v1"),
        (config, "team/app:v1"),
        (child.digest().to_owned(), "multi:both"),
        (layer(20).digest, "multi:both"),
    ] {
        let root = built().into_tree().on_disk();
        let (_directory, path) = policy(&format!("# pods\n{list} gone:1\n"));
        let run = Regsweep::expire(root.path()).args(["--keep-last", "1", "--protect"]).arg(&path);
        let outcome = run.json().run().expect_code(0);
        let mut expected = names(&["team/app:v1", "team/app:v2", "team/app:v3", "multi:both"]);
        assert!(expected.remove(kept));
        assert_eq!(tags(&outcome), expected, "{list}");
        let notes = said(&outcome)["notes"].to_string();
        assert!(notes.contains("gone:1 is in use and not in the store"), "{notes}");
        assert_eq!(said(&outcome)["kept_counts"]["protected"], 1);
    }
}

#[test]
fn tags_that_share_a_push_time_go_by_none() {
    let mut built = registry().repo("copied").aged(days(50));
    for number in 1..=3_u64 {
        built = built.image(&format!("{number}"), &[layer(number)]).tag(&format!("1.{number}"));
    }
    let root = built.repo("other").aged(days(2)).image("x", &[layer(9)]).tag("x").into_tree().on_disk();
    let outcome = Regsweep::expire(root.path()).args(["--keep-last", "1"]).json().run().expect_code(0);
    assert_eq!(outcome.rows(), []);
    let notes = said(&outcome)["notes"].to_string();
    assert!(notes.contains("no tag of copied goes by time"), "{notes}");
    let (_directory, path) = policy(&rule("copied", "keep-newest = 1\nby = 'version'"));
    let outcome = Regsweep::expire(root.path()).arg("--policy").arg(path).run().expect_code(0);
    assert_eq!(tags(&outcome), names(&["copied:1.1", "copied:1.2"]));
}

#[test]
fn rules_that_match_nothing_are_said() {
    let root = store().into_tree().on_disk();
    let text = rule("nowhere/*", "keep-newest = 1") + &rule("lib", "keep-newest = 1\ntags = ['release-*']");
    let (_directory, path) = policy(&text);
    let outcome = Regsweep::expire(root.path()).arg("--policy").arg(path).run().expect_code(0);
    assert!(outcome.stdout.contains("rule 1 (repositories nowhere/*) names no repository"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("rule 2 (repositories lib, tags release-*) is about no tag"), "{}", outcome.stdout);
}

/// What is too young stays, and so does what lies in a repository that is held. Names that nobody should have are names.
#[test]
fn young_tags_held_repositories_and_odd_names_are_left_alone() {
    let odd = "we\u{1b}[31mird";
    let tree = store().with(|tree| {
        tree.touch(&tag_current("team/app", "v1"), minutes(5));
        let digest = oci_image("other", &[layer(0), layer(8)]).digest().to_owned();
        tree.aged(days(20)).tag("lib", "older", &digest);
        tree.file(tag_current("lib", "garbled"), "sha256:12");
        tree.file(tag_current(odd, "x"), digest);
    });
    let root = tree.into_tree().on_disk();
    let outcome = Regsweep::expire(root.path()).args(["--keep-last", "1"]).arg("--allow-all-tags").run().expect_code(1);
    assert_eq!(tags(&outcome), names(&["team/app:v2", "team/app:v3", "team/app:v4"]));
    assert!(!outcome.stdout.contains('\u{1b}'), "{}", outcome.stdout);
    assert_eq!(listed(root.path(), "lib"), names(&["old", "older", "garbled"]));
    assert_eq!(listed(root.path(), odd), names(&["x"]));
}

/// Killed at any removal, a run leaves nothing that leads to nothing, and the next one comes to the same end.
#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    is_finished_after_any_kill(&store().into_tree(), |root| {
        Regsweep::expire(root).args(["--keep-last", "2", "--jobs", "1", "--assume-offline"])
    });
}
