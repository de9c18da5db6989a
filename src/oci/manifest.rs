//! What a manifest refers to: bytes in, references out.
//!
//! The registry decodes manifests with Go's `encoding/json` into typed structs. What it reads there decides what it serves, so
//! what is read here must be a superset of it (G1): no struct, no schema, no media type decides whether a reference counts.
//! The bytes are walked as a stream of JSON values, and every string below a key that Go would match to `digest` or `blobSum`
//! is a reference if it is a digest. Go's habits that matter, each with a test below:
//!
//! - keys match case-insensitively under Unicode simple folding, so `DIGEST`, `dige\u017ft` and `\u0064igest` are `digest`
//!   (source: Go, `encoding/json/fold.go`);
//! - of duplicate keys one wins in Go; here all count;
//! - invalid UTF-8 becomes U+FFFD rather than an error; nesting beyond 10,000 levels is an error (`encoding/json/scanner.go`).
//!
//! Two places hold digests that are no references: everything below `annotations`, and the top-level `subject`, which makes the
//! manifest a referrer and does not keep its subject.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::Digest;

/// Go refuses JSON nested deeper than this.
const MAX_DEPTH: usize = 10_000;

/// Room for what an ordinary image names.
const DESCRIPTORS: usize = 16;

/// What a manifest names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Every digest named as content, in the order of the bytes, repetitions included.
    pub descriptors: Vec<Descriptor>,
    /// The digests under the top-level `subject`; more than one only if the key is repeated.
    pub subjects: Vec<Digest>,
}

/// One digest named by a manifest, with what the object around it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes that the descriptor states.
    pub size_bytes: Option<u64>,
    /// Whether the content is itself a manifest.
    pub kind: DescriptorKind,
    /// Whether the content may live elsewhere by design: a foreign or non-distributable layer, or one with `urls`. That it is
    /// absent from the store is then no fault.
    pub foreign: bool,
}

/// Whether what a descriptor names is read as a manifest in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DescriptorKind {
    /// Content of any other kind: a layer, a configuration.
    Blob,
    /// Listed under `manifests` with a media type that is no manifest's, as BuildKit's cache indexes list layers. It is a
    /// manifest if it reads as one.
    PerhapsManifest,
    /// A manifest or an index: listed under `manifests`, or by its media type.
    Manifest,
}

/// Why bytes cannot be read as a manifest.
#[derive(Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the references of a manifest of any kind.
///
/// # Errors
///
/// When the bytes are not one whole JSON object. What such a manifest names cannot be known.
pub fn references(bytes: &[u8]) -> Result<References, Unreadable> {
    // Go replaces invalid UTF-8 where serde_json refuses it.
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    // Nearly all are nested a few levels; only what serde_json's own limit refuses is worth a stack that grows.
    let mut found = walk(&text, false).or_else(|_| walk(&text, true)).map_err(|error| Unreadable(error.to_string()))?;
    found.subjects.sort_unstable();
    found.subjects.dedup();
    Ok(found)
}

/// Collects what a text names, however deep it is nested or only as deep as an ordinary stack allows.
fn walk(text: &str, deep: bool) -> serde_json::Result<References> {
    let found = RefCell::new(References { descriptors: Vec::with_capacity(DESCRIPTORS), subjects: Vec::new() });
    let mut json = serde_json::Deserializer::from_str(text);
    let root = Value { found: &found, place: Place::Root, field: Field::Other, depth: 0 };
    let scalar = if deep {
        json.disable_recursion_limit();
        root.deserialize(serde_stacker::Deserializer::new(&mut json))?
    } else {
        root.deserialize(&mut json)?
    };
    match scalar {
        Scalar::Object => json.end()?,
        _ => return Err(serde_json::Error::custom("not a JSON object")),
    }
    Ok(found.into_inner())
}

/// What the keys above a value make of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The manifest itself.
    Root,
    /// Anywhere else.
    Inside,
    /// The list under `manifests`, and each object in it.
    Manifests,
    /// Under `digest` or `blobSum`: every string counts.
    Reference,
    /// Under the top-level `subject`.
    Subject,
    /// Under `digest` below the top-level `subject`.
    SubjectReference,
    /// Under `annotations`: nothing counts.
    Annotations,
}

/// A value to be walked. Collects into `found` and returns what its parent may want to know of a scalar.
#[derive(Clone, Copy)]
struct Value<'a> {
    found: &'a RefCell<References>,
    place: Place,
    /// The key above it.
    field: Field,
    depth: usize,
}

/// What a value was, for the object that holds it.
enum Scalar {
    MediaType(MediaType),
    Unsigned(u64),
    /// A list that is not empty.
    List,
    Object,
    Other,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Scalar;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Unsigned(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        match self.place {
            Place::Reference => {
                if let Some(digest) = Digest::parse(text.as_bytes()) {
                    self.found.borrow_mut().descriptors.push(Descriptor {
                        digest,
                        size_bytes: None,
                        kind: DescriptorKind::Blob,
                        foreign: false,
                    });
                }
            }
            Place::SubjectReference => {
                let subjects = &mut self.found.borrow_mut().subjects;
                subjects.extend(Digest::parse(text.as_bytes()));
            }
            _ => {}
        }
        Ok(match self.field {
            Field::MediaType => Scalar::MediaType(MediaType::of(text)),
            Field::Number => text.parse().map_or(Scalar::Other, Scalar::Unsigned),
            _ => Scalar::Other,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        let element = Value { depth: deeper(self.depth)?, field: Field::Other, ..self };
        let mut filled = false;
        while list.next_element_seed(element)?.is_some() {
            filled = true;
        }
        Ok(if filled { Scalar::List } else { Scalar::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Scalar, A::Error> {
        let depth = deeper(self.depth)?;
        let mut around = Surroundings::default();
        // The object's own digests, apart from those of objects inside it, which describe themselves.
        let mut own = Own::default();
        let mut number = None;
        while let Some(Key { field, annotations }) = object.next_key_seed(KeySeed)? {
            let place = self.place.below(field, annotations);
            let before = self.found.borrow().descriptors.len();
            let value = object.next_value_seed(Value { place, field, depth, ..self })?;
            if place == Place::Reference {
                own.add(before..self.found.borrow().descriptors.len());
            }
            if field == Field::Number {
                number = Some(value);
                continue;
            }
            around.learn(field, value);
        }
        // Whoever writes that key himself does not hide with it what else is there.
        if let Some(number) = number
            && own.is_empty()
        {
            return Ok(number);
        }
        let kind = around.kind(self.place == Place::Manifests);
        let mut found = self.found.borrow_mut();
        for index in own.indices() {
            let descriptor = &mut found.descriptors[index];
            descriptor.kind = descriptor.kind.max(kind);
            descriptor.foreign |= around.foreign;
            descriptor.size_bytes = descriptor.size_bytes.or(around.size_bytes);
        }
        Ok(Scalar::Object)
    }
}

/// The places of an object's own digests: one stretch, unless it has several keys for them.
#[derive(Default)]
struct Own {
    first: Range<usize>,
    more: Vec<Range<usize>>,
}

impl Own {
    fn add(&mut self, places: Range<usize>) {
        match self.first.is_empty() {
            true => self.first = places,
            false => self.more.push(places),
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn indices(self) -> impl Iterator<Item = usize> {
        self.first.chain(self.more.into_iter().flatten())
    }
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    if depth >= MAX_DEPTH {
        return Err(E::custom("nested deeper than 10000 levels, which the registry refuses"));
    }
    Ok(depth + 1)
}

impl Place {
    fn below(self, field: Field, annotations: bool) -> Place {
        match (self, field) {
            (Place::Annotations, _) => Place::Annotations,
            // Only the exact key: in a superset the exceptions are narrow.
            _ if annotations => Place::Annotations,
            (Place::Root, Field::Subject) => Place::Subject,
            (Place::SubjectReference, _) | (Place::Subject, Field::Digest) => Place::SubjectReference,
            (Place::Subject, _) => Place::Subject,
            (Place::Reference, _) | (_, Field::Digest) => Place::Reference,
            (_, Field::Manifests) => Place::Manifests,
            _ => Place::Inside,
        }
    }
}

/// The keys that mean something, as Go would match them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Digest,
    MediaType,
    Size,
    Urls,
    Manifests,
    Subject,
    /// serde_json hands a number of arbitrary precision over as an object with one private key; its text is what counts.
    Number,
    Other,
}

impl Field {
    const NAMES: [(&'static str, Field); 7] = [
        ("digest", Field::Digest),
        ("blobsum", Field::Digest),
        ("mediatype", Field::MediaType),
        ("size", Field::Size),
        ("urls", Field::Urls),
        ("manifests", Field::Manifests),
        ("subject", Field::Subject),
    ];

    fn of(key: &str) -> Field {
        // As nearly everybody writes them. Whatever is not here is folded and compared.
        match key {
            "digest" | "blobSum" => Field::Digest,
            "mediaType" => Field::MediaType,
            "size" => Field::Size,
            "$serde_json::private::Number" => Field::Number,
            _ => Field::folded(key),
        }
    }

    fn folded(key: &str) -> Field {
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
struct Key {
    field: Field,
    /// Whether it is exactly `annotations`.
    annotations: bool,
}

/// Reads a [`Key`] where it lies.
struct KeySeed;

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

/// What a media type says about content.
#[derive(Clone, Copy)]
struct MediaType {
    empty: bool,
    manifest: bool,
    foreign: bool,
}

impl MediaType {
    fn of(text: &str) -> MediaType {
        if ORDINARY.contains(&text) {
            return MediaType { empty: false, manifest: false, foreign: false };
        }
        MediaType { empty: text.is_empty(), manifest: is_manifest(text), foreign: is_foreign(text) }
    }
}

/// What nearly all descriptors are: neither a manifest's nor foreign, which takes longer to find out.
const ORDINARY: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

/// What an object says about the digest in it.
#[derive(Default)]
struct Surroundings {
    /// Whether it has a media type that is a manifest's.
    manifest: bool,
    /// Whether it has a media type at all.
    typed: bool,
    size_bytes: Option<u64>,
    foreign: bool,
}

impl Surroundings {
    fn learn(&mut self, field: Field, value: Scalar) {
        match (field, value) {
            (Field::MediaType, Scalar::MediaType(media_type)) => {
                self.foreign |= media_type.foreign;
                self.manifest |= media_type.manifest;
                self.typed |= !media_type.empty;
            }
            (Field::Size, Scalar::Unsigned(size)) => self.size_bytes = Some(size),
            (Field::Urls, Scalar::List) => self.foreign = true,
            _ => {}
        }
    }

    fn kind(&self, listed: bool) -> DescriptorKind {
        match (self.manifest, listed, self.typed) {
            (true, ..) | (false, true, false) => DescriptorKind::Manifest,
            (false, true, true) => DescriptorKind::PerhapsManifest,
            (false, false, _) => DescriptorKind::Blob,
        }
    }
}

/// Media types of manifests: OCI's manifest, index and artifact manifest, Docker's schema 1, schema 2 and list.
fn is_manifest(media_type: &str) -> bool {
    const PAIRS: [[&str; 2]; 4] =
        [["image", "index"], ["image", "manifest"], ["distribution", "manifest"], ["artifact", "manifest"]];
    let mut before: &[u8] = b"";
    media_type.as_bytes().split(|&byte| byte == b'.').any(|part| {
        let first = std::mem::replace(&mut before, part);
        PAIRS.iter().any(|[a, b]| part.eq_ignore_ascii_case(b.as_bytes()) && first.eq_ignore_ascii_case(a.as_bytes()))
    })
}

fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn digest(number: u32) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_le_bytes())
    }

    fn found(json: &str) -> Vec<Digest> {
        let references = references(json.as_bytes()).expect("readable");
        references.descriptors.iter().map(|d| d.digest).collect()
    }

    #[test]
    fn reads_every_kind_of_manifest() {
        let [a, b, c] = [1, 2, 3].map(digest);
        let oci = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{a}","size":7}},
               "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{b}","size":9}}],
               "subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{c}","size":1}}}}"#
        );
        let read = references(oci.as_bytes()).expect("readable");
        assert_eq!(read.subjects, [c]);
        let facts: Vec<_> = read.descriptors.iter().map(|d| (d.digest, d.size_bytes, d.kind)).collect();
        assert_eq!(facts, [(a, Some(7), DescriptorKind::Blob), (b, Some(9), DescriptorKind::Blob)]);

        let index = format!(
            r#"{{"manifests":[{{"digest":"{a}"}},{{"digest":"{b}","mediaType":"application/vnd.oci.image.layer.v1.tar"}},
               {{"digest":"{c}","mediaType":"application/vnd.docker.distribution.manifest.v2+json","platform":{{"os":"x"}}}}]}}"#
        );
        let kinds: Vec<_> = references(index.as_bytes()).expect("readable").descriptors.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [DescriptorKind::Manifest, DescriptorKind::PerhapsManifest, DescriptorKind::Manifest]);

        let schema1 = format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{a}"}},{{"blobSum":"{b}"}}],"history":[]}}"#);
        assert_eq!(found(&schema1), [a, b]);
        let artifact = format!(r#"{{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[{{"digest":"{c}"}}]}}"#);
        assert_eq!(found(&artifact), [c]);
    }

    #[test]
    fn reads_keys_as_go_folds_them() {
        let a = digest(1);
        for key in ["digest", "DIGEST", "dige\u{17f}t", r"\u0064igest", "blobSum", "BLOBSUM", "blob\u{17f}um"] {
            assert_eq!(found(&format!(r#"{{"x":{{"{key}":"{a}"}}}}"#)), [a], "{key}");
        }
        assert_eq!(found(&format!(r#"{{"x":{{"digests":"{a}"}}}}"#)), []);
    }

    #[test]
    fn duplicate_keys_hide_nothing() {
        let [a, b] = [1, 2].map(digest);
        assert_eq!(found(&format!(r#"{{"config":{{"digest":"{a}","digest":"{b}"}},"config":null}}"#)), [a, b]);
    }

    #[test]
    fn reads_escaped_digests_and_digests_deep_below_the_key() {
        let a = digest(1);
        let escaped = a.to_string().replace(':', r"\u003a");
        assert_eq!(found(&format!(r#"{{"new":[[{{"digest":"{escaped}"}}]]}}"#)), [a]);
        assert_eq!(found(&format!(r#"{{"digest":{{"of":["{a}"]}}}}"#)), [a]);
    }

    #[test]
    fn annotations_and_the_top_level_subject_are_no_references() {
        let [a, b] = [1, 2].map(digest);
        assert_eq!(found(&format!(r#"{{"annotations":{{"digest":"{a}","x":{{"digest":"{a}"}}}}}}"#)), []);
        let read =
            references(format!(r#"{{"Subject":{{"DIGEST":"{a}"}},"layers":[{{"subject":{{"digest":"{b}"}}}}]}}"#).as_bytes())
                .expect("readable");
        assert_eq!(read.subjects, [a]);
        assert_eq!(read.descriptors.iter().map(|d| d.digest).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn reads_what_go_reads_and_serde_would_refuse() {
        let a = digest(1);
        let mut invalid = br#"{"n":1e999,"name":""#.to_vec();
        invalid.push(0xff);
        invalid.extend(format!(r#"","x":{{"digest":"{a}"}}}}"#).bytes());
        let read = references(&invalid).expect("Go replaces invalid UTF-8 and skips numbers that nobody asked for");
        assert_eq!(read.descriptors[0].digest, a);
        let deep = format!("{{\"x\":{}{{\"digest\":\"{a}\"}}{}}}", "[".repeat(9_000), "]".repeat(9_000));
        assert_eq!(found(&deep), [a]);
    }

    #[test]
    fn refuses_what_is_not_one_whole_object() {
        let a = digest(1);
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        for json in ["", "null", "[]", "\"x\"", "{", "{}x", "\u{feff}{}", &deep, &format!(r#"{{"digest":"{a}""#), "\0\0\0\0"] {
            assert!(references(json.as_bytes()).is_err(), "{:.40}", json);
        }
    }

    #[test]
    fn foreign_layers_are_told_apart() {
        let a = digest(1);
        for extra in [
            r#""urls":["https://example.com/x"]"#,
            r#""mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#,
            r#""mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar""#,
        ] {
            let read = references(format!(r#"{{"layers":[{{{extra},"digest":"{a}"}}]}}"#).as_bytes()).expect("readable");
            assert!(read.descriptors[0].foreign, "{extra}");
        }
        let read = references(format!(r#"{{"layers":[{{"urls":[],"digest":"{a}"}}]}}"#).as_bytes()).expect("readable");
        assert!(!read.descriptors[0].foreign);
    }

    #[test]
    fn what_is_ordinary_is_so_by_the_rule() {
        assert!(ORDINARY.iter().all(|text| !text.is_empty() && !is_manifest(text) && !is_foreign(text)));
        for (name, field) in Field::NAMES {
            assert!(Field::folded(name) == field && Field::of(name) == field, "{name}");
        }
        assert!(Field::of("blobSum") == Field::folded("blobSum") && Field::of("mediaType") == Field::folded("mediaType"));
    }
}
