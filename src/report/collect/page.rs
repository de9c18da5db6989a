//! Reports for people: what matters in ten seconds, then the details.

use std::time::Duration;

use super::rows::{links, target};
use super::{CollectReport, Figures, Outcome, RedisUnasked, RescueEnd};
use super::{expire, part, remove, uploads, versions};
use crate::amount::Amount;
use crate::config::{Disposal, Mode};
use crate::format::{amount, duration, elapsed, number, plural, size, time};
use crate::mark::Counts;
use crate::plan::{Kind, Reason, Totals};
use crate::policy::RootPolicy;
use crate::quarantine::Moved;
use crate::registry_config::DescriptorCache;
use crate::report::document::Document;
use crate::report::quarantine::page::{forgotten, moved, proof_line, restart_said, withheld};
use crate::scope::Scope;
use crate::store::RequestCounts;

/// Repositories named in the report.
const REPOSITORIES_SHOWN: usize = 10;

/// The report as a document.
pub(super) fn document(report: &CollectReport) -> Document {
    let mut page = Document::default();
    let mode = headline(report);
    page.headline(report.command, mode);
    answer(&mut page, report);
    for stop in &report.stops {
        page.item("would stop", stop);
    }
    page.blank();
    about(&mut page, report);
    page.blank();
    store(&mut page, report);
    removal(&mut page, report);
    quarantine(&mut page, report);
    targets(&mut page, report);
    if let Some(expire) = &report.expire {
        expire::tags(&mut page, expire, report.mode);
    }
    if let Some(removed) = &report.removed {
        remove::asked(&mut page, removed, report.mode, report.disposal);
    }
    repositories(&mut page, report);
    page.findings(&report.findings);
    disk(&mut page, report);
    advice(&mut page, report);
    page.blank();
    page.line(&closing(report, mode));
    page
}

pub(super) fn headline(report: &CollectReport) -> &'static str {
    match (report.mode, report.outcome()) {
        (Mode::DryRun, Outcome::Stopped) => "DRY RUN, nothing was removed; a real run would stop",
        (Mode::DryRun, Outcome::Interrupted) => "DRY RUN, interrupted; nothing was removed",
        (Mode::DryRun, _) => "DRY RUN, nothing was removed",
        (Mode::Execute, Outcome::Complete) => "done",
        (Mode::Execute, Outcome::Incomplete) => "NOT FINISHED, run it again",
        (Mode::Execute, Outcome::Stopped) => "STOPPED, nothing was changed",
        (Mode::Execute, Outcome::Interrupted) => "INTERRUPTED, run it again",
    }
}

fn closing(report: &CollectReport, mode: &str) -> String {
    let blobs = |totals: &Totals| {
        let uploads = uploads::going(totals).map_or_else(String::new, |uploads| format!(" and {uploads}"));
        format!("{}{uploads}", amount(totals.kind(Kind::Blob)))
    };
    // Nothing of what it would do is done then.
    let done_by = match report.outcome() {
        Outcome::Stopped => "once nothing stops it, a run without --dry-run",
        _ => "without --dry-run this",
    };
    match report.mode {
        Mode::DryRun if report.figures.planned.is_empty() && !report.quarantine.purged.is_empty() => {
            format!("{mode}: {done_by} purges {}", amount(report.quarantine.purged.blobs))
        }
        Mode::DryRun if report.figures.planned.is_empty() => {
            let (later, _) = report.figures.later_and_never();
            match report.figures.waiting.until.filter(|_| later.count > 0) {
                None => format!("{mode}: there is nothing to remove"),
                Some(until) => {
                    let (later, are) = (amount(later), if later.count == 1 { "is" } else { "are" });
                    format!("{mode}: there is nothing to remove yet; {later} {are} too young until {}", time(until))
                }
            }
        }
        Mode::DryRun if report.disposal == Disposal::Remove => {
            format!("{mode}: {done_by} frees {}", blobs(&report.figures.planned))
        }
        Mode::DryRun => format!(
            "{mode}: {done_by} quarantines {} and purges {}",
            blobs(&report.figures.planned),
            amount(report.quarantine.purged.blobs)
        ),
        Mode::Execute if report.disposal == Disposal::Remove => {
            format!("{mode}: freed {} in {}", blobs(&report.swept.removed), elapsed(report.elapsed))
        }
        Mode::Execute => format!(
            "{mode}: quarantined {}{} and freed {} in {}",
            amount(report.quarantined()),
            uploads::going(&report.swept.removed).map_or_else(String::new, |uploads| format!(", {uploads}")),
            amount(report.reclaimed()),
            elapsed(report.elapsed)
        ),
    }
}

/// What a dry run is made for: what would be freed now, what later, what with `--delete-untagged`, and what to run next.
fn answer(page: &mut Document, report: &CollectReport) {
    if report.mode != Mode::DryRun {
        return;
    }
    let uploads = uploads::going(&report.figures.planned).map_or_else(String::new, |uploads| format!(" and {uploads}"));
    let planned = format!("{}{uploads}", amount(report.figures.planned.kind(Kind::Blob)));
    let wait = report.quarantine.waits_for;
    match report.disposal {
        Disposal::Remove => page.item("reclaimable", &format!("{planned} now")),
        Disposal::Quarantine if wait.is_zero() => page.item("reclaimable", &format!("{planned}, once the quarantine is purged")),
        _ => page.item("reclaimable", &format!("{planned}, after {} in quarantine", duration(wait))),
    }
    if report.quarantine.purged.blobs.count > 0 {
        page.item("", &format!("{} now, purged from quarantine", amount(report.quarantine.purged.blobs)));
    }
    let (later, never) = report.figures.later_and_never();
    if later.count > 0 {
        let until = report.figures.waiting.until.map_or_else(String::new, |until| format!(", the last at {}", time(until)));
        page.item("", &format!("{} later, {}{until}", amount(later), when(report)));
    }
    if never.count > 0 {
        page.item("", &format!("{} never: modification times in the future, see the findings", amount(never)));
    }
    let (revisions, repositories) = report.figures.untagged();
    if report.roots == RootPolicy::TaggedOnly && revisions > 0 {
        // Where tags are kept elsewhere, nothing but this number shows it.
        page.item(
            "untagged",
            &format!(
                "{} of {} in {} of {}: no tag here leads to them, and all of them go",
                number(revisions),
                plural(report.figures.counts.revisions, "revision", "revisions"),
                number(repositories),
                plural(report.figures.repositories, "repository", "repositories"),
            ),
        );
    }
    match report.figures.delete_untagged_in_addition {
        Some(more) if more.count > 0 => {
            page.item("", &format!("--delete-untagged would free up to {} in addition", amount(more)));
        }
        Some(_) => page.item("", "--delete-untagged would free nothing in addition"),
        None => {}
    }
    if let Some(next) = next(report) {
        page.item("next", &next);
    }
}

/// What to run after a dry run, if there is anything to do and nothing that stops it.
pub(in crate::report) fn next(report: &CollectReport) -> Option<String> {
    let has_work =
        !report.figures.planned.is_empty() || !report.quarantine.purged.is_empty() || !report.quarantine.restored.is_empty();
    (has_work && report.stops.is_empty()).then(|| {
        let first = match report.writer {
            // Read-only it would write all the same.
            Some(_) if report.is_proxy => "stop the registry, then run",
            Some(_) => "stop the registry or make it read-only, then run",
            None => "run",
        };
        format!("{first} `{}`", report.rerun)
    })
}

/// When what is young goes.
pub(super) fn when(report: &CollectReport) -> String {
    let (min_age, window) = (report.policy.min_age, report.policy.arrival_window());
    match (min_age.is_zero(), window.is_zero()) {
        (false, _) => format!("when they are older than {}", duration(min_age)),
        (true, false) => format!("when they were made more than {} ago", duration(window)),
        // Clocks differ a little.
        (true, true) => "when their times have come".to_owned(),
    }
}

fn about(page: &mut Document, report: &CollectReport) {
    page.root(&report.root, report.config_path.as_deref());
    let kept = match (&report.expire, report.roots) {
        (None, _) if matches!(report.scope, Scope::Unlinked) => "all that a repository links (--unlinked-only)".to_owned(),
        (Some(expire), _) => format!("what {} keeps", expire.policy()),
        (None, RootPolicy::AllRevisions) if report.removed.is_some() => "everything but what is asked for".to_owned(),
        (None, RootPolicy::AllRevisions) => "every revision".to_owned(),
        (None, RootPolicy::TaggedOnly) => "tagged images, their children and referrers (--delete-untagged)".to_owned(),
    };
    let window = report.policy.arrival_window();
    let age = match report.policy.min_age {
        Duration::ZERO if window.is_zero() => "of any age".to_owned(),
        Duration::ZERO => format!("and what was made less than {} ago", duration(window)),
        age => format!("and what is younger than {}", duration(age)),
    };
    page.item("policy", &format!("{kept}, {age}"));
    part::items(page, report);
    if let Some(why) = &report.unqueried {
        page.item(
            "not asked",
            &format!("{why}; a real run wants --registry URL, or --assume-offline once no registry takes pushes"),
        );
    }
    if let Some(writer) = &report.writer {
        page.item("at work", &format!("{writer}; a real run stops for as long as that is so"));
    }
}

fn store(page: &mut Document, report: &CollectReport) {
    let figures = &report.figures;
    let counts = &figures.counts;
    let blobs = amount(Amount { count: figures.blobs, size_bytes: figures.stored_bytes() });
    page.item("scanned", &format!("{}, {blobs}", scanned(figures.repositories, counts)));
    page.item("live", &format!("{}, sizes from manifests", amount(figures.live)));
    if figures.held_repositories > 0 {
        let held = plural(figures.held_repositories, "repository", "repositories");
        page.item("held", &format!("{held} in which nothing is removed, see the findings"));
    }
    let young = figures.young.count + counts.young_revisions + counts.young_layer_links;
    if young > 0 {
        let mut parts = Vec::new();
        if figures.young.count > 0 {
            parts.push(amount(figures.young));
        }
        if counts.young_revisions > 0 {
            parts.push(plural(counts.young_revisions, "untagged revision", "untagged revisions"));
        }
        if counts.young_layer_links > 0 {
            parts.push(plural(counts.young_layer_links, "layer link", "layer links"));
        }
        page.item("young", &format!("{}, kept only for being young{}", parts.join(", "), until(report)));
        let waiting = &figures.waiting;
        if waiting.just_made > 0 {
            let made = plural(waiting.just_made, "file", "files");
            let within = duration(report.policy.arrival_window());
            let line =
                format!("{made} of it made less than {within} ago, whatever the time says; --ignore-birth-time includes that");
            page.item("", &line);
        }
    }
    uploads::there(page, report);
    restorable(page, figures);
}

/// What is kept for what is in quarantine.
fn restorable(page: &mut Document, figures: &Figures) {
    let (blobs, revisions) = (figures.restorable, figures.counts.restorable_revisions);
    let mut parts = Vec::new();
    if blobs.count > 0 {
        parts.push(amount(blobs));
    }
    if revisions > 0 {
        parts.push(plural(revisions, "untagged revision", "untagged revisions"));
    }
    let then = match revisions {
        // They are known to the command that was to remove them.
        1.. => "the same command takes them once that is purged",
        0 => "they can go once that is purged",
    };
    if !parts.is_empty() {
        page.item("restorable", &format!("{}, kept only for what is in quarantine: {then}", parts.join(", ")));
    }
}

/// What was scanned of repositories.
pub(in crate::report) fn scanned(repositories: u64, counts: &Counts) -> String {
    let counts = [
        plural(repositories, "repository", "repositories"),
        plural(counts.tags, "tag", "tags"),
        plural(counts.revisions, "revision", "revisions"),
        plural(counts.layer_links, "layer link", "layer links"),
    ];
    counts.join(", ")
}

/// When what is young is old enough, and what includes it now.
fn until(report: &CollectReport) -> String {
    let waiting = &report.figures.waiting;
    let last = waiting.until.map(|until| format!(" until {}; --min-age 0s includes them", time(until)));
    let future = plural(waiting.future, "time lies", "times lie");
    match (last, waiting.future) {
        (Some(last), 0) => last,
        (None, 0) => "; --min-age 0s includes them".to_owned(),
        (Some(last), _) => format!("{last}, but for what is in the future ({future} there, see the findings)"),
        (None, _) => format!(" for ever: {future} in the future, see the findings"),
    }
}

fn removal(page: &mut Document, report: &CollectReport) {
    let removes = report.disposal == Disposal::Remove;
    let (label, totals) = match report.mode {
        Mode::DryRun => (if removes { "would free" } else { "to quarantine" }, &report.figures.planned),
        Mode::Execute => (if removes { "freed" } else { "quarantined" }, &report.swept.removed),
    };
    page.item(label, &amount(totals.kind(Kind::Blob)));
    for (_, reason, part) in totals.iter().filter(|(kind, ..)| *kind == Kind::Blob) {
        let why = match reason {
            Reason::Untagged => report.whose().manifests(),
            Reason::Unreferenced => "linked, but needed by no manifest that is kept",
            _ => "linked by no repository",
        };
        page.item("", &format!("  {}: {why}", amount(part)));
    }
    let links = links(totals, report.whose());
    if !links.is_empty() {
        page.item("", &format!("and {}", links.join(", ")));
    }
    if let Some(uploads) = uploads::going(totals) {
        page.item("", &format!("and {uploads}"));
    }
    if report.swept.left > 0 {
        page.item("left", &format!("{} of the plan", plural(report.swept.left, "target", "targets")));
    }
}

/// What was done with what this run and earlier ones quarantined.
fn quarantine(page: &mut Document, report: &CollectReport) {
    let quarantine = &report.quarantine;
    let is_dry = report.mode == Mode::DryRun;
    let some = |moved: &Moved| moved.blobs.count + moved.links + moved.upload_files.count > 0;
    let mut lines = Vec::new();
    if some(&quarantine.restored) {
        let done = if is_dry { "would be restored" } else { "restored" };
        lines.push(format!("{} {done}, because they are needed again", moved(&quarantine.restored)));
    }
    if some(&quarantine.purged) {
        let done = if is_dry { "would be purged" } else { "purged" };
        let waited = match quarantine.waits_for {
            Duration::ZERO => String::new(),
            wait => format!(", after waiting for {}", duration(wait)),
        };
        lines.push(format!("{} {done}{waited}", moved(&quarantine.purged)));
        lines.extend(quarantine.proof.map(|proof| proof_line(proof).to_owned()));
    }
    lines.extend(withheld(&quarantine.withheld));
    lines.extend(forgotten(quarantine.forgotten));
    if some(&quarantine.rescued) {
        lines.push(format!("{} of this run restored at once: a push needed them", moved(&quarantine.rescued)));
    }
    match quarantine.rescue {
        Some(RescueEnd::Interrupted) => {
            lines.push("the watch for pushes that need what was quarantined was interrupted: run it again soon".to_owned());
        }
        Some(RescueEnd::Failed) => {
            lines.push(
                "the watch for pushes that need what was quarantined failed, see the findings: run it again soon".to_owned(),
            );
        }
        Some(RescueEnd::Complete) | None => {}
    }
    if quarantine.waiting.count > 0 {
        lines.push(format!("{} wait in it; `regsweep quarantine list` says since when", amount(quarantine.waiting)));
    }
    if let Some(run) = &quarantine.run {
        let but = match &report.removed {
            Some(removed) if remove::has_broken_tags(removed) => ", but for the links of tags that named nothing",
            _ => "",
        };
        lines.push(format!("this run is {run}; `regsweep restore --run {run}` undoes it{but}"));
    }
    for (place, line) in lines.iter().enumerate() {
        page.item(if place == 0 { "quarantine" } else { "" }, line);
    }
}

/// A line for each target, in the words that scripts around the registry's own collector look for.
fn targets(page: &mut Document, report: &CollectReport) {
    let Some(plan) = &report.plan else { return };
    page.blank();
    let (figures, planned) = (&report.figures, |kind| report.figures.planned.kind(kind).count);
    page.line(&format!(
        "{} blobs marked, {} blobs and {} manifests eligible for deletion",
        figures.live.count + figures.young.count + figures.restorable.count,
        planned(Kind::Blob),
        planned(Kind::Revision)
    ));
    for row in plan.iter() {
        page.line(&target(&row));
    }
}

fn repositories(page: &mut Document, report: &CollectReport) {
    let shares = report.figures.largest_reclaimable();
    if shares.is_empty() {
        return;
    }
    page.blank();
    let rows = shares
        .iter()
        .take(REPOSITORIES_SHOWN)
        .map(|(name, share)| vec![size(share.blobs.size_bytes), plural(share.blobs.count, "blob", "blobs"), name.to_string()]);
    let more = shares.len().saturating_sub(REPOSITORIES_SHOWN) as u64;
    page.table("largest reclaimable, by repository (a blob that several link counts for each)", rows.collect(), more);
}

fn disk(page: &mut Document, report: &CollectReport) {
    page.blank();
    if let Some(requests) = report.requests {
        page.item("requests", &requested(&requests));
        return versions::advice(report).into_iter().for_each(|advice| page.item("versions", &advice));
    }
    match (report.free_before, report.free_after, report.mode) {
        (Some(before), _, Mode::DryRun) if report.disposal != Disposal::Remove => {
            page.item("free disk", &format!("{} now", size(before)))
        }
        (Some(before), _, Mode::DryRun) => {
            let after = before + uploads::bytes(&report.figures.planned);
            page.item("free disk", &format!("{} now, about {} after a run", size(before), size(after)));
        }
        (Some(before), Some(after), Mode::Execute) => {
            page.item("free disk", &format!("{} before, {} after", size(before), size(after)));
        }
        _ => page.item("free disk", "unknown: the filesystem does not say"),
    }
}

/// What was asked of a server, by what it charges for.
fn requested(requests: &RequestCounts) -> String {
    let RequestCounts { list, get, head, other } = *requests;
    let kinds = [(list, "listing", "listings"), (get, "read", "reads"), (head, "look", "looks"), (other, "other", "others")];
    let kinds: Vec<String> =
        kinds.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| plural(count, one, many)).collect();
    kinds.join(", ")
}

fn advice(page: &mut Document, report: &CollectReport) {
    if let Some(RedisUnasked { why, is_flushable }) = &report.redis_unasked {
        let flush = if *is_flushable {
            "Collect with --flush-redis before the registry takes pushes: it"
        } else {
            "Until then the registry"
        };
        let advice = format!(
            "what the registry's redis remembers of what is gone is not known: {why}. {flush} accepts images without what it remembers"
        );
        page.item("redis", &advice);
        if report.in_memory.is_none() {
            return;
        }
    }
    if !report.registry_must_restart() {
        return;
    }
    if report.disposal != Disposal::Online {
        let advice = "restart the registry before it takes pushes: with \
                      storage.cache.blobdescriptor set it remembers blobs that are gone and accepts images without them";
        page.item("restart", advice);
        return;
    }
    let cache = report.in_memory.map_or("of descriptors", DescriptorCache::name);
    page.item(
        "restart",
        &format!(
            "the registry, whenever it suits: its cache ({cache}) may remember what was quarantined, which stays until then. An image pushed \
             meanwhile that needs some of it cannot be pulled before the next run has restored that"
        ),
    );
    if let Some(older) = &report.quarantine.older_registry {
        page.item("", older);
    }
    if let Some(unseen) = &report.restart_unseen {
        page.item("", &format!("it cannot be seen from here, because {}: {}", unseen.why, restart_said(unseen)));
    }
}
