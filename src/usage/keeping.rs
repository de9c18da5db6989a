//! What one repository keeps: marked as a collection marks it, and recorded for each blob.

use std::time::SystemTime;

use foldhash::{HashMap, HashSet};

use super::whole::StoreUsage;
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, Reading, layer_verdict};
use crate::inventory::{BlobId, MarkFlags, Ownership};
use crate::lineage::pushes;
use crate::mark::{self, Marks};
use crate::oci::DescriptorKind;
use crate::plan::Deletions;
use crate::store::{LinkContent, RepositoryEntry, Upload};
use crate::survey::{self, Survey};

/// Flags of blobs that `--delete-untagged` keeps as well.
pub(crate) const LIVE: MarkFlags = MarkFlags::TAGGED.union(MarkFlags::YOUNG).union(MarkFlags::RESTORABLE);

/// What one repository keeps.
pub(crate) struct Kept<'s> {
    /// The marks of a collection, without its deletions.
    pub(crate) marks: Marks,
    /// Every stored blob that it marks, with its flags.
    pub(super) noted: HashMap<BlobId, MarkFlags>,
    /// Its survey.
    pub(super) surveyed: Survey<'s>,
    /// When each of its tags was last pushed.
    pub(super) pushes: Vec<Option<SystemTime>>,
    /// Unfinished uploads.
    pub(super) uploads: Amount,
    /// Bytes of the images that stay, as if each had its own copy of its content.
    pub(super) unshared_bytes: u64,
}

impl Kept<'_> {
    /// What it adds to the totals of the store, except its blobs.
    pub(crate) fn beside(&self) -> StoreUsage {
        StoreUsage { uploads: self.uploads, unshared_bytes: self.unshared_bytes, ..StoreUsage::default() }
    }
}

/// Surveys and marks one repository.
///
/// # Errors
///
/// When something in it cannot be listed or read.
pub(crate) fn look<'s>(context: &Context<'s>, repository: &RepositoryEntry, ownership: &Ownership) -> Result<Kept<'s>, Error> {
    let surveyed = survey::survey(context.store, repository)?;
    let inventory = context.inventory.noting();
    let mut marks = mark::mark(&surveyed, &Context { inventory: &inventory, ..*context })?;
    marks.deletions = Deletions::default();
    let noted = inventory.into_noted();
    Ok(Kept {
        marks,
        pushes: pushes(&surveyed)?,
        uploads: uploads(&surveyed)?,
        unshared_bytes: unshared_bytes(context, &surveyed, &noted, ownership)?,
        noted,
        surveyed,
    })
}

fn uploads(surveyed: &Survey<'_>) -> Result<Amount, Error> {
    Ok(surveyed.repository.uploads()?.entries.iter().map(Upload::size_bytes).collect())
}

fn unshared_bytes(
    context: &Context<'_>,
    surveyed: &Survey<'_>,
    noted: &HashMap<BlobId, MarkFlags>,
    ownership: &Ownership,
) -> Result<u64, Error> {
    let mut all = 0_u64;
    for revision in surveyed.revisions.iter().filter(|revision| revision.link != LinkContent::Absent) {
        let Some(blob) = context.inventory.find(&revision.digest) else { continue };
        if !noted.get(&blob).is_some_and(|flags| flags.intersects(LIVE)) {
            continue;
        }
        let own = ownership.size_bytes(blob).unwrap_or_default();
        let mut named = 0_u64;
        if let Reading::Read(edges) = context.manifests.read_revision(&revision.digest)? {
            // Listed manifests are images of their own.
            let stored = edges.stored.iter().filter(|edge| edge.kind == DescriptorKind::Blob);
            let mut content: HashSet<BlobId> = stored.map(|edge| edge.blob).collect();
            for named in edges.unresolved.iter().filter(|named| named.kind == DescriptorKind::Blob) {
                // It may be an alias of a blob (H3).
                if let LinkVerdict::Names(digest) = layer_verdict(surveyed, &named.digest)? {
                    content.extend(context.inventory.find(&digest));
                }
            }
            named = content.into_iter().filter_map(|blob| ownership.size_bytes(blob)).sum();
        }
        all = all.saturating_add(own).saturating_add(named);
    }
    Ok(all)
}
