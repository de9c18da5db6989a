//! Commands of which each system call fails once: exit code 2 says that nothing was changed, and after the first change there is a report that
//! says how it ended. What is needed is never lost, and the next run comes to its end.

use std::process::{Command, Output};

use super::cut_off::CALLS;
use super::refusing::{DAY, config_of};
use super::*;
use crate::support::layout::blob_data;

/// A command, what it is given to do, and the blobs that must be somewhere whatever fails.
struct Case {
    words: &'static [&'static str],
    prepare: fn(&Path),
    /// Those that must be in the store once it has been run again.
    needed: fn() -> Vec<String>,
    /// Whether nothing at all may go: neither from the store nor from quarantine.
    keeps_all: bool,
    /// How it ends where nothing fails.
    code: i32,
    /// One in so many of the calls that are tried of a collection.
    step: usize,
}

fn tagged() -> Image {
    oci_image("another", &[layer(5)])
}

fn another() -> Vec<String> {
    tagged().reaches().iter().map(|digest| blob_data(digest)).collect()
}

fn collected_twice(root: &Path) {
    collect(root, &["-m"]).expect_code(0);
    registry().repo("team/app").upload_layer(&layer(8)).pushed(&tagged()).write_to(root);
    collect(root, &["-m", "--quarantine-for", "900h"]).expect_code(0);
}

/// Something to restore, to quarantine and to purge.
fn with_all_to_do(root: &Path) {
    collected_twice(root);
    registry().repo("team/app").upload_layer(&layer(7)).manifest_only(&tagged()).tag("again").write_to(root);
}

fn damaged(root: &Path) {
    for number in [2, 9] {
        fs::write(root.join(blob_data(&layer(number).digest)), "not what it should be").expect("ours");
    }
}

/// What is recorded beside the store and the quarantine.
fn records(root: &Path) -> BTreeMap<String, SeenKind> {
    let is_record = |path: &str| match path.strip_prefix(".regsweep/") {
        Some(ours) => !ours.starts_with("quarantine") && ours != "lock",
        None => false,
    };
    let all = snapshot(root).into_iter();
    all.filter(|(path, _)| is_record(path)).map(|(path, seen)| (path, seen.kind)).collect()
}

/// Runs a command with an error from the n-th of these calls.
fn failing(root: &Path, words: &[&str], call: &str, number: usize) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:error=EIO:when={number}")]);
    command.arg(env!("CARGO_BIN_EXE_regsweep"));
    with_store(&mut command, root, words);
    command.output().expect("strace is there")
}

/// The words of a command, the store that it works on, and the time at which it does.
fn with_store(command: &mut Command, root: &Path, words: &[&str]) {
    command.args(words).args(["--format", "json"]).env("REGSWEEP_TEST_CLOCK", format!("trusted=yes,shift={DAY}"));
    if words[0] == "garbage-collect" {
        command.args(["--allow-unlinked", "100%", "--allow-untagged-repositories"]);
    }
    if words.contains(&"--online") {
        let config = root.join("config.yml");
        fs::copy(config_of(root).path(), &config).expect("written");
        command.arg(config);
    } else {
        command.arg("--root").arg(root);
    }
}

fn everywhere(case: &Case) {
    if !has_strace() {
        return;
    }
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let (mut stopped, mut reported) = (0, 0);
    for (call, sample) in CALLS.into_iter().chain([("write", 3), ("getdents64", 9), ("statx", 13), ("openat", 13)]) {
        for number in (1..).step_by(if whole { 1 } else { case.step * sample }) {
            let root = store().on_disk();
            match tried(case, root.path(), call, number) {
                Ended::Stopped => stopped += 1,
                Ended::Reported => reported += 1,
                Ended::Mute => {}
                Ended::Before => break,
            }
        }
    }
    println!("{:?}: {stopped} runs stopped with nothing changed, {reported} reported", case.words);
    assert!(stopped > 2 && reported > 4, "{:?}: {stopped}, {reported}", case.words);
}

#[test]
fn a_collection_that_restores_quarantines_and_purges() {
    let words = &["garbage-collect", "--ignore-birth-time", "--quarantine", "-m", "--jobs", "1"];
    everywhere(&Case { words, prepare: with_all_to_do, needed: another, keeps_all: false, code: 0, step: 3 });
}

#[test]
fn a_collection_beside_a_registry() {
    let words = &["garbage-collect", "--ignore-birth-time", "--online", "-m", "--rescue-for", "0s", "--jobs", "1"];
    everywhere(&Case { words, prepare: with_all_to_do, needed: another, keeps_all: false, code: 0, step: 4 });
}

/// Something comes back, and is kept by a run that removes for good.
#[test]
fn a_collection_that_removes() {
    let words = &["garbage-collect", "--ignore-birth-time", "-m", "--jobs", "1"];
    everywhere(&Case { words, prepare: with_all_to_do, needed: another, keeps_all: false, code: 0, step: 4 });
}

#[test]
fn a_restoration() {
    let words = &["restore", "--all"];
    everywhere(&Case { words, prepare: collected_twice, needed: another, keeps_all: true, code: 0, step: 4 });
}

#[test]
fn a_purge() {
    let words = &["quarantine", "purge"];
    everywhere(&Case { words, prepare: with_all_to_do, needed: another, keeps_all: false, code: 0, step: 4 });
}

#[test]
fn a_verification_that_quarantines() {
    let words = &["verify", "--quarantine", "--min-age", "0s"];
    everywhere(&Case { words, prepare: damaged, needed: Vec::new, keeps_all: true, code: 1, step: 2 });
}

/// How a run with an error ended.
enum Ended {
    /// With 2.
    Stopped,
    /// With a report.
    Reported,
    /// Not a word can be said where writing fails.
    Mute,
    /// Before the call came.
    Before,
}

fn tried(case: &Case, root: &Path, call: &str, number: usize) -> Ended {
    (case.prepare)(root);
    let before = (files(root), all_files(root), records(root));
    let output = failing(root, case.words, call, number);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let at = format!("{:?}, {call} {number}: {:?}\n{stdout}\n{stderr}", case.words, output.status.code());
    let ended = match output.status.code() {
        _ if call == "write" && stdout.is_empty() => Ended::Mute,
        Some(2) => {
            assert_eq!((files(root), all_files(root), records(root)), before, "{at}");
            Ended::Stopped
        }
        Some(code @ (0 | 1 | 3)) => {
            let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {at}"));
            assert_eq!(report["exit_code"], code, "{at}");
            let was_hit = [&stdout, &stderr].iter().any(|said| said.contains("Input/output error"));
            if code == case.code && !was_hit { Ended::Before } else { Ended::Reported }
        }
        // A directory that cannot be closed ends a process of the standard library's.
        _ => panic!("{at}"),
    };
    if case.keeps_all {
        assert_eq!(all_files(root), before.1, "{at}");
    }
    let mut next = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    with_store(&mut next, root, case.words);
    let next = next.output().expect("it runs");
    let said = String::from_utf8_lossy(&next.stderr);
    let is_done = matches!(next.status.code(), Some(0 | 1)) || said.contains("nothing is in quarantine");
    assert!(is_done, "{at}\nnext: {:?} {said}", next.status.code());
    for path in (case.needed)() {
        assert!(root.join(&path).exists(), "{path}: {at}");
    }
    if case.keeps_all {
        assert_eq!(all_files(root), before.1, "afterwards, {at}");
    }
    ended
}
