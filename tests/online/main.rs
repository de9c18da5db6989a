//! Collection beside the real registry while it takes pushes.
//!
//! - [`races`]: each way in which a push and a collection can meet badly, forced: the registry runs under `strace`, which holds one of its
//!   system calls up until the collection is over. First a control that removes at once and loses the image, then `--online`.
//! - [`stress`]: six pushers and a collector in a tight loop. `REGSWEEP_STRESS=120` makes it two minutes for each collector, of which the
//!   registry's own then has to break something.
//! - [`remembered`]: a registry with a cache of descriptors, which accepts images whose blobs have gone.
//! - [`in_redis`]: the same in a redis, which outlives every restart.
//! - [`redis_faults`]: a redis that goes away at each of its commands, and the ways to one.
//! - [`chaos`]: the same pushers beside everything that changes a store or its quarantine, half of it killed at any moment.
//!
//! Broken means: a manifest PUT was answered with 201, nobody has deleted or overwritten it since, and it cannot be pulled.

// A test ends by panicking; and it damages what it made.
#![allow(clippy::disallowed_methods)]
// It says what it measured, and what it could not.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod chaos;
mod in_redis;
mod races;
mod redis_faults;
mod remembered;
mod stress;
#[path = "../suite/support/mod.rs"]
mod support;

/// Whether `strace` is here; says so if not.
fn can_hold_up() -> bool {
    let is_here = std::process::Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !is_here {
        eprintln!("online: skipped: strace is not installed");
    }
    is_here
}
