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
    folder: TempDir,
    address: String,
    child: Option<Child>,
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
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("storage")).expect("a folder can be made");
        let registry = Self { folder, address: "127.0.0.1:0".to_owned(), child: None };
        registry.write_config();
        registry
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
        self.folder.path().join("storage")
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.yml")
    }

    /// Stops it if it runs, and starts it.
    pub(crate) fn restart(&mut self) {
        // Another process may take the port between our look and the registry's; then the next is tried.
        for _ in 0..10 {
            self.stop();
            self.address = free_address();
            self.write_config();
            if self.try_start() {
                return;
            }
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
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

    fn try_start(&mut self) -> bool {
        let log = File::create(self.folder.path().join("log")).expect("a file can be made");
        let child = registry_command()
            .arg("serve")
            .arg(self.config())
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
            if client.try_send("GET", "/v2/", &[], &[]).is_ok_and(|answer| answer.status == 200) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn write_config(&self) {
        let text = format!(
            "version: 0.1\n\
             log: {{level: warn}}\n\
             storage:\n\
             \x20 filesystem: {{rootdirectory: {}}}\n\
             \x20 delete: {{enabled: true}}\n\
             \x20 maintenance: {{uploadpurging: {{enabled: false}}}}\n\
             http: {{addr: \"{}\"}}\n",
            self.root().display(),
            self.address
        );
        fs::write(self.config(), text).expect("a file can be written");
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

/// The registry without the settings that the caller's environment may hold for another one.
fn registry_command() -> Command {
    let mut command = Command::new("docker-registry");
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
