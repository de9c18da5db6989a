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

/// What `quarantine restarted` is to be about: a run that a registry may remember, moved two hours ago.
fn remembered(root: &Path) {
    collect(root, &["-m"]).expect_code(0);
    let run = only_run(root);
    age(&run, 2);
    stamp(&run, |stamp| {
        stamp["schema"] = 2.into();
        stamp["cache"] = "inmemory".into();
    });
}

/// What is noted of restarts: nothing, or a whole record.
fn noted(root: &Path) -> Option<Value> {
    let text = fs::read(root.join(".regsweep/restarts.json")).ok()?;
    Some(serde_json::from_slice(&text).expect("never half of it"))
}

const RESTARTED: [&str; 4] = ["quarantine", "restarted", "--since", "1h"];
const PURGE: [&str; 4] = ["quarantine", "purge", "--older-than", "1h"];

/// Whatever became of `quarantine restarted`: nothing was moved, and things go for good if the restart is noted and not otherwise.
fn says_what_is_noted(root: &Path, before: &BTreeMap<String, Seen>, at: &str) -> bool {
    assert_eq!((&files(root), all_files(root)), (before, stored()), "{at}");
    let is_noted = noted(root).is_some_and(|record| record["started_after"].as_array().is_some_and(|all| !all.is_empty()));
    if !is_noted {
        let purged = report(&command(root, &PURGE).expect_code(0));
        assert_eq!((purged.purged.expect("said").blobs, runs(root).len()), (0, 1), "it may be remembered: {at}");
        let again = command(root, &RESTARTED).expect_code(0);
        assert_eq!(report(&again).runs[0].remembered_by.as_deref(), None, "{at}\n{}", again.stdout);
    }
    let purged = report(&command(root, &PURGE).expect_code(0));
    assert_ne!(purged.purged.expect("said").blobs, 0, "{at}");
    assert_eq!((&files(root), runs(root).len()), (before, 0), "{at}");
    is_noted
}

/// Runs `quarantine restarted` with something done to one of its calls, at each of them in turn; `is_over` says whether it ended before.
fn restarted_at_each_call(inject: &str, is_over: fn(&std::process::Output) -> bool) -> [u32; 2] {
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    // Without and with a note afterwards.
    let mut ended = [0; 2];
    for (call, sample) in [
        ("renameat", 1),
        ("fsync", 1),
        ("unlinkat", 1),
        ("fchmod", 1),
        ("fchown", 1),
        ("write", 2),
        ("openat2", 5),
        ("mkdirat", 1),
    ] {
        for number in (1..).step_by(if whole { 1 } else { sample }) {
            let root = store().on_disk();
            let root = root.path();
            remembered(root);
            let before = files(root);
            let output = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:{inject}:when={number}")])
                .arg(env!("CARGO_BIN_EXE_regsweep"))
                .args(RESTARTED)
                .arg("--root")
                .arg(root)
                .env("REGSWEEP_TEST_CLOCK", "trusted=yes")
                .output()
                .expect("strace is there");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let at = format!("{call} {number}: {:?}\n{}\n{said}", output.status, String::from_utf8_lossy(&output.stdout));
            if output.status.code() == Some(0) && call != "write" {
                assert!(noted(root).is_some(), "it says that it is noted: {at}");
            }
            let is_noted = says_what_is_noted(root, &before, &at);
            if is_over(&output) {
                break;
            }
            ended[usize::from(is_noted)] += 1;
        }
    }
    ended
}

#[test]
fn saying_that_the_registry_was_restarted() {
    if !has_strace() {
        return;
    }
    let [before, after] = restarted_at_each_call("signal=SIGKILL", |output| output.status.code().is_some_and(|code| code <= 100));
    println!("quarantine restarted: killed {before} times before the note and {after} times after it");
    assert!(before > 3 && after > 0, "{before} {after}");
}

#[test]
fn an_error_at_any_call_of_saying_that_the_registry_was_restarted() {
    if !has_strace() {
        return;
    }
    let [before, after] = restarted_at_each_call("error=EIO", |output| {
        output.status.code() == Some(0) && !String::from_utf8_lossy(&output.stderr).contains("Input/output error")
    });
    println!("quarantine restarted: an error {before} times before the note and {after} times after it");
    assert!(before > 3, "{before} {after}");
}
