//! A quarantine that somebody has been at.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;
use crate::support::layout::blob_data;

#[test]
fn what_is_moved_back_by_hand_is_back() {
    for by in ["mv", "cp"] {
        let root = store().on_disk();
        let root = root.path();
        let before = files(root);
        collect(root, &["-m"]).expect_code(0);
        let run = only_run(root);
        let script = match by {
            // As docs/running-registry.md says: the tree mirrors the store.
            "cp" => "cp -an blobs repositories ../../../docker/registry/v2/".to_owned(),
            _ => "find blobs repositories -type f | while read -r file; do
                      to=../../../docker/registry/v2/$file; mkdir -p \"$(dirname \"$to\")\"; mv -n \"$file\" \"$to\"
                  done"
                .to_owned(),
        };
        let status = Command::new("sh").args(["-ec", &script]).current_dir(&run).status().expect("a shell");
        assert!(status.success());
        assert_eq!(files(root), before, "{by}");
        Regsweep::gc(root).run().expect_code(0);
        let dry = Regsweep::gc(root).arg("-m").dry().run().expect_code(0);
        assert_eq!(dry.rows_of("revision").len(), 1, "{by}");
        match by {
            "cp" => assert_eq!(list(root).runs.len(), 1, "copies wait"),
            _ => assert_eq!(runs(root), Vec::<PathBuf>::new(), "nothing is left of the run"),
        }
    }
}

#[test]
fn foreign_things_are_left_alone() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let run = only_run(root);
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("data"), "somebody's").expect("written");
    fs::create_dir_all(directory(root).join("my own/empty")).expect("made");
    fs::write(directory(root).join("notes"), "why").expect("written");
    symlink(outside.path(), directory(root).join("20200101T000000Z-garbage-collect")).expect("made");
    fs::write(run.join("notes"), "why").expect("written");
    let shelf = run.join(blob_data(&layer(5).digest).strip_prefix("docker/registry/v2/").expect("in the registry's tree"));
    fs::create_dir_all(shelf.parent().and_then(Path::parent).expect("in a directory")).expect("made");
    symlink(outside.path(), shelf.parent().expect("in a directory")).expect("made");

    let seen = list(root);
    assert_eq!((seen.runs.len(), seen.runs[0].unrecognised), (1, 2), "a note, and a link");
    let purged = report(&command(root, &["quarantine", "purge"]).expect_code(0));
    assert_eq!(purged.runs.len(), 1, "it is not empty: {purged:?}");
    for path in
        [directory(root).join("my own/empty"), directory(root).join("notes"), run.join("notes"), outside.path().join("data")]
    {
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn stamps_that_say_nothing() {
    let root = store().on_disk();
    let root = root.path();
    let before = files(root);
    collect(root, &["-m"]).expect_code(0);
    let run = only_run(root);
    for text in ["", "{}", "[1]", "\0\0\0", r#"{"schema":4,"purpose":"garbage-collect","began":"2026-01-01T00:00:00Z"}"#] {
        fs::write(run.join("run.json"), text).expect("written");
        let words: [&[&str]; 4] = [&["quarantine", "list"], &["restore"], &["quarantine", "purge"], &["garbage-collect", "-m"]];
        for words in words {
            let refused = command(root, words).expect_code(2);
            assert!(refused.stderr.contains("run.json"), "{}", refused.stderr);
        }
    }
    // Without one, nobody knows how long things have waited: they begin anew, whatever is asked for.
    fs::remove_file(run.join("run.json")).expect("there");
    assert_eq!(list(root).runs[0].finished, None);
    let next = collect(root, &["--quarantine-for", "1h"]).expect_code(0);
    assert_eq!(moved(&next, "purged"), Moved::default());
    restored(root);
    assert_eq!(files(root), before);
}

#[test]
fn a_link_in_the_place_of_our_directories_is_not_followed() {
    for name in [".regsweep", ".regsweep/quarantine"] {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        let elsewhere = tempfile::tempdir().expect("a directory");
        let moved = elsewhere.path().join("moved");
        let copied = Command::new("cp").arg("-a").arg(root.join(name)).arg(&moved).status().expect("cp is there");
        assert!(copied.success());
        fs::remove_dir_all(root.join(name)).expect("ours");
        symlink(&moved, root.join(name)).expect("made");
        let before = (snapshot(&root.join("docker")), snapshot(elsewhere.path()));
        let words: [&[&str]; 4] =
            [&["quarantine", "list"], &["restore"], &["quarantine", "purge"], &["garbage-collect", "--quarantine"]];
        for words in words {
            let refused = command(root, words).expect_code(2);
            assert!(refused.stderr.contains(".regsweep"), "{}", refused.stderr);
        }
        assert_eq!((snapshot(&root.join("docker")), snapshot(elsewhere.path())), before, "{name}");
    }
}

/// The lock is made anew; the kernel keeps it, not the file.
#[test]
fn a_lock_that_somebody_removed() {
    let root = store().on_disk();
    let root = root.path();
    let before = files(root);
    collect(root, &["-m"]).expect_code(0);
    fs::remove_file(root.join(".regsweep/lock")).expect("there");
    assert_eq!(list(root).runs.len(), 1);
    command(root, &["restore"]).expect_code(0);
    assert_eq!(files(root), before);
}
