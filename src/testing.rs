//! Builds stores for unit tests.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::layout::{self, LinkDirectory};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::MemoryStore;

pub(crate) const THEN: SystemTime = SystemTime::UNIX_EPOCH;

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A store under construction.
#[derive(Default)]
pub(crate) struct Built(pub(crate) MemoryStore);

impl Built {
    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        self.0.add_file(layout::blob_data(&digest), bytes, THEN);
        digest
    }

    pub(crate) fn json(&self, json: &Value) -> Digest {
        self.blob(json.to_string().as_bytes())
    }

    /// An image of a configuration and layers. Does not store the blobs that it names.
    pub(crate) fn image(&self, config: &Digest, layers: &[Digest]) -> Digest {
        let layers: Vec<Value> = layers.iter().map(|layer| json!({"digest": layer.to_string(), "size": 5})).collect();
        self.json(&json!({"config": {"digest": config.to_string(), "size": 1}, "layers": layers}))
    }

    pub(crate) fn link(&self, directory: &LinkDirectory, digest: &Digest, content: &Digest) {
        self.0.add_file(directory.link(digest), content.to_string(), THEN);
    }

    pub(crate) fn revision(&self, repository: &str, digest: &Digest) {
        self.link(&LinkDirectory::Revisions(RepositoryName::new(repository)), digest, digest);
    }

    pub(crate) fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let path = layout::current_link(&RepositoryName::new(repository), &TagName::new(tag));
        self.0.add_file(path, digest.to_string(), THEN);
    }

    pub(crate) fn layer(&self, repository: &str, digest: &Digest) {
        self.link(&LinkDirectory::Layers(RepositoryName::new(repository)), digest, digest);
    }

    /// An index of manifests.
    pub(crate) fn index(&self, children: &[Digest]) -> Digest {
        let children: Vec<Value> = children.iter().map(|child| json!({"digest": child.to_string(), "size": 5})).collect();
        self.json(&json!({"manifests": children}))
    }
}
