//! A mirror that nobody vouches for: what is wrong with one blob there is said of that blob, and all else is mended.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::support::layout::{blob_data, blob_directory};

/// What a mirror has in the place of a blob, in words, how it comes there, and words of what is said of it.
type Odd = (&'static str, fn(&Path), &'static str);

const ODD: &[Odd] = &[
    ("nothing", |_| {}, "does not have it either"),
    ("an empty file", |data| fs::write(data, "").expect("written"), "cannot give it"),
    ("a file larger than the disk", |data| large(data, 1 << 43), "cannot give it"),
    ("a file larger than any manifest", |data| large(data, 17 << 20), "cannot give it"),
    ("a directory", |data| fs::create_dir(data).expect("made"), "not a file"),
    ("a fifo", fifo, "not a file"),
    ("a symbolic link to a device", |data| symlink("/dev/zero", data).expect("linked"), "not a file"),
    ("a symbolic link to nothing", |data| symlink("nowhere", data).expect("linked"), "not a file"),
    ("a symbolic link to the right bytes", to_the_right_bytes, "not a file"),
    ("a symbolic link in a loop above it", |data| in_a_loop(data.parent().expect("below")), "cannot give it"),
    ("a shard that is a symbolic link to nothing", |data| to_nothing(shard(data)), "Not mended"),
    ("a file above it", |data| in_place_of(data.parent().expect("below")), "not a file"),
];

fn large(data: &Path, bytes: u64) {
    fs::File::create(data).expect("made").set_len(bytes).expect("a hole");
}

fn fifo(data: &Path) {
    let status = std::process::Command::new("mkfifo").arg(data).status().expect("mkfifo is there");
    assert!(status.success());
}

fn to_the_right_bytes(data: &Path) {
    let elsewhere = data.ancestors().nth(8).expect("the root").join("elsewhere");
    fs::write(&elsewhere, &layer(3).bytes).expect("written");
    symlink(elsewhere, data).expect("linked");
}

fn shard(data: &Path) -> &Path {
    data.ancestors().nth(2).expect("below")
}

fn to_nothing(directory: &Path) {
    fs::remove_dir_all(directory).expect("removed");
    symlink("nowhere", directory).expect("linked");
}

fn in_a_loop(directory: &Path) {
    fs::remove_dir_all(directory).expect("removed");
    symlink(directory.file_name().expect("a name"), directory).expect("linked");
}

fn in_place_of(directory: &Path) {
    fs::remove_dir_all(directory).expect("removed");
    fs::write(directory, "a file").expect("written");
}

/// A layer, a configuration, a manifest and an index are lost; so is a layer that the mirror has.
#[test]
fn what_is_odd_in_a_mirror_is_said_of_that_blob_alone() {
    let whole = expected(&store().into_tree());
    let (good, needed) = (layer(1).digest, [layer(3).digest, two().blobs[0].digest.clone(), one().digest().to_owned()]);
    for digest in needed {
        for (name, make, why) in ODD {
            let mut tree = store().into_tree();
            tree.remove(&blob_directory(&digest)).remove(&blob_directory(&good)).remove(&layer_link(REPOSITORY, &good));
            let root = tree.on_disk();
            let mirror = store().on_disk();
            let data = mirror.path().join(blob_data(&digest));
            fs::remove_file(&data).expect("removed");
            make(&data);
            let run = |words: &[&str]| repair(root.path(), words).arg("--from").arg(mirror.path()).json().run();
            let dry = run(&["--dry-run"]);
            assert_eq!(dry.code, Some(1), "{name}: {}{}", dry.stdout, dry.stderr);
            let outcome = run(&[]);
            assert_eq!(outcome.code, Some(1), "{name}: {}{}", outcome.stdout, outcome.stderr);
            let findings = outcome.findings();
            let said = findings.iter().find(|finding| finding.digest.as_deref() == Some(&digest)).expect(name);
            assert!(said.message.contains(why), "{name}: {}", said.message);
            let missing: Vec<String> = whole.keys().filter(|path| !contents(root.path()).contains_key(*path)).cloned().collect();
            assert_eq!(missing, [blob_data(&digest)], "{name}: all else is mended");
            assert!(contents(root.path()).iter().all(|(path, bytes)| whole.get(path) == Some(bytes)), "{name}");
        }
    }
}

/// Without the right to read, as another user than root.
#[test]
fn what_a_mirror_does_not_let_read_is_said_of_that_blob_alone() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let good = layer(1).digest;
    for digest in [layer(3).digest, two().digest().to_owned()] {
        for place in [blob_data(&digest), blob_directory(&digest)] {
            let mut tree = store().into_tree();
            tree.remove(&blob_directory(&digest)).remove(&blob_directory(&good));
            let (root, mirror) = (tree.on_disk(), store().on_disk());
            let given = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(root.path()).status();
            assert!(given.expect("chown is there").success());
            fs::set_permissions(mirror.path(), fs::Permissions::from_mode(0o755)).expect("ours");
            fs::set_permissions(mirror.path().join(&place), fs::Permissions::from_mode(0o000)).expect("ours");
            let run = repair(root.path(), &["--assume-offline"]).arg("--from").arg(mirror.path());
            let outcome = somebody.runs(run).run().expect_code(1);
            assert!(outcome.stdout.contains("ermission denied"), "{place}: {}", outcome.stdout);
            let there = contents(root.path());
            assert!(there.contains_key(&blob_data(&good)) && !there.contains_key(&blob_data(&digest)), "{place}");
        }
    }
}
