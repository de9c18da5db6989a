//! Nothing irreversible before everything that can refuse: each change against each refusal, and each purge against each guard.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::support::layout::{blob_data, layer_link, repository, revision_link};

/// Moves all clocks of a run forward, seconds.
pub(super) fn later(run: Regsweep, seconds: u64, more: &str) -> Regsweep {
    run.env("REGSWEEP_TEST_CLOCK", format!("trusted=yes,shift={seconds}{more}"))
}

pub(super) const DAY: u64 = 25 * 3600;

/// The registry's tree and the quarantine, all that is known of them.
fn everything(root: &Path) -> (Snapshot, Snapshot) {
    (snapshot(&root.join("docker")), if directory(root).exists() { snapshot(&directory(root)) } else { Snapshot::new() })
}

/// Four repositories, one of which has garbage to come; what was garbage before is in quarantine and due.
pub(super) fn due() -> tempfile::TempDir {
    let mut store = registry().repo("team/app").image("kept", &[layer(1), layer(2)]).tag("v1").upload_layer(&layer(9));
    store = store.pushed(&untagged());
    for name in ["b", "c", "d"] {
        store = store.repo(name).image(name, &[layer(1)]).tag("v1");
    }
    let root = store.on_disk();
    collect(root.path(), &["-m"]).expect_code(0);
    registry().repo("team/app").upload_layer(&layer(8)).stray_blob(&layer(7)).write_to(root.path());
    root
}

/// A way to be refused: what is done to the store before, and what is given.
type Refusal = (&'static str, fn(&Path), &'static [&'static str]);

const REFUSALS: &[Refusal] = &[
    ("--max-reclaim", |_| {}, &["--max-reclaim", "1B"]),
    ("/nowhere/at", |_| {}, &["--plan-out", "/nowhere/at/all"]),
    ("/nowhere/at", |_| {}, &["--metrics", "/nowhere/at/all"]),
    ("not one repository", |root| empty(root), &[]),
    ("repositories left of", |root| ["b", "c", "d"].iter().for_each(|name| gone(&root.join(repository(name)))), &[]),
    ("tags left of", |root| ["b", "c", "d"].iter().for_each(|name| gone(&root.join(layout::tags(name)))), &[]),
    ("leads nowhere", |root| symlink("/nowhere/at/all", root.join(repository("e"))).expect("made"), &[]),
    ("is a symbolic link to", blobs_elsewhere, &[]),
    ("another regsweep works on", |_| {}, &["LOCKED"]),
    ("GitLab", of_gitlab, &[]),
];

fn blobs_elsewhere(root: &Path) {
    let (blobs, elsewhere) = (root.join("docker/registry/v2/blobs"), root.join("elsewhere"));
    fs::rename(&blobs, &elsewhere).and_then(|()| symlink(&elsewhere, &blobs)).expect("ours");
}

fn of_gitlab(root: &Path) {
    let file = root.join("docker/registry/lockfiles/database-in-use");
    fs::create_dir_all(file.parent().expect("in a directory")).and_then(|()| fs::write(file, "{}")).expect("made");
}

pub(super) fn gone(path: &Path) {
    fs::remove_dir_all(path).expect("it was there");
}

fn empty(root: &Path) {
    let repositories = root.join("docker/registry/v2/repositories");
    gone(&repositories);
    fs::create_dir(repositories).expect("made");
}

#[test]
fn nothing_is_changed_before_all_that_can_refuse_was_asked() {
    for (said, prepare, flags) in REFUSALS {
        for kind in [&["--quarantine"][..], &["--quarantine", "-m"], &["--online", "-m", "--rescue-for", "0s"], &["-m"], &[]] {
            let is_online = kind.contains(&"--online");
            let root = due();
            let root = root.path();
            prepare(root);
            let before = everything(root);
            let mut flags = flags.to_vec();
            let lock = flags.contains(&"LOCKED").then(|| {
                flags.clear();
                let lock = fs::File::options().write(true).open(root.join(".regsweep/lock")).expect("there");
                lock.lock().expect("free");
                lock
            });
            if *said == "--max-reclaim" && (kind.contains(&"--quarantine") || is_online) {
                // Less than would be purged, and more than would be quarantined.
                flags = vec!["--max-reclaim", "100B"];
            }
            let command = ["garbage-collect", "--allow-unlinked", "100%", "--allow-untagged-repositories"];
            let config = config_of(root);
            let run = Regsweep::new().args(command).args(kind).args(&flags);
            let run = if is_online { run.arg(config.path()) } else { run.arg("--root").arg(root) };
            let refused = later(run, DAY, "").run().expect_code(2);
            assert!(refused.stderr.contains(said), "{said} {kind:?}: {}", refused.stderr);
            assert_eq!(everything(root), before, "{said} {kind:?}");
            drop(lock);
        }
    }
}

/// What stops a command that is no collection: which of them, what is said, what is done to the store before, and what is given.
type Refused = (&'static [usize], &'static str, fn(&Path), &'static [&'static str]);

/// The commands beside `garbage-collect` that change a store.
const OTHERS: [&[&str]; 7] = [
    &["restore"],
    &["restore", "--all"],
    &["quarantine", "purge"],
    &["quarantine", "purge", "--older-than", "24h"],
    &["quarantine", "purge", "--run", "THE-RUN"],
    &["verify", "--quarantine", "--min-age", "0s"],
    &["quarantine", "restarted", "--since", "1h"],
];
const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6];
const PURGES: &[usize] = &[2, 3, 4];

const REFUSED: &[Refused] = &[
    (ALL, "another regsweep works on", |_| {}, &["LOCKED"]),
    (&[0, 1, 2, 3, 4, 6], "run.json", |root| fs::write(only_run(root).join("run.json"), "{").expect("ours"), &[]),
    (&[0, 1], "no run nobody is in quarantine", |_| {}, &["--run", "nobody"]),
    (
        &[0, 1, 2, 3, 4],
        "is not in quarantine",
        |_| {},
        &["--digest", "sha256:0000000000000000000000000000000000000000000000000000000000000000"],
    ),
    (&[5], "/nowhere/at", |_| {}, &["--metrics", "/nowhere/at/all"]),
    (&[5], "/nowhere/at", |_| {}, &["--state", "/nowhere/at/all"]),
    (PURGES, "nothing in the store needs anything", |root| empty(root), &[]),
    (PURGES, "repositories left of", |root| ["b", "c", "d"].iter().for_each(|name| gone(&root.join(repository(name)))), &[]),
    (PURGES, "leads nowhere", |root| symlink("/nowhere/at/all", root.join(repository("e"))).expect("made"), &[]),
    (PURGES, "is a symbolic link to", blobs_elsewhere, &[]),
    (PURGES, "GitLab", of_gitlab, &[]),
];

#[test]
fn no_other_command_changes_anything_before_all_that_can_refuse_was_asked() {
    let mut refusals = 0;
    for (which, said, prepare, flags) in REFUSED {
        for place in *which {
            let root = due();
            let root = root.path();
            let run = only_run(root).file_name().expect("a name").to_string_lossy().into_owned();
            let words: Vec<&str> = OTHERS[*place].iter().map(|word| if *word == "THE-RUN" { &run } else { *word }).collect();
            // What a command does not take is no refusal of its own.
            if flags.first() == Some(&"--digest") && words[0] != "restore" || flags.contains(&"--run") && words.contains(&"--all")
            {
                continue;
            }
            fs::write(root.join(blob_data(&layer(2).digest)), "damaged").expect("ours");
            prepare(root);
            let before = everything(root);
            let locked = flags.contains(&"LOCKED").then(|| {
                let lock = fs::File::options().write(true).open(root.join(".regsweep/lock")).expect("there");
                lock.lock().expect("free");
                lock
            });
            let flags = if locked.is_some() { &[][..] } else { flags };
            let refused = later(Regsweep::new().args(&words).args(flags).arg("--root").arg(root), DAY, "").run().expect_code(2);
            assert!(refused.stderr.contains(said), "{said}, {words:?}: {}", refused.stderr);
            assert_eq!(everything(root), before, "{said}, {words:?}");
            refusals += 1;
        }
    }
    assert!(refusals > 30, "{refusals}");
}

/// What the brakes of a dry run say is said beside its report, and it makes no file.
#[test]
fn a_dry_run_says_what_would_stop_the_real_one() {
    let root = due();
    let root = root.path();
    empty(root);
    let before = snapshot(root);
    let dry = later(Regsweep::gc(root).args(["--quarantine", "-m"]), DAY, "").dry().json().run().expect_code(2);
    let stops = dry.report()["stops"].as_array().expect("a list").len();
    assert_eq!(stops, 2, "empty, and less than there was: {}", dry.stdout);
    assert!(dry.stderr.contains("not one repository") && dry.plan.is_some(), "{}", dry.stderr);
    assert_eq!(snapshot(root), before);
    later(Regsweep::gc(root).args(["--quarantine", "-m", "--allow-empty"]), DAY, "").dry().run().expect_code(0);
}

#[test]
fn max_reclaim_counts_what_goes_and_what_is_purged_each_by_itself() {
    let root = due();
    let root = root.path();
    let due_bytes = list(root).runs[0].bytes;
    let run = |limit: u64| later(Regsweep::gc(root).args(["--quarantine", "--max-reclaim", &format!("{limit}B")]), DAY, "").run();
    let refused = run(due_bytes - 1).expect_code(2);
    assert!(refused.stderr.contains("would be purged"), "{}", refused.stderr);
    let dry = later(Regsweep::gc(root).arg("--quarantine"), DAY, "").dry().run();
    assert!(dry.reclaimable_bytes() < due_bytes);
    run(due_bytes).expect_code(0);
}

/// A signal between the plan and the first change.
#[test]
fn a_signal_before_the_first_change_leaves_everything() {
    let root = due();
    let root = root.path();
    let before = everything(root);
    let plan = tempfile::tempdir().expect("a directory");
    let fifo = plan.path().join("plan");
    crate::support::held::make_fifo(&fifo);
    let running = later(Regsweep::new().args(["garbage-collect", "--quarantine", "-m", "--root"]).arg(root), DAY, "");
    let running = running.arg("--plan-out").arg(&fifo).start();
    // It waits for somebody to read the plan, and has seen the signal by the time that somebody does.
    std::thread::sleep(Duration::from_millis(1500));
    rustix::process::kill_process(rustix::process::Pid::from_child(&running.child), rustix::process::Signal::TERM)
        .expect("alive");
    std::thread::sleep(Duration::from_millis(1000));
    let _reader = fs::File::options().read(true).write(true).open(&fifo).expect("a fifo that both ends of are open at once");
    running.wait().expect_code(130);
    assert_eq!(everything(root), before);
}

#[test]
fn what_is_missing_since_the_last_run_stops_the_purge_until_somebody_says_so() {
    let root = due();
    let root = root.path();
    let summary = || fs::read(root.join(".regsweep/summary.json")).expect("a run wrote it");
    let before = summary();
    for name in ["b", "c", "d"] {
        gone(&root.join(repository(name)));
    }
    for _ in 0..2 {
        later(Regsweep::gc(root).args(["--quarantine", "-m"]), DAY, "").dry().run().expect_code(2);
        later(Regsweep::gc(root).args(["--quarantine", "-m"]), DAY, "").run().expect_code(2);
        let refused = later(Regsweep::new().args(["quarantine", "purge", "--root"]).arg(root), DAY, "").run().expect_code(2);
        assert!(refused.stderr.contains("--allow-shrunk"), "{}", refused.stderr);
        assert_eq!(summary(), before, "a run that was stopped leaves it");
    }
    let flags = ["--quarantine", "-m", "--allow-shrunk", "--allow-empty"];
    let run = later(Regsweep::gc(root).args(flags), DAY, "").json().run().expect_code(0);
    assert_ne!(moved(&run, "purged"), Moved::default());
    assert_ne!(summary(), before);
    Regsweep::gc(root).args(["--quarantine", "-m"]).run().expect_code(0);
}

#[test]
fn a_run_that_is_named_has_to_have_waited_too() {
    let root = due();
    let root = root.path();
    let id = only_run(root).file_name().expect("a name").to_string_lossy().into_owned();
    let purge = |flags: &[&str], seconds| {
        let run = Regsweep::new().args(["quarantine", "purge", "--run", &id]).args(flags).arg("--root").arg(root);
        later(run, seconds, "").json().run()
    };
    let before = everything(root);
    let refused = purge(&["--older-than", "24h"], 3600).expect_code(2);
    assert!(refused.stderr.contains("has waited for") && refused.stderr.contains("24h"), "{}", refused.stderr);
    assert_eq!(everything(root), before);
    purge(&["--older-than", "24h"], DAY).expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

/// The blob of the untagged image's layer, in quarantine.
fn quarantined(root: &Path) -> PathBuf {
    let path = blob_data(&layer(3).digest);
    only_run(root).join(path.strip_prefix("docker/registry/v2/").expect("in the registry's tree"))
}

/// No flag skips these guards: `garbage-collect`, `quarantine purge` and that of one run.
#[test]
fn what_is_written_to_in_quarantine_is_not_purged() {
    let purges: [&dyn Fn(&Path) -> Outcome; 3] = [
        &|root| later(Regsweep::gc(root).arg("--quarantine"), DAY, "").json().run(),
        &|root| command(root, &["quarantine", "purge", "--assume-offline"]),
        &|root| {
            let id = only_run(root).file_name().expect("a name").to_string_lossy().into_owned();
            command(root, &["quarantine", "purge", "--assume-offline", "--run", &id])
        },
    ];
    for (number, purge) in purges.iter().enumerate() {
        // Open for writing, by somebody else.
        let root = due();
        let place = quarantined(root.path());
        let open = fs::File::options().append(true).open(&place).expect("there");
        let mut writer = Command::new("sleep").arg("60").stdout(open).spawn().expect("sleep runs");
        let withheld = purge(root.path());
        writer.kill().and_then(|()| writer.wait()).expect("ours to end");
        withheld.expect_code(0);
        assert!(place.exists(), "{number}: open");
        purge(root.path()).expect_code(0);
        assert!(!place.exists(), "{number}: not open any more");

        // Touched, and whole: a `chown` of the volume.
        let root = due();
        let place = quarantined(root.path());
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).expect("ours");
        purge(root.path()).expect_code(0);
        assert!(!place.exists(), "{number}: whole");

        // Written to and given its old time, as archivers do.
        let root = due();
        let place = quarantined(root.path());
        let modified = fs::metadata(&place).and_then(|metadata| metadata.modified()).expect("a time");
        let mut file = fs::File::options().append(true).open(&place).expect("there");
        file.write_all(b"more").and_then(|()| file.set_modified(modified)).expect("written");
        drop(file);
        purge(root.path()).expect_code(0);
        assert!(place.exists(), "{number}: changed");

        // Written to, and it says so: it is work in progress, and goes back.
        let root = due();
        let place = quarantined(root.path());
        std::thread::sleep(Duration::from_millis(20));
        fs::File::options().append(true).open(&place).and_then(|mut file| file.write_all(b"more")).expect("written");
        purge(root.path());
        assert!(!place.exists() && root.path().join(blob_data(&layer(3).digest)).exists(), "{number}: written");
    }
}

/// What is done to a run so that it leads to a victim.
type Swap<'a> = &'a dyn Fn(&Path, &Path);

/// Whoever owns the root may replace what is in our directory by links to what only we may remove.
#[test]
fn nothing_outside_is_touched_through_our_own_directory() {
    let swaps: [Swap<'_>; 4] = [
        &|run, victim| {
            fs::rename(run, run.with_extension("aside")).and_then(|()| symlink(victim, run)).expect("swapped");
        },
        &|run, victim| {
            fs::rename(run.join("blobs"), run.with_extension("aside"))
                .and_then(|()| symlink(victim, run.join("blobs")))
                .expect("swapped");
        },
        &|run, victim| {
            let all = run.parent().expect("in a directory");
            fs::rename(all, all.with_extension("aside")).and_then(|()| symlink(victim, all)).expect("swapped");
        },
        &|run, victim| {
            let stamp = run.join("run.json");
            fs::remove_file(&stamp).and_then(|()| symlink(victim.join("file"), &stamp)).expect("swapped");
        },
    ];
    for (number, swap) in swaps.iter().enumerate() {
        let root = due();
        let victim = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(victim.path().join("sha256/empty/deeper")).expect("made");
        fs::create_dir_all(victim.path().join("20260101T000000Z-garbage-collect/blobs/sha256/empty")).expect("made");
        fs::write(victim.path().join("file"), "theirs").expect("written");
        swap(&only_run(root.path()), victim.path());
        let before = snapshot(victim.path());
        for words in [&["quarantine", "list"][..], &["quarantine", "purge"], &["restore", "--all"]] {
            command(root.path(), words);
            assert_eq!(snapshot(victim.path()), before, "{number} {words:?}");
        }
        later(Regsweep::gc(root.path()).args(["--quarantine", "-m"]), DAY, "").run();
        assert_eq!(snapshot(victim.path()), before, "{number}");
    }
}

/// What is needed again but cannot be restored keeps everything else from going.
#[test]
fn what_cannot_be_restored_stops_the_rest() {
    let root = due();
    let root = root.path();
    registry().repo("team/app").manifest_only(&untagged()).tag("again").write_to(root);
    // Its repository's shard cannot be written to.
    let place = root.join(blob_data(&layer(3).digest));
    let shard = place.parent().and_then(Path::parent).expect("a shard");
    let chattr = |flag: &str| {
        Command::new("chattr").arg(flag).arg(shard).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !chattr("+i") {
        skipped("no directory can be made immutable here");
        return;
    }
    let waiting = list(root).runs[0].blobs;
    let stopped = later(Regsweep::gc(root).arg("--quarantine"), DAY, "").json().run();
    assert!(chattr("-i"));
    assert!(matches!(stopped.code, Some(2 | 3)), "{}", stopped.stdout);
    assert!(stopped.finding_codes().contains(&"failed-restore".to_owned()));
    assert_eq!(moved(&stopped, "purged"), Moved::default());
    assert!(root.join(blob_data(&layer(7).digest)).exists(), "and nothing was quarantined");
    assert!(list(root).runs[0].blobs >= waiting - 2);
    later(Regsweep::gc(root).arg("--quarantine"), DAY, "").run().expect_code(0);
    assert!(place.exists());
}

/// Room is asked for before anything is moved, and the message knows the way out.
#[test]
fn a_quarantine_without_room_is_refused_at_once() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root mounts");
        return;
    }
    let root = due();
    // Inodes for what is there, and three more.
    let script = format!(
        "set -e; cd {0}; used=$(find . | wc -l); mkdir /tmp/.full.$$; mount -t tmpfs -o size=64m,nr_inodes=$((used + 4)) tmpfs /tmp/.full.$$
         cp -a . /tmp/.full.$$/; cd /tmp/.full.$$; df -i . >&2; before=$(find docker .regsweep/quarantine | sort | sha256sum); code=0
         {1} garbage-collect --ignore-birth-time --quarantine --root . || code=$?
         [ \"$before\" = \"$(find docker .regsweep/quarantine | sort | sha256sum)\" ] || code=99
         {1} garbage-collect --ignore-birth-time --root . >&2 || code=98
         cd /; umount /tmp/.full.$$; rmdir /tmp/.full.$$; exit $code",
        root.path().display(),
        env!("CARGO_BIN_EXE_regsweep")
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("inodes") && said.contains("needs no room"), "{said}");
}

/// A configuration of a registry that is down.
pub(super) fn config_of(root: &Path) -> tempfile::NamedTempFile {
    let config = tempfile::NamedTempFile::new().expect("a file");
    fs::write(config.path(), format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display()))
        .expect("written");
    config
}

pub(super) fn online(root: &Path, flags: &[&str]) -> (Regsweep, tempfile::NamedTempFile) {
    let config = config_of(root);
    (Regsweep::gc_config(config.path()).args(["--online", "-m"]).args(flags), config)
}

/// Waits until a run has moved all that it moves.
pub(super) fn wait_for_run(root: &Path) {
    let begun = Instant::now();
    let is_finished =
        |run: &PathBuf| fs::read_to_string(run.join("run.json")).is_ok_and(|stamp| !stamp.contains("\"finished\": null"));
    while !(runs(root).len() == 1 && runs(root).iter().all(is_finished)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is stuck");
        std::thread::sleep(Duration::from_millis(5));
    }
    // And its watch has begun.
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn a_watch_that_is_interrupted_is_said() {
    let root = store().on_disk();
    let (run, _config) = online(root.path(), &["--rescue-for", "60s"]);
    let running = run.json().start();
    wait_for_run(root.path());
    rustix::process::kill_process(rustix::process::Pid::from_child(&running.child), rustix::process::Signal::INT).expect("alive");
    let ended = running.wait().expect_code(130);
    assert_eq!(
        (ended.report()["outcome"].as_str(), ended.report()["quarantine"]["rescue"].as_str()),
        (Some("interrupted"), Some("interrupted"))
    );
}

#[test]
fn a_watch_that_fails_is_a_figure_of_its_own() {
    let root = store().on_disk();
    let (run, _config) = online(root.path(), &["--rescue-for", "2s"]);
    let running = run.json().start();
    wait_for_run(root.path());
    symlink("/nowhere/at/all", root.path().join(repository("e"))).expect("made");
    let ended = running.wait().expect_code(3);
    assert_eq!((ended.report()["left"].as_u64(), ended.report()["quarantine"]["rescue"].as_str()), (Some(0), Some("failed")));
    assert!(ended.findings().iter().any(|finding| finding.message.contains("leads nowhere")));
}

/// A direct run restores what is needed and keeps it, and so do the next ones for the minimum age.
#[test]
fn what_was_restored_is_young() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let link = root.join(revision_link("team/app", untagged().digest()));
    let modified = |path: &Path| fs::metadata(path).expect("there").mtime();
    let pushed = modified(
        &only_run(root).join(revision_link("team/app", untagged().digest()).strip_prefix("docker/registry/v2/").expect("there")),
    );
    command(root, &["restore"]).expect_code(0);
    assert_eq!(modified(&link), pushed, "a push time is no restoration");
    for (seconds, is_kept) in [(0, true), (3000, true), (3700, false)] {
        let dry = later(Regsweep::gc(root).arg("-m"), seconds, "").dry().run().expect_code(0);
        assert_eq!(dry.paths().is_empty(), is_kept, "{seconds}");
    }
    later(Regsweep::gc(root).arg("-m"), 60, "").run().expect_code(0);
    assert!(untagged().reaches().iter().all(|digest| root.join(blob_data(digest)).exists()) && link.exists());
    assert!(root.join(layer_link("team/app", &layer(3).digest)).exists());
}

/// Killed between links and blobs: the record says that it was us, and no brake stops the next run.
#[test]
fn what_a_killed_run_unlinked_is_no_lost_mount() {
    let mut store = registry().repo("a").image("kept", &[layer(1)]).tag("v1").repo("b").image("kept", &[layer(1)]).tag("v1");
    for number in 100..140 {
        store = store.upload_layer(&layer(number));
    }
    let root = store.on_disk();
    let root = root.path();
    let run = || Regsweep::new().args(["garbage-collect", "--root"]).arg(root);
    if !has_strace() {
        return;
    }
    // Each link is one call to unlinkat, and one for its directory.
    let kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", "inject=unlinkat:signal=SIGKILL:when=81"];
    // Layers of which nothing says why no manifest needs them.
    let killed = run().args(["--jobs", "1", "--allow-unlinked", "100%"]).under(kill).run();
    assert_ne!(killed.code, Some(0), "{}", killed.stderr);
    let left = snapshot::blobs_on_disk(root).len();
    assert!(left >= 40 && !root.join(layer_link("b", &layer(139).digest)).exists(), "{left}");
    run().run().expect_code(0);
    assert_eq!(snapshot::blobs_on_disk(root).len(), 3, "the kept image");

    // Without the record it looks like a lost mount.
    let root = store_of_unlinked();
    let refused = Regsweep::new().args(["garbage-collect", "--root"]).arg(root.path()).run().expect_code(2);
    assert!(refused.stderr.contains("linked by no repository") && refused.stderr.contains("rm -rf"), "{}", refused.stderr);
    let share =
        refused.stderr.split("--allow-unlinked ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a share");
    Regsweep::new().args(["garbage-collect", "--allow-unlinked", "50%", "--root"]).arg(root.path()).run().expect_code(2);
    Regsweep::new().args(["garbage-collect", "--allow-unlinked", share, "--root"]).arg(root.path()).run().expect_code(0);
}

fn store_of_unlinked() -> tempfile::TempDir {
    let mut store = registry().repo("a").image("kept", &[layer(1)]).tag("v1");
    for number in 100..140 {
        store = store.stray_blob(&layer(number));
    }
    store.on_disk()
}

/// The table of blobs goes to a file also while the quarantine is reconciled.
#[test]
fn reconciling_stays_within_the_memory_limit() {
    let root = due();
    let root = root.path();
    let purge = |limit: &str| {
        let run = Regsweep::new().args(["quarantine", "purge", "--max-memory", limit, "--root"]).arg(root);
        run.env("TMPDIR", "/nowhere/at/all").run()
    };
    let refused = purge("1MiB").expect_code(2);
    assert!(refused.stderr.contains("--max-memory") && refused.stderr.contains("/nowhere/at/all"), "{}", refused.stderr);
    purge("1GiB").expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

/// A registry on a lost mount takes pushes at once: what is young proves nothing.
#[test]
fn a_fresh_push_does_not_make_an_unmounted_store_a_whole_one() {
    let blobs = |count: u64| {
        let store = (0..count).fold(registry(), |store, number| store.stray_blob(&layer(100 + number)));
        store.repo("fresh").young().image("x", &[layer(1)]).tag("v1").on_disk()
    };
    for (count, lift) in [(4, &["--allow-empty"][..]), (50, &["--allow-empty", "--allow-unlinked", "100%"])] {
        let root = blobs(count);
        let before = snapshot(&root.path().join("docker"));
        for flags in [&[][..], &["-m"], &["--quarantine"]] {
            let refused = bare(root.path(), flags).run().expect_code(2);
            assert!(
                refused.stderr.contains("what is younger, or has a time in the future, proves nothing"),
                "{}",
                refused.stderr
            );
        }
        assert_eq!(snapshot(&root.path().join("docker")), before);
        bare(root.path(), lift).run().expect_code(0);
        assert_eq!(snapshot::blobs_on_disk(root.path()).len(), 3, "the fresh image");
    }
}

/// Harbor, GitLab and OpenShift keep tags elsewhere; one young push with a tag proves nothing.
#[test]
fn repositories_without_a_tag_are_not_collected_as_untagged() {
    let store = |untagged: u64, tagged: u64| {
        let name = |kind: &str, number| format!("{kind}{number}");
        let store = (0..untagged).fold(registry(), |store, number| {
            store.repo(&name("u", number)).pushed(&oci_image(&name("u", number), &[layer(100 + number)]))
        });
        let store = (0..tagged).fold(store, |store, number| {
            store.repo(&name("t", number)).image(&name("t", number), &[layer(200 + number)]).tag("v1")
        });
        store.repo("fresh").young().image("x", &[layer(1)]).tag("v1").on_disk()
    };
    for (untagged, tagged, code) in [(1, 0, 2), (3, 0, 2), (3, 1, 0), (5, 5, 2), (4, 6, 0), (0, 3, 0)] {
        let root = store(untagged, tagged);
        let flags = ["-m", "--allow-empty", "--allow-unlinked", "100%"];
        let ran = bare(root.path(), &[&flags[..], &["--dry-run"]].concat()).run().expect_code(code);
        assert_eq!(ran.stderr.contains("Harbor"), code == 2, "{untagged}, {tagged}: {}", ran.stderr);
        bare(root.path(), &["--allow-empty"]).run().expect_code(0);
        bare(root.path(), &flags).run().expect_code(code);
        bare(root.path(), &[&flags[..], &["--allow-untagged-repositories"]].concat()).run().expect_code(0);
        assert_eq!(list_repositories_with_images(root.path()), tagged + 1, "{untagged}, {tagged}");
    }
}

/// Repositories that have a revision.
fn list_repositories_with_images(root: &Path) -> u64 {
    let links = files(root).into_keys().filter(|path| path.contains("/_manifests/revisions/"));
    let names: BTreeSet<String> = links.filter_map(|path| Some(path.split("/_manifests").next()?.to_owned())).collect();
    names.len() as u64
}
