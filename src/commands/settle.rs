//! What becomes of a quarantine around a collection: what is needed goes back, what has waited long enough goes for good.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout;
use crate::progress::Progress;
use crate::quarantine::{self, Boot, Needed, Quarantine, Replaced, Run, Settled};
use crate::registry_config::RegistryConfig;
use crate::store::{FilesystemStore, Vacuum as _};
use crate::words::plural;

/// When things that have just been moved aside are looked at again, beside the end of the time for that.
const RESCUES: [Duration; 2] = [Duration::ZERO, Duration::from_secs(5)];
/// How long a wait goes on before it looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(50);

/// How often the store is looked at anew when a registry at work takes away what was listed a moment before.
const LOOKS: u32 = 5;

/// Looks at a store that a registry may be changing, again if something went from under it (R15). Where nobody else should be at work the
/// first look is the last: that somebody is has to be told.
pub(super) fn look<T>(is_online: bool, mut at: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut looks = 1;
    loop {
        match at() {
            Err(error) if is_online && error.is_vanished() && looks < LOOKS => {
                tracing::info!("{error}; looking again");
                looks += 1;
            }
            looked => return looked,
        }
    }
}

/// The moment a command lives in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// When it began.
    pub(super) now: SystemTime,
    /// The same by the clock that nobody sets.
    pub(super) boot: Option<&'a Boot>,
    /// When that was for this process.
    pub(super) begun: Instant,
}

impl Moment<'_> {
    /// What the clock says now if nobody has set it since.
    pub(super) fn by_now(&self) -> SystemTime {
        self.now + self.begun.elapsed()
    }

    /// When the command began.
    pub(super) fn beginning(&self) -> Timestamp {
        Timestamp::try_from(self.now).unwrap_or_default()
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.by_now()).unwrap_or_default()
    }

    fn boot_by_now(&self) -> Option<Boot> {
        let elapsed = self.begun.elapsed().as_secs_f64();
        self.boot.map(|boot| Boot { id: boot.id.clone(), uptime_seconds: boot.uptime_seconds + elapsed })
    }
}

/// Which runs go for good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purge<'a> {
    /// Those that have waited for so long.
    pub(super) older_than: Duration,
    /// This one alone.
    pub(super) run: Option<&'a str>,
    /// Also where nothing in the store needs anything.
    pub(super) allow_empty: bool,
}

/// What was done with a quarantine.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// What went back because it is needed.
    pub(super) put_back: Settled,
    /// What went for good.
    pub(super) purged: Settled,
}

/// Marks the store with what is in quarantine, puts back what is needed, and then purges.
///
/// # Errors
///
/// When something cannot be read, or something that is needed cannot be put back. Nothing has gone for good then.
pub(super) fn settle(
    store: &FilesystemStore,
    quarantine: &mut Quarantine,
    purge: Option<Purge<'_>>,
    moment: Moment<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    if quarantine.collected().next().is_none() {
        return Ok(outcome);
    }
    adopt(store, quarantine, moment);
    let needed;
    (needed, outcome.put_back) = bring_back(store, quarantine, moment, progress, stop)?;
    if let Some(purge) = purge {
        let now = moment.beginning();
        let is_due = |run: &&Run| match purge.run {
            Some(id) => run.id() == id,
            // No wait at all is over, whatever the clocks say, and for runs that were cut off too.
            None => purge.older_than.is_zero() || run.has_waited(purge.older_than, now, moment.boot),
        };
        let due: Vec<&Run> = quarantine.collected().filter(is_due).collect();
        if !due.is_empty() && needed.looks_empty && !purge.allow_empty {
            let reason = "nothing in the store needs anything, so nothing of the quarantine goes for good".to_owned();
            let lift = "check that all of the store is mounted, or give --allow-empty if this is how it should be".to_owned();
            return Err(Error::Brake { reason, lift });
        }
        outcome.purged = quarantine::purge(store, &due, &needed, stop);
    }
    for run in &quarantine.runs {
        run.remove_if_empty(store)?;
    }
    *quarantine = Quarantine::open(store)?;
    Ok(outcome)
}

/// Lets the wait of runs begin that were cut off. One that cannot be written to waits on, and must not keep a full disk from being
/// collected.
fn adopt(store: &FilesystemStore, quarantine: &mut Quarantine, moment: Moment<'_>) {
    for run in quarantine.runs.iter_mut().filter(|run| run.stamp().finished.is_none() && !run.held().is_empty()) {
        let finished = store.barrier().and_then(|()| run.finish(moment.timestamp(), moment.boot_by_now()));
        if let Err(error) = finished {
            tracing::warn!("run {} waits until its end can be noted: {error}", run.id());
        }
    }
}

/// Puts back what is needed. Looks again when links went back: one of a manifest needs all that the manifest names.
fn bring_back(
    store: &FilesystemStore,
    quarantine: &mut Quarantine,
    moment: Moment<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<(Needed, Settled), Error> {
    let mut all = Settled::default();
    loop {
        let needed = look(true, || quarantine::needed(store, quarantine, moment.by_now(), progress, stop))?;
        let settled = put_back(store, quarantine, &needed)?;
        let is_all = settled.links == 0;
        all += settled;
        if is_all {
            return Ok((needed, all));
        }
        *quarantine = Quarantine::open(store)?;
    }
}

fn put_back(store: &FilesystemStore, quarantine: &Quarantine, needed: &Needed) -> Result<Settled, Error> {
    let collected = |run: &Run| quarantine.collected().any(|other| other.id() == run.id());
    let settled = quarantine::put_back(store, quarantine, Replaced::Drop, &|run, target| {
        collected(run) && needed.targets.contains(target)
    })?;
    match settled.failed.first() {
        None => Ok(settled),
        Some((_, why)) => {
            let many = plural(settled.failed.len() as u64, "thing", "things");
            let reason = format!("{many} in quarantine cannot be put back although something needs them by now: {why}");
            Err(Error::Brake { reason, lift: "mend what the message says and run it again".into() })
        }
    }
}

/// Closes a run: nothing more will be moved into it.
///
/// # Errors
///
/// When the store cannot be flushed or the run's stamp not be written.
pub(super) fn finish(store: &FilesystemStore, run: &mut Run, moment: Moment<'_>) -> Result<(), Error> {
    store.barrier()?;
    run.finish(moment.timestamp(), moment.boot_by_now())?;
    if run.remove_if_empty(store)? {
        tracing::info!("nothing was moved aside");
    }
    Ok(())
}

/// Looks out, at once, a little later and once more when the time is over, for pushes that need what was moved aside, and puts that back.
/// Ends early when `stop` becomes true: the next run sees to the rest.
///
/// # Errors
///
/// As [`settle`].
pub(super) fn rescue(
    store: &FilesystemStore,
    rescue_for: Duration,
    moment: Moment<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Settled, Error> {
    let mut rescued = Settled::default();
    let begun = Instant::now();
    for at in RESCUES.into_iter().filter(|at| *at < rescue_for).chain([rescue_for]) {
        while begun.elapsed() < at && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK.min(at.saturating_sub(begun.elapsed())));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut quarantine = Quarantine::open(store)?;
        rescued += bring_back(store, &mut quarantine, moment, progress, stop)?.1;
        for run in &quarantine.runs {
            run.remove_if_empty(store)?;
        }
    }
    Ok(rescued)
}

/// Makes sure that what the registry may do meanwhile is something that a quarantine can undo.
///
/// # Errors
///
/// When it is not, or nobody can tell.
pub(super) fn may_be_online(root: &Path, registry: Option<&RegistryConfig>) -> Result<(), Error> {
    let stopped = || "stop the registry and collect without --online".to_owned();
    let Some(registry) = registry else {
        let message = "--online needs the registry's configuration, which says whether the registry remembers blobs that are gone: \
                       give its config.yml in place of --root";
        return Err(Error::Usage(message.to_owned()));
    };
    if let Some(cache) = &registry.descriptor_cache {
        let reason = format!(
            "the registry keeps a cache of blob descriptors (storage.cache.blobdescriptor: {cache}), so it would accept images that need \
             what has been moved aside, and nobody could tell"
        );
        return Err(Error::Brake {
            reason,
            lift: format!("take the cache out of its configuration and restart it, or {}", stopped()),
        });
    }
    let state = root.join(layout::PROXY_STATE).symlink_metadata().is_ok();
    if registry.proxy_remote.is_some() || state {
        let reason = "the registry is a pull-through cache, which writes to its store whenever somebody pulls".to_owned();
        return Err(Error::Brake { reason, lift: stopped() });
    }
    Ok(())
}

/// What could not be moved, as findings.
pub(super) fn failures(settled: &Settled) -> impl Iterator<Item = Finding> {
    settled.failed.iter().map(|(target, why)| {
        let mut finding = Finding::new(Code::FailedRestore).digest(target.digest()).path(target.path()).detail(why.clone());
        finding.repository = target.link_folder().map(|folder| folder.repository().clone());
        finding
    })
}

/// The folder of the quarantine, for people.
pub(super) fn folder() -> String {
    format!("{}/quarantine", layout::OWN_FOLDER)
}
