//! A dry run as a page.

use std::collections::BTreeMap;

use super::CollectReport;
use super::page::{headline, next, when};
use super::rows::Whose;
use super::versions;
use crate::amount::Amount;
use crate::format::time;
use crate::plan::{Kind, Reason, Totals};
use crate::policy::RootPolicy;
use crate::report::Page;
use crate::report::html::{Cell, Collection, CollectionRow, Column, Data, Heading, Part, Rows};

const COLUMNS: [Column; 5] = [
    Column::new("name", "Name", "name", ""),
    Column::new("goes", "Reclaimable", "bytes", "a blob that several repositories link counts for each"),
    Column::new("blobs", "Blobs", "count", ""),
    Column::new("revisions", "Revisions", "count", "revisions that go"),
    Column::new("layer_links", "Layer links", "count", "layer links that go"),
];

pub(super) fn page(report: &CollectReport) -> Page {
    let mut data = Data::new(Heading {
        command: "garbage-collect",
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.policy.now,
        elapsed: report.elapsed,
        verdict: headline(report).to_owned(),
    });
    notices(&mut data, report);
    figures(&mut data, report);
    parts(&mut data, report);
    let collection = collection(report);
    data.collection(if report.stops.is_empty() { collection } else { collection.stopped() });
    let row = |(name, share): (&crate::oci::RepositoryName, &crate::plan::RepositoryShare)| {
        let numbers = [share.blobs.size_bytes, share.blobs.count, share.revisions, share.layer_links];
        [Cell::Text(name.to_string())].into_iter().chain(numbers.map(Cell::Number)).collect()
    };
    let rows = report.figures.largest_reclaimable().into_iter().map(row).collect();
    data.rows(Rows::new(
        ("repository with something reclaimable", "repositories with something reclaimable"),
        "/",
        &["goes"],
        &COLUMNS,
        rows,
    ));
    data.findings(
        &report.findings,
        "A dry run reports what it meets on its way; `regsweep audit` looks for everything that is wrong.",
    );
    match next(report) {
        Some(next) => data.next(next),
        None if !report.stops.is_empty() => data.next("see to what would stop a real run, then try again"),
        None => {}
    }
    Page::new(data)
}

/// What stops a real run, and what could not be asked.
pub(in crate::report) fn notices(data: &mut Data, report: &CollectReport) {
    for stop in &report.stops {
        data.notice(&format!("A real run would stop: {stop}"));
    }
    if let Some(writer) = &report.writer {
        data.notice(&format!("At work: {writer}; a real run stops for as long as that is so."));
    }
    if let Some(why) = &report.unqueried {
        data.notice(&format!(
            "No registry was asked: {why}; a real run wants --registry URL, or --assume-offline once no registry takes pushes."
        ));
    }
    if let Some(advice) = versions::advice(report) {
        data.notice(&advice);
    }
}

fn figures(data: &mut Data, report: &CollectReport) {
    let figures = &report.figures;
    data.sized("Stored", Amount { count: figures.blobs, size_bytes: figures.stored_bytes() }, "all blobs");
    data.sized("Live", figures.live, "sizes from manifests");
    let when = if report.stops.is_empty() { "this run without --dry-run" } else { "once nothing stops a real run" };
    data.sized("Reclaimable", figures.planned.kind(Kind::Blob), when);
    if let Some(more) = figures.delete_untagged_in_addition {
        data.sized("More with --delete-untagged", more, "at most, in addition");
    }
    data.counted("Repositories", figures.repositories, "");
    data.counted("Tags", figures.counts.tags, "");
    data.counted("Revisions", figures.counts.revisions, "manifests that repositories know");
}

fn parts(data: &mut Data, report: &CollectReport) {
    let figures = &report.figures;
    data.part(Part::new("unique", "Live", figures.live, "sizes from manifests"));
    data.part(Part::new("young", "Young", figures.young, "kept only for being young"));
    data.part(Part::new("apart", "Restorable", figures.restorable, "kept only for what is in quarantine"));
    let of = |reasons: &[Reason]| {
        let mut all = Amount::default();
        let blobs = figures.planned.iter().filter(|(kind, reason, _)| *kind == Kind::Blob && reasons.contains(reason));
        blobs.for_each(|(.., amount)| all += amount);
        all
    };
    let mut unlinked = figures.planned.kind(Kind::Blob);
    let (untagged, unreferenced) = (of(&[Reason::Untagged]), of(&[Reason::Unreferenced]));
    unlinked.count -= untagged.count + unreferenced.count;
    unlinked.size_bytes -= untagged.size_bytes + unreferenced.size_bytes;
    // On other pages, "Untagged" is all that only untagged revisions need, layers too.
    data.part(Part::new("untagged", report.whose().label(), untagged, "they go themselves"));
    data.part(Part::new("unreferenced", "No longer needed", unreferenced, "linked, but needed by no manifest that is kept"));
    data.part(Part::new("unlinked", "Unlinked", unlinked, "linked by no repository"));
}

fn collection(report: &CollectReport) -> Collection {
    let figures = &report.figures;
    let mut rows = kinds(&[&figures.planned], report.whose());
    let total = rows.iter().take_while(|row| row.is_part()).count();
    rows.insert(total, CollectionRow::sized("total", "Freed now", &[figures.planned.kind(Kind::Blob)]));
    let (later, never) = figures.later_and_never();
    let until = figures.waiting.until.map_or_else(String::new, |until| format!(", the last at {}", time(until)));
    rows.insert(total + 1, CollectionRow::sized("later", format!("Later, {}{until}", when(report)), &[later]));
    if never.count > 0 {
        rows.insert(total + 2, CollectionRow::sized("never", "Never: modification times in the future", &[never]));
    }
    if let Some(more) = figures.delete_untagged_in_addition {
        rows.insert(total + 1, CollectionRow::sized("more", "With --delete-untagged, at most in addition", &[more]));
    }
    let column = if report.roots == RootPolicy::TaggedOnly { "With --delete-untagged" } else { "A collection" };
    Collection { columns: vec![column], rows }
}

/// What goes by kind, a column for each collection: blobs by their reason, then links and directories.
pub(in crate::report) fn kinds(columns: &[&Totals], whose: Whose) -> Vec<CollectionRow> {
    let blobs = |reason: fn(Reason) -> bool| -> Vec<Amount> {
        let of = |totals: &&Totals| {
            let mut all = Amount::default();
            totals.iter().filter(|(kind, why, _)| *kind == Kind::Blob && reason(*why)).for_each(|(.., amount)| all += amount);
            all
        };
        columns.iter().map(of).collect()
    };
    let untagged = blobs(|reason| reason == Reason::Untagged);
    let unreferenced = blobs(|reason| reason == Reason::Unreferenced);
    let unlinked = blobs(|reason| !matches!(reason, Reason::Untagged | Reason::Unreferenced));
    let mut rows = vec![
        CollectionRow::sized("part", whose.label(), &untagged),
        CollectionRow::sized("part", "Linked, but needed by no manifest that is kept", &unreferenced),
        CollectionRow::sized("part", "Linked by no repository", &unlinked),
    ];
    for (kind, label) in [
        (Kind::Revision, "Revisions"),
        (Kind::Tag, "Tags"),
        (Kind::TagHistory, "Tag history entries"),
        (Kind::LayerLink, "Layer links"),
        (Kind::EmptyDirectory, "Empty directories"),
        (Kind::Repository, "Repositories without images"),
    ] {
        let counts: Vec<u64> = columns.iter().map(|totals| totals.kind(kind).count).collect();
        rows.push(CollectionRow::counted(label, &counts));
    }
    rows.retain(|row| row.is_part() || row.is_any());
    rows
}

/// What goes of each repository, in bytes.
pub(in crate::report) fn shares(report: &CollectReport) -> BTreeMap<String, u64> {
    report.figures.shares.iter().map(|(name, share)| (name.to_string(), share.blobs.size_bytes)).collect()
}
