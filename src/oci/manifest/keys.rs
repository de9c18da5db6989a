//! Matches keys as Go's decoder does.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Visitor};

/// The keys with a meaning, as Go matches them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Digest,
    BlobSum,
    Config,
    Layers,
    FsLayers,
    MediaType,
    Size,
    Urls,
    Manifests,
    Subject,
    /// serde_json represents a number of arbitrary precision as an object with one private key; the text is the number.
    Number,
    Other,
}

impl Field {
    pub(super) const NAMES: [(&'static str, Field); 10] = [
        ("digest", Field::Digest),
        ("blobsum", Field::BlobSum),
        ("config", Field::Config),
        ("layers", Field::Layers),
        ("fslayers", Field::FsLayers),
        ("mediatype", Field::MediaType),
        ("size", Field::Size),
        ("urls", Field::Urls),
        ("manifests", Field::Manifests),
        ("subject", Field::Subject),
    ];

    pub(super) fn of(key: &str) -> Field {
        // The usual spellings. Other keys are folded and compared.
        match key {
            "digest" => Field::Digest,
            "blobSum" => Field::BlobSum,
            "mediaType" => Field::MediaType,
            "size" => Field::Size,
            "$serde_json::private::Number" => Field::Number,
            _ => Field::folded(key),
        }
    }

    /// The key under which the registry reads digests, within this key at the top level of a manifest.
    pub(super) fn expects(self) -> Option<Field> {
        match self {
            Field::Config | Field::Layers | Field::Manifests => Some(Field::Digest),
            Field::FsLayers => Some(Field::BlobSum),
            _ => None,
        }
    }

    pub(super) fn folded(key: &str) -> Field {
        let folded = if key.is_ascii() { Cow::Borrowed(key) } else { Cow::Owned(folded(key)) };
        let named = Field::NAMES.into_iter().find(|(name, _)| folded.eq_ignore_ascii_case(name));
        named.map_or(Field::Other, |(_, field)| field)
    }
}

/// Replaces the two letters beyond ASCII that Go's decoder takes for ASCII ones when it looks for a field.
fn folded(key: &str) -> String {
    key.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other,
        })
        .collect()
}

/// A key, without its text.
pub(super) struct Key {
    pub(super) field: Field,
    /// Whether it is exactly `annotations`.
    pub(super) annotations: bool,
}

/// Reads a [`Key`] in place.
pub(super) struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key { field: Field::of(key), annotations: key == "annotations" })
    }
}
