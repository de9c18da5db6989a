//! What happens while a run reads: disks that fail, files that change, others who hold the lock.

use std::time::Duration;

use rustix::fs::{Advice, fadvise};

use super::*;

/// Runs under strace, which lets system calls on one file fail.
fn failing(root: &Path, file: &Path, fault: &str) -> Outcome {
    let log = tempfile::NamedTempFile::new().expect("a file");
    // Opened beneath the directory of blobs, looked at beneath a shard, then known by what it was opened as.
    let names: Vec<&Path> = vec![file, relative(file, 4), relative(file, 2)];
    let regsweep = env!("CARGO_BIN_EXE_regsweep");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(log.path())
        .args(names.iter().flat_map(|name| [Path::new("-P"), name]))
        .args(["-e", fault, regsweep, "verify", "--format", "json", "--root"])
        .arg(root)
        .output()
        .expect("strace runs");
    let traced = fs::read_to_string(log.path()).expect("a log");
    assert!(traced.contains("(INJECTED)"), "nothing failed: {traced}");
    Outcome {
        line: fault.into(),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        plan: None,
    }
}

/// The last components of a path.
fn relative(path: &Path, count: usize) -> &Path {
    let above = path.ancestors().nth(count).expect("it is deep enough");
    path.strip_prefix(above).expect("above it")
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_read() {
    let all = tree().blobs().len() as u64;
    let large = layer_of(2, LARGE).digest;
    let config = oci_image("one", &[layer(1), layer_of(1, 300_000)]).blobs[0].digest.clone();
    let manifest = oci_image("one", &[layer(1), layer_of(1, 300_000)]).digest().to_owned();
    for (digest, fault, words) in [
        (&large, "inject=read,pread64,preadv2:error=EIO", "beyond 0 bytes: Input/output error"),
        (&large, "inject=pread64:error=EIO:when=3+", "beyond 524288 bytes (512 KiB): Input/output error"),
        (&config, "inject=read,pread64,preadv2:error=EIO", "beyond 0 bytes: Input/output error"),
        // Marking reads it, too, and must not stop there.
        (&manifest, "inject=read,pread64,preadv2:error=EIO", "beyond 0 bytes: Input/output error"),
        (&config, "inject=openat:error=EACCES", "beyond 0 bytes: Permission denied"),
        // Selecting looks at it, and reads on.
        (&manifest, "inject=openat:error=EIO", "beyond 0 bytes: Input/output error"),
    ] {
        let root = tree().on_disk();
        let ran = failing(root.path(), &data(root.path(), digest), fault).expect_code(1);
        assert_eq!(found(&ran), [("unreadable-blob".to_owned(), digest.clone())], "{fault}");
        assert!(ran.findings()[0].message.contains(words), "{fault}: {:?}", ran.findings());
        assert_eq!(number(&ran, "/good/blobs"), all - 1);
    }
}

#[test]
fn a_blob_that_cannot_be_scanned_hides_no_other() {
    let root = tree().on_disk();
    // Nothing states how large it is, so that it is looked at.
    let digest = layer(900).digest;
    let ran = failing(root.path(), &data(root.path(), &digest), "inject=statx:error=EIO").expect_code(0);
    assert_eq!(number(&ran, "/good/blobs"), tree().blobs().len() as u64);
}

#[test]
fn files_that_change_under_the_reader_crash_nothing() {
    let layers: Vec<Content> = (0..20).map(|number| layer_of(3000 + number, 64 << 10)).collect();
    let huge = layer_of(1, 6 << 20);
    let all: Vec<Content> = layers.iter().chain([&huge]).cloned().collect();
    let root = registry().repo("a").image("x", &all).tag("v1").on_disk();
    let running = verify(root.path()).json().args(["--max-rate", "2MiB/s", "--jobs", "1"]).start();
    std::thread::sleep(Duration::from_millis(1500));
    // The huge one is being read now, and these wait.
    fs::File::options().write(true).open(data(root.path(), &huge.digest)).and_then(|file| file.set_len(2 << 20)).expect("cut");
    fs::remove_dir_all(data(root.path(), &layers[0].digest).parent().expect("in a directory")).expect("removed");
    fs::remove_dir_all(data(root.path(), &layers[1].digest).parent().expect("in a directory")).expect("removed");
    let ran = running.wait().expect_code(1);
    assert_eq!(found(&ran), [("truncated-blob".to_owned(), huge.digest)]);
    assert_eq!(number(&ran, "/vanished_blobs"), 2);
}

#[test]
fn what_was_pushed_meanwhile_is_not_missing() {
    let layers: Vec<Content> = (0..20).map(|number| layer_of(3000 + number, 64 << 10)).collect();
    let root = registry().repo("a").image("x", &layers).tag("v1").on_disk();
    // One whose directory is not there when the blobs are listed, and one that is the first to be read.
    let [unlisted, unread] = [layer(50), layer_of(51, 100 << 10)];
    registry().repo("a").image("late", &[unlisted.clone(), unread.clone()]).tag("v2").write_to(root.path());
    let directory = data(root.path(), &unlisted.digest).parent().expect("in a directory").to_owned();
    let moved = [(directory, root.path().join("one")), (data(root.path(), &unread.digest), root.path().join("other"))];
    for (place, aside) in &moved {
        fs::rename(place, aside).expect("renamed");
    }
    let before = verify(root.path()).json().run().expect_code(1);
    assert_eq!(found(&before).len(), 2, "both are missing");
    let running = verify(root.path()).json().args(["--max-rate", "1MiB/s"]).start();
    std::thread::sleep(Duration::from_millis(600));
    for (place, aside) in &moved {
        fs::rename(aside, place).expect("renamed");
    }
    let ran = running.wait().expect_code(0);
    assert_eq!(found(&ran), []);
}

#[test]
fn runs_beside_another_but_not_beside_a_sweep() {
    let root = registry().repo("a").image("x", &[layer_of(1, 4 << 20)]).tag("v1").on_disk();
    Regsweep::gc(root.path()).run().expect_code(0);
    let running = verify(root.path()).args(["--max-rate", "1MiB/s"]).start();
    std::thread::sleep(Duration::from_millis(800));
    verify(root.path()).run().expect_code(0);
    let refused = Regsweep::gc(root.path()).run().expect_code(2);
    assert!(refused.stderr.contains("another regsweep"), "{}", refused.stderr);
    running.wait().expect_code(0);
    Regsweep::gc(root.path()).run().expect_code(0);
}

/// Whether any of a file is in the page cache, as far as the first byte of each page says. To ask may begin to read a page: that one alone, because
/// the file is said to be read at random.
fn is_cached(file: &fs::File) -> bool {
    fadvise(file, 0, None, Advice::Random).expect("advised");
    let length = file.metadata().expect("there").len();
    let cached = |offset: u64| {
        let mut byte = [0];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(&mut byte)], offset, flags).is_ok()
    };
    (0..length).step_by(1 << 16).any(cached)
}

#[test]
fn the_page_cache_is_left_as_it_was() {
    // On the disk, wherever temporary files are.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let [cold, warm, cold_small, warm_small] =
        [layer_of(1, LARGE), layer_of(2, LARGE), layer_of(3, 9000), layer_of(4, 9000)].map(|layer| layer);
    let all = [&cold, &warm, &cold_small, &warm_small].map(Clone::clone);
    registry().repo("a").image("x", &all).tag("v1").write_to(directory.path());
    let open = |content: &Content| fs::File::open(data(directory.path(), &content.digest)).expect("there");
    let cached = || [&cold, &warm, &cold_small, &warm_small].map(|content| is_cached(&open(content)));
    let as_it_was = [false, true, false, true];
    let prepare = || {
        // The kernel keeps a page that it is busy with (on another processor's list, say), whoever asks it to let go.
        for _ in 0..3 {
            for content in &all {
                let file = open(content);
                file.sync_all().expect("written");
                fadvise(&file, 0, None, Advice::DontNeed).expect("dropped");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for content in [&warm, &warm_small] {
            fs::read(data(directory.path(), &content.digest)).expect("readable");
        }
    };
    // For the same reason the best of a few runs counts.
    let mut left = [true; 4];
    for _ in 0..5 {
        prepare();
        verify(directory.path()).run().expect_code(0);
        left = cached();
        if left == as_it_was {
            return;
        }
    }
    assert_eq!(left, as_it_was);
}
