//! `regsweep quarantine`: what was moved aside, and what is to become of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::settle::{self, Moment, Purge};
use super::{outside_the_store, threads};
use crate::config::{QuarantineSettings, Wanted};
use crate::error::Error;
use crate::finding::Finding;
use crate::layout::Target;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::quarantine::{self, Purpose, Quarantine, Replaced, Run, Settled};
use crate::report::quarantine::{Done, QuarantineReport, RunRow};
use crate::store::FilesystemStore;
use crate::store::lock::StoreLock;
use crate::writers;

/// No request of a push takes longer.
const LONGEST_REQUEST: Duration = Duration::from_secs(3600);

/// Lists, restores or purges.
///
/// # Errors
///
/// When the command ended before anything was moved.
pub fn run(settings: QuarantineSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<QuarantineReport, Error> {
    let store = FilesystemStore::open(&settings.location.root)?;
    let moment = Moment { now: settings.now, boot: settings.boot.as_ref(), begun: Instant::now() };
    let now = moment.timestamp();
    let _lock = match settings.wanted {
        Wanted::List => StoreLock::shared(store.root(), Duration::ZERO, stop)?,
        _ => StoreLock::exclusive(store.root(), settings.wait_lock, now, stop)?,
    };
    if let Some(path) = &settings.output.metrics {
        outside_the_store("--metrics", path, &store)?;
    }
    if let Wanted::Purge { older_than, assume_offline: false, .. } = settings.wanted
        && older_than < LONGEST_REQUEST
    {
        writers::none_at_work(store.root(), settings.location.registry.as_ref(), &[])?;
    }
    let done = threads(settings.jobs)?.install(|| act(&settings.wanted, &store, moment, progress, stop))?;
    progress.end();
    let quarantine = Quarantine::open(&store)?;
    let findings: Vec<Finding> = done.settled().flat_map(settle::failures).collect();
    Ok(QuarantineReport {
        root: store.root().to_owned(),
        started: settings.now,
        folder: settle::folder(),
        runs: quarantine.runs.iter().map(|run| RunRow::of(run, now)).collect(),
        done,
        findings,
        interrupted: matches!(settings.wanted, Wanted::Purge { .. }) && stop.load(Ordering::Relaxed),
        elapsed: moment.begun.elapsed(),
    })
}

fn act(
    wanted: &Wanted,
    store: &FilesystemStore,
    moment: Moment<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Done, Error> {
    let mut quarantine = Quarantine::open(store)?;
    match wanted {
        Wanted::List => Ok(Done::Listed),
        Wanted::Restore { run, all, digest } => {
            restore(store, &quarantine, run.as_deref(), *all, digest.as_ref()).map(Done::Restored)
        }
        Wanted::Purge { run, older_than, allow_empty, .. } => {
            let chosen = run.as_deref().map(|id| quarantine.run(id)).transpose()?;
            if let Some(run) = chosen.filter(|run| run.stamp().purpose == Purpose::Verify) {
                // Nothing has to be marked for these: their bytes are nobody's.
                let purged = quarantine::purge(store, &[run], &quarantine::Needed::default(), stop);
                return Ok(Done::Purged { put_back: Settled::default(), purged });
            }
            let purge = Purge { older_than: *older_than, run: run.as_deref(), allow_empty: *allow_empty };
            let outcome = settle::settle(store, &mut quarantine, Some(purge), moment, progress, stop)?;
            Ok(Done::Purged { put_back: outcome.put_back, purged: outcome.purged })
        }
    }
}

fn restore(
    store: &FilesystemStore,
    quarantine: &Quarantine,
    run: Option<&str>,
    all: bool,
    digest: Option<&Digest>,
) -> Result<Settled, Error> {
    if quarantine.runs.is_empty() {
        return Err(Error::Usage("nothing is in quarantine".to_owned()));
    }
    let only = match run {
        Some(id) => Some(quarantine.run(id)?.id()),
        // Whoever names a digest means it, wherever it is.
        None if all || digest.is_some() => None,
        None => quarantine.runs.last().map(Run::id),
    };
    let is_wanted = |run: &Run, target: &Target| {
        only.is_none_or(|id| run.id() == id) && digest.is_none_or(|digest| target.digest() == digest)
    };
    if let Some(digest) = digest
        && !quarantine.runs.iter().any(|run| run.held().iter().any(|held| is_wanted(run, &held.target)))
    {
        return Err(Error::Usage(format!("{digest} is not in quarantine; `regsweep quarantine list` says what is")));
    }
    let settled = quarantine::put_back(store, quarantine, Replaced::Keep, &is_wanted)?;
    for run in &quarantine.runs {
        run.remove_if_empty(store)?;
    }
    Ok(settled)
}

impl RunRow {
    fn of(run: &Run, now: Timestamp) -> RunRow {
        let mut row = RunRow {
            id: run.id().to_owned(),
            purpose: run.stamp().purpose,
            began: run.stamp().began,
            finished: run.stamp().finished,
            waited: run.stamp().finished.and_then(|then| Duration::try_from(now.duration_since(then)).ok()),
            blobs: Default::default(),
            links: 0,
            unrecognised: run.unrecognised(),
            targets: run.held().to_vec(),
        };
        for held in run.held() {
            match held.target {
                Target::Blob(_) => row.blobs.add(held.stat.size_bytes),
                _ => row.links += 1,
            }
        }
        row
    }
}
