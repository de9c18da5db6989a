//! The binary under test: how it is started, and what it said.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// No run in a test takes this long; one that does is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Floods at their full size take a debug build longer.
pub(crate) fn patience() -> Duration {
    if std::env::var("REGSWEEP_FLOOD").is_ok_and(|wish| wish == "all") { 5 * PATIENCE } else { PATIENCE }
}

/// One row of `--plan-out`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
    #[serde(default)]
    pub(crate) upload: Option<String>,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) modified: String,
    pub(crate) reason: String,
}

/// One image that a finding names as hurt.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub(crate) struct Need {
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) manifest: String,
    pub(crate) platform: Option<String>,
}

/// One finding of a JSON report.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) message: String,
    pub(crate) next_step: Option<String>,
    pub(crate) needed_by: Vec<Need>,
    pub(crate) needed_by_more: u64,
    pub(crate) count: u64,
}

/// A run to be.
#[derive(Debug)]
pub(crate) struct Regsweep {
    command: Command,
    plan: PathBuf,
    directory: TempDir,
    counts_birth: bool,
}

impl Regsweep {
    /// The bare binary, no arguments yet. What the caller's environment says about a registry is left out.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        for (name, _) in std::env::vars_os() {
            let foreign = ["REGISTRY_", "REGSWEEP_", "RUST_LOG"];
            if foreign.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // The clock of a test machine is synchronised by nobody; what that changes has tests of its own.
        command.env("REGSWEEP_TEST_CLOCK", "trusted=yes");
        // What one run keeps is no business of another's.
        command.env("XDG_CACHE_HOME", directory.path().join("cache"));
        command.stdin(Stdio::null());
        Self { command, plan: directory.path().join("plan.jsonl"), directory, counts_birth: false }
    }

    /// `garbage-collect` on a root directory. The plan is always asked for: [`Outcome::plan`].
    pub(crate) fn gc(root: &Path) -> Self {
        Self::garbage_collect().arg("--root").arg(root)
    }

    /// `audit` of a root directory.
    pub(crate) fn audit(root: &Path) -> Self {
        Self::new().args(["audit", "--root"]).arg(root)
    }

    /// `garbage-collect` with a registry's configuration file.
    pub(crate) fn gc_config(config: &Path) -> Self {
        Self::garbage_collect().arg(config)
    }

    /// `expire` on a root directory. The plan is always asked for.
    pub(crate) fn expire(root: &Path) -> Self {
        Self::expiring().arg("--root").arg(root)
    }

    /// `expire` with a registry's configuration file.
    pub(crate) fn expire_config(config: &Path) -> Self {
        Self::expiring().arg(config)
    }

    fn expiring() -> Self {
        let bare = Self::new();
        let plan = bare.plan.clone();
        bare.args(["expire", "--allow-unlinked", "100%", "--plan-out"]).arg(plan)
    }

    /// `remove` on a root directory. The plan is always asked for.
    pub(crate) fn remove(root: &Path) -> Self {
        Self::removing().arg("--root").arg(root)
    }

    /// `remove` with a registry's configuration file.
    pub(crate) fn remove_config(config: &Path) -> Self {
        Self::removing().arg(config)
    }

    fn removing() -> Self {
        let bare = Self::new();
        let plan = bare.plan.clone();
        bare.args(["remove", "--plan-out"]).arg(plan)
    }

    fn garbage_collect() -> Self {
        let bare = Self::new();
        let plan = bare.plan.clone();
        // Stores of tests are small, and mostly garbage. What these brakes are for has tests of its own.
        let lifted = ["--allow-unlinked", "100%", "--allow-untagged-repositories", "--allow-missing", "100%"];
        bare.arg("garbage-collect").args(lifted).arg("--plan-out").arg(plan)
    }

    /// Lets nothing be too young to go: `--min-age 0s`.
    pub(crate) fn any_age(self) -> Self {
        self.args(["--min-age", "0s"])
    }

    /// Lets files that were just made be young, as they are without a flag.
    pub(crate) fn counting_birth(mut self) -> Self {
        self.counts_birth = true;
        self
    }

    pub(crate) fn delete_untagged(self) -> Self {
        self.arg("--delete-untagged")
    }

    pub(crate) fn dry(self) -> Self {
        self.arg("--dry-run")
    }

    /// Asks for the report that [`Outcome::json`] and [`Outcome::findings`] read.
    pub(crate) fn json(self) -> Self {
        self.args(["--format", "json"])
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs another copy of it.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.command = self.again(Command::new(program));
        self
    }

    /// Lets another program start it, given with its own arguments: `strace`, for one.
    pub(crate) fn under(mut self, starter: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut words = starter.into_iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(self.command.get_program());
        self.command = self.again(command);
        self
    }

    /// Gives another command what this one was given.
    fn again(&self, mut command: Command) -> Command {
        command.args(self.command.get_args()).stdin(Stdio::null());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        command
    }

    /// Tampers with one of its system calls, as strace's `inject` says it.
    pub(crate) fn injected(self, inject: &str) -> Self {
        self.under(["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")])
    }

    /// Starts it and lets it run, for tests that send signals or hold its output back.
    pub(crate) fn start(mut self) -> Running {
        // What a test builds is made just now, and as old as its modification times say.
        let is_given = |words: &[&str]| self.command.get_args().any(|word| words.iter().any(|given| word == *given));
        if is_given(&["garbage-collect", "audit", "usage", "explain", "expire", "remove", "report"])
            && !is_given(&["--help"])
            && !self.counts_birth
        {
            self.command.arg("--ignore-birth-time");
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{:?}", self.command);
        let child = self.command.spawn().expect("the binary starts");
        Running { child, line, plan: self.plan, _directory: self.directory }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it takes so long that it must be stuck.
    pub(crate) fn run(self) -> Outcome {
        self.start().wait()
    }
}

/// Another user, with a copy of the program: the build directory is root's alone on some machines.
#[derive(Debug)]
pub(crate) struct SomebodyElse(TempDir);

impl SomebodyElse {
    const SETPRIV: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    /// Nothing, and a word about it, where we cannot become one.
    pub(crate) fn new() -> Option<SomebodyElse> {
        let tried = Command::new(Self::SETPRIV[0]).args(&Self::SETPRIV[1..]).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            crate::support::skipped("only root becomes somebody else");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        fs::copy(env!("CARGO_BIN_EXE_regsweep"), directory.path().join("regsweep")).expect("copied");
        Some(SomebodyElse(directory))
    }

    /// A directory that they may read.
    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The same run, as they would start it.
    pub(crate) fn runs(&self, run: Regsweep) -> Regsweep {
        run.program(&self.0.path().join("regsweep")).under(Self::SETPRIV)
    }
}

/// A run that has begun.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    line: String,
    plan: PathBuf,
    _directory: TempDir,
}

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Outcome {
        let stdout = self.child.stdout.take().map(collect);
        let stderr = self.child.stderr.take().map(collect);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                break status;
            }
            if begun.elapsed() > patience() {
                self.child.kill().expect("a child can be ended");
                panic!("stuck: {}", self.line);
            }
            thread::sleep(Duration::from_millis(1));
        };
        let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            let bytes = reader.map(|reader| reader.join().expect("reading a pipe does not panic"));
            String::from_utf8(bytes.unwrap_or_default()).expect("output is UTF-8")
        };
        Outcome {
            line: self.line,
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            plan: fs::read_to_string(&self.plan).ok(),
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// What a run left.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The command as it was given, for messages.
    pub(crate) line: String,
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What `--plan-out` wrote, if it came to that.
    pub(crate) plan: Option<String>,
}

impl Outcome {
    /// Asserts the exit code; says all that was said when it is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "expected exit code {code}, got {:?}\n{}\n--- stdout\n{}--- stderr\n{}",
            self.code,
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The rows of the plan, in order.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Row> {
        let plan = self.plan.as_ref();
        plan.unwrap_or_else(|| panic!("no plan was written\n{}\n{}", self.line, self.stderr))
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not a plan row: {error}: {line}")))
            .collect()
    }

    /// The rows of one kind.
    #[track_caller]
    pub(crate) fn rows_of(&self, kind: &str) -> Vec<Row> {
        let mut rows = self.rows();
        rows.retain(|row| row.kind == kind);
        rows
    }

    /// Paths of everything planned, in order.
    #[track_caller]
    pub(crate) fn paths(&self) -> Vec<String> {
        self.rows().into_iter().map(|row| row.path).collect()
    }

    /// Digests of the blobs planned to go.
    #[track_caller]
    pub(crate) fn blobs(&self) -> std::collections::BTreeSet<String> {
        self.rows_of("blob").into_iter().map(|row| row.digest.expect("a blob row names its digest")).collect()
    }

    /// Bytes that the plan says come back.
    #[track_caller]
    pub(crate) fn reclaimable_bytes(&self) -> u64 {
        self.rows_of("blob").iter().map(|row| row.bytes).sum()
    }

    /// The JSON report. The run needs [`Regsweep::json`].
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not a JSON report: {error}\n{}\n{}{}", self.line, self.stdout, self.stderr))
    }

    /// The findings of the JSON report.
    #[track_caller]
    pub(crate) fn findings(&self) -> Vec<Finding> {
        serde_json::from_value(self.report()["findings"].clone())
            .unwrap_or_else(|error| panic!("not findings: {error}\n{}", self.stdout))
    }

    /// The codes of the findings, one per finding, sorted.
    #[track_caller]
    pub(crate) fn finding_codes(&self) -> Vec<String> {
        let mut codes: Vec<_> = self.findings().into_iter().map(|finding| finding.code).collect();
        codes.sort();
        codes
    }
}
