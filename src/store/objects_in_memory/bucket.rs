//! Requests and their answers.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::RunClock;
use crate::error::Error;
use crate::layout::OWN_DIRECTORY;
use crate::store::manifest_cache::ManifestCache;
use crate::store::memory::Node;
use crate::store::object::{
    self, If, KEYS_AT_ONCE, Level, Listed, Multipart, Object, Put, Refusal, Request, Requests, Seen, Sent, Told, Versions,
    etag_of,
};
use crate::store::{BlobContent, MemoryStore, Stat, Unseen};

/// A store in such a bucket.
pub(crate) type ObjectStore = object::ObjectStore<Bucket>;

/// Entries in the answer to one listing.
const PAGE: usize = 1000;

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing was done.
    Refused,
    /// All was done, and nobody was told.
    AnswerLost,
    /// From this one on nothing is changed but records of our own.
    Unchangeable,
}

/// Whether a key is a record, or the lock: it lies in our own directory, and no directory in that.
fn is_record(key: &Path) -> bool {
    key.parent().is_some_and(|directory| directory.ends_with(OWN_DIRECTORY))
}

/// What ETags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Etags {
    /// The MD5 of the content, as of a plain PUT.
    Md5,
    /// Something else, as of an upload in parts or with keys of the server's.
    Opaque,
}

/// What becomes of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// They are kept.
    #[default]
    Kept,
    /// Whatever they say, it is done.
    Ignored,
    /// A write with one is refused.
    Unsupported,
}

/// Keys, and what was asked for them.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(super) memory: MemoryStore,
    etags: Etags,
    seed: u64,
    requests: Mutex<Asked>,
    /// What is under keys of our own: a store has none of them.
    ours: Mutex<BTreeMap<PathBuf, Ours>>,
    server: Mutex<Server>,
}

#[derive(Clone, Debug)]
struct Ours {
    content: Vec<u8>,
    modified: SystemTime,
}

/// How the server behaves.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) conditions: Conditions,
    /// How far its clock is ahead.
    pub(super) ahead: Duration,
    /// Keys that it does not remove, and whether that passes.
    pub(super) keeps: BTreeMap<PathBuf, bool>,
    /// Multipart uploads that were begun, and what was sent of each.
    pub(super) multiparts: BTreeMap<Multipart, Sent>,
    /// Why it does not tell of them.
    pub(super) unseen: Option<Unseen>,
    /// The same of their parts alone.
    pub(super) parts_unseen: Option<Unseen>,
    /// Whether it lists them by a whole key alone.
    pub(super) lists_multiparts_by_key: bool,
    /// As many keys as it forgets to name in the answer to a removal.
    pub(super) unnamed: usize,
}

#[derive(Debug, Default)]
struct Asked {
    log: Vec<(Request, PathBuf)>,
    /// Which one fails, and how.
    fault: Option<(usize, Fails)>,
}

impl Bucket {
    pub(super) fn new(memory: MemoryStore, etags: Etags, seed: u64) -> Bucket {
        Bucket { memory, etags, seed, requests: Mutex::default(), ours: Mutex::default(), server: Mutex::default() }
    }

    fn ours(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Ours>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a key of our own, without a request.
    pub(super) fn has_ours(&self, key: &Path) -> bool {
        self.ours().contains_key(key)
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> SystemTime {
        RunClock::read().start() + self.server().ahead
    }

    /// The request of a change: the one that fails is refused for good, or its answer is lost.
    fn change<T>(&self, kind: Request, key: &Path, act: impl FnOnce() -> T) -> Result<T, Refusal> {
        self.request(kind, key, act).map_err(|error| {
            let passes = matches!(self.requests().fault, Some((_, Fails::AnswerLost)));
            Refusal { source: io::Error::other(error.to_string()), passes }
        })
    }

    fn holds(&self, key: &Path, condition: If<'_>) -> bool {
        let etag = self.ours().get(key).map(|ours| etag_of(&ours.content));
        match condition {
            If::Always => true,
            If::Absent => etag.is_none(),
            If::Is(wanted) => etag.as_deref() == Some(wanted),
        }
    }

    fn requests(&self) -> MutexGuard<'_, Asked> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the request of that number fail, counted from 1 and from now on, and forgets those before.
    pub(super) fn begin(&self, fault: Option<(usize, Fails)>) {
        *self.requests() = Asked { log: Vec::new(), fault };
    }

    /// What was asked, and about which key or prefix.
    pub(super) fn log(&self) -> Vec<(Request, PathBuf)> {
        self.requests().log.clone()
    }

    /// Carries out a request, unless it fails.
    pub(super) fn request<T>(&self, kind: Request, about: &Path, act: impl FnOnce() -> T) -> Result<T, Error> {
        let fails = {
            let mut requests = self.requests();
            requests.log.push((kind, about.to_owned()));
            let is_change = matches!(kind, Request::Put | Request::Delete) && !is_record(about);
            let is_hit = |number: usize, how| match how {
                Fails::Unchangeable => number <= requests.log.len() && is_change,
                Fails::Refused | Fails::AnswerLost => number == requests.log.len(),
            };
            requests.fault.filter(|(number, how)| is_hit(*number, *how)).map(|(_, how)| how)
        };
        match fails {
            None => return Ok(act()),
            Some(Fails::AnswerLost) => drop(act()),
            Some(Fails::Refused | Fails::Unchangeable) => {}
        }
        let operation = match kind {
            Request::List => "list",
            Request::Get => "read",
            Request::Head => "look at",
            Request::Put => "write",
            Request::Delete => "remove",
            Request::Settings => "look at",
        };
        let source = io::Error::from(io::ErrorKind::TimedOut);
        Err(Error::Io { operation, path: about.to_owned(), source })
    }

    /// Puts what was listed in another order than any other, the same each time.
    fn shuffle<T>(&self, prefix: &str, entries: &mut [T]) {
        let seed = prefix.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        fastrand::Rng::with_seed(seed).shuffle(entries);
    }

    /// Hands entries over as many requests tell them.
    fn pages<T: Clone>(&self, prefix: &str, mut entries: Vec<T>) -> Result<Vec<T>, Error> {
        self.shuffle(prefix, &mut entries);
        let mut told = Vec::with_capacity(entries.len());
        let mut pages = entries.chunks(PAGE);
        let mut page = pages.next().unwrap_or_default();
        loop {
            self.request(Request::List, Path::new(prefix), || told.extend_from_slice(page))?;
            match pages.next() {
                Some(next) => page = next,
                None => return Ok(told),
            }
        }
    }

    fn file(&self, key: &Path) -> Option<Node> {
        self.memory.node(key).filter(|node| node.content.is_some())
    }

    fn content(&self, key: &Path) -> Option<Vec<u8>> {
        let ours = self.ours().get(key).map(|ours| ours.content.clone());
        ours.or_else(|| self.file(key)?.content)
    }

    fn listed(&self, key: PathBuf, node: &Node) -> Listed {
        let content = node.content.as_deref().unwrap_or_default();
        let etag = match self.etags {
            Etags::Md5 => etag_of(content),
            Etags::Opaque => format!("{}-1", etag_of(key.as_os_str().as_encoded_bytes())),
        };
        Listed { key, size_bytes: content.len() as u64, modified: node.modified, etag }
    }
}

impl Requests for Bucket {
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), Error> {
        let keys =
            self.memory.nodes().into_iter().filter(|(key, _)| key.as_os_str().as_encoded_bytes().starts_with(prefix.as_bytes()));
        self.pages(prefix, keys.map(|(key, node)| self.listed(key, &node)).collect())?.into_iter().for_each(each);
        Ok(())
    }

    fn list_level(&self, prefix: &str) -> Result<Level, Error> {
        let directory = Path::new(prefix.trim_end_matches('/'));
        let mut entries: Vec<(PathBuf, bool)> = Vec::new();
        for (key, _) in self.memory.nodes() {
            let Ok(rest) = key.strip_prefix(directory) else { continue };
            let mut parts = rest.iter();
            let Some(first) = parts.next() else { continue };
            entries.push((directory.join(first), parts.next().is_none()));
        }
        entries.dedup();
        let (keys, prefixes): (Vec<_>, Vec<_>) = self.pages(prefix, entries)?.into_iter().partition(|(_, is_key)| *is_key);
        let paths = |entries: Vec<(PathBuf, bool)>| entries.into_iter().map(|(path, _)| path).collect();
        Ok(Level { keys: paths(keys), prefixes: paths(prefixes) })
    }

    fn head(&self, key: &Path) -> Result<Option<Listed>, Error> {
        self.request(Request::Head, key, || self.file(key).map(|node| self.listed(key.to_owned(), &node)))
    }

    fn get(&self, key: &Path, most: u64) -> Result<Option<Object>, Error> {
        let content = self.request(Request::Get, key, || self.content(key))?;
        let told = self.file(key).map(|node| self.listed(key.to_owned(), &node));
        let (modified, etag) = told.map_or((SystemTime::UNIX_EPOCH, String::new()), |told| (told.modified, told.etag));
        Ok(content.map(|mut content| {
            let size_bytes = content.len() as u64;
            content.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            Object { content, size_bytes, modified, etag }
        }))
    }

    fn read(&self, key: &Path, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        match self.request(Request::Get, key, || self.file(key)) {
            Ok(Some(Node { content: Some(bytes), modified, .. })) => match each(&bytes) {
                ControlFlow::Continue(()) => BlobContent::Whole(Stat::new(bytes.len() as u64, modified)),
                ControlFlow::Break(()) => BlobContent::Abandoned,
            },
            Ok(_) => BlobContent::Absent,
            Err(error) => BlobContent::Failed { offset: 0, source: io::Error::other(error.to_string()) },
        }
    }

    fn see(&self, key: &Path) -> Result<Option<Seen>, Error> {
        let ours = self.request(Request::Get, key, || self.ours().get(key).cloned())?;
        Ok(ours.map(|Ours { content, modified }| Seen { etag: etag_of(&content), content, modified, now: Some(self.now()) }))
    }

    fn put(&self, key: &Path, content: &[u8], condition: If<'_>) -> Result<Put, Refusal> {
        let conditions = self.server().conditions;
        if conditions == Conditions::Unsupported && condition != If::Always {
            return Err(Refusal { source: io::ErrorKind::Unsupported.into(), passes: false });
        }
        let modified = self.now();
        self.change(Request::Put, key, || {
            if conditions == Conditions::Kept && !self.holds(key, condition) {
                return Put::Refused;
            }
            self.ours().insert(key.to_owned(), Ours { content: content.to_owned(), modified });
            Put::Done(Some(etag_of(content)))
        })
    }

    fn delete(&self, keys: &[PathBuf], may_send: &dyn Fn() -> bool) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        assert!((1..=KEYS_AT_ONCE).contains(&keys.len()) && may_send(), "{} keys", keys.len());
        self.change(Request::Delete, &keys[0], || {
            let mut server = self.server();
            let unnamed = std::mem::take(&mut server.unnamed);
            let delete = |(index, key): (usize, &PathBuf)| {
                if let Some(passes) = server.keeps.get(key).copied() {
                    if passes {
                        server.keeps.remove(key);
                    }
                    return Err(Refusal { source: io::Error::other("the key is kept"), passes });
                }
                self.ours().remove(key);
                self.memory.forget(key);
                match index < unnamed {
                    true => Err(Refusal { source: io::Error::other("the answer does not name the key"), passes: true }),
                    false => Ok(()),
                }
            };
            keys.iter().enumerate().map(delete).collect()
        })
    }

    fn multiparts(&self, prefix: &str) -> Result<Told<Vec<Multipart>>, Error> {
        let (unseen, all, is_by_key) = {
            let server = self.server();
            (server.unseen, server.multiparts.clone(), server.lists_multiparts_by_key)
        };
        let is_listed = |multipart: &Multipart| {
            let key = multipart.key.to_string_lossy();
            if is_by_key { key == prefix } else { key.starts_with(prefix) }
        };
        if let Some(why) = unseen {
            return self.request(Request::List, Path::new(prefix), || Err(why));
        }
        self.pages(prefix, all.into_keys().filter(is_listed).collect()).map(Ok)
    }

    fn sent(&self, multipart: &Multipart) -> Result<Told<Option<Sent>>, Error> {
        let (unseen, sent) = {
            let server = self.server();
            (server.parts_unseen, server.multiparts.get(multipart).copied())
        };
        self.request(Request::List, &multipart.key, || unseen.map_or(Ok(sent), Err))
    }

    fn abort(&self, multipart: &Multipart) -> Result<(), Refusal> {
        self.change(Request::Delete, &multipart.key, || {
            self.server().multiparts.remove(multipart);
        })
    }

    fn versions(&self) -> Versions {
        Versions::None
    }

    fn pause(&self, _: u32) {}

    fn place_of(&self, key: &Path) -> PathBuf {
        key.to_owned()
    }
}

impl object::ObjectStore<Bucket> {
    /// A bucket that holds all files of a tree. Its listings come in another order for each seed.
    pub(crate) fn new(memory: MemoryStore, etags: Etags, seed: u64) -> ObjectStore {
        ObjectStore::of(Bucket::new(memory, etags, seed))
    }

    /// Ends the cache of manifests that there is, as the end of a run does, and begins with the one in a directory.
    pub(crate) fn set_cache(&mut self, directory: Option<&Path>) {
        self.cache = None;
        self.cache = directory.and_then(|directory| ManifestCache::open(directory, "a bucket in memory"));
    }

    /// The keys, and what they hold.
    pub(crate) fn memory(&self) -> &MemoryStore {
        &self.bucket.memory
    }

    /// Begins a multipart upload of which so much was sent, by that time.
    pub(crate) fn begin_multipart(
        &self,
        key: &Path,
        id: &str,
        initiated: SystemTime,
        (size_bytes, modified): (u64, Option<SystemTime>),
    ) {
        let multipart = Multipart { key: key.to_owned(), id: id.to_owned(), initiated };
        self.bucket.server().multiparts.insert(multipart, Sent { size_bytes, modified });
    }

    /// Counts requests from now on, and lets the one of that number fail, counted from 1.
    pub(crate) fn begin(&self, fault: Option<(usize, Fails)>) {
        self.bucket.begin(fault);
    }

    /// What was asked since then, in order, and about which key or prefix.
    pub(crate) fn log(&self) -> Vec<(Request, PathBuf)> {
        self.bucket.log()
    }
}

/// How many requests of each kind there are in a log.
pub(crate) fn counted<'l>(log: impl IntoIterator<Item = &'l (Request, PathBuf)>) -> BTreeMap<Request, usize> {
    let mut counts = BTreeMap::new();
    log.into_iter().for_each(|(kind, _)| *counts.entry(*kind).or_default() += 1);
    counts
}
