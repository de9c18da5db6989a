//! The records that regsweep keeps about a store between runs, in our own directory: what the last run saw, what was
//! restored, and what an interrupted run was about to remove.
//!
//! - **Summary** (`summary.json`): the content and the mounts of the store after the last real collection that ended
//!   normally. If half of the content is missing now, nothing is removed until the operator confirms it (I12). An
//!   interrupted run keeps the old summary, and a dry run writes none. A run that sweeps subtracts its planned removals
//!   before it begins.
//! - **Restored** (`restored.json`): what was restored from the quarantine, and when. Restored content counts as young
//!   from then on. Modification times are kept, because they are the times of pushes.
//! - **Unfinished sweep** (`sweep`): the blobs that a sweep is about to remove after their links, by the repository of
//!   each link. If the run is killed in between, no repository links these blobs, as after a lost mount; the record
//!   shows that regsweep removed the links, while these repositories exist: a missing one may have linked the blobs
//!   again. Blobs that only the quarantine holds stay in the record.
//! - **Begun** (`begun.json`): the tags, manifests and repositories that a run of `expire` or `remove` is about to remove,
//!   with the revisions of each. If it is cut off, the same command goes on with them.
//! - **Restarts** (`restarts.json`): times after which every registry in service had been started, as `quarantine
//!   restarted` recorded them.
//!
//! A run that changes nothing else leaves each of them as it found it ([`Kept`]).

mod begun;
mod kept;
mod restarts;
mod summary;
mod unfinished;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::begun::{AllBegun, Begun, BegunBy, BegunName, BegunWith};
pub use self::kept::Kept;
pub use self::restarts::{add_restart, restarts};
pub use self::summary::Summary;
use self::unfinished::Unfinished;
use crate::clock::{BootTime, Counts, RunClock};
use crate::error::{Context as _, Error};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::Notes;

const SUMMARY: &str = "summary.json";
const RESTORED: &str = "restored.json";
const SWEEP: &str = "sweep";
const BEGUN: &str = "begun.json";
const SCHEMA: u32 = 1;

/// Restorations are forgotten after ten years: no useful minimum age is longer.
const REMEMBERED: Duration = Duration::from_secs(3_652 * 24 * 3600);

/// Paths that were restored at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Restoration {
    at: Timestamp,
    boot: Option<BootTime>,
    /// Whether the wall clock of `at` had a voucher.
    #[serde(default)]
    vouched: bool,
    /// Relative to the root.
    paths: Vec<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Restorations {
    schema: u32,
    restorations: Vec<Restoration>,
}

impl Restoration {
    /// Whether this was less than `age` ago; true if no clock can measure it.
    fn is_younger(&self, age: Duration, clock: &RunClock) -> bool {
        match clock.counts_since(self.boot.as_ref(), self.vouched) {
            Counts::Boot(seconds) => seconds < age.as_secs_f64(),
            Counts::Wall => Duration::try_from(clock.timestamp().duration_since(self.at)).map_or(true, |since| since < age),
            Counts::Nothing => true,
        }
    }
}

/// Content that was restored recently, or that `restore` would restore: it stays in its place, or its place stays.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Manifests that a repository has, had or may get a revision link to.
    pub revisions: BTreeMap<RepositoryName, Vec<Digest>>,
    /// The digests of all other targets: blobs, and layer links to them.
    pub digests: HashSet<Digest>,
    /// Tags that were restored, whatever they name by now.
    pub tags: BTreeMap<RepositoryName, Vec<TagName>>,
    /// Uploads.
    pub uploads: BTreeMap<RepositoryName, Vec<String>>,
    /// Manifests that tags in quarantine name: they are to be there when these return.
    pub of_tags: BTreeMap<RepositoryName, Vec<Digest>>,
}

impl Protected {
    /// Adds a target.
    pub fn add(&mut self, target: &Target) {
        match target {
            Target::Link(LinkDirectory::Revisions(repository), digest) => {
                self.revisions.entry(repository.clone()).or_default().push(*digest);
            }
            Target::Tag(repository, _, digest) => self.of_tags.entry(repository.clone()).or_default().push(*digest),
            Target::Upload(file) => self.uploads.entry(file.repository.clone()).or_default().push(file.id.clone()),
            target => self.digests.extend(target.digest()),
        }
    }
}

/// The records of one store.
pub struct Records<'n> {
    notes: &'n dyn Notes,
    summary: Option<Summary>,
    restorations: Vec<Restoration>,
    unfinished: Unfinished,
}

impl<'n> Records<'n> {
    /// Reads the existing records. Creates nothing.
    ///
    /// # Errors
    ///
    /// When an existing record cannot be read or understood.
    pub fn open(notes: &'n dyn Notes) -> Result<Records<'n>, Error> {
        let mut records = Records::without_summary(notes)?;
        records.summary = parsed(notes, SUMMARY)?;
        Ok(records)
    }

    /// Reads the records needed for restoring alone, which does not depend on the summary.
    ///
    /// # Errors
    ///
    /// When an existing record cannot be read or understood.
    pub fn without_summary(notes: &'n dyn Notes) -> Result<Records<'n>, Error> {
        let restorations = parsed::<Restorations>(notes, RESTORED)?.unwrap_or_default().restorations;
        let unfinished = Unfinished::parsed(&notes.read(SWEEP)?.unwrap_or_default());
        Ok(Records { notes, summary: None, restorations, unfinished })
    }

    /// The summary of the last collection.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// When the last collection began.
    pub fn last_run(&self) -> Option<SystemTime> {
        self.summary.as_ref().and_then(|summary| SystemTime::try_from(summary.at).ok())
    }

    /// Whether an unfinished sweep was about to remove this blob after its links, and all repositories with those links
    /// still exist.
    pub fn was_to_go(&self, digest: &Digest, is_there: &dyn Fn(&str) -> bool) -> bool {
        let Unfinished { names, blobs, .. } = &self.unfinished;
        blobs.get(digest).is_some_and(|linked| linked.iter().all(|name| is_there(&names[*name as usize])))
    }

    /// The repositories that had linked a blob which an unfinished sweep was about to remove.
    pub fn had_linked<'s>(&'s self, digest: &Digest) -> impl Iterator<Item = RepositoryName> + use<'s> {
        let Unfinished { names, blobs } = &self.unfinished;
        blobs.get(digest).into_iter().flatten().map(|name| RepositoryName::new(&names[*name as usize]))
    }

    /// What runs that were cut off had begun to remove by name. Read when it is asked for: few commands do.
    ///
    /// # Errors
    ///
    /// When the record cannot be read or understood.
    pub fn begun(&self) -> Result<AllBegun, Error> {
        Ok(parsed(self.notes, BEGUN)?.unwrap_or_default())
    }

    /// What runs had begun with, without the tags that are there; nothing if the record has none of these.
    ///
    /// # Errors
    ///
    /// When the record cannot be read, and those of `is_there`.
    pub fn begun_but_present(
        &self,
        is_there: &mut dyn FnMut(&RepositoryName, &TagName) -> Result<bool, Error>,
    ) -> Result<Option<AllBegun>, Error> {
        let mut all = self.begun()?;
        Ok(all.forget_present(is_there)?.then_some(all))
    }

    /// Records what a run of a command that began then is about to remove by its names, before it does.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn begin_with<'b>(
        &self,
        begun: impl Iterator<Item = (&'b RepositoryName, &'b BegunWith)>,
        by: (BegunBy, Timestamp),
    ) -> Result<(), Error> {
        let mut begun = begun.peekable();
        if begun.peek().is_none() {
            return Ok(());
        }
        let mut all = self.begun()?;
        all.add(begun, by);
        self.write_begun(&all)
    }

    /// Forgets that, because it is done.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn end_with<'b>(&self, done: impl Iterator<Item = (&'b RepositoryName, &'b BegunWith)>) -> Result<(), Error> {
        let mut done = done.peekable();
        if done.peek().is_none() {
            return Ok(());
        }
        let mut all = self.begun()?;
        if all.is_empty() {
            return Ok(());
        }
        all.end(done);
        self.write_begun(&all)
    }

    /// Records what runs had begun with: all of it, in place of what is recorded.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn write_begun(&self, all: &AllBegun) -> Result<(), Error> {
        match all.is_empty() {
            true => self.notes.remove(BEGUN),
            false => self.notes.replace(BEGUN, &mut |out| Ok(serde_json::to_writer(&mut *out, all)?)),
        }
    }

    /// Everything that was restored less than `age` ago.
    pub fn restored_within(&self, age: Duration, clock: &RunClock) -> Protected {
        let mut protected = Protected::default();
        for restoration in self.restorations.iter().filter(|restoration| restoration.is_younger(age, clock)) {
            for path in &restoration.paths {
                if let Some((repository, tag)) = layout::tag_of_current_link(path) {
                    protected.tags.entry(repository).or_default().push(tag);
                } else if let Some(target) = Target::of_path(path) {
                    protected.add(&target);
                }
            }
        }
        protected
    }

    /// Records the content of the store after a collection.
    ///
    /// # Errors
    ///
    /// When the summary cannot be written.
    pub fn write_summary(&mut self, summary: Summary) -> Result<(), Error> {
        self.notes.replace(SUMMARY, &mut |out| Ok(serde_json::to_writer_pretty(&mut *out, &summary)?))?;
        self.summary = Some(summary);
        Ok(())
    }

    /// Records what a sweep is about to leave, before it begins: if it is interrupted, its removals do not count as
    /// missing.
    ///
    /// # Errors
    ///
    /// When the summary cannot be written.
    pub fn lower_summary(&mut self, after: &Summary) -> Result<(), Error> {
        let Some(mut summary) = self.summary.clone() else { return Ok(()) };
        summary.lower_to(after);
        match self.summary.as_ref() == Some(&summary) {
            true => Ok(()),
            false => self.write_summary(summary),
        }
    }

    /// Records what is about to be restored. Returns whether there was anything to record.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn add_restored<'a>(&mut self, targets: impl Iterator<Item = &'a Target>, clock: &RunClock) -> Result<bool, Error> {
        // A repository whose name is not UTF-8 is never collected.
        let paths: Vec<PathBuf> = targets.map(Target::path).filter(|path| path.to_str().is_some()).collect();
        if paths.is_empty() {
            return Ok(false);
        }
        self.restorations.retain(|restoration| restoration.is_younger(REMEMBERED, clock));
        let vouched = clock.is_trusted();
        self.restorations.push(Restoration { at: clock.timestamp(), boot: clock.boot(), vouched, paths });
        self.write_restorations().map(|()| true)
    }

    /// Reduces the last recorded restoration to what was restored.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn amend_restored(&mut self, targets: &[Target]) -> Result<(), Error> {
        let Some(last) = self.restorations.last_mut() else { return Ok(()) };
        last.paths = targets.iter().map(Target::path).filter(|path| path.to_str().is_some()).collect();
        if last.paths.is_empty() {
            self.restorations.pop();
        }
        self.write_restorations()
    }

    /// Dates restorations that no clock can measure as restored now: they are young once more, and not forever.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn date_restorations(&mut self, clock: &RunClock) -> Result<(), Error> {
        let mut any = false;
        let is_undated = |restoration: &&mut Restoration| {
            clock.counts_since(restoration.boot.as_ref(), restoration.vouched) == Counts::Nothing
        };
        for restoration in self.restorations.iter_mut().filter(is_undated) {
            (restoration.at, restoration.boot, restoration.vouched) = (clock.timestamp(), clock.boot(), clock.is_trusted());
            any = true;
        }
        if any { self.write_restorations() } else { Ok(()) }
    }

    fn write_restorations(&self) -> Result<(), Error> {
        let all = Restorations { schema: SCHEMA, restorations: self.restorations.clone() };
        self.notes.replace(RESTORED, &mut |out| Ok(serde_json::to_writer(&mut *out, &all)?))
    }

    /// Records the blobs that a sweep is about to remove after their links, given with the repositories of the links.
    /// Keeps the blobs of an unfinished sweep that are still unlinked; the others were linked again, which ended that
    /// removal.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn begin_sweep<'l>(
        &mut self,
        links: impl Iterator<Item = (&'l RepositoryName, Digest)>,
        is_unlinked: impl Fn(&Digest) -> bool,
    ) -> Result<(), Error> {
        let had_any = !self.unfinished.blobs.is_empty();
        self.unfinished.blobs.retain(|digest, _| is_unlinked(digest));
        let mut links = links.peekable();
        if links.peek().is_none() && self.unfinished.blobs.is_empty() {
            return if had_any { self.notes.remove(SWEEP) } else { Ok(()) };
        }
        let mut links = Some(links);
        self.notes.replace(SWEEP, &mut |out| self.unfinished.write_after(links.take().into_iter().flatten(), out))
    }

    /// Forgets what is asked to be restored of what runs had begun with: that is wanted.
    ///
    /// # Errors
    ///
    /// When the record cannot be read or written.
    pub fn forget_begun_with<'t>(&self, restored: impl Iterator<Item = &'t Target>) -> Result<(), Error> {
        let mut begun = self.begun()?;
        match !begun.is_empty() && begun.forget(restored) {
            true => self.write_begun(&begun),
            false => Ok(()),
        }
    }

    /// Forgets that a sweep was about to remove what was restored to the store.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn forget_sweep_of(&mut self, restored: &[Target]) -> Result<(), Error> {
        if self.unfinished.blobs.is_empty() {
            return Ok(());
        }
        let back: HashSet<&Digest> = restored.iter().filter_map(Target::digest).collect();
        self.begin_sweep(std::iter::empty(), |digest| !back.contains(digest))
    }

    /// Forgets the removed blobs; those that `stays` selects are only in quarantine, and stay in the record.
    ///
    /// # Errors
    ///
    /// When the record cannot be removed or written.
    pub fn end_sweep(&mut self, stays: impl Fn(&Digest) -> bool) -> Result<(), Error> {
        self.unfinished.blobs.retain(|digest, _| stays(digest));
        match self.unfinished.blobs.is_empty() {
            true => self.notes.remove(SWEEP),
            false => self.notes.replace(SWEEP, &mut |out| self.unfinished.write_after(std::iter::empty(), out)),
        }
    }
}

fn parsed<T: for<'d> Deserialize<'d>>(notes: &dyn Notes, name: &str) -> Result<Option<T>, Error> {
    let Some(text) = notes.read(name)? else { return Ok(None) };
    let understood =
        serde_json::from_slice(&text).map_err(|error| io::Error::other(format!("{error}; remove the file to go on without it")));
    understood.map(Some).context_with("understand", || notes.at(name))
}

#[cfg(test)]
mod tests;
