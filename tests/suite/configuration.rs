//! What a configuration comes to, compared with the registry itself: the root, and whether pushes are taken.
//!
//! Two stores are made, each with one repository of its own. The registry's collector prints the names of the repositories it
//! finds, and so shows which root it took; ours says it in its report.

mod generated;
mod variables;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::Client;
use crate::support::server::disguised_registry_command as registry_command;
use crate::support::*;

/// What a configuration comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// To the first store.
    ToA,
    /// To the second.
    ToB,
    /// To the registry's default, which is not there.
    ToDefault,
    /// To nothing: it is refused.
    ToNothing,
}
use Comes::*;

type Case = (&'static str, &'static [(&'static str, &'static str)], Comes);

/// A configuration, variables and the root they come to. `{A}` and `{B}` stand for the stores.
const CASES: &[Case] = &[
    ("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {A}\n", &[], ToA),
    ("version: \"0.1\"\nstorage: {filesystem: {rootdirectory: '{A}'}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}, rootDirectory: {B}}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootDirectory: {A}}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootDirectory: {B}}}\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}, rootdirectory: {B}}}\n", &[], ToB),
    ("version: 0.1\nstorage: filesystem\n", &[], ToDefault),
    ("version: 0.1\nstorage: filesystem\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToA),
    ("version: 0.1\nstorage: {filesystem: null}\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToA),
    ("version: 0.1\nstorage: {filesystem: {}}\n", &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: {A}}")], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {B}}}\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE", "filesystem")], ToDefault),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {B}}}\n",
        &[("REGISTRY_STORAGE", "filesystem"), ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")],
        ToA,
    ),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {B}}}\n",
        &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: {A}}}")],
        ToA,
    ),
    ("version: 0.1\nstorage: {s3: {region: x, bucket: y}}\n", &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: {A}}}")], ToA),
    ("version: 0.1\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToA),
    ("version: 0.1\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_S3_BUCKET", "x")], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")], ToA),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")],
        ToA,
    ),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("registry_storage_filesystem_rootdirectory", "{B}")], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_PORT", "tcp://10.0.0.1:5000")], ToA),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY_X", "{B}")],
        ToA,
    ),
    ("version: 0.1\nfs: &fs {rootdirectory: {A}}\nstorage: {filesystem: *fs}\n", &[], ToA),
    ("version: 0.1\nfs: &fs {rootdirectory: {A}}\nstorage: {filesystem: {<<: *fs, maxthreads: 50}}\n", &[], ToA),
    ("version: 0.1\nfs: &fs {rootdirectory: {A}}\nstorage: {filesystem: {<<: *fs, rootdirectory: {B}}}\n", &[], ToB),
    // A merge key overwrites what stands before it.
    ("version: 0.1\nfs: &fs {rootdirectory: {A}}\nstorage: {filesystem: {rootdirectory: {B}, <<: *fs}}\n", &[], ToA),
    ("version: 0.1\na: &a {rootdirectory: {A}}\nb: &b {rootdirectory: {B}}\nstorage: {filesystem: {<<: [*a, *b]}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}, <<: 7}}\n", &[], ToNothing),
    ("storage: {filesystem: {rootdirectory: {A}}}\n<<: {version: 0.1, storage: {filesystem: {rootdirectory: {B}}}}\n", &[], ToB),
    // A key that comes again replaces the section.
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\nstorage: filesystem\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\nstorage: {delete: {enabled: true}}\n", &[], ToNothing),
    ("---\nversion: 0.1\nstorage: {filesystem: {rootdirectory: !odd {A}}}\n---\nversion: 0.2\n", &[], ToA),
    ("version: 0.1\nlog: {fields: {1: x, true: y}}\nstorage: {filesystem: {rootdirectory: {A}}, delete: {1: 2}}\n", &[], ToA),
    ("version: 0.10\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nversion: 0.2\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_VERSION", "0.2")], ToA),
    ("version: 0.1\nstorage: {Filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {Filesystem: null}\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{A}")], ToNothing),
    ("version: 0.1\nStorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: maintenance\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}, maintenance: 7}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {A}}\n", &[], ToNothing),
    // Two drivers in the file are no better for a variable that replaces both.
    ("version: 0.1\nstorage: {filesystem: {}, s3: {}}\n", &[("REGISTRY_STORAGE", "filesystem")], ToNothing),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE", "{filesystem: {}, s3: {}}")],
        ToNothing,
    ),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE", "")], ToNothing),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE", ""), ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "{B}")],
        ToB,
    ),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_FILESYSTEM", "")], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_FILESYSTEM", "{B}")], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_S3", "")], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_", "")], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_DELETE", "true")], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_STORAGE_DELETE", "[")], ToNothing),
    // A part of a name in lower case finds no key, and so makes the section anew.
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE_filesystem_maxthreads", "30")],
        ToDefault,
    ),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[("REGISTRY_storage_FILESYSTEM_ROOTDIRECTORY", "{B}")], ToA),
    (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n",
        &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "'{B}' # quoted")],
        ToB,
    ),
    ("version: 0.1\nunknown: {x: [1, 2]}\nstorage: {filesystem: {rootdirectory: {A}, unknown: 1}}\n", &[], ToA),
    ("version: 0.2\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("storage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}, inmemory: null}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {nosuchdriver: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: [\n", &[], ToNothing),
    ("", &[], ToNothing),
    ("\u{feff}version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToA),
    ("\u{feff}# settings\nversion: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {A}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}/no/such/.././..//docker/..}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}/no-such-directory/..}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: /../..{A}/}}\n", &[], ToA),
    // Tags that leave a text what it is.
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: !!str {A}}}\n", &[], ToA),
    ("!!map\nversion: !!str 0.1\n!!str storage: !!map {filesystem: !x {!!str rootdirectory: '{A}'}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: !!int {A}}}\n", &[], ToNothing),
];

/// What the registry takes and we do not, because nobody can have meant where it goes.
const REFUSED: &[Case] = &[
    // `<nil>`, the filesystem's root, and what Go prints for a list and a map.
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: null}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: [{A}]}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: filesystem\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY_X", "{A}")], ToDefault),
    // `true`, 7 and a time of day.
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: yes}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: 07}}\n", &[], ToDefault),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: 2024-01-01}}\n", &[], ToDefault),
    // The rest of the file is not read.
    ("{version: 0.1, storage: filesystem}\nhttp: {addr: ':5000'}\n", &[], ToDefault),
    // What is decoded, under a key or as one.
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: !!binary {A64}}}\n", &[], ToA),
    ("version: 0.1\nx: &x !!binary {A64}\nstorage: {filesystem: {rootdirectory: *x}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: !<tag:yaml.org,2002:binary> {A64}}}\n", &[], ToA),
    ("%TAG !y! tag:yaml.org,2002:\n---\nversion: 0.1\nstorage: {filesystem: {rootdirectory: !y!binary {A64}}}\n", &[], ToA),
    ("version: 0.1\nstorage: {filesystem: {!!binary cm9vdGRpcmVjdG9yeQ==: {A}}}\n", &[], ToA),
    ("version: 0.1\nstorage: filesystem\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "!!binary {A64}")], ToA),
    // Storage that is gone when the process is.
    ("version: 0.1\nstorage: inmemory\n", &[], ToDefault),
];

/// A `readonly` section, the variables below `REGISTRY_STORAGE_MAINTENANCE`, and whether the registry takes pushes; none if it
/// does not start.
type ReadOnlyCase = (&'static str, &'static [(&'static str, &'static str)], Option<bool>);

const READ_ONLY_CASES: &[ReadOnlyCase] = &[
    ("{enabled: true}", &[], Some(false)),
    ("{enabled: on}", &[], Some(false)),
    ("{enabled: y}", &[], Some(false)),
    ("{enabled: false, enabled: true}", &[], Some(false)),
    ("{enabled: no}", &[], Some(true)),
    ("{Enabled: true}", &[], Some(true)),
    ("{}", &[], Some(true)),
    ("{enabled: 'true'}", &[], None),
    ("true", &[], None),
    ("null", &[], None),
    ("null", &[("_READONLY", "{\"enabled\":true}")], Some(false)),
    ("{}", &[("", "{readonly: {enabled: true}}")], Some(false)),
    ("{enabled: true}", &[("_READONLY", "{}")], Some(true)),
    // What is inside a nested map of the file, or of one variable, cannot be changed by another.
    ("{enabled: false}", &[("_READONLY_ENABLED", "true")], Some(true)),
    ("{enabled: true}", &[("_READONLY_ENABLED", "false")], Some(false)),
    ("{}", &[("_READONLY", "{enabled: true}"), ("_READONLY_ENABLED", "false")], Some(false)),
    ("null", &[("_READONLY_ENABLED", "true")], None),
    ("{}", &[("_READONLY", "true")], None),
];

fn store_with(repository: &str) -> tempfile::TempDir {
    registry().repo(repository).image("x", &[layer(1)]).tag("v1").into_tree().on_disk()
}

/// What the registry's own collector does with it.
fn registry_comes(config: &Path, variables: &BTreeMap<String, String>) -> Comes {
    let output = registry_command()
        .args(["garbage-collect", "--dry-run"])
        .arg(config)
        .envs(variables)
        .output()
        .expect("docker-registry is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("only-in-a: marking manifest") {
        ToA
    } else if said.contains("only-in-b: marking manifest") {
        ToB
    } else if said.contains("Path not found: /docker/registry/v2/repositories") {
        ToDefault
    } else {
        ToNothing
    }
}

/// What ours does.
fn regsweep_comes(config: &Path, variables: &BTreeMap<String, String>, a: &Path, b: &Path) -> Comes {
    let mut run = Regsweep::gc_config(config).dry().json();
    for (name, value) in variables {
        run = run.env(name, value);
    }
    let outcome = run.run();
    match outcome.code {
        Some(0) => {
            let root = outcome.report()["root"].as_str().expect("a root").to_owned();
            match Path::new(&root) {
                root if root == a => ToA,
                root if root == b => ToB,
                other => panic!("took {}", other.display()),
            }
        }
        Some(2) if outcome.stderr.contains("root directory /var/lib/registry") => ToDefault,
        Some(2) => {
            assert!(outcome.stderr.contains("configuration"), "{}", outcome.stderr);
            ToNothing
        }
        other => panic!("exit code {other:?}: {}", outcome.stderr),
    }
}

#[test]
fn comes_to_the_root_that_the_registry_comes_to() {
    let has_default_root = Path::new("/var/lib/registry").exists();
    let (a, b) = (store_with("only-in-a"), store_with("only-in-b"));
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let fill = |text: &str| text.replace("{A}", &a.path().display().to_string()).replace("{B}", &b.path().display().to_string());
    for (text, variables, expected) in CASES.iter().filter(|(_, _, expected)| !(has_default_root && *expected == ToDefault)) {
        std::fs::write(&config, fill(text)).expect("written");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
        assert_eq!(registry_comes(&config, &variables), *expected, "the registry: {text} {variables:?}");
        assert_eq!(regsweep_comes(&config, &variables, a.path(), b.path()), *expected, "regsweep: {text} {variables:?}");
    }
}

#[test]
fn refuses_what_nobody_can_have_meant() {
    let a = store_with("only-in-a");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let path = a.path().display().to_string();
    let fill = |text: &str| text.replace("{A}", &path).replace("{A64}", &base64(path.as_bytes()));
    for (text, variables, expected) in REFUSED {
        std::fs::write(&config, fill(text)).expect("written");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
        assert_eq!(registry_comes(&config, &variables), *expected, "the registry: {text} {variables:?}");
        assert_eq!(regsweep_comes(&config, &variables, a.path(), a.path()), ToNothing, "regsweep: {text} {variables:?}");
    }
}

/// What a tag changes is refused with the name of its key or variable.
#[test]
fn a_value_with_a_tag_is_refused_by_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    for (text, variable, named) in [
        ("storage: {filesystem: {rootdirectory: !!binary eA==}}", "", "storage.filesystem.rootdirectory: the tag !!binary"),
        ("storage: filesystem\nproxy: {remoteurl: !!binary eA==}", "", "proxy.remoteurl: the tag !!binary"),
        ("storage: {filesystem: {}, maintenance: {readonly: {enabled: !!bool 'true'}}}", "", "readonly.enabled: the tag !!bool"),
        ("storage: filesystem", "!!binary eA==", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
    ] {
        std::fs::write(&config, format!("version: 0.1\n{text}\n")).expect("written");
        let mut run = Regsweep::gc_config(&config).dry();
        if !variable.is_empty() {
            run = run.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", variable);
        }
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains(named) && refused.stderr.contains("the tag !!"), "{text}: {}", refused.stderr);
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| char::from(LETTERS[(bits & 63) as usize]);
    let three = |part: &[u8]| {
        let bits = (0..3).fold(0, |bits, place| bits << 8 | u32::from(*part.get(place).unwrap_or(&0)));
        let letters = [18, 12, 6, 0].map(|shift| letter(bits >> shift));
        letters.into_iter().take(part.len() + 1).chain(std::iter::repeat_n('=', 3 - part.len())).collect::<String>()
    };
    bytes.chunks(3).map(three).collect()
}

/// What is written with another encoding, and what leads elsewhere if the kernel reads it first.
#[test]
fn a4_a5_reads_bytes_and_paths_as_the_registry_does() {
    let (a, b) = (store_with("only-in-a"), store_with("only-in-b"));
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    // `<b>/link/..` is the parent of <a> to the kernel, and <b> to the registry.
    std::os::unix::fs::symlink(a.path().join("docker"), b.path().join("link")).expect("made");
    let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/link/..}}}}\n", b.path().display());
    std::fs::write(&config, &text).expect("written");
    assert_eq!(registry_comes(&config, &BTreeMap::new()), ToB);
    assert_eq!(regsweep_comes(&config, &BTreeMap::new(), a.path(), b.path()), ToB);
    let text = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", a.path().display());
    let encoded =
        |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| [&mark[..], &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat();
    for bytes in [encoded([0xff, 0xfe], u16::to_le_bytes), encoded([0xfe, 0xff], u16::to_be_bytes)] {
        std::fs::write(&config, bytes).expect("written");
        assert_eq!(registry_comes(&config, &BTreeMap::new()), ToA);
        assert_eq!(regsweep_comes(&config, &BTreeMap::new(), a.path(), b.path()), ToA);
    }
}

#[test]
fn takes_a_relative_root_from_the_working_directory() {
    let store = store_with("only-in-a");
    let config = store.path().join("config.yml");
    std::fs::write(&config, "version: 0.1\nstorage: {filesystem: {rootdirectory: .}}\n").expect("written");
    let theirs = registry_command()
        .args(["garbage-collect", "--dry-run", "config.yml"])
        .current_dir(store.path())
        .output()
        .expect("docker-registry is installed");
    assert!(String::from_utf8_lossy(&theirs.stdout).contains("only-in-a: marking manifest"));
    let ours = Regsweep::gc_config(Path::new("config.yml")).current_dir(store.path()).dry().json().run().expect_code(0);
    assert_eq!(ours.report()["scanned"]["repositories"], 1);
}

/// Starts the server and begins an upload: whether that is taken, none if it does not start.
fn registry_takes_pushes(config: &Path, variables: &BTreeMap<String, String>, address: &str) -> Option<bool> {
    let mut server = registry_command()
        .arg("serve")
        .arg(config)
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is installed");
    let client = Client::new(address);
    let begun = Instant::now();
    let taken = loop {
        if let Ok(answer) = client.try_send("POST", "/v2/x/blobs/uploads/", &[], &[]) {
            assert!([202, 405].contains(&answer.status), "{answer:?}");
            break Some(answer.status == 202);
        }
        if server.try_wait().expect("a child can be asked").is_some() {
            break None;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "docker-registry neither answers nor ends");
        thread::sleep(Duration::from_millis(10));
    };
    // It may have ended by itself, which is as good.
    let _ = server.kill();
    let _ = server.wait();
    taken
}

/// Whoever takes a writable registry for a read-only one takes away what is just being pushed.
#[test]
fn is_read_only_when_the_registry_takes_no_pushes() {
    let store = store_with("only-in-a");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    for (read_only, variables, takes_pushes) in READ_ONLY_CASES {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: {read_only}}}}}\n\
             http: {{addr: \"{free}\"}}\n",
            store.path().display()
        );
        std::fs::write(&config, text).expect("written");
        let variables: BTreeMap<_, _> =
            variables.iter().map(|(name, value)| (format!("REGISTRY_STORAGE_MAINTENANCE{name}"), (*value).to_owned())).collect();
        let case = format!("readonly: {read_only}, {variables:?}");
        assert_eq!(registry_takes_pushes(&config, &variables, &free.to_string()), *takes_pushes, "the registry: {case}");
        let mut run = Regsweep::gc_config(&config).dry().json();
        for (name, value) in &variables {
            run = run.env(name, value);
        }
        let report = run.run().report();
        assert_eq!(report["registry"]["read_only"], *takes_pushes == Some(false), "regsweep: {case}");
        let warned = report["registry"]["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        assert!(warned || takes_pushes.is_some(), "a registry that does not start is worth a warning: {case}");
    }
}

#[test]
fn names_the_key_that_the_registry_reads() {
    let store = store_with("only-in-a");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootDirectory: /elsewhere, rootdirectory: {}}}}}\n",
        store.path().display()
    );
    std::fs::write(&config, text).expect("written");
    let outcome = Regsweep::gc_config(&config).dry().run().expect_code(0);
    assert!(outcome.stderr.contains("storage.filesystem.rootDirectory is not read by the registry"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("storage.filesystem.rootdirectory"), "{}", outcome.stderr);
}

#[test]
fn a_registry_that_is_down_and_configured_read_only_needs_no_minimum_age() {
    let store = registry().young().stray_blob(&layer(7)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let http = format!("http: {{addr: \"{free}\"}}\n");
    // Without an address nothing shows that the registry is down or has been restarted with it.
    for (read_only, http, expected) in [("true", &*http, 1), ("true", "", 0), ("false", &*http, 0)] {
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: {{enabled: {read_only}}}}}}}\n{http}",
            store.path().display()
        );
        std::fs::write(&config, text).expect("written");
        let outcome = Regsweep::gc_config(&config).dry().run().expect_code(0);
        assert_eq!(outcome.rows_of("blob").len(), expected, "read-only: {read_only}, {http}");
    }
}

#[test]
fn says_that_a_caching_registry_has_to_be_restarted() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    for (cache, expected) in [("cache: {blobdescriptor: inmemory}", true), ("delete: {enabled: true}", false)] {
        let store = registry().stray_blob(&layer(7)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
        let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, {cache}}}\n", store.path().display());
        std::fs::write(&config, text).expect("written");
        let dry = Regsweep::gc_config(&config).dry().run().expect_code(0);
        assert!(!dry.stdout.contains("restart the registry"), "{}", dry.stdout);
        let done = Regsweep::gc_config(&config).run().expect_code(0);
        assert_eq!(done.stdout.contains("restart the registry"), expected, "{}", done.stdout);
    }
}

/// The root that the registry falls back to is mostly not there where somebody meant another one.
#[test]
fn a_misspelt_key_is_named_although_the_default_root_is_not_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    for key in ["rootDirectory", "root_directory", "path"] {
        std::fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{{key}: /data}}}}\n")).expect("written");
        // Where the default root is there, its warning is the same.
        let ran = Regsweep::new().arg("audit").arg(&config).run();
        let named = format!("storage.filesystem.{key} is not read by the registry");
        assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    }
}
