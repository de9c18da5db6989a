//! `--state`: what is remembered from run to run, and after a crash.

use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn many(count: u64) -> Tree {
    let layers: Vec<Content> = (0..count).map(|number| layer_of(2000 + number, 64 << 10)).collect();
    registry().repo("many").image("many", &layers).tag("v1").into_tree()
}

/// Writes a tree to disk, and lets the second pass in which its files came there: what was found good in it does not count.
fn settled(tree: &Tree) -> tempfile::TempDir {
    let root = tree.on_disk();
    a_second_passes();
    root
}

fn a_second_passes() {
    std::thread::sleep(Duration::from_millis(1100));
}

/// Damages a file, and makes it look as old as it was.
fn rot(data: &Path) {
    let modified = fs::metadata(data).and_then(|metadata| metadata.modified()).expect("there");
    Damage::LastByte.happen(data);
    fs::File::options().write(true).open(data).and_then(|file| file.set_modified(modified)).expect("set");
}

#[test]
fn what_was_found_good_recently_is_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let tree = tree();
    let root = tree.on_disk();
    let all = tree.blobs().len() as u64;
    let run = |arguments: &[&str]| verify(root.path()).json().arg("--state").arg(&state).args(arguments).run();
    let bad = layer(3).digest;
    Damage::Shortened.happen(&data(root.path(), &bad));
    a_second_passes();
    assert_eq!(number(&run(&[]).expect_code(1), "/selected/blobs"), all);

    // Only the bad one is read again, and found again.
    let again = run(&["--max-age", "1d"]).expect_code(1);
    assert_eq!((number(&again, "/selected/blobs"), number(&again, "/fresh/blobs")), (1, all - 1));
    assert_eq!(found(&again), [("truncated-blob".to_owned(), bad.clone())]);

    // What was written to since is not what was read.
    let touched = data(root.path(), &layer(1).digest);
    let now = SystemTime::now() + Duration::from_secs(2);
    fs::File::options().write(true).open(touched).and_then(|file| file.set_modified(now)).expect("set");
    assert_eq!(number(&run(&["--max-age", "1d"]).expect_code(1), "/selected/blobs"), 2);

    // Nor is what was put in the place of what was read, however old it looks.
    let replaced = data(root.path(), &layer(9).digest);
    let old = fs::metadata(&replaced).and_then(|metadata| metadata.modified()).expect("there");
    let whole = fs::read(&replaced).expect("there");
    let beside = replaced.with_file_name("other");
    fs::write(&beside, "other").and_then(|()| fs::File::options().write(true).open(&beside)?.set_modified(old)).expect("made");
    fs::rename(&beside, &replaced).expect("in its place");
    let again = run(&["--max-age", "1d"]).expect_code(1);
    assert_eq!((number(&again, "/selected/blobs"), found(&again).len()), (3, 2));
    fs::write(&replaced, whole).expect("put back");

    // Without --max-age all of it is read.
    let all_of_it = run(&[]).expect_code(1);
    assert_eq!((number(&all_of_it, "/selected/blobs"), number(&all_of_it, "/fresh/blobs")), (all, 0));
    assert!(fs::metadata(&state).expect("there").len() < 36 * all + 300);
}

#[test]
fn what_has_waited_longest_is_read_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let root = settled(&many(40));
    let run = |arguments: &[&str]| verify(root.path()).json().arg("--state").arg(&state).args(arguments).run().expect_code(0);
    let first = number(&run(&["--slice", "1/2"]), "/good/blobs");
    assert!((5..37).contains(&first), "{first}");
    // Not enough time for the others, and all of it is theirs.
    let second = number(&run(&["--max-rate", "512KiB/s", "--max-duration", "1s"]), "/good/blobs");
    let fresh = number(&run(&["--max-age", "1d", "--max-duration", "0s"]), "/fresh/blobs");
    assert!(second > 0 && second <= 42 - first, "{second}");
    assert_eq!(fresh, first + second);
}

#[test]
fn a_state_of_another_store_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let [one, other] = [tree().on_disk(), tree().on_disk()];
    verify(one.path()).arg("--state").arg(&state).run().expect_code(0);
    let before = fs::read(&state).expect("there");
    let refused = verify(other.path()).arg("--state").arg(&state).run().expect_code(2);
    assert!(refused.stderr.contains("another store"), "{}", refused.stderr);
    // A copy that took the place of the original was not read either.
    let aside = one.path().join("aside");
    fs::rename(one.path().join("docker"), aside).expect("renamed");
    tree().write_to(one.path());
    let refused = verify(one.path()).arg("--state").arg(&state).run().expect_code(2);
    assert!(refused.stderr.contains("a copy that was not read yet"), "{}", refused.stderr);
    assert!(before == fs::read(&state).expect("there"));
    fs::write(&state, "not ours").expect("written");
    verify(one.path()).arg("--state").arg(&state).run().expect_code(2);
    assert_eq!(fs::read(&state).expect("there"), b"not ours");
}

#[test]
fn what_is_killed_loses_seconds_and_believes_nothing_that_was_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let tree = many(200);
    let root = settled(&tree);
    let all = tree.blobs().len() as u64;
    let mut fresh = 0;
    for _ in 0..2 {
        let slow = ["--max-rate", "1MiB/s"];
        let begun = Instant::now();
        let mut running = verify(root.path()).arg("--state").arg(&state).args(slow).start();
        std::thread::sleep(Duration::from_millis(4500));
        running.child.kill().expect("killed");
        running.wait();
        let most = (16.0 * begun.elapsed().as_secs_f64()) as u64 + 1;
        // Whatever was not read is bad now, and nobody can see that without reading.
        let rotten = tempfile::tempdir().expect("a directory");
        let copy = rotten.path().join("state");
        fs::copy(&state, &copy).expect("copied");
        let counted =
            verify(root.path()).json().arg("--state").arg(&copy).args(["--max-age", "1d", "--max-duration", "0s"]).run();
        let now = number(&counted.expect_code(0), "/fresh/blobs");
        // 16 blobs a second, of which those of the last two seconds and a bit may be forgotten.
        let more = now - fresh;
        assert!((1..=most).contains(&more), "{more} of at most {most} are remembered");
        fresh = now;
    }
    for digest in tree.blobs() {
        rot(&data(root.path(), &digest));
    }
    // Whatever is remembered, the files are not those that were read.
    let ran = verify(root.path()).json().arg("--state").arg(&state).args(["--max-age", "1d"]).run().expect_code(1);
    assert_eq!((number(&ran, "/fresh/blobs"), found(&ran).len() as u64), (0, all));
    let ran = verify(root.path()).json().arg("--state").arg(&state).args(["--max-age", "1d"]).run().expect_code(1);
    assert_eq!(number(&ran, "/fresh/blobs"), 0, "what is bad is not remembered as good");
}

#[test]
fn an_interrupted_run_tells_what_it_found_and_keeps_its_state() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let tree = many(200);
    let root = settled(&tree);
    for digest in tree.blobs().iter().step_by(2) {
        rot(&data(root.path(), digest));
    }
    let running = verify(root.path()).json().arg("--state").arg(&state).args(["--max-rate", "2MiB/s"]).start();
    std::thread::sleep(Duration::from_millis(2500));
    let pid = Pid::from_raw(running.child.id().try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::INT).expect("signalled");
    let ran = running.wait().expect_code(130);
    assert_eq!(ran.report()["outcome"], "interrupted");
    let (good, damaged, left) = (number(&ran, "/good/blobs"), number(&ran, "/damaged/blobs"), number(&ran, "/left/blobs"));
    assert!(good > 0 && damaged > 0 && left > 0 && good + damaged + left == number(&ran, "/selected/blobs"));
    assert_eq!(found(&ran).len() as u64, damaged);
    let rest = verify(root.path()).json().arg("--state").arg(&state).args(["--max-age", "1d"]).run().expect_code(1);
    assert_eq!(number(&rest, "/fresh/blobs"), good);
}
