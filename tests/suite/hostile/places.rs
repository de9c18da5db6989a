//! What can be anywhere in the tree, and beside it: odd names with images below them, symbolic links and mounts in every place, and
//! the directory that is our own.

use super::*;

/// A directory outside the store, with a file in it, and how both looked.
struct Outside {
    directory: TempDir,
    before: Snapshot,
}

impl Outside {
    fn new(tree: &Tree) -> Outside {
        let directory = tree.on_disk();
        fs::write(directory.path().join("precious"), "precious").expect("written");
        let before = snapshot(directory.path());
        Outside { directory, before }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    #[track_caller]
    fn is_untouched(&self, place: &str) {
        assert_eq!(snapshot(self.path()), self.before, "{place}");
    }
}

/// What a repository is called is no reason to lose what is in it.
#[test]
fn images_below_odd_names_stay() {
    let (_keep, root) = on_disk();
    let repositories = root.join("docker/registry/v2/repositories");
    let image = oci_image("odd", &[layer(50)]);
    let mut source = Tree::new();
    source.push("odd", &image).tag("odd", "v1", image.digest());
    let long = [b'n'; 255];
    let names =
        [&b"\xff\xfe"[..], b"new\nline", b"\x1b[31m", b"-rf", b" ", b"Upper", b"_backup", b".hidden", b"a\\b", b"*", &long];
    for name in names {
        source.write_to(&root);
        fs::rename(repositories.join("odd"), repositories.join(OsStr::from_bytes(name))).expect("renamed");
    }
    let before = snapshot(&repositories);
    let ran = survive(&root, &["--min-age", "0s", "-m"], &[1]);
    let left = snapshot::blobs_on_disk(&root);
    assert!(image.reaches().iter().all(|digest| left.contains_key(digest)));
    // The longest of them is a name that the registry takes.
    assert_eq!(ran.finding_codes().iter().filter(|code| *code == "invalid-name").count(), names.len() - 1);
    let gone = snapshot::gone(&before, &snapshot(&repositories));
    assert!(gone.iter().all(|path| path.starts_with("abused/")), "{gone:?}");

    // Each alone: what keeps the image is this name and no other.
    for name in names {
        let (_keep, root) = on_disk();
        source.write_to(&root);
        let repositories = root.join("docker/registry/v2/repositories");
        fs::rename(repositories.join("odd"), repositories.join(OsStr::from_bytes(name))).expect("renamed");
        survive(&root, &["--min-age", "0s", "-m"], &[0, 1]);
        let left = snapshot::blobs_on_disk(&root);
        assert!(image.reaches().iter().all(|digest| left.contains_key(digest)), "{}", name.escape_ascii());
    }
}

#[test]
fn images_below_odd_tags_stay() {
    let image = oci_image("odd", &[layer(50)]);
    for name in [&b"\xff\xfe"[..], b"new\nline", b"\x1b[31m", b"-rf", b" ", b"link", b"current", b"_manifests", &[b'n'; 255]] {
        let mut tree = victim();
        tree.push("abused", &image).tag("abused", "odd", image.digest());
        let root = tree.on_disk();
        let tags = root.path().join(layout::tags("abused"));
        fs::rename(tags.join("odd"), tags.join(OsStr::from_bytes(name))).expect("renamed");
        survive(root.path(), &["--min-age", "0s", "-m"], &[0]);
        let left = snapshot::blobs_on_disk(root.path());
        assert!(image.reaches().iter().all(|digest| left.contains_key(digest)), "{}", name.escape_ascii());
    }
}

/// Everything that is half there, all at once.
#[test]
fn an_untidy_tree() {
    let [a, b, c, d, e] = [60, 61, 62, 63, 64].map(layer);
    let image = oci_image("untidy", &[layer(65)]);
    let mut tree = victim();
    tree.directory(format!("{}/without-current/index", layout::tags("abused")))
        .file(tag_current("abused", "without-blob"), a.digest.as_str())
        .revision("abused", &b.digest)
        .layer_link("abused", &c.digest)
        .directory(layout::blob_directory(&d.digest))
        .file(format!("{}/data.tmp", layout::blob_directory(&e.digest)), "x")
        .push("abused", &image)
        .file(format!("{}.3a1e7f7e-0000-4000-8000-000000000000.tmp", layer_link("abused", &layer(20).digest)), "sha256:")
        .file(format!("{}/blobs/x/data", layout::BASE), "x")
        .file(format!("{}/blobs/data", layout::BASE), "x")
        .file(format!("{}/blobs/sha256/ab/cd/data", layout::BASE), "x")
        .file(format!("{}/blobs/sha256/zz/{}/data", layout::BASE, &a.digest[7..]), "x")
        .file(format!("{}/blobs/sha256/{}/data", layout::BASE, &a.digest[7..]), "x")
        .file(format!("{}/blobs/sha256/AB/{}/data", layout::BASE, a.digest[7..].to_uppercase()), "x")
        .file(format!("{}/blobs/SHA256/ab/x/data", layout::BASE), "x")
        .file(format!("{}/blobs/sha512/ab/ab/data", layout::BASE), "x")
        .directory(format!("{}/blobs/lost+found", layout::BASE))
        .directory(format!("{}/repositories/lost+found", layout::BASE))
        .file(format!("{}/repositories/_file", layout::BASE), "x")
        .file(format!("{}/repositories/file", layout::BASE), "x")
        .file(format!("{}/repositories/_layers/sha256/{}/link", layout::BASE, &a.digest[7..]), a.digest.as_str())
        .file(format!("{}/_layers/SHA256/{}/link", repository("abused"), &a.digest[7..]), a.digest.as_str())
        .file(format!("{}/_layers/sha256/{}/link", repository("abused"), &a.digest[8..]), a.digest.as_str())
        .file(format!("{}/_manifests/stray", repository("abused")), "x")
        .file(format!("{}/_uploads/stray", repository("abused")), "x")
        .file("lost+found/x", "x")
        .file("scheduler-state.json", "{}");
    // In the place of a shard, and under a shard that is another digest's.
    let misfiled = layer(66);
    let other = if misfiled.digest.starts_with("sha256:00") { "01" } else { "00" };
    let misfiled = format!("{}/blobs/sha256/{other}/{}/data", layout::BASE, &misfiled.digest[7..]);
    tree.file(misfiled.as_str(), "layer 66\n").file(format!("{}/blobs/sha256/7f", layout::BASE), "x");
    tree.remove(&format!("{}/blobs/sha256/7f", layout::BASE));
    let root = tree.on_disk();
    let before = snapshot(root.path());
    let dry = survive_dry(root.path());
    assert_eq!(snapshot(root.path()), before, "a dry run touches nothing");
    let ran = survive(root.path(), &["--min-age", "0s", "-m"], &[1]);
    assert_eq!(ran.plan, dry.plan);
    let expected =
        [garbage().digest, layer(21).digest, image.digest().to_owned(), layer(65).digest, image.blobs[0].digest.clone()];
    assert!(ran.blobs().is_subset(&BTreeSet::from(expected)), "{:?}", ran.blobs());
    let after = snapshot(root.path());
    for path in before.keys().filter(|path| path.contains("stray") || path.contains("/x") || path.ends_with("lost+found")) {
        assert!(after.contains_key(path), "{path}");
    }
    assert!(after.contains_key(&misfiled));
}

#[track_caller]
fn survive_dry(root: &Path) -> Outcome {
    within_bounds(Regsweep::gc(root).json().args(["--jobs", JOBS, "--min-age", "0s", "-m", "-d"])).expect_code(1)
}

/// Goal: nothing goes through a symbolic link. Method: each directory of the tree is moved outside and replaced by a link to it.
#[test]
fn directories_outside_stay_as_they_are() {
    let image = abused();
    let unused = layer(21).digest;
    let untagged = oci_image("untagged", &[layer(22)]);
    let mut tree = victim();
    tree.push("abused", &untagged).tag("abused", "v1", untagged.digest()).tag("abused", "v1", image.digest());
    let hex_directory = |link: String| layout::parent(&link).to_owned();
    for place in [
        repository("abused"),
        format!("{}/_layers", repository("abused")),
        format!("{}/_layers/sha256", repository("abused")),
        hex_directory(layer_link("abused", &unused)),
        format!("{}/_manifests", repository("abused")),
        format!("{}/_manifests/revisions", repository("abused")),
        hex_directory(revision_link("abused", untagged.digest())),
        layout::tags("abused"),
        layout::tag("abused", "v1"),
        format!("{}/index", layout::tag("abused", "v1")),
        hex_directory(layout::tag_history("abused", "v1", untagged.digest())),
        layout::parent(&layout::blob_directory(&unused)).to_owned(),
        layout::blob_directory(&unused),
    ] {
        for absolute in [true, false] {
            let outer = tempfile::tempdir().expect("a directory");
            let root = outer.path().join("root");
            fs::create_dir(&root).expect("made");
            tree.write_to(&root);
            let outside = Outside::new(&Tree::new());
            let away = outer.path().join("away");
            fs::rename(root.join(&place), &away).expect("moved");
            let target = if absolute { away.clone() } else { PathBuf::from("../".repeat(place.split('/').count())).join("away") };
            symlink(target, root.join(&place)).expect("linked");
            let before = snapshot(&away);
            let ran = survive(&root, &["--min-age", "0s", "-m"], &[0, 1]);
            assert_eq!(snapshot(&away), before, "{place}");
            let codes = ran.finding_codes();
            let is_told = ["behind-symlink", "repository-elsewhere"].iter().any(|code| codes.contains(&(*code).into()));
            assert!(is_told, "{place}: {codes:?}");
            outside.is_untouched(&place);
        }
    }
}

/// `docker`, and each directory down to `v2`, may be links as well; and a fresh store behind one has no directories yet.
#[test]
fn directories_above_the_store_may_be_symbolic_links() {
    for place in ["docker", "docker/registry", "docker/registry/v2"] {
        let (_keep, root) = on_disk();
        let aside = tempfile::tempdir().expect("a directory");
        fs::rename(root.join(place), aside.path().join("moved")).expect("moved");
        symlink(aside.path().join("moved"), root.join(place)).expect("linked");
        survive(&root, &["--min-age", "0s", "--allow-shared-blobs"], &[0]);

        let fresh = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(aside.path().join("fresh/docker/registry/v2")).expect("made");
        fs::create_dir_all(fresh.path().join(layout::parent(place))).expect("made");
        symlink(aside.path().join("fresh").join(place), fresh.path().join(place)).expect("linked");
        let ran = within_bounds(Regsweep::gc(fresh.path()).arg("--allow-shared-blobs").json()).expect_code(0);
        assert_eq!(ran.report()["scanned"]["blobs"], 0, "{place}");
    }
}

/// A repository that was only ever mounted into has no `_manifests`, one that was pushed to a link has.
#[test]
fn a_symbolic_link_to_a_part_of_a_repository_leads_somewhere() {
    for directory in ["_layers", "_manifests", "_uploads"] {
        let (_keep, root) = on_disk();
        let outside = tempfile::tempdir().expect("a directory");
        fs::create_dir(outside.path().join(directory)).expect("made");
        symlink(outside.path(), root.join(repository("linked"))).expect("linked");
        let ran = survive(&root, &["--min-age", "0s"], &[0]);
        assert!(ran.finding_codes().contains(&"repository-elsewhere".into()), "{directory}: {:?}", ran.finding_codes());
    }
}

/// Where links lead to nothing, a disk is not mounted: whatever was told of it would be a guess.
#[test]
fn a_symbolic_link_that_leads_to_nothing_stops_the_run() {
    let image = oci_image("behind", &[layer(50)]);
    let repository = layout::repository("behind");
    let places = [
        "",
        "/_layers",
        "/_layers/sha256",
        "/_manifests",
        "/_manifests/revisions",
        "/_manifests/revisions/sha256",
        "/_manifests/tags",
        "/_manifests/tags/v1",
        "/_manifests/tags/v1/index",
    ];
    for place in places.map(|place| format!("{repository}{place}")).iter().map(String::as_str).chain(["a link behind a link"]) {
        for is_there in [true, false] {
            let (_keep, root) = on_disk();
            let mut source = Tree::new();
            source.push("behind", &image).tag("behind", "v1", image.digest()).write_to(&root);
            let outside = tempfile::tempdir().expect("a directory");
            let target = outside.path().join("target");
            match place {
                "a link behind a link" => {
                    let between = outside.path().join("between");
                    fs::create_dir(&between).expect("made");
                    fs::remove_dir_all(root.join(&repository)).expect("there");
                    symlink(&between, root.join(&repository)).expect("linked");
                    symlink(&target, between.join("x")).expect("linked");
                }
                place => {
                    fs::remove_dir_all(root.join(place)).expect("there");
                    symlink(&target, root.join(place)).expect("linked");
                }
            }
            if is_there {
                fs::create_dir_all(target.join("lost+found")).expect("made");
            }
            for command in ["garbage-collect", "audit"] {
                let ran = Regsweep::new().args([command, "--root"]).arg(&root).run().expect_code(2);
                let said = if is_there { "leads to an empty directory; mount" } else { "it leads nowhere; mount" };
                assert!(ran.stderr.contains(said), "{place}: {}", ran.stderr);
            }
        }
    }
    // Beside the tree, in the root itself.
    let (_keep, root) = on_disk();
    fs::create_dir(root.join("extra")).expect("made");
    symlink(root.join("extra"), root.join("docker/registry/v2/repositories/team")).expect("linked");
    let ran = survive(&root, &[], &[2]);
    assert!(ran.stderr.contains("leads to an empty directory"), "{}", ran.stderr);
    // What is uploaded goes where there is room, and mostly there is nothing.
    let (_keep, root) = on_disk();
    let outside = tempfile::tempdir().expect("a directory");
    let mut source = Tree::new();
    source.push("behind", &image).tag("behind", "v1", image.digest()).write_to(&root);
    let uploads = root.join(&repository).join("_uploads");
    fs::remove_dir_all(&uploads).ok();
    symlink(outside.path(), uploads).expect("linked");
    survive(&root, &["-m"], &[0, 1]);
}

/// Nested far, and not too far for the system.
#[test]
fn directories_nested_as_far_as_a_path_can_name() {
    let (_keep, root) = on_disk();
    let image = oci_image("deep", &[layer(70)]);
    let mut tree = Tree::new();
    let deep = format!("a{}", "/a".repeat(1_500));
    tree.push(&deep, &image).tag(&deep, "v1", image.digest());
    tree.write_to(&root);
    survive(&root, &["--min-age", "0s", "-m"], &[0, 1]);
    let left = snapshot::blobs_on_disk(&root);
    assert!(image.reaches().iter().all(|digest| left.contains_key(digest)));
}

/// Two blobs that are one file: an administrator's tool for equal files may make them, of any two.
#[test]
fn blobs_that_share_a_file_go_one_by_one() {
    let (_keep, root) = on_disk();
    let kept = root.join(blob_data(&layer(20).digest));
    let goes = root.join(blob_data(&layer(21).digest));
    replace(&goes, |path| fs::hard_link(&kept, path).expect("linked"));
    survive(&root, &["--min-age", "0s"], &[0]);
    assert!(kept.exists() && !goes.exists());
}

#[test]
fn repositories_missing_or_empty_stop_the_run() {
    for (name, damage) in [
        ("missing", (|path: &Path| fs::remove_dir_all(path).expect("removed")) as fn(&Path)),
        ("empty", |path| {
            fs::remove_dir_all(path).expect("removed");
            fs::create_dir(path).expect("made");
        }),
        ("a file", |path| {
            fs::remove_dir_all(path).expect("removed");
            fs::write(path, "").expect("written");
        }),
        ("a link to nothing", |path| {
            fs::remove_dir_all(path).expect("removed");
            symlink("/nowhere/at/all", path).expect("linked");
        }),
    ] {
        for part in ["repositories", "blobs"] {
            let (_keep, root) = on_disk();
            damage(&root.join(layout::BASE).join(part));
            let before = snapshot(&root.join("docker"));
            let ran = within_bounds(Regsweep::gc(&root).json().args(["--min-age", "0s", "-m"])).expect_code(2);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            assert_eq!(snapshot(&root.join("docker")), before, "{part} {name}");
        }
    }
}

/// Times that no clock shows, where a filesystem keeps them.
#[test]
fn times_of_any_value() {
    let Ok(in_memory) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("no filesystem in memory");
    };
    let root = in_memory.path();
    victim().write_to(root);
    for (digest, seconds) in [(layer(21).digest, i64::MIN), (layer(20).digest, i64::MAX), (garbage().digest, -1)] {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 999_999_999 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        for path in [blob_data(&digest), layer_link("abused", &digest)] {
            if root.join(&path).exists() {
                rustix::fs::utimensat(CWD, root.join(path), &times, rustix::fs::AtFlags::empty()).expect("set");
            }
        }
    }
    let ran = survive(root, &[], &[0]);
    assert_eq!(ran.blobs(), BTreeSet::from([garbage().digest, layer(21).digest]));
}

/// A mount, which goes with the value.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: &Path) -> Option<Mount> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Mount(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        let is_gone = unmounted.is_ok_and(|status| status.success());
        assert!(is_gone || thread::panicking(), "{} stays mounted", self.0.display());
    }
}

/// A repository, and a shard, on filesystems of their own keep what they keep.
#[test]
fn what_is_mounted_in_the_tree_counts() {
    let tree = victim();
    for place in [repository("healthy"), layout::parent(&layout::blob_directory(healthy().digest())).to_owned()] {
        let (_keep, root) = on_disk();
        let Some(_mount) = Mount::tmpfs(&root.join(&place)) else {
            return skipped("nothing may be mounted here");
        };
        // What was there lies below it now.
        tree.write_to(&root);
        let (code, found) = if place == repository("healthy") { (0, "repository-elsewhere") } else { (1, "behind-mount") };
        let ran = survive(&root, &["--min-age", "0s", "-m"], &[code]);
        assert!(ran.finding_codes().contains(&found.into()), "{place}: {:?}", ran.finding_codes());
    }
    // A volume that came up empty: its roots are missing, and what is in its place says so.
    let (_keep, root) = on_disk();
    let Some(_mount) = Mount::tmpfs(&root.join("docker/registry/v2/repositories")) else {
        return skipped("nothing may be mounted here");
    };
    let ran = within_bounds(Regsweep::gc(&root).json().args(["--min-age", "0s", "-m"])).expect_code(2);
    assert!(ran.stderr.contains("mounted"), "{}", ran.stderr);
}

/// A volume of its own, or a link to one, is a legitimate place of a repository: one note for all, and nothing that ends with 1 for ever.
#[test]
fn a_repository_that_is_elsewhere_is_one_note() {
    let both = |root: &Path| {
        for command in ["garbage-collect", "audit"] {
            let ran = Regsweep::new().args([command, "--min-age", "0s", "--root"]).arg(root).json().run().expect_code(0);
            let codes: Vec<String> = ran.finding_codes();
            let about: Vec<_> = codes
                .iter()
                .filter(|code| code.contains("behind") || code.contains("held") || code.contains("elsewhere"))
                .collect();
            assert_eq!(about, ["repository-elsewhere"], "{command}: {codes:?}");
        }
    };
    let store = || {
        registry()
            .repo("team/a")
            .image("one", &[layer(1)])
            .tag("v1")
            .repo("team/b")
            .image("two", &[layer(2)])
            .tag("v1")
            .into_tree()
    };
    let elsewhere = tempfile::tempdir().expect("a directory");
    for (number, place) in ["team/a", "team"].into_iter().enumerate() {
        // A symbolic link.
        let root = store().on_disk();
        let directory = root.path().join("docker/registry/v2/repositories").join(place);
        let target = elsewhere.path().join(number.to_string());
        fs::rename(&directory, &target).expect("moved");
        symlink(&target, &directory).expect("made");
        both(root.path());
        // A mount.
        let root = store().on_disk();
        let Some(_mount) = Mount::tmpfs(&root.path().join("docker/registry/v2/repositories").join(place)) else {
            skipped("nothing may be mounted here");
            continue;
        };
        store().write_to(root.path());
        both(root.path());
    }
}

/// I9: no change of filesystem below the resolved roots. What was unlinked on another one is not flushed by the barrier either.
#[test]
fn i9_nothing_goes_on_another_filesystem() {
    let tree = victim();
    let unused = layer(21).digest;
    for place in [layout::parent(&layout::blob_directory(&unused)).to_owned(), repository("abused")] {
        let (_keep, root) = on_disk();
        let Some(mount) = Mount::tmpfs(&root.join(&place)) else {
            return skipped("nothing may be mounted here");
        };
        tree.write_to(&root);
        let before = snapshot(&mount.0);
        survive(&root, &["--min-age", "0s", "-m"], &[0, 1, 3]);
        assert_eq!(snapshot(&mount.0), before, "{place}");
    }
    // The place of an empty directory cannot be removed while something is mounted there, however often it is tried.
    let (_keep, root) = on_disk();
    let directory = root.join(layout::blob_directory(&layer(80).digest));
    fs::create_dir_all(&directory).expect("made");
    let Some(_mount) = Mount::tmpfs(&directory) else {
        return skipped("nothing may be mounted here");
    };
    survive(&root, &["--min-age", "0s"], &[0, 1]);
}

/// Our own directory lies where others may write, too: whoever runs the registry owns its root.
#[test]
fn our_own_directory_is_not_followed_out_of_the_store() {
    for (name, make) in [
        (
            "the lock is a link",
            (|own: &Path, outside: &Path| {
                fs::create_dir(own).expect("made");
                symlink(outside.join("precious"), own.join("lock")).expect("linked");
            }) as fn(&Path, &Path),
        ),
        ("the lock is a link to nothing yet", |own, outside| {
            fs::create_dir(own).expect("made");
            symlink(outside.join("new"), own.join("lock")).expect("linked");
        }),
        ("the directory is a link", |own, outside| symlink(outside, own).expect("linked")),
        ("the lock is a hard link", |own, outside| {
            fs::create_dir(own).expect("made");
            fs::hard_link(outside.join("precious"), own.join("lock")).expect("linked");
        }),
    ] {
        let (_keep, root) = on_disk();
        let outside = Outside::new(&Tree::new());
        make(&root.join(".regsweep"), outside.path());
        for flags in [&["-d"][..], &[]] {
            let ran = within_bounds(Regsweep::gc(&root).args(flags));
            assert!(matches!(ran.code, Some(0 | 2)) && !ran.stderr.contains("panicked"), "{name}: {:?} {}", ran.code, ran.stderr);
            outside.is_untouched(name);
        }
    }
}

#[test]
fn our_own_directory_may_be_anything() {
    for (name, make) in [
        ("a file", (|own: &Path| fs::write(own, "x").expect("written")) as fn(&Path)),
        ("a lock that is a directory", |own| fs::create_dir_all(own.join("lock")).expect("made")),
        ("a lock that is a fifo", |own| {
            fs::create_dir(own).expect("made");
            mknodat(CWD, own.join("lock"), FileType::Fifo, Mode::RWXU, 0).expect("made");
        }),
        ("a lock that is huge", |own| {
            fs::create_dir(own).expect("made");
            fs::File::create(own.join("lock")).expect("made").set_len(1 << 30).expect("sparse");
        }),
    ] {
        for flags in [&["-d"][..], &[]] {
            let (_keep, root) = on_disk();
            make(&root.join(".regsweep"));
            let ran = within_bounds(Regsweep::gc(&root).args(flags));
            assert!(matches!(ran.code, Some(0 | 2)), "{name} {flags:?}: {:?} {}", ran.code, ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{name}: {}", ran.stderr);
        }
    }
}

/// Goal: what cannot be removed is left, the rest goes, and the next run finishes. Method: as for links in the parent module.
#[test]
fn blobs_that_cannot_be_removed_are_left() {
    for place in
        [blob_data(&layer(21).digest), layout::blob_directory(&layer(21).digest), layout::blob_directory(&garbage().digest)]
    {
        let (_keep, root) = on_disk();
        let set = |flag: &str| {
            let output = Command::new("chattr").arg(flag).arg(root.join(&place)).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !set("+i") {
            return skipped("no immutable files here");
        }
        let ran = within_bounds(Regsweep::gc(&root).args(["--min-age", "0s"]).json());
        assert!(set("-i"));
        let ran = ran.expect_code(3);
        assert_eq!(ran.finding_codes(), ["failed-removal"], "{place}");
        assert_eq!(ran.report()["removed"]["blobs"], 1, "{place}");
        assert_eq!(ran.report()["left"], 1, "{place}");
        assert!(root.join(&place).exists());
        survive(&root, &["--min-age", "0s"], &[0]);
        assert!(!snapshot::blobs_on_disk(&root).contains_key(&layer(21).digest), "{place}");
    }
}
