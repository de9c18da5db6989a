//! Beside a registry that remembers: `storage.cache.blobdescriptor: inmemory`, as the image of upstream and Debian's package have it.
//!
//! Such a registry accepts an image although its blobs have gone, also hours later (R4). What was quarantined beside one may be purged only when
//! no process is left that remembers it.

use serde_json::Value;

use crate::support::http::Client;
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;

fn image() -> Image {
    oci_image("remembered", &[layer(1), layer(2)])
}

/// A registry that remembers an image which nothing needs any more, and one that stays.
fn remembering() -> RealRegistry {
    let mut registry = RealRegistry::stopped();
    registry.configure(Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() });
    registry.restart();
    let client = registry.client();
    client.push_tag("other", "v1", &oci_image("bystander", &[layer(77)]));
    client.push_tag("a", "old", &image());
    client.delete_manifest("a", image().digest());
    // What is pushed without a manifest after that is remembered, and nothing says so on the disk.
    age(&registry.root());
    image().blobs.iter().for_each(|blob| assert!(client.has_blob("a", &blob.digest), "remembered, or there"));
    registry
}

/// One night. Nothing has to wait but for the restart.
fn night(registry: &RealRegistry, flags: &[&str]) -> Value {
    let purge = ["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s", "--format", "json"];
    let run = Regsweep::gc_config(&registry.config()).args(purge).args(flags);
    run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0").run().expect_code(0).report()
}

fn purged(report: &Value) -> u64 {
    report["quarantine"]["purged"]["blobs"].as_u64().expect("a number")
}

/// Puts the manifest alone, as a client does that has been told that the registry has all of its blobs.
fn put_alone(client: &Client, tag: &str) -> u16 {
    let all = image().blobs.iter().all(|blob| client.has_blob("a", &blob.digest));
    assert!(all, "the registry says that it has them");
    client.send("PUT", &format!("/v2/a/manifests/{tag}"), &[("Content-Type", image().media_type)], &image().manifest.bytes).status
}

fn restarted(registry: &RealRegistry, words: &[&str]) -> Outcome {
    Regsweep::new().args(["quarantine", "restarted"]).args(words).arg(registry.config()).run()
}

/// Whether this machine shows a restart by itself: not in a container.
fn is_shown() -> bool {
    let is_first = std::fs::read_link("/proc/self/ns/pid").is_ok_and(|space| space.as_os_str() == "pid:[4026531836]");
    if !is_first {
        eprintln!("online: skipped: not all processes of this machine are seen from here");
    }
    is_first
}

/// A reboot is the end of every registry of this machine, also where nothing vouches for its clock, which is when nothing else says how long it is
/// ago. The wait begins anew; what was to be forgotten does not.
#[test]
fn r4_a_reboot_is_a_restart_that_no_clock_has_to_show() {
    if !is_shown() {
        return;
    }
    let night = |registry: &RealRegistry, boot: &str| {
        let purge = ["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s", "--format", "json"];
        let clock = format!("request=0,trusted=no,boot={boot}");
        let run = Regsweep::gc_config(&registry.config()).args(purge).env("REGSWEEP_TEST_CLOCK", clock);
        run.run().expect_code(0).report()
    };
    let all = image().blobs.len() as u64 + 1;
    for reboots in [true, false] {
        let mut registry = remembering();
        night(&registry, "a");
        if reboots {
            std::thread::sleep(std::time::Duration::from_millis(200));
            registry.restart();
        }
        let first = night(&registry, "b");
        assert_eq!(purged(&first), 0, "it waits anew: {first}");
        assert_eq!(first["registry_must_restart"], !reboots, "{first}");
        let second = night(&registry, "b");
        assert_eq!(purged(&second), if reboots { all } else { 0 }, "another kernel noted it: {second}");
    }
}

/// Of which store a registry of another user is, only root can tell: until then nothing that is said of a restart counts.
#[test]
fn a_registry_that_only_root_can_look_at_is_for_root() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let registry = remembering();
    for entry in walkdir::WalkDir::new(registry.root()).into_iter().flatten() {
        std::os::unix::fs::chown(entry.path(), Some(65534), Some(65534)).expect("ours");
    }
    let directory = registry.root().parent().expect("a directory").to_owned();
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let theirs = |run: Regsweep| somebody.runs(run.arg(registry.config())).env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=7200");
    let purge = ["garbage-collect", "--online", "-m", "--rescue-for", "0s", "--allow-unlinked", "100%"];
    let list = || theirs(Regsweep::new().args(["quarantine", "list"])).run().expect_code(0);
    let runs = [theirs(Regsweep::new().args(purge)).run().expect_code(0), list()];
    for said in runs {
        assert!(said.stdout.contains("run as root"), "{}", said.stdout);
        assert!(!said.stdout.contains("quarantine restarted --since"), "{}", said.stdout);
    }
    let refused = theirs(Regsweep::new().args(["quarantine", "restarted", "--since", "0s"])).run().expect_code(2);
    assert!(refused.stderr.contains("run as root"), "{}", refused.stderr);
}

/// The control: so it goes without the restart.
#[test]
fn r4_removed_at_once_what_is_remembered_breaks_an_image_for_good() {
    let registry = remembering();
    Regsweep::gc_config(&registry.config()).args(["-m", "--assume-offline"]).run().expect_code(0);
    assert_eq!(put_alone(&registry.client(), "v1"), 201);
    registry.client().pull("a", "v1").expect_err("acknowledged, and not there");
    registry.client().push_tag("a", "v1", &image());
    registry.client().pull("a", "v1").expect_err("pushing it again does not help");
}

#[test]
fn r4_what_is_remembered_stays_until_no_registry_remembers_it() {
    let mut registry = remembering();
    let first = night(&registry, &[]);
    assert_eq!(first["quarantine"]["waiting"]["blobs"], image().blobs.len() as u64 + 1, "{first}");
    for _ in 0..2 {
        let next = night(&registry, &[]);
        assert_eq!(purged(&next), 0, "it may be remembered: {next}");
        assert_ne!(next["quarantine"]["withheld"], 0, "{next}");
    }
    // Long after every request that had begun before.
    assert_eq!(put_alone(&registry.client(), "v1"), 201);
    registry.client().pull("a", "v1").expect_err("until the next run it is incomplete");
    let next = night(&registry, &[]);
    assert_ne!(next["quarantine"]["restored"]["blobs"], 0, "{next}");
    registry.client().pull("a", "v1").expect("restored");

    // Quarantined again, and this time nobody pushes it.
    registry.client().delete_manifest("a", image().digest());
    age(&registry.root());
    night(&registry, &["--min-age", "0s", "--ignore-birth-time"]);
    let refused = Regsweep::new().args(["quarantine", "purge", "--older-than", "1h"]).arg(registry.config());
    let refused = refused.env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=7200").run().expect_code(0);
    assert!(refused.stdout.contains("until it is restarted"), "by hand no more than at night: {}", refused.stdout);

    registry.restart();
    restarted(&registry, &["--since", "0s"]).expect_code(2);
    let said = restarted(&registry, &["--since", "1s"]);
    // Started less than a second ago, or not.
    assert!(matches!(said.code, Some(0 | 2)), "{}{}", said.stdout, said.stderr);
    if is_shown() {
        let last = night(&registry, &[]);
        assert_ne!(purged(&last), 0, "{last}");
        assert_eq!(last["quarantine"]["withheld"], 0, "{last}");
    }
    let client = registry.client();
    assert!(image().blobs.iter().all(|blob| !client.has_blob("a", &blob.digest)), "and the registry knows that they are gone");
    client.push_tag("a", "v1", &image());
    client.pull("a", "v1").expect("pushed again");
}

/// What became of the configuration of a registry that goes on: in each case nothing that is given says that it remembers.
#[test]
fn r4_a_registry_whose_configuration_is_not_what_it_was_may_remember() {
    type Becomes = fn(&std::path::Path);
    let cases: [(&str, Becomes); 3] = [
        ("gone", |config| std::fs::remove_file(config).expect("there")),
        ("unreadable", |config| std::fs::write(config, "storage: [").expect("written")),
        ("behind another link", |config| {
            // As a deployment goes back to an earlier one: the file is older than the process.
            let directory = config.parent().expect("a directory").parent().expect("one more").to_owned();
            let link = directory.join("conf");
            std::fs::remove_file(&link).and_then(|()| std::os::unix::fs::symlink("v2", &link)).expect("made");
        }),
    ];
    for (what, becomes) in cases {
        let places = tempfile::tempdir().expect("a directory");
        let mut registry = RealRegistry::stopped();
        let text = std::fs::read_to_string(registry.config()).expect("there");
        for (version, storage) in [("v1", "storage:\n  cache: {blobdescriptor: inmemory}\n"), ("v2", "storage:\n")] {
            std::fs::create_dir(places.path().join(version)).expect("made");
            std::fs::write(places.path().join(version).join("config.yml"), text.replace("storage:\n", storage)).expect("written");
        }
        std::os::unix::fs::symlink("v1", places.path().join("conf")).expect("made");
        let config = places.path().join("conf/config.yml");
        registry.restart_by(&config);
        let client = registry.client();
        client.push_tag("other", "v1", &oci_image("bystander", &[layer(77)]));
        client.push_tag("a", "old", &image());
        client.delete_manifest("a", image().digest());
        age(&registry.root());
        image().blobs.iter().for_each(|blob| assert!(client.has_blob("a", &blob.digest), "remembered, or there"));
        std::thread::sleep(std::time::Duration::from_millis(200));
        becomes(&config);
        // What is given says nothing of a cache.
        night(&registry, &[]);
        let next = night(&registry, &[]);
        assert_eq!(purged(&next), 0, "{what}: it may be remembered: {next}");
        assert_eq!(put_alone(&registry.client(), "v1"), 201, "{what}");
        night(&registry, &[]);
        registry.client().pull("a", "v1").unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// A registry that is started, with a cache, while things are moved.
#[test]
fn r4_a_registry_that_is_started_while_a_run_is_under_way_may_remember() {
    if !crate::can_hold_up() {
        return;
    }
    let mut registry = RealRegistry::start();
    let client = registry.client();
    client.push_tag("other", "v1", &oci_image("bystander", &[layer(77)]));
    client.push_tag("a", "old", &image());
    client.delete_manifest("a", image().digest());
    age(&registry.root());
    let purge = ["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s"];
    let hold = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2"];
    let inject = ["-e", "inject=rename,renameat,renameat2:delay_enter=4000000"];
    let run = Regsweep::gc_config(&registry.config())
        .args(purge)
        .args(["--jobs", "1"])
        .env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0");
    let running = run.under(hold.iter().chain(&inject)).start();
    while !registry.root().join(".regsweep/quarantine").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    registry.configure(Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() });
    registry.restart();
    let remembered: Vec<bool> = image().blobs.iter().map(|blob| registry.client().has_blob("a", &blob.digest)).collect();
    assert!(remembered.contains(&true), "nothing is remembered: {remembered:?}");
    running.wait().expect_code(0);
    let next = night(&registry, &[]);
    assert_eq!(purged(&next), 0, "it may be remembered: {next}");
}

/// The file says nothing of a cache any more, and the process goes on with the one that it was started with.
#[test]
fn r4_a_registry_older_than_its_configuration_may_remember() {
    let mut registry = remembering();
    // An edit as soon after the start as this is could be part of it.
    std::thread::sleep(std::time::Duration::from_millis(200));
    registry.configure(Settings::default());
    night(&registry, &[]);
    let next = night(&registry, &[]);
    assert_eq!(purged(&next), 0, "it may be remembered: {next}");
    assert_eq!(put_alone(&registry.client(), "v1"), 201);
    night(&registry, &[]);
    registry.client().pull("a", "v1").expect("restored");
}

#[test]
fn a_restart_that_cannot_be_seen_is_said() {
    let mut registry = remembering();
    night(&registry, &[]);
    // Whatever answers there may remember.
    let elsewhere = ["--registry", "http://127.0.0.1:1"];
    let before = jiff::Timestamp::now();
    // The kernel tells when a process was started in hundredths of a second.
    std::thread::sleep(std::time::Duration::from_millis(20));
    registry.restart();
    let unseen = night(&registry, &elsewhere);
    assert_eq!(purged(&unseen), 0, "{unseen}");
    // Before the restart: covers nothing of it.
    let early = restarted(&registry, &["--since", "1h", "--format", "json"]).expect_code(0).report();
    assert!(early["started_after"].is_string(), "{early}");
    assert_eq!(purged(&night(&registry, &elsewhere)), 0);
    let refused = restarted(&registry, &["--since", "0s"]).expect_code(2);
    assert!(refused.stderr.contains("was started"), "{}", refused.stderr);
    // A moment after the last thing was moved, and before the registry was started.
    let now = restarted(&registry, &["--since", &before.to_string()]).expect_code(0);
    assert!(now.stdout.contains("noted") && now.stdout.contains("1 run can be purged"), "{}", now.stdout);
    assert_ne!(purged(&night(&registry, &elsewhere)), 0);
}
