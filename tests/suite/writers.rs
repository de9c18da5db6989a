//! Who may be at work on a store, and what a collection does about it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::{RealRegistry, Settings, registry_command};
use crate::support::*;

/// A registry with a layer that nothing needs, running.
pub(crate) fn with_garbage(settings: Settings) -> RealRegistry {
    let mut registry = RealRegistry::start();
    registry.client().push_tag("a", "v1", &oci_image("kept", &[layer(1)]));
    registry.client().put_blob("a", &layer(2));
    registry.configure(settings);
    registry.restart();
    registry
}

fn gc(registry: &RealRegistry, flags: &[&str]) -> Outcome {
    Regsweep::gc_config(&registry.config()).any_age().args(flags).run()
}

#[track_caller]
fn is_refused(registry: &RealRegistry, flags: &[&str], said: &str) {
    let before = snapshot(&registry.root().join("docker"));
    let refused = gc(registry, flags).expect_code(2);
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    for way_out in ["stop it", "read-only", "--online", "--assume-offline"] {
        assert!(refused.stderr.contains(way_out), "{way_out}: {}", refused.stderr);
    }
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
}

#[track_caller]
fn goes_on(registry: &RealRegistry, flags: &[&str]) {
    let done = gc(registry, flags).expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
    assert!(!registry.root().join(layout::blob_data(&layer(2).digest)).exists());
}

pub(crate) fn basic(registry: &RealRegistry) -> Settings {
    // The bcrypt of "secret" for "user", made by htpasswd.
    let file = registry.config().with_file_name("htpasswd");
    fs::write(&file, "user:$2y$05$Tb5kOqfVsoN5kyOTdYJYqOBrrvFDBuUTFbCuJ79owyKkqK0l9yXmm\n").expect("written");
    Settings { more: format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display()), ..Settings::default() }
}

/// The reading may have taken long, and somebody started a registry meanwhile.
#[test]
fn writers_are_looked_for_again_right_before_the_sweep() {
    let mut registry = with_garbage(Settings::default());
    registry.stop();
    let before = snapshot(&registry.root().join("docker"));
    // The plan is written when all has been read: whoever writes to a pipe waits for its reader.
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("plan");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    let words = ["garbage-collect", "--min-age", "0s", "--allow-unlinked", "100%", "--plan-out"];
    let run = Regsweep::new().args(words).arg(&pipe).arg(registry.config()).start();
    std::thread::sleep(Duration::from_secs(2));
    registry.restart();
    // As before the restart, which may have changed the port: by the process.
    let plan = fs::read_to_string(&pipe).expect("a plan");
    assert!(plan.contains("\"blob\""), "{plan}");
    let refused = run.wait().expect_code(2);
    assert!(refused.stderr.contains("is a registry that works on this store"), "{}", refused.stderr);
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
}

/// `--online` is a way out only where it would be accepted.
#[test]
fn the_way_beside_a_registry_is_offered_only_where_it_leads_somewhere() {
    let mut registry = with_garbage(Settings::default());
    let offers = |run: Outcome| run.expect_code(2).stderr.contains("--online");
    assert!(offers(gc(&registry, &[])));
    let url = format!("http://{}", registry.address());
    assert!(!offers(Regsweep::gc(&registry.root()).any_age().args(["--registry", &url]).run()), "by --root");
    let purge = Regsweep::new().args(["quarantine", "purge"]).arg(registry.config());
    assert!(!offers(purge.run()), "a purge is none");
    registry.configure(Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() });
    registry.restart();
    assert!(offers(gc(&registry, &[])), "what it remembers ends with it");
    registry.configure(Settings { storage: "  cache: {blobdescriptor: redis}\n".into(), ..Settings::default() });
    assert!(offers(gc(&registry, &[])), "what it remembers can be removed");
    // Nothing names the server here.
    Regsweep::gc_config(&registry.config()).arg("--online").run().expect_code(2);
}

#[test]
fn a_registry_that_takes_pushes_stops_the_run() {
    let mut registry = with_garbage(Settings::default());
    is_refused(&registry, &[], &format!("takes pushes answers at http://{}", registry.address()));
    is_refused(&registry, &["--quarantine"], "takes pushes");
    assert!(!registry.root().join(".regsweep/quarantine").exists());
    let dry = gc(&registry, &["--dry-run"]).expect_code(0);
    assert!(
        dry.stdout.contains("at work") && dry.stdout.contains("a real run stops for as long as that is so"),
        "{}",
        dry.stdout
    );
    let root = registry.root();
    Regsweep::gc(&root).any_age().args(["--registry", &format!("http://{}/", registry.address())]).run().expect_code(2);
    registry.stop();
    goes_on(&registry, &[]);
}

#[test]
fn a_registry_that_is_read_only_does_not() {
    goes_on(&with_garbage(Settings::read_only()), &[]);
}

#[test]
fn assume_offline_goes_on_regardless() {
    goes_on(&with_garbage(Settings::default()), &["--assume-offline"]);
}

#[test]
fn every_registry_that_is_named_is_asked() {
    let mut first = with_garbage(Settings::read_only());
    let second = RealRegistry::start();
    let urls = [&first, &second].map(|registry| format!("http://{}", registry.address()));
    let [read_only, writable] = [&urls[0], &urls[1]].map(|url| url.as_str());
    is_refused(&first, &["--registry", read_only, "--registry", writable], &format!("answers at {writable}"));
    gc(&first, &["--registry", "127.0.0.1:5000"]).expect_code(2);
    is_refused(&first, &["--registry", "http://no-such-machine.invalid:5000"], "no-such-machine.invalid");
    goes_on(&first, &["--registry", read_only]);
    first.stop();
    gc(&first, &["--registry", read_only]).expect_code(0);
}

#[test]
fn a_registry_that_wants_a_password_does_not_say() {
    let mut registry = with_garbage(Settings::default());
    let settings = basic(&registry);
    registry.configure(settings.clone());
    registry.restart();
    is_refused(&registry, &[], "it answers 401");
    is_refused(&registry, &[], "--registry-auth");
    // Its configuration says what will be after a restart.
    registry.configure(Settings { maintenance: Settings::read_only().maintenance, ..settings });
    is_refused(&registry, &[], "it answers 401");
    is_refused(&registry, &["--registry-auth", "user:wrong"], "it answers 401");
    is_refused(&registry, &["--registry-auth", "user:secret"], "takes pushes");
    registry.restart();
    is_refused(&registry, &[], "it answers 401");
    goes_on(&registry, &["--registry-auth", "user:secret"]);
}

#[test]
fn a_prefix_is_where_the_registry_is_asked() {
    let settings = Settings { http: ", prefix: /registry/".to_owned(), ..Settings::default() };
    is_refused(&with_garbage(settings), &[], "/registry");
}

/// A key and a self-signed certificate beside a registry's configuration.
pub(crate) fn certificate_for(registry: &RealRegistry) -> Option<(String, String)> {
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| registry.config().with_file_name(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry.example", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skipped("no openssl");
        return None;
    }
    Some((key.display().to_string(), certificate.display().to_string()))
}

#[test]
fn certificates_of_any_name_are_taken() {
    let mut registry = with_garbage(Settings::default());
    let Some((key, certificate)) = certificate_for(&registry) else { return };
    let http = format!(", tls: {{certificate: {}, key: {}}}", certificate, key);
    registry.configure(Settings { http, ..Settings::default() });
    registry.restart();
    is_refused(&registry, &[], &format!("takes pushes answers at https://{}", registry.address()));
}

/// Answers the first connection with `answer`, or never.
pub(crate) fn server(answer: Option<&'static str>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        let mut silent: Vec<TcpStream> = Vec::new();
        while let Ok((mut connection, _)) = listener.accept() {
            match answer {
                Some(answer) => {
                    let _request = connection.read(&mut [0; 4096]);
                    connection.write_all(answer.as_bytes()).expect("somebody asks");
                }
                None => silent.push(connection),
            }
        }
    });
    address
}

pub(crate) fn store_with_address(address: impl std::fmt::Display) -> (tempfile::TempDir, tempfile::NamedTempFile) {
    let root = registry().repo("a").image("kept", &[layer(1)]).tag("v1").upload_layer(&layer(2)).on_disk();
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        root.path().display()
    );
    fs::write(config.path(), text).expect("written");
    (root, config)
}

#[test]
fn nobody_waits_for_ever_for_an_answer() {
    let (_root, config) = store_with_address(server(None));
    let begun = Instant::now();
    let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
    assert!(refused.stderr.contains("does not say whether it takes pushes"), "{}", refused.stderr);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_pull_through_cache_writes_although_it_is_read_only() {
    let remote = RealRegistry::start();
    let more = format!("proxy: {{remoteurl: \"http://{}\"}}\n", remote.address());
    let settings = Settings { more, ..Settings::read_only() };
    let mut registry = with_garbage(settings);
    let refused = gc(&registry, &[]).expect_code(2);
    assert!(refused.stderr.contains("pull-through cache"), "{}", refused.stderr);
    // By its root, before it has written its state there: the configuration of the process tells.
    let _no_state = std::fs::remove_file(registry.root().join("scheduler-state.json"));
    let given = format!("http://{}", registry.address());
    let refused = Regsweep::gc(&registry.root()).args(["--registry", &given]).run().expect_code(2);
    assert!(refused.stderr.contains("registry that works on this store"), "{}", refused.stderr);
    registry.stop();
    goes_on(&registry, &[]);
}

/// Ends a process of ours.
pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_upload_under_way_stops_the_run() {
    let tree = registry().repo("a").image("kept", &[layer(1)]).tag("v1").with(|tree| {
        tree.upload("a", "11111111-2222-3333-4444-555555555555", b"half");
    });
    let root = tree.on_disk();
    let upload = root.path().join(layout::upload("a", "11111111-2222-3333-4444-555555555555")).join("data");
    let reader = Command::new("sleep").arg("100").stdin(fs::File::open(&upload).expect("there")).spawn().map(Ended);
    let reader = reader.expect("sleep runs");
    Regsweep::gc(root.path()).run().expect_code(0);
    drop(reader);
    let writer = fs::OpenOptions::new().append(true).open(&upload).expect("there");
    let writer = Command::new("sleep").arg("100").stdout(writer).spawn().map(Ended).expect("sleep runs");
    let refused = Regsweep::gc(root.path()).run().expect_code(2);
    let said =
        format!("process {} (sleep) has {} open for writing", writer.0.id(), fs::canonicalize(&upload).expect("there").display());
    assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    Regsweep::gc(root.path()).arg("--assume-offline").run().expect_code(0);
}

/// Starts a process that sees the store mounted at `at`, in a namespace of its own.
fn mounted(root: &std::path::Path, at: &std::path::Path) -> Option<Ended> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root mounts");
        return None;
    }
    let script = format!("mount --bind '{}' '{}' && echo mounted && exec sleep 100", root.display(), at.display());
    let child = Command::new("unshare").args(["-m", "sh", "-ec", &script]).stdout(Stdio::piped()).spawn();
    let mut child = Ended(child.expect("unshare is there"));
    let mut word = [0; 7];
    child.0.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("it mounts");
    Some(child)
}

#[test]
fn a_process_that_has_the_store_mounted_stops_the_run() {
    let root = registry().repo("a").image("kept", &[layer(1)]).tag("v1").on_disk();
    let elsewhere = tempfile::tempdir().expect("a directory");
    // As containers do, at another place or the same.
    for at in [elsewhere.path(), root.path()] {
        let Some(process) = mounted(root.path(), at) else { return };
        let refused = Regsweep::gc(root.path()).run().expect_code(2);
        let said = format!("process {} (", process.0.id());
        assert!(refused.stderr.contains(&said) && refused.stderr.contains("has the store mounted at"), "{}", refused.stderr);
        Regsweep::gc(root.path()).arg("--assume-offline").run().expect_code(0);
        drop(process);
        Regsweep::gc(root.path()).run().expect_code(0);
    }
    // Whoever says read-only may have it mounted.
    let mut registry = with_garbage(Settings::read_only());
    let Some(process) = mounted(&registry.root(), elsewhere.path()) else { return };
    let seen = Regsweep::gc_config(&registry.config()).dry().run().expect_code(0);
    assert!(seen.stderr.contains("is taken for one that only reads"), "{}", seen.stderr);
    assert!(seen.rows_of("blob").is_empty() && !seen.stdout.contains("of any age"), "that may be wrong: {}", seen.stdout);
    goes_on(&registry, &[]);
    drop(process);
    // A bind mount of the machine's own, in a namespace of ours: the kernel's processes are not who has it mounted elsewhere.
    registry.stop();
    let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
    let (root, at) = (registry.root(), elsewhere.path());
    let run = Regsweep::new().args(["garbage-collect", "--root"]).arg(at);
    let starter = ["unshare", "-m", "sh", "-ec", script].map(std::ffi::OsString::from);
    let refused = run.under(starter.into_iter().chain([root.into(), at.into()])).run().expect_code(2);
    assert!(refused.stderr.contains("has the store mounted at"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("kthreadd"), "{}", refused.stderr);
}

/// A registry with the configuration of another one, at an address of its own.
pub(crate) fn beside(root: &Path, config: &Path, variables: &[(&str, &str)]) -> (Ended, String) {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let mut command = registry_command();
    command.arg("serve").arg(config).env("REGISTRY_HTTP_ADDR", &address).envs(variables.iter().copied());
    // As for every registry of a test.
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root);
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Ended).expect("docker-registry is installed");
    let begun = Instant::now();
    while TcpStream::connect(&address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Later than what is rounded of the time at which a process was started.
    std::thread::sleep(Duration::from_millis(300));
    (process, address)
}

/// Of two registries of one store one was made read-only and started again.
#[test]
fn a_registry_beside_one_that_is_read_only_is_asked_itself() {
    let mut first = with_garbage(Settings::default());
    let own = first.config().with_file_name("second.yml");
    for is_one_file in [true, false] {
        first.configure(Settings::default());
        first.restart();
        fs::copy(first.config(), &own).expect("copied");
        let config = if is_one_file { first.config() } else { own.clone() };
        let (second, address) = beside(&first.root(), &config, &[]);
        first.configure(Settings::read_only());
        first.restart();
        let before = snapshot(&first.root().join("docker"));
        let no_age = || Regsweep::gc_config(&first.config());
        let refused = no_age().run().expect_code(2);
        let said = format!("process {} (", second.0.id());
        assert!(refused.stderr.contains(&said) && refused.stderr.contains("that works on this store"), "{}", refused.stderr);
        let dry = no_age().dry().run().expect_code(0);
        assert!(dry.rows_of("blob").is_empty() && !dry.stdout.contains("of any age"), "a push may be under way: {}", dry.stdout);
        assert_eq!(snapshot(&first.root().join("docker")), before, "nothing was touched");
        // By what it answers, if it is asked, too.
        let named = no_age().args(["--registry", &format!("http://{address}")]).run().expect_code(2);
        assert!(named.stderr.contains("takes pushes answers at"), "{}", named.stderr);
        drop(second);
    }
    // One that answers itself that it is read-only is believed.
    let read_only = [("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")];
    let (second, _) = beside(&first.root(), &first.config(), &read_only);
    goes_on(&first, &[]);
    drop(second);
}

/// A registry is asked by its own address, with the password that was given.
#[test]
fn a_registry_that_is_read_only_is_believed_whatever_became_of_its_file() {
    let mut registry = with_garbage(Settings::default());
    let settings = Settings { maintenance: Settings::read_only().maintenance, ..basic(&registry) };
    registry.configure(settings.clone());
    registry.restart();
    std::thread::sleep(Duration::from_millis(300));
    registry.configure(settings);
    is_refused(&registry, &[], "it answers 401");
    goes_on(&registry, &["--registry-auth", "user:secret"]);
}

/// A registry that says that it takes no pushes. While it is asked something is pushed, for as long as that is wanted.
struct Pushed {
    root: tempfile::TempDir,
    config: tempfile::NamedTempFile,
    is_pushed: Arc<AtomicBool>,
}

impl Pushed {
    fn start() -> Pushed {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (root, config) = store_with_address(listener.local_addr().expect("it has one"));
        let uploads = root.path().join(layout::repository("a")).join("_uploads");
        fs::create_dir(&uploads).expect("made");
        let is_pushed = Arc::new(AtomicBool::new(true));
        let wanted = Arc::clone(&is_pushed);
        std::thread::spawn(move || {
            for number in 0.. {
                let (mut connection, _) = listener.accept().expect("somebody asks");
                if wanted.load(Ordering::Relaxed) {
                    fs::create_dir(uploads.join(number.to_string())).expect("made");
                }
                let _request = connection.read(&mut [0; 4096]);
                let answer =
                    "HTTP/1.1 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n";
                // Who only knocked has hung up.
                let _heard = connection.write_all(answer.as_bytes());
            }
        });
        Pushed { root, config, is_pushed }
    }

    fn run(&self, words: &[&str]) -> Outcome {
        Regsweep::new().args(words).arg(self.config.path()).json().run()
    }

    /// Is stopped by the push, with nothing changed, and not without it.
    #[track_caller]
    fn stops(&self, words: &[&str]) -> String {
        // But for uploads, of which more are begun, and the lock.
        let seen = || {
            let all = snapshot(self.root.path()).into_iter();
            let is_other = |path: &str| !path.contains("/_uploads") && ![".regsweep", ".regsweep/lock"].contains(&path);
            all.filter(|(path, _)| is_other(path)).map(|(path, seen)| (path, seen.kind)).collect::<Vec<_>>()
        };
        let before = seen();
        let refused = self.run(words).expect_code(2);
        assert_eq!(seen(), before, "{words:?}");
        for part in ["changed while this run looked at it", "a/_uploads", "--assume-offline does not lift this"] {
            assert!(refused.stderr.contains(part), "{words:?}, {part}: {}", refused.stderr);
        }
        refused.stderr
    }
}

/// What is written while the store is read stops a repair.
#[test]
fn a_push_meanwhile_stops_a_repair() {
    let pushed = Pushed::start();
    let link = pushed.root.path().join(layout::layer_link("a", &layer(1).digest));
    fs::write(&link, "").expect("damaged");
    pushed.stops(&["repair"]);
    pushed.stops(&["repair", "--dry-run"]);
    pushed.is_pushed.store(false, Ordering::Relaxed);
    pushed.run(&["repair"]).expect_code(0);
    assert_eq!(fs::read_to_string(&link).expect("there"), layer(1).digest);
}

/// And a purge that does not wait, be it of a collection or of damage.
#[test]
fn a_push_meanwhile_stops_a_purge() {
    let pushed = Pushed::start();
    fs::write(pushed.root.path().join(layout::blob_data(&layer(1).digest)), "damaged").expect("damaged");
    pushed.run(&["verify", "--quarantine", "--min-age", "0s"]).expect_code(1);
    let words = ["garbage-collect", "--quarantine", "--assume-offline", "--ignore-birth-time", "--allow-unlinked", "100%"];
    pushed.run(&words).expect_code(0);
    let runs = pushed.run(&["quarantine", "list"]).report()["runs"].clone();
    let ids: Vec<&str> = runs.as_array().expect("runs").iter().filter_map(|run| run["run"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{runs}");
    let said = pushed.stops(&["quarantine", "purge"]);
    assert!(said.contains("give --older-than 1h or more to purge beside it"), "{said}");
    for id in &ids {
        pushed.stops(&["quarantine", "purge", "--run", id]);
    }
    // Beside a registry at work it minds nothing.
    pushed.run(&["quarantine", "purge", "--older-than", "1h"]).expect_code(0);
    pushed.is_pushed.store(false, Ordering::Relaxed);
    for id in &ids {
        pushed.run(&["quarantine", "purge", "--run", id]).expect_code(0);
    }
    assert_eq!(pushed.run(&["quarantine", "list"]).report()["runs"], serde_json::json!([]));
}
