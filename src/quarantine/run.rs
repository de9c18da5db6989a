//! One run's directory: its stamp, what it holds, and the ways out of it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Memory;
use crate::clock::{BootTime, Counts, RecordedTime, RunClock, TOLERANCE};
use crate::error::{Context as _, Error};
use crate::layout::Target;
use crate::oci::Digest;
use crate::registry_config::DescriptorCache;
use crate::store::{Condition, Contents, Directories, Held, ManifestContent, Planned, Removal, Return, Shelf, Shelves};

/// The file that says who made a run and when.
const STAMP: &str = "run.json";
/// What it is called from when a purge begins on a disk that has no room to write that into it.
const STAMP_OF_A_PURGE: &str = "purging.json";
/// What lies on a run's shelf and is not what it holds.
const STAMPS: [&str; 2] = [STAMP, STAMP_OF_A_PURGE];
/// Times of files may be cut down to this.
const COARSENESS: Duration = Duration::from_secs(1);
/// Runs that may begin within one second.
const RUNS_A_SECOND: u32 = 1000;

/// Why things were quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Nothing needed them. They go for good when they have waited long enough and nothing needs them still.
    GarbageCollect,
    /// Their bytes are not what their digests say. They wait until somebody says what is to become of them.
    Verify,
}

impl Purpose {
    /// What the name of a run says of it.
    fn of_id(id: &str) -> Purpose {
        let is_verify = id.split_once('-').is_some_and(|(_, name)| name.starts_with(Purpose::Verify.name()));
        if is_verify { Purpose::Verify } else { Purpose::GarbageCollect }
    }

    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::GarbageCollect => "garbage-collect",
            Purpose::Verify => "verify",
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
}

impl Stamp {
    fn new(purpose: Purpose, began: Timestamp, cache: Option<DescriptorCache>) -> Stamp {
        let mut stamp = Stamp {
            schema: 1,
            purpose,
            began,
            began_by_store: None,
            finished: None,
            finished_by_store: None,
            boot: None,
            vouched: false,
            purging: None,
            cache: None,
        };
        stamp.remember(cache);
        stamp
    }

    fn remember(&mut self, cache: Option<DescriptorCache>) {
        self.cache = cache;
        // Those who know nothing of caches must not purge what one may name.
        self.schema = if cache.is_some() { 2 } else { 1 };
    }

    /// When the last thing had been moved.
    fn ended(&self) -> Option<RecordedTime> {
        Some(RecordedTime { at: self.finished?, boot: self.boot.clone(), vouched: self.vouched })
    }
}

/// A run in quarantine.
#[derive(Debug)]
pub struct Run<'s> {
    shelf: Box<dyn Shelf + 's>,
    stamp: Stamp,
    held: Vec<Held>,
    unrecognised: u64,
}

impl<'s> Run<'s> {
    pub(super) fn begin(
        shelves: &'s dyn Shelves,
        purpose: Purpose,
        clock: &RunClock,
        cache: Option<DescriptorCache>,
    ) -> Result<Run<'s>, Error> {
        let began = clock.started();
        let second = began.strftime("%Y%m%dT%H%M%SZ");
        let names = (1..=RUNS_A_SECOND).map(|number| match number {
            1 => format!("{second}-{}", purpose.name()),
            more => format!("{second}-{}-{more}", purpose.name()),
        });
        for id in names {
            let Some(shelf) = shelves.make(&id)? else { continue };
            let run = Run { shelf, stamp: Stamp::new(purpose, began, cache), held: Vec::new(), unrecognised: 0 };
            if let Err(error) = run.write(&run.stamp) {
                let _nothing_in_it = run.remove_if_empty();
                return Err(error);
            }
            return Ok(run);
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("create a directory in", shelves.place())
    }

    /// Opens a run; nothing if it is not there any more.
    pub(super) fn open(shelf: Box<dyn Shelf + 's>) -> Result<Option<Run<'s>>, Error> {
        let read = |name: &str| -> Result<Option<Stamp>, Error> {
            let text = shelf.read_stamp(name)?;
            text.map(|text| understood(&text)).transpose().context_with("understand", || shelf.place().join(name))
        };
        let stamp = match (read(STAMP)?, read(STAMP_OF_A_PURGE)?) {
            (Some(stamp), None) => stamp,
            (stamp, Some(of_a_purge)) => {
                let purging = of_a_purge.purging.or(of_a_purge.finished).or(Some(of_a_purge.began));
                Stamp { purging, ..stamp.unwrap_or(of_a_purge) }
            }
            // Nothing had been moved when its run was cut off; or somebody removed it, and nobody knows how long things have waited, nor who
            // remembers them.
            (None, None) => Stamp::new(Purpose::of_id(shelf.name()), began_by_id(shelf.name()), Some(DescriptorCache::Unknown)),
        };
        let Contents { held, unrecognised } = shelf.contents(&STAMPS)?;
        Ok(Some(Run { shelf, stamp, held, unrecognised }))
    }

    /// Its name: when it began, and by which command.
    pub fn id(&self) -> &str {
        self.shelf.name()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.shelf.place()
    }

    /// What its stamp says.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// When it began, by the store's clock or not long before.
    pub fn began(&self) -> SystemTime {
        let (began, slack) = match self.stamp.began_by_store {
            Some(by_store) => (by_store.min(self.stamp.began), COARSENESS),
            None => (self.stamp.began, TOLERANCE),
        };
        SystemTime::try_from(began).ok().and_then(|began| began.checked_sub(slack)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// When the last thing had been moved into it, by the store's clock or not long after; nothing while that is not known.
    pub fn finished(&self) -> Option<SystemTime> {
        let (finished, slack) = match (self.stamp.finished_by_store, self.stamp.finished) {
            (Some(by_store), _) => (by_store, Duration::ZERO),
            (None, Some(finished)) => (finished, TOLERANCE),
            (None, None) => return None,
        };
        SystemTime::try_from(finished).ok()?.checked_add(slack)
    }

    /// Compares the store's clock with ours: the stamp has been written just now. Says how far they are apart.
    pub(super) fn compare_clocks(&mut self, clock: &RunClock) -> Result<Duration, Error> {
        let written = self.shelf.stamp_written(STAMP)?;
        let elapsed = clock.elapsed();
        let began = written.checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH);
        self.stamp.began_by_store = Timestamp::try_from(began).ok();
        let began = clock.of_store(began);
        Ok(clock.start().duration_since(began).unwrap_or_else(|error| error.duration()))
    }

    /// What it held when it was opened, in order.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// Whether something in it was written to after it had been moved here: by a registry that had it open.
    pub(super) fn was_written_to(&self, held: &Held) -> bool {
        self.finished().is_some_and(|finished| held.stat.modified > finished)
    }

    /// Files in its directory that are at no place that the layout knows. They are left alone.
    pub fn unrecognised(&self) -> u64 {
        self.unrecognised
    }

    /// Whether things have waited here for so long, by every clock that counts. A run that was cut off has not begun to wait, and where
    /// neither the boot-time clock nor a wall clock that something vouches for can tell, nothing has waited.
    pub fn has_waited(&self, wait: Duration, clock: &RunClock) -> bool {
        let Some(finished) = self.stamp.finished else { return false };
        let by_date = Duration::try_from(clock.started().duration_since(finished)).is_ok_and(|waited| waited >= wait);
        let by_boot = match self.counts_since(clock) {
            Counts::Boot(seconds) => seconds >= wait.as_secs_f64(),
            Counts::Wall => true,
            Counts::Nothing => false,
        };
        by_date && by_boot
    }

    /// Whether a registry may still remember what is in here: it keeps a cache, was at work, and has not been started again since.
    pub fn is_remembered(&self, memory: &Memory) -> bool {
        match (self.stamp.cache, memory) {
            (_, Memory::All) => true,
            (None, _) | (_, Memory::Nothing) => false,
            (Some(cache), Memory::UntilRestart(restarts)) => {
                let ended = self.stamp.ended().filter(|_| cache.ends_with_the_process());
                !ended.is_some_and(|ended| restarts.iter().any(|restart| ended.is_surely_before(restart)))
            }
        }
    }

    /// Whether no clock that counts reaches back to when this run ended: its wait has to begin again.
    pub fn waits_by_no_clock(&self, clock: &RunClock) -> bool {
        self.stamp.finished.is_some() && self.counts_since(clock) == Counts::Nothing
    }

    fn counts_since(&self, clock: &RunClock) -> Counts {
        clock.counts_since(self.stamp.boot.as_ref(), self.stamp.vouched)
    }

    /// Notes that the last thing has been moved, or that its wait begins now. The store has to be flushed before. `cache` is what a registry
    /// that is at work by now may remember things in: it may have been started while they were moved.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn finish(&mut self, clock: &RunClock, cache: Option<DescriptorCache>) -> Result<(), Error> {
        let before = self.stamp.clone();
        self.stamp.remember(self.stamp.cache.max(cache));
        self.stamp.finished = Some(clock.timestamp());
        self.stamp.boot = clock.boot();
        self.stamp.vouched = clock.is_trusted();
        // Twice: when it was written is what it has to say.
        let written = self.write(&self.stamp).and_then(|()| self.shelf.stamp_written(STAMP));
        let written = written.and_then(|written| {
            self.stamp.finished_by_store = before.finished_by_store.or_else(|| Timestamp::try_from(written).ok());
            self.write(&self.stamp)
        });
        if written.is_err() {
            self.stamp = before;
        }
        written
    }

    /// Notes that a purge begins: what is left of it from now on is not all that there was.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(super) fn begin_purge(&self, clock: &RunClock) -> Result<(), Error> {
        if self.stamp.purging.is_some() {
            return Ok(());
        }
        let stamp = Stamp { purging: Some(clock.timestamp()), ..self.stamp.clone() };
        self.write(&stamp).or_else(|error| {
            // On a full disk, which is when people purge: a name takes no room.
            self.shelf.rename_stamp(STAMP, STAMP_OF_A_PURGE).map_err(|_| error)
        })
    }

    /// Moves something here that is as planned.
    pub(super) fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error> {
        self.shelf.take(planned, directories)
    }

    /// Moves something to where it was. Replaces nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    pub fn restore(&self, target: &Target) -> Result<Return, Error> {
        self.shelf.give_back(target)
    }

    /// Removes something for good. Says whether it was there.
    pub(super) fn drop_for_good(&self, target: &Target) -> Result<bool, Error> {
        self.shelf.drop_for_good(target)
    }

    /// Removes something that the store has the same of. Says whether it did.
    ///
    /// # Errors
    ///
    /// When nobody can tell, or it cannot be removed.
    pub fn drop_copy(&self, target: &Target) -> Result<bool, Error> {
        self.shelf.drop_copy(target)
    }

    /// Looks at something again: which file it is, and when it was touched; nothing if it is not here.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn condition(&self, target: &Target) -> Result<Option<Condition>, Error> {
        self.shelf.condition(target)
    }

    /// Whether something is, byte for byte, what its digest says.
    ///
    /// # Errors
    ///
    /// When it is not there, or cannot be read to its end.
    pub fn is_whole(&self, target: &Target) -> Result<bool, Error> {
        self.shelf.is_whole(target)
    }

    /// What a link says, if it is here and says a digest.
    pub(super) fn read_link(&self, target: &Target) -> Option<Digest> {
        self.held.binary_search_by(|held| held.target.cmp(target)).ok()?;
        self.shelf.read_link(target)
    }

    /// Reads a blob that should be a manifest.
    pub(super) fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        self.shelf.manifest(digest, read)
    }

    /// Removes the run if it holds nothing any more. Says whether it is gone.
    ///
    /// # Errors
    ///
    /// When that cannot be told, or not be done.
    pub fn remove_if_empty(&self) -> Result<bool, Error> {
        self.shelf.remove_if_empty(&STAMPS)
    }

    fn write(&self, stamp: &Stamp) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(stamp).map_err(io::Error::from);
        let text = [text.context_with("write", || self.shelf.place().join(STAMP))?, b"\n".to_vec()].concat();
        self.shelf.write_stamp(STAMP, &text)
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
    is_second && [Purpose::GarbageCollect, Purpose::Verify].iter().any(is_of)
}

/// When a run began, by its name.
fn began_by_id(id: &str) -> Timestamp {
    let second = id.split_once('-').map_or(id, |(second, _)| second);
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", second);
    parsed.and_then(|began| jiff::tz::TimeZone::UTC.to_timestamp(began)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn understood(text: &[u8]) -> io::Result<Stamp> {
    let with_step = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "{error}; remove the file, and what is in its directory begins to wait anew, and for a restart of the registry"
        ))
    };
    let stamp: Stamp = serde_json::from_slice(text).map_err(|error| with_step(&error))?;
    match stamp.schema {
        1 | 2 => Ok(stamp),
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
            ("20261124T230000Z-verify", Purpose::Verify),
            ("20261124T230000Z-verify-12", Purpose::Verify),
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
        ] {
            assert!(!is_id(name), "{name}");
        }
    }

    #[test]
    fn stamps_of_others_are_not_understood() {
        let stamp = |schema| format!(r#"{{"schema":{schema},"purpose":"verify","began":"2026-11-24T23:00:00Z"}}"#);
        assert_eq!(understood(stamp(1).as_bytes()).expect("ours").purpose, Purpose::Verify);
        assert_eq!(understood(stamp(2).as_bytes()).expect("with a cache").cache, None);
        assert!(understood(stamp(3).as_bytes()).expect_err("newer").to_string().contains("newer"));
        assert!(understood(b"").expect_err("empty").to_string().contains("remove the file"));
    }
}
