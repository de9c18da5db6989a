//! Symbolic links that lead to nothing, to an empty directory or in circles.

use super::*;

/// A disk that is not mounted may belong anywhere, in the registry's own tree as well, and links to it may be in any place.
#[test]
fn a_symbolic_link_to_an_empty_directory_in_the_tree_stops_the_run() {
    let image = oci_image("behind", &[layer(50)]);
    let directory = |link: String| layout::parent(&link).to_owned();
    let blob = layout::blob_directory(image.digest());
    let below = ["", "/_layers", "/_layers/sha256", "/_manifests", "/_manifests/revisions", "/_manifests/revisions/sha256"];
    let below = below.into_iter().chain(["/_manifests/tags", "/_manifests/tags/v1", "/_manifests/tags/v1/index"]);
    let mut places: Vec<String> = below.map(|place| format!("{}{place}", repository("behind"))).collect();
    places.extend([
        directory(revision_link("behind", image.digest())),
        directory(blob.clone()),
        directory(directory(blob.clone())),
        blob,
    ]);
    for place in &places {
        for target in [
            "docker/disk2",
            "docker/registry/v2/disk2",
            "docker/registry/v2/repositories/disk2",
            "docker/registry/v2/blobs/disk2",
        ] {
            for absolute in [false, true] {
                let (_keep, root) = on_disk();
                let mut source = Tree::new();
                source.push("behind", &image).tag("behind", "v1", image.digest()).write_to(&root);
                fs::remove_dir_all(root.join(place)).expect("there");
                fs::create_dir(root.join(target)).expect("made");
                let up = PathBuf::from("../".repeat(place.split('/').count() - 1));
                symlink(if absolute { root.join(target) } else { up.join(target) }, root.join(place)).expect("linked");
                let before = snapshot(&root.join("docker"));
                let ran = Regsweep::gc(&root).args(["--min-age", "0s", "--assume-offline"]).run();
                assert_eq!(ran.code, Some(2), "{place} -> {target}: {}", ran.stderr);
                assert!(ran.stderr.contains("leads to an empty directory"), "{place} -> {target}: {}", ran.stderr);
                assert_eq!(snapshot(&root.join("docker")), before);
            }
        }
    }
}

/// A directory behind a link with files of somebody's own in it: links in it that lead to nothing are the registry's if it could serve what
/// they are called.
#[test]
fn links_behind_links_stop_the_run_by_their_names() {
    for (name, stops) in [
        ("team", true),
        ("a.b_c--d", true),
        ("deep/er", true),
        ("_manifests", true),
        ("deep/_layers", true),
        (".cache", false),
        (".cache/team", false),
        ("Upper", false),
        ("a b", false),
        ("_other", false),
    ] {
        for is_there in [false, true] {
            let (_keep, root) = on_disk();
            let pool = tempfile::tempdir().expect("a directory");
            let disk = tempfile::tempdir().expect("a directory");
            fs::write(pool.path().join("README"), "x").expect("written");
            let link = pool.path().join(name);
            fs::create_dir_all(link.parent().expect("in the pool")).expect("made");
            symlink(disk.path().join(if is_there { "" } else { "nowhere" }), &link).expect("linked");
            symlink(pool.path(), root.join(repository("group"))).expect("linked");
            let ran = Regsweep::gc(&root).arg("--assume-offline").run();
            assert_eq!(ran.code, Some(if stops { 2 } else { 1 }), "{name} {is_there}: {}", ran.stderr);
            let said = if is_there { "leads to an empty directory" } else { "it leads nowhere" };
            assert_eq!(ran.stderr.contains(said), stops, "{name} {is_there}: {}", ran.stderr);
        }
    }
}

/// A link to a directory such as `/usr`: what lies there is no part of the store, and is not told. A link in there that leads nowhere and has
/// the name of a repository may be one, on a disk that is not mounted: the message says what else may help.
#[test]
fn a_link_to_a_tree_of_another_kind_is_one_finding() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    for number in 0..150 {
        let directory = elsewhere.path().join(format!("share/of{number}"));
        fs::create_dir_all(&directory).expect("made");
        fs::write(directory.join("file"), "x").expect("written");
    }
    let (_keep, root) = on_disk();
    symlink(elsewhere.path(), root.join(repository("out"))).expect("linked");
    let run = |code| Regsweep::gc(&root).args(["--assume-offline", "--json"]).dry().run().expect_code(code);
    let done = run(1);
    let told = done.finding_codes().iter().filter(|code| *code == "behind-symlink").count();
    assert_eq!(told, 1, "{}", done.stdout);
    assert!(!done.stdout.contains("out/share"), "{}", done.stdout);
    symlink("nowhere", elsewhere.path().join("share/magic")).expect("linked");
    let stopped = run(2).stderr;
    assert!(stopped.contains("out/share/magic: it leads nowhere"), "{stopped}");
    assert!(stopped.contains(&format!("or remove {}, which leads there", root.join(repository("out")).display())), "{stopped}");
}

#[test]
fn symbolic_links_in_circles_end() {
    for (place, target) in [
        ("self", "."),
        ("a/up", ".."),
        ("abused/inside", "../abused"),
        ("abused/_manifests/tags/again", ".."),
        ("abused/_layers/sha512", "../.."),
        ("x", "abused/_manifests"),
        ("y/_manifests", "../abused"),
        ("store", "../.."),
        ("everything", "/"),
    ] {
        let (_keep, root) = on_disk();
        // The whole machine is more than a test has time for.
        let target = if target == "/" { root.to_str().expect("UTF-8").to_owned() } else { target.to_owned() };
        let link = root.join(repository(place));
        fs::create_dir_all(link.parent().expect("in a directory")).expect("made");
        symlink(target, &link).expect("linked");
        survive(&root, &["--min-age", "0s", "-m"], &[1]);
    }
    for (place, target) in [("self", "self"), ("a/b", "../c"), ("abused/_layers/sha512", "sha512")] {
        let (_keep, root) = on_disk();
        let link = root.join(repository(place));
        fs::create_dir_all(link.parent().expect("in a directory")).expect("made");
        symlink(target, &link).expect("linked");
        let ran = survive(&root, &["--min-age", "0s", "-m"], &[2]);
        assert!(ran.stderr.contains(place), "{}", ran.stderr);
    }
}
