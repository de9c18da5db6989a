//! What an audit looks at beyond what a collection does.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::needed::{Needed, needed};
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::inventory::BlobId;
use crate::layout::LinkDirectory;
use crate::oci::Digest;
use crate::store::{FileState, Leftover, LinkContent, Listing, Upload};
use crate::survey::{self, Survey};

/// Looks at so many blobs between two looks at what is left to do.
const BLOBS_AT_ONCE: usize = 1024;
/// All blobs, looked at.
#[derive(Debug, Default)]
pub(crate) struct BlobFacts {
    /// Those that have data.
    pub(crate) stored: Amount,
    /// Directories of blobs without a regular `data`: what is in its place.
    pub(crate) without_data: BTreeMap<Digest, FileState>,
    /// What else lies in the directories.
    pub(crate) leftovers: Vec<Leftover>,
}

impl BlobFacts {
    /// Looks at every blob and into its directory.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at.
    pub(crate) fn look(context: &Context<'_>) -> Result<BlobFacts, Error> {
        let parts = context.inventory.map_shards(|shard, blobs| {
            let mut facts = BlobFacts::default();
            let blobs: Vec<(BlobId, Digest)> = blobs.collect();
            for some in blobs.chunks(BLOBS_AT_ONCE) {
                for ((_, digest), leaf) in some.iter().zip(context.inventory.states(context.store, shard, some)?) {
                    match leaf {
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

    /// Whether a blob that has a place in the inventory has bytes, too.
    pub(crate) fn has_data(&self, digest: &Digest) -> bool {
        !self.without_data.contains_key(digest)
    }
}

/// One repository, looked at.
pub(crate) struct RepositoryFacts<'s> {
    /// What a collection sees of it.
    pub(crate) survey: Survey<'s>,
    /// What its layer links say, in the survey's order.
    pub(crate) layer_links: Vec<LinkContent>,
    /// What the history of each of its tags says, in the survey's order.
    pub(crate) history_links: Vec<Vec<LinkContent>>,
    /// What its manifests name.
    pub(crate) needed: Needed,
    /// Its uploads.
    pub(crate) uploads: Listing<Upload>,
    /// What lies in its directories beside links.
    pub(crate) leftovers: Vec<Leftover>,
}

impl<'s> RepositoryFacts<'s> {
    /// Looks at everything in a repository that was surveyed.
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

/// What lies beside the link in every directory that should hold one.
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
