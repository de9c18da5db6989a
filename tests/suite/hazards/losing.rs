//! CONTRACT 3.1, H1 to H23: what makes other collectors delete live data.

use std::fs;

use super::{BOTH, collect, control, digests, garbage, garbage_alone, garbage_and, links};
use crate::support::layout::{self, layer_link, repository, revision_link, tag_history};
use crate::support::*;

#[test]
fn h01_keeps_children_of_a_tagged_index_to_any_depth() {
    let child = oci_image("child", &[layer(1), layer(2)]);
    let inner = index(std::slice::from_ref(&child));
    let outer = manifest_list(&[index(&[inner]), oci_image("other", &[layer(3)])]);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&outer).tag("multi").into_tree();
    for flags in BOTH {
        collect(&tree, flags, 0).lost_garbage_alone();
    }
    control(&tree, &["-m"]).loses(&layer(1));
}

#[test]
fn h02_a_sparse_index_elsewhere_does_not_hide_a_child() {
    let child = oci_image("child", &[layer(1)]);
    let multi = index(&[child]);
    // Either may come first.
    for (sparse, full) in [("a", "b"), ("b", "a")] {
        let tree = registry()
            .stray_blob(&garbage())
            .repo(sparse)
            .manifest_only(&multi)
            .tag("sparse")
            .repo(full)
            .pushed(&multi)
            .tag("full")
            .into_tree();
        collect(&tree, &["-m"], 0).lost_garbage_alone();
        control(&tree, &["-m"]).loses(&layer(1));
    }
}

#[test]
fn h02_u2_keeps_a_child_whose_revision_link_was_deleted() {
    let child = oci_image("child", &[layer(1)]);
    let multi = index(std::slice::from_ref(&child));
    let deleted = revision_link("a", child.digest());
    let build = || {
        registry().stray_blob(&garbage()).repo("a").pushed(&multi).tag("multi").with(|tree| {
            tree.remove_leaving_directory(&deleted);
        })
    };
    let alone = build().into_tree();
    // U2: as it was reported, with a second repository that has all of it.
    let beside = build().repo("b").pushed(&multi).tag("multi").into_tree();
    for flags in BOTH {
        for tree in [&alone, &beside] {
            collect(tree, flags, 0).lost(&garbage_alone(), [layout::parent(&deleted).to_owned()]);
        }
    }
    control(&beside, &["-m"]).loses(&layer(1));
}

#[test]
fn h03_keeps_layers_that_are_named_by_their_sha512() {
    let image = oci_image("sealed", &[layer(1)]).with_sha512_descriptors();
    let unused = layer(2);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .with(|tree| {
            tree.layer_by_sha512("a", &unused);
        })
        .into_tree();
    for flags in BOTH {
        // Of one that nothing needs, both names go.
        let names = [layer_link("a", &unused.digest), layer_link("a", &unused.sha512())];
        collect(&tree, flags, 0).lost(&digests([&garbage(), &unused]), names);
    }
    control(&tree, &[]).loses(&layer(1));
}

/// One manifest takes a digest for a layer, another for a manifest: what the second reaches is needed, whichever is read first.
#[test]
fn h03_one_name_in_two_roles() {
    let child = oci_image("child", &[layer(1)]);
    let name = child.manifest.sha512();
    let as_layer = Content::new(format!(r#"{{"layers":[{{"digest":"{name}"}}]}}"#));
    let as_manifest = Content::new(format!(r#"{{"manifests":[{{"digest":"{name}"}}]}}"#));
    for tagged in [[&as_layer, &as_manifest], [&as_manifest, &as_layer]] {
        let mut tree = Tree::new();
        tree.blob(&garbage()).layer_by_sha512("a", &child.manifest);
        for content in child.blobs.iter().chain([&child.manifest, &as_layer, &as_manifest]) {
            tree.blob(content);
        }
        for (tag, content) in ["v1", "v2"].into_iter().zip(tagged) {
            tree.revision("a", &content.digest).tag("a", tag, &content.digest);
        }
        for flags in BOTH {
            collect(&tree, flags, 0).lost_garbage_alone();
        }
    }
}

#[test]
fn h05_a_deleted_revision_does_not_hide_those_after_it() {
    let images: Vec<Image> = (0..8).map(|n| oci_image(&format!("i{n}"), &[layer(n)])).collect();
    // The registry leaves an empty directory; on some filesystems not even that is left.
    for leaves_directory in [true, false] {
        let mut builder = registry().stray_blob(&garbage()).repo("a");
        for (n, image) in images.iter().enumerate() {
            builder = builder.pushed(image).tag(&format!("t{n}"));
        }
        let deleted = revision_link("a", images[3].digest());
        let directory = layout::parent(&deleted).to_owned();
        let tree = builder
            .with(|tree| {
                tree.delete_manifest("a", images[3].digest());
                if !leaves_directory {
                    tree.remove(&directory);
                }
            })
            .into_tree();
        let mut names: Vec<String> = links("a", &images[3]).into_iter().filter(|link| *link != deleted).collect();
        names.extend(leaves_directory.then_some(directory));
        for flags in BOTH {
            collect(&tree, flags, 0).lost(&garbage_and(&images[3]), names.clone());
        }
    }
}

#[test]
fn h06_keeps_referrers_of_kept_images_and_their_referrers() {
    let image = oci_image("app", &[layer(1)]);
    let signature = artifact_manifest("signature", &[layer(2)]).referring_to(&image);
    let of_signature = oci_image("attestation", &[layer(3)]).referring_to(&signature);
    let orphan = oci_image("orphan", &[layer(4)]).referring_to(&oci_image("never pushed", &[layer(5)]));
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .pushed(&signature)
        .pushed(&of_signature)
        .pushed(&orphan)
        .into_tree();
    collect(&tree, &["-m"], 0).lost(&garbage_and(&orphan), links("a", &orphan));
    collect(&tree, &[], 0).lost_garbage_alone();
    control(&tree, &["-m"]).loses(&layer(2));
}

#[test]
fn h06_a_referrer_does_not_keep_its_subject() {
    let image = oci_image("app", &[layer(1)]);
    let signature = oci_image("signature", &[layer(2)]).referring_to(&image);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).pushed(&signature).tag("signature").into_tree();
    collect(&tree, &["-m"], 0).lost(&garbage_and(&image), links("a", &image));
}

/// Of a platform that was never copied there may be a signature all the same, whatever type the index says that the platform has.
#[test]
fn h06_keeps_referrers_of_a_child_that_is_not_stored() {
    let child = oci_image("elsewhere", &[layer(1)]);
    let signature = artifact_manifest("signature", &[layer(2)]).referring_to(&child);
    let sparse = index(&[child]);
    let odd = sparse.clone().edit(|json| json["manifests"][0]["mediaType"] = "application/vnd.example.odd+json".into());
    for (multi, finding) in [(&sparse, "missing-child"), (&odd, "missing-blob")] {
        let tree = registry().stray_blob(&garbage()).repo("a").manifest_only(multi).tag("multi").pushed(&signature).into_tree();
        let ran = collect(&tree, &["-m"], 1);
        ran.lost_garbage_alone();
        ran.found(&[finding]);
    }
}

#[test]
fn h07_h08_h40_each_repository_is_decided_for_itself() {
    let image = oci_image("shared", &[layer(1)]);
    let other = oci_image("other", &[layer(2)]);
    // H8: whichever of the two is walked first.
    for (untagged, tagged) in [("a", "b"), ("b", "a")] {
        let tree = registry()
            .stray_blob(&garbage())
            .repo(untagged)
            .pushed(&image)
            .pushed(&other)
            .tag("v1")
            .repo(tagged)
            .pushed(&image)
            .tag("v1")
            .into_tree();
        // H7, H40: the whole image goes, link by link; the blobs live on in the other.
        collect(&tree, &["-m"], 0).lost(&garbage_alone(), links(untagged, &image));
    }
}

#[test]
fn h10_keeps_what_was_just_pushed() {
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .image("old", &[layer(1)])
        .tag("v1")
        .young()
        .upload_layer(&layer(2))
        .stray_blob(&layer(3))
        .into_tree();
    let ran = collect(&tree, &[], 0);
    ran.lost_garbage_alone();
    let young = &ran.outcome.report()["young"];
    assert_eq!((young["blobs"].as_u64(), young["layer_links"].as_u64()), (Some(2), Some(1)));
    let all = digests([&garbage(), &layer(2), &layer(3)]);
    collect(&tree, &["--min-age", "0s"], 0).lost(&all, [layer_link("a", &layer(2).digest)]);
    control(&tree, &[]).loses(&layer(2));
}

#[test]
fn h10_a_young_link_keeps_an_old_blob() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").stray_blob(&layer(2)).with(|tree| {
        tree.aged(minutes(10)).layer_link("a", &layer(2).digest);
    });
    let tree = tree.into_tree();
    collect(&tree, &[], 0).lost_garbage_alone();
    let names = [layer_link("a", &layer(2).digest)];
    collect(&tree, &["--min-age", "5m"], 0).lost(&digests([&garbage(), &layer(2)]), names);
}

/// The newer of two names of one layer: which of them a client asks for is not known.
#[test]
fn h10_a_young_alias_keeps_the_link_and_the_blob_it_names() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.layer_by_sha512("a", &layer(2)).touch(&layer_link("a", &layer(2).sha512()), minutes(1));
    });
    let tree = tree.into_tree();
    collect(&tree, &[], 0).lost_garbage_alone();
    let names = [layer_link("a", &layer(2).digest), layer_link("a", &layer(2).sha512())];
    collect(&tree, &["--min-age", "0s"], 0).lost(&digests([&garbage(), &layer(2)]), names);
}

#[test]
fn h10_r09_a_young_revision_keeps_all_it_reaches() {
    let image = index(&[oci_image("just pushed", &[layer(2)])]);
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").pushed(&image).with(|tree| {
        // Everything else was there already, as when an image is pushed again.
        tree.touch(&revision_link("a", image.digest()), minutes(1));
    });
    let tree = tree.into_tree();
    collect(&tree, &["-m"], 0).lost_garbage_alone();
    collect(&tree, &["-m", "--min-age", "0s"], 0).lost(&garbage_and(&image), links("a", &image));
}

#[test]
fn h10_a_time_in_the_future_is_young() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").stray_blob(&layer(2)).with(|tree| {
        let tomorrow = tree.now() + days(1);
        tree.touch_at(&layout::blob_data(&layer(2).digest), tomorrow);
    });
    let ran = collect(&tree.into_tree(), &["--min-age", "0s"], 1);
    ran.lost_garbage_alone();
    ran.found(&["future-time"]);
}

#[test]
fn h11_a_tag_whose_manifest_is_lost_holds_its_repository() {
    let multi = index(&[oci_image("child", &[layer(1)])]);
    let untagged = oci_image("untagged elsewhere", &[layer(2)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&multi)
        .tag("multi")
        .upload_layer(&layer(3))
        .with(|tree| {
            tree.remove(&layout::blob_directory(multi.digest()));
        })
        .repo("b")
        .pushed(&untagged)
        .into_tree();
    let ran = collect(&tree, &["-m"], 1);
    // Collected all the same: b.
    ran.lost(&garbage_and(&untagged), links("b", &untagged));
    ran.found(&["held-repository", "missing-tag-target"]);
    // Without -m all revisions are roots, and nothing hangs on what the index named.
    let ran = collect(&tree, &[], 1);
    ran.lost(&digests([&garbage(), &layer(3)]), [layer_link("a", &layer(3).digest)]);
    ran.found(&["missing-tag-target"]);
    let mut alone = tree.clone();
    alone.remove(&repository("b"));
    control(&alone, &["-m"]).loses(&layer(1));
}

#[test]
fn h12_a_tag_keeps_an_image_whose_revision_link_is_lost() {
    let image = oci_image("app", &[layer(1)]);
    let link = revision_link("a", image.digest());
    let directory = layout::parent(&link);
    for leaves_directory in [true, false] {
        let tree = registry()
            .stray_blob(&garbage())
            .repo("a")
            .pushed(&image)
            .tag("v1")
            .with(|tree| {
                tree.remove(directory);
                if leaves_directory {
                    tree.directory(directory);
                }
            })
            .into_tree();
        for flags in BOTH {
            let ran = collect(&tree, flags, 1);
            ran.lost(&garbage_alone(), leaves_directory.then(|| directory.to_owned()));
            assert!(ran.has(&tag_history("a", "v1", image.digest())));
            ran.found(&["lost-revision"]);
        }
        control(&tree, &[]).loses(&layer(1));
    }
}

#[test]
fn h13_a_revision_that_names_another_holds_its_repository() {
    let (x, y) = (oci_image("x", &[layer(1)]), oci_image("y", &[layer(2)]));
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&x).tag("x").pushed(&y).upload_layer(&layer(3)).into_tree();
    let by_sha512 = x.manifest.sha512();
    let codes = ["disagreeing-link", "held-repository", "missing-manifest"];
    // Unlike a layer link, a revision named by another algorithm is no alias; and no manifest is stored by that name.
    for (directory, codes) in [(x.digest(), &codes[..2]), (&by_sha512, &codes)] {
        let mut tree = tree.clone();
        tree.file(revision_link("a", directory), y.digest());
        for flags in BOTH {
            let ran = collect(&tree, flags, 1);
            ran.lost_garbage_alone();
            ran.found(codes);
        }
    }
    let mut tree = tree;
    tree.file(revision_link("a", x.digest()), y.digest());
    control(&tree, &[]).loses(&layer(1));
}

#[test]
fn h13_a_layer_link_that_names_another_holds_its_repository() {
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .image("x", &[layer(1)])
        .tag("v1")
        .upload_layer(&layer(2))
        .stray_blob(&layer(3))
        .with(|tree| {
            tree.file(layer_link("a", &layer(2).digest), layer(3).digest);
        })
        .into_tree();
    for flags in BOTH {
        let ran = collect(&tree, flags, 1);
        ran.lost_garbage_alone();
        ran.found(&["disagreeing-link", "held-repository"]);
    }
}

#[test]
fn h14_a_repository_of_digests_alone_is_all_untagged() {
    let image = oci_image("pinned", &[layer(1)]);
    let kept = oci_image("kept", &[layer(2)]);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).repo("b").pushed(&kept).tag("v1").into_tree();
    collect(&tree, &[], 0).lost_garbage_alone();
    collect(&tree, &["-m"], 0).lost(&garbage_and(&image), links("a", &image));
    control(&tree, &["-m"]).gives_up();
}

#[test]
fn h15_a_repository_without_layers_counts() {
    let image = oci_image("app", &[layer(1)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .with(|tree| {
            tree.remove(&format!("{}/_layers", repository("a")));
        })
        .into_tree();
    for flags in BOTH {
        collect(&tree, flags, 0).lost_garbage_alone();
    }
    control(&tree, &[]).loses(&layer(1));
}

#[test]
fn h16_links_of_a_repository_without_manifests_go_too() {
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .image("app", &[layer(1)])
        .tag("v1")
        .repo("a/mounted")
        .upload_layer(&layer(1))
        .upload_layer(&layer(2))
        .repo("beside")
        .upload_layer(&layer(1))
        .into_tree();
    let names = [("a/mounted", layer(1)), ("a/mounted", layer(2)), ("beside", layer(1))];
    let names = names.map(|(repository, layer)| layer_link(repository, &layer.digest));
    collect(&tree, &[], 0).lost(&digests([&garbage(), &layer(2)]), names);
}

#[test]
fn h16_young_links_of_a_repository_without_manifests_stay() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("app", &[layer(1)]).tag("v1").stray_blob(&layer(2));
    let tree = tree.repo("mounted").young().with(|tree| {
        tree.layer_link("mounted", &layer(1).digest).layer_link("mounted", &layer(2).digest);
    });
    collect(&tree.into_tree(), &[], 0).lost_garbage_alone();
}

#[test]
fn h18_stops_where_gitlabs_database_is_in_use() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file("docker/registry/lockfiles/database-in-use", "{\"version\":1}");
    });
    let tree = tree.into_tree();
    for flags in BOTH {
        let stopped = collect(&tree, flags, 2);
        assert!(stopped.outcome.stderr.contains("--allow-foreign-owner"), "{}", stopped.outcome.stderr);
    }
    collect(&tree, &["--allow-foreign-owner"], 0).lost_garbage_alone();
    // The other of GitLab's files says that the links are what counts.
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file("docker/registry/lockfiles/filesystem-in-use", "{\"version\":1}");
    });
    collect(&tree.into_tree(), &[], 0).lost_garbage_alone();
}

#[test]
fn h19_stops_before_dropping_what_harbor_knows() {
    let image = oci_image("untagged", &[layer(1)]);
    let root = registry().stray_blob(&garbage()).repo("a").pushed(&image).repo("b").image("x", &[layer(2)]).tag("v1");
    let root = root.on_disk();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let realm = |realm: &str| format!("auth: {{htpasswd: {{realm: {realm}, path: /etc/registry/passwd}}}}\n");
    let write = |cache: &str, more: &str| {
        let storage = format!("filesystem: {{rootdirectory: {}}}{cache}", root.path().display());
        fs::write(&config, format!("version: 0.1\nstorage: {{{storage}}}\n{more}")).expect("written");
    };
    let redis = ", cache: {layerinfo: redis}";
    for (cache, more) in [("", &*realm("harbor-registry-basic-realm")), (redis, "validation: {disabled: true}\n")] {
        write(cache, more);
        let stopped = Regsweep::gc_config(&config).delete_untagged().dry().run().expect_code(2);
        assert!(stopped.stderr.contains("Harbor") && stopped.stderr.contains("--allow-foreign-owner"), "{}", stopped.stderr);
        Regsweep::gc_config(&config).delete_untagged().run().expect_code(2);
        assert_eq!(Regsweep::gc_config(&config).dry().run().expect_code(0).blobs(), garbage_alone());
        let lifted = Regsweep::gc_config(&config).delete_untagged().arg("--allow-foreign-owner").dry().run().expect_code(0);
        assert_eq!(lifted.blobs(), garbage_and(&image));
    }
    // One of the signs alone is anybody's.
    for (cache, more) in [("", &*realm("basic-realm")), (redis, ""), ("", "validation: {disabled: true}\n")] {
        write(cache, more);
        let run = Regsweep::gc_config(&config).delete_untagged().dry().run().expect_code(0);
        assert_eq!(run.blobs(), garbage_and(&image));
    }
    assert_eq!(snapshot::blobs_on_disk(root.path()).len(), 7, "nothing went in all that");
}

/// Where tags are kept elsewhere and an old one was left here, nothing on the disk tells that from a store whose tags were deleted
/// (docs/collect.md). A dry run says how much goes untagged.
#[test]
fn h19_a_dry_run_says_how_many_revisions_no_tag_leads_to() {
    let mut store = registry().stray_blob(&garbage());
    for number in 0..12 {
        store = store.repo(&format!("r{number}")).image(&format!("old {number}"), &[layer(1)]).tag("v1");
        for image in 0..3 {
            store = store.pushed(&oci_image(&format!("{number} {image}"), &[layer(2)]));
        }
    }
    let root = store.repo("tagged").image("x", &[layer(3)]).tag("v1").on_disk();
    let line = "36 of 49 revisions in 12 of 13 repositories: no tag here leads to them, and all of them go";
    let dry = Regsweep::gc(root.path()).delete_untagged().dry().run().expect_code(0);
    assert!(dry.stdout.lines().any(|text| text.starts_with("untagged ") && text.ends_with(line)), "{}", dry.stdout);
    let dry = Regsweep::gc(root.path()).dry().run().expect_code(0);
    assert!(!dry.stdout.contains("no tag here leads"), "{}", dry.stdout);
}

/// A directory of a tag that names nothing keeps nothing, and no repository that has only such has a tag.
#[test]
fn h19_a_tag_that_names_nothing_is_no_tag() {
    let mut tree = Tree::new();
    for number in 0..3 {
        let (name, image) = (format!("r{number}"), oci_image(&format!("{number}"), &[layer(1)]));
        tree.push(&name, &image).tag(&name, "v1", image.digest());
        tree.remove(&format!("{}/current", layout::tag(&name, "v1")));
    }
    let root = tree.on_disk();
    let run = || Regsweep::new().args(["garbage-collect", "-m", "--allow-unlinked", "100%", "--root"]).arg(root.path());
    for run in [run(), run().dry()] {
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains("--allow-untagged-repositories"), "{}", refused.stderr);
    }
}

#[test]
fn h20_stops_when_the_repositories_are_not_mounted() {
    let full = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    let mut empty = full.clone();
    empty.remove(&repository("a")).directory("docker/registry/v2/repositories");
    let mut absent = full.clone();
    absent.remove("docker/registry/v2/repositories");
    for tree in [&empty, &absent] {
        let stderr = collect(tree, &[], 2).outcome.stderr;
        assert!(stderr.contains("not one repository") && stderr.contains("--allow-empty"), "{stderr}");
        collect(tree, &["--allow-empty"], 0).lost(&full.blobs(), []);
    }
    control(&empty, &[]).loses(&layer(1));
}

#[test]
fn h20_stops_when_the_blobs_are_not_mounted() {
    let build = |leaves_directory: bool| {
        registry().repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
            tree.remove("docker/registry/v2/blobs");
            if leaves_directory {
                tree.directory("docker/registry/v2/blobs");
            }
        })
    };
    for leaves_directory in [true, false] {
        for flags in BOTH {
            collect(&build(leaves_directory).into_tree(), flags, 2);
        }
    }
}

#[test]
fn h20_stops_when_nothing_is_needed() {
    let image = oci_image("x", &[layer(1)]);
    // Its revision was deleted, and its tag with it: only links to layers are left.
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).deleted().into_tree();
    collect(&tree, &["-m"], 2);
    collect(&tree, &["-m", "--allow-empty"], 0);
    // Without a tag it has a brake of its own, which is lifted here.
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).into_tree();
    collect(&tree, &["-m"], 0).lost(&garbage_and(&image), links("a", &image));
}

#[test]
fn h20_stops_when_it_is_not_the_root() {
    let root = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
    let before = snapshot(root.path());
    for wrong in ["docker/registry/v2/repositories/a", "docker/registry/v2/blobs/sha256", "nowhere"] {
        Regsweep::gc(&root.path().join(wrong)).arg("--allow-empty").run().expect_code(2);
    }
    assert_eq!(snapshot(root.path()), before);
}

#[test]
fn h20_max_reclaim_stops_when_part_is_not_mounted() {
    let image = oci_image("x", &[layer(1)]);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).tag("v1").repo("b").image("y", &[layer(2)]).tag("v1");
    let whole = tree.into_tree();
    let mut half = whole.clone();
    half.remove(&repository("a"));
    collect(&whole, &["--max-reclaim", "20%"], 0).lost_garbage_alone();
    collect(&half, &["--max-reclaim", "20%"], 2);
    collect(&half, &[], 0).lost(&garbage_and(&image), []);
}

#[test]
fn h22_reads_references_of_any_media_type() {
    let unknown = oci_image("unknown", &[layer(1)]).edit(|json| {
        json["mediaType"] = "application/vnd.example.future.v9+json".into();
        json["extras"] = serde_json::json!([{"deep": {"digest": layer(2).digest}}]);
    });
    let artifact = artifact_manifest("artifact", &[layer(3)]);
    let schema1 = schema1_image("schema1", &[layer(4)]);
    let tree = registry()
        .stray_blob(&garbage())
        .stray_blob(&layer(2))
        .repo("a")
        .pushed(&unknown)
        .tag("unknown")
        .pushed(&artifact)
        .tag("artifact")
        .pushed(&schema1)
        .tag("schema1")
        .into_tree();
    for flags in BOTH {
        collect(&tree, flags, 0).lost_garbage_alone();
    }
}

#[test]
fn h23_embedded_data_and_empty_digests_harm_nothing() {
    let image = oci_image("odd", &[layer(1)]).edit(|json| {
        json["layers"][0]["data"] = "aGVsbG8=".into();
        json["other"] = serde_json::json!({"digest": ""});
    });
    let multi = index(&[image]).edit(|json| json["manifests"][0]["data"] = "e30=".into());
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&multi).tag("v1").into_tree();
    for flags in BOTH {
        collect(&tree, flags, 0).lost_garbage_alone();
    }
}

#[test]
fn h23_annotations_keep_nothing() {
    let image = oci_image("x", &[layer(1)]).edit(|json| json["annotations"] = serde_json::json!({"digest": layer(2).digest}));
    let tree = registry().stray_blob(&garbage()).stray_blob(&layer(2)).repo("a").pushed(&image).tag("v1").into_tree();
    collect(&tree, &[], 0).lost(&digests([&garbage(), &layer(2)]), []);
}
