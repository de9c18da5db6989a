//! Reports and plans for programs.

use serde::Serialize;

use super::expire::Expire;
use super::{CollectReport, Figures, Outcome, QuarantineFigures, RescueEnd};
use super::{part, remove, versions};
use crate::config::Mode;
use crate::oci::RepositoryName;
use crate::plan::{Kind, Reason, RepositoryShare, Totals};
use crate::policy::RootPolicy;
use crate::registry_config::DescriptorCache;
use crate::report::Report as _;
use crate::report::json::{self, Bytes, Head, Moved, Stopped};
use crate::scope::Scope;
use crate::store::RequestCounts;

#[derive(Serialize)]
struct Body<'a> {
    mode: &'static str,
    delete_untagged: bool,
    /// Patterns of the only repositories in which anything goes.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    only_repositories: &'a [String],
    unlinked_only: bool,
    /// What came of the plan that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<part::Plan>,
    min_age_seconds: f64,
    scanned: Scanned,
    live: Bytes,
    young: Young,
    /// Kept for what is in quarantine alone.
    restorable: Bytes,
    /// What goes from the store.
    reclaimable: Removal,
    /// What of that went: for good, or to quarantine.
    removed: Removal,
    /// What went for good: from the store, or from quarantine.
    reclaimed: Bytes,
    left: u64,
    /// What stops a real run.
    stops: &'a [String],
    /// The same as an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Stopped>,
    quarantine: Quarantine<'a>,
    reclaimable_delete_untagged: Option<Bytes>,
    repositories: Vec<Share>,
    /// How many more have something reclaimable, all of them less.
    repositories_not_listed: u64,
    free_disk_bytes: FreeDisk,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<RequestCounts>,
    /// Whether a bucket keeps what is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<&'static str>,
    registry: Option<Registry<'a>>,
    unqueried: Option<&'a str>,
    writer: Option<&'a str>,
    registry_must_restart: bool,
    /// Why this machine will not show that, if so: it has to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_unseen: Option<&'a str>,
    /// The registry that is older than something in quarantine, and may remember it.
    #[serde(skip_serializing_if = "Option::is_none")]
    older_registry: Option<&'a str>,
    /// What became of tags, where a policy says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<Expire<'a>>,
    /// What became of what was asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<Vec<remove::Item>>,
}

#[derive(Serialize)]
struct Scanned {
    repositories: u64,
    held_repositories: u64,
    tags: u64,
    revisions: u64,
    tag_history: u64,
    layer_links: u64,
    /// Begun and not ended, and not among the blobs.
    uploads: u64,
    upload_bytes: u64,
    blobs: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Young {
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
    /// When the last of it is old enough.
    until: Option<String>,
    /// Files that are young for nothing but having been made just now.
    just_made: u64,
    /// Files with a time in the future.
    future: u64,
    /// Of the blobs, those that never go for such a time.
    never: Bytes,
}

/// What goes or went. `bytes` are those of blobs.
#[derive(Serialize)]
pub(in crate::report) struct Removal {
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
    tag_history: u64,
    upload_files: u64,
    upload_bytes: u64,
    empty_directories: u64,
    /// Whose directories go.
    repositories: u64,
    by_reason: Vec<ByReason>,
}

#[derive(Serialize)]
pub(in crate::report) struct ByReason {
    kind: &'static str,
    reason: Reason,
    count: u64,
    bytes: u64,
}

impl From<&Totals> for Removal {
    fn from(totals: &Totals) -> Removal {
        let blobs = totals.kind(Kind::Blob);
        Removal {
            blobs: blobs.count,
            bytes: blobs.size_bytes,
            revisions: totals.kind(Kind::Revision).count,
            layer_links: totals.kind(Kind::LayerLink).count,
            tag_history: totals.kind(Kind::TagHistory).count,
            upload_files: totals.kind(Kind::Upload).count,
            upload_bytes: totals.kind(Kind::Upload).size_bytes,
            empty_directories: totals.kind(Kind::EmptyDirectory).count,
            repositories: totals.kind(Kind::Repository).count,
            by_reason: totals
                .iter()
                .map(|(kind, reason, amount)| ByReason {
                    kind: kind.name(),
                    reason,
                    count: amount.count,
                    bytes: amount.size_bytes,
                })
                .collect(),
        }
    }
}

/// Repositories that are listed.
const LISTED_REPOSITORIES: usize = 5_000;

/// What was done with the quarantine. `run` holds what was removed from the store in this run.
#[derive(Serialize)]
struct Quarantine<'a> {
    run: Option<&'a str>,
    restored: Moved,
    purged: Moved,
    /// How the watch for pushes ended.
    rescue: Option<&'static str>,
    rescued: Moved,
    /// What had waited and stays.
    withheld: u64,
    /// Keys and members of sets that were removed from the registries' redis.
    forgotten: u64,
    waiting: Bytes,
}

#[derive(Serialize)]
struct Share {
    repository: String,
    blobs: u64,
    bytes: u64,
    revisions: u64,
    layer_links: u64,
}

#[derive(Serialize)]
struct FreeDisk {
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Serialize)]
struct Registry<'a> {
    read_only: bool,
    descriptor_cache: Option<DescriptorCache>,
    proxy_remote: Option<&'a str>,
    warnings: &'a [String],
}

/// What is reclaimable in the repositories, in the order of their names; of many the largest.
fn shares(figures: &Figures) -> Vec<Share> {
    let mut all: Vec<_> = figures.shares.iter().collect();
    if all.len() > LISTED_REPOSITORIES {
        all.sort_by_key(|(name, share)| (std::cmp::Reverse(share.blobs.size_bytes), *name));
        all.truncate(LISTED_REPOSITORIES);
        all.sort_by_key(|(name, _)| *name);
    }
    let share = |(name, share): (&RepositoryName, &RepositoryShare)| Share {
        repository: name.to_string(),
        blobs: share.blobs.count,
        bytes: share.blobs.size_bytes,
        revisions: share.revisions,
        layer_links: share.layer_links,
    };
    all.into_iter().map(share).collect()
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::DryRun => "dry-run",
        Mode::Execute => "execute",
    }
}

fn scanned(report: &CollectReport) -> Scanned {
    let figures = &report.figures;
    let counts = &figures.counts;
    Scanned {
        repositories: figures.repositories,
        held_repositories: figures.held_repositories,
        tags: counts.tags,
        revisions: counts.revisions,
        tag_history: counts.history_entries,
        layer_links: counts.layer_links,
        uploads: counts.uploads.count,
        upload_bytes: counts.uploads.size_bytes,
        blobs: figures.blobs,
        bytes: figures.stored_bytes(),
    }
}

/// Renders a report as one JSON document.
pub fn render(report: &CollectReport) -> String {
    let figures = &report.figures;
    let counts = &figures.counts;
    let body = Body {
        mode: mode(report.mode),
        delete_untagged: report.roots == RootPolicy::TaggedOnly,
        only_repositories: report.scope.patterns(),
        unlinked_only: matches!(report.scope, Scope::Unlinked),
        plan: part::Plan::of(report),
        min_age_seconds: report.policy.min_age.as_secs_f64(),
        scanned: scanned(report),
        live: figures.live.into(),
        young: Young {
            blobs: figures.young.count,
            bytes: figures.young.size_bytes,
            revisions: counts.young_revisions,
            layer_links: counts.young_layer_links,
            until: figures.waiting.until.map(crate::format::time),
            just_made: figures.waiting.just_made,
            future: figures.waiting.future,
            never: figures.later_and_never().1.into(),
        },
        restorable: figures.restorable.into(),
        reclaimable: (&figures.planned).into(),
        removed: match report.mode {
            Mode::DryRun => (&Totals::default()).into(),
            Mode::Execute => (&report.swept.removed).into(),
        },
        reclaimed: report.reclaimed().into(),
        left: report.swept.left,
        stops: &report.stops,
        error: Stopped::some(report.stop_code, &report.stops),
        quarantine: quarantine(&report.quarantine),
        reclaimable_delete_untagged: figures.delete_untagged_in_addition.map(Bytes::from),
        repositories: shares(figures),
        repositories_not_listed: figures.shares.len().saturating_sub(LISTED_REPOSITORIES) as u64,
        free_disk_bytes: FreeDisk { before: report.free_before, after: report.free_after },
        requests: report.requests,
        versions: versions::name(report),
        registry: report.registry.as_ref().map(|registry| Registry {
            read_only: registry.read_only,
            descriptor_cache: registry.descriptor_cache,
            proxy_remote: registry.proxy_remote.as_deref(),
            warnings: &registry.warnings,
        }),
        unqueried: report.unqueried.as_deref(),
        writer: report.writer.as_deref(),
        registry_must_restart: report.registry_must_restart(),
        restart_unseen: report.restart_unseen.as_ref().map(|unseen| &*unseen.why).filter(|_| report.registry_must_restart()),
        older_registry: report.quarantine.older_registry.as_deref(),
        expire: report.expire.as_ref().map(Expire::from),
        remove: report.removed.as_ref().map(remove::items),
    };
    let outcome = match report.outcome() {
        Outcome::Complete => "complete",
        Outcome::Incomplete => "incomplete",
        Outcome::Interrupted => "interrupted",
        Outcome::Stopped => "stopped",
    };
    let head = Head {
        command: report.command,
        outcome: Some(outcome),
        exit: report.exit(),
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.policy.now,
        elapsed: report.elapsed,
        findings: &report.findings,
    };
    json::render(&head, body)
}

fn quarantine(figures: &QuarantineFigures) -> Quarantine<'_> {
    Quarantine {
        run: figures.run.as_deref(),
        restored: (&figures.restored).into(),
        purged: (&figures.purged).into(),
        rescue: figures.rescue.map(RescueEnd::name),
        rescued: (&figures.rescued).into(),
        withheld: figures.withheld.len() as u64,
        forgotten: figures.forgotten.keys + figures.forgotten.members,
        waiting: figures.waiting.into(),
    }
}
