//! The same for people.

use super::{Done, QuarantineReport};
use crate::escape::escaped;
use crate::quarantine::Settled;
use crate::report::page::{Page, amount, duration};
use crate::words::plural;

/// Renders a report as text.
pub(super) fn render(report: &QuarantineReport) -> String {
    let mut page = Page::default();
    page.line(&format!("regsweep {}", report.command()));
    page.item("root", &escaped(&report.root));
    match &report.done {
        Done::Listed => {}
        Done::Restored(settled) => {
            page.item("put back", &moved(settled));
            if settled.replaced > 0 {
                let many = plural(settled.replaced, "thing", "things");
                page.item(
                    "left",
                    &format!("{many} in quarantine: the store has something in that place again, and nothing is replaced"),
                );
            }
        }
        Done::Purged { put_back, purged } => {
            page.item("put back", &format!("{}, needed by now", moved(put_back)));
            page.item("freed", &moved(purged));
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
        page.line(&format!("{}  {}, {}, {waited}", run.id, amount(run.blobs), plural(run.links, "link", "links")));
        if run.unrecognised > 0 {
            page.line(&format!("  and {} that no run put there", plural(run.unrecognised, "file", "files")));
        }
    }
    if !report.runs.is_empty() {
        page.blank();
        page.line("`regsweep restore --run RUN` puts one back, `regsweep quarantine purge` removes what is not needed for good");
    }
    page.findings(&report.findings);
    page.into_text()
}

fn moved(settled: &Settled) -> String {
    format!("{} and {}", amount(settled.blobs), plural(settled.links, "link", "links"))
}
