//! What one repository keeps: marked as a collection marks it, and recorded for each blob.

use std::time::SystemTime;

use foldhash::{HashMap, HashSet};

use super::whole::StoreUsage;
use super::young::{UntaggedYoung, untagged_young};
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, Reading, layer_verdict};
use crate::inventory::{BlobId, MarkFlags, Ownership};
use crate::lineage::pushes;
use crate::mark::{self, Marks};
use crate::oci::DescriptorKind;
use crate::plan::Deletions;
use crate::store::{LinkContent, RepositoryEntry, Upload};
use crate::survey::{self, Survey, Tag};

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
    /// Images without a tag that are too young to go.
    pub(super) untagged_young: UntaggedYoung,
}

impl Kept<'_> {
    /// What it adds to the totals of the store, except its blobs.
    pub(crate) fn beside(&self) -> StoreUsage {
        let Kept { uploads, unshared_bytes, untagged_young, .. } = *self;
        let young_until = self.marks.waiting.until;
        StoreUsage { uploads, unshared_bytes, untagged_young, young_until, ..StoreUsage::default() }
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
    // As rows count them: what a tag names is kept, whether or not a registry takes such a name.
    let is_counted = |tag: &&Tag| tag.is_tag() || matches!(tag.current, LinkContent::Digest(_));
    marks.counts.tags = surveyed.tags.iter().filter(is_counted).count() as u64;
    let noted = inventory.into_noted();
    // Of a repository that is held nothing goes by its age.
    let untagged_young = if marks.held { UntaggedYoung::default() } else { untagged_young(context, &surveyed, ownership)? };
    Ok(Kept {
        untagged_young,
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
