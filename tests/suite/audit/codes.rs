//! Every code that an audit has, each on a store on which everything else is well.

use serde_json::json;

use super::*;
use regsweep::finding::Code;

macro_rules! cases {
    ($($name:ident: $code:literal $(with $more:literal)* => $damage:expr;)*) => {
        const TESTED: &[&str] = &[$($code, $($more,)*)*];

        $(#[test]
        fn $name() {
            let damage: fn(Registry) -> Registry = $damage;
            found(&damage(healthy()).into_tree(), &[$code, $($more),*]);
        })*
    };
}

/// Of other commands, or tested where what they need can be made.
const NOT_HERE: &[&str] = &[
    "changed-target",
    "failed-removal",
    "failed-restore",
    "failed-purge",
    "failed-repair",
    "stale-cache",
    "behind-mount",
    "behind-symlink",
    "harbor-database",
    "corrupt-blob",
    "empty-blob",
    "truncated-blob",
    "overlong-blob",
    "unreadable-blob",
    "suspect-disk",
    "blob-in-progress",
    "overfull-repository",
    "recent-changes",
    "unreadable-entry",
    // `repair::waiting`.
    "restorable",
    // `under_way`.
    "work-under-way",
    // `buckets::multiparts`.
    "other-multipart-uploads",
    "unseen-uploads",
];

#[test]
fn every_code_has_its_test() {
    for code in Code::ALL.iter().map(|code| code.name()).filter(|code| !NOT_HERE.contains(code)) {
        assert!(TESTED.contains(&code), "{code} has no test");
    }
}

/// A manifest of any bytes under a tag of its own.
fn odd_manifest(store: Registry, bytes: impl Into<Vec<u8>>) -> Registry {
    let odd = Content::new(bytes);
    store.with(|tree| {
        tree.blob(&odd).revision(APP, &odd.digest).tag(APP, "odd", &odd.digest);
    })
}

cases! {
    a_store_without_revisions_links: "empty-link" with "held-repository" => |store| store.with(|tree| {
        tree.file(revision_link(APP, arm64().digest()), "");
    });
    a_needed_layer_link_is_opened: "garbled-link" => |store| store.with(|tree| {
        tree.file(layer_link(APP, &layer(2).digest), "sha256:00");
    });
    history_is_opened: "disagreeing-link" => |store| store.with(|tree| {
        tree.file(tag_history(APP, "v1", app().digest()), amd64().digest());
    });
    a_tag_that_is_a_directory: "irregular-link" with "held-repository" => |store| store.with(|tree| {
        tree.remove(&tag_current(APP, "v1")).directory(tag_current(APP, "v1"));
    });
    a_revision_without_its_manifest: "missing-manifest" => |store| store.manifest_only(&variant("x")).with(|tree| {
        tree.remove(&blob_directory(variant("x").digest()));
    });
    a_tag_without_its_manifest: "missing-tag-target" => |store| store.manifest_only(&variant("x")).tag("v2").with(|tree| {
        tree.remove(&blob_directory(variant("x").digest()));
    });
    a_missing_layer: "missing-blob" => |store| store.with(|tree| {
        tree.remove(&blob_directory(&layer(2).digest));
    });
    a_layer_whose_directory_is_left: "missing-blob" => |store| store.with(|tree| {
        tree.remove_leaving_directory(&blob_data(&layer(2).digest));
    });
    a_missing_configuration: "missing-blob" => |store| store.with(|tree| {
        tree.remove(&blob_directory(&amd64().blobs[0].digest));
    });
    a_layer_cut_short: "size-mismatch" => |store| store.with(|tree| {
        tree.file(blob_data(&layer(2).digest), "lay");
    });
    a_layer_by_sha512_cut_short: "size-mismatch" => |store| {
        store.pushed(&oci_image("by sha512", &[layer(6)]).with_sha512_descriptors()).tag("sha512").with(|tree| {
            tree.file(blob_data(&layer(6).digest), "lay");
        })
    };
    a_layer_by_sha512_without_data: "missing-blob" => |store| {
        store.pushed(&oci_image("by sha512", &[layer(6)]).with_sha512_descriptors()).tag("sha512").with(|tree| {
            tree.remove_leaving_directory(&blob_data(&layer(6).digest));
        })
    };
    a_platform_whose_directory_is_left: "missing-child" => |store| store.with(|tree| {
        tree.remove_leaving_directory(&blob_data(arm64().digest())).remove(layout::parent(&revision_link(APP, arm64().digest())));
    });
    a_corrupt_child: "corrupt-manifest" with "held-repository" => |store| store.with(|tree| {
        let mut bytes = arm64().manifest.bytes;
        bytes[5] ^= 1;
        tree.file(blob_data(arm64().digest()), bytes);
    });
    a_child_cut_short: "corrupt-manifest" with "held-repository" => |store| store.with(|tree| {
        tree.file(blob_data(arm64().digest()), "{");
    });
    a_manifest_that_is_no_json: "unreadable-manifest" with "held-repository" => |store| odd_manifest(store, "{]");
    a_manifest_of_too_many_names: "overfull-manifest" with "held-repository" => |store| {
        let layers = (0..1100).map(|number| json!({"digest": layer(1000 + number).digest, "urls": ["https://example.com"]}));
        odd_manifest(store, json!({"layers": layers.collect::<Vec<_>>()}).to_string())
    };
    a_manifest_too_large: "oversized-manifest" with "held-repository" => |store| odd_manifest(store, vec![b' '; (16 << 20) + 1]);
    a_layer_that_is_a_directory: "irregular-data" => |store| store.with(|tree| {
        tree.remove(&blob_data(&layer(2).digest)).directory(blob_data(&layer(2).digest));
    });
    nobodys_blob_that_is_a_directory: "irregular-data" => |store| store.with(|tree| {
        tree.directory(blob_data(&layer(50).digest));
    });
    a_missing_platform: "missing-child" => |store| store.with(|tree| {
        tree.remove(&blob_directory(arm64().digest())).remove(layout::parent(&revision_link(APP, arm64().digest())));
    });
    a_platform_that_was_there: "missing-manifest" => |store| store.with(|tree| {
        tree.remove(&blob_directory(arm64().digest()));
    });
    a_deleted_platform: "missing-child" => |store| store.with(|tree| {
        tree.remove(&blob_directory(arm64().digest())).delete_manifest(APP, arm64().digest());
    });
    a_tag_without_current: "tag-without-current" => |store| store.with(|tree| {
        tree.file(tag_history(APP, "v2", app().digest()), app().digest());
    });
    a_tag_without_any_link: "empty-tag" => |store| store.with(|tree| {
        tree.directory(tag(APP, "v2"));
    });
    a_tag_without_its_revision: "lost-revision" => |store| store.with(|tree| {
        tree.remove(layout::parent(&revision_link(APP, app().digest())));
    });
    a_platform_of_an_odd_type_without_its_revision: "lost-child" => |store| {
        let odd = variant("odd");
        let listed = json!({"schemaVersion": 2, "manifests": [odd.manifest.descriptor("application/vnd.example.odd")]});
        odd_manifest(store, listed.to_string()).with(move |tree| {
            tree.blob(&odd.manifest);
        })
    };
    a_platform_linked_as_a_layer_only: "lost-child" => |store| store.with(|tree| {
        tree.remove(layout::parent(&revision_link(APP, arm64().digest()))).layer(APP, &arm64().manifest);
    });
    a_platform_without_its_revision: "lost-child" => |store| store.with(|tree| {
        tree.remove(layout::parent(&revision_link(APP, arm64().digest())));
    });
    a_layer_without_its_link: "missing-layer-link" => |store| store.with(|tree| {
        tree.remove(layout::parent(&layer_link(APP, &layer(2).digest)));
    });
    a_layer_whose_links_directory_is_left: "missing-layer-link" => |store| store.with(|tree| {
        tree.remove_leaving_directory(&layer_link(APP, &layer(2).digest));
    });
    a_layer_link_that_leads_nowhere: "broken-layer-link" => |store| store.with(|tree| {
        tree.layer_link(APP, &layer(50).digest);
    });
    a_copy_of_a_repository: "invalid-name" with "held-repository" => |store| store.repo("Backup_A").pushed(&app()).tag("v1");
    a_repository_behind_a_symlink: "repository-elsewhere" => |store| store.with(|tree| {
        tree.symlink(repository("linked"), "team/app");
    });
    a_blob_directory_of_something_else: "missing-data" => |store| store.with(|tree| {
        tree.file(format!("{}/notes.txt", blob_directory(&layer(50).digest)), "?");
    });
    a_file_among_the_tags: "unrecognised-entry" => |store| store.with(|tree| {
        tree.file(format!("{}/notes.txt", layout::tags(APP)), "?");
    });
    a_desktops_files: "system-file" => |store| store.with(|tree| {
        tree.file(format!("{}/.DS_Store", layout::tags(APP)), "?");
        tree.file(format!("{}/@eaDir/x", layout::parent(&layer_link(APP, &layer(2).digest))), "?");
    });
    a_manifest_of_many_subjects: "many-subjects" => |store| {
        let subjects: Vec<_> = (0..20).map(|number| format!(r#""subject":{{"digest":"{}"}}"#, layer(1000 + number).digest)).collect();
        odd_manifest(store, format!("{{{}}}", subjects.join(",")))
    };
    a_time_in_the_future: "future-time" => |store| store.with(|tree| {
        let path = blob_data(&layer(50).digest);
        let then = tree.now() + days(9);
        tree.blob(&layer(50)).touch_at(&path, then);
    });
    a_file_beside_a_link: "unrecognised-entry" => |store| store.with(|tree| {
        tree.file(format!("{}/notes.txt", layout::parent(&layer_link(APP, &layer(2).digest))), "?");
    });
    a_file_beside_data: "unrecognised-entry" => |store| store.with(|tree| {
        tree.file(format!("{}/notes.txt", blob_directory(&layer(2).digest)), "?");
    });
    a_file_among_the_uploads: "unrecognised-entry" => |store| store.with(|tree| {
        tree.file(format!("{}/_uploads/notes.txt", repository(APP)), "?");
    });
    a_tag_of_a_bad_name: "invalid-tag-name" => |store| store.tag("not a tag");
    a_tag_of_a_bad_name_without_current: "tag-without-current" with "invalid-tag-name" => |store| store.with(|tree| {
        tree.file(tag_history(APP, "not a tag", app().digest()), app().digest());
    });
    what_cannot_be_a_tag_and_names_nothing: "unrecognised-entry" with "unrecognised-entry" with "unrecognised-entry" => |store| store.with(|tree| {
        tree.directory(tag(APP, ".dropbox.cache")).file(format!("{}/inner", tag(APP, "@SynoResource")), "x");
    });
    gitlabs_database: "gitlab-database" => |store| store.with(|tree| {
        tree.file("docker/registry/lockfiles/database-in-use", "{\"version\":1}");
    });
    a_pull_through_cache: "pull-through-cache" => |store| store.with(|tree| {
        tree.file("scheduler-state.json", "{}");
    });
    a_referrer_of_nothing: "orphaned-referrer" => |store| {
        let referrer = variant("referrer").referring_to(&oci_image("gone", &[]));
        store.manifest_only(&referrer)
    };
    a_signature_of_nothing: "orphaned-signature" => |store| {
        let tag = oci_image("gone", &[]).digest().replace(':', "-") + ".sig";
        store.manifest_only(&variant("signature")).tag(&tag)
    };
    a_referrers_tag_of_nothing: "orphaned-signature" => |store| {
        store.tag(&oci_image("gone", &[]).digest().replace(':', "-"))
    };
    a_revision_without_a_tag: "untagged-revisions" => |store| store.manifest_only(&variant("x"));
    a_layer_nobody_needs: "unneeded-layer-links" => |store| store.upload_layer(&layer(50));
    history_of_a_deleted_revision: "stale-history" => |store| {
        store.manifest_only(&variant("x")).tag("v2").repo(APP).manifest_only(&app()).tag("v2").with(|tree| {
            tree.delete_manifest(APP, variant("x").digest());
        })
    };
    a_blob_without_links: "unlinked-blob" => |store| store.stray_blob(&layer(50));
    an_old_upload: "stale-upload" => |store| store.with(|tree| {
        tree.upload(APP, "one", b"12345");
    });
    an_upload_without_a_time: "stale-upload" => |store| store.with(|tree| {
        tree.upload(APP, "one", b"12345").remove(&format!("{}/startedat", layout::upload(APP, "one")));
    });
    a_cancelled_upload: "half-cancelled-upload" => |store| store.with(|tree| {
        tree.file(format!("{}/hashstates/sha256/0", layout::upload(APP, "one")), "x");
    });
    a_link_not_finished: "leftover-file" => |store| store.with(|tree| {
        tree.file(format!("{}.0197.tmp", layer_link(APP, &layer(2).digest)), "sha256:");
    });
    a_tag_not_finished: "leftover-file" => |store| store.with(|tree| {
        tree.file(format!("{}.0197.tmp", tag_current(APP, "v1")), "sha256:");
    });
    a_blob_not_finished: "leftover-file" => |store| store.with(|tree| {
        tree.file(format!("{}.0197.tmp", blob_data(&layer(50).digest)), "lay");
    });
    an_upload_not_finished: "leftover-file" => |store| store.young().with(|tree| {
        tree.upload(APP, "one", b"12345").aged(days(2));
        tree.file(format!("{}/data.0197.tmp", layout::upload(APP, "one")), "1");
    });
    a_repository_of_nothing: "empty-repository" => |store| store.with(|tree| {
        tree.directory(layout::tags("empty"));
    });
    no_repositories: "empty-store" with "unlinked-blob" => |_| registry().stray_blob(&layer(1));
}

#[test]
fn what_is_young_may_be_at_work() {
    let tree = healthy().young().with(|tree| {
        tree.upload(APP, "one", b"12345");
        tree.file(format!("{}/hashstates/sha256/0", layout::upload(APP, "two")), "x");
        tree.file(format!("{}.0197.tmp", blob_data(&layer(50).digest)), "lay");
        tree.file(format!("{}.0197.tmp", layer_link(APP, &layer(2).digest)), "sha256:");
        tree.layer(APP, &layer(51)).put_manifest(APP, &variant("x"));
    });
    found(&tree.into_tree(), &[]);
}

#[test]
fn damage_names_the_tags_and_platforms_that_it_breaks() {
    let tree = healthy().repo("other").pushed(&amd64()).tag("v9").with(|tree| {
        tree.remove(&blob_directory(&layer(2).digest));
    });
    let findings = found(&tree.into_tree(), &["missing-blob"]);
    let [missing] = &findings[..] else { panic!("one") };
    assert_eq!((&missing.repository, missing.digest.as_ref()), (&None, Some(&layer(2).digest)));
    assert_eq!(missing.path.as_ref(), Some(&blob_data(&layer(2).digest)));
    assert_eq!(broken(missing), ["other:v9 linux/amd64", "team/app:v1 linux/amd64", "team/app:v1 linux/arm64"]);

    // Only where the link is lost, the layer cannot be had.
    let tree = healthy().repo("other").pushed(&amd64()).tag("v9").with(|tree| {
        tree.remove(layout::parent(&layer_link("other", &layer(2).digest)));
    });
    let findings = found(&tree.into_tree(), &["missing-layer-link"]);
    assert_eq!(findings[0].repository.as_deref(), Some("other"));
    assert_eq!(broken(&findings[0]), ["other:v9 linux/amd64"]);
}

#[test]
fn a_damaged_link_names_what_it_breaks_unless_it_is_history() {
    for (path, expected) in [
        (layer_link(APP, &layer(2).digest), &["team/app:v1 linux/amd64", "team/app:v1 linux/arm64"][..]),
        (tag_history(APP, "v1", app().digest()), &[]),
    ] {
        let findings = found(
            &healthy()
                .with(|tree| {
                    tree.file(path, "");
                })
                .into_tree(),
            &["empty-link"],
        );
        assert_eq!(broken(&findings[0]), expected);
    }
    let findings = found(
        &healthy()
            .with(|tree| {
                tree.file(revision_link(APP, arm64().digest()), "x");
            })
            .into_tree(),
        &["garbled-link", "held-repository"],
    );
    let garbled = findings.iter().find(|finding| finding.code == "garbled-link").expect("found");
    assert_eq!(broken(garbled), ["team/app:v1 linux/arm64"]);
}

#[test]
fn a_digest_that_is_missing_in_every_way_is_told_once() {
    let tree = healthy().repo("other").manifest_only(&arm64()).repo("third").pushed(&app()).tag("v1").with(|tree| {
        tree.remove(&blob_directory(arm64().digest()));
        for blob in &amd64().blobs {
            tree.layer_link("other", &blob.digest);
        }
        tree.remove(&format!("{}/_layers", repository("other")));
    });
    let findings = found(&tree.into_tree(), &["missing-manifest"]);
    assert_eq!(broken(&findings[0]).len(), 3, "{findings:#?}");
}

#[test]
fn waste_is_counted_with_its_bytes() {
    let untagged = oci_image("untagged", &[layer(1), layer(60)]);
    let tree = healthy().upload_layer(&layer(50)).upload_layer(&layer(51)).pushed(&untagged).stray_blob(&layer(52));
    let findings = found(&tree.into_tree(), &["unlinked-blob", "unneeded-layer-links", "untagged-revisions"]);
    let message = |code| &findings.iter().find(|finding| finding.code == code).expect("found").message;
    assert_eq!(message("unneeded-layer-links"), "2 layer links that no manifest here needs; 2 blobs (18 B) would go with them.");
    let bytes = untagged.manifest.bytes.len() + untagged.blobs[0].bytes.len() + layer(60).bytes.len();
    let expected = format!("1 revision that no tag reaches; 3 blobs ({bytes} B) would go with it.");
    assert_eq!(message("untagged-revisions"), &expected);
    assert!(message("unlinked-blob").ends_with(" 9 B in it."), "{findings:#?}");
}

#[test]
fn signatures_and_referrers_of_what_is_there_are_well() {
    let signature = |ending: &str| app().digest().replace(':', "-") + ending;
    let mut store = healthy();
    for ending in [".sig", ".att", ".sbom", ""] {
        store = store.manifest_only(&variant(ending)).tag(&signature(ending));
    }
    found(&store.manifest_only(&variant("referrer").referring_to(&amd64())).into_tree(), &[]);
}

#[test]
fn healthy_stores_of_every_kind_of_image_have_no_finding() {
    let foreign = variant("foreign").edit(|json| {
        json["layers"][1] = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": layer(70).digest, "size": 9, "urls": ["https://example.com/layer"]});
    });
    let stored_elsewhere = variant("stored elsewhere").edit(|json| {
        json["layers"][1] =
            json!({"digest": layer(80).digest, "size": layer(80).bytes.len(), "urls": ["https://example.com/layer"]});
    });
    let cache = amd64().edit(|json| {
        *json = json!({"schemaVersion": 2, "manifests": [layer(1).descriptor("application/vnd.oci.image.layer.v1.tar+gzip")]});
    });
    // As BuildKit exports a cache: the last descriptor is a configuration, which is JSON, and a blob all the same.
    let settings = Content::new(json!({"layers": [{"blob": layer(1).digest, "parent": -1}], "records": []}).to_string());
    let whole_cache = amd64().edit(|json| {
        *json = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
            layer(1).descriptor("application/vnd.oci.image.layer.v1.tar+gzip"),
            settings.descriptor("application/vnd.buildkit.cacheconfig.v0"),
        ]});
    });
    let store = healthy()
        .pushed(&index(&[app()]))
        .tag("nested")
        .pushed(&manifest_list(&[docker_image("docker", &[layer(3)])]))
        .tag("list")
        .pushed(&schema1_image("schema1", &[layer(4)]))
        .tag("schema1")
        .pushed(&artifact_manifest("artifact", &[layer(5)]))
        .tag("artifact")
        .pushed(&oci_image("by sha512", &[layer(6)]).with_sha512_descriptors())
        .tag("sha512")
        .manifest_only(&foreign)
        .tag("foreign")
        .manifest_only(&stored_elsewhere)
        .tag("elsewhere")
        .manifest_only(&cache)
        .tag("cache")
        .manifest_only(&whole_cache)
        .tag("whole-cache")
        .with(|tree| {
            tree.layer(APP, &settings);
        })
        .repo("mounted")
        .image("other", &[layer(1), layer(80)])
        .tag("v1")
        .with(|tree| {
            tree.directory(format!("{}/_uploads", repository("mounted")));
            // What may live elsewhere may have left its directory here, too young to go.
            tree.aged(minutes(1)).directory(blob_directory(&layer(70).digest));
        });
    found(&store.into_tree(), &[]);
    found(
        &registry()
            .with(|tree| {
                tree.directory(repository(""));
            })
            .into_tree(),
        &[],
    );
}
