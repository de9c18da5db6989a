//! System calls that fail, one in each run, with every error that a filesystem may answer with.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::figures::{numbers, try_all};
use crate::skipped;
use crate::strace::{self, Effect, Fault};
use crate::subject::{Subject, directory, gc, names};
use crate::support::*;

/// Which errors calls fail with. What a run does not call stays here for the day when it does.
const MATRIX: &[(&[&str], &[&str])] = &[
    (&["rename", "renameat", "renameat2"], &["EIO", "ENOSPC", "EACCES", "EXDEV", "EROFS", "EDQUOT", "ENOENT"]),
    // `unlinkat` removes directories, too.
    (&["unlinkat", "unlink", "rmdir"], &["EIO", "EACCES", "EPERM", "EROFS", "EBUSY", "ENOTEMPTY"]),
    (&["mkdir", "mkdirat"], &["ENOSPC", "EACCES", "EDQUOT", "EROFS"]),
    (&["open", "openat", "openat2"], &["EIO", "EACCES", "EMFILE", "ENFILE", "ELOOP", "ESTALE"]),
    (
        &["getdents64", "statx", "stat", "lstat", "fstat", "newfstatat", "read", "pread64", "readlink", "readlinkat", "statfs"],
        &["EIO", "ESTALE", "EACCES"],
    ),
    (&["write", "writev", "ftruncate"], &["ENOSPC", "EIO", "EDQUOT", "EINTR"]),
    (&["fsync", "fdatasync", "syncfs"], &["EIO", "ENOSPC"]),
    (&["flock"], &["EAGAIN", "ENOLCK", "EBADF"]),
    (&["close"], &["EIO"]),
];

/// (b) Every error at every call.
#[test]
fn any_call_may_fail_in_any_way() {
    if !strace::works() {
        return skipped("no strace: no system call fails");
    }
    let subject = Subject::small();
    let Some(calls) = strace::baseline(&subject) else {
        return skipped("strace may not attach itself: no system call fails");
    };
    let mut points = Vec::new();
    for ((thread, call), count) in &calls {
        let errors = MATRIX.iter().filter(|(names, _)| names.contains(&call.as_str())).flat_map(|(_, errors)| *errors);
        for (offset, errno) in errors.enumerate() {
            for nth in numbers(*count, 3, offset) {
                points.push(Fault { thread: *thread, call: call.clone(), nth, effect: Effect::Error(errno) });
            }
        }
    }
    try_all("a system call fails", &points, |point| point.strike(&subject));
}

/// Kernels before 5.6, and some sandboxes, have no `openat2`. In both cases: the sweep is as always, and a directory that becomes a
/// symbolic link during the flush is not followed.
#[test]
fn without_openat2_it_removes_the_same_and_follows_nothing() {
    if !strace::works() {
        return skipped("no strace: openat2 is always there");
    }
    let subject = Subject::small();
    for errno in ["ENOSYS", "EPERM", ""] {
        let beginning = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat2,syncfs"].map(str::to_owned);
        let failing = if errno.is_empty() { Vec::new() } else { vec!["-e".into(), format!("inject=openat2:error={errno}")] };
        let root = subject.on_disk();
        gc(root.path()).under(beginning.iter().chain(&failing)).run().expect_code(0);
        assert_eq!(names(root.path()), subject.after, "{errno}");

        let root = subject.on_disk();
        let pausing = ["-e".to_owned(), "inject=syncfs:delay_enter=3000000".to_owned()];
        let running = gc(root.path()).under(beginning.iter().chain(&failing).chain(&pausing)).start();
        let is_gone = |path: &String| !root.path().join(path).exists();
        let links: Vec<&String> = subject.before.keys().filter(|path| path.ends_with("/link")).collect();
        let begun = Instant::now();
        while !links.iter().filter(|path| !subject.after.contains_key(**path)).all(|path| is_gone(path)) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the links never went");
        }
        // Now it flushes, and the blobs go next.
        let shard = root.path().join(layout::parent(&layout::blob_directory(&layer(90).digest)));
        let outside = directory();
        fs::rename(&shard, outside.path().join("moved")).expect("moved");
        symlink(outside.path().join("moved"), &shard).expect("linked");
        let there = snapshot(outside.path());
        let ran = running.wait().expect_code(3);
        assert_eq!(snapshot(outside.path()), there, "{errno}");
        assert!(ran.finding_codes().iter().all(|code| code == "changed-target"), "{errno}: {:?}", ran.finding_codes());
        let others = subject.before.keys().filter(|path| tree::digest_of_blob(path).is_some());
        let others = others.filter(|path| !subject.after.contains_key(*path) && !root.path().join(path).starts_with(&shard));
        assert!(others.into_iter().all(is_gone), "{errno}: the rest goes");
    }
}
