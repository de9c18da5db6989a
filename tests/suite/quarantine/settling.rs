//! What a run does with what earlier ones moved aside, and where it refuses to move anything.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use super::*;
use crate::support::layout::{blob_data, layer_link, revision_link};

/// R7, after the fact: somebody pushes an index over children that had no tag and are in quarantine, links and all.
#[test]
fn an_index_over_quarantined_children_brings_them_back() {
    let children = [untagged(), oci_image("arm", &[layer(4)])];
    let root = store().pushed(&children[1]).on_disk();
    let root = root.path();
    let before = files(root);
    collect(root, &["-m"]).expect_code(0);
    assert!(!root.join(revision_link("team/app", children[1].digest())).exists());
    registry().repo("team/app").young().manifest_only(&index(&children)).tag("multi").write_to(root);

    let next = collect(root, &["-m"]).expect_code(0);
    let back = moved(&next, "restored");
    assert_eq!((back.blobs, back.links), (6, 6), "two manifests, two configurations, two layers, and the links of all");
    let places = [3, 4].map(|number| {
        let digest = layer(number).digest;
        [blob_data(&digest), layer_link("team/app", &digest)]
    });
    let revisions = children.each_ref().map(|child| revision_link("team/app", child.digest()));
    for path in places.into_iter().flatten().chain(revisions) {
        let path = path.strip_prefix("docker/").expect("in the registry's tree").to_owned();
        assert_eq!(files(root).get(&path), before.get(&path), "{path}");
    }
    let mut registry = server::RealRegistry::stopped();
    snapshot::copy(&root.join("docker"), &{
        fs::create_dir(registry.root().join("docker")).expect("made");
        registry.root().join("docker")
    });
    registry.restart();
    registry.client().pull("team/app", "multi").expect("every platform of it");
}

#[test]
fn things_wait_as_long_as_they_are_told_to() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let (run, whole) = (only_run(root), list(root).runs.remove(0));
    let purged = |flags: &[&str]| moved(&collect(root, flags).expect_code(0), "purged");
    assert_eq!(purged(&[]), Moved::default());
    age(&run, 23);
    assert_eq!(purged(&[]), Moved::default(), "24 hours are usual");
    assert_eq!(purged(&["--quarantine-for", "7d"]), Moved::default());
    age(&run, 2);
    // Somebody has set the clock forward: the machine itself says that it was a minute ago.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there");
    let uptime = fs::read_to_string("/proc/uptime").expect("there");
    let uptime: f64 = uptime.split(' ').next().expect("a number").parse().expect("a number");
    stamp(&run, |stamp| stamp["boot"] = serde_json::json!({ "id": boot.trim(), "uptime_seconds": uptime - 60.0 }));
    assert_eq!(purged(&[]), Moved::default());
    stamp(&run, |stamp| stamp["boot"]["id"] = "another start".into());
    // Without a quarantine of its own a run leaves it alone.
    let outcome = Regsweep::gc(root).json().run().expect_code(0);
    assert_eq!(moved(&outcome, "purged"), Moved::default());
    let gone = purged(&[]);
    assert_eq!((gone.blobs, gone.bytes, gone.links), (whole.blobs, whole.bytes, whole.links));
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

#[test]
fn a_blob_in_two_runs_comes_back_once() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &[]).expect_code(0);
    // Two runs of the same are only made by hand: what is in quarantine keeps what the store has of it.
    registry().repo("team/app").upload_layer(&layer(9)).write_to(root);
    assert_eq!(collect(root, &[]).expect_code(0).paths(), [""; 0]);
    let first = only_run(root);
    let second = first.with_file_name("20260101T000000Z-garbage-collect");
    fs::create_dir(&second).expect("made");
    snapshot::copy(&first, &second);
    assert_eq!(runs(root).len(), 2);
    fs::remove_file(root.join(blob_data(&layer(9).digest))).expect("there");
    registry()
        .repo("team/app")
        .image("new", &[layer(9)])
        .tag("new")
        .with(|tree| {
            tree.remove(&blob_data(&layer(9).digest));
        })
        .write_to(root);
    let next = moved(&collect(root, &[]).expect_code(0), "restored");
    assert_eq!((next.blobs, next.links), (1, 0));
    assert_eq!(runs(root), Vec::<PathBuf>::new(), "the other blob and both links are copies of what is there");
}

/// Registries before 3.1 open a link, cut it and write it. One that had it open when it was moved writes to what is in quarantine.
#[test]
fn a_link_that_is_written_to_after_it_was_moved_comes_back() {
    let root = store().on_disk();
    let root = root.path();
    let image = untagged();
    let link = root.join(revision_link("team/app", image.digest()));
    let mut open = fs::OpenOptions::new().write(true).open(&link).expect("there");
    collect(root, &["-m", "--assume-offline"]).expect_code(0);
    assert!(!link.exists());
    open.set_len(0).and_then(|()| open.write_all(image.digest().as_bytes())).expect("written");
    drop(open);
    let back = moved(&collect(root, &["-m", "--quarantine-for", "0s"]).expect_code(0), "restored");
    assert_eq!((back.blobs, back.links), (3, 3), "the link, the manifest that it names, and what that names");
    assert!(image.reaches().iter().all(|digest| root.join(blob_data(digest)).exists()) && link.exists());
}

/// Half a file in the place of a whole one is no reason to throw the whole one away.
#[test]
fn what_is_not_the_same_is_kept() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let image = untagged();
    registry().repo("team/app").manifest_only(&image).tag("again").write_to(root);
    let place = root.join(blob_data(image.digest()));
    fs::write(&place, "").expect("a registry that crashed");
    collect(root, &[]).expect_code(1);
    let held: Vec<String> = list(root).runs.into_iter().flat_map(|run| run.targets).map(|held| held.path).collect();
    assert!(held.contains(&blob_data(image.digest())), "{held:?}");
    fs::remove_file(&place).expect("mended");
    collect(root, &[]).expect_code(0);
    assert_eq!(fs::read(&place).expect("back"), image.manifest.bytes);
}

#[test]
fn nothing_goes_for_good_from_a_store_that_looks_empty() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let repositories = root.join("docker/registry/v2/repositories");
    fs::rename(&repositories, root.join("elsewhere")).expect("moved");
    fs::create_dir(&repositories).expect("made");
    let refused = command(root, &["quarantine", "purge"]).expect_code(2);
    assert!(refused.stderr.contains("--allow-empty"), "{}", refused.stderr);
    assert_eq!(list(root).runs.len(), 1);
    command(root, &["quarantine", "purge", "--allow-empty"]).expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

fn config(root: &Path, more: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n{more}", root.display());
    fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn online_is_refused_where_nobody_could_undo_it() {
    let root = store().on_disk();
    let root = root.path();
    let before = snapshot(&root.join("docker"));
    let refused = Regsweep::gc(root).args(["--online", "-m"]).run().expect_code(2);
    assert!(refused.stderr.contains("config.yml in place of --root"), "{}", refused.stderr);
    // One that was copied out of a container names the root as it is in there.
    let copied = config(Path::new("/var/lib/registry-of-a-container"), "");
    for path in [copied.path(), Path::new("/nowhere/config.yml")] {
        let refused = Regsweep::gc_config(path).args(["--online", "-m"]).run().expect_code(2);
        assert!(refused.stderr.contains("without --online"), "a way that leads to no second refusal: {}", refused.stderr);
    }
    let run = || Regsweep::gc_config(copied.path()).args(["--online", "-m", "--rescue-for", "0s", "--dry-run"]);
    let named = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
    assert!(run().run().expect_code(2).stderr.contains(named));
    run().env(named, root).run().expect_code(0);
    for (more, said) in [
        ("  cache: {blobdescriptor: redis}\n", ["the configuration names no server", "correct the section redis"]),
        ("proxy: {remoteurl: \"https://example.org\"}\n", ["pull-through cache", "stop the registry"]),
    ] {
        let config = config(root, more);
        for dry in [&[][..], &["--dry-run"]] {
            let refused = Regsweep::gc_config(config.path()).args(["--online", "-m"]).args(dry).run().expect_code(2);
            assert!(said.iter().all(|said| refused.stderr.contains(said)), "{}", refused.stderr);
        }
    }
    let config = config(root, "");
    let state = root.join("scheduler-state.json");
    fs::write(&state, "{}").expect("written");
    let refused = Regsweep::gc_config(config.path()).args(["--online", "-m"]).run().expect_code(2);
    assert!(refused.stderr.contains("pull-through cache"), "{}", refused.stderr);
    Regsweep::gc_config(config.path()).args(["--online", "--assume-offline"]).run().expect_code(2);
    Regsweep::gc(root).args(["--rescue-for", "1s"]).run().expect_code(2);
    assert_eq!(snapshot(&root.join("docker")), before);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
    fs::remove_file(&state).expect("there");
    let done = Regsweep::gc_config(config.path()).args(["--online", "-m", "--rescue-for", "0s"]).json().run().expect_code(0);
    assert_ne!(moved(&done, "purged").blobs + list(root).runs[0].blobs, 0);
}

/// Online, directories stay and so do links to blobs that are only aside; offline they go.
#[test]
fn online_leaves_what_may_be_about_to_be_used() {
    let root = store().on_disk();
    let root = root.path();
    let config = config(root, "");
    let online = |flags: &[&str]| {
        Regsweep::gc_config(config.path()).args(["--online", "-m", "--rescue-for", "0s"]).args(flags).json().run().expect_code(0)
    };
    let first = online(&[]).report();
    assert_eq!(first["repositories"][0]["blobs"], 4, "also those whose links stay: {first}");
    let link = root.join(layer_link("team/app", &layer(9).digest));
    let blob = root.join(blob_data(&layer(9).digest));
    assert!(link.exists() && !blob.exists() && blob.parent().expect("in a directory").exists());
    online(&[]);
    assert!(link.exists(), "its blob can come back");
    age(&only_run(root), 25);
    let third = online(&[]);
    assert_ne!(moved(&third, "purged").blobs, 0);
    assert!(link.exists(), "its blob could come back until the end of the run");
    online(&[]);
    assert!(!link.exists(), "nothing can come back");
    assert!(list(root).runs[0].targets.iter().any(|held| held.digest == layer(9).digest), "but the link");
}

#[test]
fn what_is_on_another_filesystem_is_not_moved() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root mounts");
        return;
    }
    let root = store().on_disk();
    let root = root.path();
    // In a namespace of its own, so that nothing is left mounted whatever happens.
    let script = format!(
        "set -e; cd {0}; mv docker/registry/v2/blobs aside; mkdir docker/registry/v2/blobs
         mount -t tmpfs tmpfs docker/registry/v2/blobs; cp -a aside/. docker/registry/v2/blobs/
         before=$(find docker | sort | sha256sum)
         code=0; {1} garbage-collect --ignore-birth-time --quarantine -m --root {0} || code=$?
         [ \"$before\" = \"$(find docker | sort | sha256sum)\" ] || exit 99
         exit $code",
        root.display(),
        env!("CARGO_BIN_EXE_regsweep")
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another filesystem"), "{said}");
}

/// A signature lives with what it signs (H6), also on the way back.
#[test]
fn a_referrer_comes_back_with_its_subject() {
    let subject = untagged();
    let signature = artifact_manifest("signature", &[layer(7)]).referring_to(&subject);
    let root = store().pushed(&signature).on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let of_signature =
        [revision_link("team/app", signature.digest()), blob_data(signature.digest()), blob_data(&layer(7).digest)];
    assert!(of_signature.iter().all(|path| !root.join(path).exists()));
    // Somebody tags what it signs, which is in quarantine too.
    let mut tagged = Tree::new();
    tagged.aged(minutes(1)).tag("team/app", "again", subject.digest()).write_to(root);
    collect(root, &["-m", "--quarantine-for", "0s"]).expect_code(0);
    for path in of_signature {
        assert!(root.join(&path).exists(), "{path}");
    }
}

/// What a corrupt manifest names is not known, wherever its bytes are.
#[test]
fn a_manifest_that_verify_moved_aside_still_holds_its_repository() {
    let image = oci_image("rots", &[layer(5)]);
    let root = registry().stray_blob(&layer(900)).repo("team/app").pushed(&image).tag("v1").on_disk();
    let root = root.path();
    fs::write(root.join(blob_data(image.digest())), "rotten").expect("damaged");
    Regsweep::gc(root).run().expect_code(1);
    command(root, &["verify", "--quarantine", "--min-age", "0s"]).expect_code(1);
    assert!(!root.join(blob_data(image.digest())).exists());
    let held = Regsweep::gc(root).any_age().json().run().expect_code(1);
    assert!(held.finding_codes().contains(&"held-repository".to_owned()), "{:?}", held.findings());
    assert!(root.join(blob_data(&layer(5).digest)).exists() && root.join(layer_link("team/app", &layer(5).digest)).exists());
}

/// A push under way may need what has just been moved aside (R2).
#[test]
fn nothing_fresh_is_purged_beside_a_registry_that_takes_pushes() {
    let registry = server::RealRegistry::start();
    registry.client().push("team/app", &oci_image("x", &[layer(1)]));
    registry.client().push_tag("team/app", "v1", &oci_image("y", &[layer(2)]));
    // Clocks of files and of programs are some milliseconds apart, and what is linked as a run begins is put back.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    Regsweep::gc_config(&registry.config()).any_age().args(["--online", "-m", "--rescue-for", "0s"]).run().expect_code(0);
    let purge = |flags: &[&str]| Regsweep::new().args(["quarantine", "purge"]).args(flags).arg(registry.config()).run();
    let refused = purge(&[]).expect_code(2);
    assert!(refused.stderr.contains("takes pushes"), "{}", refused.stderr);
    assert_eq!(list(&registry.root()).runs.len(), 1);
    purge(&["--older-than", "1h"]).expect_code(0);
    assert_eq!(list(&registry.root()).runs.len(), 1, "it has not waited that long");
    purge(&["--assume-offline"]).expect_code(0);
    assert_eq!(list(&registry.root()).runs.len(), 0);
}

#[test]
fn what_cannot_go_for_good_is_told() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let held = list(root).runs.remove(0).targets.into_iter().find(|held| held.path.ends_with("data")).expect("a blob");
    let place = only_run(root).join(held.path.strip_prefix("docker/registry/v2/").expect("in the registry's tree"));
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&place).status().is_ok_and(|status| status.success());
    if !chattr("+i") {
        skipped("no file can be made immutable here");
        return;
    }
    let left = command(root, &["quarantine", "purge"]);
    assert!(chattr("-i"));
    let left = left.expect_code(3);
    assert_eq!((report(&left).outcome.as_str(), left.finding_codes()), ("incomplete", vec!["failed-purge".to_owned()]));
    assert_eq!(left.findings()[0].digest.as_ref(), Some(&held.digest));
    assert_eq!(list(root).runs[0].blobs, 1, "the rest is gone");
    command(root, &["quarantine", "purge"]).expect_code(0);
    assert!(list(root).runs.is_empty());
}

/// What regsweep itself did is nothing that an audit warns of, night after night.
#[test]
fn links_whose_blobs_we_quarantined_or_purged_are_no_warnings() {
    let registry = crate::writers::with_garbage(crate::support::server::Settings::default());
    crate::support::age(&registry.root());
    let night = || {
        let run =
            Regsweep::gc_config(&registry.config()).any_age().args(["--online", "--rescue-for", "0s", "--quarantine-for", "0s"]);
        run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0").run().expect_code(0)
    };
    let audit = || Regsweep::new().arg("audit").arg(registry.config()).json().run().expect_code(0).finding_codes();
    let link = registry.root().join(layout::layer_link("a", &layer(2).digest));
    let blob = registry.root().join(layout::blob_data(&layer(2).digest));
    night();
    assert!(link.exists() && !blob.exists());
    assert!(!audit().contains(&"broken-layer-link".to_owned()), "it is in our quarantine");
    night();
    assert_eq!(link.exists(), audit().contains(&"broken-layer-link".to_owned()), "a note: it was purged");
    night();
    assert!(!link.exists() && !audit().contains(&"broken-layer-link".to_owned()));
}
