//! Parsers of argument values: durations, sizes, percentages.

use jiff::Timestamp;

use crate::options::{Format, Limit, Slice};
pub(super) use crate::options::{duration, glob};

/// A time in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Relative to now.
    Ago(std::time::Duration),
    /// Absolute.
    At(Timestamp),
}

/// Parses a time in the past, relative or absolute.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let at = || text.trim().parse().map(Since::At);
    duration(text)
        .map(Since::Ago)
        .or_else(|_| at())
        .map_err(|_| "expected how long ago, such as 10m, or a time with its zone, such as 2026-11-24T02:30:00Z".to_owned())
}

pub(super) fn text_or_json(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

pub(super) fn text_json_or_csv(text: &str) -> Result<Format, String> {
    match text {
        "csv" => Ok(Format::Csv),
        _ => text_or_json(text).map_err(|_| "expected text, json or csv".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size::parse_size(text).map_err(|_| "expected a size such as 512MiB".to_owned())
}

pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let expected = || "expected a size such as 50GiB, or a percentage such as 30%".to_owned();
    if let Some(number) = text.trim().strip_suffix('%') {
        let percent: f64 = number.trim().parse().map_err(|_| expected())?;
        return match (0.0..=100.0).contains(&percent) {
            true => Ok(Limit::Percent(percent)),
            false => Err("expected a percentage from 0% to 100%".to_owned()),
        };
    }
    parse_size::parse_size(text).map(Limit::SizeBytes).map_err(|_| expected())
}

pub(super) fn percentage(text: &str) -> Result<f64, String> {
    match limit(text) {
        Ok(Limit::Percent(percent)) if percent > 0.0 => Ok(percent),
        _ => Err("expected a percentage above 0% and up to 100%, such as 5%".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<u64, String> {
    let per_second = text.trim().strip_suffix("/s").unwrap_or(text);
    match parse_size::parse_size(per_second) {
        Ok(bytes @ 1..) => Ok(bytes),
        _ => Err("expected a rate such as 100MiB/s".to_owned()),
    }
}

pub(super) fn slice(text: &str) -> Result<Slice, String> {
    let read = || -> Option<Slice> {
        let (part, of) = text.split_once('/')?;
        let slice = Slice { part: part.trim().parse().ok()?, of: of.trim().parse().ok()? };
        (1..=slice.of).contains(&slice.part).then_some(slice)
    };
    read().ok_or_else(|| "expected a part of a whole, such as 3/30".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let hour = Duration::from_secs(3600);
        for (text, expected) in [
            ("1h", hour),
            ("0s", Duration::ZERO),
            ("0", Duration::ZERO),
            ("90m", hour + hour / 2),
            ("1h30m", hour + hour / 2),
            ("168h", 168 * hour),
            ("7d", 7 * 24 * hour),
            ("2 weeks", 14 * 24 * hour),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "10", "-1h", "1 month", "yesterday", "1x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_sizes_or_percentages() {
        assert_eq!(limit("10GiB"), Ok(Limit::SizeBytes(10 << 30)));
        assert_eq!(limit("1.5 kB"), Ok(Limit::SizeBytes(1500)));
        assert_eq!(limit("0"), Ok(Limit::SizeBytes(0)));
        assert_eq!(limit("12.5%"), Ok(Limit::Percent(12.5)));
        for text in ["", "%", "101%", "-1%", "-5", "NaN%", "much"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_and_rates_are_checked() {
        assert_eq!(slice("3/30"), Ok(Slice { part: 3, of: 30 }));
        assert_eq!(slice("1/1"), Ok(Slice { part: 1, of: 1 }));
        for text in ["0/3", "4/3", "3", "/", "-1/3", "1/0"] {
            assert!(slice(text).is_err(), "{text}");
        }
        assert_eq!(rate("100MiB/s"), Ok(100 << 20));
        assert_eq!(rate("5 MB"), Ok(5_000_000));
        for text in ["0/s", "", "fast", "-1MiB/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(percentage("5%"), Ok(5.0));
        for text in ["0%", "5", "101%"] {
            assert!(percentage(text).is_err(), "{text}");
        }
    }
}
