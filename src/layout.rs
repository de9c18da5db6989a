//! Paths below the root directory. No other module knows their shapes.
//!
//! The shapes are distribution's (source: its `registry/storage/paths.go`). Every path is relative to the root, the
//! directory that holds `docker/`.

mod pushes;
mod uploads;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

pub use self::pushes::{PUSHED_TO, above, blob_directories, namespace_directory, pushed_to};
pub use self::uploads::{UploadFile, UploadPart, upload_directory, upload_id};
use crate::oci::digest::hex_pair;
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};

/// The directory that holds everything the registry writes.
pub const V2: &str = "docker/registry/v2";
/// The directory of all repositories.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// The directory of all blobs.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// Our own directory, beside `docker/`: with a stray file below `docker/registry/v2`, some registry versions lose their
/// catalog.
pub const OWN_DIRECTORY: &str = ".regsweep";
/// GitLab's registry creates this file where its database holds the roots of the store, and not the link files.
pub const DATABASE_IN_USE: &str = "docker/registry/lockfiles/database-in-use";
/// GitLab's registry creates this file where the link files of the store are authoritative.
pub const FILESYSTEM_IN_USE: &str = "docker/registry/lockfiles/filesystem-in-use";

/// A pull-through cache records the expiry of its content here.
pub const PROXY_STATE: &str = "scheduler-state.json";

/// The directories that make their parent a repository. They are reserved names.
pub const MARKERS: [&str; 3] = ["_layers", "_manifests", UPLOADS];

/// The directory of uploads in progress, in a repository's directory.
pub const UPLOADS: &str = "_uploads";

/// Entries allowed in a link's directory: registries before 2.5 kept signatures beside revisions.
pub const IN_LINK_DIRECTORY: [&str; 2] = ["link", "signatures"];
/// Entries allowed in a blob's directory.
pub const IN_BLOB_DIRECTORY: [&str; 1] = ["data"];
/// Entries allowed in an upload's directory.
pub const IN_UPLOAD_DIRECTORY: [&str; 3] = ["startedat", "data", "hashstates"];

/// One digest in hex and two more components.
const BLOB_PATH_BYTES: usize = 160;

/// A directory of links: `<directory>/<algorithm>/<hex>/link`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkDirectory {
    /// A tag's `index/`: every revision the tag ever named.
    History(RepositoryName, TagName),
    /// `_manifests/revisions`.
    Revisions(RepositoryName),
    /// `_layers`.
    Layers(RepositoryName),
}

impl LinkDirectory {
    /// The repository that the directory belongs to.
    pub fn repository(&self) -> &RepositoryName {
        match self {
            LinkDirectory::History(repository, _) | LinkDirectory::Revisions(repository) | LinkDirectory::Layers(repository) => {
                repository
            }
        }
    }

    /// The tag, for a tag history.
    pub fn tag(&self) -> Option<&TagName> {
        match self {
            LinkDirectory::History(_, tag) => Some(tag),
            _ => None,
        }
    }

    /// The directory's path.
    pub fn path(&self) -> PathBuf {
        match self {
            LinkDirectory::History(repository, tag) => tag_directory(repository, tag).join("index"),
            LinkDirectory::Revisions(repository) => repository_directory(repository).join("_manifests/revisions"),
            LinkDirectory::Layers(repository) => repository_directory(repository).join("_layers"),
        }
    }

    /// The path of the link of one digest.
    pub fn link(&self, digest: &Digest) -> PathBuf {
        self.path().join(digest_path(digest)).join("link")
    }
}

/// The directory of a repository.
pub fn repository_directory(repository: &RepositoryName) -> PathBuf {
    Path::new(REPOSITORIES).join(repository.as_path())
}

/// The directory of a repository's tags.
pub fn tags_directory(repository: &RepositoryName) -> PathBuf {
    repository_directory(repository).join("_manifests/tags")
}

/// The directory of a repository's uploads.
pub fn uploads_directory(repository: &RepositoryName) -> PathBuf {
    repository_directory(repository).join("_uploads")
}

/// The directory of one tag.
pub fn tag_directory(repository: &RepositoryName, tag: &TagName) -> PathBuf {
    tags_directory(repository).join(tag.as_os_str())
}

/// The link to the current manifest of a tag.
pub fn current_link(repository: &RepositoryName, tag: &TagName) -> PathBuf {
    tag_directory(repository, tag).join("current/link")
}

/// Reads the path of a [`current_link`] back: the repository and the tag. What the tag names is in the file alone.
pub fn tag_of_current_link(path: &Path) -> Option<(RepositoryName, TagName)> {
    let parts: Vec<&OsStr> = path.strip_prefix(REPOSITORIES).ok()?.iter().collect();
    let marker = parts.iter().position(|part| MARKERS.iter().any(|marker| part == marker)).filter(|marker| *marker > 0)?;
    let [manifests, tags, tag, current, link] = parts[marker..] else { return None };
    let is_current_link = manifests == "_manifests" && tags == "tags" && current == "current" && link == "link";
    is_current_link.then(|| (RepositoryName::new(parts[..marker].iter().collect::<PathBuf>()), TagName::new(tag)))
}

/// `<algorithm>/<hex>`, as in link paths.
pub fn digest_path(digest: &Digest) -> String {
    let mut path = String::with_capacity(BLOB_PATH_BYTES);
    path.push_str(digest.algorithm().name());
    path.push('/');
    digest.push_hex(&mut path);
    path
}

/// A shard: the directory of all blobs of one algorithm whose digests begin with one byte.
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

/// A target of a sweep: one exact file, or one empty directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A tag's `current/link`, and its digest.
    Tag(RepositoryName, TagName, Digest),
    /// A tag's `current/link` that names nothing: it is empty or garbled.
    BrokenTag(RepositoryName, TagName),
    /// A `link` file.
    Link(LinkDirectory, Digest),
    /// A blob's `data` file.
    Blob(Digest),
    /// The directory that a deleted link left behind.
    EmptyLinkDirectory(LinkDirectory, Digest),
    /// The directory that a deleted blob left behind.
    EmptyBlobDirectory(Digest),
    /// The directories of a tag in which no link is left.
    EmptyTag(RepositoryName, TagName),
    /// A file of an upload.
    Upload(Box<UploadFile>),
    /// The directory of an upload in which there is no file any more, given with the upload's name.
    EmptyUploadDirectory(RepositoryName, String),
    /// The directories of a repository in which nothing is left: its own, those that make it one, and those around it.
    EmptyRepository(RepositoryName),
}

impl Target {
    /// The digest that names the target. Uploads, repositories, and tags that name nothing have none.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Target::Tag(_, _, digest)
            | Target::Link(_, digest)
            | Target::Blob(digest)
            | Target::EmptyLinkDirectory(_, digest)
            | Target::EmptyBlobDirectory(digest) => Some(digest),
            Target::BrokenTag(..)
            | Target::Upload(_)
            | Target::EmptyUploadDirectory(..)
            | Target::EmptyTag(..)
            | Target::EmptyRepository(_) => None,
        }
    }

    /// The repository and the name of the upload, for one.
    pub fn upload(&self) -> Option<(&RepositoryName, &str)> {
        match self {
            Target::Upload(file) => Some((&file.repository, &file.id)),
            Target::EmptyUploadDirectory(repository, id) => Some((repository, id)),
            _ => None,
        }
    }

    /// The repository of the target; `None` in `blobs/`.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Target::Tag(repository, ..)
            | Target::BrokenTag(repository, _)
            | Target::EmptyTag(repository, _)
            | Target::EmptyUploadDirectory(repository, _)
            | Target::EmptyRepository(repository) => Some(repository),
            Target::Upload(file) => Some(&file.repository),
            Target::Link(directory, _) | Target::EmptyLinkDirectory(directory, _) => Some(directory.repository()),
            Target::Blob(_) | Target::EmptyBlobDirectory(_) => None,
        }
    }

    /// The tag of the target.
    pub fn tag(&self) -> Option<&TagName> {
        match self {
            Target::Tag(_, tag, _) | Target::BrokenTag(_, tag) | Target::EmptyTag(_, tag) => Some(tag),
            Target::Link(directory, _) | Target::EmptyLinkDirectory(directory, _) => directory.tag(),
            _ => None,
        }
    }

    /// The link directory of the target. Blobs and current tag links have none.
    pub fn link_directory(&self) -> Option<&LinkDirectory> {
        match self {
            Target::Link(directory, _) | Target::EmptyLinkDirectory(directory, _) => Some(directory),
            _ => None,
        }
    }

    /// Whether the target is a directory rather than a file.
    pub fn is_directory(&self) -> bool {
        matches!(
            self,
            Target::EmptyLinkDirectory(..)
                | Target::EmptyBlobDirectory(_)
                | Target::EmptyUploadDirectory(..)
                | Target::EmptyTag(..)
                | Target::EmptyRepository(_)
        )
    }

    /// The path of the file, or of the directory.
    pub fn path(&self) -> PathBuf {
        match self {
            Target::Tag(repository, tag, _) | Target::BrokenTag(repository, tag) => current_link(repository, tag),
            Target::Link(directory, digest) => directory.link(digest),
            Target::Blob(digest) => blob_data(digest),
            Target::EmptyLinkDirectory(directory, digest) => directory.path().join(digest_path(digest)),
            Target::EmptyBlobDirectory(digest) => Shard::of(digest).path().join(digest.hex()),
            Target::Upload(file) => file.path(),
            Target::EmptyUploadDirectory(repository, id) => upload_directory(repository, id),
            Target::EmptyTag(repository, tag) => tag_directory(repository, tag),
            Target::EmptyRepository(repository) => repository_directory(repository),
        }
    }

    /// Reads the path of a file back; nothing if no target that is a file lies there. What a tag names is not in its path, so none of
    /// `current/link` is: [`Target::of_file`] asks for that.
    pub fn of_path(path: &Path) -> Option<Target> {
        let parts: Vec<&OsStr> = path.strip_prefix(V2).ok()?.iter().collect();
        if let Some(file) = of_upload(&parts) {
            return Some(Target::Upload(Box::new(file)));
        }
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
        let directory = match parts[marker..] {
            [layers] if layers == "_layers" => LinkDirectory::Layers(repository),
            [manifests, revisions] if manifests == "_manifests" && revisions == "revisions" => {
                LinkDirectory::Revisions(repository)
            }
            [manifests, tags, tag, index] if manifests == "_manifests" && tags == "tags" && index == "index" => {
                LinkDirectory::History(repository, TagName::new(tag))
            }
            _ => return None,
        };
        Some(Target::Link(directory, digest))
    }

    /// The same for a file that can be read: `named` says what digest is in it, and is asked where that is what a tag names.
    pub fn of_file(path: &Path, named: impl FnOnce() -> Option<Digest>) -> Option<Target> {
        Target::of_path(path).or_else(|| {
            let (repository, tag) = tag_of_current_link(path)?;
            Some(Target::Tag(repository, tag, named()?))
        })
    }
}

/// Reads the path of a file of an upload back.
fn of_upload(parts: &[&OsStr]) -> Option<UploadFile> {
    let parts = parts.split_first().filter(|(first, _)| **first == "repositories")?.1;
    let marker = parts.iter().position(|part| MARKERS.iter().any(|marker| part == marker)).filter(|marker| *marker > 0)?;
    let (&[uploads, id], part) = parts[marker..].split_first_chunk()?;
    let part = UploadPart::of_relative(&part.iter().collect::<PathBuf>()).filter(|_| uploads == UPLOADS)?;
    let repository = RepositoryName::new(parts[..marker].iter().collect::<PathBuf>());
    Some(UploadFile { repository, id: upload_id(id)?.to_owned(), part })
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
        let history = LinkDirectory::History(repository.clone(), tag.clone());
        for (path, expected) in [
            (current_link(&repository, &tag), format!("{base}/_manifests/tags/v1/current/link")),
            (history.link(&digest), format!("{base}/_manifests/tags/v1/index/sha256/{hex}/link")),
            (
                LinkDirectory::Revisions(repository.clone()).link(&digest),
                format!("{base}/_manifests/revisions/sha256/{hex}/link"),
            ),
            (LinkDirectory::Layers(repository.clone()).link(&digest), format!("{base}/_layers/sha256/{hex}/link")),
            (blob_data(&digest), format!("docker/registry/v2/blobs/sha256/e3/{hex}/data")),
            (Target::EmptyBlobDirectory(digest).path(), format!("docker/registry/v2/blobs/sha256/e3/{hex}")),
            (Target::Tag(repository.clone(), tag, digest).path(), format!("{base}/_manifests/tags/v1/current/link")),
            (
                Target::EmptyLinkDirectory(LinkDirectory::Layers(repository), digest).path(),
                format!("{base}/_layers/sha256/{hex}"),
            ),
        ] {
            assert_eq!(path, Path::new(&expected));
        }
    }
    #[test]
    fn paths_of_files_are_read_back() {
        let repository = RepositoryName::new("a/b-c");
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"x");
            let directories = [
                LinkDirectory::Layers(repository.clone()),
                LinkDirectory::Revisions(repository.clone()),
                LinkDirectory::History(repository.clone(), TagName::new("index")),
            ];
            let links = directories.into_iter().map(|directory| Target::Link(directory, digest));
            let tag = Target::Tag(repository.clone(), TagName::new("index"), digest);
            assert_eq!(Target::of_path(&tag.path()), None);
            assert_eq!(Target::of_file(&tag.path(), || Some(digest)), Some(tag.clone()));
            assert_eq!(Target::of_file(&tag.path(), || None), None);
            assert_eq!(tag_of_current_link(&tag.path().join("deeper")), None);
            for target in links.chain([Target::Blob(digest)]) {
                assert_eq!(tag_of_current_link(&target.path()), None);
                assert_eq!(Target::of_path(&target.path()).as_ref(), Some(&target));
                assert_eq!(Target::of_path(&target.path().with_file_name("other")), None);
                assert_eq!(Target::of_path(&target.path().join("deeper")), None);
                assert_eq!(Target::of_path(target.path().parent().expect("in a directory")), None);
            }
            assert_eq!(Target::of_path(&Target::EmptyBlobDirectory(digest).path()), None);
        }
        let hex = Digest::of(Algorithm::Sha256, b"").hex();
        for path in [
            "".into(),
            format!("{BLOBS}/sha256/00/{hex}/data"),
            format!("{REPOSITORIES}/_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}/a/_uploads/sha256/{hex}/link"),
            format!("{REPOSITORIES}/a/_manifests/tags/v1/current/link"),
            format!("{REPOSITORIES}/_manifests/tags/current/link"),
            format!("elsewhere/blobs/sha256/e3/{hex}/data"),
        ] {
            assert_eq!(Target::of_path(Path::new(&path)), None, "{path}");
            assert_eq!(tag_of_current_link(Path::new(&path)).is_some(), path.ends_with("/v1/current/link"), "{path}");
        }
    }
}
