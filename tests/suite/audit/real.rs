//! Storage that the real registry wrote: well, and then damaged in every way at once.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::support::server::RealRegistry;

/// An image of a repository, with a layer that no other has.
fn image_of(repository: &str) -> Image {
    oci_image(repository, &[layer(1), Content::new(format!("layer of {repository}"))])
}

/// Pushes to a registry what every kind of client pushes.
fn fill(registry: &RealRegistry) {
    let client = registry.client();
    let platforms = index(&[amd64(), oci_image("arm64", &[layer(1), layer(3)])]);
    client.push_tag("team/multi", "v1", &platforms);
    client.push_tag("team/list", "v1", &manifest_list(&[docker_image("docker", &[layer(4)])]));
    client.push_tag("team/sha512", "v1", &oci_image("sha512", &[layer(5)]).with_sha512_descriptors());
    client.push_tag("team/signed", "v1", &amd64());
    client.push("team/signed", &oci_image("referrer", &[layer(6)]).referring_to(&amd64()));
    let signature = oci_image("signature", &[layer(7)]);
    client.push_tag("team/signed", &(amd64().digest().replace(':', "-") + ".sig"), &signature);
    client.push_tag("team/mounted", "base", &oci_image("base", &[layer(8)]));
    client.mount("team/mounted", &layer(1).digest, "team/multi");
    let mounted = oci_image("mounted", &[layer(1)]);
    client.put_blob("team/mounted", &mounted.blobs[0]);
    client.put_manifest("team/mounted", "v1", &mounted);
}

#[test]
fn what_the_registry_writes_is_well() {
    let mut registry = RealRegistry::start();
    fill(&registry);
    registry.stop();
    assert_eq!(audit(&registry.root()), []);
    let old = Regsweep::audit(&registry.root()).args(["--min-age", "0s", "--upload-age", "0s"]).json().run().expect_code(0);
    assert_eq!(old.findings(), []);
}

#[test]
fn a_registry_at_work_is_not_taken_for_a_damaged_one() {
    let registry = RealRegistry::start();
    let push = |number: u64| {
        let images = [1, 2].map(|platform| oci_image("pushed", &[layer(1), layer(1000 + 2 * number + platform)]));
        registry.client().push_tag(&format!("busy/{}", number % 3), &format!("v{number}"), &index(&images));
    };
    push(0);
    let pushed = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                push(pushed.load(Ordering::Relaxed));
                pushed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let begun = std::time::Instant::now();
        while pushed.load(Ordering::Relaxed) < 10 && begun.elapsed() < minutes(1) {
            let codes = Regsweep::audit(&registry.root()).json().run().stdout;
            wrong.extend(["\"missing-", "\"lost-", "\"broken-"].into_iter().filter(|code| codes.contains(code)));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong, [""; 0]);
    assert!(pushed.into_inner() > 1, "nothing was pushed meanwhile");
}

/// Storage to be damaged, and what is then expected: code, and repository or digest.
struct Damaged {
    root: PathBuf,
    expected: Vec<(&'static str, String)>,
}

impl Damaged {
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: impl AsRef<Path>, bytes: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    fn remove(&self, path: impl AsRef<Path>) {
        fs::remove_file(self.at(path)).expect("it was there");
    }

    fn expect(&mut self, code: &'static str, place: impl Into<String>) {
        self.expected.push((code, place.into()));
    }
}

#[test]
fn each_damage_is_named_once_and_nothing_else() {
    let mut registry = RealRegistry::start();
    fill(&registry);
    let client = registry.client();
    let repositories = [
        "empty",
        "garbled",
        "disagreeing",
        "irregular",
        "manifest",
        "target",
        "layer",
        "config",
        "short",
        "corrupt",
        "directory",
        "child",
        "tag",
        "lost",
        "lostchild",
        "link",
        "broken",
        "data",
        "stray",
        "badtag",
        "orphan",
        "signature",
        "untagged",
        "unneeded",
        "stale",
        "upload",
        "cancelled",
        "leftover",
    ];
    for name in repositories {
        client.push_tag(&format!("d/{name}"), "v1", &image_of(name));
    }
    let parent = |name: &str| index(&[image_of(name), oci_image("beside", &[layer(1)])]);
    for name in ["child", "lostchild"] {
        client.push_tag(&format!("d/{name}"), "v1", &parent(name));
    }
    let twin = |name: &str| image_of(name).edit(|json| json["annotations"] = serde_json::json!({ "twin": name }));
    client.put_manifest("d/manifest", twin("manifest").digest(), &twin("manifest"));
    client.put_manifest(
        "d/orphan",
        twin("orphan").referring_to(&oci_image("gone", &[])).digest(),
        &twin("orphan").referring_to(&oci_image("gone", &[])),
    );
    let signature = oci_image("gone", &[]).digest().replace(':', "-") + ".att";
    client.put_manifest("d/signature", &signature, &image_of("signature"));
    client.put_manifest("d/untagged", twin("untagged").digest(), &twin("untagged"));
    client.put_blob("d/unneeded", &layer(50));
    client.put_manifest("d/stale", "v2", &twin("stale"));
    client.put_manifest("d/stale", "v2", &image_of("stale"));
    client.delete_manifest("d/stale", twin("stale").digest());
    client.begin_upload("d/upload");
    let cancelled = client.begin_upload("d/cancelled");
    client.send("DELETE", &cancelled, &[], &[]).expect_status(204);
    client.push_tag("d/nothing", "v1", &image_of("badtag"));
    registry.stop();

    let mut damaged = Damaged { root: registry.root(), expected: Vec::new() };
    let own = |name: &str| image_of(name).blobs[2].digest.clone();
    damage_links(&mut damaged, &own);
    damage_blobs(&mut damaged, &own, &|name| twin(name).digest().to_owned());
    leave_things(&mut damaged, &own);
    fs::remove_dir_all(damaged.at(format!("{}/_manifests", repository("d/nothing")))).expect("there");
    fs::remove_dir_all(damaged.at(format!("{}/_layers", repository("d/nothing")))).expect("there");
    damaged.expect("empty-repository", "d/nothing");
    damaged.expect("orphaned-referrer", "d/orphan");
    damaged.expect("orphaned-signature", "d/signature");
    for (code, name) in [
        ("untagged-revisions", "untagged"),
        ("unneeded-layer-links", "unneeded"),
        ("stale-history", "stale"),
        ("stale-upload", "upload"),
        ("half-cancelled-upload", "cancelled"),
    ] {
        damaged.expect(code, format!("d/{name}"));
    }

    let run = || Regsweep::audit(&registry.root()).args(["--min-age", "0s", "--upload-age", "0s"]).json();
    let before = snapshot(&registry.root());
    let findings = run().run().expect_code(1).findings();
    assert_eq!(findings, run().args(["--jobs", "1"]).run().findings());
    assert_eq!(snapshot(&registry.root()), before);
    let found: Vec<(String, String)> = findings
        .iter()
        .map(|finding| {
            let place = finding.repository.clone().or(finding.digest.clone()).or(finding.path.clone()).unwrap_or_default();
            (finding.code.clone(), place)
        })
        .collect();
    let expected: BTreeSet<(String, String)> =
        damaged.expected.iter().map(|(code, place)| ((*code).to_owned(), place.clone())).collect();
    assert_eq!(expected.len(), damaged.expected.len(), "two damages in one place");
    let wrong: Vec<_> = found.iter().filter(|place| !expected.contains(place)).collect();
    let missed: Vec<_> = expected.iter().filter(|place| !found.contains(place)).collect();
    assert!(wrong.is_empty() && missed.is_empty(), "not expected: {wrong:#?}\nmissed: {missed:#?}");
    assert_eq!(found.len(), expected.len(), "something was told twice: {found:#?}");
}

fn damage_links(damaged: &mut Damaged, own: &dyn Fn(&str) -> String) {
    damaged.write(revision_link("d/empty", image_of("empty").digest()), "");
    damaged.expect("empty-link", "d/empty");
    damaged.write(layer_link("d/garbled", &own("garbled")), "sha256:00");
    damaged.expect("garbled-link", "d/garbled");
    damaged.write(tag_history("d/disagreeing", "v1", image_of("disagreeing").digest()), &layer(1).digest);
    damaged.expect("disagreeing-link", "d/disagreeing");
    damaged.remove(tag_current("d/irregular", "v1"));
    symlink("/dev/zero", damaged.at(tag_current("d/irregular", "v1"))).expect("made");
    damaged.expect("irregular-link", "d/irregular");
    damaged.remove(tag_current("d/tag", "v1"));
    fs::create_dir_all(damaged.at(tag("d/tag", "bare"))).expect("made");
    damaged.expect("empty-tag", "d/tag");
    fs::remove_dir_all(damaged.at(tag("d/tag", "v1"))).expect("there");
    damaged.expect("untagged-revisions", "d/tag");
    damaged.remove(revision_link("d/lost", image_of("lost").digest()));
    damaged.expect("lost-revision", "d/lost");
    damaged.remove(revision_link("d/lostchild", image_of("lostchild").digest()));
    damaged.expect("lost-child", "d/lostchild");
    damaged.remove(layer_link("d/link", &own("link")));
    damaged.expect("missing-layer-link", "d/link");
    damaged.write(layer_link("d/broken", &layer(60).digest), &layer(60).digest);
    damaged.expect("broken-layer-link", "d/broken");
    for name in ["empty", "irregular", "corrupt"] {
        damaged.expect("held-repository", format!("d/{name}"));
    }
}

fn damage_blobs(damaged: &mut Damaged, own: &dyn Fn(&str) -> String, twin: &dyn Fn(&str) -> String) {
    let config = image_of("config").blobs[0].digest.clone();
    let child = image_of("child").digest().to_owned();
    for (code, digest) in [
        ("missing-manifest", twin("manifest")),
        ("missing-blob", own("layer")),
        ("missing-blob", config),
        ("missing-child", child.clone()),
    ] {
        damaged.remove(blob_data(&digest));
        damaged.expect(code, digest);
    }
    fs::remove_dir_all(damaged.at(layout::parent(&revision_link("d/child", &child)))).expect("there");
    damaged.expect("unneeded-layer-links", "d/child");
    damaged.remove(blob_data(image_of("target").digest()));
    damaged.expect("missing-tag-target", "d/target");
    damaged.expect("unneeded-layer-links", "d/target");
    damaged.write(blob_data(&own("short")), "short");
    damaged.expect("size-mismatch", own("short"));
    damaged.write(blob_data(image_of("corrupt").digest()), "{}");
    damaged.expect("corrupt-manifest", image_of("corrupt").digest());
    damaged.remove(blob_data(&own("directory")));
    fs::create_dir(damaged.at(blob_data(&own("directory")))).expect("made");
    damaged.expect("irregular-data", own("directory"));
}

fn leave_things(damaged: &mut Damaged, own: &dyn Fn(&str) -> String) {
    damaged.write(format!("{}/notes.txt", blob_directory(&layer(61).digest)), "?");
    damaged.expect("missing-data", layer(61).digest);
    damaged.write(format!("{}/notes.txt", layout::tags("d/stray")), "?");
    damaged.expect("unrecognised-entry", "d/stray");
    damaged.write(tag_current("d/badtag", "not a tag"), image_of("badtag").digest());
    damaged.expect("invalid-tag-name", "d/badtag");
    damaged.write(format!("{}.0197.tmp", layer_link("d/leftover", &own("leftover"))), "sha256:");
    damaged.expect("leftover-file", "d/leftover");
    damaged.write(blob_data(&layer(62).digest), "layer 62\n");
    damaged.expect("unlinked-blob", layer(62).digest);
    let copy = image_of("data");
    damaged.write(revision_link("Backup_A", copy.digest()), copy.digest());
    for blob in &copy.blobs {
        damaged.write(layer_link("Backup_A", &blob.digest), &blob.digest);
    }
    damaged.expect("invalid-name", "Backup_A");
    damaged.expect("held-repository", "Backup_A");
    damaged.write("docker/registry/lockfiles/database-in-use", "{}");
    damaged.expect("gitlab-database", "docker/registry/lockfiles/database-in-use");
}
