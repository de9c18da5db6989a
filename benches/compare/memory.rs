//! How much memory a run takes on a store that is larger than any disk here: shards made up as they are listed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use regsweep::error::Error;
use regsweep::graph::{Context, Manifests};
use regsweep::inventory::{Budget, Inventory, MarkFlags};
use regsweep::layout::{LinkDirectory, Shard, Target};
use regsweep::mark::blobs::unreached_blobs;
use regsweep::mark::{self, Marks};
use regsweep::oci::{Algorithm, Digest, RepositoryName, TagName};
use regsweep::plan::SweepPlan;
use regsweep::policy::{Arrivals, Policy, RootPolicy};
use regsweep::progress::Silent;
use regsweep::store::{
    BlobContent, Condition, DryRun, EachBlob, FileState, Leftover, LinkContent, Listing, ManifestContent, ManifestStart,
    Partition, Repository, RepositoryEntry, Shape, Stat, Store, Stray, TagContent, Unlisted, Upload,
};
use regsweep::sweep::sweep;

/// So many blobs, linked by so many repositories, the same number by each. Every second one is named by the manifest that the first is.
struct Imagined {
    blobs: u64,
    repositories: u64,
    /// The repository of each manifest.
    manifests: HashMap<Digest, u64>,
}

/// The digest of a blob by its number.
fn digest(number: u64) -> Digest {
    let mut bytes = [(number % 256) as u8; 32];
    // Spread as digests are: a multiplication that is one to one.
    bytes[1..9].copy_from_slice(&(number / 256).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Digest::from_bytes(Algorithm::Sha256, &bytes)
}

impl Imagined {
    fn new(blobs: u64, repositories: u64) -> Imagined {
        let mut store = Imagined { blobs, repositories, manifests: HashMap::new() };
        store.manifests = (0..repositories).map(|number| (digest(store.blobs_of(number).start), number)).collect();
        store
    }

    fn blobs_of(&self, repository: u64) -> Range<u64> {
        let each = self.blobs / self.repositories;
        repository * each..(repository + 1) * each
    }

    fn of(&self, repository: &RepositoryName) -> Range<u64> {
        self.blobs_of(repository.to_string().trim_start_matches('r').parse().expect("all are called so"))
    }
}

const FILE: FileState = FileState::File(Stat { size_bytes: 1000, modified: SystemTime::UNIX_EPOCH, arrived: None });

/// A repository by the numbers of its blobs.
struct ImaginedRepository(Range<u64>);

impl Repository for ImaginedRepository {
    fn has_directory(&self, _: &str) -> Result<bool, Error> {
        Ok(true)
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        let mut entries: Vec<Digest> = match directory {
            LinkDirectory::Layers(_) => self.0.clone().map(digest).collect(),
            LinkDirectory::Revisions(_) => vec![digest(self.0.start)],
            LinkDirectory::History(..) => Vec::new(),
        };
        entries.sort_unstable();
        Ok(Listing { entries, strays: Vec::new() })
    }

    fn manifest_strays(&self) -> Result<Vec<Stray>, Error> {
        Ok(Vec::new())
    }

    fn tags(&self) -> Result<Listing<TagName>, Error> {
        Ok(Listing { entries: vec![TagName::new("v1")], strays: Vec::new() })
    }

    fn tag(&self, _: &TagName) -> Result<TagContent, Error> {
        Ok(TagContent { current: LinkContent::Digest(digest(self.0.start)), history: Listing::default() })
    }

    fn stat_tag(&self, _: &TagName) -> Result<FileState, Error> {
        Ok(FILE)
    }

    fn tag_changed(&self, _: &TagName) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    fn stat_list(&self, _: &LinkDirectory, _: Algorithm) -> Result<Option<Stat>, Error> {
        Ok(None)
    }

    fn read_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        Ok(digests.iter().map(|digest| LinkContent::Digest(*digest)).collect())
    }

    fn inspect_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        Ok(digests.iter().map(|digest| (LinkContent::Digest(*digest), FILE)).collect())
    }

    fn stat_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(vec![FILE; digests.len()])
    }

    fn beside_links(&self, _: &LinkDirectory, _: &[Digest]) -> Result<Vec<Leftover>, Error> {
        Ok(Vec::new())
    }

    fn beside_tag(&self, _: &TagName) -> Result<Vec<Leftover>, Error> {
        Ok(Vec::new())
    }

    fn uploads(&self) -> Result<Listing<Upload>, Error> {
        Ok(Listing::default())
    }

    fn upload_contents(&self, _: &std::ffi::OsStr) -> Result<Option<regsweep::store::UploadContents>, Error> {
        Ok(None)
    }

    fn beside_upload(&self, _: &OsStr) -> Result<Vec<Leftover>, Error> {
        Ok(Vec::new())
    }
}

impl Store for Imagined {
    fn shape(&self) -> Shape {
        Shape::Tree
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        let entry = |number| RepositoryEntry { name: RepositoryName::new(format!("r{number:06}")), foreign: None };
        Ok(Listing { entries: (0..self.repositories).map(entry).collect(), strays: Vec::new() })
    }

    fn listable_repositories(&self, _: Unlisted<'_>) -> Result<Listing<RepositoryEntry>, Error> {
        self.repositories()
    }

    fn open<'s>(&'s self, repository: &RepositoryEntry) -> Result<Box<dyn Repository + 's>, Error> {
        Ok(Box::new(ImaginedRepository(self.of(&repository.name))))
    }

    fn partitions(&self) -> Result<Listing<Partition>, Error> {
        let entries = (0..=255).map(|byte| Shard { algorithm: Algorithm::Sha256, byte }.into()).collect();
        Ok(Listing { entries, strays: Vec::new() })
    }

    fn blobs(&self, partition: &Partition, each: EachBlob<'_>) -> Result<Vec<Stray>, Error> {
        let of_byte = |byte| (u64::from(byte)..self.blobs).step_by(256);
        partition.bytes().flat_map(of_byte).for_each(|number| each(&digest(number), None));
        Ok(Vec::new())
    }

    fn beside_blobs(&self, _: Shard, _: &[Digest]) -> Result<Vec<Leftover>, Error> {
        Ok(Vec::new())
    }

    fn stat_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(vec![FILE; digests.len()])
    }

    fn manifest(&self, name: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        let Some(repository) = self.manifests.get(name) else { return Ok(ManifestContent::Absent) };
        let layers: Vec<String> = self
            .blobs_of(*repository)
            .step_by(2)
            .skip(1)
            .map(|number| format!(r#"{{"size":1000,"digest":"{}"}}"#, digest(number)))
            .collect();
        read(format!(r#"{{"layers":[{}]}}"#, layers.join(",")).as_bytes());
        Ok(ManifestContent::Verified)
    }

    fn read_blob(&self, _: &Digest, _: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        BlobContent::Absent
    }

    fn manifest_start(&self, _: &Digest) -> Result<ManifestStart, Error> {
        Ok(ManifestStart::Possible)
    }

    fn blob_condition(&self, _: &Digest) -> Result<Option<Condition>, Error> {
        Ok(None)
    }

    fn is_whole_on_disk(&self, _: &Digest) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    fn symlink_target(&self, _: &Path) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    fn empty_directory(&self, _: &Target) -> Result<Option<Stat>, Error> {
        Ok(None)
    }
}

/// Lists, marks every second blob, counts, and prints the peak of the memory that was resident.
///
/// With a budget the table goes to a file beyond it; how much of that file is resident then is the kernel's choice.
pub(crate) fn run(blobs: u64, budget_bytes: Option<u64>) {
    let store = Imagined::new(blobs, 1);
    let budget = budget_bytes.map_or_else(Budget::unlimited, |bytes| Budget::of(bytes, Path::new("target/compare")));
    let begun = std::time::Instant::now();
    let (inventory, _) = Inventory::list(&store, &budget).expect("imagined stores can be listed");
    let listed = begun.elapsed();
    let marked = inventory
        .map_shards(|_, blobs| {
            let mut marked = 0_u64;
            for (_, digest) in blobs.step_by(2) {
                inventory.mark(inventory.find(&digest).expect("stored"), MarkFlags::LIVE);
                marked += 1;
            }
            Ok(marked)
        })
        .expect("nothing fails")
        .iter()
        .sum::<u64>();
    let kib = peak_kib();
    let over = (kib << 10).saturating_sub(64 << 20) as f64 / inventory.len() as f64;
    println!(
        "memory: {} blobs listed in {:.2} s, {marked} marked in {:.2} s, peak {} MiB, {over:.1} bytes a blob over 64 MiB",
        inventory.len(),
        listed.as_secs_f64(),
        (begun.elapsed() - listed).as_secs_f64(),
        kib >> 10,
    );
}

/// The most memory that was resident.
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Marks, plans and sweeps a store of which half is garbage with its links: 10,000 links in each repository. Nothing is removed, which is
/// all that differs from a run.
pub(crate) fn plan(blobs: u64, budget_bytes: Option<u64>) {
    let store = Imagined::new(blobs, blobs / 10_000);
    let budget = budget_bytes.map_or_else(Budget::unlimited, |bytes| Budget::of(bytes, Path::new("target/compare")));
    let begun = std::time::Instant::now();
    let (inventory, _) = Inventory::list(&store, &budget).expect("imagined stores can be listed");
    let inventory = Arc::new(inventory);
    let repositories = store.repositories().expect("imagined").entries;
    let manifests = Manifests::new(&store, &inventory);
    let policy = Policy::new(std::time::Duration::from_secs(3600), Arrivals::Ignored, SystemTime::now());
    let context =
        Context { store: &store, inventory: &inventory, manifests: &manifests, retention: &RootPolicy::TaggedOnly, policy };
    let stop = AtomicBool::new(false);
    let done = |marks: &mut Marks| marks.deletions.set_aside(&budget);
    let mut marks = mark::repositories(&context, &repositories, &|_| {}, &done, &Silent, &stop).expect("nothing fails");
    let mut unreached = unreached_blobs(&context, &marks, &budget).expect("nothing fails");
    let (of_repositories, of_blobs) = mark::planned(&mut marks, &mut unreached);
    let plan = SweepPlan::new(of_repositories, of_blobs, Arc::clone(&inventory), &budget).expect("there is room");
    let planned = begun.elapsed();
    let swept = sweep(&plan, &DryRun, &Silent, &stop);
    assert_eq!((swept.left, plan.len() as u64), (0, plan.totals().iter().map(|(.., amount)| amount.count).sum()));
    println!(
        "plan: {} blobs, {} rows planned in {:.1} s and swept in {:.1} s, peak {} MiB",
        inventory.len(),
        plan.len(),
        planned.as_secs_f64(),
        (begun.elapsed() - planned).as_secs_f64(),
        peak_kib() >> 10,
    );
}

/// A control group that gives no more memory than so much, the cache of files included.
pub(crate) struct Cage {
    directory: PathBuf,
}

impl Cage {
    /// Makes one; nothing without the right to. Both versions of control groups are known.
    pub(crate) fn of(bytes: u64) -> Option<Cage> {
        let name = format!("regsweep-compare-{}", std::process::id());
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")].into_iter().find_map(
            |(above, limit)| {
                let directory = Path::new(above).join(&name);
                std::fs::create_dir(&directory).ok()?;
                let cage = Cage { directory };
                std::fs::write(cage.directory.join(limit), bytes.to_string()).ok()?;
                Some(cage)
            },
        )
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.directory.display());
        command.args(["-c", &enter, "sh"]).arg(program);
        command
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}
