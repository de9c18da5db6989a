//! What other programs and administrators leave in a store: a NAS, NFS, a desktop, another disk, another owner.

use super::*;

const DIRECTORIES: [&str; 27] = [
    "@tmp",
    "#snapshot",
    ".Trash",
    ".Trashes",
    ".fseventsd",
    ".TemporaryItems",
    ".AppleDB",
    ".recycle",
    ".glusterfs",
    ".streams",
    ".snap",
    ".stversions",
    ".smbdelete0001",
    "Network Trash Directory",
    "@eaDir",
    ".@__thumb",
    "#recycle",
    "@Recycle",
    "lost+found",
    ".snapshot",
    ".snapshots",
    "~snapshot",
    ".zfs",
    ".AppleDouble",
    ".Trash-1000",
    "System Volume Information",
    ".nfs00000001",
];
const FILES: [&str; 6] = [".DS_Store", "._v1", "Thumbs.db", "desktop.ini", ".nfs0000000000001234", "@eaDir"];

/// Every kind of directory that is there, in a store whose last blob and its links are garbage.
fn places() -> Vec<String> {
    let blob = layout::blob_directory(&garbage().digest);
    vec![
        format!("{}/repositories", layout::BASE),
        repository("abused"),
        format!("{}/_layers", repository("abused")),
        format!("{}/_layers/sha256", repository("abused")),
        format!("{}/_manifests", repository("abused")),
        format!("{}/_manifests/revisions/sha256", repository("abused")),
        layout::tags("abused"),
        layout::tag("abused", "v1"),
        format!("{}/index/sha256", layout::tag("abused", "v1")),
        format!("{}/_uploads", repository("abused")),
        layout::parent(&layer_link("abused", &layer(21).digest)).to_owned(),
        format!("{}/blobs", layout::BASE),
        format!("{}/blobs/sha256", layout::BASE),
        layout::parent(&blob).to_owned(),
        blob,
    ]
}

/// One note, exit code 0, the garbage goes, and the run after that finds nothing else.
#[track_caller]
fn is_one_note(root: &Path, what: &str) {
    for command in ["audit", "verify"] {
        let ran = Regsweep::new().arg(command).arg("--root").arg(root).json().run().expect_code(0);
        assert!(
            ran.finding_codes().iter().filter(|code| *code == "system-file").count() <= 1,
            "{what}: {:?}",
            ran.finding_codes()
        );
        assert!(!ran.finding_codes().contains(&"unrecognised-entry".into()), "{what}: {:?}", ran.finding_codes());
    }
    for turn in 0..3 {
        let ran = Regsweep::gc(root).json().args(["-m", "--min-age", "0s"]).run().expect_code(0);
        let codes = ran.finding_codes();
        assert!(codes.is_empty() || codes == ["system-file"], "{what}, run {turn}: {codes:?}");
        assert_eq!(ran.report()["scanned"]["tags"], 2, "{what}");
    }
    assert!(!snapshot::blobs_on_disk(root).contains_key(&garbage().digest), "{what}");
    let audit = Regsweep::audit(root).json().run().expect_code(0).finding_codes();
    assert!(audit.iter().all(|code| code == "system-file"), "{what}: {audit:?}");
}

#[test]
fn files_of_a_nas_or_a_desktop_are_one_note() {
    for place in places() {
        let (_keep, root) = on_disk();
        fs::create_dir_all(root.join(&place)).expect("there");
        for name in FILES {
            fs::write(root.join(&place).join(name), "x").expect("written");
        }
        is_one_note(&root, &place);
        for name in FILES {
            assert!(root.join(&place).join(name).exists(), "{place}/{name} is somebody's");
        }
    }
}

#[test]
fn directories_of_a_nas_are_one_note() {
    for place in places() {
        let (_keep, root) = on_disk();
        for name in DIRECTORIES {
            let inside = root.join(&place).join(name).join("daily/team/app");
            fs::create_dir_all(&inside).expect("made");
            fs::write(inside.join("x@SynoEAStream"), "x").expect("written");
            // A snapshot has all that the directory has.
            fs::create_dir_all(inside.join("_layers/sha256")).expect("made");
        }
        is_one_note(&root, &place);
    }
}

/// Of the names that a tag can have, too, as long as the directory names nothing; one that does is a tag like any other.
#[test]
fn directories_among_tags_are_notes_until_they_name_something() {
    for name in ["Thumbs.db", "desktop.ini", ".DS_Store", "@eaDir"] {
        let (_keep, root) = on_disk();
        let inside = root.join(layout::tag("abused", name));
        fs::create_dir_all(inside.join("deep")).expect("made");
        fs::write(inside.join("x"), "x").expect("written");
        is_one_note(&root, name);
        let found = Regsweep::audit(&root).json().run().expect_code(0).finding_codes();
        assert_eq!(found, ["system-file"], "{name}");
    }
    for name in ["Thumbs.db", "desktop.ini"] {
        let mut tree = victim();
        let image = oci_image("a tag after all", &[layer(41)]);
        tree.push("abused", &image).tag("abused", name, image.digest());
        let root = tree.on_disk();
        survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
        assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(41).digest), "{name}");
        // Its history says that it was one.
        fs::remove_dir_all(root.path().join(layout::tag("abused", name)).join("current")).expect("there");
        let found = Regsweep::audit(root.path()).args(["--min-age", "0s"]).json().run().finding_codes();
        assert!(found.contains(&"tag-without-current".into()), "{name}: {found:?}");
    }
}

/// In every directory at once: still one note, that says how many.
#[test]
fn files_of_a_nas_everywhere_are_one_note() {
    let (_keep, root) = on_disk();
    for place in places() {
        fs::create_dir_all(root.join(&place).join("@eaDir")).expect("made");
        fs::write(root.join(&place).join(".DS_Store"), "x").expect("written");
    }
    let ran = Regsweep::gc(&root).json().dry().args(["-m", "--min-age", "0s"]).run().expect_code(0);
    let found = ran.findings();
    assert_eq!(found.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["system-file"]);
    assert!(found[0].count > 10, "{found:?}");
    is_one_note(&root, "everywhere");
}

/// What forks of the registry keep beside `_layers`.
#[test]
fn directories_of_forks_are_one_note_each() {
    let (_keep, root) = on_disk();
    for name in ["_refs", "_blobs"] {
        for number in 0..20 {
            let inside = root.join(repository("abused")).join(name).join(format!("sha256/{number}"));
            fs::create_dir_all(&inside).expect("made");
            fs::write(inside.join("link"), "x").expect("written");
        }
    }
    let ran = Regsweep::gc(&root).json().dry().any_age().run().expect_code(0);
    assert_eq!(ran.finding_codes(), ["unrecognised-entry"; 2]);
    // Among the tags as well, where nothing but what they hold tells them from a tag.
    let (_keep, root) = on_disk();
    for name in ["_refs", "_blobs"] {
        fs::create_dir_all(root.join(layout::tag("abused", name))).expect("made");
    }
    let tags = |ran: &Outcome| ran.report()["scanned"]["tags"].as_u64();
    let (_other, whole) = on_disk();
    let before = Regsweep::gc(&whole).json().dry().any_age().run();
    let ran = Regsweep::gc(&root).json().dry().any_age().run().expect_code(0);
    assert_eq!((ran.finding_codes(), tags(&ran)), (vec!["unrecognised-entry".to_owned(); 2], tags(&before)));
}

/// A directory of digests that is a symbolic link, as administrators make them for another disk: nothing behind it can go, so no link to
/// it goes either, and the report says what to do.
#[test]
fn links_to_blobs_that_cannot_go_stay() {
    let untagged = oci_image("untagged", &[layer(40)]);
    let mut tree = victim();
    tree.push("abused", &untagged).tag("abused", "v1", untagged.digest()).tag("abused", "v1", abused().digest());
    let shard = |digest: &str| layout::parent(&layout::blob_directory(digest)).to_owned();
    let all = format!("{}/blobs/sha256", layout::BASE);
    for place in [all, shard(untagged.digest()), shard(&layer(21).digest), layout::blob_directory(&layer(40).digest)] {
        let root = tree.on_disk();
        let root = root.path();
        let disk = tempfile::tempdir().expect("a directory");
        let moved = disk.path().join("moved");
        assert!(Command::new("mv").arg(root.join(&place)).arg(&moved).status().expect("mv").success());
        symlink(&moved, root.join(&place)).expect("linked");
        let before = (snapshot(&moved), snapshot(root));
        let ran = Regsweep::gc(root).json().any_age().delete_untagged().run().expect_code(1);
        assert_eq!(snapshot(&moved), before.0, "{place}");
        let gone = snapshot::gone(&before.1, &snapshot(root));
        for digest in [untagged.digest(), &layer(21).digest, &layer(40).digest] {
            let stays = layout::blob_directory(digest).starts_with(&place);
            for link in
                [revision_link("abused", digest), layer_link("abused", digest), layout::tag_history("abused", "v1", digest)]
            {
                assert!(!(stays && gone.contains(&link)), "{place}: {link} went, and its blob could not");
            }
        }
        let told = ran.findings().into_iter().find(|finding| finding.code == "behind-symlink").expect("told");
        assert!(told.next_step.is_some_and(|next| next.contains("`blobs` itself")), "{place}");
    }
    // Whoever does that gets his space back.
    let root = tree.on_disk();
    let disk = tempfile::tempdir().expect("a directory");
    let blobs = root.path().join(layout::BASE).join("blobs");
    assert!(Command::new("mv").arg(&blobs).arg(disk.path().join("blobs")).status().expect("mv").success());
    symlink(disk.path().join("blobs"), &blobs).expect("linked");
    let run = Regsweep::gc(root.path()).arg("--allow-shared-blobs").any_age().delete_untagged();
    run.run().expect_code(0);
    assert!(!disk.path().join("blobs").join(&blob_data(&layer(21).digest)[layout::BASE.len() + 7..]).exists());
}

/// A pull-through cache fetches platforms when somebody asks for them: nothing that it lacks is damage, whoever looks.
#[test]
fn a_cache_lacks_nothing_for_any_command() {
    let (_keep, root) = on_disk();
    let missing = &healthy().children[0];
    fs::remove_dir_all(root.join(layout::blob_directory(missing.digest()))).expect("there");
    fs::remove_dir_all(root.join(layout::parent(&revision_link("healthy", missing.digest())))).expect("there");
    fs::remove_dir_all(root.join(layout::blob_directory(&layer(20).digest))).expect("there");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    for (more, code) in [("", 1), ("proxy: {remoteurl: 'https://example.com'}\n", 0)] {
        let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n{more}", root.display());
        fs::write(&config, text).expect("written");
        for command in ["garbage-collect", "audit", "verify"] {
            let dry: &[&str] = if command == "garbage-collect" { &["--dry-run"] } else { &[] };
            let ran = Regsweep::new().arg(command).arg(&config).args(dry).json().run().expect_code(code);
            let absent = ran.finding_codes().iter().filter(|code| code.starts_with("missing-")).count();
            assert_eq!(absent > 0, code == 1, "{command}");
        }
    }
}

/// One file or directory that its owner alone may read: everything else is told, and that a collection would stop.
#[test]
fn an_audit_goes_on_where_a_collection_stops() {
    if !is_root() {
        return skipped("only root becomes somebody who may read less");
    }
    let aside = tempfile::tempdir().expect("a directory");
    fs::set_permissions(aside.path(), fs::Permissions::from_mode(0o755)).expect("its own directory");
    let program = aside.path().join("regsweep");
    fs::copy(env!("CARGO_BIN_EXE_regsweep"), &program).expect("copied");
    let mut tree = victim();
    // Damage elsewhere.
    tree.file(revision_link("healthy", healthy().children[0].digest()), "");
    for place in [
        repository("abused"),
        format!("{}/_layers", repository("abused")),
        layout::tags("abused"),
        layout::tag("abused", "v1"),
        layout::parent(&layout::blob_directory(&layer(21).digest)).to_owned(),
        layout::parent(&revision_link("abused", abused().digest())).to_owned(),
        revision_link("abused", abused().digest()),
        layer_link("abused", &layer(21).digest),
        tag_current("abused", "v1"),
        blob_data(abused().digest()),
        layout::parent(&layout::blob_directory(abused().digest())).to_owned(),
    ] {
        let root = tree.on_disk();
        for (tool, args) in [("chown", ["-R", "65534:65534"]), ("chmod", ["-R", "u+rwX"])] {
            assert!(Command::new(tool).args(args).arg(root.path()).status().expect(tool).success());
        }
        assert!(Command::new("chmod").arg("000").arg(root.path().join(&place)).status().expect("chmod").success());
        let ran = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["audit", "--ignore-birth-time", "--format", "json", "--root"])
            .arg(root.path())
            .output()
            .expect("setpriv");
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{place}: {stderr}");
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("a report");
        let findings: Vec<Finding> = serde_json::from_value(report["findings"].clone()).expect("findings");
        let unread: Vec<_> = findings.iter().filter(|finding| finding.code == "unreadable-entry").collect();
        assert!(
            !unread.is_empty() && unread.iter().all(|finding| finding.path.as_ref().is_some_and(|path| path.contains(&place)))
        );
        assert!(unread[0].message.contains("Permission denied"), "{place}");
        assert!(findings.iter().any(|finding| finding.code == "empty-link"), "{place}: the damage elsewhere is told");
        // Nothing is told that is not so: besides these, only that its repository would be held.
        let others: Vec<_> = findings
            .iter()
            .filter(|finding| !["unreadable-entry", "empty-link", "held-repository"].contains(&finding.code.as_str()))
            .collect();
        assert!(others.is_empty(), "{place}: {others:?}");
        assert_eq!(report["reclaimable"]["blobs"], 0, "{place}");
    }
}

/// A directory of repositories or of blobs that cannot be listed: what only looks tells it and the rest, what removes or moves anything stops.
#[test]
fn what_only_looks_goes_on_without_a_directory_that_cannot_be_listed() {
    let Some(somebody) = SomebodyElse::new() else { return skipped("only root becomes somebody who may read less") };
    let (bad, lost) = (layer(31), layer(41));
    let places =
        [repository("team/closed"), repository("team"), layout::parent(&layout::blob_directory(&layer(30).digest)).to_owned()];
    for (place, is_linked) in places.iter().flat_map(|place| [(place.clone(), false), (place.clone(), true)]) {
        let mut tree = registry().repo("team/closed").image("closed", &[layer(30)]).tag("v1").into_tree();
        tree.push("open", &oci_image("open", &[bad.clone(), lost.clone()])).tag(
            "open",
            "v1",
            oci_image("open", &[bad.clone(), lost.clone()]).digest(),
        );
        tree.file(blob_data(&bad.digest), vec![b'x'; bad.bytes.len()]).remove(&layout::blob_directory(&lost.digest));
        if is_linked {
            // Where there are links, repositories are found in another way.
            tree.symlink(repository("alias"), "open");
        }
        let root = tree.on_disk();
        for (tool, args) in [("chown", ["-hR", "65534:65534"]), ("chmod", ["-R", "u+rwX"])] {
            assert!(Command::new(tool).args(args).arg(root.path()).status().expect(tool).success());
        }
        let closed = root.path().join(&place);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("ours");
        let run = |words: &[&str]| somebody.runs(Regsweep::new().args(words).arg("--root").arg(root.path())).json().run();
        for (command, damage) in [("audit", "missing-blob"), ("verify", "corrupt-blob"), ("verify", "missing-blob")] {
            let ran = run(&[command]).expect_code(1);
            let findings = ran.findings();
            let unread: Vec<_> = findings.iter().filter(|finding| finding.code == "unreadable-entry").collect();
            assert_eq!(unread.len(), 1, "{command} {place}: {findings:?}");
            assert_eq!(unread[0].path.as_deref(), Some(&*place), "{command}");
            assert!(unread[0].message.contains("Permission denied"), "{command} {place}");
            // The damage elsewhere is told, and nothing is damaged that was only not seen. An audit does not say what is missing where blobs
            // were not seen.
            let says_damage = command == "verify" || !place.contains("/blobs/");
            assert!(!says_damage || findings.iter().any(|finding| finding.code == damage), "{command} {place}: {findings:?}");
            // What is reached in two ways is held for the one that is damaged.
            let expected = ["unreadable-entry", "behind-symlink", "held-repository", "repository-elsewhere"];
            let others = findings.iter().filter(|finding| !expected.contains(&finding.code.as_str()));
            let digests: Vec<_> = others.map(|finding| finding.digest.clone()).collect();
            let expected = [Some(bad.digest.clone()), Some(lost.digest.clone())];
            assert!(digests.iter().all(|digest| expected.contains(digest)), "{command} {place}: {findings:?}");
        }
        for stops in [&["garbage-collect", "--dry-run"][..], &["garbage-collect"], &["verify", "--quarantine"]] {
            let refused = run(stops).expect_code(2);
            assert!(
                refused.stderr.contains(&place) && refused.stderr.contains("Permission denied"),
                "{stops:?}: {}",
                refused.stderr
            );
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("ours");
    }
}
