//! Runs programs and takes their time.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program with its arguments.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Contender {
    pub(crate) fn new(
        name: &'static str,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Contender {
        Contender { name, program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Runs it once, its output thrown away, and takes the time.
    pub(crate) fn run(&self) -> Duration {
        let begun = Instant::now();
        let status = Command::new(&self.program)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", self.name));
        let elapsed = begun.elapsed();
        assert!(status.success(), "{} {:?} ended with {status}", self.name, self.arguments);
        elapsed
    }
}

/// Runs all in turn, once unmeasured to warm the cache, then `count` times, each time beginning with another: whoever comes after the
/// longest finds the least in the processor's caches. Times by contender.
pub(crate) fn rounds(contenders: &[Contender], count: usize) -> Vec<Vec<Duration>> {
    if count > 1 {
        contenders[0].run();
    }
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..count {
        for turn in 0..contenders.len() {
            let place = (round + turn) % contenders.len();
            times[place].push(contenders[place].run());
        }
    }
    times
}

pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// How many system calls it makes, in all threads; nothing if `strace` is not there.
pub(crate) fn system_calls(contender: &Contender) -> Option<u64> {
    let summary = std::env::temp_dir().join(format!("regsweep-compare-{}.strace", std::process::id()));
    let status = Command::new("strace")
        .args(["-c", "-f", "-o"])
        .arg(&summary)
        .arg(&contender.program)
        .args(&contender.arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    assert!(status.success(), "{} under strace ended with {status}", contender.name);
    let text = std::fs::read_to_string(&summary).ok()?;
    let _ = std::fs::remove_file(&summary);
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    // `100.00 <seconds> <usecs/call> <calls> [<errors>] total`
    total.split_whitespace().nth(3)?.parse().ok()
}

/// What all this ran on.
pub(crate) fn machine() -> String {
    let first = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_or_else(
            |_| "not installed".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned(),
        )
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{model}, {cores} cores, Linux {}; docker-registry: {}; {}\n",
        first("uname", &["-r"]),
        first("docker-registry", &["--version"]),
        first("rustc", &["--version"]),
    )
}
