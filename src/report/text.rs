//! Reports for people: what matters in ten seconds, then the details.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::SignedDuration;

use super::{Outcome, Report};
use crate::config::Mode;
use crate::escape::escaped;
use crate::finding::{Finding, Severity};
use crate::mark::blobs::Amount;
use crate::mark::{Condemned, Reason};
use crate::plan::{Kind, Totals};
use crate::policy::RootPolicy;
use crate::words::{number, plural, size};

/// Repositories named in the report.
const REPOSITORIES_SHOWN: usize = 10;
/// Findings of one code shown; the rest is counted. `--format json` has them all.
const FINDINGS_SHOWN: usize = 10;
/// The labels' column.
const INDENT: usize = 14;

/// Renders a report as text.
pub fn render(report: &Report) -> String {
    let mut text = Text { out: String::new() };
    let mode = headline(report);
    text.line(&format!("regsweep garbage-collect: {mode}"));
    text.about(report);
    text.blank();
    text.store(report);
    text.removal(report);
    text.targets(report);
    text.repositories(report);
    text.findings(&report.findings);
    text.disk(report);
    text.advice(report);
    text.blank();
    text.line(&closing(report, mode));
    text.out
}

fn headline(report: &Report) -> &'static str {
    match (report.mode, report.outcome()) {
        (Mode::DryRun, Outcome::Interrupted) => "DRY RUN, interrupted; nothing was removed",
        (Mode::DryRun, _) => "DRY RUN, nothing was removed",
        (Mode::Execute, Outcome::Complete) => "done",
        (Mode::Execute, Outcome::Incomplete) => "NOT FINISHED, run it again",
        (Mode::Execute, Outcome::Interrupted) => "INTERRUPTED, run it again",
    }
}

fn closing(report: &Report, mode: &str) -> String {
    let blobs = |totals: &Totals| amount(totals.kind(Kind::Blob));
    match report.mode {
        Mode::DryRun if report.figures.planned.is_empty() => format!("{mode}: there is nothing to remove"),
        Mode::DryRun => format!("{mode}: without --dry-run this frees {}", blobs(&report.figures.planned)),
        Mode::Execute => format!("{mode}: freed {} in {}", blobs(&report.swept.removed), seconds(report.elapsed)),
    }
}

struct Text {
    out: String,
}

impl Text {
    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line with a label, or one below such a line.
    fn item(&mut self, label: &str, text: &str) {
        writeln!(self.out, "{label:<INDENT$}{text}").expect("writing to a String");
    }

    fn about(&mut self, report: &Report) {
        let source = match &report.config_path {
            Some(config) => format!(" (from {})", escaped(config)),
            None => String::new(),
        };
        self.item("root", &format!("{}{source}", escaped(&report.root)));
        let kept = match report.policy.roots {
            RootPolicy::AllRevisions => "every revision",
            RootPolicy::TaggedOnly => "tagged images, their children and referrers (--delete-untagged)",
        };
        let age = match report.policy.min_age {
            Duration::ZERO => "of any age".to_owned(),
            age => format!("and what is younger than {}", duration(age)),
        };
        self.item("keeps", &format!("{kept}, {age}"));
    }

    fn store(&mut self, report: &Report) {
        let figures = &report.figures;
        let counts = &figures.counts;
        self.item(
            "looked at",
            &format!(
                "{}, {}, {}, {}, {}",
                plural(figures.repositories, "repository", "repositories"),
                plural(counts.tags, "tag", "tags"),
                plural(counts.revisions, "revision", "revisions"),
                plural(counts.layer_links, "layer link", "layer links"),
                amount(Amount { count: figures.blobs, size_bytes: figures.stored_bytes() }),
            ),
        );
        self.item("live", &format!("{}, sizes as manifests state them", amount(figures.live)));
        if figures.held_repositories > 0 {
            let held = plural(figures.held_repositories, "repository", "repositories");
            self.item("held", &format!("{held} in which nothing is removed, see the findings"));
        }
        let young = figures.young.count + counts.young_revisions + counts.young_layer_links;
        if young > 0 {
            let mut parts = Vec::new();
            if figures.young.count > 0 {
                parts.push(amount(figures.young));
            }
            if counts.young_revisions > 0 {
                parts.push(plural(counts.young_revisions, "untagged revision", "untagged revisions"));
            }
            if counts.young_layer_links > 0 {
                parts.push(plural(counts.young_layer_links, "layer link", "layer links"));
            }
            let only = format!("{}, kept only for being young; --min-age 0s includes them", parts.join(", "));
            self.item("young", &only);
        }
    }

    fn removal(&mut self, report: &Report) {
        let (label, totals) = match report.mode {
            Mode::DryRun => ("would free", &report.figures.planned),
            Mode::Execute => ("freed", &report.swept.removed),
        };
        self.item(label, &amount(totals.kind(Kind::Blob)));
        for (_, reason, part) in totals.iter().filter(|(kind, ..)| *kind == Kind::Blob) {
            let why = match reason {
                Reason::Untagged => "manifests of untagged revisions",
                Reason::Unreferenced => "linked, but needed by no manifest that is kept",
                _ => "linked by no repository",
            };
            self.item("", &format!("  {}: {why}", amount(part)));
        }
        let links = links(totals);
        if !links.is_empty() {
            self.item("", &format!("and {}", links.join(", ")));
        }
        if report.swept.left > 0 {
            self.item("left", &format!("{} of the plan", plural(report.swept.left, "target", "targets")));
        }
        match report.figures.delete_untagged_in_addition {
            Some(more) if more.count > 0 => {
                self.item("untagged", &format!("--delete-untagged would free up to {} in addition", amount(more)));
            }
            Some(_) => self.item("untagged", "--delete-untagged would free nothing in addition"),
            None => {}
        }
    }

    /// A line for each target, in the words that scripts around the registry's own collector look for.
    fn targets(&mut self, report: &Report) {
        let Some(plan) = &report.plan else { return };
        self.blank();
        for row in plan.rows() {
            self.line(&target(row));
        }
    }

    fn repositories(&mut self, report: &Report) {
        let shares = report.figures.most_generous();
        if shares.is_empty() {
            return;
        }
        self.blank();
        self.line("repositories that give back most (a blob that several linked counts for each)");
        for (name, share) in shares.iter().take(REPOSITORIES_SHOWN) {
            let size = size(share.blobs.size_bytes);
            let blobs = plural(share.blobs.count, "blob", "blobs");
            self.line(&format!("  {size:>10}  {blobs:<14} {name}"));
        }
        if shares.len() > REPOSITORIES_SHOWN {
            self.line(&format!("  and {} more", number((shares.len() - REPOSITORIES_SHOWN) as u64)));
        }
    }

    fn findings(&mut self, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        let count = |severity, one, many| {
            let count = findings.iter().filter(|finding| finding.severity == severity).count() as u64;
            (count > 0).then(|| plural(count, one, many))
        };
        let counts = [
            count(Severity::Error, "error", "errors"),
            count(Severity::Warning, "warning", "warnings"),
            count(Severity::Note, "note", "notes"),
        ];
        self.blank();
        self.line(&format!("findings: {}", counts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        for same in findings.chunk_by(|a, b| a.code == b.code) {
            for finding in same.iter().take(FINDINGS_SHOWN) {
                self.finding(finding);
            }
            if same.len() > FINDINGS_SHOWN {
                let more = number((same.len() - FINDINGS_SHOWN) as u64);
                self.line(&format!("    and {more} more {}; --format json lists all", same[0].code));
            }
            self.line(&format!("    next: {}", same[0].next_step()));
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut place = String::new();
        if let Some(repository) = &finding.repository {
            write!(place, " {repository}").expect("writing to a String");
        }
        if let Some(tag) = &finding.tag {
            write!(place, ":{tag}").expect("writing to a String");
        }
        if let Some(digest) = &finding.digest {
            write!(place, " {digest}").expect("writing to a String");
        }
        self.line(&format!("  {severity}: {}{place}", finding.code));
        self.line(&format!("    {}", finding.message()));
        if let Some(path) = &finding.path {
            self.line(&format!("    {}", escaped(path)));
        }
    }

    fn disk(&mut self, report: &Report) {
        self.blank();
        match (report.free_before, report.free_after, report.mode) {
            (Some(before), _, Mode::DryRun) => {
                let after = before + report.figures.planned.kind(Kind::Blob).size_bytes;
                self.item("free disk", &format!("{} now, about {} after a run", size(before), size(after)));
            }
            (Some(before), Some(after), Mode::Execute) => {
                self.item("free disk", &format!("{} before, {} after", size(before), size(after)));
            }
            _ => self.item("free disk", "unknown: the filesystem does not say"),
        }
    }

    fn advice(&mut self, report: &Report) {
        if report.registry_must_restart() {
            let advice = "restart the registry (and flush its redis, if that is the cache) before it takes pushes: with \
                          storage.cache.blobdescriptor set it remembers blobs that are gone and accepts images without them";
            self.item("restart", advice);
        }
    }
}

fn links(totals: &Totals) -> Vec<String> {
    let mut parts = Vec::new();
    for (kind, one, many) in [
        (Kind::Revision, "revision", "revisions"),
        (Kind::TagHistory, "tag history entry", "tag history entries"),
        (Kind::LayerLink, "layer link", "layer links"),
        (Kind::EmptyFolder, "empty folder", "empty folders"),
    ] {
        let count = totals.kind(kind).count;
        if count == 0 {
            continue;
        }
        let mut part = plural(count, one, many);
        if kind == Kind::TagHistory {
            let of = |reason| if reason == Reason::Untagged { "of untagged revisions" } else { "of deleted revisions" };
            let reasons: Vec<_> = totals.iter().filter(|(this, ..)| *this == kind).collect();
            let told: Vec<String> = match *reasons {
                [(_, reason, _)] => vec![of(reason).to_owned()],
                _ => reasons.iter().map(|(_, reason, amount)| format!("{} {}", number(amount.count), of(*reason))).collect(),
            };
            write!(part, " {}", told.join(" and ")).expect("writing to a String");
        }
        parts.push(part);
    }
    parts
}

fn target(row: &Condemned) -> String {
    let digest = row.target.digest();
    let repository = row.target.link_folder().map(|folder| folder.repository().to_string()).unwrap_or_default();
    match Kind::of(&row.target) {
        Kind::TagHistory => {
            let tag = row.target.link_folder().and_then(|folder| folder.tag()).map(ToString::to_string).unwrap_or_default();
            format!("{repository}: tag history entry of {tag} eligible for deletion: {digest}")
        }
        Kind::Revision => format!("{repository}: manifest eligible for deletion: {digest}"),
        Kind::LayerLink => format!("{repository}: layer link eligible for deletion: {digest}"),
        Kind::Blob => format!("blob eligible for deletion: {digest}"),
        Kind::EmptyFolder => format!("empty folder eligible for deletion: {}", escaped(row.target.path())),
    }
}

fn amount(amount: Amount) -> String {
    format!("{} ({})", plural(amount.count, "blob", "blobs"), size(amount.size_bytes))
}

fn seconds(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => duration(elapsed),
    }
}

/// A span as `--min-age` takes it: `1h`, `90m`, `7d` as `168h`.
fn duration(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{}s", duration.as_secs()), |duration| format!("{duration:#}"))
}
