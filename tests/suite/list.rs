//! `list`: what the registry itself says of its storage, without the registry.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fixtures::fixture;
use crate::support::layout::{blob_data, blob_directory, layer_link, revision_link, tag_current};
use crate::support::server::{RealRegistry, major_version};
use crate::support::*;

/// The report on a root directory; nothing in it was touched.
#[track_caller]
fn list(root: &Path, arguments: &[&str]) -> Value {
    let before = snapshot(root);
    let run = Regsweep::new().args(["list", "--root"]).arg(root).args(arguments).json().run();
    assert!(matches!(run.code, Some(0 | 1)), "{}: {:?}\n{}{}", run.line, run.code, run.stdout, run.stderr);
    assert!(snapshot(root) == before, "a list touches nothing");
    run.report()
}

fn names(list: &Value) -> BTreeSet<String> {
    let entries = list.as_array().expect("a list").iter();
    entries.map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

/// The names in an answer of the registry, page by page.
fn asked(client: &http::Client, path: &str, key: &str) -> BTreeSet<String> {
    let answer = client.send("GET", path, &[], &[]).expect_status(200);
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    answer[key].as_array().into_iter().flatten().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_catalogue_and_the_tags_are_those_of_the_registry() {
    let registry = RealRegistry::start();
    let client = registry.client();
    let image = |name: &str| oci_image(name, &[layer(1)]);
    let both = index(&[image("amd64"), image("arm64")]);
    for (repository, tag) in [("a", "v1"), ("a", "v2"), ("a/b", "latest"), ("team/deep/er", "x.y_z-1")] {
        client.push_tag(repository, tag, &image(tag));
    }
    client.push_tag("multi", "all", &both);
    client.push("by/digest", &image("untagged"));
    client.put_blob("layers/only", &layer(7));
    client.begin_upload("uploads/only");
    client.push_tag("gone", "v1", &image("gone"));
    client.delete_manifest("gone", image("gone").digest());
    client.push_tag("lost", "v1", &image("lost"));
    client.push_tag("lost", "kept", &image("kept"));
    fs::remove_dir_all(registry.root().join(layout::parent(&tag_current("lost", "v1")))).expect("there");
    // Long ago: what is young and not complete is work under way.
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
    for entry in walkdir::WalkDir::new(registry.root().join(layout::tag("lost", "v1"))).contents_first(true) {
        fs::File::open(entry.expect("listable").path()).and_then(|file| file.set_modified(then)).expect("ours");
    }

    let report = list(&registry.root(), &[]);
    let key = if major_version() < 3 { "in_catalogue_2" } else { "in_catalogue_3" };
    let repositories = report["repositories"].as_array().expect("repositories");
    let listed = repositories.iter().filter(|listed| listed[key] == true);
    let listed: BTreeSet<String> = listed.map(|listed| listed["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(listed, asked(&client, "/v2/_catalog?n=1000", "repositories"));
    assert!(names(&report["repositories"]).contains("uploads/only"), "it is in no catalogue, and on the disk");

    for repository in &listed {
        let report = list(&registry.root(), &[repository]);
        let tags = report["tags"].as_array().expect("tags");
        assert_eq!(names(&report["tags"]), client.tags(repository), "{repository}");
        for tag in tags {
            let name = tag["name"].as_str().expect("a name");
            let answer = client.get_manifest(repository, name);
            assert_eq!((answer.status == 200, tag["state"] == "present"), (answer.status == 200, answer.status == 200), "{tag}");
            if answer.status == 200 {
                assert_eq!(tag["digest"].as_str(), Some(&*sha256(&answer.body)), "{repository}:{name}");
                let pulled = client.pull(repository, name).expect("it can be pulled");
                let bytes = pulled.manifests.values().chain(pulled.blobs.values()).map(Vec::len).sum::<usize>();
                assert_eq!(tag["bytes"].as_u64(), Some(bytes as u64), "{repository}:{name}");
            }
        }
    }
    let lost = list(&registry.root(), &["lost:v1"]);
    assert_eq!((&lost["tags"][0]["state"], &lost["exit_code"]), (&"lost".into(), &1.into()), "{lost:#}");
    let untagged = list(&registry.root(), &["--untagged"]);
    let untagged: BTreeSet<&str> =
        untagged["untagged"].as_array().expect("revisions").iter().map(|r| r["digest"].as_str().expect("a digest")).collect();
    assert_eq!(untagged, BTreeSet::from([image("untagged").digest(), image("lost").digest()]));
}

#[test]
fn platforms_sizes_and_times_are_said() {
    let (_, root) = fixture("team");
    let report = list(root.path(), &["base:1.0"]);
    let tag = &report["tags"][0];
    assert_eq!((&tag["kind"], &tag["state"]), (&"index".into(), &"present".into()), "{report:#}");
    let platforms = tag["platforms"].as_array().expect("platforms");
    let names: Vec<_> = platforms.iter().map(|platform| platform["platform"].as_str().expect("a name")).collect();
    assert_eq!(names, ["linux/amd64", "linux/arm64"]);
    let sum: u64 = platforms.iter().map(|platform| platform["bytes"].as_u64().expect("bytes")).sum();
    assert!(tag["bytes"].as_u64().expect("bytes") > sum / 2 && !tag["pushed"].is_null() && !tag["created"].is_null(), "{tag:#}");
    let text = Regsweep::new().args(["list", "--root"]).arg(root.path()).arg("base").run().expect_code(0).stdout;
    assert!(text.contains("  1.0  linux/amd64, linux/arm64  sha256:"), "{text}");
}

#[test]
fn what_is_damaged_is_said_and_the_rest_is_listed() {
    let image = |name: &str| oci_image(name, &[layer(1)]);
    let store = registry()
        .repo("a")
        .pushed(&image("ok"))
        .tag("ok")
        .pushed(&image("missing"))
        .tag("missing")
        .pushed(&image("unlinked"))
        .tag("unlinked")
        .pushed(&image("unclear"))
        .tag("unclear")
        .with(|tree| {
            tree.remove(&blob_directory(image("missing").digest())).remove(&revision_link("a", image("unlinked").digest()));
            tree.file(tag_current("a", "unclear"), "sha256:");
        });
    let root = store.on_disk();
    let report = list(root.path(), &["a"]);
    let states: Vec<(&str, &str)> = report["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| (tag["name"].as_str().expect("a name"), tag["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("missing", "missing"), ("ok", "present"), ("unclear", "unclear"), ("unlinked", "unlinked")]);
    assert_eq!((&report["exit_code"], &report["repository"]["held"]), (&1.into(), &true.into()), "{report:#}");
    let text = Regsweep::new().args(["list", "--root"]).arg(root.path()).arg("a").run().expect_code(1).stdout;
    assert!(text.contains("missing (its manifest is not stored: a pull fails)"), "{text}");
    // What is wrong elsewhere is not this list's.
    let root = store.repo("b").pushed(&image("fine")).tag("v1").on_disk();
    assert_eq!(list(root.path(), &["b"])["findings"], serde_json::json!([]));
}

#[test]
fn names_are_found_as_they_are_shown_and_nothing_is_sent() {
    let odd = "o\u{1b}[2Jdd";
    let root = registry().repo(odd).image("x", &[layer(1)]).tag("\u{202e}t").repo("team/api").image("x", &[]).tag("v1").on_disk();
    for arguments in [&[][..], &["--untagged"], &[r"o\u{1b}[2Jdd"], &[r"o\u{1b}[2Jdd:\u{202e}t"], &[odd]] {
        let run = Regsweep::new().args(["list", "--root"]).arg(root.path()).args(arguments).run().expect_code(1);
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{arguments:?}: {:?}", run.stdout);
    }
    for (typed, hint) in [
        ("team", "there is team/api below it"),
        ("registry.example:5000/team/api:v1", "leave out the registry's address"),
        ("x\u{1b}", "no repository x\\u{1b} in the store; `regsweep list --root"),
        ("team/api:v2", "no tag v2 in the repository team/api"),
        ("team/api@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "regsweep explain"),
    ] {
        let run = Regsweep::new().args(["list", "--root"]).arg(root.path()).arg(typed).run().expect_code(2);
        assert!(run.stderr.contains(hint) && !run.stderr.contains('\u{1b}'), "{typed}: {}", run.stderr);
    }
}

/// A tag is listed although it cannot be pulled, and what it lacks is said.
#[test]
fn what_is_lost_of_a_tag_is_a_finding() {
    let image = oci_image("x", &[layer(1), layer(2)]);
    let both = index(&[oci_image("amd64", &[layer(3)]), oci_image("arm64", &[layer(4)])]);
    let built = || registry().repo("a").pushed(&image).tag("v1").pushed(&both).tag("all").image("other", &[layer(5)]).tag("v2");
    let child = both.children[0].digest();
    let blob = blob_data(&layer(1).digest);
    for (code, tag, path) in [
        ("missing-blob", "v1", blob.clone()),
        ("missing-layer-link", "v1", layer_link("a", &layer(1).digest)),
        ("missing-layer-link", "all", layer_link("a", &layer(4).digest)),
        ("lost-child", "all", revision_link("a", child)),
    ] {
        let root = built().with(|tree| _ = tree.remove_leaving_directory(&path)).into_tree().on_disk();
        let command = |words: &[&str]| Regsweep::new().args(words).arg("--root").arg(root.path()).json().run();
        let (named, all) = (format!("a:{tag}"), "a".to_owned());
        for words in [["list", &*named], ["list", &*all], ["explain", &*named], ["explain", &*all]] {
            assert_eq!(command(&words).expect_code(1).finding_codes(), [code], "{words:?} {path}");
        }
        for words in [["list", "a:v2"], ["explain", "a:v2"]] {
            command(&words).expect_code(0);
        }
        let digest = crate::support::tree::digest_of_blob(&blob).expect("a blob");
        if path == blob || code == "missing-layer-link" && tag == "v1" {
            assert_eq!(command(&["explain", &digest]).expect_code(1).finding_codes(), [code], "{path}");
            command(&["explain", &layer(2).digest]).expect_code(0);
        }
    }
}

/// A registry takes what begins with an underscore for a directory of its own.
#[test]
fn what_no_registry_walks_is_not_in_its_catalogue() {
    let root = registry().repo("a").image("x", &[layer(1)]).tag("v1").repo("_b").image("x", &[layer(1)]).tag("v1").on_disk();
    let report = list(root.path(), &[]);
    let rows = report["repositories"].as_array().expect("a list").iter();
    let is_in = |row: &Value| (row["name"].clone(), row["in_catalogue_2"].clone(), row["in_catalogue_3"].clone());
    let rows: Vec<_> = rows.map(is_in).collect();
    assert_eq!(rows, [("_b".into(), false.into(), false.into()), ("a".into(), true.into(), true.into())]);
}
