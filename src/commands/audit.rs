//! `regsweep audit`: what two collections would see and do, and everything that they do not look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::opening;
use super::reconcile;
use super::session::{Means, Session, ensure_page};
use crate::amount::Amount;
use crate::audit::facts::{BlobFacts, RepositoryFacts};
use crate::audit::tolerant::Tolerant;
use crate::audit::{Ages, damage, leftover, owners, recheck, uploads, waste};
use crate::config::AuditSettings;
use crate::dependents::{dependents, size_mismatches};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::findings::{Gathered, consolidated};
use crate::graph::{Context, Manifests};
use crate::inventory::{Budget, Inventory};
use crate::layout::Target;
use crate::mark::blobs;
use crate::mark::{self, Marks, Waiting, hold_shared, interrupted};
use crate::oci::{Digest, RepositoryName};
use crate::plan::SweepPlan;
use crate::policy::{Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::quarantine::{self, Quarantine, Reader};
use crate::report::audit::{AuditReport, Collection, Figures};
use crate::store::{Access, Backend, RepositoryEntry, Store, Stray, Upload};
use crate::survey;

/// Audits a store. Nothing in it is touched.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When something in the store cannot be listed or read, or a collection is at work.
pub fn run(settings: AuditSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<AuditReport, Error> {
    run_on(&*opening::open(&settings.location, settings.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: AuditSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<AuditReport, Error> {
    let begun = std::time::Instant::now();
    let AuditSettings { jobs, max_memory, spill_directory, wait_lock, .. } = &settings;
    let means = Means {
        access: Access::Look,
        wait_lock: *wait_lock,
        now: Timestamp::try_from(settings.now).unwrap_or_default(),
        jobs: *jobs,
        max_memory: *max_memory,
        spill_directory,
        metrics: settings.output.metrics.as_deref(),
    };
    let session = Session::open(backend, means, progress, stop)?;
    ensure_page(backend, settings.output.html.as_deref())?;
    let tolerant = Tolerant::new(backend.store(), backend.place());
    // Without the lock another regsweep may take away what was listed a moment before.
    let result = session.work(|reader| {
        let look = || {
            let quarantined = quarantined(reader)?;
            let budget = (reader.budget)(BYTES_A_QUARANTINED_BLOB * quarantined.len() as u64);
            audit(&settings, (&tolerant, quarantined), &budget, progress, stop)
        };
        reconcile::look(!session.is_locked(), look)
    });
    let Audited { figures, collections, mut findings } = result?;
    let would_stop = tolerant.judge(&mut findings);
    let collections = if would_stop { <[Collection; 2]>::default() } else { collections };
    findings.extend(owners::owners(signs(backend, &settings)?));
    let findings = consolidated(findings, settings.location.is_proxy());
    let waiting = quarantine::waiting(&session.reader(), &findings)?;
    let findings = quarantine::as_restorable(findings, &waiting);
    Ok(AuditReport {
        root: backend.place().to_owned(),
        config_path: settings.location.config_path.clone(),
        fail_on: settings.fail_on,
        min_age: settings.min_age,
        upload_age: settings.upload_age,
        started: settings.now,
        figures,
        collections,
        would_stop,
        findings,
        elapsed: begun.elapsed(),
    })
}

/// What a digest takes in the set of those that are in quarantine.
const BYTES_A_QUARANTINED_BLOB: u64 = 100;

/// The blobs in quarantine. One that cannot be read is told by `quarantine list`.
///
/// # Errors
///
/// When there is no memory for so many.
fn quarantined(reader: &Reader<'_>) -> Result<BTreeSet<Digest>, Error> {
    let quarantine = match Quarantine::open_within(reader) {
        Ok(quarantine) => quarantine,
        Err(error @ Error::Brake { .. }) => return Err(error),
        Err(_) => return Ok(BTreeSet::new()),
    };
    let blobs = quarantine.held().filter_map(|(_, held)| match held.target {
        Target::Blob(digest) => Some(digest),
        _ => None,
    });
    Ok(blobs.collect())
}

fn signs(backend: &dyn Backend, settings: &AuditSettings) -> Result<owners::Signs, Error> {
    let gitlab_database = super::owners::gitlab(backend, &settings.location)?;
    let harbor = settings.location.owners().harbor.clone();
    Ok(owners::Signs { gitlab_database, harbor, cache: settings.location.cache_sign() })
}

struct Audited {
    figures: Figures,
    collections: [Collection; 2],
    findings: Vec<Finding>,
}

/// What one collection would make of the store.
struct Imagined {
    marks: Vec<Marks>,
    plan: SweepPlan,
    young: Amount,
    waiting: Waiting,
    findings: Vec<Finding>,
}

fn audit(
    settings: &AuditSettings,
    (store, quarantined): (&dyn Store, BTreeSet<Digest>),
    budget: &Budget,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Audited, Error> {
    // In the order of a collection: what is pushed from now on is not in the inventory.
    progress.begin(Phase::ListingBlobs, None);
    // Both tables share what there is.
    let (inventory, blob_strays) = Inventory::list(store, budget)?;
    let inventory_untagged = inventory.afresh(&blob_strays, budget)?;
    let (inventory, inventory_untagged) = (Arc::new(inventory), Arc::new(inventory_untagged));
    interrupted(stop)?;
    progress.begin(Phase::FindingRepositories, None);
    let repositories = store.repositories()?;
    interrupted(stop)?;

    // Places are the same in both inventories, so one cache of manifests serves both.
    let manifests = Manifests::new(store, &inventory);
    let policy = Policy::new(settings.min_age, settings.arrivals, settings.now);
    let (policy, recent_changes) = mark::arrivals(store, &inventory, policy)?;
    let context = |inventory, retention| Context { store, inventory, manifests: &manifests, retention, policy };
    let plain = context(&inventory, &RootPolicy::AllRevisions);
    let untagged = context(&inventory_untagged, &RootPolicy::TaggedOnly);
    let ages = Ages { min_age: settings.min_age, upload_age: settings.upload_age, now: settings.now };

    progress.begin(Phase::LookingAtBlobs, None);
    let blob_facts = BlobFacts { quarantined, ..BlobFacts::look(&plain)? };
    let gathered = Gathered::default();
    let strays = repositories.strays.iter().chain(&blob_strays);
    gathered.add(beside_repositories(&blob_facts, &ages, strays).chain(recent_changes).collect());

    progress.begin(Phase::Marking, Some(repositories.entries.len() as u64));
    let looked: Vec<Looked> = survey::each(&repositories.entries, |repository| {
        interrupted(stop)?;
        let mut looked = Looked::at(repository, [&plain, &untagged], &blob_facts, &ages)?;
        gathered.add(std::mem::take(&mut looked.findings));
        looked.marks.iter_mut().try_for_each(|marks| marks.deletions.set_aside(budget))?;
        progress.advance(1, 0);
        Ok(looked)
    })?;
    let mut figures = Figures { repositories: looked.len() as u64, blobs: blob_facts.stored, ..Figures::default() };
    looked.iter().for_each(|looked| figures.uploads += looked.uploads);
    let (mut plain_marks, mut untagged_marks): (Vec<Marks>, Vec<Marks>) =
        looked.into_iter().map(|looked| looked.marks.into()).unzip();
    // The second finds nothing that the first has not found.
    for (context, marks, gathered) in [(&plain, &mut plain_marks, Some(&gathered)), (&untagged, &mut untagged_marks, None)] {
        hold_shared(store, &repositories.entries, marks, &|repository| marked_again(context, repository, gathered))?;
    }
    for marks in &plain_marks {
        figures.counts += marks.counts;
    }
    let revisions = figures.counts.revisions;
    let half_a_store = owners::half_a_store(inventory.len() as u64, inventory.any_kept(), figures.repositories, revisions);
    gathered.add(half_a_store.into_iter().collect());

    progress.begin(Phase::Checking, None);
    interrupted(stop)?;
    let sizes = size_mismatches(&plain, &repositories.entries)?;
    inventory_untagged.learn_sizes_of(&inventory);
    let mut plain_run = imagine(&plain, plain_marks, &inventory, budget)?;
    let mut untagged_run = imagine(&untagged, untagged_marks, &inventory_untagged, budget)?;
    let found = [&mut plain_run, &mut untagged_run].map(|run| std::mem::take(&mut run.findings));
    gathered.add(of_both(found).collect());
    let mut findings = gathered.into_findings();
    damage::directory_once(&mut findings, &blob_facts);
    let findings = with_needs(&plain, &repositories.entries, findings, sizes)?;
    let told: BTreeSet<(Option<RepositoryName>, Digest)> =
        findings.iter().filter_map(|finding| Some((finding.repository.clone(), finding.digest?))).collect();
    let more = waste::of_plans((&plain_run.plan, &inventory), (&untagged_run.plan, &inventory_untagged), &told);
    Ok(Audited {
        figures,
        collections: [plain_run, untagged_run].map(Imagined::figures),
        findings: findings.into_iter().chain(more).collect(),
    })
}

/// What is odd about blobs, and about what lies where repositories are looked for.
fn beside_repositories<'a>(
    blobs: &'a BlobFacts,
    ages: &'a Ages,
    strays: impl Iterator<Item = &'a Stray> + 'a,
) -> impl Iterator<Item = Finding> + 'a {
    let leftovers = blobs.leftovers.iter().filter_map(|found| leftover(found, ages));
    let strays = strays.map(Finding::of_stray);
    leftovers.chain(damage::blobs(blobs)).chain(strays)
}

/// Marks a repository once more that a link in another one leads into.
fn marked_again(context: &Context<'_>, repository: &RepositoryEntry, gathered: Option<&Gathered>) -> Result<Marks, Error> {
    let mut marks = mark::mark(&survey::survey(context.store, repository)?, context)?;
    let findings = std::mem::take(&mut marks.findings);
    if let Some(gathered) = gathered {
        gathered.add(findings.into_iter().map(damage::wherever_met).collect());
    }
    Ok(marks)
}

/// One repository, seen as both collections see it and beyond.
struct Looked {
    marks: [Marks; 2],
    findings: Vec<Finding>,
    uploads: Amount,
}

impl Looked {
    fn at(repository: &RepositoryEntry, contexts: [&Context<'_>; 2], blobs: &BlobFacts, ages: &Ages) -> Result<Looked, Error> {
        let surveyed = survey::survey(contexts[0].store, repository)?;
        let mut marks = [mark::mark(&surveyed, contexts[0])?, mark::mark(&surveyed, contexts[1])?];
        let facts = RepositoryFacts::look(contexts[0], surveyed, blobs)?;
        let mut findings = damage::repository(&facts, contexts[0].inventory, blobs, ages);
        if marks[0].held {
            // That no manifest names it is not known, and no collection removes it.
            findings.retain(|finding| finding.code != Code::BrokenLayerLink);
        }
        findings.extend(uploads::repository(&facts, ages));
        findings.extend(mark::of_the_future(&facts.survey.name, &facts.uploads.entries, ages.now));
        findings.extend(waste::empty_repository(&facts));
        let found = marks.each_mut().map(|marks| std::mem::take(&mut marks.findings));
        findings.extend(of_both(found));
        let findings = findings.into_iter().map(damage::wherever_met).collect();
        Ok(Looked { marks, findings, uploads: facts.uploads.entries.iter().map(Upload::size_bytes).collect() })
    }
}

/// What two collections find, of which the second is with `--delete-untagged`: beyond the first it finds what it would do, and more that waits
/// for a time in the future.
fn of_both([plain, untagged]: [Vec<Finding>; 2]) -> impl Iterator<Item = Finding> {
    let is_future = |finding: &Finding| finding.code == Code::FutureTime;
    plain.into_iter().filter(move |finding| !is_future(finding)).chain(untagged.into_iter().filter(is_future))
}

impl Imagined {
    fn figures(self) -> Collection {
        Collection {
            held_repositories: self.marks.iter().filter(|marks| marks.held).count() as u64,
            totals: self.plan.totals(),
            young: self.young,
            until: self.waiting.until,
            never: self.waiting.later_and_never(self.young).1,
        }
    }
}

/// Goes on as a collection would, to its plan.
fn imagine(context: &Context<'_>, mut marks: Vec<Marks>, inventory: &Arc<Inventory>, budget: &Budget) -> Result<Imagined, Error> {
    let mut blobs = blobs::unreached_blobs(context, &marks, budget)?;
    let findings = std::mem::take(&mut blobs.findings);
    let (of_repositories, of_blobs) = mark::planned(&mut marks, &mut blobs);
    let plan = SweepPlan::new(of_repositories, of_blobs, Arc::clone(inventory), budget)?;
    Ok(Imagined { marks, plan, young: blobs.young, waiting: blobs.waiting, findings })
}

/// Tells each damage once, with the images that it breaks.
fn with_needs(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    findings: Vec<Finding>,
    sizes: Vec<Finding>,
) -> Result<Vec<Finding>, Error> {
    let findings = recheck::still_hold(context.store, &context.policy, findings)?;
    let needs = dependents(context, repositories, &damage::damaged(&findings))?;
    let mut findings = damage::once_each(findings, needs);
    let damaged = damage::damaged(&findings);
    findings.extend(sizes.into_iter().filter(|finding| finding.digest.is_none_or(|digest| !damaged.contains(&digest))));
    // What one repository lacks hurts nobody else.
    let is_lost = |finding: &Finding| match finding.code {
        Code::MissingLayerLink | Code::LostChild => true,
        // In the history of a tag it hurts nobody.
        Code::EmptyLink | Code::GarbledLink | Code::DisagreeingLink | Code::IrregularLink => finding.tag.is_none(),
        _ => false,
    };
    let mut lost: BTreeMap<RepositoryName, Vec<usize>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate().filter(|(_, finding)| is_lost(finding) && finding.digest.is_some()) {
        if let Some(name) = &finding.repository {
            lost.entry(name.clone()).or_default().push(place);
        }
    }
    for repository in repositories {
        let Some(places) = lost.get(&repository.name) else { continue };
        let digests = places.iter().filter_map(|place| findings[*place].digest).collect();
        let mut needs = dependents(context, std::slice::from_ref(repository), &digests)?;
        for &place in places {
            let finding = &mut findings[place];
            finding.needed_by = finding.digest.and_then(|digest| needs.remove(&digest)).unwrap_or_default();
        }
    }
    Ok(findings)
}
