//! What made an undo less than whole, or let something go before all that could speak for it had: each case was seen once.

use super::refusing::{DAY, due, later, online};
use super::*;
use crate::support::layout::{blob_data, revision_link};

/// Without the record of a purge that was cut off, `restore` would take what is left of a run for all of it.
#[test]
fn a_purge_that_was_cut_off_is_known_by_a_name_alone() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let run = only_run(root);
    // As on a disk that has no room for what would be written.
    fs::rename(run.join("run.json"), run.join("purging.json")).expect("ours");
    assert!(list(root).runs[0].purging.is_some());
    let back = command(root, &["restore"]).expect_code(1);
    assert!(back.stdout.contains("A purge of run"), "{}", back.stdout);
    assert!(!run.exists(), "neither name is left");
}

/// A message of ours says that what is in the directory begins to wait anew. So it does.
#[test]
fn a_run_without_its_stamp_waits_anew() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let before = list(root).runs.remove(0).targets;
    fs::write(only_run(root).join("run.json"), "").expect("ours");
    let refused = Regsweep::gc(root).arg("-m").run().expect_code(2);
    assert!(refused.stderr.contains("remove the file"), "{}", refused.stderr);
    fs::remove_file(only_run(root).join("run.json")).expect("there");
    for flags in [&["-m"][..], &["-m", "--quarantine"]] {
        let ran = later(Regsweep::gc(root).args(flags), DAY, "").json().run().expect_code(0);
        assert_eq!((moved(&ran, "restored"), moved(&ran, "purged")), Default::default(), "{flags:?}: {}", ran.stdout);
        assert_eq!(list(root).runs.remove(0).targets, before);
    }
    restored(root);
    assert!(root.join(revision_link("team/app", untagged().digest())).exists());
}

/// Where the registry is read-only nothing is too young by its modification time. What has just come back is, all the same.
#[test]
fn what_was_restored_stays_where_the_registry_is_read_only() {
    let root = store().on_disk();
    let root = root.path();
    let (_, config) = online(root, &[]);
    let text = fs::read_to_string(config.path()).expect("written");
    let read_only = text.replace("storage: {", "storage: {maintenance: {readonly: {enabled: true}}, ");
    // Nobody listens there.
    fs::write(config.path(), format!("{read_only}http: {{addr: 127.0.0.1:1}}\n")).expect("written");
    let gc = |flags: &[&str]| Regsweep::gc_config(config.path()).counting_birth().arg("-m").args(flags);
    gc(&["--quarantine", "--ignore-birth-time"]).run().expect_code(0);
    restored(root);
    gc(&["--ignore-birth-time"]).run().expect_code(0);
    assert!(untagged().reaches().iter().all(|digest| root.join(blob_data(digest)).exists()), "it has just come back");
}

/// What cannot be removed is a failure before the purge, which comes last, and only if all went well.
#[test]
fn nothing_is_purged_after_a_removal_that_failed() {
    if !has_strace() {
        return;
    }
    let root = due();
    let root = root.path();
    let before = list(root).runs.remove(0).targets;
    let summary = fs::read_to_string(root.join(".regsweep/summary.json")).expect("there");
    // The first that moves something of the store into quarantine.
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EPERM:when=1"];
    let run = later(Regsweep::gc(root).args(["-m", "--quarantine", "--jobs", "1"]), DAY, "").json();
    let ran = run.under(words).run().expect_code(3);
    assert!(ran.finding_codes().contains(&"failed-removal".to_owned()), "{:?}", ran.finding_codes());
    assert_eq!(moved(&ran, "purged"), Moved::default());
    assert_eq!(list(root).runs.remove(0).targets, before);
    assert!(ran.stderr.contains("nothing is purged in this run"), "{}", ran.stderr);
    // What was read is known all the same: the next run must see what is missing then.
    assert_ne!(fs::read_to_string(root.join(".regsweep/summary.json")).expect("there"), summary);
    let ran = later(Regsweep::gc(root).args(["-m", "--quarantine"]), DAY, "").json().run().expect_code(0);
    assert_ne!(moved(&ran, "purged"), Moved::default());
}

/// The wall clock was set back between two runs; the clock that counts from the boot tells which was the last.
#[test]
fn the_last_run_is_the_last_whatever_the_wall_clock_says() {
    let root = store().on_disk();
    let root = root.path();
    let run = |shift: u64, uptime: u64| {
        let more = format!(",boot=a,uptime={uptime}");
        later(Regsweep::gc(root).args(["-m", "--quarantine"]), shift, &more).json().run().expect_code(0);
    };
    run(DAY, 0);
    let first = list(root).runs.remove(0).run;
    registry().repo("team/app").stray_blob(&layer(7)).write_to(root);
    run(DAY - 8_000, 8_010);
    assert_eq!(list(root).runs.len(), 2);
    command(root, &["restore"]).expect_code(0);
    let left: Vec<String> = list(root).runs.into_iter().map(|run| run.run).collect();
    assert_eq!(left, [first]);
}

/// A store with three repositories of its own and two that are moved aside, to be reached through a link.
fn linked() -> (tempfile::TempDir, tempfile::TempDir) {
    let mut store = registry().repo("a").image("kept", &[layer(1)]).tag("v1").repo("team/sub/img");
    store = store.image("behind", &[layer(2), layer(3)]).tag("v1");
    for name in ["b", "c", "d"] {
        store = store.repo(name).image(name, &[layer(10)]).tag("v1");
    }
    let (root, elsewhere) = (store.on_disk(), tempfile::tempdir().expect("a directory"));
    let repositories = root.path().join("docker/registry/v2/repositories");
    fs::rename(repositories.join("team/sub"), elsewhere.path().join("aside")).expect("ours");
    fs::remove_dir(repositories.join("team")).expect("empty");
    fs::create_dir_all(elsewhere.path().join("disk")).expect("made");
    fs::create_dir_all(elsewhere.path().join("team")).expect("made");
    (root, elsewhere)
}

/// What a symbolic link in the store leads to may be a mount, and hold one, and another link. A link to an empty directory resolves; so
/// does another disk there.
#[test]
fn a_mount_behind_a_link_is_missed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::symlink;
    for shape in ["the mount itself", "a mount below", "a link behind a link", "a link on the way"] {
        let (root, elsewhere) = linked();
        let (root, elsewhere) = (root.path(), elsewhere.path());
        let team = root.join("docker/registry/v2/repositories/team");
        let disk = match shape {
            "the mount itself" => {
                symlink(elsewhere.join("disk"), team).expect("linked");
                elsewhere.join("disk")
            }
            "a mount below" => {
                fs::create_dir(elsewhere.join("team/sub")).expect("made");
                symlink(elsewhere.join("team"), team).expect("linked");
                elsewhere.join("team/sub")
            }
            // The link lies on the disk, and what it leads to does not.
            "a link on the way" => {
                fs::create_dir(elsewhere.join("disk/sub")).expect("made");
                symlink(elsewhere.join("disk/sub"), team).expect("linked");
                elsewhere.join("disk")
            }
            _ => {
                symlink(elsewhere.join("team"), team).expect("linked");
                symlink(elsewhere.join("disk"), elsewhere.join("team/sub")).expect("linked");
                elsewhere.join("disk")
            }
        };
        // In a namespace of its own: a disk that is there, is not, and is another one.
        // Where the link is gone with the disk, it leads nowhere on another one, which stops a run by itself.
        let (fill, missed) = match shape {
            "a link on the way" => ("ln -s {1}/aside {0}/sub", 1),
            _ => ("cp -a {1}/aside/. {0}", 2),
        };
        let script = format!(
            "mount -t tmpfs none {{0}}; {fill}
             code=0; \"$@\" || code=$?; test $code -le 1
             umount {{0}}
             code=0; \"$@\" || code=$?; test $code = 2
             mount -t tmpfs none {{0}}
             code=0; \"$@\" || code=$?; test $code = 2
             umount {{0}}"
        );
        let script = script.replace("{0}", &disk.to_string_lossy()).replace("{1}", &elsewhere.to_string_lossy());
        let ran = bare(root, &[]).under(["unshare", "-m", "sh", "-ec", &script, "sh"]).run();
        assert_eq!(ran.code, Some(0), "{shape}: {}\n{}", ran.stdout, ran.stderr);
        // A link that leads to nothing stops a run by itself.
        let said = ["was mounted in the store", "leads to an empty directory"];
        let said: usize = said.iter().map(|said| ran.stderr.matches(said).count()).sum();
        assert!(said == missed, "{shape}: {}", ran.stderr);
        assert!(root.join(blob_data(&layer(2).digest)).exists(), "{shape}");
    }
}

/// Snapshots come and go under other names, and what lies beside the registry's tree is not the store's.
#[test]
fn a_mount_that_is_no_part_of_the_store_is_not_missed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = store().on_disk();
    let root = root.path();
    for place in ["docker/.zfs/snapshot/d1", "docker/backup", "docker/registry/v2/repositories/.snapshot/d1"] {
        fs::create_dir_all(root.join(place)).expect("made");
        let script = format!(
            "mount -t tmpfs none '{0}'; touch '{0}/x'
             code=0; \"$@\" || code=$?; test $code -le 1
             umount '{0}'
             code=0; \"$@\" || code=$?; test $code -le 1",
            root.join(place).display()
        );
        let ran = bare(root, &[]).under(["unshare", "-m", "sh", "-ec", &script, "sh"]).run();
        assert_eq!(ran.code, Some(0), "{place}: {}\n{}", ran.stdout, ran.stderr);
    }
}

/// Something else that is restored later does not make the first be forgotten before it is old.
#[test]
fn a_restoration_is_remembered_for_as_long_as_it_is_young() {
    let root = store().on_disk();
    let root = root.path();
    let day = 24 * 3600;
    let run = |words: &[&str], shift: u64| {
        let run = Regsweep::new().args(words).arg("--root").arg(root).json();
        later(run, shift, "").run().expect_code(0)
    };
    let gc = ["garbage-collect", "-m", "--min-age", "60d"];
    run(&["garbage-collect", "-m", "--quarantine"], 0);
    run(&["restore", "--all"], 10);
    registry().repo("team/app").stray_blob(&layer(7)).write_to(root);
    run(&["garbage-collect", "--quarantine"], 40 * day);
    run(&["restore", "--all"], 40 * day + 10);
    run(&gc, 40 * day + 20);
    assert!(untagged().reaches().iter().all(|digest| root.join(blob_data(digest)).exists()), "restored 40 days ago");
}
