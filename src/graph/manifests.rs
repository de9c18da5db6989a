//! Reads manifests into edges, each once if memory allows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::{HashMap, HashSet};

use crate::error::Error;
use crate::inventory::{BlobId, Inventory};
use crate::oci::{Algorithm, Descriptor, DescriptorKind, Digest, manifest};
use crate::store::{FileState, MAX_MANIFEST_BYTES, ManifestContent, ManifestStart, SMALL_MANIFEST_BYTES, Store};
use crate::survey::Survey;

/// Locks to spread the threads over.
const CACHE_PARTS: usize = 64;
/// Edges kept in each part: 64 parts of 100,000 edges of 8 bytes are about 50 MiB. A full part is emptied: manifests
/// that several repositories share are mostly read at about the same time.
const EDGES_PER_PART: usize = 100_000;
/// The cost of an entry beside its edges, counted in edges.
const EDGES_PER_ENTRY: usize = 16;

/// Digests without a blob that a manifest may name before its repository is held. Each takes a hundred bytes while its
/// repository is marked, and a manifest of 4 MiB can name 56,000. No build tool creates such a manifest, so holding its
/// repository costs nothing in practice.
const MAX_UNRESOLVED: usize = 1024;

/// The same limit for digests in places that the registry does not read. A push may name 56,000 of them, and its image
/// can be pulled. Digests beyond the limit are dropped; that is safe, because a name without a blob keeps nothing.
const MAX_UNEXPECTED: usize = 64;

/// Edges of revisions kept while their repositories are marked: 32 MiB, whatever is pushed. Revisions beyond it are
/// read again.
const HELD_EDGES: usize = 4 << 20;

/// The result of reading a blob as a manifest.
#[derive(Clone, Debug)]
pub enum Reading {
    /// A manifest.
    Read(Arc<Edges>),
    /// Not stored.
    Absent,
    /// Stored, but unusable.
    Bad(Fault),
}

/// Why a stored manifest is unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes do not match its digest.
    Corrupt,
    /// It is larger than any registry accepts.
    TooLarge,
    /// It is no regular file.
    Irregular,
    /// It is large, and does not begin like a JSON object. The rest was not read.
    NotAnObject,
    /// It is not one whole JSON object.
    Unreadable {
        /// The parse error, with its position.
        why: Arc<str>,
        /// Its size.
        size_bytes: u64,
    },
}

/// The references of a manifest, by place in the inventory.
#[derive(Debug, Default)]
pub struct Edges {
    /// The manifest itself; `None` if it was stored after the run began.
    pub blob: Option<BlobId>,
    /// Stored blobs that it names.
    pub stored: Box<[Edge]>,
    /// Digests that it names and that are not stored, or whose algorithm the registry does not store blobs under: a
    /// repository may know such a digest as an alias.
    pub unresolved: Box<[Descriptor]>,
    /// Whether it names more unresolved digests, as content that the registry reads, than any real manifest does.
    pub overfull: bool,
    /// Whether dropped digests include one of an algorithm without stored blobs: any alias in the repository may be
    /// meant.
    pub any_alias: bool,
    /// Its subjects.
    pub subjects: Box<[Digest]>,
    /// Whether it has more subjects than those: it is then kept as if each subject were.
    pub more_subjects: bool,
    /// Its size.
    pub size_bytes: u64,
}

impl Reading {
    /// The cost of keeping it, counted in edges.
    fn cost(&self) -> usize {
        let Reading::Read(edges) = self else { return EDGES_PER_ENTRY };
        edges.stored.len() + EDGES_PER_ENTRY * (1 + edges.unresolved.len() + edges.subjects.len())
    }

    /// How many bytes were read for it.
    pub(crate) fn bytes_read(&self) -> u64 {
        match self {
            Reading::Read(edges) => edges.size_bytes,
            Reading::Bad(Fault::Unreadable { size_bytes, .. }) => *size_bytes,
            Reading::Absent | Reading::Bad(_) => 0,
        }
    }
}

impl Edges {
    /// All references, stored or not, with their kinds.
    pub(crate) fn named(&self, inventory: &Inventory) -> impl Iterator<Item = (Digest, DescriptorKind)> {
        let stored = self.stored.iter().map(|edge| (inventory.digest(edge.blob), edge.kind));
        stored.chain(self.unresolved.iter().map(|descriptor| (descriptor.digest, descriptor.kind)))
    }
}

/// One stored blob named by a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The blob.
    pub blob: BlobId,
    /// Whether it is a manifest itself.
    pub kind: DescriptorKind,
    /// Whether the registry reads the reference.
    pub expected: bool,
}

/// Reads manifests and caches them, within bounds.
pub struct Manifests<'a> {
    store: &'a dyn Store,
    inventory: &'a Inventory,
    cache: Vec<Mutex<Part>>,
    /// Edges that [`Held`] readings take.
    held: AtomicUsize,
}

#[derive(Default)]
struct Part {
    readings: HashMap<BlobId, Reading>,
    /// Blobs that cannot be manifests.
    others: HashSet<BlobId>,
    edges: usize,
}

impl<'a> Manifests<'a> {
    /// An empty cache over a store.
    pub fn new(store: &'a dyn Store, inventory: &'a Inventory) -> Manifests<'a> {
        Manifests { store, inventory, cache: (0..CACHE_PARTS).map(|_| Mutex::default()).collect(), held: AtomicUsize::new(0) }
    }

    /// The stored blobs, which edges name by place.
    pub(super) fn inventory(&self) -> &'a Inventory {
        self.inventory
    }

    /// Reads a referenced digest as a manifest, stored before or after the run began, if its content may be one.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read from the disk.
    pub fn read(&self, digest: &Digest) -> Result<Reading, Error> {
        self.read_as(digest, false)
    }

    /// Reads a revision: a manifest that was pushed as one is read in full and compared with its digest.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read from the disk.
    pub fn read_revision(&self, digest: &Digest) -> Result<Reading, Error> {
        self.read_as(digest, true)
    }

    /// Reads a manifest as a revision, if a repository has it as one.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read from the disk.
    pub(crate) fn revision_of(&self, survey: &Survey<'_>, digest: &Digest) -> Result<Option<Reading>, Error> {
        survey.revision(digest).map(|_| self.read_revision(digest)).transpose()
    }

    fn read_as(&self, digest: &Digest, is_revision: bool) -> Result<Reading, Error> {
        // The listing may already have the answer.
        let start = |blob: Option<BlobId>| match blob.and_then(|blob| self.inventory.listed(blob)) {
            _ if is_revision => Ok(ManifestStart::Possible),
            Some(FileState::Absent | FileState::Irregular) => Ok(ManifestStart::Possible),
            Some(FileState::File(stat)) if stat.size_bytes <= SMALL_MANIFEST_BYTES => Ok(ManifestStart::Possible),
            Some(FileState::File(stat)) if stat.size_bytes > MAX_MANIFEST_BYTES => Ok(ManifestStart::TooLarge),
            Some(FileState::File(_)) | None => self.store.manifest_start(digest),
        };
        // A blob stored after the run began has no place in the inventory, and is rare.
        let Some(blob) = self.inventory.find(digest) else {
            return match start(None)? {
                ManifestStart::NotAnObject => Ok(Reading::Bad(Fault::NotAnObject)),
                ManifestStart::TooLarge => Ok(Reading::Bad(Fault::TooLarge)),
                ManifestStart::Possible => self.read_anew(digest, None),
            };
        };
        let part = &self.cache[usize::from(digest.shard()) % CACHE_PARTS];
        let lock = || part.lock().expect("no thread panics while it holds a part of the cache");
        {
            let part = lock();
            if !is_revision && part.others.contains(&blob) {
                return Ok(Reading::Bad(Fault::NotAnObject));
            }
            if let Some(reading) = part.readings.get(&blob) {
                return Ok(reading.clone());
            }
        }
        let reading = match start(Some(blob))? {
            ManifestStart::NotAnObject => Reading::Bad(Fault::NotAnObject),
            ManifestStart::TooLarge => Reading::Bad(Fault::TooLarge),
            ManifestStart::Possible => self.read_anew(digest, Some(blob))?,
        };
        let mut part = lock();
        if part.edges > EDGES_PER_PART {
            *part = Part::default();
        }
        part.edges += reading.cost();
        match reading {
            Reading::Bad(Fault::NotAnObject) => drop(part.others.insert(blob)),
            // A plain reference would not be read in full: its result must not depend on which thread read it first.
            Reading::Bad(_) if is_revision => {}
            _ => drop(part.readings.insert(blob, reading.clone())),
        }
        Ok(reading)
    }

    /// Holds the reading of a revision if there is room for it.
    pub(crate) fn hold(&self, reading: Reading) -> Held<'_> {
        let cost = reading.cost();
        if self.held.fetch_add(cost, Ordering::Relaxed) <= HELD_EDGES {
            return Held { reading: Some(reading), cost, manifests: self };
        }
        self.held.fetch_sub(cost, Ordering::Relaxed);
        Held { reading: None, cost: 0, manifests: self }
    }

    fn read_anew(&self, digest: &Digest, blob: Option<BlobId>) -> Result<Reading, Error> {
        let mut reading = Reading::Absent;
        let content = self.store.manifest(digest, &mut |bytes| {
            if let Some(blob) = blob {
                self.inventory.learn_size(blob, bytes.len() as u64);
            }
            reading = match manifest::references(bytes) {
                Ok(references) => Reading::Read(Arc::new(self.edges(blob, &references, bytes.len() as u64))),
                Err(error) => Reading::Bad(Fault::Unreadable { why: error.to_string().into(), size_bytes: bytes.len() as u64 }),
            };
        })?;
        Ok(match content {
            ManifestContent::Verified | ManifestContent::Absent => reading,
            ManifestContent::Corrupt => Reading::Bad(Fault::Corrupt),
            ManifestContent::TooLarge => Reading::Bad(Fault::TooLarge),
            ManifestContent::Irregular => Reading::Bad(Fault::Irregular),
        })
    }

    fn edges(&self, blob: Option<BlobId>, references: &manifest::References, size_bytes: u64) -> Edges {
        let mut stored = Vec::with_capacity(references.descriptors.len());
        let mut unresolved = Vec::new();
        for descriptor in &references.descriptors {
            let blob = self.inventory.find(&descriptor.digest);
            if let Some(blob) = blob {
                stored.push(Edge { blob, kind: descriptor.kind, expected: descriptor.expected });
                // A size stated where the registry does not read is not reliable.
                if let Some(size_bytes) = descriptor.size_bytes.filter(|_| descriptor.expected) {
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
        let (mut unresolved, mut others): (Vec<Descriptor>, Vec<Descriptor>) =
            unresolved.into_iter().partition(|descriptor| descriptor.expected);
        let overfull = unresolved.len() > MAX_UNRESOLVED;
        unresolved.truncate(MAX_UNRESOLVED);
        let beyond = others.split_off(MAX_UNEXPECTED.min(others.len()));
        let any_alias = beyond.iter().any(|descriptor| descriptor.digest.algorithm() != Algorithm::Sha256);
        unresolved.append(&mut others);
        unresolved.shrink_to_fit();
        Edges {
            blob,
            stored: stored.into(),
            unresolved: unresolved.into(),
            overfull,
            any_alias,
            subjects: references.subjects.as_slice().into(),
            more_subjects: references.more_subjects,
            size_bytes,
        }
    }
}

/// The reading of a revision, held while its repository is marked if there is room.
pub(crate) struct Held<'a> {
    reading: Option<Reading>,
    cost: usize,
    manifests: &'a Manifests<'a>,
}

impl Held<'_> {
    /// Whether no manifest is stored.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.reading, Some(Reading::Absent))
    }

    /// The reading, read again if it was not held.
    ///
    /// # Errors
    ///
    /// When it has to be read again and reading fails.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Reading, Error> {
        match &self.reading {
            Some(reading) => Ok(reading.clone()),
            None => self.manifests.read_revision(digest),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.manifests.held.fetch_sub(self.cost, Ordering::Relaxed);
    }
}
