//! A server that speaks S3, `moto`, on a free port of this machine, and what is in its buckets.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::{Client, Response};
use super::server::registry_command;
use super::tree::Tree;

/// Nobody checks it, and no output may have it.
pub(crate) const ACCESS_KEY: &str = "AKIDOFTHETESTS";
/// The same.
pub(crate) const SECRET_KEY: &str = "secret-of-the-tests";

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Moto {
    child: Child,
    address: String,
    directory: TempDir,
}

/// Where `tests/run` installs it.
fn program() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tests-python/bin/moto_server")
}

impl Moto {
    /// Starts one; nothing, and a word about it, where it is not installed. In CI it has to be.
    pub(crate) fn start() -> Option<Moto> {
        if !program().is_file() {
            let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!is_ci, "moto_server is not installed: tests/run sees to it");
            crate::support::skipped("no moto_server; tests/run installs it");
            return None;
        }
        // Another process may take the port between our look and the server's; then the next is tried.
        (0..5).find_map(|_| Moto::try_start()).or_else(|| panic!("moto_server does not start"))
    }

    fn try_start() -> Option<Moto> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let log = File::create(directory.path().join("log")).expect("a file can be made");
        let child = Command::new(program())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("moto_server starts");
        let mut moto = Moto { child, address: format!("127.0.0.1:{port}"), directory };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if moto.child.try_wait().expect("a child can be asked").is_some() {
                return None;
            }
            if moto.client().try_send("GET", "/", &[], &[]).is_ok() {
                return Some(moto);
            }
            thread::sleep(Duration::from_millis(50));
        }
        None
    }

    fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn send(&self, method: &str, path: &str, content: &[u8]) -> Response {
        // The server sees by this that S3 is meant.
        let signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
        self.client().send(method, path, &[("Authorization", signed)], content)
    }

    fn put(&self, path: &str, content: &[u8]) {
        self.send("PUT", path, content).expect_status(200);
    }

    /// Lets a bucket keep versions from now on.
    pub(crate) fn version(&self, bucket: &str) {
        let text = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.put(&format!("/{bucket}?versioning"), text);
    }

    /// What an object holds; nothing if there is none.
    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let answer = self.send("GET", &format!("/{bucket}/{key}"), b"");
        (answer.status == 200).then_some(answer.body)
    }

    /// All keys of a bucket that holds fewer than a page of them, but for our own.
    pub(crate) fn keys(&self, bucket: &str) -> BTreeSet<String> {
        let answer = self.send("GET", &format!("/{bucket}?list-type=2"), b"").expect_status(200);
        let text = String::from_utf8(answer.body).expect("text");
        assert!(text.contains("<IsTruncated>false</IsTruncated>"), "one page: {text}");
        let keys = text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
        keys.filter(|key| !key.contains(".regsweep/")).collect()
    }

    /// Makes a bucket.
    pub(crate) fn make(&self, bucket: &str) {
        self.put(&format!("/{bucket}"), b"");
    }

    /// Puts an object under a key that is written as in a URL.
    pub(crate) fn put_object(&self, bucket: &str, key: &str, content: &[u8]) {
        self.put(&format!("/{bucket}/{key}"), content);
    }

    /// Begins a multipart upload of a key, and sends parts of it.
    pub(crate) fn begin_multipart(&self, bucket: &str, key: &str, parts: &[&[u8]]) {
        let answer = self.send("POST", &format!("/{bucket}/{key}?uploads"), b"").expect_status(200);
        let text = String::from_utf8(answer.body).expect("text");
        let id = text.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once("</UploadId>")).expect("an id").0;
        for (number, part) in parts.iter().enumerate() {
            self.put(&format!("/{bucket}/{key}?partNumber={}&uploadId={id}", number + 1), part);
        }
    }

    /// The keys of the multipart uploads that were begun and not ended.
    pub(crate) fn multiparts(&self, bucket: &str) -> Vec<String> {
        let answer = self.send("GET", &format!("/{bucket}?uploads"), b"").expect_status(200);
        let text = String::from_utf8(answer.body).expect("text");
        text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
    }

    /// Removes an object.
    pub(crate) fn remove_object(&self, bucket: &str, key: &str) {
        self.send("DELETE", &format!("/{bucket}/{key}"), b"").expect_status(204);
    }

    /// Makes a bucket that holds the files of a tree, with keys that begin so.
    pub(crate) fn fill(&self, bucket: &str, prefix: &str, tree: &Tree) {
        self.make(bucket);
        for (path, content, _) in tree.files() {
            self.put_object(bucket, &format!("{prefix}{path}"), content);
        }
    }

    /// Writes a registry's configuration for a bucket behind an address.
    pub(crate) fn config(&self, name: &str, address: &str, bucket: &str, more: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let text = format!(
            "version: 0.1\n\
             log: {{level: warn}}\n\
             storage:\n\
             \x20 s3: {{accesskey: {ACCESS_KEY}, secretkey: {SECRET_KEY}, region: us-east-1, regionendpoint: \"http://{address}\", \
             bucket: {bucket}, secure: false, v4auth: true, forcepathstyle: true{more}}}\n\
             \x20 delete: {{enabled: true}}\n\
             \x20 maintenance: {{uploadpurging: {{enabled: false}}}}\n"
        );
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Killing our own child cannot miss; it may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A registry whose storage is a bucket, until it is dropped.
#[derive(Debug)]
pub(crate) struct BucketRegistry {
    child: Option<Child>,
    address: String,
    config: PathBuf,
}

impl BucketRegistry {
    /// Starts one.
    pub(crate) fn start(moto: &Moto, bucket: &str, more: &str) -> BucketRegistry {
        let config = moto.config(&format!("{bucket}-registry.yml"), moto.address(), bucket, more);
        // Blobs come from the registry itself.
        let text = fs::read_to_string(&config).expect("readable");
        fs::write(&config, format!("{text}  redirect: {{disable: true}}\n")).expect("written");
        let mut registry = BucketRegistry { child: None, address: String::new(), config };
        registry.restart();
        registry
    }

    /// Starts it again, at another address.
    pub(crate) fn restart(&mut self) {
        let text = fs::read_to_string(&self.config).expect("readable");
        let text = text.split("http:\n").next().expect("a part").to_owned();
        for _ in 0..5 {
            self.stop();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            self.address = listener.local_addr().expect("an address").to_string();
            drop(listener);
            fs::write(&self.config, format!("{text}http:\n  addr: \"{}\"\n", self.address)).expect("written");
            let mut command = registry_command();
            // With that variable this version cannot ask a bucket.
            command.arg("serve").arg(&self.config).env_remove("AWS_CA_BUNDLE").stdout(Stdio::null()).stderr(Stdio::null());
            let child = self.child.insert(command.spawn().expect("it starts"));
            for _ in 0..600 {
                if Client::new(&self.address).try_send("GET", "/v2/", &[], &[]).is_ok() {
                    return;
                }
                if child.try_wait().expect("a child can be asked").is_some() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("docker-registry does not start on the bucket");
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Stops it if it runs.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for BucketRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
