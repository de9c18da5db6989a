//! A retention that drops a tag, planned and swept on a store in memory and on a filesystem. No command offers one yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::blobs::unreached_blobs;
use super::{planned, repositories};
use crate::graph::{Context, Manifests};
use crate::inventory::{Budget, Inventory};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{KeepReason, Kind, Reason, RootChoice, SweepPlan};
use crate::policy::{Arrivals, Policy};
use crate::progress::Silent;
use crate::retention::Retention;
use crate::store::Root;
use crate::store::{FilesystemStore, MemoryStore, Store, Vacuum};
use crate::survey::Survey;
use crate::sweep::sweep;
use crate::testing::sha256;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * HOUR
}

/// Drops one tag, alone or with everything that no other tag reaches.
#[derive(Debug)]
struct DropTag {
    tag: &'static str,
    drops_untagged: bool,
}

impl Retention for DropTag {
    fn touches(&self, _: &Survey<'_>) -> bool {
        true
    }

    fn tags(&self, survey: &Survey<'_>) -> Vec<RootChoice> {
        let choose = |tag: &crate::survey::Tag| match tag.name.as_os_str() == self.tag {
            true => RootChoice::Dropped(Reason::TagDropped),
            false => RootChoice::Root(KeepReason::Tag),
        };
        survey.tags.iter().map(choose).collect()
    }

    fn drops_untagged(&self, _: &Survey<'_>) -> bool {
        self.drops_untagged
    }

    fn untagged(&self, _: &Survey<'_>, _: &Digest) -> RootChoice {
        RootChoice::Dropped(Reason::Untagged)
    }
}

/// The files of a store, with their ages.
#[derive(Clone, Default)]
struct Files(BTreeMap<PathBuf, (Vec<u8>, Duration)>);

impl Files {
    fn put(&mut self, path: PathBuf, content: impl Into<Vec<u8>>) {
        self.0.insert(path, (content.into(), 10 * HOUR));
    }

    fn blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        self.put(layout::blob_data(&digest), bytes);
        digest
    }

    /// An image with its own layer and a shared one, and optionally a subject; all of it linked in `a`.
    fn image(&mut self, name: &str, subject: Option<&Digest>) -> Digest {
        let layers = [name, "shared"].map(|layer| self.blob(layer.as_bytes()));
        let descriptors: Vec<Value> = layers.iter().map(|layer| json!({"digest": layer.to_string()})).collect();
        let mut manifest = json!({ "config": descriptors[0], "layers": descriptors });
        if let Some(subject) = subject {
            manifest["subject"] = json!({ "digest": subject.to_string() });
        }
        let image = self.blob(manifest.to_string().as_bytes());
        for layer in layers {
            self.put(LinkDirectory::Layers(a()).link(&layer), layer.to_string());
        }
        self.put(LinkDirectory::Revisions(a()).link(&image), image.to_string());
        image
    }

    fn tag(&mut self, tag: &str, digest: &Digest) {
        self.put(layout::current_link(&a(), &TagName::new(tag)), digest.to_string());
        self.put(history(tag).link(digest), digest.to_string());
    }

    fn make_young(&mut self, path: &Path) {
        self.0.get_mut(path).expect("there").1 = Duration::from_secs(60);
    }

    /// Collects twice, in memory and on a filesystem. Both remove the same, and nothing the second time; returns the
    /// removed targets.
    fn collect(&self, retention: &dyn Retention) -> Vec<Target> {
        let memory = MemoryStore::new();
        for (path, (content, age)) in &self.0 {
            memory.add_file(path, content.clone(), now() - *age);
        }
        let directory = tempfile::tempdir().expect("a directory");
        for (path, (content, age)) in &self.0 {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
            std::fs::write(&path, content).expect("written");
            let file = std::fs::File::options().append(true).open(&path).expect("there");
            file.set_modified(now() - *age).expect("aged");
        }
        let on_disk = FilesystemStore::open(&Root::whole(directory.path())).expect("a store");
        let gone = collect(&memory, retention);
        assert_eq!(collect(&on_disk, retention), gone);
        let left: BTreeSet<PathBuf> = memory.files().into_iter().collect();
        let expected = self.0.keys().filter(|path| !gone.iter().any(|target| target.path() == **path));
        assert!(left.iter().eq(expected), "only planned targets were removed: {gone:?}");
        assert!(self.0.keys().all(|path| directory.path().join(path).exists() == left.contains(path)));
        assert_eq!((collect(&memory, retention), collect(&on_disk, retention)), (vec![], vec![]));
        gone
    }
}

/// Plans and sweeps as a command does, and returns the removed targets in order.
fn collect<S: Store + Vacuum>(store: &S, retention: &dyn Retention) -> Vec<Target> {
    let (budget, stop) = (Budget::unlimited(), AtomicBool::new(false));
    let (inventory, _) = Inventory::list(store, &budget).expect("listable");
    let inventory = Arc::new(inventory);
    let manifests = Manifests::new(store, &inventory);
    let policy = Policy::new(HOUR, Arrivals::Ignored, now());
    let context = Context { store, inventory: &inventory, manifests: &manifests, retention, policy };
    let entries = store.repositories().expect("listable").entries;
    let mut marks = repositories(&context, &entries, &|_| {}, &|_| Ok(()), &Silent, &stop).expect("readable");
    let mut blobs = unreached_blobs(&context, &marks, &budget).expect("readable");
    let (of_repositories, of_blobs) = planned(&mut marks, &mut blobs);
    let plan = SweepPlan::new(of_repositories, of_blobs, Arc::clone(&inventory), &budget).expect("in memory");
    let report = sweep(&plan, store, &Silent, &stop);
    assert_eq!((report.left, report.findings), (0, vec![]));
    plan.iter().map(|row| row.target).collect()
}

fn a() -> RepositoryName {
    RepositoryName::new("a")
}

fn history(tag: &str) -> LinkDirectory {
    LinkDirectory::History(a(), TagName::new(tag))
}

fn current(tag: &str, digest: &Digest) -> Target {
    Target::Tag(a(), TagName::new(tag), *digest)
}

/// Two tagged images, each with a referrer.
struct Two {
    files: Files,
    images: [Digest; 2],
    referrers: [Digest; 2],
}

fn two() -> Two {
    let mut files = Files::default();
    let images = ["one", "two"].map(|name| files.image(name, None));
    let referrers = [0, 1].map(|place| files.image(["signature of one", "signature of two"][place], Some(&images[place])));
    files.tag("v1", &images[0]);
    files.tag("v2", &images[1]);
    Two { files, images, referrers }
}

/// The links removed with a tag: its own, its history, its revisions.
fn link(directory: LinkDirectory, digest: &Digest) -> Target {
    Target::Link(directory, *digest)
}

#[test]
fn a_dropped_tag_goes_with_all_that_only_it_needs() {
    let Two { files, images, referrers } = two();
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: true });
    assert_eq!(gone[..2], [current("v2", &images[1]), link(history("v2"), &images[1])]);
    let mut expected = BTreeSet::from([gone[0].clone(), gone[1].clone()]);
    for (image, layer) in [(images[1], "two"), (referrers[1], "signature of two")] {
        let layer = sha256(layer.as_bytes());
        expected.extend([
            link(LinkDirectory::Revisions(a()), &image),
            link(LinkDirectory::Layers(a()), &layer),
            Target::Blob(image),
            Target::Blob(layer),
        ]);
    }
    assert_eq!(gone.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(gone.is_sorted_by_key(Kind::of), "names before contents");
}

#[test]
fn a_dropped_tag_goes_alone_where_untagged_revisions_stay() {
    let Two { files, images, .. } = two();
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: false });
    assert_eq!(gone, [current("v2", &images[1]), link(history("v2"), &images[1])]);
}

#[test]
fn what_another_tag_reaches_stays() {
    let Two { mut files, images, .. } = two();
    files.tag("v3", &images[1]);
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: true });
    assert_eq!(gone, [current("v2", &images[1]), link(history("v2"), &images[1])]);
}

#[test]
fn a_tag_that_is_a_referrer_of_a_kept_image_leaves_its_revision() {
    let Two { mut files, referrers, .. } = two();
    files.tag("signature", &referrers[0]);
    let gone = files.collect(&DropTag { tag: "signature", drops_untagged: true });
    assert_eq!(gone, [current("signature", &referrers[0]), link(history("signature"), &referrers[0])]);
}

#[test]
fn the_whole_history_of_a_dropped_tag_goes_although_its_revisions_stay() {
    let Two { mut files, images, .. } = two();
    files.put(history("v2").link(&images[0]), images[0].to_string());
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: false });
    let entries: BTreeSet<Target> = gone[1..].iter().cloned().collect();
    assert_eq!(gone[0], current("v2", &images[1]));
    assert_eq!(entries, BTreeSet::from(images.map(|image| link(history("v2"), &image))));
}

#[test]
fn a_young_tag_stays_with_all_that_it_reaches() {
    let Two { mut files, .. } = two();
    files.make_young(&layout::current_link(&a(), &TagName::new("v2")));
    for drops_untagged in [false, true] {
        assert_eq!(files.collect(&DropTag { tag: "v2", drops_untagged }), []);
    }
}

#[test]
fn young_history_keeps_the_revision_of_a_dropped_tag() {
    let Two { mut files, images, .. } = two();
    files.make_young(&history("v2").link(&images[1]));
    assert_eq!(files.collect(&DropTag { tag: "v2", drops_untagged: true }), [current("v2", &images[1])]);
}

#[test]
fn a_young_revision_stays_with_its_referrer_when_its_tag_goes() {
    let Two { mut files, images, .. } = two();
    files.make_young(&LinkDirectory::Revisions(a()).link(&images[1]));
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: true });
    assert_eq!(gone, [current("v2", &images[1]), link(history("v2"), &images[1])]);
}

#[test]
fn what_a_killed_run_left_of_a_dropped_tag_goes_with_the_next() {
    let Two { mut files, images, .. } = two();
    files.0.remove(&layout::current_link(&a(), &TagName::new("v2")));
    let gone = files.collect(&DropTag { tag: "v2", drops_untagged: false });
    assert_eq!(gone, [link(history("v2"), &images[1])]);
}

#[test]
fn nothing_goes_of_a_held_repository() {
    let layer = sha256(b"garbled");
    for garbled in [LinkDirectory::Layers(a()).link(&layer), layout::current_link(&a(), &TagName::new("v3"))] {
        let Two { mut files, .. } = two();
        files.put(garbled, "x");
        for drops_untagged in [false, true] {
            assert_eq!(files.collect(&DropTag { tag: "v2", drops_untagged }), []);
        }
    }
}

/// The content of a kept tag's missing target is unknown; that of a dropped tag's is not needed.
#[test]
fn an_absent_target_holds_for_a_kept_tag_only() {
    for (tag, is_held) in [("v1", true), ("v2", false)] {
        let Two { mut files, images, .. } = two();
        let absent = images[usize::from(tag == "v2")];
        files.0.remove(&layout::blob_data(&absent));
        let gone = files.collect(&DropTag { tag: "v2", drops_untagged: true });
        assert_eq!(gone.is_empty(), is_held, "{gone:?}");
    }
}

#[test]
fn a_tag_that_was_written_to_since_it_was_planned_spares_its_repository() {
    let Two { files, images, .. } = two();
    let memory = MemoryStore::new();
    for (path, (content, age)) in &files.0 {
        memory.add_file(path, content.clone(), now() - *age);
    }
    let target = current("v2", &images[1]);
    let stat = crate::store::Stat::new(71, now() - 11 * HOUR);
    let row = |target, stat| crate::plan::Deletion { target, stat, alias_of: None, reason: Reason::TagDropped, depth: 0 };
    let revision = link(LinkDirectory::Revisions(a()), &images[1]);
    let rows = [row(target, stat), row(revision, crate::store::Stat::new(71, now() - 10 * HOUR))];
    let report = sweep(&SweepPlan::of(&rows), &memory, &Silent, &AtomicBool::new(false));
    assert_eq!((report.left, memory.files().len()), (2, files.0.len()));
    assert_eq!(report.findings[0].tag, Some(TagName::new("v2")));
}
