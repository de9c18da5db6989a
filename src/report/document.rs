//! A report as a value: pairs, lines, tables and findings. How it looks is decided by what renders it.

use std::path::Path;

use crate::escape::escaped;
use crate::finding::Finding;

/// A report.
#[derive(Debug, Default)]
pub struct Document {
    pub(super) blocks: Vec<Block>,
}

/// A part of a report.
#[derive(Debug)]
pub(super) enum Block {
    /// The command, and how it ended.
    Headline(String, String),
    /// A label and what is to be said under it. Without a label it continues the one above.
    Pair(String, String),
    /// A sentence.
    Line(String),
    /// Rows under a caption, and how many more there are. Numbers are to the right.
    Table(String, Vec<Vec<String>>, u64),
    /// Rows with heads and bars under a caption.
    Grid(Cells),
    /// What was found.
    Findings(Vec<Finding>),
    /// Space.
    Blank,
}

/// A table with heads. Every row has as many cells as there are heads.
#[derive(Debug)]
pub(super) struct Cells {
    /// What stands above it.
    pub(super) caption: String,
    /// What stands above each column.
    pub(super) heads: Vec<String>,
    /// How many columns at the end are to the left, as words are; the others are to the right.
    pub(super) words: usize,
    /// The rows, each with the share of the longest bar that its bar has, from 0 to 1; nothing where rows have no bars.
    pub(super) rows: Vec<(Vec<String>, Option<f64>)>,
    /// How many more rows there are.
    pub(super) more: u64,
    /// How to see them.
    pub(super) advice: String,
}

impl Document {
    pub(super) fn headline(&mut self, command: &str, verdict: &str) {
        self.blocks.push(Block::Headline(command.to_owned(), verdict.to_owned()));
    }

    pub(super) fn line(&mut self, line: &str) {
        self.blocks.push(Block::Line(line.to_owned()));
    }

    pub(super) fn blank(&mut self) {
        self.blocks.push(Block::Blank);
    }

    /// A line with a label, or one below such a line.
    pub(super) fn item(&mut self, label: &str, text: &str) {
        self.blocks.push(Block::Pair(label.to_owned(), text.to_owned()));
    }

    /// The store, and the configuration that names it.
    pub(super) fn root(&mut self, root: &Path, config: Option<&Path>) {
        let source = config.map_or_else(String::new, |config| format!(" (from {})", escaped(config)));
        self.item("root", &format!("{}{source}", escaped(root)));
    }

    pub(super) fn table(&mut self, caption: &str, rows: Vec<Vec<String>>, more: u64) {
        self.blocks.push(Block::Table(caption.to_owned(), rows, more));
    }

    pub(super) fn grid(&mut self, cells: Cells) {
        self.blocks.push(Block::Grid(cells));
    }

    pub(super) fn findings(&mut self, findings: &[Finding]) {
        if !findings.is_empty() {
            self.blocks.push(Block::Findings(findings.to_vec()));
        }
    }
}
