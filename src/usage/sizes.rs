//! Sizes of all blobs, from the only pass that stats all of them.

use crate::error::Error;
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, Ownership};
use crate::oci::Digest;
use crate::store::FileState;

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// The sizes of all blobs, without owners yet.
///
/// # Errors
///
/// When a blob cannot be read, or there is no room beyond the budget.
pub(crate) fn sizes(context: &Context<'_>, budget: &Budget) -> Result<Ownership, Error> {
    let ownership = Ownership::new(context.inventory.len(), budget)?;
    context.inventory.map_shards(|shard, blobs| {
        let mut some: Vec<(BlobId, Digest)> = Vec::with_capacity(BLOBS_AT_ONCE);
        loop {
            some.clear();
            some.extend((&mut *blobs).take(BLOBS_AT_ONCE));
            if some.is_empty() {
                return Ok(());
            }
            let digests: Vec<Digest> = some.iter().map(|(_, digest)| *digest).collect();
            for ((blob, _), state) in some.iter().zip(context.store.stat_blobs(shard, &digests)?) {
                if let FileState::File(stat) = state {
                    ownership.set_size(*blob, stat.size_bytes);
                }
            }
        }
    })?;
    Ok(ownership)
}
