//! What is mended, how, and how it is undone.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::*;

/// Each damage by itself and all of them at once: the store is as it was, byte for byte, and a restoration brings the damaged files back.
#[test]
fn the_store_is_as_it_was_before_the_damage() {
    let whole = store().into_tree();
    let each = damages().into_iter().map(|damage| vec![damage]);
    let at_once: Vec<Damaged> = damages().into_iter().filter(|(_, damage)| *damage != Damage::Garbled).collect();
    for damages in each.chain([at_once]) {
        let tree = damaged(whole.clone(), &damages);
        let root = tree.on_disk();
        let root = root.path();
        let before = snapshot(root);
        let mut paths: Vec<String> = damages.iter().map(|(path, _)| path.clone()).collect();
        paths.sort();
        let dry = repair(root, &["--dry-run"]).json().run().expect_code(0);
        assert_eq!(snapshot(root), before, "a dry run writes nothing: {damages:?}");
        assert_eq!(links(&dry), paths, "{damages:?}");

        let outcome = repair(root, &[]).json().run().expect_code(0);
        assert_eq!(links(&outcome), paths, "a dry run equals a real one: {damages:?}");
        assert_eq!(contents(root), expected(&whole), "{damages:?}");
        Regsweep::audit(root).arg("--ignore-birth-time").args(["--fail-on", "warning"]).run().expect_code(0);
        let again = repair(root, &[]).run().expect_code(0);
        assert!(again.stdout.contains("nothing to mend"), "{}", again.stdout);

        let replaced: Vec<&Damaged> = damages.iter().filter(|(_, damage)| *damage != Damage::Missing).collect();
        let report = outcome.report();
        assert_eq!(report["replaced"], replaced.len(), "{damages:?}");
        assert_eq!(report["quarantine_run"].is_string(), !replaced.is_empty(), "{damages:?}");
        if let Some(run) = report["quarantine_run"].as_str() {
            let restore = ["restore", "--run", run, "--root"];
            // What cannot be pulled is a finding. History is for nothing that is pulled.
            let broken: Vec<&String> = replaced.iter().map(|(path, _)| path).filter(|path| !path.contains("/tags/")).collect();
            let restored = Regsweep::new().args(restore).arg(root).json().run().expect_code(i32::from(!broken.is_empty()));
            for path in broken {
                let is_said = |finding: &Finding| finding.code.ends_with("-link") && finding.path.as_ref() == Some(path);
                assert!(restored.findings().iter().any(is_said), "{path}: {}", restored.stdout);
            }
            let made: Vec<Damaged> = damages.iter().filter(|(_, damage)| *damage != Damage::Missing).cloned().collect();
            assert_eq!(contents(root), expected(&damaged(whole.clone(), &made)), "as it was: {damages:?}");
        }
    }
}

/// An image that was mended stays so, whatever else comes back, unless somebody names the run of the repair.
#[test]
fn damaged_links_come_back_by_the_name_of_their_run_alone() {
    let path = layer_link(REPOSITORY, &layer(2).digest);
    let mended = || {
        let root = damaged(store().into_tree(), &[(path.clone(), Damage::Empty)]).on_disk();
        repair(root.path(), &[]).run().expect_code(0);
        root
    };
    let whole = layer(2).digest;
    let restore = |root: &Path, words: &[&str]| Regsweep::new().arg("restore").args(words).arg("--root").arg(root).run();
    // Nothing else is in quarantine.
    let root = mended();
    let refused = restore(root.path(), &[]).expect_code(2);
    assert!(refused.stderr.contains("name their run"), "{}", refused.stderr);
    let refused = restore(root.path(), &["--all"]).expect_code(2);
    assert!(refused.stderr.contains("name their run"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(root.path().join(&path)).expect("there"), whole);
    // The repair is the newest run, and something else is there.
    for words in [&[][..], &["--all"]] {
        let root = damaged(store().into_tree(), &[(path.clone(), Damage::Empty)]).on_disk();
        let stray = crate::support::registry().stray_blob(&layer(77));
        stray.write_to(root.path());
        Regsweep::gc(root.path()).args(["--quarantine", "--min-age", "0s"]).run();
        repair(root.path(), &[]).run().expect_code(0);
        restore(root.path(), words).expect_code(0);
        assert!(root.path().join(crate::support::layout::blob_data(&layer(77).digest)).exists(), "{words:?}");
        assert_eq!(fs::read_to_string(root.path().join(&path)).expect("there"), whole, "{words:?}");
    }
}

/// What was pushed again since is no longer the repair's: a restoration leaves it.
#[test]
fn a_restoration_leaves_what_was_written_since() {
    let path = layer_link(REPOSITORY, &layer(2).digest);
    let root = damaged(store().into_tree(), &[(path.clone(), Damage::Empty)]).on_disk();
    let run = repair(root.path(), &[]).json().run().expect_code(0).report()["quarantine_run"].clone();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(root.path().join(&path)).expect("there").set_modified(later).expect("touched");
    Regsweep::new().args(["restore", "--run", run.as_str().expect("a run"), "--root"]).arg(root.path()).run().expect_code(1);
    assert_eq!(fs::read_to_string(root.path().join(&path)).expect("there"), layer(2).digest);
}

/// A collection neither needs what a repair quarantined nor purges it; its own command does.
#[test]
fn what_was_replaced_waits_until_it_is_purged_by_name() {
    let path = revision_link(REPOSITORY, one().digest());
    let root = damaged(store().into_tree(), &[(path, Damage::Garbled)]).on_disk();
    let root = root.path();
    let outcome = repair(root, &[]).json().run().expect_code(0);
    let run = outcome.report()["quarantine_run"].as_str().expect("a run").to_owned();
    Regsweep::gc(root).args(["--quarantine", "--quarantine-for", "0s"]).run().expect_code(0);
    let command = |words: &[&str]| Regsweep::new().arg("quarantine").args(words).arg("--root").arg(root).json().run();
    command(&["purge"]).expect_code(0);
    assert!(command(&["list"]).expect_code(0).stdout.contains(&run), "no collection's");
    command(&["purge", "--run", &run]).expect_code(0);
    assert!(!command(&["list"]).expect_code(0).stdout.contains(&run));
    assert_eq!(contents(root), expected(&store().into_tree()));
}

/// A registry runs as another user than root: it must be able to read what was made, and to write beside it.
#[test]
fn what_is_made_has_the_owner_and_the_mode_of_its_directory() {
    let lost: Vec<Damaged> = damages().into_iter().filter(|(_, damage)| *damage != Damage::Garbled).collect();
    let root = damaged(store().into_tree(), &lost).on_disk();
    let root = root.path();
    let ours = fs::metadata(root).expect("there").uid();
    let (user, group) = if ours == 0 { (1234, 2345) } else { (ours, fs::metadata(root).expect("there").gid()) };
    for path in snapshot(&root.join("docker")).into_keys() {
        let path = root.join("docker").join(path);
        let mode = if path.is_dir() { 0o2750 } else { 0o640 };
        chown(&path, Some(user), Some(group)).expect("changed");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
    }
    repair(root, &[]).run().expect_code(0);
    for (path, _) in &lost {
        for (above, expected) in [(0, 0o640), (1, 0o2750)] {
            let path = root.join(path);
            let path = path.ancestors().nth(above).expect("above");
            let there = fs::metadata(path).expect("there");
            assert_eq!((there.uid(), there.gid(), there.mode() & 0o7777), (user, group, expected), "{path:?}");
        }
    }
}

/// Only what somebody names: the tag may be half deleted.
#[test]
fn a_tag_is_made_from_a_history_of_one_when_it_is_named() {
    for damage in [Damage::Missing, Damage::Empty, Damage::Garbled] {
        let whole = store().into_tree();
        let lost = [(tag_current(REPOSITORY, "all"), damage), (revision_link(REPOSITORY, platforms().digest()), Damage::Missing)];
        let root = damaged(whole.clone(), &lost).on_disk();
        let root = root.path();
        let before = contents(root);
        let unnamed = repair(root, &[]).json().run().expect_code(1);
        assert_eq!(contents(root), before, "{damage:?}");
        assert!(unnamed.stdout.contains("only when it is named"), "{}", unnamed.stdout);
        repair(root, &[&format!("{REPOSITORY}:all")]).run().expect_code(0);
        assert_eq!(contents(root), expected(&whole), "{damage:?}");
        let again = repair(root, &[&format!("{REPOSITORY}:all")]).run().expect_code(0);
        assert!(again.stdout.contains("nothing to mend"), "{}", again.stdout);
    }
}

/// It is no link of a digest, so no command can say where it belongs: the reports say that it goes back, or away, by hand, and promise nothing else.
#[test]
fn what_a_tag_had_in_its_place_goes_back_by_hand() {
    let lost = [(tag_current(REPOSITORY, "all"), Damage::Garbled)];
    let root = damaged(store().into_tree(), &lost).on_disk();
    let named = format!("{REPOSITORY}:all");
    let mended = repair(root.path(), &[]).arg(&named).run().expect_code(0);
    assert!(mended.stdout.contains("as they were, the damaged link of a tag only by hand"), "{}", mended.stdout);
    let listed = Regsweep::new().args(["quarantine", "list", "--root"]).arg(root.path()).run().expect_code(0).stdout;
    assert!(listed.contains("1 file of another kind: put back or delete by hand"), "{listed}");
    assert!(listed.contains("purge --run RUN") && !listed.contains("--older-than"), "{listed}");
}

/// What a tag names is made with it, also where its `current` is well.
#[test]
fn a_tag_that_names_a_lost_revision_is_mended_by_its_name() {
    let lost = (revision_link(REPOSITORY, two().digest()), Damage::Missing);
    let root = damaged(store().into_tree(), &[lost]).on_disk();
    repair(root.path(), &[&format!("{REPOSITORY}:v1")]).run().expect_code(0);
    assert_eq!(contents(root.path()), expected(&store().into_tree()));
}

#[test]
fn one_repository_is_repaired_alone() {
    let here = (layer_link("other", &layer(2).digest), Damage::Missing);
    let there = (layer_link(REPOSITORY, &layer(3).digest), Damage::Missing);
    let root = damaged(store().into_tree(), &[here.clone(), there.clone()]).on_disk();
    repair(root.path(), &["other"]).run().expect_code(0);
    assert_eq!(contents(root.path()), expected(&damaged(store().into_tree(), &[there])));
}

/// On a full disk a repair that has to quarantine something, and a verification that is to, say so before they make anything, dry or real.
#[test]
fn without_room_for_what_is_replaced_nothing_is_changed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let path = layer_link(REPOSITORY, &layer(2).digest);
    let aside = damaged(store().into_tree(), &[(path, Damage::Empty)]).on_disk();
    let root = tempfile::tempdir().expect("a directory");
    let blob = crate::support::layout::blob_data(&layer(2).digest);
    let script = format!(
        r#"mount -t tmpfs -o size=4m none {root}; cp -a {aside}/. {root}
        size=$(stat -c %s {root}/{blob}); head -c "$size" /dev/zero | tr '\0' x > {root}/{blob}; touch -d '1 day ago' {root}/{blob}
        head -c 9000000 /dev/zero > {root}/fill 2>&1 || true
        code=0; "$@" --dry-run || code=$?; test $code = 2
        code=0; "$@" || code=$?; test $code = 2
        code=0; {program} verify --quarantine --min-age 0s --root {root} || code=$?; test $code = 1
        test "$(ls {root}/.regsweep/quarantine 2>&1 | grep -c '^2')" = 0"#,
        root = root.path().display(),
        aside = aside.path().display(),
        program = env!("CARGO_BIN_EXE_regsweep"),
    );
    let ran = repair(root.path(), &[]).under(["unshare", "-m", "sh", "-ec", &script, "sh"]).run();
    assert_eq!(ran.code, Some(0), "{script}\n{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(
        format!("{}{}", ran.stdout, ran.stderr).matches("to quarantine 1 files takes").count(),
        4,
        "{}{}",
        ran.stdout,
        ran.stderr
    );
}

/// What is in the place of a blob and is no file is nothing that a repair touches, and it says so.
#[test]
fn data_that_is_no_file_is_said_and_left() {
    let data = crate::support::layout::blob_data(&layer(2).digest);
    let irregular = store().with(|tree| _ = tree.remove(&data).directory(&*data)).into_tree().on_disk();
    for flags in [&["--dry-run"][..], &[]] {
        let outcome = repair(irregular.path(), flags).json().run().expect_code(1);
        assert_eq!(outcome.finding_codes(), ["irregular-data"], "{}", outcome.stdout);
    }
    assert!(irregular.path().join(&data).is_dir());
}
