//! Blobs that somebody is writing while `verify` reads: half of one is no damage, and taking it away is.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::support::server::HeldUp;

/// What is half there in these tests.
fn large() -> Content {
    layer_of(2, LARGE)
}

fn quarantine(root: &Path, flags: &[&str]) -> Outcome {
    verify(root).arg("--quarantine").args(flags).json().run()
}

/// Another process that has a file open for writing and writes nothing.
struct Writer(Child);

impl Writer {
    fn of(path: &Path) -> Writer {
        let file = File::options().append(true).open(path).expect("there");
        Writer(Command::new("sleep").arg("100").stdout(file).stderr(Stdio::null()).spawn().expect("sleep runs"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("ours to end");
    }
}

/// Cuts a blob to its first half and gives it a time of long ago: only its time of change is of now.
fn halve(data: &Path) {
    let file = File::options().write(true).open(data).expect("there");
    file.set_len(LARGE as u64 / 2).and_then(|()| file.set_modified(SystemTime::now() - days(3))).expect("cut");
}

#[test]
fn what_is_open_for_writing_is_told_as_that_and_stays() {
    let root = tree().on_disk();
    let data = data(root.path(), &large().digest);
    halve(&data);
    let writer = Writer::of(&data);
    for flags in [&[][..], &["--quarantine"], &["--quarantine", "--min-age", "0s"], &["--quarantine", "--allow-many-damaged"]] {
        let ran = verify(root.path()).args(flags).json().run().expect_code(0);
        assert_eq!(found(&ran), [("blob-in-progress".to_owned(), large().digest)], "{flags:?}");
        assert_eq!((number(&ran, "/in_progress/blobs"), number(&ran, "/damaged/blobs")), (1, 0), "{flags:?}");
        assert_eq!(number(&ran, "/quarantined/blobs"), 0, "{flags:?}");
        assert!(data.exists() && !root.path().join(".regsweep/quarantine").exists(), "{flags:?}");
    }
    let text = verify(root.path()).run().expect_code(0).stdout;
    assert!(text.contains("in progress   1 blob"), "{text}");
    drop(writer);
    // Nobody finishes it any more.
    let ran = quarantine(root.path(), &["--min-age", "0s"]).expect_code(1);
    assert_eq!(found(&ran), [("truncated-blob".to_owned(), large().digest)]);
    assert!(!data.exists());
}

/// Who writes may be on another machine, and what copies leave in between looks old: copies set the times of what they copy.
#[test]
fn what_was_written_or_changed_recently_stays_where_it_is() {
    for modified in [Duration::ZERO, minutes(59), days(3)] {
        let root = tree().on_disk();
        let data = data(root.path(), &large().digest);
        halve(&data);
        File::options().write(true).open(&data).and_then(|file| file.set_modified(SystemTime::now() - modified)).expect("set");
        for flags in [&[][..], &["--min-age", "59m"], &["--min-age", "7d"]] {
            let ran = quarantine(root.path(), flags).expect_code(1);
            assert_eq!(found(&ran), [("truncated-blob".to_owned(), large().digest)], "it is damage all the same");
            assert_eq!((number(&ran, "/left_young/blobs"), number(&ran, "/quarantined/blobs")), (1, 0), "{modified:?} {flags:?}");
            assert!(data.exists());
        }
        let text = verify(root.path()).arg("--quarantine").run().expect_code(1).stdout;
        assert!(text.contains("left alone    1 blob") && text.contains("--min-age"), "{text}");
        let ran = quarantine(root.path(), &["--min-age", "0s"]).expect_code(1);
        assert_eq!((number(&ran, "/left_young/blobs"), number(&ran, "/quarantined/blobs")), (0, 1), "{modified:?}");
        assert!(!data.exists());
    }
    let refused = verify(Path::new("/nowhere")).args(["--min-age", "1h"]).run().expect_code(2);
    assert!(refused.stderr.contains("--quarantine"), "{}", refused.stderr);
}

#[test]
fn what_is_whole_when_it_would_be_told_is_no_damage() {
    let first = layer_of(7, 3 << 20);
    let root = registry().repo("a").image("x", &[first.clone(), layer_of(8, 2 << 20)]).tag("v1").on_disk();
    let data = data(root.path(), &first.digest);
    halve(&data);
    for flags in [&[][..], &["--quarantine", "--min-age", "0s"]] {
        let open = || File::options().write(true).open(&data).expect("there");
        open().set_len(1 << 20).expect("cut");
        // It takes a second for the first one and two for the other.
        let running = verify(root.path()).json().args(["--max-rate", "1MiB/s", "--jobs", "1"]).args(flags).start();
        std::thread::sleep(Duration::from_millis(2000));
        open().write_all_at(&first.bytes, 0).expect("written");
        let ran = running.wait().expect_code(0);
        assert_eq!(found(&ran), []);
        assert_eq!(fs::read(&data).expect("there"), first.bytes);
    }
}

/// Somebody opens it behind the last look and before the rename: he writes on wherever it is.
#[test]
fn what_is_opened_just_before_it_moves_is_restored() {
    let root = tree().on_disk();
    let data = data(root.path(), &large().digest);
    halve(&data);
    let held = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e"];
    let running = verify(root.path())
        .args(["--quarantine", "--min-age", "0s", "--format", "json"])
        .under(held.into_iter().chain(["inject=renameat2:delay_enter=2500000"]))
        .start();
    // Its place is made, and then it is moved.
    let hex = data.parent().and_then(Path::file_name).expect("in its directory").to_owned();
    let is_about_to_move = || {
        let quarantine = walkdir::WalkDir::new(root.path().join(".regsweep"));
        quarantine.into_iter().flatten().any(|entry| entry.file_name() == hex)
    };
    let begun = Instant::now();
    while !is_about_to_move() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not move");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut file = File::options().append(true).open(&data).expect("it has not moved yet");
    let writer = Writer::of(&data);
    let ran = running.wait().expect_code(1);
    assert!(found(&ran).contains(&("blob-in-progress".to_owned(), large().digest)), "{:?}", ran.findings());
    assert_eq!(number(&ran, "/quarantined/blobs"), 0);
    assert_eq!(ran.report()["quarantine_run"], serde_json::Value::Null);
    file.write_all(&large().bytes[LARGE / 2..]).expect("written on");
    drop(writer);
    assert_eq!(fs::read(&data).expect("restored"), large().bytes);
    verify(root.path()).run().expect_code(0);
}

/// Registry 2.8.2 writes a manifest at its final place, and answers 201 when it has.
#[test]
fn a_manifest_that_a_registry_is_writing_stays() {
    let mut registry = server::RealRegistry::start();
    let image = oci_image("new", &[layer(1)]);
    registry.client().push_tag("other", "v1", &oci_image("other", &[layer(2)]));
    for blob in &image.blobs {
        registry.client().put_blob("a", blob);
    }
    let data = registry.root().join(blob_data(image.digest()));
    registry.restart_held_up(&HeldUp { path: data.clone(), call: "ftruncate", when: "delay_exit", by: Duration::from_secs(4) });
    let client = registry.client();
    let pushing = std::thread::spawn({
        let image = image.clone();
        move || client.push_tag("a", "v1", &image)
    });
    let begun = Instant::now();
    while !data.exists() && begun.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(5));
    }
    for flags in [&[][..], &["--min-age", "0s"]] {
        let ran = quarantine(&registry.root(), flags).expect_code(0);
        assert_eq!(number(&ran, "/quarantined/blobs"), 0, "{flags:?}");
    }
    pushing.join().expect("pushed");
    assert!(registry.client().pull("a", "v1").is_ok());
    registry.restart();
    assert!(registry.client().pull("a", "v1").is_ok());
    quarantine(&registry.root(), &["--min-age", "0s"]).expect_code(0);
}
