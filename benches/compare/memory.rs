//! How much memory a run takes on a store that is larger than any disk here: shards made up as they are listed.

use std::path::{Path, PathBuf};

use regsweep::error::Error;
use regsweep::layout::{LinkFolder, Shard, Target};
use regsweep::mark::{Colour, Inventory};
use regsweep::oci::{Algorithm, Digest, RepositoryName, TagName};
use regsweep::store::{Leaf, LinkContent, Listing, ManifestContent, RepositoryEntry, Stat, Store, Stray, TagContent};

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

    fn links(&self, _: &LinkFolder) -> Result<Listing<Digest>, Error> {
        Ok(Listing::default())
    }

    fn read_links(&self, _: &LinkFolder, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        Ok(vec![LinkContent::Absent; digests.len()])
    }

    fn stat_links(&self, _: &LinkFolder, digests: &[Digest]) -> Result<Vec<Leaf>, Error> {
        Ok(vec![Leaf::Absent; digests.len()])
    }

    fn shards(&self) -> Result<Listing<Shard>, Error> {
        let entries = (0..=255).map(|byte| Shard { algorithm: Algorithm::Sha256, byte }).collect();
        Ok(Listing { entries, strays: Vec::new() })
    }

    fn blobs(&self, shard: Shard) -> Result<Listing<Digest>, Error> {
        let digest = |number: u64| {
            let mut bytes = [shard.byte; 32];
            // Spread as digests are: a multiplication that is one to one.
            bytes[1..9].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Digest::from_bytes(Algorithm::Sha256, &bytes)
        };
        let mut entries: Vec<Digest> = (0..self.blobs / 256).map(digest).collect();
        entries.sort_unstable();
        Ok(Listing { entries, strays: Vec::new() })
    }

    fn stat_blobs(&self, _: Shard, digests: &[Digest]) -> Result<Vec<Leaf>, Error> {
        Ok(vec![Leaf::Absent; digests.len()])
    }

    fn manifest(&self, _: &Digest, _: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        Ok(ManifestContent::Absent)
    }

    fn symlink_target(&self, _: &Path) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }

    fn empty_folder(&self, _: &Target) -> Result<Option<Stat>, Error> {
        Ok(None)
    }
}

/// Lists, marks every second blob, counts, and prints the peak of the memory that was resident.
pub(crate) fn run(blobs: u64) {
    let store = Imagined { blobs };
    let begun = std::time::Instant::now();
    let (inventory, _) = Inventory::list(&store).expect("imagined stores can be listed");
    let listed = begun.elapsed();
    let marked = inventory
        .map_shards(|_, blobs| {
            let mut marked = 0_u64;
            for (_, digest) in blobs.step_by(2) {
                inventory.mark(inventory.find(&digest).expect("stored"), Colour::LIVE);
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
