//! What regsweep remembers of a store from run to run, in our own directory: what the last run saw, what was restored, and what a run that
//! was cut off had begun to remove.
//!
//! - **Summary** (`summary.json`): how much the store held after the last real collection that ended by itself, and what was mounted in it.
//!   If half of it is missing by now, nothing is removed until somebody says that this is right (I12). A run that was stopped leaves it as
//!   it was, a dry run writes none. One that sweeps takes off what it is about to remove before it begins.
//! - **Restored** (`restored.json`): what came back from the quarantine, and when. It counts as young from then on. Modification times say
//!   when something was pushed, so they are left alone.
//! - **Unfinished sweep** (`sweep`): the blobs that a sweep is about to remove after their links, by the repository of each link. Were it
//!   killed in between, these blobs are linked by no repository, as after a lost mount; the record says that it was us, for as long as
//!   these repositories are there: one that is not may have linked them anew before it went.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{BootTime, Counts, RunClock};
use crate::error::{Context as _, Error};
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::store::own::OwnDirectory;

const SUMMARY: &str = "summary.json";
const RESTORED: &str = "restored.json";
const SWEEP: &str = "sweep";
const SCHEMA: u32 = 1;

/// Restorations are forgotten after ten years: no minimum age that means anything is longer.
const REMEMBERED: Duration = Duration::from_secs(3_652 * 24 * 3600);

/// What a collection left in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    schema: u32,
    /// When the collection ended.
    pub at: Timestamp,
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Revisions.
    pub revisions: u64,
    /// Tags and revisions by repository: what is new in one makes up for nothing that another has lost.
    #[serde(default)]
    pub by_repository: BTreeMap<String, [u64; 2]>,
    /// Where other filesystems were mounted in the store, relative to the root where they are below it.
    #[serde(default)]
    pub mounts: Vec<String>,
}

impl Summary {
    /// What is there now: the tags and revisions of each repository.
    pub fn new<'a>(
        at: Timestamp,
        repositories: impl Iterator<Item = (&'a RepositoryName, [u64; 2])>,
        mounts: Vec<String>,
    ) -> Summary {
        let by_repository: BTreeMap<String, [u64; 2]> = repositories.map(|(name, counts)| (name.to_string(), counts)).collect();
        let sum = |place: usize| by_repository.values().map(|counts| counts[place]).sum();
        let (repositories, tags, revisions) = (by_repository.len() as u64, sum(0), sum(1));
        Summary { schema: SCHEMA, at, repositories, tags, revisions, by_repository, mounts }
    }

    /// Says no more than that another has left: what we remove ourselves is not missing afterwards, and no later run stops for it.
    fn lower_to(&mut self, after: &Summary) {
        for (name, [_, revisions]) in &mut self.by_repository {
            if let Some([_, left]) = after.by_repository.get(name) {
                *revisions = (*revisions).min(*left);
            }
        }
        self.revisions = match self.by_repository.is_empty() {
            true => self.revisions.min(after.revisions),
            false => self.by_repository.values().map(|counts| counts[1]).sum(),
        };
    }

    /// Takes a revision out that was removed.
    pub fn forget_revision(&mut self, repository: &RepositoryName) {
        self.revisions = self.revisions.saturating_sub(1);
        if let Some([_, revisions]) = self.by_repository.get_mut(&repository.to_string()) {
            *revisions = revisions.saturating_sub(1);
        }
    }

    /// What is missing from `now` that this says was there; nothing if it is as it should be. `is_mounted` tells of what `now` does not
    /// name. That the store is empty may be right (`may_be_empty`), which says nothing of what is not mounted.
    pub fn missing_from(&self, now: &Summary, is_mounted: &dyn Fn(&str) -> bool, may_be_empty: bool) -> Option<String> {
        self.unmounted_in(now, is_mounted).or_else(|| if may_be_empty { None } else { self.halved_in(now) })
    }

    /// A filesystem that was mounted in the store then and is not now.
    fn unmounted_in(&self, now: &Summary, is_mounted: &dyn Fn(&str) -> bool) -> Option<String> {
        let mount = self.mounts.iter().find(|mount| !now.mounts.contains(mount) && !is_mounted(mount))?;
        Some(format!(
            "{mount} was mounted in the store on {:.0}, with something in it, and is not mounted now, or is empty",
            self.at
        ))
    }

    fn halved_in(&self, now: &Summary) -> Option<String> {
        let mut left = [0, 0, 0];
        for (name, [tags, revisions]) in &self.by_repository {
            if let Some([tags_now, revisions_now]) = now.by_repository.get(name) {
                left[0] += 1;
                left[1] += tags.min(tags_now);
                left[2] += revisions.min(revisions_now);
            }
        }
        // Earlier versions noted the sums alone.
        if self.by_repository.is_empty() {
            left = [now.repositories, now.tags, now.revisions];
        }
        let then = [(self.repositories, "repositories"), (self.tags, "tags"), (self.revisions, "revisions")];
        let (left, (before, what)) = left.into_iter().zip(then).find(|(left, (before, _))| left.saturating_mul(2) < *before)?;
        Some(format!("there are {left} {what} left of the {before} that the last collection saw on {:.0}", self.at))
    }
}

/// Some things that came back at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Restoration {
    at: Timestamp,
    boot: Option<BootTime>,
    /// Whether something vouched for the clock that `at` is by.
    #[serde(default)]
    vouched: bool,
    /// Their paths, relative to the root.
    paths: Vec<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Restorations {
    schema: u32,
    restorations: Vec<Restoration>,
}

impl Restoration {
    /// Whether this was so recently. Where no clock can tell it was.
    fn is_younger(&self, age: Duration, clock: &RunClock) -> bool {
        match clock.counts_since(self.boot.as_ref(), self.vouched) {
            Counts::Boot(seconds) => seconds < age.as_secs_f64(),
            Counts::Wall => Duration::try_from(clock.timestamp().duration_since(self.at)).map_or(true, |since| since < age),
            Counts::Nothing => true,
        }
    }
}

/// What was restored lately, or would be restored by `restore`: it stays where it is, or where it would return to.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Manifests that a repository has, had or may get back a revision link to.
    pub revisions: BTreeMap<RepositoryName, Vec<Digest>>,
    /// Everything else by its digest: blobs, and layer links to them.
    pub digests: HashSet<Digest>,
}

impl Protected {
    /// Adds one more.
    pub fn add(&mut self, target: &Target) {
        match target {
            Target::Link(LinkDirectory::Revisions(repository), digest) => {
                self.revisions.entry(repository.clone()).or_default().push(*digest);
            }
            target => {
                self.digests.insert(*target.digest());
            }
        }
    }
}

/// The records of one store.
#[derive(Debug)]
pub struct Records {
    root: PathBuf,
    summary: Option<Summary>,
    restorations: Vec<Restoration>,
    unfinished: Unfinished,
}

impl Records {
    /// Reads what there is. Makes nothing.
    ///
    /// # Errors
    ///
    /// When something that is there cannot be read or understood.
    pub fn open(root: &Path) -> Result<Records, Error> {
        let mut records = Records::without_summary(root)?;
        if let Some(own) = OwnDirectory::open(root)? {
            records.summary = parsed(&own, SUMMARY)?;
        }
        Ok(records)
    }

    /// Reads what somebody needs who only restores: what the store held before stops nobody from that.
    ///
    /// # Errors
    ///
    /// When something that is there cannot be read or understood.
    pub fn without_summary(root: &Path) -> Result<Records, Error> {
        let mut records =
            Records { root: root.to_owned(), summary: None, restorations: Vec::new(), unfinished: Unfinished::default() };
        let Some(own) = OwnDirectory::open(root)? else { return Ok(records) };
        records.restorations = parsed::<Restorations>(&own, RESTORED)?.unwrap_or_default().restorations;
        records.unfinished = Unfinished::parsed(&own.read(SWEEP)?.unwrap_or_default());
        Ok(records)
    }

    /// What the last collection saw.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// Whether a sweep of ours that did not end was to remove this blob after its links, and all repositories that had them are there yet.
    pub fn was_to_go(&self, digest: &Digest, is_there: &dyn Fn(&str) -> bool) -> bool {
        let Unfinished { names, blobs } = &self.unfinished;
        blobs.get(digest).is_some_and(|linked| linked.iter().all(|name| is_there(&names[*name as usize])))
    }

    /// What was restored so recently.
    pub fn restored_within(&self, age: Duration, clock: &RunClock) -> Protected {
        let mut protected = Protected::default();
        for restoration in self.restorations.iter().filter(|restoration| restoration.is_younger(age, clock)) {
            restoration.paths.iter().filter_map(|path| Target::of_path(path)).for_each(|target| protected.add(&target));
        }
        protected
    }

    /// Notes what the store holds after a collection.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn write_summary(&mut self, summary: Summary) -> Result<(), Error> {
        self.own()?.replace(SUMMARY, |out| Ok(serde_json::to_writer_pretty(out, &summary)?))?;
        self.summary = Some(summary);
        Ok(())
    }

    /// Notes what a sweep is about to leave, before it begins: were it cut off, what it has removed by then is nothing that is missing.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn lower_summary(&mut self, after: &Summary) -> Result<(), Error> {
        let Some(mut summary) = self.summary.clone() else { return Ok(()) };
        summary.lower_to(after);
        match self.summary.as_ref() == Some(&summary) {
            true => Ok(()),
            false => self.write_summary(summary),
        }
    }

    /// Notes what is about to come back. Says whether there is anything to note.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn add_restored<'a>(&mut self, targets: impl Iterator<Item = &'a Target>, clock: &RunClock) -> Result<bool, Error> {
        // A repository whose name is no text is never collected.
        let paths: Vec<PathBuf> = targets.map(Target::path).filter(|path| path.to_str().is_some()).collect();
        if paths.is_empty() {
            return Ok(false);
        }
        self.restorations.retain(|restoration| restoration.is_younger(REMEMBERED, clock));
        let vouched = clock.is_trusted();
        self.restorations.push(Restoration { at: clock.timestamp(), boot: clock.boot(), vouched, paths });
        self.write_restorations().map(|()| true)
    }

    /// Notes that of what was noted last only this came back.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn amend_restored(&mut self, targets: &[Target]) -> Result<(), Error> {
        let Some(last) = self.restorations.last_mut() else { return Ok(()) };
        last.paths = targets.iter().map(Target::path).filter(|path| path.to_str().is_some()).collect();
        if last.paths.is_empty() {
            self.restorations.pop();
        }
        self.write_restorations()
    }

    /// Lets what no clock dates count as restored now: it is young for once more, and not for ever.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
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
        self.own()?.replace(RESTORED, |out| Ok(serde_json::to_writer(out, &all)?))
    }

    /// Notes the blobs that a sweep is about to remove after their links, given with the repositories of the links, beside those of one
    /// that did not end and that are still unlinked. What is linked again by now is nothing that we have unlinked.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn begin_sweep<'n>(
        &mut self,
        links: impl Iterator<Item = (&'n RepositoryName, Digest)>,
        is_unlinked: impl Fn(&Digest) -> bool,
    ) -> Result<(), Error> {
        let had_any = !self.unfinished.blobs.is_empty();
        self.unfinished.blobs.retain(|digest, _| is_unlinked(digest));
        let mut links = links.peekable();
        if links.peek().is_none() && self.unfinished.blobs.is_empty() {
            return if had_any { self.own()?.remove(SWEEP) } else { Ok(()) };
        }
        self.own()?.replace(SWEEP, |out| {
            let mut here = None;
            for (name, digest) in links {
                // Those of one repository mostly come one after the other.
                if here != Some(name) {
                    writeln!(out, "{IN}{name}")?;
                    here = Some(name);
                }
                writeln!(out, "{digest}")?;
            }
            self.unfinished.write(out)
        })
    }

    /// Forgets those that are in the store again by the word of whoever restored them.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn forget_sweep_of(&mut self, restored: &[Target]) -> Result<(), Error> {
        if self.unfinished.blobs.is_empty() {
            return Ok(());
        }
        let back: HashSet<&Digest> = restored.iter().map(Target::digest).collect();
        self.begin_sweep(std::iter::empty(), |digest| !back.contains(digest))
    }

    /// Forgets them: all are gone.
    ///
    /// # Errors
    ///
    /// When the record cannot be removed.
    pub fn end_sweep(&mut self) -> Result<(), Error> {
        self.unfinished = Unfinished::default();
        self.own()?.remove(SWEEP)
    }

    fn own(&self) -> Result<OwnDirectory, Error> {
        // The lock is taken before anything is changed, and makes the directory, but for a full disk.
        let absent = || io::Error::new(io::ErrorKind::NotFound, "our own directory could not be made");
        OwnDirectory::open(&self.root)?.ok_or_else(absent).context_with("open", || self.root.join(crate::layout::OWN_DIRECTORY))
    }
}

/// Blobs that a sweep was to remove after their links.
#[derive(Debug, Default)]
struct Unfinished {
    /// The repositories that had the links.
    names: Vec<String>,
    /// For each blob, which of them.
    blobs: HashMap<Digest, Vec<u32>>,
}

/// What stands before the name of the repository that linked the blobs on the lines that follow.
const IN: &str = "in ";

impl Unfinished {
    fn parsed(text: &[u8]) -> Unfinished {
        let mut all = Unfinished::default();
        // The last line may be half of one. Earlier versions did not say where the links had been: those count for nothing.
        for line in text.lines().map_while(Result::ok) {
            match (line.strip_prefix(IN), line.parse::<Digest>()) {
                (Some(name), _) => all.names.push(name.to_owned()),
                (None, Ok(digest)) if !all.names.is_empty() => {
                    all.blobs.entry(digest).or_default().push(all.names.len() as u32 - 1);
                }
                _ => {}
            }
        }
        all
    }

    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut by_name: BTreeMap<u32, Vec<&Digest>> = BTreeMap::new();
        for (digest, names) in &self.blobs {
            names.iter().for_each(|name| by_name.entry(*name).or_default().push(digest));
        }
        for (name, digests) in by_name {
            writeln!(out, "{IN}{}", self.names[name as usize])?;
            digests.into_iter().try_for_each(|digest| writeln!(out, "{digest}"))?;
        }
        Ok(())
    }
}

fn parsed<T: for<'d> Deserialize<'d>>(own: &OwnDirectory, name: &str) -> Result<Option<T>, Error> {
    let Some(text) = own.read(name)? else { return Ok(None) };
    let understood =
        serde_json::from_slice(&text).map_err(|error| io::Error::other(format!("{error}; remove the file to go on without it")));
    understood.map(Some).context_with("understand", || own.path().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many repositories, tags and revisions, one or none of each in each.
    fn summary([repositories, tags, revisions]: [u64; 3], mounts: &[&str]) -> Summary {
        let names: Vec<RepositoryName> = (0..repositories).map(|number| RepositoryName::new(number.to_string())).collect();
        let held = names.iter().zip(0..).map(|(name, place)| (name, [u64::from(place < tags), u64::from(place < revisions)]));
        Summary::new(Timestamp::UNIX_EPOCH, held, mounts.iter().map(|mount| (*mount).to_owned()).collect())
    }

    #[test]
    fn less_than_half_of_anything_is_missing() {
        let before = summary([10, 10, 10], &["a"]);
        for (now, missing) in [
            (summary([10, 10, 10], &["a"]), None),
            (summary([5, 5, 5], &["a", "b"]), None),
            (summary([4, 10, 10], &["a"]), Some("repositories")),
            (summary([10, 4, 10], &["a"]), Some("tags")),
            (summary([10, 10, 4], &["a"]), Some("revisions")),
            (summary([10, 10, 10], &[]), Some("mounted")),
            (summary([0, 0, 0], &[]), Some("mounted")),
            // What is new makes up for nothing.
            (renamed(&summary([10, 10, 10], &["a"]), 4), None),
            (renamed(&summary([10, 10, 10], &["a"]), 6), Some("repositories")),
        ] {
            let said = before.missing_from(&now, &|_| false, false);
            assert_eq!(said.is_some(), missing.is_some(), "{now:?}: {said:?}");
            assert!(missing.is_none_or(|word| said.expect("some").contains(word)), "{now:?}");
        }
        assert_eq!(summary([1, 1, 1], &[]).missing_from(&summary([1, 1, 1], &[]), &|_| false, false), None);
    }

    /// The same with other names for so many repositories.
    fn renamed(summary: &Summary, count: usize) -> Summary {
        let mut renamed = summary.clone();
        for (place, name) in summary.by_repository.keys().take(count).enumerate() {
            let counts = renamed.by_repository.remove(name).expect("there");
            renamed.by_repository.insert(format!("new-{place}"), counts);
        }
        renamed
    }

    #[test]
    fn what_is_linked_again_is_none_of_what_was_to_go() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join(crate::layout::OWN_DIRECTORY)).expect("made");
        let [first, second, third] = ["1", "2", "3"].map(|text| Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes()));
        let [a, b] = ["a", "b"].map(RepositoryName::new);
        let mut records = Records::open(root.path()).expect("none");
        records.begin_sweep([(&a, first), (&a, second), (&b, first)].into_iter(), |_| true).expect("written");
        let mut next = Records::open(root.path()).expect("readable");
        next.begin_sweep([(&b, third)].into_iter(), |digest| *digest == first).expect("written");
        let mut last = Records::open(root.path()).expect("readable");
        let was_to_go = |digest, there: &[&str]| last.was_to_go(digest, &|name| there.contains(&name));
        assert!(was_to_go(&first, &["a", "b"]) && !was_to_go(&second, &["a", "b"]) && was_to_go(&third, &["b"]));
        // A repository that is missing may have linked it again.
        assert!(!was_to_go(&first, &["a"]) && !was_to_go(&first, &["b"]) && !was_to_go(&third, &["a"]));
        last.begin_sweep(std::iter::empty(), |_| false).expect("removed");
        assert!(!root.path().join(crate::layout::OWN_DIRECTORY).join(SWEEP).exists());
        // As earlier versions wrote it.
        assert!(Unfinished::parsed(format!("{first}\n{second}\n").as_bytes()).blobs.is_empty());
    }

    #[test]
    fn records_outlive_a_run() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join(crate::layout::OWN_DIRECTORY)).expect("made");
        let clock = RunClock::read();
        let digest = |text: &str| Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes());
        let revision = Target::Link(LinkDirectory::Revisions(RepositoryName::new("a/b")), digest("m"));
        let mut records = Records::open(root.path()).expect("none");
        records.write_summary(summary([1, 2, 3], &["m"])).expect("written");
        records.add_restored([&revision, &Target::Blob(digest("l"))].into_iter(), &clock).expect("written");
        records.begin_sweep([(&RepositoryName::new("a/b"), digest("x"))].into_iter(), |_| true).expect("written");
        let mut again = Records::open(root.path()).expect("readable");
        assert_eq!(again.summary(), Some(&summary([1, 2, 3], &["m"])));
        assert!(again.was_to_go(&digest("x"), &|_| true) && !again.was_to_go(&digest("l"), &|_| true));
        let hour = Duration::from_secs(3600);
        let protected = again.restored_within(hour, &clock);
        assert_eq!(protected.revisions[&RepositoryName::new("a/b")], [digest("m")]);
        assert!(protected.digests.contains(&digest("l")));
        assert!(again.restored_within(Duration::ZERO, &clock).digests.is_empty());
        again.end_sweep().expect("removed");
        assert!(!Records::open(root.path()).expect("readable").was_to_go(&digest("x"), &|_| true));
    }
}
