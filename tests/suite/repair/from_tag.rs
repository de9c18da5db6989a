//! `--from` for a tag that is named: what it lost comes, and nothing else does.

use super::*;
use crate::support::layout::{blob_data, blob_directory, parent};

/// Nothing is left of the image but the history of its tag.
fn lose_all(tree: &mut Tree, image: &Image) {
    for digest in image.reaches() {
        tree.remove(&blob_directory(&digest));
    }
    for each in image.children.iter().chain([image]) {
        tree.remove(parent(&revision_link(REPOSITORY, each.digest())));
        each.blobs.iter().for_each(|blob| drop_link(tree, &blob.digest));
    }
}

fn drop_link(tree: &mut Tree, digest: &str) {
    tree.remove(parent(&layer_link(REPOSITORY, digest)));
}

fn from(root: &Path, words: &[&str], mirror: &Path) -> Regsweep {
    repair(root, words).arg("--from").arg(mirror)
}

#[test]
fn a_tag_that_is_named_comes_back_with_all_that_it_needs() {
    let mirror = store().on_disk();
    let named = format!("{REPOSITORY}:all");
    let damages: [fn(&mut Tree); 4] = [
        |tree| {
            tree.file(tag_current(REPOSITORY, "all"), "");
            lose_all(tree, &platforms());
        },
        |tree| {
            tree.remove(&tag_current(REPOSITORY, "all"));
            lose_all(tree, &platforms());
        },
        |tree| lose_all(tree, &platforms()),
        |tree| {
            tree.file(tag_current(REPOSITORY, "all"), "").file(blob_data(platforms().digest()), "{");
        },
    ];
    for (place, lose) in damages.iter().enumerate() {
        let mut tree = store().into_tree();
        lose(&mut tree);
        // Of another tag: left as it is.
        tree.remove(&blob_directory(&layer(3).digest));
        let root = tree.on_disk();
        let damaged = contents(root.path());
        let dry = from(root.path(), &["--dry-run", &named], mirror.path()).json().run().expect_code(0).report();
        assert_eq!(contents(root.path()), damaged, "{place}");
        let report = from(root.path(), &[&named], mirror.path()).json().run().expect_code(0).report();
        assert_eq!((&report["blobs"], &report["links"]), (&dry["blobs"], &dry["links"]), "{place}");
        let mut whole = expected(&store().into_tree());
        whole.remove(&blob_data(&layer(3).digest));
        assert_eq!(contents(root.path()), whole, "{place}");
        let again = from(root.path(), &[&named], mirror.path()).run().expect_code(0);
        assert!(again.stdout.contains("nothing to mend"), "{place}: {}", again.stdout);
    }
}

/// Each step leads on: the repository names the tag, the tag names the mirror, and the mirror mends it.
#[test]
fn each_refusal_names_what_leads_on() {
    let mirror = store().on_disk();
    let mut tree = store().into_tree();
    tree.file(tag_current(REPOSITORY, "all"), "");
    lose_all(&mut tree, &platforms());
    let root = tree.on_disk();
    let damaged = contents(root.path());
    let named = format!("{REPOSITORY}:all");
    let outcome = from(root.path(), &[], mirror.path()).run().expect_code(1);
    assert!(outcome.stdout.contains("only when it is named"), "{}", outcome.stdout);
    let outcome = repair(root.path(), &[&named]).run().expect_code(1);
    assert!(outcome.stdout.contains("is not stored; --from can bring it"), "{}", outcome.stdout);
    let without = store().with(|tree| lose_all(tree, &platforms())).on_disk();
    let outcome = from(root.path(), &[&named], without.path()).run().expect_code(1);
    assert!(outcome.stdout.contains("the store that --from names does not have it either"), "{}", outcome.stdout);
    assert_eq!(contents(root.path()), damaged);
    from(root.path(), &[&named], mirror.path()).run().expect_code(0);
    assert_eq!(contents(root.path()), expected(&store().into_tree()));
}
