//! What a client does not get of some manifests of a repository, although they are kept.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Lineage, Place};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Edge, LinkVerdict, Reading, judge_link};
use crate::layout::{self, LinkDirectory, Shard};
use crate::oci::{Algorithm, DescriptorKind, Digest, manifest};
use crate::store::{FileState, LinkContent};
use crate::survey::{self, Survey};

/// Blobs to look at in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// What some manifests name, and what of it is not served.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Every digest that they name, and their own.
    pub(crate) named: BTreeSet<Digest>,
    /// Layers and configurations without a blob or a layer link, and platforms without a revision link. A collection says the rest.
    pub(crate) lost: Vec<Finding>,
}

/// Looks at what some manifests of a repository name: links and blobs, no bytes.
///
/// # Errors
///
/// When a manifest, a link or a blob that is there cannot be read.
pub(crate) fn content(
    context: &Context<'_>,
    surveyed: &Survey<'_>,
    lineage: &Lineage,
    places: &[Place],
) -> Result<Content, Error> {
    let mut content = Content::default();
    // Layers and configurations, each with a manifest that names it.
    let mut layers: BTreeMap<Digest, Digest> = BTreeMap::new();
    let mut children: Vec<(Digest, DescriptorKind)> = Vec::new();
    for place in places {
        let manifest = lineage.name(*place);
        content.named.insert(manifest);
        if !lineage.is_manifest(*place) {
            continue;
        }
        let Reading::Read(edges) = context.manifests.read_revision(&manifest)? else { continue };
        content.named.extend(edges.named(context.inventory).map(|(digest, _)| digest));
        for Edge { blob, kind, expected } in &edges.stored {
            let digest = context.inventory.digest(*blob);
            if !expected || surveyed.revision(&digest).is_some() {
                continue;
            }
            let is_manifest = lineage.place(&digest).is_some_and(|place| lineage.is_manifest(place));
            match kind {
                DescriptorKind::Manifest | DescriptorKind::MaybeManifest if is_manifest => children.push((digest, *kind)),
                // A child that cannot be read is a finding of the mark.
                DescriptorKind::Manifest => {}
                DescriptorKind::Blob | DescriptorKind::MaybeManifest => {
                    layers.insert(digest, manifest);
                }
            }
        }
        let unresolved = edges.unresolved.iter().filter(|named| named.expected && !named.foreign);
        let unresolved = unresolved.filter(|named| named.kind == DescriptorKind::Blob);
        layers.extend(unresolved.map(|named| (named.digest, manifest)));
    }
    let digests: Vec<Digest> = layers.keys().chain(children.iter().map(|(digest, _)| digest)).copied().collect();
    let directory = LinkDirectory::Layers(surveyed.name.clone());
    let links = survey::read_links(&*surveyed.repository, &directory, &digests)?;
    let (of_layers, of_children) = links.split_at(layers.len());
    for ((child, kind), link) in children.iter().zip(of_children) {
        // BuildKit's cache indexes list configurations that are pushed and pulled as blobs.
        if *kind == DescriptorKind::Manifest || *link == LinkContent::Absent {
            let path = LinkDirectory::Revisions(surveyed.name.clone()).link(child);
            content.lost.push(Finding::new(Code::LostChild).repository(&surveyed.name).digest(child).path(path));
        }
    }
    let looked: Vec<(Digest, Digest, Option<Digest>)> = layers
        .iter()
        .zip(of_layers)
        .filter_map(|((digest, manifest), link)| match judge_link(digest, *link) {
            LinkVerdict::Names(name) => Some((name, *manifest, None)),
            // What such a name is an alias of nothing says, and a link that says nothing is a finding of the mark.
            LinkVerdict::Absent if digest.algorithm() != Algorithm::Sha256 => None,
            LinkVerdict::Absent => Some((*digest, *manifest, Some(*digest))),
            LinkVerdict::Faulty(_) => None,
        })
        .collect();
    let stored = stored(context, looked.iter().map(|(name, ..)| *name))?;
    for (name, manifest, unlinked) in looked {
        let code = match (stored.contains(&name), unlinked) {
            (true, None) => continue,
            (true, Some(_)) => Code::MissingLayerLink,
            (false, _) => Code::MissingBlob,
        };
        // What may live elsewhere is not missed.
        if unlinked.is_some() && !is_required(context, &manifest, &name)? {
            continue;
        }
        let path = if code == Code::MissingBlob { layout::blob_data(&name) } else { directory.link(&name) };
        content.lost.push(Finding::new(code).repository(&surveyed.name).digest(&name).path(path));
        content.named.insert(name);
    }
    content.lost.sort();
    content.lost.dedup();
    Ok(content)
}

/// Those of some blobs that have data.
fn stored(context: &Context<'_>, blobs: impl Iterator<Item = Digest>) -> Result<BTreeSet<Digest>, Error> {
    let mut shards: BTreeMap<Shard, BTreeSet<Digest>> = BTreeMap::new();
    for digest in blobs {
        shards.entry(Shard::of(&digest)).or_default().insert(digest);
    }
    let mut stored = BTreeSet::new();
    for (shard, digests) in shards {
        let digests: Vec<Digest> = digests.into_iter().collect();
        for some in digests.chunks(BLOBS_AT_ONCE) {
            let states = context.store.stat_blobs(shard, some)?;
            let there = some.iter().zip(states).filter(|(_, state)| matches!(state, FileState::File(_)));
            stored.extend(there.map(|(digest, _)| *digest));
        }
    }
    Ok(stored)
}

/// Whether a manifest names a blob as content of this store.
fn is_required(context: &Context<'_>, manifest: &Digest, blob: &Digest) -> Result<bool, Error> {
    let mut is_required = false;
    context.store.manifest(manifest, &mut |bytes| {
        let references = manifest::references(bytes).unwrap_or_default();
        is_required = references.descriptors.iter().any(|named| named.digest == *blob && named.expected && !named.foreign);
    })?;
    Ok(is_required)
}
