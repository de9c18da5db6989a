//! A report for people, line by line.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::escape::escaped;
use crate::finding::{Finding, Severity};
use crate::mark::blobs::Amount;
use crate::words::{number, plural, size};

/// Findings of one code shown; the rest is counted. `--format json` has them all.
const FINDINGS_SHOWN: usize = 10;
/// Images shown that need what is missing.
const NEEDS_SHOWN: usize = 5;
/// The labels' column.
const INDENT: usize = 14;

/// What has been written so far.
#[derive(Default)]
pub(super) struct Page {
    out: String,
}

impl Page {
    pub(super) fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line with a label, or one below such a line.
    pub(super) fn item(&mut self, label: &str, text: &str) {
        writeln!(self.out, "{label:<INDENT$}{text}").expect("writing to a String");
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// The findings, those of a code together, each with what to do.
    pub(super) fn findings(&mut self, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        let count = |severity, one, many| {
            let count = findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.count).sum();
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
            let shown = &same[..same.len().min(FINDINGS_SHOWN)];
            shown.iter().for_each(|finding| self.finding(finding));
            if same.len() > shown.len() {
                let more = number(same[shown.len()..].iter().map(|finding| finding.count).sum());
                self.line(&format!("    and {more} more {}; --format json lists all", same[0].code));
            }
            self.line(&format!("    next: {}", same[0].next_step()));
        }
    }

    fn finding(&mut self, finding: &Finding) {
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
        self.line(&format!("  {}: {}{place}", finding.severity, finding.code));
        self.line(&format!("    {}", finding.message()));
        if let Some(path) = &finding.path {
            self.line(&format!("    {}", escaped(path)));
        }
        let needs = &finding.needed_by;
        for need in needs.first.iter().take(NEEDS_SHOWN) {
            self.line(&format!("    needed by {need}"));
        }
        let more = needs.first.len().saturating_sub(NEEDS_SHOWN) as u64 + needs.more;
        if more > 0 {
            self.line(&format!("    and {} more", number(more)));
        }
    }
}

pub(super) fn amount(amount: Amount) -> String {
    format!("{} ({})", plural(amount.count, "blob", "blobs"), size(amount.size_bytes))
}

/// A moment, to the second.
pub(super) fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn seconds(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => duration(elapsed),
    }
}

/// A span as `--min-age` takes it: `1h`, `90m`, `7d` as `168h`.
pub(crate) fn duration(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{}s", duration.as_secs()), |duration| format!("{duration:#}"))
}
