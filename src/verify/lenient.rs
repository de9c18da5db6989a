//! A store in which one bad sector under a manifest does not end everything.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::layout::{LinkDirectory, Shard, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::{
    BlobContent, FileState, Leftover, LinkContent, Listing, ManifestContent, ManifestStart, RepositoryEntry, Stat, Store, Stray,
    TagContent, Upload,
};

/// Another store, but a manifest that cannot be read is a corrupt one. A collection must stop there; what only looks goes on, and will
/// meet the blob again and say what is wrong with it.
pub struct Lenient<'a>(pub &'a dyn Store);

impl Store for Lenient<'_> {
    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        self.0.manifest(digest, read).or_else(|error| {
            tracing::debug!("{error}");
            Ok(ManifestContent::Corrupt)
        })
    }

    fn manifest_start(&self, digest: &Digest) -> Result<ManifestStart, Error> {
        // Whatever is wrong, reading it will tell.
        self.0.manifest_start(digest).or(Ok(ManifestStart::Possible))
    }

    fn repositories(&self) -> Result<Listing<RepositoryEntry>, Error> {
        self.0.repositories()
    }

    fn manifest_strays(&self, repository: &RepositoryName) -> Result<Vec<Stray>, Error> {
        self.0.manifest_strays(repository)
    }

    fn tags(&self, repository: &RepositoryName) -> Result<Listing<TagName>, Error> {
        self.0.tags(repository)
    }

    fn tag(&self, repository: &RepositoryName, tag: &TagName) -> Result<TagContent, Error> {
        self.0.tag(repository, tag)
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        self.0.links(directory)
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        self.0.read_links(directory, digests)
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        self.0.inspect_links(directory, digests)
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.0.stat_links(directory, digests)
    }

    fn blob_changed(&self, digest: &Digest) -> Option<std::time::SystemTime> {
        self.0.blob_changed(digest)
    }

    fn uploads(&self, repository: &RepositoryName) -> Result<Listing<Upload>, Error> {
        self.0.uploads(repository)
    }

    fn leftovers(&self, directory: &Path, known: &[&str]) -> Result<Vec<Leftover>, Error> {
        self.0.leftovers(directory, known)
    }

    fn shards(&self) -> Result<Listing<Shard>, Error> {
        self.0.shards()
    }

    fn blobs(&self, shard: Shard, each: &mut dyn FnMut(&Digest)) -> Result<Vec<Stray>, Error> {
        self.0.blobs(shard, each)
    }

    fn stat_blobs(&self, shard: Shard, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        self.0.stat_blobs(shard, digests)
    }

    fn read_blob(&self, digest: &Digest, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        self.0.read_blob(digest, each)
    }

    fn symlink_target(&self, link: &Path) -> Result<Option<PathBuf>, Error> {
        self.0.symlink_target(link)
    }

    fn empty_directory(&self, directory: &Target) -> Result<Option<Stat>, Error> {
        self.0.empty_directory(directory)
    }
}
