//! As much of Markdown as the documents use: fenced blocks, code spans, links, headings, and comments that set up a sample.

use std::collections::BTreeSet;
use std::ops::Range;

/// How a comment that sets up the samples behind it begins and ends.
const COMMENT: (&str, &str) = ("<!-- sample: ", " -->");

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// The word behind the fence.
    pub(super) language: String,
    /// The lines of the document between the fences, counted from 0.
    pub(super) lines: Range<usize>,
    /// How many spaces stand before each line, as in a list.
    pub(super) indent: usize,
}

/// What the samples are made of, in document order.
#[derive(Debug)]
pub(super) enum Part {
    /// `<!-- sample: TEXT -->`
    SetUp(String),
    /// A fenced block.
    Block(Block),
}

/// The set-up comments and fenced blocks of a document.
pub(super) fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(fence) = line.strip_prefix("```") {
            open = match open.take() {
                None => Some((fence.to_owned(), number + 1)),
                Some((language, first)) => {
                    parts.push(Part::Block(Block { language, lines: first..number, indent }));
                    None
                }
            };
        } else if open.is_none()
            && let Some(set_up) = line.strip_prefix(COMMENT.0).and_then(|rest| rest.strip_suffix(COMMENT.1))
        {
            parts.push(Part::SetUp(set_up.to_owned()));
        }
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    parts
}

/// The fenced blocks of a document.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let block = |part| match part {
        Part::Block(block) => Some(block),
        Part::SetUp(_) => None,
    };
    parts(text).into_iter().filter_map(block).collect()
}

/// The document without its fenced blocks.
fn prose(text: &str) -> String {
    let fenced: Vec<Block> = blocks(text);
    let is_prose = |number: usize| !fenced.iter().any(|block| (block.lines.start - 1..=block.lines.end).contains(&number));
    let lines = text.lines().enumerate().filter(|(number, _)| is_prose(*number));
    lines.map(|(_, line)| format!("{line}\n")).collect()
}

/// What stands between backticks in the prose, with line ends as spaces.
pub(super) fn spans(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// The targets of the links and images in the prose.
pub(super) fn links(text: &str) -> Vec<String> {
    let prose: String = prose(text).split('`').step_by(2).collect();
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of the headings, as GitHub makes them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    heading.to_lowercase().chars().filter(kept).map(|character| if character == ' ' { '-' } else { character }).collect()
}
