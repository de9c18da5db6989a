//! `--max-memory` and the list of what is in quarantine.

use super::refusing::{DAY, due, later};
use super::*;

/// So many files fit into what a run takes anyway, whatever the limit.
const FIT: u64 = 10_485;

/// Adds files to the run in quarantine until there are so many: states of an upload, which lie in one directory.
fn fill(root: &Path, files: u64) {
    let held = list(root).runs.remove(0).targets.len() as u64;
    let states = only_run(root).join("repositories/team/app/_uploads/0123/hashstates/sha256");
    fs::create_dir_all(&states).expect("made");
    for number in 0..files - held {
        let file = fs::File::create(states.join(number.to_string())).expect("made");
        // Older than its run: nobody went on with the upload.
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000)).expect("set");
    }
}

/// The registry's tree and the quarantine.
fn all_of(root: &Path) -> [crate::support::snapshot::Snapshot; 2] {
    [snapshot(&root.join("docker")), snapshot(&directory(root))]
}

fn limited(root: &Path, words: &[&str], limit: &str) -> Outcome {
    let run = Regsweep::new().args(words).args(["--max-memory", limit, "--root"]).arg(root);
    later(run, DAY, "").run()
}

/// What `--max-memory` is to be, by the message.
#[track_caller]
fn asked_for(refused: &Outcome) -> String {
    let words = refused.stderr.split("give --max-memory ").nth(1).and_then(|rest| rest.split_whitespace().next());
    words.unwrap_or_else(|| panic!("{}", refused.stderr)).to_owned()
}

#[test]
fn a_list_that_is_too_long_is_refused_before_anything_is_changed() {
    let root = due();
    let root = root.path();
    fill(root, 20_000);
    let before = all_of(root);
    let collect = ["garbage-collect", "--quarantine", "--assume-offline", "--allow-unlinked", "100%"];
    let commands: [&[&str]; 8] = [
        &collect,
        &[&collect[..], &["--dry-run"]].concat(),
        &["garbage-collect", "--assume-offline"],
        &["quarantine", "purge", "--assume-offline"],
        &["quarantine", "list"],
        &["restore", "--all"],
        &["audit"],
        &["usage"],
    ];
    for words in commands {
        let refused = limited(root, words, "161MiB").expect_code(2);
        assert!(refused.stderr.contains("20,000 files are in quarantine"), "{words:?}: {}", refused.stderr);
        assert_eq!(asked_for(&refused), "176MiB", "{words:?}");
        assert_eq!(all_of(root), before, "{words:?}");
    }
    limited(root, &["quarantine", "list"], "176MiB").expect_code(0);
    limited(root, &["quarantine", "purge", "--assume-offline"], "175MiB").expect_code(2);
    assert_eq!(all_of(root), before);
    limited(root, &["quarantine", "purge", "--assume-offline"], "176MiB").expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

/// A collection may not make a list that the runs after it could not read: they could bring nothing back.
#[test]
fn a_collection_makes_no_list_that_is_too_long() {
    let root = due();
    let root = root.path();
    fill(root, FIT);
    let before = all_of(root);
    limited(root, &["quarantine", "purge", "--older-than", "900h"], "0").expect_code(0);
    let collect = |flags: &[&str], limit: &str| {
        let run = Regsweep::gc(root).args(["-m", "--quarantine", "--max-memory", limit]).args(flags);
        run.env("TMPDIR", std::env::temp_dir()).run()
    };
    for flags in [&[][..], &["--dry-run"]] {
        let refused = collect(flags, "0").expect_code(2);
        assert!(refused.stderr.contains("with this run") && asked_for(&refused) == "169MiB", "{flags:?}: {}", refused.stderr);
        assert_eq!(all_of(root), before, "{flags:?}");
    }
    collect(&[], "169MiB").expect_code(0);
    assert_eq!(runs(root).len(), 2);
}
