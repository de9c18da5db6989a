//! `regsweep report`: an account, an audit and a dry run, one after the other, as one report.
//!
//! Each of them lists the store for itself: they mark it in different ways, and what one holds in memory is dropped before the next begins.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::{audit, garbage_collect, opening, usage};
use crate::config::ReportSettings;
use crate::error::Error;
use crate::progress::Progress;
use crate::report::overview::OverviewReport;
use crate::store::Backend;

/// Reports on a store. Nothing in it is touched.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the store cannot be listed or read, the page could not be written at the end, or a collection is at work.
pub fn run(settings: ReportSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<OverviewReport, Error> {
    let reading = &settings.usage.reading;
    run_on(&*opening::open(&reading.location, reading.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: ReportSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<OverviewReport, Error> {
    let begun = Instant::now();
    let ReportSettings { collect, usage, audit } = settings;
    let html = usage.reading.output.html.clone().unwrap_or_default();
    let usage = usage::run_on(backend, usage, progress, stop)?;
    let audit = audit::run_on(backend, audit, progress, stop)?;
    let (collect, stops) = match garbage_collect::run_on(backend, collect, progress, stop) {
        Ok(collect) => {
            let stops = collect.stops.clone();
            (Some(collect), stops)
        }
        // The audit goes on past what cannot be read, and names all of it.
        Err(error) if audit.would_stop && !matches!(error, Error::Interrupted) => (None, vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    Ok(OverviewReport { html, collect, stops, usage, audit, elapsed: begun.elapsed() })
}
