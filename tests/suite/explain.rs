//! `explain`: ways that are there, decisions that a collection makes, and bytes that really come back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use crate::fixtures::fixture;
use crate::properties::{OldStore, freed};
use crate::support::layout::{blob_data, blob_directory, tag};
use crate::support::snapshot::blobs_on_disk;
use crate::support::*;

/// The report on something in a root directory; nothing there was touched.
#[track_caller]
fn explain(root: &Path, reference: &str) -> Value {
    let run = Regsweep::new().args(["explain", "--root"]).arg(root).arg(reference).json().run();
    assert!(matches!(run.code, Some(0 | 1)), "{}: {:?}\n{}{}", run.line, run.code, run.stdout, run.stderr);
    run.report()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// The content of a manifest, as it is on the disk.
fn manifest(root: &Path, digest: &str) -> Value {
    fs::read(root.join(blob_data(digest))).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Makes sure that each step of each way leads to the next, by the bytes on the disk, and that no way is there twice.
#[track_caller]
fn ways_are_there(root: &Path, report: &Value) {
    let chains = report["chains"].as_array().expect("chains");
    assert_eq!(Some(chains.len() as u64), report["chain_count"].as_u64(), "{report:#}");
    let mut known = chains.clone();
    known.dedup();
    assert_eq!(known.len(), chains.len(), "{report:#}");
    for chain in chains {
        let steps = chain["steps"].as_array().expect("steps");
        if let Some(name) = chain["tag"].as_str() {
            let current = root.join(layout::tag_current(text(chain, "repository"), name));
            assert_eq!(fs::read_to_string(current).expect("a link"), text(&steps[0], "digest"));
        }
        assert_eq!(text(steps.last().expect("a step"), "digest"), text(report, "digest"));
        for pair in steps.windows(2) {
            let (from, to) = match text(&pair[1], "relation") {
                "refers" => (&pair[1], &pair[0]),
                _ => (&pair[0], &pair[1]),
            };
            let json = manifest(root, text(from, "digest")).to_string();
            assert!(json.contains(text(to, "digest")), "{json} does not name {to}");
        }
    }
}

/// How many ways lead from a manifest to a digest, by the bytes on the disk.
fn count(root: &Path, from: &str, to: &str) -> u64 {
    if from == to {
        return 1;
    }
    let json = manifest(root, from);
    let listed = json["manifests"].as_array().into_iter().flatten().map(|child| text(child, "digest").to_owned());
    let content = json["layers"].as_array().into_iter().flatten().chain(json.get("config"));
    let is_named = content.map(|content| text(content, "digest")).any(|digest| digest == to);
    u64::from(is_named) + listed.map(|child| count(root, &child, to)).sum::<u64>()
}

#[test]
fn every_way_from_a_tag_is_found() {
    let (_, root) = fixture("team");
    let root = root.path();
    let mut tags = Vec::new();
    for (repository, names) in
        [("base", &["1.0"][..]), ("team/api", &["1.0", "1.1", "latest"]), ("team/web/frontend", &["stable"])]
    {
        for name in names {
            tags.push(fs::read_to_string(root.join(layout::tag_current(repository, name))).expect("a link"));
        }
    }
    let mut longest = 0;
    for digest in blobs_on_disk(root).keys() {
        let report = explain(root, digest);
        ways_are_there(root, &report);
        // The tag of a signature, and what refers to others, is told by the bytes alone.
        let direct = report["chains"].as_array().expect("chains").iter().filter(|chain| {
            let is_signature = chain["tag"].as_str().is_none_or(|tag| tag.starts_with("sha256-"));
            !is_signature && chain["steps"].as_array().expect("steps").iter().all(|step| step["relation"] != "refers")
        });
        let direct = direct.count() as u64;
        assert_eq!(direct, tags.iter().map(|from| count(root, from, digest)).sum::<u64>(), "{digest}: {report:#}");
        longest = longest.max(
            report["chains"]
                .as_array()
                .expect("chains")
                .iter()
                .map(|c| c["steps"].as_array().map_or(0, Vec::len))
                .max()
                .unwrap_or(0),
        );
    }
    assert!(longest >= 4, "a tag, an image, an SBOM, its signature: {longest}");
}

/// Collects untagged revisions, and says how many bytes the blobs that are left have.
fn left_after_collecting(root: &Path) -> u64 {
    let run = Regsweep::gc(root).args(["-m", "--allow-empty", "--allow-shrunk"]).run();
    assert!(matches!(run.code, Some(0 | 1)), "{}\n{}{}", run.line, run.stdout, run.stderr);
    blobs_on_disk(root).values().sum()
}

#[test]
fn deleting_a_tag_or_a_repository_frees_what_is_said() {
    for (name, repository, tags) in [
        ("team", "team/api", &["1.0", "1.1", "latest"][..]),
        ("team", "base", &["1.0"]),
        ("team", "team/web/frontend", &["stable"]),
        ("legacy", "library/hello", &["1", "latest", "3"]),
        ("legacy", "vault/sealed", &["1.0"]),
    ] {
        let (_, copy) = fixture(name);
        let baseline = left_after_collecting(copy.path());
        let (_, root) = fixture(name);
        let said = |reference: &str| explain(root.path(), reference)["freed"]["bytes"].as_u64().expect("bytes");
        for one in tags {
            let (_, copy) = fixture(name);
            fs::remove_dir_all(copy.path().join(tag(repository, one))).expect("there");
            assert_eq!(said(&format!("{repository}:{one}")), baseline - left_after_collecting(copy.path()), "{repository}:{one}");
        }
        let (_, copy) = fixture(name);
        fs::remove_dir_all(copy.path().join(layout::repository(repository))).expect("there");
        assert_eq!(said(repository), baseline - left_after_collecting(copy.path()), "{repository}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn fates_are_what_the_slow_collector_decides(store in OldStore::undamaged()) {
        let tree = store.tree();
        let root = tree.on_disk();
        let (plain, untagged) = (freed(&tree, false), freed(&tree, true));
        for digest in tree.blobs() {
            let report = explain(root.path(), &digest);
            if report["finding_counts"]["error"] != 0 {
                continue;
            }
            let is_in = |freed: &BTreeMap<String, u64>| freed.contains_key(&blob_data(&digest));
            let expected: &[&str] = match (is_in(&plain), is_in(&untagged)) {
                (true, _) => &["unreferenced", "unlinked"],
                (false, true) => &["kept-untagged"],
                (false, false) => &["kept"],
            };
            // A repository that only `-m` holds, for what is broken elsewhere in it, is told apart by that alone.
            let is_held_elsewhere = text(&report, "fate") == "kept-untagged" && expected == ["kept"];
            prop_assert!(expected.contains(&text(&report, "fate")) || is_held_elsewhere, "{}: {:?} {:#}", digest, expected, report);
        }
    }
}

#[test]
fn each_fate_is_said_with_its_reason() {
    let image = |name: &str| oci_image(name, &[layer(1)]);
    let store = registry().repo("a").pushed(&image("x")).tag("v1").pushed(&image("untagged")).upload_layer(&layer(2));
    let store = store.stray_blob(&layer(3)).young().upload_layer(&layer(4)).stray_blob(&layer(5));
    let root = store.on_disk();
    let absent = layer(9).digest;
    for (digest, fate, because) in [
        (&*layer(1).digest, "kept", "a tag leads to it"),
        (image("untagged").digest(), "kept-untagged", "only revisions without a tag lead to it"),
        (&layer(2).digest, "unreferenced", "it is linked, and no manifest that is kept needs it"),
        (&layer(3).digest, "unlinked", "no repository links it"),
        (&layer(4).digest, "young", "too young to judge"),
        (&layer(5).digest, "young", "too young to judge until 20"),
        (&absent, "absent", "nothing is known of it"),
    ] {
        assert_eq!(text(&explain(root.path(), digest), "fate"), fate, "{digest}");
        let said = Regsweep::new().args(["explain", digest, "--root"]).arg(root.path()).run().expect_code(0).stdout;
        assert!(said.contains(because), "{fate}: {said}");
    }
    let shared = explain(root.path(), &layer(1).digest);
    assert_eq!((&shared["chain_count"], &shared["tagged_chain_count"], &shared["link_count"]), (&2.into(), &1.into(), &1.into()));
    // Of what is missing it is said who needs it.
    fs::remove_dir_all(root.path().join(blob_directory(&layer(1).digest))).expect("there");
    let run = Regsweep::new().args(["explain", &layer(1).digest, "--root"]).arg(root.path()).json().run().expect_code(1);
    assert_eq!((run.finding_codes(), text(&run.report(), "fate")), (vec!["missing-blob".to_owned()], "absent"));
}

#[test]
fn what_is_held_is_kept_for_that() {
    let store = registry().repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
        tree.file(layout::tag_current("a", "v2"), "");
    });
    let root = store.repo("b").image("y", &[layer(3)]).tag("v1").on_disk();
    let run = Regsweep::new().args(["explain", &layer(2).digest, "--root"]).arg(root.path()).run().expect_code(1);
    assert!(run.stdout.contains("a is held, see the findings"), "{}", run.stdout);
    assert_eq!(explain(root.path(), "a:v1")["freed"]["blobs"], 0, "deleting the tag frees nothing of what is held");
    assert_eq!(explain(root.path(), &layer(3).digest)["findings"], serde_json::json!([]), "nothing of the other repository");
}

#[test]
fn ways_without_end_and_names_that_nobody_should_choose() {
    // A manifest that names itself, by an alias that somebody wrote, and one that names it a thousand times over.
    let name = layer(7).sha512();
    let json =
        serde_json::json!({ "mediaType": image::OCI_INDEX, "manifests": [{ "mediaType": image::OCI_INDEX, "digest": name }] });
    let own = Image::from_json(image::OCI_INDEX, json, Vec::new(), Vec::new());
    let store = registry().repo("a").with(|tree| {
        tree.layer_alias("a", &name, own.digest());
    });
    let mut store = store.manifest_only(&own);
    let mut level = own.manifest.clone();
    for number in 0..30 {
        // Without its children, of which there would be as many as ways.
        let listing = |names: &[&Content], twin: &str| {
            let manifests: Vec<_> = names.iter().map(|name| name.descriptor(image::OCI_INDEX)).collect();
            let json = serde_json::json!({ "manifests": manifests, "annotations": { "twin": twin, "number": number } });
            Image::from_json(image::OCI_INDEX, json, Vec::new(), Vec::new())
        };
        let twins = ["one", "other"].map(|twin| listing(&[&level], twin));
        let next = listing(&[&twins[0].manifest, &twins[1].manifest], "both");
        store = store.manifest_only(&twins[0]).manifest_only(&twins[1]).manifest_only(&next);
        level = next.manifest;
    }
    let root = store.tag("\u{1b}[2Jt").on_disk();
    let report = explain(root.path(), own.digest());
    assert_eq!(report["chains"].as_array().map(Vec::len), Some(1000), "listed");
    assert!(report["chain_count"].as_u64().expect("a count") >= 1 << 30, "{}", report["chain_count"]);
    let run = Regsweep::new().args(["explain", r"a:\u{1b}[2Jt", "--root"]).arg(root.path()).run();
    assert!(!run.stdout.contains('\u{1b}') && run.stdout.contains(r"a:\u{1b}[2Jt"), "{:?}", run.stdout);
    for (typed, why) in [("a:v9", "is not there"), ("b", "no repository b in the store"), ("", "nothing to explain")] {
        let words: Vec<&str> = [typed].into_iter().filter(|word| !word.is_empty()).collect();
        let run = Regsweep::new().arg("explain").args(words).arg("--root").arg(root.path()).run().expect_code(2);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

/// What a repository does not link is no part of it, whoever else has it.
#[test]
fn a_manifest_of_another_repository_is_not_explained_for_this_one() {
    let store = registry().repo("a").image("of a", &[layer(1)]).tag("v1").repo("b").image("of b", &[layer(2)]).tag("v1");
    let root = store.on_disk();
    let of_b = oci_image("of b", &[layer(2)]);
    let run = |reference: String| Regsweep::new().args(["explain", "--root"]).arg(root.path()).arg(reference).run();
    let refused = run(format!("a@{}", of_b.digest())).expect_code(2);
    assert!(refused.stderr.contains("the repository a does not link"), "{}", refused.stderr);
    run(format!("b@{}", of_b.digest())).expect_code(0);
    run(format!("b@{}", layer(2).digest)).expect_code(0);
    run(of_b.digest().to_owned()).expect_code(0);
}
