//! Odd manifests by number: a valid one of any kind, with a few things done to its tree, odd in how it is written, and now and then
//! damaged. Go takes four in five of them, and finds digests in half.
//!
//! Each digest in a manifest is another one, so that none that is overlooked hides behind its like.

use super::node::{Node, damage, write};
use super::random::Random;

/// Keys that mean something to Go, to us, or to our JSON library, and some that nearly do.
const KEYS: [&str; 32] = [
    "digest",
    "digest",
    "blobSum",
    "config",
    "layers",
    "layers",
    "manifests",
    "manifests",
    "blobs",
    "fsLayers",
    "subject",
    "annotations",
    "urls",
    "data",
    "platform",
    "mediaType",
    "size",
    "schemaVersion",
    "history",
    "name",
    "tag",
    "architecture",
    "artifactType",
    "features",
    "os.features",
    "v1Compatibility",
    "signatures",
    "$serde_json::private::Number",
    "$serde_json::private::RawValue",
    "digests",
    "",
    "x",
];

const MEDIA_TYPES: [&str; 10] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/x-nobody",
    "",
];

/// What stands for a value as it is written: numbers of all kinds, and some that are none.
const LITERALS: [&str; 22] = [
    "null",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "7023",
    "1.5",
    "1e999",
    "-1E+400",
    "1e-999",
    "123456789012345678901234567890",
    "9223372036854775807",
    "9223372036854775808",
    "01",
    "1.",
    "+1",
    "NaN",
    "0x10",
    "nul",
];

/// The manifest of a number.
pub fn manifest(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let mut tree = valid(&mut random);
    for _ in 0..random.below(5) {
        change(&mut tree, &mut random);
    }
    let mut bytes = write(&tree, &mut random);
    if random.once_in(8) {
        damage(&mut bytes, &mut random);
    }
    bytes
}

/// A digest that nothing else has.
fn digest(random: &mut Random) -> Vec<u8> {
    let (algorithm, length) = match random.below(16) {
        0 => ("sha384", 96),
        1 => ("sha512", 128),
        _ => ("sha256", 64),
    };
    let mut text = format!("{algorithm}:").into_bytes();
    while text.len() < algorithm.len() + 1 + length {
        text.extend(format!("{:016x}", random.number()).bytes());
    }
    text
}

fn text(of: &str) -> Node {
    Node::Text(of.into())
}

fn object<const N: usize>(entries: [(&str, Node); N]) -> Node {
    Node::Object(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn valid(random: &mut Random) -> Node {
    let some = |random: &mut Random| (0..random.below(3)).map(|_| descriptor(random)).collect();
    let version = if random.once_in(6) { "1" } else { "2" };
    let mut entries: Vec<(Vec<u8>, Node)> = vec![("schemaVersion".into(), Node::Literal(version))];
    if !random.once_in(4) {
        entries.push(("mediaType".into(), text(random.pick(&MEDIA_TYPES))));
    }
    match random.below(6) {
        0..=2 => {
            entries.push(("config".into(), descriptor(random)));
            entries.push(("layers".into(), Node::List(some(random))));
        }
        3 => entries.push(("manifests".into(), Node::List(some(random)))),
        4 => entries.push(("blobs".into(), Node::List(some(random)))),
        _ => {
            let layers = (0..random.below(3)).map(|_| object([("blobSum", Node::Text(digest(random)))])).collect();
            entries.push(("fsLayers".into(), Node::List(layers)));
            entries.push(("history".into(), Node::List(vec![object([("v1Compatibility", text(r#"{"id":"x"}"#))])])));
        }
    }
    if random.once_in(4) {
        entries.push(("subject".into(), descriptor(random)));
    }
    if random.once_in(4) {
        entries.push(("annotations".into(), object([("x", Node::Text(digest(random)))])));
    }
    Node::Object(entries)
}

fn descriptor(random: &mut Random) -> Node {
    let mut entries: Vec<(Vec<u8>, Node)> = vec![("digest".into(), Node::Text(digest(random)))];
    if !random.once_in(3) {
        entries.push(("mediaType".into(), text(random.pick(&MEDIA_TYPES))));
    }
    if !random.once_in(3) {
        entries.push(("size".into(), Node::Literal("7023")));
    }
    match random.below(16) {
        0 => entries.push(("urls".into(), Node::List(vec![Node::Text(digest(random))]))),
        1 => entries.push(("annotations".into(), object([("digest", Node::Text(digest(random)))]))),
        2 => entries.push(("platform".into(), object([("os", text("linux")), ("os.features", Node::List(vec![text("x")]))]))),
        3 => entries.push(("data".into(), text("e30="))),
        4 => entries.push(("artifactType".into(), text("x/y"))),
        _ => {}
    }
    let first = random.below(entries.len());
    entries.rotate_left(first);
    Node::Object(entries)
}

/// A value that may be of the wrong kind wherever it is put.
fn odd(random: &mut Random) -> Node {
    match random.below(14) {
        0..=2 => Node::Literal(random.pick(&LITERALS)),
        3 => Node::Text(Vec::new()),
        4 => Node::Text(digest(random)),
        5 => Node::List(Vec::new()),
        6 => Node::Object(Vec::new()),
        7 => Node::List(vec![Node::Text(digest(random))]),
        8 => descriptor(random),
        9 => Node::List(vec![descriptor(random), Node::Literal("null")]),
        10 => Node::List(vec![Node::List(vec![descriptor(random)])]),
        11 => Node::Object(vec![(key(random), descriptor(random))]),
        12 => Node::Object(vec![(key(random), Node::List(vec![descriptor(random)]))]),
        _ => Node::Text(vec![b'x'; if random.once_in(200) { 70_000 } else { random.below(300) }]),
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    random.pick(&KEYS).into()
}

/// Does one thing to the tree.
fn change(tree: &mut Node, random: &mut Random) {
    match random.below(16) {
        0..=3 => {
            if let Some(entries) = tree.any(Node::object, random) {
                let chosen = random.below(entries.len());
                respell(&mut entries[chosen].0, random);
            }
        }
        4 => {
            if let Some(entries) = tree.any(Node::object, random) {
                let chosen = random.below(entries.len());
                entries[chosen].0 = key(random);
            }
        }
        5..=7 => repeat(tree, random),
        8 => {
            if let Some(node) = tree.any(Node::node, random) {
                *node = odd(random);
            }
        }
        9 => wrap(tree, random),
        10 | 11 => {
            let (key, value) = (key(random), odd(random));
            insert(tree, key, value, random);
        }
        12 => {
            let part = tree.any(Node::node, random).map(|node| node.clone());
            insert(tree, key(random), part.unwrap_or(Node::Literal("null")), random);
        }
        13 => {
            if let Some(text) = tree.any(Node::text, random) {
                spoil(text, random);
            }
        }
        14 => {
            if let Some(entries) = tree.any(Node::object, random) {
                entries.remove(random.below(entries.len()));
            }
        }
        _ => {
            let value = odd(random);
            if let Some(list) = tree.any(Node::list, random) {
                list.insert(random.below(list.len() + 1), value);
            }
        }
    }
}

fn insert(tree: &mut Node, key: Vec<u8>, value: Node, random: &mut Random) {
    if let Some(entries) = tree.any(Node::object, random) {
        entries.insert(random.below(entries.len() + 1), (key, value));
    }
}

/// Says a key twice, the second time perhaps in other letters.
fn repeat(tree: &mut Node, random: &mut Random) {
    let Some(entries) = tree.any(Node::object, random) else { return };
    let (mut key, value) = entries[random.below(entries.len())].clone();
    let value = match (random.below(4), value) {
        (0, value) => value,
        (1, Node::Text(_)) => Node::Text(digest(random)),
        (1, Node::List(_)) => Node::List((0..random.below(3)).map(|_| descriptor(random)).collect()),
        (1, Node::Object(_)) => descriptor(random),
        (2, _) => Node::Literal("null"),
        _ => odd(random),
    };
    if random.once_in(2) {
        respell(&mut key, random);
    }
    entries.insert(random.below(entries.len() + 1), (key, value));
}

fn wrap(tree: &mut Node, random: &mut Random) {
    let Some(node) = tree.any(Node::node, random) else { return };
    let inner = std::mem::replace(node, Node::Literal("null"));
    *node = match random.below(8) {
        0..=2 => Node::List(vec![inner]),
        3..=5 => Node::Object(vec![(key(random), inner)]),
        6 => Node::Deep(random.pick(&[2, 5, 120, 124, 130]), Box::new(inner)),
        // About as deep as Go goes. Once in a while: such a manifest is as long as a hundred others.
        _ if random.once_in(100) => Node::Deep(9_990 + random.below(20), Box::new(inner)),
        _ => Node::List(vec![inner, odd(random)]),
    };
}

/// Writes a key otherwise. Most ways still mean the same to Go.
fn respell(key: &mut Vec<u8>, random: &mut Random) {
    let replaced = |key: &[u8], letters: [u8; 2], by: &str| -> Vec<u8> {
        key.iter().flat_map(|byte| if letters.contains(byte) { by.as_bytes().to_vec() } else { vec![*byte] }).collect()
    };
    match random.below(12) {
        0 => key.make_ascii_uppercase(),
        1 => key.make_ascii_lowercase(),
        2 | 3 => {
            for byte in &mut *key {
                if random.once_in(2) {
                    byte.make_ascii_uppercase();
                }
            }
        }
        4..=6 => *key = replaced(key, [b's', b'S'], "\u{17f}"),
        7 => *key = replaced(key, [b'k', b'K'], "\u{212a}"),
        8 => *key = replaced(key, [b'i', b'I'], random.pick(&["\u{130}", "\u{131}", "\u{ff49}"])),
        9 => key.push(random.pick(b"\0 s\xff")),
        10 => key.insert(0, random.pick(b"\0 $\xff")),
        _ => *key = replaced(key, [b's', b'S'], random.pick(&["\u{1e9e}", "\u{df}", "ss", "\u{ff53}"])),
    }
}

/// Makes of a digest something that is hardly one.
fn spoil(text: &mut Vec<u8>, random: &mut Random) {
    match random.below(8) {
        0 => text.make_ascii_uppercase(),
        1 => text.truncate(random.below(text.len())),
        2 => text.push(random.pick(b"\n 0\0.")),
        3 => text.insert(0, random.pick(b"\n 0\0.")),
        4 => text.extend_from_within(..),
        5 => drop(text.drain(..text.len().min(7))),
        _ => {
            let chosen = random.below(text.len());
            text[chosen] = random.pick(b"gG:/\0\x80A");
        }
    }
}
