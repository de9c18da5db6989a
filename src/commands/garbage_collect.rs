//! `regsweep garbage-collect`: survey, mark, plan, sweep.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::owners;
use super::settle::{self, Moment, Purge};
use super::{outside_the_store, threads};
use crate::cli::Limit;
use crate::config::{CollectSettings, Disposal, Mode};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::finding::{Code, Finding};
use crate::layout::{LinkFolder, Shard, Target};
use crate::mark::blobs::{self, BlobMarks};
use crate::mark::{self, Budget, Colour, Context, Counts, Inventory, Manifests, Marks, interrupted};
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::plan::{Kind, RepositoryShare, SweepPlan};
use crate::policy::RootPolicy;
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Overlay, Purpose, Quarantine, Quarantining};
use crate::report::collect::{Aside, CollectReport, Figures, json};
use crate::store::filesystem::removal::Folders;
use crate::store::lock::StoreLock;
use crate::store::{DryRun, FilesystemStore, Leaf, Store as _};
use crate::sweep::{SweepReport, sweep};
use crate::words::{number, plural, size};
use crate::writers::{self, Question};

/// What a run takes beside the table of blobs: the cache of manifests, four shards while they are listed, buffers.
pub(super) const MEMORY_BESIDE_THE_INVENTORY: u64 = 160 << 20;

/// Collects, or says what a collection would do.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the run ended before anything was removed. What goes wrong later is in the report.
pub fn run(mut settings: CollectSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<CollectReport, Error> {
    let pool = threads(settings.jobs)?;
    let store = FilesystemStore::open(&settings.location.root)?;
    let now = Timestamp::try_from(settings.policy.now).unwrap_or_default();
    // Held to the end: the survey is only true for as long as nobody else sweeps.
    let _lock = match settings.mode {
        Mode::Execute => StoreLock::exclusive(store.root(), settings.wait_lock, now, stop)?,
        Mode::DryRun => StoreLock::shared(store.root(), settings.wait_lock, stop)?,
    };
    if let Some(path) = &settings.output.metrics {
        outside_the_store("--metrics", path, &store)?;
    }
    owners::ensure_no_foreign_owner(store.root(), &settings.location, settings.policy.roots, settings.allow_foreign_owner)?;
    if settings.mode == Mode::Execute && !settings.allow_shared_blobs {
        owners::ensure_blobs_not_shared(store.root())?;
    }
    let nobody_asked = ensure_alone(&mut settings, store.root())?;
    let result = pool.install(|| collect(&settings, &store, progress, stop));
    progress.end();
    result.map(|report| CollectReport { nobody_asked, ..report })
}

/// Makes sure that no registry takes pushes meanwhile, where that matters, and sets the minimum age to what its answer allows. Returns why
/// none could be asked.
fn ensure_alone(settings: &mut CollectSettings, root: &Path) -> Result<Option<String>, Error> {
    let registry = settings.location.registry.as_ref();
    let may_be_online = settle::may_be_online(root, registry);
    if let Some(outer) = writers::outer_store(root) {
        tracing::warn!("the root {} lies in the storage of another registry, {}", escaped(root), escaped(outer));
    }
    if settings.disposal == Disposal::Online {
        return may_be_online.map(|()| None);
    }
    if settings.assume_offline && !settings.no_min_age_if_read_only {
        return Ok(None);
    }
    let answers = writers::ask(Question {
        root,
        registry,
        urls: &settings.registries,
        credentials: settings.registry_auth.as_ref(),
        offers_online: may_be_online.is_ok(),
    })?;
    if settings.mode == Mode::Execute && !settings.assume_offline {
        answers.ensure_no_writers()?;
    }
    let nobody_asked = answers.nobody_asked().filter(|_| !settings.assume_offline);
    if settings.no_min_age_if_read_only && answers.takes_no_pushes() {
        settings.policy.min_age = Duration::ZERO;
    }
    Ok(nobody_asked)
}

/// What the store turned out to hold, and what of it goes.
struct Collected {
    plan: SweepPlan,
    figures: Figures,
    findings: Vec<Finding>,
}

fn collect(
    settings: &CollectSettings,
    store: &FilesystemStore,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<CollectReport, Error> {
    let free_before = store.free_bytes();
    let moment = Moment { now: settings.policy.now, boot: settings.boot.as_ref(), begun: Instant::now() };
    let mut quarantine = Quarantine::open(store)?;
    let mut aside = Aside { waits_for: settings.quarantine_for, ..Aside::default() };
    if settings.mode == Mode::Execute {
        // Without a flag things wait for as long as anybody likes, but what is needed goes back.
        let purge = Purge { older_than: settings.quarantine_for, run: None, allow_empty: settings.allow_empty };
        let purge = (settings.disposal != Disposal::Remove).then_some(purge);
        let settled = settle::settle(store, &mut quarantine, purge, moment, progress, stop)?;
        (aside.put_back, aside.purged) = (settled.put_back, settled.purged);
    }
    let overlay = Overlay::new(store, &quarantine);
    let is_online = settings.disposal == Disposal::Online;
    let collected = settle::look(is_online, || survey_and_plan(settings, store, &overlay, progress, stop))?;
    let Collected { plan, figures, mut findings } = collected;
    if let Some(path) = &settings.plan_out {
        write_plan(&plan, path, store)?;
    }
    let mut unsettled: Vec<Error> = Vec::new();
    let mut swept = match (settings.mode, settings.disposal) {
        (Mode::DryRun, _) => sweep(&plan, &DryRun, progress, stop),
        (Mode::Execute, Disposal::Remove) => sweep(&plan, store, progress, stop),
        (Mode::Execute, disposal) if !plan.rows().is_empty() => {
            // As of the beginning: what was linked since then may not have been seen by the survey.
            let mut run = quarantine::begin(store, Purpose::GarbageCollect, moment.beginning(), moment.begun.elapsed())?;
            let folders = if disposal == Disposal::Online { Folders::Keep } else { Folders::Prune };
            let swept = sweep(&plan, &Quarantining::new(store, &run, folders), progress, stop);
            aside.run = Some(run.id().to_owned());
            // From here on nothing may end the run without its report.
            if let Err(error) = settle::finish(store, &mut run, moment) {
                unsettled.push(error);
            }
            swept
        }
        (Mode::Execute, _) => SweepReport::default(),
    };
    if settings.mode == Mode::Execute && settings.disposal == Disposal::Online && aside.run.is_some() {
        match settle::rescue(store, settings.rescue_for, moment, progress, stop) {
            Ok(rescued) => aside.rescued = rescued,
            Err(error) => unsettled.push(error),
        }
    }
    swept.left += unsettled.len() as u64;
    match Quarantine::open(store) {
        Ok(quarantine) => {
            aside.waiting = quarantine.amount();
            // Everything in it may have been put back by now.
            aside.run = aside.run.filter(|id| quarantine.run(id).is_ok());
        }
        Err(error) => unsettled.push(error),
    }
    findings.extend(unsettled.iter().map(|error| Finding::new(Code::FailedRestore).detail(error.to_string())));
    for settled in [&aside.put_back, &aside.purged, &aside.rescued] {
        findings.extend(settle::failures(settled));
    }
    findings.extend(swept.findings.iter().cloned());
    findings.sort();
    findings.dedup();
    Ok(CollectReport {
        mode: settings.mode,
        disposal: settings.disposal,
        root: store.root().to_owned(),
        config_path: settings.location.config_path.clone(),
        registry: settings.location.registry.clone(),
        nobody_asked: None,
        policy: settings.policy,
        plan: settings.verbose.then_some(plan),
        figures,
        swept,
        aside,
        findings,
        free_before,
        free_after: store.free_bytes(),
        elapsed: moment.begun.elapsed(),
    })
}

fn survey_and_plan(
    settings: &CollectSettings,
    filesystem: &FilesystemStore,
    store: &Overlay<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Collected, Error> {
    // Blobs first: what is pushed from now on is not in the inventory, and what is not there does not go.
    progress.begin(Phase::ListingBlobs, None);
    let budget = match settings.max_memory {
        Some(bytes) => Budget::of(bytes.saturating_sub(MEMORY_BESIDE_THE_INVENTORY), &settings.spill_folder),
        None => Budget::unlimited(),
    };
    let (inventory, blob_strays) = Inventory::list(store, &budget)?;
    for digest in store.aside() {
        inventory.mark(inventory.find(digest).expect("the overlay lists it"), Colour::ASIDE);
    }
    interrupted(stop)?;
    progress.begin(Phase::FindingRepositories, None);
    let repositories = store.repositories()?;
    interrupted(stop)?;
    tracing::info!("{} blobs, {} repositories", number(inventory.len() as u64), number(repositories.entries.len() as u64));

    let manifests = Manifests::new(store, &inventory);
    let context = Context { store, inventory: &inventory, manifests: &manifests, policy: settings.policy };
    let mut marks = mark::repositories(&context, &repositories.entries, &|_| Vec::new(), progress, stop)?;
    empty_store(settings, &inventory, &marks)?;

    progress.begin(Phase::Checking, None);
    let mut blobs = blobs::unreached_blobs(&context, &marks)?;
    let mut findings: Vec<Finding> = std::mem::take(&mut blobs.findings);
    for marks in &mut marks {
        findings.append(&mut marks.findings);
    }
    let strays = repositories.strays.iter().chain(&blob_strays);
    findings.extend(strays.map(|stray| Finding::new(Code::of_stray(stray.kind)).path(&stray.path)));

    let mut plan = SweepPlan::new(&mut marks, &mut blobs, &inventory);
    // By all links: beside a registry at work some stay although their blobs go.
    let shares = plan.by_repository(&inventory);
    if settings.disposal == Disposal::Online {
        online_only(&mut plan, filesystem, &inventory)?;
    }
    let figures = figures(settings, &inventory, &marks, &blobs, &plan, shares);
    too_much(settings, &figures, &context)?;
    Ok(Collected { plan, figures, findings })
}

/// Leaves in the plan what may go beside a registry that takes pushes: folders stay, because one may be about to be used, and so do links
/// to blobs that are there, or could come back.
fn online_only(plan: &mut SweepPlan, store: &FilesystemStore, inventory: &Inventory) -> Result<(), Error> {
    let is_gone = |digest: &Digest| -> Result<bool, Error> {
        match inventory.find(digest) {
            None => Ok(digest.algorithm() == Algorithm::Sha256),
            Some(blob) if inventory.has_any(blob, Colour::ASIDE) => Ok(false),
            Some(_) => Ok(store.stat_blobs(Shard::of(digest), &[*digest])? == [Leaf::Absent]),
        }
    };
    let mut failed = None;
    plan.retain(|row| match &row.target {
        Target::EmptyLinkFolder(..) | Target::EmptyBlobFolder(_) => false,
        Target::Link(LinkFolder::Layers(_), digest) => is_gone(digest).unwrap_or_else(|error| {
            failed = Some(error);
            false
        }),
        Target::Link(..) | Target::Blob(_) => true,
    });
    failed.map_or(Ok(()), Err)
}

fn figures(
    settings: &CollectSettings,
    inventory: &Inventory,
    marks: &[Marks],
    blobs: &BlobMarks,
    plan: &SweepPlan,
    shares: BTreeMap<RepositoryName, RepositoryShare>,
) -> Figures {
    let mut counts = Counts::default();
    for marks in marks {
        counts += marks.counts;
    }
    Figures {
        repositories: marks.len() as u64,
        held_repositories: marks.iter().filter(|marks| marks.held).count() as u64,
        counts,
        blobs: inventory.len() as u64 - blobs.aside,
        live: blobs.live,
        young: blobs.young,
        planned: plan.totals(),
        delete_untagged_in_addition: match settings.policy.roots {
            RootPolicy::AllRevisions => Some(blobs.live_untagged_only),
            RootPolicy::TaggedOnly => None,
        },
        shares,
    }
}

/// Stores that look as if half of them were not mounted (H20).
fn empty_store(settings: &CollectSettings, inventory: &Inventory, marks: &[Marks]) -> Result<(), Error> {
    if settings.allow_empty {
        return Ok(());
    }
    let lift = "check that all of it is mounted, or give --allow-empty if this is how it should be".to_owned();
    let blobs = inventory.len() as u64;
    let revisions: u64 = marks.iter().map(|marks| marks.counts.revisions).sum();
    let reason = if blobs > 0 && marks.is_empty() {
        format!("there are {} and not one repository", plural(blobs, "blob", "blobs"))
    } else if blobs > 0 && !inventory.any_kept() {
        format!("there are {} and no repository needs any of them", plural(blobs, "blob", "blobs"))
    } else if blobs == 0 && revisions > 0 {
        format!("there are {} in the repositories and not one blob", plural(revisions, "revision", "revisions"))
    } else {
        return Ok(());
    };
    Err(Error::Brake { reason, lift })
}

fn too_much(settings: &CollectSettings, figures: &Figures, context: &Context<'_>) -> Result<(), Error> {
    let going = figures.planned.kind(Kind::Blob).size_bytes;
    let (allowed, of) = match settings.max_reclaim {
        None => return Ok(()),
        Some(Limit::SizeBytes(bytes)) => (bytes, String::new()),
        Some(Limit::Percent(percent)) => {
            // Not what manifests state: whoever may push decides that.
            let stored = blobs::stored_bytes(context)?;
            ((stored as f64 * percent / 100.0) as u64, format!(" of {}", size(stored)))
        }
    };
    if going <= allowed {
        return Ok(());
    }
    Err(Error::Brake {
        reason: format!("{}{of} would go, more than the {} that --max-reclaim allows", size(going), size(allowed)),
        lift: "look at what would go with --dry-run and without --max-reclaim, then raise it".into(),
    })
}

/// Writes the plan as JSON Lines, before anything of it is carried out.
fn write_plan(plan: &SweepPlan, path: &Path, store: &FilesystemStore) -> Result<(), Error> {
    outside_the_store("--plan-out", path, store)?;
    let file = std::fs::File::create(path).context("create", path)?;
    let mut out = std::io::BufWriter::new(file);
    for row in plan.rows() {
        serde_json::to_writer(&mut out, &json::Row::of(row)).map_err(std::io::Error::from).context("write", path)?;
        out.write_all(b"\n").context("write", path)?;
    }
    out.flush().context("write", path)
}
