//! The report for people.

use super::RepairReport;
use crate::config::Mode;
use crate::escape::escaped;
use crate::format::{elapsed, plural};
use crate::repair::Mend;
use crate::report::document::Document;

/// Links that are named without `--verbose`.
const LINKS_SHOWN: usize = 20;

/// The report as a document.
pub(super) fn document(report: &RepairReport) -> Document {
    let mut page = Document::default();
    page.headline("repair", headline(report));
    page.root(&report.root, report.config_path.as_deref());
    page.item("scanned", &plural(report.repositories, "repository", "repositories"));
    let links = |count: u64| plural(count, "link", "links");
    let planned = report.planned.len() as u64;
    let replacing = report.planned.iter().filter(|mend| mend.replaced.is_some()).count() as u64;
    match report.mode {
        _ if planned == 0 => {}
        Mode::DryRun => page.item("would make", &format!("{}, {replacing} in place of damaged ones", links(planned))),
        Mode::Execute => {
            let left = planned - report.mended;
            let left = if left == 0 { String::new() } else { format!(", {left} NOT") };
            page.item("made", &format!("{}{left}, {} in place of damaged ones", links(report.mended), report.replaced));
        }
    }
    if let Some(run) = &report.quarantine_run {
        page.item("quarantined", "the damaged links that were replaced");
        page.item("", &format!("`regsweep restore --run {run}` restores them as they were"));
    }
    if planned > 0 {
        let shown = if report.verbose { report.planned.len() } else { LINKS_SHOWN };
        let rows = report.planned.iter().take(shown).map(row).collect();
        let caption = if report.mode == Mode::DryRun { "links that would be made" } else { "links" };
        page.blank();
        page.table(caption, rows, planned.saturating_sub(shown as u64));
    }
    page.findings(&report.findings);
    page.blank();
    page.line(&closing(report));
    page
}

fn row(mend: &Mend) -> Vec<String> {
    vec![mend.code.to_string(), escaped(mend.target.path())]
}

fn headline(report: &RepairReport) -> &'static str {
    let cannot = report.findings.iter().any(|finding| finding.severity < crate::finding::Severity::Note);
    match (report.mode, report.planned.is_empty(), cannot) {
        _ if !report.stops.is_empty() => "DRY RUN, and a real run would STOP",
        (Mode::DryRun, ..) => "DRY RUN, nothing was changed",
        _ if report.interrupted => "INTERRUPTED",
        _ if report.has_failed => "NOT FINISHED, run it again",
        (_, true, false) => "done, nothing to mend",
        (_, true, true) => "done, nothing that can be mended",
        (_, false, true) => "done, with FINDINGS",
        (_, false, false) => "done",
    }
}

fn closing(report: &RepairReport) -> String {
    let took = elapsed(report.elapsed);
    let cannot = match report.findings.iter().filter(|finding| finding.severity < crate::finding::Severity::Note).count() as u64 {
        0 => String::new(),
        some => format!(", {} not", plural(some, "fault", "faults")),
    };
    let links = plural(report.planned.len() as u64, "link", "links");
    match report.mode {
        _ if report.planned.is_empty() => {
            format!("nothing to mend{cannot}, in {took}", cannot = cannot.replace(" not", " that cannot be mended"))
        }
        Mode::DryRun => format!("{links} could be mended{cannot}, in {took}; run without --dry-run to make them"),
        Mode::Execute => format!("{} of {links} mended{cannot}, in {took}", report.mended),
    }
}
