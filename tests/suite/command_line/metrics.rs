//! Figures for Prometheus: `--metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// The samples of a file in Prometheus's text format, each with its labels, and what is said of each name. Reads only what the format
/// allows, and refuses what the node exporter would.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut helped = BTreeSet::new();
    let mut typed = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.strip_suffix(" gauge").expect("a run's figures go up and down");
            assert!(typed.insert(name.to_owned()), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let (name, labels) = series.strip_suffix('}').and_then(|series| series.split_once('{')).expect("labels");
            assert!(name.starts_with("regsweep_") && helped.contains(name) && typed.contains(name), "{line}");
            assert!(labels.contains("command=\""), "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    assert!(text.ends_with('\n'));
    samples
}

#[test]
fn a_run_leaves_its_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("regsweep.prom");
    let root = tree().on_disk();
    let read = || samples(&fs::read_to_string(&path).expect("it was written"));
    let of = |samples: &BTreeMap<String, f64>, name: &str| samples[&format!("regsweep_{name}{{command=\"garbage-collect\"}}")];

    let dry = Regsweep::gc(root.path()).args(["-m", "--metrics"]).arg(&path).dry().json().run().expect_code(0);
    let planned = dry.report()["reclaimable"].clone();
    let figures = read();
    assert_eq!(of(&figures, "exit_code"), 0.0);
    assert_eq!(of(&figures, "reclaimable_blobs"), planned["blobs"].as_f64().expect("a number"));
    assert_eq!(of(&figures, "reclaimable_bytes"), planned["bytes"].as_f64().expect("a number"));
    assert!(of(&figures, "duration_seconds") > 0.0 && of(&figures, "start_time_seconds") > 1.7e9);
    assert!(!figures.keys().any(|name| name.contains("reclaimed")), "nothing was");
    assert!(figures.iter().all(|(name, value)| !name.starts_with("regsweep_findings{") || *value == 0.0));
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the exporter runs as another user");

    // Anything damaged, and a real run over the same file.
    let link = root.path().join(layout::revision_link("team/app", oci_image("new", &[layer(1), layer(3)]).digest()));
    fs::write(&link, "").expect("cut");
    // Some time ago: what is young is work under way.
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
    fs::File::open(&link).and_then(|file| file.set_modified(then)).expect("ours");
    Regsweep::gc(root.path()).arg("--metrics").arg(&path).run().expect_code(1);
    let figures = read();
    assert_eq!(of(&figures, "exit_code"), 1.0);
    assert_eq!(of(&figures, "reclaimed_blobs"), 1.0);
    let series = "regsweep_findings{command=\"garbage-collect\",code=\"empty-link\",severity=\"error\"}";
    assert_eq!(figures[series], 1.0);
    let left: Vec<_> = fs::read_dir(directory.path()).expect("listable").collect();
    assert_eq!(left.len(), 1, "no other file stays");
}

#[test]
fn a_run_that_stops_leaves_figures_too_and_never_in_the_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("regsweep.prom");
    let root = Tree::new().directory(layout::BASE).blob(&layer(1)).on_disk();
    Regsweep::gc(root.path()).arg("--metrics").arg(&path).run().expect_code(2);
    let figures = samples(&fs::read_to_string(&path).expect("it was written"));
    assert_eq!(figures["regsweep_exit_code{command=\"garbage-collect\"}"], 2.0);

    let inside = root.path().join(layout::BASE).join("regsweep.prom");
    let refused = Regsweep::gc(root.path()).arg("--metrics").arg(&inside).run().expect_code(2);
    assert!(refused.stderr.contains("--metrics") && refused.stderr.contains("in the store"), "{}", refused.stderr);
    assert!(!inside.exists());
    let nowhere = directory.path().join("no/such/directory.prom");
    let refused = Regsweep::gc(root.path()).args(["--allow-empty", "--metrics"]).arg(&nowhere).dry().run().expect_code(2);
    assert!(refused.stderr.contains("no/such"), "{}", refused.stderr);
}
