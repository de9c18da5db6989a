//! Who keeps whom out, and who may not.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::support::*;

fn tree() -> Tree {
    registry().stray_blob(&layer(900)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree()
}

/// Every command that takes the lock, and what its run comes to.
fn commands(root: &Path) -> Vec<Regsweep> {
    let of = |words: &[&str]| Regsweep::new().args(words).arg("--root").arg(root);
    vec![
        Regsweep::gc(root).dry(),
        of(&["audit"]),
        of(&["verify"]),
        of(&["verify", "--quarantine"]),
        of(&["quarantine", "list"]),
        Regsweep::gc(root).arg("--quarantine"),
        of(&["restore"]),
        Regsweep::gc(root),
    ]
}

/// Anybody who may read a directory can lock it.
#[test]
fn who_only_locks_the_root_directory_keeps_nobody_out() {
    for has_file in [false, true] {
        for number in 0..8 {
            let root = tree().on_disk();
            if has_file {
                Regsweep::gc(root.path()).arg("--quarantine").run().expect_code(0);
            }
            let directory = File::open(root.path()).expect("there");
            flock(&directory, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
            let run = commands(root.path()).swap_remove(number).run();
            assert!(matches!(run.code, Some(0 | 1)) || run.stderr.contains("nothing is in quarantine"), "{has_file}: {run:?}");
            assert!(!run.stderr.contains("another regsweep"), "{has_file}: {run:?}");
        }
    }
}

#[test]
fn the_lock_file_is_its_owners_alone() {
    let root = tree().on_disk();
    let lock = root.path().join(".regsweep/lock");
    let mode = || fs::metadata(&lock).expect("made").permissions().mode() & 0o7777;
    Regsweep::gc(root.path()).run().expect_code(0);
    assert_eq!(mode(), 0o600);
    // As earlier versions made it.
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).expect("ours");
    Regsweep::gc(root.path()).dry().run().expect_code(0);
    assert_eq!(mode(), 0o644, "who looks changes nothing");
    Regsweep::gc(root.path()).run().expect_code(0);
    assert_eq!(mode(), 0o600);
}

/// Whoever may read the store and not the lock looks at it all the same, and says that nobody is kept out.
#[test]
fn who_may_not_open_the_lock_file_looks_without() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its own directory");
    let root = tree().on_disk();
    open(root.path());
    for has_file in [false, true] {
        if has_file {
            Regsweep::gc(root.path()).arg("--quarantine").run().expect_code(0);
        }
        let before = snapshot(root.path());
        for words in [&["garbage-collect", "--dry-run"][..], &["audit"], &["verify"]] {
            let run = || somebody.runs(Regsweep::new().args(words).arg("--root").arg(root.path()));
            let ran = run().run().expect_code(0);
            assert_eq!(ran.stderr.contains("without a lock"), has_file, "{words:?}: {}", ran.stderr);
            // Who holds it is not asked: that it is held cannot be seen.
            let lock = has_file.then(|| File::open(root.path().join(".regsweep/lock")).expect("root may"));
            lock.iter().for_each(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).expect("free"));
            run().run().expect_code(0);
        }
        assert_eq!(snapshot(root.path()), before);
    }
    let refused = somebody.runs(Regsweep::gc(root.path())).run().expect_code(2);
    assert!(refused.stderr.contains("Permission denied") && refused.stderr.contains("run as root"), "{}", refused.stderr);
    assert_eq!(refused.stderr.matches("as root").count(), 1, "and says so once: {}", refused.stderr);
    assert!(!refused.stderr.contains("belongs to"), "{}", refused.stderr);
}

/// As on NFS without a lock daemon.
#[test]
fn a_run_that_cannot_lock_says_so() {
    let root = registry().repo("a").image("kept", &[layer(1)]).tag("v1").stray_blob(&layer(2)).on_disk();
    for errno in ["ENOLCK", "EOPNOTSUPP"] {
        let inject = format!("inject=flock:error={errno}");
        let run = Regsweep::gc(root.path()).under(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", &inject]);
        let done = run.run().expect_code(0);
        assert!(done.stderr.contains("runs without a lock") && done.stderr.contains("no other regsweep"), "{}", done.stderr);
    }
    assert!(!Regsweep::gc(root.path()).run().stderr.contains("without a lock"));
}
