//! `--html`: the page that `usage`, `audit`, a dry run and `report` write. `tests/browser` opens it in a browser.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fixtures::fixture;
use crate::support::*;

/// The data of a page.
fn data(page: &Path) -> Value {
    let page = fs::read_to_string(page).expect("a page");
    let (_, behind) = page.split_once(r#"<script type="application/json" id="data">"#).expect("data");
    serde_json::from_str(behind.split_once("</script>").expect("its end").0).expect("JSON")
}

fn figure<'a>(page: &'a Value, label: &str) -> &'a Value {
    let figures = page["figures"].as_array().expect("figures");
    figures.iter().find(|figure| figure["label"] == label).unwrap_or_else(|| panic!("no {label}: {figures:#?}"))
}

/// What a page says a kind of thing comes to, in each column.
fn freed<'a>(page: &'a Value, kind: &str) -> Vec<&'a Value> {
    let rows = page["collection"]["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {rows:#?}"));
    row["cells"].as_array().expect("cells").iter().map(|cell| &cell["bytes"]).collect()
}

#[test]
fn pages_say_what_the_json_reports_say() {
    let (story, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let run = |words: &[&str]| {
        let run = Regsweep::new().args(words).arg("--root").arg(root.path()).arg("--html").arg(&file).json().run();
        (run.expect_code(0).report(), data(&file))
    };
    let (usage, page) = run(&["usage"]);
    assert_eq!(figure(&page, "Stored")["bytes"], usage["stored"]["bytes"]);
    assert_eq!(page["rows"]["rows"].as_array().map(Vec::len), usage["rows"].as_array().map(Vec::len));
    let tags = |rows: &Value, at: usize| rows.as_array().expect("rows").iter().filter_map(|row| row[at].as_u64()).sum::<u64>();
    assert_eq!(tags(&page["ages"]["rows"], 5), usage["scanned"]["tags"].as_u64().expect("a number"), "every tag has its age");
    let (by_age, page) = run(&["usage", "--by", "age"]);
    assert_eq!(tags(&page["rows"]["rows"], 5), by_age["scanned"]["tags"].as_u64().expect("a number"));

    let (audit, page) = run(&["audit"]);
    let (plain, untagged) = (&audit["reclaimable"]["bytes"], &audit["reclaimable_delete_untagged"]["bytes"]);
    assert_eq!(freed(&page, "total"), [plain, untagged]);
    assert_eq!(page["findings"]["codes"].as_array().expect("codes").len(), 6, "{:#}", page["findings"]);

    let (dry, page) = run(&["garbage-collect", "--dry-run", "-m"]);
    assert_eq!(freed(&page, "total"), [&dry["reclaimable"]["bytes"]]);
    assert_eq!(dry["reclaimable"]["bytes"], story.goes("delete-untagged").1);
    let next = page["next"][0].as_str().expect("a step");
    assert!(next.contains("regsweep garbage-collect") && next.contains(" -m") && !next.contains("--html"), "{next}");

    let (whole, page) = run(&["report"]);
    assert_eq!(freed(&page, "total"), [plain, untagged]);
    for (part, name) in [(&usage, "usage"), (&audit, "audit")] {
        for key in ["stored", "live", "rows", "reclaimable", "findings"] {
            assert_eq!(whole[name][key], part[key], "{name} {key}");
        }
    }
    assert_eq!(whole["garbage_collect"]["reclaimable"]["bytes"], *plain);
    let columns: Vec<&str> =
        page["rows"]["columns"].as_array().expect("columns").iter().filter_map(|c| c["key"].as_str()).collect();
    assert!(columns.contains(&"goes"), "{columns:?}");
    let step = page["next"][0].as_str().expect("a step");
    assert!(step.contains("--root"), "a command can be run as it stands: {step}");
}

#[test]
fn a_page_that_cannot_be_written_is_refused_before_the_work() {
    let (_, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("link.html");
    std::os::unix::fs::symlink("elsewhere", &link).expect("linked");
    let in_store = root.path().join("docker/registry/v2/page.html");
    for (page, said) in [
        (directory.path().join("missing/page.html"), "missing"),
        (link, "no regular file"),
        (in_store.clone(), "lies in the store itself"),
        ("-".into(), "--html wants a file"),
    ] {
        for words in [&["usage"][..], &["audit"], &["garbage-collect", "--dry-run"], &["report"]] {
            let run = Regsweep::new().args(words).arg("--root").arg(root.path()).arg("--html").arg(&page).run().expect_code(2);
            assert!(run.stdout.is_empty() && run.stderr.contains(said), "{words:?} {page:?}: {}{}", run.stdout, run.stderr);
        }
    }
    assert!(!in_store.exists());
    let page = directory.path().join("page.html");
    let real = Regsweep::new().args(["garbage-collect", "--html"]).arg(&page).arg("--root").arg(root.path()).run().expect_code(2);
    assert!(real.stderr.contains("--dry-run"), "{}", real.stderr);
    assert!(!page.exists());
}

#[test]
fn a_page_of_what_cannot_be_read_or_is_not_there_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let empty = tempfile::tempdir().expect("a directory");
    Regsweep::new().args(["report", "--root"]).arg(empty.path()).arg("--html").arg(&file).run().expect_code(0);
    assert!(data(&file)["notices"][0].as_str().expect("a notice").contains("is empty"));

    // Nothing that is linked is stored.
    let (_, root) = fixture("team");
    fs::rename(root.path().join("docker/registry/v2/blobs"), directory.path().join("blobs")).expect("moved");
    let run = Regsweep::new().args(["report", "--json", "--root"]).arg(root.path()).arg("--html").arg(&file).run().expect_code(1);
    let page = data(&file);
    assert!(page["notices"][0].as_str().expect("a notice").starts_with("A real run would stop"), "{:#}", page["notices"]);
    let next = page["next"][0].as_str().expect("a step");
    assert!(next.contains("would stop a real run"), "{next}");
    assert_eq!(run.report()["garbage_collect"]["outcome"], "stopped");
}

/// All that a page says is to be run next.
fn next(page: &Value) -> String {
    page["next"].as_array().expect("steps").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_run_next_counts_as_this_run_and_finds_the_store_from_anywhere() {
    let (_, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let parent = root.path().parent().expect("a directory").to_owned();
    let name = root.path().file_name().expect("a name");
    for words in [&["usage"][..], &["report"], &["audit"], &["garbage-collect", "--dry-run"]] {
        let mut run = Regsweep::new().args(words).args(["--min-age", "0s", "--ignore-birth-time", "--root"]).arg(name);
        run = run.arg("--html").arg(&file).current_dir(&parent);
        let ran = run.run();
        let steps = next(&data(&file));
        let command = steps.split('`').find(|part| part.starts_with("regsweep garbage-collect")).expect("a collection");
        for part in ["--min-age 0s", "--ignore-birth-time", &format!("--root {}", root.path().display())] {
            assert_eq!(command.matches(part).count(), 1, "{words:?}, {part}: {command}\n{}", ran.stderr);
        }
        // What removes stale uploads is no run of which figures were shown.
        let is_same = |part: &&str| part.starts_with("regsweep garbage-collect") && !part.contains("--uploads-older-than");
        let typed = ran.stdout.split('`').skip(1).step_by(2).find(is_same);
        assert!(typed.is_none_or(|typed| typed.contains("--min-age 0s")), "{words:?}: {typed:?}");
    }
}

#[test]
fn a_page_of_one_repository_shows_its_tags() {
    let store = registry().repo("one").image("x", &[layer(1)]).tag("v1").image("y", &[layer(2)]).tag("v2").on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let by_tag = Regsweep::new().args(["usage", "--by", "tag", "--root"]).arg(store.path()).arg("--html").arg(&file);
    by_tag.run().expect_code(0);
    let expected = data(&file)["rows"]["rows"].clone();
    assert!(expected[0][1].as_u64().is_some_and(|unique| unique > 0), "{expected}");
    for command in ["usage", "report"] {
        Regsweep::new().args([command, "--root"]).arg(store.path()).arg("--html").arg(&file).run().expect_code(0);
        let rows = data(&file)["rows"].clone();
        assert_eq!((&rows["many"], &rows["rows"]), (&"tags".into(), &expected), "{command}");
        let parts = data(&file)["parts"].as_array().expect("parts").clone();
        let shared = parts.iter().find(|part| part["label"] == "Live, shared");
        assert!(shared.is_none_or(|part| part["bytes"] == 0), "{parts:?}");
        let names: Vec<_> = rows["rows"].as_array().expect("rows").iter().map(|row| row[0].as_str().expect("a name")).collect();
        assert!(names.contains(&"one:v1") && names.contains(&"one:v2") && names.len() == 2, "{names:?}");
    }
}

#[test]
fn a_page_names_what_mends_and_what_stops() {
    let (_, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let write = |words: &[&str]| {
        Regsweep::new().args(words).arg("--root").arg(root.path()).arg("--html").arg(&file).run();
        data(&file)
    };
    let page = write(&["audit"]);
    assert!(!next(&page).contains("repair"), "nothing is wrong: {}", next(&page));
    let uploads = figure(&page, "Uploads");
    assert!(uploads["count"] == 0 && uploads["note"].as_str().expect("text").starts_with("2 uploads"), "{uploads}");
    let total = |page: &Value| {
        let rows = page["collection"]["rows"].as_array().expect("rows").clone();
        rows.iter().find(|row| row["kind"] == "total").expect("a total")["label"].as_str().expect("text").to_owned()
    };
    let page = write(&["garbage-collect", "--dry-run", "--max-reclaim", "1"]);
    assert!(page["notices"][0].as_str().expect("a notice").starts_with("A real run would stop"));
    assert_eq!(total(&page), "Freed once nothing stops a real run");
    let page = write(&["garbage-collect", "--dry-run"]);
    assert_eq!(total(&page), "Freed now");
    // Elsewhere a figure of this name is all that untagged revisions alone need, and another all that goes with the flag.
    let labels: Vec<&str> = page["figures"].as_array().expect("figures").iter().filter_map(|one| one["label"].as_str()).collect();
    assert!(labels.contains(&"More with --delete-untagged") && !labels.contains(&"Untagged"), "{labels:?}");
    let page = write(&["garbage-collect", "--dry-run", "-m"]);
    assert!(page["parts"].as_array().expect("parts").iter().all(|part| part["label"] != "Untagged"), "{}", page["parts"]);

    // A link that is empty, where its place says what it held.
    let revisions = root.path().join("docker/registry/v2/repositories");
    let link = walkdir::WalkDir::new(revisions)
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .find(|path| path.ends_with("link") && path.to_string_lossy().contains("_manifests/revisions"))
        .expect("a link");
    fs::write(&link, "").expect("written");
    for words in [&["audit", "--min-age=0s"][..], &["report", "--min-age=0s"]] {
        let page = write(words);
        assert!(next(&page).contains("`regsweep repair --dry-run --root"), "{words:?}: {}", next(&page));
    }
}
