//! The real registry, `docker-registry` of the distribution, on a free port of this machine.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::Client;

/// A registry with storage and a configuration file of its own; running or stopped.
#[derive(Debug)]
pub(crate) struct RealRegistry {
    directory: TempDir,
    address: String,
    child: Option<Child>,
    settings: Settings,
}

/// What a registry's configuration has beside the usual: members of flow mappings such as `, readonly: {enabled: true}`, and lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) storage: String,
    pub(crate) maintenance: String,
    pub(crate) http: String,
    pub(crate) more: String,
}

impl Settings {
    /// A registry that takes no pushes.
    pub(crate) fn read_only() -> Self {
        Self { maintenance: ", readonly: {enabled: true}".to_owned(), ..Self::default() }
    }
}

/// System calls of a registry that are held up: those of some names, separated by commas, that name a path.
#[derive(Clone, Debug)]
pub(crate) struct HeldUp {
    pub(crate) path: PathBuf,
    pub(crate) call: &'static str,
    /// `delay_enter`, or `delay_exit`: when the kernel has answered and the registry does not know yet.
    pub(crate) when: &'static str,
    pub(crate) by: Duration,
}

impl RealRegistry {
    /// A registry over empty storage, running.
    pub(crate) fn start() -> Self {
        let mut registry = Self::stopped();
        registry.restart();
        registry
    }

    /// The same, not running: for its own garbage collection on a tree written by other means.
    pub(crate) fn stopped() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::create_dir(directory.path().join("storage")).expect("a directory can be made");
        let registry = Self { directory, address: "127.0.0.1:0".to_owned(), child: None, settings: Settings::default() };
        registry.write_config();
        registry
    }

    /// Configures it anew: in its file at once, in a registry that runs after a restart.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.write_config();
    }

    /// `host:port`, which a restart may change.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Its root directory, the one that `docker/` is in.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Stops it if it runs, and starts it.
    pub(crate) fn restart(&mut self) {
        self.restart_as(registry_command);
    }

    /// The same with another file as its configuration, which gets the address.
    pub(crate) fn restart_by(&mut self, config: &Path) {
        for _ in 0..10 {
            self.stop();
            self.address = free_address();
            self.write_config();
            let text = fs::read_to_string(config).expect("readable");
            let line = text.lines().find(|line| line.starts_with("http:")).expect("it says where").to_owned();
            fs::write(config, text.replace(&line, &format!("http: {{addr: \"{}\"}}", self.address))).expect("written");
            if self.try_start_by(registry_command(), config) {
                return;
            }
        }
        panic!("docker-registry does not start");
    }

    /// The same with these variables.
    pub(crate) fn restart_with(&mut self, variables: &[(&str, &str)]) {
        self.restart_as(|| {
            let mut command = registry_command();
            command.envs(variables.iter().copied());
            command
        });
    }

    /// The same under `strace`, which holds some of its calls up. The registry is the child, and `strace` a process beside it.
    pub(crate) fn restart_held_up(&mut self, held: &HeldUp) {
        self.restart_as(|| {
            let mut command = without_settings(Command::new("strace"));
            command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-P"]).arg(&held.path);
            // What is called so on some architectures only.
            let calls: Vec<String> = held.call.split(',').map(|call| format!("?{call}")).collect();
            command.args(["-e", &format!("trace={}", calls.join(","))]);
            command.args(["-e", &format!("inject={}:{}={}", calls.join(","), held.when, held.by.as_micros())]);
            command.arg(program());
            command
        });
    }

    /// The same in PID and mount namespaces of its own, as a container has them.
    pub(crate) fn restart_contained(&mut self) {
        self.restart_as(|| {
            let mut command = without_settings(Command::new("unshare"));
            command.args(["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]).arg(program());
            command
        });
    }

    /// Stops it, and starts it at the same address: whoever pushes to it goes on.
    pub(crate) fn restart_in_place(&mut self) {
        self.stop();
        // Somebody may have taken the port meanwhile, for a moment.
        let is_back = (0..20).any(|_| self.try_start(registry_command()));
        assert!(is_back, "docker-registry does not start at {} again", self.address);
    }

    fn restart_as(&mut self, command: impl Fn() -> Command) {
        // Another process may take the port between our look and the registry's; then the next is tried.
        for _ in 0..10 {
            self.stop();
            self.address = free_address();
            self.write_config();
            if self.try_start(command()) {
                return;
            }
        }
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("docker-registry does not start:\n{log}");
    }

    /// Ends it. Every request answered has been written by then.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killing our own child cannot miss; it may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs its own `garbage-collect` with these flags. It must not be running.
    pub(crate) fn garbage_collect(&self, flags: &[&str]) -> Output {
        assert!(self.child.is_none(), "stop the registry first");
        registry_command().arg("garbage-collect").args(flags).arg(self.config()).output().expect("docker-registry runs")
    }

    fn try_start(&mut self, command: Command) -> bool {
        let config = self.config();
        self.try_start_by(command, &config)
    }

    fn try_start_by(&mut self, mut command: Command, config: &Path) -> bool {
        let log = File::create(self.directory.path().join("log")).expect("a file can be made");
        let child = command
            .arg("serve")
            .arg(config)
            // Other tests see this process, and see by this that it works on another store, though its file may change.
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", self.root())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed: tests/run sees to it");
        let child = self.child.insert(child);
        let begun = Instant::now();
        let client = Client::new(&self.address);
        while begun.elapsed() < Duration::from_secs(20) {
            if child.try_wait().expect("a child can be asked").is_some() {
                return false;
            }
            // Whatever it answers: it may want a password, or TLS.
            if client.try_send("GET", "/v2/", &[], &[]).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn write_config(&self) {
        let Settings { storage, maintenance, http, more } = &self.settings;
        let text = format!(
            "version: 0.1\n\
             log: {{level: warn}}\n\
             storage:\n\
             \x20 filesystem: {{rootdirectory: {}}}\n\
             \x20 delete: {{enabled: true}}\n\
             \x20 maintenance: {{uploadpurging: {{enabled: false}}{maintenance}}}\n\
             {storage}\
             http: {{addr: \"{}\"{http}}}\n\
             {more}",
            self.root().display(),
            self.address
        );
        // In one step: whoever looks for registries of this machine may be reading it.
        let new = self.directory.path().join("config.new");
        fs::write(&new, text).expect("a file can be written");
        fs::rename(&new, self.config()).expect("a file can be renamed");
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The registry's own collector on a tree that is already somewhere.
pub(crate) fn garbage_collect(root: &Path, flags: &[&str]) -> Output {
    let config = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display());
    fs::write(config.path(), text).expect("a file can be written");
    registry_command()
        .arg("garbage-collect")
        .args(flags)
        .arg(config.path())
        .output()
        .expect("docker-registry is installed: tests/run sees to it")
}

/// The registry's program: `REGSWEEP_TEST_REGISTRY`, or Debian's.
fn program() -> std::ffi::OsString {
    std::env::var_os("REGSWEEP_TEST_REGISTRY").filter(|program| !program.is_empty()).unwrap_or_else(|| "docker-registry".into())
}

/// The registry under another name, so that other tests do not take it for a registry at work with a configuration that says nothing.
pub(crate) fn disguised_registry_command() -> Command {
    static COPY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let copy = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("another-name");
        let new = copy.with_extension(std::process::id().to_string());
        let found = Command::new("sh").args(["-c", "command -v \"$0\""]).arg(program()).output().expect("sh runs").stdout;
        let found = String::from_utf8(found).expect("a path");
        fs::copy(found.trim_end(), &new).expect("docker-registry is installed");
        // In one step: another test may be running the one before.
        fs::rename(&new, &copy).expect("renamed");
        copy
    });
    without_settings(Command::new(copy))
}

/// The first number of the registry's version: faults of 2.x are mended in part by 3.x.
pub(crate) fn major_version() -> u32 {
    let output = registry_command().arg("--version").output().expect("docker-registry is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().last().unwrap_or_default().trim_start_matches('v');
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_else(|| panic!("a version: {said}"))
}

/// The registry without the settings that the caller's environment may hold for another one.
pub(crate) fn registry_command() -> Command {
    without_settings(Command::new(program()))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REGISTRY_") {
            command.env_remove(name);
        }
    }
    command
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("this machine has a free port").to_string()
}
