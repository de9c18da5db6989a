//! Depths of deleted manifests below other deleted ones: an index is deleted before its children.

use foldhash::HashMap;
use rayon::prelude::*;

use crate::error::Error;
use crate::graph::{Context, Held, Reading};
use crate::inventory::BlobId;
use crate::oci::{Algorithm, Digest};
use crate::survey::Survey;

/// For each dropped revision of a repository, its depth below the others.
pub(super) fn revision_depths(
    survey: &Survey<'_>,
    context: &Context<'_>,
    going: &[Digest],
    readings: &[Held<'_>],
) -> Result<Vec<u32>, Error> {
    let manifests: Vec<(Digest, Option<BlobId>)> = going.iter().map(|digest| (*digest, context.inventory.find(digest))).collect();
    depths(&manifests, |digest| readings[survey.revision(digest).expect("dropped revisions are in the survey")].get(digest))
}

/// For each of some manifests, given with their places in the inventory, the length of the longest path to it from
/// another of them. They need not be stored.
pub(super) fn depths(
    manifests: &[(Digest, Option<BlobId>)],
    read: impl Fn(&Digest) -> Result<Reading, Error> + Sync,
) -> Result<Vec<u32>, Error> {
    let mut blobs: HashMap<BlobId, usize> = HashMap::default();
    // Edges by digest: those that are not stored, and those that may be aliases.
    let mut names: HashMap<Digest, usize> = HashMap::default();
    for (place, (digest, blob)) in manifests.iter().enumerate() {
        blobs.extend(blob.map(|blob| (blob, place)));
        if blob.is_none() || digest.algorithm() != Algorithm::Sha256 {
            names.insert(*digest, place);
        }
    }
    // Only edges between them are kept: all their edges may exceed the memory.
    let children: Vec<Vec<usize>> = manifests
        .par_iter()
        .with_min_len(64)
        .map(|(digest, _)| {
            let Reading::Read(edges) = read(digest)? else { return Ok(Vec::new()) };
            let stored = edges.stored.iter().filter_map(|edge| blobs.get(&edge.blob));
            let named = edges.unresolved.iter().filter_map(|descriptor| names.get(&descriptor.digest));
            let mut children: Vec<usize> = stored.chain(named).copied().collect();
            children.sort_unstable();
            children.dedup();
            Ok(children)
        })
        .collect::<Result<_, Error>>()?;
    let mut parents = vec![0_u32; manifests.len()];
    for &child in children.iter().flatten() {
        parents[child] += 1;
    }
    // Digests cannot form a cycle, so every manifest leaves the queue once.
    let mut depths = vec![0; manifests.len()];
    let mut queue: Vec<usize> = (0..manifests.len()).filter(|&place| parents[place] == 0).collect();
    while let Some(place) = queue.pop() {
        for &child in &children[place] {
            depths[child] = depths[child].max(depths[place] + 1);
            parents[child] -= 1;
            if parents[child] == 0 {
                queue.push(child);
            }
        }
    }
    Ok(depths)
}
