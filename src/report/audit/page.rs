//! Audits for people: what matters in ten seconds, then the findings.

use super::{AuditReport, Collection};
use crate::amount::Amount;
use crate::format::{amount, duration, elapsed, plural, size, time};
use crate::plan::Kind;
use crate::report::collect::page::scanned;
use crate::report::collect::rows::{Whose, links};
use crate::report::document::Document;
use crate::report::text::counts;

/// The report as a document.
pub(super) fn document(report: &AuditReport) -> Document {
    let mut page = Document::default();
    let verdict = verdict(report);
    page.headline("audit", &verdict);
    page.root(&report.root, report.config_path.as_deref());
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
    page.line(&format!("{verdict}, after {}; nothing was changed", elapsed(report.elapsed)));
    page
}

pub(in crate::report) fn verdict(report: &AuditReport) -> String {
    let counts = counts(&report.findings);
    if counts.is_empty() { "nothing to report".to_owned() } else { counts.join(", ") }
}

fn store(page: &mut Document, report: &AuditReport) {
    let figures = &report.figures;
    let scanned = scanned(figures.repositories, &figures.counts);
    let uploads = plural(figures.uploads.count, "upload", "uploads");
    let sent = match figures.uploads.size_bytes {
        0 => String::new(),
        sent => format!(" ({})", size(sent)),
    };
    page.item("scanned", &format!("{scanned}, {uploads}{sent}, {}", amount(figures.blobs)));
}

fn collection(page: &mut Document, label: &str, collection: &Collection, what: &str) {
    page.item(label, &format!("{}: {what}", amount(collection.totals.kind(Kind::Blob))));
    let later = Amount {
        count: collection.young.count - collection.never.count,
        size_bytes: collection.young.size_bytes - collection.never.size_bytes,
    };
    let are = |amount: Amount| if amount.count == 1 { "is" } else { "are" };
    if later.count > 0 {
        let until = collection.until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        page.item("", &format!("  {} {} too young{until}", amount(later), are(later)));
    }
    if collection.never.count > 0 {
        let (never, are) = (amount(collection.never), are(collection.never));
        page.item("", &format!("  {never} {are} young for ever: modification times in the future, see the findings"));
    }
    let links = links(&collection.totals, Whose::Untagged);
    if !links.is_empty() {
        page.item("", &format!("  and {}", links.join(", ")));
    }
    if collection.held_repositories > 0 {
        let held = plural(collection.held_repositories, "repository is", "repositories are");
        page.item("", &format!("  {held} held: nothing in them would go"));
    }
}
