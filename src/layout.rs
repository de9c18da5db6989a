//! Where things are below the root directory: the only place that knows path shapes.
//!
//! The shapes are distribution's (source: its `registry/storage/paths.go`). Every path here is relative to the root, the folder
//! that holds `docker/`.

use std::path::{Path, PathBuf};

use crate::oci::digest::hex_pair;
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};

/// The folder that holds everything the registry writes.
pub const V2: &str = "docker/registry/v2";
/// The folder of all repositories.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// The folder of all blobs.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// A folder of our own, beside `docker/`: some registry versions lose their catalog over a stray file below it.
pub const OWN_FOLDER: &str = ".regsweep";
/// GitLab's registry leaves this file where the roots of the store live in its database and not in link files.
pub const DATABASE_IN_USE: &str = "docker/registry/lockfiles/database-in-use";

/// The folders that make the folder around them a repository, and that nothing else may be called.
pub const MARKERS: [&str; 3] = ["_layers", "_manifests", "_uploads"];

/// One digest in hex and two more components.
const BLOB_PATH_BYTES: usize = 160;

/// A folder of links: `<folder>/<algorithm>/<hex>/link`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkFolder {
    /// A tag's `index/`: every revision the tag ever named.
    History(RepositoryName, TagName),
    /// `_manifests/revisions`.
    Revisions(RepositoryName),
    /// `_layers`.
    Layers(RepositoryName),
}

impl LinkFolder {
    /// The repository that the folder belongs to.
    pub fn repository(&self) -> &RepositoryName {
        match self {
            LinkFolder::History(repository, _) | LinkFolder::Revisions(repository) | LinkFolder::Layers(repository) => repository,
        }
    }

    /// The tag whose history it is.
    pub fn tag(&self) -> Option<&TagName> {
        match self {
            LinkFolder::History(_, tag) => Some(tag),
            _ => None,
        }
    }

    /// The folder's path.
    pub fn path(&self) -> PathBuf {
        match self {
            LinkFolder::History(repository, tag) => tag_folder(repository, tag).join("index"),
            LinkFolder::Revisions(repository) => repository_folder(repository).join("_manifests/revisions"),
            LinkFolder::Layers(repository) => repository_folder(repository).join("_layers"),
        }
    }

    /// The path of the link of one digest.
    pub fn link(&self, digest: &Digest) -> PathBuf {
        self.path().join(digest_path(digest)).join("link")
    }
}

/// The folder of a repository.
pub fn repository_folder(repository: &RepositoryName) -> PathBuf {
    Path::new(REPOSITORIES).join(repository.as_path())
}

/// The folder of a repository's tags.
pub fn tags_folder(repository: &RepositoryName) -> PathBuf {
    repository_folder(repository).join("_manifests/tags")
}

/// The folder of one tag.
pub fn tag_folder(repository: &RepositoryName, tag: &TagName) -> PathBuf {
    tags_folder(repository).join(tag.as_os_str())
}

/// The link that says what a tag names now.
pub fn current_link(repository: &RepositoryName, tag: &TagName) -> PathBuf {
    tag_folder(repository, tag).join("current/link")
}

/// `<algorithm>/<hex>`, as links are kept.
pub fn digest_path(digest: &Digest) -> String {
    let mut path = String::with_capacity(BLOB_PATH_BYTES);
    path.push_str(digest.algorithm().name());
    path.push('/');
    digest.push_hex(&mut path);
    path
}

/// A shard: the folder of all blobs of one algorithm whose digests begin with one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// The algorithm of the blobs in it.
    pub algorithm: Algorithm,
    /// Their first byte.
    pub byte: u8,
}

impl Shard {
    /// The shard that holds `digest`.
    pub fn of(digest: &Digest) -> Shard {
        Shard { algorithm: digest.algorithm(), byte: digest.shard() }
    }

    /// `<algorithm>/<two hex digits>`, relative to `blobs/`.
    pub fn relative(&self) -> String {
        let [high, low] = hex_pair(self.byte);
        let mut path = String::with_capacity(BLOB_PATH_BYTES);
        path.push_str(self.algorithm.name());
        path.extend(['/', char::from(high), char::from(low)]);
        path
    }

    /// The shard's path.
    pub fn path(&self) -> PathBuf {
        Path::new(BLOBS).join(self.relative())
    }
}

/// `<algorithm>/<two hex digits>/<hex>/data`, relative to `blobs/`.
pub fn blob_data_relative(digest: &Digest) -> String {
    let mut path = Shard::of(digest).relative();
    path.push('/');
    digest.push_hex(&mut path);
    path.push_str("/data");
    path
}

/// The path of a blob's content.
pub fn blob_data(digest: &Digest) -> PathBuf {
    Path::new(BLOBS).join(blob_data_relative(digest))
}

/// Something that a sweep may remove: always one exact file, or one folder that is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A `link` file.
    Link(LinkFolder, Digest),
    /// A blob's `data` file.
    Blob(Digest),
    /// The folder that a deleted link left behind.
    EmptyLinkFolder(LinkFolder, Digest),
    /// The folder that a deleted blob left behind.
    EmptyBlobFolder(Digest),
}

impl Target {
    /// The digest that names the target.
    pub fn digest(&self) -> &Digest {
        match self {
            Target::Link(_, digest)
            | Target::Blob(digest)
            | Target::EmptyLinkFolder(_, digest)
            | Target::EmptyBlobFolder(digest) => digest,
        }
    }

    /// The folder of links it lies in, if it is not in `blobs/`.
    pub fn link_folder(&self) -> Option<&LinkFolder> {
        match self {
            Target::Link(folder, _) | Target::EmptyLinkFolder(folder, _) => Some(folder),
            Target::Blob(_) | Target::EmptyBlobFolder(_) => None,
        }
    }

    /// Whether the target is a folder rather than a file.
    pub fn is_folder(&self) -> bool {
        matches!(self, Target::EmptyLinkFolder(..) | Target::EmptyBlobFolder(_))
    }

    /// The path of the file, or of the folder.
    pub fn path(&self) -> PathBuf {
        match self {
            Target::Link(folder, digest) => folder.link(digest),
            Target::Blob(digest) => blob_data(digest),
            Target::EmptyLinkFolder(folder, digest) => folder.path().join(digest_path(digest)),
            Target::EmptyBlobFolder(digest) => Shard::of(digest).path().join(digest.hex()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_registrys() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let hex = digest.hex();
        let repository = RepositoryName::new("team/app");
        let tag = TagName::new("v1");
        let base = "docker/registry/v2/repositories/team/app";
        let history = LinkFolder::History(repository.clone(), tag.clone());
        for (path, expected) in [
            (current_link(&repository, &tag), format!("{base}/_manifests/tags/v1/current/link")),
            (history.link(&digest), format!("{base}/_manifests/tags/v1/index/sha256/{hex}/link")),
            (LinkFolder::Revisions(repository.clone()).link(&digest), format!("{base}/_manifests/revisions/sha256/{hex}/link")),
            (LinkFolder::Layers(repository.clone()).link(&digest), format!("{base}/_layers/sha256/{hex}/link")),
            (blob_data(&digest), format!("docker/registry/v2/blobs/sha256/e3/{hex}/data")),
            (Target::EmptyBlobFolder(digest).path(), format!("docker/registry/v2/blobs/sha256/e3/{hex}")),
            (Target::EmptyLinkFolder(LinkFolder::Layers(repository), digest).path(), format!("{base}/_layers/sha256/{hex}")),
        ] {
            assert_eq!(path, Path::new(&expected));
        }
    }
}
