//! What the registry's redis remembers that the store does not have, after a run beside no registry at work.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::super::assess::Assessment;
use super::super::caches::Caches;
use super::done::Done;
use crate::config::CollectSettings;
use crate::descriptor_cache::{AreGone, RedisCache};
use crate::error::{Error, RedisObstacle};
use crate::finding::{Code, Finding};
use crate::findings::Gathered;
use crate::layout::Target;
use crate::plan::Kind;
use crate::quarantine::Reader;
use crate::report::collect::RedisUnasked;
use crate::store::{FileState, stat_targets};

impl Done {
    /// Removes it if that is wanted, and reports it otherwise.
    pub(super) fn flush(&mut self, settings: &CollectSettings, reader: &Reader<'_>, caches: &Caches) {
        let cache = match &caches.redis {
            None => return,
            Some(Err(why)) => {
                self.redis_unasked = Some(RedisUnasked { why: why.clone(), is_flushable: true });
                return;
            }
            Some(Ok(server)) => RedisCache::new(server.clone()),
        };
        let flushed = match settings.flush_redis {
            true => cache.forget_gone(&mut |claimed| are_gone(reader, claimed), &mut self.quarantine.forgotten, reader.stop),
            false => self.note_stale(&cache, &mut |claimed| are_gone(reader, claimed), reader.stop),
        };
        match flushed {
            Ok(()) => {}
            Err(error) if settings.flush_redis => self.note(&error),
            Err(error) => self.redis_unasked = Some(unasked(&error)),
        }
    }

    /// Reports what a run with `--flush-redis` would remove: what is claimed and not there, or not there any more after that run.
    pub(super) fn foresee_flush(&mut self, reader: &Reader<'_>, caches: &Caches, assessment: &Assessment) {
        let Some(cache) = caches.cache() else { return };
        let planned: HashSet<Target> = assessment.plan.of_kind(Kind::LayerLink).map(|row| row.target).collect();
        let mut are_going = |claimed: &[Target]| {
            let mut going = are_gone(reader, claimed)?;
            for (is_going, target) in going.iter_mut().zip(claimed) {
                let is_planned = match target {
                    Target::Blob(digest) => assessment.plan.has_blob(digest),
                    target => planned.contains(target),
                };
                *is_going = (*is_going && !assessment.needed.targets.contains(target)) || is_planned;
            }
            Ok(going)
        };
        if let Err(error) = self.note_stale(&cache, &mut are_going, reader.stop) {
            self.redis_unasked = Some(unasked(&error));
        }
    }

    /// Reports what the cache claims and the store does not have. Keeps no more of it than a report lists.
    fn note_stale(&mut self, cache: &RedisCache, are_gone: &mut AreGone<'_>, stop: &AtomicBool) -> Result<(), Error> {
        let stale = Gathered::default();
        let mut compare = |claimed: Vec<Target>| {
            let gone = are_gone(&claimed)?;
            stale.add(claimed.iter().zip(gone).filter(|(_, is_gone)| *is_gone).map(|(target, _)| finding(target)).collect());
            Ok(())
        };
        cache.each_claim(&mut compare, stop)?;
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

/// Why a redis could not be asked. One that never can be is not flushed either.
fn unasked(error: &Error) -> RedisUnasked {
    let is_flushable = !matches!(error, Error::Redis { obstacle: RedisObstacle::Cluster, .. });
    RedisUnasked { why: error.to_string(), is_flushable }
}

fn finding(target: &Target) -> Finding {
    let mut finding = Finding::new(Code::StaleCache).path(target.path());
    finding.digest = target.digest().copied();
    finding.repository = target.repository().cloned();
    finding
}
