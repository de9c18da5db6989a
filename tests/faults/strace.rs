//! Faults in single system calls, by `strace`.
//!
//! It counts calls per thread. With `--jobs 1` the program has two: the first one starts, takes the lock and prints the report, and
//! the worker does all between. For a fault in the first thread `strace` starts the program and follows no other. For one in the
//! worker the test holds the lock until `strace` has attached itself to that thread alone. So every call of either has a number.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::figures::Tried;
use crate::subject::{Subject, directory, gc};
use crate::support::*;
use crate::verdict::{Allowed, judge};

/// No start and no attaching takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thread {
    First,
    Worker,
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The process is killed before the call does anything.
    Kill,
    /// The call fails with this error and does nothing.
    Error(&'static str),
}

/// One fault: what happens to the `nth` call of this name in a thread.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) thread: Thread,
    pub(crate) call: String,
    pub(crate) nth: usize,
    pub(crate) effect: Effect,
}

/// How often a thread makes each call in an uninterrupted run.
pub(crate) type Calls = BTreeMap<(Thread, String), usize>;

/// Whether `strace` works here.
pub(crate) fn works() -> bool {
    let traced = Command::new("strace").args(["-q", "-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// Counts the calls of an uninterrupted run; nothing if `strace` may not attach itself to a process here.
pub(crate) fn baseline(subject: &Subject) -> Option<Calls> {
    let mut calls = Calls::new();
    for thread in [Thread::First, Thread::Worker] {
        let traces = directory();
        let file = traces.path().join("trace");
        let root = subject.on_disk();
        run_traced(thread, root.path(), &["-o".as_ref(), file.as_ref()])?.expect_code(0);
        let trace = fs::read_to_string(file).expect("strace wrote it");
        for name in trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name) {
            // What was under way when strace came, and what never ends.
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name != "restart_syscall" {
                *calls.entry((thread, name.to_owned())).or_default() += 1;
            }
        }
    }
    for call in ["getdents64", "openat2", "unlinkat", "syncfs"] {
        assert!(calls.contains_key(&(Thread::Worker, call.into())), "a sweep without {call}: {calls:?}");
    }
    Some(calls)
}

impl Fault {
    /// Lets the fault strike a run on a store of its own, and judges what is left.
    pub(crate) fn strike(&self, subject: &Subject) -> Tried {
        let root = subject.on_disk();
        let (ran, struck) = self.run(root.path());
        if !struck {
            return Tried::NotReached;
        }
        let allowed = Allowed {
            killed: self.effect == Effect::Kill,
            told_not_empty: self.effect == Effect::Error("ENOTEMPTY"),
            close_failed: self.call == "close",
        };
        Tried::Struck(judge(subject, root.path(), &ran, allowed))
    }

    /// Runs with the fault, and says whether it struck.
    pub(crate) fn run(&self, root: &Path) -> (Outcome, bool) {
        let traces = directory();
        let file = traces.path().join("trace");
        let effect = match self.effect {
            Effect::Kill => "signal=SIGKILL".to_owned(),
            Effect::Error(errno) => format!("error={errno}"),
        };
        let trace = format!("trace={}", self.call);
        let inject = format!("inject={}:{effect}:when={}", self.call, self.nth);
        let arguments = ["-e", &trace, "-e", &inject, "-o"].map(str::as_ref);
        let ran = run_traced(self.thread, root, &[&arguments[..], &[file.as_ref()]].concat()).expect("it worked before");
        let trace = fs::read_to_string(file).expect("strace wrote it");
        let struck = match self.effect {
            Effect::Kill => trace.contains("killed by SIGKILL"),
            Effect::Error(_) => trace.contains("(INJECTED)"),
        };
        (ran, struck)
    }
}

/// The lock of a store, as another run would hold it.
pub(crate) fn hold_lock(root: &Path) -> File {
    fs::create_dir_all(root.join(".regsweep")).expect("made");
    let held = File::create(root.join(".regsweep/lock")).expect("made");
    flock(&held, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    held
}

/// Runs with `strace` on one thread; nothing if it may not attach itself.
fn run_traced(thread: Thread, root: &Path, arguments: &[&OsStr]) -> Option<Outcome> {
    if thread == Thread::First {
        return Some(gc(root).under([&["strace".as_ref(), "-q".as_ref()], arguments].concat()).run());
    }
    let held = hold_lock(root);
    let running = gc(root).args(["--wait-lock", "60s"]).start();
    let worker = worker_of(&running.child);
    let id = worker.file_name().expect("a task has a number");
    let strace = Command::new("strace").arg("-q").args(arguments).arg("-p").arg(id).stderr(Stdio::null()).spawn();
    let mut strace = strace.expect("strace starts");
    let is_attached = attached(&mut strace, &worker);
    drop(held);
    let ran = running.wait();
    strace.wait().expect("a child can be waited for");
    is_attached.then_some(ran)
}

/// The directory of the worker's thread in `/proc`, once it waits for work.
fn worker_of(child: &Child) -> PathBuf {
    let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
    wait_for("the worker", || {
        let tasks = fs::read_dir(&tasks).ok()?.filter_map(|task| Some(task.ok()?.path()));
        // Its name, in brackets, and then its state.
        tasks.into_iter().find(|task| fs::read_to_string(task.join("stat")).is_ok_and(|stat| stat.contains("(regsweep-0) S ")))
    })
}

/// Waits until `strace` has the thread; it has not, if it has ended instead.
fn attached(strace: &mut Child, worker: &Path) -> bool {
    wait_for("strace", || {
        if strace.try_wait().expect("a child can be asked").is_some() {
            return Some(false);
        }
        let status = fs::read_to_string(worker.join("status")).ok()?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
        (tracer.trim() != "0").then_some(true)
    })
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(1));
    }
}
