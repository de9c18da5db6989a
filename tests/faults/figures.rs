//! Trying many points, a few at a time, and counting what came of it.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::verdict::Verdict;

/// More than processors: a point waits for the lock, for processes and for disks most of its time.
const AT_ONCE: usize = 4;

/// What came of one point.
pub(crate) enum Tried {
    /// The fault struck.
    Struck(Verdict),
    /// The run was over before.
    NotReached,
}

/// Tries all points and prints the figures.
///
/// # Panics
///
/// When one of them lost something, ended with the wrong code or could not be finished, or when hardly any struck.
pub(crate) fn try_all<P: Debug + Sync>(title: &str, points: &[P], attempt: impl Fn(&P) -> Tried + Sync) {
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<(usize, Verdict)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(place) else { return };
                    if let Tried::Struck(verdict) = attempt(point) {
                        verdicts.lock().expect("nobody panics with it").push((place, verdict));
                    }
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().expect("nobody panics with it");
    let count = |bad: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, verdict)| bad(verdict)).count();
    println!(
        "faults: {title}: {} points tried, {} of them not reached; {} lost something, {} ended with a wrong code, {} unfinished \
         after a second run; {} left empty directories for a later one",
        points.len(),
        points.len() - verdicts.len(),
        count(|verdict| !verdict.lost.is_empty()),
        count(|verdict| !verdict.wrong_exit.is_empty()),
        count(|verdict| !verdict.unfinished.is_empty()),
        count(|verdict| verdict.husks > 0),
    );
    let bad: Vec<String> = verdicts
        .iter()
        .filter(|(_, verdict)| !verdict.is_good())
        .map(|(place, verdict)| format!("{:?}: {verdict:#?}", points[*place]))
        .collect();
    let shown = bad.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(bad.is_empty(), "{title}: {} of {} points are bad:\n{shown}", bad.len(), points.len());
    assert!(verdicts.len() * 10 >= points.len() * 9, "{title}: only {} of {} points struck", verdicts.len(), points.len());
}

/// The numbers from 1 to `count`, or a sample of at most `most` of them that has the last one in it.
pub(crate) fn numbers(count: usize, most: usize, offset: usize) -> Vec<usize> {
    if crate::whole() || count <= most {
        return (1..=count).collect();
    }
    // Odd, as files and their directories go in turn.
    let stride = count.div_ceil(most) | 1;
    (1..=count).rev().skip(offset % stride).step_by(stride).collect()
}
