//! Which root a configuration comes to, compared with the registry itself.
//!
//! Two stores are made, each with one repository of its own. The registry's collector prints the names of the repositories it
//! finds, and so shows which root it took; ours says it in its report.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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
    ("version: 0.1\nunknown: {x: [1, 2]}\nstorage: {filesystem: {rootdirectory: {A}, unknown: 1}}\n", &[], ToA),
    ("version: 0.2\nstorage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("storage: {filesystem: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {filesystem: {rootdirectory: {A}}, inmemory: null}\n", &[], ToNothing),
    ("version: 0.1\nstorage: {nosuchdriver: {rootdirectory: {A}}}\n", &[], ToNothing),
    ("version: 0.1\nstorage: [\n", &[], ToNothing),
    ("", &[], ToNothing),
];

fn store_with(repository: &str) -> tempfile::TempDir {
    registry().repo(repository).image("x", &[layer(1)]).tag("v1").into_tree().on_disk()
}

/// What the registry's own collector does with it.
fn registry_comes(config: &Path, variables: &BTreeMap<String, String>) -> Comes {
    let output = Command::new("docker-registry")
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
    } else if said.contains("filesystem: Path not found") {
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
    assert!(!Path::new("/var/lib/registry").exists(), "this test needs the registry's default root to be absent");
    let (a, b) = (store_with("only-in-a"), store_with("only-in-b"));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
    let fill = |text: &str| text.replace("{A}", &a.path().display().to_string()).replace("{B}", &b.path().display().to_string());
    for (text, variables, expected) in CASES {
        std::fs::write(&config, fill(text)).expect("written");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
        assert_eq!(registry_comes(&config, &variables), *expected, "the registry: {text} {variables:?}");
        assert_eq!(regsweep_comes(&config, &variables, a.path(), b.path()), *expected, "regsweep: {text} {variables:?}");
    }
}

#[test]
fn names_the_key_that_the_registry_reads() {
    let store = store_with("only-in-a");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
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
fn read_only_configuration_needs_no_minimum_age() {
    let store = registry().young().stray_blob(&layer(7)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
    for (read_only, expected) in [("true", 1), ("false", 0)] {
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: {{enabled: {read_only}}}}}}}\n",
            store.path().display()
        );
        std::fs::write(&config, text).expect("written");
        let outcome = Regsweep::gc_config(&config).dry().run().expect_code(0);
        assert_eq!(outcome.rows_of("blob").len(), expected, "read-only: {read_only}");
    }
}

#[test]
fn says_that_a_caching_registry_has_to_be_restarted() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
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
