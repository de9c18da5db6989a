//! How far a pass has come, told to whoever watches.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::words::{number, size};

/// What a pass counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Listing blob shards.
    ListingBlobs,
    /// Looking for repositories.
    FindingRepositories,
    /// Reading and marking repositories.
    Marking,
    /// Looking at blobs that nothing reached.
    Checking,
    /// Removing targets.
    Sweeping,
}

impl Phase {
    fn doing(self) -> &'static str {
        match self {
            Phase::ListingBlobs => "listing blobs",
            Phase::FindingRepositories => "finding repositories",
            Phase::Marking => "marking repositories",
            Phase::Checking => "checking unreferenced blobs",
            Phase::Sweeping => "removing",
        }
    }
}

/// Where passes report how far they are. Called from many threads.
pub trait Progress: Sync {
    /// A phase begins, of so many steps if that is known.
    fn begin(&self, phase: Phase, steps: Option<u64>);

    /// So many steps are done, and so many bytes dealt with.
    fn advance(&self, steps: u64, size_bytes: u64);

    /// Nothing more will come.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Phase, _: Option<u64>) {}

    fn advance(&self, _: u64, _: u64) {}

    fn end(&self) {}
}

/// The progress fit for standard error: a bar on a terminal, a line now and then elsewhere, nothing if `quiet`.
pub fn on_stderr(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::default())
    }
}

/// Runs shorter than this show no bar.
const QUIET_START: Duration = Duration::from_millis(300);

/// A bar that redraws itself.
struct Bar {
    bar: ProgressBar,
    size_bytes: AtomicU64,
    begun: Instant,
}

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Bar { bar, size_bytes: AtomicU64::new(0), begun: Instant::now() }
    }

    fn show_when_due(&self) {
        if self.bar.is_hidden() && self.begun.elapsed() >= QUIET_START {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

impl Progress for Bar {
    fn begin(&self, phase: Phase, steps: Option<u64>) {
        let template = match steps {
            Some(_) => "{spinner} {prefix} [{bar:30}] {human_pos}/{human_len}{msg}, {eta} left",
            None => "{spinner} {prefix} {human_pos}{msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are valid");
        self.size_bytes.store(0, Ordering::Relaxed);
        self.bar.reset();
        self.bar.set_style(style.progress_chars("=> "));
        match steps {
            Some(steps) => self.bar.set_length(steps),
            None => self.bar.unset_length(),
        }
        self.bar.set_message("");
        self.bar.set_prefix(phase.doing());
        self.show_when_due();
    }

    fn advance(&self, steps: u64, size_bytes: u64) {
        self.bar.inc(steps);
        if size_bytes > 0 {
            let total = self.size_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
            self.bar.set_message(format!(", {}", size(total)));
        }
        self.show_when_due();
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How long a phase runs between two lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A line now and then, for logs.
#[derive(Default)]
struct Lines {
    steps: AtomicU64,
    size_bytes: AtomicU64,
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    phase: Option<(Phase, Option<u64>)>,
    last: Option<Instant>,
}

impl Progress for Lines {
    fn begin(&self, phase: Phase, steps: Option<u64>) {
        self.steps.store(0, Ordering::Relaxed);
        self.size_bytes.store(0, Ordering::Relaxed);
        let mut state = self.state.lock().expect("nothing panics with the state held");
        state.phase = Some((phase, steps));
        state.last.get_or_insert_with(Instant::now);
    }

    fn advance(&self, steps: u64, size_bytes: u64) {
        let done = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
        let size_bytes = self.size_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
        // Whoever finds it taken leaves the line to the other.
        let Ok(mut state) = self.state.try_lock() else { return };
        let (Some((phase, total)), Some(last)) = (state.phase, state.last) else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        state.last = Some(Instant::now());
        let of = total.map(|total| format!(" of {}", number(total))).unwrap_or_default();
        let bytes = match size_bytes {
            0 => String::new(),
            some => format!(", {}", size(some)),
        };
        tell(&format!("{}: {}{of}{bytes}", phase.doing(), number(done)));
    }

    fn end(&self) {}
}

fn tell(line: &str) {
    // Not `eprintln`, which panics when nobody listens.
    let _nobody_listens = writeln!(std::io::stderr(), "regsweep: {line}");
}
