//! Asking the registry of a store whether it takes pushes: what counts as an answer, who is asked where, and what follows from it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::server::{RealRegistry, Settings};
use crate::support::*;
use crate::writers::{basic, beside, certificate_for, server, store_with_address, with_garbage};

const REGISTRY: &str = "Docker-Distribution-Api-Version: registry/2.0\r\n";

/// What a server may answer to a question that it does not understand.
const UNEXPECTED: &[(&str, &str)] = &[
    ("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "400"),
    ("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", "401"),
    ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
    ("HTTP/1.1 404 Not Found\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n", "404"),
    ("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n", "405"),
    ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "500"),
    ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
    ("HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n", "301"),
    ("HTTP/1.1 200 OK\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n", "200"),
    ("HTTP/1.1 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\n\r\n", "200"),
    ("HTTP/1.1 405 No\r\nDocker-Distribution-Api-Version: registry/2.0\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n", "405"),
    ("\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}\u{50}", ""),
    ("SSH-2.0-OpenSSH_9.2\r\n", ""),
    ("", ""),
];

#[test]
fn a6_whatever_answers_is_somebody() {
    for (answer, named) in UNEXPECTED {
        let address = server(Some(answer));
        let (root, config) = store_with_address(address);
        let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
        assert!(refused.stderr.contains("does not say whether it takes pushes"), "{answer}: {}", refused.stderr);
        assert!(refused.stderr.contains(named) && refused.stderr.contains(&address.to_string()), "{answer}: {}", refused.stderr);
        let given = Regsweep::gc(root.path()).args(["--registry", &format!("http://{address}")]).run().expect_code(2);
        assert!(given.stderr.contains("does not say"), "{answer}: {}", given.stderr);
        Regsweep::gc_config(config.path()).arg("--assume-offline").run().expect_code(0);
    }
}

#[test]
fn a6_a_registry_says_what_it_takes_in_more_than_one_line() {
    let answer = |allow: &str| format!("HTTP/1.1 200 OK\r\n{REGISTRY}{allow}Content-Length: 0\r\n\r\n");
    for allow in ["Allow: GET\r\nAllow: POST\r\n", "Allow: POST\r\nAllow: GET\r\n", "Allow: GET\r\nAllow: PUT,POST\r\n"] {
        let (_root, config) = store_with_address(server(Some(answer(allow).leak())));
        let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
        assert!(refused.stderr.contains("takes pushes answers at"), "{allow}: {}", refused.stderr);
    }
    let (_root, config) = store_with_address(server(Some(answer("Allow: GET\r\nAllow: HEAD\r\n").leak())));
    Regsweep::gc_config(config.path()).run().expect_code(0);
}

/// It writes whenever somebody pulls, and its state in the root tells where no configuration does.
#[test]
fn a6_a_pull_through_cache_is_never_read_only() {
    let read_only = || server(Some(format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: GET\r\nContent-Length: 0\r\n\r\n").leak()));
    let next = |dry: &Outcome| dry.stdout.lines().find(|line| line.starts_with("next")).map(str::to_owned);
    for (is_configured, has_state) in [(true, false), (false, true), (true, true)] {
        let address = read_only();
        // Two pieces of garbage: one a month old, and one that was fetched a minute ago.
        let mut tree = registry().stray_blob(&layer(3)).repo("a").image("kept", &[layer(1)]).tag("v1").into_tree();
        tree.aged(minutes(1)).blob(&layer(2));
        let root = tree.on_disk();
        if has_state {
            fs::write(root.path().join("scheduler-state.json"), "{}").expect("written");
        }
        let config = tempfile::NamedTempFile::new().expect("a file");
        let proxy = if is_configured { "proxy: {remoteurl: 'http://127.0.0.1:1'}\n" } else { "" };
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n{proxy}",
            root.path().display()
        );
        fs::write(config.path(), text).expect("written");
        let by_config = || Regsweep::gc_config(config.path());
        let by_root = || Regsweep::gc(root.path()).args(["--registry", &format!("http://{address}")]);
        let runs: [&dyn Fn() -> Regsweep; 2] = [&by_config, &by_root];
        for run in runs.into_iter().take(if has_state { 2 } else { 1 }) {
            let refused = run().run().expect_code(2);
            for said in ["pull-through cache", "read-only or not", "stop it"] {
                assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
            }
            assert!(!refused.stderr.contains("make it read-only"), "{}", refused.stderr);
            let dry = run().dry().run().expect_code(0);
            assert_eq!(dry.rows_of("blob").len(), 1, "what was fetched a minute ago is young: {}", dry.stdout);
            let next = next(&dry).expect("what to run next");
            assert!(next.contains("stop the registry, then run"), "{next}");
        }
        let done = by_config().arg("--assume-offline").run().expect_code(0);
        assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
    }
    // Any other registry may be made read-only.
    let (_root, config) = store_with_address(server(Some(format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: POST\r\n\r\n").leak())));
    let dry = Regsweep::gc_config(config.path()).any_age().dry().run().expect_code(0);
    assert!(next(&dry).is_some_and(|next| next.contains("or make it read-only, then run")), "{}", dry.stdout);
}

/// With `--root` alone the registry's variables may be there all the same, as in its container.
#[test]
fn a6_variables_say_that_a_registry_is_a_cache() {
    let lacking = || {
        let mut tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
        tree.remove(&layout::blob_directory(&layer(1).digest)).blob(&layer(9));
        tree.on_disk()
    };
    let answer = format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: GET\r\nContent-Length: 0\r\n\r\n").leak();
    for (name, value, is_cache) in [
        ("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io", true),
        ("REGISTRY_PROXY", "{remoteurl: 'https://registry-1.docker.io'}", true),
        ("REGISTRY_PROXY_REMOTEURL", "''", false),
        ("REGISTRY_PROXY_USERNAME", "x", false),
        ("REGISTRY_PROXY_PORT", "tcp://10.0.0.1:5000", false),
        ("REGISTRY_PROXY_SERVICE_HOST", "10.0.0.1", false),
    ] {
        let root = lacking();
        let root = root.path();
        for command in ["garbage-collect", "audit", "verify"] {
            let dry: &[&str] = if command == "garbage-collect" { &["--dry-run"] } else { &[] };
            let run = Regsweep::new().arg(command).arg("--root").arg(root).args(dry).json().env(name, value);
            let codes = run.run().expect_code(i32::from(!is_cache)).finding_codes();
            assert_eq!(codes.iter().any(|code| code.starts_with("missing-")), !is_cache, "{command} {name}={value}: {codes:?}");
            assert_eq!(codes.contains(&"pull-through-cache".into()), is_cache && command == "audit", "{command} {name}={value}");
        }
        let run = || Regsweep::gc(root).args(["--registry", &format!("http://{}", server(Some(answer)))]).env(name, value);
        if is_cache {
            let refused = run().run().expect_code(2);
            assert!(refused.stderr.contains(name) && refused.stderr.contains("read-only or not"), "{}", refused.stderr);
        } else {
            run().run().expect_code(1);
        }
    }
}

#[test]
fn a6_variables_say_where_a_registry_listens_and_what_it_remembers() {
    let writes = format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: GET, POST\r\nContent-Length: 0\r\n\r\n").leak();
    let root = registry().stray_blob(&layer(3)).repo("a").image("x", &[layer(1)]).tag("v1").on_disk();
    let address = server(Some(writes)).to_string();
    for (name, value) in [("REGISTRY_HTTP_ADDR", address.clone()), ("REGISTRY_HTTP", format!("{{addr: '{address}'}}"))] {
        let refused = Regsweep::gc(root.path()).env(name, &value).run().expect_code(2);
        assert!(refused.stderr.contains("takes pushes answers at"), "{name}: {}", refused.stderr);
        let dry = Regsweep::gc(root.path()).env(name, &value).dry().run().expect_code(0);
        assert!(dry.stdout.contains("at work"), "{}", dry.stdout);
    }
    // Read-only is what the registry says, not what a variable does.
    let young = || {
        let mut tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
        tree.aged(minutes(1)).blob(&layer(2));
        tree.on_disk()
    };
    let fresh = young();
    let run = Regsweep::gc(fresh.path()).env("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
    let run = run.env("REGISTRY_HTTP_ADDR", "127.0.0.1:1");
    assert_eq!(run.dry().run().expect_code(0).rows_of("blob").len(), 0);
    // A cache of descriptors remembers what is gone.
    for (name, value, remembers) in [
        ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory", true),
        ("REGISTRY_STORAGE_CACHE", "{blobdescriptor: redis}", true),
        ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "nonsense", false),
        ("REGISTRY_STORAGE_CACHE_PORT", "tcp://10.0.0.1:6379", false),
    ] {
        let root = registry().stray_blob(&layer(3)).repo("a").image("x", &[layer(1)]).tag("v1").on_disk();
        let report = Regsweep::gc(root.path()).env(name, value).json().run().expect_code(0).report();
        assert_eq!(report["registry_must_restart"], remembers, "{name}={value}");
    }
}

#[test]
fn a6_what_cannot_be_reached_is_not_down() {
    // An address for documentation: nothing answers there, or some router says so.
    let (_root, config) = store_with_address("no-such-machine.invalid:5000");
    let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
    assert!(refused.stderr.contains("no-such-machine.invalid:5000"), "{}", refused.stderr);
}

#[test]
fn a6_tls_is_found_however_it_is_configured() {
    let mut registry = with_garbage(Settings::default());
    let Some((key, certificate)) = certificate_for(&registry) else { return };
    let variables = [("REGISTRY_HTTP_TLS_CERTIFICATE", &*certificate), ("REGISTRY_HTTP_TLS_KEY", &*key)];
    registry.restart_with(&variables);
    let run = || Regsweep::gc_config(&registry.config()).any_age();
    for run in [run(), variables.iter().fold(run(), |run, (name, value)| run.env(name, value))] {
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains("takes pushes answers at"), "{}", refused.stderr);
    }
    // The other way round: the configuration speaks of TLS, and the registry does not.
    for tls in [", tls: {letsencrypt: {}}".to_owned(), format!(", tls: {{certificate: {certificate}, key: {key}}}")] {
        registry.configure(Settings::default());
        registry.restart();
        registry.configure(Settings { http: tls, ..Settings::default() });
        let refused = Regsweep::gc_config(&registry.config()).any_age().run().expect_code(2);
        assert!(refused.stderr.contains("takes pushes answers at"), "{}", refused.stderr);
    }
}

/// A registry with a fresh blob that nothing needs.
fn with_fresh_garbage() -> RealRegistry {
    let mut registry = with_garbage(Settings::default());
    registry.configure(Settings { maintenance: Settings::read_only().maintenance, ..basic(&registry) });
    registry
}

#[track_caller]
fn goes(registry: &RealRegistry, flags: &[&str]) -> usize {
    Regsweep::gc_config(&registry.config()).args(flags).dry().run().expect_code(0).rows_of("blob").len()
}

#[test]
fn a7_nothing_is_too_young_only_where_the_registry_says_that_it_is_read_only() {
    let mut registry = with_fresh_garbage();
    let auth = ["--registry-auth", "user:secret"];
    // The file says so, and the registry has not been restarted.
    assert_eq!(goes(&registry, &auth), 0, "it takes pushes");
    registry.restart();
    assert_eq!(goes(&registry, &[]), 0, "it does not say");
    assert_eq!(goes(&registry, &auth), 1, "it is read-only");
    Regsweep::gc_config(&registry.config()).run().expect_code(2);
    let told = Regsweep::gc_config(&registry.config()).arg("--assume-offline").run().expect_code(0);
    assert!(told.rows_of("blob").is_empty(), "{}", told.stdout);
    let done = Regsweep::gc_config(&registry.config()).args(auth).run().expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
}

#[test]
fn a7_a_registry_that_is_down_is_believed_by_its_configuration() {
    let mut registry = with_fresh_garbage();
    registry.stop();
    assert_eq!(goes(&registry, &[]), 1, "down, and read-only");
    let second = server(Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(goes(&registry, &["--registry", &format!("http://{second}")]), 0, "another does not say");
    registry.configure(Settings::default());
    assert_eq!(goes(&registry, &[]), 0, "down, and writable");
}

#[test]
fn a7_a_password_is_given_in_a_file_or_a_variable() {
    let mut registry = with_fresh_garbage();
    registry.restart();
    let file = registry.config().with_file_name("auth");
    fs::write(&file, "user:secret\n").expect("written");
    let named = format!("@{}", file.display());
    assert_eq!(goes(&registry, &["--registry-auth", &named]), 1);
    for value in ["user:secret", &*named] {
        let run = Regsweep::gc_config(&registry.config()).env("REGSWEEP_REGISTRY_AUTH", value);
        assert_eq!(run.dry().run().expect_code(0).rows_of("blob").len(), 1, "{value}");
    }
    for (wrong, said) in [("nonsense", "--registry-auth is neither"), ("@/no/such/file", "/no/such/file")] {
        let refused = Regsweep::gc_config(&registry.config()).args(["--registry-auth", wrong]).dry().run().expect_code(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    // What a chart has set is not told as if it had been typed.
    for (name, value) in [
        ("REGSWEEP_REGISTRY_AUTH", "nonsense"),
        ("REGSWEEP_REGISTRY_AUTH", "@/no/such/file"),
        ("REGSWEEP_REGISTRY", "registry:5000"),
        ("REGSWEEP_ONLINE", "maybe"),
    ] {
        let refused = Regsweep::gc_config(&registry.config()).env(name, value).run().expect_code(2);
        assert!(refused.stderr.contains(name) && !refused.stderr.contains("--"), "{name}: {}", refused.stderr);
    }
    for more in [&[][..], &["--uploads-older-than", "1h"]] {
        let by_root = Regsweep::gc(&registry.root()).args(more).env("REGSWEEP_ONLINE", "true").run().expect_code(2);
        assert!(by_root.stderr.contains("REGSWEEP_ONLINE") && !by_root.stderr.contains("--online"), "{}", by_root.stderr);
    }
    assert!(
        !Regsweep::gc_config(&registry.config()).args(["--registry-auth", "user:hidden", "-v"]).run().stderr.contains("hidden")
    );
}

/// A registry that hands a question over to a token server, which is itself.
fn with_tokens() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let answer =
                if request.starts_with("get /token?service=me&account=user") && request.contains("basic dxnlcjpzzwnyzxq=") {
                    "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"token\":\"tok\"}".to_owned()
                } else if request.starts_with("options /v2/") && request.contains("bearer tok") {
                    format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                } else {
                    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"me\"\r\n");
                    format!("HTTP/1.1 401 Unauthorized\r\n{REGISTRY}{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n")
                };
            // Who only knocked has hung up.
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a7_a_token_is_fetched_where_the_registry_says() {
    let (_root, config) = store_with_address(with_tokens());
    Regsweep::gc_config(config.path()).run().expect_code(2);
    let wrong = Regsweep::gc_config(config.path()).args(["--registry-auth", "user:wrong"]).run().expect_code(2);
    assert!(wrong.stderr.contains("no token is to be had"), "{}", wrong.stderr);
    Regsweep::gc_config(config.path()).args(["--registry-auth", "user:secret"]).run().expect_code(0);
}

#[test]
fn a8_a_port_may_have_a_name() {
    // Some port that has a name and is free here.
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    let named = services.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.strip_suffix("/tcp")?.parse::<u16>().ok().filter(|port| *port > 1024)?))
    });
    let free = named.into_iter().find_map(|(name, port)| Some((name, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    let Some((name, listener)) = free else {
        skipped("no port has a name here");
        return;
    };
    let (_root, config) = store_with_address(format!("127.0.0.1:{name}"));
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let answer =
                format!("HTTP/1.1 200 OK\r\n{REGISTRY}Allow: GET, POST\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
    assert!(refused.stderr.contains("takes pushes answers at"), "{}", refused.stderr);
}

#[test]
fn a8_an_address_that_no_registry_listens_on_is_said() {
    for address in ["localhost", "::1:5000", ":no-such-port", ":70000"] {
        let (_root, config) = store_with_address(address);
        let refused = Regsweep::gc_config(config.path()).run().expect_code(2);
        assert!(refused.stderr.contains(&format!("http.addr {address}")), "{address}: {}", refused.stderr);
        Regsweep::gc_config(config.path()).arg("--assume-offline").run().expect_code(0);
    }
}

#[test]
fn a9_a_registry_is_found_although_nothing_says_where_it_listens() {
    let mut registry = with_garbage(Settings::default());
    let config = registry.config().with_file_name("no-address.yml");
    fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", registry.root().display()))
        .expect("written");
    let runs = || [Regsweep::gc(&registry.root()), Regsweep::gc_config(&config)];
    for run in runs() {
        let refused = run.any_age().run().expect_code(2);
        assert!(refused.stderr.contains("is a registry that works on this store"), "{}", refused.stderr);
    }
    // One inside it and one around it are the same disk space.
    let inner = registry.root().join("docker/registry/v2/repositories/inner");
    fs::create_dir_all(inner.join("docker/registry/v2/blobs")).expect("made");
    let refused = Regsweep::gc(&inner).any_age().run().expect_code(2);
    assert!(refused.stderr.contains("is a registry that works on this store"), "{}", refused.stderr);
    assert!(refused.stderr.contains("lies in the storage of another registry"), "{}", refused.stderr);
    fs::remove_dir_all(&inner).expect("removed");
    registry.stop();
    let other = RealRegistry::start();
    Regsweep::gc(&registry.root()).any_age().run().expect_code(0);
    drop(other);
}

/// A restore is under way exactly when the registry takes no pushes.
#[test]
fn a10_what_was_just_made_stays_although_the_registry_is_read_only() {
    let registry = with_garbage(Settings::read_only());
    let kept = Regsweep::gc_config(&registry.config()).counting_birth().dry().run().expect_code(0);
    assert!(kept.rows_of("blob").is_empty() && kept.stdout.contains("--ignore-birth-time"), "{}", kept.stdout);
    let goes = Regsweep::gc_config(&registry.config()).dry().run().expect_code(0);
    assert_eq!(goes.rows_of("blob").len(), 1, "with --ignore-birth-time");
}

#[test]
fn a9_a_registry_by_another_name_is_one() {
    let mut registry = with_garbage(Settings::default());
    registry.stop();
    let mut renamed = crate::support::server::disguised_registry_command();
    let mut server =
        renamed.arg("serve").arg(registry.config()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(500));
    let refused = Regsweep::gc(&registry.root()).any_age().run();
    server.kill().and_then(|()| server.wait()).expect("ours");
    assert!(refused.expect_code(2).stderr.contains("is a registry that works on this store"));
}

/// What runs it comes first in its arguments, and in `/proc`.
#[test]
fn a9_a_registry_behind_a_dynamic_linker_is_one() {
    let linker = Path::new("/lib64/ld-linux-x86-64.so.2");
    let mut registry = with_garbage(Settings::default());
    registry.stop();
    let mut command = std::process::Command::new(linker);
    command.arg(crate::support::server::disguised_registry_command().get_program()).arg("serve").arg(registry.config());
    let Ok(mut server) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skipped(&format!("there is no {}", linker.display()));
        return;
    };
    std::thread::sleep(Duration::from_millis(800));
    let refused = Regsweep::gc(&registry.root()).any_age().run();
    server.kill().and_then(|()| server.wait()).expect("ours");
    assert!(refused.expect_code(2).stderr.contains("is a registry that works on this store"));
}

/// Nor does it help that its configuration is gone by now, or that its root lies behind a link.
#[test]
fn a9_a_registry_by_another_name_is_one_without_its_configuration() {
    let mut registry = with_garbage(Settings::default());
    registry.stop();
    let directory = tempfile::tempdir().expect("a directory");
    let (config, link) = (directory.path().join("b.yml"), directory.path().join("link"));
    fs::copy(registry.config(), &config).expect("copied");
    std::os::unix::fs::symlink(registry.root(), &link).expect("made");
    let mut renamed = crate::support::server::disguised_registry_command();
    // Other tests see by this that it is none of theirs.
    renamed.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", &link);
    let mut server = renamed.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(800));
    fs::remove_file(&config).expect("there");
    let refused = Regsweep::gc(&registry.root()).any_age().run();
    server.kill().and_then(|()| server.wait()).expect("ours");
    assert!(refused.expect_code(2).stderr.contains("is a registry that works on this store"));
}

#[test]
fn a9_one_that_says_it_is_read_only_does_not_stop_a_run_by_its_root() {
    let registry = with_garbage(Settings::read_only());
    let url = format!("http://{}", registry.address());
    Regsweep::gc(&registry.root()).any_age().dry().run().expect_code(0);
    Regsweep::gc(&registry.root()).any_age().args(["--registry", &url]).run().expect_code(0);
}

/// Without any address it is asked at its own sockets, and what is missing is said where these do not answer.
#[test]
fn a9_one_that_is_read_only_is_asked_at_its_own_sockets() {
    let mut registry = with_garbage(Settings::read_only());
    let by_root = || Regsweep::gc(&registry.root()).any_age().run();
    let done = by_root().expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
    let settings = Settings { maintenance: Settings::read_only().maintenance, ..basic(&registry) };
    registry.configure(settings);
    registry.restart();
    let run = || Regsweep::gc(&registry.root()).any_age();
    let refused = run().run().expect_code(2);
    assert!(refused.stderr.contains("may say so with --registry-auth"), "{}", refused.stderr);
    run().args(["--registry-auth", "user:secret"]).run().expect_code(0);
    registry.configure(Settings::default());
    registry.restart();
    let refused = Regsweep::gc(&registry.root()).any_age().run().expect_code(2);
    assert!(refused.stderr.contains("stop it, make it read-only") && !refused.stderr.contains("already"), "{}", refused.stderr);
}

/// A port of its own environment, or a socket, is where a registry may be asked, too.
#[test]
fn a7_a_registry_is_asked_wherever_it_listens() {
    let mut registry = with_garbage(Settings::default());
    registry.stop();
    let read_only = ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
    let (root, config) = (registry.root(), registry.config());
    for variables in [&[read_only][..], &[]] {
        let (process, _) = beside(&root, &config, variables);
        let done = Regsweep::gc_config(&config).any_age().dry().run().expect_code(0);
        assert_eq!(done.stdout.contains("at work"), variables.is_empty(), "{}", done.stdout);
        drop(process);
    }
    let socket = config.with_file_name("s");
    let text = fs::read_to_string(&config).expect("there");
    let old = format!("addr: \"{}\"", registry.address());
    let old = if text.contains(&old) { old } else { format!("addr: {}", registry.address()) };
    assert!(text.contains(&old), "{text}");
    let own = config.with_file_name("socket.yml");
    fs::write(&own, text.replace(&old, &format!("net: unix, addr: {}", socket.display()))).expect("written");
    for (variables, code) in [(&[][..], 2), (&[read_only], 0)] {
        let mut command = crate::support::server::registry_command();
        command.arg("serve").arg(&own).envs(variables.iter().copied()).env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", &root);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let by_root = Regsweep::gc(&root).any_age().dry().run();
        let by_config = Regsweep::gc_config(&own).run();
        process.kill().and_then(|()| process.wait()).expect("ours");
        let _ = fs::remove_file(&socket);
        let by_config = by_config.expect_code(code);
        let by_root = by_root.expect_code(0);
        assert_eq!(by_root.stdout.contains("at work"), code == 2, "{}", by_root.stdout);
        match code {
            0 => assert_eq!(by_config.rows_of("blob").len(), 1, "age 0: {}", by_config.stdout),
            _ => assert!(by_config.stderr.contains("a registry that takes pushes answers at"), "{}", by_config.stderr),
        }
    }
}

/// In namespaces of its own, as a container beside the registry's.
fn in_a_container(run: Regsweep) -> Option<Regsweep> {
    let root_is_a_containers = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(" / / rw - overlay");
    if !rustix::process::geteuid().is_root() || root_is_a_containers {
        skipped("not root on a machine of its own");
        return None;
    }
    Some(run.under(["unshare", "--net", "--pid", "--fork", "--mount-proc"]))
}

#[test]
fn a9_the_report_says_where_nobody_could_be_asked() {
    let registry = with_garbage(Settings::read_only());
    let configured = |config: &Path| Regsweep::gc_config(config).dry();
    let Some(run) = in_a_container(configured(&registry.config())) else { return };
    let done = run.run().expect_code(0);
    assert!(done.stdout.contains("not asked") && done.stdout.contains(registry.address()), "{}", done.stdout);
    assert!(done.stdout.contains("a real run wants --registry URL"), "{}", done.stdout);
    assert!(done.rows_of("blob").is_empty(), "a6: another container's loopback does not say that the registry is down");
    let by_root = in_a_container(Regsweep::gc(&registry.root()).dry().json()).expect("as before").run().expect_code(0);
    assert!(by_root.report()["unqueried"].as_str().is_some_and(|why| why.contains("--root names none")), "{}", by_root.stdout);
    // An address that is given is no more reached from here.
    let url = format!("http://{}", registry.address());
    let given = in_a_container(Regsweep::gc(&registry.root()).dry().json().args(["--registry", &url])).expect("as before");
    assert!(given.run().expect_code(0).report()["unqueried"].is_string(), "another container's loopback is not down");
    // So a real run wants to be told.
    let real = || in_a_container(Regsweep::gc_config(&registry.config()).any_age()).expect("as before");
    let before = snapshot(&registry.root().join("docker"));
    for (name, value) in [("REGSWEEP_ASSUME_OFFLINE", "false"), ("REGSWEEP_REGISTRY", &*url), ("REGSWEEP_REGISTRY", "")] {
        let refused = real().env(name, value).run().expect_code(2);
        let said = &refused.stderr;
        assert!(
            said.contains("no registry could be asked") && said.contains("REGSWEEP_ASSUME_OFFLINE"),
            "{name}={value}: {said}"
        );
    }
    let odd = real().env("REGSWEEP_ASSUME_OFFLINE", "maybe").run().expect_code(2);
    assert!(odd.stderr.contains("REGSWEEP_ASSUME_OFFLINE is maybe"), "{}", odd.stderr);
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
    // On the machine itself it was asked.
    let asked = configured(&registry.config()).json().run().expect_code(0);
    assert!(asked.report()["unqueried"].is_null(), "{}", asked.stdout);
    assert_eq!(asked.rows_of("blob").len(), 1);
    let done = real().env("REGSWEEP_ASSUME_OFFLINE", "true").run().expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
}

/// As a chart sets it for every run: beside a registry at work it lifts nothing.
#[test]
fn a9_the_variable_that_lifts_the_brake_says_nothing_of_online() {
    let registry = with_garbage(Settings::default());
    age(&registry.root());
    let run = || Regsweep::gc_config(&registry.config()).any_age().env("REGSWEEP_ASSUME_OFFLINE", "1");
    let online = run().args(["--online", "--rescue-for", "0s"]).run().expect_code(0);
    assert!(online.stdout.contains("this run is"), "quarantined: {}", online.stdout);
    // Nor does it end what is in quarantine.
    let purge = || Regsweep::new().args(["quarantine", "purge"]).arg(registry.config()).env("REGSWEEP_ASSUME_OFFLINE", "1");
    let refused = purge().run().expect_code(2);
    assert!(refused.stderr.contains("--older-than 1h"), "{}", refused.stderr);
    registry.client().put_blob("a", &layer(3));
    let done = run().run().expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
    let root = root_with_garbage();
    let address = server(Some(UNEXPECTED[0].0));
    let url = format!("http://127.0.0.1:1 http://{address}");
    let asked = Regsweep::gc(root.path()).env("REGSWEEP_REGISTRY", url).run().expect_code(2);
    assert!(asked.stderr.contains(&address.to_string()), "{}", asked.stderr);
}

fn root_with_garbage() -> tempfile::TempDir {
    registry().stray_blob(&layer(3)).repo("a").image("x", &[layer(1)]).tag("v1").on_disk()
}
