//! What the commands begin and end with that say what is in a store: the session, the blobs, the repositories, and a second look at what
//! seems to be missing.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::reconcile;
use super::session::{Means, Session, ensure_page};
use crate::amount::Amount;
use crate::audit::recheck;
use crate::audit::tolerant::Tolerant;
use crate::config::ReadingSettings;
use crate::error::Error;
use crate::finding::Finding;
use crate::findings::{Gathered, consolidated};
use crate::graph::{Context, Manifests};
use crate::inventory::{Budget, Inventory};
use crate::mark::{self, interrupted};
use crate::oci::{Digest, reference};
use crate::policy::RootPolicy;
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Quarantine};
use crate::store::{Access, Backend, RepositoryEntry, Store};

/// A store that is being looked at.
pub(super) struct Looking<'a> {
    /// Marks as a collection does.
    pub(super) context: &'a Context<'a>,
    pub(super) repositories: &'a [RepositoryEntry],
    /// Takes what is found.
    pub(super) gathered: &'a Gathered,
    pub(super) budget: &'a Budget,
    /// Blobs in quarantine.
    pub(super) quarantined: Amount,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
}

/// What a look came to.
pub(super) struct Looked<T> {
    pub(super) found: T,
    /// What still holds at a second look.
    pub(super) findings: Vec<Finding>,
    /// What of the missing waits in quarantine.
    waiting: BTreeSet<Digest>,
    /// Whether something could not be read: a collection stops there, and there may be more than what was seen.
    pub(super) is_partial: bool,
}

impl<T> Looked<T> {
    /// What was found, the findings as a report has them, and whether something could not be read.
    pub(super) fn into_parts(self, settings: &ReadingSettings) -> (T, Vec<Finding>, bool) {
        let findings = consolidated(self.findings, settings.location.is_proxy());
        (self.found, quarantine::as_restorable(findings, &self.waiting), self.is_partial)
    }
}

/// Opens a store to look at it, and goes on past what cannot be read. Without the lock, as where nothing may be written, another regsweep may take
/// away what was listed a moment before: then `work` begins again.
///
/// # Errors
///
/// When the store cannot be listed, a collection is at work, or `work` fails.
pub(super) fn looking<T: Send>(
    backend: &dyn Backend,
    settings: &ReadingSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
    work: &(dyn Fn(&Looking<'_>) -> Result<T, Error> + Sync),
) -> Result<Looked<T>, Error> {
    let means = Means {
        access: Access::Look,
        wait_lock: settings.wait_lock,
        now: Timestamp::try_from(settings.started).unwrap_or_default(),
        jobs: settings.jobs,
        max_memory: settings.max_memory,
        spill_directory: &settings.spill_directory,
        metrics: settings.output.metrics.as_deref(),
    };
    let session = Session::open(backend, means, progress, stop)?;
    ensure_page(backend, settings.output.html.as_deref())?;
    let tolerant = Tolerant::new(backend.store(), backend.place());
    let quarantined = Quarantine::open_within(&session.reader())?.amount();
    let (found, mut findings) = session.work(|reader| {
        reconcile::look(!session.is_locked(), || {
            let budget = (reader.budget)(0);
            once(settings, &tolerant, &budget, quarantined, (progress, stop), work)
        })
    })?;
    let is_partial = tolerant.judge(&mut findings);
    let waiting = quarantine::waiting(&session.reader(), &findings)?;
    Ok(Looked { found, findings, waiting, is_partial })
}

fn once<T>(
    settings: &ReadingSettings,
    store: &dyn Store,
    budget: &Budget,
    quarantined: Amount,
    (progress, stop): (&dyn Progress, &AtomicBool),
    work: &(dyn Fn(&Looking<'_>) -> Result<T, Error> + Sync),
) -> Result<(T, Vec<Finding>), Error> {
    // In the order of a collection: what is pushed from now on is not in the inventory.
    progress.begin(Phase::ListingBlobs, None);
    let (inventory, blob_strays) = Inventory::list(store, budget)?;
    interrupted(stop)?;
    progress.begin(Phase::FindingRepositories, None);
    let repositories = store.repositories()?;
    interrupted(stop)?;
    let manifests = Manifests::new(store, &inventory);
    let (policy, recent_changes) = mark::arrivals(store, &inventory, settings.policy)?;
    let context = Context { store, inventory: &inventory, manifests: &manifests, retention: &RootPolicy::AllRevisions, policy };
    let gathered = Gathered::default();
    let strays = repositories.strays.iter().chain(&blob_strays);
    let strays = strays.map(Finding::of_stray);
    gathered.add(strays.chain(recent_changes).collect());
    let looking = Looking {
        context: &context,
        repositories: &repositories.entries,
        gathered: &gathered,
        budget,
        quarantined,
        progress,
        stop,
    };
    let found = work(&looking)?;
    Ok((found, recheck::still_hold(store, &policy, gathered.into_findings())?))
}

/// The repository that somebody typed.
///
/// # Errors
///
/// When there is none of that name: with the one that may be meant, since clients put the registry's address before names.
pub(super) fn named<'a>(repositories: &'a [RepositoryEntry], typed: &str) -> Result<&'a RepositoryEntry, Error> {
    let find = |typed: &str| repositories.iter().find(|entry| reference::is_repository(&entry.name, typed));
    find(typed).ok_or_else(|| {
        let without_host = typed.split_once('/').and_then(|(_, rest)| find(rest));
        let below = || repositories.iter().find(|entry| entry.name.as_path().starts_with(typed));
        let hint = match (without_host, below()) {
            (Some(entry), _) => format!("there is {}: leave out the registry's address", entry.name),
            (None, Some(entry)) => format!("there is {} below it", entry.name),
            (None, None) => "`regsweep list` shows what there is".to_owned(),
        };
        Error::Usage(format!("no repository {} in the store; {hint}", crate::escape::escaped(typed)))
    })
}
