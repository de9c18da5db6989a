//! The images that need damaged blobs.

use std::collections::{BTreeMap, BTreeSet};

use super::named::named;
use super::search::SearchTargets;
use crate::error::Error;
use crate::finding::Needs;
use crate::graph::Context;
use crate::oci::Digest;
use crate::store::RepositoryEntry;

/// Returns the images that need each damaged digest: tagged images first, then by repository. Omits unneeded digests.
///
/// A manifest does not need content that may live elsewhere.
///
/// # Errors
///
/// When a directory, a link or a manifest cannot be read.
pub(crate) fn dependents(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    damaged: &BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, Needs>, Error> {
    if damaged.is_empty() {
        return Ok(BTreeMap::new());
    }
    let damaged = damaged.iter().map(|digest| (*digest, None)).collect();
    let targets = SearchTargets::new(context, &damaged);
    Ok(named(context, repositories, &targets)?.into_iter().map(|(digest, named)| (digest, named.needs)).collect())
}
