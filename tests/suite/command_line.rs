//! The command line: arguments, exit codes, what goes to standard output and what to standard error, text and JSON.

mod errors;
mod figures;
pub(crate) mod metrics;
mod printed;
mod streams;

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::support::layout;
use crate::support::*;

/// One image, one untagged image, one piece of garbage, one young upload.
fn tree() -> Tree {
    registry()
        .stray_blob(&layer(900))
        .repo("team/app")
        .image("old", &[layer(1), layer(2)])
        .tag("v1")
        .image("new", &[layer(1), layer(3)])
        .tag("v1")
        .young()
        .upload_layer(&layer(4))
        .into_tree()
}

#[test]
fn help_names_every_option() {
    let help = Regsweep::new().args(["garbage-collect", "--help"]).run().expect_code(0).stdout;
    for option in [
        "[CONFIG]",
        "REGISTRY_CONFIGURATION_PATH",
        "--root <DIR>",
        "-m, --delete-untagged",
        "-d, --dry-run",
        "-q, --quiet",
        "-v, --verbose",
        "--min-age <DURATION>",
        "--max-reclaim <SIZE|PERCENT>",
        "--allow-empty",
        "--allow-foreign-owner",
        "--jobs <N>",
        "--max-memory <SIZE>",
        "--format <FORMAT>",
        "--plan-out <FILE>",
        "--wait-lock <DURATION>",
        "Exit codes",
    ] {
        assert!(help.contains(option), "{option} is not in:\n{help}");
    }
}

#[test]
fn bad_arguments_exit_2_and_touch_nothing() {
    let root = tree().on_disk();
    let before = snapshot(root.path());
    for arguments in [
        &["--nope"][..],
        &["--min-age", "10"],
        &["--min-age", "-1h"],
        &["--max-reclaim", "101%"],
        &["--max-reclaim", "much"],
        &["--max-reclaim", "-1"],
        &["--max-reclaim", ""],
        &["--max-reclaim", "99999999999GiB"],
        &["--min-age", ""],
        &["--min-age", "20000 years"],
        &["--jobs", "0"],
        &["--jobs", "-1"],
        &["--jobs", "many"],
        &["--jobs", "1000000"],
        &["--dry-run=perhaps"],
        &["-mx"],
        &["--root"],
        &["--plan-out", ""],
        &["one.yml", "two.yml"],
        &["--max-memory", "much"],
        &["--format", "xml"],
        &["--wait-lock", "soon"],
        &["-q", "-v"],
        &["config.yml"],
        &["--plan-out", "/nowhere/at/all/plan"],
    ] {
        let refused = Regsweep::new().arg("garbage-collect").arg("--root").arg(root.path()).args(arguments).run();
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty(), "{arguments:?}");
    }
    let mut after = snapshot(root.path());
    after.retain(|path, _| !path.starts_with(".regsweep"));
    assert!(before.keys().eq(after.keys()), "{:?}", snapshot::gone(&before, &after));
}

#[test]
fn what_does_not_fit_into_memory_or_on_disk_is_told() {
    let root = tree().on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    for words in [&["garbage-collect", "--dry-run"][..], &["audit"], &["verify"]] {
        let run = |spill: &Path| {
            let run = Regsweep::new().args(words).arg("--root").arg(root.path());
            run.args(["--max-memory", "1MiB"]).env("TMPDIR", spill).run()
        };
        run(directory.path()).expect_code(0);
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0, "{words:?}");
        let refused = run(Path::new("/nowhere/at/all")).expect_code(2);
        assert!(refused.stderr.contains("--max-memory") && refused.stderr.contains("/nowhere/at/all"), "{}", refused.stderr);
    }
}

#[test]
fn a_plan_inside_the_store_is_refused() {
    let root = tree().on_disk();
    let inside = root.path().join("docker/registry/v2/repositories/plan");
    let refused = Regsweep::new().arg("garbage-collect").arg("--root").arg(root.path()).arg("--plan-out").arg(&inside).run();
    assert_eq!(refused.code, Some(2));
    assert!(!inside.exists() && refused.stderr.contains("lies in the store"), "{}", refused.stderr);
}

#[test]
fn says_what_to_give_when_no_store_is_named() {
    let refused = Regsweep::new().arg("garbage-collect").run();
    assert_eq!(refused.code, Some(2));
    // The registry takes an empty variable for none.
    let empty = Regsweep::new().arg("garbage-collect").env("REGISTRY_CONFIGURATION_PATH", "").run().expect_code(2);
    for word in ["config.yml", "REGISTRY_CONFIGURATION_PATH", "--root"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
        assert!(empty.stderr.contains(word), "{}", empty.stderr);
    }
    let missing = Regsweep::new().args(["garbage-collect", "/nowhere/config.yml"]).run().expect_code(2);
    assert!(missing.stderr.contains("/nowhere/config.yml"), "{}", missing.stderr);
}

#[test]
fn the_configuration_is_found_through_the_environment() {
    let root = tree().on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.path().display()))
        .expect("written");
    let ran = Regsweep::new().args(["garbage-collect", "-d"]).env("REGISTRY_CONFIGURATION_PATH", &config).run();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(&format!("{} (from {})", root.path().display(), config.display())), "{}", ran.stdout);
    // And --root is given in place of it.
    let ran = Regsweep::gc(root.path()).dry().env("REGISTRY_CONFIGURATION_PATH", "/nowhere").run();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn understands_directories_on_the_way_down() {
    let root = tree().on_disk();
    for inside in
        ["docker", "docker/registry", "docker/registry/v2", "docker/registry/v2/blobs", "docker/registry/v2/repositories"]
    {
        let ran = Regsweep::gc(&root.path().join(inside)).dry().json().run().expect_code(0);
        assert_eq!(ran.report()["root"], root.path().to_str().expect("UTF-8"), "{inside}");
        assert_eq!(ran.report()["scanned"]["blobs"], 9, "{inside}");
    }
    let relative = Regsweep::gc(Path::new("v2")).dry().current_dir(&root.path().join("docker/registry")).run();
    assert_eq!(relative.code, Some(0), "{}", relative.stderr);
    let above = root.path().parent().expect("a parent");
    let refused = Regsweep::gc(above).dry().run().expect_code(2);
    assert!(refused.stderr.contains("--root"), "{}", refused.stderr);
    let empty = tempfile::tempdir().expect("a directory");
    let file = empty.path().join("file");
    fs::write(&file, "x").expect("written");
    for place in [empty.path(), &file, Path::new("/nowhere/at/all")] {
        let refused = Regsweep::gc(place).dry().run().expect_code(2);
        assert!(refused.stderr.contains(place.to_str().expect("UTF-8")), "{}", refused.stderr);
    }
}

/// However it is spelled, the directory is the one that was meant; or the answer says which one to give.
#[test]
fn understands_other_spellings_of_directories() {
    let root = tree().on_disk();
    let aside = tempfile::tempdir().expect("a directory");
    let link = aside.path().join("link");
    std::os::unix::fs::symlink(root.path().join("docker/registry/v2"), &link).expect("linked");
    let v2 = root.path().join("docker/registry/v2");
    for (directory, given) in [
        (root.path(), "."),
        (root.path(), "docker/"),
        (&v2, "."),
        (&v2, "./blobs/"),
        (&v2, "../../.."),
        (&v2, ".."),
        (&v2, "../v2/blobs/.."),
        (aside.path(), "link"),
        (aside.path(), "link/blobs"),
    ] {
        let ran = Regsweep::gc(Path::new(given)).dry().json().current_dir(directory).run();
        let answer = ran.stderr.contains(root.path().to_str().expect("UTF-8")) && ran.stderr.contains("--root");
        let understood = ran.code == Some(0) && ran.report()["scanned"]["blobs"] == 9;
        assert!(understood || (ran.code == Some(2) && answer), "{given}: {:?} {}", ran.code, ran.stderr);
    }
}

#[test]
fn short_flags_combine_and_a_dry_run_leaves_no_trace() {
    let root = tree().on_disk();
    let before = snapshot(root.path());
    let ran = Regsweep::gc(root.path()).args(["-md"]).json().run().expect_code(0);
    assert_eq!((&ran.report()["mode"], &ran.report()["delete_untagged"]), (&"dry-run".into(), &true.into()));
    for flags in ["-dm", "-mdq", "-qdm", "-dv", "-vmd"] {
        Regsweep::gc(root.path()).arg(flags).run().expect_code(0);
    }
    assert_eq!(snapshot(root.path()), before);
}

#[test]
fn text_says_first_and_last_whether_it_was_a_dry_run() {
    let root = tree().on_disk();
    let dry = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    let real = Regsweep::gc(root.path()).run().expect_code(0).stdout;
    for (text, word) in [(&dry, "DRY RUN"), (&real, "done")] {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(word) && lines[lines.len() - 1].contains(word), "{text}");
    }
    for fact in [
        "1 repository, 1 tag, 2 revisions, 6 layer links, 9 blobs",
        "young         1 blob (",
        "kept only for being young until 2",
        "; --min-age 0s includes them",
        "would free    1 blob (",
        "linked by no repository",
        "--delete-untagged would free up to 3 blobs",
        "free disk",
    ] {
        assert!(dry.contains(fact), "{fact:?} is not in:\n{dry}");
    }
    assert!(real.contains("freed         1 blob ("), "{real}");
}

#[test]
fn counts_have_separators() {
    let mut builder = registry().repo("a").image("x", &[layer(1)]).tag("v1");
    for number in 0..1200 {
        builder = builder.stray_blob(&layer(10_000 + number));
    }
    let root = builder.into_tree().on_disk();
    let text = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    assert!(text.contains("would free    1,200 blobs ("), "{text}");
}

#[test]
fn quiet_prints_nothing_and_verbose_a_line_for_each_target() {
    let root = tree().on_disk();
    let quiet = Regsweep::gc(root.path()).dry().arg("-q").run().expect_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    // A document that was asked for is no chatter.
    document(&Regsweep::gc(root.path()).dry().json().arg("-q").run().expect_code(0));
    let verbose = Regsweep::gc(root.path()).args(["-m", "-v", "-d"]).run().expect_code(0);
    for row in verbose.rows() {
        let digest = row.digest.expect("targets have digests");
        let line = match row.kind.as_str() {
            "blob" => format!("\nblob eligible for deletion: {digest}\n"),
            "revision" => format!("\nmanifest eligible for deletion: {digest}\n"),
            "layer-link" => format!("team/app: layer link eligible for deletion: {digest}\n"),
            _ => format!("team/app: tag history entry of v1 eligible for deletion: {digest}\n"),
        };
        assert!(verbose.stdout.contains(&line), "{line} is not in:\n{}", verbose.stdout);
    }
    assert!(verbose.stderr.contains("INFO"), "{}", verbose.stderr);
}

/// The report's shape, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that the fields are there and have these types is what is tested")]
struct Document {
    schema: u32,
    command: String,
    mode: String,
    outcome: String,
    exit_code: u8,
    root: String,
    config: Option<String>,
    delete_untagged: bool,
    unlinked_only: bool,
    min_age_seconds: f64,
    started: String,
    elapsed_seconds: f64,
    scanned: Scanned,
    live: Bytes,
    young: Young,
    restorable: Bytes,
    reclaimable: Removal,
    removed: Removal,
    reclaimed: Bytes,
    left: u64,
    stops: Vec<String>,
    quarantine: Quarantined,
    reclaimable_delete_untagged: Option<Bytes>,
    repositories: Vec<Share>,
    repositories_not_listed: u64,
    free_disk_bytes: FreeDisk,
    registry: Option<RegistrySays>,
    unqueried: Option<String>,
    writer: Option<String>,
    registry_must_restart: bool,
    restart_unseen: Option<String>,
    older_registry: Option<String>,
    finding_counts: std::collections::BTreeMap<String, u64>,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Quarantined {
    run: Option<String>,
    restored: Moved,
    purged: Moved,
    rescue: Option<String>,
    rescued: Moved,
    withheld: u64,
    forgotten: u64,
    waiting: Bytes,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Moved {
    blobs: u64,
    bytes: u64,
    links: u64,
    replaced: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Scanned {
    repositories: u64,
    held_repositories: u64,
    tags: u64,
    revisions: u64,
    tag_history: u64,
    layer_links: u64,
    uploads: u64,
    upload_bytes: u64,
    blobs: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Bytes {
    blobs: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Young {
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
    until: Option<String>,
    just_made: u64,
    future: u64,
    never: Bytes,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Removal {
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
    tag_history: u64,
    upload_files: u64,
    upload_bytes: u64,
    empty_directories: u64,
    repositories: u64,
    by_reason: Vec<ByReason>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ByReason {
    kind: String,
    reason: String,
    count: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Share {
    repository: String,
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct FreeDisk {
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct RegistrySays {
    read_only: bool,
    descriptor_cache: Option<String>,
    proxy_remote: Option<String>,
    warnings: Vec<String>,
}

#[track_caller]
fn document(outcome: &Outcome) -> Document {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", outcome.stdout))
}

#[test]
fn json_has_every_figure() {
    let tree = tree();
    let root = tree.on_disk();
    let size = |digests: &[&str]| {
        digests.iter().map(|digest| tree.bytes(&layout::blob_data(digest)).expect("there").len() as u64).sum::<u64>()
    };
    let all: u64 = tree.blobs().iter().map(|digest| size(&[digest])).sum();
    let dry = Regsweep::gc(root.path()).dry().json().run().expect_code(0);
    let report = document(&dry);
    assert_eq!((report.schema, report.command.as_str(), report.mode.as_str()), (2, "garbage-collect", "dry-run"));
    assert_eq!((report.outcome.as_str(), report.exit_code, report.left), ("complete", 0, 0));
    assert_eq!(
        report.scanned,
        Scanned {
            repositories: 1,
            held_repositories: 0,
            tags: 1,
            revisions: 2,
            tag_history: 2,
            layer_links: 6,
            uploads: 0,
            upload_bytes: 0,
            blobs: 9,
            bytes: all
        }
    );
    assert_eq!(report.reclaimable.bytes, dry.reclaimable_bytes());
    assert_eq!(report.reclaimable.bytes, size(&[&layer(900).digest]));
    let until = report.young.until.clone();
    assert!(until.is_some());
    let bytes = size(&[&layer(4).digest]);
    let never = Bytes { blobs: 0, bytes: 0 };
    assert_eq!(report.young, Young { blobs: 1, bytes, revisions: 0, layer_links: 1, until, just_made: 0, future: 0, never });
    assert_eq!(report.live.bytes + report.young.bytes + report.reclaimable.bytes, all);
    assert_eq!((report.removed.blobs, report.removed.by_reason.len()), (0, 0));
    let more = report.reclaimable_delete_untagged.expect("asked without -m");

    let untagged = Regsweep::gc(root.path()).dry().delete_untagged().json().run().expect_code(0);
    let with = document(&untagged);
    assert_eq!(with.reclaimable.bytes, report.reclaimable.bytes + more.bytes, "the promise about --delete-untagged holds");
    assert_eq!(with.reclaimable.blobs, report.reclaimable.blobs + more.blobs);
    assert_eq!((with.reclaimable.revisions, with.reclaimable.tag_history, with.reclaimable.layer_links), (1, 1, 2));
    assert_eq!(with.repositories.len(), 1);
    assert_eq!((with.repositories[0].repository.as_str(), with.repositories[0].blobs), ("team/app", 3));
    assert!(with.reclaimable_delete_untagged.is_none());

    let done = document(&Regsweep::gc(root.path()).delete_untagged().json().run().expect_code(0));
    assert_eq!(done.reclaimable, with.reclaimable);
    assert_eq!(done.removed, with.reclaimable);
    assert!(done.free_disk_bytes.before.is_some() && done.free_disk_bytes.after.is_some());
}

#[test]
fn names_of_any_bytes_are_shown_escaped() {
    let root = tree().on_disk();
    let repositories = root.path().join("docker/registry/v2/repositories");
    for name in [&b"\xff\xfe"[..], b"\x1b[2Jred", b"new\nline", b"-rf"] {
        let directory = repositories.join(OsStr::from_bytes(name));
        fs::create_dir_all(directory.join("_layers")).expect("made");
        fs::write(directory.join("stray"), "x").expect("written");
    }
    let json = Regsweep::gc(root.path()).dry().json().run().expect_code(1);
    let report = document(&json);
    assert_eq!(report.finding_counts["warning"], 4);
    let named: Vec<String> = report.findings.iter().filter_map(|finding| finding.repository.clone()).collect();
    for name in ["\\xff\\xfe", "\\u{1b}[2Jred", "new\\u{a}line", "-rf"] {
        assert!(named.iter().any(|other| other == name), "{name}: {named:?}");
    }
    let text = Regsweep::gc(root.path()).dry().run().expect_code(1);
    for out in [&json.stdout, &text.stdout, &json.stderr, &text.stderr, json.plan.as_ref().expect("a plan")] {
        assert!(!out.contains('\u{1b}'), "{out}");
    }
    assert!(text.stdout.contains("\\u{1b}[2Jred"), "{}", text.stdout);
}

/// As charts write them.
#[test]
fn flags_take_true_and_false() {
    let root = tree().on_disk();
    let dry = |flags: &[&str]| Regsweep::gc(root.path()).args(flags).run().expect_code(0).paths();
    let (plain, untagged) = (dry(&["-d"]), dry(&["-d", "-m"]));
    assert_ne!(plain, untagged);
    assert_eq!(dry(&["--dry-run=true", "--delete-untagged=true"]), untagged);
    assert_eq!(dry(&["--dry-run=true", "--delete-untagged=false"]), plain);
    assert_eq!(dry(&["--dry-run=true", "-m", "-m=false"]), plain);
    for same in [&["-dm=true"][..], &["-d", "-d", "-m"], &["-dm", "--dry-run"], &["--dry-run=1", "-m=t"], &["-d=True", "-m=TRUE"]]
    {
        assert_eq!(dry(same), untagged, "{same:?}");
    }
    for same in [&["-dm=false"][..], &["-d", "-m=0"], &["-dm", "--delete-untagged=F"]] {
        assert_eq!(dry(same), plain, "{same:?}");
    }
    Regsweep::gc(root.path()).arg("--dry-run=perhaps").run().expect_code(2);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(900).digest), "all were dry runs");
}

/// What to run next has the store once, however it was named, can be run as it stands, and shows no password.
#[test]
fn what_to_run_next_can_be_run() {
    let next = |shown: &str| shown.lines().find_map(|line| Some(line.strip_prefix("next")?.split('`').nth(1)?.to_owned()));
    for named in ["--root DIR", "--root=DIR", "--root=./DIR", "CONFIG", "-- CONFIG"] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("store")).expect("made");
        tree().write_to(&directory.path().join("store"));
        let config = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/store}}}}\n", directory.path().display());
        fs::write(directory.path().join("config.yml"), config).expect("written");
        let store = named.replace("DIR", "store").replace("CONFIG", "config.yml");
        let run = |words: &[&str]| Regsweep::new().counting_birth().current_dir(directory.path()).args(words);
        let lifted = ["garbage-collect", "-d", "--ignore-birth-time", "--allow-unlinked=100%", "--registry-auth", "u:secret"];
        let words: Vec<&str> = lifted.into_iter().chain(store.split(' ')).collect();
        let dry = run(&words).run().expect_code(0);
        let json: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        let json = if named.starts_with("--root") { run(&json).run().expect_code(0).stdout } else { String::new() };
        assert!(![&dry.stdout, &dry.stderr, &json].iter().any(|shown| shown.contains("secret")), "{named}: {}", dry.stdout);
        let command = next(&dry.stdout).expect("what to run next").replace("USER:PASSWORD", "u:secret").replace('\'', "");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let done = run(&words).run().expect_code(0);
        assert!(done.stdout.contains("done: freed"), "{command}: {}", done.stdout);
    }
}

#[test]
fn max_reclaim_stops_before_anything_goes() {
    let root = tree().on_disk();
    let before = snapshot::blobs_on_disk(root.path());
    for limit in ["0", "5B", "0.1%"] {
        let stopped = Regsweep::gc(root.path()).args(["--max-reclaim", limit]).run().expect_code(2);
        assert!(stopped.stderr.contains("--max-reclaim"), "{}", stopped.stderr);
        assert_eq!(snapshot::blobs_on_disk(root.path()), before, "{limit}");
    }
    for limit in ["1MiB", "100%"] {
        Regsweep::gc(root.path()).args(["--max-reclaim", limit]).dry().run().expect_code(0);
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let root = tree().on_disk();
    let mut child = Command::new(env!("CARGO_BIN_EXE_regsweep"))
        .args(["garbage-collect", "--dry-run", "--root"])
        .arg(root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("readable");
    assert_eq!((child.wait().expect("ends").code(), stderr.as_str()), (Some(0), ""));
}

/// Goal: a signal in the middle of a sweep ends it cleanly. Method: enough blobs that it takes a while on one thread, and the signal
/// as soon as the first is gone.
#[test]
fn a_signal_ends_the_sweep_after_the_current_target() {
    let mut tree = registry().repo("a").image("kept", &[layer(1)]).tag("v1").into_tree();
    for number in 0..20_000 {
        tree.blob(&layer(1_000_000 + number));
    }
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let root = tree.on_disk();
        let running = Regsweep::gc(root.path()).args(["--jobs", "1"]).json().start();
        let pid = rustix::process::Pid::from_child(&running.child);
        let shards = root.path().join("docker/registry/v2/blobs/sha256");
        let first_gone = || {
            (0..=255).any(|shard| fs::read_dir(shards.join(format!("{shard:02x}"))).is_ok_and(|mut left| left.next().is_none()))
        };
        let begun = Instant::now();
        while !first_gone() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the sweep never began");
        }
        rustix::process::kill_process(pid, signal).expect("it is not waited for yet");
        let interrupted = running.wait().expect_code(130);
        let report = document(&interrupted);
        assert_eq!((report.outcome.as_str(), report.exit_code), ("interrupted", 130));
        assert_eq!(report.removed.blobs + report.left, report.reclaimable.blobs);
        assert_eq!(snapshot::blobs_on_disk(root.path()).len() as u64, 20_003 - report.removed.blobs);
        Regsweep::gc(root.path()).run().expect_code(0);
        assert_eq!(snapshot::blobs_on_disk(root.path()).len(), 3);
    }
}
