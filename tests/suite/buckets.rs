//! Registries whose storage is in a bucket, on a server that speaks S3.

mod asked;
mod faults;
mod hostile;
mod kept;
mod locks;
mod multiparts;
mod removing;
mod same;
mod spoilt;
mod stopped;
mod throttled;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// A few repositories with images, an index, an untagged revision and garbage of all kinds.
fn tree() -> Tree {
    let app = registry()
        .repo("team/app")
        .image("one", &[layer(1), layer(2)])
        .tag("v1")
        .image("two", &[layer(1), layer(3)])
        .tag("v1")
        .upload_layer(&layer(4))
        .repo("team/app/deep")
        .image("three", &[layer(1), layer(5)])
        .tag("latest");
    let both = index(&[oci_image("amd64", &[layer(6)]), oci_image("arm64", &[layer(7)])]);
    app.repo("multi").pushed(&both).tag("all").stray_blob(&layer(8)).into_tree()
}

/// A command on a bucket, by the registry's configuration.
fn on(config: &Path, line: &str) -> Regsweep {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let run = Regsweep::new().arg(command).arg(config).args(rest.split_whitespace());
    // What a machine of the tests knows of Amazon is no business of theirs.
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"]
        .iter()
        .fold(run, |run, name| run.env(name, ""))
}

/// One in so many of these requests, and the last one; with `REGSWEEP_FAULTS=all` all of them.
fn some_of(all: &[usize], one_in: usize) -> Vec<usize> {
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let is_chosen = |place: usize| whole || place.is_multiple_of(one_in) || place + 1 == all.len();
    (0..all.len()).filter(|place| is_chosen(*place)).map(|place| all[place]).collect()
}

/// A dry run of everything, whatever its age.
const DRY: &str =
    "garbage-collect --dry-run --assume-offline --min-age 0s --allow-unlinked 100% --allow-untagged-repositories --json";

/// What a report says of the store, without times, places and costs.
fn facts(report: &Value) -> Value {
    let mut facts = report.clone();
    let fields = facts.as_object_mut().expect("an object");
    let moving = [
        "root",
        "config",
        "started",
        "elapsed_seconds",
        "free_disk_bytes",
        "requests",
        "versions",
        "registry",
        "registry_must_restart",
    ];
    moving.iter().for_each(|name| drop(fields.remove(*name)));
    without_times(&mut facts);
    facts
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields
                .retain(|name, _| !name.contains("push") && !name.contains("time") && !name.contains("speed") && name != "until");
            // Next steps name the configuration, and a bucket has no directories by themselves.
            let elsewhere = ["second", "modified", "next_step", "empty_directories", "in_catalogue"];
            fields.retain(|name, _| !elsewhere.iter().any(|part| name.contains(part)));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(entries) => {
            entries.retain(|entry| entry["kind"] != "empty-directory");
            entries.iter_mut().for_each(without_times);
        }
        _ => {}
    }
}

/// Where two values differ.
fn differences(path: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let of = |fields: &serde_json::Map<String, Value>, name: &String| fields.get(name).cloned().unwrap_or_default();
            names.into_iter().flat_map(|name| differences(&format!("{path}.{name}"), &of(one, name), &of(other, name))).collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(number, (one, other))| differences(&format!("{path}[{number}]"), one, other)).collect()
        }
        _ if one == other => Vec::new(),
        _ => vec![format!("{path}: {one} and {other}")],
    }
}

/// The digests that findings are about, by their codes.
fn found(report: &Value) -> BTreeSet<(String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().into_iter().flatten();
    findings.map(|finding| (text(finding, "code"), text(finding, "path"))).collect()
}
