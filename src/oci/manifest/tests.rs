//! Examples of manifests and their references.

use super::media_type::{ORDINARY, is_foreign, is_manifest};
use super::*;
use crate::oci::Algorithm;

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_le_bytes())
}

fn found(json: &str) -> Vec<Digest> {
    let references = references(json.as_bytes()).expect("readable");
    references.descriptors.iter().map(|d| d.digest).collect()
}

#[test]
fn reads_every_kind_of_manifest() {
    let [a, b, c] = [1, 2, 3].map(digest);
    let oci = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{a}","size":7}},
           "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{b}","size":9}}],
           "subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{c}","size":1}}}}"#
    );
    let read = references(oci.as_bytes()).expect("readable");
    assert_eq!(read.subjects, [c]);
    let facts: Vec<_> = read.descriptors.iter().map(|d| (d.digest, d.size_bytes, d.kind)).collect();
    assert_eq!(facts, [(a, Some(7), DescriptorKind::Blob), (b, Some(9), DescriptorKind::Blob)]);

    let index = format!(
        r#"{{"manifests":[{{"digest":"{a}"}},{{"digest":"{b}","mediaType":"application/vnd.oci.image.layer.v1.tar"}},
           {{"digest":"{c}","mediaType":"application/vnd.docker.distribution.manifest.v2+json","platform":{{"os":"x"}}}}]}}"#
    );
    let kinds: Vec<_> = references(index.as_bytes()).expect("readable").descriptors.iter().map(|d| d.kind).collect();
    assert_eq!(kinds, [DescriptorKind::Manifest, DescriptorKind::MaybeManifest, DescriptorKind::Manifest]);

    let schema1 = format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{a}"}},{{"blobSum":"{b}"}}],"history":[]}}"#);
    assert_eq!(found(&schema1), [a, b]);
    let artifact = format!(r#"{{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[{{"digest":"{c}"}}]}}"#);
    assert_eq!(found(&artifact), [c]);
}

#[test]
fn reads_keys_as_go_folds_them() {
    let a = digest(1);
    for key in ["digest", "DIGEST", "dige\u{17f}t", r"\u0064igest", "blobSum", "BLOBSUM", "blob\u{17f}um"] {
        assert_eq!(found(&format!(r#"{{"x":{{"{key}":"{a}"}}}}"#)), [a], "{key}");
    }
    assert_eq!(found(&format!(r#"{{"x":{{"digests":"{a}"}}}}"#)), []);
}

#[test]
fn duplicate_keys_hide_nothing() {
    let [a, b] = [1, 2].map(digest);
    assert_eq!(found(&format!(r#"{{"config":{{"digest":"{a}","digest":"{b}"}},"config":null}}"#)), [a, b]);
}

#[test]
fn reads_escaped_digests_and_digests_deep_below_the_key() {
    let a = digest(1);
    let escaped = a.to_string().replace(':', r"\u003a");
    assert_eq!(found(&format!(r#"{{"new":[[{{"digest":"{escaped}"}}]]}}"#)), [a]);
    assert_eq!(found(&format!(r#"{{"digest":{{"of":["{a}"]}}}}"#)), [a]);
}

#[test]
fn annotations_and_the_top_level_subject_are_no_references() {
    let [a, b] = [1, 2].map(digest);
    assert_eq!(found(&format!(r#"{{"annotations":{{"digest":"{a}","x":{{"digest":"{a}"}}}}}}"#)), []);
    let read = references(format!(r#"{{"Subject":{{"DIGEST":"{a}"}},"layers":[{{"subject":{{"digest":"{b}"}}}}]}}"#).as_bytes())
        .expect("readable");
    assert_eq!(read.subjects, [a]);
    assert_eq!(read.descriptors.iter().map(|d| d.digest).collect::<Vec<_>>(), [b]);
}

#[test]
fn reads_what_go_reads_and_serde_would_refuse() {
    let a = digest(1);
    let mut invalid = br#"{"n":1e999,"name":""#.to_vec();
    invalid.push(0xff);
    invalid.extend(format!(r#"","x":{{"digest":"{a}"}}}}"#).bytes());
    let read = references(&invalid).expect("Go replaces invalid UTF-8 and skips numbers of unknown fields");
    assert_eq!(read.descriptors[0].digest, a);
    let deep = format!("{{\"x\":{}{{\"digest\":\"{a}\"}}{}}}", "[".repeat(9_000), "]".repeat(9_000));
    assert_eq!(found(&deep), [a]);
}

#[test]
fn refuses_what_is_not_one_whole_object() {
    let a = digest(1);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    for json in ["", "null", "[]", "\"x\"", "{", "{}x", "\u{feff}{}", &deep, &format!(r#"{{"digest":"{a}""#), "\0\0\0\0"] {
        assert!(references(json.as_bytes()).is_err(), "{:.40}", json);
    }
}

#[test]
fn foreign_layers_are_recognised() {
    let a = digest(1);
    for attribute in [
        r#""urls":["https://example.com/x"]"#,
        r#""mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#,
        r#""mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar""#,
    ] {
        let read = references(format!(r#"{{"layers":[{{{attribute},"digest":"{a}"}}]}}"#).as_bytes()).expect("readable");
        assert!(read.descriptors[0].foreign, "{attribute}");
    }
    let read = references(format!(r#"{{"layers":[{{"urls":[],"digest":"{a}"}}]}}"#).as_bytes()).expect("readable");
    assert!(!read.descriptors[0].foreign);
}

#[test]
fn ordinary_types_and_keys_follow_the_rules() {
    assert!(ORDINARY.iter().all(|text| !text.is_empty() && !is_manifest(text) && !is_foreign(text)));
    for (name, field) in Field::NAMES {
        assert!(Field::folded(name) == field && Field::of(name) == field, "{name}");
    }
    assert!(Field::of("blobSum") == Field::folded("blobSum") && Field::of("mediaType") == Field::folded("mediaType"));
}

/// The place of a digest decides whether the registry misses it. At any place, it is kept.
#[test]
fn what_the_registry_reads_is_expected() {
    let [a, b] = [1, 2].map(digest);
    let image = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    for (json, expected) in [
        (format!(r#"{{"config":{{"digest":"{a}"}},"layers":[{{"digest":"{b}"}}]}}"#), vec![a, b]),
        (format!(r#"{{"CONFIG":{{"Digest":"{a}"}},"layer\u017f":[{{"digest":"{b}"}}]}}"#), vec![a, b]),
        (format!(r#"{{"mediaType":"{index}","manifests":[{{"digest":"{a}"}}],"layers":[{{"digest":"{b}"}}]}}"#), vec![a]),
        (format!(r#"{{"manifests":[{{"digest":"{a}"}}],"layers":[{{"digest":"{b}"}}],"mediaType":"{image}"}}"#), vec![b]),
        (format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{a}"}},{{"digest":"{b}"}}]}}"#), vec![a]),
        (format!(r#"{{"layers":[{{"digest":"{a}"}}],"fsLayers":[{{"blobSum":"{b}"}}]}}"#), vec![a]),
        (format!(r#"{{"layers":[{{"blobSum":"{a}"}},{{"x":{{"digest":"{b}"}}}}]}}"#), vec![]),
        (format!(r#"{{"x":[{{"digest":"{a}"}}],"blobs":[{{"digest":"{b}"}}]}}"#), vec![]),
        (format!(r#"{{"x":{{"layers":[{{"digest":"{a}"}}],"config":{{"digest":"{b}"}}}}}}"#), vec![]),
        // The last of repeated keys counts.
        (format!(r#"{{"layers":[{{"digest":"{a}","digest":"{b}"}}]}}"#), vec![b]),
        (format!(r#"{{"layers":[{{"digest":"{a}"}}],"layers":[{{"digest":"{b}"}}]}}"#), vec![b]),
        (format!(r#"{{"config":{{"digest":"{a}"}},"config":null}}"#), vec![a]),
        (format!(r#"{{"config":{{"digest":"{a}"}},"config":{{}}}}"#), vec![a]),
        // An empty list hides what the same key named before, in any spelling of the key.
        (format!(r#"{{"layers":[{{"digest":"{a}"}}],"layers":[]}}"#), vec![]),
        (format!(r#"{{"layers":[{{"digest":"{a}"}}],"layers":null}}"#), vec![]),
        (format!(r#"{{"LAYERS":[{{"digest":"{a}"}}],"layers":[]}}"#), vec![]),
        (format!(r#"{{"manifests":[{{"digest":"{a}"}}],"manifests":[],"mediaType":"{index}"}}"#), vec![]),
        (format!(r#"{{"layers":[],"layers":[{{"digest":"{a}"}}]}}"#), vec![a]),
        (format!(r#"{{"layers":[],"fsLayers":[{{"blobSum":"{b}"}}]}}"#), vec![b]),
        // Go's decoder reuses elements: an element without a digest in a later list keeps the earlier digest.
        (format!(r#"{{"layers":[{{"digest":"{a}"}}],"layers":[{{}}]}}"#), vec![a]),
    ] {
        let read = references(json.as_bytes()).expect("readable");
        let found: Vec<_> = read.descriptors.iter().filter(|named| named.expected).map(|named| named.digest).collect();
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn subjects_without_end_are_counted_and_not_kept() {
    let subjects = |count: u32| {
        let list: Vec<String> = (0..count).map(|number| format!(r#""subject":{{"digest":"{}"}}"#, digest(number % 20))).collect();
        references(format!("{{{}}}", list.join(",")).as_bytes()).expect("readable")
    };
    let read = subjects(16);
    assert_eq!((read.subjects.len(), read.more_subjects), (16, false));
    let read = subjects(40_000);
    assert_eq!((read.subjects.len(), read.more_subjects), (16, true));
    let same = references(format!(r#"{{"subject":{{"digest":"{0}"}},"subject":{{"digest":"{0}"}}}}"#, digest(1)).as_bytes());
    assert_eq!(same.expect("readable").subjects, [digest(1)]);
}
