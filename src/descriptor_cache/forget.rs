//! What a redis claims of things that are gone, and its removal.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use redis::{Cmd, Connection, FromRedisValue, Pipeline, RedisError, RedisResult};

use super::connection::{Refused, connect, obstacle};
use super::keys::{self, OfRepository};
use crate::error::Error;
use crate::escape::escaped;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::registry_config::RedisServer;

/// Commands that are sent at once, and names in one command.
pub(super) const BATCH: usize = 500;
/// Keys that one step of a scan looks at.
const SCANNED: usize = 1000;

/// A redis in which registries remember blobs. Connects when it is first asked, and again where a connection was lost.
pub struct RedisCache {
    server: RedisServer,
    place: String,
    connection: Mutex<Option<Connection>>,
}

/// What was removed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Keys of blobs, and of what repositories say of them.
    pub keys: u64,
    /// Members of the sets of repositories.
    pub members: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Forgotten) {
        self.keys += other.keys;
        self.members += other.members;
    }
}

impl std::fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisCache({})", self.place)
    }
}

impl RedisCache {
    /// The cache in a server. Does not connect yet.
    pub fn new(server: RedisServer) -> RedisCache {
        RedisCache { place: server.to_string(), server, connection: Mutex::default() }
    }

    /// Which one it is: `redis://host:port/database`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Makes sure that it can be asked and made to forget things: each command that this may take is sent once, for keys that no registry has.
    /// That changes nothing. A server that only answers may be a replica, or forbid the rest.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn ensure_usable(&self) -> Result<(), Error> {
        self.with(|connection| {
            redis::cmd("PING").exec(connection)?;
            for command in probes() {
                command.exec(connection)?;
            }
            Ok(())
        })
    }

    /// Says of each target whether the cache claims it. Only blobs and layer links are ever claimed.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, or `stop` becomes true.
    pub fn claimed(&self, targets: &[&Target], stop: &AtomicBool) -> Result<Vec<bool>, Error> {
        self.with(|connection| Work { connection, stop }.claimed(targets))
    }

    /// Removes all keys that speak of the targets. Other keys are left alone.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, or `stop` becomes true: then some may be removed.
    pub fn forget(&self, targets: &[&Target], stop: &AtomicBool) -> Result<Forgotten, Error> {
        let mut forgotten = Forgotten::default();
        self.with(|connection| Work { connection, stop }.forget(targets, &mut forgotten))?;
        Ok(forgotten)
    }

    /// Does something that can be done twice: a server ends connections that rest.
    pub(super) fn with<T>(&self, mut work: impl FnMut(&mut Connection) -> Result<T, Failure>) -> Result<T, Error> {
        let refused = |(obstacle, reason): Refused| Error::Redis { server: self.place.clone(), reason, obstacle };
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let rested = held.take();
            let is_fresh = rested.is_none();
            let mut connection = rested.map_or_else(|| connect(&self.server).map_err(refused), Ok)?;
            match work(&mut connection) {
                Ok(done) => {
                    *held = Some(connection);
                    return Ok(done);
                }
                Err(Failure::Stopped) => return Err(Error::Interrupted),
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Redis(error)) if !is_fresh && error.is_connection_dropped() => {}
                Err(Failure::Redis(error)) => {
                    return Err(refused((obstacle(&error), escaped(error.to_string()))));
                }
            }
        }
    }
}

/// Why something was not done.
pub(super) enum Failure {
    Redis(RedisError),
    /// Of who is called back.
    Other(Error),
    Stopped,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        Failure::Redis(error)
    }
}

/// The commands that are sent to find and remove keys, for keys that are named as a registry's are and belong to none.
fn probes() -> impl Iterator<Item = Cmd> {
    let (blob, set) = (b"blobs::regsweep".as_slice(), b"repository::regsweep::blobs".as_slice());
    let with = |name: &str, words: &[&[u8]]| {
        let mut probe = redis::cmd(name);
        for word in words {
            probe.arg(*word);
        }
        probe
    };
    // Two keys at once: a part of a cluster may have one of them alone.
    [
        with("DEL", &[blob, set]),
        with("SREM", &[set, b"regsweep"]),
        with("SCAN", &[b"0", b"MATCH", blob, b"COUNT", b"1"]),
        with("SSCAN", &[set, b"0"]),
        with("SCARD", &[set]),
        with("EXISTS", &[blob]),
        with("SISMEMBER", &[set, b"regsweep"]),
        with("HGET", &[blob, b"digest"]),
    ]
    .into_iter()
}

/// The digests of blobs and the layer links among targets.
fn sorted<'t>(targets: &[&'t Target]) -> (HashSet<Digest>, Vec<(&'t RepositoryName, Digest)>) {
    let (mut blobs, mut links) = (HashSet::new(), Vec::new());
    for target in targets {
        match target {
            Target::Blob(digest) => drop(blobs.insert(*digest)),
            Target::Link(LinkDirectory::Layers(repository), digest) => links.push((repository, *digest)),
            _ => {}
        }
    }
    (blobs, links)
}

/// Something that is done over one connection.
pub(super) struct Work<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) stop: &'a AtomicBool,
}

/// What takes a page of names.
pub(super) type EachPage<'e, W> = dyn FnMut(&mut W, Vec<Vec<u8>>) -> Result<(), Failure> + 'e;

impl Work<'_> {
    fn claimed(mut self, targets: &[&Target]) -> Result<Vec<bool>, Failure> {
        let mut claimed = vec![false; targets.len()];
        for (batch, claimed) in targets.chunks(BATCH).zip(claimed.chunks_mut(BATCH)) {
            let (asked, claimed): (Vec<Cmd>, Vec<&mut bool>) =
                batch.iter().zip(claimed).filter_map(|(target, claimed)| Some((claim(target)?, claimed))).unzip();
            let answers = self.numbers(asked.into_iter())?;
            claimed.into_iter().zip(answers).for_each(|(claimed, answer)| *claimed = answer != 0);
        }
        let (blobs, _) = sorted(targets);
        if blobs.is_empty() {
            return Ok(claimed);
        }
        let stand_ins = self.aliases_of(&blobs)?;
        let by_alias: HashSet<Digest> = stand_ins.into_iter().map(|(_, blob)| blob).collect();
        for (claimed, target) in claimed.iter_mut().zip(targets) {
            *claimed |= matches!(target, Target::Blob(digest) if by_alias.contains(digest));
        }
        Ok(claimed)
    }

    fn forget(mut self, targets: &[&Target], forgotten: &mut Forgotten) -> Result<(), Failure> {
        let (mut blobs, links) = sorted(targets);
        // First what claims them: while it is there, a request sets the rest again.
        let mut claims = blobs.iter().map(keys::of_blob).peekable();
        while claims.peek().is_some() {
            forgotten.keys += self.delete(&claims.by_ref().take(BATCH).collect::<Vec<_>>())?;
        }
        if !blobs.is_empty() {
            let aliases: Vec<Vec<u8>> = self.aliases_of(&blobs)?.into_iter().map(|(key, _)| key).collect();
            forgotten.keys += self.delete(&aliases)?;
            blobs.extend(aliases.iter().filter_map(|key| keys::alias(key)));
            self.forget_in_repositories(&blobs, forgotten)?;
        }
        for batch in links.chunks(BATCH) {
            let removals = batch.iter().map(|(repository, digest)| {
                let mut remove = redis::cmd("SREM");
                remove.arg(keys::members(repository)).arg(digest.to_string());
                remove
            });
            forgotten.members += self.numbers(removals)?.into_iter().sum::<u64>();
            let scoped: Vec<Vec<u8>> = batch.iter().map(|(repository, digest)| keys::scoped(repository, digest)).collect();
            forgotten.keys += self.delete(&scoped)?;
        }
        Ok(())
    }

    /// Removes blobs from what all repositories say.
    fn forget_in_repositories(&mut self, blobs: &HashSet<Digest>, forgotten: &mut Forgotten) -> Result<(), Failure> {
        self.each_page(keys::OF_REPOSITORIES, &mut |work, page| {
            let (mut scoped, mut sets) = (Vec::new(), Vec::new());
            for key in page {
                match keys::of_repository(&key) {
                    Some(OfRepository::Scoped(digest)) if blobs.contains(&digest) => scoped.push(key),
                    Some(OfRepository::Members) => sets.push(key),
                    Some(OfRepository::Scoped(_)) | None => {}
                }
            }
            forgotten.keys += work.delete(&scoped)?;
            let sizes = work.numbers(sets.iter().map(|set| command("SCARD", set)))?;
            for (set, size) in sets.iter().zip(sizes) {
                forgotten.members += work.forget_members(set, size, blobs)?;
            }
            Ok(())
        })
    }

    /// Removes blobs from the set of a repository: by name, or where there are more of them than members, those that are found in it.
    fn forget_members(&mut self, set: &[u8], size: u64, blobs: &HashSet<Digest>) -> Result<u64, Failure> {
        let remove = |members: &mut dyn Iterator<Item = Vec<u8>>| {
            let mut remove = command("SREM", set);
            for member in members {
                remove.arg(member);
            }
            remove
        };
        let mut removed = 0;
        if blobs.len() as u64 <= size {
            let mut names = blobs.iter().map(|digest| digest.to_string().into_bytes()).peekable();
            while names.peek().is_some() {
                removed += self.number(remove(&mut names.by_ref().take(BATCH)))?;
            }
            return Ok(removed);
        }
        if size == 0 {
            return Ok(0);
        }
        let mut cursor = 0;
        loop {
            self.goes_on()?;
            let (next, members) = self.scan_set(set, cursor)?;
            let found: Vec<Vec<u8>> = members
                .into_iter()
                .filter(|member| Digest::parse(member).is_some_and(|digest| blobs.contains(&digest)))
                .collect();
            if !found.is_empty() {
                removed += self.number(remove(&mut found.into_iter()))?;
            }
            match next {
                0 => return Ok(removed),
                next => cursor = next,
            }
        }
    }

    /// The keys of digests that stand for one of these blobs, and for which.
    fn aliases_of(&mut self, blobs: &HashSet<Digest>) -> Result<Vec<(Vec<u8>, Digest)>, Failure> {
        let mut found = Vec::new();
        self.each_page(keys::OF_ALIASES, &mut |work, page| {
            for batch in page.chunks(BATCH) {
                let named = work.texts(batch.iter().map(|key| hash_digest(key)))?;
                for (key, named) in batch.iter().zip(named) {
                    let named = named.and_then(|text| Digest::parse(&text));
                    found.extend(named.filter(|digest| blobs.contains(digest)).map(|digest| (key.clone(), digest)));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn delete(&mut self, keys: &[Vec<u8>]) -> Result<u64, Failure> {
        let mut deleted = 0;
        for batch in keys.chunks(BATCH) {
            let mut delete = redis::cmd("DEL");
            for key in batch {
                delete.arg(key);
            }
            deleted += self.number(delete)?;
        }
        Ok(deleted)
    }

    /// Takes all keys that match, page by page.
    pub(super) fn each_page(&mut self, pattern: &str, each: &mut EachPage<'_, Self>) -> Result<(), Failure> {
        let mut cursor = 0;
        loop {
            let (next, page) = self.scan(cursor, pattern)?;
            each(self, page)?;
            match next {
                0 => return Ok(()),
                next => cursor = next,
            }
        }
    }

    /// The same of the members of a set. What is none has no members.
    pub(super) fn each_page_of(&mut self, set: &[u8], each: &mut EachPage<'_, Self>) -> Result<(), Failure> {
        let mut cursor = 0;
        loop {
            self.goes_on()?;
            let (next, members) = of_another_type(self.scan_set(set, cursor), (0, Vec::new()))?;
            each(self, members)?;
            match next {
                0 => return Ok(()),
                next => cursor = next,
            }
        }
    }

    /// One step through all keys: where the next one begins, 0 at the end, and the keys that match.
    fn scan(&mut self, cursor: u64, pattern: &str) -> Result<(u64, Vec<Vec<u8>>), Failure> {
        self.goes_on()?;
        let mut scan = redis::cmd("SCAN");
        Ok(scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCANNED).query(self.connection)?)
    }

    /// The same through the members of a set.
    fn scan_set(&mut self, set: &[u8], cursor: u64) -> RedisResult<(u64, Vec<Vec<u8>>)> {
        command("SSCAN", set).arg(cursor).arg("COUNT").arg(SCANNED).query(self.connection)
    }

    pub(super) fn number(&mut self, command: Cmd) -> Result<u64, Failure> {
        Ok(self.numbers([command].into_iter())?.into_iter().sum())
    }

    /// The numbers that commands are answered with, sent at once.
    pub(super) fn numbers(&mut self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<u64>, Failure> {
        self.answers(commands)?.into_iter().map(|answer| of_another_type(answer, 0)).collect()
    }

    /// The texts that commands are answered with.
    pub(super) fn texts(&mut self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        self.answers(commands)?.into_iter().map(|answer| of_another_type(answer, None)).collect()
    }

    fn answers<T: FromRedisValue>(&mut self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<RedisResult<T>>, Failure> {
        self.goes_on()?;
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        match pipeline.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(pipeline.ignore_errors().query(self.connection)?),
        }
    }

    pub(super) fn goes_on(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// A key of a type that no registry gives it claims nothing.
pub(super) fn of_another_type<T>(answer: RedisResult<T>, nothing: T) -> Result<T, Failure> {
    match answer {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(nothing),
        answer => Ok(answer?),
    }
}

/// What asks whether a target is claimed; nothing for what never is.
fn claim(target: &Target) -> Option<Cmd> {
    match target {
        Target::Blob(digest) => Some(command("EXISTS", &keys::of_blob(digest))),
        Target::Link(LinkDirectory::Layers(repository), digest) => {
            let mut ask = command("SISMEMBER", &keys::members(repository));
            ask.arg(digest.to_string());
            Some(ask)
        }
        _ => None,
    }
}

/// What asks which digest a hash names.
pub(super) fn hash_digest(key: &[u8]) -> Cmd {
    let mut ask = command("HGET", key);
    ask.arg("digest");
    ask
}

pub(super) fn command(name: &str, key: &[u8]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}
