//! Finds the manifests that state a wrong size for a blob.

use std::collections::BTreeMap;

use super::named::named;
use super::search::SearchTargets;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::findings::more;
use crate::graph::Context;
use crate::inventory::{BlobId, MarkFlags};
use crate::oci::Digest;
use crate::store::{FileState, RepositoryEntry};

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// Finds the blobs whose size differs from what a manifest states. Reads manifests only, no blob content.
///
/// Marking or another pass must have read every manifest through the context before.
///
/// # Errors
///
/// When a blob, a directory, a link or a manifest cannot be read.
pub(crate) fn size_mismatches(context: &Context<'_>, repositories: &[RepositoryEntry]) -> Result<Vec<Finding>, Error> {
    stated_otherwise(context, repositories, &wrong_sizes(context)?)
}

/// Finds the manifests that state another size than the real one in `sizes`.
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
    let digests = sizes.iter().map(|(digest, size)| (*digest, Some(*size))).collect();
    let targets = SearchTargets::new(context, &digests);
    let named = named(context, repositories, &targets)?;
    let listed = named.into_iter().map(|(digest, named)| named.into_finding(&digest, sizes[&digest]));
    Ok(listed.chain(more(Code::SizeMismatch, targets.found_unlisted())).collect())
}

/// Blobs whose real size differs from a stated one, or with two stated sizes, and their real size.
///
/// # Errors
///
/// When a blob cannot be looked at.
pub(crate) fn wrong_sizes(context: &Context<'_>) -> Result<BTreeMap<Digest, u64>, Error> {
    let inventory = context.inventory;
    let parts = inventory.map_shards(|shard, blobs| {
        let stated: Vec<_> = blobs.filter_map(|(blob, digest)| Some((blob, digest, inventory.size_bytes(blob)?))).collect();
        let mut suspects = Vec::new();
        for some in stated.chunks(BLOBS_AT_ONCE) {
            let blobs: Vec<(BlobId, Digest)> = some.iter().map(|(blob, digest, _)| (*blob, *digest)).collect();
            for ((blob, digest, size), state) in some.iter().zip(inventory.states(context.store, shard, &blobs)?) {
                if let FileState::File(stat) = state
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
