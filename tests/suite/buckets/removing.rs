//! Collections that remove from a bucket.

use super::*;
use crate::support::bucket::{BucketRegistry, Moto};
use crate::support::proxy::Proxy;

/// A real run of everything, whatever its age.
const REAL: &str = "garbage-collect --assume-offline --min-age 0s --allow-unlinked 100% --allow-untagged-repositories --json";

fn catalogue(client: &http::Client) -> String {
    let answer = client.send("GET", "/v2/_catalog", &[], &[]).expect_status(200);
    String::from_utf8(answer.body).expect("text")
}

/// The keys that a server was asked to change.
fn changed(log: &[(String, String)]) -> Vec<&(String, String)> {
    log.iter().filter(|(method, path)| method != "GET" && method != "HEAD" && !path.contains(".regsweep/")).collect()
}

#[test]
fn a_real_run_does_what_a_dry_run_says_and_the_registry_goes_on() {
    let Some(moto) = Moto::start() else { return };
    moto.make("pushed");
    let mut registry = BucketRegistry::start(&moto, "pushed", ", rootdirectory: /some/where");
    let both = index(&[oci_image("amd64", &[layer(6)]), oci_image("arm64", &[layer(7)])]);
    let [one, two, gone] =
        [("one", 2), ("two", 3), ("gone", 9)].map(|(name, number)| oci_image(name, &[layer(1), layer(number)]));
    let push = |client: &http::Client| {
        client.push_tag("team/app", "v1", &one);
        client.push_tag("team/app", "v1", &two);
        client.push_tag("multi", "all", &both);
        client.push_tag("gone", "v1", &gone);
        client.delete_manifest("gone", gone.digest());
        client.put_blob("team/app", &layer(4));
    };
    push(&registry.client());
    // Of a repository in which nothing is left there is nothing in a bucket.
    let repositories = catalogue(&registry.client()).replace("\"gone\",", "");
    let before = moto.keys("pushed");
    for line in ["", " -m"] {
        registry.stop();
        let config = registry.config().to_owned();
        let foreseen = on(&config, &format!("{DRY}{line}")).run().expect_code(0).report();
        assert!(foreseen["reclaimable"]["blobs"].as_u64() > Some(0), "{foreseen}");
        let done = on(&config, &format!("{REAL}{line}")).run().expect_code(0).report();
        assert_eq!(done["removed"], foreseen["reclaimable"]);
        assert_eq!((&done["left"], &done["versions"]), (&Value::from(0), &Value::from("none")));
        let again = on(&config, &format!("{DRY}{line}")).run().expect_code(0).report();
        assert_eq!(again["reclaimable"]["blobs"], 0);
        assert_eq!(again["findings"].as_array().map(Vec::len), Some(0), "{again}");
        registry.restart();
        let client = registry.client();
        for (repository, tag) in [("team/app", "v1"), ("multi", "all")] {
            client.pull(repository, tag).unwrap_or_else(|why| panic!("{repository}:{tag}{line}: {why}"));
        }
        // By digest it was kept until --delete-untagged.
        assert_eq!(client.get_manifest("team/app", one.digest()).status, if line.is_empty() { 200 } else { 404 });
        assert_eq!(catalogue(&client), repositories);
        assert!(!client.has_blob("team/app", &layer(4).digest) && !client.has_blob("gone", &layer(9).digest));
    }
    push(&registry.client());
    for repository in ["team/app", "multi"] {
        let tag = if repository == "multi" { "all" } else { "v1" };
        registry.client().pull(repository, tag).expect("pushed anew");
    }
    assert!(before.is_subset(&moto.keys("pushed")), "what was removed can be pushed again");
}

#[test]
fn a_run_asks_for_no_more_than_it_has_to() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("counted", "p/", &tree());
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "counted", ", rootdirectory: /p");
    proxy.begin(None);
    let report = on(&config, &format!("{REAL} -m")).run().expect_code(0).report();
    let log = proxy.log();
    let changes = changed(&log);
    assert!(
        changes.iter().all(|(method, path)| method == "POST" && path.contains("?delete") || method == "DELETE"),
        "{changes:?}"
    );
    // Tag history, revisions, layer links, the blobs of images, the other blobs.
    assert!((1..=6).contains(&changes.len()), "{changes:?}");
    let ours: Vec<&(String, String)> =
        log.iter().filter(|(method, path)| method != "GET" && path.contains(".regsweep/")).collect();
    assert!(ours.len() <= 10, "{ours:?}");
    // The lock goes when the report is made.
    let told: u64 = ["list", "get", "head", "other"].iter().filter_map(|kind| report["requests"][*kind].as_u64()).sum();
    assert_eq!(told as usize + 3, log.len());
    assert!(moto.object("counted", "p/.regsweep/summary.json").is_some() && moto.object("counted", "p/.regsweep/lock").is_none());
}

#[test]
fn nothing_is_removed_before_a_registry_was_asked_or_somebody_vouches() {
    let Some(moto) = Moto::start() else { return };
    moto.make("asked");
    let mut registry = BucketRegistry::start(&moto, "asked", "");
    registry.client().push_tag("app", "v1", &oci_image("one", &[layer(1)]));
    registry.client().put_blob("app", &layer(4));
    let run = |config: &Path, more: &str| on(config, &format!("garbage-collect --min-age 0s --allow-unlinked 100% {more}")).run();
    let before = moto.keys("asked");
    let stderr = run(registry.config(), "").expect_code(2).stderr;
    assert!(stderr.contains("a registry that takes pushes answers at"), "{stderr}");
    registry.stop();
    // That nothing answers on this machine says nothing of others.
    let stderr = run(registry.config(), "").expect_code(2).stderr;
    assert!(stderr.contains("may run on any other") && stderr.contains("--assume-offline"), "{stderr}");
    let stderr = run(&moto.config("bare.yml", moto.address(), "asked", ""), "").expect_code(2).stderr;
    assert!(stderr.contains("no registry could be asked") && stderr.contains("--registry URL"), "{stderr}");
    let dry = run(registry.config(), "--dry-run --json").expect_code(0).report();
    assert!(dry["unqueried"].as_str().is_some_and(|why| why.contains("any other")), "{dry}");
    assert_eq!(moto.keys("asked"), before);
    // One that is read-only.
    let text = std::fs::read_to_string(registry.config()).expect("readable");
    let text = text.replace("uploadpurging: {enabled: false}", "uploadpurging: {enabled: false}, readonly: {enabled: true}");
    std::fs::write(registry.config(), text).expect("written");
    registry.restart();
    let bare = moto.config("bare.yml", moto.address(), "asked", "");
    let dry = run(&bare, &format!("--dry-run --json --registry http://{}", registry.address())).expect_code(0).report();
    assert_eq!(dry["unqueried"], Value::Null);
    run(&bare, &format!("--registry http://{}", registry.address())).expect_code(0);
    assert_eq!(before.len() - moto.keys("asked").len(), 2, "a layer link and its blob");
}

#[test]
fn a_bucket_with_versions_is_said_to_keep_the_bytes() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("kept", "", &tree());
    moto.version("kept");
    let config = moto.config("c.yml", moto.address(), "kept", "");
    for line in [DRY, REAL] {
        let outcome = on(&config, &line.replace(" --json", "")).run().expect_code(0);
        assert!(outcome.stdout.contains("versions      the bucket keeps what is removed"), "{}", outcome.stdout);
    }
    assert_eq!(on(&config, DRY).run().expect_code(0).report()["versions"], "kept");
}

#[test]
fn tags_go_by_rules_and_by_name() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("tags", "", &tree());
    let config = moto.config("c.yml", moto.address(), "tags", "");
    let run = Regsweep::new().arg("remove").arg(&config).args(["multi:all", "--assume-offline", "--min-age", "0s", "--json"]);
    let removed = run.args(["--allow-unlinked", "100%", "--allow-untagged-repositories"]).run().expect_code(0).report();
    assert_eq!(removed["remove"].as_array().map(Vec::len), Some(1), "{removed}");
    let keys = moto.keys("tags");
    assert!(!keys.iter().any(|key| key.contains("/multi/_manifests")), "{keys:?}");
    let run = Regsweep::new().arg("expire").arg(&config).args(["--keep-last", "1", "--repository", "team/*"]);
    let expired = run.args(["--assume-offline", "--min-age", "0s", "--allow-unlinked", "100%", "--json"]).run().expect_code(0);
    assert_eq!(expired.report()["outcome"], "complete");
    assert!(moto.keys("tags").iter().any(|key| key.contains("/team/app/_manifests/tags/v1/current/link")));
}

#[test]
fn files_of_old_uploads_go() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("uploads", "", &tree());
    let uploads = "docker/registry/v2/repositories/team/app/_uploads";
    for (file, content) in [("startedat", "2020-01-01T00:00:00Z"), ("hashstates/sha256/0", "x"), ("data", "half")] {
        moto.put_object("uploads", &format!("{uploads}/7a8f1c1e-98dc-4be4-a9b5-4cf6cbb0ce23/{file}"), content.as_bytes());
    }
    let config = moto.config("c.yml", moto.address(), "uploads", "");
    let line = "--uploads-older-than 0s";
    let foreseen = on(&config, &format!("{DRY} {line}")).run().expect_code(0).report();
    let done = on(&config, &format!("{REAL} {line}")).run().expect_code(0).report();
    assert_eq!(done["removed"], foreseen["reclaimable"]);
    assert_eq!(done["removed"]["upload_files"], 3, "{done}");
    assert!(!moto.keys("uploads").iter().any(|key| key.contains("_uploads")));
}
