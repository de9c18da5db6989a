//! The report for people.

use super::{Extent, VerifyReport};
use crate::config::Selection;
use crate::escape::escaped;
use crate::finding::{Finding, Severity};
use crate::format::{amount, duration, elapsed};
use crate::format::{plural, size};
use crate::report::document::Document;

/// The report as a document.
pub(super) fn document(report: &VerifyReport) -> Document {
    let mut page = Document::default();
    page.headline("verify", headline(report));
    about(&mut page, report);
    page.blank();
    figures(&mut page, report);
    page.findings(&report.findings);
    page.blank();
    page.line(&closing(report));
    page
}

fn headline(report: &VerifyReport) -> &'static str {
    match (report.extent(), is_wrong(&report.findings)) {
        (Extent::Interrupted, _) => "INTERRUPTED, what was found so far",
        (Extent::Complete, false) => "done, nothing wrong",
        (Extent::TimeUp, false) => "the time is up, nothing wrong so far",
        (Extent::Complete, true) => "done, with FINDINGS",
        (Extent::TimeUp, true) => "the time is up, with FINDINGS so far",
    }
}

fn is_wrong(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity < Severity::Note)
}

fn about(page: &mut Document, report: &VerifyReport) {
    let settings = &report.settings;
    page.root(&report.root, settings.location.config_path.as_deref());
    let part = match &settings.selection {
        Selection::All => "all".to_owned(),
        Selection::Sample(percent) => format!("{percent} % at random of the"),
        Selection::Slice(slice) => format!("part {} of {} of the", slice.part, slice.of),
    };
    let whose = match settings.repository_patterns.is_empty() {
        true => String::new(),
        false => format!(" that {} reach", settings.repository_patterns.join(", ")),
    };
    let age = match settings.max_age {
        Some(age) => format!(", but for those found good within {}", duration(age)),
        None => String::new(),
    };
    page.item("reads", &format!("{part} blobs{whose}{age}"));
    if let Some(state) = &settings.state {
        page.item("state", &escaped(state));
    }
}

fn figures(page: &mut Document, report: &VerifyReport) {
    let repositories = plural(report.repositories, "repository", "repositories");
    page.item("stored", &format!("{}, {repositories} scanned", plural(report.stored_blobs, "blob", "blobs")));
    page.item("to read", &format!("{}, sizes from manifests", amount(report.selected)));
    page.item("good", &amount(report.good));
    if report.damaged.count > 0 {
        page.item("damaged", &amount(report.damaged));
    }
    if let Some(run) = &report.quarantine_run {
        page.item("quarantined", &format!("{}: push them again, and their images are whole", amount(report.quarantined)));
        if let Some(cache) = report.settings.location.registry.as_ref().and_then(|registry| registry.descriptor_cache.as_ref()) {
            let why = match cache.ends_with_the_process() {
                true => "restart the registry before that: it remembers them",
                false => {
                    "`regsweep garbage-collect --online`, or --flush-redis beside no registry, before that: its redis remembers them"
                }
            };
            page.item("", &format!("{why} (storage.cache.blobdescriptor: {cache}), and would not store them again"));
        }
        page.item("", &format!("`regsweep restore --run {run}` restores them as they were"));
    }
    if report.left_young.count > 0 {
        let min_age = duration(report.settings.min_age);
        let left = format!("{}, touched within {min_age} and perhaps still being written", amount(report.left_young));
        page.item("left alone", &format!("{left}; --min-age sets how long"));
    }
    if report.in_progress.count > 0 {
        page.item("in progress", &format!("{}, being written", amount(report.in_progress)));
    }
    if report.fresh.count > 0 {
        page.item("fresh", &format!("{}, found good recently and not read", amount(report.fresh)));
    }
    if report.vanished > 0 {
        page.item("vanished", &format!("{} that went before they were read", plural(report.vanished, "blob", "blobs")));
    }
    if report.left.count > 0 {
        page.item("left", &format!("{}, not read", amount(report.left)));
    }
    if let Some(rate) = report.bytes_per_second() {
        page.item("speed", &format!("{}/s for {}", size(rate), elapsed(report.reading)));
    }
    if let Some(failure) = &report.state_failure {
        page.item("STATE", &format!("not written: {failure}"));
    }
}

fn closing(report: &VerifyReport) -> String {
    let took = elapsed(report.elapsed);
    let good = amount(report.good);
    let left = match report.left.count {
        0 => String::new(),
        _ => format!(", {} not read", plural(report.left.count, "blob", "blobs")),
    };
    match report.damaged.count {
        0 => format!("{good} match their digests{left}, in {took}"),
        damaged => format!("{} DAMAGED, {good} match their digests{left}, in {took}", plural(damaged, "blob", "blobs")),
    }
}
