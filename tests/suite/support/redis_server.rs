//! Debian's `redis-server` on a free port of this machine, without persistence.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A redis with a directory of its own. It ends with the value.
#[derive(Debug)]
pub(crate) struct RedisServer {
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Whether the program is here; says so if not.
    pub(crate) fn is_here() -> bool {
        let is_here = Command::new("redis-server").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_here {
            crate::support::skipped("redis-server is not installed");
        }
        is_here
    }

    /// One that anybody may use.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with more arguments, such as `--requirepass x`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut server = Self { directory, port: 0, arguments, child: None };
        for _ in 0..10 {
            server.port =
                TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Stops it; what it held is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killing our own child cannot miss; it may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it, and starts an empty one at the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let is_back = (0..20).any(|_| self.try_start());
        assert!(is_back, "redis-server does not start again: {}", self.log());
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it may write.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The sections of a registry's configuration that make it remember blobs here: that below `storage`, and `redis`.
    pub(crate) fn settings(&self) -> super::server::Settings {
        self.settings_at(&self.address())
    }

    /// The same by way of another address.
    pub(crate) fn settings_at(&self, address: &str) -> super::server::Settings {
        super::server::Settings {
            storage: "  cache: {blobdescriptor: redis}\n".into(),
            more: format!("redis: {{addr: \"{address}\", db: 3}}\n"),
            ..Default::default()
        }
    }

    /// A connection to the database that [`settings`](Self::settings) name.
    pub(crate) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}/3", self.address())).expect("an address");
        client.get_connection().expect("redis-server answers")
    }

    /// Runs a command.
    pub(crate) fn run(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.connection()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// All keys, and the members of sets as `key member`.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        let mut connection = self.connection();
        let keys: BTreeSet<String> = redis::cmd("KEYS").arg("*").query(&mut connection).expect("answered");
        let mut all = keys.clone();
        for key in keys.iter().filter(|key| key.ends_with("::blobs")) {
            let members: Vec<String> = redis::cmd("SMEMBERS").arg(key).query(&mut connection).unwrap_or_default();
            all.extend(members.into_iter().map(|member| format!("{key} {member}")));
        }
        all
    }

    /// What in it speaks of a digest.
    pub(crate) fn claims(&self, digest: &str) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.contains(digest)).collect()
    }

    /// Sets what a registry sets that has found a blob in a repository.
    pub(crate) fn set(&self, repository: &str, digest: &str, size: usize) {
        self.run(&["SADD", &format!("repository::{repository}::blobs"), digest]);
        let size = size.to_string();
        let blob = format!("blobs::{digest}");
        self.run(&["HSET", &blob, "digest", digest, "size", &size, "mediatype", "application/octet-stream"]);
        self.run(&["HSET", &format!("repository::{repository}::blobs::{digest}"), "mediatype", "application/octet-stream"]);
    }

    fn try_start(&mut self) -> bool {
        let log = std::fs::File::create(self.directory.path().join("log")).expect("a file can be made");
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        // A configuration that is empty: everything is said by arguments.
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).arg("--dir").arg(self.directory.path());
        command.args(["--port", &port]).args(&self.arguments);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().expect("redis-server runs");
        let child = self.child.insert(child);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if child.try_wait().expect("a child can be asked").is_some() {
                return false;
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
