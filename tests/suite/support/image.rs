//! What clients push: layers, configs, and manifests of every kind a registry has been given.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::digest::{sha256, sha512};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Bytes and the digest the registry stores them by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Content {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { digest: sha256(&bytes), bytes }
    }

    /// The digest the same bytes have in the other algorithm.
    pub(crate) fn sha512(&self) -> String {
        sha512(&self.bytes)
    }

    /// A descriptor of these bytes, as a manifest writes it.
    pub(crate) fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// A layer of a few bytes; equal numbers are equal layers.
pub(crate) fn layer(number: u64) -> Content {
    Content::new(format!("layer {number}\n"))
}

/// A layer that is what its media type says, a gzip file with a tar in it. Clients such as skopeo look inside.
pub(crate) fn tar_layer(number: u64) -> Content {
    Content::new(gzip(&tar(&format!("file-{number}"), &layer(number).bytes)))
}

/// A manifest of any kind with all that is pushed along with it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The manifest itself.
    pub(crate) manifest: Content,
    /// What the manifest is sent as.
    pub(crate) media_type: &'static str,
    /// Its config and its layers: what goes to `_layers`.
    pub(crate) blobs: Vec<Content>,
    /// The manifests it lists, when it is an index.
    pub(crate) children: Vec<Image>,
    /// Whether the client named config and layers by sha512 when it pushed them.
    pub(crate) by_sha512: bool,
    json: Value,
}

impl Image {
    /// A manifest of any shape. `blobs` and `children` are what is pushed along; the JSON names what it names.
    pub(crate) fn from_json(media_type: &'static str, json: Value, blobs: Vec<Content>, children: Vec<Image>) -> Self {
        Self { manifest: Content::new(json.to_string()), media_type, blobs, children, by_sha512: false, json }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Names another manifest as its subject, which makes this one a referrer.
    pub(crate) fn referring_to(self, subject: &Image) -> Self {
        let descriptor = subject.manifest.descriptor(subject.media_type);
        self.edit(|json| json["subject"] = descriptor)
    }

    /// Changes the manifest's JSON, and so its digest.
    pub(crate) fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.json);
        self.manifest = Content::new(self.json.to_string());
        self
    }

    /// Names config and layers by sha512, the way a client does that pushed them so.
    pub(crate) fn with_sha512_descriptors(mut self) -> Self {
        let mut text = self.json.to_string();
        for blob in &self.blobs {
            text = text.replace(&blob.digest, &blob.sha512());
        }
        self.by_sha512 = true;
        self.edit(|json| *json = serde_json::from_str(&text).expect("digests are plain text"))
    }

    /// Digests of all that is needed to pull this, its own included, as the registry stores them.
    pub(crate) fn reaches(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::from([self.manifest.digest.clone()]);
        found.extend(self.blobs.iter().map(|blob| blob.digest.clone()));
        found.extend(self.children.iter().flat_map(Image::reaches));
        found
    }
}

/// An OCI image. The name goes into the config, so images of other names are other images.
pub(crate) fn oci_image(name: &str, layers: &[Content]) -> Image {
    image(name, layers, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
}

/// A Docker image, manifest schema 2.
pub(crate) fn docker_image(name: &str, layers: &[Content]) -> Image {
    image(name, layers, DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)
}

fn image(name: &str, layers: &[Content], manifest_type: &'static str, config_type: &str, layer_type: &str) -> Image {
    let config = Content::new(
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Labels": { "name": name } },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(diff_id).collect::<Vec<_>>() },
        })
        .to_string(),
    );
    let json = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.descriptor(config_type),
        "layers": layers.iter().map(|layer| layer.descriptor(layer_type)).collect::<Vec<_>>(),
    });
    let blobs = std::iter::once(config).chain(layers.iter().cloned()).collect();
    Image::from_json(manifest_type, json, blobs, Vec::new())
}

/// A schema 1 image: one `blobSum` per layer, no config. The registry stores the signed payload only.
pub(crate) fn schema1_image(name: &str, layers: &[Content]) -> Image {
    let json = json!({
        "schemaVersion": 1,
        "name": name,
        "tag": "latest",
        "architecture": "amd64",
        "fsLayers": layers.iter().map(|layer| json!({ "blobSum": layer.digest })).collect::<Vec<_>>(),
        "history": layers.iter().map(|_| json!({ "v1Compatibility": "{}" })).collect::<Vec<_>>(),
    });
    Image::from_json(DOCKER_SCHEMA1, json, layers.to_vec(), Vec::new())
}

/// An artifact manifest as OCI 1.1 had it for a while: `blobs`, no config.
pub(crate) fn artifact_manifest(name: &str, blobs: &[Content]) -> Image {
    let json = json!({
        "mediaType": OCI_ARTIFACT,
        "artifactType": "application/vnd.example.report",
        "blobs": blobs.iter().map(|blob| blob.descriptor("application/octet-stream")).collect::<Vec<_>>(),
        "annotations": { "name": name },
    });
    Image::from_json(OCI_ARTIFACT, json, blobs.to_vec(), Vec::new())
}

/// An OCI image index.
pub(crate) fn index(children: &[Image]) -> Image {
    list(OCI_INDEX, children)
}

/// A Docker manifest list.
pub(crate) fn manifest_list(children: &[Image]) -> Image {
    list(DOCKER_LIST, children)
}

fn list(media_type: &'static str, children: &[Image]) -> Image {
    let platforms = ["amd64", "arm64", "ppc64le", "riscv64", "s390x"];
    let manifests: Vec<Value> = children
        .iter()
        .zip(platforms.iter().cycle())
        .map(|(child, platform)| {
            let mut descriptor = child.manifest.descriptor(child.media_type);
            descriptor["platform"] = json!({ "architecture": platform, "os": "linux" });
            descriptor
        })
        .collect();
    let json = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    Image::from_json(media_type, json, Vec::new(), children.to_vec())
}

/// The digest of a layer's contents before compression; of the layer itself when it is none of `tar_layer`'s.
fn diff_id(layer: &Content) -> String {
    let stored = layer.bytes.strip_prefix(&GZIP_HEADER).and_then(|rest| rest.get(5..rest.len().checked_sub(8)?));
    stored.map_or_else(|| layer.digest.clone(), sha256)
}

/// Deflate, no name, no time, unknown system: the same bytes for ever.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A gzip file with its contents in one stored block.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("layers in tests are small");
    let mut file = GZIP_HEADER.to_vec();
    file.push(1);
    file.extend(length.to_le_bytes());
    file.extend((!length).to_le_bytes());
    file.extend(bytes);
    file.extend(crc32(bytes).to_le_bytes());
    file.extend(u32::from(length).to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = remainder & 1;
            remainder = (remainder >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !remainder
}

/// A tar with one file in it, dated 1970.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    let mut file = header.to_vec();
    file.extend(bytes);
    file.resize(file.len().next_multiple_of(512) + 1024, 0);
    file
}
