//! The recipes of `docs/containers.md`, in namespaces made by hand: what a container sees of the registry beside it, and what works from there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::held::{Held, filling};
use crate::support::http::Client;
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;
use crate::writers::with_garbage;

/// What a container shares with the registry beside its volume.
#[derive(Clone, Copy, PartialEq)]
enum Shares {
    Nothing,
    Network,
}

/// A process in namespaces of its own; nothing where none can be made.
fn contained(run: Regsweep, shares: Shares) -> Option<Regsweep> {
    let can = std::process::Command::new("unshare").args(["--net", "--pid", "--mount", "--fork", "true"]).status();
    // On overlayfs the store would lie in the layers of the container that this is.
    let is_container = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(" / / rw - overlay");
    if is_container || !can.is_ok_and(|status| status.success()) {
        skipped("no namespaces can be made here");
        return None;
    }
    let network: &[&str] = if shares == Shares::Network { &[] } else { &["--net"] };
    let words = ["unshare"].iter().chain(network).chain(&["--pid", "--mount", "--fork", "--mount-proc"]);
    Some(run.under(words))
}

fn gc(registry: &RealRegistry, flags: &[&str]) -> Regsweep {
    Regsweep::gc_config(&registry.config()).any_age().args(flags).env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0")
}

const ONLINE: [&str; 6] = ["--online", "--rescue-for", "0s", "--quarantine-for", "0s", "--allow-shrunk"];

fn remembers() -> Settings {
    Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() }
}

/// `docker run --volumes-from`: nothing but files is seen.
#[test]
fn beside_it_with_the_volume_alone() {
    let mut registry = with_garbage(remembers());
    let Some(refused) = contained(gc(&registry, &[]), Shares::Nothing) else { return };
    let refused = refused.run().expect_code(2);
    assert!(refused.stderr.contains("no registry could be asked"), "{}", refused.stderr);
    age(&registry.root());
    let night = |registry: &RealRegistry| {
        let run = contained(gc(registry, &ONLINE), Shares::Nothing).expect("as before").run();
        run.expect_code(0)
    };
    let first = night(&registry);
    assert_eq!(first.rows_of("blob").len(), 1, "{}", first.stdout);
    assert!(first.stdout.contains("quarantine restarted --since TIME"), "{}", first.stdout);
    assert!(first.stdout.contains("not all processes of this machine are seen"), "{}", first.stdout);
    let quarantined = registry.root().join(".regsweep/quarantine");
    let held = || walkdir::WalkDir::new(&quarantined).into_iter().flatten().any(|entry| entry.file_name() == "data");

    std::thread::sleep(std::time::Duration::from_secs(1));
    registry.restart();
    night(&registry);
    assert!(held(), "from in there no restart is seen");
    // Whatever is printed there names what has to be said, and is accepted there.
    let quarantine = |words: &[&str]| {
        let run = Regsweep::new().arg("quarantine").args(words).arg(registry.config());
        contained(run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=7200"), Shares::Nothing).expect("as before").run()
    };
    for words in [&["list"][..], &["purge", "--older-than", "1h"]] {
        let said = quarantine(words).expect_code(0).stdout;
        for part in [
            "quarantine restarted --since TIME",
            "not all processes of this machine are seen",
            "quarantine purge --older-than 1h",
        ] {
            assert!(said.contains(part), "{words:?} {part}: {said}");
        }
    }
    let refused = quarantine(&["purge"]).expect_code(2).stderr;
    assert!(refused.contains("--older-than 1h") && refused.contains("once it is stopped or read-only"), "{refused}");
    let words = |since: &str| Regsweep::new().args(["quarantine", "restarted", "--since", since]).arg(registry.config());
    let unsaid = Regsweep::new().args(["quarantine", "restarted"]).arg(registry.config());
    let unsaid = contained(unsaid, Shares::Nothing).expect("as before").run().expect_code(2);
    assert!(unsaid.stderr.contains("give --since TIME"), "{}", unsaid.stderr);
    let early = contained(words("1h"), Shares::Nothing).expect("as before").run().expect_code(0).stdout;
    night(&registry);
    assert!(held(), "what was quarantined since then stays");
    // What it says then is a time that is accepted, and late enough.
    let (_, late) = early.split_once("was moved until ").unwrap_or_else(|| panic!("{early}"));
    let late = late.split(',').next().expect("a time").to_owned();
    let said = contained(words(&late), Shares::Nothing).expect("as before").run().expect_code(0).stdout;
    assert!(said.contains("1 run can be purged"), "{late}: {said}");
    night(&registry);
    assert!(!held(), "and nothing does that was quarantined before");

    registry.stop();
    registry.client();
    let offline = gc(&registry, &[]).env("REGSWEEP_ASSUME_OFFLINE", "true");
    contained(offline, Shares::Nothing).expect("as before").run().expect_code(0);
}

/// A restart that was said too early, where nothing could be seen, is no proof where the old registry is seen.
#[test]
fn what_was_said_in_a_container_is_no_proof_against_what_is_seen() {
    let mut registry = with_garbage(remembers());
    let said = Regsweep::new().args(["quarantine", "restarted", "--since", "0s"]).arg(registry.config());
    let Some(said) = contained(said, Shares::Nothing) else { return };
    age(&registry.root());
    let json = |words: &[&str]| gc(&registry, &ONLINE).args(words).args(["--format", "json"]).run().expect_code(0).report();
    assert_eq!(json(&[])["quarantine"]["waiting"]["blobs"], 1);
    std::thread::sleep(std::time::Duration::from_millis(20));
    said.run().expect_code(0);
    let night = json(&[]);
    assert_eq!(night["quarantine"]["purged"]["blobs"], 0, "{night}");
    let older = night["older_registry"].as_str().unwrap_or_else(|| panic!("it names nothing: {night}"));
    assert!(older.contains("is a registry that works on this store; it was started"), "{older}");
    assert_eq!(night["registry_must_restart"], true, "{night}");
    let list = Regsweep::new().args(["quarantine", "list"]).arg(registry.config()).run().expect_code(0).stdout;
    assert!(list.contains("is a registry that works on this store"), "{list}");
    registry.restart();
    let night = gc(&registry, &ONLINE).args(["--format", "json"]).run().expect_code(0).report();
    assert_eq!(night["quarantine"]["purged"]["blobs"], 1, "{night}");
}

/// Its own addresses lead to itself, by whatever name: a wildcard, or that of an interface. Nothing there is no registry that is down.
#[test]
fn its_own_addresses_are_not_those_of_the_registry() {
    let registry = with_garbage(Settings::default());
    let port = registry.address().rsplit_once(':').expect("a port").1;
    let before = snapshot(&registry.root().join("docker"));
    let config = registry.config().with_file_name("own.yml");
    let given = |host: &str| Regsweep::gc(&registry.root()).args(["--registry", &format!("http://{host}:{port}")]);
    let configured = |host: &str| {
        let text = fs::read_to_string(registry.config()).expect("there");
        fs::write(&config, text.replace(registry.address(), &format!("{host}:{port}"))).expect("written");
        Regsweep::gc_config(&config)
    };
    for host in ["127.0.0.1", "0.0.0.0", "[::]", "0", "[::ffff:0.0.0.0]", "10.77.0.5", "[fd77::5]"] {
        for run in [given(host), configured(host)] {
            let script =
                "ip link set lo up && ip addr add 10.77.0.5/32 dev lo && ip addr add fd77::5/128 dev lo nodad; exec \"$@\"";
            let run = run.any_age().under(["sh", "-c", script, "sh"]);
            let Some(run) = contained(run, Shares::Nothing) else { return };
            let refused = run.run().expect_code(2);
            assert!(refused.stderr.contains("no registry could be asked"), "{host}: {}", refused.stderr);
        }
    }
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
}

/// `--network container:registry`, or a pod's: the registry is asked at its own address.
#[test]
fn beside_it_with_its_network() {
    let mut registry = with_garbage(Settings::default());
    let Some(refused) = contained(gc(&registry, &[]), Shares::Network) else { return };
    let refused = refused.run().expect_code(2);
    assert!(refused.stderr.contains("takes pushes answers at"), "{}", refused.stderr);
    registry.configure(Settings::read_only());
    registry.restart();
    let done = contained(gc(&registry, &[]), Shares::Network).expect("as before").run().expect_code(0);
    assert_eq!(done.rows_of("blob").len(), 1, "{}", done.stdout);
}

/// All processes, and a network of its own, as a pod with `hostPID` has: what listens elsewhere cannot be asked.
#[test]
fn with_the_processes_of_the_machine_and_a_network_of_its_own() {
    let mut registry = with_garbage(remembers());
    registry.stop();
    let runs = |flags: &[&str]| {
        contained(gc(&registry, flags), Shares::Nothing)?;
        Some(gc(&registry, flags).under(["unshare", "--net"]))
    };
    let before = snapshot(&registry.root().join("docker"));
    let Some(refused) = runs(&[]) else { return };
    let refused = refused.run().expect_code(2);
    assert!(refused.stderr.contains("no registry could be asked"), "{}", refused.stderr);
    let by_root = || Regsweep::gc(&registry.root()).any_age().under(["unshare", "--net"]);
    assert!(by_root().run().expect_code(2).stderr.contains("a network of its own"));
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
    runs(&["--assume-offline"]).expect("as before").run().expect_code(0);
    // On the machine itself the same registry is seen to be down.
    gc(&registry, &[]).run().expect_code(0);
}

/// A run in the PID namespace of a contained registry, with mounts of its own.
fn sidecar(registry: &RealRegistry, run: Regsweep) -> Regsweep {
    let config = registry.config();
    let is_it = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        matches!(&words[..], [_, b"serve", path, ..] if *path == config.as_os_str().as_encoded_bytes())
    };
    let processes = fs::read_dir("/proc").expect("there").flatten().map(|entry| entry.path());
    let found = processes.filter(|process| fs::read(process.join("cmdline")).is_ok_and(|line| is_it(&line))).last();
    let pid = found.as_ref().and_then(|process| process.file_name()).expect("it runs").to_owned();
    let words = ["nsenter", "--target"].map(Into::into).into_iter().chain([pid]);
    run.under(words.chain(["--pid", "unshare", "--mount", "--fork", "--mount-proc"].map(Into::into)))
}

/// `shareProcessNamespace: true`: its process and its address are seen, and no other replica is. So a restart has to be said for all of them.
#[test]
fn as_a_sidecar_that_shares_the_processes_of_the_registry() {
    let mut registry = with_garbage(remembers());
    if contained(gc(&registry, &[]), Shares::Nothing).is_none() {
        return;
    }
    registry.restart_contained();
    age(&registry.root());
    let before = snapshot(&registry.root().join("docker"));
    let refused = sidecar(&registry, gc(&registry, &[])).run().expect_code(2);
    assert!(refused.stderr.contains("takes pushes answers at"), "{}", refused.stderr);
    let refused = sidecar(&registry, Regsweep::gc(&registry.root()).any_age()).run().expect_code(2);
    assert!(refused.stderr.contains("is a registry that works on this store"), "{}", refused.stderr);
    assert_eq!(snapshot(&registry.root().join("docker")), before, "nothing was touched");
    let quarantined = registry.root().join(".regsweep/quarantine");
    let held = || walkdir::WalkDir::new(&quarantined).into_iter().flatten().any(|entry| entry.file_name() == "data");
    let night = |registry: &RealRegistry| sidecar(registry, gc(registry, &ONLINE)).run().expect_code(0);
    let first = night(&registry);
    assert!(held() && first.stdout.contains("quarantine restarted --since TIME"), "{}", first.stdout);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let since = jiff::Timestamp::now().to_string();
    let restarted = |registry: &RealRegistry| {
        let said = Regsweep::new().args(["quarantine", "restarted", "--since", &since]).arg(registry.config());
        sidecar(registry, said.env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0")).run()
    };
    let early = restarted(&registry).expect_code(2);
    assert!(early.stderr.contains("which is before that time"), "the old one is seen: {}", early.stderr);
    std::thread::sleep(std::time::Duration::from_millis(200));
    registry.restart_contained();
    night(&registry);
    assert!(held(), "of other replicas nothing is seen");
    restarted(&registry).expect_code(0);
    night(&registry);
    assert!(!held());
}

/// `readOnlyRootFilesystem`, and the user that the volume belongs to.
#[test]
fn with_a_root_filesystem_that_is_read_only_and_without_root() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let registry = with_garbage(Settings::default());
    let root = registry.root();
    age(&root);
    let directory = root.parent().expect("a directory");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("ours");
    for entry in walkdir::WalkDir::new(&root).into_iter().flatten() {
        std::os::unix::fs::chown(entry.path(), Some(65534), Some(65534)).expect("ours");
    }
    let script = "mount --make-rprivate / && mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind / || exit 99; exec \"$@\"";
    let starter = [Path::new("sh"), Path::new("-c"), Path::new(script), &root].map(Path::to_owned);
    let words = ["garbage-collect", "--allow-unlinked", "100%", "--min-age", "0s"];
    let run = somebody.runs(Regsweep::new().args(words).args(ONLINE).arg(registry.config())).under(starter);
    let Some(run) = contained(run, Shares::Nothing) else { return };
    let done = run.run();
    if done.code == Some(99) {
        skipped("/ is no mount that can be made read-only here");
        return;
    }
    let done = done.expect_code(0);
    assert!(done.stdout.contains("this run is"), "{}", done.stdout);
}

/// An upload that was begun before the run, and has something in it.
const UPLOADED: &[u8] = b"the first part";

/// A registry in a container, and where an upload goes on that was begun.
fn contained_registry() -> (RealRegistry, String) {
    let mut registry = with_garbage(Settings::default());
    let mut tree = Tree::new();
    for blob in filling() {
        tree.blob(&blob);
    }
    tree.write_to(&registry.root());
    registry.restart_contained();
    let upload = registry.client().begin_upload("a");
    let upload = send(&registry.client(), &upload, UPLOADED);
    age(&registry.root());
    (registry, upload)
}

/// Sends a part of an upload, and says where the next one goes.
fn send(client: &Client, upload: &str, bytes: &[u8]) -> String {
    let answer = client.send("PATCH", upload, &[("Content-Type", "application/octet-stream")], bytes).expect_status(202);
    let place = &answer.headers["location"];
    place[place.find("/v2/").expect("an upload's")..].to_owned()
}

/// A run that was told of no registry at work.
fn offline(registry: &RealRegistry) -> Regsweep {
    let words = ["garbage-collect", "--assume-offline", "--allow-unlinked", "100%", "--min-age", "0s", "--json"];
    Regsweep::new().args(words).arg(registry.config())
}

/// A run in another container that was told of no registry at work, held between its plan and its first change.
fn hold(registry: &RealRegistry, flags: &[&str]) -> Option<Held> {
    contained(offline(registry).args(flags), Shares::Nothing).map(Held::start)
}

/// What is done to a registry while a run waits, by how it is called in a message.
type Push = (&'static str, fn(&Client, &str));

/// Everything of which something is left in the directories that a run watches.
const PUSHES: [Push; 6] = [
    ("/a/_uploads", |client, _| drop(client.begin_upload("a"))),
    ("/a/_uploads", |client, upload| drop(send(client, upload, b"more"))),
    ("/a/_uploads", |client, _| client.put_blob("a", &layer(3))),
    ("/a/_manifests/", |client, _| client.put_manifest("a", "v2", &oci_image("kept", &[layer(1)]))),
    ("v2/repositories", |client, _| client.mount("b", &layer(2).digest, "a")),
    ("/a/_manifests/", |client, _| client.delete_manifest("a", oci_image("kept", &[layer(1)]).digest())),
];

#[track_caller]
fn is_stopped(registry: &RealRegistry, ran: Outcome, named: &str) {
    let ran = ran.expect_code(2);
    let said = &ran.stderr;
    for part in ["changed while this run looked at it", named, "--assume-offline does not lift this"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let left = snapshot::blobs_on_disk(&registry.root());
    assert!(filling().all(|blob| left.contains_key(&blob.digest)), "nothing was touched: {said}");
}

/// Neither its processes nor its addresses are seen, and what it writes is.
#[test]
fn a_push_in_another_container_stops_a_run_that_was_told_of_none() {
    for (named, push) in PUSHES {
        let (registry, upload) = contained_registry();
        let Some(held) = hold(&registry, &[]) else { return };
        push(&registry.client(), &upload);
        is_stopped(&registry, held.release(), named);
    }
}

/// Where the kernel notifies of nothing, as on NFS, two looks differ.
#[test]
fn without_notices_the_second_look_sees_it() {
    if !has_strace() {
        return;
    }
    for call in ["inotify_init1:error=EMFILE", "inotify_add_watch:error=ENOSPC"] {
        for (named, push) in PUSHES {
            let (registry, upload) = contained_registry();
            let Some(run) = contained(offline(&registry).injected(call), Shares::Nothing) else { return };
            let held = Held::start(run);
            push(&registry.client(), &upload);
            is_stopped(&registry, held.release(), named);
        }
        let (registry, _upload) = contained_registry();
        Held::start(offline(&registry).injected(call)).release().expect_code(0);
    }
}

/// Pulls write nothing, and what other programs put anywhere is no push.
#[test]
fn pulls_and_a_nas_in_another_container_stop_nothing() {
    let (registry, _upload) = contained_registry();
    let Some(held) = hold(&registry, &[]) else { return };
    let client = registry.client();
    client.pull("a", "v1").expect("it is whole");
    client.tags("a");
    client.catalog();
    assert!(client.has_blob("a", &layer(2).digest));
    for place in ["repositories/a/_manifests/tags/@eaDir", "repositories/@eaDir", "blobs/sha256/.DS_Store"] {
        fs::create_dir(registry.root().join("docker/registry/v2").join(place)).expect("made");
    }
    held.release().expect_code(0);
    let left = snapshot::blobs_on_disk(&registry.root());
    assert!(!filling().any(|blob| left.contains_key(&blob.digest)), "and all of it goes");
    registry.client().pull("a", "v1").expect("it is whole");
}

/// A dry run says that a real one would stop, and one beside a registry at work minds nothing.
#[test]
fn a_dry_run_says_what_was_pushed_meanwhile() {
    let (registry, _upload) = contained_registry();
    let Some(held) = hold(&registry, &["--dry-run"]) else { return };
    registry.client().put_blob("a", &layer(3));
    let said = held.release().expect_code(0).report()["writer"].to_string();
    assert!(said.contains("changed while this run looked at it") && said.contains("or give --online"), "{said}");
    let words = ["garbage-collect", "--online", "--rescue-for", "0s", "--allow-unlinked", "100%", "--min-age", "0s", "--json"];
    let held = Held::start(Regsweep::new().args(words).arg(registry.config()));
    registry.client().put_blob("a", &layer(4));
    held.release().expect_code(0);
}
