//! What is unique is what deleting frees, to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::{number, row, usage};
use crate::fixtures::fixture;
use crate::properties::{OldStore, freed};
use crate::support::layout::{BASE, tag};
use crate::support::snapshot::blobs_on_disk;
use crate::support::*;

/// Repositories of a tree, by the directories that make one.
fn repositories(tree: &Tree) -> Vec<String> {
    let start = format!("{BASE}/repositories/");
    let mut names: Vec<String> = tree
        .directories()
        .keys()
        .filter_map(|path| path.strip_prefix(&start)?.split_once("/_").map(|(name, _)| name.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The tree without what makes a directory a repository.
fn without(tree: &Tree, repository: &str) -> Tree {
    let mut tree = tree.clone();
    for marker in ["_layers", "_manifests", "_uploads"] {
        tree.remove(&format!("{BASE}/repositories/{repository}/{marker}"));
    }
    tree
}

fn bytes(blobs: &BTreeMap<String, u64>) -> u64 {
    blobs.values().sum()
}

fn reclaimable(report: &Value) -> u64 {
    ["unreferenced", "unlinked"].iter().map(|kind| number(&report["reclaimable"][kind]["bytes"])).sum()
}

/// By brute force: the slow collector, once with and once without each row.
fn as_the_slow_collector_says(tree: &Tree, report: &Value, rows: &BTreeMap<String, Vec<String>>) -> Result<(), TestCaseError> {
    prop_assert_eq!(reclaimable(report), bytes(&freed(tree, false)), "reclaimable");
    // Where an image is broken `-m` may hold a repository that is not held without.
    if number(&report["finding_counts"]["error"]) > 0 {
        return Ok(());
    }
    let with = freed(tree, true);
    prop_assert_eq!(reclaimable(report) + number(&report["untagged"]["bytes"]), bytes(&with), "with -m");
    for (name, repositories) in rows {
        let deleted = repositories.iter().fold(tree.clone(), |tree, name| without(&tree, name));
        let after = freed(&deleted, true);
        prop_assert_eq!(number(&row(report, name)["unique"]["bytes"]), bytes(&after) - bytes(&with), "unique of {}", name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn figures_are_those_of_the_slow_collector(store in OldStore::undamaged()) {
        let tree = store.tree();
        let root = tree.on_disk();
        let repositories = repositories(&tree);
        let by_name = repositories.iter().map(|name| (name.clone(), vec![name.clone()])).collect();
        as_the_slow_collector_says(&tree, &usage(root.path(), &[]), &by_name)?;
        let mut namespaces: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in repositories {
            namespaces.entry(name.split('/').next().expect("a part").to_owned()).or_default().push(name);
        }
        as_the_slow_collector_says(&tree, &usage(root.path(), &["--by", "namespace"]), &namespaces)?;
    }

    #[test]
    fn tags_hold_what_deleting_them_frees(store in OldStore::undamaged()) {
        let tree = store.tree();
        let root = tree.on_disk();
        let report = usage(root.path(), &["--by", "tag"]);
        if number(&report["finding_counts"]["error"]) == 0 {
            let with = bytes(&freed(&tree, true));
            let mut tagless = tree.clone();
            for row in report["rows"].as_array().expect("rows") {
                let (repository, name) = row["name"].as_str().and_then(|name| name.split_once(':')).expect("a tag");
                let mut deleted = tree.clone();
                deleted.remove(&tag(repository, name));
                tagless.remove(&tag(repository, name));
                prop_assert_eq!(number(&row["unique"]["bytes"]), bytes(&freed(&deleted, true)) - with, "{}", row);
            }
            // All are of one age.
            let ages = usage(root.path(), &["--by", "age"]);
            let unique: Vec<u64> = ages["rows"].as_array().expect("rows").iter().map(|row| number(&row["unique"]["bytes"])).collect();
            prop_assert!(unique.len() <= 1, "{:#}", ages);
            prop_assert_eq!(unique.iter().sum::<u64>(), bytes(&freed(&tagless, true)) - with, "{:#}", ages);
        }
    }

    #[test]
    fn figures_add_up_on_any_store(store in OldStore::any()) {
        let tree = store.tree();
        let root = tree.on_disk();
        for by in ["repository", "namespace", "tag", "age", "media-type"] {
            prop_assert_eq!(reclaimable(&usage(root.path(), &["--by", by])), bytes(&freed(&tree, false)), "reclaimable");
        }
    }
}

/// Collects, and says how many bytes the blobs that are left have.
fn left_after_collecting(root: &Path) -> u64 {
    let run = Regsweep::gc(root).args(["-m", "--allow-empty", "--allow-shrunk", "--ignore-birth-time"]).run();
    assert!(matches!(run.code, Some(0 | 1)), "{}\n{}{}", run.line, run.stdout, run.stderr);
    blobs_on_disk(root).values().sum()
}

#[test]
fn deleting_a_repository_really_frees_what_it_holds_alone() {
    for name in ["team", "legacy"] {
        let (_, root) = fixture(name);
        let report = usage(root.path(), &[]);
        assert_eq!(number(&report["stored"]["bytes"]), blobs_on_disk(root.path()).values().sum::<u64>());
        let baseline = left_after_collecting(root.path());
        assert_eq!(number(&report["live"]["bytes"]), baseline, "{name}: what is left is what was live");
        let rows = report["rows"].as_array().expect("rows");
        assert!(rows.len() >= 4, "{report:#}");
        for row in rows {
            let repository = row["name"].as_str().expect("a name");
            let (_, root) = fixture(name);
            fs::remove_dir_all(root.path().join(layout::repository(repository))).expect("there");
            let freed = baseline - left_after_collecting(root.path());
            assert_eq!(number(&row["unique"]["bytes"]), freed, "{name}: {repository}");
        }
    }
}
