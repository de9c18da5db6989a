//! The cache of a run.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::entry::{Entry, Kind, Witness};
use super::file::{self, CacheFile, StoreKey, Unused};
use super::spool::Spool;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::oci::{Algorithm, Digest};
use crate::replacement::directory_of;
use crate::store::{ManifestStart, Partition};

/// Larger manifests are read each time.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// What the store has said of a kept blob so far.
mod state {
    /// Nothing.
    pub(super) const UNKNOWN: u8 = 0;
    /// That it is there, and nothing else.
    pub(super) const LISTED: u8 = 1;
    /// What it said when the blob was read.
    pub(super) const SAME: u8 = 2;
    /// Something else.
    pub(super) const CHANGED: u8 = 3;
    /// That it is not there.
    pub(super) const GONE: u8 = 4;
}

/// What is kept of a blob that is still as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kept {
    /// Its bytes, which hash to its digest.
    Content(Vec<u8>),
    /// That it begins otherwise than a JSON object does.
    NotAnObject,
}

impl Kept {
    /// Whether the blob may be a manifest, by how it begins.
    pub(in crate::store) fn start(&self) -> ManifestStart {
        match self {
            Kept::Content(_) => ManifestStart::Possible,
            Kept::NotAnObject => ManifestStart::NotAnObject,
        }
    }
}

/// Manifests of one store that were read before. What a run reads is added to the file when this is dropped.
#[derive(Debug)]
pub(in crate::store) struct ManifestCache {
    path: PathBuf,
    store: StoreKey,
    old: Option<CacheFile>,
    /// Of each entry of the file.
    states: Vec<AtomicU8>,
    new: Mutex<Spool>,
    /// Whether nothing is taken from the file any more, and another one is to replace it.
    is_dropped: AtomicBool,
    has_warned: AtomicBool,
}

impl ManifestCache {
    /// Opens the cache of a store, known by a name that no other has, in a directory that is made if it is not there. Nothing if
    /// that cannot be: then the run goes without.
    pub(in crate::store) fn open(directory: &Path, store: &str) -> Option<ManifestCache> {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory).context("create", directory) {
            tracing::warn!("manifests are not kept for the next run: {error}; give --cache DIR, or --no-cache");
            return None;
        }
        let name = Digest::of(Algorithm::Sha256, store.as_bytes());
        let path = directory.join(format!("manifests-{}", &name.hex()[..32]));
        let store: StoreKey = name.bytes().try_into().expect("a digest of that length");
        let (old, doubt) = match CacheFile::open(&path, &store) {
            Ok(file) => (Some(file), None),
            Err(Unused::Absent) => (None, None),
            Err(Unused::Doubted(why)) => (None, Some(why)),
        };
        let states = old.iter().flat_map(|old| &old.entries).map(|_| AtomicU8::new(state::UNKNOWN)).collect();
        let (is_dropped, has_warned) = (AtomicBool::new(false), AtomicBool::new(false));
        let cache = ManifestCache { path, store, old, states, new: Mutex::default(), is_dropped, has_warned };
        doubt.iter().for_each(|why| cache.doubt(why));
        Some(cache)
    }

    /// Takes nothing more from the file.
    fn doubt(&self, why: &str) {
        self.is_dropped.store(true, Ordering::Relaxed);
        self.warn(format_args!("the cache {} is not used and made anew: {why}", escaped(&self.path)));
    }

    /// Once a run.
    fn warn(&self, message: std::fmt::Arguments<'_>) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{message}");
        }
    }

    fn new_entries(&self) -> MutexGuard<'_, Spool> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn old(&self) -> Option<&CacheFile> {
        self.old.as_ref().filter(|_| !self.is_dropped.load(Ordering::Relaxed))
    }

    /// The entries that may be of a blob, with what the store said of each.
    fn entries(&self, digest: &Digest) -> impl Iterator<Item = (&Entry, &AtomicU8)> {
        let entries = self.old().map_or(&[][..], |old| &old.entries);
        let first = entries.partition_point(|entry| entry.key < Entry::key_of(digest));
        let all = entries[first..].iter().zip(&self.states[first..]);
        let digest = *digest;
        all.take_while(move |(entry, _)| entry.key == Entry::key_of(&digest)).filter(move |(entry, _)| entry.is_of(&digest))
    }

    /// A partition is about to be listed: nothing is known of its blobs until the listing has them.
    pub(in crate::store) fn begin(&self, partition: &Partition) {
        self.of_partition(partition).for_each(|state| state.store(state::UNKNOWN, Ordering::Relaxed));
    }

    /// It was listed to its end: what it did not have is gone.
    pub(in crate::store) fn end(&self, partition: &Partition) {
        for state in self.of_partition(partition) {
            let _ = state.compare_exchange(state::UNKNOWN, state::GONE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn of_partition(&self, partition: &Partition) -> impl Iterator<Item = &AtomicU8> {
        let entries = self.old().map_or(&[][..], |old| &old.entries);
        let (first, last) = (*partition.bytes().start(), *partition.bytes().end());
        let first = entries.partition_point(|entry| entry.shard() < first);
        let end = entries.partition_point(|entry| entry.shard() <= last);
        let algorithm = partition.algorithm();
        let all = entries[first..end].iter().zip(&self.states[first..]);
        all.filter(move |(entry, _)| entry.algorithm == algorithm).map(|(_, state)| state)
    }

    /// A listing has a blob, and says no more of it.
    pub(in crate::store) fn listed(&self, digest: &Digest) {
        for (_, state) in self.entries(digest) {
            let _ = state.compare_exchange(state::UNKNOWN, state::LISTED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The store says this of a blob now; nothing if it says too little to tell it from another one.
    pub(in crate::store) fn seen(&self, digest: &Digest, witness: impl FnOnce() -> Option<Witness>) {
        let mut entries = self.entries(digest).peekable();
        if entries.peek().is_none() {
            return;
        }
        let witness = witness();
        for (entry, state) in entries {
            let is_same = witness == Some(entry.witness);
            state.store(if is_same { state::SAME } else { state::CHANGED }, Ordering::Relaxed);
        }
    }

    /// What is kept of a blob, if the store says of it what it said when it was read.
    pub(in crate::store) fn find(&self, digest: &Digest) -> Option<Kept> {
        let old = self.old()?;
        let same = self.entries(digest).filter(|(_, state)| state.load(Ordering::Relaxed) == state::SAME);
        for (entry, _) in same {
            match (entry.kind, old.content(entry)) {
                (Kind::NotAnObject, _) => return Some(Kept::NotAnObject),
                (Kind::Content, Ok(content)) if Digest::of(digest.algorithm(), &content) == *digest => {
                    return Some(Kept::Content(content));
                }
                (Kind::Content, Ok(_)) => self.doubt("it is damaged"),
                (Kind::Content, Err(error)) => self.doubt(&error.to_string()),
            }
        }
        None
    }

    /// Keeps a blob whose bytes were read and hash to its digest, with what the store said of it then.
    pub(in crate::store) fn keep(&self, digest: &Digest, witness: Option<Witness>, content: &[u8]) {
        if content.len() <= MAX_KEPT_BYTES && may_be_kept(content) {
            self.add(digest, witness, Kind::Content, content);
        }
    }

    /// Keeps that a blob begins otherwise than a JSON object does.
    pub(in crate::store) fn keep_no_object(&self, digest: &Digest, witness: Option<Witness>) {
        self.add(digest, witness, Kind::NotAnObject, &[]);
    }

    fn add(&self, digest: &Digest, witness: Option<Witness>, kind: Kind, content: &[u8]) {
        let Some(witness) = witness else { return };
        let (key, algorithm) = (Entry::key_of(digest), digest.algorithm());
        let entry = Entry { key, algorithm, witness, kind, offset: 0, length: 0 };
        let directory = directory_of(&self.path);
        if let Err(error) = self.new_entries().add(directory, entry, content) {
            self.warn_unwritten(&error.to_string());
        }
    }

    fn warn_unwritten(&self, why: &str) {
        let directory = directory_of(&self.path);
        self.warn(format_args!(
            "manifests are not kept for the next run: cannot write in {}: {why}; give --cache DIR, or --no-cache",
            escaped(directory)
        ));
    }

    /// Writes what is still true of the file, and what was read, if that is worth it.
    fn save(&self) -> Result<(), Error> {
        let mut new = self.new_entries();
        let old = self.old();
        let is_true = |state: &AtomicU8| !matches!(state.load(Ordering::Relaxed), state::CHANGED | state::GONE);
        let kept = old.iter().flat_map(|old| &old.entries).zip(&self.states).filter(|(_, state)| is_true(state));
        // New ones first: of those that say the same, the first one stays.
        let mut all: Vec<(Entry, bool)> = new.entries.iter().map(|entry| (*entry, true)).collect();
        all.extend(kept.map(|(entry, _)| (*entry, false)));
        let before = old.map_or(0, |old| old.entries.len());
        let is_mostly_true = (all.len() - new.entries.len()) * 4 >= before * 3;
        let is_dropped = self.is_dropped.load(Ordering::Relaxed);
        if new.entries.is_empty() && is_mostly_true && !is_dropped {
            return Ok(());
        }
        all.sort_by_key(|(entry, _)| (entry.key, entry.algorithm, entry.witness, entry.kind));
        all.dedup_by(|other, first| other.0.repeats(&first.0));
        let file = new.file().context("write in", directory_of(&self.path))?;
        let content = |(entry, is_new): &(Entry, bool)| match is_new {
            true => file::read(file?, entry).ok(),
            false => old?.content(entry).ok(),
        };
        file::write(&self.path, &self.store, &all, content)
    }
}

impl Drop for ManifestCache {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        match self.save() {
            Ok(()) => {}
            Err(Error::Io { source, .. }) => self.warn_unwritten(&source.to_string()),
            Err(error) => self.warn_unwritten(&error.to_string()),
        }
    }
}

/// What tells a manifest from other JSON.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<IgnoredAny>,
    #[serde(rename = "mediaType", default)]
    media_type: Option<serde_json::Value>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    blobs: Option<IgnoredAny>,
    config: Option<serde_json::Value>,
    rootfs: Option<IgnoredAny>,
    history: Option<IgnoredAny>,
    container_config: Option<IgnoredAny>,
}

/// Whether bytes are a manifest without an image's configuration in it. All else that is JSON may have secrets: an image's environment, the
/// configuration of an artifact, a key that is a layer.
fn may_be_kept(content: &[u8]) -> bool {
    let Ok(outline) = serde_json::from_slice::<Outline>(content) else { return false };
    let is_type = |media_type: &str| media_type.contains("manifest") || media_type.contains("image.index");
    let is_manifest = outline.schema_version.is_some()
        || outline.media_type.as_ref().and_then(serde_json::Value::as_str).is_some_and(is_type)
        || outline.config.is_some_and(|config| config.get("digest").is_some())
        || outline.manifests.is_some()
        || outline.layers.is_some()
        || outline.blobs.is_some();
    let has_configuration = outline.rootfs.is_some() || outline.history.is_some() || outline.container_config.is_some();
    content.trim_ascii_start().first() == Some(&b'{') && is_manifest && !has_configuration
}
