//! Three reports as one page: each figure once, from the report that knows it best.

use super::OverviewReport;
use crate::plan::Kind;
use crate::report::Page;
use crate::report::audit::html::{LOOKED_FOR, collection, repair_step};
use crate::report::collect::html::{notices, shares};
use crate::report::collect::page::next as next_of_dry_run;
use crate::report::html::{Data, Heading};
use crate::report::usage::html::{figures, heading, parts, rows};

pub(super) fn page(report: &OverviewReport) -> Page {
    let mut data = Data::new(Heading { elapsed: report.elapsed, ..heading("report", &report.usage) });
    report.collect.iter().for_each(|collect| notices(&mut data, collect));
    figures(&mut data, &report.usage);
    parts(&mut data, &report.usage);
    if !report.audit.would_stop {
        let collection = collection(&report.audit);
        data.collection(if report.stops.is_empty() { collection } else { collection.stopped() });
    }
    rows(&mut data, &report.usage, report.collect.as_ref().map(shares).as_ref());
    data.findings(&report.audit.findings, LOOKED_FOR);
    next(report).into_iter().for_each(|step| data.next(step));
    Page::new(data)
}

/// What to run.
pub(super) fn next(report: &OverviewReport) -> Vec<String> {
    let mut steps = Vec::new();
    if report.audit.would_stop {
        return vec!["follow the next steps of the findings, then run `regsweep audit`".to_owned()];
    }
    if !report.stops.is_empty() {
        steps.push("see to what would stop a real run, then run `regsweep garbage-collect --dry-run`".to_owned());
    }
    steps.extend(repair_step(&report.audit.root, &report.audit.findings).map(str::to_owned));
    steps.extend(report.collect.as_ref().and_then(next_of_dry_run));
    let [plain, untagged] = report.audit.collections.each_ref().map(|collection| collection.totals.kind(Kind::Blob).count);
    if untagged > plain {
        steps.push(
            "run `regsweep garbage-collect --dry-run --delete-untagged` to see what untagged revisions would free".to_owned(),
        );
    }
    if steps.is_empty() {
        steps.push("nothing to collect: delete tags or repositories, then collect".to_owned());
    }
    steps
}
