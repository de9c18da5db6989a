//! What programs are told of runs that could not be done, and people of what they mistyped.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use regsweep::error::CODES;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::tree;
use crate::support::*;

/// All commands that make a report, as they are typed, with the names that reports give them.
const COMMANDS: [(&str, &str); 8] = [
    ("garbage-collect", "garbage-collect"),
    ("gc", "garbage-collect"),
    ("restore", "restore"),
    ("quarantine list", "quarantine list"),
    ("quarantine restore", "restore"),
    ("quarantine purge", "quarantine purge"),
    ("verify", "verify"),
    ("audit", "audit"),
];

fn run(words: &str, more: &[&str]) -> Outcome {
    Regsweep::new().args(words.split(' ')).args(more).run()
}

/// The one document that a run printed that could not be done, in its whole shape.
#[track_caller]
fn error(ran: &Outcome, command: Option<&str>, code: &str) -> Value {
    let report = ran.report();
    let keys: BTreeSet<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = ["schema", "command", "outcome", "exit_code", "root", "config", "started", "error"];
    assert_eq!(keys, BTreeSet::from(expected), "{}", ran.line);
    assert_eq!(report["command"].as_str(), command, "{}", ran.line);
    assert_eq!(report["exit_code"], ran.code.expect("it ended by itself"), "{}", ran.line);
    assert_eq!((&report["outcome"], &report["error"]["code"]), (&"stopped".into(), &code.into()), "{}", ran.stdout);
    assert!(CODES.contains(&code));
    let message = report["error"]["message"].as_str().expect("text");
    assert!(!message.is_empty() && !message.contains('\n') && !message.starts_with("error"), "{message}");
    assert!(!ran.stderr.trim().is_empty(), "people are told, too");
    report
}

#[test]
fn a_run_that_cannot_be_done_prints_one_document() {
    let root = tree().on_disk();
    let root = root.path().to_str().expect("UTF-8");
    let elsewhere = tempfile::tempdir().expect("a directory");
    fs::write(elsewhere.path().join("file"), "x").expect("written");
    let elsewhere = elsewhere.path().to_str().expect("UTF-8");
    for (typed, name) in COMMANDS {
        for json in [&["--json"][..], &["--format", "json"], &["--format=json", "-q"]] {
            let with = |more: &[&str]| run(typed, &[json, more].concat()).expect_code(2);
            let usage = error(&with(&["--root", root, "--nope"]), Some(name), "usage");
            assert_eq!((&usage["root"], &usage["error"]["path"]), (&Value::Null, &Value::Null));
            error(&with(&[]), Some(name), "usage");
            let missing = error(&with(&["--root", "/nowhere"]), Some(name), "not-found");
            assert_eq!((&missing["root"], &missing["error"]["path"]), (&"/nowhere".into(), &"/nowhere".into()));
            let other = error(&with(&["--root", elsewhere]), Some(name), "not-a-store");
            assert_eq!(other["error"]["path"], elsewhere);
            let config = error(&with(&["/nowhere/c.yml"]), Some(name), "usage");
            assert_eq!((&config["root"], &config["config"]), (&Value::Null, &"/nowhere/c.yml".into()));
        }
        // For people nothing of this.
        let text = run(typed, &["--root", "/nowhere"]).expect_code(2);
        assert!(text.stdout.is_empty() && text.stderr.contains("/nowhere"), "{}", text.stdout);
    }
    error(&run("--json", &[]).expect_code(2), None, "usage");
    error(&run("nonsense", &["--json"]).expect_code(2), None, "usage");
}

#[test]
fn what_stops_a_run_is_known_by_its_code() {
    let root = tree().on_disk();
    Regsweep::gc(root.path()).arg("--quarantine").run().expect_code(0);
    let lock = File::open(root.path().join(".regsweep/lock")).expect("made");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
    let locked = error(&Regsweep::gc(root.path()).arg("--json").run().expect_code(2), Some("garbage-collect"), "locked");
    assert!(locked["error"]["path"].as_str().expect("a path").ends_with(".regsweep/lock"));
    drop(lock);

    fs::remove_dir_all(root.path().join("docker/registry/v2/repositories")).expect("ours");
    fs::create_dir(root.path().join("docker/registry/v2/repositories")).expect("ours");
    let brake = error(&Regsweep::gc(root.path()).arg("--json").run().expect_code(2), Some("garbage-collect"), "brake");
    assert!(brake["error"]["message"].as_str().expect("text").contains("--allow-"), "{brake}");
    // A dry run that a real one would not follow has its report, and all reasons as an error in it. A real run has the same.
    let most = ["--json", "--max-reclaim", "1"];
    let dry = Regsweep::gc(root.path()).arg("--dry-run").args(most).run().expect_code(2).report();
    let stops: Vec<&str> = dry["stops"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(stops.len() > 1, "{stops:?}");
    assert_eq!((&dry["outcome"], &dry["error"]["code"]), (&"stopped".into(), &"brake".into()));
    assert_eq!(dry["error"]["message"], stops.join("; also: "));
    let real = error(&Regsweep::gc(root.path()).args(most).run().expect_code(2), Some("garbage-collect"), "brake");
    assert_eq!(real["error"], dry["error"]);
    // The commands that a message names can be run as they stand, in JSON, too.
    let none = run("restore", &["--json", "--run", "nope", "--root", root.path().to_str().expect("UTF-8")]).expect_code(2);
    let message = none.report()["error"]["message"].as_str().expect("text").to_owned();
    assert!(!message.contains("`regsweep ") || message.contains(root.path().to_str().expect("UTF-8")), "{message}");
}

#[test]
fn json_is_a_format_wherever_there_are_formats() {
    let root = tree().on_disk();
    for (typed, name) in COMMANDS {
        let of = |format: &[&str]| run(typed, &[format, &["--root", root.path().to_str().expect("UTF-8")]].concat());
        let (short, long) = (of(&["--json"]), of(&["--format", "json"]));
        for ran in [&short, &long] {
            assert_eq!(ran.report()["command"], name, "{}", ran.line);
        }
        let keys = |ran: &Outcome| ran.report().as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&short), keys(&long));
        let both = of(&["--json", "--format", "text"]).expect_code(2);
        assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    }
}

#[test]
fn a_typo_gets_the_hint_that_is_right() {
    for (typed, expected, never) in [
        (
            "audit --repository team",
            "'--repository' is an option of `regsweep expire`, `regsweep garbage-collect` and `regsweep verify`",
            "--registry",
        ),
        ("garbage-collect --regstry http://x", "'--registry'", "--repository"),
        (
            "audit --online",
            "'--online' is an option of `regsweep expire`, `regsweep garbage-collect` and `regsweep remove`",
            "similar",
        ),
        ("gc -d=maybe", "unexpected value 'maybe' for '--dry-run'", "'-='"),
        ("gcc", "'gc'", "restore"),
        ("garbage-colect", "'garbage-collect'", "restore"),
    ] {
        let ran = run(typed, &[]).expect_code(2);
        assert!(ran.stderr.contains(expected) && !ran.stderr.contains(never), "{typed}: {}", ran.stderr);
    }
}

#[test]
fn each_code_of_an_error_is_in_the_reference() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md")).expect("there");
    let (_, section) = page.split_once("### Errors").expect("a section");
    let section = section.split("\n### ").next().expect("it ends");
    let section = section.split("\n## ").next().expect("it ends");
    let listed = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: Vec<&str> = listed.filter(|code| *code != "error.code").collect();
    assert_eq!(listed, CODES);
}
