//! Repairs that are killed, or that fail, at each of their system calls.

use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use super::*;
use crate::support::layout::blob_data;

/// System calls, and one in how many of each is tried: all that put something in place, and some of those around them. `REGSWEEP_FAULTS=all`
/// tries all.
const CALLS: [(&str, usize); 11] = [
    ("renameat2", 3),
    ("renameat", 5),
    ("linkat", 2),
    ("syncfs", 1),
    ("fsync", 13),
    ("fchown", 9),
    ("fchmod", 13),
    ("mkdirat", 11),
    ("unlinkat", 11),
    ("openat2", 90),
    ("newfstatat", 130),
];

fn at_each_call(inject: &str, check: impl Fn((&Path, &Path), Option<i32>, &str)) {
    if !has_strace() {
        return;
    }
    let whole = std::env::var("REGSWEEP_FAULTS").is_ok_and(|wish| wish == "all");
    let mirror = store().on_disk();
    let tree = damaged(store().into_tree(), &lost());
    let mut met = 0;
    for (call, sample) in CALLS {
        for number in (1..).step_by(if whole { 1 } else { sample }) {
            let root = tree.on_disk();
            let root = root.path();
            let log = root.join("strace.log");
            let status = Command::new("strace")
                .args(["-f", "-qq", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{inject}:when={number}"), "-o"])
                .arg(&log)
                .arg(env!("CARGO_BIN_EXE_regsweep"))
                .args(["repair", "--quiet", "--jobs", "1", "--root"])
                .arg(root)
                .arg("--from")
                .arg(mirror.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("strace is there");
            let text = std::fs::read_to_string(&log).expect("written");
            if !text.contains("INJECTED") && !text.contains("killed by SIGKILL") {
                break;
            }
            met += 1;
            check((root, mirror.path()), status.code(), &format!("{call} {number}"));
        }
    }
    println!("{inject}: {met} calls");
    assert!(met > 10, "only {met}");
}

/// Layers whose bytes the mirror has, of which an empty one is there, and links.
fn lost() -> Vec<Damaged> {
    let links = damages().into_iter().filter(|(_, damage)| *damage != Damage::Garbled);
    let blobs = [(blob_data(&layer(2).digest), Damage::Missing), (blob_data(&layer(4).digest), Damage::Empty)];
    links.chain(blobs).collect()
}

/// Links are whole or as they were, the next run comes to the same end, and what was replaced is in quarantine.
fn goes_on((root, mirror): (&Path, &Path), at: &str) {
    let whole = expected(&store().into_tree());
    let lost: BTreeMap<String, Damage> = lost().into_iter().collect();
    for (path, content) in contents(root) {
        let is_as_it_was = lost.get(&path) == Some(&Damage::Empty) && content.is_empty();
        assert!(is_as_it_was || whole.get(&path) == Some(&content), "{path}: {at}");
    }
    // In the order of a push: blobs, layer links, revisions, history.
    let ranks = ["/blobs/", "/_layers/", "/revisions/", "/index/"].map(|part| {
        let mended = |path: &&String| std::fs::read(root.join(path)).is_ok_and(|bytes| whole.get(*path) == Some(&bytes));
        let paths: Vec<&String> = lost.keys().filter(|path| path.contains(part)).collect();
        (paths.iter().filter(|path| mended(path)).count(), paths.len())
    });
    let first = ranks.iter().position(|(mended, all)| mended < all).unwrap_or(ranks.len());
    assert!(ranks.iter().skip(first + 1).all(|(mended, _)| *mended == 0), "{ranks:?}: {at}");
    let next = repair(root, &[]).arg("--from").arg(mirror).run();
    assert_eq!(next.code, Some(0), "{at}\n{}{}", next.stdout, next.stderr);
    assert_eq!(contents(root), whole, "{at}");
    let stray = std::fs::read_dir(root.join(".regsweep"))
        .expect("there")
        .any(|entry| entry.expect("listable").file_name() == "repair.new");
    assert!(!stray, "{at}");
    for run in std::fs::read_dir(root.join(".regsweep/quarantine")).expect("there") {
        let run = run.expect("listable").file_name();
        let restored = Regsweep::new().args(["restore", "--run"]).arg(run).arg("--root").arg(root).run();
        // 2: a run that was killed may have taken nothing.
        assert!(matches!(restored.code, Some(0..=2)), "{at}\n{}{}", restored.stdout, restored.stderr);
    }
    for (path, damage) in &lost {
        let there = std::fs::read(root.join(path)).expect("there");
        let is_back = *damage == Damage::Empty && !path.contains("/blobs/");
        assert_eq!(there.is_empty(), is_back, "{path} is as it was before, or stays: {at}");
    }
}

#[test]
fn a_repair_that_is_killed_goes_on() {
    at_each_call("signal=SIGKILL", |roots, _, at| goes_on(roots, at));
}

#[test]
fn a_repair_that_fails_says_so_and_goes_on() {
    let before = expected(&damaged(store().into_tree(), &lost()));
    at_each_call("error=EIO", |roots, code, at| {
        // 127: the dynamic loader's own call.
        assert!(matches!(code, Some(0..=3 | 127)), "{code:?}: {at}");
        if matches!(code, Some(2 | 127)) {
            assert_eq!(contents(roots.0), before, "nothing was changed: {at}");
        }
        goes_on(roots, at);
    });
}

/// What it had replaced by then is damaged, and no later time is noted that would show whether somebody writes to it.
#[test]
fn what_a_repair_replaced_that_was_killed_can_be_purged() {
    if !has_strace() {
        return;
    }
    let mirror = store().on_disk();
    let root = damaged(store().into_tree(), &lost()).on_disk();
    let mend = || repair(root.path(), &[]).arg("--jobs").arg("1").arg("--from").arg(mirror.path());
    let killed = mend().injected("linkat:signal=KILL:when=2").run();
    assert_ne!(killed.code, Some(0), "{}", killed.stdout);
    mend().run().expect_code(0);
    let runs = || -> Vec<_> {
        let listed = std::fs::read_dir(root.path().join(".regsweep/quarantine")).into_iter().flatten();
        listed.map(|run| run.expect("listable").file_name()).collect()
    };
    assert_eq!(runs().len(), 2, "{:?}", runs());
    for run in runs() {
        let purge = Regsweep::new().args(["quarantine", "purge", "--assume-offline", "--json", "--run"]).arg(run);
        let report = purge.arg("--root").arg(root.path()).run().expect_code(0).report();
        assert_eq!(report["withheld"], 0, "{report}");
    }
    assert!(runs().is_empty(), "{:?}", runs());
}

/// Cut off after the damaged file was kept and before it was replaced: what a push puts there later is the only good copy.
#[test]
fn what_was_pushed_after_a_killed_repair_is_not_replaced() {
    if !has_strace() {
        return;
    }
    let mirror = store().on_disk();
    let path = blob_data(&layer(4).digest);
    let root = damaged(store().into_tree(), &[(path.clone(), Damage::Empty)]).on_disk();
    let root = root.path();
    let mend = repair(root, &[]).arg("--jobs").arg("1").arg("--from").arg(mirror.path());
    // The first two are those of the run's own stamp.
    mend.injected("renameat:signal=KILL:when=3").run();
    assert!(std::fs::metadata(root.join(&path)).expect("there").nlink() == 2, "it was kept, and not replaced");
    let whole = std::fs::read(mirror.path().join(&path)).expect("there");
    // As the registry does: a new file, renamed to its place.
    std::fs::write(root.join("pushed"), &whole).expect("written");
    std::fs::rename(root.join("pushed"), root.join(&path)).expect("moved");
    for run in std::fs::read_dir(root.join(".regsweep/quarantine")).expect("there") {
        let run = run.expect("listable").file_name();
        Regsweep::new().args(["restore", "--run"]).arg(run).arg("--root").arg(root).run().expect_code(1);
    }
    assert_eq!(std::fs::read(root.join(&path)).expect("there"), whole);
}
