//! The command itself: figures against a dry run, order, formats, names, damage.

use std::fs;

use super::{number, row, usage};
use crate::fixtures::fixture;
use crate::support::layout::{blob_data, tag_current, upload};
use crate::support::*;

#[test]
fn figures_are_those_of_a_dry_run() {
    for name in ["team", "legacy"] {
        let (_, root) = fixture(name);
        let before = snapshot(root.path());
        let report = usage(root.path(), &[]);
        assert!(snapshot(root.path()) == before, "usage touches nothing");
        let dry = Regsweep::gc(root.path()).dry().json().run().expect_code(0).report();
        for what in ["blobs", "bytes"] {
            assert_eq!(report["stored"][what], dry["scanned"][what], "{name}");
            let kinds = ["unreferenced", "unlinked"].map(|kind| number(&report["reclaimable"][kind][what]));
            assert_eq!(kinds.iter().sum::<u64>(), number(&dry["reclaimable"][what]), "{name}");
            assert_eq!(report["untagged"][what], dry["reclaimable_delete_untagged"][what], "{name}");
        }
        for what in ["repositories", "tags", "revisions", "layer_links"] {
            assert_eq!(report["scanned"][what], dry["scanned"][what], "{name} {what}");
        }
    }
}

/// Two repositories that share a layer, one of them with an image that has no tag.
fn shared() -> Registry {
    registry().repo("a/one").image("x", &[layer(1), layer(2)]).tag("v1").repo("a/two").image("y", &[layer(1)]).tag("v1").tag("v2")
}

#[test]
fn blobs_are_unique_shared_or_untagged() {
    let alone = oci_image("z", &[layer(1), layer(3)]);
    let root = shared().repo("a/one").pushed(&alone).repo("b").pushed(&alone).upload_layer(&layer(4)).on_disk();
    let report = usage(root.path(), &[]);
    let blobs = |row: &serde_json::Value, key: &str| number(&row[key]["blobs"]);
    // Manifest, configuration and a layer of its own; `layer(1)` with the others.
    for (name, total, unique, untagged) in [("a/one", 4, 3, 0), ("a/two", 3, 2, 0), ("b", 0, 0, 0)] {
        let row = row(&report, name);
        let found = (blobs(row, "total"), blobs(row, "unique"), blobs(row, "untagged"));
        assert_eq!(found, (total, unique, untagged), "{name}: {report:#}");
    }
    assert_eq!(blobs(&report, "untagged"), 3, "in two repositories, and so in no row");
    assert_eq!(number(&report["reclaimable"]["unreferenced"]["blobs"]), 1);
    let namespaces = usage(root.path(), &["--by", "namespace"]);
    let row = row(&namespaces, "a");
    assert_eq!((blobs(row, "total"), blobs(row, "unique"), number(&row["tags"]), number(&row["images"])), (6, 6, 3, 3));
    assert_eq!(number(&namespaces["shared"]["blobs"]), 0);
}

/// What a tag names is kept and counted, whether or not a registry takes such a name.
#[test]
fn tags_are_as_many_as_their_rows() {
    let root = registry().repo("a").image("x", &[layer(1)]).tag("v1").tag("t<b>").tag("t&c").on_disk();
    for by in ["tag", "age", "repository"] {
        let report = usage(root.path(), &["--by", by]);
        let rows = report["rows"].as_array().expect("rows").iter();
        assert_eq!((rows.map(|row| number(&row["tags"])).sum::<u64>(), number(&report["scanned"]["tags"])), (3, 3), "{by}");
    }
}

/// What is too young to go is said, and when it can.
#[test]
fn what_only_its_age_keeps_has_a_time() {
    let old = || registry().repo("a").image("x", &[layer(1)]).tag("v1");
    let run = |built: Registry| {
        let root = built.on_disk();
        let text = Regsweep::new().args(["usage", "--ignore-birth-time", "--root"]).arg(root.path()).run().expect_code(0).stdout;
        let dry = Regsweep::gc(root.path()).arg("--ignore-birth-time").delete_untagged().dry().json().run();
        (usage(root.path(), &["--ignore-birth-time"]), text, dry.report())
    };
    let (report, text, _) = run(old());
    assert_eq!(number(&report["untagged_young"]["images"]), 0);
    assert!(text.contains("nothing to collect: delete tags"), "{text}");
    let (report, text, dry) = run(old().young().image("y", &[layer(1), layer(2)]));
    let young = &report["untagged_young"];
    // Its manifest, its configuration and one layer.
    assert_eq!((number(&young["images"]), number(&young["at_most"]["blobs"])), (1, 3), "{report:#}");
    assert_eq!(young["until"], dry["young"]["until"], "{dry:#}");
    assert!(text.contains("in 1 image without a tag, too young to go until 2"), "{text}");
    assert!(text.contains("nothing to collect yet: what is too young can go from 2"), "{text}");
    assert!(text.contains("garbage-collect --dry-run --delete-untagged"), "{text}");
    let (report, text, _) = run(old().young().upload_layer(&layer(3)));
    assert_eq!(number(&report["untagged_young"]["images"]), 0);
    assert_eq!(number(&report["linked_young"]["blobs"]), 1, "{report:#}");
    assert!(report["young_until"].is_string() && text.contains("too young to judge until 2"), "{text}");
}

/// A layer that is named by its SHA-512 is stored under its SHA-256, and counts as what it is.
#[test]
fn a_copy_of_each_image_has_the_layers_of_every_algorithm() {
    let image = oci_image("x", &[layer(1), layer(2)]);
    let by_sha512 = oci_image("x", &[layer(1), layer(2)]).with_sha512_descriptors();
    let mut tree = registry().into_tree();
    tree.push("a", &by_sha512).tag("a", "v1", by_sha512.digest());
    tree.push("b", &image).tag("b", "v1", image.digest());
    let root = tree.on_disk();
    let report = usage(root.path(), &[]);
    let whole =
        |image: &Image| image.blobs.iter().chain([&image.manifest]).map(|content| content.bytes.len() as u64).sum::<u64>();
    assert_eq!(number(&report["unshared_bytes"]), whole(&image) + whole(&by_sha512), "{report:#}");
    assert!(report["deduplication"].as_f64() > Some(1.0), "{report:#}");
}

#[test]
fn rows_come_in_the_order_that_was_asked_for() {
    let root = shared().young().repo("c").image("z", &[layer(9)]).tag("v1").tag("v2").tag("v3").on_disk();
    let names = |arguments: &[&str]| {
        let report = usage(root.path(), arguments);
        let rows = report["rows"].as_array().expect("rows").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--sort", "tags"]), ["c", "a/two", "a/one"]);
    assert_eq!(names(&["--sort", "pushed"])[0], "c");
    assert_eq!(names(&["--sort", "total"])[0], "a/one");
    let text = |top: &str| Regsweep::new().args(["usage", "--top", top, "--root"]).arg(root.path()).run().expect_code(0).stdout;
    assert!(text("1").contains("  and 2 more; --top 0 shows all\n"), "{}", text("1"));
    assert!(!text("0").contains("more;"), "{}", text("0"));
    let report = Regsweep::new().args(["usage", "--top", "2", "--root"]).arg(root.path()).json().run().report();
    assert_eq!((report["rows"].as_array().map(Vec::len), &report["rows_not_listed"]), (Some(2), &1.into()));
}

#[test]
fn rows_are_kinds_of_images_and_ages_of_tags() {
    let (_, root) = fixture("team");
    let kinds = usage(root.path(), &["--by", "media-type"]);
    let images = row(&kinds, "image");
    assert_eq!((number(&images["images"]), number(&row(&kinds, "index")["images"])), (6, 2), "{kinds:#}");
    assert_eq!(number(&row(&kinds, "application/spdx+json")["images"]), 1, "{kinds:#}");
    let young = registry().repo("a").image("x", &[layer(1), layer(2)]).tag("old");
    let root = young.aged(days(2)).image("y", &[layer(1)]).tag("new").on_disk();
    let ages = usage(root.path(), &["--by", "age"]);
    let of = |age: &str| (number(&row(&ages, age)["unique"]["blobs"]), number(&row(&ages, age)["total"]["blobs"]));
    assert_eq!((of("within a week"), of("within 90 days")), ((2, 3), (3, 4)), "{ages:#}");
    let tags = usage(root.path(), &["--by", "tag"]);
    assert_eq!(number(&row(&tags, "a:old")["unique"]["blobs"]), 3, "{tags:#}");
}

#[test]
fn a_spreadsheet_has_the_rows() {
    let root = shared().repo("=a").image("x", &[layer(1)]).tag("v1").on_disk();
    let report = usage(root.path(), &["--sort", "total"]);
    let run = |format: &str| {
        let run = Regsweep::new().args(["usage", "--sort", "total", "--format", format, "--quiet", "--root"]).arg(root.path());
        run.run().expect_code(1).stdout
    };
    let (out, mut lines) = (run("csv"), 0);
    let mut table = out.lines();
    let heads: Vec<&str> = table.next().expect("heads").split(',').collect();
    assert_eq!(heads[..4], ["name", "total_bytes", "unique_bytes", "shared_bytes"]);
    for (line, row) in table.zip(report["rows"].as_array().expect("rows")) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), heads.len(), "{line}");
        assert_eq!(cells[0].trim_start_matches('\''), row["name"].as_str().expect("a name"));
        assert_eq!(cells[1].parse::<u64>().ok(), row["total"]["bytes"].as_u64());
        lines += 1;
    }
    assert_eq!((lines, out.contains("\n'=a,")), (3, true), "no formula: {out}");
    for command in ["audit", "list", "garbage-collect"] {
        let refused = Regsweep::new().args([command, "--format", "csv", "--root"]).arg(root.path()).run().expect_code(2);
        assert!(refused.stderr.contains("expected text or json"), "{}", refused.stderr);
    }
}

#[test]
fn damage_is_found_and_nothing_else_is_lost_of_the_figures() {
    let root = shared().with(|tree| {
        tree.remove(&blob_data(&layer(2).digest)).file(tag_current("a/two", "v2"), "");
        tree.upload("a/two", "1", b"12345");
    });
    let root = root.on_disk();
    let run = Regsweep::new().args(["usage", "--root"]).arg(root.path()).json().run().expect_code(1);
    assert_eq!(run.finding_codes(), ["empty-link", "held-repository", "missing-blob"]);
    let report = usage(root.path(), &[]);
    assert_eq!(number(&row(&report, "a/two")["held_repositories"]), 1);
    assert_eq!((number(&report["uploads"]["uploads"]), number(&report["uploads"]["bytes"])), (1, 5));
    let text = Regsweep::new().args(["usage", "--root"]).arg(root.path()).run().expect_code(1).stdout;
    assert!(text.contains("a/two (held)"), "{text}");
}

#[test]
fn names_are_shown_and_not_sent() {
    let root = registry().repo("o\u{1b}[2Jdd/\u{202e}x").image("x", &[layer(1)]).tag("\u{1b}[2J").on_disk();
    for format in ["text", "json"] {
        let run = Regsweep::new().args(["usage", "--by", "repository", "--format", format, "--root"]).arg(root.path()).run();
        let out = run.expect_code(1).stdout;
        assert!(!out.contains(['\u{1b}', '\u{202e}']) && out.contains("[2Jdd/"), "{out:?}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let root = shared().on_disk();
    fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let closed = root.path().join(layout::repository("a/two")).join("_manifests/revisions");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    let run = somebody.runs(Regsweep::new().args(["usage", "--ignore-birth-time", "--root"]).arg(root.path()).json()).run();
    let run = run.expect_code(1);
    assert!(run.finding_codes().contains(&"unreadable-entry".to_owned()), "{}", run.stdout);
    assert_eq!(run.report()["partial"], true);
    let text = somebody.runs(Regsweep::new().args(["usage", "--ignore-birth-time", "--root"]).arg(root.path())).run().stdout;
    assert!(text.contains("reclaimable   not known") && !text.contains("frees it"), "{text}");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
}

#[test]
fn what_is_in_quarantine_is_not_stored() {
    let (_, root) = fixture("team");
    let stored = number(&usage(root.path(), &[])["stored"]["bytes"]);
    let moved = Regsweep::gc(root.path()).arg("--quarantine").json().run().expect_code(0).report();
    let report = usage(root.path(), &[]);
    assert_eq!(report["quarantined"], moved["quarantine"]["waiting"]);
    assert_eq!(number(&report["stored"]["bytes"]) + number(&report["quarantined"]["bytes"]), stored);
    assert_eq!(fs::read_dir(root.path().join(upload("team/api", ""))).expect("there").count(), 1);
}
