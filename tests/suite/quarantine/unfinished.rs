//! Collections with a quarantine that are cut off among the links, and what comes after them: whatever it is, nobody has to lift a brake, nothing
//! live is lost, and in the end all garbage is gone.

use super::refusing::{DAY, later, online};
use super::*;
use crate::support::layout::blob_data;

/// Half a repository is garbage, and so are most of the blobs: a brake asks where they come from.
fn untidy() -> tempfile::TempDir {
    let mut store = registry();
    for name in ["a", "b", "c"] {
        store = store.repo(name).image(name, &[layer(1), layer(2)]).tag("v1");
        for number in 20..24_u64 {
            store = store.pushed(&oci_image(&format!("{name} {number}"), &[layer(number + u64::from(name.as_bytes()[0]))]));
        }
    }
    store.on_disk()
}

/// The blobs of images with a tag.
fn live() -> BTreeSet<String> {
    let images = ["a", "b", "c"].map(|name| oci_image(name, &[layer(1), layer(2)]));
    images.iter().flat_map(|image| image.reaches()).map(|digest| blob_data(&digest)).collect()
}

fn blobs(root: &Path) -> BTreeSet<String> {
    let all = files(root).into_keys().map(|path| format!("docker/{path}"));
    all.filter(|path| path.contains("/blobs/")).collect()
}

/// What may follow a run that was cut off, night after night; the last ones again and again.
const FOLLOWING: [&[&[&str]]; 5] =
    [&[], &[&["-m"]], &[&["-m", "--quarantine"]], &[&[]], &[&["-m"], &["-m", "--quarantine"], &[]]];

#[test]
fn whatever_follows_a_run_that_was_cut_off_comes_to_its_end() {
    if !has_strace() {
        return;
    }
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let mut tried = 0;
    for is_online in [false, true] {
        for signal in ["KILL", "INT", "TERM"] {
            for (place, at) in [8, 20, 31].into_iter().enumerate() {
                for (number, following) in FOLLOWING.iter().enumerate() {
                    if !whole && (place + number + signal.len() + usize::from(is_online)) % 4 != 0 {
                        continue;
                    }
                    tried += 1;
                    one(is_online, signal, at, following);
                }
            }
        }
    }
    assert!(tried > 10, "{tried}");
}

fn one(is_online: bool, signal: &str, at: u32, following: &[&[&str]]) {
    let what = format!("online: {is_online}, {signal} at {at}, then {following:?}");
    let root = untidy();
    let root = root.path();
    let (_, config) = online(root, &[]);
    // Without any flag that lifts a brake.
    let night = |flags: &[&str]| match flags.contains(&"--online") {
        true => Regsweep::new().arg("garbage-collect").arg(config.path()).args(flags).args(["--rescue-for", "0s"]),
        false => bare(root, flags).arg("--assume-offline"),
    };
    let night = |flags: &[&str]| night(flags).args(["--ignore-birth-time", "--jobs", "1"]);
    night(&[]).run().expect_code(0);
    let same: &[&str] = if is_online { &["-m", "--online"] } else { &["-m", "--quarantine"] };
    let inject = format!("inject=renameat2:signal={signal}:when={at}");
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
    let cut_off = night(same).under(words).run();
    assert_ne!(cut_off.code, Some(0), "{what}");
    for (number, flags) in following.iter().chain([&same; 5]).enumerate() {
        let ran = later(night(flags), DAY * number as u64 + 60, "").run();
        assert_eq!(ran.code, Some(0), "{what}: run {number} {flags:?}\n{}\n{}", ran.stdout, ran.stderr);
        assert!(blobs(root).is_superset(&live()), "{what}: run {number}");
    }
    assert_eq!(blobs(root), live(), "{what}");
    assert_eq!(runs(root), Vec::<PathBuf>::new(), "{what}");
    assert!(!root.join(".regsweep/sweep").exists(), "{what}");
}

/// What is kept for nothing but the quarantine is not said to be young.
#[test]
fn what_is_kept_for_the_quarantine_is_said_to_be() {
    let root = untidy();
    let root = root.path();
    if !has_strace() {
        return;
    }
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:signal=KILL:when=20"];
    bare(root, &["-m", "--quarantine", "--ignore-birth-time", "--jobs", "1"]).under(words).run();
    let ran = bare(root, &["-m", "--ignore-birth-time", "--assume-offline"]).run().expect_code(0);
    assert!(ran.stdout.contains("kept only for what is in quarantine"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("kept only for being young"), "{}", ran.stdout);
}
