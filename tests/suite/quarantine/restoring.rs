//! `restore`, `quarantine list` and `quarantine purge`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::fixtures::fixture;
use crate::support::layout::{blob_data, layer_link, revision_link};

/// Rows that say the same whether or not directories were removed and made again.
fn plan(root: &Path, flags: &[&str]) -> Vec<Row> {
    let mut rows = Regsweep::gc(root).args(flags).dry().run().expect_code(0).rows();
    rows.retain(|row| row.kind != "empty-directory");
    rows
}

#[test]
fn every_fixture_is_as_it_was_after_a_restore() {
    for name in ["team", "legacy"] {
        for flags in [&[][..], &["-m"]] {
            let (_, root) = fixture(name);
            let root = root.path();
            let (before, planned) = (files(root), plan(root, flags));
            let run = collect(root, flags).expect_code(0);
            let id = run.report()["quarantine"]["run"].as_str().expect("a run").to_owned();
            let aside = list(root);
            assert_eq!(
                (aside.runs.len(), aside.runs[0].run.as_str(), aside.runs[0].purpose.as_str()),
                (1, &*id, "garbage-collect")
            );
            assert_eq!(aside.runs[0].bytes, run.reclaimable_bytes());
            let held: BTreeSet<&str> = aside.runs[0].targets.iter().map(|held| held.path.as_str()).collect();
            assert_eq!(held, planned.iter().map(|row| row.path.as_str()).collect(), "{name} {flags:?}");
            assert!(planned.iter().all(|row| !root.join(&row.path).exists()), "all of it left the store");
            assert_eq!(plan(root, flags), [], "nothing else goes");

            let back = report(&command(root, &["restore"]).expect_code(0));
            assert_eq!(back.restored.map(|moved| (moved.blobs, moved.links)), Some((aside.runs[0].blobs, aside.runs[0].links)));
            assert_eq!(files(root), before, "{name} {flags:?}");
            assert_eq!((runs(root), back.runs.len()), (vec![], 0), "nothing is left of the run");
            assert_eq!(plan(root, flags), [], "{name} {flags:?}: what was restored counts as young");
            assert_eq!(plan(root, &[flags, &["--min-age", "0s"]].concat()), planned, "{name} {flags:?}");
        }
    }
}

/// A run is named after its command, and one of a collection is one by whichever name: older programs named all of them alike.
#[test]
fn a_run_is_named_after_its_command_and_found_by_every_name() {
    let commands: [(&str, &[&str]); 3] =
        [("garbage-collect", &[]), ("expire", &["--keep-last", "1", "--repository", "a"]), ("remove", &["a:old"])];
    let old = oci_image("old", &[layer(1), layer(2)]);
    let app =
        || registry().repo("a").pushed(&old).tag("old").pushed(&oci_image("new", &[layer(3)])).tag("new").stray_blob(&layer(9));
    for (name, words) in commands {
        for (renamed, has_stamp) in
            [(None, true), (None, false), (Some("garbage-collect"), true), (Some("garbage-collect"), false)]
        {
            let root = app().on_disk();
            let root = root.path();
            let before = files(root);
            Regsweep::new()
                .arg(name)
                .args(words)
                .args(["--quarantine", "--ignore-birth-time", "--root"])
                .arg(root)
                .run()
                .expect_code(0);
            let listed = list(root).runs.remove(0);
            assert_eq!((listed.purpose.as_str(), listed.run.ends_with(&format!("Z-{name}"))), (name, true), "{}", listed.run);
            let mut place = only_run(root);
            if !has_stamp {
                fs::remove_file(place.join("run.json")).expect("there");
            }
            if let Some(renamed) = renamed {
                let old = place.with_file_name(listed.run.replace(name, renamed));
                if has_stamp {
                    let text = fs::read_to_string(place.join("run.json")).expect("there").replace(name, renamed);
                    fs::write(place.join("run.json"), text).expect("written");
                }
                fs::rename(&place, &old).expect("renamed");
                place = old;
            }
            assert_eq!(list(root).runs[0].purpose, renamed.unwrap_or(name));
            // Its links are kept until it is purged, and a run in between knows it.
            Regsweep::gc(root).arg("--quarantine").run().expect_code(0);
            let id = place.file_name().expect("a name").to_str().expect("a word").to_owned();
            command(root, &["restore", "--run", &id]).expect_code(0);
            assert_eq!(files(root), before, "{name} {renamed:?} {has_stamp}");
        }
    }
}

#[test]
fn what_restore_brings_back_is_chosen() {
    let root = store().on_disk();
    let root = root.path();
    let before = files(root);
    collect(root, &[]).expect_code(0);
    let first = only_run(root);
    collect(root, &["-m"]).expect_code(0);
    assert_eq!(runs(root).len(), 2);
    let layer_of_first = blob_data(&layer(9).digest);

    command(root, &["restore"]).expect_code(0);
    assert_eq!(only_run(root), first, "the newest is back");
    assert!(root.join(revision_link("team/app", untagged().digest())).exists() && !root.join(&layer_of_first).exists());
    // What was restored counts as young.
    collect(root, &["-m", "--min-age", "0s"]).expect_code(0);
    let name = first.file_name().expect("a name").to_string_lossy().into_owned();
    command(root, &["restore", "--run", &name]).expect_code(0);
    assert!(root.join(&layer_of_first).exists() && !root.join(revision_link("team/app", untagged().digest())).exists());

    let digest = untagged().digest().to_owned();
    let back = report(&command(root, &["quarantine", "restore", "--digest", &digest]).expect_code(0));
    assert!(root.join(blob_data(&layer(3).digest)).exists(), "and what its manifest names");
    assert!(back.restored.is_some_and(|moved| moved.blobs == 3), "its manifest, its configuration and its own layer");
    assert_eq!(back.findings.len(), 0);

    collect(root, &["-m", "--min-age", "0s"]).expect_code(0);
    command(root, &["restore", "--all"]).expect_code(0);
    assert_eq!(files(root), before);
    for (words, said) in [(&["restore"][..], "nothing is in quarantine"), (&["restore", "--all"], "nothing is in quarantine")] {
        let refused = command(root, words).expect_code(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    collect(root, &["-m", "--min-age", "0s"]).expect_code(0);
    let absent = layer(1).digest;
    for words in
        [&["restore", "--run", "yesterday"][..], &["restore", "--digest", &absent], &["quarantine", "purge", "--run", "x"]]
    {
        let refused = command(root, words).expect_code(2);
        assert!(refused.stderr.contains("regsweep quarantine list"), "{}", refused.stderr);
    }
    command(root, &["restore", "--all", "--run", "x"]).expect_code(2);
    command(root, &["restore", "--digest", "sha256:1"]).expect_code(2);
}

#[test]
fn nothing_is_replaced() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &[]).expect_code(0);
    let place = root.join(blob_data(&layer(9).digest));
    fs::create_dir_all(place.parent().expect("in a directory")).expect("made");
    fs::write(&place, "pushed again").expect("written");
    let back = report(&command(root, &["restore"]).expect_code(1));
    assert_eq!(back.restored.map(|moved| (moved.blobs, moved.links, moved.replaced)), Some((0, 1, 1)));
    assert_eq!(fs::read(&place).expect("there"), b"pushed again");
    assert_eq!(list(root).runs[0].blobs, 1, "and the other waits");
}

#[test]
fn purge_looks_first_what_is_needed_by_now() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let whole = list(root);
    // A tag is set by its manifest's digest, as a push of the same image would end.
    let again = registry().repo("team/app").manifest_only(&untagged()).tag("back").with(|tree| {
        tree.remove(&blob_data(untagged().digest())).remove(&revision_link("team/app", untagged().digest()));
    });
    again.write_to(root);

    let purged = report(&command(root, &["quarantine", "purge", "--older-than", "1h"]).expect_code(0));
    let needed = Moved { blobs: 3, bytes: purged.restored.clone().expect("told").bytes, links: 3, replaced: 0 };
    assert_eq!(purged.restored, Some(needed), "manifest, configuration, layer; the revision and two layer links");
    assert_eq!(purged.purged, Some(Moved::default()), "nothing has waited for an hour");
    assert_eq!(purged.runs[0].blobs, whole.runs[0].blobs - 3);

    let purged = report(&command(root, &["quarantine", "purge"]).expect_code(0));
    assert_eq!(purged.purged.map(|moved| (moved.blobs, moved.links)), Some((1, 1)));
    assert_eq!(runs(root), Vec::<PathBuf>::new());
    let after = Regsweep::gc(root).args(["-m", "--dry-run"]).json().run().expect_code(0);
    assert_eq!(after.paths(), [""; 0]);
}

#[test]
fn one_run_is_purged_and_those_of_verify_only_by_name() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &[]).expect_code(0);
    collect(root, &["-m"]).expect_code(0);
    let [first, second] = &runs(root)[..] else { panic!("not two runs") };
    // What `verify` will leave: a corrupt blob of a kept image.
    let verify = first.with_file_name("20260101T000000Z-verify");
    let place = verify.join("blobs/sha256").join(&layer(1).digest[7..9]).join(&layer(1).digest[7..]);
    fs::create_dir_all(&place).expect("made");
    fs::write(place.join("data"), "corrupt").expect("written");
    let mut text: Value = serde_json::from_slice(&fs::read(first.join("run.json")).expect("a stamp")).expect("JSON");
    text["purpose"] = "verify".into();
    fs::write(verify.join("run.json"), text.to_string()).expect("written");
    fs::remove_file(root.join(blob_data(&layer(1).digest))).expect("it was moved");

    let name = |run: &Path| run.file_name().expect("a name").to_string_lossy().into_owned();
    command(root, &["quarantine", "purge", "--run", &name(first)]).expect_code(0);
    assert_eq!(runs(root), [verify.clone(), second.clone()]);
    command(root, &["quarantine", "purge"]).expect_code(0);
    assert_eq!(only_run(root), verify, "although something needs it: nobody is to have it");
    assert!(!root.join(blob_data(&layer(1).digest)).exists());
    // Its stamp is lost: its name says what it is.
    fs::remove_file(verify.join("run.json")).expect("there");
    collect(root, &["--quarantine-for", "0s"]).expect_code(0);
    assert_eq!(list(root).runs[0].purpose, "verify");
    assert!(!root.join(blob_data(&layer(1).digest)).exists());
    command(root, &["quarantine", "purge", "--run", &name(&verify)]).expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

#[test]
fn directories_are_made_again_as_those_around_them() {
    let root = store().on_disk();
    let root = root.path();
    let is_root = rustix::process::geteuid().is_root();
    let shard = root.join(blob_data(&layer(9).digest)).parent().and_then(Path::parent).expect("a shard").to_owned();
    let links =
        root.join(layer_link("team/app", &layer(9).digest)).parent().and_then(Path::parent).expect("a directory").to_owned();
    for directory in [&shard, &links] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o2750)).expect("ours");
        if is_root {
            std::os::unix::fs::chown(directory, Some(1234), Some(4321)).expect("root may");
            fs::set_permissions(directory, fs::Permissions::from_mode(0o2750)).expect("ours");
        }
    }
    collect(root, &[]).expect_code(0);
    assert!(
        fs::read_dir(&links).expect("listable").all(|entry| !entry.expect("listable").path().ends_with(&layer(9).digest[7..]))
    );
    command(root, &["restore"]).expect_code(0);
    for directory in [shard.join(&layer(9).digest[7..]), links.join(&layer(9).digest[7..])] {
        let metadata = fs::metadata(&directory).expect("made again");
        assert_eq!(metadata.mode() & 0o7777, 0o2750, "{}", directory.display());
        assert!(!is_root || (metadata.uid(), metadata.gid()) == (1234, 4321), "{}", directory.display());
    }
}

#[test]
fn nobody_sees_in_quarantine_what_he_could_not_see_in_the_store() {
    let root = store().on_disk();
    let root = root.path();
    fs::set_permissions(root.join("docker"), fs::Permissions::from_mode(0o750)).expect("ours");
    collect(root, &[]).expect_code(0);
    assert_eq!(fs::metadata(directory(root)).expect("made").mode() & 0o777 & !0o750, 0);
}

#[test]
fn text_says_what_to_do() {
    let root = store().on_disk();
    let root = root.path();
    let run = Regsweep::gc(root).args(["--quarantine", "-m"]).run().expect_code(0);
    let id = only_run(root).file_name().expect("a name").to_string_lossy().into_owned();
    assert!(run.stdout.contains(&format!("`regsweep restore --run {id} --root {}` undoes it", root.display())), "{}", run.stdout);
    let said = Regsweep::new().args(["quarantine", "list", "--root"]).arg(root).run().expect_code(0);
    assert!(said.stdout.contains(&id) && said.stdout.contains("regsweep restore --run RUN"), "{}", said.stdout);
    let dry = Regsweep::gc(root).args(["--quarantine", "-m"]).dry().run().expect_code(0);
    assert!(dry.stdout.contains("to quarantine"), "{}", dry.stdout);
}

/// Of a layer that `verify` took for corrupt and that was pushed again, the one that was pushed comes back.
#[test]
fn what_verify_took_for_corrupt_comes_back_with_no_manifest() {
    let root = store().on_disk();
    let root = root.path();
    let path = root.join(blob_data(&layer(3).digest));
    let good = fs::read(&path).expect("there");
    fs::write(&path, vec![0; good.len()]).expect("ours");
    command(root, &["verify", "--quarantine", "--min-age", "0s"]).expect_code(1);
    registry().repo("team/app").pushed(&untagged()).write_to(root);
    Regsweep::gc(root).args(["-m", "--quarantine"]).run().expect_code(0);
    assert_eq!(runs(root).len(), 2);
    let back = report(&command(root, &["restore", "--digest", untagged().digest()]).expect_code(0));
    assert_eq!(back.findings.len(), 0);
    assert_eq!(fs::read(&path).expect("restored"), good);
}

/// Where a collection and `verify` have copies of one blob, that of the collection comes back, whichever run is newer; or the one whose run is
/// named.
#[test]
fn of_several_copies_the_whole_one_comes_back() {
    for verify_is_newer in [false, true] {
        for words in [&["restore"][..], &["restore", "--all"], &["restore", "--digest"], &["restore", "--run"]] {
            let root = store().on_disk();
            let root = root.path();
            let place = root.join(blob_data(&layer(9).digest));
            let whole = fs::read(&place).expect("there");
            let put = |bytes: &[u8]| {
                fs::create_dir_all(place.parent().expect("in a directory")).expect("made");
                fs::write(&place, bytes).expect("written");
                let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
                fs::File::options().append(true).open(&place).expect("there").set_modified(then).expect("set");
            };
            let verify = || drop(command(root, &["verify", "--quarantine", "--min-age", "0s"]).expect_code(1));
            if verify_is_newer {
                collect(root, &[]).expect_code(0);
                put(b"damaged");
                verify();
            } else {
                put(b"damaged");
                verify();
                put(&whole);
                collect(root, &[]).expect_code(0);
            }
            let of_verify = runs(root).into_iter().find(|run| run.to_string_lossy().contains("verify")).expect("there");
            let id = of_verify.file_name().expect("a name").to_string_lossy().into_owned();
            let more = match words.last() {
                Some(&"--digest") => vec![layer(9).digest.clone()],
                Some(&"--run") => vec![id],
                _ => Vec::new(),
            };
            let words: Vec<&str> = words.iter().copied().chain(more.iter().map(String::as_str)).collect();
            command(root, &words);
            let expected = if words.contains(&"--run") { &b"damaged"[..] } else { &whole };
            assert_eq!(fs::read(&place).expect("restored"), expected, "{words:?}, {verify_is_newer}");
        }
    }
}
