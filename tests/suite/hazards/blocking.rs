//! CONTRACT 3.2: what makes other collectors give up, or leave garbage for ever. With the cases of SAFETY 1.4 not met before.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{BOTH, collect, control, digests, garbage, garbage_alone, garbage_and, links};
use crate::support::layout::{self, blob_data, layer_link, repository, revision_link, tag, tag_current, tag_history};
use crate::support::*;

#[test]
fn h30_r14_u7_one_damaged_link_holds_one_repository() {
    let sound = oci_image("sound", &[layer(1)]);
    let unused = oci_image("deleted elsewhere", &[layer(3)]);
    let deleted = revision_link("b", unused.digest());
    let whole = sound.digest();
    let damages = [
        ("empty-link", String::new()),
        ("garbled-link", "sha256:xyz".into()),
        ("garbled-link", "\n".into()),
        ("garbled-link", format!("{whole}\n")),
        ("garbled-link", whole[..40].into()),
        ("garbled-link", "sha256:../../../etc/passwd".into()),
    ];
    for (code, content) in damages {
        for damage in ["revision", "current", "layer"] {
            let link = match damage {
                "revision" => revision_link("a", whole),
                "current" => tag_current("a", "v1"),
                _ => layer_link("a", &layer(2).digest),
            };
            let tree = registry()
                .stray_blob(&garbage())
                .repo("a")
                .pushed(&sound)
                .tag("v1")
                .image("untagged", &[layer(4)])
                .upload_layer(&layer(2))
                .with(|tree| {
                    tree.file(link.as_str(), content.as_str());
                })
                .repo("b")
                .pushed(&unused)
                .deleted()
                .into_tree();
            let mut names: Vec<String> = links("b", &unused).into_iter().filter(|link| *link != deleted).collect();
            names.push(layout::parent(&deleted).to_owned());
            for flags in BOTH {
                let ran = collect(&tree, flags, 1);
                ran.lost(&garbage_and(&unused), names.clone());
                ran.found(&[code, "held-repository"]);
                let named = ran.outcome.findings();
                assert!(named.iter().any(|finding| finding.code == code && finding.path.as_ref() == Some(&link)), "{named:?}");
            }
        }
    }
}

#[test]
fn h30_the_registrys_own_collector_gives_up() {
    let image = oci_image("x", &[layer(1)]);
    for (link, flags) in [(revision_link("a", image.digest()), &[][..]), (tag_current("a", "v1"), &["-m"])] {
        let tree = registry().stray_blob(&garbage()).repo("a").pushed(&image).tag("v1").with(|tree| {
            tree.file(link, "");
        });
        control(&tree, flags).gives_up();
    }
}

/// The path of a needed layer link says all there is to say, so it is not opened: ruling 5.
#[test]
fn h30_a_damaged_link_to_a_needed_layer_holds_nothing_back() {
    for content in ["", "sha256:xyz"] {
        let tree =
            registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
                tree.file(layer_link("a", &layer(1).digest), content);
            });
        let ran = collect(&tree.into_tree(), &[], 0);
        ran.lost(&digests([&garbage(), &layer(2)]), [layer_link("a", &layer(2).digest)]);
    }
}

#[test]
fn h31_a_damaged_manifest_holds_the_repositories_that_reach_it() {
    let image = oci_image("x", &[layer(1)]);
    for content in ["", "{\"truncated\":"] {
        let tree = registry()
            .stray_blob(&garbage())
            .repo("a")
            .pushed(&image)
            .tag("v1")
            .upload_layer(&layer(2))
            .repo("b")
            .pushed(&index(std::slice::from_ref(&image)))
            .tag("multi")
            .upload_layer(&layer(3))
            .repo("c")
            .upload_layer(&layer(4))
            .with(|tree| {
                tree.file(blob_data(image.digest()), content);
            })
            .into_tree();
        for flags in BOTH {
            let ran = collect(&tree, flags, 1);
            ran.lost(&digests([&garbage(), &layer(4)]), [layer_link("c", &layer(4).digest)]);
            ran.found(&["corrupt-manifest", "corrupt-manifest", "held-repository", "held-repository"]);
        }
        control(&tree, &[]).gives_up();
    }
}

#[test]
fn h31_a_manifest_that_is_none_holds_its_repository() {
    // The bytes are what was pushed, but no JSON object, or more than any registry accepts.
    let huge = format!("{{\"annotations\":{{\"a\":\"{}\"}}}}", "x".repeat(16 << 20));
    let odd = [(Content::new("[1, 2"), "unreadable-manifest"), (Content::new(huge), "oversized-manifest")];
    for (odd, code) in odd {
        let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2));
        let tree = tree.with(|tree| {
            tree.blob(&odd).revision("a", &odd.digest).tag("a", "odd", &odd.digest);
        });
        let tree = tree.into_tree();
        for flags in BOTH {
            let ran = collect(&tree, flags, 1);
            ran.lost_garbage_alone();
            ran.found(&["held-repository", code]);
        }
    }
}

#[test]
fn h31_an_untagged_damaged_manifest_holds_its_repository_for_it_may_refer_to_an_image() {
    let subject = oci_image("x", &[layer(1)]);
    let contents = oci_image("contents", &[layer(2)]).referring_to(&subject);
    let signature = oci_image("signature of the contents", &[layer(3)]).referring_to(&contents);
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&subject).tag("v1").pushed(&contents).pushed(&signature);
    let tree = tree.with(|tree| {
        tree.file(blob_data(contents.digest()), "");
    });
    let tree = tree.into_tree();
    for flags in [&["-m"][..], &[]] {
        let ran = collect(&tree, flags, 1);
        ran.lost_garbage_alone();
        ran.found(&["corrupt-manifest", "held-repository"]);
    }
}

#[test]
fn h32_u6_misplaced_blobs_are_reported_and_left_alone() {
    let hex = layer(1).digest["sha256:".len()..].to_owned();
    let upper = layer(2).digest["sha256:".len()..].to_uppercase();
    let strays = [
        "docker/registry/v2/blobs/x/data".to_owned(),
        format!("docker/registry/v2/blobs/sha256/zz/{hex}/data"),
        format!("docker/registry/v2/blobs/sha256/{}/{upper}/data", &upper[..2].to_lowercase()),
        "docker/registry/v2/blobs/sha256/ab/short/data".to_owned(),
        "docker/registry/v2/blobs/sha256/x".to_owned(),
    ];
    let with = |strays: &[String]| {
        let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(3)]).tag("v1").with(|tree| {
            for stray in strays {
                tree.file(stray.as_str(), "x");
            }
        });
        tree.into_tree()
    };
    let ran = collect(&with(&strays), &["--min-age", "0s"], 0);
    ran.lost_garbage_alone();
    ran.found(&["unrecognised-entry"; 5]);
    for stray in [0, 3] {
        control(&with(&strays[stray..=stray]), &[]).gives_up();
    }
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
    for flags in BOTH {
        let ran = collect(&tree, flags, 1);
        ran.lost_garbage_alone();
        ran.found(&["held-repository", "held-repository", "invalid-name", "invalid-name"]);
    }
    let mut alone = tree.clone();
    alone.remove(&repository("_old"));
    control(&alone, &[]).gives_up();
}

#[test]
fn h34_a_file_among_the_tags_is_reported_and_left_alone() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file(format!("{}/.DS_Store", layout::tags("a")), "x").file(format!("{}/.DS_Store", tag("a", "v1")), "x");
    });
    let tree = tree.into_tree();
    for flags in BOTH {
        let ran = collect(&tree, flags, 0);
        ran.lost_garbage_alone();
        ran.found(&["system-file"]);
    }
    control(&tree, &["-m"]).gives_up();
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
            tree.remove(&layout::blob_directory(&layer(1).digest)).remove(&layout::blob_directory(lost.digest()));
        })
        .into_tree();
    let ran = collect(&tree, &[], 1);
    // What only the lost manifest named goes; the revision is the operator's to drop.
    let revision = revision_link("a", lost.digest());
    let blobs: BTreeSet<String> = garbage_and(&lost).into_iter().filter(|digest| digest != lost.digest()).collect();
    ran.lost(&blobs, links("a", &lost).into_iter().filter(|link| *link != revision));
    ran.found(&["missing-blob", "missing-manifest"]);
    let ran = collect(&tree, &["-m"], 1);
    ran.lost(&blobs, links("a", &lost));
    ran.found(&["missing-blob"]);
}

#[test]
fn h36_blob_directories_without_data_go_if_empty() {
    let [husk, leftover, directory, young] = [11, 12, 13, 14].map(|n| layer(n).digest);
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.directory(layout::blob_directory(&husk));
        tree.file(format!("{}/data.0.tmp", layout::blob_directory(&leftover)), "x");
        tree.directory(blob_data(&directory));
        tree.aged(minutes(1)).directory(layout::blob_directory(&young));
    });
    let ran = collect(&tree.into_tree(), &[], 1);
    ran.lost(&garbage_alone(), [layout::blob_directory(&husk)]);
    ran.found(&["irregular-data", "missing-data"]);
}

#[test]
fn h37_uploads_are_left_alone() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").repo("begun").with(|tree| {
        tree.upload("a", "0d1c5e2e-0000-4000-8000-000000000001", b"half");
        // Cancelled: without `startedat`. In a repository that has nothing else.
        tree.file(format!("{}/hashstates/sha256/0", layout::upload("begun", "0d1c5e2e-0000-4000-8000-000000000002")), "x");
    });
    let tree = tree.into_tree();
    for flags in [&["-m", "--min-age", "0s"][..], &[]] {
        collect(&tree, flags, 0).lost_garbage_alone();
    }
}

#[test]
fn h38_ghost_tags_are_reported_and_stay_unless_nothing_is_left_of_them() {
    let tree =
        registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").upload_layer(&layer(2)).with(|tree| {
            tree.tag("a", "ghost", &layer(50).digest).directory(tag("a", "bare"));
        });
    let tree = tree.into_tree();
    let ran = collect(&tree, &[], 1);
    ran.lost(&digests([&garbage(), &layer(2)]), [layer_link("a", &layer(2).digest), tag("a", "bare")]);
    ran.found(&["empty-tag", "missing-tag-target"]);
    let ran = collect(&tree, &["-m"], 1);
    ran.lost_garbage_alone();
    ran.found(&["empty-tag", "held-repository", "missing-tag-target"]);
}

#[test]
fn h38_a_tag_without_current_is_no_root_and_holds_nothing_back() {
    let image = oci_image("once", &[layer(2)]);
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").pushed(&image).tag("once");
    let tree = tree.with(|tree| {
        tree.remove(layout::parent(&tag_current("a", "once")));
    });
    let tree = tree.into_tree();
    let ran = collect(&tree, &["-m"], 1);
    ran.lost(&garbage_and(&image), links("a", &image).into_iter().chain([tag_history("a", "once", image.digest())]));
    ran.found(&["tag-without-current"]);
    let ran = collect(&tree, &[], 1);
    ran.lost_garbage_alone();
}

/// A store in which much of every kind goes with `-m`, and the image that stays.
fn untidy() -> (Tree, Image) {
    let kept = index(&[oci_image("kept", &[layer(3)])]);
    let multi = index(&[index(&[oci_image("deep", &[layer(1)])]), oci_image("flat", &[layer(2)])]);
    let deleted = oci_image("deleted", &[layer(3), layer(5)]);
    let tree = registry()
        .stray_blob(&garbage())
        .repo("a")
        .pushed(&kept)
        .tag("v1")
        .pushed(&multi)
        .tag("old")
        .image("new", &[layer(4)])
        .tag("old")
        .pushed(&deleted)
        .deleted()
        .repo("b")
        .pushed(&multi)
        .into_tree();
    (tree, kept)
}

#[test]
fn h44_links_go_before_the_blobs_they_name() {
    let (tree, _) = untidy();
    let rows = collect(&tree, &["-m"], 0).outcome.rows();
    let kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    let mut sorted = kinds.clone();
    let order = ["tag-history", "revision", "layer-link", "blob", "empty-directory"];
    sorted.sort_by_key(|kind| order.iter().position(|known| known == kind));
    assert_eq!(kinds, sorted);
    assert_eq!(BTreeSet::from_iter(kinds), BTreeSet::from(order), "there is one of each");
    let multi = index(&[index(&[oci_image("deep", &[layer(1)])]), oci_image("flat", &[layer(2)])]);
    for (kind, repository) in [("revision", Some("a")), ("revision", Some("b")), ("blob", None)] {
        let one = rows.iter().filter(|row| row.kind == kind && row.repository.as_deref() == repository);
        let digests: Vec<&str> = one.filter_map(|row| row.digest.as_deref()).collect();
        let place = |image: &Image| digests.iter().position(|digest| *digest == image.digest()).expect("in the plan");
        assert!(place(&multi) < place(&multi.children[0]), "{kind}");
        assert!(place(&multi.children[0]) < place(&multi.children[0].children[0]), "{kind}");
        assert!(place(&multi) < place(&multi.children[1]), "{kind}");
    }
}

/// Goal: wherever a sweep ends, no link leads to a blob that went, and the next run comes to the same. Method: the rows of the plan
/// carried out by hand, one more each time.
#[test]
fn h41_h44_a_sweep_that_ended_anywhere_is_taken_up_again() {
    let (tree, kept) = untidy();
    let all = collect(&tree, &["-m"], 0);
    let files = |root: &Path| -> BTreeSet<String> {
        let all = snapshot(&root.join("docker")).into_iter();
        all.filter(|(_, seen)| seen.kind != snapshot::SeenKind::Directory).map(|(path, _)| path).collect()
    };
    let rows = all.outcome.rows();
    assert!(rows.len() > 30, "a plan worth interrupting");
    for done in 0..=rows.len() {
        let root = tree.on_disk();
        for row in &rows[..done] {
            let path = root.path().join(&row.path);
            if row.kind == "empty-directory" {
                fs::remove_dir(path).expect("it is empty");
            } else {
                fs::remove_file(&path).expect("it is there");
                // Killed between the two, or not.
                if done % 2 == 0 {
                    fs::remove_dir(path.parent().expect("a directory")).expect("it is empty");
                }
            }
        }
        let blobs = snapshot::blobs_on_disk(root.path());
        assert!(kept.reaches().iter().all(|digest| blobs.contains_key(digest)));
        for link in files(root.path()).iter().filter(|path| path.ends_with("/link") && !path.contains("/current/")) {
            let hex = layout::parent(link).rsplit('/').next().expect("a name");
            assert!(blobs.contains_key(&format!("sha256:{hex}")), "after {done} rows {link} leads nowhere");
        }
        // The directories just left by a removal are young.
        Regsweep::gc(root.path()).args(["-m", "--min-age", "0s"]).run().expect_code(0);
        assert_eq!(files(root.path()), files(all.root.path()), "after {done} rows");
        assert!(Regsweep::gc(root.path()).args(["-m", "--min-age", "0s"]).run().expect_code(0).rows().is_empty());
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
    let one = plan("1").expect("a plan");
    assert_eq!(one.lines().count(), 57 * 7, "history, revision, two layer links and three blobs each");
    for jobs in ["1", "7", "64"] {
        assert_eq!(plan(jobs).as_ref(), Some(&one));
    }
}

#[test]
fn u1_a_stray_file_among_the_repositories_hides_none_of_them() {
    let tree = registry().stray_blob(&garbage()).repo("a").image("x", &[layer(1)]).tag("v1").with(|tree| {
        tree.file("docker/registry/v2/repositories/_x", "x");
    });
    let tree = tree.into_tree();
    let ran = collect(&tree, &[], 0);
    ran.lost_garbage_alone();
    ran.found(&["unrecognised-entry"]);
    control(&tree, &[]).loses(&layer(1));
}

#[test]
fn u4_links_whose_blobs_are_gone_go_in_the_next_run() {
    let image = oci_image("x", &[layer(1)]);
    let tree = registry().stray_blob(&garbage()).repo("a").image("kept", &[layer(2)]).tag("v1").pushed(&image).deleted();
    let tree = tree.with(|tree| {
        for digest in image.reaches() {
            tree.remove(&layout::blob_directory(&digest));
        }
    });
    let deleted = revision_link("a", image.digest());
    let mut names: Vec<String> = links("a", &image).into_iter().filter(|link| *link != deleted).collect();
    names.push(layout::parent(&deleted).to_owned());
    for flags in BOTH {
        collect(&tree, flags, 0).lost(&garbage_alone(), names.clone());
    }
}

#[test]
fn stale_history_goes_and_current_history_stays() {
    let (old, new) = (oci_image("old", &[layer(1)]), oci_image("new", &[layer(2)]));
    let deleted = revision_link("a", old.digest());
    let tree = registry().stray_blob(&garbage()).repo("a").pushed(&old).tag("v1").pushed(&new).tag("v1").with(|tree| {
        tree.delete_manifest("a", old.digest());
    });
    let tree = tree.into_tree();
    let mut names: Vec<String> = links("a", &old).into_iter().filter(|link| *link != deleted).collect();
    names.extend([layout::parent(&deleted).to_owned(), tag_history("a", "v1", old.digest())]);
    for flags in BOTH {
        collect(&tree, flags, 0).lost(&garbage_and(&old), names.clone());
    }
}
