//! What the settings of all commands have.

use std::path::PathBuf;
use std::time::Duration;

use super::location::Location;
use crate::cli;
use crate::options::Format;
use crate::policy::Arrivals;

/// Keeps what was pushed in the last hour: longer than nearly every push takes.
pub(super) const DEFAULT_MIN_AGE: Duration = Duration::from_secs(3600);

/// Where a command's report goes.
#[derive(Clone, Debug)]
pub struct Output {
    /// Print no text report and no progress.
    pub quiet: bool,
    /// How to print the report.
    pub format: Format,
    /// Where to write figures for Prometheus.
    pub metrics: Option<PathBuf>,
    /// Where to write a page for a browser.
    pub html: Option<PathBuf>,
}

impl Output {
    pub(super) fn new(arguments: cli::OutputArguments) -> Output {
        Output { quiet: arguments.quiet, format: arguments.format(), metrics: arguments.metrics, html: None }
    }

    /// The same with a page.
    pub(super) fn with_html(self, html: Option<PathBuf>) -> Output {
        Output { html, ..self }
    }
}

/// What every command has to know.
pub trait Settings {
    /// The store.
    fn location(&self) -> &Location;

    /// Where the report goes.
    fn output(&self) -> &Output;
}

/// What counts as young for having just been made.
pub(super) fn arrivals(ignored: bool) -> Arrivals {
    if ignored { Arrivals::Ignored } else { Arrivals::BornOrChanged }
}
