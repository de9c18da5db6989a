//! Every command on stores in memory, in the shape of a filesystem and of a bucket: what a command does, it does by the seam.

mod kept;
mod records;
mod requests;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser as _;
use jiff::Timestamp;

use super::{audit, explain, garbage_collect, list, quarantine, repair, report, usage, verify};
use crate::cli::{self, Cli, Command};
use crate::config::{
    AuditSettings, CollectSettings, ExplainSettings, ListSettings, QuarantineSettings, RepairSettings, ReportSettings,
    UsageSettings, VerifySettings,
};
use crate::error::Error;
use crate::explain::Fate;
use crate::finding::Severity;
use crate::layout::{self, LinkDirectory};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::Kind;
use crate::progress::Silent;
use crate::report::explain::ExplainReport;
use crate::report::list::{ListReport, Listed};
use crate::report::quarantine::Done;
use crate::report::repair::RepairReport;
use crate::report::usage::UsageReport;
use crate::report::verify::VerifyReport;
use crate::report::{audit::AuditReport, collect::CollectReport, quarantine::QuarantineReport};
use crate::store::{Access, Backend, Etags, LinkContent, MemoryStore, ObjectStore, RepositoryEntry, Shape};
use crate::testing::Built;

/// A store of which all files can be seen.
trait Place: Backend {
    fn memory(&self) -> &MemoryStore;
}

impl Place for MemoryStore {
    fn memory(&self) -> &MemoryStore {
        self
    }
}

impl Place for ObjectStore {
    fn memory(&self) -> &MemoryStore {
        ObjectStore::memory(self)
    }
}

/// Makes a store of files.
type Make = fn(MemoryStore) -> Box<dyn Place>;

/// All kinds of stores.
const ALL: [Make; 3] = [
    |files| Box::new(files),
    |files| Box::new(ObjectStore::new(files, Etags::Md5, 11)),
    |files| Box::new(ObjectStore::new(files, Etags::Opaque, 12)),
];

/// One image with a tag, one without, a blob that nothing links, and one whose bytes are not what its digest says.
struct Shop {
    store: Box<dyn Place>,
    /// What the image with the tag is made of.
    live: Vec<Digest>,
    /// What the other one is made of alone.
    untagged: Vec<Digest>,
    unlinked: Digest,
    corrupt: Digest,
    /// Arguments have to name a directory. What is worked on is in memory.
    root: tempfile::TempDir,
}

impl Shop {
    fn new(make: Make) -> Shop {
        let built = Built::default();
        // As long as `image` states.
        let [config, shared, own, corrupt] = ["1", "share", "alone", "decay"].map(|text| built.blob(text.as_bytes()));
        let tagged = built.image(&config, &[shared, corrupt]);
        let untagged = built.image(&config, &[shared, own]);
        for image in [tagged, untagged] {
            built.revision("team/app", &image);
        }
        [config, shared, own, corrupt].iter().for_each(|layer| built.layer("team/app", layer));
        built.tag("team/app", "v1", &tagged);
        let unlinked = built.blob(b"unlinked");
        built.0.add_file(layout::blob_data(&corrupt), "moths", crate::testing::THEN);
        let live = vec![config, shared, tagged, corrupt];
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join(layout::V2)).expect("made");
        Shop { store: make(built.0), live, untagged: vec![own, untagged], unlinked, corrupt, root }
    }

    fn backend(&self) -> &dyn Backend {
        &*self.store
    }

    fn files(&self) -> Vec<PathBuf> {
        self.store.memory().files()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.files().contains(&layout::blob_data(digest))
    }

    fn has_all(&self, digests: &[Digest]) -> bool {
        digests.iter().all(|digest| self.has(digest))
    }

    fn command(&self, line: &str) -> Command {
        command(self.root.path(), line)
    }

    fn collect(&self, line: &str) -> Result<CollectReport, Error> {
        collect(self.backend(), self.root.path(), &format!("garbage-collect --assume-offline {line}"))
    }

    fn expire(&self, line: &str) -> Result<CollectReport, Error> {
        let Command::Expire(arguments) = self.command(&format!("expire --assume-offline {line}")) else {
            panic!("another command")
        };
        let settings = CollectSettings::resolve_expire(arguments, line.to_owned())?;
        garbage_collect::run_on(self.backend(), settings, &Silent, &AtomicBool::new(false))
    }

    fn quarantine(&self, line: &str) -> Result<QuarantineReport, Error> {
        let wanted = match self.command(line) {
            Command::Restore(arguments) => cli::Quarantine::Restore(arguments),
            Command::Quarantine(wanted) => wanted,
            _ => panic!("another command"),
        };
        quarantine::run_on(self.backend(), QuarantineSettings::resolve(wanted)?, &Silent, &AtomicBool::new(false))
    }

    fn verify(&self, line: &str) -> Result<VerifyReport, Error> {
        let Command::Verify(arguments) = self.command(&format!("verify {line}")) else { panic!("another command") };
        verify::run_on(self.backend(), VerifySettings::resolve(arguments)?, &Silent, &AtomicBool::new(false))
    }

    fn usage(&self, line: &str) -> UsageReport {
        let Command::Usage(arguments) = self.command(&format!("usage {line}")) else { panic!("another command") };
        let settings = UsageSettings::resolve(arguments).expect("settings");
        usage::run_on(self.backend(), settings, &Silent, &AtomicBool::new(false)).expect("looked at")
    }

    fn list(&self, line: &str) -> Result<ListReport, Error> {
        let Command::List(arguments) = self.command(&format!("list {line}")) else { panic!("another command") };
        list::run_on(self.backend(), ListSettings::resolve(arguments)?, &Silent, &AtomicBool::new(false))
    }

    fn explain(&self, line: &str) -> Result<ExplainReport, Error> {
        let Command::Explain(arguments) = self.command(&format!("explain {line}")) else { panic!("another command") };
        explain::run_on(self.backend(), ExplainSettings::resolve(arguments)?, &Silent, &AtomicBool::new(false))
    }

    fn audit(&self) -> AuditReport {
        audit(self.backend(), self.root.path(), "audit").expect("audited")
    }
}

fn command(root: &Path, line: &str) -> Command {
    let words = ["regsweep"].into_iter().chain(line.split_whitespace());
    let words = words.chain(["--root", root.to_str().expect("text")]);
    Cli::try_parse_from(words).expect("a command").command
}

fn audit(backend: &dyn Backend, root: &Path, line: &str) -> Result<AuditReport, Error> {
    let Command::Audit(arguments) = command(root, line) else { panic!("another command") };
    audit::run_on(backend, AuditSettings::resolve(arguments)?, &Silent, &AtomicBool::new(false))
}

fn collect(backend: &dyn Backend, root: &Path, line: &str) -> Result<CollectReport, Error> {
    let Command::GarbageCollect(arguments) = command(root, line) else { panic!("another command") };
    let settings = CollectSettings::resolve(arguments, line.to_owned())?;
    garbage_collect::run_on(backend, settings, &Silent, &AtomicBool::new(false))
}

fn repair(shop: &Shop, line: &str) -> Result<RepairReport, Error> {
    let Command::Repair(arguments) = shop.command(&format!("repair --assume-offline {line}")) else { panic!("another command") };
    repair::run_on(shop.backend(), RepairSettings::resolve(arguments)?, &Silent, &AtomicBool::new(false))
}

/// Where links can be made they are, and a restoration brings back what they replaced; a bucket refuses before anything is asked of it.
#[test]
fn a_repair_makes_links_where_a_store_can() {
    for make in ALL {
        let shop = Shop::new(make);
        let links = LinkDirectory::Layers(RepositoryName::new("team/app"));
        let (empty, before) = (links.link(&shop.live[0]), shop.files());
        shop.store.memory().add_file(&empty, "", crate::testing::THEN);
        if shop.backend().repair().is_none() {
            let refused = repair(&shop, "").expect_err("a bucket").to_string();
            assert!(refused.contains("in a bucket"), "{refused}");
            assert_eq!(shop.files(), before);
            continue;
        }
        let content = || {
            let entry = RepositoryEntry { name: RepositoryName::new("team/app"), foreign: None };
            let repository = shop.backend().store().open(&entry).expect("opened");
            repository.read_links(&links, &shop.live[..1]).expect("read")[0]
        };
        assert_eq!(repair(&shop, "--dry-run").expect("a dry run").planned.len(), 1);
        assert_eq!(content(), LinkContent::Empty);
        assert_eq!(repair(&shop, "").expect("repaired").mended, 1);
        assert_eq!(content(), LinkContent::Digest(shop.live[0]));
        assert_eq!(shop.files(), before);
        let refused = shop.quarantine("restore").expect_err("it is damage that would come back").to_string();
        assert!(refused.contains("name their run"), "{refused}");
        assert_eq!(content(), LinkContent::Digest(shop.live[0]));
    }
}

#[test]
fn a_dry_run_says_what_a_collection_does_and_touches_nothing() {
    for make in ALL {
        for (line, goes) in [("", 1), ("-m", 3)] {
            let shop = Shop::new(make);
            let before = shop.files();
            let foreseen = shop.collect(&format!("{line} --dry-run")).expect("a dry run");
            assert_eq!(shop.files(), before);
            assert_eq!(shop.store.notes().read("summary.json").expect("none"), None);
            let done = shop.collect(line).expect("a collection");
            for report in [&foreseen, &done] {
                assert_eq!(report.swept.removed.kind(Kind::Blob).count, goes, "{line}");
                assert_eq!(report.figures.planned, done.figures.planned, "{line}");
            }
            assert!(shop.has_all(&shop.live) && !shop.has(&shop.unlinked), "{line}");
            assert_eq!(shop.has_all(&shop.untagged), line.is_empty(), "{line}");
            assert!(shop.store.notes().read("summary.json").expect("readable").is_some());
        }
    }
}

#[test]
fn what_was_quarantined_is_listed_restored_and_purged() {
    for make in ALL {
        let shop = Shop::new(make);
        let before = shop.files();
        let moved = shop.collect("-m --quarantine").expect("a collection");
        assert_eq!(moved.quarantine.waiting.count, 3);
        assert!(shop.has_all(&shop.live) && !shop.has(&shop.untagged[0]) && !shop.has(&shop.unlinked));
        let listed = shop.quarantine("quarantine list").expect("listed");
        assert_eq!((listed.runs.len(), listed.runs[0].blobs.count), (1, 3));

        let restored = shop.quarantine("restore --all").expect("restored");
        assert!(matches!(&restored.done, Done::Restored(moved) if moved.blobs.count == 3 && moved.failed.is_empty()));
        assert_eq!(shop.files(), before);
        assert!(shop.quarantine("quarantine list").expect("listed").runs.is_empty());

        // What came back is young for an hour.
        assert_eq!(shop.collect("-m --quarantine").expect("a collection").figures.planned.kind(Kind::Blob).count, 0);
        shop.collect("-m --quarantine --min-age 0s").expect("a collection");
        let purged = shop.quarantine("quarantine purge --assume-offline").expect("purged");
        assert!(matches!(&purged.done, Done::Purged { purged, .. } if purged.blobs.count == 3), "{:?}", purged.done);
        assert!(shop.has_all(&shop.live) && !shop.has(&shop.unlinked));
        assert!(shop.quarantine("quarantine list").expect("listed").runs.is_empty());
    }
}

#[test]
fn damage_is_found_and_taken_out_of_the_way() {
    for make in ALL {
        let shop = Shop::new(make);
        let report = shop.verify("").expect("verified");
        assert_eq!((report.damaged.count, report.good.count), (1, 6));
        let damaged: Vec<_> = report.findings.iter().filter(|finding| finding.code.severity() == Severity::Error).collect();
        assert_eq!(damaged.iter().map(|finding| finding.digest).collect::<Vec<_>>(), [Some(shop.corrupt)], "{damaged:?}");
        assert!(shop.has(&shop.corrupt));
        let report = shop.verify("--quarantine").expect("verified");
        assert_eq!(report.quarantined.count, 1);
        assert!(!shop.has(&shop.corrupt));
        shop.quarantine("restore").expect("restored");
        assert!(shop.has(&shop.corrupt));
    }
}

#[test]
fn an_audit_says_what_two_collections_would_do() {
    for make in ALL {
        let shop = Shop::new(make);
        let before = shop.files();
        let report = shop.audit();
        let goes = report.collections.each_ref().map(|collection| collection.totals.kind(Kind::Blob).count);
        assert_eq!(goes, [1, 3]);
        assert_eq!(report.figures.repositories, 1);
        assert_eq!(shop.files(), before);
    }
}

#[test]
fn a_report_is_three_reports_of_the_same_time() {
    for make in ALL {
        let shop = Shop::new(make);
        let before = shop.files();
        let pages = tempfile::tempdir().expect("a directory");
        let page = pages.path().join("page.html");
        let Command::Report(arguments) = shop.command(&format!("report --html {}", page.display())) else {
            panic!("another command")
        };
        let settings = ReportSettings::resolve(arguments).expect("settings");
        let whole = report::run_on(shop.backend(), settings, &Silent, &AtomicBool::new(false)).expect("read");
        assert_eq!(shop.files(), before);
        let collect = whole.collect.expect("nothing that cannot be read");
        assert_eq!(collect.figures.planned, whole.audit.collections[0].totals, "they agree on what goes");
        let usage = whole.usage;
        assert_eq!(usage.usage.reclaimable(), collect.figures.planned.kind(Kind::Blob));
        assert_eq!((usage.started, whole.audit.started), (collect.policy.now, collect.policy.now));
        let ages = usage.ages.expect("a page shows them");
        assert_eq!(ages.iter().map(|row| row.tags).sum::<u64>(), usage.counts.tags, "each tag has one age");
    }
}

#[test]
fn usage_says_what_a_repository_holds_alone() {
    for make in ALL {
        let shop = Shop::new(make);
        let before = shop.files();
        let report = shop.usage("");
        let (usage, rows) = (report.usage, &report.rows);
        let counts = [usage.stored, usage.live, usage.shared, usage.untagged, usage.unreferenced, usage.unlinked];
        assert_eq!(counts.map(|amount| amount.count), [7, 4, 0, 2, 0, 1]);
        assert_eq!((rows.len(), rows[0].unique, rows[0].total, rows[0].untagged), (1, usage.live, usage.live, usage.untagged));
        assert_eq!((rows[0].name.as_str(), rows[0].tags, rows[0].images), ("team/app", 1, 2));
        assert_eq!(rows[0].pushed, Some(crate::testing::THEN));
        assert_eq!(shop.usage("--by namespace").rows[0].name, "team");
        shop.collect("-m").expect("a collection");
        let after = shop.usage("").usage;
        assert_eq!((after.stored, after.live), (usage.live, usage.live));
        assert_eq!(shop.files().len(), before.len() - 5);
    }
}

#[test]
fn a_list_has_repositories_tags_and_what_has_none() {
    for make in ALL {
        let shop = Shop::new(make);
        let Listed::Repositories(all) = shop.list("").expect("listed").listed else { panic!("repositories") };
        assert_eq!(
            all.iter().map(|one| (one.name.to_string(), one.tags, one.revisions)).collect::<Vec<_>>(),
            [("team/app".into(), 1, 2)]
        );
        let Listed::Tags(_, tags) = shop.list("team/app:v1").expect("listed").listed else { panic!("tags") };
        assert_eq!((tags.len(), tags[0].digest, tags[0].kind.as_str()), (1, Some(shop.live[2]), "image"));
        let Listed::Untagged(revisions) = shop.list("--untagged team/app").expect("listed").listed else { panic!("revisions") };
        assert_eq!(revisions.iter().map(|revision| revision.digest).collect::<Vec<_>>(), [shop.untagged[1]]);
        for line in ["team", "team/app:v2", "--untagged team/app:v1"] {
            assert!(matches!(shop.list(line).expect_err("not there"), Error::Usage(_)), "{line}");
        }
    }
}

#[test]
fn what_is_kept_is_explained() {
    for make in ALL {
        let shop = Shop::new(make);
        let of = |digest: &Digest| shop.explain(&digest.to_string()).expect("explained").explanation;
        let [_, shared, tagged, _] = shop.live[..] else { panic!("four") };
        let [own, untagged] = shop.untagged[..] else { panic!("two") };
        for (digest, fate, ways, tagged) in [
            (shared, Fate::Kept, 2, 1),
            (tagged, Fate::Kept, 1, 1),
            (own, Fate::KeptUntagged, 1, 0),
            (untagged, Fate::KeptUntagged, 1, 0),
            (shop.unlinked, Fate::Unlinked, 0, 0),
            (crate::testing::sha256(b"nothing"), Fate::Absent, 0, 0),
        ] {
            let explained = of(&digest);
            assert_eq!((explained.fate, explained.chain_count, explained.tagged_chain_count), (fate, ways, tagged), "{digest}");
        }
        let tag = shop.explain("team/app:v1").expect("explained").explanation;
        assert_eq!((tag.digest, tag.freed.count, tag.leads_to.count), (Some(tagged), 4, 4));
        assert_eq!(shop.explain("team/app").expect("explained").explanation.freed, tag.freed);
        for line in ["", "team/app:v2", "other"] {
            assert!(matches!(shop.explain(line).expect_err("not there"), Error::Usage(_)), "{line}");
        }
    }
}

#[test]
fn two_do_not_change_a_store_at_once() {
    for make in ALL {
        let shop = Shop::new(make);
        let lock =
            |access| shop.store.lock(access, Duration::ZERO, Timestamp::UNIX_EPOCH, &AtomicBool::new(false)).expect("free");
        let looking = lock(Access::Look);
        shop.collect("--dry-run").expect("many may look");
        // Who looks at a bucket takes no lock.
        let is_tree = shop.store.store().shape() == Shape::Tree;
        if is_tree {
            assert!(matches!(shop.collect("").expect_err("somebody looks"), Error::Locked { .. }));
            assert!(matches!(shop.verify("--quarantine").expect_err("somebody looks"), Error::Locked { .. }));
        }
        drop(looking);
        let _changing = lock(Access::Change);
        assert!(!is_tree || matches!(shop.collect("--dry-run").expect_err("somebody changes it"), Error::Locked { .. }));
        assert!(matches!(shop.collect("").expect_err("somebody changes it"), Error::Locked { .. }));
        assert!(matches!(shop.quarantine("restore").expect_err("somebody changes it"), Error::Locked { .. }));
        assert!(shop.has(&shop.unlinked));
    }
}

#[test]
fn brakes_are_asked_before_anything_changes() {
    for make in ALL {
        let shop = Shop::new(make);
        let before = shop.files();
        let error = shop.collect("--max-reclaim 1B").expect_err("more goes");
        assert!(matches!(&error, Error::Brake { reason, .. } if reason.contains("--max-reclaim")), "{error}");
        assert_eq!(shop.files(), before);
        shop.store.memory().add_file(layout::DATABASE_IN_USE, "", crate::testing::THEN);
        for line in ["", "-m", "--quarantine"] {
            let error = shop.collect(line).expect_err("somebody else's");
            assert!(matches!(&error, Error::Brake { reason, .. } if reason.contains("GitLab")), "{error}");
        }
        assert_eq!(shop.files().len(), before.len() + 1);
    }
}

#[test]
fn tags_go_by_rules_and_come_back_from_quarantine() {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, "[[rule]]\nrepositories = ['team/*']\nkeep-newest = 1\nby = 'version'\n").expect("written");
    for make in ALL {
        let shop = Shop::new(make);
        let current = layout::current_link(&RepositoryName::new("team/app"), &TagName::new("v0"));
        shop.store.memory().add_file(&current, shop.untagged[1].to_string(), crate::testing::THEN);
        let before = shop.files();
        let line = format!("--policy {}", policy.display());
        let foreseen = shop.expire(&format!("{line} --dry-run")).expect("a dry run");
        assert_eq!(shop.files(), before);
        let done = shop.expire(&format!("{line} --quarantine")).expect("a run");
        assert_eq!(done.figures.planned, foreseen.figures.planned);
        assert_eq!(done.swept.removed.kind(Kind::Tag).count, 1);
        assert!(!shop.files().contains(&current) && !shop.has(&shop.untagged[0]) && shop.has_all(&shop.live));
        shop.quarantine("restore --all").expect("restored");
        assert_eq!(shop.files(), before);
        // It is young for an hour, and goes for good after that.
        assert_eq!(shop.expire(&line).expect("a run").figures.planned.kind(Kind::Tag).count, 0);
        shop.expire(&format!("{line} --min-age 0s")).expect("a run");
        assert!(!shop.files().contains(&current) && !shop.has(&shop.untagged[0]) && shop.has_all(&shop.live));
    }
}
