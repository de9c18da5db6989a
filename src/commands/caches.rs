//! Where registries remember blobs, and the redis that is made to forget them.

use crate::config::Location;
use crate::descriptor_cache::RedisCache;
use crate::error::Error;
use crate::quarantine::{Due, Reader};
use crate::registry_config::{DescriptorCache, RedisServer};
use crate::store::Root;
use crate::writers::{self, CachesSeen};

/// Where the registries of a store remember blobs.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// In the memory of one of them, or perhaps there.
    pub(super) in_memory: Option<DescriptorCache>,
    /// In a redis, which outlives them; or why that cannot be made to forget anything.
    pub(super) redis: Option<Result<RedisServer, String>>,
}

impl Caches {
    fn new((configured, redis): (Option<DescriptorCache>, Option<RedisServer>), seen: CachesSeen) -> Caches {
        let mut servers: Vec<RedisServer> = Vec::new();
        for server in redis.into_iter().chain(seen.redis) {
            match servers.iter_mut().find(|known| known.to_string() == server.to_string()) {
                // A variable of the registry may have it, and not the file.
                Some(known) if known.login.password.is_none() => *known = server,
                Some(_) => {}
                None => servers.push(server),
            }
        }
        let named = |all: &[RedisServer]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Caches {
            in_memory: configured.filter(|cache| *cache != DescriptorCache::Redis).max(seen.in_memory),
            redis: match &*servers {
                [] => None,
                [server] => Some(Ok(server.clone())),
                several => Some(Err(format!("registries of this store remember blobs in {}", named(several)))),
            },
        }
    }

    /// By the configuration as it was read, and beside a registry at work by what is seen.
    pub(super) fn at_start(location: &Location, root: Option<&Root>, is_online: bool) -> Caches {
        let seen = if is_online { writers::caches_seen(root) } else { CachesSeen::default() };
        Caches::new((location.descriptor_cache(), location.redis().cloned()), seen)
    }

    /// By the configuration as it is by now, and by what is seen of registries at work.
    pub(super) fn now(reader: &Reader<'_>, location: &Location) -> Caches {
        Caches::new(location.descriptor_cache_now(), writers::caches_seen(reader.backend.root()))
    }

    /// The one that remembers longest, for people.
    pub(super) fn longest(&self) -> Option<DescriptorCache> {
        self.in_memory.max(self.redis.as_ref().map(|_| DescriptorCache::Redis))
    }

    /// The redis, if there is one that can be made to forget.
    pub(super) fn cache(&self) -> Option<RedisCache> {
        self.redis.as_ref()?.as_ref().ok().cloned().map(RedisCache::new)
    }

    /// Makes sure that what they remember can be made to be forgotten, by a restart or by removing keys.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub(super) fn ensure_forgetful(&self, online: &str) -> Result<(), Error> {
        let Some(Err(why)) = &self.redis else { return Ok(()) };
        let reason = format!("{why}, and only one can be made to forget what is quarantined");
        // Each of them outlives its registry.
        let lift = format!(
            "let all of them have one configuration and restart them; or stop them, and before any is started collect without {online} and \
             with --flush-redis, once with the configuration of each"
        );
        Err(Error::Brake { reason, lift })
    }
}

/// What registries at work may remember things in that have been moved by now.
#[derive(Clone, Copy)]
pub(super) struct Remembering<'a> {
    /// In the memory of one of them.
    pub(super) in_memory: Option<DescriptorCache>,
    /// In the redis that is connected to.
    pub(super) redis: Option<&'a RedisCache>,
}

impl<'a> Remembering<'a> {
    /// As of now. A redis that is another one than is connected to is not made to forget anything: the next run sees to it.
    pub(super) fn now(reader: &Reader<'_>, location: &Location, due: Option<Due<'a>>) -> Remembering<'a> {
        let caches = Caches::now(reader, location);
        let connected = due.and_then(|due| due.redis.beside());
        let redis = connected.filter(|redis| matches!(&caches.redis, Some(Ok(server)) if server.to_string() == redis.place()));
        Remembering { in_memory: caches.in_memory, redis }
    }

    /// Nowhere.
    pub(super) fn nowhere() -> Remembering<'static> {
        Remembering { in_memory: None, redis: None }
    }
}
