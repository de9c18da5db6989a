//! What may be given as the root: the registry's root directory, what is mounted of it, one that nothing has been written to yet, and one
//! that may not be read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::server::RealRegistry;
use crate::support::snapshot::{self, SeenKind};
use crate::support::*;

fn tree() -> Tree {
    registry()
        .stray_blob(&layer(900))
        .repo("a")
        .image("x", &[layer(1)])
        .tag("v1")
        .repo("b")
        .image("y", &[layer(1), layer(2)])
        .into_tree()
}

/// What a registry has at `inside`, alone and under another name.
fn mounted(root: &Path, inside: &str) -> (tempfile::TempDir, PathBuf) {
    let above = tempfile::tempdir().expect("a directory");
    let volume = above.path().join("volume");
    fs::rename(root.join(inside), &volume).expect("one filesystem");
    (above, volume)
}

/// All but the times, which directories change when something comes back into them.
fn content(snapshot: &Snapshot) -> Vec<(&String, &SeenKind)> {
    snapshot.iter().map(|(path, seen)| (path, &seen.kind)).collect()
}

#[test]
fn what_is_mounted_of_a_root_is_collected_like_the_whole() {
    let whole = tree().on_disk();
    let planned = Regsweep::gc(whole.path()).delete_untagged().dry().run().expect_code(0).paths();
    assert!(!planned.is_empty());
    for inside in ["docker", "docker/registry", "docker/registry/v2"] {
        let root = tree().on_disk();
        let before = snapshot(&root.path().join(inside));
        let (_above, volume) = mounted(root.path(), inside);
        let dry = Regsweep::gc(&volume).delete_untagged().dry().run().expect_code(0);
        assert_eq!(dry.paths(), planned, "{inside}");
        assert!(dry.stderr.contains(&format!("is taken for what the registry has at {inside}")), "{}", dry.stderr);
        assert_eq!(snapshot(&volume), before, "{inside}: a dry run makes nothing");
        let verified = Regsweep::new().args(["verify", "--root"]).arg(&volume).run().expect_code(0);
        assert!(verified.stdout.contains("blobs"), "{}", verified.stdout);

        Regsweep::gc(&volume).delete_untagged().arg("--quarantine").run().expect_code(0);
        assert!(volume.join(".regsweep/quarantine").is_dir(), "{inside}");
        Regsweep::new().args(["restore", "--root"]).arg(&volume).run().expect_code(0);
        fs::rename(volume.join(".regsweep"), root.path().join("regsweep")).expect("ours");
        assert_eq!(content(&snapshot(&volume)), content(&before), "{inside}: all is back");

        Regsweep::gc(&volume).delete_untagged().run().expect_code(0);
        Regsweep::gc(&volume).delete_untagged().run().expect_code(0);
        let own = volume.join(".regsweep");
        fs::remove_dir_all(own).expect("ours");
        fs::rename(&volume, root.path().join(inside)).expect("one filesystem");
        let left = Regsweep::gc(root.path()).delete_untagged().dry().run().expect_code(0);
        assert!(left.paths().is_empty(), "{inside}");
    }
}

/// What a message says to run runs as it stands.
#[test]
fn commands_in_messages_carry_the_store() {
    let above = tempfile::tempdir().expect("a directory");
    let root = above.path().join("my data");
    fs::create_dir(&root).expect("made");
    snapshot::copy(tree().on_disk().path(), &root);
    let quoted = format!("--root '{}'`", root.display());
    let done = Regsweep::gc(&root).arg("--quarantine").run().expect_code(0);
    let command = done.stdout.split('`').find(|part| part.starts_with("regsweep restore --run")).expect("a way back").to_owned();
    assert!(done.stdout.contains(&quoted), "{}", done.stdout);
    let gone = Regsweep::new().args(["restore", "--run", "nonsense", "--root"]).arg(&root).run().expect_code(2);
    assert!(gone.stderr.contains(&format!("`regsweep quarantine list {quoted}")), "{}", gone.stderr);
    let listed = Regsweep::new().args(["quarantine", "list", "--format", "json", "--root"]).arg(&root).run().expect_code(0);
    listed.report();
    let there = command.replacen("regsweep", env!("CARGO_BIN_EXE_regsweep"), 1);
    let back = Command::new("sh").args(["-c", &there]).output().expect("it runs");
    assert!(back.status.success(), "{there}: {}", String::from_utf8_lossy(&back.stderr));
}

/// The registry's own view, with ours beside it under another name: one store.
#[test]
fn a_registry_at_work_on_the_whole_is_seen_from_a_part() {
    let registry = RealRegistry::start();
    fs::create_dir_all(registry.root().join("docker/registry/v2/repositories")).expect("made");
    fs::create_dir_all(registry.root().join("docker/registry/v2/blobs")).expect("made");
    let mount = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(registry.root().join("docker/registry/v2"), mount.path().join("volume")).expect("made");
    let stopped = Regsweep::gc(&mount.path().join("volume")).run().expect_code(2);
    assert!(stopped.stderr.contains("is a registry that works on this store"), "{}", stopped.stderr);
}

fn every_command(root: &Path) -> Vec<Regsweep> {
    let of = |words: &[&str]| Regsweep::new().args(words).arg("--root").arg(root);
    vec![
        Regsweep::gc(root).dry(),
        Regsweep::gc(root).delete_untagged(),
        of(&["audit"]),
        of(&["verify"]),
        of(&["quarantine", "list"]),
        of(&["quarantine", "purge"]),
        of(&["restore"]),
    ]
}

#[test]
fn a_root_that_nothing_was_written_to_is_no_error() {
    for has_lost_and_found in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        if has_lost_and_found {
            fs::create_dir(root.path().join("lost+found")).expect("made");
        }
        let before = snapshot(root.path());
        for command in every_command(root.path()) {
            let run = command.run().expect_code(0);
            assert!(run.stdout.contains("no registry has written to it yet"), "{run:?}");
        }
        let json = Regsweep::audit(root.path()).json().run().expect_code(0).stdout;
        assert!(json.contains("\"unused\": true"), "{json}");
        let config = root.path().with_extension("yml");
        fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.path().display()))
            .expect("written");
        Regsweep::gc_config(&config).arg("--online").run().expect_code(0);
        fs::remove_file(config).expect("ours");
        assert_eq!(snapshot(root.path()), before, "nothing is made in what may be an empty mount point");
    }
}

/// What had a store once has lost it.
#[test]
fn a_root_that_is_not_there_or_has_something_else_is_one() {
    let root = tempfile::tempdir().expect("a directory");
    for command in every_command(&root.path().join("absent")) {
        let run = command.run().expect_code(2);
        assert!(run.stderr.contains("absent: No such file"), "{}", run.stderr);
    }
    for other in [".regsweep", "something"] {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join(other)).expect("made");
        for command in every_command(root.path()) {
            let run = command.run().expect_code(2);
            assert!(run.stderr.contains("there is no docker/registry/v2 in it"), "{}", run.stderr);
        }
    }
}

#[test]
fn what_may_not_be_read_is_not_taken_for_what_is_not_there() {
    let Some(somebody) = SomebodyElse::new() else { return };
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).expect("there");
    let root = tree().on_disk();
    mode(root.path(), 0o755);
    let config = somebody.directory().join("config.yml");
    fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.path().display()))
        .expect("written");
    for denied in
        ["", "docker", "docker/registry", "docker/registry/v2", "docker/registry/v2/blobs", "docker/registry/v2/repositories"]
    {
        let path = root.path().join(denied);
        mode(&path, 0o700);
        for store in [vec!["--root".into(), root.path().as_os_str().to_owned()], vec![config.as_os_str().to_owned()]] {
            for command in ["garbage-collect", "audit", "verify"] {
                let run = Regsweep::new().arg(command).args((command == "garbage-collect").then_some("--dry-run")).args(&store);
                let ran = somebody.runs(run).run();
                let said = ran.stderr + &ran.stdout;
                assert!(said.to_lowercase().contains("permission denied"), "{denied}: {command}: {said}");
                assert!(said.contains("run as root"), "{denied}: {command}: {said}");
                assert!(!said.contains("there is no docker"), "{denied}: {command}: {said}");
            }
        }
        mode(&path, 0o755);
    }
}
