//! Pushes and deletions that end while a store is listed: what they add or take is no damage, whichever moment they come at.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::support::layout::{self, blob_data, revision_link, tag_current};
use crate::support::*;

/// How long a run is held at one place ...
const HELD: &str = "inject=openat:delay_enter=5000000";
/// ... and when that happens which it must not mind.
const HAPPENS_AFTER: Duration = Duration::from_millis(2500);

fn repositories() -> String {
    format!("{}/repositories", layout::BASE)
}

fn image() -> Image {
    oci_image("late", &[layer(5), layer(6)])
}

/// What is changed while a run is held where it opens a path, and what would be found if nobody looked again.
struct Case {
    name: &'static str,
    /// Relative to the root.
    held: String,
    before: Tree,
    after: Tree,
    found: &'static str,
}

fn kept() -> Registry {
    registry().repo("a").image("keep", &[layer(1)]).tag("v1")
}

/// All members of the kind, each with the place of the listing that it has to come behind.
fn cases() -> Vec<Case> {
    let pushed = || kept().pushed(&image()).tag("v2").into_tree();
    let without = |path: &str| {
        let mut tree = pushed();
        tree.remove(path);
        tree
    };
    let manifest = oci_image("keep", &[layer(1)]);
    let reads_manifest = blob_data(manifest.digest());
    let child = oci_image("child", &[layer(7)]);
    let indexed = || kept().pushed(&index(std::slice::from_ref(&child))).tag("v2").into_tree();
    let mut childless = indexed();
    childless.remove(&layout::blob_directory(child.digest())).remove(&revision_link("a", child.digest()));
    let mut untagged = pushed();
    untagged.remove(&tag_current("a", "v2"));
    let mut gone = pushed();
    gone.remove(&layout::tag("a", "v2"));
    vec![
        Case {
            name: "a layer is pushed",
            held: repositories(),
            before: without(&layout::blob_directory(&layer(5).digest)),
            after: pushed(),
            found: "missing-blob",
        },
        Case {
            name: "an index's child is pushed",
            held: repositories(),
            before: childless,
            after: indexed(),
            found: "missing-child",
        },
        Case {
            name: "a tag is pushed behind the revisions",
            held: layout::tags("a"),
            before: without(&revision_link("a", image().digest())),
            after: pushed(),
            found: "lost-revision",
        },
        Case {
            name: "a tag is written",
            held: reads_manifest.clone(),
            before: untagged.clone(),
            after: pushed(),
            found: "tag-without-current",
        },
        Case { name: "a tag is deleted", held: reads_manifest, before: untagged, after: gone, found: "tag-without-current" },
    ]
}

/// Makes a store into the one behind the push or deletion.
fn happen(root: &Path, after: &Tree) {
    if !after.tags("a").contains("v2") {
        fs::remove_dir_all(root.join(layout::tag("a", "v2"))).expect("removable");
    }
    after.write_to(root);
}

/// Runs a command, held where it opens the case's path until the case has happened.
fn held(case: &Case, root: &Path, run: Regsweep) -> Outcome {
    let log = tempfile::NamedTempFile::new().expect("a file");
    // Opened by its whole path, or beneath one of the two directories.
    let below = [repositories(), format!("{}/blobs", layout::BASE)];
    let below = below.iter().find_map(|base| case.held.strip_prefix(&format!("{base}/"))).unwrap_or(&case.held);
    // Once: what is opened beneath a directory counts for it too. That of all repositories is opened before anything is listed.
    let when = if case.held == repositories() { ":when=2" } else { ":when=1" };
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o"].map(str::to_owned).into();
    words.extend([log.path().to_string_lossy().into_owned(), "-P".into(), root.join(&case.held).to_string_lossy().into_owned()]);
    words.extend(["-P", below, "-e", "trace=openat", "-e", &format!("{HELD}{when}")].map(str::to_owned));
    // The repositories are listed once more to notice changes, before the blobs.
    let running = run.env("REGSWEEP_TEST_UNNOTICED", "yes").under(words).start();
    thread::sleep(HAPPENS_AFTER);
    happen(root, &case.after);
    let ran = running.wait();
    let traced = fs::read_to_string(log.path()).expect("a log");
    assert!(traced.contains("(DELAYED)"), "{}: {} was not held: {traced}", case.name, ran.line);
    ran
}

fn try_case(case: &Case, command: &str) {
    let root = case.before.on_disk();
    let dry: &[&str] = if command == "garbage-collect" { &["--dry-run"] } else { &[] };
    let run = || Regsweep::new().arg(command).args(dry).args(["--jobs", "1", "--root"]).arg(root.path()).json();
    // `verify` tells what has no bytes, and not what has no link.
    if command != "verify" || case.found.starts_with("missing") {
        let codes = run().run().finding_codes();
        assert!(codes.iter().any(|code| code == case.found), "{}, {command}: {codes:?}", case.name);
    }
    let ran = held(case, root.path(), run());
    let told: Vec<_> = ran.findings().into_iter().filter(|found| found.severity != "note").collect();
    assert_eq!(told, [], "{}, {command}", case.name);
    assert_eq!(ran.code, Some(0), "{}, {command}", case.name);
}

#[test]
fn what_a_push_or_deletion_changes_meanwhile_is_no_finding() {
    let cases = cases();
    // Nearly all of it is waiting.
    thread::scope(|scope| {
        for case in &cases {
            for command in ["garbage-collect", "verify", "audit"] {
                scope.spawn(move || try_case(case, command));
            }
        }
    });
}
