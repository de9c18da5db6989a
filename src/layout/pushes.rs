//! The directories in which pushes create entries. Deeper ones hold one file each, and change with a file that is there already.

use std::path::{Path, PathBuf};

use super::{BLOBS, LinkDirectory, REPOSITORIES, Shard, repository_directory, tags_directory, uploads_directory};
use crate::oci::{Algorithm, RepositoryName};

/// The directories of [`pushed_to`].
pub const PUSHED_TO: usize = 5;

/// The directories of a repository in which a push creates an entry: for an upload, a layer link, a revision, a tag, and for the
/// first of each.
pub fn pushed_to(repository: &RepositoryName) -> [PathBuf; PUSHED_TO] {
    // The registry uses no other algorithm by itself.
    let links = |directory: LinkDirectory| directory.path().join(Algorithm::Sha256.name());
    [
        uploads_directory(repository),
        links(LinkDirectory::Layers(repository.clone())),
        links(LinkDirectory::Revisions(repository.clone())),
        tags_directory(repository),
        repository_directory(repository),
    ]
}

/// The directories above repositories, down from that of all: where a push creates a repository.
pub fn above(repository: &RepositoryName) -> impl Iterator<Item = &Path> {
    repository.as_path().ancestors().skip(1)
}

/// A path of [`above`], relative to the root.
pub fn namespace_directory(relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() { PathBuf::from(REPOSITORIES) } else { Path::new(REPOSITORIES).join(relative) }
}

/// The directories in which a push creates one for each new blob, and those above.
pub fn blob_directories() -> impl Iterator<Item = PathBuf> {
    let above = [PathBuf::from(BLOBS), Path::new(BLOBS).join(Algorithm::Sha256.name())];
    let shards = (0..=u8::MAX).map(|byte| Shard { algorithm: Algorithm::Sha256, byte }.path());
    above.into_iter().chain(shards)
}
