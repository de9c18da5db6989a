//! What a collection asks of a bucket, and what becomes of it when an answer is not had.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use crate::error::Error;
use crate::exit::Exit;
use crate::finding::Code;
use crate::layout::{self, LinkDirectory, MARKERS, OWN_DIRECTORY};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::report::Report as _;
use crate::report::collect::CollectReport;
use crate::store::{Etags, Fails, MemoryStore, ObjectStore, Request, counted};
use crate::testing::Built;

/// A bucket, and what is to be seen of it.
pub(super) struct Shelf {
    pub(super) store: ObjectStore,
    root: tempfile::TempDir,
}

impl Shelf {
    pub(super) fn new(files: MemoryStore, etags: Etags, seed: u64) -> Shelf {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join(layout::V2)).expect("made");
        Shelf { store: ObjectStore::new(files, etags, seed), root }
    }

    /// One thread, so that requests come in the same order each time.
    pub(super) fn collect(&self, line: &str) -> Result<CollectReport, Error> {
        let line = format!("garbage-collect --assume-offline --jobs 1 {line}");
        super::collect(&self.store, self.root.path(), &line)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.store.memory().files()
    }
}

pub(super) fn is_ours(key: &Path) -> bool {
    key.components().any(|part| part.as_os_str() == OWN_DIRECTORY)
}

/// Three repositories, one of them in another and one of them large, with images, an index, a referrer, and garbage of all kinds.
fn files() -> (MemoryStore, BTreeSet<Digest>) {
    let built = Built::default();
    let mut manifests = BTreeSet::new();
    let [config, shared, left] = ["1", "share", "lefty"].map(|text| built.blob(text.as_bytes()));
    for (repository, images) in [("team/app", 4_u32), ("team/app/deep", 2), ("big", 700)] {
        let mut push = |digest: Digest| {
            built.revision(repository, &digest);
            manifests.insert(digest);
            digest
        };
        let layers: Vec<Digest> = (0..images).map(|number| built.blob(format!("{repository} {number}").as_bytes())).collect();
        let images: Vec<Digest> = layers.iter().map(|layer| push(built.image(&config, &[shared, *layer]))).collect();
        let index = push(built.index(&images[..1]));
        push(built.json(&json!({"subject": {"digest": index.to_string()}, "config": {"digest": config.to_string(), "size": 1}})));
        for layer in layers.iter().chain([&config, &shared, &left]) {
            built.layer(repository, layer);
        }
        built.tag(repository, "multi", &index);
        // Every second image has a tag, which named the one after it before.
        for (number, pair) in images.chunks(2).enumerate() {
            let tag = format!("v{number}");
            built.tag(repository, &tag, &pair[0]);
            let history = LinkDirectory::History(RepositoryName::new(repository), TagName::new(tag));
            pair.iter().for_each(|digest| built.link(&history, digest, digest));
        }
    }
    for number in 0..100_u32 {
        built.layer("big", &built.blob(format!("unneeded {number}").as_bytes()));
        built.blob(format!("unlinked {number}").as_bytes());
    }
    (built.0, manifests)
}

/// A few blobs of each kind.
fn few() -> MemoryStore {
    let built = Built::default();
    let [config, shared, own, unneeded] = ["1", "share", "alone", "spare"].map(|text| built.blob(text.as_bytes()));
    let [tagged, untagged] = [vec![shared], vec![shared, own]].map(|layers| built.image(&config, &layers));
    let index = built.index(&[untagged]);
    for digest in [tagged, untagged, index] {
        built.revision("team/app", &digest);
    }
    [config, shared, own, unneeded].iter().for_each(|layer| built.layer("team/app", layer));
    built.tag("team/app", "v1", &tagged);
    built.link(&LinkDirectory::History(RepositoryName::new("team/app"), TagName::new("v1")), &untagged, &untagged);
    built.blob(b"unlinked");
    built.0
}

/// The same, with an upload of which most was sent by a multipart upload.
fn with_upload(etags: Etags) -> Shelf {
    let shelf = Shelf::new(few(), etags, 0);
    let upload = layout::upload_directory(&RepositoryName::new("team/app"), "kept");
    shelf.store.memory().add_file(upload.join("startedat"), "1970-01-12T13:46:40Z", SystemTime::UNIX_EPOCH);
    shelf.store.begin_multipart(&upload.join("data"), "1", SystemTime::UNIX_EPOCH, (10, Some(SystemTime::UNIX_EPOCH)));
    shelf
}

/// How many pages it takes to list everything once: the levels down to each repository, each repository, and the blobs in sixteen parts.
fn pages(files: &[PathBuf]) -> usize {
    let keys: Vec<&str> = files.iter().map(|file| file.to_str().expect("text")).collect();
    let of = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count().div_ceil(1000);
    let marker = |key: &str| MARKERS.iter().filter_map(|marker| key.find(&format!("/{marker}/"))).min();
    let repositories: BTreeSet<&Path> = keys.iter().filter_map(|key| Some(Path::new(&key[..marker(key)?]))).collect();
    let base = Path::new(layout::REPOSITORIES);
    let levels: BTreeSet<&Path> =
        repositories.iter().flat_map(|repository| repository.ancestors().take_while(|path| path.starts_with(base))).collect();
    let of_repositories: usize = repositories.iter().map(|repository| of(&format!("{}/_", repository.display()))).sum();
    let of_blobs: usize = (0..16).map(|digit| of(&format!("{}/sha256/{digit:x}", layout::BLOBS))).sum();
    let of_multiparts = 1;
    levels.len() + of_repositories + 2 + of_blobs + of_multiparts
}

#[test]
fn a_dry_run_costs_its_listings_and_a_read_of_each_manifest() {
    for line in ["--dry-run", "--dry-run -m"] {
        let (files, manifests) = files();
        let shelf = Shelf::new(files, Etags::Md5, 5);
        let before = shelf.files();
        shelf.store.begin(None);
        let report = shelf.collect(line).expect("a dry run");
        assert_eq!((report.exit(), &report.findings, &report.stops), (Exit::Clean, &vec![], &vec![]));
        let log = shelf.store.log();
        let (ours, theirs): (Vec<_>, Vec<_>) = log.iter().partition(|(_, key)| is_ours(key));
        let lists = pages(&before);
        assert!(lists > 25, "several pages of several listings: {lists}");
        let looks_for_owners = 1;
        let expected = [(Request::List, lists), (Request::Get, manifests.len()), (Request::Head, looks_for_owners)];
        assert_eq!(counted(theirs.iter().copied()), expected.into(), "{line}");
        let read: BTreeSet<&Path> =
            theirs.iter().filter(|(kind, _)| *kind == Request::Get).map(|(_, key)| key.as_path()).collect();
        let expected: Vec<PathBuf> = manifests.iter().map(layout::blob_data).collect();
        assert_eq!(read, expected.iter().map(PathBuf::as_path).collect(), "each manifest once, and no link");
        // What we have written down ourselves, and whether there is a quarantine.
        assert_eq!(counted(ours), [(Request::List, 1), (Request::Get, 3)].into());
        assert_eq!(shelf.files(), before);
    }
}

#[test]
fn what_is_in_quarantine_is_known_not_to_be_in_the_bucket() {
    let shelf = Shelf::new(few(), Etags::Md5, 0);
    assert_eq!(shelf.collect("-m --quarantine").expect("a collection").quarantine.waiting.count, 5);
    shelf.store.begin(None);
    shelf.collect("-m --quarantine --dry-run").expect("a dry run");
    let log = shelf.store.log();
    let looks = log.iter().filter(|(kind, key)| *kind == Request::Head && key.starts_with(layout::BLOBS));
    assert_eq!(looks.collect::<Vec<_>>(), Vec::<&(Request, PathBuf)>::new());
}

#[test]
fn a_bucket_has_the_same_plan_as_a_tree_whatever_its_etags_and_its_order() {
    for line in ["", "-m"] {
        let plan_of = |collect: &dyn Fn(&Path, &str) -> Result<CollectReport, Error>| {
            let root = tempfile::tempdir().expect("a directory");
            std::fs::create_dir_all(root.path().join(layout::V2)).expect("made");
            let out = root.path().join("plan");
            let line = format!("garbage-collect --assume-offline --dry-run {line} --plan-out {}", out.display());
            collect(root.path(), &line).expect("a dry run");
            std::fs::read(&out).expect("written")
        };
        let expected = plan_of(&|root, line| super::collect(&files().0, root, line));
        assert!(expected.iter().filter(|byte| **byte == b'\n').count() > 300);
        for (etags, seed) in [(Etags::Md5, 1), (Etags::Md5, 2), (Etags::Opaque, 3)] {
            let store = ObjectStore::new(files().0, etags, seed);
            assert!(plan_of(&|root, line| super::collect(&store, root, line)) == expected, "{line} {etags:?} {seed}");
        }
    }
}

#[test]
fn a_dry_run_that_lacks_an_answer_ends_and_says_so() {
    for (line, etags) in [("--dry-run", Etags::Md5), ("--dry-run -m", Etags::Md5), ("--dry-run -m", Etags::Opaque)] {
        let shelf = with_upload(etags);
        let line = &format!("{line} --uploads-older-than 7d");
        shelf.store.begin(None);
        shelf.collect(line).expect("a dry run");
        let requests = shelf.store.log().len();
        assert!(requests > 15, "{requests}");
        let before = shelf.files();
        for number in 1..=requests {
            shelf.store.begin(Some((number, Fails::Refused)));
            let error =
                shelf.collect(line).err().unwrap_or_else(|| panic!("{line} {number}: {:?}", shelf.store.log()[number - 1]));
            assert_eq!(Exit::of_error(&error), Exit::Stopped, "{line} {number}: {error}");
            assert_eq!(shelf.files(), before);
        }
        shelf.store.begin(Some((requests + 1, Fails::Refused)));
        shelf.collect(line).expect("nothing more was asked");
    }
}

#[test]
fn a_collection_that_lacks_an_answer_loses_nothing_and_the_next_one_finishes() {
    for line in ["", "-m", "-m --quarantine --quarantine-for 0s"] {
        let shelf = Shelf::new(few(), Etags::Md5, 0);
        let before = shelf.files();
        shelf.store.begin(None);
        let report = shelf.collect(line).expect("a collection");
        assert_eq!(report.exit(), Exit::Clean, "{:?}", report.findings);
        let after = shelf.files();
        assert!(after.len() < before.len());
        let log = shelf.store.log();
        let is_of_lock = |(_, key): &(Request, PathBuf)| key.ends_with("lock");
        let is_change = |asked: &(Request, PathBuf)| matches!(asked.0, Request::Put | Request::Delete) && !is_of_lock(asked);
        let first_change = 1 + log.iter().position(is_change).expect("something was removed");
        for how in [Fails::Refused, Fails::AnswerLost] {
            for number in 1..=log.len() {
                let at = || format!("{line} {number} {how:?}: {:?}", log[number - 1]);
                let shelf = Shelf::new(few(), Etags::Md5, 0);
                shelf.store.begin(Some((number, how)));
                let result = shelf.collect(line);
                let files = shelf.files();
                assert!(after.iter().all(|file| files.contains(file)), "{}", at());
                match result {
                    Err(error) => {
                        assert_eq!(Exit::of_error(&error), Exit::Stopped, "{}: {error}", at());
                        assert_eq!(files, before, "{}", at());
                    }
                    Ok(report) => {
                        assert!(number >= first_change || is_of_lock(&log[number - 1]), "{} went unnoticed", at());
                        let is_told = report.exit() == Exit::Incomplete || !report.findings.is_empty();
                        // What is asked for again after a lost answer may be done by then.
                        assert!(is_told || files == after, "{} is not told", at());
                    }
                }
                shelf.store.begin(None);
                let again = |line: &str| shelf.collect(line).unwrap_or_else(|error| panic!("{}: {error}", at()));
                let mut report = again(line);
                // A link that went while another stayed came back for that. It is young for an hour, and kept until what it was with is purged.
                for _ in 0..2 {
                    if line.contains("--quarantine") && shelf.files() != after {
                        report = again(&format!("{line} --min-age 0s"));
                    }
                }
                assert_eq!((report.exit(), shelf.files()), (Exit::Clean, after.clone()), "{}: {:?}", at(), report.findings);
            }
        }
    }
}

#[test]
fn an_audit_that_lacks_an_answer_says_what_it_could_not_see() {
    let shelf = Shelf::new(few(), Etags::Opaque, 0);
    let audit = || super::audit(&shelf.store, shelf.root.path(), "audit --jobs 1");
    shelf.store.begin(None);
    let whole = audit().expect("audited");
    assert!(!whole.would_stop);
    let requests = shelf.store.log();
    for number in 1..=requests.len() {
        shelf.store.begin(Some((number, Fails::Refused)));
        let is_told = match audit() {
            Err(error) => Exit::of_error(&error) == Exit::Stopped,
            // What many were asked for at once is asked for one by one after that: then nothing is unseen.
            Ok(report) if report.findings == whole.findings => !report.would_stop,
            Ok(report) => report.would_stop && report.findings.iter().any(|finding| finding.code == Code::UnreadableEntry),
        };
        assert!(is_told, "{number}: {:?}", requests[number - 1]);
    }
}

/// A repository in a bucket goes with its last key. That it was there is no reason for the next run to miss it.
#[test]
fn what_a_run_has_emptied_is_not_missed_by_the_next_one() {
    let shelf = Shelf::new(few(), Etags::Md5, 0);
    for name in ["b", "c", "d"] {
        let upload = layout::upload_directory(&RepositoryName::new(name), "stale");
        shelf.store.memory().add_file(upload.join("startedat"), "1970-01-12T13:46:40Z", SystemTime::UNIX_EPOCH);
    }
    let lines = ["", "--uploads-older-than 7d", "", "--dry-run"];
    let repositories = lines.map(|line| {
        shelf.store.begin(None);
        let report = shelf.collect(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(report.stops.is_empty(), "{line}: {:?}", report.stops);
        report.figures.repositories
    });
    assert_eq!(repositories, [4, 4, 1, 1]);
}
