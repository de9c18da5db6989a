use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::named::named;
use super::search::SearchTargets;
use super::*;
use crate::error::Error;
use crate::finding::Needs;
use crate::graph::Context;
use crate::graph::Manifests;
use crate::inventory::{Budget, Inventory};
use crate::layout::LinkDirectory;
use crate::oci::Digest;
use crate::oci::{Algorithm, RepositoryName};
use crate::policy::{Policy, RootPolicy};
use crate::store::RepositoryEntry;
use crate::store::Store as _;
use crate::testing::{Built, THEN, sha256};

impl Built {
    fn ask<T>(&self, ask: impl FnOnce(&Context<'_>, &[RepositoryEntry]) -> Result<T, Error>) -> T {
        let (inventory, _) = Inventory::list(&self.0, &Budget::unlimited()).expect("listable");
        let manifests = Manifests::new(&self.0, &inventory);
        let policy = Policy::new(std::time::Duration::ZERO, crate::policy::Arrivals::Ignored, THEN);
        let context = Context {
            store: &self.0,
            inventory: &inventory,
            manifests: &manifests,
            retention: &RootPolicy::AllRevisions,
            policy,
        };
        ask(&context, &self.0.repositories().expect("listable").entries).expect("answered")
    }

    /// The images that need one digest, as reports show them.
    fn needed(&self, damaged: &Digest) -> Vec<String> {
        let needs = self.ask(|context, repositories| dependents(context, repositories, &BTreeSet::from([*damaged])));
        needs.get(damaged).map_or(Vec::new(), |needs| needs.first.iter().map(ToString::to_string).collect())
    }
}

/// A configuration, and two images with one layer in common under an index that names both platforms.
fn multi(built: &Built, layer: &Digest) -> (Digest, [Digest; 2]) {
    let config = built.json(&json!({"os": "linux", "architecture": "from-the-config"}));
    let own = [b"own 1", b"own 2"].map(|own| built.blob(own));
    let images = own.map(|own| built.image(&config, &[*layer, own]));
    let listed = |image: &Digest, platform: Value| json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.to_string(), "platform": platform});
    let index = built.json(&json!({"manifests": [
        listed(&images[0], json!({"os": "linux", "architecture": "arm64", "variant": "v8"})),
        listed(&images[1], json!({"os": "\u{1b}[2J", "architecture": "amd64"})),
    ]}));
    (index, images)
}

#[test]
fn names_tags_and_platforms_through_any_depth() {
    let built = Built::default();
    let layer = sha256(b"absent");
    let (index, images) = multi(&built, &layer);
    let above = built.json(&json!({"manifests": [{"digest": index.to_string()}]}));
    built.revision("team/app", &above);
    built.tag("team/app", "v1", &above);
    built.tag("team/app", "v2", &images[0]);
    built.revision("other", &images[1]);
    assert_eq!(
        built.needed(&layer),
        [
            "team/app:v1 (linux/arm64/v8)".to_owned(),
            "team/app:v1 (linux/from-the-config)".to_owned(),
            "team/app:v2 (linux/from-the-config)".to_owned(),
            format!("other@{} (linux/from-the-config)", images[1]),
        ]
    );
    // Both an index that lists a child and a tag that names it need the child.
    assert_eq!(built.needed(&images[0]), ["team/app:v1 (linux/arm64/v8)", "team/app:v2"]);
    assert_eq!(built.needed(&above), ["team/app:v1"]);
    assert_eq!(built.needed(&sha256(b"unneeded")), [""; 0]);
}

#[test]
fn needs_of_a_tag_are_not_repeated_as_untagged() {
    let built = Built::default();
    let layer = sha256(b"absent");
    let (index, images) = multi(&built, &layer);
    for digest in images.iter().chain([&index]) {
        built.revision("a", digest);
        built.revision("b", digest);
    }
    built.tag("a", "v1", &index);
    let needed = built.needed(&layer);
    assert_eq!(needed.len(), 4);
    assert!(needed[..2].iter().all(|need| need.starts_with("a:v1 ")), "{needed:?}");
    // Without a tag, the index stands for its children.
    assert!(needed[2..].iter().all(|need| need.starts_with("b@")), "{needed:?}");
    assert!(needed.iter().any(|need| need == &format!("b@{} (linux/arm64/v8)", images[0])), "{needed:?}");
}

#[test]
fn aliases_are_followed_and_foreign_layers_are_not_needed() {
    let built = Built::default();
    let (layer, alias) = (built.blob(b"layer"), Digest::of(Algorithm::Sha512, b"layer"));
    let image = built.json(&json!({"layers": [{"digest": alias.to_string(), "size": 5}]}));
    let absent = sha256(b"absent");
    let foreign = built.json(&json!({"layers": [{"digest": absent.to_string(), "urls": ["https://example.com"]}]}));
    for (tag, digest) in [("alias", &image), ("foreign", &foreign)] {
        built.revision("a", digest);
        built.tag("a", tag, digest);
    }
    assert_eq!(built.needed(&layer), [""; 0], "only the repository's link names the blob of an alias");
    built.link(&LinkDirectory::Layers(RepositoryName::new("a")), &alias, &layer);
    assert_eq!(built.needed(&layer), ["a:alias"]);
    assert_eq!(built.needed(&absent), [""; 0]);
}

#[test]
fn lists_of_needs_are_limited() {
    let built = Built::default();
    let layer = sha256(b"absent");
    let image = built.image(&sha256(b"config"), &[layer]);
    built.revision("a", &image);
    built.revision("b", &image);
    for number in 0..Needs::MOST + 7 {
        built.tag("a", &format!("{number:05}"), &image);
    }
    let needs = built.ask(|context, repositories| dependents(context, repositories, &BTreeSet::from([layer])));
    let needs = &needs[&layer];
    assert_eq!((needs.first.len(), needs.more), (Needs::MOST, 8));
    assert_eq!(needs.first[999].to_string(), "a:00999");
}

#[test]
fn wrong_sizes_are_found() {
    let built = Built::default();
    let (whole, cut, twice) = (built.blob(b"12345"), built.blob(b"cut"), built.blob(b"67890"));
    let config = built.blob(b"1");
    let right = built.image(&config, &[whole, twice]);
    let cut_short = built.image(&config, &[whole, cut]);
    let liar = built.json(&json!({"layers": [{"digest": twice.to_string(), "size": 4}]}));
    let mut expected = Vec::new();
    for (tag, digest) in [("right", &right), ("cut", &cut_short), ("liar", &liar)] {
        built.revision("a", digest);
        built.tag("a", tag, digest);
    }
    for (digest, has, states, tag) in [(cut, 3, 5, "a:cut"), (twice, 5, 4, "a:liar")] {
        expected.push((digest, format!("The blob has {has} bytes, and what names it states {states}: clients refuse it."), tag));
    }
    expected.sort();
    let found = built.ask(|context, repositories| {
        assert_eq!(size_mismatches(context, repositories)?, [], "nothing has been read yet");
        // Reads every manifest that a repository reaches, as marking does.
        named(context, repositories, &SearchTargets::new(context, &BTreeMap::new()))?;
        size_mismatches(context, repositories)
    });
    let found: Vec<_> = found
        .into_iter()
        .map(|finding| {
            let [need] = &finding.needed_by.first[..] else { panic!("one each: {finding:?}") };
            (finding.digest.expect("a digest"), finding.message().to_owned(), need.to_string())
        })
        .collect();
    let expected: Vec<_> = expected.into_iter().map(|(digest, message, tag)| (digest, message, tag.to_owned())).collect();
    assert_eq!(found, expected);
}
