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
    records.begin_sweep([(&a, first), (&a, second), (&b, first)].into_iter(), |_| true).expect("written");
    let mut next = Records::open(&store).expect("readable");
    next.begin_sweep([(&b, third)].into_iter(), |digest| *digest == first).expect("written");
    let mut last = Records::open(&store).expect("readable");
    let was_to_go = |digest, there: &[&str]| last.was_to_go(digest, &|name| there.contains(&name));
    assert!(was_to_go(&first, &["a", "b"]) && !was_to_go(&second, &["a", "b"]) && was_to_go(&third, &["b"]));
    // A missing repository may have linked it again.
    assert!(!was_to_go(&first, &["a"]) && !was_to_go(&first, &["b"]) && !was_to_go(&third, &["a"]));
    assert_eq!(last.had_linked(&first).collect::<HashSet<_>>(), HashSet::from([a, b.clone()]));
    assert_eq!(last.had_linked(&third).collect::<Vec<_>>(), [b]);
    assert_eq!(last.had_linked(&second).count(), 0);
    last.begin_sweep(std::iter::empty(), |_| false).expect("removed");
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
    records.begin_sweep([(&RepositoryName::new("a/b"), digest("x"))].into_iter(), |_| true).expect("written");
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

#[test]
fn what_a_run_had_begun_with_is_known_by_its_names_until_it_is_done_or_restored() {
    let store = crate::store::MemoryStore::new();
    let digest = |text: &str| Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes());
    let [a, b] = ["a", "b"].map(RepositoryName::new);
    let tag = |name: &str| BegunName::Tag(TagName::new(name));
    let with = |name, revisions: &[&str]| BegunWith {
        name,
        goes_on: true,
        revisions: revisions.iter().map(|text| digest(text)).collect(),
    };
    let first = [(a.clone(), with(tag("1"), &["x", "y"])), (b.clone(), with(BegunName::Manifest(digest("z")), &["z"]))];
    let add = |of: &[(RepositoryName, BegunWith)], seconds: i64| {
        let records = Records::open(&store).expect("readable");
        let began = Timestamp::from_second(seconds).expect("a time");
        records.begin_with(of.iter().map(|(name, with)| (name, with)), (BegunBy::Remove, began)).expect("written");
    };
    add(&first, 100);
    // What was begun with before keeps its time.
    add(&[(a.clone(), with(tag("1"), &["y", "w"])), (a.clone(), with(BegunName::Repository, &[]))], 200);
    let all = || Records::open(&store).expect("readable").begun().expect("readable");
    let begun = |repository: &RepositoryName, name: &BegunName| all().get(BegunBy::Remove, repository, name);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let expected = Begun { began: at(100), revisions: ["x", "y", "w"].map(digest).to_vec() };
    assert_eq!(begun(&a, &tag("1")), Some(expected.clone()));
    assert_eq!(all().tags(BegunBy::Remove, &a), [(TagName::new("1"), expected)]);
    assert_eq!(begun(&a, &BegunName::Repository), Some(Begun { began: at(200), revisions: Vec::new() }));
    assert_eq!([begun(&b, &tag("1")), begun(&a, &tag("2")), begun(&a, &BegunName::Manifest(digest("z")))], [None, None, None]);

    let records = Records::open(&store).expect("readable");
    let restored = [
        Target::Link(LinkDirectory::Revisions(a.clone()), digest("x")),
        Target::Link(LinkDirectory::Revisions(a.clone()), digest("z")),
        Target::Link(LinkDirectory::Layers(b.clone()), digest("z")),
    ];
    records.forget_begun_with(restored.iter()).expect("written");
    assert_eq!(begun(&a, &tag("1")).expect("still there").revisions, ["y", "w"].map(digest));
    assert!(begun(&a, &BegunName::Repository).is_some() && begun(&b, &BegunName::Manifest(digest("z"))).is_some());
    records.forget_begun_with([Target::Tag(a.clone(), TagName::new("1"), digest("x"))].iter()).expect("written");
    assert_eq!(begun(&a, &tag("1")), None);

    // Of a name that is there again, what was recorded before is of no use.
    add(&[(a.clone(), with(tag("1"), &["x"]))], 300);
    add(&[(a.clone(), BegunWith { goes_on: false, ..with(tag("1"), &["w"]) })], 400);
    assert_eq!(begun(&a, &tag("1")), Some(Begun { began: at(400), revisions: vec![digest("w")] }));
    records.end_with([(&a, &with(tag("1"), &[]))].into_iter()).expect("written");

    // Other commands go on with none of it.
    assert_eq!(all().get(BegunBy::Expire, &a, &BegunName::Repository), None);
    add(&[(a.clone(), with(tag("1"), &["x"])), (a.clone(), with(tag("2"), &["y"]))], 500);
    assert_eq!(all().tags(BegunBy::Expire, &a), []);
    let again = [(&a, &with(tag("2"), &["w"]))];
    records.begin_with(again.into_iter(), (BegunBy::Expire, Timestamp::from_second(600).expect("a time"))).expect("written");
    assert_eq!(begun(&a, &tag("2")), None);
    assert_eq!(all().tags(BegunBy::Expire, &a), [(TagName::new("2"), Begun { began: at(600), revisions: vec![digest("w")] })]);
    // What is there is not gone on with.
    let present = |one: Option<&str>| {
        let is_there = |tag: &TagName| one.is_none_or(|one| *tag == TagName::new(one));
        let rest = records.begun_but_present(&mut |_, tag| Ok(is_there(tag))).expect("readable");
        rest.iter().for_each(|rest| records.write_begun(rest).expect("written"));
        rest.is_some()
    };
    assert!(!present(Some("3")) && present(Some("1")));
    assert_eq!(begun(&a, &tag("1")), None);
    assert!(present(None) && !present(None));
    assert_eq!(all().tags(BegunBy::Expire, &a), []);
    assert!(begun(&a, &BegunName::Repository).is_some());

    let done = [(a.clone(), with(BegunName::Repository, &[])), (b.clone(), with(BegunName::Manifest(digest("z")), &[]))];
    records.end_with(done.iter().map(|(name, with)| (name, with))).expect("removed");
    assert_eq!(crate::store::Notes::read(&store, BEGUN).expect("none"), None);
}
