//! `expire`: which tags go by which rule, and what goes with them.

mod command;
mod exact;
mod lost;
mod quarantine;
mod real;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::tags::*;
use crate::support::*;

/// A repository with the tags `v1` to `v4`, pushed four, three, two and one days ago, and an untagged image; and one that shares a layer
/// with it, with a tag and an untagged image of its own.
fn store() -> Registry {
    let mut built = registry().repo("team/app");
    for number in 1..=4_u64 {
        let image = oci_image(&format!("image {number}"), &[layer(0), layer(number)]);
        built = built.aged(days(5 - number)).pushed(&image).tag(&format!("v{number}"));
    }
    let other = oci_image("other", &[layer(0), layer(8)]);
    let alone = |number| oci_image("untagged", &[layer(number)]);
    built.aged(days(9)).pushed(&alone(6)).repo("lib").pushed(&other).tag("old").pushed(&alone(7))
}

/// A policy in a file.
fn policy(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("policy.toml");
    fs::write(&path, text).expect("written");
    (directory, path)
}

/// One rule for a repository.
fn rule(repositories: &str, rest: &str) -> String {
    format!("[[rule]]\nrepositories = ['{repositories}']\n{rest}\n")
}

/// What the JSON report says of tags.
#[track_caller]
fn said(outcome: &Outcome) -> Value {
    outcome.report()["expire"].clone()
}
