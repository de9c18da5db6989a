//! How one repository relates to the target of an explanation.

use foldhash::{HashMap, HashSet};

use super::target::Target;
use super::values::LinkPlace;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, judge_link};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::LinkDirectory;
use crate::lineage::{Lineage, Place};
use crate::oci::{Algorithm, Digest, TagName};
use crate::store::LinkContent;
use crate::survey::{self, Survey};
use crate::usage::LIVE;

/// The links in a repository that name a digest.
///
/// # Errors
///
/// When a link cannot be read.
pub(super) fn links(surveyed: &Survey<'_>, digest: &Digest) -> Result<Vec<LinkPlace>, Error> {
    let place = |kind, tag: Option<&TagName>| LinkPlace { repository: surveyed.name.clone(), kind, tag: tag.cloned() };
    let mut links = Vec::new();
    if surveyed.layers.binary_search(digest).is_ok() {
        links.push(place("layer-link", None));
    }
    let directory = LinkDirectory::Layers(surveyed.name.clone());
    let others: Vec<Digest> =
        surveyed.layers.iter().filter(|layer| layer.algorithm() != Algorithm::Sha256 && *layer != digest).copied().collect();
    let contents = survey::read_links(&*surveyed.repository, &directory, &others)?;
    let names = |(layer, content): &(&Digest, LinkContent)| matches!(judge_link(layer, *content), LinkVerdict::Names(name) if name == *digest);
    links.extend(others.iter().zip(contents).filter(names).map(|_| place("layer-alias", None)));
    if surveyed.revision(digest).is_some() {
        links.push(place("revision", None));
    }
    for tag in &surveyed.tags {
        if tag.current == LinkContent::Digest(*digest) {
            links.push(place("tag", Some(&tag.name)));
        }
        if tag.history.binary_search(digest).is_ok() {
            links.push(place("tag-history", Some(&tag.name)));
        }
    }
    Ok(links)
}

/// The roots of a repository, as places in its lineage.
pub(super) struct LineageRoots {
    /// The targets of tags, in order.
    pub(super) tags: Vec<(TagName, Place)>,
    /// Revisions that neither a tag nor another such revision leads to.
    pub(super) untagged: Vec<Place>,
    /// Revisions that no tag leads to and that stay when untagged revisions are collected.
    pub(super) staying: Vec<Place>,
}

impl LineageRoots {
    pub(super) fn new(
        context: &Context<'_>,
        surveyed: &Survey,
        lineage: &Lineage,
        noted: &HashMap<BlobId, MarkFlags>,
    ) -> LineageRoots {
        let mut tags = Vec::new();
        for tag in &surveyed.tags {
            if let LinkContent::Digest(digest) = tag.current {
                tags.extend(lineage.place(&digest).map(|place| (tag.name.clone(), place)));
            }
        }
        let tagged: HashSet<Place> = lineage.below(tags.iter().map(|(_, place)| *place), None).into_iter().collect();
        let revisions = surveyed.revisions.iter().filter(|revision| revision.link != LinkContent::Absent);
        let mut untagged: Vec<Place> = revisions.filter_map(|revision| lineage.place(&revision.digest)).collect();
        untagged.retain(|place| !tagged.contains(place));
        let is_live = |place: &Place| {
            let blob = context.inventory.find(&lineage.name(*place));
            blob.and_then(|blob| noted.get(&blob)).is_some_and(|flags| flags.intersects(LIVE))
        };
        let staying = untagged.iter().copied().filter(is_live).collect();
        let led_to: HashSet<Place> =
            untagged.iter().flat_map(|place| lineage.children(*place).iter().chain(lineage.referrers(*place))).copied().collect();
        untagged.retain(|place| !led_to.contains(place));
        LineageRoots { tags, untagged, staying }
    }
}

/// The blobs that a repository keeps for the target alone, when untagged revisions are collected.
pub(super) fn kept_for(
    target: &Target,
    context: &Context<'_>,
    lineage: &Lineage,
    roots: &LineageRoots,
    noted: &HashMap<BlobId, MarkFlags>,
    is_held: bool,
) -> HashSet<BlobId> {
    let is_live = |blob: &BlobId| noted.get(blob).is_some_and(|flags| flags.intersects(LIVE));
    if let Target::Repository(_) = target {
        return noted.keys().copied().filter(is_live).collect();
    }
    let own = match target {
        Target::Tag(..) => None,
        _ => target.blob(context.inventory).filter(is_live),
    };
    if is_held {
        return own.into_iter().collect();
    }
    let all = || roots.tags.iter().map(|(_, place)| *place).chain(roots.staying.iter().copied());
    let others = match target {
        Target::Tag(_, name, _) => {
            let others = roots.tags.iter().filter(|(tag, _)| tag != name).map(|(_, place)| *place);
            lineage.below(others.chain(roots.staying.iter().copied()), None)
        }
        _ => {
            let place = target.digest().and_then(|digest| lineage.place(digest)).filter(|place| lineage.is_manifest(*place));
            lineage.below(all(), place)
        }
    };
    let others = lineage.blobs_of(&others);
    let mut kept: HashSet<BlobId> = lineage.blobs_of(&lineage.below(all(), None));
    kept.retain(|blob| {
        is_live(blob) && !others.contains(blob) && !noted[blob].intersects(MarkFlags::YOUNG | MarkFlags::RESTORABLE)
    });
    kept.extend(own);
    kept
}
