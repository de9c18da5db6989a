//! The `regsweep` command: parses, calls the command, prints its report, exits.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use regsweep::cli::{Cli, Command, Format, GarbageCollect};
use regsweep::commands::garbage_collect;
use regsweep::config::Settings;
use regsweep::error::Error;
use regsweep::exit::Exit;
use regsweep::progress;
use regsweep::report::{Report, json, text};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Command::GarbageCollect(arguments) = Cli::parse().command;
    log_to_stderr(arguments.verbose);
    let exit = match collect(arguments) {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error);
            Exit::of_error(&error)
        }
    };
    exit.into()
}

fn collect(arguments: GarbageCollect) -> Result<Exit, Error> {
    let stop = stop_on_signals();
    let settings = Settings::resolve(arguments)?;
    let (format, quiet) = (settings.format, settings.quiet);
    for warning in settings.registry.iter().flat_map(|registry| &registry.warnings) {
        tracing::warn!("{warning}");
    }
    let report = garbage_collect::run(settings, &*progress::on_stderr(quiet), &stop)?;
    Ok(match print(&report, format, quiet) {
        Ok(()) => report.exit(),
        Err(error) => {
            complain(format_args!("cannot print the report: {error}"));
            report.exit_unseen()
        }
    })
}

/// A first signal asks the run to end after its current target; a second one does not ask.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let register = || -> io::Result<()> {
            signal_hook::flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
            Ok(())
        };
        if let Err(error) = register() {
            tracing::warn!("cannot watch for signal {signal}, which will end the run at once: {error}");
        }
    }
    stop
}

/// Logs to standard error: warnings, or what `RUST_LOG` asks for, or more with `--verbose`.
fn log_to_stderr(verbose: bool) {
    let default = if verbose { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .without_time()
        .with_target(false)
        .init();
}

fn print(report: &Report, format: Format, quiet: bool) -> io::Result<()> {
    let rendered = match format {
        Format::Json => json::render(report) + "\n",
        Format::Text if quiet => return Ok(()),
        Format::Text => text::render(report),
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(rendered.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn complain(of: impl Display) {
    // Not `eprintln`, which panics when nobody listens.
    let _nobody_listens = writeln!(io::stderr(), "regsweep: {of}");
}
