//! Platforms and sizes that the JSON of a manifest states, for reports. Never decides what is live.

use foldhash::HashMap;
use serde::Deserialize;
use serde_json::Value;

use super::search::SearchTargets;
use crate::error::Error;
use crate::graph::{Context, LinkVerdict, layer_verdict};
use crate::oci::{Algorithm, Digest, manifest};
use crate::survey::Survey;

/// Longest part of the name of a platform.
const MAX_PART_BYTES: usize = 32;

/// What one manifest states.
#[derive(Default)]
pub(super) struct Described {
    /// Platforms of the manifests that it lists.
    platforms: HashMap<Digest, String>,
    /// Its own platform, from its configuration.
    own: Option<String>,
    /// The sizes that it states for targets, with the place of each target.
    sizes: Vec<(u32, u64)>,
}

impl Described {
    /// Reads a manifest again. An unreadable manifest states nothing.
    pub(super) fn read(
        context: &Context<'_>,
        survey: &Survey<'_>,
        targets: &SearchTargets<'_>,
        digest: &Digest,
    ) -> Result<Described, Error> {
        let mut described = Described::default();
        let mut config = None;
        let mut stated = Vec::new();
        context.store.manifest(digest, &mut |bytes| {
            if let Ok(references) = manifest::references(bytes) {
                stated = references
                    .descriptors
                    .iter()
                    .filter(|named| named.expected)
                    .filter_map(|named| Some((named.digest, named.size_bytes?)))
                    .collect();
            }
            let Ok(json) = serde_json::from_slice::<ManifestJson>(bytes) else { return };
            config = digest_of(&json.config.digest);
            for child in json.manifests {
                if let (Some(digest), Some(platform)) = (digest_of(&child.digest), platform(&child.platform)) {
                    described.platforms.insert(digest, platform);
                }
            }
        })?;
        for (name, size) in stated {
            if let Some(place) = targets.place(&stored_name(survey, name)?) {
                described.sizes.push((place, size));
            }
        }
        described.sizes.sort_unstable();
        described.sizes.dedup();
        if let Some(config) = config {
            let config = stored_name(survey, config)?;
            context.store.manifest(&config, &mut |bytes| {
                described.own = serde_json::from_slice(bytes).ok().and_then(|json| platform(&json));
            })?;
        }
        Ok(described)
    }

    /// The platform of a manifest that this one lists.
    pub(super) fn platform_of(&self, child: &Digest) -> Option<&String> {
        self.platforms.get(child)
    }

    /// The platform of its configuration.
    pub(super) fn own(&self) -> Option<&String> {
        self.own.as_ref()
    }

    /// The sizes that it states for the target at a place.
    pub(super) fn sizes_of(&self, place: u32) -> impl Iterator<Item = u64> {
        let begin = self.sizes.partition_point(|(named, _)| *named < place);
        self.sizes[begin..].iter().take_while(move |(named, _)| *named == place).map(|(_, size)| *size)
    }

    /// Its cost in the cache, in platforms and sizes.
    pub(super) fn len(&self) -> usize {
        1 + self.platforms.len() + self.sizes.len()
    }
}

/// The stored name of a blob that a repository may know by an alias.
fn stored_name(survey: &Survey<'_>, name: Digest) -> Result<Digest, Error> {
    if name.algorithm() == Algorithm::Sha256 {
        return Ok(name);
    }
    Ok(match layer_verdict(survey, &name)? {
        LinkVerdict::Names(stored) => stored,
        LinkVerdict::Absent | LinkVerdict::Faulty(_) => name,
    })
}

/// The parts of a manifest that reports show. Skips layers: there may be many.
#[derive(Deserialize)]
struct ManifestJson {
    #[serde(default)]
    config: ConfigJson,
    #[serde(default)]
    manifests: Vec<ChildJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigJson {
    digest: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChildJson {
    digest: Value,
    platform: Value,
}

fn digest_of(digest: &Value) -> Option<Digest> {
    Digest::parse(digest.as_str()?.as_bytes())
}

/// `os/architecture`, with the variant if there is one, from a `platform` object or a configuration.
pub(crate) fn platform(json: &Value) -> Option<String> {
    let part = |key| {
        let text = json[key].as_str()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=MAX_PART_BYTES).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
    };
    let (os, architecture) = (part("os")?, part("architecture")?);
    Some(match part("variant") {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}
