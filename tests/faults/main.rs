//! Fault injection: what a sweep leaves behind when it is killed, when system calls fail, when the power is cut, when the disk is
//! full, and when there are two of it.
//!
//! One store, [`subject`], has everything that a sweep decides about. After each fault the same is asked of it ([`verdict`]):
//!
//! - nothing that a pull needs is lost, neither blobs nor links; no link that is left leads to a blob that is gone (G1, G3);
//! - nothing is gone that an uninterrupted run does not remove, and nothing is new (G5);
//! - exit code 0 only if the garbage is gone, 1 only with findings, 2 only if nothing was removed, 3 only if something is left;
//! - a second run, without a fault, ends with 0 where an uninterrupted one ends (G7).
//!
//! The faults are independent of each other. Without more words a sample is taken; `REGSWEEP_FAULTS=all` takes all. What cannot be
//! had on a machine (root, `strace`, loop devices, xfs) is said on standard error, and the test passes.

// A test ends by panicking; and it makes, damages and deletes files, which the product may only do in one place.
#![allow(clippy::disallowed_methods)]
// It says what it tried, and what it could not.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod disks;
mod errors;
mod figures;
mod kills;
mod mounts;
mod power;
mod races;
mod strace;
mod subject;
#[path = "../suite/support/mod.rs"]
mod support;
mod verdict;

/// Whether all points are to be tried, or a sample.
fn whole() -> bool {
    std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all")
}

fn skipped(why: &str) {
    eprintln!("faults: skipped: {why}");
}
