//! What is asked of a bucket, and what it answers.

use std::fmt;
use std::hash::BuildHasher as _;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use foldhash::HashSet;
use foldhash::fast::RandomState;
use serde::Serialize;

use crate::error::Error;
use crate::store::{BlobContent, Stat, Unseen};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// A page of a listing.
    List,
    /// Content.
    Get,
    /// Size, time and ETag of one key.
    Head,
    /// Another content, or another name.
    Put,
    /// Up to 1,000 keys go.
    Delete,
    /// What the bucket is set to.
    Settings,
}

/// How many requests were sent, by kind; repeated ones count each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// Pages of listings.
    pub list: u64,
    /// Reads of content.
    pub get: u64,
    /// Looks at one key.
    pub head: u64,
    /// Everything else.
    pub other: u64,
}

/// A key, as an answer tells it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Relative to the registry's root.
    pub(crate) key: PathBuf,
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
    /// Without quotation marks; empty if the server tells none.
    pub(crate) etag: String,
}

impl Listed {
    pub(crate) fn stat(&self) -> Stat {
        Stat::new(self.size_bytes, self.modified)
    }
}

/// One level of a listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    pub(crate) keys: Vec<PathBuf>,
    /// What keys further down have in common up to the next slash, without that.
    pub(crate) prefixes: Vec<PathBuf>,
}

/// What lies under a key.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// The first bytes: all, or as many as were asked for.
    pub(crate) content: Vec<u8>,
    /// How many there are.
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
    /// As in [`Listed`].
    pub(crate) etag: String,
}

/// A small object, and what the server says of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) content: Vec<u8>,
    /// As it is in a condition.
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
    /// The time by the server's clock, if it reports that.
    pub(crate) now: Option<SystemTime>,
}

/// The condition under which content replaces what lies under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum If<'a> {
    /// None.
    Always,
    /// Nothing lies there.
    Absent,
    /// What lies there has this ETag.
    Is(&'a str),
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// Done; with the new ETag, if the answer has it.
    Done(Option<String>),
    /// The condition does not hold.
    Refused,
}

/// A multipart upload that was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Multipart {
    /// What it becomes, relative to the registry's root.
    pub(crate) key: PathBuf,
    /// What the server calls it.
    pub(crate) id: String,
    /// When it was begun.
    pub(crate) initiated: SystemTime,
}

/// What was sent of a multipart upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) size_bytes: u64,
    /// When the last part was sent, if any was.
    pub(crate) modified: Option<SystemTime>,
}

/// What a server says of multipart uploads, or why it says nothing of them.
pub(crate) type Told<T> = Result<T, Unseen>;

/// Why a change was refused, or could not be made.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the server said, and what to do.
    pub(crate) source: io::Error,
    /// Whether the same may succeed later. Then nothing is known: the request may have been carried out.
    pub(crate) passes: bool,
}

/// Whether a bucket keeps what is removed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// It does not.
    None,
    /// A removed key stays as a noncurrent version, and its bytes with it.
    Kept,
    /// The server does not say; why not.
    Unknown(String),
}

/// The largest number of keys in one removing request.
pub(crate) const KEYS_AT_ONCE: usize = 1000;
/// How often a change is requested again that may succeed later.
const RETRIES: u32 = 5;

/// Requests to a bucket. A request that fails for good is an [`Error::Io`] with the key, what the server said, and what to do.
pub(crate) trait Requests: fmt::Debug + Send + Sync {
    /// Calls `each` with all keys that begin so, in any order.
    ///
    /// # Errors
    ///
    /// When a page cannot be had, or does not follow from the one before it. Some keys were handed over then.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), Error>;

    /// The keys that begin so without another slash, and what the others have in common up to the next one. `prefix` ends with a slash.
    ///
    /// # Errors
    ///
    /// As above.
    fn list_level(&self, prefix: &str) -> Result<Level, Error>;

    /// Size, time and ETag of one key; nothing if there is none.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn head(&self, key: &Path) -> Result<Option<Listed>, Error>;

    /// Up to `most` bytes of what lies under a key, and how many there are; nothing if there is no such key.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not as long as the answer says.
    fn get(&self, key: &Path, most: u64) -> Result<Option<Object>, Error>;

    /// Reads what lies under a key from its beginning to its end, part by part, until `each` breaks off.
    fn read(&self, key: &Path, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent;

    /// Reads a small object, with its ETag and the server's time; nothing if there is no such key.
    ///
    /// # Errors
    ///
    /// As for [`Requests::get`].
    fn see(&self, key: &Path) -> Result<Option<Seen>, Error>;

    /// Puts content under a key, by one request that is not sent again.
    ///
    /// # Errors
    ///
    /// When that is refused for another reason than the condition, or nothing is known of it. A server that does not
    /// support the condition answers [`io::ErrorKind::Unsupported`].
    fn put(&self, key: &Path, content: &[u8], condition: If<'_>) -> Result<Put, Refusal>;

    /// Removes up to [`KEYS_AT_ONCE`] keys, by requests that are not sent again, and answers for each in that order. A
    /// key that does not exist counts as removed. None is sent unless `may_send`.
    ///
    /// # Errors
    ///
    /// When the whole request is refused, or nothing is known of it.
    fn delete(&self, keys: &[PathBuf], may_send: &dyn Fn() -> bool) -> Result<Vec<Result<(), Refusal>>, Refusal>;

    /// The multipart uploads that were begun and not ended, of all keys that begin so.
    ///
    /// # Errors
    ///
    /// When the server does not answer. One that has no such request, or may not be asked that, says so.
    fn multiparts(&self, prefix: &str) -> Result<Told<Vec<Multipart>>, Error>;

    /// What was sent of one; nothing if it is not there any more.
    ///
    /// # Errors
    ///
    /// As above.
    fn sent(&self, multipart: &Multipart) -> Result<Told<Option<Sent>>, Error>;

    /// Ends one, and what was sent of it goes, by one request that is not sent again. One that is not there any more counts as ended.
    ///
    /// # Errors
    ///
    /// When that is refused, or nothing is known of it.
    fn abort(&self, multipart: &Multipart) -> Result<(), Refusal>;

    /// Whether the bucket keeps what is removed.
    fn versions(&self) -> Versions;

    /// Waits before a request is sent again for the `tries`th time.
    fn pause(&self, tries: u32);

    /// Where a key is, for people.
    fn place_of(&self, key: &Path) -> PathBuf;
}

/// Puts content under a key, and tries again while that may help. With a condition a second try may meet the result of
/// the first one.
///
/// # Errors
///
/// As for [`Requests::put`].
pub(super) fn put(requests: &dyn Requests, key: &Path, content: &[u8], condition: If<'_>) -> Result<Put, Refusal> {
    retried(requests, || requests.put(key, content, condition))
}

/// Removes one key, and tries again while that may help.
///
/// # Errors
///
/// As for [`Requests::delete`].
pub(super) fn delete_one(requests: &dyn Requests, key: &Path) -> Result<(), Refusal> {
    let unanswered = || Refusal { source: io::Error::other("the answer does not name the key"), passes: false };
    let delete = || requests.delete(&[key.to_owned()], &|| true)?.pop().unwrap_or_else(|| Err(unanswered()));
    retried(requests, delete)
}

fn retried<T>(requests: &dyn Requests, mut request: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let mut tries = 0;
    loop {
        match request() {
            Err(refusal) if refusal.passes && tries < RETRIES => {
                tries += 1;
                requests.pause(tries);
            }
            other => return other,
        }
    }
}

/// Whether a key can be taken for a path: one that has no parts that a path does without. Of two keys that differ only in those, paths would
/// make one.
pub(super) fn is_path(key: &Path) -> bool {
    key.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// The keys of one listing. No key comes twice in one: a page that did was answered twice.
#[derive(Default)]
pub(super) struct Distinct {
    /// By hash: ten bytes a key. Two of ten million keys have the same one once in half a million listings.
    hashes: HashSet<u64>,
    random: RandomState,
    again: Option<PathBuf>,
}

impl Distinct {
    fn hash(&self, key: &Path) -> u64 {
        self.random.hash_one(key.as_os_str())
    }

    /// Notes a key.
    pub(super) fn insert(&mut self, key: &Path) {
        if !self.hashes.insert(self.hash(key)) {
            self.again.get_or_insert_with(|| key.to_owned());
        }
    }

    pub(super) fn contains(&self, key: &Path) -> bool {
        self.hashes.contains(&self.hash(key))
    }

    /// # Errors
    ///
    /// When a key came twice.
    pub(super) fn ensure(self, requests: &dyn Requests, prefix: &str) -> Result<(), Error> {
        let Some(key) = self.again else { return Ok(()) };
        let why = format!(
            "the listing has {} twice: the server, or a proxy before it, repeats pages; run again, and if that stays so ask past the proxy",
            crate::escape::escaped(key)
        );
        Err(Error::Io { operation: "list", path: requests.place_of(Path::new(prefix)), source: io::Error::other(why) })
    }
}

/// All keys that begin so.
///
/// # Errors
///
/// When they cannot be listed, or one comes twice.
pub(super) fn listed(requests: &dyn Requests, prefix: &str) -> Result<Vec<Listed>, Error> {
    let (mut all, mut distinct) = (Vec::new(), Distinct::default());
    requests.list(prefix, &mut |listed| {
        distinct.insert(&listed.key);
        all.push(listed);
    })?;
    distinct.ensure(requests, prefix)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers these keys to any listing.
    #[derive(Debug)]
    struct Answers(Vec<&'static str>);

    impl Requests for Answers {
        fn list(&self, _: &str, each: &mut dyn FnMut(Listed)) -> Result<(), Error> {
            let listed = |key: &&str| Listed {
                key: PathBuf::from(key),
                size_bytes: 1,
                modified: SystemTime::UNIX_EPOCH,
                etag: String::new(),
            };
            self.0.iter().map(listed).for_each(each);
            Ok(())
        }

        fn list_level(&self, _: &str) -> Result<Level, Error> {
            Ok(Level::default())
        }

        fn head(&self, _: &Path) -> Result<Option<Listed>, Error> {
            Ok(None)
        }

        fn get(&self, _: &Path, _: u64) -> Result<Option<Object>, Error> {
            Ok(None)
        }

        fn read(&self, _: &Path, _: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
            BlobContent::Absent
        }

        fn see(&self, _: &Path) -> Result<Option<Seen>, Error> {
            Ok(None)
        }

        fn put(&self, _: &Path, _: &[u8], _: If<'_>) -> Result<Put, Refusal> {
            Ok(Put::Refused)
        }

        fn delete(&self, _: &[PathBuf], _: &dyn Fn() -> bool) -> Result<Vec<Result<(), Refusal>>, Refusal> {
            Ok(Vec::new())
        }

        fn multiparts(&self, _: &str) -> Result<Told<Vec<Multipart>>, Error> {
            Ok(Ok(Vec::new()))
        }

        fn sent(&self, _: &Multipart) -> Result<Told<Option<Sent>>, Error> {
            Ok(Ok(None))
        }

        fn abort(&self, _: &Multipart) -> Result<(), Refusal> {
            Ok(())
        }

        fn versions(&self) -> Versions {
            Versions::None
        }

        fn pause(&self, _: u32) {}

        fn place_of(&self, key: &Path) -> PathBuf {
            Path::new("s3://bucket").join(key)
        }
    }

    #[test]
    fn a_page_that_is_answered_twice_is_no_listing() {
        let keys = vec!["a/b", "a//b", "a/./b", "a/b/"];
        let all = listed(&Answers(keys.clone()), "a").expect("of these, no two are the same");
        assert_eq!(all.len(), keys.len());
        let error = listed(&Answers(["a/c", "a/b", "a/c"].to_vec()), "a").expect_err("twice").to_string();
        assert!(error.starts_with("cannot list s3://bucket/a: the listing has a/c twice"), "{error}");
    }

    #[test]
    fn a_key_is_a_path_if_no_other_key_makes_the_same() {
        for (key, expected) in [
            ("a/b", true),
            ("a/b.c/..d", true),
            ("a//b", false),
            ("a/./b", false),
            ("a/../b", false),
            ("a/b/", false),
            ("/a", false),
            ("", false),
        ] {
            assert_eq!(is_path(Path::new(key)), expected, "{key}");
        }
    }
}
