//! System calls that fail, one in each run, with every error that a filesystem may answer with.

use crate::figures::{numbers, try_all};
use crate::skipped;
use crate::strace::{self, Effect, Fault};
use crate::subject::Subject;

/// Which errors calls fail with. What a run does not call stays here for the day when it does.
const MATRIX: &[(&[&str], &[&str])] = &[
    (&["rename", "renameat", "renameat2"], &["EIO", "ENOSPC", "EACCES", "EXDEV", "EROFS", "EDQUOT", "ENOENT"]),
    // `unlinkat` removes folders, too.
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
