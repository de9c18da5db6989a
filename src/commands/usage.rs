//! `regsweep usage`: what takes the room, and what of it comes back by deleting one thing.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::opening;
use super::reading::{Looking, looking};
use crate::config::UsageSettings;
use crate::error::Error;
use crate::mark::{self, Counts, Marks, hold_shared, interrupted};
use crate::options::{UsageBy, UsageSort};
use crate::progress::{Phase, Progress};
use crate::report::usage::UsageReport;
use crate::store::{Backend, RepositoryEntry};
use crate::survey;
use crate::usage::{Grouping, Kept, StoreUsage, UsageRow, look, sizes, sorted, whole};

/// Says what takes the room of a store. Nothing in it is touched.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the store cannot be listed, or a collection is at work.
pub fn run(settings: UsageSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<UsageReport, Error> {
    run_on(&*opening::open(&settings.reading.location, settings.reading.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: UsageSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<UsageReport, Error> {
    let begun = Instant::now();
    let looked = looking(backend, &settings.reading, progress, stop, &|looking| account(&settings, looking))?;
    let (account, findings, is_partial) = looked.into_parts(&settings.reading);
    let Account { usage, rows, ages, tags, repositories, counts } = account;
    Ok(UsageReport {
        root: backend.place().to_owned(),
        config_path: settings.reading.location.config_path.clone(),
        by: settings.by,
        sort: settings.sort,
        top: settings.top,
        started: settings.reading.started,
        usage,
        rows: sorted(rows, settings.sort),
        ages: ages.map(|ages| sorted(ages, UsageSort::Pushed)),
        tags: tags.map(|tags| sorted(tags, settings.sort)),
        repositories,
        counts,
        is_partial,
        findings,
        elapsed: begun.elapsed(),
    })
}

struct Account {
    usage: StoreUsage,
    rows: Vec<UsageRow>,
    ages: Option<Vec<UsageRow>>,
    tags: Option<Vec<UsageRow>>,
    repositories: u64,
    counts: Counts,
}

fn account(settings: &UsageSettings, looking: &Looking<'_>) -> Result<Account, Error> {
    let Looking { context, repositories, progress, stop, .. } = looking;
    progress.begin(Phase::LookingAtBlobs, None);
    let ownership = sizes(context, looking.budget)?;
    interrupted(stop)?;
    progress.begin(Phase::Marking, Some(repositories.len() as u64));
    let rows_by = |by| Grouping::new(by, repositories, context.inventory.len(), looking.budget, settings.reading.started);
    let grouping = rows_by(settings.by)?;
    // In the same pass: a page shows them beside whatever makes a row.
    let has_ages = settings.reading.output.html.is_some() && settings.by != UsageBy::Age;
    let ages = has_ages.then(|| rows_by(UsageBy::Age)).transpose()?;
    let has_tags = settings.reading.output.html.is_some() && settings.by == UsageBy::Repository && repositories.len() == 1;
    // Who has a blob to itself is another question for these rows.
    let with_owners = || Ok((rows_by(UsageBy::Tag)?, ownership.without_owners(context.inventory.len(), looking.budget)?));
    let tags = has_tags.then(with_owners).transpose()?;
    let usage = Mutex::new(StoreUsage { quarantined: looking.quarantined, ..StoreUsage::default() });
    let look_at = |repository: &RepositoryEntry| -> Result<Kept, Error> {
        interrupted(stop)?;
        let mut kept = look(context, repository, &ownership)?;
        grouping.add(context, &kept, &ownership)?;
        looking.gathered.add(std::mem::take(&mut kept.marks.findings));
        Ok(kept)
    };
    let mut marks: Vec<Marks> = survey::each(repositories, |repository| {
        let kept = look_at(repository)?;
        ages.as_ref().map_or(Ok(()), |ages| ages.add(context, &kept, &ownership))?;
        tags.as_ref().map_or(Ok(()), |(tags, owners)| tags.add(context, &kept, owners))?;
        *usage.lock().unwrap_or_else(PoisonError::into_inner) += kept.beside();
        progress.advance(1, 0);
        Ok(kept.marks)
    })?;
    // Rare: what a link in one repository leads to is held in another, which keeps more than was counted.
    let held: Mutex<Vec<RepositoryEntry>> = Mutex::default();
    hold_shared(context.store, repositories, &mut marks, &|repository| {
        held.lock().unwrap_or_else(PoisonError::into_inner).push(repository.clone());
        mark::mark(&survey::survey(context.store, repository)?, context)
    })?;
    for repository in grouping.begin_again(repositories, held.into_inner().unwrap_or_else(PoisonError::into_inner)) {
        look_at(&repository)?;
    }
    progress.begin(Phase::Checking, None);
    interrupted(stop)?;
    let mut counts = Counts::default();
    marks.iter().for_each(|marks| counts += marks.counts);
    let mut usage = usage.into_inner().unwrap_or_else(PoisonError::into_inner);
    usage += whole(context, &grouping, &ownership)?;
    let rows = grouping.into_rows(context.inventory, &ownership);
    let ages = ages.map(|ages| ages.into_rows(context.inventory, &ownership));
    let tags = tags.map(|(tags, owners)| tags.into_rows(context.inventory, &owners));
    Ok(Account { usage, rows, ages, tags, repositories: repositories.len() as u64, counts })
}
