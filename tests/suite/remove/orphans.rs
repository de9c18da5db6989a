//! `garbage-collect --orphaned-referrers`: signatures and the like whose image is gone.

use super::*;
use crate::support::layout::{blob_data, revision_link};

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
