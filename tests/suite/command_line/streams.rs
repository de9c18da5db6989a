//! Where words go, what becomes of them when nobody listens, and how a run is ended or held up from outside.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::symlink;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_regsweep"))
}

/// A store with so much to say that no pipe holds it: verbose, it fills many.
fn talkative() -> Tree {
    let mut tree = tree();
    tree.aged(days(30));
    for number in 0..2_000 {
        tree.blob(&layer(5_000 + number));
    }
    tree.file(format!("{}/stray", layout::tags("team/app")), "x").file(format!("{}/x/data", layout::BASE), "x");
    tree
}

/// The writing end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
}

#[test]
fn nobody_listens_on_standard_output() {
    for flags in [&["-d"][..], &["-d", "-v"], &["-d", "--format", "json"], &["-m"]] {
        let root = talkative().on_disk();
        let ran = program()
            .args(["garbage-collect", "--allow-unlinked", "100%", "--ignore-birth-time", "--root"])
            .arg(root.path())
            .args(flags)
            .stdout(closed())
            .stderr(Stdio::piped())
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(0), "{flags:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("ERROR"), "{flags:?}: {stderr}");
        let left = snapshot::blobs_on_disk(root.path()).contains_key(&layer(5_000).digest);
        assert_eq!(left, flags.contains(&"-d"), "the sweep does not depend on its report");
    }
}

/// `regsweep ... 2>&1 | head -1`: what is said on standard error and by whom must not decide how it ends.
#[test]
fn nobody_listens_on_standard_error() {
    for (flags, code) in
        [(&["-d"][..], 0), (&["-d", "-v"], 0), (&["--max-reclaim", "0"], 2), (&["--nope"], 2), (&["-v", "-m"], 0)]
    {
        for stderr in [closed as fn() -> Stdio, full] {
            let root = talkative().on_disk();
            let ran = program()
                .args(["garbage-collect", "--allow-unlinked", "100%", "--ignore-birth-time", "--root"])
                .arg(root.path())
                .args(flags)
                .stdout(Stdio::null())
                .stderr(stderr())
                .status()
                .expect("runs");
            assert_eq!(ran.code(), Some(code), "{flags:?}");
        }
    }
}

/// Whoever asked for a report in a file has to learn that it is not there.
#[test]
fn a_report_that_cannot_be_written_is_no_success() {
    let root = tree().on_disk();
    let ran = program()
        .args(["garbage-collect", "--ignore-birth-time", "-d", "--format", "json", "--root"])
        .arg(root.path())
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .expect("runs");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(stderr.contains("cannot print the report"), "{stderr}");
    assert_ne!(ran.status.code(), Some(0));
}

#[test]
fn standard_output_has_the_report_and_nothing_else() {
    let root = talkative().on_disk();
    let ran = Regsweep::gc(root.path()).dry().json().args(["-v"]).env("RUST_LOG", "trace").run().expect_code(0);
    document(&ran);
    assert!(!ran.stderr.is_empty());
    let ran = Regsweep::gc(root.path()).dry().env("RUST_LOG", "trace").run().expect_code(0);
    assert!(ran.stdout.starts_with("regsweep garbage-collect: DRY RUN"), "{:.200}", ran.stdout);
    assert!(!ran.stdout.contains("INFO") && !ran.stdout.contains("DEBUG"), "{:.200}", ran.stdout);
    // Neither colour nor cursor, wherever it goes.
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:.300}");
    }
    for wrong in [&["garbage-collect", "--nope"][..], &["garbage-collect"], &["nonsense"], &[]] {
        let refused = Regsweep::new().args(wrong).run().expect_code(2);
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{wrong:?}");
    }
}

/// A line for each target of each kind, and the words that scripts around the registry's own collector look for.
#[test]
fn verbose_has_a_line_for_each_target_in_the_order_of_the_plan() {
    let mut tree = tree();
    tree.aged(days(30)).directory(layout::blob_directory(&layer(77).digest));
    let root = tree.on_disk();
    let ran = Regsweep::gc(root.path()).args(["-mdv"]).run().expect_code(0);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("eligible for deletion: ")).collect();
    let rows = ran.rows();
    assert_eq!(lines.len(), rows.len(), "{}", ran.stdout);
    for (line, row) in lines.iter().zip(&rows) {
        let end = match row.kind.as_str() {
            "empty-directory" => &row.path,
            _ => row.digest.as_ref().expect("named"),
        };
        assert!(line.ends_with(&format!("eligible for deletion: {end}")), "{line}: {row:?}");
    }
    // The registry's own summary, which wrappers look for by its end.
    let count = |kind: &str| rows.iter().filter(|row| row.kind == kind).count();
    let summary = format!(" blobs marked, {} blobs and {} manifests eligible for deletion", count("blob"), count("revision"));
    let line = ran.stdout.lines().find(|line| line.ends_with("eligible for deletion")).expect("a summary");
    assert!(line.ends_with(&summary) && line.starts_with(|first: char| first.is_ascii_digit()), "{line}");
    for wording in ["blob eligible for deletion: sha256:", "manifest eligible for deletion: sha256:"] {
        assert!(ran.stdout.lines().any(|line| line.starts_with(wording)), "{wording}");
    }
    let kinds: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    let quiet = Regsweep::gc(root.path()).arg("-d").run().expect_code(0);
    assert!(!quiet.stdout.contains("eligible"), "{}", quiet.stdout);
}

#[test]
fn a_plan_that_would_overwrite_the_store_is_refused() {
    let store = tree();
    let live = layout::blob_data(&layer(1).digest);
    let aside = || tempfile::tempdir().expect("a directory");
    // Straight, through a link to the directory, and through a link to the file.
    for way in ["straight", "directory", "file", "dots"] {
        let root = store.on_disk();
        let other = aside();
        let before = snapshot(&root.path().join("docker"));
        let plan = match way {
            "straight" => root.path().join(&live),
            "directory" => {
                symlink(root.path().join(layout::parent(&live)), other.path().join("link")).expect("linked");
                other.path().join("link/data")
            }
            "file" => {
                symlink(root.path().join(&live), other.path().join("plan")).expect("linked");
                other.path().join("plan")
            }
            _ => root.path().join("docker/../docker/registry/plan"),
        };
        let ran = Regsweep::new()
            .args(["garbage-collect", "--allow-unlinked", "100%", "--root"])
            .arg(root.path())
            .arg("--plan-out")
            .arg(&plan)
            .run();
        assert_eq!(snapshot(&root.path().join("docker")), before, "{way}");
        assert_eq!(ran.code, Some(2), "{way}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{way}");
    }
    // Where the blobs really are, when an administrator has moved them.
    let root = store.on_disk();
    let other = aside();
    let blobs = root.path().join("docker/registry/v2/blobs");
    fs::rename(&blobs, other.path().join("blobs")).expect("moved");
    symlink(other.path().join("blobs"), &blobs).expect("linked");
    let before = snapshot(other.path());
    let plan = other.path().join("blobs/plan");
    let ran = Regsweep::new()
        .args(["garbage-collect", "--allow-unlinked", "100%", "--root"])
        .arg(root.path())
        .arg("--plan-out")
        .arg(plan)
        .run();
    assert_eq!((ran.code, snapshot(other.path()) == before), (Some(2), true), "{}", ran.stderr);
}

#[test]
fn a_plan_that_cannot_be_written_stops_before_anything_goes() {
    let root = tree().on_disk();
    let before = snapshot(&root.path().join("docker"));
    for plan in ["/dev/full", "/nowhere/plan", "/tmp", "/dev/null/plan"] {
        let ran = Regsweep::new().args(["garbage-collect", "-m", "--root"]).arg(root.path()).args(["--plan-out", plan]).run();
        assert_eq!(ran.code, Some(2), "{plan}: {}", ran.stderr);
        assert!(ran.stderr.contains(plan) || ran.stderr.contains("/nowhere"), "{}", ran.stderr);
        assert_eq!(snapshot(&root.path().join("docker")), before, "{plan}");
    }
}

/// The lock, held from here as another regsweep would.
fn hold(root: &Path) -> File {
    fs::create_dir_all(root.join(".regsweep")).expect("made");
    let path = root.join(".regsweep/lock");
    fs::write(&path, "process 4711 on elsewhere\u{1b}[2J, since yesterday\n").expect("written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let lock = File::open(path).expect("opened");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    lock
}

#[test]
fn a_lock_that_is_held_is_waited_for_as_long_as_was_said() {
    let root = tree().on_disk();
    let lock = hold(root.path());
    let before = snapshot(root.path());
    for flags in [&[][..], &["-d"], &["--wait-lock", "0s"], &["--wait-lock", "300ms"]] {
        let begun = Instant::now();
        let refused = Regsweep::gc(root.path()).args(flags).run().expect_code(2);
        assert!(
            refused.stderr.contains("process 4711 on elsewhere") && refused.stderr.contains("--wait-lock"),
            "{}",
            refused.stderr
        );
        assert!(!refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
        assert_eq!(begun.elapsed() >= Duration::from_millis(300), flags.contains(&"300ms"), "{flags:?}");
    }
    assert_eq!(snapshot(root.path()), before);
    let waiting = Regsweep::gc(root.path()).args(["--wait-lock", "1m"]).start();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(snapshot(root.path()), before);
    drop(lock);
    let ran = waiting.wait().expect_code(0);
    assert!(ran.stdout.contains("freed         1 blob"), "{}", ran.stdout);
}

#[test]
fn a_signal_ends_the_waiting() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let root = tree().on_disk();
        let _lock = hold(root.path());
        let waiting = Regsweep::gc(root.path()).args(["--wait-lock", "1h", "-v"]).start();
        // It may not watch for signals yet: then one ends it by itself, which is as well.
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&waiting.child), signal).expect("it waits");
        let ended = waiting.wait().expect_code(130);
        assert!(ended.stderr.contains("interrupted before anything was removed"), "{}", ended.stderr);
    }
}

/// A run that reads for some seconds.
fn reading(root: &Path) -> Regsweep {
    Regsweep::new().args(["verify", "--max-rate", "1MiB/s", "--format", "json", "--root"]).arg(root)
}

#[test]
fn a_terminal_that_closes_ends_a_run_with_its_report_unless_it_was_started_not_to_mind() {
    let layers: Vec<Content> = (0..4_u8).map(|number| Content::new(vec![number; 1 << 20])).collect();
    let root = registry().repo("a").image("x", &layers).tag("v1").on_disk();
    let ended_by_signal = |run: Regsweep| {
        let running = run.start();
        std::thread::sleep(Duration::from_millis(1500));
        kill_process(Pid::from_child(&running.child), Signal::HUP).expect("it reads");
        running.wait()
    };
    let report = ended_by_signal(reading(root.path())).expect_code(130).report();
    assert_eq!(report["outcome"], "interrupted");
    // `exec` and `nohup` keep what is ignored, and the shell becomes the run.
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    for starter in [&ignoring[..], &["nohup"]] {
        let report = ended_by_signal(reading(root.path()).under(starter)).expect_code(0).report();
        assert_eq!(report["outcome"], "complete");
    }
}
