//! Names of repositories and tags, as bytes on disk.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::{Algorithm, Digest};
use crate::escape::escaped;

/// The name of a repository: its path below `repositories/`.
///
/// Any directory that holds `_manifests`, `_layers` or `_uploads` is a repository, even if the registry does not accept its
/// name; [`RepositoryName::is_valid`] distinguishes the two. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<OsStr>);

impl RepositoryName {
    /// Takes a path relative to `repositories/`.
    pub fn new(relative: impl AsRef<OsStr>) -> RepositoryName {
        RepositoryName(relative.as_ref().into())
    }

    /// The name as a path relative to `repositories/`.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// Whether the registry accepts the name.
    ///
    /// The grammar is distribution's `reference.NameRegexp`: components of lower-case letters and digits, joined by `.`, `_`,
    /// `__` or dashes, at most 255 bytes in all; the first component may instead be a host name with capitals and a port.
    pub fn is_valid(&self) -> bool {
        let bytes = self.0.as_bytes();
        if bytes.is_empty() || bytes.len() > 255 {
            return false;
        }
        let mut components = bytes.split(|&byte| byte == b'/');
        let first = components.next().expect("split yields at least one part");
        let rest: Vec<&[u8]> = components.collect();
        rest.iter().all(|component| is_component(component)) && (is_component(first) || (!rest.is_empty() && is_domain(first)))
    }
}

/// `[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*`
fn is_component(component: &[u8]) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (component.first(), component.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && component
            .split(alphanumeric)
            .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-'))
}

/// A host name, each part `[a-zA-Z0-9]` or with dashes inside, and an optional port.
fn is_domain(component: &[u8]) -> bool {
    let (host, port) = match component.iter().position(|&byte| byte == b':') {
        Some(colon) => (&component[..colon], Some(&component[colon + 1..])),
        None => (component, None),
    };
    let part = |part: &[u8]| {
        part.first().is_some_and(u8::is_ascii_alphanumeric)
            && part.last().is_some_and(u8::is_ascii_alphanumeric)
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    host.split(|&byte| byte == b'.').all(part) && port.is_none_or(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

/// The name of a tag: a directory name below `_manifests/tags/`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagName(Arc<OsStr>);

impl TagName {
    /// Takes the name of a directory.
    pub fn new(name: impl AsRef<OsStr>) -> TagName {
        TagName(name.as_ref().into())
    }

    /// Whether the registry accepts the name: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub fn is_valid(&self) -> bool {
        let bytes = self.0.as_bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        (1..=128).contains(&bytes.len()) && word(&bytes[0]) && bytes.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
    }

    /// The image that the name refers to: `sha256-<hex>`, as in the OCI referrers tag schema, or the same with one of cosign's suffixes.
    pub fn subject(&self) -> Option<Digest> {
        let rest = self.0.as_bytes().strip_prefix(b"sha256-")?;
        let endings: [&[u8]; 3] = [b".sig", b".att", b".sbom"];
        let hex = endings.into_iter().find_map(|ending| rest.strip_suffix(ending)).unwrap_or(rest);
        Digest::from_hex(Algorithm::Sha256, hex)
    }

    /// Whether the name is that of a list of referrers in the OCI referrers tag schema: `sha256-<hex>`.
    pub fn is_list_of_referrers(&self) -> bool {
        self.subject().is_some() && !self.0.as_bytes().contains(&b'.')
    }

    /// The name as it is on disk.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

macro_rules! shown_escaped {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&escaped(&*self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
shown_escaped!(RepositoryName, TagName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_registry_accepts_as_a_tag() {
        for name in ["v1", "_", "A.b-c_d", &"a".repeat(128)] {
            assert!(TagName::new(name).is_valid(), "{name}");
        }
        for name in ["", ".a", "-a", "a b", "a:b", "caf\u{e9}", &"a".repeat(129)] {
            assert!(!TagName::new(name).is_valid(), "{name}");
        }
    }

    #[test]
    fn accepts_what_the_registry_accepts_as_a_repository() {
        for name in ["a", "team/app", "a.b/c_d/e__f/g---h", "0/1", "Host.Example:5000/a", "localhost/x"] {
            assert!(RepositoryName::new(name).is_valid(), "{name}");
        }
        let long = "a".repeat(256);
        for name in
            ["", "Upper", "a/Upper", "a//b", "a/", "_a", "a_", "a..b", "a___b", "a b", "Backup_A", "a/x:5", "caf\u{e9}", &long]
        {
            assert!(!RepositoryName::new(name).is_valid(), "{name}");
        }
    }
}
