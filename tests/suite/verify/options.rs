//! Which part is read, how fast, and for how long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::command_line::metrics::samples;

/// So many blobs of one size, needed by one image.
fn many(count: u64, length: usize) -> Tree {
    let layers: Vec<Content> = (0..count).map(|number| layer_of(1000 + number, length)).collect();
    registry().repo("many").image("many", &layers).tag("v1").into_tree()
}

/// Damages every blob and returns the digests that runs with these arguments come upon.
fn come_upon(root: &Path, arguments: &[&str]) -> BTreeSet<String> {
    let ran = verify(root).json().args(arguments).run();
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let read = number(&ran, "/selected/blobs");
    let found: BTreeSet<String> = found(&ran).into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(found.len() as u64, read, "each is damaged");
    found
}

fn damage_all(root: &Path, tree: &Tree) {
    for digest in tree.blobs() {
        Damage::LastByte.happen(&data(root, &digest));
    }
}

#[test]
fn thirty_slices_are_all_blobs_each_once() {
    let tree = many(200, 20);
    let root = tree.on_disk();
    damage_all(root.path(), &tree);
    let mut seen = BTreeSet::new();
    for part in 1..=30 {
        let slice = format!("{part}/30");
        let found = come_upon(root.path(), &["--slice", &slice]);
        assert_eq!(found, come_upon(root.path(), &["--slice", &slice]), "the same each time");
        for digest in found {
            assert!(seen.insert(digest), "twice");
        }
    }
    assert_eq!(seen, tree.blobs());
}

#[test]
fn samples_are_of_their_size() {
    let tree = many(198, 20);
    let root = tree.on_disk();
    damage_all(root.path(), &tree);
    let one = come_upon(root.path(), &["--sample", "10%"]);
    assert_eq!(one.len(), 20);
    assert_ne!(one, come_upon(root.path(), &["--sample", "10%"]));
    assert_eq!(come_upon(root.path(), &["--sample", "100%"]), tree.blobs());
}

#[test]
fn repositories_are_read_with_all_that_they_reach() {
    let [app, sub, other] = ["app", "sub", "other"].map(|name| oci_image(name, &[layer(1), layer_of(name.len() as u64, 50)]));
    let both = index(&[app.clone(), sub.clone()]);
    let tree = registry().repo("team/app").pushed(&both).tag("v1").repo("team/sub/x").pushed(&sub).repo("other").pushed(&other);
    let root = tree.on_disk();
    let selected = |patterns: &[&str]| {
        let arguments = patterns.iter().flat_map(|pattern| ["--repository", pattern]);
        number(&verify(root.path()).json().args(arguments).run().expect_code(0), "/selected/blobs")
    };
    assert_eq!(selected(&["team/app"]), both.reaches().len() as u64);
    assert_eq!(selected(&["team/*"]), both.reaches().len() as u64);
    assert_eq!(selected(&["other"]), other.reaches().len() as u64);
    assert_eq!(selected(&["team/**"]), both.reaches().len() as u64);
    assert_eq!(selected(&["team/sub/*"]), sub.reaches().len() as u64);
    assert_eq!(selected(&["team/**", "other"]), tree.blobs().len() as u64);
    let refused = verify(root.path()).args(["--repository", "nobody/*"]).run().expect_code(2);
    assert!(refused.stderr.contains("nobody/*"), "{}", refused.stderr);

    // Damage elsewhere is not theirs.
    Damage::Shortened.happen(&data(root.path(), other.digest()));
    verify(root.path()).args(["--repository", "team/**"]).run().expect_code(0);
    verify(root.path()).args(["--repository", "oth*"]).run().expect_code(1);
}

#[test]
fn a_rate_is_held() {
    let root = many(64, 64 << 10).on_disk();
    let begun = Instant::now();
    let ran = verify(root.path()).json().args(["--max-rate", "2MiB/s"]).run().expect_code(0);
    let elapsed = begun.elapsed().as_secs_f64();
    // Longer on a machine that has other things to do, but never shorter.
    assert!((2.0..20.0).contains(&elapsed), "4 MiB at 2 MiB/s took {elapsed} s");
    let rate = number(&ran, "/bytes_per_second") as f64 / f64::from(2 << 20);
    assert!((0.1..1.03).contains(&rate), "{rate} of what was allowed");
}

#[test]
fn the_time_that_is_up_is_no_error_and_the_rest_is_told() {
    let root = many(64, 64 << 10).on_disk();
    let begun = Instant::now();
    let ran = verify(root.path()).json().args(["--max-rate", "1MiB/s", "--max-duration", "1s"]).run().expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(4), "all of it would take longer");
    assert_eq!(ran.report()["outcome"], "time-up");
    let (good, left) = (number(&ran, "/good/blobs"), number(&ran, "/left/blobs"));
    assert!(good > 0 && left > 0 && good + left == number(&ran, "/selected/blobs"), "{good} {left}");
    let text = verify(root.path()).args(["--max-duration", "0s"]).run().expect_code(0).stdout;
    assert!(text.contains("the time is up") && text.contains("not read"), "{text}");
}

#[test]
fn a_run_leaves_its_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("verify.prom");
    let root = tree().on_disk();
    Damage::Shortened.happen(&data(root.path(), &layer(3).digest));
    let ran = verify(root.path()).json().arg("--metrics").arg(&path).run().expect_code(1);
    let figures = samples(&fs::read_to_string(&path).expect("written"));
    let of = |name: &str| figures[&format!("regsweep_{name}{{command=\"verify\"}}")];
    assert_eq!(of("exit_code"), 1.0);
    assert_eq!(of("verified_blobs"), number(&ran, "/good/blobs") as f64);
    assert_eq!(of("verified_bytes"), number(&ran, "/good/bytes") as f64);
    assert_eq!((of("damaged_blobs"), of("unread_blobs"), of("unread_bytes")), (1.0, 0.0, 0.0));
    assert_eq!(figures["regsweep_findings{command=\"verify\",code=\"truncated-blob\",severity=\"error\"}"], 1.0);
}

#[test]
fn bad_arguments_exit_2() {
    let root = tree().on_disk();
    let inside = root.path().join("docker/registry/v2/state");
    for arguments in [
        &["--sample", "5"][..],
        &["--sample", "0%"],
        &["--sample", "5%", "--slice", "1/2"],
        &["--slice", "0/3"],
        &["--slice", "4/3"],
        &["--max-age", "1d"],
        &["--max-rate", "fast"],
        &["--max-rate", "0"],
        &["--max-duration", "soon"],
        &["--repository", "a[", "--format", "json"],
        &["--state", inside.to_str().expect("a path")],
        &["--state", "/nowhere/at/all"],
        &["--jobs", "0"],
    ] {
        let refused = verify(root.path()).args(arguments).run();
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
        // Whoever wants JSON gets the error as JSON, too.
        let wants_json = arguments.contains(&"json");
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty() != wants_json, "{arguments:?}");
    }
    assert!(!inside.exists());
}

#[test]
fn help_names_every_option() {
    let help = Regsweep::new().args(["verify", "--help"]).run().expect_code(0).stdout;
    for option in [
        "[CONFIG]",
        "--root <DIR>",
        "--repository <GLOB>",
        "--sample <PERCENT>",
        "--slice <K/N>",
        "--max-duration <DURATION>",
        "--max-rate <RATE>",
        "--state <FILE>",
        "--max-age <DURATION>",
        "--jobs <N>",
        "--wait-lock <DURATION>",
        "--metrics <FILE>",
        "--format <FORMAT>",
        "Exit codes",
    ] {
        assert!(help.contains(option), "{option} is not in:\n{help}");
    }
}
