//! A sweep that is killed: at every one of its system calls, and at random times with many threads.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::figures::{Tried, numbers, try_all};
use crate::strace::{self, Effect, Fault};
use crate::subject::{Subject, names};
use crate::support::*;
use crate::verdict::{Allowed, judge};
use crate::{skipped, whole};

/// Not the same calls in every run: they wait for other threads, or ask the scheduler.
const VARYING: [&str; 2] = ["futex", "sched_yield"];

/// (a) SIGKILL at every system call of a run, from its first to its last.
#[test]
fn killed_at_any_system_call() {
    if !strace::works() {
        return skipped("no strace: nothing is killed at its system calls");
    }
    let subject = Subject::small();
    let Some(calls) = strace::baseline(&subject) else {
        return skipped("strace may not attach itself: nothing is killed at its system calls");
    };
    let mut points = Vec::new();
    for ((thread, call), count) in calls.iter().filter(|((_, call), _)| !VARYING.contains(&call.as_str())) {
        let most = if ["unlinkat", "syncfs", "mkdir", "ftruncate"].contains(&call.as_str()) { 25 } else { 4 };
        for nth in numbers(*count, most, 0) {
            points.push(Fault { thread: *thread, call: call.clone(), nth, effect: Effect::Kill });
        }
    }
    try_all("SIGKILL at a system call", &points, |point| point.strike(&subject));
}

/// A number from 0 to 1 that looks random: splitmix64.
fn fraction(seed: u64, nth: u64) -> f64 {
    let mut mixed = seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

/// (e) `kill -9` at random times, with as many threads as the program takes by itself. A point is a time, as a part of the time that a
/// run takes; a run that was killed before its sweep, or not at all, counts as not reached and is made up for.
#[test]
fn killed_at_random_times_with_many_threads() {
    let subject = Subject::large();
    let run = |root: &std::path::Path| {
        Regsweep::new().args(["garbage-collect", "-m", "--format", "json", "--jobs", "16", "--root"]).arg(root)
    };
    let seed = match std::env::var("REGSWEEP_FAULTS_SEED") {
        Ok(seed) => seed.parse().expect("a seed is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").subsec_nanos().into(),
    };
    println!("faults: REGSWEEP_FAULTS_SEED={seed}");
    let wanted = if whole() { 200 } else { 25 };
    let points: Vec<u64> = (0..wanted).collect();
    try_all("kill -9 at a random time of a sweep with 16 threads", &points, |&point| {
        for attempt in 0..20 {
            let root = subject.on_disk();
            let mut running = run(root.path()).start();
            wait_for_the_sweep(&subject, root.path(), &mut running);
            // A sweep of this store takes some 10 to 60 milliseconds here.
            let delay = fraction(seed, 1000 * point + attempt) * 0.03;
            thread::sleep(Duration::from_secs_f64(delay));
            let _ended_just_now = running.child.kill();
            let ran = running.wait();
            let now = names(root.path());
            if now != subject.before && now != subject.after {
                return Tried::Struck(judge(&subject, root.path(), &ran, Allowed { killed: true, ..Allowed::default() }));
            }
        }
        Tried::NotReached
    });
}

/// Waits until something is gone, or the run has ended.
fn wait_for_the_sweep(subject: &Subject, root: &std::path::Path, running: &mut run::Running) {
    let first: Vec<_> = subject.before.keys().filter(|path| !subject.after.contains_key(*path)).take(50).collect();
    let begun = Instant::now();
    while first.iter().all(|path| root.join(path).exists()) {
        if running.child.try_wait().expect("a child can be asked").is_some() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the sweep never began");
    }
}
