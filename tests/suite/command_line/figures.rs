//! What the figures promise: shares, what `--delete-untagged` would add, ages, limits; and that neither threads nor flags change them.

use std::collections::BTreeMap;

use super::*;

/// Old through and through: images that share layers across repositories, an untagged one here that a tag names there, an untagged
/// index, a referrer, a sparse copy, an overwritten tag, and garbage.
fn old() -> Tree {
    let shared = oci_image("shared", &[layer(1), layer(2)]);
    let children = [oci_image("amd64", &[layer(3)]), oci_image("arm64", &[layer(3), layer(4)])];
    let untagged = index(&children);
    let signature = artifact_manifest("signature", &[layer(5)]);
    registry()
        .stray_blob(&layer(900))
        .repo("a")
        .pushed(&shared)
        .tag("v1")
        .image("replaced", &[layer(1), layer(6)])
        .tag("latest")
        .image("replacing", &[layer(1), layer(7)])
        .tag("latest")
        .pushed(&untagged)
        .upload_layer(&layer(8))
        .repo("b")
        .pushed(&shared)
        .pushed(&signature.referring_to(&shared))
        .image("alone", &[layer(9)])
        .repo("c/d")
        .pushed(&children[1])
        .tag("arm")
        .into_tree()
}

#[test]
fn what_delete_untagged_would_add_is_what_it_frees() {
    let root = old().on_disk();
    let without = document(&Regsweep::gc(root.path()).dry().json().run().expect_code(0));
    let with = document(&Regsweep::gc(root.path()).dry().delete_untagged().json().run().expect_code(0));
    let more = without.reclaimable_delete_untagged.expect("asked without the flag");
    assert_eq!(more.blobs, with.reclaimable.blobs - without.reclaimable.blobs);
    assert_eq!(more.bytes, with.reclaimable.bytes - without.reclaimable.bytes);
    // The replaced image, the index, its amd64 child without the layer that the other shares, the signature, the untagged one of b.
    assert_eq!(more.blobs, 3 + 1 + 2 + 2 + 3);
    let text = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    assert!(text.contains("--delete-untagged would free up to 11 blobs"), "{text}");

    // Promised, then done: the disk agrees.
    let bytes = |root: &Path| snapshot::blobs_on_disk(root).values().sum::<u64>();
    let before = bytes(root.path());
    let done = document(&Regsweep::gc(root.path()).delete_untagged().json().run().expect_code(0));
    assert_eq!(done.removed, with.reclaimable);
    assert_eq!(before - bytes(root.path()), with.reclaimable.bytes);
    let text = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    assert!(text.contains("--delete-untagged would free nothing in addition"), "{text}");
    assert!(text.trim_end().ends_with("DRY RUN, nothing was removed: there is nothing to remove"), "{text}");
}

#[test]
fn each_repository_has_its_share() {
    let tree = old();
    let root = tree.on_disk();
    let size = |numbers: &[u64]| numbers.iter().map(|&number| layer(number).bytes.len() as u64).sum::<u64>();
    let ran = Regsweep::gc(root.path()).dry().json().run().expect_code(0);
    let report = document(&ran);
    assert_eq!(
        report.repositories,
        [Share { repository: "a".into(), blobs: 1, bytes: size(&[8]), revisions: 0, layer_links: 1 }],
        "what nobody linked belongs to nobody"
    );
    let ran = Regsweep::gc(root.path()).dry().delete_untagged().json().run().expect_code(0);
    let mut linked: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let rows = ran.rows();
    let blobs = ran.blobs();
    let mut sizes: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| ["revision", "layer-link"].contains(&row.kind.as_str())) {
        let (repository, digest) = (row.repository.clone().expect("named"), row.digest.clone().expect("named"));
        if blobs.contains(&digest) {
            let bytes = tree.bytes(&layout::blob_data(&digest)).expect("stored").len() as u64;
            sizes.insert((repository, digest), bytes);
        }
    }
    for ((repository, _), bytes) in sizes {
        let share = linked.entry(repository).or_default();
        *share = (share.0 + 1, share.1 + bytes);
    }
    let reported: BTreeMap<String, (u64, u64)> =
        document(&ran).repositories.into_iter().map(|share| (share.repository, (share.blobs, share.bytes))).collect();
    assert_eq!(reported, linked);

    // The largest first.
    let text = Regsweep::gc(root.path()).dry().delete_untagged().run().expect_code(0).stdout;
    let shares: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("largest reclaimable")).skip(1).collect();
    let names: Vec<&str> = shares.iter().map_while(|line| line.strip_prefix("  ")?.split_whitespace().last()).collect();
    let mut expected: Vec<_> = linked.iter().collect();
    expected.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
    assert_eq!(names, expected.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{text}");
}

#[test]
fn the_plan_is_the_same_for_any_number_of_threads() {
    let root = old().on_disk();
    let plan = |jobs: &str| Regsweep::gc(root.path()).dry().delete_untagged().args(["--jobs", jobs]).run().expect_code(0).plan;
    let one = plan("1");
    assert!(one.as_ref().is_some_and(|plan| plan.lines().count() > 20));
    for jobs in ["2", "16", "64", "1024"] {
        assert_eq!(plan(jobs), one, "{jobs}");
    }
    let done = Regsweep::gc(root.path()).delete_untagged().args(["--jobs", "1"]).run().expect_code(0);
    assert_eq!(done.plan, one);
    assert_eq!(Regsweep::gc(root.path()).delete_untagged().run().expect_code(0).plan.as_deref(), Some(""));
}

#[test]
fn an_hour_is_the_age_by_default() {
    let mut tree = registry().repo("a").image("x", &[layer(1)]).tag("v1").into_tree();
    tree.aged(minutes(59)).blob(&layer(2)).aged(minutes(61)).blob(&layer(3));
    let root = tree.on_disk();
    let dry = Regsweep::gc(root.path()).dry().json().run().expect_code(0);
    assert_eq!(dry.blobs(), [layer(3).digest].into());
    assert_eq!((document(&dry).min_age_seconds, document(&dry).young.blobs), (3600.0, 1));
    let text = Regsweep::gc(root.path()).dry().run().expect_code(0).stdout;
    assert!(text.contains("young         1 blob (8 B), kept only for being young until 2"), "{text}");
    for (age, blobs) in [("0", 2), ("0s", 2), ("58m", 2), ("1h", 1), ("62m", 0), ("2 weeks", 0), ("99999999h", 0)] {
        let ran = Regsweep::gc(root.path()).dry().args(["--min-age", age]).run().expect_code(0);
        assert_eq!(ran.blobs().len(), blobs, "{age}");
    }

    // A registry that takes no pushes has nothing young. Nothing listens on port 1.
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let root_directory = root.path().display();
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {root_directory}}}\n  cache: {{blobdescriptor: inmemory}}\n  \
         maintenance: {{readonly: {{enabled: true}}}}\nhttp: {{addr: \"127.0.0.1:1\"}}\n"
    );
    fs::write(&config, text).expect("written");
    let ran = Regsweep::gc_config(&config).json().run().expect_code(0);
    let report = document(&ran);
    assert_eq!((report.min_age_seconds, report.removed.blobs, report.registry_must_restart), (0.0, 2, true));
    let registry = report.registry.expect("the configuration was read");
    assert_eq!((registry.read_only, registry.descriptor_cache.as_deref()), (true, Some("inmemory")));
    let ran = Regsweep::gc_config(&config).run().expect_code(0);
    assert!(!ran.stdout.contains("restart"), "nothing went: {}", ran.stdout);
}

#[test]
fn max_reclaim_allows_exactly_as_much_as_it_says() {
    let root = registry().repo("a").image("x", &[layer(1)]).tag("v1").stray_blob(&layer(5)).into_tree().on_disk();
    let bytes = layer(5).bytes.len();
    for (limit, code) in [(bytes - 1, 2), (bytes, 0)] {
        Regsweep::gc(root.path()).dry().args(["--max-reclaim", &format!("{limit}B")]).run().expect_code(code);
        Regsweep::gc(root.path()).dry().args(["--max-reclaim", &limit.to_string()]).run().expect_code(code);
    }
    let stopped = Regsweep::gc(root.path()).args(["--max-reclaim", "0%"]).run().expect_code(2);
    assert!(stopped.stdout.is_empty() && stopped.plan.is_none());
    assert!(stopped.stderr.contains(&format!("{bytes} B of ")), "{}", stopped.stderr);
    assert!(snapshot::blobs_on_disk(root.path()).contains_key(&layer(5).digest));
    Regsweep::gc(root.path()).args(["--max-reclaim", &format!("{bytes}B")]).run().expect_code(0);
    assert!(!snapshot::blobs_on_disk(root.path()).contains_key(&layer(5).digest));
}

/// The registry takes a manifest whatever sizes it states: they must not decide how much may go.
#[test]
fn max_reclaim_is_a_share_of_what_is_stored_and_not_of_what_manifests_state() {
    let image = oci_image("x", &[layer(1)]).edit(|json| json["layers"][0]["size"] = serde_json::json!(99_999_999_999_u64));
    let tree = registry().repo("a").pushed(&image).tag("v1").stray_blob(&Content::new(vec![b'g'; 1_000_000])).into_tree();
    let root = tree.on_disk();
    let ran = Regsweep::gc(root.path()).dry().args(["--max-reclaim", "50%"]).run();
    assert_eq!(ran.code, Some(2), "nearly all that is stored would go:\n{}", ran.stdout);
}

/// Each figure that is printed is one that the document has.
#[test]
fn text_and_json_say_the_same() {
    let mut tree = old();
    tree.directory(layout::blob_directory(&layer(77).digest)).file(format!("{}/stray", layout::tags("a")), "x");
    let root = tree.on_disk();
    let report = document(&Regsweep::gc(root.path()).dry().delete_untagged().json().run().expect_code(0));
    let text = Regsweep::gc(root.path()).dry().delete_untagged().run().expect_code(0).stdout;
    let size = |bytes: u64| humansize::format_size(bytes, humansize::BINARY);
    let looked = &report.scanned;
    for fact in [
        format!("{} repositories, {} tags, {} revisions", looked.repositories, looked.tags, looked.revisions),
        format!("{} layer links, {} blobs ({})", looked.layer_links, looked.blobs, size(looked.bytes)),
        format!("live          {} blobs ({})", report.live.blobs, size(report.live.bytes)),
        format!("would free    {} blobs ({})", report.reclaimable.blobs, size(report.reclaimable.bytes)),
        format!("{} revisions, {} tag history entr", report.reclaimable.revisions, report.reclaimable.tag_history),
        format!("{} layer links", report.reclaimable.layer_links),
        format!("{} empty director", report.reclaimable.empty_directories),
        format!("findings: {} note", report.finding_counts["note"]),
        root.path().display().to_string(),
    ] {
        assert!(text.contains(&fact), "{fact:?} is not in:\n{text}");
    }
    for part in report.reclaimable.by_reason.iter().filter(|part| part.kind == "blob") {
        assert!(text.contains(&format!("({}): ", size(part.bytes))), "{part:?} is not in:\n{text}");
    }
    for share in report.repositories.iter().filter(|share| share.blobs > 0) {
        assert!(text.contains(&share.repository), "{share:?} is not in:\n{text}");
    }
    for finding in &report.findings {
        assert!(finding.next_step.is_some() && text.contains(&finding.code) && text.contains(&finding.message), "{finding:?}");
    }
    assert_eq!(report.reclaimable.bytes, report.reclaimable.by_reason.iter().map(|part| part.bytes).sum::<u64>());
}

/// What a registry at work leaves, and a collection beside one: directories whose data is gone.
#[test]
fn stored_is_what_has_data_in_every_command() {
    let metrics = tempfile::tempdir().expect("a directory");
    let metrics = metrics.path().join("regsweep.prom");
    for age in [days(30), minutes(1)] {
        let mut tree = old();
        let stored = tree.blobs().len() as u64;
        tree.aged(age);
        for number in 0..9 {
            tree.directory(layout::blob_directory(&layer(7700 + number).digest));
        }
        let root = tree.on_disk();
        let run = |words: &[&str]| Regsweep::new().args(words).arg("--root").arg(root.path()).json().run().expect_code(0);
        let number = |outcome: &Outcome, pointer: &str| outcome.report().pointer(pointer).and_then(serde_json::Value::as_u64);
        for flags in [&[][..], &["-m"], &["--quarantine"]] {
            let ran = run(&[&["garbage-collect", "-d", "--metrics", metrics.to_str().expect("UTF-8")], flags].concat());
            assert_eq!(number(&ran, "/scanned/blobs"), Some(stored), "{age:?} {flags:?}");
            let figures = metrics::samples(&fs::read_to_string(&metrics).expect("written"));
            assert_eq!(figures["regsweep_stored_blobs{command=\"garbage-collect\"}"], stored as f64);
        }
        assert_eq!(number(&run(&["audit"]), "/scanned/blobs"), Some(stored), "{age:?}");
        for part in [&[][..], &["--slice", "1/3"], &["--sample", "10%"], &["--repository", "b"]] {
            let ran = run(&[&["verify"], part].concat());
            assert_eq!(number(&ran, "/scanned/blobs"), Some(stored), "{age:?} {part:?}");
            if part.is_empty() {
                assert_eq!(number(&ran, "/selected/blobs"), Some(stored), "{age:?}");
            }
        }
    }
}
