//! `verify` on storage that was damaged on purpose, in every way that it names: each damage is told once, and nothing else is.

mod disk;
mod faults;
mod heal;
mod in_progress;
mod options;
mod state;
mod wrong_disk;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::layout::{blob_data, parent};
use crate::support::*;

fn verify(root: &Path) -> Regsweep {
    Regsweep::new().arg("verify").arg("--root").arg(root)
}

/// What a run found: code and digest, sorted.
#[track_caller]
fn found(outcome: &Outcome) -> Vec<(String, String)> {
    let mut found: Vec<_> =
        outcome.findings().into_iter().map(|finding| (finding.code, finding.digest.expect("it is about a blob"))).collect();
    found.sort();
    found
}

#[track_caller]
fn number(outcome: &Outcome, pointer: &str) -> u64 {
    let report = outcome.report();
    let value = report.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {report}"));
    value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value}"))
}

/// A layer of so many bytes; equal numbers are equal layers.
fn layer_of(number: u64, length: usize) -> Content {
    let mut state = number;
    let bytes = (0..length).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    Content::new(bytes.collect::<Vec<u8>>())
}

/// Larger than one read, and than what is read of a small file at once.
const LARGE: usize = (5 << 20) + 77;

/// Multi-arch, signed, one blob under sha512, a layer that nothing needs, a large one, an empty one.
fn tree() -> Tree {
    let [one, two] = ["one", "two"].map(|name| oci_image(name, &[layer(1), layer_of(1, 300_000)]));
    let both = index(&[one.clone(), two]);
    let signature = oci_image("signature", &[layer(9)]).referring_to(&one);
    registry()
        .stray_blob(&layer(900))
        .repo("team/app")
        .pushed(&both)
        .tag("latest")
        .pushed(&signature)
        .repo("team/large")
        .image("large", &[layer_of(2, LARGE), layer(3), Content::new("")])
        .tag("v1")
        .repo("other")
        .pushed(&docker_image("docker", &[layer(1), layer(4)]).with_sha512_descriptors())
        .tag("v1")
        .with(|tree| {
            let content = layer(5);
            tree.file(blob_data(&content.sha512()), content.bytes);
        })
        .into_tree()
}

/// What may happen to a blob's file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Emptied,
    Shortened,
    Lengthened,
    FirstByte,
    LastByte,
    Removed,
    RemovedWithDirectory,
    Renamed,
    Symlink,
    Directory,
    Fifo,
}

impl Damage {
    fn happen(self, data: &Path) {
        let file = || fs::File::options().read(true).write(true).open(data).expect("there");
        let length = || file().metadata().expect("there").len();
        let flip = |place: u64| {
            let mut byte = [0];
            file().read_exact_at(&mut byte, place).expect("readable");
            file().write_all_at(&[byte[0] ^ 1], place).expect("writable");
        };
        let remove = || fs::remove_file(data).expect("removable");
        match self {
            Damage::Emptied => file().set_len(0).expect("cut"),
            Damage::Shortened => file().set_len(length() - 1).expect("cut"),
            Damage::Lengthened => file().write_all_at(b"x", length()).expect("written"),
            Damage::FirstByte => flip(0),
            Damage::LastByte => flip(length() - 1),
            Damage::Removed => remove(),
            Damage::RemovedWithDirectory => fs::remove_dir_all(data.parent().expect("in a directory")).expect("removable"),
            Damage::Renamed => fs::rename(data, data.with_file_name("data.bak")).expect("renamed"),
            Damage::Symlink => {
                let aside = data.with_file_name("aside");
                fs::rename(data, &aside).expect("renamed");
                symlink(&aside, data).expect("linked");
            }
            Damage::Directory => {
                remove();
                fs::create_dir(data).expect("made");
            }
            Damage::Fifo => {
                remove();
                assert!(Command::new("mkfifo").arg(data).status().expect("it runs").success());
            }
        }
    }
}

/// Every damage with what it is called, on a blob of which a descriptor states the size.
const NAMES: [(Damage, &str); 11] = [
    (Damage::Emptied, "empty-blob"),
    (Damage::Shortened, "truncated-blob"),
    (Damage::Lengthened, "overlong-blob"),
    (Damage::FirstByte, "corrupt-blob"),
    (Damage::LastByte, "corrupt-blob"),
    (Damage::Removed, "missing-blob"),
    (Damage::RemovedWithDirectory, "missing-blob"),
    (Damage::Renamed, "missing-blob"),
    (Damage::Symlink, "irregular-data"),
    (Damage::Directory, "irregular-data"),
    (Damage::Fifo, "irregular-data"),
];

fn data(root: &Path, digest: &str) -> PathBuf {
    root.join(blob_data(digest))
}

#[test]
fn a_healthy_store_gives_no_finding_and_stays_as_it_is() {
    let tree = tree();
    let root = tree.on_disk();
    let before = snapshot(root.path());
    let clean = verify(root.path()).json().run().expect_code(0);
    assert_eq!(found(&clean), []);
    assert_eq!(number(&clean, "/good/blobs"), tree.blobs().len() as u64);
    let bytes: usize = tree.blobs().iter().map(|digest| tree.bytes(&blob_data(digest)).expect("a file").len()).sum();
    assert_eq!(number(&clean, "/good/bytes"), bytes as u64);
    assert!(before == snapshot(root.path()));
    let text = verify(root.path()).run().expect_code(0).stdout;
    assert!(text.starts_with("regsweep verify: done, nothing wrong\n"), "{text}");
}

#[test]
fn every_damage_is_told_once_and_by_its_name() {
    for (damage, code) in NAMES {
        for digest in [layer(1).digest, layer_of(2, LARGE).digest] {
            let root = tree().on_disk();
            damage.happen(&data(root.path(), &digest));
            let ran = verify(root.path()).json().run().expect_code(1);
            assert_eq!(found(&ran), [(code.to_owned(), digest.clone())], "{damage:?}");
            assert_eq!(number(&ran, "/good/blobs"), tree().blobs().len() as u64 - 1);
        }
    }
}

/// All damages in one store, on manifests, configs, layers, what nothing needs, and what is stored under sha512.
#[test]
fn damages_of_all_kinds_are_told_apart_in_one_store() {
    let unneeded: Vec<Content> = (100..120).map(layer).collect();
    let needed: Vec<Content> = (200..211).map(layer).collect();
    let mut registry = registry().repo("a").image("a", &needed).tag("v1");
    for content in &unneeded {
        registry = registry.stray_blob(content);
    }
    let names = ["emptied", "lengthened", "flipped", "removed", "irregular"];
    let images = names.map(|name| oci_image(name, &[layer(1)]));
    for (name, image) in names.iter().zip(&images) {
        registry = registry.repo("b").pushed(image).tag(name);
    }
    let alias = layer(6);
    let mut tree = registry.into_tree();
    tree.file(blob_data(&alias.sha512()), alias.bytes.clone());
    let root = tree.on_disk();
    let mut expected: Vec<(String, String)> = Vec::new();
    let mut happen = |damage: Damage, digest: &str, code: &str| {
        damage.happen(&data(root.path(), digest));
        if !code.is_empty() {
            expected.push((code.to_owned(), digest.to_owned()));
        }
    };
    for ((damage, code), content) in NAMES.iter().zip(&needed) {
        happen(*damage, &content.digest, code);
    }
    // Nothing states how large these should be, and nothing misses them.
    for ((damage, _), content) in NAMES.iter().zip(&unneeded) {
        let code = match damage {
            Damage::Emptied => "empty-blob",
            Damage::Shortened | Damage::Lengthened | Damage::FirstByte | Damage::LastByte => "corrupt-blob",
            Damage::Removed | Damage::RemovedWithDirectory => "",
            Damage::Renamed => "missing-data",
            Damage::Symlink | Damage::Directory | Damage::Fifo => "irregular-data",
        };
        happen(*damage, &content.digest, code);
    }
    let manifests = [
        (Damage::Emptied, "empty-blob"),
        (Damage::Lengthened, "corrupt-blob"),
        (Damage::FirstByte, "corrupt-blob"),
        (Damage::Removed, "missing-tag-target"),
        (Damage::Fifo, "irregular-data"),
    ];
    for ((damage, code), image) in manifests.into_iter().zip(&images) {
        happen(damage, image.digest(), code);
    }
    happen(Damage::LastByte, &alias.sha512(), "corrupt-blob");
    expected.sort();
    let ran = verify(root.path()).json().run().expect_code(1);
    assert_eq!(found(&ran), expected);
    let read: BTreeMap<&str, usize> = expected.iter().fold(BTreeMap::new(), |mut read, (code, _)| {
        *read.entry(code.as_str()).or_default() += 1;
        read
    });
    let damaged =
        ["empty-blob", "truncated-blob", "overlong-blob", "corrupt-blob", "irregular-data"].map(|code| read[code] as u64);
    assert_eq!(number(&ran, "/damaged/blobs"), damaged.iter().sum::<u64>());
}

#[test]
fn details_say_how_many_bytes_of_how_many() {
    for (damage, words) in [
        (Damage::Emptied, "Empty: 0 of 8 bytes"),
        (Damage::Shortened, "Cut short: 7 of 8 bytes"),
        (Damage::Lengthened, "Too long: 9 bytes, 1 more than stated"),
        (Damage::FirstByte, "The size stated, 8 bytes, and other content"),
    ] {
        let root = tree().on_disk();
        damage.happen(&data(root.path(), &layer(3).digest));
        let text = verify(root.path()).run().expect_code(1).stdout;
        assert!(text.contains(words) && text.contains(&blob_data(&layer(3).digest)) && text.contains("next: "), "{text}");
        assert!(text.contains("FINDINGS") && text.contains("1 blob DAMAGED"), "{text}");
    }
}

#[test]
fn what_a_registry_leaves_behind_is_no_damage() {
    // An upload under way, a blob's directory without anything in it, a deleted image, an index whose platforms were not all copied.
    let image = oci_image("x", &[layer(1)]);
    let root = registry()
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .image("y", &[layer(2)])
        .deleted()
        .with(|tree| {
            tree.upload("a", "0c8b9d3e-5d3b-4b8e-9a51-4d5a6c1b2f3e", b"half of it");
            let directory = blob_data(&layer(77).digest);
            tree.directory(parent(&directory));
        })
        .on_disk();
    let clean = verify(root.path()).json().run().expect_code(0);
    assert_eq!(found(&clean), []);
}

#[test]
fn whoever_needs_what_is_hurt_is_named_with_tag_and_platform() {
    let tree = tree();
    let root = tree.on_disk();
    for (damage, content) in [(Damage::LastByte, layer(1)), (Damage::RemovedWithDirectory, layer_of(1, 300_000))] {
        damage.happen(&data(root.path(), &content.digest));
    }
    Damage::Emptied.happen(&data(root.path(), &layer(900).digest));
    let ran = verify(root.path()).json().run().expect_code(1);
    let needs = |code: &str| -> Vec<String> {
        let finding = ran.findings().into_iter().find(|finding| finding.code == code).expect("found");
        let needed = finding
            .needed_by
            .into_iter()
            .map(|need| format!("{}:{} {}", need.repository, need.tag.unwrap_or_default(), need.platform.unwrap_or_default()));
        let mut needed: Vec<String> = needed.collect();
        needed.sort();
        needed
    };
    assert_eq!(needs("missing-blob"), ["team/app:latest linux/amd64", "team/app:latest linux/arm64"]);
    // By its sha512 in another repository.
    assert_eq!(needs("corrupt-blob"), ["other:v1 linux/amd64", "team/app:latest linux/amd64", "team/app:latest linux/arm64"]);
    assert_eq!(needs("empty-blob"), [""; 0]);
    let text = verify(root.path()).run().expect_code(1).stdout;
    assert!(text.contains("needed by team/app:latest (linux/arm64)"), "{text}");
    assert_eq!(found(&ran).len(), 3, "each once");
    // Whoever else needs it is named too when only some repositories are read.
    let ran = verify(root.path()).json().args(["--repository", "other"]).run().expect_code(1);
    assert_eq!(found(&ran), [("corrupt-blob".to_owned(), layer(1).digest)]);
    assert_eq!(ran.findings()[0].needed_by.len(), 3);
}

#[test]
fn a_wrong_size_of_a_whole_blob_is_the_manifests_fault() {
    let whole = layer(1);
    let image = oci_image("x", &[whole.clone(), layer(2)]).edit(|json| json["layers"][0]["size"] = 7.into());
    let right = oci_image("y", std::slice::from_ref(&whole));
    for images in [vec![&image], vec![&image, &right]] {
        let mut registry = registry().repo("a");
        for (image, tag) in images.into_iter().zip(["wrong", "right"]) {
            registry = registry.pushed(image).tag(tag);
        }
        let ran = verify(registry.on_disk().path()).json().run().expect_code(1);
        assert_eq!(found(&ran), [("size-mismatch".to_owned(), whole.digest.clone())]);
        assert_eq!(ran.findings()[0].needed_by.iter().filter_map(|need| need.tag.as_deref()).collect::<Vec<_>>(), ["wrong"]);
    }
}
