//! Where things are below the root directory: the only place that knows path shapes.
//!
//! The shapes are distribution's (source: its `registry/storage/paths.go`). Every path here is relative to the root, the folder
//! that holds `docker/`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::oci::digest::hex_pair;
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};

/// The folder that holds everything the registry writes.
pub const V2: &str = "docker/registry/v2";
/// The folder of all repositories.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// The folder of all blobs.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// A folder of our own, beside `docker/`: some registry versions lose their catalog over a stray file below `docker/registry/v2`.
pub const OWN_FOLDER: &str = ".regsweep";
/// GitLab's registry leaves this file where the roots of the store live in its database and not in link files.
pub const DATABASE_IN_USE: &str = "docker/registry/lockfiles/database-in-use";
/// GitLab's registry leaves this file where the link files of the store are what counts.
pub const FILESYSTEM_IN_USE: &str = "docker/registry/lockfiles/filesystem-in-use";

/// A pull-through cache keeps here when what it holds expires.
pub const PROXY_STATE: &str = "scheduler-state.json";

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

/// The folder of a repository's uploads.
pub fn uploads_folder(repository: &RepositoryName) -> PathBuf {
    repository_folder(repository).join("_uploads")
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

    /// Reads the path of a file back; nothing if no target that is a file lies there.
    pub fn of_path(path: &Path) -> Option<Target> {
        let parts: Vec<&OsStr> = path.strip_prefix(V2).ok()?.iter().collect();
        let (&leaf, parts) = parts.split_last()?;
        let (&hex, parts) = parts.split_last()?;
        if leaf == "data" {
            let &[blobs, algorithm, shard] = parts else { return None };
            let digest = digest_of(algorithm, hex)?;
            let belongs = blobs == "blobs" && shard.as_bytes() == hex_pair(digest.shard());
            return belongs.then_some(Target::Blob(digest));
        }
        let (&algorithm, parts) = parts.split_last()?;
        let digest = digest_of(algorithm, hex).filter(|_| leaf == "link")?;
        let (&repositories, parts) = parts.split_first()?;
        let marker = parts.iter().position(|part| MARKERS.iter().any(|marker| part == marker))?;
        if repositories != "repositories" || marker == 0 {
            return None;
        }
        let repository = RepositoryName::new(parts[..marker].iter().collect::<PathBuf>());
        let folder = match parts[marker..] {
            [layers] if layers == "_layers" => LinkFolder::Layers(repository),
            [manifests, revisions] if manifests == "_manifests" && revisions == "revisions" => LinkFolder::Revisions(repository),
            [manifests, tags, tag, index] if manifests == "_manifests" && tags == "tags" && index == "index" => {
                LinkFolder::History(repository, TagName::new(tag))
            }
            _ => return None,
        };
        Some(Target::Link(folder, digest))
    }
}

fn digest_of(algorithm: &OsStr, hex: &OsStr) -> Option<Digest> {
    Digest::from_hex(Algorithm::from_name(algorithm.as_bytes())?, hex.as_bytes())
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
    #[test]
    fn paths_of_files_are_read_back() {
        let repository = RepositoryName::new("a/b-c");
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"x");
            let folders = [
                LinkFolder::Layers(repository.clone()),
                LinkFolder::Revisions(repository.clone()),
                LinkFolder::History(repository.clone(), TagName::new("index")),
            ];
            let links = folders.into_iter().map(|folder| Target::Link(folder, digest));
            for target in links.chain([Target::Blob(digest)]) {
                assert_eq!(Target::of_path(&target.path()).as_ref(), Some(&target));
                assert_eq!(Target::of_path(&target.path().with_file_name("other")), None);
                assert_eq!(Target::of_path(&target.path().join("deeper")), None);
                assert_eq!(Target::of_path(target.path().parent().expect("in a folder")), None);
            }
            assert_eq!(Target::of_path(&Target::EmptyBlobFolder(digest).path()), None);
        }
        let hex = Digest::of(Algorithm::Sha256, b"").hex();
        for path in [
            "".into(),
            format!("{BLOBS}/sha256/00/{hex}/data"),
            format!("{REPOSITORIES}/_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}/a/_uploads/sha256/{hex}/link"),
            format!("{REPOSITORIES}/a/_manifests/tags/v1/current/link"),
            format!("elsewhere/blobs/sha256/e3/{hex}/data"),
        ] {
            assert_eq!(Target::of_path(Path::new(&path)), None, "{path}");
        }
    }
}
