//! Requests and their answers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use md5::{Digest as _, Md5};

use crate::error::Error;
use crate::store::memory::Node;
use crate::store::{MemoryStore, Stat};

/// Entries in the answer to one listing.
const PAGE: usize = 1000;

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
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
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing was done.
    Refused,
    /// All was done, and nobody was told.
    AnswerLost,
}

/// What ETags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Etags {
    /// The MD5 of the content, as of a plain PUT.
    Md5,
    /// Something else, as of an upload in parts or with keys of the server's.
    Opaque,
}

/// A key, as a listing tells it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) key: PathBuf,
    pub(super) size_bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) etag: String,
}

impl Listed {
    pub(super) fn stat(&self) -> Stat {
        Stat::new(self.size_bytes, self.modified)
    }
}

/// One level of a listing.
pub(super) struct Level {
    pub(super) keys: Vec<PathBuf>,
    /// What keys further down have in common up to the next slash, without that.
    pub(super) prefixes: Vec<PathBuf>,
}

/// Keys, and what was asked for them.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) memory: MemoryStore,
    etags: Etags,
    seed: u64,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    log: Vec<(Request, PathBuf)>,
    /// Which one fails, and how.
    fault: Option<(usize, Fails)>,
}

/// The ETag that a content has if it was put in one go.
pub(super) fn etag_of(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Bucket {
    pub(super) fn new(memory: MemoryStore, etags: Etags, seed: u64) -> Bucket {
        Bucket { memory, etags, seed, requests: Mutex::default() }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the request of that number fail, counted from 1 and from now on, and forgets those before.
    pub(super) fn begin(&self, fault: Option<(usize, Fails)>) {
        *self.requests() = Requests { log: Vec::new(), fault };
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
            requests.fault.filter(|(number, _)| *number == requests.log.len()).map(|(_, how)| how)
        };
        match fails {
            None => return Ok(act()),
            Some(Fails::AnswerLost) => drop(act()),
            Some(Fails::Refused) => {}
        }
        let operation = match kind {
            Request::List => "list",
            Request::Get => "read",
            Request::Head => "look at",
            Request::Put => "write",
            Request::Delete => "remove",
        };
        let source = io::Error::from(io::ErrorKind::TimedOut);
        Err(Error::Io { operation, path: about.to_owned(), source })
    }

    /// All keys that begin so, in pages and in no order.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let keys =
            self.memory.nodes().into_iter().filter(|(key, _)| key.as_os_str().as_encoded_bytes().starts_with(prefix.as_bytes()));
        self.pages(prefix, keys.map(|(key, node)| self.listed(key, &node)).collect())
    }

    /// The keys that begin so without another slash, and what the others have in common up to the next one. `prefix` ends with a slash.
    pub(super) fn list_level(&self, prefix: &str) -> Result<Level, Error> {
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

    /// Puts what was listed in another order than any other, the same each time.
    pub(super) fn shuffle<T>(&self, prefix: &str, entries: &mut [T]) {
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

    /// Size, time and ETag of one key; nothing if there is none.
    pub(super) fn head(&self, key: &Path) -> Result<Option<Listed>, Error> {
        self.request(Request::Head, key, || self.file(key).map(|node| self.listed(key.to_owned(), &node)))
    }

    /// What lies under a key; nothing if there is none.
    pub(super) fn get(&self, key: &Path) -> Result<Option<Node>, Error> {
        self.request(Request::Get, key, || self.file(key))
    }

    /// Removes up to 1,000 keys. Those that are not there count as removed.
    pub(super) fn delete(&self, keys: &[PathBuf]) -> Result<(), Error> {
        self.request(Request::Delete, &keys[0], || keys.iter().for_each(|key| self.memory.forget(key)))
    }

    fn file(&self, key: &Path) -> Option<Node> {
        self.memory.node(key).filter(|node| node.content.is_some())
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
