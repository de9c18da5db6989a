//! `usage`: what takes the room, against the slow collector on any store, against what really comes back, and against itself: the
//! figures add up.

mod command;
mod exact;

use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// The report on a root directory, its figures checked.
#[track_caller]
fn usage(root: &Path, arguments: &[&str]) -> Value {
    let run = Regsweep::new().args(["usage", "--root"]).arg(root).args(arguments).json().run();
    assert!(matches!(run.code, Some(0 | 1)), "{}: {:?}\n{}{}", run.line, run.code, run.stdout, run.stderr);
    let report = run.report();
    adds_up(&report);
    report
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// Every blob is in one place, and every figure is the sum of its parts.
#[track_caller]
fn adds_up(report: &Value) {
    for what in ["blobs", "bytes"] {
        let of = |value: &Value| number(&value[what]);
        let rows = report["rows"].as_array().expect("rows");
        let sum = |key: &str| rows.iter().map(|row| of(&row[key])).sum::<u64>();
        let reclaimable = &report["reclaimable"];
        let parts = [&report["live"], &report["untagged"], &reclaimable["unreferenced"], &reclaimable["unlinked"]];
        let parts = parts.into_iter().chain([&report["young"], &report["changed"]]);
        assert_eq!(parts.map(of).sum::<u64>(), of(&report["stored"]), "stored, in {what}: {report:#}");
        let live = sum("unique") + of(&report["shared"]) + of(&report["in_no_row"]);
        assert_eq!(live, of(&report["live"]), "live, in {what}: {report:#}");
        assert!(sum("untagged") <= of(&report["untagged"]), "{report:#}");
        for row in rows {
            assert_eq!(of(&row["unique"]) + of(&row["shared"]), of(&row["total"]), "{row:#}");
            assert!(of(&row["shared"]) <= of(&report["shared"]), "{row:#}");
        }
        // What several rows keep is in two of them at least; what a tag shares may be kept by something else than a tag.
        let least = if ["repository", "namespace"].iter().any(|by| report["by"] == *by) { 2 } else { 1 };
        assert!(sum("shared") >= least * of(&report["shared"]), "{report:#}");
    }
}

/// A row by its name.
#[track_caller]
fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {report:#}"))
}
