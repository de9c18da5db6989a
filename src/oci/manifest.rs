//! What a manifest refers to: bytes in, references out.
//!
//! The registry decodes manifests with Go's `encoding/json` into typed structs, and serves what it reads there. This parser
//! must read a superset (G1): no struct, no schema, no media type decides whether a reference counts. It walks the bytes as
//! a stream of JSON values. Every string below a key that Go matches to `digest` or `blobSum` is a reference if it is a
//! digest. Relevant habits of Go, each with a test below:
//!
//! - keys match case-insensitively under Unicode simple folding, so `DIGEST`, `dige\u017ft` and `\u0064igest` are `digest`
//!   (source: Go, `encoding/json/fold.go`);
//! - of duplicate keys one wins in Go; here all count;
//! - invalid UTF-8 becomes U+FFFD rather than an error; nesting beyond 10,000 levels is an error (`encoding/json/scanner.go`).
//!
//! Two places hold digests that are not references: everything below `annotations`, and the top-level `subject`, which
//! makes the manifest a referrer and does not keep its subject.

mod keys;
mod media_type;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use self::keys::{Field, Key, KeySeed};
use self::media_type::MediaType;
use super::Digest;

/// Go refuses JSON nested deeper than this.
const MAX_DEPTH: usize = 10_000;

/// Room for the references of an ordinary image.
const DESCRIPTORS: usize = 16;

/// Most subjects to keep. A manifest has one; with a repeated key a registry accepts 42,000, which would stay in memory
/// while the repository is marked.
pub const MAX_SUBJECTS: usize = 16;

/// What a manifest names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Every digest named as content, in the order of the bytes, repetitions included.
    pub descriptors: Vec<Descriptor>,
    /// The digests under the top-level `subject`; more than one only if the key is repeated. Beyond [`MAX_SUBJECTS`]
    /// different ones, only the first are kept and `more_subjects` is set.
    pub subjects: Vec<Digest>,
    /// Whether there are further subjects.
    pub more_subjects: bool,
}

/// One digest that a manifest names, with the attributes of the object around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes that the descriptor states.
    pub size_bytes: Option<u64>,
    /// Whether the content is itself a manifest.
    pub kind: DescriptorKind,
    /// Whether the content may live elsewhere by design: a foreign or non-distributable layer, or one with `urls`. Its
    /// absence from the store is no fault.
    pub foreign: bool,
    /// Whether the registry itself reads the digest, and cannot serve the image without it: Go's decoder reads its place. A
    /// digest at another place keeps content alive as well, but its absence is no fault.
    pub expected: bool,
}

/// Whether the content of a descriptor is read as a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DescriptorKind {
    /// Content of any other kind: a layer, a configuration.
    Blob,
    /// Listed under `manifests` with another media type than a manifest's, like layers in BuildKit's cache indexes. It is a
    /// manifest if it can be read as one.
    MaybeManifest,
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
/// When the bytes are not one whole JSON object. The references of such a manifest are unknown.
pub fn references(bytes: &[u8]) -> Result<References, Unreadable> {
    // Go replaces invalid UTF-8 where serde_json refuses it.
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    // Nearly all manifests are nested a few levels. Only those beyond serde_json's own limit need a stack that grows.
    let mut found = walk(&text, false).or_else(|_| walk(&text, true)).map_err(|error| Unreadable(error.to_string()))?;
    found.subjects.sort_unstable();
    Ok(found)
}

/// Collects the references of a text. With `deep`, nesting may exceed serde_json's own limit.
fn walk(text: &str, deep: bool) -> serde_json::Result<References> {
    let found = RefCell::new(References { descriptors: Vec::with_capacity(DESCRIPTORS), ..References::default() });
    let mut json = serde_json::Deserializer::from_str(text);
    let root = Value { found: &found, place: Place::Root, field: Field::Other, depth: 0, expected: None };
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

/// The meaning of a value, by the keys above it.
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

/// A value to walk. Collects into `found`, and returns what the parent needs of a scalar.
#[derive(Clone, Copy)]
struct Value<'a> {
    found: &'a RefCell<References>,
    place: Place,
    /// The key above it.
    field: Field,
    depth: usize,
    /// The key whose string the registry reads here, if it reads one.
    expected: Option<Field>,
}

/// The kind of a value, for the object that holds it.
enum Scalar {
    MediaType(MediaType),
    Unsigned(u64),
    /// A non-empty list.
    List,
    Object,
    Other,
}

impl Scalar {
    /// Whether it is the media type of an index; `None` if it is not a manifest's.
    fn index(&self) -> Option<bool> {
        match self {
            Scalar::MediaType(media_type) => media_type.manifest.then_some(media_type.index),
            _ => None,
        }
    }
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
                        expected: self.expected == Some(self.field),
                    });
                }
            }
            Place::SubjectReference => {
                let mut found = self.found.borrow_mut();
                match Digest::parse(text.as_bytes()) {
                    Some(subject) if found.subjects.contains(&subject) => {}
                    Some(_) if found.subjects.len() == MAX_SUBJECTS => found.more_subjects = true,
                    subject => found.subjects.extend(subject),
                }
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
        // The object's own digests. Digests in nested objects describe themselves.
        let mut own = Own::default();
        let mut parts = Parts::default();
        let mut number = None;
        while let Some(Key { field, annotations }) = object.next_key_seed(KeySeed)? {
            let place = self.place.below(field, annotations);
            let before = self.found.borrow().descriptors.len();
            let expected = match self.place {
                Place::Root => field.expects(),
                _ => self.expected.filter(|expected| *expected == field),
            };
            let value = object.next_value_seed(Value { place, field, depth, expected, ..self })?;
            let named = before..self.found.borrow().descriptors.len();
            if self.place == Place::Root {
                parts.add(field, named.clone(), &value);
            }
            if place == Place::Reference {
                own.add(named);
            }
            if field == Field::Number {
                number = Some(value);
                continue;
            }
            around.learn(field, value);
        }
        // A manifest that uses the private key itself must not hide its digests.
        if let Some(number) = number
            && own.is_empty()
        {
            return Ok(number);
        }
        let kind = around.kind(self.place == Place::Manifests);
        let mut found = self.found.borrow_mut();
        for range in parts.unread() {
            found.descriptors[range].iter_mut().for_each(|descriptor| descriptor.expected = false);
        }
        for range in own.replaced() {
            found.descriptors[range.clone()].iter_mut().for_each(|descriptor| descriptor.expected = false);
        }
        for index in own.indices() {
            let descriptor = &mut found.descriptors[index];
            descriptor.kind = descriptor.kind.max(kind);
            descriptor.foreign |= around.foreign;
            descriptor.size_bytes = descriptor.size_bytes.or(around.size_bytes);
        }
        Ok(Scalar::Object)
    }
}

/// The ranges of an object's own digests: one, unless it has several keys for them.
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

    /// All ranges but the last: Go takes the last of repeated keys.
    fn replaced(&self) -> impl Iterator<Item = &Range<usize>> {
        let all = std::iter::once(&self.first).chain(&self.more);
        all.take(self.more.len())
    }

    fn indices(self) -> impl Iterator<Item = usize> {
        self.first.chain(self.more.into_iter().flatten())
    }
}

/// The ranges of the references in a manifest's own lists.
#[derive(Default)]
struct Parts {
    lists: Vec<(Field, Range<usize>)>,
    /// Whether the manifest's media type is that of an index; `None` if it is not a manifest's.
    index: Option<bool>,
}

impl Parts {
    fn add(&mut self, field: Field, named: Range<usize>, value: &Scalar) {
        if field == Field::MediaType {
            self.index = value.index();
        }
        // An empty list replaces what the same key named before; `null` instead of an object replaces nothing.
        let is_emptied = field != Field::Config && matches!(value, Scalar::Other);
        if field.expects().is_some() && (is_emptied || !named.is_empty()) {
            self.lists.push((field, named));
        }
    }

    /// The lists that the registry does not read: those of another kind of manifest, and all but the last of a repeated key.
    fn unread(&self) -> impl Iterator<Item = Range<usize>> {
        let any_other = self.lists.iter().any(|(field, named)| *field != Field::FsLayers && !named.is_empty());
        let is_read = move |field: Field| match (self.index, field) {
            (_, Field::FsLayers) => self.index.is_none() && !any_other,
            (Some(index), _) => index == (field == Field::Manifests),
            (None, _) => true,
        };
        let unread = self.lists.iter().enumerate().filter(move |(place, (field, _))| {
            !is_read(*field) || self.lists[place + 1..].iter().any(|(later, _)| later == field)
        });
        unread.map(|(_, (_, range))| range.clone())
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
            // Only the exact key: exceptions from a superset must be narrow.
            _ if annotations => Place::Annotations,
            (Place::Root, Field::Subject) => Place::Subject,
            (Place::SubjectReference, _) | (Place::Subject, Field::Digest | Field::BlobSum) => Place::SubjectReference,
            (Place::Subject, _) => Place::Subject,
            (Place::Reference, _) | (_, Field::Digest | Field::BlobSum) => Place::Reference,
            (_, Field::Manifests) => Place::Manifests,
            _ => Place::Inside,
        }
    }
}

/// What an object states about its digest.
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
            (false, true, true) => DescriptorKind::MaybeManifest,
            (false, false, _) => DescriptorKind::Blob,
        }
    }
}

#[cfg(test)]
mod tests;
