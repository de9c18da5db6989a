//! The images that cannot be pulled because of a finding.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::oci::{Digest, RepositoryName, TagName};

/// An image that cannot be pulled without a blob. Images with a tag come first: users miss them first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The repository that the image is in.
    pub repository: RepositoryName,
    /// The tag that leads to it; `None` if only a revision does.
    pub tag: Option<TagName>,
    /// The manifest that names the blob, or the blob itself if it is a manifest that a tag or revision names.
    pub manifest: Digest,
    /// The platform of that manifest, such as `linux/arm64/v8`, if known. For display only.
    pub platform: Option<String>,
}

impl Ord for Need {
    fn cmp(&self, other: &Need) -> Ordering {
        fn key(need: &Need) -> impl Ord + '_ {
            (need.tag.is_none(), &need.repository, &need.tag, &need.manifest, &need.platform)
        }
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Need {
    fn partial_cmp(&self, other: &Need) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}", self.repository)?,
            None => write!(f, "{}@{}", self.repository, self.manifest)?,
        }
        self.platform.as_ref().map_or(Ok(()), |platform| write!(f, " ({platform})"))
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut object = serializer.serialize_struct("Need", 4)?;
        object.serialize_field("repository", &self.repository.to_string())?;
        object.serialize_field("tag", &self.tag.as_ref().map(ToString::to_string))?;
        object.serialize_field("manifest", &self.manifest.to_string())?;
        object.serialize_field("platform", &self.platform)?;
        object.end()
    }
}

/// The images that need a blob, in order. Bounded: a million images may need one blob, and a report of a million lines
/// helps no operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// The first images, at most [`Needs::MOST`].
    pub first: Vec<Need>,
    /// Number of further images.
    pub more: u64,
}

impl Needs {
    /// Most images to list for one blob.
    pub const MOST: usize = 1000;
    /// Images to list in a whole report.
    const MOST_AT_ALL: usize = 10_000;
    /// Images to list for one blob at least, for any number of blobs.
    const FEWEST: usize = 5;

    /// Images to list for each of a number of blobs. Clients that push control how many blobs are missing, and how often.
    pub fn most_of_each(blobs: usize) -> usize {
        (Needs::MOST_AT_ALL / blobs.max(1)).clamp(Needs::FEWEST, Needs::MOST)
    }

    /// Adds others and keeps the first `most` of all. The result does not depend on the order of additions.
    pub fn append(&mut self, others: impl IntoIterator<Item = Need>, most: usize) {
        for need in others {
            let Err(place) = self.first.binary_search(&need) else { continue };
            if place < most {
                self.first.insert(place, need);
            }
            if place >= most || self.first.len() > most {
                self.first.truncate(most);
                self.more += 1;
            }
        }
    }

    /// Adds others, some of which are only counted.
    pub fn append_all(&mut self, others: Needs, most: usize) {
        self.append(others.first, most);
        self.more += others.more;
    }
}
