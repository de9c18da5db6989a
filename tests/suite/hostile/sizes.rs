//! What is small to write and large to read: each input here can be made by a client with a few requests, or with a few calls.

use super::*;

/// So many different digests, none of them stored.
fn digests(count: usize) -> String {
    (0..count).map(|number| format!(r#""sha256:{number:064x}""#)).collect::<Vec<_>>().join(",")
}

/// As many digests as fit into the 4 MiB that a registry accepts.
const PUSHABLE: usize = 56_000;

#[test]
fn a_manifest_of_a_million_digests_holds_its_repository() {
    let manifest = format!(r#"{{"x":{{"digest":[{}]}}}}"#, digests(1_000_000));
    let root = with_manifest(manifest.as_bytes()).on_disk();
    let ran = survive(root.path(), &["--min-age", "0s"], &[1]);
    assert!(ran.finding_codes().contains(&"oversized-manifest".into()), "{:?}", ran.finding_codes());
}

/// Whatever a repository's manifests name and nobody has: a report has to stay readable, and to fit into memory.
#[test]
fn manifests_that_name_much_that_is_not_stored() {
    let mut tree = victim();
    let digests = digests(PUSHABLE);
    for number in 0..12 {
        let manifest = Content::new(format!(r#"{{"number":{number},"x":{{"digest":[{digests}]}}}}"#));
        tree.blob(&manifest).revision("abused", &manifest.digest);
    }
    let root = tree.on_disk();
    // The registry does not look there, so nothing that it serves lacks any of them.
    survive(root.path(), &["--min-age", "0s"], &[0]);

    // The same with others in each.
    let mut tree = victim();
    for number in 0..12 {
        let shifted = digests.replace("sha256:0", &format!("sha256:{number:x}"));
        let manifest = Content::new(format!(r#"{{"number":{number},"x":{{"digest":[{shifted}]}}}}"#));
        tree.blob(&manifest).revision("abused", &manifest.digest);
    }
    let root = tree.on_disk();
    survive(root.path(), &["--min-age", "0s"], &[0]);
}

/// Repeated keys may give one manifest any number of subjects: `{"digest": "..", "digest": "..", ..}` is one that Go reads.
#[test]
fn a_manifest_of_many_subjects() {
    let manifest = format!(r#"{{"subject":{{"digest":[{}]}}}}"#, digests(2 * PUSHABLE));
    let root = with_manifest(manifest.as_bytes()).on_disk();
    survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
}

/// One in each repository, so that all threads have one at hand.
#[test]
fn large_manifests_at_the_same_time() {
    for (bytes, repositories) in [(4 << 20, 32), (15 << 20, 16)] {
        let root = victim().on_disk();
        for number in 0..repositories {
            // Each byte becomes three when it is made valid.
            let manifest = [format!(r#"{{"number":{number},"x":""#).as_bytes(), &vec![0xff; bytes - 100], br#""}"#].concat();
            let manifest = Content::new(manifest);
            let mut tree = Tree::new();
            tree.blob(&manifest).revision(&format!("large{number}"), &manifest.digest);
            tree.write_to(root.path());
        }
        survive(root.path(), &["--min-age", "0s"], &[0]);
    }
}

/// How many findings of a code are listed, and how many things they are about.
fn counted(ran: &Outcome, code: &str) -> (usize, u64) {
    let found: Vec<_> = ran.findings().into_iter().filter(|finding| finding.code == code).collect();
    (found.len(), found.iter().map(|finding| finding.count).sum())
}

#[test]
fn many_tags_and_revisions_whose_manifests_are_lost() {
    let mut tree = victim();
    for number in 0..5_000 {
        let revision = format!("sha256:{number:064x}");
        let tagged = format!("sha256:f{number:063x}");
        tree.revision("abused", &revision).file(tag_current("abused", &format!("t{number}")), tagged);
    }
    let root = tree.on_disk();
    let ran = survive(root.path(), &["--min-age", "0s"], &[1]);
    assert_eq!(counted(&ran, "missing-manifest"), (1_001, 5_000));
}

/// Twenty-four directories, each with two symbolic links to the next: there are 2^24 ways to the last one, and none is a loop.
#[test]
fn symbolic_links_that_multiply() {
    let (_keep, root) = on_disk();
    let repositories = root.join("docker/registry/v2/repositories");
    for number in 0..24 {
        fs::create_dir(repositories.join(format!("d{number}"))).expect("made");
    }
    for number in 0..23 {
        for link in ["left", "right"] {
            symlink(format!("../d{}", number + 1), repositories.join(format!("d{number}/{link}"))).expect("linked");
        }
    }
    // A link to an empty one would be a disk that is not mounted.
    fs::create_dir(repositories.join("d23/_layers")).expect("made");
    survive(&root, &["--min-age", "0s"], &[1]);
}

/// Each of them leads to a repository that is walked anyway.
#[test]
fn many_symbolic_links_to_repositories() {
    let (_keep, root) = on_disk();
    let repositories = root.join("docker/registry/v2/repositories");
    for number in 0..3_000 {
        let repository = repositories.join(format!("r{number}"));
        for directory in ["_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags", "_uploads"] {
            fs::create_dir_all(repository.join(directory)).expect("made");
        }
        if number % 3 == 0 {
            symlink(format!("r{number}"), repositories.join(format!("alias{number}"))).expect("linked");
        }
    }
    survive(&root, &["--min-age", "0s"], &[0]);
}

#[test]
fn many_strays() {
    let (_keep, root) = on_disk();
    for directory in [layout::tags("abused"), repository("abused"), format!("{}/_layers/sha256", repository("abused"))] {
        for number in 0..10_000 {
            fs::write(root.join(&directory).join(format!("stray{number}")), "").expect("written");
        }
    }
    let ran = survive(&root, &["--min-age", "0s"], &[0]);
    // Two thousand are listed, a thousand of the repository and a thousand of what is in none.
    assert_eq!(counted(&ran, "unrecognised-entry"), (2_002, 30_000));
    let text = Regsweep::gc(&root).dry().run().expect_code(0).stdout;
    assert!(text.lines().count() < 100, "{} lines", text.lines().count());
}
