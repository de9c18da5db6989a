//! Figures for Prometheus, in its text format, as the node exporter's textfile collector reads them from `*.prom` files.
//!
//! Every sample carries the command, so that files of several commands may lie side by side. Source of the format and of the names'
//! habits: the exposition format's page and the naming page of the Prometheus documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::amount::Amount;
use crate::error::{Context as _, Error};
use crate::exit::Exit;
use crate::finding::{Code, Finding};
use crate::replacement::{Replacement, ensure_outside_storage, ensure_replaceable};

/// Read by everybody: the exporter runs as a user of its own.
const FILE_MODE: u32 = 0o644;

/// The figures of one run.
#[derive(Debug)]
pub struct Metrics {
    command: &'static str,
    text: String,
}

impl Metrics {
    /// Those that every run has, also one that could not do its job.
    pub fn new(command: &'static str, started: SystemTime, exit: Exit) -> Metrics {
        let mut metrics = Metrics { command, text: String::new() };
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.gauge("start_time_seconds", "When the last run began, in seconds since 1970.", since.as_secs_f64());
        metrics.gauge(
            "exit_code",
            "How the last run ended: 0 clean, 1 findings, 2 not run, 3 not finished, 130 interrupted.",
            exit as u8,
        );
        metrics
    }

    /// How long it took.
    pub fn elapsed(&mut self, elapsed: Duration) -> &mut Metrics {
        self.gauge("duration_seconds", "How long the last run took.", elapsed.as_secs_f64())
    }

    /// How much is stored.
    pub fn stored(&mut self, blobs: u64, size_bytes: u64) -> &mut Metrics {
        self.gauge("stored_blobs", "Blobs in the store.", blobs).gauge("stored_bytes", "Bytes in the store's blobs.", size_bytes)
    }

    /// What went.
    pub fn reclaimed(&mut self, blobs: u64, size_bytes: u64) -> &mut Metrics {
        self.gauge("reclaimed_blobs", "Blobs that the last run removed.", blobs).gauge(
            "reclaimed_bytes",
            "Bytes that the last run reclaimed.",
            size_bytes,
        )
    }

    /// Uploads that were begun and not ended.
    pub fn uploads(&mut self, uploads: Amount) -> &mut Metrics {
        self.gauge("uploads", "Uploads that the last run found begun and not ended.", uploads.count).gauge(
            "upload_bytes",
            "Bytes in the uploads that the last run found begun and not ended.",
            uploads.size_bytes,
        )
    }

    /// What waits in quarantine.
    pub fn quarantined(&mut self, amount: Amount) -> &mut Metrics {
        self.gauge("quarantined_blobs", "Blobs in quarantine after the last run.", amount.count).gauge(
            "quarantined_bytes",
            "Bytes in the blobs in quarantine after the last run.",
            amount.size_bytes,
        )
    }

    /// Whether what waits in quarantine goes on waiting until the registry has been restarted.
    pub fn registry_must_restart(&mut self, must: bool) -> &mut Metrics {
        let help = "Whether a cache of the registry may remember what went or waits in quarantine, until it is restarted.";
        self.gauge("registry_must_restart", help, u8::from(must))
    }

    /// What was found to go, whether or not it went.
    pub fn reclaimable(&mut self, amount: Amount) -> &mut Metrics {
        self.gauge("reclaimable_blobs", "Blobs that the last run found unreferenced.", amount.count).gauge(
            "reclaimable_bytes",
            "Bytes in the blobs that the last run found unreferenced.",
            amount.size_bytes,
        )
    }

    /// What was read, and what was not for want of time.
    pub fn verified(&mut self, good: Amount, damaged_blobs: u64, left: Amount) -> &mut Metrics {
        self.gauge("verified_blobs", "Blobs that the last run read and found good.", good.count)
            .gauge("verified_bytes", "Bytes in the blobs that the last run found good.", good.size_bytes)
            .gauge("damaged_blobs", "Blobs that the last run read and found not to be good.", damaged_blobs)
            .gauge("unread_blobs", "Blobs that the last run was to read and did not.", left.count)
            .gauge("unread_bytes", "Bytes in the blobs that the last run was to read and did not.", left.size_bytes)
    }

    /// The same with `--delete-untagged`.
    pub fn reclaimable_untagged(&mut self, amount: Amount) -> &mut Metrics {
        self.gauge("reclaimable_untagged_blobs", "Blobs that a collection with --delete-untagged would remove.", amount.count)
            .gauge(
                "reclaimable_untagged_bytes",
                "Bytes in the blobs that a collection with --delete-untagged would remove.",
                amount.size_bytes,
            )
    }

    /// What is wrong: a sample for every code, so that an alert sees 0 and not nothing.
    pub fn findings(&mut self, findings: &[Finding]) -> &mut Metrics {
        let mut counts: BTreeMap<Code, u64> = Code::ALL.iter().map(|code| (*code, 0)).collect();
        for finding in findings {
            *counts.entry(finding.code).or_default() += finding.count;
        }
        self.head("findings", "Findings of the last run, by code.");
        for (code, count) in counts {
            let (command, severity) = (self.command, code.severity());
            let labels = format!("command=\"{command}\",code=\"{code}\",severity=\"{severity}\"");
            writeln!(self.text, "regsweep_findings{{{labels}}} {count}").expect("writing to a String");
        }
        self
    }

    fn head(&mut self, name: &str, help: &str) {
        write!(self.text, "# HELP regsweep_{name} {help}\n# TYPE regsweep_{name} gauge\n").expect("writing to a String");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) -> &mut Metrics {
        self.head(name, help);
        writeln!(self.text, "regsweep_{name}{{command=\"{}\"}} {value}", self.command).expect("writing to a String");
        self
    }

    /// Writes them to a file that is there as a whole or not at all: whoever reads it at any moment reads one run.
    ///
    /// # Errors
    ///
    /// When the file or its directory cannot be written to.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut file = Metrics::begin(path)?;
        file.file().write_all(self.text.as_bytes()).context("write", path)?;
        file.file().set_permissions(Permissions::from_mode(FILE_MODE)).context("write", path)?;
        file.finish().map(drop)
    }

    /// Makes sure that figures can be written there: makes the file that would replace it, and removes it again.
    ///
    /// # Errors
    ///
    /// When they cannot.
    pub fn ensure_writable(path: &Path) -> Result<(), Error> {
        Metrics::begin(path).map(drop)
    }

    fn begin(path: &Path) -> Result<Replacement, Error> {
        ensure_replaceable("--metrics", path)?;
        ensure_outside_storage("--metrics", path)?;
        Replacement::begin(path, ".regsweep-metrics-")
    }
}
