//! `audit`: everything that is wrong or wasteful, each thing once, and nothing of a store that is well.

mod codes;
mod command;
mod real;
mod under_way;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::layout::{
    self, blob_data, blob_directory, layer_link, repository, revision_link, tag, tag_current, tag_history,
};
use crate::support::*;

const APP: &str = "team/app";

/// A platform of the image that every store here has. The other one is made of the same blobs.
fn amd64() -> Image {
    oci_image("app", &[layer(1), layer(2)])
}

fn arm64() -> Image {
    variant("arm64")
}

/// Another manifest of the same blobs.
fn variant(name: &str) -> Image {
    amd64().edit(|json| json["annotations"] = serde_json::json!({ "name": name }))
}

fn app() -> Image {
    index(&[amd64(), arm64()])
}

/// A store that is well.
fn healthy() -> Registry {
    registry().repo(APP).pushed(&app()).tag("v1")
}

/// Audits a directory, with one thread and with many, and checks that nothing in it was touched.
#[track_caller]
fn audit(root: &Path) -> Vec<Finding> {
    let before = snapshot(root);
    let run = |jobs| Regsweep::audit(root).args(["--jobs", jobs]).json().run();
    let [one, many] = ["1", "64"].map(run);
    assert_eq!(timeless(&one), timeless(&many), "reports differ by the number of threads");
    assert_eq!(snapshot(root), before, "an audit touches nothing");
    let findings = one.findings();
    assert!(findings.is_sorted_by_key(|finding| ["error", "warning", "note"].iter().position(|name| *name == finding.severity)));
    let code = i32::from(findings.iter().any(|finding| finding.severity != "note"));
    one.expect_code(code);
    findings
}

/// A report without what differs from run to run.
fn timeless(outcome: &Outcome) -> Value {
    let mut report = outcome.report();
    for key in ["started", "elapsed_seconds"] {
        assert!(!report[key].take().is_null(), "{key}");
    }
    report
}

/// Audits a tree and checks which codes come, each as often as it is given.
#[track_caller]
fn found(tree: &Tree, codes: &[&str]) -> Vec<Finding> {
    let root = tree.on_disk();
    let findings = audit(root.path());
    let mut expected = codes.to_vec();
    expected.sort_unstable();
    let mut got: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    got.sort_unstable();
    assert_eq!(got, expected, "{findings:#?}");
    findings
}

/// The tags that a finding says are broken, with their platforms.
fn broken(finding: &Finding) -> Vec<String> {
    let words = |need: &Need| {
        let tag = need.tag.as_deref().unwrap_or(&need.manifest);
        format!("{}:{tag} {}", need.repository, need.platform.as_deref().unwrap_or("-"))
    };
    finding.needed_by.iter().map(words).collect()
}
