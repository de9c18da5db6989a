//! Progress of a pass, reported to the user.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::format::{number, size};

/// The steps of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Listing blob shards.
    ListingBlobs,
    /// Looking for repositories.
    FindingRepositories,
    /// Choosing the tags that a policy drops.
    Choosing,
    /// Reading and marking repositories.
    Marking,
    /// Calling `stat` on blobs that nothing reached.
    Checking,
    /// Calling `stat` on every blob, and inspecting its directory.
    LookingAtBlobs,
    /// Removing targets.
    Sweeping,
    /// Making links.
    Repairing,
    /// Waiting for pushes that need quarantined blobs, in seconds.
    Rescuing,
    /// Restoring from the quarantine.
    Restoring,
    /// Purging the quarantine.
    Purging,
    /// Selecting the blobs to read.
    Selecting,
    /// Reading blobs.
    Verifying,
}

impl Phase {
    fn doing(self) -> &'static str {
        match self {
            Phase::ListingBlobs => "listing blobs",
            Phase::FindingRepositories => "finding repositories",
            Phase::Choosing => "choosing tags",
            Phase::Marking => "marking repositories",
            Phase::Checking => "checking unreferenced blobs",
            Phase::LookingAtBlobs => "looking at blobs",
            Phase::Sweeping => "removing",
            Phase::Repairing => "making links",
            Phase::Rescuing => "watching for pushes that need what was quarantined",
            Phase::Restoring => "restoring",
            Phase::Purging => "purging",
            Phase::Selecting => "looking at blobs",
            Phase::Verifying => "verifying",
        }
    }
}

/// Receives the progress of passes. Called from many threads.
pub trait Progress: Sync {
    /// Begins a phase, of `steps` steps if known.
    fn begin(&self, phase: Phase, steps: Option<u64>);

    /// Begins a phase of `steps` steps that is measured in bytes, `size_bytes` in all.
    fn begin_bytes(&self, phase: Phase, steps: u64, size_bytes: u64);

    /// Reports that `steps` steps and `size_bytes` bytes are done.
    fn advance(&self, steps: u64, size_bytes: u64);

    /// Ends all progress.
    fn end(&self);
}

/// Discards all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Phase, _: Option<u64>) {}

    fn begin_bytes(&self, _: Phase, _: u64, _: u64) {}

    fn advance(&self, _: u64, _: u64) {}

    fn end(&self) {}
}

/// The progress display for standard error: a bar on a terminal, periodic lines elsewhere, nothing if `quiet`.
pub fn on_stderr(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::default())
    }
}

/// Shorter runs show no bar.
const QUIET_START: Duration = Duration::from_millis(300);

/// A bar that redraws itself.
struct Bar {
    bar: ProgressBar,
    size_bytes: AtomicU64,
    /// Whether the bar measures bytes.
    measured: AtomicBool,
    begun: Instant,
}

/// The greatest width of the text beside a bar.
const BESIDE_A_BAR: u16 = 70;

/// A bar that fits the line: a longer one could not be redrawn.
fn bar(columns: u16) -> String {
    match columns.saturating_sub(BESIDE_A_BAR).min(30) {
        0..5 => String::new(),
        width => format!("[{{bar:{width}}}] "),
    }
}

/// The width of the terminal in columns.
fn columns() -> u16 {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| size.ws_col)
}

/// The remaining time, once the estimate is usable.
fn until(done: f32, elapsed: Duration, left: Duration) -> String {
    match done >= 0.02 && elapsed >= Duration::from_secs(3) && left > Duration::ZERO {
        true => format!(", {} left", HumanDuration(left)),
        false => String::new(),
    }
}

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Bar { bar, size_bytes: AtomicU64::new(0), measured: AtomicBool::new(false), begun: Instant::now() }
    }

    fn start(&self, phase: Phase, template: &str, length: Option<u64>) {
        let template = &template.replace("{bar}", &bar(columns()));
        let style = ProgressStyle::with_template(template).expect("all templates in this file are valid");
        let style = style.with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let left = state.len().unwrap_or_default().saturating_sub(state.pos());
            out.write_fmt(format_args!("{left}")).expect("writing to a String");
        });
        let style = style.with_key("until", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            out.write_str(&until(state.fraction(), state.elapsed(), state.eta())).expect("writing to a String");
        });
        self.size_bytes.store(0, Ordering::Relaxed);
        self.bar.reset();
        // Not all terminals show more than ASCII.
        self.bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        match length {
            Some(length) => self.bar.set_length(length),
            None => self.bar.unset_length(),
        }
        self.bar.set_message("");
        self.bar.set_prefix(phase.doing());
        self.show_when_due();
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
            // A countdown: the steps are seconds.
            Some(_) if phase == Phase::Rescuing => "{spinner} {prefix}, {left} s left",
            Some(_) => "{spinner} {prefix} {bar}{human_pos}/{human_len}{msg}{until}",
            None => "{spinner} {prefix} {human_pos}{msg}",
        };
        self.measured.store(false, Ordering::Relaxed);
        self.start(phase, template, steps);
    }

    fn begin_bytes(&self, phase: Phase, _: u64, size_bytes: u64) {
        self.measured.store(true, Ordering::Relaxed);
        let template = "{spinner} {prefix} {bar}{binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}{until}";
        self.start(phase, template, Some(size_bytes));
    }

    fn advance(&self, steps: u64, size_bytes: u64) {
        if self.measured.load(Ordering::Relaxed) {
            self.bar.inc(size_bytes);
            self.show_when_due();
            return;
        }
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

/// The interval between two lines of a phase.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Periodic lines, for logs.
#[derive(Default)]
struct Lines {
    steps: AtomicU64,
    size_bytes: AtomicU64,
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    phase: Option<Begun>,
    last: Option<Instant>,
}

/// A phase in progress.
#[derive(Clone, Copy)]
struct Begun {
    phase: Phase,
    at: Instant,
    steps: Option<u64>,
    size_bytes: Option<u64>,
}

impl Begun {
    /// The progress as a line.
    fn line(&self, steps: u64, size_bytes: u64, elapsed: Duration) -> String {
        let of =
            |total: Option<u64>, word: fn(u64) -> String| total.map(|total| format!(" of {}", word(total))).unwrap_or_default();
        let mut line = format!("{}: {}{}", self.phase.doing(), number(steps), of(self.steps, number));
        if size_bytes > 0 || self.size_bytes.is_some() {
            line += &format!(", {}{}", size(size_bytes), of(self.size_bytes, size));
        }
        if let Some(total) = self.size_bytes
            && size_bytes > 0
            && elapsed.as_secs_f64() > 0.0
        {
            let rate = size_bytes as f64 / elapsed.as_secs_f64();
            let left = Duration::from_secs_f64(total.saturating_sub(size_bytes) as f64 / rate);
            line += &format!(", {}/s, {} left", size(rate as u64), HumanDuration(left));
        }
        line
    }
}

impl Lines {
    fn start(&self, phase: Phase, steps: Option<u64>, size_bytes: Option<u64>) {
        self.steps.store(0, Ordering::Relaxed);
        self.size_bytes.store(0, Ordering::Relaxed);
        let mut state = self.state.lock().expect("nothing panics with the state held");
        let now = Instant::now();
        state.phase = Some(Begun { phase, at: now, steps, size_bytes });
        state.last.get_or_insert(now);
    }
}

impl Progress for Lines {
    fn begin(&self, phase: Phase, steps: Option<u64>) {
        self.start(phase, steps, None);
    }

    fn begin_bytes(&self, phase: Phase, steps: u64, size_bytes: u64) {
        self.start(phase, Some(steps), Some(size_bytes));
    }

    fn advance(&self, steps: u64, size_bytes: u64) {
        let done = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
        let size_bytes = self.size_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
        // Another thread that holds the lock writes the line.
        let Ok(mut state) = self.state.try_lock() else { return };
        let (Some(begun), Some(last)) = (state.phase, state.last) else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        state.last = Some(Instant::now());
        print_line(&begun.line(done, size_bytes, begun.at.elapsed()));
    }

    fn end(&self) {}
}

fn print_line(line: &str) {
    // `eprintln` panics when standard error is closed.
    let _closed = writeln!(std::io::stderr(), "regsweep: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_room_and_says_what_is_known() {
        assert_eq!([40, 60, 74].map(bar), [""; 3]);
        assert_eq!([80, 100, 200].map(bar), ["[{bar:10}] ", "[{bar:30}] ", "[{bar:30}] "]);
        let seconds = Duration::from_secs;
        assert_eq!(until(0.5, seconds(60), seconds(60)), ", 60 seconds left");
        assert_eq!(
            [until(0.5, seconds(1), seconds(1)), until(0.01, seconds(60), seconds(6000)), until(1.0, seconds(9), seconds(0))],
            [""; 3]
        );
    }

    #[test]
    fn a_phase_measured_in_bytes_tells_rate_and_time_left() {
        let begun = Begun { phase: Phase::Verifying, at: Instant::now(), steps: Some(1200), size_bytes: Some(3 << 30) };
        let line = begun.line(400, 1 << 30, Duration::from_secs(10));
        assert_eq!(line, "verifying: 400 of 1,200, 1 GiB of 3 GiB, 102.40 MiB/s, 20 seconds left");
        assert_eq!(begun.line(0, 0, Duration::ZERO), "verifying: 0 of 1,200, 0 B of 3 GiB");
        let plain = Begun { phase: Phase::Marking, at: Instant::now(), steps: None, size_bytes: None };
        assert_eq!(plain.line(7, 0, Duration::from_secs(1)), "marking repositories: 7");
    }
}
