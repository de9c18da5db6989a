//! Beside a registry that remembers in a redis: `storage.cache.blobdescriptor: redis`.
//!
//! What is remembered there outlives every restart. A run makes the redis forget what it has quarantined, and a purge asks it once more.

use serde_json::Value;

use crate::support::http::Client;
use crate::support::redis_server::RedisServer;
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;

pub(crate) fn image() -> Image {
    oci_image("remembered", &[layer(1), layer(2)])
}

/// A registry that remembers an image which nothing needs any more, and one that stays.
pub(crate) fn remembering(settings: Settings) -> RealRegistry {
    let mut registry = RealRegistry::stopped();
    registry.configure(settings);
    registry.restart();
    let client = registry.client();
    client.push_tag("other", "v1", &bystander());
    client.push_tag("a", "old", &image());
    client.delete_manifest("a", image().digest());
    age(&registry.root());
    image().blobs.iter().for_each(|blob| assert!(client.has_blob("a", &blob.digest), "remembered, or there"));
    registry
}

fn bystander() -> Image {
    oci_image("bystander", &[layer(77)])
}

/// What the registry needs no more, and remembers.
fn gone() -> Vec<String> {
    image().reaches().iter().map(ToString::to_string).collect()
}

/// One night, so many hours after the first one.
fn night_after(registry: &RealRegistry, hours: u64, flags: &[&str]) -> Outcome {
    let online = ["--online", "-m", "--rescue-for", "0s", "--format", "json"];
    let clock = format!("trusted=yes,shift={}", hours * 3600);
    Regsweep::gc_config(&registry.config()).args(online).args(flags).env("REGSWEEP_TEST_CLOCK", clock).run()
}

/// One night. Nothing has to wait.
pub(crate) fn night(registry: &RealRegistry, flags: &[&str]) -> Value {
    let purge = ["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s", "--format", "json"];
    let run = Regsweep::gc_config(&registry.config()).args(purge).args(flags);
    run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0").run().expect_code(0).report()
}

fn number(report: &Value, part: &str) -> u64 {
    let value = &report["quarantine"][part];
    value["blobs"].as_u64().or_else(|| value.as_u64()).unwrap_or_else(|| panic!("{part}: {report}"))
}

/// Puts the manifest alone, as a client does that has been told that the registry has all of its blobs.
fn put_alone(client: &Client, tag: &str) -> u16 {
    let path = format!("/v2/a/manifests/{tag}");
    client.send("PUT", &path, &[("Content-Type", image().media_type)], &image().manifest.bytes).status
}

/// The control: so it goes when blobs are removed and their keys are not.
#[test]
fn r4_removed_at_once_what_a_redis_remembers_breaks_an_image_for_good() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let mut registry = remembering(redis.settings());
    Regsweep::gc_config(&registry.config()).args(["-m", "--assume-offline"]).run();
    registry.restart();
    assert_eq!(put_alone(&registry.client(), "v1"), 201);
    registry.client().pull("a", "v1").expect_err("acknowledged, and not there");
    registry.client().push_tag("a", "v1", &image());
    registry.client().pull("a", "v1").expect_err("pushing it again does not help, nor does a restart");
}

#[test]
fn r4_a_redis_forgets_what_is_quarantined_and_no_restart_is_needed() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    let kept = redis.claims(&layer(77).digest);
    let first = night(&registry, &[]);
    assert_eq!(number(&first, "waiting"), image().blobs.len() as u64 + 1, "{first}");
    assert!(number(&first, "forgotten") >= 6, "{first}");
    gone().iter().for_each(|digest| assert_eq!(redis.claims(digest), [""; 0]));
    assert_eq!(redis.claims(&layer(77).digest), kept, "what stays is left alone");
    assert_eq!(first["registry_must_restart"], false, "{first}");

    // A client is told so, and uploads what it needs.
    let client = registry.client();
    assert!(image().blobs.iter().all(|blob| !client.has_blob("a", &blob.digest)));
    assert_eq!(put_alone(&client, "v1"), 400, "and the registry does not take a manifest without them");
    let second = night(&registry, &[]);
    assert_eq!(number(&second, "purged"), image().blobs.len() as u64 + 1, "{second}");
    client.push_tag("a", "v1", &image());
    client.pull("a", "v1").expect("pushed again");
}

#[test]
fn r4_what_a_redis_claims_again_waits_anew_and_what_was_pushed_by_that_is_restored() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    let wait = ["--quarantine-for", "24h"];
    let all = image().blobs.len() as u64 + 1;
    assert_eq!(number(&night_after(&registry, 0, &wait).expect_code(0).report(), "waiting"), all);
    // A request that had looked at the blob before it was moved.
    let late = &layer(1);
    redis.set("a", &late.digest, late.bytes.len());
    let second = night_after(&registry, 25, &wait).expect_code(0).report();
    assert_eq!((number(&second, "purged"), number(&second, "waiting"), number(&second, "withheld")), (all - 1, 1, 1), "{second}");
    assert_eq!(redis.claims(&late.digest), [""; 0], "forgotten again");
    let text = Regsweep::gc_config(&registry.config()).args(["--online", "-m", "--dry-run", "--quarantine-for", "24h"]);
    let text = text.env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=93600").run().stdout;
    assert!(text.contains("1 file had waited and stays: the registry's redis claimed it again; its keys are removed"), "{text}");
    let list = Regsweep::new().args(["quarantine", "list"]).arg(registry.config()).run().expect_code(0).stdout;
    assert!(list.contains("1 of these began to wait anew"), "{list}");
    // An hour before a whole wait is over, and after it.
    let third = night_after(&registry, 48, &wait).expect_code(0).report();
    assert_eq!((number(&third, "purged"), number(&third, "waiting")), (0, 1), "{third}");
    let fourth = night_after(&registry, 50, &wait).expect_code(0).report();
    assert_eq!((number(&fourth, "purged"), number(&fourth, "waiting")), (1, 0), "{fourth}");
}

#[test]
fn r4_an_image_that_was_pushed_by_what_came_back_is_restored() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    night(&registry, &[]);
    // As a backup of the redis brings it back, or a replica that takes over.
    for blob in &image().blobs {
        redis.set("a", &blob.digest, blob.bytes.len());
    }
    assert_eq!(put_alone(&registry.client(), "v1"), 201);
    let next = night(&registry, &[]);
    assert_eq!(number(&next, "restored"), image().blobs.len() as u64, "{next}");
    registry.client().pull("a", "v1").expect("restored");
}

/// What a registry that was stopped finds in its redis when it is started again.
fn stopped_and_collected(redis: &RedisServer) -> RealRegistry {
    let mut registry = remembering(redis.settings());
    registry.stop();
    let run = Regsweep::gc_config(&registry.config()).args(["--quarantine", "-m", "--format", "json"]).run().expect_code(1);
    assert!(run.finding_codes().iter().all(|code| code == "stale-cache"), "{}", run.stdout);
    assert_ne!(redis.claims(&layer(1).digest), [""; 0]);
    registry
}

fn is_pushed_and_pulled_after_a_start(registry: &mut RealRegistry, redis: &RedisServer) {
    gone().iter().for_each(|digest| assert_eq!(redis.claims(digest), [""; 0]));
    registry.restart();
    assert_eq!(put_alone(&registry.client(), "v1"), 400, "what is gone is not taken for there");
    registry.client().push_tag("a", "v1", &image());
    registry.client().pull("a", "v1").expect("pushed again");
}

#[test]
fn r4_what_is_purged_beside_a_stopped_registry_is_forgotten_by_its_redis() {
    if !RedisServer::is_here() {
        return;
    }
    for purge in [&["purge"][..], &["purge", "--assume-offline"], &["purge", "--older-than", "0s"]] {
        let redis = RedisServer::start();
        let mut registry = stopped_and_collected(&redis);
        let kept = redis.claims(&layer(77).digest);
        let purged = Regsweep::new().arg("quarantine").args(purge).arg(registry.config()).run().expect_code(0).stdout;
        assert!(purged.contains("removed from the registry's redis"), "{purged}");
        assert_eq!(redis.claims(&layer(77).digest), kept, "what stays is left alone");
        is_pushed_and_pulled_after_a_start(&mut registry, &redis);
    }
}

#[test]
fn r4_what_a_later_collection_purges_beside_a_stopped_registry_is_forgotten_by_its_redis() {
    if !RedisServer::is_here() {
        return;
    }
    let mut redis = RedisServer::start();
    let mut registry = stopped_and_collected(&redis);
    let later = |shift: u64| {
        let flags = ["--quarantine", "-m", "--format", "json"];
        let clock = format!("trusted=yes,shift={}", shift * 3600);
        Regsweep::gc_config(&registry.config()).args(flags).env("REGSWEEP_TEST_CLOCK", clock).run().expect_code(0).report()
    };
    let all = image().blobs.len() as u64 + 1;
    // A redis that is down may claim anything.
    let keys = redis.keys();
    redis.stop();
    let without = later(25);
    assert_eq!((number(&without, "purged"), number(&without, "waiting")), (0, all), "{without}");
    assert!(number(&without, "withheld") >= all, "{without}");
    let purge = Regsweep::new().args(["quarantine", "purge"]).arg(registry.config()).run().expect_code(2);
    assert!(purge.stderr.contains(&redis.address()), "{}", purge.stderr);
    redis.restart();
    assert!(!keys.is_empty());
    for blob in &image().blobs {
        redis.set("a", &blob.digest, blob.bytes.len());
    }
    let with = later(26);
    assert_eq!((number(&with, "purged"), number(&with, "waiting")), (all, 0), "{with}");
    is_pushed_and_pulled_after_a_start(&mut registry, &redis);
}

#[test]
fn a_redis_that_cannot_be_asked_stops_a_run_before_it_changes_anything() {
    if !RedisServer::is_here() {
        return;
    }
    let mut redis = RedisServer::start();
    let registry = remembering(redis.settings());
    night_after(&registry, 0, &[]).expect_code(0);
    redis.stop();
    let changed = || ["docker", ".regsweep/quarantine"].map(|part| snapshot(&registry.root().join(part)));
    let before = changed();
    let refused = night_after(&registry, 25, &[]).expect_code(2);
    assert!(refused.stderr.contains(&redis.address()) && refused.stderr.contains("redis"), "{}", refused.stderr);
    let purge = ["quarantine", "purge", "--older-than", "24h"];
    let purge = Regsweep::new().args(purge).arg(registry.config()).env("REGSWEEP_TEST_CLOCK", "trusted=yes,shift=90000").run();
    assert!(purge.expect_code(2).stderr.contains(&redis.address()));
    assert!(changed() == before, "something was changed");
    let dry = night_after(&registry, 25, &["--dry-run"]);
    assert!(dry.report()["stops"][0].as_str().is_some_and(|stop| stop.contains("redis")), "{}", dry.stdout);
    // An empty one in its place claims nothing.
    redis.restart();
    let next = night_after(&registry, 25, &[]).expect_code(0).report();
    assert_eq!(number(&next, "purged"), image().blobs.len() as u64 + 1, "{next}");
}

#[test]
fn what_was_moved_before_a_redis_was_asked_to_forget_it_waits_anew() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    let offline = ["--quarantine", "-m", "--assume-offline"];
    Regsweep::gc_config(&registry.config()).args(offline).env("REGSWEEP_TEST_CLOCK", "trusted=yes").run();
    assert_ne!(redis.claims(&layer(1).digest), [""; 0], "nothing removes them without being told");
    let list = || Regsweep::new().args(["quarantine", "list"]).arg(registry.config()).run().expect_code(0).stdout;
    assert!(list().contains("has removed its keys"), "{}", list());
    let all = image().blobs.len() as u64 + 1;
    let second = night_after(&registry, 25, &[]).expect_code(0).report();
    assert_eq!((number(&second, "purged"), number(&second, "waiting")), (0, all), "{second}");
    assert_eq!(redis.claims(&layer(1).digest), [""; 0]);
    assert!(!list().contains("has removed its keys"), "{}", list());
    let third = night_after(&registry, 50, &[]).expect_code(0).report();
    assert_eq!(number(&third, "purged"), all, "{third}");
}

/// The process goes on with the memory that it was started with.
#[test]
fn a_registry_that_was_given_its_redis_after_its_start_may_remember_in_its_memory_too() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let in_memory = Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() };
    let mut registry = remembering(in_memory);
    std::thread::sleep(std::time::Duration::from_millis(200));
    registry.configure(redis.settings());
    night(&registry, &[]);
    let next = night(&registry, &[]);
    assert_eq!(number(&next, "purged"), 0, "it may be remembered: {next}");
    assert_eq!(put_alone(&registry.client(), "v1"), 201, "it is");
    night(&registry, &[]);
    registry.client().pull("a", "v1").expect("restored");
}

#[test]
fn a_restart_is_said_to_do_nothing_for_a_redis() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    night(&registry, &[]);
    let said = Regsweep::new().args(["quarantine", "restarted", "--since", "1h"]).arg(registry.config()).run().expect_code(0);
    assert!(said.stdout.contains("outlives a restart"), "{}", said.stdout);
}

/// The two cannot be given together.
#[test]
fn a_flush_beside_a_registry_is_not_told_of_online() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    let refused = |flags: &[&str]| Regsweep::gc_config(&registry.config()).arg("-m").args(flags).run().expect_code(2).stderr;
    assert!(refused(&[]).contains("or give --online"), "{}", refused(&[]));
    let flush = refused(&["--flush-redis"]);
    assert!(flush.contains("takes pushes answers at") && !flush.contains("--online"), "{flush}");
}

/// Whoever may write to the redis may put anything there.
#[test]
fn keys_of_others_and_odd_ones_are_left_alone() {
    if !RedisServer::is_here() {
        return;
    }
    let redis = RedisServer::start();
    let registry = remembering(redis.settings());
    let digest = &layer(1).digest;
    let alias = sha512(b"another name of it");
    for (key, words) in [
        ("repository::a::blobs::", &["SET", "repository::a::blobs::", "x"][..]),
        ("repository::odd::blobs", &["SET", "repository::odd::blobs", digest]),
        ("repository::\u{1b}[31m\n::blobs", &["SADD", "repository::\u{1b}[31m\n::blobs", "nonsense", "sha256:..", ""]),
        ("blobs::sha512:nonsense", &["HSET", "blobs::sha512:nonsense", "digest", "../../etc"]),
        ("blobs::sha512:text", &["SET", "blobs::sha512:text", digest]),
        ("session", &["SET", "session", digest]),
        ("repository::a::other", &["SADD", "repository::a::other", digest]),
    ] {
        redis.run(words);
        assert!(redis.keys().contains(key), "{key}");
    }
    // What has no member any more is no set any more.
    let is_other = |key: &String| !key.contains("sha256:") && !key.contains("sha512:") && key != "repository::a::blobs";
    let others: Vec<String> = redis.keys().into_iter().filter(is_other).collect();
    redis.run(&["HSET", &format!("blobs::{alias}"), "digest", digest, "size", "3"]);
    redis.run(&["SADD", "repository::a::blobs", &alias.to_string()]);
    // What somebody has in a set that nothing else speaks of.
    redis.run(&["SADD", "repository::lost\u{1b}[0m::blobs", digest]);
    let first = night(&registry, &[]);
    assert_eq!(number(&first, "waiting"), image().blobs.len() as u64 + 1, "{first}");
    assert_eq!(redis.claims(&alias.to_string()), [""; 0], "another name of what is in quarantine");
    assert!(redis.claims(digest).is_empty(), "{:?}", redis.claims(digest));
    let keys = redis.keys();
    assert!(others.iter().all(|key| keys.contains(key)), "{others:?} {keys:?}");
    for key in ["session", "repository::odd::blobs", "blobs::sha512:text", "repository::a::other", "blobs::sha512:nonsense"] {
        assert!(keys.contains(key), "{key}");
    }
    // Another name that came back claims the blob, too.
    redis.run(&["HSET", &format!("blobs::{alias}"), "digest", digest, "size", "3"]);
    let second = night(&registry, &[]);
    assert_eq!(number(&second, "withheld"), 1, "{second}");
    assert_eq!(redis.claims(&alias.to_string()), [""; 0]);
}
