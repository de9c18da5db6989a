//! `garbage-collect --orphaned-referrers`: signatures and the like whose image is gone.

use std::fs;

use super::*;
use crate::support::layout::{blob_data, layer_link, revision_link, tag_current};

fn subject() -> Image {
    oci_image("subject", &[layer(20)])
}

fn cosign(image: &Image, suffix: &str) -> String {
    format!("{}{suffix}", image.digest().replace(':', "-"))
}

/// Everything that refers to an image, or is named after it: by reference, by tag and by a list of referrers.
fn referrers() -> [Image; 5] {
    let plain = |name: &str, number| oci_image(name, &[layer(number)]);
    let attached = plain("attached", 21).referring_to(&subject());
    let of_attached = plain("of attached", 22).referring_to(&attached);
    let listed = plain("listed", 23).referring_to(&subject());
    [attached, of_attached, listed.clone(), plain("signature", 24), index(&[listed])]
}

/// A repository with these and, if `with_subject`, what they refer to.
fn built(with_subject: bool) -> Registry {
    let [attached, of_attached, _, signature, list] = referrers();
    let mut built = registry().repo("team/app").pushed(&image(1)).tag("v1");
    if with_subject {
        built = built.pushed(&subject()).tag("subject");
    }
    built = built.pushed(&attached).pushed(&of_attached).pushed(&signature).tag(&cosign(&subject(), ".sig"));
    built = built.pushed(&list).tag(&cosign(&subject(), ""));
    // Called like a list of referrers, and none; a referrer with a tag of its own; and a signature of what another repository has.
    built = built.pushed(&image(5)).tag(&cosign(&image(40), ""));
    built = built.pushed(&oci_image("own tag", &[layer(25)]).referring_to(&image(41))).tag("sbom");
    built = built.pushed(&image(6)).tag(&cosign(&image(2), ".sig"));
    built.pushed(&oci_image("untagged", &[layer(7)])).repo("elsewhere").pushed(&image(2)).tag("v1")
}

fn there(root: &Path) -> [bool; 5] {
    referrers().map(|image| {
        root.join(revision_link("team/app", image.digest())).exists() && root.join(blob_data(image.digest())).exists()
    })
}

#[test]
fn what_refers_to_nothing_goes_and_all_else_stays() {
    for flags in [&[][..], &["-m"], &["--quarantine"]] {
        let root = built(false).into_tree().on_disk();
        let kept: Vec<String> = [image(1), image(2), image(5), image(6)].iter().flat_map(Image::reaches).collect();
        let run = || Regsweep::gc(root.path()).args(flags).arg("--orphaned-referrers");
        let foreseen = run().dry().run().expect_code(0);
        assert_eq!(there(root.path()), [true; 5]);
        let done = run().run().expect_code(0);
        assert_eq!(done.rows(), foreseen.rows(), "{flags:?}");
        assert_eq!(there(root.path()), [false; 5], "{flags:?}: {}", done.stdout);
        assert!(done.stdout.contains("of referrers whose subject is gone"), "{}", done.stdout);
        let left = listed(root.path(), "team/app");
        assert_eq!(left, names(&["v1", &cosign(&image(40), ""), "sbom", &cosign(&image(2), ".sig")]), "{flags:?}");
        assert!(kept.iter().all(|digest| root.path().join(blob_data(digest)).exists()), "{flags:?}");
        let untagged = oci_image("untagged", &[layer(7)]);
        assert_eq!(root.path().join(blob_data(untagged.digest())).exists(), !flags.contains(&"-m"), "{flags:?}");
        Regsweep::gc(root.path()).args(flags).arg("--orphaned-referrers").run().expect_code(0);
    }
}

#[test]
fn what_refers_to_something_stays() {
    for flags in [&[][..], &["-m"]] {
        let root = built(true).into_tree().on_disk();
        Regsweep::gc(root.path()).args(flags).arg("--orphaned-referrers").run().expect_code(0);
        assert_eq!(there(root.path()), [true; 5], "{flags:?}");
    }
    // Nor does it go without the flag, or in its first hour: it may be pushed before its subject.
    let root = built(false).into_tree().on_disk();
    Regsweep::gc(root.path()).run().expect_code(0);
    assert_eq!(there(root.path()), [true; 5]);
    let root = built(false).young().into_tree().on_disk();
    Regsweep::gc(root.path()).arg("--orphaned-referrers").args(["--min-age", "3650d"]).run();
    assert_eq!(there(root.path()), [true; 5]);
}

/// The rows of what goes with them, as `--plan-out` writes them.
fn planned(root: &Path, flags: &[&str]) -> Vec<String> {
    let dry = Regsweep::gc(root).arg("--orphaned-referrers").args(flags).dry().run().expect_code(0);
    dry.plan.expect("a plan").split_inclusive('\n').map(str::to_owned).collect()
}

fn carry(root: &Path, flags: &[&str], rows: &[String]) -> Outcome {
    let plan = tempfile::NamedTempFile::new().expect("a file");
    fs::write(plan.path(), rows.concat()).expect("written");
    Regsweep::gc(root).args(flags).arg("--plan").arg(plan.path()).json().run()
}

/// What is left of referrers can be pulled: tags lead to revisions, and these to all that they need. Says whether anything is left.
fn is_left_whole(root: &Path, at: &str) -> bool {
    let tags = [(cosign(&subject(), ".sig"), 3), (cosign(&subject(), ""), 4)];
    let [left, tagged] = [
        there(root),
        [0, 1, 2, 3, 4]
            .map(|place| tags.iter().any(|(tag, of)| *of == place && root.join(tag_current("team/app", tag)).exists())),
    ];
    for (place, image) in referrers().iter().enumerate() {
        assert!(left[place] || !tagged[place], "a tag leads to nothing: {at}");
        if root.join(revision_link("team/app", image.digest())).exists() {
            let has_all = image.blobs.iter().all(|blob| {
                root.join(layer_link("team/app", &blob.digest)).exists() && root.join(blob_data(&blob.digest)).exists()
            });
            assert!(left[place] && has_all, "{place}: {at}");
        }
    }
    left.contains(&true)
}

#[test]
fn a_plan_of_them_is_carried_out_with_their_flag() {
    for flags in [&[][..], &["-m"], &["--quarantine"]] {
        let root = built(false).into_tree().on_disk();
        let rows = planned(root.path(), flags);
        let before = snapshot(&root.path().join("docker"));
        let refused = carry(root.path(), flags, &rows).expect_code(2);
        assert!(refused.stderr.contains("rows that --orphaned-referrers wrote: give that flag as well"), "{}", refused.stderr);
        assert_eq!(snapshot(&root.path().join("docker")), before);
        let done = carry(root.path(), &[flags, &["--orphaned-referrers"]].concat(), &rows).expect_code(0);
        assert_eq!(done.report()["plan"], serde_json::json!({"rows": rows.len(), "skipped": 0, "first_skipped": []}));
        assert_eq!(there(root.path()), [false; 5], "{flags:?}");
    }
}

/// Whatever somebody takes out of the plan, and whatever was written again since.
#[test]
fn what_of_them_is_not_in_a_plan_stays_whole() {
    let whole = built(false).into_tree();
    let rows = planned(whole.on_disk().path(), &[]);
    assert!(rows.len() > 15, "{rows:?}");
    let mut left = 0;
    for taken in 0..rows.len() {
        let root = whole.on_disk();
        let rest = [&rows[..taken], &rows[taken + 1..]].concat();
        carry(root.path(), &["--orphaned-referrers"], &rest).expect_code(0);
        left += u32::from(is_left_whole(root.path(), &rows[taken]));
    }
    assert!(left > 5, "{left}");
    for tag in [cosign(&subject(), ".sig"), cosign(&subject(), "")] {
        let root = whole.on_disk();
        let again = std::time::SystemTime::now() - days(20);
        let current = fs::File::options().append(true).open(root.path().join(tag_current("team/app", &tag))).expect("there");
        current.set_modified(again).expect("ours");
        drop(current);
        let done = carry(root.path(), &["--orphaned-referrers"], &rows).expect_code(0);
        assert!(
            is_left_whole(root.path(), &tag) && done.report()["plan"]["skipped"].as_u64() > Some(0),
            "{tag}: {}",
            done.stdout
        );
        assert!(root.path().join(tag_current("team/app", &tag)).exists(), "{tag}");
    }
}

/// Their rules and names are not in it.
#[test]
fn a_plan_of_another_command_is_refused() {
    let policy = tempfile::NamedTempFile::new().expect("a file");
    fs::write(policy.path(), "[[rule]]\nrepositories = ['**']\nkeep-newest = 1\nby = 'version'\n").expect("written");
    let policy = policy.path().to_str().expect("text");
    for words in [&["expire", "--policy", policy][..], &["remove", "team/app:v1"]] {
        let root = store().into_tree().on_disk();
        let out = tempfile::NamedTempFile::new().expect("a file");
        let run = Regsweep::new().args(words).args(["--dry-run", "--assume-offline", "--ignore-birth-time", "--plan-out"]);
        let dry = run.arg(out.path()).arg("--root").arg(root.path()).run().expect_code(0);
        let rows = fs::read_to_string(out.path()).expect("written").split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        assert!(rows.iter().any(|row| row.contains("tag-dropped")), "{rows:?} {}", dry.stdout);
        let before = snapshot(&root.path().join("docker"));
        for flags in [&[][..], &["-m"], &["-m", "--dry-run"]] {
            let refused = carry(root.path(), flags, &rows).expect_code(2);
            let said = "of tags, which `expire` or `remove` wrote: give that command again, without --plan";
            assert!(refused.stderr.contains(said), "{words:?}: {}", refused.stderr);
        }
        assert_eq!(snapshot(&root.path().join("docker")), before);
    }
}
