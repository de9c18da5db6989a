use super::*;
use crate::store::Part;

/// A summary with these numbers of repositories, tags and revisions, at most one tag and revision per repository.
fn summary([repositories, tags, revisions]: [u64; 3], mounts: &[&str]) -> Summary {
    let names: Vec<RepositoryName> = (0..repositories).map(|number| RepositoryName::new(number.to_string())).collect();
    let held = names.iter().zip(0..).map(|(name, place)| (name, [u64::from(place < tags), u64::from(place < revisions)]));
    let part = |name: &&str| Part { name: (*name).to_owned(), identity: None };
    Summary::new(Timestamp::UNIX_EPOCH, held, mounts.iter().map(part).collect())
}

#[test]
fn less_than_half_of_anything_is_missing() {
    let before = summary([10, 10, 10], &["a"]);
    for (now, missing) in [
        (summary([10, 10, 10], &["a"]), None),
        (summary([5, 5, 5], &["a", "b"]), None),
        (summary([4, 10, 10], &["a"]), Some("repositories")),
        (summary([10, 4, 10], &["a"]), Some("tags")),
        (summary([10, 10, 4], &["a"]), Some("revisions")),
        (summary([10, 10, 10], &[]), Some("mounted")),
        (summary([0, 0, 0], &[]), Some("mounted")),
        // New repositories do not offset losses.
        (renamed(&summary([10, 10, 10], &["a"]), 4), None),
        (renamed(&summary([10, 10, 10], &["a"]), 6), Some("repositories")),
    ] {
        let is_mounted = |name: &str| now.mounts.iter().any(|mount| mount == name);
        let said = before.missing_from(&now, &is_mounted, false);
        assert_eq!(said.is_some(), missing.is_some(), "{now:?}: {said:?}");
        assert!(missing.is_none_or(|word| said.expect("some").contains(word)), "{now:?}");
    }
    assert_eq!(summary([1, 1, 1], &[]).missing_from(&summary([1, 1, 1], &[]), &|_| false, false), None);
}

/// The same summary with other names for `count` repositories.
fn renamed(summary: &Summary, count: usize) -> Summary {
    let mut renamed = summary.clone();
    for (place, name) in summary.by_repository.keys().take(count).enumerate() {
        let counts = renamed.by_repository.remove(name).expect("there");
        renamed.by_repository.insert(format!("new-{place}"), counts);
    }
    renamed
}

#[test]
fn what_is_linked_again_is_none_of_what_was_to_go() {
    let store = crate::store::MemoryStore::new();
    let [first, second, third] = ["1", "2", "3"].map(|text| Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes()));
    let [a, b] = ["a", "b"].map(RepositoryName::new);
    let mut records = Records::open(&store).expect("none");
    records.begin_sweep([(&a, first), (&a, second), (&b, first)].into_iter(), |_| true, Timestamp::UNIX_EPOCH).expect("written");
    let mut next = Records::open(&store).expect("readable");
    next.begin_sweep([(&b, third)].into_iter(), |digest| *digest == first, Timestamp::MAX).expect("written");
    let mut last = Records::open(&store).expect("readable");
    let was_to_go = |digest, there: &[&str]| last.was_to_go(digest, &|name| there.contains(&name));
    assert!(was_to_go(&first, &["a", "b"]) && !was_to_go(&second, &["a", "b"]) && was_to_go(&third, &["b"]));
    // A missing repository may have linked it again.
    assert!(!was_to_go(&first, &["a"]) && !was_to_go(&first, &["b"]) && !was_to_go(&third, &["a"]));
    // Since the first of both sweeps, in the repositories that linked it.
    let began = |name, digest| last.began_to_remove(name, digest, &|_| true);
    let first_began = Some(SystemTime::UNIX_EPOCH);
    assert_eq!([began(&a, &first), began(&b, &first), began(&b, &third)], [first_began; 3]);
    let elsewhere = RepositoryName::new("c");
    assert_eq!([began(&elsewhere, &first), began(&a, &third), began(&a, &second)], [None; 3]);
    last.begin_sweep(std::iter::empty(), |_| false, Timestamp::UNIX_EPOCH).expect("removed");
    assert_eq!(crate::store::Notes::read(&store, SWEEP).expect("none"), None);
    // The format of earlier versions.
    assert!(Unfinished::parsed(format!("{first}\n{second}\n").as_bytes()).blobs.is_empty());
}

#[test]
fn records_outlive_a_run() {
    let store = crate::store::MemoryStore::new();
    let clock = RunClock::read();
    let digest = |text: &str| Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes());
    let revision = Target::Link(LinkDirectory::Revisions(RepositoryName::new("a/b")), digest("m"));
    let mut records = Records::open(&store).expect("none");
    records.write_summary(summary([1, 2, 3], &["m"])).expect("written");
    records.add_restored([&revision, &Target::Blob(digest("l"))].into_iter(), &clock).expect("written");
    records
        .begin_sweep([(&RepositoryName::new("a/b"), digest("x"))].into_iter(), |_| true, Timestamp::UNIX_EPOCH)
        .expect("written");
    let mut again = Records::open(&store).expect("readable");
    assert_eq!(again.summary(), Some(&summary([1, 2, 3], &["m"])));
    assert!(again.was_to_go(&digest("x"), &|_| true) && !again.was_to_go(&digest("l"), &|_| true));
    let hour = Duration::from_secs(3600);
    let protected = again.restored_within(hour, &clock);
    assert_eq!(protected.revisions[&RepositoryName::new("a/b")], [digest("m")]);
    assert!(protected.digests.contains(&digest("l")));
    assert!(again.restored_within(Duration::ZERO, &clock).digests.is_empty());
    again.end_sweep(|_| false).expect("removed");
    assert!(!Records::open(&store).expect("readable").was_to_go(&digest("x"), &|_| true));
}
