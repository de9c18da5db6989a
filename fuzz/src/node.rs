//! JSON as a tree, and as bytes: with the spaces, escapes and bytes of all kinds that may stand in it, and damaged.

use super::random::Random;

/// Bytes that are no characters, or odd ones, and escapes that are half of one.
const ODD: [&[u8]; 18] = [
    b"\xff",
    b"\xc0\xa2",
    b"\xc1\x9c",
    b"\xed\xa0\x80",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\\ud800",
    b"\\udc00",
    b"\\ud83d\\ude00",
    b"\\ud800\\u0041",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x7f",
    b"\\n",
    b"\\x",
];

/// What is put into the bytes, or behind them.
const SCRAPS: [&[u8]; 26] = [
    b"\xef\xbb\xbf",
    b"\n",
    b"\0",
    b"\x0b",
    b"\x0c",
    b"\xc2\xa0",
    b" ",
    b"\r",
    b"// x\n",
    b"/* x */",
    b"# x\n",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"{}",
    b"null",
    b"\xff",
    b"\x1f\x8b",
    b"'",
    b"-",
    b"e",
];

/// The letters beyond ASCII that Go takes for ASCII ones in a key, and how they may be written.
const LETTERS: [(&str, &str); 2] = [("\u{17f}", "\\u017F"), ("\u{212a}", "\\u212a")];

/// A value, and how it is written.
#[derive(Clone)]
pub(super) enum Node {
    /// As it is written.
    Literal(&'static str),
    Text(Vec<u8>),
    List(Vec<Node>),
    Object(Vec<(Vec<u8>, Node)>),
    /// So many lists around a value.
    Deep(usize, Box<Node>),
}

impl Node {
    fn children(&mut self) -> Vec<&mut Node> {
        match self {
            Node::List(list) => list.iter_mut().collect(),
            Node::Object(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
            Node::Deep(_, inner) => vec![inner],
            Node::Literal(_) | Node::Text(_) => Vec::new(),
        }
    }

    /// Collects what is of one kind, from the top down.
    fn collect<'a, T>(&'a mut self, wanted: fn(&mut Node) -> Option<&mut T>, into: &mut Vec<usize>, count: &mut usize) {
        if wanted(self).is_some() {
            into.push(*count);
        }
        *count += 1;
        for child in self.children() {
            child.collect(wanted, into, count);
        }
    }

    fn nth(&mut self, left: &mut usize) -> Option<&mut Node> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        self.children().into_iter().find_map(|child| child.nth(left))
    }

    /// Any of those nodes in the tree that are of one kind.
    pub(super) fn any<T>(&mut self, wanted: fn(&mut Node) -> Option<&mut T>, random: &mut Random) -> Option<&mut T> {
        let mut those = Vec::new();
        self.collect(wanted, &mut those, &mut 0);
        let mut chosen = *those.get(random.below(those.len().max(1)))?;
        wanted(self.nth(&mut chosen)?)
    }

    pub(super) fn object(&mut self) -> Option<&mut Vec<(Vec<u8>, Node)>> {
        match self {
            Node::Object(entries) if !entries.is_empty() => Some(entries),
            _ => None,
        }
    }

    pub(super) fn list(&mut self) -> Option<&mut Vec<Node>> {
        match self {
            Node::List(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Node::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(super) fn node(&mut self) -> Option<&mut Node> {
        Some(self)
    }
}

/// How a tree is written.
struct Writer<'a> {
    random: &'a mut Random,
    out: Vec<u8>,
    spaced: bool,
    /// One character in so many is an escape; 0 for none.
    escaped: usize,
    /// One text in so many has something odd in it; 0 for none.
    odd: usize,
}

/// Writes a tree in one of many ways.
pub(super) fn write(tree: &Node, random: &mut Random) -> Vec<u8> {
    let spaced = random.once_in(3);
    let escaped = random.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 4, 4, 40, 40]);
    let odd = random.pick(&[0, 0, 0, 0, 4, 12]);
    let mut writer = Writer { random, out: Vec::with_capacity(1024), spaced, escaped, odd };
    writer.space();
    writer.node(tree);
    writer.space();
    writer.out
}

impl Writer<'_> {
    fn space(&mut self) {
        while self.spaced && self.random.once_in(2) {
            self.out.push(self.random.pick(b" \n\t\r"));
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Literal(literal) => self.out.extend(literal.bytes()),
            Node::Text(text) => self.text(text),
            Node::List(list) => self.listed(b"[]", list, Writer::node),
            Node::Object(entries) => self.listed(b"{}", entries, |writer, (key, value)| {
                writer.text(key);
                writer.space();
                writer.out.push(b':');
                writer.space();
                writer.node(value);
            }),
            Node::Deep(levels, inner) => {
                self.out.resize(self.out.len() + levels, b'[');
                self.node(inner);
                self.out.resize(self.out.len() + levels, b']');
            }
        }
    }

    fn listed<T>(&mut self, [open, close]: &[u8; 2], all: &[T], write: fn(&mut Self, &T)) {
        self.out.push(*open);
        for (index, one) in all.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.space();
            write(self, one);
            self.space();
        }
        self.out.push(*close);
    }

    fn text(&mut self, text: &[u8]) {
        let odd_at = (self.odd > 0 && self.random.once_in(self.odd)).then(|| self.random.below(text.len() + 1));
        self.out.push(b'"');
        let mut left = text;
        while let [byte, rest @ ..] = left {
            if odd_at == Some(text.len() - left.len()) {
                self.out.extend(self.random.pick(&ODD));
            }
            let letter = LETTERS.into_iter().find(|(letter, _)| self.escaped > 0 && left.starts_with(letter.as_bytes()));
            if let Some((letter, escape)) = letter {
                self.out.extend(escape.bytes());
                left = &left[letter.len()..];
            } else {
                self.byte(*byte);
                left = rest;
            }
        }
        if odd_at == Some(text.len()) {
            self.out.extend(self.random.pick(&ODD));
        }
        self.out.push(b'"');
    }

    fn byte(&mut self, byte: u8) {
        let control = byte < b' ' && !self.random.once_in(20);
        let escape = self.escaped > 0 && byte.is_ascii() && self.random.once_in(self.escaped);
        match byte {
            b'"' | b'\\' => self.out.extend([b'\\', byte]),
            b'/' if escape => self.out.extend(b"\\/"),
            _ if control || escape => {
                let digits = if self.random.once_in(2) { format!("\\u{byte:04x}") } else { format!("\\u{byte:04X}") };
                self.out.extend(digits.bytes());
            }
            _ => self.out.push(byte),
        }
    }
}

/// What a disk, a proxy or somebody's editor does to bytes.
pub(super) fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let scrap = random.pick(&SCRAPS);
    match random.below(8) {
        0 => drop(bytes.splice(..0, scrap.iter().copied())),
        1 => bytes.extend(scrap),
        2 | 3 => drop(bytes.splice(at..at, scrap.iter().copied())),
        4 => bytes.truncate(at),
        5 => bytes[at] ^= 1 << random.below(8),
        6 => drop(bytes.remove(at)),
        _ => {
            let to = (at + random.below(100)).min(bytes.len());
            let part = bytes[at..to].to_vec();
            drop(bytes.splice(at..at, part));
        }
    }
}
