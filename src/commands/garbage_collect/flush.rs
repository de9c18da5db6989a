//! What the registry's redis remembers that the store does not have, after a run beside no registry at work.

use super::super::caches::Caches;
use super::done::Done;
use crate::config::CollectSettings;
use crate::descriptor_cache::RedisCache;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::findings::Gathered;
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
        let flushed = match settings.flush_redis {
            true => cache.forget_gone(&mut |claimed| are_gone(reader, claimed), &mut self.quarantine.forgotten, reader.stop),
            false => self.note_stale(reader, &cache),
        };
        match flushed {
            Ok(()) => {}
            Err(error) if settings.flush_redis => self.note(&error),
            Err(error) => self.redis_unasked = Some(error.to_string()),
        }
    }

    /// Reports what the cache claims and the store does not have. Keeps no more of it than a report lists.
    fn note_stale(&mut self, reader: &Reader<'_>, cache: &RedisCache) -> Result<(), Error> {
        let stale = Gathered::default();
        let mut compare = |claimed: Vec<Target>| {
            let gone = are_gone(reader, &claimed)?;
            stale.add(claimed.iter().zip(gone).filter(|(_, is_gone)| *is_gone).map(|(target, _)| finding(target)).collect());
            Ok(())
        };
        cache.each_claim(&mut compare, reader.stop)?;
        self.stale = stale.into_findings();
        Ok(())
    }
}

/// Whether the store does not have what a cache claims.
fn are_gone(reader: &Reader<'_>, claimed: &[Target]) -> Result<Vec<bool>, Error> {
    let mut gone = Vec::with_capacity(claimed.len());
    let claimed: Vec<&Target> = claimed.iter().collect();
    stat_targets(reader.store(), &claimed, &mut |_, state| gone.push(state == FileState::Absent))?;
    Ok(gone)
}

fn finding(target: &Target) -> Finding {
    let mut finding = Finding::new(Code::StaleCache).path(target.path());
    finding.digest = target.digest().copied();
    finding.repository = target.repository().cloned();
    finding
}
