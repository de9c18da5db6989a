//! Manifests that are kept from run to run: the next run reads what is new, and says what a run without them says.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::json;

use super::requests::{Shelf, is_ours};
use crate::exit::Exit;
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::report::Report as _;
use crate::report::collect::CollectReport;
use crate::store::{Etags, MemoryStore, Request};
use crate::testing::{Built, THEN};

/// A server that tells the beginning of all time tells none.
fn pushed() -> SystemTime {
    THEN + Duration::from_secs(1)
}

/// A bucket, and the cache of those who read it.
struct Kept {
    shelf: Shelf,
    cache: tempfile::TempDir,
}

impl Kept {
    fn new(files: MemoryStore, etags: Etags) -> Kept {
        for path in files.files() {
            let content = files.content(&path).expect("a file");
            files.add_file(path, content, pushed());
        }
        Kept { shelf: Shelf::new(files, etags, 3), cache: tempfile::tempdir().expect("a directory") }
    }

    fn memory(&self) -> &MemoryStore {
        self.shelf.store.memory()
    }

    /// A run, and which blobs it read.
    fn run(&mut self, line: &str) -> (CollectReport, Vec<Digest>) {
        self.shelf.store.set_cache(Some(self.cache.path()));
        let ended = self.without(line);
        self.shelf.store.set_cache(None);
        ended
    }

    fn without(&self, line: &str) -> (CollectReport, Vec<Digest>) {
        self.shelf.store.begin(None);
        let report = self.shelf.collect(line).expect("a run");
        let log = self.shelf.store.log();
        let reads = log.iter().filter(|(kind, key)| *kind == Request::Get && !is_ours(key));
        // Where ETags do not prove them, links are read each time.
        let blobs = reads.filter_map(|(_, key)| match Target::of_path(key) {
            Some(Target::Blob(digest)) => Some(digest),
            _ => None,
        });
        (report, blobs.collect())
    }
}

/// What a run would remove, and what it found.
fn facts(report: &CollectReport) -> (Vec<String>, Vec<String>, Exit) {
    let rows = report.plan.iter().flat_map(|plan| plan.iter().map(|row| format!("{row:?}"))).collect();
    (rows, report.findings.iter().map(|finding| format!("{finding:?}")).collect(), report.exit())
}

fn store() -> (MemoryStore, Vec<Digest>) {
    let built = Built::default();
    let [config, shared] = ["1", "share"].map(|text| built.blob(text.as_bytes()));
    let mut manifests = Vec::new();
    for number in 0..20 {
        let own = built.blob(format!("layer {number}").as_bytes());
        manifests.push(built.image(&config, &[shared, own]));
    }
    manifests.push(built.index(&manifests[..2]));
    for manifest in &manifests {
        built.revision("team/app", manifest);
    }
    built.tag("team/app", "v1", &manifests[20]);
    built.tag("team/app", "v2", &manifests[5]);
    (built.0, manifests)
}

#[test]
fn the_second_run_reads_no_manifest_and_a_later_one_what_is_new() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let (files, manifests) = store();
        let mut kept = Kept::new(files, etags);
        let (first, reads) = kept.run("--dry-run");
        assert_eq!(reads.len(), manifests.len());
        let (second, reads) = kept.run("--dry-run");
        assert_eq!(reads, []);
        assert_eq!(facts(&first), facts(&second));
        // By another command, too, and by a run that removes.
        let (report, reads) = kept.run("-m");
        assert_eq!((reads, report.exit()), (vec![], Exit::Clean));
        let built = Built(MemoryStore::default());
        let new = built.json(&json!({"config": {"digest": manifests[5].to_string()}}));
        for path in built.0.files() {
            let content = built.0.content(&path).expect("a file");
            kept.memory().add_file(path, content, pushed());
        }
        let link = LinkDirectory::Revisions(RepositoryName::new("team/app"));
        kept.memory().add_file(Target::Link(link, new).path(), new.to_string(), pushed());
        let (_, reads) = kept.run("--dry-run");
        assert_eq!(reads, [new]);
    }
}

#[test]
fn what_was_overwritten_truncated_or_removed_is_seen() {
    let later = pushed() + Duration::from_secs(5);
    let same_length =
        |kept: &Kept, digest: &Digest| "x".repeat(kept.memory().content(&layout::blob_data(digest)).expect("there").len());
    type Spoil<'a> = &'a dyn Fn(&Kept, &Digest);
    let spoils: [Spoil<'_>; 4] = [
        &|kept, digest| kept.memory().add_file(layout::blob_data(digest), same_length(kept, digest), pushed()),
        &|kept, digest| kept.memory().add_file(layout::blob_data(digest), "", later),
        &|kept, digest| kept.memory().add_file(layout::blob_data(digest), "{", pushed()),
        &|kept, digest| kept.memory().forget(&layout::blob_data(digest)),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let (files, manifests) = store();
        let mut kept = Kept::new(files, Etags::Md5);
        kept.run("--dry-run");
        spoil(&kept, &manifests[5]);
        let (with, reads) = kept.run("--dry-run -m --allow-unlinked 100%");
        let (without, _) = kept.without("--dry-run -m --allow-unlinked 100%");
        assert_eq!(facts(&with), facts(&without), "{number}");
        assert!(!with.findings.is_empty(), "{number}");
        assert!(reads.iter().all(|read| *read == manifests[5]), "{number}: {reads:?}");
        // What is damaged is not kept, and what is restored is.
        let good = Built(store().0);
        let path = layout::blob_data(&manifests[5]);
        kept.memory().add_file(path.clone(), good.0.content(&path).expect("there"), later);
        assert_eq!(kept.run("--dry-run").1, [manifests[5]], "{number}");
        assert_eq!(kept.run("--dry-run").1, [], "{number}");
    }
}

/// What happens to a store between two runs.
fn change(kept: &Kept, number: u32, what: u8, which: u8) {
    let later = pushed() + Duration::from_secs(u64::from(number) + 1);
    let blobs: Vec<_> =
        kept.memory().files().into_iter().filter(|path| matches!(Target::of_path(path), Some(Target::Blob(_)))).collect();
    let Some(path) = blobs.get(usize::from(which) % blobs.len().max(1)) else { return };
    let Some(Target::Blob(digest)) = Target::of_path(path) else { return };
    let content = kept.memory().content(path).expect("there");
    match what % 7 {
        0 => kept.memory().add_file(path, &content[..content.len() / 2], pushed()),
        1 => kept.memory().add_file(path, vec![b'x'; content.len()], pushed()),
        2 => kept.memory().add_file(path, content, later),
        3 => kept.memory().forget(path),
        4 | 5 => {
            let built = Built(MemoryStore::default());
            let image = built.json(&json!({"layers": [{"digest": digest.to_string()}], "number": number}));
            built.revision(["team/app", "other"][usize::from(what) % 2], &image);
            for path in built.0.files() {
                let content = built.0.content(&path).expect("a file");
                kept.memory().add_file(path, content, pushed());
            }
        }
        _ => {
            let links = |repository| LinkDirectory::Revisions(RepositoryName::new(repository));
            kept.memory().forget(&Target::Link(links("team/app"), digest).path());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    #[test]
    fn a_run_with_them_says_what_a_run_without_says(changes in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u8..8), 1..25)) {
        let mut kept = Kept::new(store().0, Etags::Md5);
        let lines = ["--dry-run", "--dry-run -m"].map(|line| format!("{line} --min-age 0s --allow-unlinked 100% --allow-empty"));
        for (number, (what, which, run)) in (0..).zip(changes) {
            change(&kept, number, what, which);
            match run {
                0 | 1 => {
                    let line = &lines[usize::from(run)];
                    let without = facts(&kept.without(line).0);
                    prop_assert_eq!(facts(&kept.run(line).0), without);
                }
                // As an interrupted run, or another version, leaves it.
                2 => {
                    for entry in std::fs::read_dir(kept.cache.path()).expect("listed") {
                        let path = entry.expect("listed").path();
                        let content = std::fs::read(&path).expect("read");
                        std::fs::write(&path, &content[..content.len() * usize::from(which) / 256]).expect("written");
                    }
                }
                _ => {}
            }
        }
    }
}
