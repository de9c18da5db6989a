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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::layout;
    use crate::oci::Algorithm;
    use crate::store::filesystem::Root;
    use crate::store::{ManifestContent, ManifestStart};

    /// A store with these blobs, and a cache beside it.
    struct Place {
        root: tempfile::TempDir,
        cache: tempfile::TempDir,
    }

    impl Place {
        fn open(&self) -> FilesystemStore {
            let store = FilesystemStore::open(&Root::whole(self.root.path())).expect("a store");
            store.with_cache(self.cache.path())
        }

        fn put(&self, content: &[u8]) -> Digest {
            let digest = Digest::of(Algorithm::Sha256, content);
            let path = self.root.path().join(layout::blob_data(&digest));
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, content).expect("written");
            digest
        }

        /// Reads a manifest, and whether it was kept before.
        fn read(&self, digest: &Digest) -> (ManifestContent, bool) {
            let store = self.open();
            let was_kept = store.known(digest).kept().is_some();
            let mut read = None;
            let content = store.manifest(digest, &mut |bytes| read = Some(bytes.to_vec())).expect("readable");
            assert_eq!(read.is_some(), content == ManifestContent::Verified);
            assert!(read.is_none_or(|bytes| Digest::of(Algorithm::Sha256, &bytes) == *digest));
            (content, was_kept)
        }
    }

    #[test]
    fn a_file_that_is_the_same_is_not_read_again_and_another_one_is() {
        let place = Place { root: tempfile::tempdir().expect("one"), cache: tempfile::tempdir().expect("one") };
        let digest = place.put(br#"{"layers":[]}"#);
        let path = place.root.path().join(layout::blob_data(&digest));
        assert_eq!(place.read(&digest), (ManifestContent::Verified, false));
        assert_eq!(place.read(&digest), (ManifestContent::Verified, true));
        // In place, with the time that it had: that it was changed is to be seen all the same.
        let time = fs::metadata(&path).expect("there").modified().expect("a time");
        fs::write(&path, br#"{"layers":{}}"#).expect("written");
        fs::File::options().write(true).open(&path).expect("open").set_modified(time).expect("set");
        assert_eq!(place.read(&digest), (ManifestContent::Corrupt, false));
        // Another file in its place.
        place.put(br#"{"layers":[]}"#);
        assert_eq!(place.read(&digest), (ManifestContent::Verified, false));
        let copy = path.with_file_name("copy");
        fs::copy(&path, &copy).expect("copied");
        fs::rename(&copy, &path).expect("renamed");
        assert_eq!(place.read(&digest), (ManifestContent::Verified, false));
        assert_eq!(place.read(&digest), (ManifestContent::Verified, true));
        fs::File::options()
            .write(true)
            .open(&path)
            .expect("open")
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .expect("set");
        assert_eq!(place.read(&digest), (ManifestContent::Verified, false));
        fs::rename(&path, path.with_file_name("moved")).expect("renamed");
        assert_eq!(place.read(&digest), (ManifestContent::Absent, false));
    }

    #[test]
    fn that_a_layer_is_no_object_is_kept_too() {
        let place = Place { root: tempfile::tempdir().expect("one"), cache: tempfile::tempdir().expect("one") };
        let layer = place.put(&vec![b'x'; 100_000]);
        assert_eq!(place.open().manifest_start(&layer).expect("readable"), ManifestStart::NotAnObject);
        let store = place.open();
        assert_eq!(store.known(&layer).kept(), Some(Kept::NotAnObject));
        assert_eq!(store.manifest_start(&layer).expect("readable"), ManifestStart::NotAnObject);
        // One that is read in full is read in full.
        assert_eq!(store.manifest(&layer, &mut |_| {}).expect("readable"), ManifestContent::Verified);
    }
}
