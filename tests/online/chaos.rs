//! Six pushers beside collections, restorations, purges and `verify --quarantine`, half of them killed at a random moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::stress::{Figures, MACHINE, QUARANTINE, ours, stress, wanted};
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;

/// No command takes much longer here; about half are killed before they end.
const KILLED_WITHIN: Duration = Duration::from_millis(120);

static STEPS: AtomicU64 = AtomicU64::new(1);
static KILLED: AtomicU64 = AtomicU64::new(0);

/// Any mixture will do.
fn below(limit: u64) -> u64 {
    let step = STEPS.fetch_add(1, Ordering::Relaxed);
    (step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % limit
}

fn step(registry: &mut RealRegistry, _: &mut Figures) {
    let wait = format!("{}s", QUARANTINE.as_secs());
    let words: &[&str] = match below(10) {
        0 => &["restore", "--all"],
        1 => &["restore"],
        2 => &["quarantine", "purge", "--older-than", &wait],
        3 => &["verify", "--quarantine"],
        4 => &["garbage-collect", "--online", "-m", "--dry-run", "--allow-shrunk"],
        _ => &[
            "garbage-collect",
            "--online",
            "-m",
            "--min-age",
            "1s",
            "--rescue-for",
            "0s",
            "--quarantine-for",
            &wait,
            "--allow-shrunk",
        ],
    };
    // Stores of tests are mostly garbage.
    let lifted = if words[0] == "garbage-collect" { &["--allow-unlinked", "100%"][..] } else { &[] };
    let clock = format!("trusted=yes,request={}", QUARANTINE.as_secs());
    let run = Regsweep::new().args(words).args(lifted).arg(registry.config()).env("REGSWEEP_TEST_CLOCK", clock);
    let mut running = run.start();
    if below(2) == 0 {
        thread::sleep(KILLED_WITHIN.mul_f64(below(1000) as f64 / 1000.0));
        KILLED.fetch_add(u64::from(running.child.kill().is_ok()), Ordering::Relaxed);
        running.wait();
    } else {
        let ended = running.wait();
        assert!(matches!(ended.code, Some(0..=3)), "{words:?}: {:?}\n{}{}", ended.code, ended.stdout, ended.stderr);
    }
}

#[test]
fn no_acknowledged_image_is_broken_by_whatever_is_killed_when() {
    let (seconds, is_long) = wanted();
    let _alone = MACHINE.lock();
    // The last nights are quiet ones: what waits goes back, or for good.
    let figures = stress(seconds, Settings::default(), &step, &ours);
    let killed = KILLED.load(Ordering::Relaxed);
    println!("chaos, {seconds} s: {killed} kills, {figures:?}");
    assert_eq!(figures.broken, [""; 0], "{figures:?}");
    assert!(figures.acknowledged > 0 && figures.collections > 2 && (killed > 10 || !is_long), "{figures:?}");
}
