//! A few hundred configurations and environments, put together by chance, beside the registry itself: which root, which address, TLS,
//! whether pushes are taken, which cache, and whether it is a pull-through cache.
//!
//! The registry says these by what it does and by its log: the repositories that it lists, where it listens, what it answers to the
//! beginning of an upload, which cache it uses. `REGSWEEP_CONFIGURATIONS` is how many are tried.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use regsweep::registry_config::{self, RegistryConfig};
use ureq::Agent;
use ureq::tls::TlsConfig;

use super::{registry_command, store_with};
use crate::support::server::RealRegistry;
use crate::support::*;
use crate::writers::certificate_for;

const CONFIGURATIONS: u64 = 300;

/// A piece of the file, and variables without `REGISTRY_`.
type Piece = (&'static str, &'static [(&'static str, &'static str)]);

/// `{A}` and `{B}` are stores, `{P}` and `{Q}` free ports, `{N}` the name of one, `{R}` a registry elsewhere, `{C}` and `{K}` a certificate and its key.
const FILESYSTEM: &[Piece] = &[
    ("filesystem: {rootdirectory: {A}}", &[]),
    ("filesystem: {rootdirectory: {B}}", &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")]),
    ("filesystem: {rootDirectory: {A}, rootdirectory: {B}}", &[]),
    ("filesystem: {}", &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")]),
    ("filesystem: null", &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "{B}")]),
    ("filesystem: {rootdirectory: {B}, maxthreads: 50}", &[("STORAGE_FILESYSTEM", "{rootdirectory: {A}}")]),
    ("delete: {enabled: true}", &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")]),
    ("filesystem: {rootdirectory: {A}/docker/..//}", &[("STORAGE_DELETE_ENABLED", "true")]),
    ("filesystem: {rootdirectory: {A}}", &[("STORAGE_S3_BUCKET", "x")]),
    ("filesystem: {rootdirectory: !!str {A}}", &[]),
    ("filesystem: !!map {rootdirectory: !x {A}}", &[]),
    ("filesystem: {rootdirectory: {A}}, <<: {filesystem: {rootdirectory: {B}}}", &[]),
    ("<<: {filesystem: {rootdirectory: {B}, maxthreads: 50}}, filesystem: {rootdirectory: {A}}", &[]),
    ("filesystem: {rootdirectory: {A}, <<: {rootdirectory: {B}}}", &[]),
    ("filesystem: {rootdirectory: {A}}, <<: {delete: {enabled: true}}", &[]),
];
const CACHE: &[Piece] = &[
    ("", &[]),
    ("cache: {blobdescriptor: inmemory}", &[]),
    ("cache: {layerinfo: inmemory}", &[]),
    ("cache: {blobdescriptor: nonsense, layerinfo: inmemory}", &[]),
    ("cache: {blobdescriptor: redis}", &[("REDIS_ADDR", "127.0.0.1:{Q}")]),
    ("", &[("STORAGE_CACHE", "{blobdescriptor: inmemory}")]),
    ("", &[("STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")]),
    ("cache: {blobdescriptor: inmemory}", &[("STORAGE_CACHE_BLOBDESCRIPTOR", "nonsense")]),
    ("cache: {layerinfo: inmemory}", &[("STORAGE_CACHE_BLOBDESCRIPTOR", "''")]),
];
const MAINTENANCE: &[Piece] = &[
    ("", &[]),
    ("maintenance: {readonly: {enabled: true}}", &[]),
    ("maintenance: {readonly: {enabled: false}}", &[]),
    ("maintenance: {readonly: {enabled: true}}", &[("STORAGE_MAINTENANCE_READONLY", "{}")]),
    ("maintenance: {readonly: {enabled: false}}", &[("STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]),
    ("maintenance: {readonly: {enabled: true}}, <<: {maintenance: {uploadpurging: {enabled: false}}}", &[]),
    ("maintenance: {readonly: {<<: {enabled: true}}}", &[]),
    ("", &[("STORAGE_MAINTENANCE_READONLY", "{enabled: true}")]),
    ("", &[("STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]),
    ("maintenance: {uploadpurging: {enabled: false}}", &[("STORAGE_MAINTENANCE", "{readonly: {enabled: yes}}")]),
];
const ADDRESS: &[Piece] = &[
    ("addr: 127.0.0.1:{P}", &[]),
    ("addr: \"localhost:{P}\"", &[]),
    ("addr: :{P}", &[]),
    ("addr: 0.0.0.0:{P}, net: tcp", &[]),
    ("addr: 127.0.0.1:{Q}", &[("HTTP_ADDR", "127.0.0.1:{P}")]),
    ("", &[("HTTP_ADDR", "127.0.0.1:{P}")]),
    ("", &[("HTTP", "{addr: 127.0.0.1:{P}}")]),
    ("addr: 127.0.0.1:{Q}", &[("HTTP_ADDR", ":{P}"), ("HTTP_NET", "tcp")]),
    ("secret: x", &[]),
    ("addr: 127.0.0.1:{N}", &[]),
    ("addr: :{N}", &[]),
    ("addr: 127.0.0.1:{Q}", &[("HTTP_ADDR", "localhost:{N}")]),
];
const TLS: &[Piece] = &[
    ("", &[]),
    ("tls: {certificate: {C}, key: {K}}", &[]),
    ("", &[("HTTP_TLS_CERTIFICATE", "{C}"), ("HTTP_TLS_KEY", "{K}")]),
    ("tls: {key: {K}}", &[("HTTP_TLS_CERTIFICATE", "{C}")]),
    ("", &[("HTTP_TLS", "{certificate: {C}, key: {K}}")]),
    ("tls: {letsencrypt: {}}", &[]),
    ("tls: {certificate: '', key: ''}", &[]),
    ("tls: {certificate: {C}, key: {K}}", &[("HTTP_TLS_CERTIFICATE", "''")]),
    ("tls: {minimumtls: tls1.2}", &[]),
    ("tls: {certificate: {C}, key: {K}}, <<: {tls: {minimumtls: tls1.2}}", &[]),
    ("<<: [{tls: {certificate: {C}}}, {tls: {certificate: '', key: {K}}}]", &[]),
];
const PREFIX: &[Piece] =
    &[("", &[]), ("prefix: /p/", &[]), ("", &[("HTTP_PREFIX", "/p/")]), ("prefix: /q/", &[("HTTP_PREFIX", "/p/")])];
const PROXY: &[Piece] = &[
    ("", &[]),
    ("proxy: {remoteurl: \"{R}\"}", &[]),
    ("", &[("PROXY_REMOTEURL", "{R}")]),
    ("", &[("PROXY", "{remoteurl: \"{R}\"}")]),
    ("proxy: {remoteurl: ''}", &[]),
    ("proxy: {username: x}", &[]),
    ("proxy: {remoteurl: \"{R}\"}", &[("PROXY_REMOTEURL", "''")]),
    ("proxy: null", &[]),
    // Sections twice.
    ("proxy: {remoteurl: \"{R}\"}\nproxy: {username: x}", &[]),
    ("proxy: {username: x}\nproxy: {remoteurl: \"{R}\"}", &[]),
    ("proxy: {remoteurl: \"{R}\"}\nproxy: null", &[]),
    ("proxy: {remoteurl: \"{R}\"}\nproxy: {remoteurl: ''}", &[]),
    ("http: {secret: y}", &[]),
    ("http: {headers: {X-A: [b]}, http2: {disabled: true}}", &[]),
    ("http: {tls: {minimumtls: tls1.2}}", &[]),
    // Merge keys at the top: the sections that they bring add up with those before and behind them.
    ("<<: {http: {secret: y}}", &[]),
    ("x: &x {http: {tls: {minimumtls: tls1.2}, secret: y}}\n<<: *x", &[]),
    ("proxy: {remoteurl: \"{R}\"}\n<<: {proxy: {username: x}}", &[]),
    ("<<: {proxy: {username: x, remoteurl: ''}}\nproxy: {remoteurl: \"{R}\"}", &[]),
    ("proxy: {remoteurl: \"{R}\"}\n<<: {proxy: {remoteurl: ''}}", &[]),
    ("proxy: {remoteurl: \"{R}\"}\n<<: {proxy: null}", &[]),
    ("proxy: {remoteurl: \"{R}\"}\n<<: {proxy: null, proxy: {username: x}}", &[]),
    ("x: &x {proxy: {remoteurl: \"{R}\"}}\ny: &y {proxy: {remoteurl: '', username: x}}\n<<: [*x, *y]", &[]),
    ("x: &x {proxy: {remoteurl: \"{R}\"}}\ny: &y {proxy: {remoteurl: '', username: x}}\n<<: [*y, *x]", &[]),
    ("x: &x {<<: {proxy: {remoteurl: \"{R}\"}}, proxy: {username: x}}\n<<: *x", &[]),
    ("proxy: {username: x, <<: {remoteurl: \"{R}\"}}", &[]),
    ("proxy: {remoteurl: \"{R}\", <<: {remoteurl: ''}}", &[]),
    ("proxy: {<<: {remoteurl: ''}, remoteurl: \"{R}\"}", &[]),
    ("<<: {http: {prefix: /p/}}", &[]),
    ("<<: {http: {addr: 127.0.0.1:{P}}}", &[]),
    ("<<: {storage: {filesystem: {rootdirectory: {A}}}}", &[]),
    ("<<: {storage: {filesystem: {rootdirectory: {B}}, maintenance: {readonly: {enabled: true}}}}", &[]),
];

/// Ports by the names that everybody's list of services has, for one that is free.
const NAMED_PORTS: [(&str, u16); 4] = [("http-alt", 8080), ("mysql", 3306), ("amqp", 5672), ("ircd", 6667)];

/// How the file is written: the registry reads all of these.
const ENCODINGS: [fn(&str) -> Vec<u8>; 5] = [
    |text| text.as_bytes().to_vec(),
    |text| [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
    |text| [&[0xFF, 0xFE][..], &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat(),
    |text| [&[0xFE, 0xFF][..], &text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()].concat(),
    |text| text.replace('\n', "\r\n").into_bytes(),
];

/// What a registry does, or a configuration says that it does.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    root: Option<&'static str>,
    /// Nothing if the kernel chose it.
    port: Option<u16>,
    has_tls: bool,
    takes_pushes: bool,
    cache: Option<String>,
    is_proxy: bool,
}

/// Numbers as if by chance, the same in each run.
struct Chance(u64);

impl Chance {
    /// One below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        // Source of the constants: Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    /// The first piece half of the time, so that one odd setting stands among usual ones.
    fn piece(&mut self, pieces: &[Piece]) -> Piece {
        if self.below(2) == 0 { pieces[0] } else { pieces[self.below(pieces.len())] }
    }
}

struct Case {
    text: String,
    /// Its place in the encodings.
    encoding: usize,
    variables: BTreeMap<String, String>,
    port: u16,
}

/// What cases are made of.
struct World {
    a: tempfile::TempDir,
    b: tempfile::TempDir,
    remote: RealRegistry,
    certificate: (String, String),
}

impl World {
    fn case(&self, chance: &mut Chance) -> Case {
        let [mut port, other] = free_ports();
        let (name, named) = free_named_port();
        let fill = |text: &str| {
            text.replace("{A}", &self.a.path().display().to_string())
                .replace("{B}", &self.b.path().display().to_string())
                .replace("{P}", &port.to_string())
                .replace("{N}", name)
                .replace("{Q}", &other.to_string())
                .replace("{R}", &format!("http://{}", self.remote.address()))
                .replace("{K}", &self.certificate.0)
                .replace("{C}", &self.certificate.1)
        };
        let mut variables = BTreeMap::new();
        let mut piece = |pieces| {
            let (text, set) = chance.piece(pieces);
            variables.extend(set.iter().map(|(name, value)| (format!("REGISTRY_{name}"), fill(value))));
            (!text.is_empty()).then(|| fill(text))
        };
        let storage: Vec<String> = [FILESYSTEM, CACHE, MAINTENANCE].into_iter().filter_map(&mut piece).collect();
        let http: Vec<String> = [ADDRESS, TLS, PREFIX].into_iter().filter_map(&mut piece).collect();
        let proxy = piece(PROXY).map(|proxy| proxy + "\n").unwrap_or_default();
        let text = format!("version: 0.1\nstorage: {{{}}}\nhttp: {{{}}}\n{proxy}", storage.join(", "), http.join(", "));
        let encoding = if chance.below(2) == 0 { 0 } else { chance.below(ENCODINGS.len()) };
        if variables.values().chain([&text]).any(|text| text.contains(&format!(":{name}"))) {
            port = named;
        }
        Case { text, encoding, variables, port }
    }

    /// The name of a store by its path.
    fn name(&self, root: &Path) -> Option<&'static str> {
        let is = |store: &tempfile::TempDir| store.path() == root;
        if is(&self.a) { Some("only-in-a") } else { is(&self.b).then_some("only-in-b") }
    }

    /// What the registry does; nothing if it does not start.
    fn theirs(&self, case: &Case, config: &Path, prefix: &str) -> Option<(Facts, Server)> {
        let log = config.with_extension("log");
        let server = Server::start(config, &case.variables, &log)?;
        let said = fs::read_to_string(&log).expect("a log");
        let (_, listening) = said.split_once("listening on ").expect("it listens");
        let listening = &listening[..listening.find('"').expect("quoted")];
        let has_tls = listening.ends_with(", tls");
        let port: u16 =
            listening.trim_end_matches(", tls").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let base = format!("{}://127.0.0.1:{port}{}", if has_tls { "https" } else { "http" }, prefix.trim_end_matches('/'));
        let agent = agent();
        let catalog =
            agent.get(format!("{base}/v2/_catalog")).call().expect("answered").body_mut().read_to_string().expect("text");
        let root = ["only-in-a", "only-in-b"].into_iter().find(|name| catalog.contains(name));
        let begun = agent.post(format!("{base}/v2/x/blobs/uploads/")).send_empty().expect("answered").status();
        let cache =
            said.split_once("\"using ").and_then(|(_, rest)| Some(rest.split_once(" blob descriptor cache")?.0.to_owned()));
        let is_proxy = said.contains("configured as a proxy cache");
        let facts = Facts {
            root,
            port: Some(port).filter(|port| *port == case.port),
            has_tls,
            takes_pushes: begun == 202,
            cache,
            is_proxy,
        };
        Some((facts, server))
    }

    fn ours(&self, config: &RegistryConfig) -> Facts {
        let http = &config.http;
        let port = http.address.as_deref().and_then(|address| port_of(address.rsplit(':').next()?));
        Facts {
            root: self.name(&config.root),
            port,
            has_tls: http.has_tls,
            takes_pushes: !config.read_only && config.proxy_remote.is_none(),
            cache: config.descriptor_cache.map(|cache| cache.name().to_owned()),
            is_proxy: config.proxy_remote.is_some(),
        }
    }
}

/// A port as it stands in an address.
fn port_of(text: &str) -> Option<u16> {
    let named = || NAMED_PORTS.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    text.parse().ok().or_else(named)
}

fn free_named_port() -> (&'static str, u16) {
    let is_free = |port| TcpListener::bind(("0.0.0.0", port)).is_ok();
    NAMED_PORTS.into_iter().find(|(_, port)| is_free(*port)).expect("one of them is free")
}

fn free_ports() -> [u16; 2] {
    [(); 2]
        .map(|()| TcpListener::bind("127.0.0.1:0"))
        .map(|listener| listener.and_then(|free| free.local_addr()).expect("a free port").port())
}

fn agent() -> Agent {
    let tls = TlsConfig::builder().disable_verification(true).build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent()
}

/// A registry that listens.
struct Server(Child);

impl Server {
    /// Nothing if it ends by itself.
    fn start(config: &Path, variables: &BTreeMap<String, String>, log: &Path) -> Option<Server> {
        let out = fs::File::create(log).expect("made");
        let mut command = registry_command();
        command.arg("serve").arg(config).envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        let mut server = Server(command.spawn().expect("docker-registry is installed"));
        let begun = Instant::now();
        while !fs::read_to_string(log).expect("a log").contains("msg=\"listening on ") {
            if server.0.try_wait().expect("a child can be asked").is_some() {
                return None;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "docker-registry neither listens nor ends");
            thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn says_what_the_registry_does() {
    let remote = RealRegistry::start();
    let Some(certificate) = certificate_for(&remote) else { return };
    let world = World { a: store_with("only-in-a"), b: store_with("only-in-b"), remote, certificate };
    let count = std::env::var("REGSWEEP_CONFIGURATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(CONFIGURATIONS);
    let directory = tempfile::tempdir().expect("a directory");
    let config: PathBuf = directory.path().join("config.yml");
    let mut chance = Chance(20);
    let mut started = 0;
    for number in 0..count {
        let case = world.case(&mut chance);
        fs::write(&config, ENCODINGS[case.encoding](&case.text)).expect("written");
        let environment: Vec<(OsString, OsString)> =
            case.variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let shown = || format!("configuration {number}, encoding {}:\n{}{:#?}", case.encoding, case.text, case.variables);
        let ours = registry_config::load(&config, &environment);
        let prefix = ours.as_ref().map(|ours| ours.http.prefix.clone()).unwrap_or_default();
        let Some((theirs, _server)) = world.theirs(&case, &config, &prefix) else { continue };
        started += 1;
        let ours = ours.unwrap_or_else(|error| panic!("{error}; but the registry starts: {}", shown()));
        assert_eq!(world.ours(&ours), theirs, "{}", shown());
        // And asked where it listens, it is found, whatever a run would do with the answer.
        let mut run = Regsweep::gc_config(&config).dry().json();
        for (name, value) in &case.variables {
            run = run.env(name, value);
        }
        let report = run.run().report();
        // Nobody who cannot be asked is believed to be read-only.
        let writes = theirs.takes_pushes || theirs.is_proxy || theirs.port.is_none();
        assert_eq!(report["writer"].is_string(), writes, "{}\n{report:#}", shown());
    }
    assert!(started * 2 > count, "most of them start: {started} of {count}");
}
