//! YAML as the registry reads it, which is with Go's yaml.v2: the first document of a stream, the last of equal keys. Sections
//! of the same name add up where the registry reads them into a structure: everywhere but in `storage`, `auth` and `middleware`.
//!
//! A merge key (`<<`) stands for the keys of what it names *at its place*: it overwrites keys before it and is overwritten by
//! keys after it, and sections that add up add up with what it names. (The merge key's own specification, and every other reader, let the
//! keys of the map win wherever they are.) Unlike there, a quoted `"<<"` is a merge key here.
//!
//! A scalar with a tag of its own (`!x`), or with `!!str`, is a text. The other tags of YAML (`!!binary`, which the registry decodes) are
//! refused: what they make of a value is not what is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, VariantAccess as _,
    Visitor,
};

/// A map of settings.
pub(super) type Map = BTreeMap<String, Node>;

/// A value in a configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// As this program prints it; the registry's text of it may differ.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Map),
    /// A map that environment variables have made where there was none. It is of another type in the registry, which takes a
    /// map of its file for such a one only where it does not look closely.
    Made(Map),
}

impl Node {
    /// The keys below, for a map that was written as one.
    pub(super) fn as_map(&self) -> Option<&Map> {
        match self {
            Node::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value at a key below.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What is written for a scalar.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Node::Bool(boolean) => Some(boolean.to_string()),
            Node::Number(text) | Node::Text(text) => Some(text.clone()),
            Node::Null | Node::List(_) | Node::Map(_) | Node::Made(_) => None,
        }
    }

    /// A boolean of YAML 1.1, where `yes` and `on` are some. Quoted ones, which are texts, cannot be told apart.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Node::Bool(boolean) => Some(*boolean),
            Node::Text(text) => match text.as_str() {
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
                "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads the first document; nothing is `Null`. A `version` at the top keeps its text, as `0.10` is not `0.1` to the registry.
///
/// Text that follows the document without a line of `---` is an error: the registry passes over it in silence, and nobody can have
/// meant that.
pub(super) fn read(bytes: &[u8]) -> Result<Node, yaml_serde::Error> {
    let text = decoded(bytes)?;
    // What is wrong with the text is told with its own lines.
    let node = read_text(&text)?;
    match with_tags_shown(&text)? {
        Some(shown) => read_text(&shown).map_err(|error| {
            let said = error.to_string();
            yaml_serde::Error::custom(said.split(" at line ").next().unwrap_or_default())
        }),
        None => Ok(node),
    }
}

fn read_text(text: &[u8]) -> Result<Node, yaml_serde::Error> {
    let mut documents = yaml_serde::Deserializer::from_slice(text);
    let Some(first) = documents.next() else { return Ok(Node::Null) };
    let node = TOP.deserialize(first)?;
    match documents.next().map(IgnoredAny::deserialize) {
        // What is wrong within a second document is nothing to the registry.
        Some(Err(error)) if error.to_string().contains(NO_DOCUMENT) => Err(yaml_serde::Error::custom(format!(
            "text follows the end of the first document, and the registry does not read it ({error})"
        ))),
        _ => Ok(node),
    }
}

/// What the tags of YAML begin with once they are shown.
const SHOWN: &str = "regsweep-core-";

/// The text with its tags of YAML, which the parser passes over in silence, as tags of our own, which it shows. Nothing if there are none.
///
/// # Errors
///
/// When there may be tags that cannot be shown.
fn with_tags_shown(text: &[u8]) -> Result<Option<Vec<u8>>, yaml_serde::Error> {
    let text = String::from_utf8_lossy(text);
    // `!<tag:yaml.org,2002:binary>`, and directives that give other names to the same.
    let is_at_length = |(place, _): (usize, &str)| {
        let before = text[..place].chars().next_back();
        let is_begin = before.is_none_or(|before| before.is_whitespace() || "[{,:?-".contains(before));
        is_begin && text[place..].split_once('>').is_some_and(|(tag, _)| !tag.contains(char::is_whitespace))
    };
    if text.lines().any(|line| line.starts_with("%TAG")) || text.match_indices("!<").any(is_at_length) {
        return Err(yaml_serde::Error::custom("%TAG and tags like !<x> are not read here: write the values without tags"));
    }
    if !text.contains("!!") {
        return Ok(None);
    }
    let is_content = |line: &&str| !(line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%'));
    let is_explicit = text.lines().find(is_content).is_some_and(|line| line.starts_with("---"));
    let begin = if is_explicit { "" } else { "---\n" };
    Ok(Some(format!("%TAG !! !{SHOWN}\n{begin}{text}").into_bytes()))
}

/// What the parser says of text where a document would have to begin.
const NO_DOCUMENT: &str = "did not find expected <document start>";

/// The bytes in UTF-8 and without the byte order mark by which yaml.v2 tells UTF-8 and UTF-16.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, [u8]>, yaml_serde::Error> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| -> Result<Cow<'_, [u8]>, yaml_serde::Error> {
        let wrong = || yaml_serde::Error::custom("it begins as UTF-16 and is not UTF-16 to its end");
        let (pairs, odd) = rest.as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().copied().map(unit).collect::<Vec<_>>()).map_err(|_| wrong())?;
        if odd.is_empty() { Ok(Cow::Owned(text.into_bytes())) } else { Err(wrong()) }
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(Cow::Borrowed(rest)),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

/// Sections that the registry keeps as maps of anything. Of two of the same name the later one is all that counts there; everywhere else both
/// are read into the same place, one after the other.
const KEPT_AS_MAPS: [&str; 3] = ["storage", "auth", "middleware"];

#[derive(Clone, Copy)]
struct Reader {
    at_top: bool,
    /// Whether maps under the same key are one.
    adds_up: bool,
    /// Whether a scalar is a text, whatever it looks like.
    is_text: bool,
}

impl Reader {
    fn number(self, text: String) -> Node {
        if self.is_text { Node::Text(text) } else { Node::Number(text) }
    }

    /// Reads what is under a key.
    fn below(self, key: &str) -> Reader {
        Reader { at_top: false, adds_up: self.adds_up && !(self.at_top && KEPT_AS_MAPS.contains(&key)), is_text: false }
    }
}

/// Sets a key that may be there: a section that adds up keeps what the new one does not say.
fn set(map: &mut Map, key: String, value: Node, adds_up: bool) {
    match (map.get_mut(&key), value) {
        (Some(Node::Map(before)), Node::Map(more)) if adds_up => {
            more.into_iter().for_each(|(key, value)| set(before, key, value, true));
        }
        (_, value) => drop(map.insert(key, value)),
    }
}

const TOP: Reader = Reader { at_top: true, adds_up: true, is_text: false };
/// In lists.
const BELOW: Reader = Reader { at_top: false, adds_up: false, is_text: false };

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    /// What an empty document is.
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(if self.is_text { Node::Text(value.to_string()) } else { Node::Bool(value) })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(self.number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(self.number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(self.number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    /// A tag such as `!x` says nothing to the registry but that a scalar is a text.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        ensure_understood(&tag)?;
        content.newtype_variant_seed(Reader { is_text: true, ..self })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(BELOW)? {
            list.push(element);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Node, A::Error> {
        let mut map = Map::new();
        Merging { map: &mut map, reader: self }.visit_map(entries)?;
        Ok(Node::Map(map))
    }
}

/// Reads the keys of a map into one that is there, as the registry reads them into one structure.
struct Merging<'m> {
    map: &'m mut Map,
    reader: Reader,
}

impl<'de> DeserializeSeed<'de> for Merging<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Merging<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list of maps, which a merge key (<<) must name")
    }

    /// Of several maps the earlier ones win: they are read last.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self.reader)? {
            all.push(element);
        }
        for one in all.into_iter().rev() {
            let Node::Map(one) = one else { return Err(A::Error::invalid_type(Unexpected::Other("something else"), &self)) };
            one.into_iter().for_each(|(key, value)| {
                let adds_up = self.reader.below(&key).adds_up;
                set(self.map, key, value, adds_up);
            });
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_tag, content) = tagged.variant::<String>()?;
        content.newtype_variant_seed(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Merging { map, reader } = self;
        while let Some(key) = entries.next_key_seed(Key)? {
            if key == "<<" {
                entries.next_value_seed(Merging { map: &mut *map, reader })?;
            } else if reader.at_top && key == "version" {
                map.insert(key, entries.next_value_seed(Verbatim)?);
            } else {
                let below = reader.below(&key);
                set(map, key, entries.next_value_seed(below)?, below.adds_up);
            }
        }
        Ok(())
    }
}

/// Makes sure that a tag leaves a value as it is written.
fn ensure_understood<E: serde::de::Error>(tag: &str) -> Result<(), E> {
    match tag.trim_start_matches('!').strip_prefix(SHOWN) {
        None | Some("str" | "map" | "seq") => Ok(()),
        Some(other) => Err(E::custom(format!("the tag !!{other} is not read here: write the value without it"))),
    }
}

/// The key of a map.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let key = Reader { is_text: true, ..BELOW }.deserialize(deserializer)?;
        // A key of null is nothing that anybody looks for.
        key.scalar().or_else(|| (key == Node::Null).then(String::new)).ok_or_else(|| D::Error::custom("a key must be a scalar"))
    }
}

/// A scalar as it is written, whatever it would resolve to.
struct Verbatim;

impl<'de> DeserializeSeed<'de> for Verbatim {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        String::deserialize(deserializer).map(Node::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of_k(text: &str) -> Option<String> {
        read(text.as_bytes()).expect("YAML").get("k")?.scalar()
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_a_merge_key_counts_where_it_stands() {
        for (text, expected) in [
            ("{k: 1, k: 2}", "2"),
            ("{x: &x {k: 1}, <<: *x, k: 2}", "2"),
            ("{x: &x {k: 1}, k: 2, <<: *x}", "1"),
            ("{x: &x {k: 1}, y: &y {k: 2}, <<: [*x, *y]}", "1"),
            ("{x: &x {k: 1}, y: &y {<<: *x}, <<: *y}", "1"),
            ("k: 1\n---\nk: 2\n", "1"),
            ("---\nk: !odd 1\n...\n", "1"),
            ("\u{feff}k: 1", "1"),
            ("{1: x, true: y, ~: z, k: 1}", "1"),
        ] {
            assert_eq!(value_of_k(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read(b"").expect("nothing"), Node::Null);
        assert_eq!(read(b"# nothing\n").expect("nothing"), Node::Null);
        for text in ["a: [", "{<<: 7}", "<<: ", "[\u{1}]", "&a [*a]"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"k: \xff").is_err());
    }

    #[test]
    fn sections_add_up_with_what_a_merge_key_names_at_its_place() {
        for (text, expected) in [
            ("{http: {addr: a}, <<: {http: {net: n}}}", "{http: {addr: a, net: n}}"),
            ("{<<: {http: {net: n, addr: b}}, http: {addr: a}}", "{http: {addr: a, net: n}}"),
            ("{http: {addr: a}, <<: {http: {addr: b}}}", "{http: {addr: b}}"),
            ("{http: {tls: {key: k}}, <<: {http: {tls: {certificate: c}}}}", "{http: {tls: {certificate: c, key: k}}}"),
            ("{http: {addr: a, <<: {addr: b, tls: {key: k}}}}", "{http: {addr: b, tls: {key: k}}}"),
            ("{<<: [{proxy: {a: 1}}, {proxy: {a: 2, b: 2}}]}", "{proxy: {a: 1, b: 2}}"),
            ("{<<: {<<: {proxy: {a: 1}}, proxy: {b: 2}}, proxy: {c: 3}}", "{proxy: {a: 1, b: 2, c: 3}}"),
            ("{proxy: {a: 1}, <<: {proxy: ~}, <<: {proxy: {b: 2}}}", "{proxy: {b: 2}}"),
            ("{proxy: {a: 1}, <<: {proxy: ~, proxy: {b: 2}}}", "{proxy: {b: 2}}"),
            ("{storage: {a: {x: 1}}, <<: {storage: {a: {y: 2}}}}", "{storage: {a: {y: 2}}}"),
            ("{storage: {a: {x: 1}, <<: {a: {y: 2}, b: {}}}}", "{storage: {a: {y: 2}, b: {}}}"),
        ] {
            assert_eq!(read(text.as_bytes()).expect(text), read(expected.as_bytes()).expect(expected), "{text}");
        }
        let version = read(b"{version: '0.2', <<: {version: 0.10}}").expect("YAML");
        assert_eq!(version.get("version").and_then(Node::scalar).as_deref(), Some("0.10"));
    }

    #[test]
    fn a_byte_order_mark_says_what_the_text_is_written_in() {
        let text = "k: 1\nl: \u{e9}\nm: 3\n";
        let plain = read(text.as_bytes()).expect("YAML");
        let of_units = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            [&mark[..], &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat()
        };
        let little = of_units([0xff, 0xfe], u16::to_le_bytes);
        let big = of_units([0xfe, 0xff], u16::to_be_bytes);
        for marked in [["\u{feff}", text].concat().into_bytes(), little.clone(), big] {
            assert_eq!(read(&marked).expect("YAML"), plain);
        }
        assert!(read(&little[..little.len() - 1]).is_err(), "half a character");
        assert!(read(&little[2..]).is_err(), "no mark");
    }

    #[test]
    fn text_that_no_document_holds_is_an_error() {
        for text in ["{k: 1}\nl: 2\n", "\u{feff}\u{feff}k: 1\nl: 2\n", " k: 1\nl: 2\n", "'a' b"] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in ["k: 1\n---\nl: [\n", "k: 1\n...\n", "k: 1\n...\n# nothing\n", "---\nk: 1\n---\n"] {
            assert_eq!(value_of_k(text).as_deref(), Some("1"), "{text:?}");
        }
    }

    #[test]
    fn tags_that_change_a_value_are_refused_and_name_its_key() {
        for text in [
            "{a: {k: !!binary eA==}}",
            "a:\n  k: !!int '7'\n",
            "# x\n---\na: {k: !!bool true}\n",
            "%YAML 1.1\n---\na: {k: !!timestamp x}",
        ] {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with("a.k: the tag !!") && !error.contains("line"), "{text}: {error}");
        }
        for text in
            ["!!binary aw==: 1", "k: !<tag:yaml.org,2002:binary> eA==", "%TAG !y! tag:yaml.org,2002:\n---\nk: !y!binary eA=="]
        {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains("tag"), "{text}: {error}");
        }
        for (text, expected) in [
            ("k: !!str 7", "7"),
            ("!!str k: x", "x"),
            ("!!map\nk: x", "x"),
            ("{x: !!seq [1], k: x}", "x"),
            ("k: '!!binary x'", "!!binary x"),
            ("k: a!!b!<c>", "a!!b!<c>"),
            ("k: !x true", "true"),
            ("--- !!map\nk: x", "x"),
        ] {
            assert_eq!(value_of_k(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read(b"k: !x true").expect("YAML").get("k"), Some(&Node::Text("true".into())), "a text, not a boolean");
    }

    #[test]
    fn the_version_keeps_its_text() {
        let version = |text: &str| read(text.as_bytes()).expect("YAML").get("version").and_then(Node::scalar);
        assert_eq!(version("version: 0.10").as_deref(), Some("0.10"));
        assert_eq!(version("version: '0.1'").as_deref(), Some("0.1"));
        assert_eq!(version("<<: {version: 0.1}").as_deref(), Some("0.1"));
    }

    #[test]
    fn reads_hostile_text_without_harm() {
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(bomb.as_bytes()).is_err());
    }
}
