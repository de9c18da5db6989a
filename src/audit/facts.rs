//! Facts that an audit reads beyond those of a collection.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::needed::{RepositoryNeeds, needed};
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::BlobId;
use crate::layout::LinkDirectory;
use crate::oci::Digest;
use crate::store::{FileState, Leftover, LinkContent, Listing, Upload};
use crate::survey::{self, Survey};

/// Number of blobs to stat in one batch.
const BLOBS_AT_ONCE: usize = 1024;

/// What the blob directories of the store hold.
#[derive(Debug, Default)]
pub(crate) struct BlobFacts {
    /// Blobs with data.
    pub(crate) stored: Amount,
    /// Blobs without a regular `data` file, and what is in its place.
    pub(crate) without_data: BTreeMap<Digest, FileState>,
    /// Blobs that are in our own quarantine.
    pub(crate) quarantined: BTreeSet<Digest>,
    /// Other entries in blob directories.
    pub(crate) leftovers: Vec<Leftover>,
}

impl BlobFacts {
    /// Stats every blob and lists its directory.
    ///
    /// # Errors
    ///
    /// When a blob or its directory cannot be read.
    pub(crate) fn look(context: &Context<'_>) -> Result<BlobFacts, Error> {
        let parts = context.inventory.map_shards(|shard, blobs| {
            let mut facts = BlobFacts::default();
            let blobs: Vec<(BlobId, Digest)> = blobs.collect();
            for some in blobs.chunks(BLOBS_AT_ONCE) {
                for ((_, digest), state) in some.iter().zip(context.inventory.states(context.store, shard, some)?) {
                    match state {
                        FileState::File(stat) => facts.stored.add(stat.size_bytes),
                        other => drop(facts.without_data.insert(*digest, other)),
                    }
                }
            }
            let digests: Vec<Digest> = blobs.into_iter().map(|(_, digest)| digest).collect();
            facts.leftovers = context.store.beside_blobs(shard, &digests)?;
            Ok(facts)
        })?;
        let mut all = BlobFacts::default();
        for part in parts {
            all.stored += part.stored;
            all.without_data.extend(part.without_data);
            all.leftovers.extend(part.leftovers);
        }
        Ok(all)
    }

    /// Whether a blob of the inventory has data.
    pub(crate) fn has_data(&self, digest: &Digest) -> bool {
        !self.without_data.contains_key(digest)
    }
}

/// What one repository holds.
pub(crate) struct RepositoryFacts<'s> {
    /// The survey that a collection uses.
    pub(crate) survey: Survey<'s>,
    /// Contents of the layer links, in the survey's order.
    pub(crate) layer_links: Vec<LinkContent>,
    /// Contents of the history links of each tag, in the survey's order.
    pub(crate) history_links: Vec<Vec<LinkContent>>,
    /// What its manifests name and the repository lacks.
    pub(crate) needed: RepositoryNeeds,
    /// Uploads.
    pub(crate) uploads: Listing<Upload>,
    /// Other entries in the directories of links and uploads.
    pub(crate) leftovers: Vec<Leftover>,
}

impl<'s> RepositoryFacts<'s> {
    /// Reads everything in a surveyed repository.
    ///
    /// # Errors
    ///
    /// When something cannot be listed or read.
    pub(crate) fn look(context: &Context<'_>, survey: Survey<'s>, blobs: &BlobFacts) -> Result<RepositoryFacts<'s>, Error> {
        let repository = &*survey.repository;
        let name = survey.name.clone();
        let layers = LinkDirectory::Layers(name.clone());
        let layer_links = survey::read_links(repository, &layers, &survey.layers)?;
        let history_links = survey
            .tags
            .par_iter()
            .map(|tag| survey::read_links(repository, &LinkDirectory::History(name.clone(), tag.name.clone()), &tag.history))
            .collect::<Result<_, _>>()?;
        let needed = needed(context, &survey, &layer_links, blobs)?;
        let uploads = repository.uploads()?;
        let mut beside = beside_links(&survey)?;
        for upload in &uploads.entries {
            beside.extend(repository.beside_upload(&upload.id)?);
        }
        Ok(RepositoryFacts { survey, layer_links, history_links, needed, uploads, leftovers: beside })
    }
}

/// Entries beside the link in every link directory.
fn beside_links(survey: &Survey<'_>) -> Result<Vec<Leftover>, Error> {
    let repository = &*survey.repository;
    let mut found = repository.beside_links(&LinkDirectory::Layers(survey.name.clone()), &survey.layers)?;
    let revisions: Vec<Digest> = survey.revisions.iter().map(|revision| revision.digest).collect();
    found.extend(repository.beside_links(&LinkDirectory::Revisions(survey.name.clone()), &revisions)?);
    let of_tags: Vec<Vec<Leftover>> = survey
        .tags
        .par_iter()
        .map(|tag| {
            let history = LinkDirectory::History(survey.name.clone(), tag.name.clone());
            let mut found = repository.beside_links(&history, &tag.history)?;
            found.extend(repository.beside_tag(&tag.name)?);
            Ok(found)
        })
        .collect::<Result<_, Error>>()?;
    found.extend(of_tags.into_iter().flatten());
    Ok(found)
}
