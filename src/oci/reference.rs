//! References on the command line: a digest, a repository, or a tag or a manifest in it.

use std::fmt;
use std::str::FromStr;

use super::{Digest, RepositoryName, TagName};
use crate::escape::escaped;

/// A digest, or something in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A blob, in any repository.
    Digest(Digest),
    /// A repository.
    Repository(String),
    /// A tag: `repository:tag`.
    Tag(String, String),
    /// A manifest of a repository: `repository@digest`.
    Manifest(String, Digest),
}

impl Reference {
    /// The repository, as typed.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Reference::Digest(_) => None,
            Reference::Repository(name) | Reference::Tag(name, _) | Reference::Manifest(name, _) => Some(name),
        }
    }

    /// The tag, as typed.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Reference::Tag(_, tag) => Some(tag),
            _ => None,
        }
    }
}

/// Whether a name matches typed text: as it is, or as reports show it.
pub fn is_repository(name: &RepositoryName, typed: &str) -> bool {
    name.as_path().as_os_str() == typed || name.to_string() == typed
}

/// The same for a tag.
pub fn is_tag(name: &TagName, typed: &str) -> bool {
    name.as_os_str() == typed || name.to_string() == typed
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Reference, String> {
        let expected = || "expected REPOSITORY, REPOSITORY:TAG, REPOSITORY@DIGEST or a DIGEST such as sha256:0123...".to_owned();
        if let Some(digest) = Digest::parse(text.as_bytes()) {
            return Ok(Reference::Digest(digest));
        }
        let text = text.trim_end_matches('/');
        if let Some((name, digest)) = text.rsplit_once('@') {
            // Container runtimes print a tag before the digest.
            let name = tagged(name).map_or(name, |(name, _)| name);
            let digest = Digest::parse(digest.as_bytes()).filter(|_| !name.is_empty());
            return digest.map(|digest| Reference::Manifest(name.to_owned(), digest)).ok_or_else(expected);
        }
        let is_digest =
            ["sha256", "sha384", "sha512"].iter().any(|name| text.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
        match tagged(text) {
            _ if text.is_empty() || is_digest => Err(expected()),
            Some((name, tag)) => Ok(Reference::Tag(name.to_owned(), tag.to_owned())),
            None => Ok(Reference::Repository(text.to_owned())),
        }
    }
}

/// Splits a name and a tag. The first component of a name may be a host with a port.
fn tagged(text: &str) -> Option<(&str, &str)> {
    let (name, tag) = text.rsplit_once(':')?;
    (!name.is_empty() && !tag.is_empty() && !tag.contains('/')).then_some((name, tag))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Digest(digest) => write!(f, "{digest}"),
            Reference::Repository(name) => f.write_str(&escaped(name)),
            Reference::Tag(name, tag) => write!(f, "{}:{}", escaped(name), escaped(tag)),
            Reference::Manifest(name, digest) => write!(f, "{}@{digest}", escaped(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_typed_references() {
        let digest = Digest::of(super::super::Algorithm::Sha256, b"");
        let (name, tag) = (str::to_owned, str::to_owned);
        for (text, expected) in [
            (digest.to_string(), Reference::Digest(digest)),
            ("team/api".into(), Reference::Repository(name("team/api"))),
            ("team/api/".into(), Reference::Repository(name("team/api"))),
            ("team/api:1.0".into(), Reference::Tag(name("team/api"), tag("1.0"))),
            ("host:5000/api".into(), Reference::Repository(name("host:5000/api"))),
            ("host:5000/api:1.0".into(), Reference::Tag(name("host:5000/api"), tag("1.0"))),
            (format!("team/api@{digest}"), Reference::Manifest(name("team/api"), digest)),
            (format!("team/api:1.0@{digest}"), Reference::Manifest(name("team/api"), digest)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "/", "sha256:short", "@sha256:short", "a@b", &format!("@{digest}")] {
            text.parse::<Reference>().expect_err(text);
        }
        assert_eq!("a\u{1b}:b".parse::<Reference>().expect("a tag").to_string(), "a\\u{1b}:b");
    }
}
