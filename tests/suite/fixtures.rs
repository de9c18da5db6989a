//! The archives in `fixtures/`: what goes from storage that the real registry wrote, against a list that no collector made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::support::*;

/// What `fixtures/make` wrote about an archive.
#[derive(Deserialize)]
pub(crate) struct Story {
    blobs: BTreeMap<String, Blob>,
    repositories: BTreeMap<String, Repository>,
    goes: BTreeMap<String, Goes>,
}

#[derive(Deserialize)]
struct Blob {
    bytes: u64,
}

#[derive(Deserialize)]
struct Repository {
    tags: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Goes {
    blobs: BTreeMap<String, String>,
    bytes: u64,
}

impl Story {
    /// The blobs that go, and their bytes; `delete-untagged` or `default`.
    pub(crate) fn goes(&self, mode: &str) -> (BTreeSet<String>, u64) {
        let goes = &self.goes[mode];
        (goes.blobs.values().cloned().collect(), goes.bytes)
    }
}

pub(crate) fn fixture(name: &str) -> (Story, TempDir) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let story = fs::read(directory.join(name).with_extension("json")).expect("the story is there");
    let root = tempfile::tempdir().expect("a directory");
    let unpacked =
        Command::new("tar").arg("-xf").arg(directory.join(name).with_extension("tar")).arg("-C").arg(root.path()).status();
    assert!(unpacked.expect("tar is there").success());
    (serde_json::from_slice(&story).expect("the story is JSON"), root)
}

#[test]
fn what_goes_is_what_the_story_says() {
    for name in ["team", "legacy"] {
        for (mode, flags) in [("default", &[][..]), ("delete-untagged", &["-m"])] {
            let (story, root) = fixture(name);
            let goes = &story.goes[mode];
            let pulls = pulled(&story, root.path());
            assert!(pulls.values().flatten().count() >= 3, "{pulls:?}");
            let expected: BTreeSet<String> = goes.blobs.values().cloned().collect();
            let before = snapshot::blobs_on_disk(root.path());
            assert_eq!(before.len(), story.blobs.len(), "{name}");
            let dry = Regsweep::gc(root.path()).args(flags).dry().json().run().expect_code(0);
            assert_eq!((dry.blobs(), dry.reclaimable_bytes()), (expected.clone(), goes.bytes), "{name} {mode}");
            assert_eq!(dry.report()["scanned"]["bytes"], story.blobs.values().map(|blob| blob.bytes).sum::<u64>());
            assert!(dry.findings().is_empty(), "{:?}", dry.findings());

            Regsweep::gc(root.path()).args(flags).run().expect_code(0);
            let after = snapshot::blobs_on_disk(root.path());
            assert_eq!(before.into_keys().filter(|digest| !after.contains_key(digest)).collect::<BTreeSet<_>>(), expected);
            let again = Regsweep::gc(root.path()).args(flags).run().expect_code(0);
            assert!(again.rows().is_empty());

            assert_eq!(pulled(&story, root.path()), pulls, "{name} {mode}");
        }
    }
}

/// The blobs that each tag gives to a client of the real registry on a copy of the storage; nothing where the registry refuses.
fn pulled(story: &Story, root: &Path) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut registry = server::RealRegistry::stopped();
    snapshot::copy(root, &registry.root());
    registry.restart();
    let tags = story.repositories.iter().flat_map(|(name, repository)| repository.tags.keys().map(move |tag| (name, tag)));
    tags.map(|(repository, tag)| {
        let blobs = registry.client().pull(repository, tag).ok().map(|pulled| pulled.blobs.into_keys().collect());
        (format!("{repository}:{tag}"), blobs)
    })
    .collect()
}

#[test]
fn archives_keep_what_git_does_not() {
    for name in ["team", "legacy"] {
        let (_, root) = fixture(name);
        let recent = SystemTime::now() - Duration::from_secs(7 * 24 * 3600);
        let mut empty_directories = 0;
        for entry in WalkDir::new(root.path()).min_depth(1) {
            let entry = entry.expect("listable");
            let metadata = entry.metadata().expect("there");
            assert!(metadata.modified().expect("has a time") < recent, "{} is old", entry.path().display());
            empty_directories += usize::from(metadata.is_dir() && fs::read_dir(entry.path()).expect("listable").next().is_none());
        }
        assert!(empty_directories > 0, "{name} has directories that the registry left empty");
    }
}
