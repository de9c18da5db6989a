//! What waits in quarantine is restorable, and no command calls it lost.

use super::*;
use crate::support::layout::{blob_data, blob_directory, repository};

/// A collection of everything that a tag and its image were, and then links to it again, as a registry makes that remembers the blobs.
fn waiting() -> tempfile::TempDir {
    let tree = store().into_tree();
    let root = tree.on_disk();
    let named = [format!("{REPOSITORY}:all"), format!("{REPOSITORY}:v1")];
    let run = Regsweep::remove(root.path()).any_age().args(["--quarantine", "--ignore-birth-time"]);
    run.args(["--allow-untagged-repositories"]).args(named).run().expect_code(0);
    let mut links = tree;
    for digest in links.blobs() {
        links.remove(&blob_directory(&digest));
    }
    links.write_to(root.path());
    root
}

/// The codes, and all that is said.
fn said(root: &Path, command: &[&str]) -> (std::collections::BTreeSet<String>, String) {
    let run = || Regsweep::new().args(command).arg("--root").arg(root);
    let findings = run().json().run().expect_code(1).findings().into_iter();
    let codes: std::collections::BTreeSet<String> =
        findings.filter(|finding| finding.severity != "note").map(|finding| finding.code).collect();
    (codes, run().run().expect_code(1).stdout)
}

#[test]
fn what_waits_in_quarantine_is_restorable() {
    let root = waiting();
    let before = contents(root.path());
    assert!(!before.contains_key(&blob_data(platforms().digest())), "it waits");
    for command in [&["audit"][..], &["verify"], &["repair"], &["list"], &["usage"], &["list", REPOSITORY]] {
        let (codes, text) = said(root.path(), command);
        assert_eq!(Vec::from_iter(codes), ["restorable"], "{command:?}: {text}");
        assert!(text.contains("regsweep restore --root"), "{command:?}: {text}");
        assert!(!text.contains("delete its directory") && !text.contains("a push"), "{command:?}: {text}");
    }
    assert_eq!(contents(root.path()), before);
    Regsweep::gc(root.path()).args(["--quarantine"]).run().expect_code(0);
    assert_eq!(contents(root.path()), expected(&store().into_tree()));
    Regsweep::audit(root.path()).run().expect_code(0);
}

/// A tag each, and a platform too.
#[test]
fn each_tag_says_so_and_a_mirror_is_of_use_all_the_same() {
    let root = waiting();
    let findings = Regsweep::audit(root.path()).json().run().expect_code(1).findings();
    let tags: Vec<_> =
        findings.iter().filter(|finding| finding.severity != "note").filter_map(|finding| finding.tag.as_deref()).collect();
    assert_eq!(tags, ["all", "v1"]);
    assert!(findings.iter().all(|finding| finding.severity != "error"), "{findings:#?}");
    let mirror = store().on_disk();
    repair(root.path(), &[]).arg("--from").arg(mirror.path()).run().expect_code(0);
    assert_eq!(contents(root.path()), expected(&store().into_tree()));
}

/// Corrupt bytes do not come back, and what nothing holds does not either.
#[test]
fn what_was_quarantined_for_its_bytes_is_lost() {
    let root = {
        let mut tree = store().into_tree();
        tree.file(blob_data(&layer(3).digest), "layer 4\n").on_disk()
    };
    Regsweep::new().args(["verify", "--quarantine", "--min-age", "0s", "--root"]).arg(root.path()).run();
    assert!(!root.path().join(blob_data(&layer(3).digest)).exists(), "it waits");
    for command in ["audit", "verify", "repair"] {
        assert_eq!(Vec::from_iter(said(root.path(), &[command]).0), ["missing-blob"], "{command}");
    }
    let root = waiting();
    std::fs::remove_dir_all(root.path().join(".regsweep")).expect("removed");
    assert!(root.path().join(repository(REPOSITORY)).exists());
    for command in ["audit", "verify", "repair"] {
        let codes = said(root.path(), &[command]).0;
        assert!(codes.contains("missing-tag-target") && !codes.contains("restorable"), "{codes:?}");
    }
}
