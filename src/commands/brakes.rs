//! What stops a collection that would be a disaster if a part of the store is missing, or if more goes than anybody meant.
//!
//! All of them are asked before anything is changed. They ask about what is old: a registry on a lost mount takes pushes at once, so what
//! is young proves nothing. Each names its reason, and the one flag that lifts it.

use std::collections::HashSet;

use crate::amount::Amount;
use crate::config::CollectSettings;
use crate::error::Error;
use crate::format::{plural, size};
use crate::layout::LinkDirectory;
use crate::oci::{Digest, RepositoryName};
use crate::options::Limit;
use crate::plan::{Kind, Reason, SweepPlan};
use crate::policy::{Policy, RootPolicy};
use crate::records::{Records, Summary};
use crate::report::collect::Figures;

/// Shares of fewer blobs, or repositories, say nothing.
pub(super) const ENOUGH: u64 = 10;

/// Blobs that go and that no repository links, beside all that are old.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unlinked {
    /// Not those whose links we removed ourselves.
    pub(super) unlinked: Amount,
    /// Kept or not: what is young dilutes no loss.
    pub(super) of: Amount,
}

/// What a collection is about to do, and to what.
pub(super) struct Seen<'a> {
    pub(super) settings: &'a CollectSettings,
    pub(super) figures: &'a Figures,
    pub(super) records: &'a Records<'a>,
    /// What the store holds now.
    pub(super) summary: &'a Summary,
    /// The same without repositories in which nothing is old, and what is young.
    pub(super) old_summary: &'a Summary,
    /// Whether anything goes.
    pub(super) goes: bool,
    /// Whether something goes, and nobody can tell what of it has just come to be where it is.
    pub(super) is_arrival_unknown: bool,
    /// Whether something is mounted at a place in the store.
    pub(super) is_mounted: &'a dyn Fn(&str) -> bool,
    /// Whether anything needs a blob at all.
    pub(super) any_kept: bool,
    /// Whether anything needs a blob that is old, or nothing old goes. What is younger than an hour is not old.
    pub(super) any_old_kept: bool,
    /// Old blobs that no repository links, and how many there are of all.
    pub(super) unlinked: Unlinked,
    /// What would be purged, of blobs and of uploads.
    pub(super) purge: Amount,
    /// What `--max-reclaim` allows.
    pub(super) reclaim: &'a MaxReclaim,
    /// Repositories of which a policy drops every tag.
    pub(super) losing_all: &'a [RepositoryName],
}

/// Everything that stops this collection.
pub(super) fn brakes(seen: &Seen<'_>) -> Vec<Error> {
    let all = [
        losing_all(seen),
        untagged(seen),
        empty_store(seen),
        shrunk(seen),
        unlinked(seen),
        manifests_missing(seen),
        arriving(seen),
        too_much(seen),
    ];
    all.into_iter().flatten().map(|(reason, lift)| Error::Brake { reason, lift }).collect()
}

/// A reason, and what lifts it.
type Brake = Option<(String, String)>;

/// Stores that look as if half of them were not mounted (H20).
fn empty_store(seen: &Seen<'_>) -> Brake {
    let figures = seen.figures;
    let (blobs, revisions) = (figures.blobs, figures.counts.revisions);
    let stored = plural(blobs, "blob", "blobs");
    let reason = if seen.settings.allow_empty {
        return None;
    } else if blobs > 0 && figures.repositories == 0 {
        format!("there are {stored} and not one repository")
    } else if looks_untagged(seen) {
        // That is what the brake for stores without tags is about, and the flag that lifts it.
        return None;
    } else if is_asked_empty(seen) {
        return None;
    } else if blobs > 0 && !seen.any_kept {
        format!("there are {stored} and no repository needs any of them")
    } else if blobs > 0 && !seen.any_old_kept {
        format!(
            "there are {stored} and no repository needs any that is older than an hour and than --min-age; what is younger, or has a time in the future, proves nothing"
        )
    } else if blobs == 0 && revisions > 0 {
        format!("there are {} in the repositories and not one blob", plural(revisions, "revision", "revisions"))
    } else {
        return None;
    };
    Some((reason, "check that all of it is mounted, or give --allow-empty if this is how it should be".to_owned()))
}

/// Whether the store is empty, and the operator says that this is right: it has shrunk, then, and nothing is linked.
fn is_allowed_empty(seen: &Seen<'_>) -> bool {
    seen.settings.allow_empty && (seen.figures.repositories == 0 || !seen.any_kept)
}

/// Whether nothing would be left that anything needs, and all that goes was linked until then: the last images were asked for by name.
fn is_asked_empty(seen: &Seen<'_>) -> bool {
    seen.settings.remove.is_some() && seen.figures.blobs > 0 && seen.unlinked.of.count > 0 && seen.unlinked.unlinked.count == 0
}

/// Repositories of which no tag would be left.
fn losing_all(seen: &Seen<'_>) -> Brake {
    let is_allowed = seen.settings.expire.as_ref().is_none_or(|expire| expire.allow_all_tags);
    let first = seen.losing_all.first().filter(|_| !is_allowed)?;
    let others = seen.losing_all.len() as u64 - 1;
    let others = if others == 0 {
        String::new()
    } else {
        format!(", and of {}", plural(others, "other repository", "other repositories"))
    };
    let reason = format!("the rules drop every tag of {first}{others}");
    Some((
        reason,
        "let a rule keep some of them (keep-newest, keep-tags), or give --allow-all-tags if this is how it should be".to_owned(),
    ))
}

/// Stores of which a part is not there that was there before.
fn shrunk(seen: &Seen<'_>) -> Brake {
    if seen.settings.allow_shrunk {
        return None;
    }
    let (before, may_be_empty) = (seen.records.summary()?, is_allowed_empty(seen));
    let missing = before.missing_from(seen.summary, seen.is_mounted, may_be_empty);
    // What was pushed in place of what is lost makes up for nothing.
    let missing = missing.or_else(|| before.replaced_in(seen.old_summary, ENOUGH).filter(|_| !may_be_empty))?;
    Some((missing, shrunk_lift()))
}

/// What to do about a store that has shrunk.
pub(super) fn shrunk_lift() -> String {
    "check that all of it is mounted, or give --allow-shrunk if this is how it should be".to_owned()
}

/// Stores with too much that no repository links.
fn unlinked(seen: &Seen<'_>) -> Brake {
    let Unlinked { unlinked, of } = seen.unlinked;
    let share = percent(unlinked.count, of.count).max(percent(unlinked.size_bytes, of.size_bytes));
    // As much as is shown, and rounded up as it is shown: 62% lifts a share of 61.2 %.
    let shown = share.ceil();
    let is_allowed = seen.settings.allow_unlinked.is_some_and(|allowed| shown <= allowed);
    if of.count < ENOUGH || share < 50.0 || is_allowed || is_allowed_empty(seen) {
        return None;
    }
    let reason = format!(
        "{} of {} that are old, {shown}% of these, are linked by no repository that has a manifest for them: repositories or their manifests are missing, or were removed",
        plural(unlinked.count, "blob", "blobs"),
        of.count,
    );
    let lift = format!(
        "check that all of `repositories` is mounted; if repositories were removed on purpose (`rm -rf`, or `remove --no-collect`), give \
         --allow-unlinked {shown}%"
    );
    Some((reason, lift))
}

/// A few lost manifests may be damage that nothing repairs any more.
const FEW_REVISIONS: u64 = 4;
/// Nothing that is in order removes a manifest and leaves its revision: a share like this shows that blobs are missing. Percent.
const MANY_MISSING: f64 = 10.0;

/// Stores in which blobs are missing. What lost manifests name cannot be read, and would go before they are back.
fn manifests_missing(seen: &Seen<'_>) -> Brake {
    let (lost, all) = (seen.figures.counts.lost_revisions, seen.figures.counts.revisions);
    let share = percent(lost, all);
    let shown = share.ceil();
    let is_allowed = seen.settings.allow_missing.is_some_and(|allowed| shown <= allowed);
    // A cache fetches what it lacks.
    if lost < FEW_REVISIONS || share < MANY_MISSING || is_allowed || !seen.goes || seen.settings.location.is_proxy() {
        return None;
    }
    if seen.figures.blobs == 0 {
        // The brake for empty stores says so.
        return None;
    }
    let reason = format!(
        "the manifests of {lost} of {all} revisions, {shown}%, are not stored: blobs are missing, and with them what says which layers are needed"
    );
    let lift = format!(
        "check that all of `blobs` is mounted and restored; if these manifests are lost for good, give --allow-missing {shown}%"
    );
    Some((reason, lift))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Stores that somebody may be copying into place, where the filesystem does not say when files were made.
fn arriving(seen: &Seen<'_>) -> Brake {
    let reason = "most of the store was changed within the last hour, and the filesystem does not tell when files were made: it may be a copy that \
                  is still under way";
    let lift = "wait until that is an hour ago, or give --ignore-birth-time if nothing is being copied into the store: `chown -R` and backups by \
                hard links change that time, too";
    seen.is_arrival_unknown.then(|| (reason.to_owned(), lift.to_owned()))
}

/// Whether with `--delete-untagged` most repositories that have something to lose have no tag.
fn looks_untagged(seen: &Seen<'_>) -> bool {
    let counts = &seen.figures.counts;
    let (untagged, all) = (counts.untagged_repositories, counts.with_old_revisions);
    let is_most = untagged > 0 && (untagged == all || (all >= ENOUGH && untagged * 2 >= all));
    seen.settings.roots == RootPolicy::TaggedOnly && is_most
}

/// Stores whose tags are kept elsewhere.
fn untagged(seen: &Seen<'_>) -> Brake {
    if seen.settings.allow_untagged_repositories || !looks_untagged(seen) {
        return None;
    }
    let counts = &seen.figures.counts;
    let (untagged, all) = (counts.untagged_repositories, counts.with_old_revisions);
    let reason = format!(
        "{untagged} of {} with images have no tag older than an hour and than --min-age, and --delete-untagged would drop all their images: Harbor and GitLab keep tags in a \
         database, OpenShift in etcd",
        plural(all, "repository", "repositories"),
    );
    let lift = "use the collector of the program that owns this store, or collect without --delete-untagged; if untagged images are not needed here, \
                give --allow-untagged-repositories";
    Some((reason, lift.to_owned()))
}

/// `--max-reclaim`, for one store.
#[derive(Clone, Debug, Default)]
pub(super) struct MaxReclaim {
    pub(super) limit: Option<Limit>,
    /// All bytes in blobs as they are on the disk, where a limit needs that: manifests may state anything.
    pub(super) stored_bytes: u64,
    /// All bytes in quarantine, of blobs and of uploads.
    pub(super) quarantined_bytes: u64,
}

impl MaxReclaim {
    /// Why so much may not go from the store; nothing if it may.
    fn refuses_removal(&self, amount: Amount) -> Option<String> {
        self.refuses(amount, self.stored_bytes, "would go")
    }

    /// Why so much may not be purged; nothing if it may. It is a part of what is stored and what is in quarantine.
    pub(super) fn refuses_purge(&self, amount: Amount) -> Option<String> {
        self.refuses(amount, self.stored_bytes + self.quarantined_bytes, "would be purged")
    }

    fn refuses(&self, amount: Amount, whole: u64, what: &str) -> Option<String> {
        let (allowed, of) = match self.limit.as_ref()? {
            Limit::SizeBytes(bytes) => (*bytes, String::new()),
            Limit::Percent(percent) => ((whole as f64 * percent / 100.0) as u64, format!(" of {}", size(whole))),
        };
        let going = size(amount.size_bytes);
        (amount.size_bytes > allowed)
            .then(|| format!("{going}{of} {what}, more than the {} that --max-reclaim allows", size(allowed)))
    }
}

/// More than `--max-reclaim`: what goes from the store and what is purged, each by itself.
fn too_much(seen: &Seen<'_>) -> Brake {
    let mut going = seen.figures.planned.kind(Kind::Blob);
    // Uploads are no part of what is stored, and what goes of them is gone as well.
    going.size_bytes = going.size_bytes.saturating_add(seen.figures.planned.kind(Kind::Upload).size_bytes);
    let removal = seen.reclaim.refuses_removal(going);
    let reason = removal.or_else(|| seen.reclaim.refuses_purge(seen.purge))?;
    Some((reason, "look at what would go with --dry-run and without --max-reclaim, then raise it".to_owned()))
}

/// Old blobs of a plan that no repository links, or only ones in which nothing says why no manifest needs them (`lacking`): a registry on a
/// lost mount takes layers, and where manifests are lost their layers are still linked. Not those whose links we removed. Beside them all
/// old blobs of the plan.
pub(super) fn unlinked_in(
    plan: &SweepPlan,
    records: &Records<'_>,
    summary: &Summary,
    lacking: &HashSet<RepositoryName>,
    policy: &Policy,
) -> Unlinked {
    let (mut of_those, mut of_others): (HashSet<Digest>, HashSet<Digest>) = Default::default();
    if !lacking.is_empty() {
        for row in plan.of_kind(Kind::LayerLink) {
            let Some(repository) = row.target.link_directory().map(LinkDirectory::repository) else { continue };
            let named = if lacking.contains(repository) { &mut of_those } else { &mut of_others };
            named.extend(row.target.digest().into_iter().chain(row.alias_of.as_deref()));
        }
    }
    let is_alone = |digest: &Digest| of_those.contains(digest) && !of_others.contains(digest);
    let mut unlinked = Unlinked::default();
    for row in plan.of_kind(Kind::Blob).filter(|row| !policy.is_young(&row.stat)) {
        let Some(digest) = row.target.digest() else { continue };
        unlinked.of.add(row.stat.size_bytes);
        let counts = row.reason == Reason::Unlinked || (row.reason == Reason::Unreferenced && is_alone(digest));
        if counts && !records.was_to_go(digest, &|name| summary.by_repository.contains_key(name)) {
            unlinked.unlinked.add(row.stat.size_bytes);
        }
    }
    unlinked
}
