//! The undo is whole: after every sequence of runs all that went can be pulled again, and every dry run says what the real one does.

use super::refusing::{DAY, gone, later};
use super::*;
use crate::support::server::RealRegistry;

/// All kinds of collections; the first ones have a quarantine.
const KINDS: [&[&str]; 6] = [&["--online", "-m"], &["--quarantine", "-m"], &["--quarantine"], &["--online"], &[], &["-m"]];

/// What a run does to the store and the quarantine, without times and names.
fn done(report: &Value) -> Value {
    let part = |name: &str| report[name].clone();
    let quarantine = |name: &str| report["quarantine"][name].clone();
    let gone = if report["mode"] == "dry-run" { part("reclaimable") } else { part("removed") };
    serde_json::json!([
        gone,
        quarantine("restored"),
        quarantine("purged"),
        quarantine("withheld"),
        part("left"),
        part("exit_code"),
        part("findings")
    ])
}

fn run(registry: &RealRegistry, kind: &[&str], shift: u64, is_dry: bool) -> Value {
    let mut run = Regsweep::gc_config(&registry.config()).args(kind).json();
    if kind.contains(&"--online") {
        run = run.args(["--rescue-for", "0s"]);
    }
    let run = if is_dry { run.dry() } else { run };
    run.env("REGSWEEP_TEST_CLOCK", format!("trusted=yes,shift={shift}")).run().report()
}

/// A stopped registry that holds a tagged image, one without a tag, and a layer that nothing needs.
fn registry_with(store: &tempfile::TempDir) -> RealRegistry {
    let registry = RealRegistry::stopped();
    fs::create_dir(registry.root().join("docker")).expect("made");
    snapshot::copy(&store.path().join("docker"), &registry.root().join("docker"));
    registry
}

#[test]
fn restore_brings_everything_back_after_any_sequence() {
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let store = store().on_disk();
    let mut pulled = 0;
    for (place, first) in KINDS.iter().enumerate().take(4) {
        for second in KINDS {
            for (third_place, third) in KINDS.iter().enumerate() {
                // All pairs; of the triples some, or all.
                if !whole && (place + third_place) % 3 != 0 {
                    continue;
                }
                let mut registry = registry_with(&store);
                let sequence = [*first, second, *third];
                for (number, kind) in sequence.iter().enumerate() {
                    // Some hours apart: nothing is due.
                    let shift = 4 * 3600 * number as u64;
                    let dry = run(&registry, kind, shift, true);
                    let real = run(&registry, kind, shift, false);
                    assert_eq!(done(&dry), done(&real), "{sequence:?}, run {number}");
                }
                let root = registry.root();
                // A run without -m first quarantines no image, and a direct -m then removes it for good.
                let may_be_gone = sequence.iter().position(|kind| *kind == ["-m"]);
                let was_quarantined = sequence.iter().position(|kind| kind.contains(&"-m") && kind.len() == 2);
                restored(&root);
                registry.restart();
                let client = registry.client();
                client.pull("team/app", "v1").unwrap_or_else(|error| panic!("{sequence:?}: the tagged image: {error}"));
                if may_be_gone.is_none_or(|gone| was_quarantined.is_some_and(|quarantined| quarantined < gone)) {
                    pulled += 1;
                    let image = client.pull("team/app", untagged().digest());
                    image.unwrap_or_else(|error| panic!("{sequence:?}: the image without a tag: {error}"));
                }
            }
        }
    }
    assert!(pulled > 20, "{pulled}");
}

/// What else may be done between two collections.
const BETWEEN: [&[&str]; 5] = [
    &["restore"],
    &["restore", "--all"],
    &["restore", "--digest", "THE-IMAGE"],
    &["verify", "--quarantine", "--min-age", "0s"],
    &["quarantine", "purge", "--older-than", "24h"],
];

/// Whatever is done between, nothing that an undo needs goes: what was restored is young, what is in quarantine keeps what it needs, and what
/// has not waited is not purged.
#[test]
fn restore_brings_everything_back_whatever_was_done_between() {
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let store = store().on_disk();
    for (place, first) in KINDS.iter().enumerate().take(4) {
        for (between_place, between) in BETWEEN.iter().enumerate() {
            for (last_place, last) in KINDS.iter().enumerate() {
                if !whole && (place + 2 * between_place + last_place) % 6 != 0 {
                    continue;
                }
                let sequence = [*first, *between, *last];
                let mut registry = registry_with(&store);
                let root = registry.root();
                run(&registry, first, 0, false);
                let image = untagged().digest().to_string();
                let words = between.iter().map(|word| if *word == "THE-IMAGE" { image.as_str() } else { *word });
                let done =
                    Regsweep::new().args(words).arg(registry.config()).env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=60").run();
                // Without -m the image is not in quarantine.
                let is_there = first.contains(&"-m") || !between.contains(&"--digest");
                done.expect_code(if is_there { 0 } else { 2 });
                let dry = run(&registry, last, 120, true);
                assert_eq!(self::done(&dry), self::done(&run(&registry, last, 120, false)), "{sequence:?}");
                restored(&root);
                registry.restart();
                let client = registry.client();
                client.pull("team/app", "v1").unwrap_or_else(|error| panic!("{sequence:?}: the tagged image: {error}"));
                if first.contains(&"-m") || *last != ["-m"] {
                    let image = client.pull("team/app", untagged().digest());
                    image.unwrap_or_else(|error| panic!("{sequence:?}: the image without a tag: {error}"));
                }
            }
        }
    }
}

/// Also where things are due, and where something is needed again.
#[test]
fn a_dry_run_says_what_the_real_run_does_with_the_quarantine() {
    let store = store().on_disk();
    let day = 25 * 3600;
    for first in &KINDS[..4] {
        for second in KINDS {
            for comes_back in [false, true] {
                let registry = registry_with(&store);
                run(&registry, first, 0, false);
                if comes_back {
                    crate::support::registry()
                        .repo("team/app")
                        .manifest_only(&untagged())
                        .tag("again")
                        .write_to(&registry.root());
                }
                for shift in [day, 2 * day, 3 * day] {
                    let dry = run(&registry, second, shift, true);
                    let real = run(&registry, second, shift, false);
                    assert_eq!(done(&dry), done(&real), "{first:?}, {second:?}, {comes_back}, {shift}");
                }
            }
        }
    }
}

/// One image in two repositories loses its tag in one, and a day later in the other. The links of the first are due when the image goes from the
/// second, which is not served through them.
#[test]
fn a_dry_run_says_what_is_purged_of_an_image_that_leaves_one_repository_after_another() {
    let image = untagged();
    for first in &KINDS[..2] {
        for second in &KINDS[..2] {
            // What the second run finds in the quarantine: what is due, or also what is not.
            for stays in [false, true] {
                let store = crate::support::registry();
                let store = store.repo("a").image("kept", &[layer(1)]).tag("v1").pushed(&image);
                let store = store.repo("b").image("kept", &[layer(1)]).tag("v1").pushed(&image).tag("v2");
                let registry = registry_with(&store.on_disk());
                let root = registry.root();
                run(&registry, first, 0, false);
                assert_eq!(list(&root).runs[0].blobs, 0, "b needs the blobs of it");
                gone(&root.join(layout::tags("b")).join("v2"));
                if stays {
                    run(&registry, first, 4 * 3600, false);
                }
                let dry = run(&registry, second, DAY, true);
                let real = run(&registry, second, DAY, false);
                assert_eq!(done(&dry), done(&real), "{first:?}, {second:?}, {stays}");
                // Beside a registry the links of layers stay.
                let links = if first.contains(&"--online") { 1 } else { 3 };
                assert_eq!(real["quarantine"]["purged"]["links"], links, "{first:?}, {second:?}, {stays}");
                assert_eq!(real["quarantine"]["withheld"], 0, "{first:?}, {second:?}, {stays}");
                restored(&root);
                for digest in image.reaches() {
                    assert!(root.join(layout::blob_data(&digest)).exists(), "{digest}");
                }
            }
        }
    }
}

/// An image and its signature are in quarantine, and the image is pushed again: what comes back with it comes back into directories that were
/// empty until then.
#[test]
fn no_run_trips_over_what_it_restores_itself() {
    let image = oci_image("signed", &[layer(3)]);
    let signature = oci_image("signature", &[layer(4)]).referring_to(&image);
    for first in &KINDS[..2] {
        for second in [&["garbage-collect"][..], &["expire", "--keep-last", "9", "--min-age", "1s"], &["remove", "team/app:old"]]
        {
            for kind in KINDS {
                let store = crate::support::registry().repo("team/app").image("kept", &[layer(1)]).tag("v1");
                let store = store.image("old", &[layer(1)]).tag("old").pushed(&image).pushed(&signature);
                let registry = registry_with(&store.on_disk());
                run(&registry, first, 0, false);
                crate::support::registry().repo("team/app").pushed(&image).tag("again").write_to(&registry.root());
                let run = |is_dry| {
                    let online = kind.contains(&"--online").then_some(["--rescue-for", "0s"]);
                    let kind = kind.iter().filter(|flag| second[0] == "garbage-collect" || **flag != "-m");
                    let run = Regsweep::new().arg(second[0]).arg(registry.config()).args(&second[1..]);
                    let run = run.args(kind).args(online.iter().flatten()).json();
                    let run = if is_dry { run.dry() } else { run };
                    later(run, 5 * 3600, "").run().report()
                };
                let (dry, real) = (run(true), run(false));
                assert_eq!(done(&dry), done(&real), "{first:?}, {second:?}, {kind:?}");
                let links = real["quarantine"]["restored"]["links"].as_u64();
                assert!(links >= Some(1), "{first:?}, {second:?}, {kind:?}: {real}");
                assert_eq!(
                    (&real["left"], &real["exit_code"]),
                    (&0.into(), &0.into()),
                    "{first:?}, {second:?}, {kind:?}: {real}"
                );
            }
        }
    }
}

/// The layers of a signature are named by sha512 (H3): what their links say went into quarantine with them.
#[test]
fn what_has_another_name_comes_back_with_what_names_it() {
    let image = oci_image("image", &[layer(21)]);
    let signature = oci_image("signature", &[layer(22), layer(23)]).with_sha512_descriptors().referring_to(&image);
    let kept = || crate::support::registry().repo("team/app").image("kept", &[layer(1)]).tag("v2");
    let whole = kept().pushed(&image).tag("v1").pushed(&signature).into_tree();
    for flags in [&[][..], &["-m"], &["--quarantine"], &["--quarantine", "-m", "--quarantine-for", "0s"]] {
        let root = whole.on_disk();
        let root = root.path();
        let removed = ["remove", "team/app:v1", "--quarantine", "--assume-offline", "--min-age", "0s", "--ignore-birth-time"];
        command(root, &removed).expect_code(0);
        assert!(!root.join(layout::blob_data(&layer(22).digest)).exists());
        kept().pushed(&image).tag("v1").into_tree().write_to(root);
        let dry = Regsweep::gc(root).args(flags).arg("--dry-run").json().run().expect_code(0);
        let ran = Regsweep::gc(root).args(flags).json().run().expect_code(0);
        assert_eq!(dry.report()["quarantine"]["restored"], ran.report()["quarantine"]["restored"], "{flags:?}");
        let there = |path: String| root.join(path).exists();
        for layer in [layer(22), layer(23)] {
            assert!(there(layout::blob_data(&layer.digest)), "{flags:?}");
            assert!(
                there(layout::layer_link("team/app", &layer.sha512())) && there(layout::layer_link("team/app", &layer.digest))
            );
        }
        command(root, &["audit"]).expect_code(0);
    }
}

/// Something that was pushed since the oldest run began, and went by a later one: its layer links, which stay beside a registry at work, are
/// no pushes that need it.
#[test]
fn what_was_there_when_a_run_began_brings_nothing_back_that_it_took() {
    let tree = |images: &[(u64, &str)]| {
        let add = |all: Registry, (number, tag): &(u64, &str)| all.image(tag, &[layer(*number)]).tag(tag);
        images.iter().fold(crate::support::registry().repo("team/app"), add).into_tree()
    };
    let root = tree(&[(1, "kept"), (2, "first")]).on_disk();
    let root = root.path();
    let config = root.with_extension("yml");
    fs::write(&config, format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", root.display()))
        .expect("written");
    let remove = |tag: &str| {
        let words = ["remove", "--online", "--rescue-for", "0s", "--min-age", "1s"];
        let ran = Regsweep::new().args(words).arg(&config).arg(format!("team/app:{tag}")).json().run();
        ran.expect_code(0)
    };
    remove("first");
    age(&only_run(root), 5);
    // Three hours ago, after the first run and before this one.
    tree(&[(3, "second")]).write_to(root);
    for path in [layout::layer_link("team/app", &layer(3).digest), layout::blob_data(&layer(3).digest)] {
        let file = fs::File::open(root.join(path)).expect("there");
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600)).expect("ours");
    }
    for run in 0..2 {
        let ran = if run == 0 {
            remove("second")
        } else {
            Regsweep::gc_config(&config).args(["--online", "--rescue-for", "0s"]).json().run()
        };
        let report = ran.report();
        let back = |part: &str| report["quarantine"][part]["blobs"].as_u64().expect("a number");
        assert_eq!((back("restored"), back("rescued")), (0, 0), "{}", ran.stdout);
        assert!(root.join(layout::layer_link("team/app", &layer(3).digest)).exists());
        assert!(!root.join(layout::blob_data(&layer(3).digest)).exists(), "{}", ran.stdout);
    }
    fs::remove_file(config).expect("ours");
}
