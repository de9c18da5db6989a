//! The `regsweep` command: parses, calls the command, prints its report, exits.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use regsweep::cli::{self, Command, Hints, Quarantine, Refusal};
use regsweep::commands::{audit, explain, garbage_collect, list, opening, quarantine, repair, report, usage, verify};
use regsweep::config::{
    self, AuditSettings, CollectSettings, ExplainSettings, ListSettings, Output, QuarantineSettings, RepairSettings,
    ReportSettings, Settings, UsageSettings, VerifySettings,
};
use regsweep::error::{Context as _, Error};
use regsweep::exit::Exit;
use regsweep::options::Format;
use regsweep::progress::{self, Progress};
use regsweep::report::unused::UnusedReport;
use regsweep::report::{Failure, Metrics, Report, text};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = cli::plain(std::env::args_os());
    let started = config::now();
    let command = match cli::parse(&arguments) {
        Ok(cli) => cli.command,
        Err(refusal) => return refuse(&refusal, started).into(),
    };
    let rerun = cli::without_dry_run(&arguments);
    let output = command.output();
    log_to_stderr(output.is_some_and(|output| output.verbose));
    let (name, metrics) = (command.name(), output.and_then(|output| output.metrics.clone()));
    let failure = output.filter(|output| output.format() == Format::Json).map(|_| {
        let store = command.store();
        let (root, config) = (store.and_then(|store| store.root.clone()), store.and_then(|store| store.config.clone()));
        move |error: &Error| Failure::new(name, error, started).of_store(root, config)
    });
    let hints = command.store().map_or_else(Hints::default, |store| Hints::new(store, &rerun).reading(name, &arguments));
    let on_page = command.store().map_or_else(Hints::default, |store| hints.on_page(store, &arguments));
    let this = Run { name, hints, on_page };
    let exit = match command {
        Command::GarbageCollect(arguments) => this.run(CollectSettings::resolve(arguments, rerun), garbage_collect::run),
        Command::Expire(arguments) => this.run(CollectSettings::resolve_expire(arguments, rerun), garbage_collect::run),
        Command::Remove(arguments) => this.run(CollectSettings::resolve_remove(arguments, rerun), garbage_collect::run),
        Command::Restore(arguments) => this.run(QuarantineSettings::resolve(Quarantine::Restore(arguments)), quarantine::run),
        Command::Quarantine(wanted) => this.run(QuarantineSettings::resolve(wanted), quarantine::run),
        Command::Verify(arguments) => this.run(VerifySettings::resolve(arguments), verify::run),
        Command::Audit(arguments) => this.run(AuditSettings::resolve(arguments), audit::run),
        Command::Repair(arguments) => this.run(RepairSettings::resolve(arguments), repair::run),
        Command::Completions(arguments) => {
            print(&arguments.script()).map(|()| Exit::Clean).context("write to", "standard output")
        }
        Command::Man(arguments) => arguments.write().map(|()| Exit::Clean),
        Command::Explain(arguments) => this.run(ExplainSettings::resolve(arguments), explain::run),
        Command::List(arguments) => this.run(ListSettings::resolve(arguments), list::run),
        Command::Report(arguments) => this.run(ReportSettings::resolve(arguments), report::run),
        Command::Usage(arguments) => this.run(UsageSettings::resolve(arguments), usage::run),
    };
    let exit = exit.unwrap_or_else(|error| {
        this.complain(&error);
        if let Some(failure) = failure {
            // Where it cannot be printed, the exit code says as much.
            let _unread = print((this.hints.complete_json(&failure(&error).json()) + "\n").as_bytes());
        }
        let exit = Exit::of_error(&error);
        // Whoever watches the figures learns of it there and nowhere else, unless it is their file that is wrong.
        let is_theirs = matches!(&error, Error::Metrics(_));
        if let Some(path) = metrics.filter(|_| !is_theirs)
            && let Err(error) = Metrics::new(name, started, exit).write(&path)
        {
            this.complain(&error);
        }
        exit
    });
    exit.into()
}

/// Says what is wrong with a command line, or answers it.
fn refuse(refusal: &Refusal, started: SystemTime) -> Exit {
    refusal.print();
    if refusal.is_answer() {
        return Exit::Clean;
    }
    if refusal.wants_json {
        let failure = Failure::usage(refusal.command(), refusal.message(), started);
        let _unread = print((failure.json() + "\n").as_bytes());
    }
    Exit::Stopped
}

/// Prints to standard output.
fn print(bytes: &[u8]) -> io::Result<()> {
    // Without colours where nobody would see them.
    let mut stdout = anstream::AutoStream::auto(io::stdout().lock());
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A run of a command.
struct Run {
    name: &'static str,
    hints: Hints,
    /// For a page, which is read elsewhere.
    on_page: Hints,
}

impl Run {
    /// Runs the command, shows its report, and says how it ended.
    fn run<S: Settings, R: Report>(
        &self,
        settings: Result<S, Error>,
        command: impl FnOnce(S, &dyn Progress, &AtomicBool) -> Result<R, Error>,
    ) -> Result<Exit, Error> {
        let stop = stop_on_signals();
        let settings = settings?;
        let output = settings.output().clone();
        for warning in settings.location().registry.iter().flat_map(|registry| &registry.warnings) {
            tracing::warn!("{warning}");
        }
        if opening::is_unused(settings.location())? {
            let report = UnusedReport {
                command: self.name,
                root: settings.location().place.path(),
                config_path: settings.location().config_path.clone(),
                started: config::now(),
            };
            return Ok(self.show(&report, &output));
        }
        Ok(self.show(&command(settings, &*progress::on_stderr(output.quiet), &stop)?, &output))
    }

    /// Prints a report where it was wanted, and says how to end.
    fn show(&self, report: &impl Report, output: &Output) -> Exit {
        report.complaints().iter().for_each(|complaint| self.complain(complaint));
        let shown = self.print(report, output).map_err(|error| format!("cannot print the report: {error}"));
        let told = output.metrics.as_ref().map_or(Ok(()), |path| report.metrics().write(path)).map_err(|error| error.to_string());
        match shown.and(told).and(self.write_page(report, output)) {
            Ok(()) => report.exit(),
            Err(error) => {
                self.complain(error);
                report.exit_unseen()
            }
        }
    }

    /// Writes the page, if one is wanted, with commands that can be run as they stand.
    fn write_page(&self, report: &impl Report, output: &Output) -> Result<(), String> {
        let Some((path, page)) = output.html.as_ref().zip(report.page()) else { return Ok(()) };
        page.write(path, &|json| self.on_page.complete_json(json)).map_err(|error| error.to_string())
    }

    fn print(&self, report: &impl Report, output: &Output) -> io::Result<()> {
        let rendered = match output.format {
            Format::Json => self.hints.complete_json(&report.json()) + "\n",
            Format::Csv => report.csv().unwrap_or_default(),
            Format::Text if output.quiet => return Ok(()),
            Format::Text => text::render(&report.document(), terminal_width(), &|text| self.hints.complete(text)),
        };
        print(rendered.as_bytes())
    }

    fn complain(&self, of: impl Display) {
        // Not `eprintln`, which panics when nobody listens.
        let _nobody_listens = writeln!(io::stderr(), "regsweep: {}", self.hints.complete(&of.to_string()));
    }
}

/// A first signal asks the run to end after its current target; the same once more does not ask. A terminal that closes is such a signal,
/// unless the run was started not to mind.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(*signal)) {
        let register = || -> io::Result<()> {
            // A terminal that closes sends its signal twice as often as not, and others send two kinds at once: neither is impatience.
            if signal != SIGHUP {
                let again = Arc::new(AtomicBool::new(false));
                signal_hook::flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&again))?;
                signal_hook::flag::register(signal, again)?;
            }
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
            Ok(())
        };
        if let Err(error) = register() {
            tracing::warn!("cannot watch for signal {signal}, which will end the run at once: {error}");
        }
    }
    stop
}

/// Whether this process was started with a signal ignored, as `nohup` does it. Where the kernel does not say, it was not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
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

/// How wide the terminal is that the report goes to, if it goes to one.
fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}
