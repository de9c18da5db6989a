//! Two sweeps at once. The lock keeps them apart, but the lock is for not working twice: without it nothing may be lost either (I13).
//!
//! That a second run stops when the lock is held, and what happens when a registry writes during a sweep: `suite/hazards/races.rs`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::figures::{Tried, try_all};
use crate::subject::{Subject, gc, names};
use crate::support::*;
use crate::verdict::{Verdict, lost, run_again};
use crate::{skipped, strace, whole};

/// A run that is told that it has the lock.
fn without_lock(root: &Path) -> Regsweep {
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:retval=0", "--seccomp-bpf"];
    let run = Regsweep::new().args(["garbage-collect", "-m", "--format", "json", "--jobs", "4", "--root"]).arg(root);
    // It would see what the other removes.
    run.env("REGSWEEP_TEST_UNNOTICED", "yes").under(strace)
}

/// (f) The second begins a little later each time, so that it meets the first in any of its passes.
#[test]
fn two_at_once_without_the_lock() {
    if !strace::works() {
        return skipped("no strace: the lock cannot be defeated");
    }
    let subject = Subject::large();
    let points: Vec<u64> = (0..if whole() { 120 } else { 24 }).collect();
    try_all("two sweeps at once, the lock defeated", &points, |point| {
        let mut delay = Duration::from_millis(5 * (point % 12));
        let (root, both) = loop {
            let root = subject.on_disk();
            let first = without_lock(root.path()).start();
            thread::sleep(delay);
            let second = without_lock(root.path()).start();
            let both = [first.wait(), second.wait()];
            if both.iter().all(has_swept) || delay.is_zero() {
                break (root, both);
            }
            delay /= 2;
        };
        if !both.iter().all(has_swept) {
            return Tried::NotReached;
        }
        let now = names(root.path());
        let mut verdict = Verdict { lost: lost(&subject, root.path(), &now), ..Verdict::default() };
        for ran in &both {
            // Who comes late finds things gone that were there when it listed them, and may stop for it.
            let is_right = match ran.code {
                Some(0) => now.keys().all(|path| subject.after.contains_key(path)),
                Some(1 | 3) => ran.findings().iter().any(|finding| finding.severity != "note"),
                _ => false,
            };
            if !is_right || ran.stderr.contains("panicked") {
                verdict.wrong_exit.push(format!("{:?}: {}{}", ran.code, ran.stdout, ran.stderr));
            }
        }
        run_again(&subject, root.path(), &mut verdict);
        Tried::Struck(verdict)
    });
}

/// Whether a run found something to remove, or what it had found was gone already.
fn has_swept(ran: &Outcome) -> bool {
    ran.code != Some(2) && ran.report()["removed"]["blobs"].as_u64() > Some(0)
}

/// The means of the test above do what they are to.
#[test]
fn the_lock_can_be_defeated() {
    if !strace::works() {
        return skipped("no strace: the lock cannot be defeated");
    }
    let subject = Subject::small();
    let root = subject.on_disk();
    let _held = strace::hold_lock(root.path());
    gc(root.path()).run().expect_code(2);
    assert_eq!(names(root.path()), subject.before);
    without_lock(root.path()).run().expect_code(0);
    assert_eq!(names(root.path()), subject.after);
}
