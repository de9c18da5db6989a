//! Manifests that an earlier run read, and what tells that their files are still the same.

use std::path::Path;

use super::store::FilesystemStore;
use crate::oci::Digest;
use crate::store::manifest_cache::{Kept, ManifestCache, Witness};
use crate::store::{Backend as _, Store as _};

/// What is known of a blob before it is read: nothing without a cache.
pub(super) struct Known<'a> {
    cache: Option<&'a ManifestCache>,
    digest: Digest,
    /// Of the file as it was before it is read.
    witness: Option<Witness>,
}

impl FilesystemStore {
    /// The same with the manifests that are kept of it in a directory.
    #[must_use]
    pub fn with_cache(mut self, directory: &Path) -> FilesystemStore {
        // What cannot be told from another store is read without.
        let Ok(identity) = self.identity() else { return self };
        let name = format!("{}\n{}\n{}", identity.filesystem, identity.directory, identity.place.display());
        self.cache = ManifestCache::open(directory, &name);
        self
    }

    /// Looks at a blob's file, if there is a cache.
    pub(super) fn known(&self, digest: &Digest) -> Known<'_> {
        let cache = self.cache.as_ref();
        // What cannot be looked at cannot be read either, and that is said then.
        let condition = cache.and_then(|_| self.blob_condition(digest).ok()?);
        let witness = condition.and_then(|condition| Witness::of_file(digest, &condition));
        if let Some(cache) = cache {
            cache.seen(digest, || witness);
        }
        Known { cache, digest: *digest, witness }
    }
}

impl Known<'_> {
    /// What is kept of the blob, if its file is the same.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.cache?.find(&self.digest)
    }

    /// Keeps its bytes, which were read since.
    pub(super) fn keep(&self, content: &[u8]) {
        if let Some(cache) = self.cache {
            cache.keep(&self.digest, self.witness, content);
        }
    }

    /// Keeps that it begins otherwise than a JSON object does.
    pub(super) fn keep_no_object(&self) {
        if let Some(cache) = self.cache {
            cache.keep_no_object(&self.digest, self.witness);
        }
    }
}
