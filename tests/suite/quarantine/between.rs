//! What slips between two rules: what one run leaves for the next, young things beside old ones, clocks of several machines, signals.

use std::process::Command;

use super::refusing::{DAY, due, gone, later, online, wait_for_run};
use super::*;
use crate::support::layout::{blob_data, layer_link, repository, revision_link};

/// `strace` that sends a signal at one call.
fn signalled(call: &str, signal: &str, when: u32) -> Vec<String> {
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(str::to_owned);
    let inject = format!("inject={call}:signal={signal}:when={when}");
    words.into_iter().chain([format!("trace={call}"), "-e".to_owned(), inject]).collect()
}

fn large() -> Image {
    let layers: Vec<_> = (200..214).map(layer).collect();
    oci_image("large", &layers)
}

/// A run was killed between links and blobs, its image was pushed again, and weeks later its repository is not mounted.
#[test]
fn what_is_linked_again_is_no_longer_what_we_unlinked() {
    if !has_strace() {
        return;
    }
    let kept = || registry().repo("a").image("kept", &[layer(1)]).tag("v1").repo("big");
    // Each link is one call, and one for its directory; some directories more, and the first blob is next.
    let around = 2 * large().blobs.len() as u32;
    let killed = (around..around + 20).find_map(|when| {
        let root = kept().pushed(&large()).deleted().on_disk();
        // Its manifest, which the registry has unlinked, is most of this store.
        let flags = ["-m", "--jobs", "1", "--allow-unlinked", "60%"];
        bare(root.path(), &flags).under(signalled("unlinkat", "KILL", when)).run();
        let is_there = |path: String| root.path().join(path).exists();
        let links = (200..214).any(|number| is_there(layer_link("big", &layer(number).digest)));
        let blobs = (200..214).all(|number| is_there(blob_data(&layer(number).digest)));
        (!links && blobs && is_there(".regsweep/sweep".to_owned())).then_some(root)
    });
    let killed = killed.expect("killed between links and blobs");
    // Whether a run in between looked at it or not.
    for is_seen_by_a_run in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        let copied = Command::new("cp").arg("-a").arg(killed.path().join(".")).arg(root.path()).status().expect("cp is here");
        assert!(copied.success());
        let root = root.path();
        let links = layout::repository("big");
        kept().pushed(&large()).tag("v1").into_tree().write_to(root);
        if is_seen_by_a_run {
            bare(root, &["-m"]).run().expect_code(0);
            assert!(!root.join(".regsweep/sweep").exists(), "nothing is left of it that could go");
        }
        gone(&root.join(links));
        let refused = bare(root, &["--allow-shrunk"]).run().expect_code(2);
        assert!(refused.stderr.contains("linked by no repository"), "{}", refused.stderr);
    }
}

/// The flag of its own lifts the brake for stores without tags, and no other has to.
#[test]
fn a_store_without_any_tag_is_not_answered_with_allow_empty() {
    let root = registry().repo("a").image("x", &[layer(1)]).repo("b").image("y", &[layer(2)]).on_disk();
    let refused = bare(root.path(), &["-m"]).run().expect_code(2);
    assert!(
        refused.stderr.contains("--allow-untagged-repositories") && !refused.stderr.contains("--allow-empty"),
        "{}",
        refused.stderr
    );
    bare(root.path(), &["-m", "--allow-untagged-repositories"]).run().expect_code(0);
}

/// Where `_manifests` is lost and `_layers` is not, every layer is still linked; so is what a registry on a lost mount was sent again.
#[test]
fn layers_without_any_manifest_do_not_make_a_store_whole() {
    let store = || {
        (0..10).fold(registry(), |store, name| {
            store.repo(&format!("r{name}")).image(&name.to_string(), &[layer(2 * name), layer(2 * name + 1)]).tag("v1")
        })
    };
    for is_whole_lost in [false, true] {
        let root = store().on_disk();
        let root = root.path();
        if is_whole_lost {
            gone(&root.join("docker/registry/v2/repositories"));
            let mut again = registry().repo("ci/base").into_tree();
            for number in 0..15 {
                again.layer("ci/base", &layer(number));
            }
            again.write_to(root);
        } else {
            (0..10).for_each(|name| gone(&root.join(repository(&format!("r{name}"))).join("_manifests")));
        }
        new_store().into_tree().write_to(root);
        for flags in [&[][..], &["-m"], &["--quarantine"]] {
            let refused = bare(root, flags).run().expect_code(2);
            assert!(refused.stderr.contains("linked by no repository that has a manifest"), "{}", refused.stderr);
        }
    }
    // Tags alone keep what they name: images without one are lost with their revisions.
    let untagged = (0..10).fold(store(), |store, name| {
        let layers: Vec<_> = (0..4).map(|layer_of| layer(100 + 4 * name + layer_of)).collect();
        store.repo(&format!("r{name}")).image(&format!("untagged{name}"), &layers)
    });
    let root = untagged.on_disk();
    (0..10).for_each(|name| gone(&root.path().join(repository(&format!("r{name}"))).join("_manifests/revisions")));
    let refused = bare(root.path(), &[]).run().expect_code(2);
    assert!(refused.stderr.contains("linked by no repository that has a manifest"), "{}", refused.stderr);
    // What the registry's own deletion leaves is no loss.
    let root = (0..10)
        .fold(new_store(), |store, name| store.repo(&format!("r{name}")).image(&name.to_string(), &[layer(name)]).deleted());
    bare(root.on_disk().path(), &["--allow-unlinked", "75%"]).run().expect_code(0);
}

fn new_store() -> Registry {
    registry().repo("new").image("new", &[layer(900)]).tag("v1")
}

/// Pushes go on into what is left of a store.
#[test]
fn new_repositories_do_not_make_up_for_missing_ones() {
    let old = |names: std::ops::Range<u64>| {
        names.fold(registry(), |store, name| store.repo(&format!("r{name}")).image(&name.to_string(), &[layer(name)]).tag("v1"))
    };
    let root = old(0..22).on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    for name in 0..18 {
        gone(&root.join(repository(&format!("r{name}"))));
    }
    old(100..130).young().into_tree().write_to(root);
    registry().stray_blob(&layer(9999)).into_tree().write_to(root);
    for run in [bare(root, &["-m", "--allow-unlinked", "100%"]).dry(), bare(root, &["-m", "--allow-unlinked", "100%"])] {
        let refused = run.run().expect_code(2);
        assert!(refused.stderr.contains("there are 4 repositories left of the 22"), "{}", refused.stderr);
    }
}

#[test]
fn a_purge_counts_only_the_repositories_that_were_there_before() {
    let root = due();
    let root = root.path();
    for name in ["b", "c", "d"] {
        gone(&root.join(repository(name)));
    }
    for name in ["x", "y", "z"] {
        registry().young().repo(name).image(name, &[layer(1)]).tag("v1").into_tree().write_to(root);
    }
    let purge = Regsweep::new().args(["quarantine", "purge", "--root"]).arg(root);
    let refused = purge.run().expect_code(2);
    assert!(refused.stderr.contains("1 repositories left of the 4"), "{}", refused.stderr);
}

#[test]
fn what_a_run_quarantines_is_purged_by_a_later_one() {
    let root = due();
    let root = root.path();
    let flags = ["-m", "--quarantine-for", "0s"];
    let dry = collect(root, &[&flags[..], &["--dry-run"]].concat()).expect_code(0);
    let real = collect(root, &flags).expect_code(0);
    assert_eq!(moved(&dry, "purged"), moved(&real, "purged"));
    assert_ne!(moved(&real, "purged"), Moved::default(), "what was there before");
    assert_eq!(list(root).runs.len(), 1, "and what is there now waits for the next");
    let next = collect(root, &flags).expect_code(0);
    assert_ne!(moved(&next, "purged"), Moved::default());
}

#[test]
fn a_restoration_that_leaves_links_behind_is_a_finding() {
    if !has_strace() {
        return;
    }
    for when in 2..=4 {
        let root = store().on_disk();
        let root = root.path();
        let quarantine = || Regsweep::gc(root).args(["-m", "--quarantine", "--jobs", "1"]);
        quarantine().under(signalled("renameat2", "KILL", when)).run();
        quarantine().run().expect_code(0);
        let back = command(root, &["restore"]);
        let pulls = root.join(revision_link("team/app", untagged().digest())).exists()
            && untagged().reaches().iter().all(|digest| root.join(blob_data(digest)).exists());
        assert_eq!(back.code, Some(if pulls { 0 } else { 1 }), "{when}: {}", back.stdout);
        if !pulls {
            assert!(back.stdout.contains("restore --all"), "{}", back.stdout);
            command(root, &["restore", "--all"]).expect_code(0);
        }
        assert!(root.join(revision_link("team/app", untagged().digest())).exists());
    }
}

#[test]
fn what_is_restored_and_is_not_whole_is_a_finding() {
    let root = store().on_disk();
    let root = root.path();
    let data = root.join(blob_data(&layer(1).digest));
    let whole = fs::read(&data).expect("there");
    fs::write(&data, "damaged").expect("ours");
    let verify = Regsweep::new().args(["verify", "--quarantine", "--min-age", "0s", "--root"]).arg(root);
    verify.run().expect_code(1);
    assert!(!data.exists());
    let back = command(root, &["restore"]).expect_code(1);
    assert!(report(&back).findings.iter().any(|finding| finding.code == "corrupt-blob"), "{}", back.stdout);
    fs::write(&data, whole).expect("ours");
    // Written to in quarantine, or emptied.
    for damage in ["", "written to in quarantine"] {
        collect(root, &["-m"]).expect_code(0);
        let aside = only_run(root).join(blob_data(&layer(3).digest).strip_prefix("docker/registry/v2/").expect("below it"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&aside, damage).expect("ours");
        let back = command(root, &["restore"]).expect_code(1);
        assert!(report(&back).findings.iter().any(|finding| finding.code == "corrupt-blob"), "{}", back.stdout);
        fs::write(root.join(blob_data(&layer(3).digest)), &layer(3).bytes).expect("ours");
        age_all(root);
    }
}

/// Makes everything old, and forgets what was restored.
fn age_all(root: &Path) {
    let then = std::time::SystemTime::now() - hours(2);
    for entry in walkdir::WalkDir::new(root.join("docker")) {
        fs::File::open(entry.expect("listable").path()).and_then(|file| file.set_modified(then)).expect("ours");
    }
    fs::remove_file(root.join(".regsweep/restored.json")).expect("there");
}

/// What one machine notes by a clock that nothing vouches for, another does not count by.
#[test]
fn a_wait_counts_across_machines_only_if_both_clocks_are_vouched_for() {
    for (first, second, third) in [
        ("shift=90000,boot=a,trusted=yes", "shift=0,boot=b,trusted=no", "shift=90010,boot=c,trusted=yes"),
        ("shift=0,boot=a,trusted=no", "shift=0,boot=a,trusted=no", "shift=90000,boot=b,trusted=yes"),
    ] {
        let root = store().on_disk();
        let root = root.path();
        let run = |clock: &str| Regsweep::gc(root).args(["-m", "--quarantine"]).env("REGSWEEP_TEST_CLOCK", clock).json().run();
        run(first).expect_code(0);
        run(second).expect_code(0);
        let last = run(third).expect_code(0);
        assert_eq!(moved(&last, "purged"), Moved::default(), "{first}, {second}, {third}");
    }
}

#[test]
fn what_is_restored_is_young_even_if_the_restoration_is_killed() {
    if !has_strace() {
        return;
    }
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    let restore = Regsweep::new().args(["restore", "--root"]).arg(root);
    restore.under(signalled("renameat2", "KILL", 4)).run();
    Regsweep::new().args(["restore", "--all", "--root"]).arg(root).under(signalled("syncfs", "KILL", 1)).run();
    restored(root);
    Regsweep::gc(root).arg("-m").run().expect_code(0);
    assert!(untagged().reaches().iter().all(|digest| root.join(blob_data(digest)).exists()), "it has just come back");
}

#[test]
fn where_no_clock_dates_a_restoration_it_is_young_once_more() {
    let root = store().on_disk();
    let root = root.path();
    collect(root, &["-m"]).expect_code(0);
    restored(root);
    let run = |hours: u64| {
        let clock = format!("shift={},boot=other,trusted=no", hours * 3600);
        Regsweep::gc(root).args(["-m", "--min-age", "24h"]).env("REGSWEEP_TEST_CLOCK", clock).run().expect_code(0)
    };
    let is_there = || root.join(blob_data(untagged().digest())).exists();
    run(25);
    assert!(is_there());
    run(48);
    assert!(is_there(), "23 hours after the first look of this boot");
    run(50);
    assert!(!is_there());
}

#[test]
fn a_signal_while_things_are_purged_is_said() {
    if !has_strace() {
        return;
    }
    let mut store = registry().repo("a").image("kept", &[layer(1)]).tag("v1");
    for number in 100..130 {
        store = store.stray_blob(&layer(number));
    }
    let root = store.on_disk();
    let root = root.path();
    collect(root, &[]).expect_code(0);
    let purge = later(Regsweep::gc(root).args(["--quarantine", "--jobs", "1"]), DAY, "").json();
    let ran = purge.under(signalled("unlinkat", "INT", 9)).run().expect_code(130);
    assert_eq!(ran.report()["outcome"], "interrupted");
    assert_ne!(list(root).runs, [], "and not all of it is gone");
    // Links go first: what is left and comes back is not all that there was.
    let back = command(root, &["restore", "--all"]).expect_code(1);
    assert!(back.stdout.contains("A purge of run"), "{}", back.stdout);
}

/// A run was cut off while it quarantined, everything was restored, and then a part of the store is not mounted.
#[test]
fn what_is_restored_is_no_longer_what_we_unlinked() {
    if !has_strace() {
        return;
    }
    let root = registry().repo("a").image("kept", &[layer(1)]).tag("v1").repo("big").pushed(&large()).on_disk();
    let root = root.path();
    let flags = ["-m", "--quarantine", "--jobs", "1", "--allow-untagged-repositories", "--allow-unlinked", "60%"];
    let cut_off = bare(root, &flags).under(signalled("renameat2", "INT", 18)).run();
    assert!(root.join(".regsweep/sweep").exists(), "{cut_off:?}");
    command(root, &["restore", "--all"]).expect_code(0);
    gone(&root.join(repository("big")));
    let refused = later(bare(root, &["--allow-shrunk"]), 7200, "").run().expect_code(2);
    assert!(refused.stderr.contains("linked by no repository"), "{}", refused.stderr);
}

/// A terminal that closes sends its signal more than once.
#[test]
fn two_signals_of_two_kinds_end_in_a_report() {
    let root = store().on_disk();
    for signals in [["-TERM", "-HUP"], ["-HUP", "-HUP"]] {
        let (run, _config) = online(root.path(), &["--rescue-for", "20s", "--format", "json"]);
        let run = run.start();
        wait_for_run(root.path());
        for signal in signals {
            Command::new("kill").args([signal, &run.child.id().to_string()]).status().expect("kill is there");
        }
        let ended = run.wait().expect_code(130);
        assert_eq!(ended.report()["outcome"], "interrupted");
        restored(root.path());
        let _nothing_restored = fs::remove_file(root.path().join(".regsweep/restored.json"));
    }
}

#[test]
fn figures_that_cannot_be_written_are_refused_before_anything_is_changed() {
    let root = due();
    let root = root.path();
    let before = all_files(root);
    let link = tempfile::tempdir().expect("a directory");
    for target in [link.path().to_str().expect("UTF-8"), "/dev/full", "/proc/regsweep.prom", "/sys/regsweep.prom"] {
        for words in [
            &["garbage-collect", "-m"][..],
            &["garbage-collect", "-m", "--quarantine"],
            &["quarantine", "purge"],
            &["restore"],
            &["verify", "--quarantine"],
        ] {
            let run = Regsweep::new().args(words).args(["--metrics", target, "--root"]).arg(root).run();
            assert_eq!(run.code, Some(2), "{words:?} {target}: {}", run.stderr);
            assert!(run.stderr.contains("--metrics"), "{}", run.stderr);
        }
    }
    assert_eq!(all_files(root), before);
}

#[test]
fn a_dry_run_says_that_blobs_are_on_another_filesystem() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root mounts");
        return;
    }
    let root = store().on_disk();
    let blobs = root.path().join("docker/registry/v2/blobs");
    let mount = format!(
        "cp -a '{0}' '{0}.copy' && mount -t tmpfs none '{0}' && cp -a '{0}.copy/.' '{0}' && exec \"$0\" \"$@\"",
        blobs.display()
    );
    for dry in [true, false] {
        let run = Regsweep::gc(root.path()).args(["-m", "--quarantine", "--allow-shared-blobs"]);
        let run = if dry { run.dry() } else { run };
        let refused = run.under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
        assert!(refused.stderr.contains("is on another filesystem"), "{dry}: {}", refused.stderr);
        fs::remove_dir_all(blobs.with_extension("copy")).expect("made");
    }
}

#[test]
fn a_run_of_verify_is_not_purged_from_half_a_store_either() {
    let root = due();
    let root = root.path();
    fs::write(root.join(blob_data(&layer(1).digest)), "damaged").expect("ours");
    Regsweep::new().args(["verify", "--quarantine", "--min-age", "0s", "--root"]).arg(root).run().expect_code(1);
    let id = list(root).runs.into_iter().find(|run| run.purpose == "verify").expect("quarantined").run;
    for name in ["b", "c", "d"] {
        gone(&root.join(repository(name)));
    }
    let refused = command(root, &["quarantine", "purge", "--run", &id, "--assume-offline"]).expect_code(2);
    assert!(refused.stderr.contains("--allow-shrunk"), "{}", refused.stderr);
}

#[test]
fn that_it_is_empty_is_right_says_nothing_of_what_is_not_mounted() {
    let root = due();
    let root = root.path();
    let summary = root.join(".regsweep/summary.json");
    let mut text: Value = serde_json::from_slice(&fs::read(&summary).expect("there")).expect("JSON");
    text["mounts"] = serde_json::json!(["docker/registry/v2/repositories"]);
    fs::write(&summary, text.to_string()).expect("ours");
    gone(&root.join("docker/registry/v2/repositories"));
    fs::create_dir(root.join("docker/registry/v2/repositories")).expect("made");
    for words in [&["garbage-collect", "--allow-unlinked", "100%"][..], &["quarantine", "purge"]] {
        let run = Regsweep::new().args(words).args(["--allow-empty", "--root"]).arg(root).run().expect_code(2);
        assert!(run.stderr.contains("was mounted in the store"), "{words:?}: {}", run.stderr);
    }
    assert!(!root.join(layer_link("b", &layer(1).digest)).exists());
}
