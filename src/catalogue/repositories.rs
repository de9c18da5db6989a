//! Repositories, and their revisions that no tag leads to.

use foldhash::HashSet;

use super::sizes::sizes_of;
use super::values::{ListedRepository, ListedRevision};
use crate::error::Error;
use crate::graph::Context;
use crate::layout::{self, LinkDirectory};
use crate::lineage::{ImageInfo, Lineage, Place, pushes};
use crate::mark::Marks;
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};
use crate::survey::{Survey, in_chunks};

/// The row of a repository in a listing.
///
/// # Errors
///
/// When something in it cannot be listed.
pub(crate) fn repository(surveyed: &Survey<'_>, marks: &Marks) -> Result<ListedRepository, Error> {
    let [layers, manifests, _] = layout::MARKERS;
    // A registry takes what begins so for a directory of its own.
    let is_walked = !surveyed.name.as_path().iter().any(|part| part.as_encoded_bytes().starts_with(b"_"));
    Ok(ListedRepository {
        name: surveyed.name.clone(),
        tags: surveyed.tags.len() as u64,
        revisions: marks.counts.revisions,
        pushed: pushes(surveyed)?.into_iter().flatten().max(),
        in_catalogue_2: is_walked && surveyed.repository.has_directory(layers)?,
        in_catalogue_3: is_walked && surveyed.repository.has_directory(manifests)?,
        is_held: marks.held,
    })
}

/// The revisions that no tag leads to, by digest. A tag also leads to the manifests that refer to its image by `subject`.
///
/// # Errors
///
/// When something in the repository cannot be read.
pub(crate) fn untagged(context: &Context<'_>, surveyed: &Survey) -> Result<Vec<ListedRevision>, Error> {
    let lineage = Lineage::read(context, surveyed)?;
    let targets = surveyed.tags.iter().filter_map(|tag| match tag.current {
        LinkContent::Digest(digest) => lineage.place(&digest),
        _ => None,
    });
    let tagged: HashSet<Place> = lineage.below(targets, None).into_iter().collect();
    let is_untagged = |digest: &Digest| lineage.place(digest).is_none_or(|place| !tagged.contains(&place));
    let revisions = surveyed.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
    let digests: Vec<Digest> = revisions.map(|revision| revision.digest).filter(is_untagged).collect();
    let directory = LinkDirectory::Revisions(surveyed.name.clone());
    let states = in_chunks(&digests, |some| surveyed.repository.stat_links(&directory, some))?;
    let content: Vec<Vec<Place>> =
        digests.iter().map(|digest| lineage.place(digest).map_or_else(Vec::new, |place| lineage.content(place))).collect();
    let blobs: HashSet<_> = content.iter().flat_map(|places| lineage.blobs_of(places)).collect();
    let sizes = sizes_of(context, blobs)?;
    let mut listed = Vec::with_capacity(digests.len());
    for ((digest, state), places) in digests.into_iter().zip(states).zip(content) {
        let info = ImageInfo::read(context.store, &digest)?;
        listed.push(ListedRevision {
            repository: surveyed.name.clone(),
            digest,
            is_stored: context.inventory.find(&digest).is_some_and(|blob| sizes.contains_key(&blob)),
            kind: info.kind().to_owned(),
            platform: info.platform,
            size_bytes: lineage.blobs_of(&places).iter().filter_map(|blob| sizes.get(blob)).sum(),
            pushed: match state {
                FileState::File(stat) => Some(stat.modified),
                FileState::Absent | FileState::Irregular => None,
            },
            created: info.created,
        });
    }
    Ok(listed)
}
