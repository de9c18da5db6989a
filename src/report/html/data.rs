//! What a page shows. Sizes are bytes, times RFC 3339 in UTC.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::findings::Findings;
use super::rows::Rows;
use crate::amount::Amount;
use crate::escape::escaped;
use crate::finding::Finding;
use crate::format::time;

/// What a report is about.
pub(in crate::report) struct Heading<'a> {
    /// The command.
    pub(in crate::report) command: &'static str,
    pub(in crate::report) root: &'a Path,
    pub(in crate::report) config: Option<&'a Path>,
    pub(in crate::report) started: SystemTime,
    pub(in crate::report) elapsed: Duration,
    /// What came of it, in a few words.
    pub(in crate::report) verdict: String,
}

/// All that a page shows. What a command does not know is left out.
#[derive(Serialize)]
pub(in crate::report) struct Data {
    version: &'static str,
    command: &'static str,
    root: String,
    config: Option<String>,
    started: String,
    elapsed_seconds: f64,
    verdict: String,
    /// What a reader has to know before anything else.
    notices: Vec<String>,
    /// The figures at the top.
    figures: Vec<Figure>,
    /// What the stored bytes are: together all of them.
    parts: Vec<Part>,
    collection: Option<Collection>,
    /// Tags by their last push: columns and rows.
    ages: Option<Rows>,
    /// The largest rows.
    rows: Option<Rows>,
    findings: Findings,
    /// What to run, with commands in backticks.
    next: Vec<String>,
}

/// A figure at the top.
#[derive(Serialize)]
struct Figure {
    label: &'static str,
    /// How many, of what is counted.
    count: Option<u64>,
    bytes: Option<u64>,
    note: String,
}

/// A part of what is stored.
#[derive(Serialize)]
pub(in crate::report) struct Part {
    key: &'static str,
    label: &'static str,
    blobs: Option<u64>,
    bytes: u64,
    note: &'static str,
}

/// What collections free, a column for each.
#[derive(Serialize)]
pub(in crate::report) struct Collection {
    /// The heads.
    pub(in crate::report) columns: Vec<&'static str>,
    pub(in crate::report) rows: Vec<CollectionRow>,
}

/// One kind of what goes.
#[derive(Serialize)]
pub(in crate::report) struct CollectionRow {
    /// `part`, `total`, `later`, `never` or `links`.
    kind: &'static str,
    label: String,
    /// For each column; nothing where nobody knows.
    cells: Vec<CollectionCell>,
}

#[derive(Serialize)]
struct CollectionCell {
    count: u64,
    bytes: Option<u64>,
}

/// What stands in a column.
#[derive(Clone, Serialize)]
pub(in crate::report) struct Column {
    key: &'static str,
    label: &'static str,
    /// `name`, `bytes`, `count` or `date`.
    kind: &'static str,
    note: &'static str,
}

/// One value of a row.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(in crate::report) enum Cell {
    Text(String),
    Number(u64),
    Nothing,
}

impl Data {
    pub(in crate::report) fn new(heading: Heading<'_>) -> Data {
        Data {
            version: env!("CARGO_PKG_VERSION"),
            command: heading.command,
            root: escaped(heading.root),
            config: heading.config.map(escaped),
            started: time(heading.started),
            elapsed_seconds: heading.elapsed.as_secs_f64(),
            verdict: heading.verdict,
            notices: Vec::new(),
            figures: Vec::new(),
            parts: Vec::new(),
            collection: None,
            ages: None,
            rows: None,
            findings: Findings::default(),
            next: Vec::new(),
        }
    }

    pub(in crate::report) fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }

    pub(in crate::report) fn counted(&mut self, label: &'static str, count: u64, note: &str) {
        self.figures.push(Figure { label, count: Some(count), bytes: None, note: note.to_owned() });
    }

    pub(in crate::report) fn sized(&mut self, label: &'static str, amount: Amount, note: &str) {
        self.figures.push(Figure { label, count: Some(amount.count), bytes: Some(amount.size_bytes), note: note.to_owned() });
    }

    pub(in crate::report) fn part(&mut self, part: Part) {
        self.parts.push(part);
    }

    pub(in crate::report) fn collection(&mut self, collection: Collection) {
        self.collection = Some(collection);
    }

    pub(in crate::report) fn ages(&mut self, ages: Rows) {
        self.ages = Some(ages);
    }

    pub(in crate::report) fn rows(&mut self, rows: Rows) {
        self.rows = Some(rows);
    }

    /// What was found; `note` says what was looked for.
    pub(in crate::report) fn findings(&mut self, findings: &[Finding], note: &'static str) {
        self.findings = Findings::new(findings, note);
    }

    pub(in crate::report) fn next(&mut self, step: impl Into<String>) {
        self.next.push(step.into());
    }
}

impl Part {
    pub(in crate::report) fn new(key: &'static str, label: &'static str, amount: Amount, note: &'static str) -> Part {
        Part { key, label, blobs: Some(amount.count), bytes: amount.size_bytes, note }
    }
}

impl Collection {
    /// Of a run that something would stop: what is freed is not freed now.
    pub(in crate::report) fn stopped(mut self) -> Collection {
        for row in self.rows.iter_mut().filter(|row| row.kind == "total") {
            "Freed once nothing stops a real run".clone_into(&mut row.label);
        }
        self
    }
}

impl CollectionRow {
    pub(in crate::report) fn sized(kind: &'static str, label: impl Into<String>, amounts: &[Amount]) -> CollectionRow {
        let cell = |amount: &Amount| CollectionCell { count: amount.count, bytes: Some(amount.size_bytes) };
        CollectionRow { kind, label: label.into(), cells: amounts.iter().map(cell).collect() }
    }

    pub(in crate::report) fn counted(label: impl Into<String>, counts: &[u64]) -> CollectionRow {
        let cell = |count: &u64| CollectionCell { count: *count, bytes: None };
        CollectionRow { kind: "links", label: label.into(), cells: counts.iter().map(cell).collect() }
    }

    /// Whether it is a part of what is freed.
    pub(in crate::report) fn is_part(&self) -> bool {
        self.kind == "part"
    }

    /// Whether any column has something.
    pub(in crate::report) fn is_any(&self) -> bool {
        self.cells.iter().any(|cell| cell.count > 0)
    }
}

impl Column {
    pub(in crate::report) const fn new(key: &'static str, label: &'static str, kind: &'static str, note: &'static str) -> Column {
        Column { key, label, kind, note }
    }

    pub(in crate::report) fn key(&self) -> &'static str {
        self.key
    }

    /// Whether values of it can be added up.
    pub(super) fn is_sum(&self) -> bool {
        matches!(self.kind, "bytes" | "count")
    }
}

impl From<Option<SystemTime>> for Cell {
    fn from(when: Option<SystemTime>) -> Cell {
        when.map_or(Cell::Nothing, |when| Cell::Text(time(when)))
    }
}
