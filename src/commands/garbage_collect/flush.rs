//! What the registry's redis remembers that the store does not have, after a run beside no registry at work.

use std::collections::BTreeSet;

use super::super::caches::Caches;
use super::done::Done;
use crate::config::CollectSettings;
use crate::descriptor_cache::RedisCache;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::Target;
use crate::quarantine::Reader;
use crate::store::{FileState, stat_targets};

impl Done {
    /// Removes it if that is wanted, and reports it otherwise.
    pub(super) fn flush(&mut self, settings: &CollectSettings, reader: &Reader<'_>, caches: &Caches) {
        let cache = match &caches.redis {
            None => return,
            Some(Err(why)) => {
                self.redis_unasked = Some(why.clone());
                return;
            }
            Some(Ok(server)) => RedisCache::new(server.clone()),
        };
        let flushed = stale(reader, &cache).and_then(|stale| {
            if settings.flush_redis {
                let targets: Vec<&Target> = stale.iter().collect();
                self.quarantine.forgotten += cache.forget(&targets, reader.stop)?;
            } else {
                self.stale.extend(stale.iter().map(finding));
            }
            Ok(())
        });
        match flushed {
            Ok(()) => {}
            Err(error) if settings.flush_redis => self.note(&error),
            Err(error) => self.redis_unasked = Some(error.to_string()),
        }
    }
}

/// What it claims and the store does not have.
fn stale(reader: &Reader<'_>, cache: &RedisCache) -> Result<BTreeSet<Target>, Error> {
    let mut stale = BTreeSet::new();
    let mut compare = |claimed: Vec<Target>| {
        let claimed: Vec<&Target> = claimed.iter().collect();
        stat_targets(reader.store(), &claimed, &mut |target, state| {
            if state == FileState::Absent {
                stale.insert(target.clone());
            }
        })
    };
    cache.each_claim(&mut compare, reader.stop)?;
    Ok(stale)
}

fn finding(target: &Target) -> Finding {
    let mut finding = Finding::new(Code::StaleCache).digest(target.digest()).path(target.path());
    finding.repository = target.repository().cloned();
    finding
}
