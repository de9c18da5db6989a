//! Lists of what is in use: references to images, as container runtimes and clusters print them. Pure.

use foldhash::HashSet;

use crate::escape::escaped;
use crate::oci::{Digest, RepositoryName, TagName};

/// The tag that a reference without any means.
const LATEST: &str = "latest";

/// How many digits the ID of an image has, cut off and whole.
const IMAGE_IDS: [usize; 2] = [12, 64];

/// What is not to go, as somebody lists it. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectList {
    entries: Vec<Entry>,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// As it was written.
    text: String,
    /// The names that its repository may have: with what may be the address of a registry, and without.
    names: Vec<RepositoryName>,
    tag: Option<TagName>,
    digest: Option<Digest>,
}

/// What of a list concerns a store.
#[derive(Debug, Default)]
pub(super) struct Protected {
    /// Tags that stay.
    pub(super) tags: HashSet<(RepositoryName, TagName)>,
    /// What keeps every image that it is, or is in.
    pub(super) digests: HashSet<Digest>,
    /// References to nothing in the store, as they were written.
    pub(super) unmatched: Vec<String>,
    /// How many references match something.
    pub(super) matched: u64,
}

impl ProtectList {
    /// Reads references, apart from each other by spaces or lines. Lines that begin with `#` are comments. `source` is where they come from.
    ///
    /// # Errors
    ///
    /// When one is no reference, or there is none: a list that somebody failed to make must not mean that nothing is in use.
    pub fn parse(text: &str, source: &str) -> Result<ProtectList, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            for word in line.split_whitespace() {
                let entry = Entry::parse(word).ok_or_else(|| {
                    format!(
                        "{source}, line {}: {} is no reference such as registry.example:5000/team/app:1.0, team/app@sha256:... or sha256:...",
                        number + 1,
                        escaped(word)
                    )
                })?;
                entries.push(entry);
            }
        }
        match entries.is_empty() {
            true => Err(format!(
                "{source} is empty: if nothing is in use, run without --protect; if something is, see why the list was not made"
            )),
            false => Ok(ProtectList { entries }),
        }
    }

    /// Adds another list.
    pub fn extend(&mut self, other: ProtectList) {
        self.entries.extend(other.entries);
    }

    /// The repositories that references with tags may mean.
    pub(super) fn names(&self) -> HashSet<&RepositoryName> {
        self.entries.iter().filter(|entry| entry.tag.is_some()).flat_map(|entry| &entry.names).collect()
    }

    /// The tags of the references.
    pub(super) fn tags(&self) -> HashSet<&TagName> {
        self.entries.iter().filter_map(|entry| entry.tag.as_ref()).collect()
    }

    /// What of the list is in a store. `of_tag` says what keeps a tag that is there: the digests that its history names if it names none itself any
    /// more, and nothing beside the tag if it does.
    pub(super) fn matched(
        &self,
        of_tag: &dyn Fn(&RepositoryName, &TagName) -> Option<Vec<Digest>>,
        has_digest: &dyn Fn(&Digest) -> bool,
    ) -> Protected {
        let mut protected = Protected::default();
        for entry in &self.entries {
            let mut any = false;
            for (name, tag) in entry.names.iter().filter_map(|name| Some((name, entry.tag.as_ref()?))) {
                if let Some(digests) = of_tag(name, tag) {
                    any = true;
                    protected.tags.insert((name.clone(), tag.clone()));
                    protected.digests.extend(digests);
                }
            }
            if let Some(digest) = entry.digest.filter(has_digest) {
                any = true;
                protected.digests.insert(digest);
            }
            match any {
                true => protected.matched += 1,
                false => protected.unmatched.push(entry.text.clone()),
            }
        }
        protected.unmatched.sort();
        protected.unmatched.dedup();
        protected
    }
}

impl Entry {
    fn parse(word: &str) -> Option<Entry> {
        let text = escaped(word);
        // Runtimes put their name before it.
        let word = word.split_once("://").map_or(word, |(_, rest)| rest);
        if let Some(digest) = Digest::parse(word.as_bytes()) {
            return Some(Entry { text, names: Vec::new(), tag: None, digest: Some(digest) });
        }
        let (word, digest) = match word.split_once('@') {
            Some((word, digest)) => (word, Some(Digest::parse(digest.as_bytes())?)),
            None => (word, None),
        };
        // What runtimes print as the ID of an image is no name: nothing would be kept by it.
        let is_hex = |word: &str| word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if IMAGE_IDS.contains(&word.len()) && is_hex(word) {
            return None;
        }
        let tagged = word.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let (name, tag) = match tagged {
            Some((name, tag)) => (name, Some(TagName::new(tag))),
            None => (word, digest.is_none().then(|| TagName::new(LATEST))),
        };
        let without_host = name.split_once('/').map(|(_, rest)| rest);
        let names: Vec<RepositoryName> = [Some(name), without_host].into_iter().flatten().map(RepositoryName::new).collect();
        let is_valid = names[0].is_valid() && tag.as_ref().is_none_or(TagName::is_valid);
        is_valid.then_some(Entry { text, names, tag, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sha256;

    #[test]
    fn references_are_read_as_clusters_print_them() {
        let digest = sha256(b"x");
        for (word, names, tag, has_digest) in [
            (
                "registry.example:5000/team/app:1.0".to_owned(),
                &["registry.example:5000/team/app", "team/app"][..],
                Some("1.0"),
                false,
            ),
            ("team/app:1.0".into(), &["team/app", "app"], Some("1.0"), false),
            ("app".into(), &["app"], Some("latest"), false),
            ("localhost/app".into(), &["localhost/app", "app"], Some("latest"), false),
            (format!("app@{digest}"), &["app"], None, true),
            (format!("h/app:1@{digest}"), &["h/app", "app"], Some("1"), true),
            (format!("docker-pullable://h.io/app@{digest}"), &["h.io/app", "app"], None, true),
            (format!("docker://{digest}"), &[], None, true),
            (digest.to_string(), &[], None, true),
        ] {
            let entry = Entry::parse(&word).expect(&word);
            assert_eq!(entry.names, names.iter().map(RepositoryName::new).collect::<Vec<_>>(), "{word}");
            assert_eq!((entry.tag, entry.digest), (tag.map(TagName::new), has_digest.then_some(digest)), "{word}");
        }
        for word in [
            "<none>",
            "No",
            "app:",
            ":1",
            "app@sha256:12",
            "sha256:12:",
            "a//b",
            "/app:1",
            "../x",
            "\u{1b}[0m",
            "app:-x",
            "{\"a\"",
            "0123456789ab",
            &"0123456789abcdef".repeat(4),
        ] {
            assert_eq!(Entry::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_list_has_something_in_it_or_is_an_error() {
        let list = ProtectList::parse("# in use\na:1 b:2\n\n  c\r\n", "the list").expect("a list");
        assert_eq!(list.entries.len(), 3);
        for text in ["", "\n \n", "# nothing\n"] {
            assert!(ProtectList::parse(text, "the list").expect_err(text).contains("the list is empty"), "{text}");
        }
        let error = ProtectList::parse("a:1\nerror: the server said no\n", "the list").expect_err("an error of a program");
        assert!(error.contains("the list, line 2: error: is no reference"), "{error}");
    }

    #[test]
    fn what_matches_nothing_is_said() {
        let digests = [sha256(b"there"), sha256(b"not")];
        let text = format!("h/app:1\nh/app:2\n{}\nx@{}\nx@{}", digests[0], digests[1], digests[0]);
        let list = ProtectList::parse(&text, "the list").expect("a list");
        let there = (RepositoryName::new("app"), TagName::new("1"));
        let of_tag = |name: &RepositoryName, tag: &TagName| ((name, tag) == (&there.0, &there.1)).then(Vec::new);
        let protected = list.matched(&of_tag, &|digest| *digest == digests[0]);
        assert_eq!(protected.unmatched, ["h/app:2".to_owned(), format!("x@{}", digests[1])]);
        assert_eq!((protected.matched, protected.tags.len(), protected.digests.len()), (3, 1, 1));
        assert!(protected.tags.contains(&there));
        // A tag that names nothing any more keeps what its history names.
        let protected = list.matched(&|_, _| Some(vec![digests[1]]), &|_| false);
        assert!(protected.digests.contains(&digests[1]));
    }
}
