//! On any store: no tag goes but those that are chosen, nothing that stays needs what went, and what goes is what the slow collector says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::properties::reference::{Policy, what_goes};
use crate::properties::{OldStore, Served, files_on_disk, pull_manifest};
use crate::support::layout::{BASE, blob_data, revision_link, tag, tag_current};

/// A link of a repository: its name, and the parts of the rest of its path.
fn links(tree: &Tree) -> Vec<(String, Vec<String>, Option<String>)> {
    let start = format!("{BASE}/repositories/");
    tree.files()
        .filter_map(|(path, bytes, _)| {
            let (repository, rest) = path.strip_prefix(&start)?.split_once("/_")?;
            let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains(':')).map(str::to_owned);
            Some((repository.to_owned(), rest.split('/').map(str::to_owned).collect(), text))
        })
        .collect()
}

/// Every tag that names something, with what it names.
fn current(tree: &Tree) -> BTreeMap<(String, String), String> {
    let tags = links(tree).into_iter().filter_map(|(repository, parts, digest)| match &parts[..] {
        [manifests, tags, name, current, link]
            if manifests == "manifests" && tags == "tags" && current == "current" && link == "link" =>
        {
            Some(((repository, name.clone()), digest?))
        }
        _ => None,
    });
    tags.collect()
}

fn revisions(tree: &Tree, of: &str) -> BTreeSet<String> {
    let found = links(tree).into_iter().filter_map(|(repository, parts, _)| match &parts[..] {
        [manifests, revisions, algorithm, hex, _] if manifests == "manifests" && revisions == "revisions" && repository == of => {
            Some(format!("{algorithm}:{hex}"))
        }
        _ => None,
    });
    found.collect()
}

/// The digests that a manifest names anywhere, and the one that it refers to.
fn named(tree: &Tree, digest: &str) -> (BTreeSet<String>, Option<String>) {
    // What a damaged one names is not known.
    let Some(bytes) = tree.bytes(&blob_data(digest)).filter(|bytes| [sha256(bytes), sha512(bytes)].contains(&digest.to_owned()))
    else {
        return Default::default();
    };
    let Ok(mut json) = serde_json::from_slice::<Value>(bytes) else { return Default::default() };
    let subject = json.as_object_mut().and_then(|fields| fields.remove("subject"));
    let text = json.to_string();
    let all = text.split('"').filter(|part| part.starts_with("sha256:") || part.starts_with("sha512:")).map(str::to_owned);
    (all.collect(), subject.and_then(|subject| Some(subject["digest"].as_str()?.to_owned())))
}

/// The revisions of a repository that some manifests keep: what they name, and what refers to that, to any depth.
fn below(tree: &Tree, repository: &str, roots: BTreeSet<String>) -> BTreeSet<String> {
    let revisions = revisions(tree, repository);
    let mut all = roots;
    loop {
        let before = all.len();
        let more: BTreeSet<String> = all.iter().flat_map(|digest| named(tree, digest).0).collect();
        all.extend(more);
        let refers = |revision: &&String| named(tree, revision).1.is_some_and(|subject| all.contains(&subject));
        let referrers: Vec<String> = revisions.iter().filter(refers).cloned().collect();
        all.extend(referrers);
        if all.len() == before {
            return all.intersection(&revisions).cloned().collect();
        }
    }
}

/// What some tags go with, by the slow collector: every revision that they do not lead to gets a tag that keeps it.
fn expected(tree: &Tree, chosen: &BTreeMap<(String, String), String>, is_named: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let mut tagless = tree.clone();
    for (repository, name) in chosen.keys() {
        tagless.remove(&tag(repository, name));
    }
    let repositories: BTreeSet<String> = links(tree).into_iter().map(|(repository, ..)| repository).collect();
    for repository in &repositories {
        let targets = chosen.iter().filter(|((of, _), _)| of == repository).map(|(_, digest)| digest.clone()).collect();
        let freed = below(tree, repository, targets);
        for (number, revision) in revisions(tree, repository).difference(&freed).enumerate() {
            tagless.aged(days(30)).file(tag_current(repository, &format!("kept-{number}")), revision.as_str());
        }
    }
    // Where no rule is about a repository each of its links stays, young for ever.
    let now = tagless.now();
    let paths: Vec<String> = tagless.files().map(|(path, ..)| path.to_owned()).collect();
    for repository in repositories.iter().filter(|repository| !is_named(repository)) {
        let start = format!("{BASE}/repositories/{repository}/_");
        paths.iter().filter(|path| path.starts_with(&start)).for_each(|path| {
            tagless.touch_at(path, now);
        });
    }
    let policy = Policy { min_age: hours(1), delete_untagged: true };
    let goes = what_goes(&tagless, policy).into_iter();
    goes.filter(|(kind, ..)| matches!(*kind, "blob" | "revision" | "layer-link")).map(|(_, path, _)| path).collect()
}

fn run(root: &Path, patterns: &[String], names: &[&str]) -> Outcome {
    let quoted = |all: &[String]| all.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(", ");
    let tags: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let text =
        format!("[[rule]]\nrepositories = [{}]\nkeep-newest = 0\nby = 'version'\ntags = [{}]\n", quoted(patterns), quoted(&tags));
    // By version nothing is asked of times; `latest` is no version and stays.
    let (_directory, path) = policy(&text);
    let outcome = Regsweep::expire(root).arg("--policy").arg(path).args(["--allow-all-tags", "--allow-empty"]).json().run();
    assert!(matches!(outcome.code, Some(0 | 1)), "{}\n{}{}", outcome.line, outcome.stdout, outcome.stderr);
    outcome
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![Just(vec!["**"]), Just(vec!["app"]), Just(vec!["app/*", "team/**"]), Just(vec!["base", "app"])]
        .prop_map(|all| all.into_iter().map(str::to_owned).collect())
}

fn names_of_tags() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![Just(vec!["v1"]), Just(vec!["v1", "v2"]), Just(vec!["*"])]
}

fn is_named(repository: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.as_str() {
        "**" => true,
        "app/*" => repository == "app/web",
        "team/**" => repository.starts_with("team/"),
        exact => repository == exact,
    })
}

fn is_chosen(repository: &str, name: &str, patterns: &[String], names: &[&str]) -> bool {
    is_named(repository, patterns) && name != "latest" && (names.contains(&"*") || names.contains(&name))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_stays_needs_what_went(store in OldStore::any(), patterns in patterns(), names in names_of_tags()) {
        let tree = store.tree();
        let root = tree.on_disk();
        let before = files_on_disk(root.path());
        let mut chosen = current(&tree);
        chosen.retain(|(repository, name), _| is_chosen(repository, name, &patterns, &names));
        let outcome = run(root.path(), &patterns, &names);
        let after = files_on_disk(root.path());
        // Only chosen tags go, and of what no chosen tag leads to all that could be pulled can be pulled.
        let mut served = [Served::new(), Served::new()];
        for ((repository, name), digest) in current(&tree) {
            let path = tag_current(&repository, &name);
            if chosen.contains_key(&(repository.clone(), name.clone())) {
                continue;
            }
            prop_assert_eq!(before.get(&path), after.get(&path), "{}:{}", repository, name);
            pull_manifest(&before, &repository, &digest, &mut served[0]);
            pull_manifest(&after, &repository, &digest, &mut served[1]);
        }
        let repositories: BTreeSet<String> = links(&tree).into_iter().map(|(repository, ..)| repository).collect();
        for repository in &repositories {
            let targets = chosen.iter().filter(|((of, _), _)| of == repository).map(|(_, digest)| digest.clone()).collect();
            let freed = below(&tree, repository, targets);
            for revision in revisions(&tree, repository).difference(&freed) {
                prop_assert!(!before.contains_key(&revision_link(repository, revision)) || after.contains_key(&revision_link(repository, revision)));
                pull_manifest(&before, repository, revision, &mut served[0]);
                pull_manifest(&after, repository, revision, &mut served[1]);
            }
        }
        prop_assert_eq!(&served[0], &served[1], "{}", outcome.line);
        // Exactly what the slow collector lets go, where nothing is wrong that holds a repository or may.
        let report = outcome.report();
        let has_errors = report["finding_counts"]["error"].as_u64() != Some(0);
        // A tag for a manifest that is not stored, as the slow collector would get, holds its repository; a revision does not.
        let is_lost = |(repository, digest): (&String, String)| {
            before.contains_key(&revision_link(repository, &digest)) && !before.contains_key(&blob_data(&digest))
        };
        let mut all = repositories.iter().flat_map(|repository| revisions(&tree, repository).into_iter().map(move |digest| (repository, digest)));
        if !has_errors && report["scanned"]["held_repositories"] == 0 && !all.any(is_lost) {
            let rows = outcome.rows().into_iter();
            let went: BTreeSet<String> =
                rows.filter(|row| ["blob", "revision", "layer-link"].contains(&row.kind.as_str())).map(|row| row.path).collect();
            prop_assert_eq!(went, expected(&tree, &chosen, &|repository| is_named(repository, &patterns)));
            let dropped: BTreeSet<String> = chosen.keys().map(|(repository, name)| format!("{repository}:{name}")).collect();
            prop_assert_eq!(tags(&outcome), dropped);
        }
        prop_assert_eq!(run(root.path(), &patterns, &names).rows(), vec![], "a second run has nothing to do");
    }
}
