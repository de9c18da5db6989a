//! What Go's decoder would read in a manifest, for when there is no Go: a tree that keeps repeated keys, and the paths of
//! distribution's structs in it.
//!
//! It reads no less than Go, since it does not mind what else is wrong, and `differential` checks that. It does without Go's
//! scanner, though: bytes that only Go takes for JSON are not looked into.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What is read as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A layer, a configuration, a file.
    Blob,
    /// A manifest that an index lists.
    Child,
    /// What a referrer refers to.
    Subject,
}

/// A text that stands where the registry looks for a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// What it is read as.
    pub role: Role,
    /// The text.
    pub digest: String,
}

/// Where distribution's structs have digests, whichever of them a manifest is decoded into.
const PATHS: [(&str, bool, &str, Role); 6] = [
    ("config", false, "digest", Role::Blob),
    ("layers", true, "digest", Role::Blob),
    ("blobs", true, "digest", Role::Blob),
    ("fslayers", true, "blobsum", Role::Blob),
    ("manifests", true, "digest", Role::Child),
    ("subject", false, "digest", Role::Subject),
];

/// All that Go might read in a manifest, or nothing if it is not JSON of a modest depth.
pub fn readings(bytes: &[u8]) -> Option<Vec<Reading>> {
    let tree: Tree = serde_json::from_str(&String::from_utf8_lossy(bytes)).ok()?;
    let mut found = Vec::new();
    for (outer, listed, inner, role) in PATHS {
        for value in tree.at(outer) {
            let descriptors = match value {
                Tree::List(list) if listed => &list[..],
                one if !listed => std::slice::from_ref(one),
                _ => &[],
            };
            for text in descriptors.iter().flat_map(|descriptor| descriptor.at(inner)) {
                if let Tree::Text(digest) = text {
                    found.push(Reading { role, digest: digest.clone() });
                }
            }
        }
    }
    Some(found)
}

/// A JSON value. Of numbers and the like nothing is kept.
enum Tree {
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    Other,
}

impl Tree {
    /// The values at all keys that Go would take for this one.
    fn at<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tree> {
        let entries = match self {
            Tree::Object(entries) => &entries[..],
            _ => &[],
        };
        entries.iter().filter(move |(key, _)| folded(key) == name).map(|(_, value)| value)
    }
}

/// The only letters beyond ASCII that fold to ASCII ones are the long s and the sign for kelvin.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase()
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Tree::Object(object))
    }
}
