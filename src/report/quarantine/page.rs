//! The same for people.

use std::collections::{BTreeMap, HashSet};

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::{Done, QuarantineReport, RunRow};
use crate::amount::Amount;
use crate::descriptor_cache::Forgotten;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::format::plural;
use crate::format::{amount, duration, number, size};
use crate::layout::Target;
use crate::oci::{RepositoryName, TagName};
use crate::quarantine::{Moved, Proof, Withheld};
use crate::report::Report as _;
use crate::report::document::Document;
use crate::writers::RestartUnseen;

/// Restored tags that are named.
const TAGS_SHOWN: usize = 10;

/// The report as a document.
pub(super) fn document(report: &QuarantineReport) -> Document {
    let mut page = Document::default();
    let headline = match report.exit() {
        Exit::Stopped => "STOPPED, nothing was changed",
        Exit::Incomplete => "NOT FINISHED, run it again",
        Exit::Clean | Exit::Findings | Exit::Interrupted => "",
    };
    page.headline(report.command(), headline);
    page.root(&report.root, None);
    match &report.done {
        Done::Listed => {}
        Done::Restarted { started_after, forgotten, redis } => {
            page.item("noted", &format!("every registry of this store was started after {started_after:.0}"));
            let last = report.runs.iter().filter(|run| run.remembered_by.is_some()).filter_map(|run| run.finished).max();
            let line = match (forgotten, last) {
                (0, Some(last)) => format!(
                    "what is in quarantine was moved until {}, which is later. If all were started after that, give --since with that \
                     time; if not, it waits for the next restart",
                    next_second(last)
                ),
                (0, None) => "nothing in quarantine waits for a restart".to_owned(),
                (some, _) => format!(
                    "{} can be purged after its wait: the next `regsweep garbage-collect --online` does that, by a user who sees no less",
                    plural(*some, "run", "runs")
                ),
            };
            page.item("", &line);
            if let Some(redis) = redis {
                page.item(
                    "",
                    &format!("the registry's redis ({}) outlives a restart: collections remove its keys", escaped(redis)),
                );
            }
        }
        Done::Restored(restored) => {
            page.item("restored", &moved(restored));
            tags(&mut page, restored);
            if restored.replaced > 0 {
                let many = plural(restored.replaced, "thing", "things");
                page.item(
                    "left",
                    &format!("{many} in quarantine: the store has something in that place again, and nothing is replaced"),
                );
            }
        }
        Done::Purged { restored, purged, withheld: stays, proof, forgotten: keys, .. } => {
            page.item("restored", &format!("{}, needed by now", moved(restored)));
            page.item("purged", &moved(purged));
            for line in proof.iter().map(|proof| proof_line(*proof).to_owned()).chain(withheld(stays)).chain(forgotten(*keys)) {
                page.item("", &line);
            }
        }
    }
    page.blank();
    if report.runs.is_empty() {
        page.line("nothing is in quarantine");
    }
    for run in &report.runs {
        let waited = run.waited.map_or_else(
            || format!("cut off, began {:.0}", run.began),
            |waited| format!("for {}", duration(std::time::Duration::from_secs(waited.as_secs()))),
        );
        let purging = run.purging.map_or_else(String::new, |at| format!("; a purge began at {at:.0}, and this is what it left"));
        let contents = contents(run.blobs, run.links, run.upload_files, ", ");
        page.line(&format!("{}  {contents}, {waited}{purging}", run.id));
        if let Some(cache) = &run.remembered_by {
            page.line(&match cache.ends_with_the_process() {
                true => format!("  stays until the registry is restarted, whose cache ({cache}) may remember it"),
                false => {
                    "  stays until `regsweep garbage-collect --online` has removed its keys from the registry's redis".to_owned()
                }
            });
        }
        if run.again > 0 {
            page.line(&format!("  {} of these began to wait anew: the registry's redis claimed them", number(run.again)));
        }
        if run.unrecognised > 0 {
            page.line(&format!(
                "  and {} of another kind: put back or delete by hand",
                plural(run.unrecognised, "file", "files")
            ));
        }
    }
    if !report.runs.is_empty() {
        page.blank();
        if let Some(unseen) = &report.restart_unseen {
            page.line(&format!("a restart of the registry cannot be seen from here, because {}", unseen.why));
            page.line(restart_said(unseen));
        }
        if let Some(older) = &report.older_registry {
            page.line(older);
        }
        page.line("`regsweep restore --run RUN` restores one");
        let is_of_collection = |run: &RunRow| run.purpose.is_of_collection();
        if report.runs.iter().any(is_of_collection) {
            page.line(
                "`regsweep quarantine purge --older-than 1h` removes for good what is not needed and has waited for so long",
            );
        }
        if !report.runs.iter().all(is_of_collection) {
            page.line("`regsweep quarantine purge --run RUN` removes for good what `verify` or `repair` quarantined");
        }
    }
    page.findings(&report.findings);
    page
}

/// How to say what is not seen here.
pub(in crate::report) fn restart_said(unseen: &RestartUnseen) -> &'static str {
    match unseen.is_for_root {
        true => "run as root, who sees which registry works on which store",
        false => {
            "note the time when it begins (`date -u +%FT%TZ`), and afterwards `regsweep quarantine restarted --since TIME` says so"
        }
    }
}

/// The first whole second that is not before a time, as `--since` takes it.
fn next_second(time: Timestamp) -> Timestamp {
    let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    time.round(up).unwrap_or(time)
}

/// Tags that came back, and what keeps rules from dropping them again.
fn tags(page: &mut Document, restored: &Moved) {
    let of_rules: HashSet<_> = restored.tags_of_rules.iter().collect();
    let others: Vec<_> = restored.tags.iter().filter(|tag| !of_rules.contains(tag)).collect();
    listed(page, "with their push times:", &others);
    listed(
        page,
        "with their push times: the same rules drop them again, once they are older than --min-age. To keep them, give `regsweep expire` --protect FILE with these lines in it, or name them in keep-tags:",
        &restored.tags_of_rules.iter().collect::<Vec<_>>(),
    );
}

fn listed(page: &mut Document, what: &str, tags: &[&(RepositoryName, TagName)]) {
    if tags.is_empty() {
        return;
    }
    page.item("tags", &format!("{} {what}", plural(tags.len() as u64, "tag", "tags")));
    for (repository, tag) in tags.iter().take(TAGS_SHOWN) {
        page.item("", &format!("  {repository}:{tag}"));
    }
    let more = tags.len().saturating_sub(TAGS_SHOWN) as u64;
    if more > 0 {
        page.item("", &format!("  and {} more; --json has all", crate::format::number(more)));
    }
}

/// Why nobody writes to what was purged.
pub(in crate::report) fn proof_line(proof: Proof) -> &'static str {
    match proof {
        Proof::NotOpen => "no process had any of it open, and none of it changed while it waited",
        Proof::Unchanged => "none of it changed while it waited; not every process can be seen from here",
    }
}

/// What had waited and stays, by reason.
pub(in crate::report) fn withheld(stays: &[(Target, Withheld)]) -> Vec<String> {
    let mut counts: BTreeMap<Withheld, u64> = BTreeMap::new();
    for (_, why) in stays {
        *counts.entry(*why).or_default() += 1;
    }
    let line = |(why, count): (Withheld, u64)| {
        let stay = if count == 1 { "stays" } else { "stay" };
        format!("{} had waited and {stay}: {}", plural(count, "file", "files"), why.reason(count))
    };
    counts.into_iter().map(line).collect()
}

/// What a redis was made to forget.
pub(in crate::report) fn forgotten(forgotten: Forgotten) -> Option<String> {
    let (keys, members) = (plural(forgotten.keys, "key", "keys"), plural(forgotten.members, "entry", "entries"));
    let any = forgotten != Forgotten::default();
    any.then(|| format!("{keys} and {members} of repositories removed from the registry's redis"))
}

/// What was moved, or would be.
pub(in crate::report) fn moved(moved: &Moved) -> String {
    contents(moved.blobs, moved.links, moved.upload_files, " and ")
}

/// Files of uploads.
pub(in crate::report) fn of_uploads(files: Amount) -> String {
    format!("{} ({})", plural(files.count, "file of uploads", "files of uploads"), size(files.size_bytes))
}

/// Blobs, links and, where there are any, files of uploads.
fn contents(blobs: Amount, links: u64, upload_files: Amount, between: &str) -> String {
    let links = plural(links, "link", "links");
    match upload_files.count {
        0 => format!("{}{between}{links}", amount(blobs)),
        _ => format!("{}, {links}{between}{}", amount(blobs), of_uploads(upload_files)),
    }
}
