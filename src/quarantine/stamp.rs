//! What the file of a run says: who made it, when, and what has to be so before it is purged.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{BootTime, Counts, RecordedTime, RunClock};
use crate::registry_config::DescriptorCache;

/// Why things were quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Nothing needed them. They go for good when they have waited long enough and nothing needs them still.
    GarbageCollect,
    /// The same, and rules for tags dropped what needed them.
    Expire,
    /// The same, and what needed them was removed by name.
    Remove,
    /// Their bytes are not what their digests say. They wait until somebody says what is to become of them.
    Verify,
    /// They are damaged links and blobs that `repair` replaced. They wait until somebody says what is to become of them.
    Repair,
}

impl Purpose {
    const ALL: [Purpose; 5] = [Purpose::GarbageCollect, Purpose::Expire, Purpose::Remove, Purpose::Verify, Purpose::Repair];

    /// What the name of a run says of it.
    pub(super) fn of_id(id: &str) -> Purpose {
        let is_of = |purpose: &Purpose| id.split_once('-').is_some_and(|(_, name)| name.starts_with(purpose.name()));
        Purpose::ALL.into_iter().find(is_of).unwrap_or(Purpose::GarbageCollect)
    }

    /// Whether a collection moved them, by whichever command: nothing needed them.
    pub fn is_of_collection(self) -> bool {
        match self {
            Purpose::GarbageCollect | Purpose::Expire | Purpose::Remove => true,
            Purpose::Verify | Purpose::Repair => false,
        }
    }

    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::GarbageCollect => "garbage-collect",
            Purpose::Expire => "expire",
            Purpose::Remove => "remove",
            Purpose::Verify => "verify",
            Purpose::Repair => "repair",
        }
    }
}

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// The shape of this file.
    pub schema: u32,
    /// Why.
    pub purpose: Purpose,
    /// The manifests that were removed by name, as REPOSITORY@DIGEST: what they refer to may stay, and does not bring them back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// When the run began.
    pub began: Timestamp,
    /// The same by the clock that the store's files get their times from, which may be another machine's.
    #[serde(default)]
    pub began_by_store: Option<Timestamp>,
    /// When the last thing had been moved and the disk had it all. Nothing while the run goes on, or after a crash.
    pub finished: Option<Timestamp>,
    /// The same by the store's clock: what changed later was touched in quarantine.
    #[serde(default)]
    pub finished_by_store: Option<Timestamp>,
    /// When the last thing had been moved, by the boot-time clock.
    pub boot: Option<BootTime>,
    /// Whether something vouched for the wall clock by which it finished.
    #[serde(default)]
    pub vouched: bool,
    /// When a purge of it began. It ends with the run, unless it is cut off.
    #[serde(default)]
    pub purging: Option<Timestamp>,
    /// The cache in which a registry that was at work may remember what is in here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<DescriptorCache>,
    /// The redis that forgot what is in here, after the last thing had been moved and before `finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
    /// What it claimed again after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Again>,
}

/// Things that a redis claimed again although it had been made to forget them. Their wait began anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Again {
    /// Where they are, below the run's directory.
    pub paths: Vec<String>,
    /// When it had been made to forget them again; nothing if that was cut off.
    pub forgotten: Option<RecordedTime>,
}

impl Stamp {
    pub(super) fn new(purpose: Purpose, began: Timestamp, cache: Option<DescriptorCache>) -> Stamp {
        let mut stamp = Stamp {
            schema: 1,
            purpose,
            named: BTreeSet::new(),
            began,
            began_by_store: None,
            finished: None,
            finished_by_store: None,
            boot: None,
            vouched: false,
            purging: None,
            cache: None,
            redis: None,
            again: Vec::new(),
        };
        stamp.remember(cache);
        stamp
    }

    pub(super) fn remember(&mut self, cache: Option<DescriptorCache>) {
        self.cache = cache;
        self.number();
    }

    /// Those who know nothing of a redis, or of any cache, must not purge what one may name.
    pub(super) fn number(&mut self) {
        self.schema = match (&self.redis, self.cache) {
            (None, None) if self.again.is_empty() => 1,
            (None, Some(_)) if self.again.is_empty() => 2,
            _ => 3,
        };
    }

    /// Whether something has waited here for so long, by every clock that counts.
    pub(super) fn has_waited(since: &RecordedTime, wait: Duration, clock: &RunClock) -> bool {
        let by_date = Duration::try_from(clock.started().duration_since(since.at)).is_ok_and(|waited| waited >= wait);
        let by_boot = match clock.counts_since(since.boot.as_ref(), since.vouched) {
            Counts::Boot(seconds) => seconds >= wait.as_secs_f64(),
            Counts::Wall => true,
            Counts::Nothing => false,
        };
        by_date && by_boot
    }

    /// When the last thing had been moved.
    pub(super) fn ended(&self) -> Option<RecordedTime> {
        Some(RecordedTime { at: self.finished?, boot: self.boot.clone(), vouched: self.vouched })
    }
}

/// Whether a directory of that name is a run: `20261124T230000Z-garbage-collect`.
pub(super) fn is_id(name: &str) -> bool {
    let Some((second, command)) = name.split_once('-') else { return false };
    let is_second = second.len() == 16
        && second.bytes().enumerate().all(|(place, byte)| match place {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    // The second one of a second has a number.
    let is_of = |purpose: &Purpose| {
        let rest = command.strip_prefix(purpose.name());
        let number = rest.map(|rest| rest.strip_prefix('-').unwrap_or(rest));
        rest == Some("") || number.is_some_and(|number| rest != Some(number) && number.parse::<u32>().is_ok())
    };
    is_second && Purpose::ALL.iter().any(is_of)
}

/// When a run began, by its name.
pub(super) fn began_by_id(id: &str) -> Timestamp {
    let second = id.split_once('-').map_or(id, |(second, _)| second);
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", second);
    parsed.and_then(|began| jiff::tz::TimeZone::UTC.to_timestamp(began)).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn understood(text: &[u8]) -> io::Result<Stamp> {
    let with_step = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "{error}; remove the file, and what is in its directory begins to wait anew, and for a restart of the registry"
        ))
    };
    let stamp: Stamp = serde_json::from_slice(text).map_err(|error| with_step(&error))?;
    match stamp.schema {
        1..=3 => Ok(stamp),
        other => Err(io::Error::other(format!("its schema is {other}: a newer regsweep wrote it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_told_from_others() {
        for (name, purpose) in [
            ("20261124T230000Z-garbage-collect", Purpose::GarbageCollect),
            ("20261124T230000Z-garbage-collect-2", Purpose::GarbageCollect),
            ("20261124T230000Z-expire", Purpose::Expire),
            ("20261124T230000Z-remove-3", Purpose::Remove),
            ("20261124T230000Z-verify", Purpose::Verify),
            ("20261124T230000Z-verify-12", Purpose::Verify),
            ("20261124T230000Z-repair", Purpose::Repair),
        ] {
            assert!(is_id(name), "{name}");
            assert_eq!(began_by_id(name).to_string(), "2026-11-24T23:00:00Z", "{name}");
            assert_eq!(Purpose::of_id(name), purpose, "{name}");
        }
        for name in [
            "",
            "-",
            "backup",
            "lost+found",
            "20261124T230000Z",
            "20261124-garbage-collect",
            "20261124T230000Z-mine",
            "20261124T230000Z-verify.bak",
            "20261124T230000Z-removed",
        ] {
            assert!(!is_id(name), "{name}");
        }
    }

    #[test]
    fn stamps_of_others_are_not_understood() {
        let stamp = |schema| format!(r#"{{"schema":{schema},"purpose":"verify","began":"2026-11-24T23:00:00Z"}}"#);
        assert_eq!(understood(stamp(1).as_bytes()).expect("ours").purpose, Purpose::Verify);
        assert_eq!(understood(stamp(2).as_bytes()).expect("with a cache").cache, None);
        assert!(understood(stamp(4).as_bytes()).expect_err("newer").to_string().contains("newer"));
        assert!(understood(b"").expect_err("empty").to_string().contains("remove the file"));
    }
}
