//! The command itself: exit codes, formats, other owners, names that nobody should choose.

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::command_line::metrics::samples;

#[test]
fn fails_from_the_severity_asked_for() {
    let stores = [
        (healthy().into_tree(), [0, 0, 0]),
        (healthy().stray_blob(&layer(50)).into_tree(), [0, 0, 0]),
        (healthy().tag("not a tag").into_tree(), [0, 1, 0]),
        (
            healthy()
                .with(|tree| {
                    tree.remove(&blob_directory(&layer(2).digest));
                })
                .into_tree(),
            [1, 1, 0],
        ),
    ];
    for (tree, codes) in stores {
        let root = tree.on_disk();
        for (fail_on, code) in ["error", "warning", "never"].into_iter().zip(codes) {
            Regsweep::audit(root.path()).args(["--fail-on", fail_on]).run().expect_code(code);
        }
    }
    let nowhere = tempfile::tempdir().expect("a directory");
    fs::create_dir(nowhere.path().join("something")).expect("made");
    Regsweep::audit(nowhere.path()).args(["--fail-on", "never"]).run().expect_code(2);
}

#[test]
fn is_kept_out_by_a_collection() {
    let root = healthy().into_tree().on_disk();
    fs::create_dir(root.path().join(".regsweep")).expect("made");
    let lock = fs::File::create(root.path().join(".regsweep/lock")).expect("made");
    fs2::FileExt::lock_exclusive(&lock).expect("free");
    let refused = Regsweep::audit(root.path()).run().expect_code(2);
    assert!(refused.stderr.contains("another regsweep"), "{}", refused.stderr);
}

#[test]
fn text_says_what_is_broken_and_what_a_collection_frees() {
    let mut store = healthy().stray_blob(&layer(50)).with(|tree| {
        tree.remove(&blob_directory(&layer(2).digest));
    });
    for number in 0..5 {
        store = store.repo(APP).manifest_only(&amd64()).tag(&format!("w{number}"));
    }
    let root = store.into_tree().on_disk();
    let text = Regsweep::audit(root.path()).run().expect_code(1).stdout;
    for expected in [
        "regsweep audit: 1 error, 1 note\n",
        "would free    1 blob (9 B): a collection\n              1 blob (9 B): with --delete-untagged\n",
        "    needed by team/app:v1 (linux/amd64)\n    needed by team/app:v1 (linux/arm64)\n",
        "    needed by team/app:w2 (linux/amd64)\n    and 2 more\n",
        "; nothing was changed\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("w3"), "{text}");
    let quiet = Regsweep::audit(root.path()).arg("--quiet").run().expect_code(1);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
}

#[test]
fn figures_say_what_was_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("regsweep.prom");
    let root = healthy().stray_blob(&layer(50)).manifest_only(&variant("x")).into_tree().on_disk();
    Regsweep::audit(root.path()).arg("--metrics").arg(&path).run().expect_code(0);
    let figures = samples(&fs::read_to_string(&path).expect("written"));
    let of = |name: &str| figures[&format!("regsweep_{name}{{command=\"audit\"}}")];
    assert_eq!((of("reclaimable_blobs"), of("reclaimable_untagged_blobs"), of("stored_blobs")), (1.0, 2.0, 8.0));
    assert_eq!(figures["regsweep_findings{command=\"audit\",code=\"unlinked-blob\",severity=\"note\"}"], 1.0);
    let inside = root.path().join("docker/regsweep.prom");
    Regsweep::audit(root.path()).arg("--metrics").arg(&inside).run().expect_code(2);
    assert!(!inside.exists());
}

#[test]
fn other_owners_are_told_by_the_configuration() {
    let root = healthy().into_tree().on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let audit = |more: &str| {
        let storage = format!("filesystem: {{rootdirectory: {}}}", root.path().display());
        fs::write(&config, format!("version: 0.1\nstorage: {{{storage}}}\n{more}")).expect("written");
        Regsweep::new().arg("audit").arg(&config).json().run().expect_code(0).finding_codes()
    };
    assert_eq!(audit(""), [""; 0]);
    assert_eq!(audit("auth: {htpasswd: {realm: harbor-registry-basic-realm, path: /x}}\n"), ["harbor-database"]);
    let proxy = "proxy: {remoteurl: 'https://example.com'}\n";
    assert_eq!(audit(proxy), ["pull-through-cache"]);
    // Nobody has asked it for all of the image yet.
    fs::remove_file(root.path().join(blob_data(&layer(2).digest))).expect("there");
    fs::remove_dir(root.path().join(blob_directory(&layer(2).digest))).expect("empty");
    assert_eq!(audit(proxy), ["pull-through-cache"]);
    Regsweep::new().arg("verify").arg(&config).run().expect_code(0);
}

#[test]
fn totals_are_those_of_the_dry_runs() {
    for fixture in ["team", "legacy"] {
        let directory = tempfile::tempdir().expect("a directory");
        let tar = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{fixture}.tar"));
        let status = std::process::Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(directory.path()).status();
        assert!(status.expect("tar runs").success());
        let report = Regsweep::audit(directory.path()).json().run().expect_code(0).report();
        for (flags, key) in [(&[][..], "reclaimable"), (&["-m"], "reclaimable_delete_untagged")] {
            let dry = Regsweep::gc(directory.path()).args(flags).dry().json().run().expect_code(0).report();
            let mut said = report[key].clone();
            for key in ["held_repositories", "young", "young_until", "young_never"] {
                said.as_object_mut().expect("an object").remove(key);
            }
            assert_eq!(said, dry["reclaimable"], "{fixture} {key}");
        }
    }
}

#[test]
fn names_and_files_that_nobody_should_make_neither_speak_nor_block() {
    let upload = layout::upload(APP, "odd\u{1b}[2J");
    let tree = healthy().tag("\u{1b}[2J").with(|tree| {
        tree.directory(upload.clone()).file(format!("{}/x\u{1b}[2J.tmp", blob_directory(&layer(2).digest)), "x");
        tree.file(format!("{}/startedat", layout::upload(APP, "garbled")), vec![b'9'; 1 << 20]);
    });
    let root = tree.into_tree().on_disk();
    for name in ["startedat", "data"] {
        let mode = Mode::from_raw_mode(0o644);
        mknodat(CWD, root.path().join(&upload).join(name), FileType::Fifo, mode, 0).expect("made");
    }
    let codes = Regsweep::audit(root.path()).json().run().expect_code(1).finding_codes();
    let expected = ["invalid-tag-name", "leftover-file", "stale-upload", "unrecognised-entry", "unrecognised-entry"];
    assert_eq!(codes, expected);
    let text = Regsweep::audit(root.path()).run().expect_code(1).stdout;
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// A platform that was not copied, in three repositories and in two indexes of one of them.
#[test]
fn every_command_counts_a_missing_child_alike() {
    let (here, elsewhere) = (oci_image("here", &[layer(1)]), oci_image("elsewhere", &[layer(2)]));
    let sparse = index(&[here.clone(), elsewhere.clone()]);
    let another = sparse.clone().edit(|json| json["annotations"] = serde_json::json!({"another": "one"}));
    let nested = index(std::slice::from_ref(&sparse));
    let mut tree = registry().repo("a").pushed(&here).manifest_only(&sparse).tag("v1").manifest_only(&another).tag("v2");
    for name in ["b", "c"] {
        tree = tree.repo(name).pushed(&here).manifest_only(&sparse).manifest_only(&nested).tag("v1");
    }
    counted_alike(&tree.into_tree(), "missing-child");
}

/// A platform whose revision link is there was there itself.
#[test]
fn every_command_takes_a_platform_with_a_revision_link_for_lost() {
    let children = [oci_image("here", &[layer(1)]), oci_image("elsewhere", &[layer(2)])];
    let whole = index(&children);
    let mut store = registry().repo("a").pushed(&whole).tag("v1").repo("b").pushed(&whole).tag("v1");
    // What is missing is a small share of the store.
    for number in 10..50 {
        store = store.repo("c").image(&format!("image {number}"), &[layer(number)]).tag(&format!("v{number}"));
    }
    let mut tree = store.into_tree();
    tree.remove(&layout::blob_directory(children[1].digest()));
    counted_alike(&tree, "missing-manifest");
    // One repository has deleted it, as its API does.
    tree.delete_manifest("b", children[1].digest());
    counted_alike(&tree, "missing-manifest");
    tree.delete_manifest("a", children[1].digest());
    counted_alike(&tree, "missing-child");
}

/// Says the one finding about something missing in every command.
#[track_caller]
fn counted_alike(tree: &Tree, code: &str) {
    let root = tree.on_disk();
    let commands: [&[&str]; 7] = [
        &["audit"],
        &["garbage-collect", "--dry-run"],
        &["garbage-collect", "--dry-run", "--delete-untagged"],
        &["expire", "--dry-run", "--keep-last", "9", "--repository", "*"],
        &["list"],
        &["usage"],
        &["verify"],
    ];
    for command in commands {
        let ran = Regsweep::new().args(command).args(["--json", "--root"]).arg(root.path()).run().expect_code(1);
        let missing: Vec<_> = ran.findings().into_iter().filter(|finding| finding.code.starts_with("missing-")).collect();
        assert_eq!(missing.iter().map(|finding| &*finding.code).collect::<Vec<_>>(), [code], "{command:?}: {}", ran.stdout);
        assert_eq!((missing[0].count, missing[0].repository.is_none()), (1, true), "{command:?}: {}", ran.stdout);
    }
}
