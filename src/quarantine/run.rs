//! One run's directory: its stamp, what it holds, and the ways out of it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::stamp::{Again, Purpose, Stamp, began_by_id, understood};
use super::{Memory, Wait};
use crate::clock::{Counts, RecordedTime, RunClock, TOLERANCE};
use crate::error::{Context as _, Error};
use crate::layout::{LinkDirectory, Target};
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
/// So much room in a stamp may the names take of what a redis claimed again. Where it is more, all of the run waits anew.
const MAX_BYTES_AGAIN: usize = 8 << 10;

/// A run in quarantine.
#[derive(Debug)]
pub struct Run<'s> {
    shelf: Box<dyn Shelf + 's>,
    stamp: Stamp,
    held: Vec<Held>,
    /// Files that there was no room for.
    more: u64,
    unrecognised: u64,
    /// What a redis claimed again, as it is to stand in the stamp.
    again: Mutex<Vec<Again>>,
}

impl<'s> Run<'s> {
    pub(super) fn begin(
        shelves: &'s dyn Shelves,
        (purpose, named): (Purpose, BTreeSet<String>),
        clock: &RunClock,
        cache: Option<DescriptorCache>,
    ) -> Result<Run<'s>, Error> {
        let began = clock.started();
        let stamp = Stamp { named, ..Stamp::new(purpose, began, cache) };
        let second = began.strftime("%Y%m%dT%H%M%SZ");
        let names = (1..=RUNS_A_SECOND).map(|number| match number {
            1 => format!("{second}-{}", purpose.name()),
            more => format!("{second}-{}-{more}", purpose.name()),
        });
        for id in names {
            let Some(shelf) = shelves.make(&id)? else { continue };
            let run = Run { shelf, stamp: stamp.clone(), held: Vec::new(), more: 0, unrecognised: 0, again: Mutex::default() };
            if let Err(error) = run.write(&run.stamp) {
                let _nothing_in_it = run.remove_if_empty();
                return Err(error);
            }
            return Ok(run);
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("create a directory in", shelves.place())
    }

    /// Opens a run, with room for so many files; nothing if it is not there any more.
    pub(super) fn open(shelf: Box<dyn Shelf + 's>, room: u64) -> Result<Option<Run<'s>>, Error> {
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
        let Contents { held, unrecognised, more } = shelf.contents(&STAMPS, room)?;
        let again = Mutex::new(stamp.again.clone());
        Ok(Some(Run { shelf, stamp, held, more, unrecognised, again }))
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

    /// Compares the store's clock with ours: the stamp has been written just now. Says how far they are apart, and notes it in the stamp: should the
    /// run be cut off, what was written right before it began is not taken for what came later.
    pub(super) fn compare_clocks(&mut self, clock: &RunClock) -> Result<Duration, Error> {
        let written = self.shelf.stamp_written(STAMP)?;
        let elapsed = clock.elapsed();
        let began = written.checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH);
        self.stamp.began_by_store = Timestamp::try_from(began).ok();
        self.write(&self.stamp)?;
        let began = clock.of_store(began);
        Ok(clock.start().duration_since(began).unwrap_or_else(|error| error.duration()))
    }

    /// What lies in it now.
    ///
    /// # Errors
    ///
    /// When that cannot be listed.
    pub fn contents(&self) -> Result<Vec<Held>, Error> {
        Ok(self.shelf.contents(&STAMPS, u64::MAX)?.held)
    }

    /// What it held when it was opened, in order.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// The same, of a run of which nothing else is wanted any more.
    pub fn into_held(self) -> Vec<Held> {
        self.held
    }

    /// Files that are in it and that there was no room for.
    pub(super) fn more(&self) -> u64 {
        self.more
    }

    /// The blobs among what it held, in the order of their digests.
    pub(super) fn blobs(&self) -> &[Held] {
        let is_before = |held: &Held| matches!(held.target, Target::Tag(..) | Target::BrokenTag(..) | Target::Link(..));
        let rest = &self.held[self.held.partition_point(is_before)..];
        &rest[..rest.partition_point(|held| matches!(held.target, Target::Blob(_)))]
    }

    /// The links of one directory among what it held.
    pub(super) fn links(&self, directory: &LinkDirectory) -> &[Held] {
        let is_before = |held: &Held| match &held.target {
            Target::Tag(..) | Target::BrokenTag(..) => true,
            Target::Link(of, _) => of < directory,
            _ => false,
        };
        let rest = &self.held[self.held.partition_point(is_before)..];
        &rest[..rest.partition_point(|held| matches!(&held.target, Target::Link(of, _) if of == directory))]
    }

    /// Whether it held something.
    pub(super) fn holds(&self, target: &Target) -> bool {
        self.held.binary_search_by(|held| held.target.cmp(target)).is_ok()
    }

    /// Whether it held a blob.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs().binary_search_by(|held| held.target.digest().cmp(&Some(digest))).is_ok()
    }

    /// Whether something in it was written to after it had been moved here: by a registry that had it open.
    pub(super) fn was_written_to(&self, held: &Held) -> bool {
        self.finished().is_some_and(|finished| held.stat.modified > finished)
    }

    /// Files in its directory that are at no place that the layout knows. They are left alone.
    pub fn unrecognised(&self) -> u64 {
        self.unrecognised
    }

    /// Files in it that a redis claimed again: their wait began anew.
    pub fn again(&self) -> u64 {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.iter().map(|again| again.paths.len() as u64).sum()
    }

    /// Whether things have waited here for so long, by every clock that counts. A run that was cut off has not begun to wait, and where
    /// neither the boot-time clock nor a wall clock that something vouches for can tell, nothing has waited.
    pub fn has_waited(&self, wait: Duration, clock: &RunClock) -> bool {
        self.stamp.ended().is_some_and(|ended| Stamp::has_waited(&ended, wait, clock))
    }

    /// Whether a redis was made to forget all that is in here, after the last thing had been moved.
    pub fn is_forgotten_by(&self, place: &str) -> bool {
        self.stamp.redis.as_deref() == Some(place)
    }

    /// What a redis claimed again, and has not been gone from it since for as long as things have to wait.
    pub(super) fn waits_again(&self, wait: Wait, clock: &RunClock) -> HashSet<String> {
        let Wait::AtLeast(wait) = wait else { return HashSet::new() };
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let has_waited = |again: &&Again| again.forgotten.as_ref().is_some_and(|since| Stamp::has_waited(since, wait, clock));
        let waiting = again.iter().filter(|again| !has_waited(again));
        waiting.flat_map(|again| again.paths.iter().cloned()).collect()
    }

    /// Notes that a redis claimed things again, and does what makes it forget them: their wait begins when that is done. Says whether all of the
    /// run waits with them, because they are many.
    ///
    /// # Errors
    ///
    /// When it is not done, or cannot be noted: then they wait on.
    pub(super) fn forget_again<T>(
        &self,
        targets: &[&Target],
        clock: &RunClock,
        forget: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, bool), Error> {
        let paths: Vec<String> = targets.iter().map(|target| noted_path(target)).collect();
        let before = self.again.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = before.into_iter().filter_map(|mut again| {
            again.paths.retain(|path| !paths.contains(path));
            (!again.paths.is_empty()).then_some(again)
        });
        let kept: Vec<Again> = kept.collect();
        let bytes = kept.iter().flat_map(|again| &again.paths).chain(&paths).map(|path| path.len() + 16).sum::<usize>();
        if bytes > MAX_BYTES_AGAIN {
            // As if its keys had never been removed: the next run removes them all, and all of it begins to wait then.
            self.write(&Stamp { redis: None, ..self.stamp.clone() })?;
            return Ok((forget()?, true));
        }
        let note = |forgotten| {
            let again = kept.iter().cloned().chain([Again { paths: paths.clone(), forgotten }]).collect();
            *self.again.lock().unwrap_or_else(PoisonError::into_inner) = again;
            self.write(&self.stamp)
        };
        note(None)?;
        let forgotten = forget()?;
        note(clock.recorded(Duration::ZERO))?;
        Ok((forgotten, false))
    }

    /// Whether a registry may still remember what is in here: it keeps a cache, was at work, and has not been started again since.
    pub fn is_remembered(&self, memory: &Memory) -> bool {
        match (self.stamp.cache, memory) {
            (_, Memory::All) => true,
            (None, _) | (_, Memory::Nothing) => false,
            (Some(cache), Memory::UntilRestart { said, seen }) => {
                let Some(ended) = self.stamp.ended().filter(|_| cache.ends_with_the_process()) else { return true };
                let is_before = |restart: &RecordedTime| ended.is_surely_before(restart);
                // All processes that are seen were started in this boot.
                !(said.iter().any(is_before)
                    || seen.as_ref().is_some_and(|seen| is_before(seen) || ended.is_of_earlier_boot(seen)))
            }
        }
    }

    /// When the last thing was moved; nothing if the run was cut off.
    pub fn ended(&self) -> Option<RecordedTime> {
        self.stamp.ended()
    }

    /// Whether no clock that counts reaches back to when this run ended: its wait has to begin again.
    pub fn waits_by_no_clock(&self, clock: &RunClock) -> bool {
        self.stamp.finished.is_some() && self.counts_since(clock) == Counts::Nothing
    }

    fn counts_since(&self, clock: &RunClock) -> Counts {
        clock.counts_since(self.stamp.boot.as_ref(), self.stamp.vouched)
    }

    /// Notes that the last thing has been moved, or that its wait begins now. The store has to be flushed before. `cache` is what a registry
    /// that is at work by now may remember things in: it may have been started while they were moved. `redis` is the one that was made to
    /// forget them.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn finish(&mut self, clock: &RunClock, cache: Option<DescriptorCache>, redis: Option<&str>) -> Result<(), Error> {
        self.stamp_anew(clock, self.stamp.cache.max(cache), redis)
    }

    /// The same for a run that no registry remembers any more.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn finish_past(&mut self, clock: &RunClock, redis: Option<&str>) -> Result<(), Error> {
        self.stamp_anew(clock, None, redis)
    }

    fn stamp_anew(&mut self, clock: &RunClock, cache: Option<DescriptorCache>, redis: Option<&str>) -> Result<(), Error> {
        let before = self.stamp.clone();
        self.stamp.remember(cache);
        self.stamp.redis = redis.map(str::to_owned);
        self.again.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
    /// When that cannot be written, and whether the stamp may not be as it was.
    pub(super) fn begin_purge(&self, clock: &RunClock) -> Result<Noted, (Error, bool)> {
        if self.stamp.purging.is_some() {
            return Ok(Noted::Before);
        }
        let before = self.shelf.read_stamp(STAMP).map_err(|error| (error, false))?;
        let stamp = Stamp { purging: Some(clock.timestamp()), ..self.stamp.clone() };
        match self.write(&stamp) {
            Ok(()) => Ok(Noted::Written(before)),
            // On a full disk, which is when people purge: a name takes no room.
            Err(error) => self.shelf.rename_stamp(STAMP, STAMP_OF_A_PURGE).map(|()| Noted::Renamed).map_err(|_| {
                // What was done and did not reach the disk counts as failed, and is there all the same.
                let _was_not_renamed = self.shelf.rename_stamp(STAMP_OF_A_PURGE, STAMP);
                let is_as_before = || self.shelf.read_stamp(STAMP).is_ok_and(|now| now == before);
                let is_taken_back =
                    is_as_before() || before.as_ref().is_some_and(|before| self.shelf.write_stamp(STAMP, before).is_ok());
                (error, !is_taken_back)
            }),
        }
    }

    /// Takes that back: nothing could be removed, and all is there.
    ///
    /// # Errors
    ///
    /// When that cannot be noted either.
    pub(super) fn take_back_purge(&self, noted: Noted) -> Result<(), Error> {
        match noted {
            Noted::Before => Ok(()),
            // As it was written, to the byte: a number that is read and written again may differ in its last digit.
            Noted::Written(Some(before)) => self.shelf.write_stamp(STAMP, &before),
            Noted::Written(None) => self.write(&self.stamp),
            Noted::Renamed => self.shelf.rename_stamp(STAMP_OF_A_PURGE, STAMP),
        }
    }

    /// Moves something here that is as planned.
    pub(super) fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error> {
        self.shelf.take(planned, directories)
    }

    /// Gives something that is as planned a second place here.
    ///
    /// # Errors
    ///
    /// When it cannot have one.
    pub fn keep(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        self.shelf.keep(planned)
    }

    /// Moves something to where it was. Replaces nothing but the link that `repair` made in its place.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    pub fn restore(&self, target: &Target) -> Result<Return, Error> {
        match self.stamp.purpose {
            // A link that `repair` put in its place says nothing that the place does not say: undoing it loses nothing. A run that was cut off
            // tells no time after which somebody else may have written it.
            Purpose::Repair => self.shelf.give_back_over(target, self.finished()),
            _ => self.shelf.give_back(target),
        }
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
        if self.holds(target) { self.shelf.read_link(target) } else { None }
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
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut stamp = Stamp { again, ..stamp.clone() };
        stamp.number();
        let text = serde_json::to_vec_pretty(&stamp).map_err(io::Error::from);
        let text = [text.context_with("write", || self.shelf.place().join(STAMP))?, b"\n".to_vec()].concat();
        self.shelf.write_stamp(STAMP, &text)
    }
}

/// How it was noted that a purge begins.
#[derive(Debug)]
pub(super) enum Noted {
    /// By an earlier one.
    Before,
    /// In the stamp, which said this.
    Written(Option<Vec<u8>>),
    /// By the name of the stamp.
    Renamed,
}

/// The path of a target as a stamp has it.
pub(super) fn noted_path(target: &Target) -> String {
    target.path().to_string_lossy().into_owned()
}
