//! The names that programs read: keys of the JSON reports, of the rows of a plan, and the codes of findings. More may come; none goes or is called
//! otherwise without a new major version.
//!
//! `REGSWEEP_BLESS=1 cargo test --test suite kept_names` adds what is new to `kept_names.txt`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fixtures::fixture;
use crate::support::layout::{blob_data, layer_link};
use crate::support::*;

/// Objects whose keys are what they are about: codes, reasons.
const BY_NAME: [&str; 1] = ["finding_counts"];

/// All keys of a value, each with those that lead to it.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                if BY_NAME.iter().any(|name| at.ends_with(name)) {
                    continue;
                }
                let path = format!("{at}.{key}");
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// All names that regsweep writes on stores that have something of everything.
fn names() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in ["team", "legacy"] {
        let (_, root) = fixture(name);
        let root = root.path();
        let damaged = registry().repo("damaged").image("broken", &[layer(1), layer(2)]).tag("v1").on_disk();
        fs::remove_file(damaged.path().join(blob_data(&layer(1).digest))).expect("there");
        fs::write(damaged.path().join(blob_data(&layer(2).digest)), "short").expect("ours");
        let mut note = |name: &str, ran: &Outcome| {
            let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            keys(&report, name, &mut found);
        };
        let run = |words: &[&str], root: &Path| Regsweep::new().args(words).arg("--root").arg(root).json().run();
        note("audit", &run(&["audit"], root));
        note("audit", &run(&["audit"], damaged.path()));
        note("usage", &run(&["usage"], root));
        let wanted = if name == "team" { "base:1.0" } else { "library/multi:1.0" };
        note("explain", &run(&["explain", wanted], root));
        note("list", &run(&["list"], root));
        note("list", &run(&["list", "--untagged"], root));
        note("list", &run(&["list", if name == "team" { "base" } else { "library/multi" }], root));
        note("usage", &run(&["usage"], damaged.path()));
        let pages = tempfile::tempdir().expect("a directory");
        let page = pages.path().join("page.html").into_os_string().into_string().expect("UTF-8");
        let mut whole = run(&["report", "--html", &page], root);
        let mut report = whole.report();
        // Those within it have names of their own above.
        for part in ["audit", "garbage_collect", "usage"] {
            report[part] = Value::Null;
        }
        whole.stdout = report.to_string();
        note("report", &whole);
        note("repair", &run(&["repair", "--dry-run"], damaged.path()));
        fs::remove_file(damaged.path().join(layer_link("damaged", &layer(2).digest))).expect("there");
        note("repair", &run(&["repair", "--dry-run"], damaged.path()));
        note("verify", &run(&["verify"], root));
        note("verify", &run(&["verify"], damaged.path()));
        note("garbage-collect", &Regsweep::gc(damaged.path()).dry().json().run());
        note("garbage-collect", &Regsweep::gc(root).args(["-m", "-v"]).dry().json().run());
        let collected = Regsweep::gc(root).args(["-m", "--quarantine"]).json().run();
        note("garbage-collect", &collected);
        note("quarantine", &run(&["quarantine", "list"], root));
        note("quarantine", &run(&["restore"], root));
        note("quarantine", &run(&["quarantine", "purge"], root));
        let plan = root.join("plan.jsonl");
        let gc =
            Regsweep::new().args(["garbage-collect", "-m", "-d", "--min-age", "0s", "--ignore-birth-time", "--root"]).arg(root);
        gc.args(["--allow-shrunk", "--plan-out"]).arg(&plan).run();
        for line in fs::read_to_string(plan).expect("written").lines() {
            keys(&serde_json::from_str(line).expect("JSON"), "plan", &mut found);
        }
    }
    let stopped = Regsweep::new().args(["audit", "--json", "--root", "/nowhere"]).run();
    keys(&stopped.report(), "error", &mut found);
    found.extend(regsweep::error::CODES.map(|code| format!("error {code}")));
    let findings = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md")).expect("there");
    let codes = findings.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    found.extend(codes.map(|code| format!("finding {code}")));
    found
}

#[test]
fn no_name_that_programs_read_goes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/kept_names.txt");
    let names = names();
    let kept: BTreeSet<String> = fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    if std::env::var_os("REGSWEEP_BLESS").is_some() {
        let all: Vec<String> = kept.union(&names).cloned().collect();
        fs::write(&path, all.join("\n") + "\n").expect("writable");
        return;
    }
    let gone: Vec<&String> = kept.difference(&names).collect();
    assert!(gone.is_empty(), "these names went: {gone:?}");
    let new: Vec<&String> = names.difference(&kept).collect();
    assert!(new.is_empty(), "new names, which REGSWEEP_BLESS=1 keeps from now on: {new:?}");
    assert!(kept.len() > 150, "{}", kept.len());
}
