//! What is in a store, for people.

use std::time::SystemTime;

use super::{ListReport, Listed};
use crate::catalogue::{ListedRepository, ListedRevision, ListedTag};
use crate::format::{number, plural, size, time};
use crate::report::document::{Cells, Document};
use crate::report::text::only_looked;

/// The report as a document. Lists are whole: who asks for one wants all of it.
pub(super) fn document(report: &ListReport) -> Document {
    let mut page = Document::default();
    let what = what(report);
    page.headline("list", &what);
    page.root(&report.root, report.config_path.as_deref());
    if report.is_partial {
        page.item("partial", "not all of the store could be read, see the findings: there may be more than this");
    }
    page.blank();
    match &report.listed {
        Listed::Repositories(repositories) => of_repositories(&mut page, repositories),
        Listed::Tags(repository, tags) => of_tags(&mut page, repository, tags, report),
        Listed::Untagged(revisions) => of_revisions(&mut page, revisions),
    }
    page.findings(&report.findings);
    page.blank();
    page.line(&only_looked(&what, &report.findings, report.elapsed));
    page
}

fn what(report: &ListReport) -> String {
    match &report.listed {
        Listed::Repositories(all) => plural(all.len() as u64, "repository", "repositories"),
        Listed::Tags(repository, tags) => format!("{} of {}", plural(tags.len() as u64, "tag", "tags"), repository.name),
        Listed::Untagged(all) => {
            let place = report.reference.as_ref().map_or_else(String::new, |reference| format!(" of {reference}"));
            format!("{} without a tag{place}", plural(all.len() as u64, "revision", "revisions"))
        }
    }
}

fn day(time_of: Option<SystemTime>) -> String {
    time_of.map_or_else(|| "-".to_owned(), |at| time(at)[..10].to_owned())
}

/// A day and a time to the minute: two pushes of one day are told apart.
fn minute(time_of: Option<SystemTime>) -> String {
    time_of.map_or_else(|| "-".to_owned(), |at| time(at)[..16].replace('T', " "))
}

fn grid(page: &mut Document, caption: &str, heads: &[&str], words: usize, rows: Vec<Vec<String>>) {
    page.grid(Cells {
        caption: caption.to_owned(),
        heads: heads.iter().map(ToString::to_string).collect(),
        words,
        rows: rows.into_iter().map(|row| (row, None)).collect(),
        more: 0,
        advice: String::new(),
    });
}

fn of_repositories(page: &mut Document, repositories: &[ListedRepository]) {
    if repositories.is_empty() {
        page.line("no repositories");
        return;
    }
    let note = |listed: &ListedRepository| {
        let mut notes = Vec::new();
        match (listed.in_catalogue_2, listed.in_catalogue_3) {
            (true, true) => {}
            (true, false) => notes.push("not in the catalogue of registry 3"),
            (false, true) => notes.push("not in the catalogue of registry 2"),
            (false, false) => notes.push("not in the catalogue"),
        }
        if listed.is_held {
            notes.push("held");
        }
        if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
    };
    let row = |listed: &ListedRepository| {
        vec![number(listed.tags), number(listed.revisions), day(listed.pushed), format!("{}{}", listed.name, note(listed))]
    };
    let rows = repositories.iter().map(row).collect();
    grid(page, "as the registry's catalogue has them", &["tags", "revisions", "last push", "repository"], 1, rows);
}

fn of_tags(page: &mut Document, repository: &ListedRepository, tags: &[ListedTag], report: &ListReport) {
    if tags.is_empty() {
        let revisions = plural(repository.revisions, "revision", "revisions");
        page.line(&format!("no tags, {revisions}; --untagged lists what no tag leads to"));
        return;
    }
    let row = |tag: &ListedTag| {
        let problem = tag.state.problem().map_or_else(String::new, |problem| format!(" ({problem})"));
        vec![
            size(tag.size_bytes),
            minute(tag.pushed),
            day(tag.created),
            format!("{}{problem}", tag.name),
            platforms(tag),
            tag.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
        ]
    };
    grid(page, "tags", &["size", "pushed", "created", "tag", "platforms", "digest"], 3, tags.iter().map(row).collect());
    if let (Some(_), [tag]) = (report.reference.as_ref().and_then(|reference| reference.tag()), tags) {
        of_platforms(page, tag);
    }
}

/// The platforms of a tag, or what else it is.
fn platforms(tag: &ListedTag) -> String {
    let names: Vec<&str> = tag.platforms.iter().filter_map(|listed| listed.platform.as_deref()).collect();
    match (names.is_empty(), tag.kind.as_str()) {
        (false, _) => names.join(", "),
        (true, "") => "-".to_owned(),
        (true, kind) => kind.to_owned(),
    }
}

fn of_platforms(page: &mut Document, tag: &ListedTag) {
    if tag.platforms.is_empty() {
        return;
    }
    page.blank();
    let row = |listed: &crate::catalogue::ListedPlatform| {
        let absent = if listed.is_stored { "" } else { " (not stored)" };
        vec![
            size(listed.size_bytes),
            day(listed.created),
            format!("{}{absent}", listed.platform.as_deref().unwrap_or("unknown")),
            listed.digest.to_string(),
        ]
    };
    grid(page, "platforms", &["size", "created", "platform", "digest"], 2, tag.platforms.iter().map(row).collect());
}

fn of_revisions(page: &mut Document, revisions: &[ListedRevision]) {
    if revisions.is_empty() {
        page.line("a tag leads to every revision");
        return;
    }
    let row = |revision: &ListedRevision| {
        let what = revision.platform.as_deref().unwrap_or(&revision.kind);
        let absent = if revision.is_stored { "" } else { " (not stored)" };
        vec![
            size(revision.size_bytes),
            minute(revision.pushed),
            day(revision.created),
            revision.repository.to_string(),
            format!("{what}{absent}"),
            revision.digest.to_string(),
        ]
    };
    let rows = revisions.iter().map(row).collect();
    let heads = ["size", "pushed", "created", "repository", "what", "digest"];
    grid(page, "revisions that no tag leads to", &heads, 3, rows);
    page.blank();
    page.item("next", "run `regsweep garbage-collect --dry-run --delete-untagged` to see what of them would go");
}
