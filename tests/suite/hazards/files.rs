//! CONTRACT 3.1, H26 to H28, with U3 and U5: what filesystems and administrators put between a collector and its files.

use std::fs;

use super::{BOTH, collect, digests, garbage, garbage_and};
use crate::support::layout::{self, blob_data, layer_link, repository, revision_link, tag, tag_current};
use crate::support::*;

/// A store with an image and a link that nothing needs in `a`, and a symbolic link.
fn with_symlink(place: &str, target: &str) -> Tree {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2));
    let tree = tree.repo("b").image("y", &[layer(3)]).tag("v1").upload_layer(&layer(4)).with(|tree| {
        tree.symlink(place, target);
    });
    tree.into_tree()
}

#[test]
fn h26_ends_loops_of_symbolic_links() {
    for target in [".", "..", "../../repositories", "../a"] {
        let tree = with_symlink(&repository("a/again"), target);
        let ran = collect(&tree, &[], 1);
        let unused = [layer(2), layer(4)].map(|layer| layer.digest);
        assert!(ran.gone.contains(&garbage().digest) && ran.gone.contains(&unused[1]), "{target}: b is collected");
        assert!(ran.gone.iter().all(|digest| *digest == garbage().digest || unused.contains(digest)), "{target}: {:?}", ran.gone);
        assert!(ran.outcome.finding_codes().contains(&"behind-symlink".to_owned()));
    }
}

#[test]
fn h26_a_repository_of_two_names_is_left_alone_under_both() {
    let tree = with_symlink(&repository("also-a"), "a");
    for flags in BOTH {
        let ran = collect(&tree, flags, 0);
        ran.lost(&digests([&garbage(), &layer(4)]), [layer_link("b", &layer(4).digest)]);
        let elsewhere = ran.outcome.findings().into_iter().filter(|finding| finding.code == "repository-elsewhere");
        assert_eq!(elsewhere.map(|finding| finding.count).sum::<u64>(), 2);
    }
}

#[test]
fn h26_nothing_outside_the_store_goes() {
    let far = oci_image("far", &[layer(5)]);
    let outside = registry().repo("far").pushed(&far).tag("v1").upload_layer(&layer(6)).into_tree().on_disk();
    let target = outside.path().join(repository("far"));
    let mut tree = with_symlink(&repository("linked"), target.to_str().expect("UTF-8"));
    // The blobs are the store's own.
    tree.blob(&layer(6)).blob(&far.manifest);
    far.blobs.iter().for_each(|blob| {
        tree.blob(blob);
    });
    let before = snapshot(outside.path());
    for flags in [&["-m", "--min-age", "0s"][..], &["--min-age", "0s"]] {
        let ran = collect(&tree, flags, 0);
        let names = [("a", layer(2)), ("b", layer(4))].map(|(repository, layer)| layer_link(repository, &layer.digest));
        ran.lost(&digests([&garbage(), &layer(2), &layer(4)]), names);
        assert_eq!(snapshot(outside.path()), before);
    }
}

/// Goal: what `b` serves through a part of `a` it can serve afterwards, though `a` has no use for it. Method: the real registry is
/// asked before and after.
#[test]
fn h26_what_is_shared_through_a_symbolic_link_can_still_be_pulled() {
    let image = oci_image("y", &[layer(2)]);
    let (revision, layer_2) = (revision_link("b", image.digest()), layer_link("b", &layer(2).digest));
    let shared_layers = [format!("{}/_layers", repository("b")), in_directory(&layer_2, 2), in_directory(&layer_2, 1)];
    let shared_manifests = [
        repository("b"),
        format!("{}/_manifests", repository("b")),
        format!("{}/_manifests/revisions", repository("b")),
        in_directory(&revision, 2),
        in_directory(&revision, 1),
        tag("b", "v1"),
    ];
    let cases = shared_layers.iter().map(|place| (place, &[][..]));
    let cases = cases.chain(shared_manifests.iter().map(|place| (place, &["-m"][..])));
    let mut lost = Vec::new();
    for (place, flags) in cases {
        let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v0").with(|tree| {
            tree.push("b", &image).tag("b", "v1", image.digest());
            if shared_layers.contains(place) {
                image.blobs.iter().for_each(|blob| {
                    tree.layer_link("a", &blob.digest);
                });
            } else {
                tree.push("a", &image);
            }
            // The tag itself is in what these share.
            if [&shared_manifests[..2], &shared_manifests[5..]].concat().contains(place) {
                tree.tag("a", "v1", image.digest());
            }
            let target = place.replacen(&repository("b"), &repository("a"), 1);
            let up = "../".repeat(place.matches('/').count() - layout::BASE.matches('/').count() - 2);
            let target = target.replacen(&format!("{}/repositories/", layout::BASE), &up, 1);
            tree.remove(place).symlink(place.as_str(), &target);
        });
        let mut server = server::RealRegistry::stopped();
        tree.into_tree().write_to(&server.root());
        server.restart();
        server.client().pull("b", "v1").unwrap_or_else(|error| panic!("{place}: cannot be pulled to begin with: {error}"));
        server.stop();
        let ran = Regsweep::gc(&server.root()).args(flags).run();
        assert!(matches!(ran.code, Some(0 | 1)), "{place}: {}", ran.stderr);
        assert!(ran.blobs().contains(&garbage().digest) && ran.blobs().is_disjoint(&image.reaches()), "{place}");
        server.restart();
        lost.extend(server.client().pull("b", "v1").err().map(|error| format!("{place}: {error}")));
    }
    assert!(lost.is_empty(), "cannot be pulled any more: {lost:#?}");
}

/// The directory so many levels above a path.
fn in_directory(path: &str, levels: usize) -> String {
    (0..levels).fold(path, |path, _| layout::parent(path)).to_owned()
}

#[test]
fn h26_stops_at_a_symbolic_link_that_leads_nowhere() {
    let image = oci_image("x", &[layer(1)]);
    let revision = revision_link("a", image.digest());
    let places = [
        repository("gone"),
        repository("a/gone"),
        format!("{}/_layers", repository("b")),
        format!("{}/_layers/sha256", repository("b")),
        format!("{}/_manifests", repository("b")),
        format!("{}/_manifests/tags", repository("a")),
        layout::parent(layout::parent(&revision)).to_owned(),
        layout::parent(&revision).to_owned(),
        tag("a", "v1"),
        layout::parent(&tag_current("a", "v1")).to_owned(),
        "docker/registry/v2/repositories".into(),
        "docker/registry/v2/blobs".into(),
        "docker/registry/v2/blobs/sha256".into(),
        "docker/registry/v2/blobs/sha256/00".into(),
        layout::blob_directory(image.digest()),
    ];
    for place in places {
        let itself = place.rsplit('/').next().expect("a name");
        for target in ["/nowhere/at/all", itself] {
            let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).tag("v1").with(|tree| {
                tree.remove(&place).symlink(place.as_str(), target);
            });
            let stopped = collect(&tree.into_tree(), &[], 2);
            let stderr = stopped.outcome.stderr;
            assert!(stderr.contains("leads nowhere") || stderr.contains("symbolic links"), "{place} -> {target}: {stderr}");
        }
    }
}

#[test]
fn h27_what_filesystems_and_people_leave_is_reported_and_left_alone() {
    let strays = [
        "docker/registry/v2/repositories/lost+found/x".to_owned(),
        "docker/registry/v2/blobs/.snapshot".to_owned(),
        "docker/registry/v2/blobs/sha256/lost+found/x".to_owned(),
        format!("{}/.DS_Store", repository("a")),
        format!("{}/_layers/.nfs0001", repository("a")),
        format!("{}/_manifests/revisions/sha256/Thumbs.db", repository("a")),
    ];
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        for stray in &strays {
            tree.file(stray.as_str(), "x");
        }
    });
    let tree = tree.into_tree();
    for flags in BOTH {
        let ran = collect(&tree, flags, 0);
        ran.lost_garbage_alone();
        ran.found(&["system-file"]);
    }
}

#[test]
fn h27_what_lies_beside_a_link_keeps_its_directory() {
    let beside = |layer: &Content| format!("{}/.nfs0001", layout::parent(&layer_link("a", &layer.digest)));
    let tree =
        registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
            tree.file(beside(&layer(1)), "x").file(beside(&layer(2)), "x");
            tree.file(format!("{}/.nfs0002", layout::blob_directory(&layer(2).digest)), "x");
        });
    let ran = collect(&tree.into_tree(), &[], 0);
    ran.lost(&digests([&garbage(), &layer(2)]), [layer_link("a", &layer(2).digest)]);
    assert!(ran.has(&beside(&layer(2))));
}

#[test]
fn h28_a_snapshot_of_hard_links_stays_whole() {
    let image = oci_image("x", &[layer(1)]);
    let root = registry().stray_blob(&garbage()).repo("a").image("y", &[layer(2)]).tag("v1").pushed(&image).on_disk();
    let copy = tempfile::tempdir_in(root.path()).expect("a directory on the same filesystem");
    for (path, seen) in snapshot(&root.path().join("docker")) {
        let (from, to) = (root.path().join("docker").join(&path), copy.path().join(&path));
        match seen.kind {
            snapshot::SeenKind::Directory if path.is_empty() => {}
            snapshot::SeenKind::Directory => fs::create_dir(to).expect("made"),
            _ => fs::hard_link(from, to).expect("linked"),
        }
    }
    let before = snapshot(copy.path());
    let ran = Regsweep::gc(root.path()).delete_untagged().run().expect_code(0);
    assert_eq!(ran.blobs(), garbage_and(&image));
    assert_eq!(snapshot(copy.path()), before);
    assert!(!snapshot::blobs_on_disk(root.path()).contains_key(&garbage().digest));
}

#[test]
fn u3_nothing_behind_a_symbolic_link_among_the_blobs_goes() {
    let outside = tempfile::tempdir().expect("a directory");
    let directory = layout::blob_directory(&garbage().digest);
    // A shard, the directory of a blob, or the bytes of one.
    for place in [layout::parent(&directory), &directory, &blob_data(&garbage().digest)] {
        let root = registry().stray_blob(&garbage()).stray_blob(&layer(70)).repo("a").image("x", &[layer(1)]).tag("v1");
        let root = root.into_tree().on_disk();
        let moved = outside.path().join(place.len().to_string());
        fs::rename(root.path().join(place), &moved).expect("moved");
        std::os::unix::fs::symlink(&moved, root.path().join(place)).expect("linked");
        let before = (snapshot(&moved), snapshot(root.path()));
        let ran = Regsweep::gc(root.path()).json().run().expect_code(1);
        assert_eq!(ran.blobs(), digests([&layer(70)]), "{place}");
        assert_eq!(snapshot(&moved), before.0, "nothing outside went");
        let gone = snapshot::gone(&before.1, &snapshot(root.path()));
        assert!(gone.contains(&blob_data(&layer(70).digest)) && gone.iter().all(|path| path.contains(&layer(70).digest[7..])));
        let expected = if place.ends_with("/data") { "irregular-data" } else { "behind-symlink" };
        assert!(ran.finding_codes().contains(&expected.to_owned()), "{:?}", ran.finding_codes());
    }
}

#[test]
fn u5_a_fifo_for_a_link_holds_its_repository_and_nobody_waits() {
    for link in
        [layer_link("a", &layer(2).digest), tag_current("a", "v1"), revision_link("a", oci_image("x", &[layer(1)]).digest())]
    {
        let root = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2));
        let root = root.into_tree().on_disk();
        fs::remove_file(root.path().join(&link)).expect("it was there");
        crate::support::held::make_fifo(&root.path().join(&link));
        let before = snapshot(root.path());
        for flags in BOTH {
            let ran = Regsweep::gc(root.path()).args(flags).dry().json().run().expect_code(1);
            assert_eq!(ran.finding_codes(), ["held-repository", "irregular-link"]);
        }
        Regsweep::gc(root.path()).run().expect_code(1);
        let gone = snapshot::gone(&before, &snapshot(root.path()));
        assert!(gone.iter().all(|path| path.contains(&garbage().digest[7..])) && gone.len() == 2, "{gone:?}");
    }
}
