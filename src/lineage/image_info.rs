//! What an image states about itself, for display. Never decides what is live.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::dependents::platform;
use crate::error::Error;
use crate::oci::Digest;
use crate::store::{ManifestStart, Store};

/// Longest media type to show.
const MAX_TYPE_BYTES: usize = 100;

/// What a manifest and its configuration state.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageInfo {
    /// Its media type.
    pub(crate) media_type: Option<String>,
    /// Its artifact type, or the media type of its configuration.
    pub(crate) artifact_type: Option<String>,
    /// Its platform, from its configuration.
    pub(crate) platform: Option<String>,
    /// When it was built, from its configuration.
    pub(crate) created: Option<SystemTime>,
    /// The manifests that it lists, with the platforms that it states for them.
    pub(crate) listed: Vec<(Digest, Option<String>)>,
}

/// The parts of a manifest that are read for display.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Manifest {
    media_type: Value,
    artifact_type: Value,
    config: Descriptor,
    manifests: Vec<Descriptor>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Descriptor {
    media_type: Value,
    digest: Value,
    platform: Value,
}

impl Descriptor {
    fn digest(&self) -> Option<Digest> {
        Digest::parse(self.digest.as_str()?.as_bytes())
    }
}

impl ImageInfo {
    /// Reads a manifest, and its configuration if it has one. Fields that cannot be parsed stay empty.
    ///
    /// # Errors
    ///
    /// When one of them exists and cannot be read from the disk.
    pub(crate) fn read(store: &dyn Store, digest: &Digest) -> Result<ImageInfo, Error> {
        let (mut info, config) = ImageInfo::read_both(store, digest)?;
        // A manifest may name any blob as its configuration: a large layer is not read.
        if let Some(config) = config
            && store.manifest_start(&config)? == ManifestStart::Possible
        {
            store.manifest(&config, &mut |bytes| {
                let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return };
                info.platform = platform(&json);
                info.created =
                    json["created"].as_str().and_then(|created| SystemTime::try_from(created.parse::<Timestamp>().ok()?).ok());
            })?;
        }
        Ok(info)
    }

    /// Reads a manifest without its configuration.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be read from the disk.
    pub(crate) fn read_manifest(store: &dyn Store, digest: &Digest) -> Result<ImageInfo, Error> {
        Ok(ImageInfo::read_both(store, digest)?.0)
    }

    /// What a manifest states, and the digest of its configuration.
    fn read_both(store: &dyn Store, digest: &Digest) -> Result<(ImageInfo, Option<Digest>), Error> {
        let mut info = ImageInfo::default();
        let mut config = None;
        store.manifest(digest, &mut |bytes| {
            let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
            info.media_type = media_type(&manifest.media_type);
            info.artifact_type = media_type(&manifest.artifact_type).or(media_type(&manifest.config.media_type));
            config = manifest.config.digest();
            let listed = manifest.manifests.iter().filter_map(|listed| Some((listed.digest()?, platform(&listed.platform))));
            info.listed = listed.collect();
        })?;
        Ok((info, config))
    }

    /// Its kind, as clients treat it.
    pub(crate) fn kind(&self) -> &str {
        let media_type = self.media_type.as_deref().unwrap_or_default();
        match self.artifact_type.as_deref() {
            _ if !self.listed.is_empty() || media_type.contains(".index.") || media_type.contains(".manifest.list.") => "index",
            None | Some("application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json") => "image",
            Some(kind) => kind,
        }
    }
}

/// A media type, if it is safe to print.
fn media_type(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./+-_;=".contains(&byte);
    ((1..=MAX_TYPE_BYTES).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::testing::{Built, sha256};

    #[test]
    fn image_info_has_no_terminal_control_sequences() {
        let built = Built::default();
        let config = built.json(&json!({"os": "linux", "architecture": "arm64", "created": "1970-01-01T00:00:09Z"}));
        let image = built.json(&json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string()},
        }));
        let info = ImageInfo::read(&built.0, &image).expect("readable");
        assert_eq!((info.kind(), info.platform.as_deref()), ("image", Some("linux/arm64")));
        assert_eq!(info.created, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)));
        let odd =
            built.json(&json!({"artifactType": "application/\u{1b}[2J", "config": {"mediaType": "text/x"}, "manifests": 7}));
        assert_eq!(ImageInfo::read(&built.0, &odd).expect("readable").kind(), "image");
        let index =
            built.json(&json!({"manifests": [{"digest": image.to_string(), "platform": {"os": "linux", "architecture": "x"}}]}));
        let info = ImageInfo::read(&built.0, &index).expect("readable");
        assert_eq!((info.kind(), &info.listed), ("index", &vec![(image, Some("linux/x".to_owned()))]));
        let chart = built.json(&json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}));
        assert_eq!(ImageInfo::read(&built.0, &chart).expect("readable").kind(), "application/vnd.cncf.helm.config.v1+json");
        assert_eq!(ImageInfo::read(&built.0, &sha256(b"absent")).expect("readable").kind(), "image");
    }
}
