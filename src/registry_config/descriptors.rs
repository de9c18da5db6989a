//! The cache of blob descriptors, in which a registry remembers what it has seen of blobs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::yaml::{Map, Node};

/// Where a registry remembers blobs (`storage.cache.blobdescriptor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptorCache {
    /// In its memory, which ends with its process.
    InMemory,
    /// Somewhere, or nowhere: what it was started with is not known.
    Unknown,
    /// In a redis, which outlives it.
    Redis,
}

impl DescriptorCache {
    /// Both that there are, by their names in a configuration. The registry knows no others, and goes without then.
    const NAMED: [(&'static str, DescriptorCache); 2] =
        [("inmemory", DescriptorCache::InMemory), ("redis", DescriptorCache::Redis)];

    pub(super) fn of(storage: &Map) -> Option<DescriptorCache> {
        let cache = storage.get("cache").and_then(Node::as_map)?;
        // The old key counts only where the new one is not even there.
        let name = cache.get("blobdescriptor").or_else(|| cache.get("layerinfo"))?.as_text()?;
        DescriptorCache::NAMED.iter().find(|(known, _)| *known == name).map(|(_, cache)| *cache)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            DescriptorCache::InMemory => "inmemory",
            DescriptorCache::Unknown => "unknown",
            DescriptorCache::Redis => "redis",
        }
    }

    /// Whether a restart of the registry is the end of it.
    pub fn ends_with_the_process(self) -> bool {
        self != DescriptorCache::Redis
    }
}

impl fmt::Display for DescriptorCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
