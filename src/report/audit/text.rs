//! Audits for people: what matters in ten seconds, then the findings.

use super::{AuditReport, Collection};
use crate::escape::escaped;
use crate::finding::Severity;
use crate::plan::Kind;
use crate::report::collect::text::links;
use crate::report::page::{Page, amount, duration, seconds, time};
use crate::words::plural;

/// Renders a report as text.
pub(super) fn render(report: &AuditReport) -> String {
    let mut page = Page::default();
    let verdict = verdict(report);
    page.line(&format!("regsweep audit: {verdict}"));
    let source = match &report.config_path {
        Some(config) => format!(" (from {})", escaped(config)),
        None => String::new(),
    };
    page.item("root", &format!("{}{source}", escaped(&report.root)));
    page.item(
        "ages",
        &format!(
            "work under way is younger than {}, uploads are stale after {}",
            duration(report.min_age),
            duration(report.upload_age)
        ),
    );
    page.blank();
    store(&mut page, report);
    let [plain, untagged] = &report.collections;
    match report.would_stop {
        true => page.item("would free", "not known: a collection would stop at what cannot be read, see the findings"),
        false => {
            collection(&mut page, "would free", plain, "a collection");
            collection(&mut page, "", untagged, "with --delete-untagged");
        }
    }
    page.findings(&report.findings);
    page.blank();
    page.line(&format!("{verdict}, after {}; nothing was changed", seconds(report.elapsed)));
    page.into_text()
}

fn verdict(report: &AuditReport) -> String {
    let count = |severity, one, many| {
        let count = report.findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.count).sum();
        (count > 0).then(|| plural(count, one, many))
    };
    let counts: Vec<String> = [
        count(Severity::Error, "error", "errors"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Note, "note", "notes"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if counts.is_empty() { "nothing to report".to_owned() } else { counts.join(", ") }
}

fn store(page: &mut Page, report: &AuditReport) {
    let figures = &report.figures;
    let counts = &figures.counts;
    page.item(
        "looked at",
        &format!(
            "{}, {}, {}, {}, {}, {}",
            plural(figures.repositories, "repository", "repositories"),
            plural(counts.tags, "tag", "tags"),
            plural(counts.revisions, "revision", "revisions"),
            plural(counts.layer_links, "layer link", "layer links"),
            plural(figures.uploads, "upload", "uploads"),
            amount(figures.blobs),
        ),
    );
}

fn collection(page: &mut Page, label: &str, collection: &Collection, what: &str) {
    page.item(label, &format!("{}: {what}", amount(collection.totals.kind(Kind::Blob))));
    if collection.young.count > 0 {
        let until = collection.until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        page.item("", &format!("  {} are too young{until}", amount(collection.young)));
    }
    let links = links(&collection.totals);
    if !links.is_empty() {
        page.item("", &format!("  and {}", links.join(", ")));
    }
    if collection.held_repositories > 0 {
        let held = plural(collection.held_repositories, "repository is", "repositories are");
        page.item("", &format!("  {held} held: nothing in them would go"));
    }
}
