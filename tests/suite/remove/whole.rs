//! Whole repositories: by name, and those in which nothing is left.

use std::fs;

use super::*;
use crate::support::layout::{self, blob_data, layer_link, revision_link, tag_current};
use crate::support::server::RealRegistry;
use crate::support::snapshot::{SeenKind, blobs_on_disk, snapshot};

fn directory(root: &Path, repository: &str) -> std::path::PathBuf {
    root.join(layout::repository(repository))
}

/// A configuration without a cache, as `--online` needs one.
fn config(root: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.yml");
    fs::write(&path, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display())).expect("written");
    (directory, path)
}

/// What the registry keeps, by name and content.
fn files(root: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let mut seen = snapshot(&root.join("docker"));
    seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
    seen.into_keys().map(|path| (path.clone(), fs::read(root.join("docker").join(&path)).expect("readable"))).collect()
}

fn items(outcome: &Outcome) -> Vec<serde_json::Value> {
    outcome.report()["remove"].as_array().expect("a list").clone()
}

#[test]
fn all_of_a_repository_goes_and_what_others_need_stays() {
    let root = store().into_tree().on_disk();
    let before = files(root.path());
    let run = || Regsweep::remove(root.path()).args(["team/app", "team/app:v1"]);
    let foreseen = run().dry().json().run().expect_code(0);
    assert_eq!(files(root.path()), before, "a dry run touches nothing");
    let whole = &items(&foreseen)[0];
    assert_eq!((&whole["goes"], &whole["directories_go"], &whole["tag"]), (&true.into(), &true.into(), &serde_json::Value::Null));
    let words = run().dry().run().expect_code(0).stdout;
    assert!(words.contains(": manifests\n"), "{words}");
    assert!(!words.contains("untagged revisions"), "its manifests have tags: {words}");
    let done = run().run().expect_code(0);
    assert_eq!(done.rows(), foreseen.rows(), "the real run does what the dry run said");
    assert!(!directory(root.path(), "team/app").exists());
    assert_eq!(listed(root.path(), "team"), names(&["v1"]), "it is another repository");
    let other = oci_image("other", &[layer(0), layer(8)]);
    let left: BTreeSet<String> = blobs_on_disk(root.path()).into_keys().collect();
    assert_eq!(left, other.reaches(), "a layer that both had stays");
    // The next runs miss nothing, also where most of a store was removed.
    assert_eq!(Regsweep::gc(root.path()).delete_untagged().run().expect_code(0).rows(), []);
    let again = Regsweep::remove(root.path()).arg("team/app").run().expect_code(2);
    assert!(again.stderr.contains("there is no repository team/app"), "{}", again.stderr);
}

#[test]
fn a_repository_in_another_one_stays_and_is_named() {
    let root = store().into_tree().on_disk();
    let done = Regsweep::remove(root.path()).arg("team").json().run().expect_code(0);
    assert_eq!(items(&done)[0]["nested"], serde_json::json!(["team/app"]));
    assert_eq!(listed(root.path(), "team/app"), names(&["v1", "v2", "v3", "multi", "signature"]));
    assert!(!directory(root.path(), "team/_manifests").exists() && !directory(root.path(), "team/_layers").exists());
    Regsweep::remove(root.path()).arg("team/app").args(["--allow-empty"]).run().expect_code(0);
    assert!(!directory(root.path(), "team").exists(), "nor is the directory around it left");
}

/// The last of a store goes by its name, with its blobs or without them, unless some of these show that more is missing.
#[test]
fn the_last_of_a_store_goes_when_it_is_named() {
    for flags in [&[][..], &["--no-collect"]] {
        let remove = |root: &Path| Regsweep::remove(root).args(["team", "team/app"]).args(flags).run();
        let root = store().into_tree().on_disk();
        let done = remove(root.path()).expect_code(0);
        assert!(!done.stdout.contains("stay"), "both go: {}", done.stdout);
        assert!(!directory(root.path(), "team").exists(), "{flags:?}");
        assert_eq!(blobs_on_disk(root.path()).is_empty(), flags.is_empty());
        let root = store().stray_blob(&layer(99)).into_tree().on_disk();
        let before = files(root.path());
        let refused = remove(root.path()).expect_code(2);
        assert!(refused.stderr.contains("--allow-empty"), "{flags:?}: {}", refused.stderr);
        assert!(files(root.path()) == before, "{flags:?}");
    }
}

/// Of a tag that names nothing no link comes back, and the report does not say that one does.
#[test]
fn what_cannot_be_restored_is_not_said_to_be_in_quarantine() {
    let empty = |tree: &mut Tree| {
        tree.remove(&tag_current("team/app", "v1")).remove(&layout::tag_history("team/app", "v1", image(1).digest()));
        tree.aged(days(3)).directory(layout::tag("team/app", "v1"));
    };
    let garbled = |tree: &mut Tree| _ = tree.aged(days(3)).file(tag_current("team/app", "v1"), "garbled");
    for built in [store().with(empty), store().with(garbled)] {
        let root = built.into_tree().on_disk();
        let run = |flags: &[&str]| Regsweep::remove(root.path()).arg("team/app:v1").args(flags).run().expect_code(0).stdout;
        let foreseen = run(&["--quarantine", "--dry-run"]);
        assert!(foreseen.contains("team/app:v1: would go; it names nothing"), "{foreseen}");
        let done = run(&["--quarantine"]);
        assert!(done.contains("team/app:v1: the tag named nothing") && !done.contains("team/app:v1: in quarantine"), "{done}");
        assert!(!done.contains("undoes it\n"), "{done}");
    }
}

/// A tag whose manifest is lost comes back as it was: a link to nothing is not what it lacks.
#[test]
fn a_ghost_tag_that_comes_back_lacks_its_manifest_alone() {
    let ghost = |tree: &mut Tree| {
        tree.remove(&blob_data(image(1).digest())).remove(&revision_link("team/app", image(1).digest()));
    };
    let root = store().with(ghost).into_tree().on_disk();
    Regsweep::remove(root.path()).args(["team/app:v1", "--quarantine"]).run();
    let restored = Regsweep::new().args(["restore", "--root"]).arg(root.path()).json().run().expect_code(1);
    let codes = restored.finding_codes();
    assert!(codes.contains(&"missing-manifest".into()) && !codes.contains(&"lost-revision".into()), "{codes:?}");
}

/// That is when people need it.
#[test]
fn what_is_damaged_goes_with_it() {
    let (v1, v2, v3) = (image(1), image(2), image(3));
    let damaged = |tree: &mut Tree| {
        tree.aged(days(3)).file(tag_current("team/app", "v1"), "");
        tree.file(tag_current("team/app", "v2"), "sha256:no digest");
        tree.remove(&tag_current("team/app", "v3"));
        tree.file(layer_link("team/app", &layer(1).digest), "");
        tree.file(layer_link("team/app", &layer(2).digest), "garbled");
        tree.file(revision_link("team/app", v1.digest()), "");
        tree.remove(&blob_data(v2.digest()));
        tree.file(blob_data(v3.digest()), "");
    };
    for flags in [&[][..], &["--quarantine"]] {
        let root = store().with(damaged).into_tree().on_disk();
        let refused = Regsweep::gc(root.path()).delete_untagged().dry().run();
        assert!(refused.stdout.contains("held-repository"), "{}", refused.stdout);
        let foreseen = Regsweep::remove(root.path()).arg("team/app").args(flags).dry().run().expect_code(0);
        let done = Regsweep::remove(root.path()).arg("team/app").args(flags).run().expect_code(0);
        assert_eq!(done.rows(), foreseen.rows(), "{flags:?}");
        assert!(!directory(root.path(), "team/app").exists(), "{flags:?}");
        assert_eq!(blobs_on_disk(root.path()).len(), oci_image("other", &[layer(0), layer(8)]).reaches().len(), "{flags:?}");
    }
    // A tag that names nothing goes by its own name, too, and all else stays.
    let root = store().with(|tree| _ = tree.aged(days(3)).file(tag_current("team/app", "v1"), "")).into_tree().on_disk();
    let refused = Regsweep::remove(root.path()).arg("team/app:v2").run().expect_code(2);
    assert!(refused.stderr.contains("cannot be understood"), "{}", refused.stderr);
    Regsweep::remove(root.path()).arg("team/app:v1").run().expect_code(0);
    assert_eq!(listed(root.path(), "team/app"), names(&["v2", "v3", "multi", "signature"]));
    assert!(root.path().join(revision_link("team/app", v1.digest())).exists(), "nobody knows that it was this one");
    // Beside a registry it could not be restored.
    let root = store().with(|tree| _ = tree.aged(days(3)).file(tag_current("team/app", "v1"), "x")).into_tree().on_disk();
    let before = files(root.path());
    for name in ["team/app", "team/app:v1"] {
        let (_directory, config) = config(root.path());
        let refused = Regsweep::remove_config(&config).args([name, "--online", "--rescue-for", "0s"]).run().expect_code(2);
        assert!(refused.stderr.contains("names nothing"), "{}", refused.stderr);
    }
    assert_eq!(files(root.path()), before);
}

/// What no registry puts there stays, and is named, and so do the directories around it.
#[test]
fn what_is_not_a_registrys_stays_and_is_named() {
    let places = [
        format!("{}/notes", layout::parent(&layer_link("team/app", &layer(1).digest))),
        format!("{}/_layers/README", layout::repository("team/app")),
        format!("{}/current/old", layout::tag("team/app", "v1")),
        format!("{}/_manifests/backup/link", layout::repository("team/app")),
    ];
    for place in places {
        let root = store().with(|tree| _ = tree.aged(days(3)).file(&*place, "mine")).into_tree().on_disk();
        let foreseen = Regsweep::remove(root.path()).arg("team/app").dry().json().run();
        let done = Regsweep::remove(root.path()).arg("team/app").json().run();
        assert_eq!((foreseen.code, done.code), (Some(0), Some(0)), "{place}: {}", done.stderr);
        assert_eq!(fs::read(root.path().join(&place)).expect("left"), b"mine");
        assert!(done.finding_codes().contains(&"unrecognised-entry".to_owned()), "{place}: {:?}", done.finding_codes());
        assert_eq!(items(&done)[0]["directories_go"], false, "{place}");
        assert!(!root.path().join(tag_current("team/app", "v1")).exists(), "{place}");
        assert!(!root.path().join(revision_link("team/app", image(1).digest())).exists(), "{place}");
        assert_eq!(done.report()["left"], 0, "{place}");
    }
}

#[test]
fn what_somebody_may_be_pushing_to_stays_whole() {
    let upload =
        |age| move |tree: &mut Tree| _ = tree.aged(age).upload("team/app", "0f6b9a8e-1111-4222-8333-444455556666", b"half");
    let young = |tree: &mut Tree| _ = tree.aged(minutes(5)).push("team/app", &image(9));
    for (built, expected) in [(store().with(upload(days(2))), "was begun and not ended"), (store().with(young), "too young")] {
        let root = built.into_tree().on_disk();
        let before = files(root.path());
        for flags in [&["--dry-run"][..], &[], &["--quarantine"], &["--no-collect"]] {
            let refused = Regsweep::remove(root.path()).arg("team/app").args(flags).run().expect_code(2);
            assert!(refused.stderr.contains(expected), "{flags:?}: {}", refused.stderr);
            assert_eq!(files(root.path()), before, "{flags:?}");
        }
    }
    // The registry itself gives an upload up after a week.
    let root = store().with(upload(days(8))).into_tree().on_disk();
    Regsweep::remove(root.path()).arg("team/app").run().expect_code(0);
    assert!(!directory(root.path(), "team/app").exists());
}

#[test]
fn what_is_behind_a_symbolic_link_stays() {
    let root = store().into_tree().on_disk();
    let elsewhere = directory(root.path(), "elsewhere");
    fs::rename(directory(root.path(), "team/app"), &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, directory(root.path(), "team/app")).expect("a link");
    let before = files(root.path());
    for name in ["team/app", "elsewhere"] {
        let refused = Regsweep::remove(root.path()).arg(name).run().expect_code(2);
        assert!(refused.stderr.contains("cannot be understood"), "{}", refused.stderr);
    }
    assert_eq!(files(root.path()), before);
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    is_finished_after_any_kill(&store().into_tree(), |root| {
        Regsweep::remove(root).args(["team/app", "--jobs", "1", "--assume-offline"])
    });
}

/// As a registry sees it: its catalogue, what others have, a restoration, a push; and beside one that takes pushes.
#[test]
fn the_registry_knows_it_no_more_and_serves_the_rest() {
    let mut real = RealRegistry::start();
    let images: Vec<Image> = (1..=2).map(|number| oci_image(&format!("{number}"), &[tar_layer(0), tar_layer(number)])).collect();
    for name in ["team", "team/app", "other"] {
        for (number, image) in (1..).zip(&images) {
            real.client().push_tag(name, &format!("v{number}"), image);
        }
    }
    let run = |real: &RealRegistry, names: &[&str]| Regsweep::remove_config(&real.config()).args(names).run().expect_code(0);
    real.stop();
    crate::support::tree::age(&real.root());
    run(&real, &["team"]);
    run(&real, &["team/app", "--quarantine"]);
    real.restart();
    assert_eq!(real.client().catalog(), names(&["other"]));
    real.client().pull("other", "v1").expect("kept");
    real.stop();
    Regsweep::new().arg("restore").arg(real.config()).run().expect_code(0);
    real.restart();
    assert_eq!(real.client().catalog(), names(&["other", "team/app"]));
    for tag in ["v1", "v2"] {
        real.client().pull("team/app", tag).expect("restored");
    }
    real.client().push_tag("team", "v1", &images[0]);
    real.client().pull("team", "v1").expect("pushed again");

    let beside = run(&real, &["other", "--online", "--rescue-for", "1s"]);
    assert!(beside.stdout.contains("goes on to list it"), "{}", beside.stdout);
    real.client().get_manifest("other", "v1").expect_status(404);
    assert!(real.client().catalog().contains("other"));
    real.client().pull("team/app", "v1").expect("kept");
}

/// Repositories without images.
mod pruned {
    use super::*;

    fn emptied() -> Registry {
        let mut built = store().repo("empty").aged(days(9)).pushed(&image(30)).tag("v1");
        built = built.with(|tree| {
            tree.aged(days(8)).delete_tag("empty", "v1");
            tree.delete_manifest("empty", image(30).digest());
            image(30).reaches().iter().for_each(|digest| _ = tree.delete_layer("empty", digest));
            tree.aged(days(9)).directory(format!("{}/_layers/sha256", layout::repository("bare/one")));
            tree.aged(days(9)).directory(format!("{}/_uploads", layout::repository("bare/one")));
        });
        built.repo("untagged/only").pushed(&image(31)).repo("pushing").with(|tree| {
            tree.aged(days(9)).upload("pushing", "0f6b9a8e-1111-4222-8333-444455556666", b"half");
            tree.aged(minutes(1)).directory(format!("{}/_layers/sha256", layout::repository("just/made")));
        })
    }

    fn there(root: &Path) -> BTreeSet<&'static str> {
        let all = ["empty", "bare", "bare/one", "untagged/only", "pushing", "just/made", "team", "team/app"];
        all.into_iter().filter(|name| directory(root, name).exists()).collect()
    }

    #[test]
    fn those_without_images_go_and_others_stay() {
        for (flags, gone) in [
            (&["--prune-empty"][..], &["empty", "bare", "bare/one"][..]),
            (&["--prune-empty", "-m"], &["empty", "bare", "bare/one", "untagged/only"]),
            (&["--prune-empty", "--uploads-older-than", "7d"], &["empty", "bare", "bare/one", "pushing"]),
            (&["--prune-empty", "--repository", "bare/*"], &["bare", "bare/one"]),
            (&["--prune-empty", "--quarantine"], &["empty", "bare", "bare/one"]),
            (&["-m"], &[]),
        ] {
            let root = emptied().into_tree().on_disk();
            let before = there(root.path());
            let foreseen = Regsweep::gc(root.path()).args(flags).dry().json().run().expect_code(0);
            assert_eq!(there(root.path()), before);
            let done = Regsweep::gc(root.path()).args(flags).json().run().expect_code(0);
            assert_eq!(done.rows(), foreseen.rows(), "{flags:?}");
            assert_eq!(&before - &there(root.path()), gone.iter().copied().collect(), "{flags:?}");
            let repositories = gone.iter().filter(|name| **name != "bare").count();
            assert_eq!(foreseen.report()["reclaimable"]["repositories"], repositories, "{flags:?}");
            assert_eq!(done.report()["removed"]["repositories"], repositories, "{flags:?}");
            // Nothing that went on its own is missed.
            Regsweep::gc(root.path()).delete_untagged().run().expect_code(0);
        }
    }

    #[test]
    fn a_registry_at_work_keeps_the_directories() {
        let root = emptied().into_tree().on_disk();
        let before = there(root.path());
        let (_directory, config) = config(root.path());
        let online = ["--prune-empty", "--online", "--rescue-for", "0s", "--ignore-birth-time"];
        Regsweep::gc_config(&config).args(online).run().expect_code(0);
        assert_eq!(there(root.path()), before);
    }

    #[test]
    fn a_run_that_is_killed_is_finished_by_the_next() {
        is_finished_after_any_kill(&emptied().into_tree(), |root| {
            Regsweep::gc(root).args(["--prune-empty", "-m", "--jobs", "1", "--assume-offline"])
        });
    }
}
