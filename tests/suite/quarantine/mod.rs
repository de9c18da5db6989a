//! What is moved aside instead of being removed, and the ways out of there.

mod apart;
mod between;
mod by_hand;
mod clocks;
mod cut_off;
mod failing;
mod memory;
mod refusing;
mod restoring;
mod seen_again;
mod sequences;
mod settling;
mod stopped;
mod undoing;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::support::snapshot::{Seen, SeenKind};
use crate::support::*;

/// The report of `quarantine list`, `restore` and `quarantine purge`: all that is in it and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that the fields are there is what is tested")]
struct Report {
    schema: u32,
    command: String,
    outcome: String,
    exit_code: i32,
    root: PathBuf,
    config: Option<PathBuf>,
    directory: PathBuf,
    started: String,
    elapsed_seconds: f64,
    restored: Option<Moved>,
    purged: Option<Moved>,
    withheld: u64,
    forgotten: u64,
    started_after: Option<String>,
    restart_unseen: Option<String>,
    older_registry: Option<String>,
    runs: Vec<Run>,
    finding_counts: std::collections::BTreeMap<String, u64>,
    findings: Vec<Finding>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Moved {
    blobs: u64,
    bytes: u64,
    links: u64,
    #[serde(default)]
    replaced: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Run {
    run: String,
    purpose: String,
    began: String,
    finished: Option<String>,
    waited_seconds: Option<f64>,
    purging: Option<String>,
    blobs: u64,
    bytes: u64,
    links: u64,
    unrecognised: u64,
    remembered_by: Option<String>,
    targets: Vec<Held>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Held {
    path: String,
    digest: String,
    bytes: u64,
}

/// `regsweep <words> --root <root> --format json`.
fn command(root: &Path, words: &[&str]) -> Outcome {
    Regsweep::new().args(words).arg("--root").arg(root).json().run()
}

#[track_caller]
fn report(outcome: &Outcome) -> Report {
    let report: Report = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("not such a report: {error}\n{}{}", outcome.stdout, outcome.stderr));
    assert_eq!(Some(report.exit_code), outcome.code);
    report
}

#[track_caller]
fn list(root: &Path) -> Report {
    report(&command(root, &["quarantine", "list"]).expect_code(0))
}

/// `garbage-collect --quarantine`.
fn collect(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::gc(root).arg("--quarantine").args(flags).json().run()
}

/// The part of a collection's report about the quarantine.
#[track_caller]
fn moved(outcome: &Outcome, part: &str) -> Moved {
    serde_json::from_value(outcome.report()["quarantine"][part].clone())
        .unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
}

fn directory(root: &Path) -> PathBuf {
    root.join(".regsweep/quarantine")
}

/// The directories of all runs.
fn runs(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(root)).map(|entries| entries.map(|entry| entry.expect("listable").path()).collect());
    let mut runs: Vec<PathBuf> = entries.unwrap_or_default();
    runs.sort();
    runs
}

#[track_caller]
fn only_run(root: &Path) -> PathBuf {
    match &runs(root)[..] {
        [run] => run.clone(),
        runs => panic!("not one run: {runs:?}"),
    }
}

/// The registry's files with all that is known of them. Directories come and go.
fn files(root: &Path) -> BTreeMap<String, Seen> {
    let mut seen = snapshot(&root.join("docker"));
    seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
    seen
}

/// The registry's files and those in quarantine, by the place that they have in the store.
fn all_files(root: &Path) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = files(root).into_keys().collect();
    for run in runs(root) {
        let held = snapshot(&run).into_iter().filter(|(_, seen)| matches!(seen.kind, SeenKind::File(..)));
        all.extend(held.filter(|(path, _)| !path.starts_with("run.json")).map(|(path, _)| format!("registry/v2/{path}")));
    }
    all
}

/// Makes a run older, by the date alone.
fn age(run: &Path, hours: i64) {
    stamp(run, |stamp| {
        for field in ["began", "finished"] {
            let then: jiff::Timestamp = stamp[field].as_str().expect("a time").parse().expect("a time");
            stamp[field] = (then - jiff::SignedDuration::from_hours(hours)).to_string().into();
        }
        stamp["boot"] = Value::Null;
    });
}

fn stamp(run: &Path, change: impl FnOnce(&mut Value)) {
    let path = run.join("run.json");
    let mut stamp = serde_json::from_slice(&fs::read(&path).expect("a stamp")).expect("JSON");
    change(&mut stamp);
    fs::write(path, stamp.to_string()).expect("written");
}

/// A tagged image, an untagged one that shares a layer with it, and a layer that nothing needs.
fn store() -> Registry {
    registry().repo("team/app").image("kept", &[layer(1), layer(2)]).tag("v1").upload_layer(&layer(9)).pushed(&untagged())
}

fn untagged() -> Image {
    oci_image("untagged", &[layer(1), layer(3)])
}

/// Collects without any flag that lifts a brake.
fn bare(root: &Path, flags: &[&str]) -> Regsweep {
    Regsweep::new().args(["garbage-collect", "--root"]).arg(root).args(flags)
}

/// Restores all that there is, if there is anything.
#[track_caller]
fn restored(root: &Path) {
    let outcome = command(root, &["restore", "--all"]);
    assert!(outcome.code == Some(0) || outcome.stderr.contains("nothing is in quarantine"), "{}", outcome.stderr);
}
