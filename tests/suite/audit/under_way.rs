//! What is young and not complete is work under way, for every command; what is old and not complete is damage.

use std::time::{Duration, SystemTime};

use super::*;

/// What a push or a deletion leaves for a moment, and how that is called once it is old.
type Moment = (&'static str, fn(&Path), &'static [&'static str]);

const MOMENTS: [Moment; 6] = [
    (
        "a tag with its history and no `current`",
        |root| {
            let link = root.join(tag_history(APP, "new", app().digest()));
            fs::create_dir_all(link.parent().expect("a parent")).expect("made");
            fs::write(link, app().digest()).expect("written");
        },
        &["tag-without-current"],
    ),
    (
        "a tag that loses its `current` first",
        |root| fs::remove_file(root.join(tag_current(APP, "v1"))).expect("removed"),
        &["tag-without-current"],
    ),
    (
        "a `current` that is cut short before it is written",
        |root| fs::write(root.join(tag_current(APP, "v1")), "").expect("written"),
        &["empty-link", "held-repository"],
    ),
    (
        "a revision link that is",
        |root| fs::write(root.join(revision_link(APP, arm64().digest())), "").expect("written"),
        &["empty-link", "held-repository"],
    ),
    (
        "a layer link that is",
        |root| fs::write(root.join(layer_link(APP, &layer(2).digest)), "").expect("written"),
        &["empty-link"],
    ),
    (
        "a tag whose revision was not there yet when revisions were listed",
        |root| {
            fs::remove_file(root.join(revision_link(APP, app().digest()))).expect("removed");
            fs::write(root.join(tag_current(APP, "v1")), app().digest()).expect("written");
        },
        &["lost-revision"],
    ),
];

/// Lets all that was written within the last minutes be so old.
fn age(root: &Path, age: Duration) {
    let recent = SystemTime::now() - Duration::from_secs(600);
    for entry in walkdir::WalkDir::new(root.join("docker")).contents_first(true) {
        let entry = entry.expect("listable");
        if entry.metadata().expect("there").modified().expect("a time") > recent {
            fs::File::open(entry.path()).and_then(|file| file.set_modified(SystemTime::now() - age)).expect("ours");
        }
    }
}

/// Every command that reads names.
fn commands(root: &Path) -> Vec<(&'static str, Outcome)> {
    let reading = |command| Regsweep::new().args([command, "--json", "--root"]).arg(root).run();
    vec![
        ("audit", Regsweep::audit(root).json().run()),
        ("usage", reading("usage")),
        ("garbage-collect", Regsweep::gc(root).dry().json().run()),
        ("-m", Regsweep::gc(root).delete_untagged().dry().json().run()),
        ("expire", Regsweep::expire(root).args(["--keep-last", "9"]).dry().json().run()),
        ("real", Regsweep::gc(root).arg("--quarantine").json().run()),
    ]
}

fn worse_than_notes(outcome: &Outcome) -> Vec<String> {
    let findings = outcome.findings().into_iter().filter(|finding| finding.severity != "note");
    let mut codes: Vec<String> = findings.map(|finding| finding.code).collect();
    codes.sort();
    codes
}

#[test]
fn what_is_young_and_not_complete_is_no_damage() {
    for (name, leave, codes) in MOMENTS {
        // The store needs all that it has: whatever is said of it, nothing of it goes.
        let root = healthy().into_tree().on_disk();
        let root = root.path();
        age(root, Duration::from_secs(3 * 3600));
        leave(root);
        let before = snapshot(&root.join("docker"));
        let young = commands(root);
        assert_eq!(snapshot(&root.join("docker")), before, "{name}");
        age(root, Duration::from_secs(2 * 3600));
        for ((command, young), (_, old)) in young.into_iter().zip(commands(root)) {
            // An audit alone opens layer links that are needed whatever they say.
            if command != "audit" && codes == ["empty-link"] {
                continue;
            }
            assert_eq!(worse_than_notes(&young), [""; 0], "{name}: {command}: {}", young.stdout);
            assert!(young.finding_codes().iter().any(|code| code == "work-under-way"), "{name}: {command}: {}", young.stdout);
            young.expect_code(0);
            let found = worse_than_notes(&old);
            assert!(codes.iter().all(|code| found.iter().any(|found| found == code)), "{name}: {command}: {}", old.stdout);
            old.expect_code(1);
        }
    }
}

/// Young damage of another kind beside it still holds the repository, and that is said.
#[test]
fn damage_beside_work_under_way_is_damage() {
    let root = healthy().into_tree().on_disk();
    fs::write(root.path().join(tag_current(APP, "v1")), "").expect("written");
    fs::write(root.path().join(revision_link(APP, arm64().digest())), "garbled").expect("written");
    for (command, outcome) in commands(root.path()) {
        let found = worse_than_notes(&outcome);
        for code in ["garbled-link", "held-repository"] {
            assert!(found.iter().any(|found| found == code), "{command}: {}", outcome.stdout);
        }
        outcome.expect_code(1);
    }
}

/// Who lets nothing be too young has no work under way.
#[test]
fn without_a_minimum_age_it_is_damage() {
    let root = healthy().into_tree().on_disk();
    fs::write(root.path().join(tag_current(APP, "v1")), "").expect("written");
    let outcome = Regsweep::gc(root.path()).any_age().dry().json().run().expect_code(1);
    assert_eq!(worse_than_notes(&outcome), ["empty-link", "held-repository"]);
}
