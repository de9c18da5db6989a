//! Values of options that the command line, settings, passes and reports share.

use clap::ValueEnum;

/// How much may go at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    SizeBytes(u64),
    /// So many percent of the bytes stored.
    Percent(f64),
}

/// One part of so many: `3/30` is the third of thirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which, from 1.
    pub part: u32,
    /// Of how many.
    pub of: u32,
}

/// Which findings make the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    Warning,
    /// None
    Never,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one document
    Json,
    /// For spreadsheets: a line for each row
    Csv,
}

/// What makes a row of `usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageBy {
    /// A repository
    Repository,
    /// The first part of repositories' names
    Namespace,
    /// A tag
    Tag,
    /// What images are
    MediaType,
    /// When tags were pushed
    Age,
}

/// The order of the rows of `usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageSort {
    /// What is held alone
    Unique,
    /// All that is reached
    Total,
    /// The number of tags
    Tags,
    /// The last push
    Pushed,
}

impl UsageBy {
    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            UsageBy::Repository => "repository",
            UsageBy::Namespace => "namespace",
            UsageBy::Tag => "tag",
            UsageBy::MediaType => "media-type",
            UsageBy::Age => "age",
        }
    }
}

impl UsageSort {
    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            UsageSort::Unique => "unique",
            UsageSort::Total => "total",
            UsageSort::Tags => "tags",
            UsageSort::Pushed => "pushed",
        }
    }
}
