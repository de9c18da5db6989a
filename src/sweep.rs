//! Removes the targets of a plan, in its order, and decides nothing (G5). The one caller of [`Vacuum`].
//!
//! A sweep deviates from its plan for one reason: a link that has changed since, or that could not be removed.
//! Everything that such a link keeps must stay. The whole repository is spared from there on: its remaining links and
//! every blob they name. Before the first blob is removed, [`Vacuum::keeps_now`] adds what else it keeps.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::{Error, ErrorKind};
use crate::finding::{Code, Finding};
use crate::layout::Target;
use crate::oci::{Digest, RepositoryName};
use crate::plan::Deletion;
use crate::plan::{Kind, SweepPlan, Totals};
use crate::progress::{Phase, Progress};
use crate::store::{KeepsNow, Planned, Removal, Vacuum};

/// How many rows are expanded at a time.
const ROWS_AT_ONCE: usize = 1 << 16;

/// The result of one row of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Removed, by this sweep or before it.
    Gone,
    /// Left alone: it differs from the plan in this.
    Changed(&'static str),
    /// Left alone: a spared link keeps it.
    Spared,
    /// Could not be removed, for this reason.
    Failed(String),
    /// The sweep ended before this row.
    NotReached,
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// Removed rows.
    pub removed: Totals,
    /// The number of rows that were not removed.
    pub left: u64,
    /// The reasons.
    pub findings: Vec<Finding>,
    /// Whether a signal ended the sweep.
    pub interrupted: bool,
    /// Whether it ended before the first blob, because a writer was seen where none may run.
    pub met_writer: bool,
}

/// Executes a plan. Ends after the current targets when `stop` becomes true.
pub fn sweep(plan: &SweepPlan, vacuum: &dyn Vacuum, progress: &dyn Progress, stop: &AtomicBool) -> SweepReport {
    progress.begin(Phase::Sweeping, Some(plan.len() as u64));
    let sweep = Sweep { vacuum, progress, stop, is_failing: AtomicBool::new(false), spared: Mutex::default() };
    let mut report = SweepReport::default();
    let mut links_are_flushed = false;
    for (kind, step) in plan.steps() {
        if kind == Kind::Blob && !std::mem::replace(&mut links_are_flushed, true) && !sweep.is_over() {
            report.met_writer = !sweep.spare_what_is_kept_now(&mut report.findings);
            // A power failure must not restore a link to a blob that stays removed. This includes links that a killed
            // run removed, or the registry, which flushes nothing when it deletes.
            if let Err(error) = vacuum.barrier() {
                sweep.is_failing.store(true, Ordering::Relaxed);
                report.findings.push(Finding::new(Code::FailedRemoval).detail(error.to_string()));
            }
        }
        for begin in step.clone().step_by(ROWS_AT_ONCE) {
            let rows = plan.part(begin..step.end.min(begin + ROWS_AT_ONCE));
            let batches = rows.par_chunks(vacuum.batch().max(1));
            let outcomes: Vec<Outcome> = batches.flat_map_iter(|batch| sweep.remove(batch)).collect();
            report.add(&rows, outcomes);
        }
    }
    report.interrupted = stop.load(Ordering::Relaxed) && report.left > 0;
    report
}

struct Sweep<'a> {
    vacuum: &'a dyn Vacuum,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    /// Whether a fatal error or a writer ends the sweep early.
    is_failing: AtomicBool,
    spared: Mutex<Spared>,
}

#[derive(Default)]
struct Spared {
    /// Each with whether one of its links had changed.
    repositories: HashMap<RepositoryName, bool>,
    digests: HashSet<Digest>,
}

impl Sweep<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.is_failing.load(Ordering::Relaxed)
    }

    /// Removes a batch of rows except for spared ones, and returns the outcome of each.
    fn remove(&self, rows: &[Deletion]) -> Vec<Outcome> {
        if self.is_over() {
            return vec![Outcome::NotReached; rows.len()];
        }
        let goes: Vec<&Deletion> = rows.iter().filter(|row| !self.is_spared(&row.target)).collect();
        let batch: Vec<Planned<'_>> = goes.iter().map(|row| Planned { target: &row.target, stat: &row.stat }).collect();
        let mut removals = self.vacuum.remove(&batch).into_iter();
        let mut goes = goes.into_iter().peekable();
        let outcome = |row: &Deletion| match goes.next_if(|next| std::ptr::eq::<Deletion>(*next, row)) {
            Some(row) => self.outcome(row, removals.next().expect("an answer for each")),
            None => {
                self.spare(row, false);
                Outcome::Spared
            }
        };
        rows.iter().map(outcome).collect()
    }

    fn outcome(&self, row: &Deletion, removal: Result<Removal, Error>) -> Outcome {
        let outcome = match removal {
            Ok(Removal::Removed | Removal::AlreadyGone) => Outcome::Gone,
            Ok(Removal::Changed(difference)) => Outcome::Changed(difference),
            Err(error) => {
                if self.is_fatal(&error) {
                    self.is_failing.store(true, Ordering::Relaxed);
                }
                Outcome::Failed(error.to_string())
            }
        };
        if outcome != Outcome::Gone {
            self.spare(row, matches!(outcome, Outcome::Changed(_)));
        }
        let has_size = matches!(row.target, Target::Blob(_) | Target::Upload(_));
        let size_bytes = if has_size { row.stat.size_bytes } else { 0 };
        self.progress.advance(1, size_bytes);
        outcome
    }

    /// Whether an error would recur for every other target.
    fn is_fatal(&self, error: &Error) -> bool {
        match error.kind() {
            Some(ErrorKind::ReadOnly | ErrorKind::Broken) => true,
            Some(ErrorKind::Full) => self.vacuum.takes_room(),
            _ => false,
        }
    }

    fn is_spared(&self, target: &Target) -> bool {
        let spared = self.spared.lock().expect("nothing panics with the spared ones held");
        match target.repository() {
            Some(repository) => spared.repositories.contains_key(repository),
            None => target.digest().is_some_and(|digest| spared.digests.contains(digest)),
        }
    }

    fn spare(&self, row: &Deletion, is_changed: bool) {
        let mut spared = self.spared.lock().expect("nothing panics with the spared ones held");
        // Neither an empty directory nor a blob keeps other content.
        if let (Some(repository), false) = (row.target.repository(), row.target.is_directory()) {
            *spared.repositories.entry(repository.clone()).or_default() |= is_changed;
            spared.digests.extend(row.target.digest().into_iter().chain(row.alias_of.as_deref()));
        }
    }
}

impl Sweep<'_> {
    /// Spares everything that the spared repositories keep now. Returns false if that is unknown: then no blob is
    /// removed.
    fn spare_what_is_kept_now(&self, findings: &mut Vec<Finding>) -> bool {
        let mut spared = self.spared.lock().expect("nothing panics with the spared ones held");
        let repositories: Vec<(RepositoryName, bool)> =
            spared.repositories.iter().map(|(name, is_changed)| (name.clone(), *is_changed)).collect();
        for (repository, is_changed) in repositories {
            match self.vacuum.keeps_now(&repository, is_changed) {
                Ok(KeepsNow::AsPlanned) => {}
                Ok(KeepsNow::Digests(digests)) => spared.digests.extend(digests),
                Ok(KeepsNow::Anything) => {
                    self.is_failing.store(true, Ordering::Relaxed);
                    return false;
                }
                Err(error) => {
                    self.is_failing.store(true, Ordering::Relaxed);
                    findings.push(Finding::new(Code::FailedRemoval).repository(&repository).detail(error.to_string()));
                }
            }
        }
        true
    }
}

impl SweepReport {
    fn add(&mut self, step: &[Deletion], outcomes: Vec<Outcome>) {
        let gone = step.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Gone).map(|(row, _)| row);
        self.removed += Totals::of(gone.map(|row| (Kind::of(&row.target), row.reason, row.stat.size_bytes)));
        for (row, outcome) in step.iter().zip(outcomes) {
            let (code, detail) = match outcome {
                Outcome::Gone => continue,
                Outcome::Changed(difference) => (Some(Code::ChangedTarget), format!("Not removed: {difference}")),
                Outcome::Failed(why) => (Some(Code::FailedRemoval), why),
                Outcome::Spared | Outcome::NotReached => (None, String::new()),
            };
            self.left += 1;
            if let Some(code) = code {
                let mut finding = Finding::new(code).path(row.target.path()).detail(detail);
                finding.digest = row.target.digest().copied();
                finding.repository = row.target.repository().cloned();
                finding.tag = row.target.tag().cloned();
                self.findings.push(finding);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout::LinkDirectory;
    use crate::oci::Algorithm;
    use crate::plan::Reason;
    use crate::progress::Silent;
    use crate::store::Stat;

    /// A vacuum that refuses one target and records all requests.
    struct Stubborn {
        refuses: Target,
        requests: Mutex<Vec<Target>>,
        /// The number of requests before each barrier.
        barriers: Mutex<Vec<usize>>,
        keeps: KeepsNow,
    }

    impl Stubborn {
        fn refusing(refuses: &Target) -> Stubborn {
            Stubborn {
                refuses: refuses.clone(),
                requests: Mutex::default(),
                barriers: Mutex::default(),
                keeps: KeepsNow::AsPlanned,
            }
        }
    }

    impl Vacuum for Stubborn {
        fn batch(&self) -> usize {
            1
        }

        fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
            let remove = |planned: &Planned<'_>| {
                self.requests.lock().expect("one thread").push(planned.target.clone());
                Ok(if *planned.target == self.refuses { Removal::Changed("it grew") } else { Removal::Removed })
            };
            batch.iter().map(remove).collect()
        }

        fn takes_room(&self) -> bool {
            false
        }

        fn keeps_now(&self, repository: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error> {
            assert!(is_changed && self.refuses.link_directory().expect("a link").repository() == repository);
            Ok(self.keeps.clone())
        }

        fn barrier(&self) -> Result<(), Error> {
            self.barriers.lock().expect("one thread").push(self.requests.lock().expect("one thread").len());
            Ok(())
        }
    }

    fn digest(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    fn plan(targets: &[Target]) -> Vec<Deletion> {
        let row = |target: &Target| Deletion {
            target: target.clone(),
            stat: Stat::new(1, SystemTime::UNIX_EPOCH),
            alias_of: None,
            reason: Reason::Untagged,
            depth: 0,
        };
        targets.iter().map(row).collect()
    }

    #[test]
    fn a_link_that_stays_keeps_its_repository_and_its_blobs() {
        let [a, b] = ["a", "b"].map(RepositoryName::new);
        let revision = Target::Link(LinkDirectory::Revisions(a.clone()), digest("manifest"));
        let layer = Target::Link(LinkDirectory::Layers(a.clone()), digest("layer"));
        let other = Target::Link(LinkDirectory::Layers(b), digest("other"));
        let blobs = ["manifest", "layer", "other"].map(|name| Target::Blob(digest(name)));
        let mut targets = vec![revision.clone(), layer.clone(), other.clone()];
        targets.extend(blobs.clone());
        let vacuum = Stubborn::refusing(&revision);
        let report = sweep(&SweepPlan::of(&plan(&targets)), &vacuum, &Silent, &AtomicBool::new(false));
        let mut requests = vacuum.requests.into_inner().expect("one thread");
        requests.sort();
        let mut expected = vec![revision, other, blobs[2].clone()];
        expected.sort();
        assert_eq!(requests, expected);
        assert_eq!(report.left, 4);
        assert_eq!(report.removed.kind(Kind::Blob).count, 1);
        assert_eq!(report.findings.len(), 1);
        assert!(!report.interrupted);
    }

    /// Digests that a changed repository names now stay, and the rest is removed; nothing is removed where no writer
    /// may run.
    #[test]
    fn a_changed_link_queries_its_repository_again() {
        let directory = LinkDirectory::Revisions(RepositoryName::new("a"));
        let link = Target::Link(directory, digest("manifest"));
        let blobs = ["named by now", "garbage"].map(|name| Target::Blob(digest(name)));
        let targets = [vec![link.clone()], blobs.to_vec()].concat();
        let swept = |keeps| {
            let vacuum = Stubborn { keeps, ..Stubborn::refusing(&link) };
            let report = sweep(&SweepPlan::of(&plan(&targets)), &vacuum, &Silent, &AtomicBool::new(false));
            (report, vacuum.requests.into_inner().expect("one thread"))
        };
        let (report, requests) = swept(KeepsNow::Digests(vec![digest("named by now")]));
        assert_eq!(requests, [link.clone(), blobs[1].clone()]);
        assert_eq!((report.left, report.met_writer), (2, false));
        let (report, requests) = swept(KeepsNow::Anything);
        assert_eq!(requests, std::slice::from_ref(&link));
        assert_eq!((report.left, report.met_writer), (3, true));
    }

    /// The link by the blob's own name was removed before it.
    #[test]
    fn an_alias_that_stays_keeps_the_blob_that_it_leads_to() {
        let directory = LinkDirectory::Layers(RepositoryName::new("a"));
        let alias = Target::Link(directory.clone(), Digest::of(Algorithm::Sha512, b"layer"));
        let targets = [Target::Link(directory, digest("layer")), alias.clone(), Target::Blob(digest("layer"))];
        let mut rows = plan(&targets);
        for row in &mut rows {
            row.alias_of = Some(Box::new(digest("layer")));
        }
        let vacuum = Stubborn::refusing(&alias);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let report = pool.install(|| sweep(&SweepPlan::of(&rows), &vacuum, &Silent, &AtomicBool::new(false)));
        assert_eq!(vacuum.requests.into_inner().expect("one thread"), targets[..2]);
        assert_eq!(report.left, 2);
    }

    /// Also when all links were removed earlier, by a killed run or by the registry.
    #[test]
    fn one_barrier_comes_before_the_first_blob() {
        let link = Target::Link(LinkDirectory::Layers(RepositoryName::new("a")), digest("layer"));
        let blobs = ["layer", "other"].map(|name| Target::Blob(digest(name)));
        let empty = Target::EmptyBlobDirectory(digest("empty"));
        for (targets, barriers) in [
            (vec![link.clone(), blobs[0].clone(), blobs[1].clone(), empty.clone()], vec![1]),
            (blobs.to_vec(), vec![0]),
            (vec![link, empty], vec![]),
        ] {
            let vacuum = Stubborn::refusing(&Target::Blob(digest("nothing")));
            let mut plan = plan(&targets);
            // Each depth of manifests is a step of its own.
            plan.iter_mut().enumerate().for_each(|(depth, row)| row.depth = depth as u32);
            sweep(&SweepPlan::of(&plan), &vacuum, &Silent, &AtomicBool::new(false));
            assert_eq!(vacuum.barriers.into_inner().expect("one thread"), barriers, "{targets:?}");
        }
    }

    #[test]
    fn ends_when_stopped() {
        let target = Target::Blob(digest("x"));
        let vacuum = Stubborn::refusing(&target);
        let report = sweep(&SweepPlan::of(&plan(&[target])), &vacuum, &Silent, &AtomicBool::new(true));
        assert!(report.interrupted && report.left == 1 && report.removed.is_empty());
        assert!(vacuum.requests.into_inner().expect("one thread").is_empty());
    }
}
