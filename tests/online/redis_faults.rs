//! A redis that goes away at each command that a run sends, and the ways to one: passwords, TLS, sentinels. And what is flushed offline.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use crate::in_redis::{image, night, remembering};
use crate::support::redis_server::RedisServer;
use crate::support::server::RealRegistry;
use crate::support::*;

/// Stands before a redis, and cuts a connection at the n-th command from when it was armed.
struct Proxy {
    address: String,
    /// Commands until the cut; negative: none is cut.
    left: Arc<AtomicI64>,
    seen: Arc<AtomicU64>,
    /// Whether the server still gets the command at which the connection is cut.
    passes_on: Arc<AtomicU64>,
}

impl Proxy {
    fn before(redis: &RedisServer) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Proxy {
            address: listener.local_addr().expect("an address").to_string(),
            left: Arc::new(AtomicI64::new(-1)),
            seen: Arc::default(),
            passes_on: Arc::default(),
        };
        let (left, seen, passes_on) = (Arc::clone(&proxy.left), Arc::clone(&proxy.seen), Arc::clone(&proxy.passes_on));
        let server = redis.address();
        // Ends with the process of the test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (left, seen, passes_on) = (Arc::clone(&left), Arc::clone(&seen), Arc::clone(&passes_on));
                let (mut answers, mut back) = (server.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
                thread::spawn(move || std::io::copy(&mut answers, &mut back));
                thread::spawn(move || forward(client, server, &left, &seen, passes_on.load(Ordering::SeqCst) == 1));
            }
        });
        proxy
    }

    fn arm(&self, commands: i64, passes_on: bool) {
        self.seen.store(0, Ordering::SeqCst);
        self.passes_on.store(u64::from(passes_on), Ordering::SeqCst);
        self.left.store(commands, Ordering::SeqCst);
    }
}

/// Hands bytes on until it is time to cut. Each command begins with `*` at the beginning of a line, and no argument of ours does.
fn forward(mut client: TcpStream, mut server: TcpStream, left: &AtomicI64, seen: &AtomicU64, passes_on: bool) {
    let mut buffer = [0; 1 << 16];
    let mut last = b'\n';
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        for (place, &byte) in buffer[..read].iter().enumerate() {
            let begins = byte == b'*' && last == b'\n';
            last = byte;
            if !begins {
                continue;
            }
            seen.fetch_add(1, Ordering::SeqCst);
            if left.load(Ordering::SeqCst) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1 {
                left.store(-1, Ordering::SeqCst);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.write_all(if passes_on { &buffer[..read] } else { &buffer[..place] });
                if !passes_on {
                    let _ = server.shutdown(Shutdown::Both);
                }
                return;
            }
        }
        if server.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

fn put_alone(registry: &RealRegistry) -> u16 {
    let typed = [("Content-Type", image().media_type)];
    registry.client().send("PUT", "/v2/a/manifests/v1", &typed, &image().manifest.bytes).status
}

fn online(registry: &RealRegistry) -> Outcome {
    let flags = ["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s", "--format", "json"];
    Regsweep::gc_config(&registry.config()).args(flags).env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0").run()
}

/// Cuts a night at each of its commands, before the redis has it and after. Whatever is acknowledged after that can be pulled in the end, and
/// whatever nobody needs goes in the end.
fn cut_at_each_command(prepare: fn(&RealRegistry, &RedisServer)) {
    if !RedisServer::is_here() {
        return;
    }
    let (mut cuts, mut acknowledged, mut stopped) = (0, 0, 0);
    let step = if std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all") { 1 } else { 3 };
    for passes_on in [false, true] {
        for command in (1..).step_by(step) {
            let redis = RedisServer::start();
            let proxy = Proxy::before(&redis);
            let registry = remembering(redis.settings_at(&proxy.address));
            prepare(&registry, &redis);
            let parts = || {
                let parts = ["docker", ".regsweep/quarantine"].map(|part| registry.root().join(part));
                parts.map(|part| part.exists().then(|| snapshot(&part)))
            };
            let before = parts();
            proxy.arm(command, passes_on);
            let run = online(&registry);
            let was_cut = proxy.left.swap(-1, Ordering::SeqCst) < 0;
            if !was_cut {
                run.expect_code(0);
                break;
            }
            cuts += 1;
            let at = format!("command {command}, passed on: {passes_on}: {:?}\n{}{}", run.code, run.stdout, run.stderr);
            match run.code {
                Some(2) => {
                    stopped += 1;
                    assert!(parts() == before, "{at}");
                    assert!(run.stderr.contains(&proxy.address), "{at}");
                }
                // A connection that had rested is made anew.
                Some(0 | 3) => assert_eq!(run.report()["exit_code"], run.code.expect("a code"), "{at}"),
                _ => panic!("{at}"),
            }
            // Whatever the redis claims by now: who is told that an image is there can pull it in the end.
            let status = put_alone(&registry);
            for _ in 0..4 {
                night(&registry, &["--min-age", "0s", "--ignore-birth-time"]);
            }
            if status == 201 {
                acknowledged += 1;
                registry.client().pull("a", "v1").unwrap_or_else(|error| panic!("{at}: {error}"));
            } else {
                let list = Regsweep::new().args(["quarantine", "list"]).arg(registry.config()).run().expect_code(0).stdout;
                assert!(list.contains("nothing is in quarantine"), "{at}\n{list}");
            }
        }
    }
    println!(
        "cut at {cuts} commands: {stopped} runs stopped with nothing changed, {acknowledged} images acknowledged after a cut"
    );
    assert!(cuts > 4 && stopped > 0, "{cuts} {stopped}");
}

#[test]
fn a_redis_that_goes_away_while_things_are_quarantined() {
    cut_at_each_command(|_, _| {});
}

#[test]
fn a_redis_that_goes_away_before_a_purge() {
    cut_at_each_command(|registry, redis| {
        night(registry, &[]);
        // All of it came back.
        image().blobs.iter().for_each(|blob| redis.set("a", &blob.digest, blob.bytes.len()));
        redis.set("b", image().digest(), image().manifest.bytes.len());
    });
}

/// A store with something to remove, a redis that claims that and what stays, and a configuration with this section `redis`.
fn offline(redis: &RedisServer, section: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let store =
        registry().repo("a").image("stays", &[layer(1)]).tag("v1").upload_layer(&layer(2)).stray_blob(&layer(3)).on_disk();
    for number in 1..=3 {
        redis.set("a", &layer(number).digest, layer(number).bytes.len());
    }
    // Of a run long ago.
    redis.set("a", &layer(9).digest, 5);
    let config = redis.directory().join("config.yml");
    let storage = format!("{{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: redis}}}}", store.path().display());
    std::fs::write(&config, format!("version: 0.1\nstorage: {storage}\n{section}\n")).expect("written");
    (store, config)
}

fn collect(config: &Path, flags: &[&str]) -> Regsweep {
    Regsweep::gc_config(config).args(["--assume-offline", "--format", "json"]).args(flags)
}

fn forgotten(run: Outcome) -> u64 {
    run.expect_code(0).report()["quarantine"]["forgotten"].as_u64().expect("a number")
}

/// Keys and members that are stale in the store of [`offline`]: two layers of the store, and one of long ago.
const STALE: u64 = 9;

#[test]
fn what_a_redis_claims_of_what_is_gone_is_reported_and_flushed() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let (_store, config) = offline(&redis, &format!("redis: {{addr: '{}', db: 3}}", redis.address()));
    let before = redis.keys();
    let reported = collect(&config, &[]).run().expect_code(1);
    let codes = reported.finding_codes();
    // A blob and a link for each of the two layers, and for what went long ago.
    assert_eq!(codes, ["stale-cache"; 6], "{}", reported.stdout);
    assert_eq!(redis.keys(), before, "nothing is removed without being told");
    let text = Regsweep::gc_config(&config).arg("--assume-offline").run().expect_code(1).stdout;
    assert!(text.contains("--flush-redis") && text.contains("stale-cache"), "{text}");
    assert_eq!(forgotten(collect(&config, &["--flush-redis"]).run()), STALE);
    for number in [2, 3, 9] {
        assert_eq!(redis.claims(&layer(number).digest), [""; 0]);
    }
    assert_eq!(redis.claims(&layer(1).digest).len(), 3, "what is there stays");
    assert_eq!(forgotten(collect(&config, &["--flush-redis"]).run()), 0);
}

/// Lets a redis claim so many blobs that no store has.
fn claim_many(redis: &RedisServer, count: u64) {
    let mut connection = redis.connection();
    for first in (0..count).step_by(500) {
        let mut pipeline = redis::pipe();
        for number in first..count.min(first + 500) {
            let digest = format!("sha256:{number:064x}");
            pipeline.cmd("SADD").arg("repository::a::blobs").arg(&digest);
            pipeline.cmd("HSET").arg(format!("blobs::{digest}")).arg("digest").arg(&digest);
            pipeline.cmd("HSET").arg(format!("repository::a::blobs::{digest}")).arg("mediatype").arg("x");
        }
        pipeline.exec(&mut connection).expect("set");
    }
}

/// Runs it, and says how many KiB it had at most.
fn peak(run: Regsweep) -> (Outcome, u64) {
    let mut running = run.start();
    let path = format!("/proc/{}/status", running.child.id());
    let mut peak = 0;
    while running.child.try_wait().expect("a child can be asked").is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        thread::sleep(std::time::Duration::from_millis(2));
    }
    (running.wait(), peak)
}

/// Nothing is gathered: with all of them in memory it took 350 bytes for each key.
#[test]
fn a_flush_takes_no_more_memory_for_a_larger_redis() {
    if !RedisServer::is_here() {
        return;
    }
    let [few, many] = [500, 15_000].map(|count| {
        let redis = RedisServer::start();
        let (_store, config) = offline(&redis, &format!("redis: {{addr: '{}', db: 3}}", redis.address()));
        claim_many(&redis, count);
        let (flushed, peak) = peak(collect(&config, &["--flush-redis", "--jobs", "1"]));
        assert_eq!(forgotten(flushed), STALE + 3 * count);
        assert_eq!(redis.claims("sha256:00000"), [""; 0]);
        assert_eq!(redis.claims(&layer(1).digest).len(), 3, "what is there stays");
        println!("{count} blobs flushed in {peak} KiB");
        peak
    });
    assert!(many < few + 3_000, "{few} KiB for 500 blobs, {many} KiB for 15,000");
}

/// What is not listed is counted.
#[test]
fn a_report_of_a_large_redis_counts_what_it_claims() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let (_store, config) = offline(&redis, &format!("redis: {{addr: '{}', db: 3}}", redis.address()));
    claim_many(&redis, 7_000);
    let report = collect(&config, &[]).run().expect_code(1).report();
    assert_eq!(report["finding_counts"]["warning"], 6 + 2 * 7_000, "{}", report["finding_counts"]);
    let listed = report["findings"].as_array().expect("a list").len();
    assert!(listed < 5_100, "{listed}");
}

#[test]
fn a_redis_that_is_down_is_said_to_be_and_stops_a_flush() {
    if !RedisServer::is_here() {
        return;
    }
    let mut redis = RedisServer::start();
    let (store, config) = offline(&redis, &format!("redis: {{addr: '{}', db: 3}}", redis.address()));
    redis.stop();
    let before = snapshot(&store.path().join("docker"));
    let refused = collect(&config, &["--flush-redis"]).run().expect_code(2);
    assert!(refused.stderr.contains(&redis.address()) || refused.stdout.contains(&redis.address()), "{}", refused.stderr);
    assert!(snapshot(&store.path().join("docker")) == before);
    let text = Regsweep::gc_config(&config).arg("--assume-offline").run().expect_code(0).stdout;
    assert!(text.contains(&redis.address()) && text.contains("--flush-redis"), "{text}");
    let none = Regsweep::gc(store.path()).arg("--flush-redis").run().expect_code(2);
    assert!(none.stderr.contains("blobdescriptor"), "{}", none.stderr);
}

/// Before it removes anything, too.
#[test]
fn a_dry_run_says_what_is_claimed_of_what_would_go() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let (store, config) = offline(&redis, &format!("redis: {{addr: '{}', db: 3}}", redis.address()));
    let (before, keys) = (snapshot(store.path()), redis.keys());
    let dry = collect(&config, &["--flush-redis", "--dry-run"]).run().expect_code(1);
    assert_eq!(dry.finding_codes(), ["stale-cache"; 6], "{}", dry.stdout);
    assert!(snapshot(store.path()) == before && redis.keys() == keys);
}

#[test]
fn passwords_and_users_are_those_of_the_configuration() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let address = redis.address();
    let (_store, config) = offline(&redis, "");
    // What collects needs no more than this.
    let rights = ["+ping", "+select", "+scan", "+sscan", "+exists", "+sismember", "+del", "+srem", "+scard", "+hget", "+auth"];
    redis.run(&[&["ACL", "SETUSER", "gc", "on", ">word", "~blobs::*", "~repository::*"][..], &rights].concat());
    redis.run(&["CONFIG", "SET", "requirepass", "secret"]);
    let flush = |section: &str| {
        let text = std::fs::read_to_string(&config).expect("there");
        let text = text.lines().take(2).collect::<Vec<_>>().join("\n");
        std::fs::write(&config, format!("{text}\nredis: {{addr: '{address}', db: 3{section}}}\n")).expect("written");
        collect(&config, &["--flush-redis"])
    };
    for wrong in ["", ", password: wrong", ", username: nobody, password: secret"] {
        let refused = flush(wrong).run().expect_code(2);
        assert!(refused.stderr.contains("redis") && !refused.stderr.contains("secret"), "{wrong}: {}", refused.stderr);
    }
    let by_variable = flush(", username: gc").env("REGISTRY_REDIS_PASSWORD", "word");
    assert_eq!(forgotten(by_variable.run()), STALE);
    assert_eq!(forgotten(flush(", password: secret").run()), 0);
}

/// A server that answers is not yet one that can be made to forget: each right is asked for before the first change.
#[test]
fn a_redis_that_takes_no_changes_stops_a_run_before_it_changes_anything() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let mut registry = remembering(redis.settings());
    registry.stop();
    for command in ["del", "srem", "scan", "sscan", "scard", "exists", "sismember", "hget"] {
        let without = format!("-{command}");
        redis.run(&["ACL", "SETUSER", &format!("no{command}"), "on", ">word", "~*", "+@all", &without]);
    }
    redis.run(&["ACL", "SETUSER", "nokeys", "on", ">word", "~other*", "+@all"]);
    let config = registry.config().with_file_name("ours.yml");
    let text = std::fs::read_to_string(registry.config()).expect("there");
    let by = |section: &str| {
        let at = text.find("redis: {addr").expect("a section");
        std::fs::write(&config, format!("{}redis: {{{section}}}\n", &text[..at])).expect("written");
    };
    let parts = || {
        let parts = ["docker", ".regsweep/quarantine"].map(|part| registry.root().join(part));
        parts.map(|part| part.exists().then(|| snapshot(&part)))
    };
    let (before, keys) = (parts(), redis.keys());
    let is_refused = |words: &[&str], said: &str| {
        let refused = Regsweep::gc_config(&config).args(["-m", "--format", "text"]).args(words).run().expect_code(2);
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
        assert!(parts() == before && redis.keys() == keys, "{words:?} {said}");
        refused.stderr
    };
    let address = redis.address();
    for user in ["nodel", "nosrem", "noscan", "nosscan", "noscard", "noexists", "nosismember", "nohget", "nokeys"] {
        by(&format!("addr: '{address}', db: 3, username: {user}, password: word"));
        is_refused(&["--online"], "DEL and SREM");
        is_refused(&["--flush-redis"], "blobs::*");
    }
    let copy = RedisServer::start();
    let (host, port) = address.split_once(':').expect("both");
    copy.run(&["REPLICAOF", host, port]);
    by(&format!("addr: '{}', db: 3", copy.address()));
    is_refused(&["--online"], "takes changes");
    // Whatever is advised has to work: neither of the two ways that ask it does.
    by(&format!("addrs: ['{address}', '127.0.0.1:1']"));
    for words in [["--online"], ["--flush-redis"]] {
        let said = is_refused(&words, "not supported");
        assert!(!said.contains("; start it") && said.contains("empty the cluster"), "{said}");
    }
    let offline = Regsweep::gc_config(&config).args(["-m", "--min-age", "0s"]).run();
    assert!(offline.stdout.contains("empty the cluster"), "{}", offline.stdout);
    assert!(!offline.stdout.contains("Collect with --flush-redis"), "{}", offline.stdout);
}

/// Two registries, each with a redis of its own: stopping them alone would leave what one of them claims.
#[test]
fn registries_with_a_redis_each_are_flushed_with_the_configuration_of_each() {
    if !RedisServer::is_here() {
        return;
    }
    let (first, second) = (RedisServer::start(), RedisServer::start());
    let mut registry = remembering(first.settings());
    let config = registry.config().with_file_name("second.yml");
    let text = std::fs::read_to_string(registry.config()).expect("there");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let text = text.replace(&first.address(), &second.address()).replace(registry.address(), &port.to_string());
    std::fs::write(&config, text).expect("written");
    let other = crate::support::server::registry_command().arg("serve").arg(&config).stderr(Stdio::null()).spawn();
    let other = Ended(other.expect("it runs"));
    for _ in 0..500 {
        if TcpStream::connect(port).is_ok() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    image().blobs.iter().for_each(|blob| second.set("a", &blob.digest, blob.bytes.len()));
    second.set("a", image().digest(), image().manifest.bytes.len());
    let refused = Regsweep::gc_config(&registry.config()).args(["-m", "--online"]).run().expect_code(2).stderr;
    assert!(refused.contains("--flush-redis, once with the configuration of each"), "{refused}");
    // As it says.
    drop(other);
    registry.stop();
    for config in [registry.config(), config.clone()] {
        Regsweep::gc_config(&config).args(["-m", "--flush-redis", "--min-age", "0s"]).run().expect_code(0);
    }
    for redis in [&first, &second] {
        image().reaches().iter().for_each(|digest| assert_eq!(redis.claims(&digest.to_string()), [""; 0]));
    }
    registry.restart_by(&config);
}

/// Certificates of an authority of our own.
fn certificates(directory: &Path) -> bool {
    let made = |words: &[&str]| {
        let openssl =
            Command::new("openssl").args(words).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null()).status();
        openssl.is_ok_and(|status| status.success())
    };
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    let request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"];
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("written");
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2"];
    made(&[&new[..], &["-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca.pem"]].concat())
        && made(&request)
        && made(&[&sign[..], &["-extfile", "names", "-out", "certificate.pem"]].concat())
}

#[test]
fn tls_is_spoken_as_the_configuration_says() {
    if !RedisServer::is_here() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    if !certificates(directory.path()) {
        eprintln!("online: skipped: openssl is not installed");
        return;
    }
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port().to_string();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key, authority) = (path("certificate.pem"), path("key.pem"), path("ca.pem"));
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &authority];
    let redis = RedisServer::start_with(&[&["--tls-port", &port][..], &files].concat());
    // Version 3, with a certificate of the client, which this server asks for.
    let section = format!("redis: {{addrs: ['localhost:{port}'], db: 3, tls: {{certificate: {certificate}, key: {key}}}}}");
    let (_store, config) = offline(&redis, &section);
    let flush = || collect(&config, &["--flush-redis"]);
    let refused = flush().run().expect_code(2);
    assert!(refused.stderr.contains("certificate"), "an authority that nobody knows: {}", refused.stderr);
    assert_eq!(forgotten(flush().env("SSL_CERT_FILE", &authority).run()), STALE);
    // Version 2, which has no certificate of its own: this server does not take it.
    let text = std::fs::read_to_string(&config).expect("there").replace(&section, "");
    std::fs::write(&config, format!("{text}redis: {{addr: 'localhost:{port}', db: 3, tls: {{enabled: true}}}}\n"))
        .expect("written");
    flush().env("SSL_CERT_FILE", &authority).run().expect_code(2);
    redis.run(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    assert_eq!(forgotten(flush().env("SSL_CERT_FILE", &authority).run()), 0);
}

#[test]
fn sentinels_are_asked_which_server_it_is() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let (host, redis_port) =
        redis.address().split_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).expect("both");
    let file = redis.directory().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main {host} {redis_port} 1\n",
        redis.directory().display()
    );
    std::fs::write(&file, text).expect("written");
    let mut sentinel = Command::new("redis-server");
    let sentinel = sentinel.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let _ended = Ended(sentinel);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    // The first one is gone.
    let section = format!("redis: {{addrs: ['127.0.0.1:1', '127.0.0.1:{port}'], mastername: main, db: 3}}");
    let (_store, config) = offline(&redis, &section);
    assert_eq!(forgotten(collect(&config, &["--flush-redis"]).run()), STALE);
    let text = std::fs::read_to_string(&config).expect("there").replace("mastername: main", "mastername: other");
    std::fs::write(&config, text).expect("written");
    let refused = collect(&config, &["--flush-redis"]).run().expect_code(2);
    assert!(refused.stderr.contains("knows no master other"), "{}", refused.stderr);
}

/// A child that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
