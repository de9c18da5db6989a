//! Whole pages: what is in them is data, how large they are, and that their figures are those of the JSON report.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::amount::Amount;
use crate::finding::{Code, Finding};
use crate::mark::Counts;
use crate::options::{UsageBy, UsageSort};
use crate::report::Report as _;
use crate::report::usage::UsageReport;
use crate::usage::{StoreUsage, UsageRow};

/// Browsers and mail programs open what is smaller without complaint.
const MOST_BYTES: usize = 2_000_000;

const HOSTILE: [&str; 6] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'`${alert(1)}",
    "a&lt;b&amp;<!--",
    "\u{2028}line\u{2029}",
    "{data}{script}{policy}",
];

fn amount(count: u64, size_bytes: u64) -> Amount {
    Amount { count, size_bytes }
}

fn row(name: &str, number: u64) -> UsageRow {
    UsageRow {
        name: name.to_owned(),
        total: amount(20, 900_000_000 + number),
        unique: amount(11, 700_000_000 + number),
        untagged: amount(3, 123_456_789),
        images: 14,
        tags: 25,
        pushed: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + number)),
        held_repositories: 0,
    }
}

fn report(rows: Vec<UsageRow>, findings: Vec<Finding>) -> UsageReport {
    UsageReport {
        root: PathBuf::from("/srv/</script>registry"),
        config_path: None,
        by: UsageBy::Repository,
        sort: UsageSort::Unique,
        top: None,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        usage: StoreUsage {
            stored: amount(45, 68_138),
            live: amount(27, 37_980),
            shared: amount(2, 11_305),
            untagged: amount(14, 17_779),
            unreferenced: amount(3, 11_794),
            unlinked: amount(1, 585),
            ..StoreUsage::default()
        },
        tags: None,
        ages: Some(vec![row("within a day", 1)]),
        repositories: rows.len() as u64,
        rows,
        counts: Counts::default(),
        is_partial: false,
        findings,
        elapsed: Duration::from_millis(20),
    }
}

fn render(report: &UsageReport) -> String {
    report.page().expect("usage has a page").render(&str::to_owned)
}

/// The data of a page, as its script reads it.
fn data(page: &str) -> Value {
    let (_, behind) = page.split_once(r#"<script type="application/json" id="data">"#).expect("data");
    let (data, _) = behind.split_once("</script>").expect("its end");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn what_a_store_says_is_data_and_never_markup() {
    let rows: Vec<UsageRow> = HOSTILE.iter().map(|name| row(name, 1)).collect();
    let finding =
        Finding::new(Code::UnrecognisedEntry).path("</script><script>alert(2)</script>").detail("<b>`regsweep list`</b>");
    let page = render(&report(rows, vec![finding]));
    let plain = render(&report(Vec::new(), Vec::new()));
    let tags = |page: &str| ["<script", "</script", "<img", "<!--", "<b>"].map(|tag| page.matches(tag).count());
    assert_eq!(tags(&page), tags(&plain));
    assert!(!page.contains(['\u{2028}', '\u{2029}']));
    let data = data(&page);
    let names: Vec<&str> = data["rows"]["rows"].as_array().expect("rows").iter().filter_map(|row| row[0].as_str()).collect();
    assert_eq!(names, HOSTILE);
    assert_eq!(data["root"], "/srv/</script>registry");
    assert_eq!(data["findings"]["codes"][0]["places"][0]["path"], "</script><script>alert(2)</script>");
}

#[test]
fn the_policy_allows_the_style_and_the_script_of_the_page_alone() {
    use base64::Engine as _;
    use sha2::Digest as _;

    let page = render(&report(Vec::new(), Vec::new()));
    let hash = |begin: &str, end: &str| {
        let text = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).expect("there").0;
        base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text))
    };
    let (style, script) = (hash("<style>", "</style>"), hash("<script>", "</script>"));
    let policy =
        page.split_once("Content-Security-Policy\" content=\"").and_then(|(_, rest)| rest.split_once('"')).expect("there").0;
    for rule in ["default-src 'none'", &format!("style-src 'sha256-{style}';"), &format!("script-src 'sha256-{script}';")] {
        assert!(policy.contains(rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!page.contains("http://") && !page.contains("https://"), "the page names no address");
}

#[test]
fn ten_thousand_repositories_fit_into_2_megabytes() {
    let rows = (0..10_000).map(|number| row(&format!("department-{}/project-{number}/service", number % 40), number)).collect();
    let page = render(&report(rows, Vec::new()));
    assert!(page.len() < MOST_BYTES, "{}", page.len());
    let shown = data(&page);
    assert_eq!(shown["rows"]["rows"].as_array().expect("rows").len(), 10_000, "and all of them are in it");
    assert_eq!(shown["rows"]["others"], Value::Null);
}

#[test]
fn whatever_names_are_the_page_stays_small_and_says_what_it_left_out() {
    let hostile = (0..10_000).map(|number| row(&format!("{number}{}", "<".repeat(5000)), number)).collect();
    let flood = (0..10_000).map(|number| Finding::new(Code::UnrecognisedEntry).path(format!("{number}{}", "<".repeat(200))));
    let page = render(&report(hostile, flood.collect()));
    assert!(page.len() < MOST_BYTES, "{}", page.len());
    let shown = data(&page);
    let rows = shown["rows"]["rows"].as_array().expect("rows").len() as u64;
    assert!(rows > 100, "{rows}");
    assert_eq!(shown["rows"]["others"]["count"], json!(10_000 - rows));
    assert_eq!(shown["rows"]["cut_names"], 10_000);
    assert!(shown["findings"]["codes"][0]["left_out"].as_u64().expect("a number") > 0);
}

#[test]
fn the_figures_are_those_of_the_json_report() {
    let report = report(vec![row("team/app", 1), row("team/web", 2)], Vec::new());
    let (json, page) = (serde_json::from_str::<Value>(&report.json()).expect("JSON"), data(&render(&report)));
    let figure = |label: &str| {
        let figures = page["figures"].as_array().expect("figures");
        figures.iter().find(|figure| figure["label"] == label).unwrap_or_else(|| panic!("{label}")).clone()
    };
    for (label, name) in [("Stored", "stored"), ("Live", "live"), ("Untagged", "untagged")] {
        assert_eq!((&figure(label)["count"], &figure(label)["bytes"]), (&json[name]["blobs"], &json[name]["bytes"]), "{label}");
    }
    let parts: u64 = page["parts"].as_array().expect("parts").iter().filter_map(|part| part["bytes"].as_u64()).sum();
    assert_eq!(json!(parts), json["stored"]["bytes"], "the parts are all that is stored");
    let at = |key: &str| page["rows"]["columns"].as_array().expect("columns").iter().position(|column| column["key"] == key);
    for (shown, listed) in page["rows"]["rows"].as_array().expect("rows").iter().zip(json["rows"].as_array().expect("rows")) {
        assert_eq!(shown[0], listed["name"]);
        for key in ["unique", "shared", "total", "untagged"] {
            assert_eq!(shown[at(key).expect("a column")], listed[key]["bytes"], "{key}");
        }
        for key in ["images", "tags", "pushed"] {
            assert_eq!(shown[at(key).expect("a column")], listed[key], "{key}");
        }
    }
    assert_eq!(page["next"][0], "run `regsweep garbage-collect --dry-run --delete-untagged` to see what would go");
}
