//! The hazards of the layout, each by its number: what loses live images elsewhere, and what blocks collections.
//!
//! Every store here holds a piece of garbage beside what must stay, so that a collector that does nothing fails too; and what
//! goes is compared with what the disk lost, name by name. Where the registry's own collector errs, it is run on a copy: the
//! store is one on which the mistake can be made.
//!
//! Not here:
//! - H21, H25, H42, H43 and H4's failing requests are about object stores. What cannot be read on a disk (H4) stops the run:
//!   `hostile::what_cannot_be_read_stops_the_run`.
//! - H9 and the HEAD-only case of H10 are about a registry at work with a cache.
//! - H24 (verification), H37 (uploads) and H39 (policy) belong to other commands. That uploads are left alone is here.
//! - H29 does not exist.
//! - R1 to R7 and R12 need a registry at work: `tests/online`. R13 and R16 to R20 need a restoration, a purger or an object store.

mod blocking;
mod files;
mod listing;
mod losing;
pub(crate) mod races;

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::support::layout::{self, layer_link, revision_link};
use crate::support::snapshot::SeenKind;
use crate::support::*;

/// With and without `--delete-untagged`.
const BOTH: [&[&str]; 2] = [&["-m"], &[]];

/// A blob that nothing links: it goes whenever anything goes.
fn garbage() -> Content {
    layer(9999)
}

fn garbage_alone() -> BTreeSet<String> {
    BTreeSet::from([garbage().digest])
}

/// Garbage, and all that an image is made of.
fn garbage_and(image: &Image) -> BTreeSet<String> {
    garbage_alone().into_iter().chain(image.reaches()).collect()
}

fn digests<'a>(all: impl IntoIterator<Item = &'a Content>) -> BTreeSet<String> {
    all.into_iter().map(|content| content.digest.clone()).collect()
}

/// Every link that pushing an image by digest writes.
fn links(repository: &str, image: &Image) -> Vec<String> {
    let layers = image.blobs.iter().map(|blob| layer_link(repository, &blob.digest));
    let children = image.children.iter().flat_map(|child| links(repository, child));
    layers.chain(children).chain([revision_link(repository, image.digest())]).collect()
}

/// What a run left and said.
struct Ran {
    root: TempDir,
    /// Blobs that are gone.
    gone: BTreeSet<String>,
    /// Links that are gone, and directories that were empty before.
    names: BTreeSet<String>,
    outcome: Outcome,
}

/// Collects a tree for real and checks the exit code. The dry run before has to say the same and touch nothing, and nothing may
/// be gone or different that is not in the plan.
#[track_caller]
fn collect(tree: &Tree, flags: &[&str], code: i32) -> Ran {
    let root = tree.on_disk();
    let before = snapshot(root.path());
    let run = || Regsweep::gc(root.path()).args(flags).json();
    let dry = run().dry().run().expect_code(code);
    assert_eq!(snapshot(root.path()), before, "a dry run touches nothing");
    let outcome = run().run().expect_code(code);
    let after = snapshot(root.path());
    let rows = if code == 2 { Vec::new() } else { outcome.rows() };
    match code {
        2 => assert_eq!(&outcome.plan, &None, "stopped before there was a plan"),
        _ => assert_eq!(dry.rows(), rows),
    }
    lost_exactly(&before, &after, &rows);
    let (blobs, names): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.kind == "blob");
    Ran {
        root,
        gone: blobs.into_iter().filter_map(|row| row.digest).collect(),
        names: names.into_iter().map(|row| row.path).collect(),
        outcome,
    }
}

/// Checks that a directory lost what a plan lists, and nothing else happened to it.
#[track_caller]
fn lost_exactly(before: &Snapshot, after: &Snapshot, rows: &[Row]) {
    let planned: BTreeSet<&str> = rows.iter().map(|row| row.path.as_str()).collect();
    let left_empty = |directory: &&str| {
        let inside = format!("{directory}/");
        before.range(inside.clone()..).map_while(|(path, _)| path.strip_prefix(&inside)).count() == 1
    };
    let leaves = rows.iter().filter(|row| row.kind != "empty-directory");
    let directories = leaves.map(|row| layout::parent(&row.path)).filter(left_empty);
    let mut expected: BTreeSet<String> = planned.iter().copied().chain(directories).map(str::to_owned).collect();
    snapshot::add_tag_directories(&mut expected, before);
    assert_eq!(snapshot::gone(before, after), expected, "what is gone is what was planned");
    for (path, seen) in after {
        match before.get(path) {
            None => assert!(path.starts_with(".regsweep"), "{path} is new"),
            Some(earlier) if earlier.kind == SeenKind::Directory => {
                assert_eq!((&seen.kind, seen.mode), (&earlier.kind, earlier.mode))
            }
            Some(earlier) => assert_eq!(seen, earlier, "{path}"),
        }
    }
}

impl Ran {
    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).symlink_metadata().is_ok()
    }

    /// Asserts which blobs went, and which names.
    #[track_caller]
    fn lost(&self, blobs: &BTreeSet<String>, names: impl IntoIterator<Item = String>) {
        assert_eq!(&self.gone, blobs, "blobs");
        assert_eq!(self.names, names.into_iter().collect(), "names");
    }

    /// Asserts that one blob went, and not one name.
    #[track_caller]
    fn lost_garbage_alone(&self) {
        self.lost(&garbage_alone(), []);
    }

    #[track_caller]
    fn found(&self, codes: &[&str]) {
        assert_eq!(self.outcome.finding_codes(), codes, "{:#?}", self.outcome.findings());
    }
}

/// What the registry's own collector makes of a tree.
struct Control {
    succeeded: bool,
    left: BTreeSet<String>,
    said: String,
}

fn control(tree: &Tree, flags: &[&str]) -> Control {
    let root = tree.on_disk();
    let output = server::garbage_collect(root.path(), flags);
    Control {
        succeeded: output.status.success(),
        left: snapshot::blobs_on_disk(root.path()).into_keys().collect(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Control {
    /// Asserts that it deletes what is needed, and thinks nothing of it. Later versions than 2.x may not.
    #[track_caller]
    fn loses(&self, content: &Content) {
        if server::major_version() != 2 {
            return;
        }
        assert!(self.succeeded, "{}", self.said);
        assert!(!self.left.contains(&content.digest), "this store does not show the mistake");
    }

    /// Asserts that it gives up and leaves the garbage. Later versions than 2.x may not.
    #[track_caller]
    fn gives_up(&self) {
        if server::major_version() != 2 {
            return;
        }
        assert!(!self.succeeded && self.left.contains(&garbage().digest), "this store does not show the mistake: {}", self.said);
    }
}
