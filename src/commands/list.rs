//! `regsweep list`: what is in a store, without its registry.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::opening;
use super::reading::{Looking, looking, named};
use crate::catalogue;
use crate::config::ListSettings;
use crate::error::Error;
use crate::escape::{escaped, operand};
use crate::mark::{self, interrupted};
use crate::oci::{Reference, TagName, reference};
use crate::progress::{Phase, Progress};
use crate::report::list::{ListReport, Listed};
use crate::store::{Backend, RepositoryEntry};
use crate::survey::{self, Survey};

/// Lists what is in a store. Nothing in it is touched.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the store cannot be listed, what is named is not in it, or a collection is at work.
pub fn run(settings: ListSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<ListReport, Error> {
    run_on(&*opening::open(&settings.reading.location, settings.reading.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: ListSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<ListReport, Error> {
    let begun = Instant::now();
    let mut looked = looking(backend, &settings.reading, progress, stop, &|looking| list(&settings, looking))?;
    // Of what is not listed nothing is to be said, unless it could not be seen.
    if settings.reference.is_some() {
        looked.findings.retain(|finding| finding.repository.is_some() || looked.is_partial);
    }
    let (listed, findings, is_partial) = looked.into_parts(&settings.reading);
    Ok(ListReport {
        root: backend.place().to_owned(),
        config_path: settings.reading.location.config_path.clone(),
        reference: settings.reference,
        started: settings.reading.started,
        listed,
        is_partial,
        findings,
        elapsed: begun.elapsed(),
    })
}

fn list(settings: &ListSettings, looking: &Looking<'_>) -> Result<Listed, Error> {
    let chosen: &[RepositoryEntry] = match settings.reference.as_ref().and_then(Reference::repository) {
        Some(typed) => std::slice::from_ref(named(looking.repositories, typed)?),
        None => looking.repositories,
    };
    looking.progress.begin(Phase::Marking, Some(chosen.len() as u64));
    if settings.untagged {
        let all = Mutex::new(Vec::new());
        survey::each(chosen, |repository| {
            let listed = catalogue::untagged(looking.context, &look_at(repository, looking)?.0)?;
            all.lock().unwrap_or_else(PoisonError::into_inner).extend(listed);
            Ok(())
        })?;
        let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_by(|a, b| (&a.repository, &a.digest).cmp(&(&b.repository, &b.digest)));
        return Ok(Listed::Untagged(all));
    }
    let repositories = survey::each(chosen, |repository| {
        let (surveyed, marks) = look_at(repository, looking)?;
        Ok((catalogue::repository(&surveyed, &marks)?, settings.reference.is_some().then_some(surveyed)))
    })?;
    let is_tag = |name: &TagName| match settings.reference.as_ref().and_then(Reference::tag) {
        Some(typed) => reference::is_tag(name, typed),
        None => true,
    };
    let mut listed = Vec::with_capacity(repositories.len());
    for (repository, surveyed) in repositories {
        if let Some(surveyed) = surveyed {
            let (tags, lost) = catalogue::tags(looking.context, &surveyed, &is_tag)?;
            looking.gathered.add(lost);
            if let (true, Some(Reference::Tag(_, tag))) = (tags.is_empty(), &settings.reference) {
                return Err(no_tag(&surveyed, tag));
            }
            return Ok(Listed::Tags(repository, tags));
        }
        listed.push(repository);
    }
    Ok(Listed::Repositories(listed))
}

fn look_at<'l>(repository: &RepositoryEntry, looking: &'l Looking<'_>) -> Result<(Survey<'l>, mark::Marks), Error> {
    interrupted(looking.stop)?;
    let surveyed = survey::survey(looking.context.store, repository)?;
    let mut marks = mark::mark(&surveyed, looking.context)?;
    looking.gathered.add(std::mem::take(&mut marks.findings));
    looking.progress.advance(1, 0);
    Ok((surveyed, marks))
}

fn no_tag(surveyed: &Survey, tag: &str) -> Error {
    let (name, tag) = (&surveyed.name, escaped(tag));
    let command = operand(name.as_path());
    Error::Usage(format!("no tag {tag} in the repository {name}; `regsweep list {command}` lists its tags"))
}
