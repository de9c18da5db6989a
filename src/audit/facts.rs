//! What an audit looks at beyond what a collection does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::needed::{Needed, needed};
use crate::amount::Amount;
use crate::error::Error;
use crate::graph::Context;
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::Digest;
use crate::store::{FileState, Leftover, LinkContent, Listing, Store, Upload};
use crate::survey::{self, Survey};

/// Looks at so many blobs between two looks at what is left to do.
const BLOBS_AT_ONCE: usize = 1024;
/// How many directories one task lists.
const DIRECTORIES_AT_ONCE: usize = 64;

/// What a directory of one link may hold: registries before 2.5 kept signatures beside revisions.
const IN_LINK_DIRECTORIES: [&str; 2] = ["link", "signatures"];

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
            let digests: Vec<Digest> = blobs.map(|(_, digest)| digest).collect();
            for some in digests.chunks(BLOBS_AT_ONCE) {
                for (digest, leaf) in some.iter().zip(context.store.stat_blobs(shard, some)?) {
                    match leaf {
                        FileState::File(stat) => facts.stored.add(stat.size_bytes),
                        other => drop(facts.without_data.insert(*digest, other)),
                    }
                }
            }
            let directory = |digest: &Digest| Target::EmptyBlobDirectory(*digest).path();
            facts.leftovers = leftovers(context.store, &digests, directory, &["data"])?;
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
#[derive(Debug)]
pub(crate) struct RepositoryFacts {
    /// What a collection sees of it.
    pub(crate) survey: Survey,
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

impl RepositoryFacts {
    /// Looks at everything in a repository that was surveyed.
    ///
    /// # Errors
    ///
    /// When something cannot be listed or read.
    pub(crate) fn look(context: &Context<'_>, survey: Survey, blobs: &BlobFacts) -> Result<RepositoryFacts, Error> {
        let store = context.store;
        let name = survey.name.clone();
        let layers = LinkDirectory::Layers(name.clone());
        let layer_links = survey::read_links(store, &layers, &survey.layers)?;
        let history_links = survey
            .tags
            .par_iter()
            .map(|tag| survey::read_links(store, &LinkDirectory::History(name.clone(), tag.name.clone()), &tag.history))
            .collect::<Result<_, _>>()?;
        let needed = needed(context, &survey, &layer_links, blobs)?;
        let uploads = store.uploads(&name)?;
        let mut beside = beside_links(store, &survey)?;
        for upload in &uploads.entries {
            let directory = layout::uploads_directory(&name).join(&upload.id);
            beside.extend(store.leftovers(&directory, &["startedat", "data", "hashstates"])?);
        }
        Ok(RepositoryFacts { survey, layer_links, history_links, needed, uploads, leftovers: beside })
    }
}

/// What lies beside the link in every directory that should hold one.
fn beside_links(store: &dyn Store, survey: &Survey) -> Result<Vec<Leftover>, Error> {
    let of = |directory: &Path, digest: &Digest| directory.join(layout::digest_path(digest));
    let layers = LinkDirectory::Layers(survey.name.clone()).path();
    let mut found = leftovers(store, &survey.layers, |digest| of(&layers, digest), &IN_LINK_DIRECTORIES)?;
    let revisions = LinkDirectory::Revisions(survey.name.clone()).path();
    found.extend(leftovers(store, &survey.revisions, |revision| of(&revisions, &revision.digest), &IN_LINK_DIRECTORIES)?);
    let of_tags: Vec<Vec<Leftover>> = survey
        .tags
        .par_iter()
        .map(|tag| {
            let history = LinkDirectory::History(survey.name.clone(), tag.name.clone()).path();
            let mut found = leftovers(store, &tag.history, |digest| of(&history, digest), &IN_LINK_DIRECTORIES)?;
            if let Some(current) = layout::current_link(&survey.name, &tag.name).parent() {
                found.extend(store.leftovers(current, &IN_LINK_DIRECTORIES)?);
            }
            Ok(found)
        })
        .collect::<Result<_, Error>>()?;
    found.extend(of_tags.into_iter().flatten());
    Ok(found)
}

/// What lies in many directories beside what is known, in parallel and in order. Their paths are made as they are needed: of all of them
/// at once a large repository has a hundred megabytes.
fn leftovers<T: Sync>(
    store: &dyn Store,
    all: &[T],
    directory: impl Fn(&T) -> PathBuf + Sync,
    known: &[&str],
) -> Result<Vec<Leftover>, Error> {
    let parts: Vec<Vec<Leftover>> = all
        .par_chunks(DIRECTORIES_AT_ONCE)
        .map(|some| {
            let mut found = Vec::new();
            for one in some {
                found.extend(store.leftovers(&directory(one), known)?);
            }
            Ok(found)
        })
        .collect::<Result<_, Error>>()?;
    Ok(parts.into_iter().flatten().collect())
}
