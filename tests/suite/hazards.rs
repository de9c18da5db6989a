//! The hazards of the layout, each by its number: what loses live images elsewhere, and what blocks collections.
//!
//! Every store here holds a piece of garbage beside what must stay, so that a collector that does nothing fails too. Not here, as
//! they concern object stores, running registries or other commands: H4, H21, H25, H42, H43 (object stores), H9, H10's
//! HEAD-only case, H28 and H41's concurrent deleter (writers at work), H24 and H37 (verify, uploads), H39 (policy).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::layout::{self, blob_data, layer_link, repository, revision_link, tag, tag_current, tag_history};
use crate::support::*;

/// A blob that nothing links: it goes whenever anything goes.
fn garbage() -> Content {
    layer(9999)
}

fn garbage_alone() -> BTreeSet<String> {
    BTreeSet::from([garbage().digest])
}

fn digests<'a>(all: impl IntoIterator<Item = &'a Content>) -> BTreeSet<String> {
    all.into_iter().map(|content| content.digest.clone()).collect()
}

/// What a run left and said.
struct Ran {
    root: TempDir,
    gone: BTreeSet<String>,
    outcome: Outcome,
}

/// Collects a tree for real and checks the exit code. The dry run before has to say the same.
fn collect(tree: &Tree, flags: &[&str], code: i32) -> Ran {
    let root = tree.on_disk();
    let dry = Regsweep::gc(root.path()).args(flags).dry().json().run().expect_code(if code == 3 { 0 } else { code });
    let before = snapshot::blobs_on_disk(root.path());
    let outcome = Regsweep::gc(root.path()).args(flags).json().run().expect_code(code);
    let after = snapshot::blobs_on_disk(root.path());
    let gone: BTreeSet<String> = before.keys().filter(|digest| !after.contains_key(*digest)).cloned().collect();
    if code != 2 {
        assert_eq!(dry.rows(), outcome.rows());
        assert_eq!(dry.blobs(), gone, "the dry run told the truth");
    } else {
        assert!(gone.is_empty());
    }
    Ran { root, gone, outcome }
}

impl Ran {
    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }

    #[track_caller]
    fn found(&self, codes: &[&str]) {
        assert_eq!(self.outcome.finding_codes(), codes, "{:#?}", self.outcome.findings());
    }
}

/// What the registry's own collector leaves of the same tree.
fn registry_leaves(tree: &Tree, flags: &[&str]) -> BTreeSet<String> {
    let root = tree.on_disk();
    server::garbage_collect(root.path(), flags);
    snapshot::blobs_on_disk(root.path()).into_keys().collect()
}

#[test]
fn h01_keeps_children_of_a_tagged_index_to_any_depth() {
    let child = oci_image("child", &[layer(1), layer(2)]);
    let inner = index(std::slice::from_ref(&child));
    let outer = index(&[inner, oci_image("other", &[layer(3)])]);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&outer).tag("multi").into_tree();
    let ran = collect(&tree, &["-m"], 0);
    assert_eq!(ran.gone, garbage_alone());
    assert!(!registry_leaves(&tree, &["-m"]).contains(&layer(1).digest), "the control loses the image");
}

#[test]
fn h02_a_sparse_index_elsewhere_does_not_hide_a_child() {
    let child = oci_image("child", &[layer(1)]);
    let multi = index(&[child]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .manifest_only(&multi)
        .tag("sparse")
        .repo("b")
        .pushed(&multi)
        .tag("full")
        .into_tree();
    let ran = collect(&tree, &["-m"], 0);
    assert_eq!(ran.gone, garbage_alone());
    assert!(ran.has(&layer_link("b", &layer(1).digest)));
}

#[test]
fn h02_u2_keeps_a_child_whose_revision_link_was_deleted() {
    let child = oci_image("child", &[layer(1)]);
    let multi = index(std::slice::from_ref(&child));
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&multi)
        .tag("multi")
        .with(|tree| {
            tree.remove_leaving_folder(&revision_link("a", child.digest()));
        })
        .into_tree();
    for flags in [&["-m"][..], &[]] {
        assert_eq!(collect(&tree, flags, 0).gone, garbage_alone());
    }
}

#[test]
fn h03_keeps_layers_that_are_named_by_their_sha512() {
    let image = oci_image("sealed", &[layer(1)]).with_sha512_descriptors();
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).tag("v1").into_tree();
    for flags in [&["-m"][..], &[]] {
        let ran = collect(&tree, flags, 0);
        assert_eq!(ran.gone, garbage_alone());
        assert!(ran.has(&layer_link("a", &layer(1).digest)), "the canonical link stays");
        assert!(ran.has(&layer_link("a", &layer(1).sha512())), "and the alias");
    }
    assert!(!registry_leaves(&tree, &[]).contains(&layer(1).digest), "the control loses the image");
}

#[test]
fn h05_a_deleted_revision_does_not_hide_those_after_it() {
    let images: Vec<Image> = (0..8).map(|n| oci_image(&format!("i{n}"), &[layer(n)])).collect();
    let mut builder = registry().stray_blob(&garbage()).repo("a");
    for (n, image) in images.iter().enumerate() {
        builder = builder.pushed(image).tag(&format!("t{n}"));
    }
    let tree = builder
        .with(|tree| {
            tree.delete_manifest("a", images[3].digest());
        })
        .into_tree();
    let ran = collect(&tree, &[], 0);
    let expected: BTreeSet<String> = images[3].reaches().into_iter().chain(garbage_alone()).collect();
    assert_eq!(ran.gone, expected);
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
    let expected: BTreeSet<String> = orphan.reaches().into_iter().chain(garbage_alone()).collect();
    assert_eq!(collect(&tree, &["-m"], 0).gone, expected);
    assert!(!registry_leaves(&tree, &["-m"]).contains(&layer(2).digest), "the control loses the signature");
}

#[test]
fn h07_h08_h40_each_repository_is_decided_for_itself() {
    let image = oci_image("shared", &[layer(1)]);
    let other = oci_image("other", &[layer(2)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .pushed(&other)
        .tag("v1")
        .repo("b")
        .pushed(&image)
        .tag("v1")
        .into_tree();
    let ran = collect(&tree, &["-m"], 0);
    assert_eq!(ran.gone, garbage_alone(), "the blobs live on in b");
    // H7, H40: in a the whole image goes, link by link; H8: whichever of the two is walked first.
    for link in [revision_link("a", image.digest()), layer_link("a", &layer(1).digest)] {
        assert!(!ran.has(&link), "{link}");
    }
    for link in [revision_link("b", image.digest()), layer_link("b", &layer(1).digest), layer_link("a", &layer(2).digest)] {
        assert!(ran.has(&link), "{link}");
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
    assert_eq!(ran.gone, garbage_alone());
    let young = &ran.outcome.report()["young"];
    assert_eq!((young["blobs"].as_u64(), young["layer_links"].as_u64()), (Some(2), Some(1)));
    let all = collect(&tree, &["--min-age", "0s"], 0);
    assert_eq!(all.gone, digests([&garbage(), &layer(2), &layer(3)]));
}

#[test]
fn h10_a_young_link_keeps_an_old_blob() {
    let tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").stray_blob(&garbage()).stray_blob(&layer(2)).with(|tree| {
        tree.aged(minutes(10)).layer_link("a", &layer(2).digest);
    });
    assert_eq!(collect(&tree.into_tree(), &[], 0).gone, garbage_alone());
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
        .with(|tree| {
            tree.remove(&layout::blob_folder(multi.digest()));
        })
        .repo("b")
        .pushed(&untagged)
        .into_tree();
    let ran = collect(&tree, &["-m"], 1);
    let expected: BTreeSet<String> = untagged.reaches().into_iter().chain(garbage_alone()).collect();
    assert_eq!(ran.gone, expected, "b is collected all the same");
    ran.found(&["held-repository", "missing-tag-target"]);
}

#[test]
fn h12_a_tag_keeps_an_image_whose_revision_link_is_lost() {
    let image = oci_image("app", &[layer(1)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .with(|tree| {
            tree.remove(layout::parent(&revision_link("a", image.digest())));
        })
        .into_tree();
    for flags in [&["-m"][..], &[]] {
        let ran = collect(&tree, flags, 1);
        assert_eq!(ran.gone, garbage_alone());
        assert!(ran.has(&tag_history("a", "v1", image.digest())));
        ran.found(&["lost-revision"]);
    }
    assert!(!registry_leaves(&tree, &[]).contains(&layer(1).digest), "the control loses the layer");
}

#[test]
fn h13_a_revision_that_names_another_holds_its_repository() {
    let (x, y) = (oci_image("x", &[layer(1)]), oci_image("y", &[layer(2)]));
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&x)
        .tag("x")
        .pushed(&y)
        .with(|tree| {
            tree.file(revision_link("a", x.digest()), y.digest());
        })
        .into_tree();
    for flags in [&["-m"][..], &[]] {
        let ran = collect(&tree, flags, 1);
        assert_eq!(ran.gone, garbage_alone());
        ran.found(&["disagreeing-link", "held-repository"]);
    }
}

#[test]
fn h14_a_repository_of_digests_alone_is_all_untagged() {
    let image = oci_image("pinned", &[layer(1)]);
    let kept = oci_image("kept", &[layer(2)]);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).repo("b").pushed(&kept).tag("v1").into_tree();
    assert_eq!(collect(&tree, &[], 0).gone, garbage_alone());
    let ran = collect(&tree, &["-m"], 0);
    let expected: BTreeSet<String> = image.reaches().into_iter().chain(garbage_alone()).collect();
    assert_eq!(ran.gone, expected);
    assert!(!ran.has(&revision_link("a", image.digest())));
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
    for flags in [&["-m"][..], &[]] {
        assert_eq!(collect(&tree, flags, 0).gone, garbage_alone());
    }
    assert!(!registry_leaves(&tree, &[]).contains(&layer(1).digest), "the control loses the layer");
}

#[test]
fn h16_links_of_a_repository_without_manifests_go_too() {
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .image("app", &[layer(1)])
        .tag("v1")
        .repo("mounted")
        .upload_layer(&layer(1))
        .upload_layer(&layer(2))
        .into_tree();
    let ran = collect(&tree, &[], 0);
    assert_eq!(ran.gone, digests([&garbage(), &layer(2)]));
    assert!(!ran.has(&layer_link("mounted", &layer(1).digest)) && !ran.has(&layer_link("mounted", &layer(2).digest)));
}

#[test]
fn h17_a_second_run_names_the_first_and_stops() {
    let root = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
    fs::create_dir(root.path().join(".regsweep")).expect("made");
    let lock = fs::File::create(root.path().join(".regsweep/lock")).expect("made");
    fs::write(root.path().join(".regsweep/lock"), "process 42 on elsewhere, since then\n").expect("written");
    fs2::FileExt::lock_exclusive(&lock).expect("locked");
    for run in [Regsweep::gc(root.path()), Regsweep::gc(root.path()).dry()] {
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains("process 42 on elsewhere, since then"), "{}", refused.stderr);
    }
    let waiting = Regsweep::gc(root.path()).args(["--wait-lock", "60s"]).start();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(snapshot::blobs_on_disk(root.path()).len(), 4, "nothing goes while it waits");
    fs2::FileExt::unlock(&lock).expect("unlocked");
    waiting.wait().expect_code(0);
    assert_eq!(snapshot::blobs_on_disk(root.path()).len(), 3);
}

#[test]
fn h18_stops_where_gitlabs_database_is_in_use() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file("docker/registry/lockfiles/database-in-use", "{\"version\":1}");
    });
    let tree = tree.into_tree();
    let stopped = collect(&tree, &[], 2);
    assert!(stopped.outcome.stderr.contains("--allow-foreign-owner"), "{}", stopped.outcome.stderr);
    assert_eq!(collect(&tree, &["--allow-foreign-owner"], 0).gone, garbage_alone());
}

#[test]
fn h19_stops_before_dropping_what_harbor_knows() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("untagged", &[layer(1)]).into_tree();
    let root = tree.on_disk();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
    for more in
        ["auth: {htpasswd: {realm: harbor-registry-basic-realm, path: /etc/registry/passwd}}", "validation: {disabled: true}"]
    {
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, cache: {{layerinfo: redis}}}}\n{more}\n",
            root.path().display()
        );
        fs::write(&config, text).expect("written");
        let stopped = Regsweep::gc_config(&config).delete_untagged().dry().run().expect_code(2);
        assert!(stopped.stderr.contains("Harbor"), "{}", stopped.stderr);
        let unlinked = Regsweep::gc_config(&config).dry().run().expect_code(0);
        assert_eq!(unlinked.blobs(), garbage_alone());
    }
}

#[test]
fn h20_stops_when_the_repositories_are_not_mounted() {
    let full = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    let mut empty = full.clone();
    empty.remove(&repository("a")).folder("docker/registry/v2/repositories");
    let mut absent = full.clone();
    absent.remove("docker/registry/v2/repositories");
    for tree in [&empty, &absent] {
        let stopped = collect(tree, &[], 2);
        assert!(stopped.outcome.stderr.contains("--allow-empty"), "{}", stopped.outcome.stderr);
        assert_eq!(collect(tree, &["--allow-empty"], 0).gone.len(), 3);
    }
    assert!(registry_leaves(&empty, &[]).is_empty(), "the control deletes everything");
}

#[test]
fn h20_stops_when_the_blobs_are_not_mounted() {
    let tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
        tree.remove("docker/registry/v2/blobs").folder("docker/registry/v2/blobs");
    });
    let ran = collect(&tree.into_tree(), &[], 2);
    assert!(ran.has(&layer_link("a", &layer(2).digest)));
}

#[test]
fn h20_stops_when_nothing_is_needed() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).into_tree();
    collect(&tree, &["-m"], 2);
    assert_eq!(collect(&tree, &["-m", "--allow-empty"], 0).gone.len(), 4);
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
    assert_eq!(collect(&tree, &["-m"], 0).gone, garbage_alone());
}

#[test]
fn h23_embedded_data_and_empty_digests_harm_nothing() {
    let image = oci_image("odd", &[layer(1)]).edit(|json| {
        json["layers"][0]["data"] = "aGVsbG8=".into();
        json["other"] = serde_json::json!({"digest": ""});
    });
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).tag("v1").into_tree();
    assert_eq!(collect(&tree, &["-m"], 0).gone, garbage_alone());
}

#[test]
fn h26_follows_symbolic_links_to_read_and_removes_nothing_behind_them() {
    let outside = registry().repo("far").image("far", &[layer(1)]).tag("v1").upload_layer(&layer(2)).into_tree().on_disk();
    let target = outside.path().join(repository("far"));
    let tree = registry()
        .stray_blob(&garbage())
        .repo("near")
        .image("near", &[layer(3)])
        .tag("v1")
        .with(|tree| {
            let far = oci_image("far", &[layer(1)]);
            tree.blob(&layer(1)).blob(&layer(2)).blob(&far.manifest);
            for blob in &far.blobs {
                tree.blob(blob);
            }
            tree.symlink(repository("linked"), target.to_str().expect("UTF-8"));
            tree.symlink(repository("loop/again"), "../../repositories");
        })
        .into_tree();
    let before = snapshot(outside.path());
    let ran = collect(&tree, &["--min-age", "0s"], 1);
    assert_eq!(ran.gone, garbage_alone());
    assert_eq!(snapshot(outside.path()), before);
    let codes = ran.outcome.finding_codes();
    assert!(codes.contains(&"behind-symlink".into()) && codes.contains(&"held-repository".into()), "{codes:?}");
}

#[test]
fn h26_stops_at_a_symbolic_link_that_leads_nowhere() {
    let places = [repository("gone"), format!("{}/_layers/sha256", repository("b")), "docker/registry/v2/blobs/sha256/00".into()];
    for place in places {
        let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
            tree.remove(&place).symlink(place.as_str(), "/nowhere/at/all");
        });
        let stopped = collect(&tree.into_tree(), &[], 2);
        assert!(stopped.outcome.stderr.contains("leads nowhere"), "{}", stopped.outcome.stderr);
    }
}

#[test]
fn h27_h34_strays_are_reported_and_left_alone() {
    let strays = [
        format!("{}/.DS_Store", layout::tags("a")),
        "docker/registry/v2/repositories/lost+found/x".to_owned(),
        format!("{}/.nfs0001", layout::parent(&layer_link("a", &layer(1).digest))),
        "docker/registry/v2/blobs/.snapshot".to_owned(),
    ];
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        for stray in &strays {
            tree.file(stray.as_str(), "x");
        }
    });
    let ran = collect(&tree.into_tree(), &["-m"], 0);
    assert_eq!(ran.gone, garbage_alone());
    assert!(strays.iter().all(|stray| ran.has(stray)));
    // What lies beside a link that is needed is not looked at.
    ran.found(&["unrecognised-entry"; 3]);
}

#[test]
fn h30_one_damaged_link_holds_one_repository() {
    let sound = oci_image("sound", &[layer(1)]);
    let unused = oci_image("deleted elsewhere", &[layer(3)]);
    let damages: [(&str, &str); 4] = [
        ("empty-link", ""),
        ("garbled-link", "sha256:xyz"),
        ("garbled-link", "\n"),
        ("garbled-link", "sha256:../../../etc/passwd"),
    ];
    for (code, content) in damages {
        for damage in ["revision", "current", "layer"] {
            let tree = registry()
                .stray_blob(&garbage())
                .repo("a")
                .pushed(&sound)
                .tag("v1")
                .upload_layer(&layer(2))
                .with(|tree| {
                    let link = match damage {
                        "revision" => revision_link("a", sound.digest()),
                        "current" => tag_current("a", "v1"),
                        _ => layer_link("a", &layer(2).digest),
                    };
                    tree.file(link, content);
                })
                .repo("b")
                .pushed(&unused)
                .deleted()
                .into_tree();
            for flags in [&["-m"][..], &[]] {
                let ran = collect(&tree, flags, 1);
                let expected: BTreeSet<String> = unused.reaches().into_iter().chain(garbage_alone()).collect();
                assert_eq!(ran.gone, expected, "{damage} {content:?}: all that a links stays, the rest is collected");
                ran.found(&[code, "held-repository"]);
                let named = ran.outcome.findings();
                let names_it =
                    |finding: &Finding| finding.code == code && finding.path.as_ref().is_some_and(|path| path.ends_with("/link"));
                assert!(named.iter().any(names_it), "{named:?}");
            }
        }
    }
}

#[test]
fn h31_a_damaged_manifest_holds_the_repositories_that_reach_it() {
    let image = oci_image("x", &[layer(1)]);
    for (content, code) in [("", "corrupt-manifest"), ("{\"truncated\":", "corrupt-manifest")] {
        let tree = registry()
            .stray_blob(&garbage())
            .repo("a")
            .pushed(&image)
            .tag("v1")
            .upload_layer(&layer(2))
            .with(|tree| {
                tree.file(blob_data(image.digest()), content);
            })
            .into_tree();
        let ran = collect(&tree, &["-m"], 1);
        assert_eq!(ran.gone, garbage_alone());
        ran.found(&[code, "held-repository"]);
    }
    // The bytes are what was pushed, but no JSON object.
    let odd = Content::new("[1, 2");
    let tree =
        registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
            tree.blob(&odd).revision("a", &odd.digest).tag("a", "odd", &odd.digest);
        });
    let ran = collect(&tree.into_tree(), &[], 1);
    assert_eq!(ran.gone, garbage_alone());
    ran.found(&["held-repository", "unreadable-manifest"]);
}

#[test]
fn h32_misplaced_blobs_are_reported_and_left_alone() {
    let hex = layer(1).digest["sha256:".len()..].to_owned();
    let upper = layer(2).digest["sha256:".len()..].to_uppercase();
    let strays = [
        "docker/registry/v2/blobs/x/data".to_owned(),
        format!("docker/registry/v2/blobs/sha256/zz/{hex}/data"),
        format!("docker/registry/v2/blobs/sha256/{}/{upper}/data", &upper[..2].to_lowercase()),
        "docker/registry/v2/blobs/sha256/ab/short/data".to_owned(),
        "docker/registry/v2/blobs/sha256/x".to_owned(),
    ];
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(3)]).tag("v1").with(|tree| {
        for stray in &strays {
            tree.file(stray.as_str(), "x");
        }
    });
    let ran = collect(&tree.into_tree(), &["--min-age", "0s"], 0);
    assert!(ran.gone.contains(&garbage().digest));
    assert!(strays.iter().all(|stray| ran.has(stray)));
    ran.found(&["unrecognised-entry"; 5]);
}

#[test]
fn h33_a_copy_with_an_impossible_name_keeps_what_it_links() {
    let image = oci_image("x", &[layer(1)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("live")
        .image("live", &[layer(2)])
        .tag("v1")
        .repo("Backup_A")
        .pushed(&image)
        .repo("_old/b")
        .upload_layer(&layer(3))
        .into_tree();
    let ran = collect(&tree, &["-m"], 1);
    assert_eq!(ran.gone, garbage_alone());
    ran.found(&["held-repository", "held-repository", "invalid-name", "invalid-name"]);
}

#[test]
fn h35_links_to_blobs_that_are_gone_hold_nothing_back() {
    let image = oci_image("x", &[layer(1)]);
    let lost = oci_image("lost", &[layer(2)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&image)
        .tag("v1")
        .pushed(&lost)
        .with(|tree| {
            tree.remove(&layout::blob_folder(&layer(1).digest)).remove(&layout::blob_folder(lost.digest()));
        })
        .into_tree();
    let ran = collect(&tree, &[], 1);
    let expected: BTreeSet<String> =
        lost.reaches().into_iter().filter(|digest| digest != lost.digest()).chain(garbage_alone()).collect();
    assert_eq!(ran.gone, expected, "what only the lost manifest named goes");
    ran.found(&["missing-blob", "missing-manifest"]);
    assert!(ran.has(&revision_link("a", lost.digest())), "the revision is the operator's to drop");
}

#[test]
fn h36_blob_folders_without_data_go_if_empty() {
    let [husk, leftover, folder] = [11, 12, 13].map(|n| layer(n).digest);
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.folder(layout::blob_folder(&husk));
        tree.file(format!("{}/data.0.tmp", layout::blob_folder(&leftover)), "x");
        tree.folder(blob_data(&folder));
    });
    let ran = collect(&tree.into_tree(), &[], 1);
    assert_eq!(ran.gone, garbage_alone());
    assert!(!ran.has(&layout::blob_folder(&husk)));
    assert!(ran.has(&layout::blob_folder(&leftover)) && ran.has(&blob_data(&folder)));
    ran.found(&["irregular-data", "missing-data"]);
}

#[test]
fn h38_ghost_tags_are_reported_and_left_alone() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.tag("a", "ghost", &layer(50).digest).folder(tag("a", "bare"));
    });
    let tree = tree.into_tree();
    let ran = collect(&tree, &[], 1);
    assert_eq!(ran.gone, garbage_alone());
    assert!(ran.has(&tag_current("a", "ghost")) && ran.has(&tag("a", "bare")));
    ran.found(&["missing-tag-target", "tag-without-current"]);
    collect(&tree, &["-m"], 1).found(&["held-repository", "missing-tag-target", "tag-without-current"]);
}

#[test]
fn h41_what_is_gone_already_is_no_failure() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    let ran = collect(&tree, &[], 0);
    assert_eq!(ran.gone, garbage_alone());
    let again = Regsweep::gc(ran.root.path()).json().run().expect_code(0);
    assert!(again.rows().is_empty());
}

#[test]
fn h44_links_go_before_the_blobs_they_name() {
    let multi = index(&[index(&[oci_image("deep", &[layer(1)])]), oci_image("flat", &[layer(2)])]);
    let tree = registry()
        .repo("a")
        .image("kept", &[layer(3)])
        .tag("v1")
        .pushed(&multi)
        .tag("old")
        .image("new", &[layer(4)])
        .tag("old")
        .into_tree();
    let ran = collect(&tree, &["-m"], 0);
    let kinds: Vec<String> = ran.outcome.rows().into_iter().map(|row| row.kind).collect();
    let mut sorted = kinds.clone();
    sorted.sort_by_key(|kind| {
        ["tag-history", "revision", "layer-link", "blob", "empty-folder"].iter().position(|known| known == kind)
    });
    assert_eq!(kinds, sorted);
    for kind in ["revision", "blob"] {
        let order: Vec<String> = ran.outcome.rows_of(kind).into_iter().filter_map(|row| row.digest).collect();
        let place = |digest: &str| order.iter().position(|other| other == digest).expect("in the plan");
        assert!(place(multi.digest()) < place(multi.children[0].digest()), "{kind}");
        assert!(place(multi.children[0].digest()) < place(multi.children[0].children[0].digest()), "{kind}");
    }
}

#[test]
fn h45_h46_many_untagged_revisions_make_one_stable_plan() {
    let mut builder = registry().repo("a");
    for push in 0..60 {
        builder = builder.image(&format!("push {push}"), &[layer(push)]).tag(&format!("t{}", push % 3));
    }
    let root = builder.into_tree().on_disk();
    let plan = |jobs: &str| Regsweep::gc(root.path()).args(["-m", "--jobs", jobs]).dry().run().expect_code(0).plan;
    let one = plan("1");
    assert_eq!(
        one.as_ref().map(|plan| plan.lines().count()),
        Some(57 * 7),
        "history, revision, two layer links and three blobs each"
    );
    assert_eq!(one, plan("64"));
    assert_eq!(one, plan("7"));
}

#[test]
fn u1_a_stray_file_among_the_repositories_hides_none_of_them() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file("docker/registry/v2/repositories/_x", "x");
    });
    let tree = tree.into_tree();
    assert_eq!(collect(&tree, &[], 0).gone, garbage_alone());
    assert!(registry_leaves(&tree, &[]).is_empty(), "the control deletes everything");
}

#[test]
fn u3_nothing_behind_a_symbolic_link_among_the_blobs_goes() {
    let outside = tempfile::tempdir().expect("a folder");
    let shard = layout::parent(&layout::blob_folder(&garbage().digest)).to_owned();
    let mut tree =
        registry().stray_blob(&garbage()).stray_blob(&layer(70)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    let root = tree.on_disk();
    let moved = outside.path().join("shard");
    fs::rename(root.path().join(&shard), &moved).expect("moved");
    std::os::unix::fs::symlink(&moved, root.path().join(&shard)).expect("linked");
    let ran = Regsweep::gc(root.path()).json().run().expect_code(1);
    assert!(!ran.blobs().contains(&garbage().digest) && ran.blobs().contains(&layer(70).digest));
    assert!(fs::read_dir(&moved).expect("listable").count() == 1, "nothing outside went");
    assert!(ran.finding_codes().contains(&"behind-symlink".into()));
    tree.remove("docker");
}

#[test]
fn u4_links_whose_blobs_are_gone_go_in_the_next_run() {
    let image = oci_image("x", &[layer(1)]);
    let tree = registry().repo("a").image("kept", &[layer(2)]).tag("v1").pushed(&image).deleted().with(|tree| {
        for digest in image.reaches() {
            tree.remove(&layout::blob_folder(&digest));
        }
    });
    let ran = collect(&tree.into_tree(), &[], 0);
    assert!(!ran.has(&layer_link("a", &layer(1).digest)));
    assert!(ran.has(&layer_link("a", &layer(2).digest)));
}

#[test]
fn stale_history_goes_and_current_history_stays() {
    let (old, new) = (oci_image("old", &[layer(1)]), oci_image("new", &[layer(2)]));
    let tree = registry().repo("a").pushed(&old).tag("v1").pushed(&new).tag("v1").with(|tree| {
        tree.remove_leaving_folder(&revision_link("a", old.digest()));
    });
    let ran = collect(&tree.into_tree(), &[], 0);
    assert!(!ran.has(&tag_history("a", "v1", old.digest())) && ran.has(&tag_history("a", "v1", new.digest())));
    assert!(!Path::new(&ran.root.path().join(layout::parent(&revision_link("a", old.digest())))).exists(), "nor its folder");
    assert!(old.reaches().is_subset(&ran.gone));
}
