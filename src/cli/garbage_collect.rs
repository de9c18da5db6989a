//! Arguments of `garbage-collect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use globset::Glob;

use super::common::{CacheArguments, KEEP, OUTPUT, OutputArguments, PERFORMANCE, SAFETY, StoreArguments};
use super::values::{duration, glob, limit, percentage, size};
use crate::options::Limit;

/// Arguments of `garbage-collect`.
#[derive(Args, Debug)]
pub struct GarbageCollect {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Also delete untagged revisions
    ///
    /// Also delete revisions that no tag names. Children of multi-arch images and referrers of kept revisions stay.
    #[arg(help_heading = KEEP, short = 'm', long)]
    pub delete_untagged: bool,

    /// Only in repositories like these
    ///
    /// Only links of repositories that match a pattern, such as 'team/*' or 'team/**', and blobs that nothing needs without these. May be
    /// repeated. All of the store is read: what other repositories need stays, and so do blobs that no repository links.
    #[arg(help_heading = KEEP, long, value_name = "GLOB", value_parser = glob)]
    pub repository: Vec<Glob>,

    /// Only blobs that no repository links
    ///
    /// Only blobs that no repository links; every link stays. For stores whose tags a database holds, such as Harbor's. Refused where
    /// GitLab's metadata database may own the store: it writes no links.
    #[arg(help_heading = KEEP, long, conflicts_with_all = ["repository", "delete_untagged", "uploads_older_than", "prune_empty", "orphaned_referrers"])]
    pub unlinked_only: bool,

    /// Carry out this plan
    ///
    /// Carry out a plan that --plan-out wrote: of what would go by now only what it names, as it was then. The rest of it is skipped and
    /// said. Give the flags that it was written with, such as --delete-untagged, but for --repository and --unlinked-only. What `expire` or `remove` wrote is refused: give that command again.
    #[arg(help_heading = KEEP, long, value_name = "FILE", conflicts_with_all = ["repository", "unlinked_only"])]
    pub plan: Option<PathBuf>,

    /// Also delete uploads that nobody continues
    ///
    /// Also delete uploads that were begun and not ended, with what was sent of them, if nothing about them is younger than this, such as
    /// 7d. At least --min-age, and with --online at least 24h.
    #[arg(help_heading = KEEP, long, value_name = "AGE", value_parser = duration)]
    pub uploads_older_than: Option<Duration>,

    /// Also delete referrers whose image is gone
    ///
    /// Also delete signatures, attestations and other referrers of manifests that are not stored any more: untagged ones, and tags that are
    /// named after such a manifest, as cosign and the referrers tag schema name them.
    #[arg(help_heading = KEEP, long)]
    pub orphaned_referrers: bool,

    /// Also remove repositories without images
    ///
    /// Also remove the directories of repositories in which nothing is left: no tag, no manifest, no layer and no upload. They leave the
    /// registry's catalogue by that. With --online they stay for a run without it.
    #[arg(help_heading = KEEP, long)]
    pub prune_empty: bool,

    /// What it has in common with others.
    #[command(flatten)]
    pub collect: CollectArguments,
}

/// Arguments of all commands that collect.
#[derive(Args, Debug)]
pub struct CollectArguments {
    /// Report what would go, change nothing
    #[arg(help_heading = SAFETY, short, long)]
    pub dry_run: bool,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Keep what is younger [default: 1h]
    ///
    /// Keep what is younger, such as 30m, 24h or 7d. The default is 0s where the registry answers that it is read-only,
    /// or is down and its configuration says so.
    #[arg(help_heading = KEEP, long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<Duration>,

    /// Go by modification times alone
    ///
    /// Take a file for as old as its modification time says even if it was made here less than an hour (or --min-age)
    /// ago: the store was copied or unpacked as a whole, and nothing is being copied any more.
    #[arg(help_heading = KEEP, long)]
    pub ignore_birth_time: bool,

    /// Stop if more than this would go
    ///
    /// Stop before any change if more than this would go, such as 50GiB or 30% of what is stored.
    #[arg(help_heading = SAFETY, long, value_name = "SIZE|PERCENT", value_parser = limit)]
    pub max_reclaim: Option<Limit>,

    /// Go on: the store looks empty
    ///
    /// Go on although the store has blobs and nothing that needs any, or images and no blobs.
    #[arg(help_heading = SAFETY, long)]
    pub allow_empty: bool,

    /// Go on: the store has shrunk
    ///
    /// Go on although less than half is left of what the last run saw, or something is not mounted that was.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shrunk: bool,

    /// Go on: up to this share is unlinked
    ///
    /// Go on although up to this share of the blobs is linked by no repository, such as 62%.
    #[arg(help_heading = SAFETY, long, value_name = "PERCENT", value_parser = percentage)]
    pub allow_unlinked: Option<f64>,

    /// Go on: manifests are missing
    ///
    /// Go on although the manifests of up to this share of the revisions are not stored, such as 12%.
    #[arg(help_heading = SAFETY, long, value_name = "PERCENT", value_parser = percentage)]
    pub allow_missing: Option<f64>,

    /// Go on: most repositories have no tag
    ///
    /// With --delete-untagged, go on although most repositories have no tag at all.
    #[arg(help_heading = SAFETY, long)]
    pub allow_untagged_repositories: bool,

    /// Go on: a database owns the store
    ///
    /// Go on although another program's database (GitLab's, Harbor's, OpenShift's) says what is needed.
    #[arg(help_heading = SAFETY, long)]
    pub allow_foreign_owner: bool,

    /// Go on: blobs may be shared
    ///
    /// Go on although the directory of blobs, that of repositories, or one above them, is a symbolic link or a mount that another store may have
    /// too.
    #[arg(help_heading = SAFETY, long)]
    pub allow_shared_blobs: bool,

    /// Number of threads [default: 16 to 64]
    ///
    /// The default is 8 for each processor, 16 at least and 64 at most: reading directories waits for the disk more
    /// than it computes. With --max-memory it is one for each 28 MiB at most, and 4 at least.
    #[arg(help_heading = PERFORMANCE, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Memory limit
    ///
    /// Memory limit; the blob table (39 bytes a blob) spills to a file in $TMPDIR or /var/tmp beyond it.
    #[arg(help_heading = PERFORMANCE, long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// What is kept from run to run.
    #[command(flatten)]
    pub cache: CacheArguments,

    /// Write each target as a line of JSON
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub plan_out: Option<PathBuf>,

    /// With --dry-run, also write a page
    ///
    /// With --dry-run, also write the report as one page for a browser to this file. The page needs no network.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE", requires = "dry_run")]
    pub html: Option<PathBuf>,

    /// Quarantine instead of removing
    ///
    /// Move what goes to .regsweep/quarantine in the root directory, from where `regsweep restore` restores it.
    #[arg(help_heading = SAFETY, long)]
    pub quarantine: bool,

    /// Collect while the registry takes pushes
    ///
    /// Collect while the registry takes pushes: quarantine, restore what turns out to be needed, purge in a later run
    /// [default: $REGSWEEP_ONLINE].
    #[arg(help_heading = SAFETY, long, conflicts_with = "assume_offline")]
    pub online: bool,

    /// Purge after this wait [default: 24h]
    ///
    /// With --quarantine or --online, purge what earlier runs quarantined, once it has waited this long and nothing needs it.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub quarantine_for: Option<Duration>,

    /// Watch for pushes [default: 60s]
    ///
    /// With --online, how long to watch for pushes that reference quarantined blobs.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub rescue_for: Option<Duration>,

    /// Ask this registry as well
    ///
    /// Ask this registry as well whether it takes pushes, such as http://127.0.0.1:5000. May be repeated;
    /// $REGSWEEP_REGISTRY adds more.
    #[arg(help_heading = SAFETY, long, value_name = "URL")]
    pub registry: Vec<String>,

    /// Credentials to ask with
    ///
    /// Credentials for registries that require them: USER:PASSWORD, or @FILE for a file that holds it [default:
    /// $REGSWEEP_REGISTRY_AUTH].
    #[arg(help_heading = SAFETY, long, value_name = "USER:PASSWORD")]
    pub registry_auth: Option<String>,

    /// Remove stale keys from the redis
    ///
    /// With storage.cache.blobdescriptor: redis, remove afterwards what the registry's redis remembers and the store does not have. Without
    /// it, that is reported. With --online, keys are removed without being asked.
    #[arg(help_heading = SAFETY, long, conflicts_with = "online")]
    pub flush_redis: bool,

    /// Do not look for writers
    ///
    /// Go on although a registry or another program seems to write to the store, or none could be asked
    /// [default: $REGSWEEP_ASSUME_OFFLINE].
    #[arg(help_heading = SAFETY, long)]
    pub assume_offline: bool,

    /// Wait for another regsweep [default: 0s]
    ///
    /// How long to wait for another regsweep on this store to end.
    #[arg(help_heading = SAFETY, long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<Duration>,
}
