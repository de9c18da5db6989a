//! One race at a time. The names are those of the catalogue: R1 is an upload of a layer that is there already, and so on.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::support::http::Client;
use crate::support::layout::{blob_data, tag_current};
use crate::support::redis_server::RedisServer;
use crate::support::server::{HeldUp, RealRegistry, Settings};
use crate::support::*;

/// So long is a call held up. The collection has to be over by then; where it is not, the race is run again with more.
const HELD_UP: [u64; 3] = [4, 12, 40];
/// Until then the request has come to the call that is held up.
const ON_ITS_WAY: Duration = Duration::from_millis(1500);

/// How a race is set up and run.
struct Race {
    /// Brings the store to where the race begins.
    before: fn(&Client),
    /// The path, below the root, that the registry's call names.
    path: fn() -> String,
    call: &'static str,
    when: &'static str,
    /// The request that meets the collection, and the status that it is answered with.
    push: fn(&Client) -> u16,
    /// What it is about, as a client pushes it again that was refused.
    whole: fn() -> Image,
    /// What may go beside what no tag needs.
    flags: &'static [&'static str],
}

/// What goes.
#[derive(Clone, Copy, PartialEq)]
enum Collector {
    /// At once.
    Direct,
    /// To quarantine.
    Online,
}

const ONLINE: [&str; 5] = ["--online", "--rescue-for", "0s", "--quarantine-for", "1h"];

/// Runs it until the collection has come in between. Gives the registry, running as usual, and the answer to the push.
fn run(race: &Race, collector: Collector, redis: Option<&RedisServer>) -> (RealRegistry, u16) {
    let settings = redis.map(RedisServer::settings).unwrap_or_default();
    let (mut registry, status) = meet(race, collector, &settings, redis);
    registry.restart();
    (registry, status)
}

/// The same with a registry that was not restarted since: what it learned meanwhile it remembers, and calls are still held up.
fn meet(race: &Race, collector: Collector, settings: &Settings, redis: Option<&RedisServer>) -> (RealRegistry, u16) {
    for seconds in HELD_UP {
        let mut registry = RealRegistry::stopped();
        registry.configure(settings.clone());
        registry.restart();
        (race.before)(&registry.client());
        // What it remembers it would not look at.
        redis.map(|redis| redis.run(&["FLUSHALL"]));
        // Nothing is kept for its age alone.
        registry.stop();
        age(&registry.root());
        let path: PathBuf = registry.root().join((race.path)());
        registry.restart_held_up(&HeldUp { path, call: race.call, when: race.when, by: Duration::from_secs(seconds) });
        let client = registry.client();
        let push = race.push;
        let request = thread::spawn(move || push(&client));
        thread::sleep(ON_ITS_WAY);
        let flags = if collector == Collector::Online { &ONLINE[..] } else { &["--assume-offline"] };
        let run = Regsweep::gc_config(&registry.config()).args(flags).args(race.flags).run();
        // 1: the redis claims what is gone.
        assert!(matches!((run.code, redis), (Some(0), _) | (Some(1), Some(_))), "{}{}", run.stdout, run.stderr);
        let met = !request.is_finished();
        let status = request.join().expect("a request is answered");
        if met {
            assert!(!run.rows_of("blob").is_empty(), "the race is about nothing: {}", run.stdout);
            return (registry, status);
        }
    }
    panic!("the collection never ended while the push was held up");
}

/// Beside a registry with `blobdescriptor: inmemory`: whatever it acknowledges, by what it looked at or by what it remembers, pulls after the
/// next night, and nothing of that goes for good until it has been restarted, nor after that.
fn is_kept_beside_memory(race: &Race, repository: &str, answer: Option<&str>) {
    let settings = Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() };
    let (mut registry, status) = meet(race, Collector::Online, &settings, None);
    let client = registry.client();
    let mut acknowledged: Vec<&str> = answer.into_iter().filter(|_| status == 201).collect();
    // As a client goes on that believes what it is told.
    let whole = (race.whole)();
    let all = whole.children.iter().chain([&whole]);
    for blob in all.flat_map(|image| &image.blobs).filter(|blob| !client.has_blob(repository, &blob.digest)) {
        client.put_blob(repository, blob);
    }
    for child in &whole.children {
        let path = format!("/v2/{repository}/manifests/{}", child.digest());
        client.send("PUT", &path, &[("Content-Type", child.media_type)], &child.manifest.bytes);
    }
    let path = format!("/v2/{repository}/manifests/again");
    let again = client.send("PUT", &path, &[("Content-Type", whole.media_type)], &whole.manifest.bytes).status;
    acknowledged.extend((again == 201).then_some("again"));
    assert!(!acknowledged.is_empty(), "nothing was acknowledged: {status} {again}");

    let night = next_night(&registry, race.flags).report();
    assert_eq!(night["quarantine"]["purged"]["blobs"], 0, "it may be remembered: {night}");
    // The kernel tells when a process was started in hundredths of a second.
    let before = jiff::Timestamp::now().to_string();
    thread::sleep(Duration::from_millis(30));
    registry.restart();
    for tag in &acknowledged {
        registry.client().pull(repository, tag).unwrap_or_else(|error| panic!("{tag} was acknowledged: {error}\n{night}"));
    }
    let words = ["quarantine", "restarted", "--since", &before];
    Regsweep::new().args(words).arg(registry.config()).run().expect_code(0);
    nothing_is_left(&registry, race.flags);
    registry.restart();
    for tag in &acknowledged {
        registry.client().pull(repository, tag).unwrap_or_else(|error| panic!("{tag} after the purge: {error}"));
    }
}

/// Runs `--online` as the next night would: what is needed goes back, and the rest goes for good.
fn next_night(registry: &RealRegistry, flags: &[&str]) -> Outcome {
    let purge = ["--online", "--rescue-for", "0s", "--quarantine-for", "0s", "--format", "json"];
    // The longest request is over: nothing that was held up is still on its way.
    let clock = ("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0");
    Regsweep::gc_config(&registry.config()).args(purge).args(flags).env(clock.0, clock.1).run().expect_code(0)
}

/// The links of what has gone follow a night later.
fn nothing_is_left(registry: &RealRegistry, flags: &[&str]) {
    for _ in 0..6 {
        next_night(registry, flags);
        let list = Regsweep::new().args(["quarantine", "list", "--format", "json"]).arg(registry.config()).run().expect_code(0);
        if list.report()["runs"] == serde_json::json!([]) {
            return;
        }
    }
    panic!("something waits for ever");
}

fn image() -> Image {
    oci_image("raced", &[layer(1), layer(2)])
}

/// An image that stays, and a blob that nothing needs, by then or later.
fn bystander(client: &Client) {
    client.push_tag("other", "v1", &oci_image("bystander", &[layer(77)]));
    client.put_blob("other", &layer(99));
    client.delete_blob("other", &layer(99).digest);
}

fn layers_without_manifest(client: &Client) {
    bystander(client);
    image().blobs.iter().for_each(|blob| client.put_blob("a", blob));
}

fn put(client: &Client, reference: &str, image: &Image) -> u16 {
    let path = format!("/v2/a/manifests/{reference}");
    client.send("PUT", &path, &[("Content-Type", image.media_type)], &image.manifest.bytes).status
}

/// Where a push was answered with 201 although it met a collection: direct removal breaks it, `--online` does not.
fn is_saved(race: &Race, tag: &str) {
    if !crate::can_hold_up() {
        return;
    }
    is_saved_beside(race, tag, None);
    is_kept_beside_memory(race, "a", Some(tag));
    if RedisServer::is_here() {
        is_saved_beside(race, tag, Some(&RedisServer::start()));
    }
}

fn is_saved_beside(race: &Race, tag: &str, redis: Option<&RedisServer>) {
    let (registry, status) = run(race, Collector::Direct, redis);
    assert_eq!(status, 201);
    registry.client().pull("a", tag).expect_err("removing at once loses it");

    let (mut registry, status) = run(race, Collector::Online, redis);
    if redis.is_some() && status == 400 {
        // What it had remembered a moment before is not there, and it looked again: nothing was acknowledged.
        nothing_is_left(&registry, race.flags);
        registry.client().push_tag("a", tag, &(race.whole)());
        registry.client().pull("a", tag).expect("pushed again");
        return;
    }
    assert_eq!(status, 201);
    let night = next_night(&registry, race.flags).report();
    assert_eq!(night["quarantine"]["purged"]["blobs"], 1, "what nothing needs goes for good: {night}");
    registry.client().pull("a", tag).expect("it is back");
    nothing_is_left(&registry, race.flags);
    registry.restart();
    registry.client().pull("a", tag).expect("and stays");
}

/// Where the push fails as it should, and a second try of the client has to succeed.
fn is_retried(race: &Race, repository: &str, again: fn(&Client)) {
    if !crate::can_hold_up() {
        return;
    }
    is_retried_beside(race, repository, again, None);
    is_kept_beside_memory(race, repository, None);
    if RedisServer::is_here() {
        is_retried_beside(race, repository, again, Some(&RedisServer::start()));
    }
}

fn is_retried_beside(race: &Race, repository: &str, again: fn(&Client), redis: Option<&RedisServer>) {
    for collector in [Collector::Direct, Collector::Online] {
        let (registry, status) = run(race, collector, redis);
        assert_eq!(status, 201, "the registry believes that it has the layer");
        let client = registry.client();
        match (collector, redis) {
            (Collector::Direct, Some(_)) => assert!(client.has_blob(repository, &layer(1).digest), "and tells every client so"),
            (Collector::Online, Some(_)) => {}
            _ => assert_eq!(client.get_blob(repository, &layer(1).digest).status, 404, "and does not have it"),
        }
        if collector == Collector::Online {
            let night = next_night(&registry, &[]);
            assert_ne!(night.report()["quarantine"]["restored"]["blobs"], 0, "{}", night.stdout);
            assert_eq!(client.get_blob(repository, &layer(1).digest).status, 200, "a fresh link needs it");
        }
        again(&client);
        if collector == Collector::Online {
            nothing_is_left(&registry, &[]);
        }
        client.pull(repository, "v1").expect("pushed again");
    }
}

#[test]
fn r1_a_layer_that_is_there_is_uploaded_again() {
    let race = Race {
        before: layers_without_manifest,
        path: || blob_data(&layer(1).digest),
        call: "newfstatat,statx",
        when: "delay_exit",
        push: |client| {
            client.put_blob("a", &layer(1));
            201
        },
        whole: image,
        flags: &[],
    };
    is_retried(&race, "a", |client| client.push_tag("a", "v1", &image()));
}

#[test]
fn r2_a_manifest_is_put_whose_layers_were_there_a_moment_ago() {
    let race = Race {
        before: layers_without_manifest,
        path: || blob_data(&image().blobs.last().expect("it has layers").digest),
        call: "newfstatat,statx",
        when: "delay_exit",
        push: |client| put(client, "v1", &image()),
        whole: image,
        flags: &[],
    };
    is_saved(&race, "v1");
}

#[test]
fn r5_a_manifest_that_is_there_is_put_again() {
    let race = Race {
        before: |client| {
            bystander(client);
            client.push_tag("a", "old", &image());
            client.delete_manifest("a", image().digest());
        },
        path: || blob_data(image().digest()),
        call: "newfstatat,statx",
        when: "delay_exit",
        push: |client| put(client, "v1", &image()),
        whole: image,
        flags: &[],
    };
    is_saved(&race, "v1");
}

#[test]
fn r6_a_layer_is_mounted_from_another_repository() {
    let race = Race {
        before: layers_without_manifest,
        path: || blob_data(&layer(1).digest),
        call: "newfstatat,statx",
        when: "delay_exit",
        push: |client| {
            client.mount("b", &layer(1).digest, "a");
            201
        },
        whole: image,
        flags: &[],
    };
    is_retried(&race, "b", |client| client.push_tag("b", "v1", &image()));
}

#[test]
fn r7_an_index_is_put_over_children_without_tags() {
    fn multi() -> Image {
        index(&[image(), oci_image("other platform", &[layer(3)])])
    }
    let race = Race {
        before: |client| {
            bystander(client);
            multi().children.iter().for_each(|child| client.push("a", child));
        },
        path: || blob_data(multi().children[1].digest()),
        call: "newfstatat,statx",
        when: "delay_exit",
        push: |client| put(client, "v1", &multi()),
        whole: multi,
        flags: &["-m"],
    };
    is_saved(&race, "v1");
}

#[test]
fn r8_a_tag_is_set_back_to_an_image_that_goes() {
    let race = Race {
        before: |client| {
            bystander(client);
            client.push_tag("a", "v1", &image());
            client.push_tag("a", "v1", &oci_image("newer", &[layer(3)]));
        },
        // All is written but what the tag names now: 2.x and 3.0 write that in its place, later versions rename another file to it.
        path: || tag_current("a", "v1"),
        call: "openat,rename,renameat,renameat2",
        when: "delay_enter",
        push: |client| put(client, "v1", &image()),
        // The links that the push has written by then are young.
        whole: image,
        flags: &["-m", "--min-age", "0s"],
    };
    is_saved(&race, "v1");
}

/// A client looks at a layer, builds for long, and puts its manifest when the layer has been quarantined: it is refused and pushed again, or, by
/// a registry that remembers what it was asked for, acknowledged. Whatever was acknowledged is never lost.
#[test]
fn r3_a_manifest_is_put_long_after_its_layers_were_looked_at() {
    let memory = Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() };
    let redis = RedisServer::is_here().then(RedisServer::start);
    let all = [Some(Settings::default()), Some(memory), redis.as_ref().map(RedisServer::settings)];
    for settings in all.into_iter().flatten() {
        let remembers = settings.storage.clone();
        let mut registry = RealRegistry::stopped();
        registry.configure(settings);
        registry.restart();
        layers_without_manifest(&registry.client());
        registry.stop();
        age(&registry.root());
        redis.as_ref().map(|redis| redis.run(&["FLUSHALL"]));
        registry.restart();
        let client = registry.client();
        let image = image();
        assert!(image.blobs.iter().all(|blob| client.has_blob("a", &blob.digest)), "{remembers}");
        let run = Regsweep::gc_config(&registry.config()).args(ONLINE).run().expect_code(0);
        assert!(run.blobs().contains(&layer(1).digest), "the race is about nothing: {}", run.stdout);
        let status = put(&client, "v1", &image);
        match (status, remembers.contains("inmemory")) {
            (201, true) => {}
            (400, false) => client.push_tag("a", "v1", &image),
            other => panic!("{remembers}: {other:?}"),
        }
        next_night(&registry, &[]);
        let before = jiff::Timestamp::now().to_string();
        thread::sleep(Duration::from_millis(30));
        registry.restart();
        registry.client().pull("a", "v1").unwrap_or_else(|error| panic!("{remembers}: {error}"));
        if remembers.contains("inmemory") {
            let words = ["quarantine", "restarted", "--since", &before];
            Regsweep::new().args(words).arg(registry.config()).run().expect_code(0);
        }
        nothing_is_left(&registry, &[]);
        registry.restart();
        registry.client().pull("a", "v1").unwrap_or_else(|error| panic!("{remembers}, after the purge: {error}"));
    }
}

/// A layer comes back into the directory that a purge left empty: the registry has made sure of the directory, and moves its file into it next.
/// Where the directory goes in between, the push fails. `--online` leaves directories.
#[test]
fn r12_a_layer_comes_back_into_an_empty_directory() {
    if !crate::can_hold_up() {
        return;
    }
    let layer = layer(5);
    let data = blob_data(&layer.digest);
    for (flags, expected) in [(&ONLINE[..], 201), (&["--assume-offline"], 500)] {
        let met = HELD_UP.into_iter().find_map(|seconds| {
            let mut registry = RealRegistry::stopped();
            registry.restart();
            bystander(&registry.client());
            registry.client().push_tag("a", "v1", &image());
            registry.stop();
            let directory = registry.root().join(&data).parent().expect("it is below the root").to_owned();
            fs::create_dir_all(&directory).expect("made");
            age(&registry.root());
            let path = registry.root().join(&data);
            let (call, when) = ("rename,renameat,renameat2", "delay_enter");
            registry.restart_held_up(&HeldUp { path, call, when, by: Duration::from_secs(seconds) });
            let (client, layer) = (registry.client(), layer.clone());
            let request = thread::spawn(move || {
                let place = client.begin_upload("a");
                let joint = if place.contains('?') { '&' } else { '?' };
                let path = format!("{place}{joint}digest={}", layer.digest);
                client.send("PUT", &path, &[("Content-Type", "application/octet-stream")], &layer.bytes).status
            });
            thread::sleep(ON_ITS_WAY);
            let run = Regsweep::gc_config(&registry.config()).args(flags).run().expect_code(0);
            let met = !request.is_finished();
            assert!(!met || directory.exists() == (expected == 201), "{}", run.stdout);
            let status = request.join().expect("a request is answered");
            met.then_some((registry, status))
        });
        let (mut registry, status) = met.expect("the collection never ended while the push was held up");
        assert_eq!(status, expected, "{flags:?}");
        registry.restart();
        let client = registry.client();
        if status != 201 {
            client.put_blob("a", &layer);
        }
        assert_eq!(client.get_blob("a", &layer.digest).status, 200);
        client.pull("a", "v1").expect("what was there stays");
    }
}
