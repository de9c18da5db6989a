//! What whoever may push can make a run read, hold and report: each shape is one that a registry accepts and that can be pulled, or
//! one that other programs write. Under `--max-memory 200MiB`, with a limit for all of the process. `REGSWEEP_FLOOD=all` makes each as large
//! as it was seen to hurt: minutes, and some gigabytes of disk.

use serde_json::json;

use super::*;
use crate::support::image::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};

const LIMIT: [&str; 4] = ["--min-age", "0s", "--max-memory", "200MiB"];
/// A report that somebody reads.
const REPORT_BYTES: usize = 1 << 20;

/// How much of something there is.
fn sized(sample: u64, whole: u64) -> u64 {
    if std::env::var("REGSWEEP_FLOOD").is_ok_and(|wish| wish == "all") { whole } else { sample }
}

/// Runs a command on it within the bounds.
#[track_caller]
fn bounded(command: &str, root: &Path, code: i32) -> Outcome {
    bounded_by(MEMORY_BYTES, REPORT_BYTES, command, root, code)
}

/// The same for what may be told of many thousands of things.
#[track_caller]
fn bounded_but_long(command: &str, root: &Path, code: i32) -> Outcome {
    bounded_by(250 << 20, 8 * REPORT_BYTES, command, root, code)
}

#[track_caller]
fn bounded_by(memory_bytes: u64, report_bytes: usize, command: &str, root: &Path, code: i32) -> Outcome {
    // Neither `list` nor `verify` judges ages as the others do.
    let limit = if ["list", "verify"].contains(&command) { &LIMIT[2..] } else { &LIMIT[..] };
    let mut run = Regsweep::new().arg(command).arg("--root").arg(root).json().args(limit);
    if command == "garbage-collect" {
        run = run.args(["-m", "--dry-run"]);
    }
    let ran = within(run, memory_bytes).expect_code(code);
    assert!(ran.stdout.len() < report_bytes, "{command} reports {} bytes", ran.stdout.len());
    ran
}

/// A manifest that can be pulled, tagged in a repository of its own.
fn push_json(tree: &mut Tree, repository: &str, json: &str) -> Content {
    let manifest = Content::new(json);
    let config = Content::new("{}");
    tree.layer(repository, &config).blob(&manifest).revision(repository, &manifest.digest);
    tree.tag(repository, "t", &manifest.digest);
    manifest
}

fn image_with(extra: &str) -> String {
    let config = Content::new("{}").descriptor(OCI_CONFIG);
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[],{extra}}}"#)
}

/// The bytes that a process has read so far, at its end.
fn bytes_read(run: Regsweep) -> (Outcome, u64) {
    let running = run.start();
    let path = format!("/proc/{}/io", running.child.id());
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        let mut most = 0;
        while end.recv_timeout(Duration::from_micros(200)) == Err(RecvTimeoutError::Timeout) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
            most = most.max(line.and_then(|count| count.parse().ok()).unwrap_or(0));
        }
        most
    });
    let outcome = running.wait();
    drop(ended);
    (outcome, watch.join().expect("watching does not panic"))
}

/// BuildKit's cache indexes list layers as manifests; and a key that the registry does not read lets anybody call a layer one.
#[test]
fn layers_where_manifests_stand_are_not_read() {
    let layers: Vec<Content> = (0..40).map(|number| Content::new(format!("large {number}"))).collect();
    for (name, code, media_type, key) in [("cache", 0, OCI_LAYER, "manifests"), ("hostile", 1, OCI_MANIFEST, "x")] {
        for megabytes in [12_u64, 64] {
            let mut tree = victim();
            let listed: Vec<_> = layers.iter().map(|layer| json!({"mediaType": media_type, "digest": layer.digest})).collect();
            let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, key: listed}).to_string();
            for layer in &layers {
                tree.layer("abused", layer);
            }
            let manifest = Content::new(manifest);
            tree.blob(&manifest).revision("abused", &manifest.digest).tag("abused", "cache", &manifest.digest);
            let root = tree.on_disk();
            for layer in &layers {
                let data = fs::File::options().write(true).open(root.path().join(blob_data(&layer.digest))).expect("there");
                data.set_len(megabytes << 20).expect("sparse");
            }
            let run = Regsweep::gc(root.path()).dry().json().args(LIMIT);
            let (ran, read) = bytes_read(run);
            let ran = ran.expect_code(code);
            assert!(read < 4 << 20, "{name}: {} MiB read", read >> 20);
            // What is named as a manifest and is none holds its repository as ever.
            assert_eq!(ran.finding_codes().contains(&"held-repository".into()), code == 1, "{name}");
            let (_, read) = bytes_read(Regsweep::audit(root.path()).args(LIMIT));
            assert!(read < 4 << 20, "{name}: audit reads {} MiB", read >> 20);
        }
    }
}

/// A revision whose blob is no JSON object still holds its repository, small or large.
#[test]
fn a_revision_that_is_no_object_holds() {
    for bytes in [vec![b'x'; 300], vec![b'x'; 300_000], [b" \n".repeat(50_000), b"[]".to_vec()].concat()] {
        let root = with_manifest(&bytes).on_disk();
        let ran = survive(root.path(), &["--min-age", "0s"], &[1]);
        assert!(ran.finding_codes().contains(&"unreadable-manifest".into()), "{:?}", ran.finding_codes());
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(21).digest));
    }
    // An object behind blanks is one.
    let manifest = [b" ".repeat(100_000), format!(r#"{{"layers":[{{"digest":"{}"}}]}}"#, layer(30).digest).into_bytes()].concat();
    let mut tree = with_manifest(&manifest);
    tree.layer("abused", &layer(30));
    let root = tree.on_disk();
    survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(30).digest));
}

#[test]
fn subjects_without_end() {
    let mut tree = victim();
    let repeated = |number: u64| {
        let subjects: Vec<String> =
            (0..42_000).map(|count| format!(r#""subject":{{"digest":"sha256:{:064x}"}}"#, number << 32 | count)).collect();
        image_with(&subjects.join(","))
    };
    let count = sized(10, 250);
    for number in 0..count {
        let manifest = Content::new(repeated(number));
        tree.layer("abused", &Content::new("{}")).blob(&manifest).revision("abused", &manifest.digest);
    }
    let root = tree.on_disk();
    for command in ["garbage-collect", "audit", "usage", "list", "verify"] {
        // Each of them would take 12 MiB.
        let ran = bounded_by(112 << 20, REPORT_BYTES, command, root.path(), 0);
        if ["garbage-collect", "audit"].contains(&command) {
            // Which of the subjects counts is not known: all of them are kept, with a note.
            let noted = ran.findings().into_iter().filter(|finding| finding.code == "many-subjects");
            assert_eq!(noted.map(|finding| finding.count).sum::<u64>(), count, "{command}");
        }
    }
}

/// A thousand absent blobs in each of many repositories, named where the registry does not look.
#[test]
fn absent_blobs_under_keys_that_the_registry_does_not_read() {
    let mut tree = victim();
    for number in 0..sized(300, 1_000) {
        let list: Vec<_> = (0..1000).map(|count| format!(r#"{{"digest":"sha256:{:064x}"}}"#, number << 32 | count)).collect();
        push_json(&mut tree, &format!("r{number}"), &image_with(&format!(r#""x":[{}]"#, list.join(","))));
    }
    let root = tree.on_disk();
    for command in ["garbage-collect", "audit", "usage", "list", "verify"] {
        let ran = bounded(command, root.path(), 0);
        assert!(!ran.finding_codes().contains(&"missing-blob".into()), "{command}");
    }
}

/// The same where the registry reads them: an error or a warning each, in repositories without number.
#[test]
fn absent_children_and_layers_in_many_repositories() {
    let list = |first: u64| {
        let list: Vec<_> = (0..1000).map(|count| format!(r#"{{"digest":"sha256:{:064x}"}}"#, first | count)).collect();
        list.join(",")
    };
    // All the same ones, or others in each.
    for shift in [64, 32] {
        let mut tree = victim();
        let repositories = sized(100, 500);
        for number in 0..repositories {
            let list = list(number.checked_shl(shift).unwrap_or_default());
            let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{list}]}}"#);
            push_json(&mut tree, &format!("i{number}"), &index);
            push_json(&mut tree, &format!("l{number}"), &image_with(&format!(r#""layers":[{list}]"#)));
        }
        let root = tree.on_disk();
        for command in ["garbage-collect", "audit"] {
            let ran = bounded_but_long(command, root.path(), 1);
            let missing = ran.findings().into_iter().filter(|finding| finding.code.starts_with("missing-"));
            let about: u64 = missing.map(|finding| finding.count).sum();
            // Each blob once; what is beyond the limits in each repository or, by an audit of others in each, under either name.
            let expected = match (command, shift) {
                ("audit", 64) => 1_000..=1_000,
                _ => repositories * 1_000..=repositories * 2_000,
            };
            assert!(expected.contains(&about), "{command} {shift}: {about}");
        }
    }
}

/// Layers that are stored and that the repository has no links for, as where `_layers` is lost or a registry checks nothing; and ones of other
/// sizes than many manifests state. Each manifest is read a few times, not once for each of its layers.
#[test]
fn thousands_of_layers_without_links_or_of_other_sizes() {
    let count = sized(4_000, 20_000);
    let layers: Vec<Content> = (0..count).map(|number| Content::new(format!("layer {number}"))).collect();
    let list = |size: u64| {
        let list = layers.iter().map(|layer| format!(r#"{{"digest":"{}","size":{size}}}"#, layer.digest));
        image_with(&format!(r#""layers":[{}]"#, list.collect::<Vec<_>>().join(",")))
    };
    let mut tree = victim();
    for layer in &layers {
        tree.blob(layer);
        tree.layer("other-sizes", layer);
    }
    push_json(&mut tree, "without-links", &list(10));
    for size in 100..120 {
        push_json(&mut tree, "other-sizes", &list(size));
    }
    let root = tree.on_disk();
    bounded("garbage-collect", root.path(), 0);
    let ran = bounded_but_long("audit", root.path(), 1);
    for code in ["missing-layer-link", "size-mismatch"] {
        let findings = ran.findings().into_iter().filter(|finding| finding.code == code);
        assert_eq!(findings.map(|finding| finding.count).sum::<u64>(), count, "{code}");
    }
}

/// The same of one manifest that calls them manifests, in many repositories.
#[test]
fn layers_called_manifests_in_many_repositories() {
    let (count, repositories) = (sized(2_000, 20_000), sized(20, 200));
    let layers: Vec<Content> = (0..count).map(|number| Content::new(format!("layer {number}"))).collect();
    let list = layers.iter().map(|layer| format!(r#"{{"digest":"{}","mediaType":"{OCI_MANIFEST}","size":9}}"#, layer.digest));
    let list = list.collect::<Vec<_>>().join(",");
    let mut tree = victim();
    for layer in &layers {
        tree.blob(layer);
    }
    for number in 0..repositories {
        push_json(&mut tree, &format!("r{number}"), &image_with(&format!(r#""layers":[{list}]"#)));
    }
    let root = tree.on_disk();
    let ran = bounded_but_long("garbage-collect", root.path(), 1);
    let unreadable = ran.findings().into_iter().filter(|finding| finding.code == "unreadable-manifest");
    assert_eq!(unreadable.map(|finding| finding.count).sum::<u64>(), repositories * count);
    bounded_but_long("audit", root.path(), 1);
}

/// One repository with layer links without number, some of whose blobs are stored.
#[test]
fn layer_links_without_number_in_one_repository() {
    let mut tree = victim();
    let count = sized(60_000, 400_002);
    for number in 0..count {
        let layer = Content::new(format!("layer {number}"));
        tree.layer_link("abused", &layer.digest);
        if number % 6 == 0 {
            tree.blob(&layer);
        }
    }
    let root = tree.on_disk();
    // What every run takes, and a few hundred bytes for each link.
    let most = (76 << 20) + 350 * count;
    // That no manifest needs any of these stops a real run.
    bounded_by(most, REPORT_BYTES, "garbage-collect", root.path(), 2);
    let ran = bounded_by(most, REPORT_BYTES, "audit", root.path(), 0);
    let broken = ran.findings().into_iter().filter(|finding| finding.code == "broken-layer-link");
    assert_eq!(broken.map(|finding| finding.count).sum::<u64>(), count / 6 * 5);
}

/// What the registry takes from a later key hides what the same key named before.
#[test]
fn what_a_later_key_hides_is_not_missed() {
    let absent = format!(r#"[{{"digest":"{}"}}]"#, layer(77).digest);
    let mut tree = victim();
    push_json(&mut tree, "hidden", &image_with(&format!(r#""layers":{absent},"layers":[]"#)));
    push_json(&mut tree, "folded", &image_with(&format!(r#""LAYERS":{absent},"layers":[]"#)));
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":{absent},"manifests":[]}}"#);
    push_json(&mut tree, "index", &index);
    let root = tree.on_disk();
    for command in ["garbage-collect", "audit", "verify"] {
        bounded(command, root.path(), 0);
    }
}

/// Each place in a manifest, the media type, and whether it is an error that what stands there is absent.
#[test]
fn what_the_registry_reads_is_missed() {
    let absent = format!(r#"{{"digest":"{}"}}"#, layer(77).digest);
    let index = |extra: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],{extra}}}"#);
    for (json, code) in [
        (image_with(&format!(r#""layers":[{absent}]"#)), Some("missing-blob")),
        (image_with(&format!(r#""LAYERS":[{absent}]"#)), Some("missing-blob")),
        (image_with(&format!(r#""config":{absent}"#)), Some("missing-blob")),
        (index(&format!(r#""manifests":[{absent}]"#)), Some("missing-child")),
        (format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{}"}}]}}"#, layer(77).digest), Some("missing-blob")),
        (image_with(&format!(r#""x":[{absent}]"#)), None),
        (image_with(&format!(r#""x":{{"layers":[{absent}]}}"#)), None),
        (image_with(&format!(r#""manifests":[{absent}]"#)), None),
        (image_with(&format!(r#""blobs":[{absent}]"#)), None),
        (index(&format!(r#""layers":[{absent}]"#)), None),
        (image_with(&format!(r#""x":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}"}}]"#, layer(77).digest)), None),
    ] {
        let mut tree = victim();
        push_json(&mut tree, "r", &json);
        let root = tree.on_disk();
        for command in ["garbage-collect", "audit"] {
            let ran = bounded(command, root.path(), i32::from(code.is_some()));
            let codes = ran.finding_codes();
            let missing: Vec<_> = codes.iter().filter(|code| code.starts_with("missing")).map(String::as_str).collect();
            assert_eq!(missing, code.into_iter().collect::<Vec<_>>(), "{command}: {json:.300}");
        }
    }
}

/// What a key that nobody reads says of another's layer is no damage: neither its size nor that it is not linked.
#[test]
fn what_is_said_of_others_is_no_damage() {
    let mut tree = victim();
    let stored = &healthy().children[0];
    let other = format!(r#"{{"digest":"{}","size":1}}"#, layer(10).digest);
    let child = format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":1}}"#, stored.digest());
    push_json(&mut tree, "r", &image_with(&format!(r#""x":[{other},{child}]"#)));
    let root = tree.on_disk();
    for command in ["garbage-collect", "audit", "verify"] {
        bounded(command, root.path(), 0);
    }
}

/// A graph of manifests that many repositories lead to without having one of them.
#[test]
fn a_graph_that_many_repositories_name() {
    let mut tree = victim();
    let leaves: Vec<Content> =
        (0..sized(17_000, 80_000)).map(|number| Content::new(image_with(&format!(r#""n":{number}"#)))).collect();
    let mut indexes = Vec::new();
    for some in leaves.chunks(1_000) {
        let list: Vec<_> =
            some.iter().map(|leaf| format!(r#"{{"digest":"{}","mediaType":"{OCI_MANIFEST}"}}"#, leaf.digest)).collect();
        indexes.push(Content::new(format!(r#"{{"manifests":[{}]}}"#, list.join(","))));
    }
    for content in leaves.iter().chain(&indexes) {
        tree.blob(content).revision("owner", &content.digest);
    }
    tree.layer("owner", &Content::new("{}"));
    let list: Vec<_> =
        indexes.iter().map(|index| format!(r#"{{"digest":"{}","mediaType":"{OCI_INDEX}"}}"#, index.digest)).collect();
    let repositories = sized(6, 20);
    for number in 0..repositories {
        push_json(&mut tree, &format!("r{number}"), &image_with(&format!(r#""x":[{}]"#, list.join(","))));
    }
    let root = tree.on_disk();
    let ran = bounded("garbage-collect", root.path(), 1);
    let held: Vec<_> = ran.findings().into_iter().filter(|finding| finding.code == "overfull-repository").collect();
    // Its owner has a revision for each.
    assert_eq!(
        held.iter().filter_map(|finding| finding.repository.as_deref()).filter(|name| *name != "owner").count() as u64,
        repositories
    );
    assert_eq!(held.len() as u64, repositories);
    bounded("audit", root.path(), 1);
}

/// Small manifests that are named, with a wrong size, by two indexes, and those by many repositories: each of them leads to all.
#[test]
fn small_manifests_that_many_repositories_lead_to() {
    let mut tree = victim();
    let empty =
        |number: u64| Content::new(format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"n":{number}}}"#));
    let leaves: Vec<Content> = (0..sized(20_000, 60_000)).map(empty).collect();
    let mut indexes = Vec::new();
    for some in leaves.chunks(leaves.len() / 2) {
        let listed = |leaf: &Content| format!(r#"{{"digest":"{}","mediaType":"{OCI_INDEX}","size":10}}"#, leaf.digest);
        let list: Vec<String> = some.iter().map(listed).collect();
        indexes.push(Content::new(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list.join(","))));
    }
    for content in leaves.iter().chain(&indexes) {
        tree.blob(content).revision("owner", &content.digest);
    }
    let repositories = sized(8, 20);
    for (number, index) in (0..repositories).flat_map(|number| indexes.iter().map(move |index| (number, index))) {
        let repository = format!("r{number}");
        tree.revision(&repository, &index.digest).tag(&repository, &index.digest[7..20], &index.digest);
    }
    let root = tree.on_disk();
    // It took 187 MiB of the sample, and 604 MiB of the whole.
    let most = sized(128, 200) << 20;
    for command in ["garbage-collect", "usage"] {
        bounded_by(most, 8 * REPORT_BYTES, command, root.path(), 1);
    }
    let ran = bounded_by(most, 8 * REPORT_BYTES, "audit", root.path(), 1);
    let told =
        |code: &str| ran.findings().into_iter().filter(|finding| finding.code == code).map(|finding| finding.count).sum::<u64>();
    assert_eq!(told("size-mismatch"), leaves.len() as u64);
    assert_eq!(told("lost-child"), repositories * leaves.len() as u64);
}

/// An administrator's link to somewhere else: told once, and nothing of what is there.
#[test]
fn what_lies_outside_is_not_listed() {
    let outside = tempfile::tempdir().expect("a directory");
    for directory in ["private", "private/deep"] {
        fs::create_dir(outside.path().join(directory)).expect("made");
        for number in 0..2_000 {
            fs::write(outside.path().join(directory).join(format!("secret{number}")), "").expect("written");
        }
    }
    symlink("deep", outside.path().join("private/loop")).expect("linked");
    let elsewhere = tempfile::tempdir().expect("a directory");
    symlink("nowhere", elsewhere.path().join(".dangling")).expect("linked");
    fs::write(elsewhere.path().join("hosts"), "").expect("written");
    let root = victim().on_disk();
    symlink(elsewhere.path(), root.path().join(layout::BASE).join("repositories/etc")).expect("linked");
    for command in ["garbage-collect", "audit"] {
        let ran = bounded(command, root.path(), 1);
        assert!(!ran.stdout.contains("dangling"), "{command}: {:.500}", ran.stdout);
    }
    // Beside a repository it may be one that is lost.
    fs::create_dir_all(elsewhere.path().join("image/_layers")).expect("made");
    let refused = Regsweep::gc(root.path()).dry().run().expect_code(2);
    assert!(refused.stderr.contains("dangling") && refused.stderr.contains("leads nowhere"), "{}", refused.stderr);
    // A repository there is read: what it links can be pulled.
    let mut there = Tree::new();
    there.push("there", &oci_image("there", &[layer(60)]));
    let moved = tempfile::tempdir().expect("a directory");
    there.write_to(moved.path());
    fs::rename(moved.path().join(repository("there")), outside.path().join("image")).expect("moved");
    for place in ["link".to_owned(), "abused/link".into(), "abused/_manifests/tags/v2".into(), "abused/_layers/sha512".into()] {
        let mut tree = victim();
        tree.blob(&layer(60)).blob(&oci_image("there", &[]).blobs[0]).blob(&oci_image("there", &[layer(60)]).manifest);
        let root = tree.on_disk();
        symlink(outside.path(), root.path().join(layout::BASE).join("repositories").join(&place)).expect("linked");
        for command in ["garbage-collect", "audit"] {
            let ran = bounded(command, root.path(), 1);
            assert!(!ran.stdout.contains("secret"), "{command} {place}: {:.500}", ran.stdout);
            let strays =
                ran.findings().into_iter().filter(|finding| finding.code == "behind-symlink" && finding.repository.is_none());
            assert!(strays.filter(|finding| finding.path.as_ref().is_some_and(|path| path.ends_with("link"))).count() <= 1);
        }
        survive(root.path(), &["--min-age", "0s"], &[1]);
        let left = snapshot::blobs_on_disk(root.path());
        assert_eq!(left.contains_key(&layer(60).digest), place.ends_with("link"), "{place}");
    }
}

/// Of many absent digests most are forgotten. One that the repository knows as another name of a stored layer keeps that all the same.
#[test]
fn an_alias_among_many_absent_digests_keeps_its_layer() {
    let aliased = layer(50);
    for count in [10, 64, 65, 3_000] {
        for key in ["x", "layers"] {
            let mut digests: Vec<String> = (0..count).map(|number| format!("sha512:{number:0128x}")).collect();
            digests.push(aliased.sha512());
            let list: Vec<_> = digests.iter().map(|digest| format!(r#"{{"digest":"{digest}"}}"#)).collect();
            let mut tree = with_manifest(format!(r#"{{"{key}":[{}]}}"#, list.join(",")).as_bytes());
            tree.layer_by_sha512("abused", &aliased);
            let root = tree.on_disk();
            survive(root.path(), &["--min-age", "0s", "-m"], &[0, 1]);
            assert!(snapshot::blobs_on_disk(root.path()).contains_key(&aliased.digest), "{count} {key}");
            assert!(root.path().join(layer_link("abused", &aliased.sha512())).exists(), "{count} {key}");
        }
    }
}
