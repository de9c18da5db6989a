//! Values of options that the command line, settings, passes and reports share.

use clap::ValueEnum;
use globset::{Glob, GlobBuilder};
use jiff::{SignedDuration, Span, SpanRelativeTo};

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

/// Reads `90s`, `1h30m`, `168h`, `7d`, `2 weeks`. A number without a unit is refused: nobody can tell what it means.
///
/// # Errors
///
/// What was expected.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    let parsed = trimmed.parse::<SignedDuration>().or_else(|_| {
        let span = trimmed.parse::<Span>()?;
        span.to_duration(SpanRelativeTo::days_are_24_hours())
    });
    parsed
        .ok()
        .and_then(|duration| std::time::Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a duration with its unit, such as 30m, 24h or 7d".to_owned())
}

/// Reads a pattern of names: a star is one component of a name, two are any number.
///
/// # Errors
///
/// What was expected, and why it is none.
pub fn glob(text: &str) -> Result<Glob, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map_err(|error| format!("expected a pattern such as 'team/*' or 'team/**': {}", error.kind()))
}
