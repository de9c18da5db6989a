//! Manifests beside those in the parent module: what else a client can have pushed, and what a disk makes of it.

use super::*;
use crate::support::image::{OCI_CONFIG, OCI_MANIFEST};

/// A store whose repository `abused` has a manifest of these bytes tagged, and the layers 21 and 30 linked, which nothing else needs.
fn with_layer(manifest: &[u8]) -> Tree {
    let mut tree = with_manifest(manifest);
    tree.layer("abused", &layer(30));
    tree
}

/// What of the two layers is left.
#[derive(Debug, PartialEq)]
enum Kept {
    Nothing,
    Layer30,
    /// The repository is held.
    Both,
}

#[track_caller]
fn kept(tree: &Tree) -> Kept {
    let root = tree.on_disk();
    survive(root.path(), &["--min-age", "0s", "-m"], &[0, 1]);
    let left = snapshot::blobs_on_disk(root.path());
    match [21, 30].map(|number| left.contains_key(&layer(number).digest)) {
        [false, false] => Kept::Nothing,
        [false, true] => Kept::Layer30,
        [true, true] => Kept::Both,
        [true, false] => panic!("what no manifest names outlives what one names"),
    }
}

#[test]
fn what_the_registry_reads_in_a_manifest_is_kept() {
    let digest = layer(30).digest;
    let layers = |count: usize| format!(r#"{{"digest":"{digest}"}},"#).repeat(count);
    let padded = |bytes: usize| format!(r#"{{"pad":"{}","layers":[{{"digest":"{digest}"}}]}}"#, "x".repeat(bytes));
    for (name, manifest) in [
        ("no media type", format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}"}}]}}"#)),
        ("unknown media type", format!(r#"{{"mediaType":"application/x-nobody","parts":{{"a":{{"digest":"{digest}"}}}}}}"#)),
        ("media type that is no text", format!(r#"{{"mediaType":[{{}}],"config":{{"mediaType":7,"digest":"{digest}"}}}}"#)),
        ("schema 1", format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{digest}"}}],"history":[{{}}]}}"#)),
        ("artifact", format!(r#"{{"blobs":[{{"digest":"{digest}"}}],"subject":{{"digest":"{digest}"}}}}"#)),
        ("20,000 layers", format!(r#"{{"layers":[{}{{}}]}}"#, layers(20_000))),
        ("3.9 MiB", padded(39 << 20 >> 3)),
        ("5 MiB", padded(5 << 20)),
        ("nested 9,990 times", format!(r#"{{"x":{}{{"digest":"{digest}"}}{}}}"#, "[".repeat(9_990), "]".repeat(9_990))),
        ("nested objects", format!(r#"{}{{"digest":"{digest}"}}{}"#, r#"{"digest":"#.repeat(9_990), "}".repeat(9_990))),
        ("null before and after", format!(r#"{{"layers":null,"layers":[{{"digest":"{digest}"}}],"layers":null}}"#)),
        ("a key that the JSON library keeps for itself", {
            format!(r#"{{"layers":[{{"$serde_json::private::Number":{{"digest":"{digest}"}},"size":{{"digest":"7"}}}}]}}"#)
        }),
    ] {
        assert_eq!(kept(&with_layer(manifest.as_bytes())), Kept::Layer30, "{name}");
    }
    // Go takes half a character for U+FFFD. That it holds the repository is more than need be, and loses nothing.
    let half = format!(r#"{{"x":"\ud800","layers":[{{"digest":"{digest}"}}]}}"#);
    assert_ne!(kept(&with_layer(half.as_bytes())), Kept::Nothing);
}

#[test]
fn what_is_no_reference_keeps_nothing() {
    let digest = layer(30).digest;
    let config = Content::new(format!(r#"{{"digest":"{digest}","layers":[{{"digest":"{digest}"}}]}}"#));
    let with_config = Image::from_json(
        OCI_MANIFEST,
        serde_json::json!({"schemaVersion": 2, "config": config.descriptor(OCI_CONFIG), "layers": []}),
        vec![config],
        Vec::new(),
    );
    let mut tree = victim();
    tree.layer("abused", &layer(30)).push("abused", &with_config).tag("abused", "odd", with_config.digest());
    assert_eq!(kept(&tree), Kept::Nothing, "in the bytes of a configuration");
    for (name, manifest) in [
        ("upper-case", format!(r#"{{"layers":[{{"digest":"sha256:{}"}}]}}"#, digest[7..].to_uppercase())),
        ("subject", format!(r#"{{"subject":{{"digest":"{digest}"}}}}"#)),
        ("under another key", format!(r#"{{"layers":[{{"digests":["{digest}"],"di\u0000gest":"{digest}"}}]}}"#)),
        ("as a key", format!(r#"{{"{digest}":{{}}}}"#)),
    ] {
        assert_eq!(kept(&with_layer(manifest.as_bytes())), Kept::Nothing, "{name}");
    }
}

#[test]
fn damaged_manifests_keep_what_they_named() {
    let digest = layer(30).digest;
    let whole = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#).into_bytes();
    let flipped = [&whole[..20], &[whole[20] ^ 1], &whole[21..]].concat();
    for (name, damaged) in [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("zeros", vec![0; whole.len()]),
        ("one bit", flipped),
        ("longer", [&whole[..], b"\n"].concat()),
        ("another manifest", b"{}".to_vec()),
    ] {
        let mut tree = with_layer(&whole);
        tree.file(blob_data(&Content::new(whole.clone()).digest), damaged);
        let root = tree.on_disk();
        let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(&digest), "{name}");
        assert!(ran.finding_codes().contains(&"corrupt-manifest".into()), "{name}: {:?}", ran.finding_codes());
    }
}

/// What one repository says must not hold another: whoever may push to one of them chooses what is in it.
#[test]
fn a_manifest_holds_no_repository_but_its_own() {
    let mut tree = with_manifest(b"{");
    let unused = layer(40);
    tree.layer("healthy", &unused);
    let root = tree.on_disk();
    let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
    assert!(!snapshot::blobs_on_disk(root.path()).contains_key(&unused.digest));
    let held: Vec<Option<String>> = ran
        .findings()
        .into_iter()
        .filter(|finding| finding.code == "held-repository")
        .map(|finding| finding.repository)
        .collect();
    assert_eq!(held, [Some("abused".to_owned())]);
}

/// The registry follows the link and serves it, so it can be pulled, and what it refers to may be kept. Here nobody looks behind it.
#[test]
fn an_untagged_manifest_behind_a_symbolic_link_holds_its_repository() {
    let signature = oci_image("signature", &[layer(50)]).referring_to(&abused());
    let mut tree = victim();
    tree.push("abused", &signature).remove(&blob_data(signature.digest()));
    let outside = tempfile::tempdir().expect("a directory");
    let moved = outside.path().join("moved");
    fs::write(&moved, &signature.manifest.bytes).expect("written");
    tree.symlink(blob_data(signature.digest()), moved.to_str().expect("a plain name"));
    let root = tree.on_disk();
    let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
    assert!(root.path().join(revision_link("abused", signature.digest())).exists());
    let left = snapshot::blobs_on_disk(root.path());
    assert!(signature.blobs.iter().chain([&layer(21)]).all(|blob| left.contains_key(&blob.digest)));
    assert!(["held-repository", "irregular-data"].iter().all(|code| ran.finding_codes().contains(&(*code).into())));
}
