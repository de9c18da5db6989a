//! Reads manifests into edges, each once as far as memory allows.

use std::sync::{Arc, Mutex};

use super::inventory::{BlobId, Inventory};
use foldhash::HashMap;

use crate::error::Error;
use crate::oci::{Algorithm, Descriptor, DescriptorKind, Digest, manifest};
use crate::store::{ManifestContent, Store};

/// Locks to spread the threads over.
const CACHE_PARTS: usize = 64;
/// Edges kept in each part: 64 parts of 100,000 edges of 8 bytes are about 50 MiB. A part that is full starts anew: manifests that
/// several repositories share are mostly met at about the same time.
const EDGES_PER_PART: usize = 100_000;
/// What an entry costs beside its edges, counted in edges.
const EDGES_PER_ENTRY: usize = 16;

/// Digests without a blob that a manifest may name before its repository is held. Each takes a hundred bytes for as long as its
/// repository is marked, and a manifest of 4 MiB can name 56,000: nobody builds that, and what nobody builds need not be collected.
const MAX_UNRESOLVED: usize = 1024;

/// A blob that was read as a manifest.
#[derive(Clone, Debug)]
pub enum Reading {
    /// It is one.
    Read(Arc<Edges>),
    /// It is not stored.
    Absent,
    /// It is stored and cannot be used.
    Bad(Fault),
}

/// What is wrong with a stored manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes do not match its digest.
    Corrupt,
    /// It is larger than any registry accepts.
    TooLarge,
    /// It is no regular file.
    Irregular,
    /// It is not one whole JSON object; says where it ends being one.
    Unreadable(Arc<str>),
}

/// What a manifest names, by place in the inventory.
#[derive(Debug, Default)]
pub struct Edges {
    /// The manifest itself; nothing if it was stored since the run began.
    pub blob: Option<BlobId>,
    /// Stored blobs that it names.
    pub stored: Box<[Edge]>,
    /// Digests that it names and that are not stored, or are of an algorithm under which the registry stores nothing: a
    /// repository may know such a digest as an alias of another.
    pub unresolved: Box<[Descriptor]>,
    /// Whether it names so many more of those that nobody builds such a manifest.
    pub overfull: bool,
    /// What it refers to as its subject.
    pub subjects: Box<[Digest]>,
}

/// One stored blob named by a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The blob.
    pub blob: BlobId,
    /// Whether it is a manifest in its turn.
    pub kind: DescriptorKind,
}

/// Reads manifests and remembers them, within bounds.
pub struct Manifests<'a> {
    store: &'a dyn Store,
    inventory: &'a Inventory,
    cache: Vec<Mutex<Part>>,
}

#[derive(Default)]
struct Part {
    readings: HashMap<BlobId, Reading>,
    edges: usize,
}

impl<'a> Manifests<'a> {
    /// An empty cache over a store.
    pub fn new(store: &'a dyn Store, inventory: &'a Inventory) -> Manifests<'a> {
        Manifests { store, inventory, cache: (0..CACHE_PARTS).map(|_| Mutex::default()).collect() }
    }

    /// Reads a manifest, stored when the run began or since.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read from the disk.
    pub fn read(&self, digest: &Digest) -> Result<Reading, Error> {
        // What was stored since the run began has no place in the inventory, and is rare.
        let Some(blob) = self.inventory.find(digest) else { return self.read_anew(digest, None) };
        let part = &self.cache[usize::from(digest.shard()) % CACHE_PARTS];
        let lock = || part.lock().expect("no thread panics while it holds a part of the cache");
        if let Some(reading) = lock().readings.get(&blob) {
            return Ok(reading.clone());
        }
        let reading = self.read_anew(digest, Some(blob))?;
        let mut part = lock();
        if part.edges > EDGES_PER_PART {
            *part = Part::default();
        }
        part.edges += EDGES_PER_ENTRY;
        if let Reading::Read(edges) = &reading {
            part.edges += edges.stored.len() + EDGES_PER_ENTRY * edges.unresolved.len();
        }
        part.readings.insert(blob, reading.clone());
        Ok(reading)
    }

    fn read_anew(&self, digest: &Digest, blob: Option<BlobId>) -> Result<Reading, Error> {
        let mut reading = Reading::Absent;
        let content = self.store.manifest(digest, &mut |bytes| {
            if let Some(blob) = blob {
                self.inventory.learn_size(blob, bytes.len() as u64);
            }
            reading = match manifest::references(bytes) {
                Ok(references) => Reading::Read(Arc::new(self.edges(blob, &references))),
                Err(error) => Reading::Bad(Fault::Unreadable(error.to_string().into())),
            };
        })?;
        Ok(match content {
            ManifestContent::Verified | ManifestContent::Absent => reading,
            ManifestContent::Corrupt => Reading::Bad(Fault::Corrupt),
            ManifestContent::TooLarge => Reading::Bad(Fault::TooLarge),
            ManifestContent::Irregular => Reading::Bad(Fault::Irregular),
        })
    }

    fn edges(&self, blob: Option<BlobId>, references: &manifest::References) -> Edges {
        let mut stored = Vec::with_capacity(references.descriptors.len());
        let mut unresolved = Vec::new();
        for descriptor in &references.descriptors {
            let blob = self.inventory.find(&descriptor.digest);
            if let Some(blob) = blob {
                stored.push(Edge { blob, kind: descriptor.kind });
                if let Some(size_bytes) = descriptor.size_bytes {
                    self.inventory.learn_size(blob, size_bytes);
                }
            }
            if blob.is_none() || descriptor.digest.algorithm() != Algorithm::Sha256 {
                unresolved.push(*descriptor);
            }
        }
        stored.sort_unstable();
        stored.dedup();
        unresolved.sort_unstable();
        unresolved.dedup();
        let overfull = unresolved.len() > MAX_UNRESOLVED;
        unresolved.truncate(MAX_UNRESOLVED);
        let subjects = references.subjects.as_slice().into();
        Edges { blob, stored: stored.into(), unresolved: unresolved.into(), overfull, subjects }
    }
}
