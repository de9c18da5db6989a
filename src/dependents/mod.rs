//! Who needs a blob: from damage to the tags that it breaks.
//!
//! Walks what manifests name, as marking does, from each tag's target and from the revisions that no tag reaches. Every repository
//! costs its edges; only one that reaches something damaged costs more.

mod platform;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use self::ways::Wanted;
use crate::error::Error;
use crate::finding::{Code, Finding};
pub use crate::finding::{Need, Needs};
use crate::format::number;
use crate::graph::Context;
use crate::inventory::MarkFlags;
use crate::layout;
use crate::oci::Digest;
use crate::store::{FileState, RepositoryEntry};
use crate::survey;

/// Looks at so many blobs between two looks at what is left to do.
const BLOBS_AT_ONCE: usize = 1024;
/// Wrong sizes of one blob that are told apart.
const SIZES_SHOWN: usize = 3;

/// Says for each damaged digest who needs it: tagged images first, then by repository. A digest that nobody needs is not in the answer.
///
/// A manifest that names a digest as content that may live elsewhere does not need it to be here.
///
/// # Errors
///
/// When a directory, a link or a manifest cannot be read.
pub fn dependents(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    damaged: &BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, Needs>, Error> {
    if damaged.is_empty() {
        return Ok(BTreeMap::new());
    }
    let damaged = damaged.iter().map(|digest| (*digest, None)).collect();
    Ok(named(context, repositories, &damaged)?.into_iter().map(|(digest, named)| (digest, named.needs)).collect())
}

/// Finds the blobs whose size is not what a manifest states. No blob's content is read, only manifests.
///
/// Every manifest has to have been read through the context before, as marking does and [`read_manifests`].
///
/// # Errors
///
/// When a blob cannot be looked at, or a directory, a link or a manifest not be read.
pub fn size_mismatches(context: &Context<'_>, repositories: &[RepositoryEntry]) -> Result<Vec<Finding>, Error> {
    stated_otherwise(context, repositories, &suspects(context)?)
}

/// Finds who states another size for blobs than they have, given with that.
///
/// # Errors
///
/// When a directory, a link or a manifest cannot be read.
pub fn stated_otherwise(
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

/// Reads every manifest that a repository reaches, so that the context knows what sizes they state.
///
/// # Errors
///
/// When a directory, a link or a manifest cannot be read.
pub fn read_manifests(context: &Context<'_>, repositories: &[RepositoryEntry]) -> Result<(), Error> {
    named(context, repositories, &BTreeMap::new()).map(drop)
}

/// Who names a digest, and with which wrong sizes.
#[derive(Debug, Default)]
pub(crate) struct Named {
    needs: Needs,
    sizes: BTreeSet<u64>,
}

impl Named {
    fn add(&mut self, other: Named, most: usize) {
        self.needs.append_all(other.needs, most);
        self.learn(other.sizes);
    }

    /// Keeps the smallest few: which they are does not depend on the order.
    fn learn(&mut self, sizes: impl IntoIterator<Item = u64>) {
        for size in sizes {
            self.sizes.insert(size);
            if self.sizes.len() > SIZES_SHOWN {
                self.sizes.pop_last();
            }
        }
    }

    fn into_finding(self, digest: &Digest, stored: u64) -> Finding {
        let sizes: Vec<String> = self.sizes.iter().map(|size| number(*size)).collect();
        let detail =
            format!("The blob has {} bytes, and what names it states {}: clients refuse it.", number(stored), sizes.join(" or "));
        Finding::new(Code::SizeMismatch).digest(digest).path(layout::blob_data(digest)).detail(detail).needed_by(self.needs)
    }
}

/// Who names the digests given. Those with a size are only looked for where another size is stated.
fn named(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    digests: &BTreeMap<Digest, Option<u64>>,
) -> Result<BTreeMap<Digest, Named>, Error> {
    let wanted = Wanted::new(context, digests);
    let all: Mutex<BTreeMap<Digest, Named>> = Mutex::default();
    survey::each(repositories, |repository| {
        let part = ways::of(context, &survey::survey(context.store, repository)?, &wanted)?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, named) in part {
            all.entry(digest).or_default().add(named, wanted.most);
        }
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Blobs that are not as large as was once stated, or of which two sizes were stated, with their real size.
fn suspects(context: &Context<'_>) -> Result<BTreeMap<Digest, u64>, Error> {
    let inventory = context.inventory;
    let parts = inventory.map_shards(|shard, blobs| {
        let stated: Vec<_> = blobs.filter_map(|(blob, digest)| Some((blob, digest, inventory.size_bytes(blob)?))).collect();
        let mut suspects = Vec::new();
        for some in stated.chunks(BLOBS_AT_ONCE) {
            let digests: Vec<Digest> = some.iter().map(|(_, digest, _)| *digest).collect();
            for ((blob, digest, size), leaf) in some.iter().zip(context.store.stat_blobs(shard, &digests)?) {
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

#[cfg(test)]
mod tests;
