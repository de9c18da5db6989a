//! The clocks of a run: the wall clock, the boot-time clock and the clock of the store's filesystem.
//!
//! Waiting times in quarantine are measured by two clocks. The boot-time clock cannot be set, but ends with the boot.
//! The wall clock continues, but can be set: a node that starts with its clock a day ahead would purge what was
//! quarantined a minute ago. Across boots the wall clock therefore counts only with a voucher:
//! [`RunClock::is_trusted`].

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Clocks within this difference agree.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Upper bound for a single request of a push (A1).
const LONGEST_REQUEST: Duration = Duration::from_secs(3600);

/// The time since a machine was started; it cannot be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootTime {
    /// The boot of one machine.
    pub id: String,
    /// Seconds since the boot, suspended time included.
    pub uptime_seconds: f64,
}

/// A recorded time, with the facts needed to order it against others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedTime {
    /// By the wall clock.
    pub at: Timestamp,
    /// By the boot-time clock.
    pub boot: Option<BootTime>,
    /// Whether the wall clock had a voucher.
    #[serde(default)]
    pub vouched: bool,
}

impl RecordedTime {
    /// Whether this time was before another, by a clock that is valid for both; false without such a clock.
    pub fn is_surely_before(&self, other: &RecordedTime) -> bool {
        let tolerance = jiff::SignedDuration::from_secs(TOLERANCE.as_secs() as i64);
        match (&self.boot, &other.boot) {
            // A time namespace may have its own boot-time clock under the same boot id.
            (Some(this), Some(that)) if this.id == that.id => {
                this.uptime_seconds < that.uptime_seconds && self.at.duration_since(other.at) <= tolerance
            }
            _ if self.vouched && other.vouched => other.at.duration_since(self.at) > tolerance,
            _ => false,
        }
    }

    /// Whether this time was before the boot that the other one is of, which has to be the present one: a machine has one boot at a time. The
    /// wall clock has to agree, vouched or not: another kernel may have noted this one.
    pub fn is_of_earlier_boot(&self, present: &RecordedTime) -> bool {
        match (&self.boot, &present.boot) {
            (Some(this), Some(that)) => this.id != that.id && self.at < present.at,
            _ => false,
        }
    }
}

/// The clock that measures the time since an earlier record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counts {
    /// The boot-time clock of the same boot: seconds since the record.
    Boot(f64),
    /// The wall clock: it had a voucher then, and has one now.
    Wall,
    /// No clock does.
    Nothing,
}

/// What vouches for the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The kernel reports it as synchronised.
    Kernel,
    /// The `Date` of a registry on another machine agrees within [`TOLERANCE`]. A registry on this machine uses the
    /// same clock and proves nothing.
    Registry,
}

/// All clocks, read once when a command begins and advanced by the process's monotonic clock.
#[derive(Clone, Debug)]
pub struct RunClock {
    start: SystemTime,
    boot: Option<BootTime>,
    voucher: Option<Voucher>,
    /// Upper bound for a single request of a push.
    longest_request: Duration,
    /// Offset of the clocks of this run, in tests.
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

    /// [`RunClock::start`] as a timestamp.
    pub fn started(&self) -> Timestamp {
        Timestamp::try_from(self.start).unwrap_or_default()
    }

    /// The wall clock now; a clock set since the command began does not change it.
    pub fn now(&self) -> SystemTime {
        self.start + self.begun.elapsed()
    }

    /// [`RunClock::now`] as a timestamp.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.now()).unwrap_or_default()
    }

    /// The boot-time clock now; `None` where the kernel does not report it.
    pub fn boot(&self) -> Option<BootTime> {
        let elapsed = self.begun.elapsed().as_secs_f64();
        self.boot.as_ref().map(|boot| BootTime { id: boot.id.clone(), uptime_seconds: boot.uptime_seconds + elapsed })
    }

    /// The time since the machine was started.
    pub fn since_boot(&self) -> Option<Duration> {
        self.boot().and_then(|boot| Duration::try_from_secs_f64(boot.uptime_seconds).ok())
    }

    /// The time `ago` before now, as a record; `None` if it is outside the range of a timestamp.
    pub fn recorded(&self, ago: Duration) -> Option<RecordedTime> {
        let boot = self.boot();
        // The clock of this boot has no time before the boot.
        let boot = boot.filter(|boot| boot.uptime_seconds >= ago.as_secs_f64());
        let boot = boot.map(|boot| BootTime { uptime_seconds: boot.uptime_seconds - ago.as_secs_f64(), ..boot });
        Some(RecordedTime { at: self.timestamp().checked_sub(ago).ok()?, boot, vouched: self.is_trusted() })
    }

    /// How long the command has run.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long a push may take between checking a blob and linking it.
    pub fn longest_request(&self) -> Duration {
        self.longest_request
    }

    /// Accepts a registry's `Date` as a voucher if it agrees.
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

    /// The clock that measures the time since a record with this boot time and trust.
    pub fn counts_since(&self, boot: Option<&BootTime>, was_trusted: bool) -> Counts {
        match (boot, self.boot()) {
            (Some(then), Some(now)) if then.id == now.id => Counts::Boot(now.uptime_seconds - then.uptime_seconds),
            _ if was_trusted && self.is_trusted() => Counts::Wall,
            _ => Counts::Nothing,
        }
    }

    /// The store's clock as this run counts it, from the modification time of a file just written there.
    pub(crate) fn of_store(&self, modified: SystemTime) -> SystemTime {
        modified + self.shift
    }

    /// Shifts the clocks for tests in a debug build by a text such as `shift=90000,boot=other,trusted=yes,request=2`,
    /// times in seconds. `shift` advances the wall clock, the boot-time clock and the store's together; `uptime`
    /// advances the boot-time clock further.
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
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(BootTime { id: boot_id()?, uptime_seconds: uptime.tv_sec as f64 + uptime.tv_nsec as f64 / 1e9 })
}

/// The boot of this machine.
pub(crate) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// The boot-time clock: suspended time included.
pub(crate) fn since_boot() -> Duration {
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(uptime.tv_sec.unsigned_abs(), uptime.tv_nsec.try_into().unwrap_or_default())
}

/// Converts a kernel timestamp of a file.
pub(crate) fn time_of(seconds: i64, nanoseconds: u64) -> SystemTime {
    let (since, nanoseconds) = (Duration::from_secs(seconds.unsigned_abs()), Duration::from_nanos(nanoseconds));
    if seconds < 0 { SystemTime::UNIX_EPOCH - since + nanoseconds } else { SystemTime::UNIX_EPOCH + since + nanoseconds }
}

/// The wall-clock time, as the clock is set now, of a time on the boot-time clock.
pub(crate) fn wall_clock_at(boot_time: Duration) -> Option<SystemTime> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    match now.checked_sub(boot_time) {
        Some(ago) => wall_clock().checked_sub(ago),
        None => wall_clock().checked_add(boot_time - now),
    }
}

/// Whether a time service synchronises the kernel's clock, by adjtimex(2).
fn kernel_is_synchronised() -> bool {
    // SAFETY: all fields of `timex` are numbers; zero is valid for each.
    #[expect(unsafe_code, reason = "no safe crate has this call")]
    let mut status: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel only writes to the given structure; with `modes` zero it changes no clock.
    #[expect(unsafe_code, reason = "no safe crate has this call")]
    let state = unsafe { libc::adjtimex(&raw mut status) };
    state != -1 && state != libc::TIME_ERROR && status.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_orders_are_not_before() {
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
