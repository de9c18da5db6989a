//! Three reports in a few lines for people: the page has the rest.

use super::OverviewReport;
use super::html::next;
use crate::escape::escaped;
use crate::format::amount;
use crate::plan::Kind;
use crate::report::audit::page::verdict as found;
use crate::report::document::Document;
use crate::report::text::only_looked;
use crate::report::usage::page::verdict;

/// The report as a document.
pub(super) fn document(report: &OverviewReport) -> Document {
    let mut page = Document::default();
    let verdict = verdict(&report.usage.usage);
    page.headline("report", &verdict);
    page.root(&report.usage.root, report.usage.config_path.as_deref());
    page.item("page", &escaped(&report.html));
    page.blank();
    page.item("stored", &amount(report.usage.usage.stored));
    page.item("live", &format!("{}: what tags lead to", amount(report.usage.usage.live)));
    if report.audit.would_stop {
        page.item("would free", "not known: a collection would stop at what cannot be read, see the findings");
    } else {
        let [plain, untagged] = report.audit.collections.each_ref().map(|collection| amount(collection.totals.kind(Kind::Blob)));
        page.item("would free", &format!("{plain}: a collection"));
        page.item("", &format!("{untagged}: with --delete-untagged"));
    }
    for stop in &report.stops {
        page.item("would stop", stop);
    }
    page.item("findings", &found(&report.audit));
    for (number, step) in next(report).iter().enumerate() {
        page.item(if number == 0 { "next" } else { "" }, step);
    }
    page.blank();
    page.line(&only_looked(&verdict, &report.audit.findings, report.elapsed));
    page
}
