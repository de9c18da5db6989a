//! The names of keys, both ways.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::oci::{Digest, RepositoryName};

/// What all keys of repositories look like, as `SCAN` matches them.
pub(super) const OF_REPOSITORIES: &str = "repository::*::blobs*";
/// The keys of all blobs.
pub(super) const OF_BLOBS: &str = "blobs::*";
/// The keys of digests of the other algorithms that the registry knows, sha384 and sha512. They can stand for another digest.
pub(super) const OF_ALIASES: &str = "blobs::sha[35]*";

const BLOBS: &[u8] = b"::blobs";

/// The key that claims a blob.
pub(super) fn of_blob(digest: &Digest) -> Vec<u8> {
    format!("blobs::{digest}").into_bytes()
}

/// The set of a repository's blobs.
pub(super) fn members(repository: &RepositoryName) -> Vec<u8> {
    [b"repository::".as_slice(), repository.as_path().as_os_str().as_bytes(), BLOBS].concat()
}

/// What a repository says of a blob.
pub(super) fn scoped(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    [members(repository).as_slice(), b"::", digest.to_string().as_bytes()].concat()
}

/// A key of some repository.
#[derive(Debug, PartialEq)]
pub(super) enum OfRepository {
    /// The set of its blobs.
    Members,
    /// What it says of this blob.
    Scoped(Digest),
}

/// What a key is that matches [`OF_REPOSITORIES`]; nothing for a key of others.
pub(super) fn of_repository(key: &[u8]) -> Option<OfRepository> {
    let rest = key.strip_prefix(b"repository::")?;
    if rest.ends_with(BLOBS) {
        return Some(OfRepository::Members);
    }
    let digest = rest.windows(2).rposition(|pair| pair == b"::").map(|place| (&rest[..place], &rest[place + 2..]));
    let (before, digest) = digest?;
    Some(OfRepository::Scoped(Digest::parse(digest).filter(|_| before.ends_with(BLOBS))?))
}

/// The repository whose set of blobs a key is.
pub(super) fn repository(set: &[u8]) -> Option<RepositoryName> {
    let name = set.strip_prefix(b"repository::")?.strip_suffix(BLOBS)?;
    Some(RepositoryName::new(OsStr::from_bytes(name)))
}

/// The digest that the key of an alias is named by.
pub(super) fn alias(key: &[u8]) -> Option<Digest> {
    Digest::parse(key.strip_prefix(b"blobs::")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for name in ["a", "team/a", "a::blobs", "a\n\x1b[31m", "::", ""] {
            let name = RepositoryName::new(name);
            assert_eq!(of_repository(&members(&name)), Some(OfRepository::Members), "{name:?}");
            assert_eq!(of_repository(&scoped(&name, &digest)), Some(OfRepository::Scoped(digest)), "{name:?}");
        }
        assert_eq!(members(&RepositoryName::new("team/a")), b"repository::team/a::blobs");
        assert_eq!(repository(b"repository::team/a::blobs"), Some(RepositoryName::new("team/a")));
        assert!(!repository(b"repository::../../etc::blobs").expect("a name").is_valid());
        let alias_of = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(alias(&of_blob(&alias_of)), Some(alias_of));
    }

    #[test]
    fn keys_of_others_are_none() {
        let long = [b"repository::".as_slice(), &[b':'; 1 << 16]].concat();
        for key in
            [b"".as_slice(), b"repository::", b"repository::a", b"repository::a::blobs::", b"repository::a::blobs::x", &long]
        {
            assert_eq!(of_repository(key), None, "{:?}", &key[..key.len().min(40)]);
        }
        let elsewhere =
            [b"repository::a::other::".as_slice(), Digest::of(Algorithm::Sha256, b"x").to_string().as_bytes()].concat();
        assert_eq!(of_repository(&elsewhere), None);
    }
}
