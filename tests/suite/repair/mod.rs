//! `repair`: links whose place says their content are made again, and nothing else is.

mod bytes;
mod children;
mod cut_off;
mod from;
mod from_tag;
mod hostile;
mod mended;
mod real;
mod sizes;
mod unmended;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::layout::{layer_link, revision_link, tag_current, tag_history};
use crate::support::*;

const REPOSITORY: &str = "team/app";

fn repair(root: &Path, words: &[&str]) -> Regsweep {
    Regsweep::new().arg("repair").args(words).arg("--root").arg(root)
}

/// What can be wrong with a link that `repair` mends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Missing,
    Empty,
    Garbled,
}

/// One link, and what is wrong with it.
type Damaged = (String, Damage);

fn one() -> Image {
    oci_image("one", &[layer(1), layer(2)])
}

fn two() -> Image {
    oci_image("two", &[layer(1), layer(3)])
}

fn platforms() -> Image {
    index(&[oci_image("amd64", &[layer(4)]), oci_image("arm64", &[layer(5)])])
}

/// A tag with a history of two, an index, and a blob that another repository links, too.
fn store() -> Registry {
    let app = registry().repo(REPOSITORY).pushed(&one()).tag("v1").pushed(&two()).tag("v1").pushed(&platforms()).tag("all");
    app.repo("other").pushed(&one()).tag("v1")
}

/// All that can be mended there, each by itself.
fn damages() -> Vec<Damaged> {
    let child = platforms().children[1].digest().to_owned();
    let layer_of_child = layer(5).digest;
    let mut all = vec![
        (layer_link(REPOSITORY, &layer(3).digest), Damage::Missing),
        (layer_link(REPOSITORY, &two().blobs[0].digest), Damage::Missing),
        (layer_link(REPOSITORY, &layer_of_child), Damage::Missing),
        (revision_link(REPOSITORY, two().digest()), Damage::Missing),
        (revision_link(REPOSITORY, &child), Damage::Missing),
    ];
    for damage in [Damage::Empty, Damage::Garbled] {
        all.push((layer_link(REPOSITORY, &layer(2).digest), damage));
        all.push((revision_link(REPOSITORY, one().digest()), damage));
        all.push((tag_history(REPOSITORY, "v1", one().digest()), damage));
    }
    all
}

fn damaged(mut tree: Tree, links: &[Damaged]) -> Tree {
    for (path, damage) in links {
        match damage {
            Damage::Missing => tree.remove(path),
            Damage::Empty => tree.file(path, ""),
            Damage::Garbled => tree.file(path, "sha256:\u{1b}[2J none\n"),
        };
    }
    tree
}

/// The registry's files: path and bytes.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = snapshot(&root.join("docker")).into_keys().map(|path| format!("docker/{path}"));
    files.filter_map(|path| std::fs::read(root.join(&path)).ok().map(|bytes| (path, bytes))).collect()
}

fn expected(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    tree.files().map(|(path, bytes, _)| (path.to_owned(), bytes.to_vec())).collect()
}

/// The paths of the links that a report names.
fn links(outcome: &Outcome) -> Vec<String> {
    let report = outcome.report();
    let links = report["links"].as_array().expect("a list");
    let mut paths: Vec<String> = links.iter().map(|link| link["path"].as_str().expect("a path").to_owned()).collect();
    paths.sort();
    paths
}
