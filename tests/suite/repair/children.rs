//! Platforms of an index: one that was never copied is none that was lost, and one that was there is.

use super::*;
use crate::support::layout::{blob_data, blob_directory, parent};

fn child() -> Image {
    platforms().children[1].clone()
}

/// The platform is in an index of one repository, by itself in another, and an index of an index in a third.
fn shared() -> Registry {
    store().repo("other").pushed(&child()).repo("third").pushed(&index(&[platforms()])).tag("all")
}

fn from(root: &Path, words: &[&str], mirror: &Path) -> Outcome {
    repair(root, words).arg("--from").arg(mirror).json().run()
}

#[test]
fn a_damaged_platform_gets_its_link_in_the_same_run() {
    let mirror = shared().on_disk();
    let whole = expected(&shared().into_tree());
    for (bytes, lacking) in [("", &[REPOSITORY][..]), ("{", &["third"]), ("{}", &[REPOSITORY, "third"])] {
        let mut tree = shared().into_tree();
        tree.file(blob_data(child().digest()), bytes);
        for name in lacking {
            tree.remove(&revision_link(name, child().digest()));
        }
        let root = tree.on_disk();
        let damaged = contents(root.path());
        let dry = from(root.path(), &["--dry-run"], mirror.path()).expect_code(0).report();
        assert_eq!(contents(root.path()), damaged, "{lacking:?}");
        let outcome = from(root.path(), &[], mirror.path()).expect_code(0);
        let report = outcome.report();
        assert_eq!((&report["blobs"], &report["links"]), (&dry["blobs"], &dry["links"]), "{lacking:?}");
        assert_eq!(links(&outcome).len(), lacking.len(), "{lacking:?}: {}", outcome.stdout);
        assert_eq!(report["links"][0]["code"], "lost-child", "{lacking:?}");
        assert_eq!(contents(root.path()), whole, "{lacking:?}");
        let again = from(root.path(), &[], mirror.path()).expect_code(0).report();
        assert_eq!((&again["blobs"], &again["links"]), (&serde_json::json!([]), &serde_json::json!([])), "{lacking:?}");
    }
}

/// What a tag names is no platform.
#[test]
fn a_damaged_manifest_of_a_tag_gets_the_link_of_its_revision() {
    let mirror = shared().on_disk();
    let mut tree = shared().into_tree();
    tree.file(blob_data(two().digest()), "{").remove(&revision_link(REPOSITORY, two().digest()));
    let root = tree.on_disk();
    let report = from(root.path(), &[], mirror.path()).expect_code(0).report();
    assert_eq!((&report["links"][0]["code"], report["links"].as_array().map(Vec::len)), (&"lost-revision".into(), Some(1)));
    assert_eq!(contents(root.path()), expected(&shared().into_tree()));
}

/// The link of its revision says that it was there.
#[test]
fn a_platform_with_a_revision_link_was_lost() {
    let (mirror, whole) = (shared().on_disk(), expected(&shared().into_tree()));
    let lost = || {
        let mut tree = shared().into_tree();
        tree.remove(&blob_directory(child().digest()));
        tree
    };
    let sparse = lost().on_disk();
    let said = |outcome: &Outcome, why: &str| {
        let [finding] = &outcome.findings()[..] else { panic!("one: {}", outcome.stdout) };
        assert_eq!((&*finding.code, finding.digest.as_deref()), ("missing-manifest", Some(child().digest())));
        assert!(finding.message.contains(why), "{}", outcome.stdout);
    };
    let root = lost().on_disk();
    said(&repair(root.path(), &[]).json().run().expect_code(1), "have to come from a push");
    said(&from(root.path(), &[], sparse.path()).expect_code(1), "does not have it either");
    from(root.path(), &[], mirror.path()).expect_code(0);
    assert_eq!(contents(root.path()), whole);

    // Each repository by itself: one that has no link may never have had it, or it was deleted there.
    let mut tree = lost();
    tree.remove(&layout_of(REPOSITORY)).delete_manifest("third", child().digest());
    let root = tree.on_disk();
    for (name, code) in [(REPOSITORY, 0), ("third", 0), ("other", 1)] {
        repair(root.path(), &[name]).run().expect_code(code);
        let words = if code == 0 { "nothing to mend" } else { "missing-manifest" };
        let text = repair(root.path(), &[name]).run().stdout;
        assert!(text.contains(words), "{name}: {text}");
    }
}

/// The directory of the platform's revision.
fn layout_of(repository: &str) -> String {
    parent(&revision_link(repository, child().digest())).to_owned()
}
