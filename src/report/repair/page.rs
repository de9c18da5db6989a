//! The report for people.

use super::RepairReport;
use crate::config::Mode;
use crate::escape::escaped;
use crate::finding::Severity;
use crate::format::{amount, elapsed, plural};
use crate::layout::Target;
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
    for stop in &report.stops {
        page.item("would stop", stop);
    }
    figures(&mut page, report);
    if let Some(run) = &report.quarantine_run {
        page.item("quarantined", "the damaged files that were replaced");
        let is_of_tag = |mend: &Mend| mend.replaced.is_some() && matches!(mend.target, Target::Tag(..));
        let by_hand = if report.planned.iter().any(is_of_tag) { ", the damaged link of a tag only by hand" } else { "" };
        let has_blobs = report.planned.iter().any(|mend| mend.replaced.is_some() && mend.size_bytes.is_some());
        let has_links = report.planned.iter().any(|mend| mend.replaced.is_some() && mend.size_bytes.is_none());
        // The whole bytes may be nowhere else.
        let what = match (has_links, has_blobs) {
            (_, false) => format!("them as they were{by_hand}"),
            (false, true) => "a damaged blob only where there is none by then".to_owned(),
            (true, true) => format!("links as they were{by_hand}, and a damaged blob only where there is none by then"),
        };
        page.item("", &format!("`regsweep restore --run {run}` restores {what}"));
    }
    let planned = report.planned.len() as u64;
    if planned > 0 {
        let shown = if report.verbose { report.planned.len() } else { LINKS_SHOWN };
        let rows = report.planned.iter().take(shown).map(row).collect();
        let caption = match report.mode {
            Mode::DryRun => "would be made",
            Mode::Execute if report.mended + report.copied.count == planned => "made",
            Mode::Execute => "to be made; the findings say what was not",
        };
        page.blank();
        page.table(caption, rows, planned.saturating_sub(shown as u64));
    }
    page.findings(&report.findings);
    page.blank();
    page.line(&closing(report));
    page
}

fn figures(page: &mut Document, report: &RepairReport) {
    let plural = |count: u64| plural(count, "link", "links");
    let (blobs, links) = report.to_do();
    let replacing = |is_blob: bool| {
        let replacing = report.planned.iter().filter(|mend| mend.replaced.is_some() && mend.size_bytes.is_some() == is_blob);
        replacing.count() as u64
    };
    let over = |count: u64| if count == 0 { String::new() } else { format!(", {count} in place of damaged ones") };
    match report.mode {
        Mode::DryRun => {
            if blobs.count > 0 {
                page.item("would copy", &format!("{}{}, if they match their digests", amount(blobs), over(replacing(true))));
            }
            if links > 0 {
                page.item("would make", &format!("{}, {} in place of damaged ones", plural(links), replacing(false)));
            }
        }
        Mode::Execute => {
            let left = |count: u64| if count == 0 { String::new() } else { format!(", {count} NOT") };
            if blobs.count > 0 {
                let left = left(blobs.count - report.copied.count);
                page.item("copied", &format!("{}{left}{}", amount(report.copied), over(report.copied_over)));
            }
            if links > 0 {
                let left = left(links - report.mended);
                page.item("made", &format!("{}{left}, {} in place of damaged ones", plural(report.mended), report.replaced));
            }
        }
    }
    if report.has_more {
        page.item("run again", "more is lost than one run looks for: the next one goes on");
    }
}

fn row(mend: &Mend) -> Vec<String> {
    vec![mend.code.to_string(), escaped(mend.target.path())]
}

fn headline(report: &RepairReport) -> &'static str {
    let cannot = report.findings.iter().any(|finding| finding.severity < Severity::Note);
    match (report.mode, report.planned.is_empty(), cannot) {
        _ if !report.stops.is_empty() => "DRY RUN, and a real run would STOP",
        (Mode::DryRun, ..) => "DRY RUN, nothing was changed",
        _ if report.interrupted => "INTERRUPTED",
        _ if report.has_failed => "NOT FINISHED, run it again",
        _ if report.has_more => "done, RUN IT AGAIN for what came back",
        (_, true, false) => "done, nothing to mend",
        (_, true, true) => "done, nothing that can be mended",
        (_, false, true) => "done, with FINDINGS",
        (_, false, false) => "done",
    }
}

fn closing(report: &RepairReport) -> String {
    let took = elapsed(report.elapsed);
    let wrong = report.findings.iter().filter(|finding| finding.severity < Severity::Note).count() as u64;
    let cannot = if wrong == 0 { String::new() } else { format!(", {} not", plural(wrong, "fault", "faults")) };
    let planned = report.planned.len() as u64;
    let (mended, all) = (report.mended + report.copied.count, plural(planned, "fault", "faults"));
    match report.mode {
        _ if planned == 0 && wrong == 0 => format!("nothing to mend, in {took}"),
        _ if planned == 0 => {
            format!("{} that cannot be mended, in {took}; nothing was changed", plural(wrong, "fault", "faults"))
        }
        Mode::DryRun if !report.stops.is_empty() => {
            format!("{all} can be mended{cannot}, in {took}, once nothing would stop a real run")
        }
        Mode::DryRun => format!("{all} can be mended{cannot}, in {took}; run without --dry-run to mend them"),
        Mode::Execute => format!("{mended} of {all} mended{cannot}, in {took}"),
    }
}
