//! Who states another size for a blob than it has.

use std::collections::BTreeMap;

use super::named::named;
use crate::error::Error;
use crate::finding::Finding;
use crate::graph::Context;
use crate::inventory::{BlobId, MarkFlags};
use crate::oci::Digest;
use crate::store::{FileState, RepositoryEntry};

/// Looks at so many blobs between two looks at what is left to do.
const BLOBS_AT_ONCE: usize = 1024;
/// Finds the blobs whose size is not what a manifest states. No blob's content is read, only manifests.
///
/// Every manifest has to have been read through the context before, as marking does.
///
/// # Errors
///
/// When a blob cannot be looked at, or a directory, a link or a manifest not be read.
pub(crate) fn size_mismatches(context: &Context<'_>, repositories: &[RepositoryEntry]) -> Result<Vec<Finding>, Error> {
    stated_otherwise(context, repositories, &suspects(context)?)
}

/// Finds who states another size for blobs than they have, given with that.
///
/// # Errors
///
/// When a directory, a link or a manifest cannot be read.
pub(crate) fn stated_otherwise(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    sizes: &BTreeMap<Digest, u64>,
) -> Result<Vec<Finding>, Error> {
    if sizes.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = sizes.iter().map(|(digest, size)| (*digest, Some(*size))).collect();
    let named = named(context, repositories, &wanted)?;
    Ok(named.into_iter().map(|(digest, named)| named.into_finding(&digest, sizes[&digest])).collect())
}

/// Blobs that are not as large as was once stated, or of which two sizes were stated, with their real size.
fn suspects(context: &Context<'_>) -> Result<BTreeMap<Digest, u64>, Error> {
    let inventory = context.inventory;
    let parts = inventory.map_shards(|shard, blobs| {
        let stated: Vec<_> = blobs.filter_map(|(blob, digest)| Some((blob, digest, inventory.size_bytes(blob)?))).collect();
        let mut suspects = Vec::new();
        for some in stated.chunks(BLOBS_AT_ONCE) {
            let blobs: Vec<(BlobId, Digest)> = some.iter().map(|(blob, digest, _)| (*blob, *digest)).collect();
            for ((blob, digest, size), leaf) in some.iter().zip(inventory.states(context.store, shard, &blobs)?) {
                if let FileState::File(stat) = leaf
                    && (stat.size_bytes != *size || inventory.has_any(*blob, MarkFlags::SIZES_DIFFER))
                {
                    suspects.push((*digest, stat.size_bytes));
                }
            }
        }
        Ok(suspects)
    })?;
    Ok(parts.into_iter().flatten().collect())
}
