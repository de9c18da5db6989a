//! `regsweep quarantine purge`: what is in quarantine and not needed goes for good.

use std::cell::LazyCell;
use std::time::Duration;

use super::super::brakes::{ENOUGH, shrunk_lift};
use super::super::caches::{Caches, Remembering};
use super::super::owners;
use super::super::reconcile::{self, Waits};
use super::super::watched::Watched;
use super::{Acted, memory};
use crate::config::{QuarantineSettings, Wanted};
use crate::descriptor_cache::{Forgotten, RedisCache};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::duration;
use crate::oci::RepositoryName;
use crate::policy::RootPolicy;
use crate::progress::Phase;
use crate::quarantine::{self, Due, Gate, InRedis, Memory, Moved, Needed, Purged, Purpose, Quarantine, Reader, Run, Wait};
use crate::records::{Records, Summary};
use crate::report::quarantine::Done;
use crate::writers::{self, OpenFiles, Question};

/// Purges what is wanted, and restores what is needed.
///
/// # Errors
///
/// When the command ended before anything was changed.
pub(super) fn purge(settings: &QuarantineSettings, reader: &Reader<'_>, quarantine: Quarantine<'_>) -> Result<Acted, Error> {
    let Wanted::Purge { run, older_than, assume_offline, allow_foreign_owner, allow_shared_blobs, .. } = &settings.wanted else {
        return Ok(purged_nothing(Moved::default()).into());
    };
    // What was quarantined may be needed by somebody whose links are not here.
    let backend = reader.backend;
    owners::ensure_no_foreign_owner(backend, &settings.location, RootPolicy::AllRevisions, *allow_foreign_owner)?;
    if !allow_shared_blobs {
        owners::ensure_blobs_not_shared(backend)?;
    }
    let chosen = run.as_deref().map(|id| quarantine.run(id)).transpose()?;
    let is_beside = !assume_offline && older_than.is_some_and(|wait| wait >= settings.clock.longest_request());
    let watched = if is_beside || !settings.notices_changes { Watched::nothing() } else { Watched::begin(reader) };
    let wait = wait(settings, reader, *older_than, *assume_offline)?;
    let caches = Caches::now(reader, &settings.location);
    // Whether or not a registry is at work: a redis outlives it, and the next one believes what it claims.
    let redis = caches.cache().filter(|_| !quarantine.runs.is_empty());
    redis.as_ref().map_or(Ok(()), RedisCache::ensure_usable)?;
    let memory = match is_beside {
        true => memory(settings, reader, &quarantine, &caches)?,
        false => {
            caches.ensure_forgetful("--online")?;
            Memory::Nothing
        }
    };
    let in_redis = match &redis {
        None => InRedis::Nowhere,
        Some(redis) if is_beside => InRedis::Beside(redis),
        Some(redis) => InRedis::Alone(redis),
    };
    let due = Due { wait, clock: &settings.clock, memory: &memory, redis: in_redis };
    if let Some(run) = chosen {
        is_due(settings, reader, run, due)?;
    }
    match chosen.map(|run| (run.id().to_owned(), run.stamp().purpose)) {
        // Nothing has to be kept for what needs these: their bytes are nobody's, unless they match their digests after all.
        Some((id, Purpose::Verify | Purpose::Repair)) => {
            let records = reconcile::records(reader)?;
            let needed = reconcile::needed_by(reader, &quarantine, (&settings.clock, records.last_run()), &|_| false)?;
            brakes(settings, reader, &records, &needed)?;
            ensure_unchanged(watched)?;
            purge_all(reader, quarantine, &Needed::default(), (due, Some(&id)))
        }
        chosen => purge_collected(settings, reader, quarantine, (due, chosen.as_ref().map(|(id, _)| id.as_str())), watched),
    }
}

/// How long things have to have waited. Beside a registry that takes pushes never less than a push may take.
fn wait(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    older_than: Option<Duration>,
    assume_offline: bool,
) -> Result<Wait, Error> {
    if older_than.is_none_or(|wait| wait < settings.clock.longest_request()) && !assume_offline {
        let location = &settings.location;
        let answers = writers::ask(Question {
            root: reader.backend.root(),
            registry: location.registry.as_ref(),
            http: location.http(),
            cache: location.cache_sign(),
            others: &[],
            credentials: None,
            offers_online: false,
        });
        answers.ensure_no_writers().map_err(or_beside)?;
        if let Some(reason) = answers.unqueried() {
            let reason = format!("no registry could be asked whether it takes pushes: {reason}");
            let lift = "give --older-than 1h or more to purge beside a registry, or, once it is stopped or read-only, \
                        --assume-offline"
                .to_owned();
            return Err(Error::Brake { reason, lift });
        }
    }
    Ok(older_than.map_or(Wait::Lifted, Wait::AtLeast))
}

/// A purge beside a registry at work is one that waits.
fn or_beside(error: Error) -> Error {
    match error {
        Error::Brake { reason, lift } => {
            Error::Brake { reason, lift: format!("give --older-than 1h or more to purge beside it, or {lift}") }
        }
        error => error,
    }
}

fn ensure_unchanged(watched: Watched<'_>) -> Result<(), Error> {
    watched.ensure_unchanged(false).map_err(or_beside)
}

/// A run that somebody names and that has not waited is no silent nothing.
fn is_due(settings: &QuarantineSettings, reader: &Reader<'_>, run: &Run<'_>, due: Due<'_>) -> Result<(), Error> {
    let Wait::AtLeast(least) = due.wait else { return Ok(()) };
    let clock = due.clock;
    if due.is_due(run) {
        return Ok(());
    }
    if due.has_waited(run) && !due.is_forgotten(run) {
        let reason = format!("the registry's redis has not been made to forget what is in run {} since it was moved", run.id());
        let lift =
            "collect with --online, or purge without --run: that removes its keys, and the run begins to wait anew".to_owned();
        return Err(Error::Brake { reason, lift });
    }
    if due.has_waited(run) {
        let reason = format!("a registry that was at work when run {} was moved may remember what is in it", run.id());
        let unseen = writers::restart_unseen(reader.backend.root(), settings.location.http(), &[], &settings.clock);
        let lift = match unseen.is_some_and(|unseen| unseen.is_for_root) {
            true => "restart the registry, and run as root, who sees which registry works on which store",
            false => {
                "restart the registry; where that cannot be seen, `regsweep quarantine restarted --since TIME` says it, with the time \
                 when the restart began"
            }
        };
        return Err(Error::Brake { reason, lift: lift.to_owned() });
    }
    let reason = match run.stamp().finished {
        None => format!("run {} was cut off, and has not begun to wait", run.id()),
        Some(_) if run.waits_by_no_clock(clock) => {
            format!(
                "nothing tells how long run {} has waited: the machine was restarted, and its clock is not synchronised",
                run.id()
            )
        }
        Some(finished) => {
            let waited = Duration::try_from(clock.started().duration_since(finished)).unwrap_or_default();
            let waited = duration(Duration::from_secs(waited.as_secs()));
            format!("run {} has waited for {waited}, and --older-than asks for {}", run.id(), duration(least))
        }
    };
    Err(Error::Brake { reason, lift: "wait, or stop the registry and purge without --older-than".to_owned() })
}

fn purge_collected(
    settings: &QuarantineSettings,
    reader: &Reader<'_>,
    quarantine: Quarantine<'_>,
    (due, named): (Due<'_>, Option<&str>),
    watched: Watched<'_>,
) -> Result<Acted, Error> {
    if quarantine.collected().next().is_none() {
        return Ok(purged_nothing(Moved::default()).into());
    }
    let mut records = reconcile::records(reader)?;
    let is_meant = |run: &Run<'_>| named.is_none_or(|id| run.id() == id);
    let needed = reconcile::needed_by(reader, &quarantine, (&settings.clock, records.last_run()), &|run| {
        is_meant(run) && due.is_due(run)
    })?;
    brakes(settings, reader, &records, &needed)?;
    reconcile::can_restore(reader, &needed)?;
    ensure_unchanged(watched)?;
    let restored = reconcile::restore_needed(reader, &quarantine, &needed, &mut records, &settings.clock);
    // It is read anew, and two lists of it are not to be held.
    drop(quarantine);
    if !restored.failed.is_empty() {
        return Ok(purged_nothing(restored).into());
    }
    let reopened = Quarantine::open(reader.backend);
    let acted = reopened.and_then(|quarantine| purge_all(reader, quarantine, &needed, (due, named)));
    let mut waits = Waits::default();
    // Afterwards: what cannot be looked at ends the command before anything is changed, and what could change nothing begins nothing either.
    let is_stopped = |acted: &Acted| matches!(&acted.done, Done::Purged { purged, touched: false, .. } if purged.is_stopped());
    if acted.as_ref().is_ok_and(|acted| !is_stopped(acted) || !restored.is_empty())
        && let Ok(mut quarantine) = Quarantine::open(reader.backend)
    {
        let remembering = LazyCell::new(|| Remembering::now(reader, &settings.location, Some(due)));
        waits = reconcile::begin_waits(reader, &mut quarantine, (&settings.clock, &|| *remembering), Some(due), true);
    }
    match acted {
        Ok(Acted { done: Done::Purged { purged, touched, withheld, proof, mut forgotten, .. }, mut findings }) => {
            forgotten += waits.forgotten;
            findings.extend(waits.failed.map(|error| Finding::new(Code::FailedRestore).detail(error.to_string())));
            Ok(Acted { done: Done::Purged { restored, purged, touched, withheld, proof, forgotten }, findings })
        }
        // Something was restored: that is reported, whatever keeps the rest from being purged.
        Err(error) if !restored.is_empty() => Ok(Acted {
            done: purged_nothing(restored),
            findings: vec![Finding::new(Code::FailedRestore).detail(error.to_string())],
        }),
        other => other,
    }
}

fn purged_nothing(restored: Moved) -> Done {
    let (withheld, forgotten) = (Vec::new(), Forgotten::default());
    Done::Purged { restored, purged: Moved::default(), touched: false, withheld, proof: None, forgotten }
}

/// What keeps anything from being purged in a store of which a part may be missing.
fn brakes(settings: &QuarantineSettings, reader: &Reader<'_>, records: &Records<'_>, needed: &Needed) -> Result<(), Error> {
    let Wanted::Purge { allow_empty, allow_shrunk, .. } = settings.wanted else { return Ok(()) };
    if needed.looks_empty && !allow_empty {
        let reason = "nothing in the store needs anything, so nothing in quarantine is purged".to_owned();
        let lift = "check that all of the store is mounted, or give --allow-empty if this is how it should be".to_owned();
        return Err(Error::Brake { reason, lift });
    }
    // What is mounted is asked of the store.
    let summary = |held: &[(RepositoryName, [u64; 2])]| {
        Summary::new(settings.clock.started(), held.iter().map(|(name, counts)| (name, *counts)), Vec::new())
    };
    let now = summary(&needed.repositories);
    let before = records.summary().filter(|_| !allow_shrunk);
    let missing =
        before.and_then(|before| before.missing_from(&now, &|name| reader.backend.parts().is_held(name), needed.looks_empty));
    // What was pushed in place of what is lost makes up for nothing.
    let replaced = || before.filter(|_| !needed.looks_empty)?.replaced_in(&summary(&needed.old), ENOUGH);
    missing.or_else(replaced).map_or(Ok(()), |reason| Err(Error::Brake { reason, lift: shrunk_lift() }))
}

fn purge_all(
    reader: &Reader<'_>,
    quarantine: Quarantine<'_>,
    needed: &Needed,
    (due, named): (Due<'_>, Option<&str>),
) -> Result<Acted, Error> {
    let gate = Gate { needed, due, open: OpenFiles::look() };
    let mut purgeable = gate.purgeable(&quarantine, named)?;
    let withheld = std::mem::take(&mut purgeable.withheld);
    reader.progress.begin(Phase::Purging, None);
    let Purged { gone: purged, claimed, forgotten, touched } = quarantine::purge(&gate, purgeable, reader.stop)?;
    if !purged.is_stopped() {
        quarantine.tidy();
    }
    let proof = (!purged.is_empty()).then(|| gate.proof());
    let withheld = [withheld, claimed].concat();
    Ok(Done::Purged { restored: Moved::default(), purged, touched, withheld, proof, forgotten }.into())
}
