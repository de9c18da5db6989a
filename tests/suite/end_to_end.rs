//! Against the real registry: what clients could pull before a collection they can pull after it, byte for byte.
//!
//! A registry is filled the ways people fill one, by skopeo and by the API. All that can be pulled is pulled and
//! kept aside, the registry stops, its storage is collected, it starts again, and everything is pulled again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http::Pulled;
use crate::support::server::RealRegistry;
use crate::support::snapshot::{blobs_on_disk, gone};
use crate::support::*;

/// Whether `--delete-untagged` lets go of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It stays, whatever is asked.
    Stays,
    /// It goes with `--delete-untagged`.
    Untagged,
}

/// Something a client can pull, and all that it got.
#[derive(Debug)]
struct Pullable {
    repository: &'static str,
    reference: String,
    fate: Fate,
    /// What the registry sent.
    bytes: Pulled,
    /// What skopeo wrote; none for what this version of it cannot copy.
    files: Option<BTreeMap<String, Vec<u8>>>,
}

impl Pullable {
    /// How skopeo writes it.
    fn name(&self) -> String {
        let mark = if self.reference.contains(':') { '@' } else { ':' };
        format!("{}{mark}{}", self.repository, self.reference)
    }
}

/// A registry filled with some of everything, and what can be pulled from it.
struct Filled {
    registry: RealRegistry,
    pullable: Vec<Pullable>,
    layout: TempDir,
    /// Blobs that no manifest the registry still serves needs.
    garbage: BTreeSet<String>,
}

impl Filled {
    /// Pulls a reference and keeps what came.
    fn keep(&mut self, repository: &'static str, reference: &str, fate: Fate) {
        let bytes = self.registry.client().pull(repository, reference).expect("what was pushed can be pulled");
        let mut pullable = Pullable { repository, reference: reference.to_owned(), fate, bytes, files: None };
        if repository != NESTED {
            let files = skopeo::pull(self.registry.address(), &pullable.name());
            pullable.files = Some(files.expect("what was pushed can be pulled"));
        }
        self.pullable.push(pullable);
    }

    /// The same for a tag, and for every manifest below it by digest.
    fn keep_tag(&mut self, repository: &'static str, tag: &str) {
        self.keep(repository, tag, Fate::Stays);
        let manifests: Vec<_> = self.pullable[self.pullable.len() - 1].bytes.manifests.keys().cloned().collect();
        for digest in manifests {
            self.keep(repository, &digest, Fate::Stays);
        }
    }
}

/// Its index lists an index, which skopeo 1.9 does not copy; it is pulled by the API only.
const NESTED: &str = "demo/nested";

fn filled() -> Filled {
    let app = |name: &str, number: u64| oci_image(name, &[tar_layer(1), tar_layer(number)]);
    let platforms = index(&[app("amd64", 7), app("arm64", 8)]);
    let converted = index(&[app("list amd64", 9), app("list arm64", 10)]);
    let forgotten = index(&[app("old amd64", 12), app("old arm64", 13)]);
    let images = [
        ("one", &app("one", 2)),
        ("two", &app("two", 3)),
        ("before", &app("before", 4)),
        ("after", &app("after", 5)),
        ("doomed", &app("doomed", 6)),
        ("platforms", &platforms),
        ("converted", &converted),
        ("forgotten", &forgotten),
    ];
    let [(_, one), _, (_, before), _, (_, doomed), ..] = images;
    let layout = tempfile::tempdir().expect("a temporary directory can be made");
    skopeo::write_oci_layout(layout.path(), &images);

    let registry = RealRegistry::start();
    let push = |image: &str, to: &str, flags: &[&str]| {
        skopeo::push(layout.path(), image, registry.address(), to, flags);
    };
    let docker = ["--format", "v2s2"];
    push("one", "demo/app:one", &[]);
    push("two", "demo/app:two", &[]);
    push("before", "demo/app:moving", &[]);
    push("after", "demo/app:moving", &[]);
    push("doomed", "demo/app:doomed", &[]);
    push("platforms", "demo/multi:all", &[]);
    push("converted", "demo/multi:list", &docker);
    push("forgotten", "demo/multi:forgotten", &[]);
    push("two", "team/deep/er/app:docker", &docker);
    push("one", "team/deep:oci", &[]);

    let client = registry.client();
    let by_digest = app("by digest", 11);
    client.push("team/deep/er", &by_digest);
    let signature = oci_image("signature", &[tar_layer(14)]).referring_to(one);
    let attestation = oci_image("of the signature", &[tar_layer(15)]).referring_to(&signature);
    let orphan = oci_image("of what is gone", &[tar_layer(16)]).referring_to(doomed);
    for referrer in [&signature, &attestation, &orphan] {
        client.push("demo/app", referrer);
    }
    let inner = index(&[docker_image("inner", &[layer(17)])]);
    let outer = index(&[inner, oci_image("beside", &[layer(18)])]);
    client.push_tag(NESTED, "top", &outer);
    client.put_blob("demo/app", &layer(19));
    client.mount("mounted/only", &tar_layer(3).digest, "demo/app");
    skopeo::delete(registry.address(), "demo/app:doomed");
    client.delete_manifest("demo/multi", forgotten.digest());

    let garbage = BTreeSet::from([
        doomed.digest().to_owned(),
        doomed.blobs[0].digest.clone(),
        tar_layer(6).digest,
        layer(19).digest,
        forgotten.digest().to_owned(),
    ]);
    let mut filled = Filled { registry, pullable: Vec::new(), layout, garbage };
    for tag in ["one", "two", "moving"] {
        filled.keep_tag("demo/app", tag);
    }
    filled.keep_tag("demo/multi", "all");
    filled.keep_tag("demo/multi", "list");
    filled.keep_tag("team/deep/er/app", "docker");
    filled.keep_tag("team/deep", "oci");
    filled.keep_tag(NESTED, "top");
    for referrer in [&signature, &attestation] {
        filled.keep("demo/app", referrer.digest(), Fate::Stays);
    }
    filled.keep("demo/app", before.digest(), Fate::Untagged);
    filled.keep("demo/app", orphan.digest(), Fate::Untagged);
    filled.keep("team/deep/er", by_digest.digest(), Fate::Untagged);
    for child in &forgotten.children {
        filled.keep("demo/multi", child.digest(), Fate::Untagged);
    }
    filled
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a count")
}

/// Collects a filled registry and checks every promise about it.
fn collects_and_serves_the_rest(delete_untagged: bool) {
    let Filled { mut registry, pullable, layout, garbage } = filled();
    let (kept, dropped): (Vec<_>, Vec<_>) =
        pullable.iter().partition(|pullable| pullable.fate == Fate::Stays || !delete_untagged);
    let needed: BTreeSet<String> = kept.iter().flat_map(|pullable| pullable.bytes.digests()).collect();
    assert!(needed.is_disjoint(&garbage), "the test contradicts itself");

    registry.stop();
    let storage = registry.root().join("docker");
    let config = registry.config();
    let collection = |delete_untagged: bool| {
        let run = Regsweep::gc_config(&config).any_age().json();
        if delete_untagged { run.delete_untagged() } else { run }
    };

    let before = snapshot(&storage);
    let stored_before = blobs_on_disk(&registry.root());
    let announced = collection(delete_untagged).dry().run().expect_code(0);
    let [plain, both] = [false, true].map(|untagged| collection(untagged).dry().run().expect_code(0).report());
    assert!(snapshot(&storage) == before, "a dry run changed the storage");

    for what in ["blobs", "bytes"] {
        let sum = number(&plain["reclaimable"][what]) + number(&plain["reclaimable_delete_untagged"][what]);
        assert_eq!(sum, number(&both["reclaimable"][what]), "what --delete-untagged would add, in {what}");
    }

    let done = collection(delete_untagged).run().expect_code(0);
    assert_eq!(done.rows(), announced.rows());
    let stored_after = blobs_on_disk(&registry.root());
    let left: BTreeSet<String> = stored_after.keys().cloned().collect();
    assert_eq!(left, needed);
    let freed = stored_before.values().sum::<u64>() - stored_after.values().sum::<u64>();
    assert_eq!(announced.reclaimable_bytes(), freed);
    assert_eq!(number(&announced.report()["reclaimable"]["bytes"]), freed);
    assert_eq!(number(&done.report()["removed"]["bytes"]), freed);
    let after = snapshot(&storage);
    let missing = gone(&before, &after);
    for path in announced.paths() {
        let path = path.strip_prefix("docker/").expect("all is below docker/");
        assert!(missing.contains(path), "still there: {path}");
    }

    let again = collection(delete_untagged).run().expect_code(0);
    assert_eq!(again.rows(), []);
    assert!(snapshot(&storage) == after, "a second run found more");

    registry.restart();
    let client = registry.client();
    for pullable in &kept {
        let name = pullable.name();
        let bytes = client.pull(pullable.repository, &pullable.reference);
        assert_eq!(bytes.as_ref(), Ok(&pullable.bytes), "{name}");
        if let Some(files) = &pullable.files {
            let pulled = skopeo::pull(registry.address(), &name);
            assert_eq!(pulled.as_ref(), Ok(files), "{name}");
        }
    }
    for pullable in dropped {
        let answer = client.get_manifest(pullable.repository, &pullable.reference);
        assert_eq!(answer.status, 404, "{}", pullable.name());
    }

    // What went can come back: no link left behind makes the registry believe that it has a blob still.
    for image in ["doomed", "before", "forgotten"] {
        let name = format!("demo/app:{image}");
        skopeo::push(layout.path(), image, registry.address(), &name, &[]);
        let files = skopeo::pull(registry.address(), &name);
        files.unwrap_or_else(|error| panic!("{name} does not come back: {error}"));
        client.pull("demo/app", image).unwrap_or_else(|error| panic!("{name} does not come back: {error}"));
    }
}

#[test]
fn collects_a_real_registry_and_every_image_can_still_be_pulled() {
    collects_and_serves_the_rest(false);
}

#[test]
fn deletes_untagged_from_a_real_registry_and_every_tag_can_still_be_pulled() {
    collects_and_serves_the_rest(true);
}
