//! Hostile and broken input: whoever may push chooses manifests and names, and whoever may write to the disk chooses the rest.
//!
//! Each time: no hang, no panic, bounded memory, nothing touched outside the store, a healthy image beside it stays whole, and garbage
//! beside it goes unless the run says with exit code 2 why not.

mod content;
mod flood;
mod links;
mod neighbours;
mod places;
mod sizes;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::support::layout::{self, blob_data, layer_link, repository, revision_link, tag_current};
use crate::support::*;

/// Longer than any of these takes by far.
const HANGS: Duration = Duration::from_secs(120);
/// What a run may take at most.
const MEMORY_BYTES: u64 = 256 << 20;
/// As many as there are on a machine of two processors.
const JOBS: &str = "16";

/// A store with a healthy image, one piece of garbage, and a repository to be abused.
fn victim() -> Tree {
    registry()
        .stray_blob(&garbage())
        .repo("healthy")
        .pushed(&healthy())
        .tag("v1")
        .repo("abused")
        .image("abused", &[layer(20)])
        .tag("v1")
        .upload_layer(&layer(21))
        .into_tree()
}

fn healthy() -> Image {
    index(&[oci_image("healthy", &[layer(10), layer(11)])])
}

fn garbage() -> Content {
    layer(9999)
}

fn abused() -> Image {
    oci_image("abused", &[layer(20)])
}

/// Collects with little memory, and checks what has to hold whatever the store holds.
#[track_caller]
fn survive(root: &Path, flags: &[&str], codes: &[i32]) -> Outcome {
    let run = Regsweep::gc(root).json().args(["--jobs", JOBS]).args(flags);
    let outcome = within_bounds(run);
    let stderr = &outcome.stderr;
    assert!(!stderr.contains("panicked") && !stderr.contains("overflow"), "{stderr}");
    let code = outcome.code.unwrap_or_else(|| panic!("a signal ended it: too slow, or out of memory: {stderr}"));
    assert!(codes.contains(&code), "exit code {code}: {stderr}");
    let left = snapshot::blobs_on_disk(root);
    let lost: Vec<String> = healthy().reaches().into_iter().filter(|digest| !left.contains_key(digest)).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    assert_eq!(left.contains_key(&garbage().digest), code == 2, "garbage goes unless the run was stopped: {stderr}");
    outcome
}

/// Runs it, looks at its memory meanwhile, and ends it when it takes too long.
#[track_caller]
fn within_bounds(run: Regsweep) -> Outcome {
    within(run, MEMORY_BYTES)
}

/// The same with less memory.
#[track_caller]
fn within(run: Regsweep, memory_bytes: u64) -> Outcome {
    let begun = Instant::now();
    let running = run.start();
    let pid = Pid::from_child(&running.child);
    // The machine that tests run on is not to suffer.
    let limit = Rlimit { current: Some(4 * MEMORY_BYTES), maximum: Some(4 * MEMORY_BYTES) };
    prlimit(Some(pid), Resource::Data, limit).expect("it is not waited for yet");
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        let begun = Instant::now();
        let mut peak_bytes = 0;
        // The kernel remembers the peak, so a look now and then finds it.
        while end.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
            peak_bytes = peak_resident_bytes(pid).unwrap_or(peak_bytes);
            if begun.elapsed() > patience() {
                let _ended_just_now = kill_process(pid, Signal::KILL);
            }
        }
        peak_bytes
    });
    let outcome = running.wait();
    drop(ended);
    let peak_bytes = watch.join().expect("watching does not panic");
    // With `--nocapture` a table of figures.
    eprintln!("{:6.1} s, {:4} MiB of {}: {}", begun.elapsed().as_secs_f64(), peak_bytes >> 20, memory_bytes >> 20, outcome.line);
    assert!(peak_bytes < memory_bytes, "{} MiB of memory: {}", peak_bytes >> 20, outcome.line);
    outcome
}

/// The most memory that a process had so far; nothing once it has ended.
fn peak_resident_bytes(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

fn on_disk() -> (TempDir, PathBuf) {
    let root = victim().on_disk();
    let path = root.path().to_owned();
    (root, path)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Replaces a file by whatever `make` puts there.
fn replace(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).expect("it was there");
    make(path);
}

#[test]
fn links_of_any_content() {
    let abused = abused();
    let good = layer(20).digest;
    let contents: Vec<Vec<u8>> = vec![
        b"".into(),
        b"x".into(),
        format!("{good}\n").into(),
        format!(" {good}").into(),
        good.to_uppercase().into(),
        good[..good.len() - 1].into(),
        format!("{good}0").into(),
        b"sha256:../../../../../../etc/passwd".into(),
        [good.as_bytes(), b"\0"].concat(),
        format!("blake3:{}", &good[7..]).into(),
        layer(10).digest.into(),
        vec![0; 4096],
        vec![0xff; 100],
        format!("{good} ").into(),
        format!("{good}\r\n").into(),
        format!("{}\0{}", &good[..20], &good[21..]).into(),
        format!("sha256:{}", good[7..].to_uppercase()).into(),
        format!("sha512:{}", &good[7..]).into(),
        layer(20).sha512().into(),
        good[7..].into(),
        format!("\u{feff}{good}").into(),
    ];
    for content in contents {
        for link in
            [revision_link("abused", abused.digest()), tag_current("abused", "v1"), layer_link("abused", &layer(21).digest)]
        {
            let (_keep, root) = on_disk();
            fs::write(root.join(&link), &content).expect("written");
            let ran = survive(&root, &["--min-age", "0s"], &[0, 1]);
            // A tag may name anything that is a digest.
            let is_digest = [layer(10).digest, layer(20).sha512()].iter().any(|digest| content == digest.as_bytes());
            let understood = link.contains("/current/") && is_digest;
            assert!(ran.finding_codes().contains(&"held-repository".into()) || understood, "{link} {content:?}");
            assert!(snapshot::blobs_on_disk(&root).contains_key(&layer(20).digest), "{link} {content:?}");
        }
    }
}

/// A kind of file and how to make one.
type Abuse<'a> = (&'static str, Box<dyn Fn(&Path) + 'a>);

#[test]
fn links_of_any_kind_of_file() {
    let outside = tempfile::tempdir().expect("a directory");
    let precious = outside.path().join("precious");
    fs::write(&precious, "precious").expect("written");
    let mut kinds: Vec<Abuse<'_>> = vec![
        ("symlink outside", Box::new(|path| symlink(&precious, path).expect("linked"))),
        ("symlink to itself", Box::new(|path| symlink("link", path).expect("linked"))),
        ("directory", Box::new(|path| fs::create_dir(path).expect("made"))),
        ("fifo", Box::new(|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("made"))),
        ("huge", Box::new(|path| fs::File::create(path).expect("made").set_len(1 << 30).expect("sparse"))),
        (
            "socket",
            Box::new(|path| {
                // Socket paths are short: made elsewhere and moved.
                let short = outside.path().join("s");
                drop(UnixListener::bind(&short).expect("bound"));
                fs::rename(&short, path).expect("moved");
            }),
        ),
        // The content is that of another link.
        ("hard link", Box::new(|path| fs::hard_link(outside.path().join("link"), path).expect("linked"))),
    ];
    fs::write(outside.path().join("link"), &layer(1).digest).expect("written");
    if is_root() {
        let zero = rustix::fs::makedev(1, 5);
        kinds.push((
            "device",
            Box::new(move |path| mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, zero).expect("made")),
        ));
    } else {
        skipped("only root makes devices");
    }
    for (kind, make) in &kinds {
        for link in
            [revision_link("abused", abused().digest()), tag_current("abused", "v1"), layer_link("abused", &layer(21).digest)]
        {
            let (_keep, root) = on_disk();
            replace(&root.join(&link), make);
            let ran = survive(&root, &["--min-age", "0s"], &[1]);
            // A tag may name anything.
            let understood = *kind == "hard link" && link.contains("/current/");
            let codes = ran.finding_codes();
            assert!(codes.contains(&"held-repository".into()) || understood, "{kind} {link}: {codes:?}");
            assert!(snapshot::blobs_on_disk(&root).contains_key(&layer(20).digest), "{kind} {link}");
        }
        for digest in [abused().digest().to_owned(), layer(21).digest] {
            let (_keep, root) = on_disk();
            replace(&root.join(blob_data(&digest)), make);
            let ran = survive(&root, &["--min-age", "0s", "-m"], &[0, 1]);
            let left = root.join(blob_data(&digest)).symlink_metadata();
            // A large file in the place of an unused layer is garbage like any other.
            let is_file = ["huge", "hard link"].contains(kind);
            assert!(left.is_ok() || (is_file && digest == layer(21).digest), "{kind} stays");
            assert!(ran.code == Some(1) || is_file, "{kind} is reported");
        }
        // A history entry that nothing needs is looked at, and one whose revision is there is not.
        let gone = oci_image("gone", &[layer(22)]);
        for digest in [gone.digest(), abused().digest()] {
            let mut tree = victim();
            tree.push("abused", &gone).tag("abused", "v1", gone.digest()).tag("abused", "v1", abused().digest());
            tree.remove_leaving_directory(&revision_link("abused", gone.digest()));
            let root = tree.on_disk();
            replace(&root.path().join(layout::tag_history("abused", "v1", digest)), make);
            survive(root.path(), &["--min-age", "0s"], &[0, 1]);
            assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(20).digest), "{kind}");
        }
    }
    assert_eq!(fs::read_to_string(&precious).expect("there"), "precious");
}

/// A revision of any bytes, tagged.
fn with_manifest(bytes: &[u8]) -> Tree {
    let content = Content::new(bytes);
    let mut tree = victim();
    tree.blob(&content).revision("abused", &content.digest).tag("abused", "odd", &content.digest);
    tree
}

#[test]
fn manifests_that_the_registry_reads_keep_what_it_reads_in_them() {
    let layer = layer(30);
    let digest = &layer.digest;
    let escaped = digest.replace(':', "\\u003a");
    let odd: Vec<Vec<u8>> = vec![
        format!(r#"{{"layers":[{{"DIGEST":"{digest}"}}]}}"#).into(),
        format!(r#"{{"layers":[{{"dige\u017ft":"{digest}"}}]}}"#).into(),
        format!("{{\"layers\":[{{\"dige\u{17f}t\":\"{digest}\"}}]}}").into(),
        format!(r#"{{"layers":[{{"\u0064igest":"{escaped}"}}]}}"#).into(),
        format!(r#"{{"layers":[{{"digest":"{digest}","digest":"sha256:no"}}],"layers":[]}}"#).into(),
        format!(r#"{{"blobs":[[[{{"digest":"{digest}"}}]]]}}"#).into(),
        format!(r#"{{"n":1e999,"m":-0.0,"layers":[{{"digest":"{digest}","size":99999999999999999999}}]}}"#).into(),
        [br#"{"x":""#, &[0xff, 0xfe][..], format!(r#"","layers":[{{"digest":"{digest}"}}]}}"#).as_bytes()].concat(),
        format!(r#"{{"deep":{}1{},"layers":[{{"digest":"{digest}"}}]}}"#, "[".repeat(5_000), "]".repeat(5_000)).into(),
        format!(r#"{{"fsLayers":[{{"blobSum":"{digest}"}}]}}"#).into(),
        format!("{{\"layers\":[{{\"digest\":\"{digest}\"}}]}}{}", " ".repeat(4 << 20)).into(),
    ];
    for manifest in odd {
        let mut tree = with_manifest(&manifest);
        tree.blob(&layer);
        let root = tree.on_disk();
        survive(root.path(), &["--min-age", "0s", "-m"], &[0, 1]);
        let shown = String::from_utf8_lossy(&manifest[..manifest.len().min(120)]).into_owned();
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(digest), "{shown}");
    }
}

#[test]
fn manifests_that_nobody_can_read_hold_their_repository() {
    let deep = format!(r#"{{"deep":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let zeros = vec![0; 4096];
    for manifest in [&b""[..], b"{", b"\xef\xbb\xbf{}", b"{} {}", b"null", b"\"x\"", &gzip, &zeros, deep.as_bytes()] {
        let root = with_manifest(manifest).on_disk();
        let ran = survive(root.path(), &["--min-age", "0s"], &[1]);
        assert!(ran.finding_codes().contains(&"unreadable-manifest".into()), "{:?}", ran.finding_codes());
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(21).digest));
    }
    // A layer of a gigabyte, linked as a revision.
    let (_keep, root) = on_disk();
    let data = root.join(blob_data(abused().digest()));
    fs::File::options().write(true).open(&data).expect("there").set_len(1 << 30).expect("sparse");
    let ran = survive(&root, &["--min-age", "0s"], &[1]);
    assert!(ran.finding_codes().contains(&"oversized-manifest".into()), "{:?}", ran.finding_codes());
}

#[test]
fn a_manifest_of_a_hundred_thousand_references_is_read() {
    // As many as fit into 16 MiB.
    let kept = layer(31);
    let mut json = format!(r#"{{"layers":[{{"digest":"{}"}}"#, kept.digest);
    for number in 0..150_000_u32 {
        json.push_str(&format!(r#",{{"digest":"sha256:{number:064x}"}}"#));
    }
    json.push_str("]}");
    let mut tree = with_manifest(json.as_bytes());
    tree.blob(&kept);
    let root = tree.on_disk();
    let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&kept.digest));
    // So many, and one that counts the others.
    assert_eq!(ran.finding_codes().iter().filter(|code| *code == "missing-blob").count(), 1001);
    // What else it names is not known any more, so nothing in its repository goes.
    assert!(["overfull-manifest", "held-repository"].iter().all(|code| ran.finding_codes().contains(&(*code).into())));
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(21).digest), "linked there, and needed by nothing");
}

#[test]
fn indexes_of_any_depth_and_circles() {
    // By hand: the vocabulary would carry each child in each of its parents.
    let mut tree = victim();
    let bottom = oci_image("bottom", &[layer(32)]);
    tree.push("abused", &bottom);
    let mut digest = bottom.digest().to_owned();
    for _ in 0..1_000 {
        let manifest = Content::new(format!(r#"{{"manifests":[{{"digest":"{digest}"}}]}}"#));
        tree.blob(&manifest).revision("abused", &manifest.digest);
        digest = manifest.digest;
    }
    tree.tag("abused", "deep", &digest);
    let root = tree.on_disk();
    survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(32).digest));

    // A circle needs a blob that is not what its name says.
    let mut tree = victim();
    let first = Content::new("first");
    let second = Content::new(format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, first.digest));
    tree.file(blob_data(&first.digest), format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, second.digest));
    tree.blob(&second).revision("abused", &first.digest).revision("abused", &second.digest).tag(
        "abused",
        "round",
        &second.digest,
    );
    let root = tree.on_disk();
    let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
    assert!(ran.finding_codes().contains(&"corrupt-manifest".into()));
}

#[test]
fn names_of_any_bytes() {
    let (_keep, root) = on_disk();
    let repositories = root.join("docker/registry/v2/repositories");
    let long = [b'n'; 255];
    for name in [&b"\xff\xfe"[..], b"new\nline", b"\x1b[31m", b"-rf", b" ", &long] {
        let name = OsStr::from_bytes(name);
        let odd = repositories.join(name);
        fs::create_dir_all(odd.join("_layers/sha256").join(name)).expect("made");
        fs::create_dir_all(odd.join("_manifests/tags").join(name)).expect("made");
        fs::create_dir_all(root.join("docker/registry/v2/blobs").join(name)).expect("made");
        fs::create_dir_all(root.join("docker/registry/v2/blobs/sha256").join(name)).expect("made");
    }
    let before = snapshot(&repositories);
    survive(&root, &["--min-age", "0s", "-m"], &[1]);
    let gone = snapshot::gone(&before, &snapshot(&repositories));
    assert!(gone.iter().all(|path| path.starts_with("abused/")), "{gone:?}");
}

#[test]
fn directories_nested_beyond_what_a_path_can_name() {
    let (_keep, root) = on_disk();
    let mut directory =
        rustix::fs::openat(CWD, root.join("docker/registry/v2/repositories"), rustix::fs::OFlags::DIRECTORY, Mode::empty())
            .expect("opened");
    for _ in 0..5_000 {
        rustix::fs::mkdirat(&directory, "d", Mode::RWXU).expect("made");
        directory = rustix::fs::openat(&directory, "d", rustix::fs::OFlags::DIRECTORY, Mode::empty()).expect("opened");
    }
    let ran = survive(&root, &[], &[2]);
    assert!(ran.stderr.contains("too long"), "{:.300}", ran.stderr);
    // Deeper than a path can name is deeper than the standard library can remove.
    let status = Command::new("rm").arg("-rf").arg(root.join("docker/registry/v2/repositories")).status().expect("rm");
    assert!(status.success());
}

#[test]
fn many_empty_repositories() {
    let (_keep, root) = on_disk();
    let repositories = root.join("docker/registry/v2/repositories");
    for number in 0..20_000 {
        fs::create_dir_all(repositories.join(format!("g{}/r{number}/_uploads", number % 100))).expect("made");
    }
    let ran = survive(&root, &[], &[0]);
    assert_eq!(ran.report()["scanned"]["repositories"], 20_002);
}

#[test]
fn roots_and_blobs_may_be_symbolic_links() {
    let (_keep, root) = on_disk();
    let aside = tempfile::tempdir().expect("a directory");
    for directory in ["blobs", "repositories"] {
        let place = root.join("docker/registry/v2").join(directory);
        fs::rename(&place, aside.path().join(directory)).expect("moved");
        symlink(aside.path().join(directory), &place).expect("linked");
    }
    let link = aside.path().join("root");
    symlink(&root, &link).expect("linked");
    let ran = Regsweep::gc(&link).args(["--min-age", "0s", "--allow-shared-blobs"]).run().expect_code(0);
    assert_eq!(ran.blobs(), BTreeSet::from([garbage().digest, layer(21).digest]));
    assert!(
        !aside.path().join("blobs").join(blob_data(&garbage().digest).trim_start_matches("docker/registry/v2/blobs/")).exists()
    );
}

#[test]
fn hard_linked_blobs_lose_one_name() {
    let (_keep, root) = on_disk();
    let copy = root.join("copy-of-garbage");
    fs::hard_link(root.join(blob_data(&garbage().digest)), &copy).expect("linked");
    survive(&root, &[], &[0]);
    assert!(copy.exists());
}

#[test]
fn a_proxys_state_and_uploads_are_left_alone() {
    let mut tree = victim();
    tree.upload("abused", "3a1e7f7e-0000-4000-8000-000000000000", b"half").file("scheduler-state.json", "{}");
    let root = tree.on_disk();
    survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
    assert!(root.path().join("scheduler-state.json").exists());
    assert!(root.path().join(layout::upload("abused", "3a1e7f7e-0000-4000-8000-000000000000")).join("data").exists());
}

#[test]
fn what_cannot_be_read_stops_the_run() {
    if !is_root() {
        return skipped("only root becomes somebody who may read less");
    }
    // The build directory is root's alone on some machines.
    let aside = tempfile::tempdir().expect("a directory");
    fs::set_permissions(aside.path(), fs::Permissions::from_mode(0o755)).expect("its own directory");
    let program = aside.path().join("regsweep");
    fs::copy(env!("CARGO_BIN_EXE_regsweep"), &program).expect("copied");
    for place in [
        repository("abused"),
        format!("{}/_layers", repository("abused")),
        layout::tags("abused"),
        layout::tag("abused", "v1"),
        layout::parent(&layout::blob_directory(&layer(21).digest)).to_owned(),
        layout::parent(&revision_link("abused", abused().digest())).to_owned(),
        revision_link("abused", abused().digest()),
        tag_current("abused", "v1"),
        blob_data(abused().digest()),
        layout::parent(&layout::blob_directory(abused().digest())).to_owned(),
    ] {
        let (_keep, root) = on_disk();
        let own = Command::new("chown").args(["-R", "65534:65534"]).arg(&root).status().expect("chown");
        assert!(own.success());
        let closed = Command::new("chmod").arg("000").arg(root.join(&place)).status().expect("chmod");
        assert!(closed.success());
        let ran = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["garbage-collect", "--root"])
            .arg(&root)
            .output()
            .expect("setpriv");
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{place}: {stderr}");
        assert!(stderr.contains("Permission denied"), "{stderr}");
        assert!(snapshot::blobs_on_disk(&root).contains_key(&garbage().digest));
    }
}

/// Goal: what cannot be removed keeps what it names, and the rest goes. Method: the immutable attribute, where the filesystem has it.
#[test]
fn what_cannot_be_removed_is_spared_with_all_it_needs() {
    let (_keep, root) = on_disk();
    let link = root.join(layer_link("abused", &layer(21).digest));
    let set = |flag: &str| Command::new("chattr").arg(flag).arg(&link).output().is_ok_and(|output| output.status.success());
    if !set("+i") {
        return skipped("no immutable files here");
    }
    let ran = Regsweep::gc(&root).args(["--min-age", "0s"]).json().run();
    assert!(set("-i"));
    let ran = ran.expect_code(3);
    assert_eq!(ran.finding_codes(), ["failed-removal"]);
    let left = snapshot::blobs_on_disk(&root);
    assert!(left.contains_key(&layer(21).digest), "its link is still there");
    assert!(!left.contains_key(&garbage().digest));
    Regsweep::gc(&root).args(["--min-age", "0s"]).run().expect_code(0);
    assert!(!snapshot::blobs_on_disk(&root).contains_key(&layer(21).digest));
}

/// Goal: nothing outside goes when a directory becomes a symbolic link during the sweep. Method: many blobs on one thread, and the last
/// shard swapped, with the program stopped meanwhile, once the first is empty; again if that was too late.
#[test]
fn a_symbolic_link_swapped_in_during_the_sweep_is_not_followed() {
    let mut tree = victim();
    for number in 0..6_000 {
        tree.blob(&layer(2_000_000 + number));
    }
    for _ in 0..5 {
        let root = tree.on_disk();
        let shards = root.path().join("docker/registry/v2/blobs/sha256");
        let outside = tempfile::tempdir().expect("a directory");
        let running = Regsweep::gc(root.path()).args(["--jobs", "1"]).json().start();
        let pid = rustix::process::Pid::from_child(&running.child);
        let begun = Instant::now();
        while fs::read_dir(shards.join("00")).is_ok_and(|mut left| left.next().is_some()) {
            assert!(begun.elapsed() < HANGS, "the sweep never began");
        }
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is not waited for yet");
        fs::rename(shards.join("ff"), outside.path().join("ff")).expect("moved");
        symlink(outside.path().join("ff"), shards.join("ff")).expect("linked");
        let there = fs::read_dir(outside.path().join("ff")).expect("listable").count();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it is not waited for yet");
        let ran = running.wait();
        if there == 0 {
            continue;
        }
        let ran = ran.expect_code(3);
        assert_eq!(fs::read_dir(outside.path().join("ff")).expect("listable").count(), there);
        assert!(ran.finding_codes().iter().all(|code| code == "changed-target"), "{:?}", ran.finding_codes());
        return;
    }
    panic!("five times too late");
}
