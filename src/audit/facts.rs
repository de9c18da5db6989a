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
            let directories: Vec<PathBuf> = digests.iter().map(|digest| Target::EmptyBlobDirectory(*digest).path()).collect();
            facts.leftovers = leftovers(context.store, &directories, &["data"])?;
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
        let mut beside = leftovers(store, &link_directories(&survey), &IN_LINK_DIRECTORIES)?;
        for upload in &uploads.entries {
            let directory = layout::uploads_directory(&name).join(&upload.id);
            beside.extend(store.leftovers(&directory, &["startedat", "data", "hashstates"])?);
        }
        Ok(RepositoryFacts { survey, layer_links, history_links, needed, uploads, leftovers: beside })
    }
}

/// Every directory that should hold one link and nothing else.
fn link_directories(survey: &Survey) -> Vec<PathBuf> {
    let of = |directory: LinkDirectory, digest: &Digest| directory.path().join(layout::digest_path(digest));
    let layers = survey.layers.iter().map(|digest| of(LinkDirectory::Layers(survey.name.clone()), digest));
    let revisions = survey.revisions.iter().map(|revision| of(LinkDirectory::Revisions(survey.name.clone()), &revision.digest));
    let tags = survey.tags.iter().flat_map(|tag| {
        let history = LinkDirectory::History(survey.name.clone(), tag.name.clone());
        let current = layout::current_link(&survey.name, &tag.name).parent().map(Path::to_owned);
        tag.history.iter().map(move |digest| of(history.clone(), digest)).chain(current)
    });
    layers.chain(revisions).chain(tags).collect()
}

/// What lies in many directories beside what is known, in parallel and in order.
fn leftovers(store: &dyn Store, directories: &[PathBuf], known: &[&str]) -> Result<Vec<Leftover>, Error> {
    let parts: Vec<Vec<Leftover>> = directories
        .par_chunks(DIRECTORIES_AT_ONCE)
        .map(|some| {
            let mut found = Vec::new();
            for directory in some {
                found.extend(store.leftovers(directory, known)?);
            }
            Ok(found)
        })
        .collect::<Result<_, Error>>()?;
    Ok(parts.into_iter().flatten().collect())
}
