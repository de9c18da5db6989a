//! Commands that could do nothing at all: all is as it was, directories and stamps included, and the exit code is 2.

use std::process::Command;

use super::refusing::{DAY, later};
use super::*;
use crate::support::layout::{blob_data, revision_link};

/// The registry's tree, the quarantine and the records: what there is, and what is in it. Only the lock is anew.
fn all_there_is(root: &Path) -> BTreeMap<String, SeenKind> {
    let is_ours = |path: &str| [".regsweep", ".regsweep/lock"].contains(&path);
    snapshot(root).into_iter().filter(|(path, _)| !is_ours(path)).map(|(path, seen)| (path, seen.kind)).collect()
}

/// What is not the same.
fn differences(now: &BTreeMap<String, SeenKind>, before: &BTreeMap<String, SeenKind>) -> Vec<String> {
    let all: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    all.into_iter().filter(|path| now.get(*path) != before.get(*path)).cloned().collect()
}

#[track_caller]
fn ends_with_nothing_done(root: &Path, run: impl Fn() -> Regsweep, code: &str, words: &str) {
    let before = all_there_is(root);
    let ran = run().json().run().expect_code(2);
    assert_eq!(differences(&all_there_is(root), &before), [""; 0], "{}", ran.stdout);
    let report = report(&ran);
    assert_eq!((report.outcome.as_str(), report.exit_code), ("stopped", 2));
    assert_eq!((report.restored.unwrap_or_default(), report.purged.unwrap_or_default()), Default::default());
    assert!(!report.findings.is_empty(), "{}", ran.stdout);
    for finding in &report.findings {
        assert_eq!(finding.code, code, "{}", ran.stdout);
        assert!(finding.message.contains(words), "{}", finding.message);
        assert!(finding.path.is_some() && finding.next_step.is_some(), "{finding:?}");
    }
    let said = run().run().expect_code(2);
    assert!(said.stdout.contains("STOPPED, nothing was changed") && said.stdout.contains(words), "{}", said.stdout);
    assert_eq!(differences(&all_there_is(root), &before), [""; 0], "{}", said.stdout);
}

/// Where no file can be moved, and where no directory can be made for it.
#[test]
fn a_restoration() {
    if !has_strace() {
        return;
    }
    for (inject, words) in [
        ("renameat2:error=EPERM", "cannot restore"),
        ("mkdir,mkdirat:error=ENOSPC", "No space left"),
        ("fchmod:error=EPERM", "cannot restore"),
    ] {
        for all in [&["restore"][..], &["restore", "--all"]] {
            let root = store().on_disk();
            let root = root.path();
            collect(root, &["-m"]).expect_code(0);
            // Directories of what went are gone with it.
            assert!(!root.join(blob_data(&layer(9).digest)).parent().expect("in a directory").exists());
            let run = || Regsweep::new().args(all).arg("--root").arg(root).injected(inject);
            ends_with_nothing_done(root, run, "failed-restore", words);
            restored(root);
            assert!(root.join(revision_link("team/app", untagged().digest())).exists());
        }
    }
}

/// What comes back is told apart from what stays: no link comes back before all blobs do, and nothing is said to miss what was not restored.
#[test]
fn a_restoration_that_did_something_has_changed_something() {
    if !has_strace() {
        return;
    }
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let run = Regsweep::new().args(["restore", "--root"]).arg(root).json();
    let ran = run.injected("renameat2:error=EPERM:when=2").run().expect_code(1);
    let said = report(&ran);
    assert!(said.restored.as_ref().is_some_and(|moved| moved.blobs > 0 && moved.links == 0), "{}", ran.stdout);
    let failed = |finding: &Finding| finding.message.starts_with("Something in quarantine that could not be restored");
    let others: Vec<&Finding> = said.findings.iter().filter(|finding| !failed(finding)).collect();
    // That the links of what is back are still in quarantine is so.
    assert!(others.iter().all(|finding| finding.code == "failed-restore"), "{others:?}");
}

/// Neither what is due nor the stamp of its run can be written to.
#[test]
fn a_purge() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let held = only_run(root);
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&held).status().is_ok_and(|status| status.success());
    if !chattr("+i") {
        skipped("no directory can be made immutable here");
        return;
    }
    let run = || Regsweep::new().args(["quarantine", "purge", "--assume-offline", "--root"]).arg(root);
    let ended = std::panic::catch_unwind(|| {
        ends_with_nothing_done(root, run, "failed-purge", "is purged, because that cannot be noted");
    });
    assert!(chattr("-i"));
    ended.expect("nothing is done");
    run().run().expect_code(0);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

/// Nothing that is written reaches the disk, from any moment on: what was noted all the same is taken back.
#[test]
fn a_purge_that_nothing_flushes() {
    if !has_strace() {
        return;
    }
    let mut stopped = 0;
    for from in 1..=8 {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        let before = all_there_is(root);
        let run = Regsweep::new().args(["quarantine", "purge", "--assume-offline", "--root"]).arg(root).json();
        let ran = run.injected(&format!("fsync,fdatasync,syncfs:error=EIO:when={from}+")).run();
        if ran.code == Some(2) {
            stopped += 1;
            assert_eq!(differences(&all_there_is(root), &before), [""; 0], "from {from} on: {}", ran.stdout);
            command(root, &["restore"]).expect_code(0);
        }
    }
    assert!(stopped > 0);
}

/// What is due cannot be removed, although the stamp says already that it is about to be: that is taken back, to the byte.
#[test]
fn a_purge_that_had_been_noted() {
    if !has_strace() {
        return;
    }
    for inject in ["unlinkat:error=EPERM", "unlinkat:error=EROFS"] {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        // Read as a number, this is 1018.983742608.
        let stamp = only_run(root).join("run.json");
        let mut said: Value = serde_json::from_slice(&fs::read(&stamp).expect("there")).expect("JSON");
        said["boot"]["uptime_seconds"] = serde_json::from_str("1018.9837426080001").expect("a number");
        fs::write(&stamp, said.to_string()).expect("writable");
        let run = || Regsweep::new().args(["quarantine", "purge", "--assume-offline", "--root"]).arg(root).injected(inject);
        ends_with_nothing_done(root, run, "failed-purge", "cannot remove from the quarantine");
        assert_eq!(list(root).runs[0].purging, None);
        command(root, &["restore"]).expect_code(0);
    }
}

/// A collection of which only the purge fails is not done: it ends with 2 if it changed nothing, and with 3 if it did.
#[test]
fn a_collection_that_cannot_purge() {
    if !has_strace() {
        return;
    }
    for (from, code) in [(1, 2), (3, 3)] {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        let before = all_there_is(root);
        let run = || later(Regsweep::gc(root).args(["--quarantine", "-m"]).json(), DAY, "");
        let ran = run().injected(&format!("unlinkat:error=EPERM:when={from}+")).run().expect_code(code);
        assert_eq!(ran.report()["outcome"], if code == 2 { "stopped" } else { "incomplete" }, "{}", ran.stdout);
        assert!(ran.finding_codes().contains(&"failed-purge".to_owned()), "{}", ran.stdout);
        assert_eq!(moved(&ran, "purged").links > 0, code == 3, "{}", ran.stdout);
        assert_eq!(differences(&all_there_is(root), &before).is_empty(), code == 2, "{}", ran.stdout);
        run().run().expect_code(0);
        assert_eq!(runs(root), Vec::<PathBuf>::new(), "the rest was purged");
    }
}

/// The same where it has quarantined something before that.
#[test]
fn a_collection_that_quarantines_and_cannot_purge() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let held = only_run(root);
    registry().repo("team/app").upload_layer(&layer(7)).write_to(root);
    let chattr = |flag: &str| Command::new("chattr").args(["-R", flag]).arg(&held).status().is_ok_and(|status| status.success());
    if !chattr("+i") {
        skipped("no directory can be made immutable here");
        return;
    }
    let run = || later(Regsweep::gc(root).args(["--quarantine", "-m"]).json(), DAY, "");
    let ran = run().run();
    assert!(chattr("-i"));
    let ran = ran.expect_code(3);
    assert_eq!((ran.report()["outcome"].as_str(), ran.finding_codes()), (Some("incomplete"), vec!["failed-purge".to_owned()]));
    run().run().expect_code(0);
    assert_eq!(list(root).runs.len(), 1, "what was purged is gone, and the rest waits");
}

/// Something is needed again, and has no place to return to: no directory of it is left, and nothing is purged. What a run that was killed has
/// left stays, too.
#[test]
fn nothing_is_done_before_what_is_needed_is_restored() {
    if !has_strace() {
        return;
    }
    for inject in ["fchmod:error=EPERM", "renameat2:error=EPERM"] {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        registry().repo("team/app").manifest_only(&untagged()).tag("again").write_to(root);
        // Its tag was set again, and the manifest is in quarantine alone: of what is in both places the copy would go.
        fs::remove_dir_all(root.join(blob_data(untagged().digest())).parent().expect("in a directory")).expect("there");
        fs::create_dir(only_run(root).with_file_name("20260101T000000Z-remove")).expect("made");
        let purge =
            || Regsweep::new().args(["quarantine", "purge", "--older-than", "24h", "--assume-offline", "--root"]).arg(root);
        let collect = || Regsweep::gc(root).args(["-m", "--quarantine"]);
        ends_with_nothing_done(root, || later(purge(), DAY, "").injected(inject), "failed-restore", "cannot restore");
        let before = all_there_is(root);
        let ran = later(collect(), DAY, "").injected(inject).run().expect_code(2);
        assert_eq!(differences(&all_there_is(root), &before), [""; 0], "{}", ran.stdout);
        collect().run().expect_code(0);
        assert_eq!(runs(root).len(), 1, "the empty one is gone");
    }
}

/// A run that cannot be begun leaves nothing, not even an empty directory of quarantine: each call on the way fails in turn.
#[test]
fn a_run_that_cannot_begin() {
    if !has_strace() {
        return;
    }
    let commands: [(&[&str], bool); 3] = [
        (&["repair", "--assume-offline"], true),
        (&["verify", "--quarantine", "--min-age", "0s"], false),
        (&["garbage-collect", "-m", "--quarantine", "--allow-unlinked", "100%", "--assume-offline"], true),
    ];
    for (words, is_refused) in commands {
        let mut refused = 0;
        for call in ["mkdirat:error=ENOSPC:when=1", "mkdirat:error=ENOSPC:when=2", "fsync:error=EIO:when=1+"] {
            let root = store().on_disk();
            let root = root.path();
            // A collection holds what is damaged.
            if words[0] != "garbage-collect" {
                fs::write(root.join(blob_data(&layer(9).digest)), "damaged").expect("ours");
                fs::write(root.join(revision_link("team/app", untagged().digest())), "").expect("ours");
            }
            let before = all_there_is(root);
            let ran = Regsweep::new().args(words).arg("--root").arg(root).json().injected(call).run();
            let at = format!("{words:?} {call}: {:?}\n{}\n{}", ran.code, ran.stdout, ran.stderr);
            assert!(matches!(ran.code, Some(1 | 2)), "{at}");
            let is_this =
                ran.stdout.contains("quarantine") && [&ran.stdout, &ran.stderr].iter().any(|said| said.contains("os error"));
            refused += u32::from(is_this && (!is_refused || ran.code == Some(2)));
            assert_eq!(all_there_is(root), before, "{at}");
        }
        assert!(refused >= 2, "{words:?}: {refused}");
    }
}
