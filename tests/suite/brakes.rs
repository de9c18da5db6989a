//! What stops a collection of a store that is not whole, and is used meanwhile: what is young dilutes no loss, and proves nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::layout::{repository, tag_current, tags};
use crate::support::server::Settings;
use crate::support::*;
use crate::writers::with_garbage;

const MINUTE: Duration = Duration::from_secs(60);

/// Without the flags that lift brakes for the small stores of other tests.
fn bare(root: &Path, flags: &[&str]) -> Regsweep {
    Regsweep::new().args(["garbage-collect", "--root"]).arg(root).args(flags)
}

#[track_caller]
fn is_stopped(root: &Path, flags: &[&str], said: &[&str]) {
    let before = snapshot(&root.join("docker"));
    let refused = bare(root, flags).run().expect_code(2);
    for said in said {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert_eq!(snapshot(&root.join("docker")), before, "nothing was touched");
}

/// Images of two layers, each in a repository of its own and under a tag of this name.
fn images(store: Registry, names: std::ops::Range<u64>, prefix: &str, tag: &str) -> Registry {
    names.fold(store, |store, name| {
        let layers = [layer(2 * name), layer(2 * name + 1)];
        store.repo(&format!("{prefix}{name}")).image(&format!("{prefix}{name}"), &layers).tag(tag)
    })
}

fn lose(root: &Path, path: &str) {
    fs::remove_dir_all(root.join(path)).expect("it was there");
}

fn lose_repositories(root: &Path, names: std::ops::Range<u64>, prefix: &str) {
    names.for_each(|name| lose(root, &repository(&format!("{prefix}{name}"))));
}

#[test]
fn young_blobs_dilute_no_loss() {
    for young in [14, 20, 60] {
        let store = images(registry(), 0..12, "lost", "v1").aged_image(200, 120 * MINUTE);
        let root = images(store.young(), 300..300 + young, "ci", "v1").on_disk();
        lose_repositories(root.path(), 0..12, "lost");
        // 48 blobs of the 52 that are old.
        is_stopped(root.path(), &[], &["48 blobs of 52 that are old, 93%", "--allow-unlinked 93%"]);
        let dry = bare(root.path(), &["--dry-run"]).run().expect_code(2);
        assert!(dry.stdout.contains("48 blobs"), "{}", dry.stdout);
        is_stopped(root.path(), &["--allow-unlinked", "92%"], &["--allow-unlinked 93%"]);
        bare(root.path(), &["--allow-unlinked", "93%"]).run().expect_code(0);
    }
    // Where what is old and kept is more than half, nothing is lost: there are fewer repositories to collect.
    let store = images(images(registry(), 0..12, "kept", "v1"), 100..111, "lost", "v1");
    let root = images(store.young(), 300..330, "ci", "v1").on_disk();
    lose_repositories(root.path(), 100..111, "lost");
    bare(root.path(), &[]).run().expect_code(0);
}

/// What is large counts by its bytes.
#[test]
fn young_bytes_dilute_no_loss() {
    let large = |name: u64| Content::new(vec![name as u8; 50_000]);
    let store = (0..5).fold(images(registry(), 0..5, "kept", "v1"), |store, name| {
        store.repo("lost").image(&format!("large{name}"), &[large(name)])
    });
    let store = (100..110).fold(store.young().repo("new"), |store, name| store.image(&format!("large{name}"), &[large(name)]));
    let root = store.on_disk();
    lose(root.path(), &repository("lost"));
    is_stopped(root.path(), &[], &["15 blobs of 35 that are old"]);
}

/// However few are lost: neither fresh pushes, nor what manifests state of sizes, nor a short minimum age make up for them.
#[test]
fn a_few_blobs_that_are_lost_are_diluted_by_nothing() {
    let large = |name: u64| Content::new(vec![name as u8; 500_000]);
    let store = || images(registry(), 0..2, "kept", "v1").repo("lost").image("lost", &[large(1), large(2)]).tag("v1");
    let huge = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[{"digest":"{}","size":9000000000000000000}]}"#;
    let pushes: [(&str, &[&str], Push<'_>); 5] = [
        ("nothing", &[], &|store| store),
        ("a larger image", &[], &|store| store.young().repo("new").image("new", &[Content::new(vec![9; 4_000_000])]).tag("v1")),
        ("sizes that are stated", &[], &|store| {
            let small = layer(700);
            let manifest = huge.replace("{}", &small.digest);
            let json = serde_json::from_str(&manifest).expect("JSON");
            let image = Image::from_json("application/vnd.oci.image.manifest.v1+json", json, vec![small], Vec::new());
            store.repo("new").pushed(&image).tag("v1")
        }),
        ("pushed just now", &["--min-age", "0s"], &|store| images(store.aged(Duration::ZERO), 500..530, "ci", "v1")),
        ("pushed within minutes", &["--min-age", "5s"], &|store| images(store.aged(10 * MINUTE), 500..530, "ci", "v1")),
    ];
    for (what, flags, push) in pushes {
        let root = push(store()).on_disk();
        lose(root.path(), &repository("lost"));
        let flags = [flags, &["--ignore-birth-time"]].concat();
        let before = snapshot(&root.path().join("docker"));
        let refused = bare(root.path(), &flags).run().expect_code(2);
        assert!(
            refused.stderr.contains("4 blobs of 12 that are old") || refused.stderr.contains("4 blobs of 14"),
            "{what}: {}",
            refused.stderr
        );
        assert_eq!(snapshot(&root.path().join("docker")), before, "{what}");
    }
    // Seven old blobs are too few to say anything, however many are young.
    let few = images(registry(), 0..1, "kept", "v1").stray_blob(&layer(80)).stray_blob(&layer(81)).stray_blob(&layer(82));
    let root = images(few.young(), 500..501, "new", "v1").on_disk();
    bare(root.path(), &[]).run().expect_code(0);
}

/// What is pushed to a store beside what is lost.
type Push<'a> = &'a dyn Fn(Registry) -> Registry;

/// Blobs are lost, not links: what the missing manifests name is unknown until they are back.
#[test]
fn missing_manifests_stop_a_run() {
    let lose_manifests = |root: &Path, count: usize| {
        let mut lost = 0;
        for entry in walkdir::WalkDir::new(root.join("docker/registry/v2/repositories")).sort_by_file_name() {
            let entry = entry.expect("listable");
            let path = entry.path().to_string_lossy().into_owned();
            let Some((_, digest)) = path.split_once("/_manifests/revisions/sha256/") else { continue };
            if lost < count && !digest.contains('/') {
                lose(root, &format!("docker/registry/v2/blobs/sha256/{}/{digest}", &digest[..2]));
                lost += 1;
            }
        }
        assert_eq!(lost, count);
    };
    for flags in [&[][..], &["-m"], &["--quarantine"], &["-m", "--quarantine", "--min-age", "0s"]] {
        for (images_stored, lost, share) in
            [(12, 6, Some("6 of 13 revisions, 47%")), (12, 4, Some("31%")), (12, 3, None), (60, 6, None)]
        {
            let store = images(registry().stray_blob(&layer(900)), 0..images_stored, "app", "v1");
            let root = images(store.young(), 500..501, "new", "v1").on_disk();
            lose_manifests(root.path(), lost);
            let before = snapshot(&root.path().join("docker"));
            let run =
                |more: &[&str]| bare(root.path(), &[flags, &["--ignore-birth-time", "--allow-unlinked", "100%"], more].concat());
            if let Some(said) = share {
                let refused = run(&[]).run().expect_code(2);
                assert!(refused.stderr.contains(said), "{flags:?}: {}", refused.stderr);
                assert!(refused.stderr.contains("--allow-missing"), "{}", refused.stderr);
                assert_eq!(snapshot(&root.path().join("docker")), before);
                run(&["--allow-missing", "5%"]).run().expect_code(2);
                run(&["--allow-missing", "50%"]).run().expect_code(1);
            } else {
                run(&[]).run().expect_code(1);
            }
        }
    }
}

/// A registry that was made read-only took pushes before, and nothing is too young to go by then.
#[test]
fn what_was_pushed_before_the_registry_became_read_only_dilutes_nothing() {
    let registry_at_work = with_garbage(Settings::read_only());
    let root = registry_at_work.root();
    let store = images(registry(), 50..62, "lost", "v1").aged_image(200, 120 * MINUTE);
    images(store.young(), 300..330, "ci", "v1").into_tree().write_to(&root);
    lose_repositories(&root, 50..62, "lost");
    let run = Regsweep::new().arg("garbage-collect").arg(registry_at_work.config());
    let refused = run.run().expect_code(2);
    assert!(refused.stderr.contains("48 blobs of 52 that are old"), "{}", refused.stderr);
}

/// Nor does anything that was pushed within the hour show that the rest is whole, where nothing is too young to go.
#[test]
fn what_is_pushed_to_a_registry_before_it_is_read_only_proves_nothing() {
    let registry_at_work = with_garbage(Settings::read_only());
    let root = registry_at_work.root();
    lose(&root, "docker");
    let store = images(registry(), 0..2, "lost", "v1");
    images(store.aged(5 * MINUTE), 500..501, "new", "v1").into_tree().write_to(&root);
    lose_repositories(&root, 0..2, "lost");
    let gc = |flags: &[&str]| {
        Regsweep::new().arg("garbage-collect").arg(registry_at_work.config()).arg("--ignore-birth-time").args(flags).run()
    };
    let refused = gc(&[]).expect_code(2);
    assert!(refused.stderr.contains("no repository needs any that is older than an hour"), "{}", refused.stderr);
    let stopped = gc(&["--dry-run"]).expect_code(2).stdout;
    assert!(stopped.contains("would stop: once nothing stops it, a run without --dry-run frees"), "{stopped}");
    gc(&["--dry-run", "--allow-empty"]).expect_code(0);

    lose(&root, "docker");
    let untagged =
        (0..4).fold(registry(), |store, name| store.repo(&format!("app{name}")).image(&format!("{name}"), &[layer(name)]));
    images(untagged.aged(5 * MINUTE), 500..501, "new", "v1").into_tree().write_to(&root);
    let refused = gc(&["-m"]).expect_code(2);
    assert!(refused.stderr.contains("4 of 4 repositories with images have no tag older than an hour"), "{}", refused.stderr);
    // What is all new has nothing to lose.
    lose(&root, "docker");
    let new = registry().aged(5 * MINUTE).stray_blob(&layer(1));
    images(new, 500..501, "new", "v1").into_tree().write_to(&root);
    gc(&["-m"]).expect_code(0);
}

/// `_manifests` is lost in every repository, `_layers` is not, and one image was pushed to each since.
#[test]
fn layers_of_lost_manifests_are_no_garbage() {
    let lost = |flags: &[&str]| {
        let root = images(registry(), 0..12, "app", "v1").on_disk();
        (0..12).for_each(|name| lose(root.path(), &format!("{}/_manifests", repository(&format!("app{name}")))));
        let since = (0..12).fold(registry().aged(120 * MINUTE), |store, name| {
            store.repo(&format!("app{name}")).image(&format!("new{name}"), &[layer(500 + name)]).tag("v2")
        });
        since.into_tree().write_to(root.path());
        bare(root.path(), flags).run()
    };
    let refused = lost(&[]).expect_code(2);
    assert!(refused.stderr.contains("48 blobs of 84 that are old, 59%"), "{}", refused.stderr);
    lost(&["--allow-unlinked", "59%"]).expect_code(0);
    // Manifests are small.
    let large = |number: u64| Content::new(number.to_string().repeat(1000));
    // What is deleted through the API leaves a directory, and no question.
    let deleted = (0..12).fold(registry(), |store, name| {
        let layers: Vec<Content> = (0..8).map(|number| large(100 * name + number)).collect();
        let store = store.repo(&format!("app{name}")).image(&format!("old{name}"), &layers).deleted();
        store.image(&format!("new{name}"), &[layer(100 * name + 50)]).tag("v1")
    });
    bare(deleted.on_disk().path(), &[]).run().expect_code(0);
    // So does what goes in this run.
    let untagged = (0..12).fold(registry(), |store, name| {
        let layers: Vec<Content> = (0..8).map(|number| large(100 * name + number)).collect();
        let store = store.repo(&format!("app{name}")).image(&format!("old{name}"), &layers);
        store.image(&format!("new{name}"), &[layer(100 * name + 50)]).tag("v1")
    });
    bare(untagged.on_disk().path(), &["-m"]).run().expect_code(0);
}

/// What lies among the tags of repositories that have lost theirs.
fn without_tags(mut instead: impl FnMut(&Path)) -> tempfile::TempDir {
    let root = images(images(registry(), 0..12, "app", "v1"), 100..101, "ok", "v1").on_disk();
    for name in 0..12 {
        instead(&root.path().join(tags(&format!("app{name}"))));
    }
    root
}

#[test]
fn only_a_tag_shows_that_there_are_tags() {
    let remove = |path: std::path::PathBuf| fs::remove_dir_all(path).expect("it was there");
    let make = |path: std::path::PathBuf| fs::create_dir_all(path).expect("made");
    let kinds: [Kind<'_>; 6] = [
        ("nothing", &|tags| remove(tags.to_owned())),
        ("current is lost", &|tags| remove(tags.join("v1/current"))),
        ("its link is lost", &|tags| fs::remove_file(tags.join("v1/current/link")).expect("it was there")),
        ("a directory is left", &|tags| {
            remove(tags.join("v1"));
            make(tags.join("v1"));
        }),
        ("a NAS", &|tags| {
            remove(tags.join("v1"));
            make(tags.join("@SynoResource"));
        }),
        ("a fork", &|tags| {
            remove(tags.join("v1"));
            make(tags.join("_refs/x"));
        }),
    ];
    for (kind, instead) in kinds {
        let root = without_tags(instead);
        is_stopped(root.path(), &["-m"], &["12 of 13 repositories with images have no tag", "--allow-untagged-repositories"]);
        let dry = bare(root.path(), &["-m", "--dry-run", "--format", "json"]).run().expect_code(2).report();
        assert_eq!(dry["scanned"]["tags"], 1, "{kind}: {dry:#}");
    }
}

/// What lies among the tags, and what makes it.
type Kind<'a> = (&'a str, &'a dyn Fn(&Path));

/// The same with one image pushed to each repository since.
fn push_young_tags(root: &Path) {
    // The times of a tree are whole seconds, and what was there when the last run began is nothing that was pushed since.
    std::thread::sleep(Duration::from_millis(1001));
    push_tags(registry().aged(Duration::ZERO), root);
}

fn push_tags(store: Registry, root: &Path) {
    let since = (0..12).fold(store, |store, name| {
        store.repo(&format!("app{name}")).image(&format!("new{name}"), &[layer(500 + name)]).tag("new")
    });
    since.into_tree().write_to(root);
}

#[test]
fn a_young_tag_shows_nothing() {
    let root = without_tags(|tags| fs::remove_dir_all(tags).expect("it was there"));
    push_young_tags(root.path());
    is_stopped(root.path(), &["-m"], &["12 of 13 repositories with images have no tag older than an hour"]);
    // A tag that is pushed again and again is as old as its history.
    let again = (0..12).fold(images(registry(), 0..12, "app", "v1").young(), |store, name| {
        store.repo(&format!("app{name}")).image(&format!("new{name}"), &[layer(2 * name), layer(500 + name)]).tag("v1")
    });
    let root = again.on_disk();
    let current = root.path().join(tag_current("app0", "v1"));
    let touched = fs::metadata(current).and_then(|link| link.modified()).expect("there");
    assert!(SystemTime::now().duration_since(touched).is_ok_and(|age| age < 30 * MINUTE), "it is young");
    bare(root.path(), &["-m"]).run().expect_code(0);
}

/// What the last run saw is not replaced by what was pushed since.
#[test]
fn young_tags_make_up_for_none_that_the_last_run_saw() {
    for flags in [&[][..], &["-m", "--allow-untagged-repositories"]] {
        let root = images(registry(), 0..12, "app", "v1").on_disk();
        bare(root.path(), flags).run().expect_code(0);
        bare(root.path(), flags).run().expect_code(0);
        (0..12).for_each(|name| lose(root.path(), &tags(&format!("app{name}"))));
        push_young_tags(root.path());
        is_stopped(root.path(), flags, &["there are 0 tags left of the 12", "--allow-shrunk"]);
        // Revisions as well.
        let root = images(registry(), 0..12, "app", "v1").on_disk();
        bare(root.path(), flags).run().expect_code(0);
        (0..12).for_each(|name| lose(root.path(), &repository(&format!("app{name}"))));
        images(registry(), 200..204, "other", "v1").into_tree().write_to(root.path());
        push_young_tags(root.path());
        let flags = [flags, &["--allow-unlinked", "100%"]].concat();
        is_stopped(root.path(), &flags, &["there are 0 repositories left of the 12", "--allow-shrunk"]);
    }
}

/// What was there when the last run began is nothing that was pushed since, however young it is.
#[test]
fn what_the_last_run_saw_is_still_there() {
    let root = images(registry().young(), 0..12, "app", "v1").on_disk();
    for _ in 0..3 {
        bare(root.path(), &["--online", "--rescue-for", "0s"]).run();
        bare(root.path(), &[]).run().expect_code(0);
    }
}

/// Nor does a purge by hand take what was pushed since the quarantine began for what the last run saw.
#[test]
fn young_tags_make_up_for_none_when_a_quarantine_is_purged() {
    let root = images(registry(), 0..12, "app", "v1").stray_blob(&layer(900)).on_disk();
    bare(root.path(), &["--quarantine"]).run().expect_code(0);
    let purge = |flags: &[&str]| {
        let run = Regsweep::new().args(["quarantine", "purge", "--root"]).arg(root.path()).args(flags);
        run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=400").run()
    };
    (0..12).for_each(|name| lose(root.path(), &tags(&format!("app{name}"))));
    let soon = std::time::SystemTime::now() + Duration::from_secs(350);
    push_tags(registry().aged(Duration::ZERO), root.path());
    for entry in walkdir::WalkDir::new(root.path().join("docker")).into_iter().flatten() {
        let file = fs::File::open(entry.path()).expect("there");
        let modified = file.metadata().and_then(|file| file.modified()).expect("a time");
        // As if they were pushed six minutes after the run had begun: its clock and the store's may differ by five.
        if modified.elapsed().is_ok_and(|age| age < MINUTE) {
            file.set_modified(soon).expect("set");
        }
    }
    let refused = purge(&[]).expect_code(2);
    assert!(refused.stderr.contains("there are 0 tags left of the 12"), "{}", refused.stderr);
    let done = purge(&["--allow-shrunk"]).expect_code(0);
    assert!(done.stdout.contains("purged        1 blob"), "{}", done.stdout);
}

/// An upload that goes is gone as well, from the store and from the quarantine.
#[test]
fn max_reclaim_counts_the_uploads_that_are_purged() {
    let store = registry().repo("team/app").image("kept", &[layer(1)]).tag("v1").with(|tree| {
        let upload = tree.upload("team/app", "0b5f9c1e-1111-4444-8888-123456789abc", &[7; 50_000]);
        let files = ["data", "startedat", "hashstates/sha256/0"];
        files.iter().fold(upload, |tree, file| {
            let at = layout::upload("team/app", "0b5f9c1e-1111-4444-8888-123456789abc");
            tree.touch(&format!("{at}/{file}"), 240 * 60 * MINUTE).touch(&at, 240 * 60 * MINUTE)
        });
    });
    let root = store.on_disk();
    let night = |limit: &[&str], dry: bool| {
        let run = bare(root.path(), &["--quarantine", "--uploads-older-than", "7d"]).args(limit);
        let run = run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=90000").json();
        if dry { run.dry().run() } else { run.run() }
    };
    let refused = bare(root.path(), &["--quarantine", "--uploads-older-than", "7d", "--max-reclaim", "40000B"]).run();
    assert!(refused.expect_code(2).stderr.contains("would go"));
    bare(root.path(), &["--quarantine", "--uploads-older-than", "7d"]).run().expect_code(0);
    let before = snapshot(&root.path().join(".regsweep/quarantine"));
    for dry in [true, false] {
        let refused = night(&["--max-reclaim", "40000B"], dry).expect_code(2);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("would be purged, more than the 39.06 KiB that --max-reclaim allows"), "{said}");
    }
    assert_eq!(snapshot(&root.path().join(".regsweep/quarantine")), before, "nothing is purged");
    let done = night(&["--max-reclaim", "50200B"], false).expect_code(0);
    assert_eq!(done.report()["quarantine"]["purged"]["upload_files"], 3, "{}", done.stdout);
}

/// More of the builder's vocabulary.
trait Aged {
    /// One more image of this age, with its tag.
    fn aged_image(self, name: u64, age: Duration) -> Self;
}

impl Aged for Registry {
    fn aged_image(self, name: u64, age: Duration) -> Registry {
        images(self.aged(age), name..name + 1, "new", "v1")
    }
}

/// Repositories whose images were all deleted stay in the catalogue, and hold nothing that could be missing.
#[test]
fn repositories_that_hold_nothing_are_not_missing() {
    let emptied = |store: Registry, name: u64| {
        store.repo(&format!("emptied{name}")).image(&format!("emptied{name}"), &[layer(2 * name)]).tag("v1").deleted()
    };
    let root = (100..107).fold(images(registry(), 0..5, "kept", "v1"), emptied).on_disk();
    for night in 0..3 {
        let ran = bare(root.path(), &["--allow-unlinked", "100%"]).run();
        assert_eq!(ran.code, Some(0), "night {night}: {}", ran.stderr);
    }
    // What was there is missed all the same.
    lose_repositories(root.path(), 0..3, "kept");
    is_stopped(root.path(), &[], &["left of the", "--allow-shrunk"]);
}
