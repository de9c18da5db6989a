//! Tags: those in a plan, those that a registry lists, and what becomes of a run that drops some and is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::layout::{self, blob_data};
use super::snapshot::SeenKind;
use super::{Outcome, Regsweep, Tree, has_strace, snapshot};

/// The tags in a plan.
pub(crate) fn tags(outcome: &Outcome) -> BTreeSet<String> {
    let rows = outcome.rows_of("tag").into_iter();
    rows.map(|row| format!("{}:{}", row.repository.expect("one"), row.tag.expect("one"))).collect()
}

pub(crate) fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

/// Names of directories that a registry lists as tags.
pub(crate) fn listed(root: &Path, repository: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join(layout::tags(repository))).expect("listable");
    entries.map(|entry| entry.expect("listable").file_name().to_string_lossy().into_owned()).collect()
}

/// Kills a run at any removal: it leaves no link to nothing, and the same command comes to the same end.
#[track_caller]
pub(crate) fn is_finished_after_any_kill(tree: &Tree, run: impl Fn(&Path) -> Regsweep) {
    if !has_strace() {
        return;
    }
    let files = |root: &Path| {
        let mut seen = snapshot(&root.join("docker"));
        seen.retain(|_, seen| matches!(seen.kind, SeenKind::File(..)));
        seen
    };
    let whole = tree.on_disk();
    run(whole.path()).run().expect_code(0);
    let mut killed = 0;
    for nth in 1.. {
        let root = tree.on_disk();
        let outcome = run(root.path()).injected(&format!("unlinkat:signal=KILL:when={nth}")).run();
        if outcome.code == Some(0) {
            break;
        }
        killed += 1;
        for (path, _) in files(root.path()).iter().filter(|(path, _)| path.ends_with("/link")) {
            let digest = fs::read_to_string(root.path().join("docker").join(path)).expect("a link");
            assert!(root.path().join(blob_data(&digest)).exists(), "kill {nth}: {path} leads to nothing");
        }
        // A tag without its link is a finding of the run that sees to the rest of it.
        let again = run(root.path()).run();
        assert!(matches!(again.code, Some(0 | 1)), "kill {nth}: {:?} {}{}", again.code, again.stdout, again.stderr);
        assert_eq!(files(root.path()), files(whole.path()), "kill {nth}: {}", again.stderr);
    }
    assert!(killed > 20, "{killed}");
}
