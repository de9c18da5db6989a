//! How much memory a run takes on a store that is larger than any disk here: shards made up as they are listed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use regsweep::error::Error;
use regsweep::inventory::{Budget, Inventory, MarkFlags};
use regsweep::layout::{LinkDirectory, Shard, Target};
use regsweep::oci::{Algorithm, Digest, RepositoryName, TagName};
use regsweep::store::{
    BlobContent, FileState, Leftover, LinkContent, Listing, ManifestContent, RepositoryEntry, Stat, Store, Stray, TagContent,
    Upload,
};

/// So many blobs and nothing else.
struct Imagined {
    blobs: u64,
}

impl Store for Imagined {
    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        Ok(Listing::default())
    }

    fn manifest_strays(&self, _: &RepositoryName) -> Result<Vec<Stray>, Error> {
        Ok(Vec::new())
    }

    fn tags(&self, _: &RepositoryName) -> Result<Listing<TagName>, Error> {
        Ok(Listing::default())
    }

    fn tag(&self, _: &RepositoryName, _: &TagName) -> Result<TagContent, Error> {
        Ok(TagContent { current: LinkContent::Absent, history: Listing::default() })
    }

    fn links(&self, _: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        Ok(Listing::default())
    }

    fn read_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        Ok(vec![LinkContent::Absent; digests.len()])
    }

    fn inspect_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        Ok(vec![(LinkContent::Absent, FileState::Absent); digests.len()])
    }

    fn stat_links(&self, _: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(vec![FileState::Absent; digests.len()])
    }

    fn uploads(&self, _: &RepositoryName) -> Result<Listing<Upload>, Error> {
        Ok(Listing::default())
    }

    fn leftovers(&self, _: &Path, _: &[&str]) -> Result<Vec<Leftover>, Error> {
        Ok(Vec::new())
    }

    fn shards(&self) -> Result<Listing<Shard>, Error> {
        let entries = (0..=255).map(|byte| Shard { algorithm: Algorithm::Sha256, byte }).collect();
        Ok(Listing { entries, strays: Vec::new() })
    }

    fn blobs(&self, shard: Shard, each: &mut dyn FnMut(&Digest)) -> Result<Vec<Stray>, Error> {
        let digest = |number: u64| {
            let mut bytes = [shard.byte; 32];
            // Spread as digests are: a multiplication that is one to one.
            bytes[1..9].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Digest::from_bytes(Algorithm::Sha256, &bytes)
        };
        (0..self.blobs / 256).for_each(|number| each(&digest(number)));
        Ok(Vec::new())
    }

    fn stat_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(vec![FileState::Absent; digests.len()])
    }

    fn manifest(&self, _: &Digest, _: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        Ok(ManifestContent::Absent)
    }

    fn read_blob(&self, _: &Digest, _: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        BlobContent::Absent
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
    let store = Imagined { blobs };
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
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    let over = (kib << 10).saturating_sub(64 << 20) as f64 / inventory.len() as f64;
    println!(
        "memory: {} blobs listed in {:.2} s, {marked} marked in {:.2} s, peak {} MiB, {over:.1} bytes a blob over 64 MiB",
        inventory.len(),
        listed.as_secs_f64(),
        (begun.elapsed() - listed).as_secs_f64(),
        kib >> 10,
    );
}

/// A control group that gives no more memory than so much, the cache of files included.
pub(crate) struct Cage {
    folder: PathBuf,
}

impl Cage {
    /// Makes one; nothing without the right to. Both versions of control groups are known.
    pub(crate) fn of(bytes: u64) -> Option<Cage> {
        let name = format!("regsweep-compare-{}", std::process::id());
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")].into_iter().find_map(
            |(above, limit)| {
                let folder = Path::new(above).join(&name);
                std::fs::create_dir(&folder).ok()?;
                let cage = Cage { folder };
                std::fs::write(cage.folder.join(limit), bytes.to_string()).ok()?;
                Some(cage)
            },
        )
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        command.args(["-c", &enter, "sh"]).arg(program);
        command
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
