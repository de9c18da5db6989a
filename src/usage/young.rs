//! What no tag leads to, and counts as live for its age alone.

use std::time::SystemTime;

use foldhash::HashSet;

use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::Ownership;
use crate::layout::LinkDirectory;
use crate::lineage::{Lineage, Place};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};
use crate::survey::{Survey, in_chunks};

/// Images that no tag leads to, and that are too young for `--delete-untagged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntaggedYoung {
    /// Their manifests.
    pub images: u64,
    /// Blobs that they lead to and no tag of their repository does: so much may be freed, and no more.
    pub at_most: Amount,
    /// When the last of them is old enough; `None` if none ever is.
    pub until: Option<SystemTime>,
}

impl std::ops::AddAssign for UntaggedYoung {
    fn add_assign(&mut self, other: UntaggedYoung) {
        self.images += other.images;
        self.at_most += other.at_most;
        self.until = self.until.max(other.until);
    }
}

/// Looks for them in one repository. One look at its directory does where no revision was made lately.
///
/// # Errors
///
/// When something in it cannot be read.
pub(super) fn untagged_young(
    context: &Context<'_>,
    surveyed: &Survey<'_>,
    ownership: &Ownership,
) -> Result<UntaggedYoung, Error> {
    let directory = LinkDirectory::Revisions(surveyed.name.clone());
    if !surveyed.may_have_young_revisions(&context.policy)? {
        return Ok(UntaggedYoung::default());
    }
    let lineage = Lineage::read(context, surveyed)?;
    let targets = surveyed.tags.iter().filter_map(|tag| match tag.current {
        LinkContent::Digest(digest) => lineage.place(&digest),
        _ => None,
    });
    let tagged = lineage.below(targets, None);
    let is_tagged: HashSet<Place> = tagged.iter().copied().collect();
    let revisions = surveyed.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
    let untagged = revisions.filter_map(|revision| Some((revision.digest, lineage.place(&revision.digest)?)));
    let (digests, places): (Vec<Digest>, Vec<Place>) = untagged.filter(|(_, place)| !is_tagged.contains(place)).unzip();
    let mut found = UntaggedYoung::default();
    let mut young: Vec<Place> = Vec::new();
    let states = in_chunks(&digests, |some| surveyed.repository.stat_links(&directory, some))?;
    for (state, place) in states.iter().zip(places) {
        let FileState::File(stat) = state else { continue };
        let age = context.policy.age(stat);
        if age.is_young() {
            found.images += 1;
            found.until = found.until.max(age.until());
            young.push(place);
        }
    }
    let kept = lineage.blobs_of(&tagged);
    let alone = lineage.blobs_of(&lineage.below(young, None)).into_iter().filter(|blob| !kept.contains(blob));
    found.at_most = alone.filter_map(|blob| ownership.size_bytes(blob)).collect();
    Ok(found)
}
