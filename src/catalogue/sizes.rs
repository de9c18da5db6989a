//! Sizes of some blobs on disk.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::error::Error;
use crate::graph::Context;
use crate::inventory::BlobId;
use crate::layout::Shard;
use crate::oci::Digest;
use crate::store::FileState;

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// The sizes of blobs with data.
///
/// # Errors
///
/// When a blob cannot be read.
pub(crate) fn sizes_of(context: &Context<'_>, blobs: impl IntoIterator<Item = BlobId>) -> Result<HashMap<BlobId, u64>, Error> {
    let mut shards: BTreeMap<Shard, Vec<(Digest, BlobId)>> = BTreeMap::new();
    for blob in blobs {
        let digest = context.inventory.digest(blob);
        shards.entry(Shard::of(&digest)).or_default().push((digest, blob));
    }
    let mut sizes = HashMap::default();
    for (shard, mut all) in shards {
        all.sort_unstable();
        all.dedup();
        for some in all.chunks(BLOBS_AT_ONCE) {
            let digests: Vec<Digest> = some.iter().map(|(digest, _)| *digest).collect();
            for ((_, blob), state) in some.iter().zip(context.store.stat_blobs(shard, &digests)?) {
                if let FileState::File(stat) = state {
                    sizes.insert(*blob, stat.size_bytes);
                }
            }
        }
    }
    Ok(sizes)
}
