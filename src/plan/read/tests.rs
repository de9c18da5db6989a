//! What is written is read back as it was, and nothing else is.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oci::Algorithm;
use crate::plan::{Deletion, SweepPlan};

fn written(deletions: impl IntoIterator<Item = Deletion>) -> String {
    let lines = deletions.into_iter().map(|deletion| serde_json::to_string(&PlanLine::new(&deletion)).expect("JSON") + "\n");
    lines.collect()
}

fn read_back(text: &str) -> Result<Vec<PlannedRow>, Error> {
    read(text.as_bytes(), Path::new("plan.jsonl")).collect()
}

fn target() -> impl Strategy<Value = Target> {
    let repository = prop::sample::select(vec!["a", "a/b", "team/app", "host.example:5000/x", "a__b/c-d"]);
    let tag = prop::sample::select(vec!["latest", "v1.0", "_", "index", "current", "not a tag", "größe"]);
    (0..13_usize, repository, tag, any::<[u8; 64]>(), 0..3_usize).prop_map(|(shape, repository, tag, bytes, algorithm)| {
        let algorithm = Algorithm::ALL[algorithm];
        let digest = Digest::from_bytes(algorithm, &bytes[..algorithm.len_bytes()]);
        let (repository, tag) = (RepositoryName::new(repository), TagName::new(tag));
        let directory = match shape % 3 {
            0 => LinkDirectory::History(repository.clone(), tag.clone()),
            1 => LinkDirectory::Revisions(repository.clone()),
            _ => LinkDirectory::Layers(repository.clone()),
        };
        match shape {
            0..3 => Target::Link(directory, digest),
            3..6 => Target::EmptyLinkDirectory(directory, digest),
            6 => Target::Tag(repository, tag, digest),
            7 => {
                let part =
                    [UploadPart::StartedAt, UploadPart::Data, UploadPart::HashState(Algorithm::Sha384, 7)][bytes[0] as usize % 3];
                Target::Upload(Box::new(UploadFile { repository, id: digest.hex()[..9].to_owned(), part }))
            }
            8 => Target::EmptyUploadDirectory(repository, digest.hex()[..9].to_owned()),
            9 => Target::BrokenTag(repository, tag),
            10 => Target::EmptyRepository(repository),
            11 => Target::EmptyTag(repository, tag),
            _ if bytes[0] % 2 == 0 => Target::Blob(digest),
            _ => Target::EmptyBlobDirectory(digest),
        }
    })
}

fn deletion() -> impl Strategy<Value = Deletion> {
    let reasons = [
        Reason::Untagged,
        Reason::RevisionGone,
        Reason::Unreferenced,
        Reason::Unlinked,
        Reason::EmptyDirectory,
        Reason::TagDropped,
        Reason::Orphaned,
        Reason::StaleUpload,
    ];
    // From the year -9999 to the year 9999.
    let time = (-377_000_000_000_i64..253_000_000_000, 0..1_000_000_000_u32);
    (target(), any::<u64>(), time, 0..7_usize).prop_map(move |(target, size_bytes, (seconds, nanoseconds), first)| {
        let kind = Kind::of(&target);
        let reason = reasons.into_iter().cycle().skip(first).find(|reason| fits(kind, *reason)).expect("each kind has a reason");
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
        let stat = Stat::new(size_bytes, time + Duration::from_nanos(nanoseconds.into()));
        Deletion { target, stat, alias_of: None, reason, depth: 0 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_plan_is_read_back_as_it_was(deletions in prop::collection::vec(deletion(), 0..30)) {
        let plan = SweepPlan::of(&deletions);
        let text = written(plan.iter());
        let rows = read_back(&text).expect("a plan");
        let planned: Vec<PlannedRow> =
            plan.iter().map(|Deletion { target, stat, reason, .. }| PlannedRow { target, stat, reason }).collect();
        prop_assert_eq!(&rows, &planned);
        let again = rows.into_iter().map(|PlannedRow { target, stat, reason }| Deletion { target, stat, alias_of: None, reason, depth: 0 });
        prop_assert_eq!(written(again), text);
    }

    #[test]
    fn a_row_with_something_else_in_it_names_what_its_path_says_or_is_refused(
        deletion in deletion(),
        key in prop::sample::select(vec!["kind", "repository", "tag", "digest", "path"]),
        value in prop_oneof![Just(Value::Null), ".*".prop_map(Value::from), Just(json!(["blob"])), Just(json!("../../etc"))],
    ) {
        let mut line = serde_json::to_value(PlanLine::new(&deletion)).expect("JSON");
        line[key] = value;
        if let Ok(rows) = read_back(&format!("{line}\n")) {
            prop_assert_eq!(&json!(escaped(rows[0].target.path())), &line["path"]);
            let digest = rows[0].target.digest().map(ToString::to_string);
            prop_assert_eq!(digest.as_deref(), line["digest"].as_str());
        }
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

fn line() -> Value {
    let target = Target::Link(LinkDirectory::History(RepositoryName::new("a"), TagName::new("v1")), digest());
    let stat = Stat::new(71, SystemTime::UNIX_EPOCH);
    serde_json::to_value(PlanLine::new(&Deletion { target, stat, alias_of: None, reason: Reason::Untagged, depth: 0 }))
        .expect("JSON")
}

#[test]
fn what_no_plan_has_is_refused() {
    let with = |key: &str, value: Value| {
        let mut line = line();
        line[key] = value;
        line.to_string() + "\n"
    };
    let good = line().to_string();
    let hex = digest().hex();
    assert_eq!(read_back(&format!("{good}\n")).expect("a plan").len(), 1);
    for text in [
        "\n".to_owned(),
        "{}\n".to_owned(),
        good.clone(),
        format!("{good}{good}\n"),
        format!("{good} x\n"),
        format!("[{good}]\n"),
        format!("{}{}\n", " ".repeat(MAX_LINE_BYTES as usize), good),
        "[".repeat(10_000) + "\n",
        good.replacen('{', r#"{"kind":"tag-history","#, 1) + "\n",
        with("more", json!(1)),
        with("bytes", json!(-1)),
        with("bytes", json!(1.5)),
        with("kind", json!("tag")),
        with("kind", json!("blob")),
        with("kind", json!("TagHistory")),
        with("kind", json!("empty-directory")),
        with("repository", Value::Null),
        with("repository", json!("b")),
        with("repository", json!("../a")),
        with("repository", json!("a/../a")),
        with("repository", json!("/a")),
        with("repository", json!("A")),
        with("tag", Value::Null),
        with("tag", json!("v2")),
        with("tag", json!("..")),
        with("tag", json!("v1/index/sha256/x")),
        with("tag", json!("v1\u{0}")),
        with("digest", json!(hex)),
        with("digest", json!(format!("sha256:{}", hex.to_uppercase()))),
        with("digest", json!(format!("sha512:{hex}"))),
        with("digest", json!(Digest::of(Algorithm::Sha256, b"y").to_string())),
        with("path", json!("/etc/passwd")),
        with("path", json!(format!("./{}", line()["path"].as_str().expect("text")))),
        with("modified", json!("yesterday")),
        with("modified", json!("1970-01-01T01:00:00+01:00")),
        with("reason", json!("unlinked")),
        with("reason", json!("because")),
    ] {
        let refused = read_back(&text).expect_err(&text).to_string();
        assert!(refused.contains("line 1 of plan.jsonl"), "{refused}");
    }
}

#[test]
fn contents_before_names_are_refused() {
    let row = |target| Deletion {
        target,
        stat: Stat::new(1, SystemTime::UNIX_EPOCH),
        alias_of: None,
        reason: Reason::Untagged,
        depth: 0,
    };
    let revision = row(Target::Link(LinkDirectory::Revisions(RepositoryName::new("a")), digest()));
    let blob = row(Target::Blob(digest()));
    assert_eq!(read_back(&written([revision.clone(), blob.clone()])).expect("a plan").len(), 2);
    let refused = read_back(&written([blob, revision])).expect_err("the wrong order").to_string();
    assert!(refused.contains("line 2") && refused.contains("does not go after"), "{refused}");
}

/// Nothing is read beyond the row that is none.
#[test]
fn ends_at_what_is_no_row() {
    let text = format!("{0}\nx\n{0}\n", line());
    let rows: Vec<bool> = read(text.as_bytes(), Path::new("plan.jsonl")).map(|row| row.is_ok()).collect();
    assert_eq!(rows, [true, false]);
}
