//! A report as text: on a terminal as wide as it is, elsewhere with one line for each thing that is said.
//!
//! Severities are coloured; whoever prints the text takes that out again where nobody would see it.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSplitter, WrapAlgorithm};

use super::document::{Block, Document};
use super::grid;
use crate::escape::escaped;
use crate::finding::{Finding, Severity};
use crate::format::{elapsed, number, plural};

/// Findings of one code shown; the rest is counted. `--format json` has them all.
const FINDINGS_SHOWN: usize = 10;
/// Images shown that need what is missing.
const NEEDS_SHOWN: usize = 5;
/// The column of the labels.
const INDENT: usize = 14;
/// Narrower terminals get lines of this width.
const MIN_WIDTH: usize = 40;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Renders a report, wrapped at `width` if it is given. `complete` is given each text before it is wrapped.
pub fn render(document: &Document, width: Option<usize>, complete: &dyn Fn(&str) -> String) -> String {
    let mut page = Page { out: String::new(), width: width.map(|width| width.max(MIN_WIDTH)), complete };
    for block in &document.blocks {
        match block {
            Block::Headline(command, verdict) => {
                let colon = if verdict.is_empty() { "" } else { ": " };
                page.wrapped("", 0, &format!("{BOLD}regsweep {command}{BOLD:#}{colon}{verdict}"));
            }
            Block::Pair(label, text) => page.pair(label, text),
            Block::Line(line) => page.wrapped("", 0, line),
            Block::Table(caption, rows, more) => page.table(caption, rows, *more),
            Block::Grid(cells) => {
                page.wrapped("", 0, &cells.caption);
                page.out.push_str(&grid::render(cells, page.width));
            }
            Block::Findings(findings) => page.findings(findings),
            Block::Blank => page.out.push('\n'),
        }
    }
    page.out
}

struct Page<'a> {
    out: String,
    width: Option<usize>,
    complete: &'a dyn Fn(&str) -> String,
}

impl Page<'_> {
    /// Lines that begin with `first`, and go on below the place where the text begins.
    fn wrapped(&mut self, first: &str, indent: usize, text: &str) {
        let rest = " ".repeat(indent);
        let text = (self.complete)(text);
        match self.width {
            None => writeln!(self.out, "{first}{text}").expect("writing to a String"),
            Some(width) => {
                // Digests, paths and commands are of use only as a whole.
                let options = Options::new(width)
                    .initial_indent(first)
                    .subsequent_indent(&rest)
                    .break_words(false)
                    .word_splitter(WordSplitter::NoHyphenation)
                    .wrap_algorithm(WrapAlgorithm::FirstFit);
                self.out.push_str(&textwrap::fill(&text, options));
                self.out.push('\n');
            }
        }
    }

    fn pair(&mut self, label: &str, text: &str) {
        let inner = text.len() - text.trim_start().len();
        let first = format!("{label:<INDENT$}{}", &text[..inner]);
        self.wrapped(&first, INDENT + inner, &text[inner..]);
    }

    fn table(&mut self, caption: &str, rows: &[Vec<String>], more: u64) {
        self.wrapped("", 0, caption);
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
        for row in rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                match column {
                    0 => write!(line, "  {cell:>width$}", width = widths[0]),
                    _ if column + 1 == row.len() => write!(line, "  {cell}"),
                    _ => write!(line, "  {cell:<width$}", width = widths[column]),
                }
                .expect("writing to a String");
            }
            self.out.push_str(&line);
            self.out.push('\n');
        }
        if more > 0 {
            self.wrapped("  ", 2, &format!("and {} more", number(more)));
        }
    }

    /// The findings, those of a code together, each with what to do.
    fn findings(&mut self, findings: &[Finding]) {
        self.out.push('\n');
        self.wrapped("", 0, &format!("findings: {}", counts(findings).join(", ")));
        for same in findings.chunk_by(|a, b| a.code == b.code) {
            let shown = &same[..same.len().min(FINDINGS_SHOWN)];
            shown.iter().for_each(|finding| self.finding(finding));
            if same.len() > shown.len() {
                let more = number(same[shown.len()..].iter().map(|finding| finding.count).sum());
                self.wrapped("    ", 4, &format!("and {more} more {}; --format json lists all", same[0].code));
            }
            self.wrapped("    ", 4, &format!("next: {}", same[0].next_step()));
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
        let style = style(finding.severity);
        self.wrapped("  ", 4, &format!("{style}{}{style:#}: {}{place}", finding.severity, finding.code));
        self.wrapped("    ", 4, finding.message());
        if let Some(path) = &finding.path {
            self.wrapped("    ", 4, &escaped(path));
        }
        let needs = &finding.needed_by;
        for need in needs.first.iter().take(NEEDS_SHOWN) {
            self.wrapped("    ", 6, &format!("needed by {need}"));
        }
        let more = needs.first.len().saturating_sub(NEEDS_SHOWN) as u64 + needs.more;
        if more > 0 {
            self.wrapped("    ", 4, &format!("and {} more", number(more)));
        }
    }
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default(),
        Severity::Note => DIM,
    }
}

/// The last line of a report of a command that changes nothing: what came of it, what was found, and how long it took.
pub(super) fn only_looked(verdict: &str, findings: &[Finding], took: Duration) -> String {
    let mut found = counts(findings).join(", ");
    if !found.is_empty() {
        found = format!("; {found}");
    }
    format!("{verdict}{found}, after {}; nothing was changed", elapsed(took))
}

/// How many findings there are of each severity that occurs, in words.
pub(super) fn counts(findings: &[Finding]) -> Vec<String> {
    let count = |severity, one, many| {
        let count = findings.iter().filter(|finding| finding.severity == severity).map(Finding::number).sum();
        (count > 0).then(|| plural(count, one, many))
    };
    let counts = [
        count(Severity::Error, "error", "errors"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Note, "note", "notes"),
    ];
    counts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Code;

    #[test]
    fn nothing_is_cut_within_a_word() {
        let mut document = Document::default();
        let path = "/srv/registry/docker/registry/v2/repositories/a-team/with-a-long-name/of-a-project";
        document.headline("audit", "1 error");
        document.item("root", path);
        document.item("", "  12 blobs (3.20 KiB): linked, but needed by no manifest that is kept, and so on and on");
        document.table(
            "largest",
            vec![vec!["1 B".into(), "1 blob".into(), "a".into()], vec!["12 B".into(), "2 blobs".into(), "b".into()]],
            3,
        );
        document.findings(&[Finding::new(Code::EmptyLink).path(path)]);
        let plain = render(&document, None, &str::to_owned);
        assert!(plain.contains(&format!("root          {path}\n")), "{plain}");
        let narrow = render(&document, Some(60), &str::to_owned);
        let stripped = anstream::adapter::strip_str(&narrow).to_string();
        for line in stripped.lines() {
            assert!(line.chars().count() <= 60 || line.contains(path) || line.contains("`"), "{line}");
        }
        assert!(stripped.contains(path), "{stripped}");
        assert!(stripped.contains("\n                no manifest that is kept"), "{stripped}");
        assert!(stripped.contains("   1 B  1 blob   a\n  12 B  2 blobs  b\n  and 3 more\n"), "{stripped}");
        assert!(narrow.contains("\u{1b}[") && narrow.contains("error"), "{narrow:?}");
    }
}
