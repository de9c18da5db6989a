//! What a later look showed: mounts that come back in the middle of a run, runs that stop the next one for what they removed themselves, limits that
//! are asked too early.

use std::os::unix::fs::symlink;

use super::refusing::{DAY, due, later, online, wait_for_run};
use super::*;
use crate::support::layout::{blob_data, repository};

/// A store of several repositories, one of which lies on a disk of its own.
fn on_two_disks() -> Registry {
    let mut store = registry().repo("team").image("behind", &[layer(2), layer(3)]).tag("v1");
    for name in ["a", "b", "c", "d"] {
        store = store.repo(name).image(name, &[layer(10)]).tag("v1");
    }
    store
}

/// Runs a script as root in a namespace of mounts of its own. In it, `"$@"` is a collection.
#[track_caller]
pub(super) fn in_namespace(root: &Path, flags: &[&str], script: &str) -> Outcome {
    let ran = bare(root, flags).under(["unshare", "-m", "sh", "-ec", script, "sh"]).run();
    assert_eq!(ran.code, Some(0), "{script}\n{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// The store is read while a mount is away, or covered, and the mount is back before anybody asks what was there; or what covers it is no empty
/// directory. The mount and its number are the same again then.
#[test]
fn a_mount_that_comes_back_while_the_store_is_read_is_missed() {
    if !rustix::process::geteuid().is_root() || !has_strace() {
        return;
    }
    // What a run opens at its beginning.
    let held = "until ls -l /proc/[0-9]*/fd 2>&1 | grep -q ' {team}$'; do sleep 0.05; done";
    let mount = "mount -t tmpfs none {team}; cp -a {aside}/. {team}";
    let meanwhile = [
        ("away from the beginning", &[][..], "umount {team}", format!("sleep 2; {mount}"), "true"),
        ("away from the beginning", &["--quarantine"], "umount {team}", format!("sleep 2; {mount}"), "true"),
        ("unmounted lazily", &[], "true", format!("{held}; umount -l {{team}}; sleep 1; {mount}"), "true"),
        (
            "moved",
            &[],
            "true",
            format!("{held}; mount --move {{team}} {{else}}; sleep 1; mount --move {{else}} {{team}}"),
            "true",
        ),
        ("covered for a while", &[], "true", format!("{held}; mount -t tmpfs none {{team}}; sleep 1; umount {{team}}"), "true"),
        ("covered", &[], "true", format!("{held}; mount -t tmpfs none {{team}}; touch {{team}}/x"), "umount {team}"),
    ];
    for (what, flags, before, meanwhile, after) in meanwhile {
        let root = on_two_disks().on_disk();
        let repositories = root.path().join("docker/registry/v2/repositories");
        let aside = tempfile::tempdir().expect("a directory");
        fs::rename(repositories.join("team"), aside.path().join("team")).expect("ours");
        fs::create_dir(repositories.join("team")).expect("made");
        fs::create_dir(aside.path().join("else")).expect("made");
        // Every call that opens the layers of one repository waits until the other is back.
        let script = format!(
            "{mount}
            code=0; \"$@\" || code=$?; test $code -le 1
            {before}
            ({meanwhile}) &
            code=0
            strace -f -qq -o /dev/null -P {{a}}/_layers -e trace=openat -e inject=openat:delay_enter=4000000 \"$@\" || code=$?
            wait; {after}; mountpoint -q {{team}}; umount {{team}}; test $code = 2"
        );
        let script = script.replace("{team}", &repositories.join("team").to_string_lossy());
        let script = script.replace("{aside}", &aside.path().join("team").to_string_lossy());
        let script = script.replace("{else}", &aside.path().join("else").to_string_lossy());
        let script = script.replace("{a}", &repositories.join("a").to_string_lossy());
        let ran = in_namespace(root.path(), flags, &script);
        assert!(ran.stderr.contains("was mounted in the store"), "{what}: {}", ran.stderr);
        assert!(root.path().join(blob_data(&layer(2).digest)).exists());
    }
}

/// An older copy of the same, or another disk altogether, is mounted in the place of what the last run saw.
#[test]
fn another_filesystem_in_the_place_of_a_mount_is_none() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let other = "umount {team}; mount -t tmpfs none {team}";
    let kinds = [
        ("an older copy", "cp -a {aside}/. {team}; rm -r {team}/_manifests/tags/v2", 2),
        ("something else", "mkdir {team}/data", 2),
        ("the same", "", 0),
    ];
    for (what, fill, code) in kinds {
        for flags in [&[][..], &["-m", "--quarantine"]] {
            let root = on_two_disks().repo("team").image("later", &[layer(4)]).tag("v2").on_disk();
            let team = root.path().join(repository("team"));
            let aside = tempfile::tempdir().expect("a directory");
            fs::rename(&team, aside.path().join("team")).expect("ours");
            fs::create_dir(&team).expect("made");
            let other = if fill.is_empty() { "true" } else { other };
            let script = format!(
                r#"mount -t tmpfs none {{team}}; cp -a {{aside}}/. {{team}}
                code=0; "$@" || code=$?; test $code = 0
                {other}; {fill}
                code=0; "$@" || code=$?; test $code = {code}
                code=0; "$@" --allow-shrunk --allow-unlinked 100% || code=$?; test $code -le 1
                code=0; "$@" --allow-unlinked 100% || code=$?; test $code -le 1"#
            );
            let script = script.replace("{team}", &team.to_string_lossy());
            let script = script.replace("{aside}", &aside.path().join("team").to_string_lossy());
            let ran = in_namespace(root.path(), flags, &script);
            assert_eq!(ran.stderr.contains("or is another filesystem"), code == 2, "{what}: {}", ran.stderr);
        }
    }
}

/// Links that lead to `repositories` itself, and to what lies on the disk around that of the root.
#[test]
fn mounts_on_the_way_to_the_store_are_missed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for shape in ["repositories behind two links", "a disk around the root's"] {
        let place = tempfile::tempdir().expect("a directory");
        let [around, other] = ["around", "other"].map(|name| place.path().join(name));
        fs::create_dir_all(&around).expect("made");
        fs::create_dir_all(&other).expect("made");
        let store = on_two_disks().on_disk();
        let stored = store.path().to_string_lossy().into_owned();
        let (root, script) = match shape {
            // Where the second link is, an old copy lies below the mount point.
            "repositories behind two links" => {
                let root = place.path().join("root");
                let script = "
                    cp -a {stored} {root}; cp -a {v2}/repositories {around}/l; rm -r {around}/l/team
                    mount -t tmpfs none {around}; mount -t tmpfs none {other}
                    mv {v2}/repositories {other}/r; ln -s {other}/r {around}/l; ln -s {around}/l {v2}/repositories
                    code=0; \"$@\" --allow-shared-blobs || code=$?; test $code -le 1
                    umount {around}
                    code=0; \"$@\" --allow-shared-blobs || code=$?; test $code = 2";
                (root, script)
            }
            _ => {
                let root = around.join("root");
                let script = "
                    mkdir -p {around}/team; cp -a {v2stored}/repositories/a/. {around}/team
                    mount -t tmpfs none {around}; mkdir {root}; mount -t tmpfs none {root}
                    cp -a {stored}/. {root}; mv {v2}/repositories/team {around}/team; ln -s {around}/team {v2}/repositories/team
                    code=0; \"$@\" || code=$?; test $code -le 1
                    mkdir {other}/m; mount --bind {root} {other}/m; umount -l {around}; mkdir -p {root}; mount --bind {other}/m {root}
                    code=0; \"$@\" || code=$?; test $code = 2";
                (root, script)
            }
        };
        let v2 = root.join("docker/registry/v2");
        let mut script = script.to_owned();
        for (name, path) in [("{root}", &root), ("{v2}", &v2), ("{around}", &around), ("{other}", &other)] {
            script = script.replace(name, &path.to_string_lossy());
        }
        let script = script.replace("{v2stored}", &format!("{stored}/docker/registry/v2")).replace("{stored}", &stored);
        let ran = in_namespace(&root, &[], &script);
        assert!(ran.stderr.contains("was mounted in the store"), "{shape}: {}", ran.stderr);
    }
}

/// What a run has removed before it was cut off is not missing: the next run goes on.
#[test]
fn a_run_that_was_cut_off_stops_no_later_one() {
    if !has_strace() {
        return;
    }
    let untidy = || {
        let mut store = registry().repo("a").image("kept", &[layer(1)]).tag("v1");
        for number in 20..26 {
            store = store.pushed(&oci_image(&format!("old {number}"), &[layer(number)]));
        }
        store.on_disk()
    };
    let again = |root: &Path, flags: &[&str]| {
        for _ in 0..2 {
            bare(root, flags).run().expect_code(0);
        }
    };
    for (flags, call) in [(&["-m"][..], "unlinkat"), (&["-m", "--quarantine"], "renameat2")] {
        // Among the links: four of six revisions are gone by then.
        let root = untidy();
        bare(root.path(), &[]).run().expect_code(0);
        let killed = format!("inject={call}:signal=KILL:when=30");
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &killed];
        let ended = bare(root.path(), &[flags, &["--jobs", "1"]].concat()).under(words).run();
        assert_ne!(ended.code, Some(0), "killed");
        again(root.path(), flags);
    }
    // After the sweep, while pushes are waited for.
    let root = untidy();
    let root = root.path();
    bare(root, &[]).run().expect_code(0);
    let (_, config) = online(root, &[]);
    let run = Regsweep::gc_config(config.path()).args(["--online", "-m", "--rescue-for", "20s"]).start();
    wait_for_run(root);
    std::process::Command::new("kill").args(["-INT", &run.child.id().to_string()]).status().expect("kill is there");
    run.wait().expect_code(130);
    let night = || Regsweep::gc_config(config.path()).args(["--online", "-m", "--rescue-for", "0s"]);
    night().run().expect_code(0);
    later(night(), DAY, "").run().expect_code(0);
}

/// What a run that was cut off was to remove excuses nothing that is lost with it.
#[test]
fn a_run_that_was_cut_off_excuses_no_loss() {
    if !has_strace() {
        return;
    }
    let mut store = registry().repo("big").image("kept 1", &[layer(1)]).tag("v1").image("kept 2", &[layer(2)]).tag("v2");
    store = store.image("kept 3", &[layer(3)]).tag("v3");
    for number in 20..50 {
        store = store.pushed(&oci_image(&format!("old {number}"), &[layer(number)]));
    }
    for name in ["a", "b", "c", "d"] {
        store = store.repo(name).image(name, &[layer(10)]).tag("v1");
    }
    let root = store.on_disk();
    let root = root.path();
    bare(root, &[]).run().expect_code(0);
    let summary = || fs::read_to_string(root.join(".regsweep/summary.json")).expect("there");
    let before = summary();
    // Before the first link has gone.
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", "inject=unlinkat:signal=KILL:when=1"];
    bare(root, &["-m", "--jobs", "1"]).under(words).run();
    assert_ne!(summary(), before);
    let manifests = root.join(repository("big")).join("_manifests");
    let aside = tempfile::tempdir().expect("a directory");
    fs::rename(&manifests, aside.path().join("aside")).expect("ours");
    let refused = bare(root, &[]).run().expect_code(2);
    assert!(refused.stderr.contains("revisions left in big"), "{}", refused.stderr);
    fs::rename(aside.path().join("aside"), &manifests).expect("ours");
    bare(root, &["-m"]).run().expect_code(0);
    assert!(!summary().contains("swept"), "the run has ended");
}

/// What goes for good is limited when it goes, not only when it was looked at: a file that somebody had open then did not count. The limit is that
/// which was given.
#[test]
fn max_reclaim_is_asked_of_what_is_purged() {
    for is_enough in [false, true] {
        let root = due();
        let root = root.path();
        let before = list(root).runs.remove(0).targets;
        let held = before.iter().max_by_key(|held| held.bytes).expect("there is one");
        let path = only_run(root).join(held.path.strip_prefix("docker/registry/v2/").expect("in the store"));
        let (_, config) = online(root, &[]);
        // Moved aside by this run, which has to wait for pushes then.
        registry().repo("team/app").stray_blob(&layer(7)).write_to(root);
        let open = fs::File::options().append(true).open(path).expect("in quarantine");
        let night = Regsweep::gc_config(config.path()).args(["--online", "--rescue-for", "6s", "--max-reclaim"]);
        let all = before.iter().map(|held| held.bytes).sum::<u64>();
        let limit = if is_enough { all } else { all - held.bytes + layer(7).bytes.len() as u64 };
        let run = later(night.arg(limit.to_string()).json(), DAY, "").start();
        while runs(root).len() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        drop(open);
        let ran = run.wait().expect_code(0);
        assert_eq!(moved(&ran, "purged") == Moved::default(), !is_enough, "{}", ran.stdout);
        assert_eq!(ran.stderr.contains("would be purged, more than"), !is_enough, "{}", ran.stderr);
        assert_eq!(list(root).runs.iter().any(|run| run.targets == before), !is_enough);
    }
}

/// The mark that a purge goes by is made anew after pushes were waited for: by then what lies on a mount may be gone with it.
#[test]
fn a_mount_that_is_lost_while_pushes_are_waited_for_stops_the_purge() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (meanwhile, left) in [("true", 1), ("umount -l {team}", 2), ("mount -t tmpfs none {team}", 2)] {
        let root = on_two_disks().repo("a").stray_blob(&layer(9)).on_disk();
        let root = root.path();
        let team = root.join(repository("team"));
        let [aside, more] = ["team", "more"].map(|_| tempfile::tempdir().expect("a directory"));
        fs::rename(&team, aside.path().join("team")).expect("ours");
        fs::create_dir(&team).expect("made");
        registry().stray_blob(&layer(8)).write_to(more.path());
        // The second night has something to quarantine, so that it waits, and something that is due.
        let script = format!(
            r#"mount -t tmpfs none {{team}}; cp -a {}/team/. {{team}}
            # A mount is a note.
            code=0; "$@" --rescue-for 0s || code=$?; test $code = 0
            cp -a {}/docker {}
            finished() {{ grep -l '"finished": "' {quarantine}/*/run.json | wc -l; }}
            test "$(finished)" = 1
            (until test "$(finished)" = 2; do sleep 0.05; done; {meanwhile}) &
            code=0; REGSWEEP_TEST_CLOCK=trusted=yes,shift={DAY} "$@" --rescue-for 5s || code=$?; test $code = 0
            wait; test "$(finished)" = {left}"#,
            aside.path().display(),
            more.path().display(),
            root.display(),
            quarantine = directory(root).display(),
        );
        let script = script.replace("{team}", &team.to_string_lossy());
        let (run, _config) = online(root, &["--min-age", "0s"]);
        let ran = run.under(["unshare", "-m", "sh", "-ec", &script, "sh"]).run().expect_code(0);
        let is_said = ran.stderr.contains("nothing is purged in this run") && ran.stderr.contains("was mounted in the store");
        assert_eq!(is_said, left == 2, "{meanwhile}: {}", ran.stderr);
    }
}

/// Nothing is renamed from one mount to another, be they of one filesystem: said before anything is changed, as a dry run says it.
#[test]
fn a_part_that_is_mounted_apart_refuses_a_quarantine() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for part in ["docker", "docker/registry/v2/repositories", "docker/registry/v2/blobs"] {
        let root = store().on_disk();
        let root = root.path();
        let before = files(root);
        let script = format!(
            "mount --bind {0} {0}
             code=0; \"$@\" --quarantine || code=$?; test $code = 2
             code=0; \"$@\" --quarantine --dry-run || code=$?; test $code = 2
             umount {0}",
            root.join(part).display()
        );
        let ran = in_namespace(root, &["-m", "--allow-shared-blobs"], &script);
        assert_eq!(ran.stderr.matches("is mounted apart from").count(), 2, "{part}: {}", ran.stderr);
        assert!(ran.stdout.contains("a real run would stop"), "{part}: {}", ran.stdout);
        assert_eq!(files(root), before);
    }
}

/// Restoring needs no record of what the store held before, and nobody writes where the records are.
#[test]
fn records_are_nobody_elses() {
    let root = due();
    let root = root.path();
    let records = root.join(".regsweep");
    fs::write(records.join("restored.json"), "{\"schema\":1,\"restorations\":[]}").expect("ours");
    for (option, name) in [("--plan-out", "restored.json"), ("--metrics", "summary.json"), ("--plan-out", "new")] {
        let path = records.join(name);
        let before = fs::read(&path).ok();
        let ran = bare(root, &["--dry-run", option, path.to_str().expect("UTF-8")]).run().expect_code(2);
        assert!(ran.stderr.contains("among the records of regsweep"), "{}", ran.stderr);
        assert_eq!(fs::read(&path).ok(), before);
    }
    let link = tempfile::tempdir().expect("a directory");
    symlink(&records, link.path().join("records")).expect("linked");
    let path = link.path().join("records/restored.json");
    bare(root, &["--dry-run", "--plan-out", path.to_str().expect("UTF-8")]).run().expect_code(2);

    // Under another name it would be a blob.
    let names = tempfile::tempdir_in(root).expect("a directory");
    let blob = files(root).into_keys().find(|path| path.ends_with("/data")).expect("a blob");
    let name = names.path().join("plan");
    fs::hard_link(root.join("docker").join(blob), &name).expect("linked");
    let before = fs::read(&name).expect("there");
    let ran = bare(root, &["--dry-run", "--plan-out", name.to_str().expect("UTF-8")]).run().expect_code(2);
    assert!(ran.stderr.contains("has other names"), "{}", ran.stderr);
    assert_eq!(fs::read(&name).expect("there"), before);

    fs::write(records.join("summary.json"), "no JSON").expect("ours");
    let refused = bare(root, &[]).run().expect_code(2);
    assert!(refused.stderr.contains("summary.json"), "{}", refused.stderr);
    command(root, &["restore"]).expect_code(0);
}
