//! Time, as a run counts it: the wall clock, the boot-time clock, and the clock of the store's filesystem.
//!
//! Things in quarantine wait by two clocks. The boot-time clock cannot be set, but it ends with the boot. The wall clock goes on, but
//! whoever sets it moves it: a node that starts with its clock a day ahead would purge what was quarantined a minute ago. So across
//! boots the wall clock counts only where something vouches for it, which is what [`RunClock::is_trusted`] says.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Clocks that differ by no more than this agree.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// No request of a push takes longer (A1).
const LONGEST_REQUEST: Duration = Duration::from_secs(3600);

/// The time since a machine was started, which nobody can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootTime {
    /// Which start of which machine.
    pub id: String,
    /// Seconds since then, times asleep included.
    pub uptime_seconds: f64,
}

/// A time that is written down, with all that later tells what came before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedTime {
    /// By the wall clock.
    pub at: Timestamp,
    /// By the boot-time clock.
    pub boot: Option<BootTime>,
    /// Whether something vouched for the wall clock.
    #[serde(default)]
    pub vouched: bool,
}

impl RecordedTime {
    /// Whether this was before another, by a clock that counts for both. Where none does, it was not.
    pub fn is_surely_before(&self, other: &RecordedTime) -> bool {
        let tolerance = jiff::SignedDuration::from_secs(TOLERANCE.as_secs() as i64);
        match (&self.boot, &other.boot) {
            // A namespace of times may have a boot-time clock of its own under the same name.
            (Some(this), Some(that)) if this.id == that.id => {
                this.uptime_seconds < that.uptime_seconds && self.at.duration_since(other.at) <= tolerance
            }
            _ if self.vouched && other.vouched => other.at.duration_since(self.at) > tolerance,
            _ => false,
        }
    }
}

/// The clock that reaches back to an earlier time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counts {
    /// The boot-time clock of the same boot: seconds since then.
    Boot(f64),
    /// The wall clock: something vouched for it then, and does now.
    Wall,
    /// None.
    Nothing,
}

/// What vouches for the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The kernel says that it is synchronised.
    Kernel,
    /// The `Date` of a registry on another machine agrees within [`TOLERANCE`]. One on this machine goes by the same clock, and vouches for
    /// nothing.
    Registry,
}

/// All clocks, read once when a command begins and carried on by the process's own.
#[derive(Clone, Debug)]
pub struct RunClock {
    start: SystemTime,
    boot: Option<BootTime>,
    voucher: Option<Voucher>,
    /// How long no request of a push takes longer than.
    longest_request: Duration,
    /// How far the clocks of this run are moved, in tests.
    shift: Duration,
    begun: Instant,
}

impl RunClock {
    /// Reads the clocks.
    pub(crate) fn read() -> RunClock {
        let voucher = kernel_is_synchronised().then_some(Voucher::Kernel);
        RunClock {
            start: wall_clock(),
            boot: boot_time(),
            voucher,
            longest_request: LONGEST_REQUEST,
            shift: Duration::ZERO,
            begun: Instant::now(),
        }
    }

    /// When the command began.
    pub fn start(&self) -> SystemTime {
        self.start
    }

    /// The same to write down.
    pub fn started(&self) -> Timestamp {
        Timestamp::try_from(self.start).unwrap_or_default()
    }

    /// What the wall clock says now, unless somebody has set it since the command began.
    pub fn now(&self) -> SystemTime {
        self.start + self.begun.elapsed()
    }

    /// The same to write down.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.now()).unwrap_or_default()
    }

    /// The boot-time clock now; nothing where the kernel does not say.
    pub fn boot(&self) -> Option<BootTime> {
        let elapsed = self.begun.elapsed().as_secs_f64();
        self.boot.as_ref().map(|boot| BootTime { id: boot.id.clone(), uptime_seconds: boot.uptime_seconds + elapsed })
    }

    /// How long after the machine was started it is now.
    pub fn since_boot(&self) -> Option<Duration> {
        self.boot().and_then(|boot| Duration::try_from_secs_f64(boot.uptime_seconds).ok())
    }

    /// The time so long ago, to write down; nothing if that lies outside of what a clock can say.
    pub fn recorded(&self, ago: Duration) -> Option<RecordedTime> {
        let boot = self.boot();
        // Before this boot its clock says nothing.
        let boot = boot.filter(|boot| boot.uptime_seconds >= ago.as_secs_f64());
        let boot = boot.map(|boot| BootTime { uptime_seconds: boot.uptime_seconds - ago.as_secs_f64(), ..boot });
        Some(RecordedTime { at: self.timestamp().checked_sub(ago).ok()?, boot, vouched: self.is_trusted() })
    }

    /// How long the command has run.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long a push may take between looking at a blob and saying that it needs it.
    pub fn longest_request(&self) -> Duration {
        self.longest_request
    }

    /// Takes a registry's `Date` for a voucher if it agrees.
    pub fn compare_with_registry(&mut self, date: SystemTime) {
        let now = self.now();
        let apart = now.duration_since(date).unwrap_or_else(|error| error.duration());
        if apart <= TOLERANCE && self.voucher.is_none() {
            self.voucher = Some(Voucher::Registry);
        }
    }

    /// What vouches for the wall clock.
    pub fn voucher(&self) -> Option<Voucher> {
        self.voucher
    }

    /// Whether the wall clock counts across boots.
    pub fn is_trusted(&self) -> bool {
        self.voucher.is_some()
    }

    /// Which clock tells how long ago something was that was noted by these.
    pub fn counts_since(&self, boot: Option<&BootTime>, was_trusted: bool) -> Counts {
        match (boot, self.boot()) {
            (Some(then), Some(now)) if then.id == now.id => Counts::Boot(now.uptime_seconds - then.uptime_seconds),
            _ if was_trusted && self.is_trusted() => Counts::Wall,
            _ => Counts::Nothing,
        }
    }

    /// What the store's clock says, as this run counts it: the modification time of a file just written there.
    pub(crate) fn of_store(&self, modified: SystemTime) -> SystemTime {
        modified + self.shift
    }

    /// Moves the clocks for a test of a debug build as a text says, such as `shift=90000,boot=other,trusted=yes,request=2`, times in
    /// seconds: the wall clock, the boot-time clock and the store's go forward together, and the boot-time clock by `uptime` more.
    pub(crate) fn moved_for_tests(mut self, text: &str) -> RunClock {
        for (name, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            let seconds = || value.parse().map(Duration::from_secs).unwrap_or_default();
            match name {
                "shift" => self.shift = seconds(),
                "uptime" => self.boot.iter_mut().for_each(|boot| boot.uptime_seconds += seconds().as_secs_f64()),
                "request" => self.longest_request = seconds(),
                "trusted" => self.voucher = (value == "yes").then_some(Voucher::Kernel),
                "boot" => self.boot.iter_mut().for_each(|boot| boot.id = value.to_owned()),
                _ => {}
            }
        }
        self.start += self.shift;
        self.boot.iter_mut().for_each(|boot| boot.uptime_seconds += self.shift.as_secs_f64());
        self
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn boot_time() -> Option<BootTime> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(BootTime { id: id.trim().to_owned(), uptime_seconds: uptime.tv_sec as f64 + uptime.tv_nsec as f64 / 1e9 })
}

/// A time as the kernel gives it to files.
pub(crate) fn time_of(seconds: i64, nanoseconds: u64) -> SystemTime {
    let (since, nanoseconds) = (Duration::from_secs(seconds.unsigned_abs()), Duration::from_nanos(nanoseconds));
    if seconds < 0 { SystemTime::UNIX_EPOCH - since + nanoseconds } else { SystemTime::UNIX_EPOCH + since + nanoseconds }
}

/// What the wall clock, as it is set now, would have said at a time of the boot-time clock.
pub(crate) fn wall_clock_at(boot_time: Duration) -> Option<SystemTime> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    match now.checked_sub(boot_time) {
        Some(ago) => wall_clock().checked_sub(ago),
        None => wall_clock().checked_add(boot_time - now),
    }
}

/// Whether a time service keeps the kernel's clock, as adjtimex(2) tells everybody.
fn kernel_is_synchronised() -> bool {
    // SAFETY: all fields of `timex` are numbers, for which zeros are valid.
    #[expect(unsafe_code, reason = "no safe crate has this call")]
    let mut status: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the structure that it is given, and changes nothing as `modes` is zero.
    #[expect(unsafe_code, reason = "no safe crate has this call")]
    let state = unsafe { libc::adjtimex(&raw mut status) };
    state != -1 && state != libc::TIME_ERROR && status.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_clock_tells_apart_is_not_before() {
        let at = |seconds: i64, boot: Option<(&str, f64)>, vouched: bool| RecordedTime {
            at: Timestamp::from_second(seconds).expect("a time"),
            boot: boot.map(|(id, uptime_seconds)| BootTime { id: id.to_owned(), uptime_seconds }),
            vouched,
        };
        let first = at(1_000_000, Some(("a", 10.0)), true);
        assert!(
            first.is_surely_before(&at(999_999, Some(("a", 11.0)), false)),
            "the boot-time clock of one boot needs no voucher"
        );
        assert!(!first.is_surely_before(&at(0, Some(("a", 11.0)), true)), "another clock of the same name");
        assert!(!first.is_surely_before(&at(2_000_000, Some(("a", 10.0)), true)), "at once is not before");
        assert!(first.is_surely_before(&at(1_000_400, Some(("b", 1.0)), true)));
        assert!(!first.is_surely_before(&at(1_000_300, Some(("b", 1.0)), true)), "clocks differ");
        assert!(!first.is_surely_before(&at(2_000_000, None, false)), "nothing vouches for one of them");
        let clock = RunClock { boot: Some(BootTime { id: "a".into(), uptime_seconds: 50.0 }), ..RunClock::read() };
        let ago = |seconds| clock.recorded(Duration::from_secs(seconds)).expect("a time");
        assert!(ago(30).is_surely_before(&ago(20)) && !ago(20).is_surely_before(&ago(30)));
        assert_eq!(ago(90).boot, None, "before the machine was started");
    }

    #[test]
    fn a_registry_vouches_for_a_clock_that_agrees_with_it() {
        let mut clock = RunClock { voucher: None, ..RunClock::read() };
        clock.compare_with_registry(clock.now() + TOLERANCE * 2);
        assert!(!clock.is_trusted());
        clock.compare_with_registry(clock.now() - TOLERANCE / 2);
        assert_eq!(clock.voucher(), Some(Voucher::Registry));
    }
}
