//! Finds the images that name a digest, in all repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::search::{self, SearchTargets};
use crate::error::Error;
use crate::finding::{Code, Finding, Needs};
use crate::format::number;
use crate::graph::Context;
use crate::layout;
use crate::oci::Digest;
use crate::store::RepositoryEntry;
use crate::survey;

/// Wrong sizes to list for one blob.
const SIZES_SHOWN: usize = 3;

/// The images that name a digest, and the wrong sizes that they state.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) needs: Needs,
    sizes: BTreeSet<u64>,
}

impl Named {
    fn add(&mut self, other: Named, most: usize) {
        self.needs.append_all(other.needs, most);
        self.learn(other.sizes);
    }

    /// Keeps the smallest few, so that the result does not depend on the order.
    pub(super) fn learn(&mut self, sizes: impl IntoIterator<Item = u64>) {
        for size in sizes {
            self.sizes.insert(size);
            if self.sizes.len() > SIZES_SHOWN {
                self.sizes.pop_last();
            }
        }
    }

    pub(super) fn into_finding(self, digest: &Digest, stored: u64) -> Finding {
        let sizes: Vec<String> = self.sizes.iter().map(|size| number(*size)).collect();
        let detail =
            format!("The blob has {} bytes, and what names it states {}: clients refuse it.", number(stored), sizes.join(" or "));
        Finding::new(Code::SizeMismatch).digest(digest).path(layout::blob_data(digest)).detail(detail).needed_by(self.needs)
    }
}

/// The finding about a blob for which other sizes are stated.
pub(crate) fn size_mismatch(digest: &Digest, stored: u64, stated: impl IntoIterator<Item = u64>) -> Finding {
    let mut named = Named::default();
    named.learn(stated);
    named.into_finding(digest, stored)
}

/// Finds the images that name the targets. For a target with a size, finds only those that state another size.
pub(super) fn named(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    targets: &SearchTargets<'_>,
) -> Result<BTreeMap<Digest, Named>, Error> {
    let all: Mutex<BTreeMap<Digest, Named>> = Mutex::default();
    survey::each(repositories, |repository| {
        let part = search::in_repository(context, &survey::survey(context.store, repository)?, targets)?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, named) in part {
            all.entry(digest).or_default().add(named, targets.most);
        }
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}
