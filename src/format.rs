//! Formats counts, sizes and times for display.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::amount::Amount;

const SECONDS_A_DAY: u64 = 24 * 3600;

/// A size in the largest binary unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

/// A count with a separator between thousands.
pub(crate) fn number(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A count with its noun.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A number of blobs and their bytes.
pub(crate) fn amount(amount: Amount) -> String {
    format!("{} ({})", plural(amount.count, "blob", "blobs"), size(amount.size_bytes))
}

/// A time in UTC, to the second.
pub(crate) fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An elapsed time: to a tenth of a second, from a minute on to the second.
pub(crate) fn elapsed(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        seconds => duration(Duration::from_secs(seconds)),
    }
}

/// A span as `--min-age` takes it: `1h 30m`, `24h`, `7d`.
pub(crate) fn duration(duration: Duration) -> String {
    if duration.as_secs() > SECONDS_A_DAY && duration.subsec_nanos() == 0 && duration.as_secs().is_multiple_of(SECONDS_A_DAY) {
        return format!("{}d", duration.as_secs() / SECONDS_A_DAY);
    }
    SignedDuration::try_from(duration).map_or_else(|_| format!("{}s", duration.as_secs()), |duration| format!("{duration:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        assert_eq!(elapsed(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(elapsed(Duration::from_millis(96_700)), "1m 36s");
        assert_eq!(elapsed(Duration::from_secs(7_325)), "2h 2m 5s");
        assert_eq!(duration(Duration::from_secs(5_400)), "1h 30m");
        assert_eq!(duration(Duration::from_secs(7 * 24 * 3600)), "7d");
        assert_eq!(duration(Duration::from_secs(25 * 3600)), "25h");
    }
}
