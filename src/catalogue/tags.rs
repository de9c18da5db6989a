//! The tags of one repository.

use foldhash::{HashMap, HashSet};

use super::sizes::sizes_of;
use super::values::{ListedPlatform, ListedTag, TagState};
use crate::error::Error;
use crate::finding::Finding;
use crate::graph::Context;
use crate::inventory::BlobId;
use crate::lineage::{self, ImageInfo, Lineage, Place, pushes};
use crate::oci::{Digest, TagName};
use crate::store::LinkContent;
use crate::survey::{Survey, Tag};

/// The wanted tags, by name, and what of their images is lost.
///
/// # Errors
///
/// When something in the repository cannot be read.
pub(crate) fn tags(
    context: &Context<'_>,
    surveyed: &Survey<'_>,
    is_wanted: &dyn Fn(&TagName) -> bool,
) -> Result<(Vec<ListedTag>, Vec<Finding>), Error> {
    let lineage = Lineage::read(context, surveyed)?;
    let pushed = pushes(surveyed)?;
    let wanted: Vec<(&Tag, _)> = surveyed.tags.iter().zip(pushed).filter(|(tag, _)| is_wanted(&tag.name)).collect();
    let roots = wanted.iter().filter_map(|(tag, _)| lineage.place(&target(tag)?));
    let places: HashSet<Place> = roots.flat_map(|place| lineage.content(place)).collect();
    let places: Vec<Place> = places.into_iter().collect();
    let lost = lineage::content(context, surveyed, &lineage, &places)?.lost;
    let blobs = lineage.blobs_of(&places);
    let mut reader = Reader { context, surveyed, lineage: &lineage, sizes: sizes_of(context, blobs)?, info: HashMap::default() };
    let listed = wanted
        .into_iter()
        .map(|(tag, pushed)| {
            let mut listed = ListedTag {
                name: tag.name.clone(),
                digest: target(tag),
                state: reader.state(tag),
                kind: String::new(),
                platforms: Vec::new(),
                size_bytes: 0,
                pushed,
                created: None,
            };
            if let Some(digest) = target(tag).filter(|digest| reader.is_stored(digest)) {
                reader.describe(&digest, &mut listed)?;
            }
            Ok(listed)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok((listed, lost))
}

fn target(tag: &Tag) -> Option<Digest> {
    match tag.current {
        LinkContent::Digest(digest) => Some(digest),
        _ => None,
    }
}

struct Reader<'a> {
    context: &'a Context<'a>,
    surveyed: &'a Survey<'a>,
    lineage: &'a Lineage,
    sizes: HashMap<BlobId, u64>,
    /// Tags of one build share their platforms, so manifests are cached.
    info: HashMap<Digest, ImageInfo>,
}

/// Number of manifests to cache.
const INFO_KEPT: usize = 4096;

impl Reader<'_> {
    fn state(&self, tag: &Tag) -> TagState {
        match tag.current {
            LinkContent::Absent => TagState::Lost,
            LinkContent::Empty | LinkContent::Garbled | LinkContent::Irregular => TagState::Unclear,
            LinkContent::Digest(digest) if !self.is_stored(&digest) => TagState::Missing,
            LinkContent::Digest(digest) if self.surveyed.revision(&digest).is_none() => TagState::Unlinked,
            LinkContent::Digest(_) => TagState::Present,
        }
    }

    fn is_stored(&self, digest: &Digest) -> bool {
        self.context.inventory.find(digest).is_some_and(|blob| self.sizes.contains_key(&blob))
    }

    fn describe(&mut self, digest: &Digest, listed: &mut ListedTag) -> Result<(), Error> {
        let info = self.info(digest)?;
        info.kind().clone_into(&mut listed.kind);
        listed.size_bytes = self.size_bytes(digest);
        if info.listed.is_empty() {
            listed.created = info.created;
            if info.platform.is_some() {
                let (platform, created) = (info.platform, info.created);
                let size_bytes = listed.size_bytes;
                listed.platforms.push(ListedPlatform { platform, digest: *digest, is_stored: true, size_bytes, created });
            }
            return Ok(());
        }
        for (child, platform) in info.listed {
            let own = self.info(&child)?;
            listed.created = listed.created.max(own.created);
            listed.platforms.push(ListedPlatform {
                platform: platform.or(own.platform),
                digest: child,
                is_stored: self.is_stored(&child),
                size_bytes: self.size_bytes(&child),
                created: own.created,
            });
        }
        Ok(())
    }

    /// Bytes of all that a manifest names, each blob once.
    fn size_bytes(&self, digest: &Digest) -> u64 {
        let places = self.lineage.place(digest).map_or_else(Vec::new, |place| self.lineage.content(place));
        self.lineage.blobs_of(&places).iter().filter_map(|blob| self.sizes.get(blob)).sum()
    }

    fn info(&mut self, digest: &Digest) -> Result<ImageInfo, Error> {
        if let Some(info) = self.info.get(digest) {
            return Ok(info.clone());
        }
        // BuildKit's cache indexes list layers as well.
        let is_manifest = self.lineage.place(digest).is_some_and(|place| self.lineage.is_manifest(place));
        let info = if is_manifest { ImageInfo::read(self.context.store, digest)? } else { ImageInfo::default() };
        if self.info.len() == INFO_KEPT {
            self.info.clear();
        }
        self.info.insert(*digest, info.clone());
        Ok(info)
    }
}
