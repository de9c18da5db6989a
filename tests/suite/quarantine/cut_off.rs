//! Runs that are killed at each of their system calls: what was in the store is there or in quarantine, and the next run goes on.

use std::process::{Command, Stdio};

use super::*;

/// System calls, and one in how many of each is tried: all that move something, and some of those around them. `REGSWEEP_FAULTS=all`
/// tries all.
pub(super) const CALLS: [(&str, usize); 10] = [
    ("renameat2", 1),
    ("renameat", 1),
    ("syncfs", 1),
    ("fsync", 1),
    ("unlinkat", 4),
    ("fchown", 3),
    ("fchmod", 3),
    ("mkdirat", 6),
    ("openat2", 13),
    ("newfstatat", 13),
];

/// Runs a command and kills it when it is about to make a call for the n-th time. Says whether it came to that.
fn killed(root: &Path, words: &[&str], call: &str, number: usize) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}")])
        .arg(env!("CARGO_BIN_EXE_regsweep"))
        .args(words)
        .arg("--root")
        .arg(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace is there");
    status.code().is_none_or(|code| code > 100)
}

fn everywhere(words: &[&str], prepare: fn(&Path), check: fn(&Path)) {
    if !has_strace() {
        return;
    }
    let mut kills = 0;
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    for (call, sample) in CALLS {
        let step = if whole { 1 } else { sample };
        for number in (1..).step_by(step) {
            let root = store().on_disk();
            prepare(root.path());
            if !killed(root.path(), words, call, number) {
                break;
            }
            kills += 1;
            check(root.path());
        }
    }
    assert!(kills > 10, "only {kills}");
    println!("{words:?}: killed at {kills} calls");
}

fn stored() -> BTreeSet<String> {
    let prefix = |path: &str| path.strip_prefix("docker/").map(str::to_owned);
    store().files().filter_map(|(path, ..)| prefix(path)).collect()
}

fn kept(root: &Path) -> BTreeSet<String> {
    files(root).into_keys().collect()
}

#[test]
fn moving_aside() {
    everywhere(
        &["garbage-collect", "--ignore-birth-time", "--quarantine", "-m", "--jobs", "1"],
        |_| {},
        |root| {
            assert_eq!(all_files(root), stored(), "in the store or in quarantine");
            collect(root, &["-m"]).expect_code(0);
            assert_eq!(all_files(root), stored());
            assert_eq!(Regsweep::gc(root).arg("-m").dry().run().expect_code(0).paths(), [""; 0], "the rest went");
            assert!(list(root).runs.iter().all(|run| run.finished.is_some()), "and waits");
            command(root, &["restore", "--all"]).expect_code(0);
            assert_eq!(kept(root), stored());
        },
    );
}

#[test]
fn putting_back() {
    everywhere(
        &["restore"],
        |root| drop(collect(root, &["-m"]).expect_code(0)),
        |root| {
            assert_eq!(all_files(root), stored());
            restored(root);
            assert_eq!(kept(root), stored());
            assert_eq!(runs(root), Vec::<PathBuf>::new());
        },
    );
}

#[test]
fn purging() {
    everywhere(
        &["quarantine", "purge"],
        |root| {
            collect(root, &["-m"]).expect_code(0);
            registry().repo("team/app").manifest_only(&untagged()).tag("back").write_to(root);
        },
        |root| {
            command(root, &["quarantine", "purge"]).expect_code(0);
            assert_eq!(runs(root), Vec::<PathBuf>::new());
            let report = Regsweep::gc(root).arg("-m").json().dry().run().expect_code(0);
            assert_eq!((report.paths(), report.finding_codes()), (vec![], vec![]), "all that the tag needs is there");
        },
    );
}
